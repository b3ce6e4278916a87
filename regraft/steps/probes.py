"""The heads that every plan begins with, fitted on cached features and written beside them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from regraft.data.auxiliary import PREFIX
from regraft.errors import UserError
from regraft.progress import note

ANSWERERS = "answerers.npz"


def write_probes(
    rows: pd.DataFrame,
    averaged: np.ndarray,
    augmented: np.ndarray | None,
    *,
    kind: str,
    seed: int,
    out: Path,
    parts: tuple[int, ...] = (),
    places: tuple[tuple[int, int], ...] = (),
    fusions: Sequence[dict[str, Any]] = (),
    answer_precision: float = 0.0,
) -> bool:
    """Write probe.npz and probe.json, and with auxiliary labels auxiliary.npz, the stacked rows of
    their heads, and return whether the head reads local features. `averaged` (n, dim) belong to
    `rows`, `augmented` to those of the split `train`.

    With the kind `fusion`, which needs the encoder's `parts` and `places`, also answerers.npz: what
    every fusion and every modality alone says of all rows.

    Raises
    ------
    UserError
        An auxiliary task cannot be learned from these rows (see `training.probe.fit_auxiliary`), or
        there is nothing to fuse.
    """
    if kind == "fusion":
        how: dict[str, Any] = {"fusions": fusions, "seed": seed, "places": places}
        return _write_fusion(rows, averaged, parts, how, answer_precision, out)
    from regraft.training.probe import fit_auxiliary, fit_probe

    how = {"seed": seed, "augmented": augmented, "kind": kind}
    further = fit_auxiliary(rows, averaged, **how)
    probe = fit_probe(rows, averaged, **how)
    np.savez(out / "probe.npz", **calibrated(probe))
    if further:
        heads = [calibrated(one) for one in further.values()]
        stacked = {part: np.concatenate([head[part] for head in heads]) for part in heads[0]}
        np.savez(out / "auxiliary.npz", **stacked)  # type: ignore[arg-type]
    card = probe.summary() | {"auxiliary": {name: one.summary() for name, one in further.items()}}
    (out / "probe.json").write_text(json.dumps(card, indent=2), encoding="utf-8")
    return False


def _write_fusion(
    rows: pd.DataFrame,
    averaged: np.ndarray,
    parts: tuple[int, ...],
    how: dict[str, Any],
    answer_precision: float,
    out: Path,
) -> bool:
    from regraft.backbones.heads import FusionHead
    from regraft.training.fusion_probe import fit_fusion_probe

    refused = [name for name in rows.columns if name.startswith(PREFIX)]
    if len(parts) != 2 or refused:
        raise UserError(
            "there is nothing to fuse" if not refused else "a fusion answers one task",
            where="features.head",
            got=f"fusion with {', '.join(refused) or 'a backbone of one input'}",
            expected="a task whose examples are pairs, without data.auxiliary_labels",
        )
    probe, said = fit_fusion_probe(rows, averaged, parts=parts, **how)
    threshold = {"abstain_below": abstention_threshold(probe, answer_precision)}
    np.savez(out / "probe.npz", **calibrated(probe) | threshold)
    whose = {"ids": rows["id"].to_numpy(str), "classes": np.array(probe.classes)}
    found = {name: one.astype(np.float32) for name, one in said.items()}
    np.savez_compressed(out / ANSWERERS, **whose, **found)  # type: ignore[arg-type]
    card = probe.summary() | {"auxiliary": {}, "fusions": how["fusions"]}
    (out / "probe.json").write_text(json.dumps(card, indent=2), encoding="utf-8")
    note(f"chosen on held-out pairs: {probe.chosen}")
    return FusionHead(probe.head.arrays()).reads_places


def fusion_options(features: Path, kind: str) -> list[dict[str, Any]]:
    """The recipe's options of this kind of fusion, from what `write_probes` wrote into `features`;
    none where one modality answers."""
    card = json.loads((features / "probe.json").read_text(encoding="utf-8"))
    return [one for one in card["fusions"] if one["kind"] == kind]


def abstention_threshold(probe: Any, precision: float) -> float:
    """The confidence down to which answers to held-out pairs are right in this share; 1 where they
    never are, 0 where all of them together are, or where nothing is asked for."""
    from scipy.special import softmax

    if not precision:
        return 0.0
    answers = softmax(probe.held_out_logits / _temperature(probe), axis=1)
    right, confidence = answers.argmax(1) == probe.held_out_labels, answers.max(1)
    order = np.argsort(-confidence, kind="stable")
    shares = np.cumsum(right[order]) / np.arange(1, len(order) + 1)
    enough = np.flatnonzero(shares >= precision)
    if not len(enough):
        return 1.0
    last = enough[-1]
    return 0.0 if last == len(order) - 1 else float(confidence[order][last])


def calibrated(probe: Any, *, factor: float = 1.0) -> dict[str, Any]:
    """The arrays of the head, scaled so that fine-tuning begins with logits that are calibrated at
    the temperature `factor`."""
    arrays: dict[str, Any] = probe.head.scaled(factor / _temperature(probe)).arrays()
    return arrays


def _temperature(probe: Any) -> float:
    """Fitted on answers to held-out folds; 1 where nothing could be held out."""
    from regraft.evaluation.calibration import fit_temperature

    if not len(probe.held_out_labels):
        return 1.0
    return fit_temperature(probe.held_out_logits, probe.held_out_labels)
