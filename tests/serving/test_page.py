"""The page on which people try the served model, and the figure that signs a word."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from regraft.serving.loaded import LoadedModel
from regraft.serving.page import sign_page, try_page
from regraft.serving.problems import Refused
from regraft.tasks import KINDS
from tests.tasks.spoken import saved_and_loaded

from .servers import Running, World, running


@pytest.fixture(scope="module")
def speech(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    predictor = saved_and_loaded(tmp_path_factory.mktemp("model"))
    with running(world=World(model=lambda version: predictor)) as found:
        yield found


def test_the_page_needs_no_token_and_loads_nothing_from_elsewhere() -> None:
    with running(tokens=(b"a-long-enough-token",)) as server, server.client() as client:
        found = client.get("/")
        assert found.status_code == 200 and "text/html" in found.headers["content-type"]
        assert "default-src 'none'" in found.headers["content-security-policy"]
        assert client.get("/signs/yes").status_code == 401
    assert not re.search(r"(?:https?:)?//[a-z]", re.sub(r"(?m)\s// .*$", "", found.text))


def test_the_page_knows_every_task() -> None:
    for kind in KINDS:
        assert f"  {kind}: [" in try_page(), kind


def test_a_word_is_signed_and_an_unknown_one_is_not(speech: Running) -> None:
    with speech.client() as client:
        page = client.get("/signs/yes")
        assert page.status_code == 200 and '"text":"yes"' in page.text
        assert client.get("/model").json()["task"] == "speech_to_sign"
        refused = client.get("/signs/xylophone")
        assert (refused.status_code, refused.json()["error"]["code"]) == (404, "no_sign")
        assert "yes" in refused.json()["error"]["expected"]


def test_a_model_of_photos_does_not_sign() -> None:
    with running() as server, server.client() as client:
        problem = client.get("/signs/yes").json()["error"]
        assert problem["code"] == "no_sign" and "does not sign" in problem["expected"]


def test_a_word_cannot_end_the_script_that_it_stands_in() -> None:
    word = "</script><script>alert(1)"
    signer = SimpleNamespace(
        knows=lambda asked: True, sign=lambda asked: np.zeros((3, 66)), labels=[word]
    )
    model = LoadedModel("words", "1", SimpleNamespace(signer=signer))
    assert "<script>alert" not in sign_page(model, word)
    signer.knows = lambda asked: False
    with pytest.raises(Refused):
        sign_page(model, "other")


def test_the_page_is_packed_with_the_library() -> None:
    assert '"regraft.serving" = ["pages/*"]' in Path("pyproject.toml").read_text(encoding="utf-8")
