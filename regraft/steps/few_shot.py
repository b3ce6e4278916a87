"""Few labels: blocks that learn by contrast, where held-out labels say that they are better."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from regraft.backbones.heads import LinearHead
from regraft.data.manifest import places
from regraft.progress import note

ALONE, CONTRAST = "head only", "contrast"
Tune = Callable[[Any, pd.DataFrame, np.ndarray, Path], tuple[LinearHead, dict[str, Any]]]
"""(model, rows, class numbers, work folder) -> the head that fits the encoder, which has moved in
place, and the history."""


def few_shot_history(
    module: Any,
    model: Any,
    rows: pd.DataFrame,
    features: Path,
    options: dict[str, Any],
    *,
    head_kind: str,
    code_version: str,
    work_dir: Path,
    seed: int,
) -> dict[str, Any] | None:
    """The history of a model that learned by contrast, with the choice as its `strategy`; None
    where the head on frozen features is kept, which `model` then still has.

    `rows` are the manifest's, `features` the folder of that step, `options` the finetune section.

    Raises
    ------
    UserError
        As `training.contrast_tuning`.
    """
    from regraft.evaluation.calibration import fit_temperature
    from regraft.shift.cross_validation import assign_folds
    from regraft.training.examples import split_of

    train = split_of(rows, "train", model.classes)
    groups = train.rows["group"].to_numpy(str)
    folds = assign_folds(train.labels, groups, folds=options["few_shot"]["folds"], seed=seed)
    held_out = folds >= 0
    if not held_out.any():
        note("nothing can be held out: the head alone is the model")
        return None
    tune = _tuning(module, options, code_version, seed)
    archive = np.load(features / "features.npz")
    frozen = archive["averaged"][places(train.rows["id"], archive["ids"])]
    alone = _held_out_alone(train.rows, frozen, folds, head_kind, seed)
    tuned = _held_out_tuned(module, model, train, folds, tune, work_dir)
    labels = train.labels[held_out]
    scores = {name: _scores(logits[held_out], labels)
              for name, logits in ((ALONE, alone), (CONTRAST, tuned))}  # fmt: skip
    reason = ", ".join(f"{name}: {words}" for name, (_, words) in scores.items())
    if scores[CONTRAST][0] >= scores[ALONE][0]:
        note(f"few labels: the head alone ({reason})")
        return None
    note(f"few labels: blocks learn by contrast ({reason})")
    head, history = tune(model, train.rows, train.labels, work_dir / "all")
    head = head.scaled(1 / fit_temperature(tuned[held_out], labels))
    model.set_head(head.weight, head.bias)
    card = {
        "chosen": "contrast, then the head anew",
        "reason": f"on held-out folds of the labels, {reason}",
        "rungs": [],
    }
    return history | {"strategy": card}


def _tuning(module: Any, options: dict[str, Any], code_version: str, seed: int) -> Tune:
    from regraft.steps.engine import trunks_of
    from regraft.training.contrast_tuning import ContrastTuning, head_after, tune_by_contrast

    names = ("blocks", "epochs", "learning_rate", "temperature")
    how = ContrastTuning(**{name: options["few_shot"][name] for name in names})
    augmentation = options["augmentation"]

    def tune(
        model: Any, rows: pd.DataFrame, labels: np.ndarray, folder: Path
    ) -> tuple[LinearHead, dict[str, Any]]:
        history = tune_by_contrast(
            model,
            module.training_views(model.encoder, rows, augmentation, seed=seed),
            labels,
            how,
            cached_views=augmentation["cached_views"],
            trunks=trunks_of(options, code_version),
            work_dir=folder,
            seed=seed,
        )
        _, embeddings = module.embed(model.encoder, rows, views=model.test_views)
        return head_after(embeddings, labels), history

    return tune


def _held_out_tuned(
    module: Any, model: Any, train: Any, folds: np.ndarray, tune: Tune, work_dir: Path
) -> np.ndarray:
    """Logits (n, classes) of every example by blocks and a head that have not seen its fold."""
    from regraft.shift.cross_validation import fold_numbers

    logits = np.zeros((len(train), train.n_classes))
    for fold in fold_numbers(folds):
        seen, own = folds != fold, copy.deepcopy(model)
        head, _ = tune(own, train.rows[seen], train.labels[seen], work_dir / f"fold-{fold}")
        _, embeddings = module.embed(own.encoder, train.rows[~seen], views=model.test_views)
        logits[~seen] = head.logits(embeddings)
    return logits


def _held_out_alone(
    rows: pd.DataFrame, features: np.ndarray, folds: np.ndarray, kind: str, seed: int
) -> np.ndarray:
    """The same by a head on frozen features."""
    from regraft.shift.cross_validation import fold_numbers
    from regraft.training.probe import fit_probe

    logits = np.zeros((len(rows), rows["label"].nunique()))
    for fold in fold_numbers(folds):
        seen = folds != fold
        probe = fit_probe(rows[seen], features[seen], seed=seed, kind=kind)
        logits[~seen] = probe.head.logits(features[~seen])
    return logits


def _scores(logits: np.ndarray, labels: np.ndarray) -> tuple[float, str]:
    from regraft.training.selection import validation_score

    found = validation_score(labels)(logits)
    loss, accuracy = found["val_loss"], found["val_accuracy"]
    return loss, f"log loss {loss:.3f}, {accuracy:.1%} right"
