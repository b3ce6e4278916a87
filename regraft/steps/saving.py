"""The last act of both training steps: calibrate on validation data, then write the model."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from regraft.data.manifest import files_of
from regraft.training.examples import Split


def save_trained(
    module: Any,
    model: Any,
    validation: Split | None,
    history: dict[str, Any],
    out_dir: Path,
) -> None:
    """Write the model folder and history.json.

    The temperature is fitted on the validation split; without one the model keeps its own, which
    was fitted on answers to held-out folds.
    """
    from regraft.evaluation.calibration import fit_temperature

    if validation is not None and len(validation):
        logits = module.predictor(model).logits(files_of(validation.rows))
        model.temperature = fit_temperature(logits, validation.labels)
    out_dir.mkdir(parents=True, exist_ok=True)
    (out_dir / "history.json").write_text(json.dumps(history, indent=2), encoding="utf-8")
    module.save(model.to("cpu"), out_dir)
