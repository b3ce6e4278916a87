"""Further tasks beside the label, on their way through fine-tuning."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from regraft.data.manifest import files_of
from regraft.errors import UserError

if TYPE_CHECKING:
    from regraft.backbones.blockwise import BlockwiseEncoder
    from regraft.training.examples import Split
    from regraft.training.selection import Score

_READ_ANSWERS = ("lwf", "ewc", "cdan", "mcc", "entropy", "pseudo_label")
"""Objectives that compare answers, of two models or two domains, as those of one task."""


def begun(
    module: Any,
    encoder: BlockwiseEncoder,
    probe: dict[str, Any],
    features: Path,
    options: dict[str, Any],
    test_views: int,
) -> Any:
    """The model as the probes leave it: what fine-tuning begins with."""
    found = probe.get("auxiliary", {}) if options["auxiliary_weight"] else {}
    tasks = {name: one["classes"] for name, one in found.items()}
    kinds = [one["kind"] for one in options["objectives"] if one["strength"]]
    refused = [kind for kind in kinds if kind in _READ_ANSWERS]
    if tasks and refused:
        raise UserError(
            f"{', '.join(refused)} knows the answers to one task only",
            where="finetune.objectives",
            got=f"data.auxiliary_labels {', '.join(tasks)}",
            expected="objectives on embeddings or weights, such as l2_sp, mmd or dann",
        )
    model = module.new_model(encoder, probe["classes"], test_views=test_views, auxiliary=tasks)
    model.set_head(**np.load(features / "probe.npz"))
    if tasks:
        model.set_auxiliary_head(**np.load(features / "auxiliary.npz"))
    return model


def score_of(options: dict[str, Any], validation: Split, model: Any) -> Score:
    """The epoch is chosen by the sum that is learned."""
    from regraft.training.examples import task_labels
    from regraft.training.selection import multi_task_score, validation_score

    score = validation_score(validation.labels)
    if not model.auxiliary:
        return score
    tasks = {
        name: (columns, task_labels(validation.rows, name, model.auxiliary[name]))
        for name, columns in model.auxiliary_columns.items()
    }
    weight = options["auxiliary_weight"]
    return multi_task_score(score, tasks, n_classes=len(model.classes), weight=weight)


def calibrate_tasks(module: Any, model: Any, validation: Split) -> None:
    """A temperature for every auxiliary task that has validation labels."""
    from regraft.evaluation.calibration import fit_temperature
    from regraft.training.examples import task_labels

    if not model.auxiliary or not len(validation):
        return
    logits = module.predictor(model).rows(files_of(validation.rows))
    for name, columns in model.auxiliary_columns.items():
        task = task_labels(validation.rows, name, model.auxiliary[name])
        if task.known.any():
            known = logits[task.known][:, columns]
            model.auxiliary_temperatures[name] = fit_temperature(known, task.labels[task.known])
