"""`strategy: auto`: rules first, then a small search; the choice and its reason in words."""

from __future__ import annotations

import copy
import math
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from regraft.progress import note

if TYPE_CHECKING:
    from regraft.training.search import Rung, Trial

Train = Callable[[Any, dict[str, Any], Path], dict[str, Any]]
"""(model, the finetune section, work folder) -> history; trains the model in place."""

_PROBE = {"kind": "head_only"}


def chosen_strategy(
    model: Any,
    options: dict[str, Any],
    train: Train,
    *,
    smallest_class: int,
    validation_examples: int,
    probe_accuracy: float | None,
    shifted: bool,
    adapted: bool,
    seed: int,
    work_dir: Path,
) -> tuple[dict[str, Any], dict[str, Any]]:
    """The finetune section to go on with, and {"chosen", "reason", "rungs"} for the history.

    `options` is the recipe's finetune section, `smallest_class` counts training labels,
    `probe_accuracy` is that on held-out folds (None where nothing was held out), `shifted`
    is the verdict of the shift detection, `adapted` whether the head has learned from an unlabelled
    target. The model is left as it is.
    """
    reason = rule(options, smallest_class, probe_accuracy, adapted)
    if not reason and not validation_examples:
        reason = "there is no validation split to compare anything on"
    if reason:
        note(f"strategy: head only ({reason})")
        return options | {"plan": _PROBE}, {"chosen": "head only", "reason": reason, "rungs": []}
    verdict = "a shift was found" if shifted else "no shift was found"
    facts = f"{smallest_class} training labels in the smallest class, {verdict}"
    changes, card = _searched(model, options, train, facts, seed, work_dir)
    note(f"strategy: {card['chosen']} ({card['reason']})")
    return options | changes, card


def rule(
    options: dict[str, Any], smallest_class: int, probe_accuracy: float | None, adapted: bool
) -> str:
    """Why the head alone is the model, in words; empty where blocks may move.

    `probe_accuracy` is that of the probe on held-out folds, None where nothing was held out.

    >>> rule({"min_labels_per_class": 15}, 5, 0.9, adapted=False)
    '5 training labels in the smallest class, fewer than min_labels_per_class = 15'
    """
    least = options["min_labels_per_class"]
    if adapted:
        return (
            "the target has shifted and the head was adapted to it; no validation labels of the "
            "target say when moving blocks helps there"
        )
    if smallest_class < least:
        return (
            f"{smallest_class} training labels in the smallest class, fewer than "
            f"min_labels_per_class = {least}"
        )
    enough = options["probe_is_enough"]
    if enough < 1 and probe_accuracy is not None and probe_accuracy >= enough:
        return (
            f"the probe is right on {probe_accuracy:.1%} of held-out training examples, at least "
            f"probe_is_enough = {enough:.1%}"
        )
    return ""


def _searched(
    model: Any, options: dict[str, Any], train: Train, facts: str, seed: int, work_dir: Path
) -> tuple[dict[str, Any], dict[str, Any]]:
    from regraft.training.search import remembered, rung_epochs, successive_halving
    from regraft.training.search_space import candidates_of

    how = options["search"]
    candidates = candidates_of(options, how["candidates"], seed=seed)
    numbers = {name: number for number, name in enumerate(candidates)}

    def evaluate(name: str, epochs: int) -> Trial:
        folder = work_dir / "search" / f"{numbers.get(name, 'probe')}-{epochs}"
        note(f"trying {name}, {epochs} epochs")
        return _trial(model, options | candidates.get(name, {}), train, epochs, folder)

    ask = remembered(evaluate, work_dir / "search.json")
    probe = ask("the head alone", 0).loss
    found = successive_halving(
        list(candidates),
        lambda name, epochs: ask(name, epochs).loss,
        rung_epochs(len(candidates), how["budget_epochs"]),
    )
    last = found.rungs[-1].epochs
    best = ask(found.winner, last)
    rungs = [_shown(rung, probe) for rung in found.rungs]
    tried = f"{facts}; of {len(candidates)} configurations "
    losses = (
        f"{best.loss:.3g} with a standard error of {best.error:.2g} after {last} epochs, "
        f"{probe:.3g} for the head alone"
    )
    if not best.surely_below(probe):
        reason = (
            f"{tried}none lowers the validation loss by more than a standard error "
            f"({found.winner}: {losses})"
        )
        return {"plan": _PROBE}, {"chosen": "head only", "reason": reason, "rungs": rungs}
    reason = f"{tried}it won by validation loss ({losses})"
    return candidates[found.winner], {"chosen": found.winner, "reason": reason, "rungs": rungs}


def _trial(model: Any, options: dict[str, Any], train: Train, epochs: int, folder: Path) -> Trial:
    """The lowest validation loss in so many epochs of training a copy of the model; with none,
    the loss that it begins with. Infinite where training diverges."""
    from regraft.training import processes
    from regraft.training.loop import Diverged
    from regraft.training.search import Trial
    from regraft.training.search_space import PLANS, shortened

    plan = shortened(options["plan"], epochs) if epochs else PLANS["last 2 blocks"] | {"epochs": 0}
    try:
        history = train(copy.deepcopy(model), options | {"plan": plan}, folder)
    except Diverged:
        return Trial(math.inf, math.inf)
    finally:
        if processes.is_first():
            shutil.rmtree(folder, ignore_errors=True)
    stages = history["stages"][1:] if epochs else history["stages"][:1]
    best = min(
        (epoch for stage in stages for epoch in stage["epochs"]), key=lambda one: one["val_loss"]
    )
    return Trial(float(best["val_loss"]), float(best["val_loss_error"]))


def _shown(rung: Rung, probe: float) -> dict[str, Any]:
    """A rung for the history and the report, the best first; JSON knows no infinity."""
    ranked = sorted(rung.losses.items(), key=lambda one: one[1])
    return {
        "epochs": rung.epochs,
        "probe_loss": probe,
        "candidates": [
            {"name": name, "val_loss": loss if math.isfinite(loss) else None,
             "kept": name in rung.kept}
            for name, loss in ranked
        ],
    }  # fmt: skip
