"""One registry with one champion for all tests of this folder, which only read."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from regraft.evaluation.gate import Check
from regraft.registry import decision, store

from .support import BrightnessPredictor, write_model


@pytest.fixture(scope="package")
def registered(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    """The decision that made `plants/1` champion; its predictor needs no torch."""
    folder = tmp_path_factory.mktemp("serving")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("REGRAFT_HOME", str(folder / "home"))
        for name in ("MLFLOW_TRACKING_URI", "MLFLOW_RUN_ID"):
            patch.delenv(name, raising=False)
        patch.setattr("regraft.tasks.load_model", BrightnessPredictor)
        client = store.connect()
        run = client.create_run(store.experiment_id(client, "plants"))
        yield decision.register(
            name="plants",
            model_folder=write_model(folder / "student"),
            run_id=str(run.info.run_id),
            run_key="serving",
            candidate={"accuracy": 0.9, "interval": {"accuracy": [0.85, 0.95]}},
            floor={"accuracy": 0.5},
            majority_accuracy=0.5,
            compare=lambda *_: {},
            verify=lambda *_: Check(
                "fresh process", True, 1.0, 300.0, "a fake is known here alone"
            ),
        )
