"""Adaptation may not cost more of the source than the gate allows."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from regraft.evaluation.gate import decide
from regraft.steps.register import register_model
from tests.evaluation.conftest import synthetic_content

RECIPE = {"name": "plant_disease", "data": {"root": "photos"}}
VERSIONS = {"code_version": "c0de", "data_version": "sha256:da7a"}


@pytest.fixture(scope="module")
def content() -> dict[str, Any]:
    return {**synthetic_content(), "decision": None}


def scores(source: float, target: float) -> dict[str, Any]:
    test = {"accuracy": target, "interval": {"accuracy": [target - 0.05, target + 0.05]}}
    return {"test": test, "source": {"accuracy": source}, "target": {"accuracy": target}}


def decision_for(
    tmp_path: Path,
    patch: pytest.MonkeyPatch,
    content: dict[str, Any],
    teacher: dict[str, Any],
    probe: dict[str, Any],
    **gate: float,
) -> dict[str, Any]:
    """What the gate says of this teacher. Only MLflow is left out: the rules are the real ones."""

    def judged(**found: Any) -> dict[str, Any]:
        asked = ("candidate", "floor", "majority_accuracy", "rules", "probe")
        return asdict(decide(comparison=None, **{name: found[name] for name in asked}))

    patch.setattr("regraft.registry.runs.log_pipeline_run", lambda **_: "run")
    patch.setattr("regraft.registry.decision.register", judged)
    patch.delenv("REGRAFT_STEP_RECORDS", raising=False)
    majority = {"test": {"accuracy": 0.1}}
    metrics = {"teacher": teacher, "baselines": {"probe": probe, "majority": majority}}
    (tmp_path / "metrics.json").write_text(json.dumps(metrics), encoding="utf-8")
    (tmp_path / "content.json").write_text(json.dumps(content), encoding="utf-8")
    (tmp_path / "model.safetensors").write_bytes(b"weights")
    pd.DataFrame({"id": []}).to_parquet(tmp_path / "predictions.parquet")
    return register_model(
        name="plant_disease", serve="teacher", teacher=tmp_path, student=None, quality=tmp_path,
        evaluation=tmp_path, gate=gate, recipe=RECIPE, versions=VERSIONS, out_dir=tmp_path / "out",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("after", "gate", "outcome"),
    [
        (0.97, {}, "first"),
        (0.96, {}, "hold"),
        (0.96, {"max_source_drop_pp": 3.0}, "first"),
        (0.979, {"max_source_drop_pp": 0.0}, "hold"),
    ],
)
def test_the_gate_holds_what_forgot_more_of_the_source_than_allowed(
    after: float,
    gate: dict[str, float],
    outcome: str,
    content: dict[str, Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The probe before adaptation answers 98 % of the source; 1.5 points may go by default."""
    found = decision_for(
        tmp_path, monkeypatch, content, scores(after, 0.7), scores(0.98, 0.4), **gate
    )
    assert found["outcome"] == outcome
    assert ("source accuracy" in found["reason"]) == (outcome == "hold")


def test_with_one_domain_there_is_nothing_to_forget(
    content: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = {"test": scores(0.5, 0.7)["test"]}
    found = decision_for(tmp_path, monkeypatch, content, one, one)
    assert found["outcome"] == "first"
