"""The registered version as MLflow itself loads it."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from regraft.registry import store, versions

from .support import picture


@pytest.fixture
def model(registered: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    import mlflow

    monkeypatch.setenv("MLFLOW_TRACKING_URI", store.tracking_uri())
    yield mlflow.pyfunc.load_model("models:/plants@champion")


def test_path_bytes_and_base64_give_the_same_answer(model: Any, tmp_path: Path) -> None:
    data = picture(51)
    file = tmp_path / "Blätter 1.png"
    file.write_bytes(data)
    values = [str(file), data, base64.b64encode(data).decode()]

    answers = model.predict(pd.DataFrame({"image": values}))

    assert [answer["label"] for answer in answers] == ["dark"] * 3
    assert answers[0] == answers[1] == answers[2]


def test_list_of_records_and_mapping_of_lists(model: Any) -> None:
    text = base64.b64encode(picture(255)).decode()

    assert model.predict([{"image": text}]) == model.predict({"image": [text]})
    assert len(model.predict({"image": [text, text]})) == 2


def test_signature_and_example_are_stored_and_answered(model: Any) -> None:
    signature = model.metadata.signature

    assert signature.inputs.input_names() == ["image"]
    assert signature.outputs.input_names() == ["label", "confidence", "probabilities"]
    assert model.predict(model.input_example)[0]["label"] in {"dark", "light"}


def test_nothing_is_pickled(registered: dict[str, Any]) -> None:
    with versions.model_folder("plants", "1") as folder:
        stored = folder.parents[1]
        names = {path.name for path in stored.rglob("*") if path.is_file()}
    example = json.loads((stored / "serving_input_example.json").read_text())

    assert "pyfunc_model.py" in names
    assert {"model.safetensors", "model.json", "MLmodel", "requirements.txt"} <= names
    assert not any(name.endswith((".pkl", ".pickle", ".bin", ".pt")) for name in names)
    assert list(example) == ["dataframe_split"]
    requirements = (stored / "requirements.txt").read_text().splitlines()
    assert any(line.startswith("torch==") for line in requirements)
    assert not any(line.startswith("regraft") for line in requirements)
