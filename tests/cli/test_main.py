"""The command line's contract: verbs, exit codes, messages without tracebacks."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from regraft import __version__
from regraft.cli import main as command_line
from regraft.errors import UserError

VERBS = [
    "run", "recipe", "predict", "history", "promote", "rollback", "pin",
    "add-class", "export", "sequence", "compile", "pretrain", "bench",
    "chat",
]  # fmt: skip
RECIPE = Path(__file__).parents[2] / "recipes" / "plant_disease.yaml"


@pytest.fixture
def regraft(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> Any:
    """Call the entry point with arguments; returns (exit code, stdout, stderr)."""
    monkeypatch.setenv("REGRAFT_HOME", str(tmp_path / "home"))
    for name in ("MLFLOW_TRACKING_URI", "REGRAFT_TRACEBACK"):
        monkeypatch.delenv(name, raising=False)

    def call(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["regraft", *arguments])
        code: Any = 0
        try:
            command_line.main()
        except SystemExit as end:
            code = end.code
        shown = capsys.readouterr()
        return int(code or 0), shown.out, shown.err

    return call


def test_help_lists_every_verb_with_a_sentence(regraft: Any) -> None:
    code, out, _ = regraft("--help")
    assert code == 0
    lines = [line.split() for line in out.splitlines()]
    for verb in VERBS:
        assert any(words[:1] == [verb] and len(words) > 2 for words in lines), verb


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_explains_itself(verb: str, regraft: Any) -> None:
    code, out, _ = regraft(verb, "--help")
    assert code == 0
    assert "Usage: " in out
    assert len(out.splitlines()) > 3


def test_the_version(regraft: Any) -> None:
    code, out, _ = regraft("--version")
    assert code == 0
    assert __version__ in out


def test_the_schema_is_json_schema_and_documents_every_field(regraft: Any) -> None:
    code, out, _ = regraft("recipe", "schema")
    assert code == 0
    schema = json.loads(out)
    assert schema["type"] == "object"
    assert schema["additionalProperties"] is False
    assert {"name", "data"} <= set(schema["required"])
    sections = [schema, *schema["$defs"].values()]
    for section in sections:
        for name, field in section["properties"].items():
            target = schema["$defs"].get(field.get("$ref", "").rpartition("/")[2], {})
            described = field.get("description") or target.get("description")
            assert described or name in {"kind", "variant"}, f"{section['title']}.{name}"
    references = {text.split('"')[0] for text in out.split('"#/$defs/')[1:]}
    assert references <= set(schema["$defs"])


def test_show_fills_in_the_defaults_and_can_be_read_again(regraft: Any, tmp_path: Path) -> None:
    code, out, _ = regraft("recipe", "show", str(RECIPE), "data.images_per_class=20", "seed=3")
    assert code == 0
    values = yaml.safe_load(out)
    assert values["seed"] == 3
    assert values["data"]["images_per_class"] == 20
    assert values["gate"]["metric"] == "accuracy"
    again = tmp_path / "again.yaml"
    again.write_text(out, encoding="utf-8")
    assert regraft("recipe", "show", str(again))[1] == out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["recipe", "show", "missing.yaml"], ["missing.yaml", "recipe"]),
        (["recipe", "show", str(RECIPE), "data.rot=x"], ["data.rot", "data.root"]),
        (["recipe", "show", str(RECIPE), "sead=1"], ["sead", "seed"]),
        (["recipe", "show", str(RECIPE), "seed"], ["key=value"]),
        (["recipe", "show", str(RECIPE), "seed=many"], ["seed", "many"]),
        (["run", str(RECIPE), "data.root=/no/such/folder"], ["/no/such/folder"]),
        (["predict", "nobody", "x.jpg"], ["nobody"]),
        (["predict", "a/b/c", "x.jpg"], ["a/b/c"]),
        (["history", "nobody"], ["nobody"]),
        (["promote", "nobody", "1"], ["--reason"]),
        (["promote", "nobody", "1", "--reason", " "], ["needs a reason"]),
        (["promote", "nobody", "1", "--reason", "x"], ["nobody"]),
        (["rollback", "nobody"], ["nobody"]),
        (["pin", "nobody"], ["nobody"]),
        (["predict", "nobody"], ["INPUT"]),
        (["run"], ["RECIPE"]),
        (["runn"], ["runn"]),
        (["compile", "--profile", "nowhere.yaml"], ["cluster profile", "nowhere.yaml"]),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_the_user_s_mistake_is_exit_2_and_one_message(
    arguments: list[str], words: list[str], regraft: Any, tmp_path: Path
) -> None:
    if arguments[0] == "run" and len(arguments) > 1:
        arguments = [*arguments, "--out", str(tmp_path / "run")]
    code, out, err = regraft(*arguments)
    assert code == 2, err
    assert out == ""
    assert "Traceback" not in err
    for word in words:
        assert word in err
    assert err.lower().count("error:") == 1


@pytest.mark.parametrize(
    ("error", "code", "words"),
    [
        (UserError("class rust is empty", fix="add photos"), 2, ["class rust is empty", "photos"]),
        (ValueError("shapes differ"), 1, ["ValueError", "shapes differ", "REGRAFT_TRACEBACK"]),
        (KeyboardInterrupt(), 130, ["interrupted", "continues"]),
    ],
)
def test_exit_codes(
    error: BaseException,
    code: int,
    words: list[str],
    regraft: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr("regraft.registry.champions.history", fail)
    found, out, err = regraft("history", "tiny")
    assert found == code
    assert out == ""
    assert "Traceback" not in err
    for word in words:
        assert word in err


def test_a_defect_shows_where_on_request(regraft: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise ValueError("shapes differ")

    monkeypatch.setattr("regraft.registry.champions.history", fail)
    monkeypatch.setenv("REGRAFT_TRACEBACK", "1")
    with pytest.raises(ValueError, match="shapes differ"):
        regraft("history", "tiny")


def test_a_typing_error_is_told_within_a_second(tmp_path: Path) -> None:
    """In CPU seconds, and the best of three: the machine may be busy, the command must not be."""
    command = [sys.executable, "-m", "regraft.cli.main", "run", str(RECIPE), "data.rot=x"]
    seconds = []
    for _ in range(3):
        before = os.times()
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        after = os.times()
        user, system = after.children_user, after.children_system
        seconds.append(user - before.children_user + system - before.children_system)
        assert done.returncode == 2, done.stderr
        assert "did you mean data.root" in done.stderr
    assert min(seconds) < 1


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys; sys.argv = ['regraft', '--help']\n"
        "from regraft.cli.main import main\n"
        "main()\n"
        "heavy = {'torch', 'timm', 'mlflow', 'kfp', 'pandas', 'sklearn', 'numpy'}\n"
        "print(sorted(heavy & {name.split('.')[0] for name in sys.modules}))"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.splitlines()[-1] == "[]"
