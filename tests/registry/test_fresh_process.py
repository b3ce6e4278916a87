"""Packages broken on purpose: what cannot answer its own example is never promoted."""

from __future__ import annotations

import shutil
import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest

from regraft.registry import champions, fresh_process, ledger, versions
from regraft.registry.fresh_process import check_answers

from .support import better, never, register, write_model

PROGRAM = """
import os, time
from mlflow.models import set_model
from mlflow.pyfunc.model import PythonModel


class Model(PythonModel):
    def load_context(self, context):
        self.folder = context.artifacts["model"]

    def predict(self, context, model_input, params=None):
        good = {{"label": "rust", "confidence": 0.75, "probabilities": {{"rust": 0.75}}}}
        {body}


set_model(Model())
"""


@pytest.fixture
def packaged(
    registry: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[[str], Path]:
    """Versions are packaged with a model whose predict has this body; it needs no torch."""

    def use(body: str) -> Path:
        code = tmp_path / "own_model.py"
        code.write_text(textwrap.dedent(PROGRAM).format(body=body), encoding="utf-8")
        monkeypatch.setattr("regraft.registry.packaging._CODE", code)
        return write_model(tmp_path / "student")

    return use


def real(name: str, version: str) -> object:
    return fresh_process.verify(name, version, timeout_seconds=120)


def test_a_package_that_answers_may_become_champion(packaged: Callable[[str], Path]) -> None:
    found = register("a", packaged("return [good for _ in range(len(model_input))]"), never,
                     verify=real)  # fmt: skip
    assert found["outcome"] == "first", found["reason"]
    (check,) = [check for check in found["checks"] if check["name"] == "fresh process"]
    assert check["passed"] and check["value"] > 0


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("raise RuntimeError('libgomp.so.1 is missing')", "libgomp.so.1 is missing"),
        ("os.kill(os.getpid(), 11)", "ended by SIGSEGV"),
        ("return [good | {'confidence': float('nan')}]", "holds nan"),
    ],
    ids=["raises", "dies", "answers nonsense"],
)
def test_a_package_that_fails_is_held_and_the_champion_stays(
    packaged: Callable[[str], Path], body: str, words: str
) -> None:
    folder = packaged(body)
    register("a", folder, never)
    found = register("b", folder, better, verify=real)
    assert found["outcome"] == "hold"
    assert "does not answer in a fresh process" in found["reason"]
    assert words in found["reason"]
    assert versions.champion("plants") == "1"
    assert versions.resolve("plants/2")  # the candidate is not lost: it is registered and told
    assert ledger.find("plants", "b").checks[-1]["passed"] is False  # type: ignore[union-attr]


def test_a_package_that_hangs_is_given_up(packaged: Callable[[str], Path]) -> None:
    folder = packaged("time.sleep(600)")
    found = register("a", folder, never,
                     verify=lambda *who: fresh_process.verify(*who, timeout_seconds=1))  # fmt: skip
    assert found["outcome"] == "hold"
    assert "no answer within 1 s" in found["reason"]
    assert versions.champion("plants") is None


def test_files_that_are_gone_hold_the_candidate(
    packaged: Callable[[str], Path], registry: Path
) -> None:
    folder = packaged("return []")

    def remove(name: str, version: str) -> object:
        shutil.rmtree(registry / "artifacts" / "models")
        return real(name, version)

    found = register("a", folder, never, verify=remove)
    assert found["outcome"] == "hold"
    assert "cannot be read" in found["reason"]


def test_the_process_is_asked_only_where_something_would_move(
    registry: Path, model_folder: Path
) -> None:
    def fail(name: str, version: str) -> object:
        raise AssertionError("nothing is to be promoted")

    found = register("a", model_folder, never, candidate={"accuracy": 0.3, "interval":
                     {"accuracy": [0.25, 0.35]}}, verify=fail)  # fmt: skip
    assert found["outcome"] == "hold"


def test_what_cannot_be_served_is_not_promoted_by_hand(
    packaged: Callable[[str], Path], registry: Path
) -> None:
    from regraft.errors import UserError

    folder = packaged("return None")
    register("a", folder, never)
    register("b", folder, lambda *_: {"count": 3, "groups": 3})
    with pytest.raises(UserError, match="cannot be served"):
        champions.promote("plants", "2", reason="in a hurry", verify=real)  # type: ignore[arg-type]
    assert versions.champion("plants") == "1"


@pytest.mark.parametrize(
    "answers",
    [None, [], "ab", [{"label": "a"}], [["a"]], [{"label": "a", "confidence": float("inf")}]],
)
def test_answers_that_are_none(answers: object) -> None:
    check_answers([{"label": "a", "confidence": 0.5}], 1, ["label", "confidence"])
    with pytest.raises(ValueError, match="answer"):
        check_answers(answers, 1, ["label", "confidence"])
