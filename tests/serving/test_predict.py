from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from regraft.errors import UserError
from regraft.serving.predict import predict

from .support import picture


@pytest.mark.parametrize("reference", ["plants", "plants@champion", "plants/1"])
def test_answers_have_the_documented_schema(registered: dict[str, Any], reference: str) -> None:
    dark, light = predict(reference, [picture(51), picture(204)])

    assert dark == {
        "label": "dark",
        "confidence": pytest.approx(0.8),
        "probabilities": {"dark": pytest.approx(0.8), "light": pytest.approx(0.2)},
    }
    assert light["label"] == "light"


def test_more_inputs_than_one_batch_keep_their_order(registered: dict[str, Any]) -> None:
    labels = [answer["label"] for answer in predict("plants", [picture(0), picture(255)] * 70)]

    assert labels == ["dark", "light"] * 70


def test_bad_file_is_named(registered: dict[str, Any], tmp_path: Path) -> None:
    broken = tmp_path / "broken.png"
    broken.write_text("no picture")

    with pytest.raises(UserError, match=r"broken\.png"):
        predict("plants", [str(broken)])
    with pytest.raises(UserError, match=r"missing\.png"):
        predict("plants", [str(tmp_path / "missing.png")])


def test_unknown_model(registered: dict[str, Any]) -> None:
    with pytest.raises(UserError, match="no model 'plant' in the registry"):
        predict("plant", [picture(0)])
