"""The heads that every plan begins with, fitted on cached features and written beside them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd


def write_probes(
    rows: pd.DataFrame,
    averaged: np.ndarray,
    augmented: np.ndarray | None,
    *,
    kind: str,
    seed: int,
    out: Path,
) -> None:
    """Write probe.npz and probe.json, and with auxiliary labels auxiliary.npz, the stacked rows of
    their heads. `averaged` (n, dim) belong to `rows`, `augmented` to those of the split `train`.

    Raises
    ------
    UserError
        An auxiliary task cannot be learned from these rows (see `training.probe.fit_auxiliary`).
    """
    from regraft.training.probe import fit_auxiliary, fit_probe

    how: dict[str, Any] = {"seed": seed, "augmented": augmented, "kind": kind}
    further = fit_auxiliary(rows, averaged, **how)
    probe = fit_probe(rows, averaged, **how)
    np.savez(out / "probe.npz", **_calibrated(probe))
    if further:
        heads = [_calibrated(one) for one in further.values()]
        stacked = {part: np.concatenate([head[part] for head in heads]) for part in heads[0]}
        np.savez(out / "auxiliary.npz", **stacked)  # type: ignore[arg-type]
    card = probe.summary() | {"auxiliary": {name: one.summary() for name, one in further.items()}}
    (out / "probe.json").write_text(json.dumps(card, indent=2), encoding="utf-8")


def _calibrated(probe: Any) -> dict[str, Any]:
    """The arrays of the head, scaled so that fine-tuning begins with calibrated logits."""
    arrays: dict[str, Any] = probe.head.scaled(1 / _temperature(probe)).arrays()
    return arrays


def _temperature(probe: Any) -> float:
    """Fitted on answers to held-out folds; 1 where nothing could be held out."""
    from regraft.evaluation.calibration import fit_temperature

    if not len(probe.held_out_labels):
        return 1.0
    return fit_temperature(probe.held_out_logits, probe.held_out_labels)
