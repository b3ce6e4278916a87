"""What several test files use: a fake model, one logged run, one registration."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file

from regraft.evaluation.gate import Check
from regraft.registry import decision, runs, store
from regraft.registry.decision import Compare
from regraft.registry.versions import Reference

COUNTS = {"count": 100, "groups": 90}


def write_model(folder: Path, label: str = "rust") -> Path:
    """A complete model folder whose fake predictor always answers `label`."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "model.json").write_text(json.dumps({"task": "fake", "label": label}))
    save_file({"weight": np.arange(4, dtype=np.float32)}, folder / "model.safetensors")
    return folder


class FakePredictor:
    """The predictor's protocol, answered from model.json."""

    def __init__(self, folder: Path | str) -> None:
        self.label: str = json.loads((Path(folder) / "model.json").read_text())["label"]

    def predict(self, inputs: list[str | bytes]) -> list[dict[str, Any]]:
        answer = {"label": self.label, "confidence": 0.75}
        return [{**answer, "probabilities": {self.label: 0.75, "other": 0.25}} for _ in inputs]


def log_run(run_key: str, **changes: Any) -> str:
    arguments: dict[str, Any] = {
        "experiment": "plants",
        "run_name": "trial",
        "run_key": run_key,
        "parameters": {"data": {"root": "photos"}},
        "tags": {"code_version": "abc", "data_version": "def", "recipe": "plants"},
        "dataset": {"name": "photos", "digest": "0" * 64},
        "steps": [{"name": "evaluation", "seconds": 1.5, "cpu_seconds": 2.0, "status": "done"}],
        "metrics": {"test": {"accuracy": 0.9}},
        "artifacts": [],
    }
    return runs.log_pipeline_run(**(arguments | changes))


def bare_run(run_key: str) -> str:
    """An empty run, the same one for the same key: quicker than a whole pipeline's."""
    client = store.connect()
    experiment = store.experiment_id(client, "plants")
    found = client.search_runs([experiment], f"tags.`test.key` = '{run_key}'")
    run = found[0] if found else client.create_run(experiment, tags={"test.key": run_key})
    return str(run.info.run_id)


def scores(accuracy: float = 0.9) -> dict[str, Any]:
    return {"accuracy": accuracy, "interval": {"accuracy": [accuracy - 0.05, accuracy + 0.05]}}


def better(folder: Path, reference: Reference) -> dict[str, Any]:
    assert (folder / "model.json").is_file()
    return {"difference": 0.05, "low": 0.02, "high": 0.08, "p_value": 0.01, **COUNTS}


def equal(folder: Path, reference: Reference) -> dict[str, Any]:
    return {"difference": 0.0, "low": -0.02, "high": 0.02, "p_value": 0.5, **COUNTS}


def never(folder: Path, reference: Reference) -> dict[str, Any]:
    raise AssertionError("there is no champion to compare with")


def answers(name: str, version: str) -> Check:
    """The fake task is not known to another process."""
    return Check("fresh process", True, 1.0, 300.0, "answered")


def register(
    run_key: str, folder: Path, compare: Compare = better, **changes: Any
) -> dict[str, Any]:
    """Register a model as `plants`."""
    arguments: dict[str, Any] = {
        "name": "plants",
        "model_folder": folder,
        "run_id": bare_run(run_key),
        "run_key": run_key,
        "candidate": scores(),
        "floor": {"accuracy": 0.5},
        "majority_accuracy": 0.2,
        "compare": compare,
        "packages": ("numpy",),
        "verify": answers,
    }
    return decision.register(**(arguments | changes))


class Killed(BaseException):
    """Like a kill, no handler of the code under test catches it."""


def die_after(module: Any, name: str, patch: pytest.MonkeyPatch) -> None:
    """Whoever calls this function ends right after it."""
    original = getattr(module, name)

    def die(*arguments: Any, **named: Any) -> None:
        original(*arguments, **named)
        raise Killed

    patch.setattr(module, name, die)
