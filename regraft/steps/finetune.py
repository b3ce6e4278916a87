"""Progressive fine-tuning: manifest and features in, the teacher out."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from regraft.data.manifest import in_order, read_manifest
from regraft.errors import UserError
from regraft.progress import note
from regraft.recipe.finetune import FinetuneOptions
from regraft.steps.options import typed

if TYPE_CHECKING:
    from regraft.backbones.blockwise import BlockwiseEncoder
    from regraft.training.examples import Split
    from regraft.training.losses import MainLoss
    from regraft.training.sources import Data

_MOST_JUDGING = 1000
"""Unlabelled target examples that are looked at after every epoch."""


def finetune(
    *,
    task: str,
    manifest: str | Path,
    features: str | Path,
    options: dict[str, Any],
    test_views: int,
    seed: int,
    code_version: str,
    out_dir: str | Path,
    shift: str | Path | None = None,
) -> None:
    """Write the teacher's model folder and history.json into `out_dir`, by this process or by
    several together (`processes` of the options, or REGRAFT_LAUNCHER; see `steps.launching`).

    `features` and `shift` are the folders of feature extraction and shift detection, `options` the
    recipe's finetune section. With an unlabelled target that has shifted, the head is adapted to it
    first; without `shift` nothing is adapted. Unlabelled examples of the labelled ones' own domain
    teach the head too, where held-out labels show that it helps. With an `auxiliary_weight` the
    tasks of the manifest (`regraft.data.auxiliary`) are learned beside the label, by one backbone
    and one head.

    Raises
    ------
    UserError
        Training diverged, or the disk is full; a re-run continues from the last epoch. Or an
        objective compares answers, which with several tasks it cannot.
    """
    from regraft.steps.launching import is_launched, launch

    arguments: dict[str, Any] = {
        "task": task,
        "manifest": str(manifest),
        "features": str(features),
        "options": typed(FinetuneOptions, options),
        "test_views": test_views,
        "seed": seed,
        "code_version": code_version,
        "out_dir": str(out_dir),
        "shift": str(shift or ""),
    }
    if is_launched(arguments["options"]["processes"]):
        launch(arguments)
    else:
        _finetune(**arguments)


def _finetune(
    *,
    task: str,
    manifest: str,
    features: str,
    options: dict[str, Any],
    test_views: int,
    seed: int,
    code_version: str,
    out_dir: str,
    shift: str,
) -> None:
    """What this process does of it."""
    from regraft.backbones.encoder import load_encoder
    from regraft.steps.adapting import adapted_head, semi_supervised_head_of
    from regraft.steps.auxiliary_tasks import begun, calibrate_tasks, score_of
    from regraft.steps.choosing import chosen_strategy
    from regraft.steps.companions import write_companions
    from regraft.steps.engine import optimisation_of, ports_of, target_score_of, trunks_of
    from regraft.steps.few_shot import few_shot_history
    from regraft.steps.hardware import use_device, use_threads
    from regraft.steps.recording import modelling
    from regraft.steps.saving import save_trained
    from regraft.steps.workspace import digest
    from regraft.tasks import task_module
    from regraft.training import processes
    from regraft.training.examples import split_of
    from regraft.training.planned import fine_tune_by_plan

    processes.join()
    use_threads(options["threads"])
    module, rows = task_module(task), read_manifest(Path(manifest))
    encoder = load_encoder(Path(features, "backbone"))
    probe = json.loads(Path(features, "probe.json").read_text(encoding="utf-8"))
    _refuse_mixing(encoder, options)
    model = begun(module, encoder, probe, Path(features), options, test_views)
    with modelling():
        adapted = semi = None
        known = (rows, probe["classes"], Path(features))
        if shift and probe["kind"] != "fusion":  # which one linear head would replace
            adapted = adapted_head(*known, Path(shift), options["adaptation"], seed=seed)
        if probe["kind"] not in ("cache_model", "fusion"):  # its keys are labelled photos
            semi = semi_supervised_head_of(*known, options["adaptation"], seed=seed)
    for found in (adapted, semi):
        if found and found.head:
            model.set_head(found.head.weight, found.head.bias)
    model.to(use_device())
    train, validation = (split_of(rows, name, model.classes) for name in ("train", "val"))
    data = _data(module, model, rows, Path(features), options, test_views, seed)
    with (
        _common_work_dir(
            "finetune",
            manifest=digest(manifest),
            options=options | {"processes": 1},  # any number of them continues what was begun
            seed=seed,
            code=code_version,
            backbone=digest(
                Path(features, "backbone", "model.safetensors"),
                Path(features, "probe.npz"),
                *Path(features).glob("auxiliary.npz"),
            ),
        ) as folder,
        modelling(),
    ):

        def trained(model: Any, options: dict[str, Any], folder: Path) -> dict[str, Any]:
            return fine_tune_by_plan(
                model,
                options["plan"],
                data=data,
                loss=_loss(options, train, model.auxiliary),
                score=score_of(options, validation, model),
                target_score=target_score_of(options, model),
                optimisation=optimisation_of(options),
                ports=ports_of(options),
                trunks=trunks_of(options, code_version),
                work_dir=folder,
                seed=seed,
            )

        history: dict[str, Any] | None = None
        strategy: dict[str, Any] = {}
        if _by_contrast(options, train.smallest_class, probe["kind"], model, [adapted, semi]):
            history = few_shot_history(
                module,
                model,
                rows,
                Path(features),
                options,
                head_kind=probe["kind"],
                code_version=code_version,
                work_dir=folder,
                seed=seed,
            )
        if history is None and options["strategy"] == "auto":
            options, strategy = chosen_strategy(
                model,
                options,
                trained,
                smallest_class=train.smallest_class,
                validation_examples=len(validation),
                probe_accuracy=probe["cv_accuracy"],
                shifted=_shifted(shift),
                adapted=bool(adapted),
                seed=seed,
                work_dir=folder,
            )
        elif history is None:
            options = options | {
                "plan": _plan(options, train.smallest_class, probe["cv_accuracy"], bool(adapted))
            }
        history = history or trained(model, options, folder)
        if strategy:
            history["strategy"] = strategy
        if adapted:
            history["adaptation"] = adapted.card
        if semi:
            history["semi_supervised"] = semi.card
        if processes.is_first():
            calibrate_tasks(module, model, validation)
            save_trained(module, model, None if adapted else validation, history, Path(out_dir))
            write_companions(rows, Path(features), Path(out_dir), options=options, seed=seed)


def _by_contrast(
    options: dict[str, Any], smallest_class: int, head_kind: str, model: Any, others: list[Any]
) -> bool:
    """Whether the recipe asks for it, labels are few, and nothing else has learned from more."""
    return (
        options["few_shot"]["kind"] == "contrast"
        and smallest_class < options["min_labels_per_class"]
        and head_kind not in ("cache_model", "fusion")
        and not model.auxiliary
        and not any(found and found.head for found in others)
    )


def _refuse_mixing(encoder: BlockwiseEncoder, options: dict[str, Any]) -> None:
    given = [name for name in ("mixup_alpha", "cutmix_alpha") if options[name]]
    if given and not encoder.mixes:
        raise UserError(
            "inputs of this backbone cannot be mixed",
            where=", ".join(f"finetune.{name}" for name in given),
            got=", ".join(str(options[name]) for name in given),
            expected="0: only pictures are mixed, the mean of two texts is no text",
        )


@contextmanager
def _common_work_dir(step: str, **inputs: Any) -> Iterator[Path]:
    """`work_dir` of several processes that work together: the first one holds it for all."""
    from regraft.steps.workspace import work_dir
    from regraft.training import processes

    if not processes.is_first():
        yield Path(processes.agreed(""))
        return
    with work_dir(step, **inputs) as folder:
        yield Path(processes.agreed(str(folder)))


def _shifted(shift: str | Path | None) -> bool:
    """The verdict of the shift detection; False where it did not run."""
    return bool(shift and json.loads(Path(shift, "shift.json").read_text("utf-8"))["shifted"])


def _loss(options: dict[str, Any], train: Split, auxiliary: dict[str, list[str]]) -> MainLoss:
    from regraft.training.examples import task_labels
    from regraft.training.losses import classification_loss

    names = (
        "label_smoothing", "mixup_alpha", "cutmix_alpha", "class_balance", "auxiliary_weight"
    )  # fmt: skip
    tasks = {name: task_labels(train.rows, name, classes) for name, classes in auxiliary.items()}
    return classification_loss(train, auxiliary=tasks, **{name: options[name] for name in names})


def _plan(
    options: dict[str, Any], smallest_class: int, probe_accuracy: float | None, adapted: bool
) -> dict[str, Any]:
    """The recipe's plan; the head alone where a rule says so. Terms that read the target may move
    blocks behind an adapted head."""
    from regraft.steps.choosing import rule

    plan: dict[str, Any] = options["plan"]
    asked_for = adapted and options["objectives"]
    reason = "" if asked_for else rule(options, smallest_class, probe_accuracy, adapted)
    if plan["kind"] == "head_only" or not reason:
        return plan
    note(f"the head alone is the model: {reason}")
    return {"kind": "head_only"}


def _data(
    module: Any,
    model: Any,
    rows: pd.DataFrame,
    features: Path,
    options: dict[str, Any],
    test_views: int,
    seed: int,
) -> Data:
    from regraft.steps.companions import partners_of
    from regraft.training.domain_views import in_one_domain
    from regraft.training.examples import split_of
    from regraft.training.sources import Data

    def views(chosen: pd.DataFrame) -> Any:
        return module.training_views(model.encoder, chosen, options["augmentation"], seed=seed)

    def served(chosen: pd.DataFrame) -> Any:
        own = views(chosen)
        return own if test_views == 1 else module.served_views(model.encoder, own, test_views)

    train, validation = (split_of(rows, name, model.classes) for name in ("train", "val"))
    unlabelled = rows[rows["split"] == "unlabelled"]
    judging = unlabelled.iloc[:: -(-len(unlabelled) // _MOST_JUDGING) or 1]
    return Data(
        train=views(train.rows),
        validation=served(validation.rows) if len(validation) else None,
        unlabelled=views(unlabelled) if len(unlabelled) else None,
        target=served(judging) if len(judging) and not in_one_domain(rows) else None,
        partners=partners_of(rows, model.classes, seed=seed),
        difficulty=_difficulty(rows, train, features, seed)
        if options["sampling"]["kind"] == "curriculum"
        else None,
        cached_views=options["augmentation"]["cached_views"],
        served_views=test_views,
    )


def _difficulty(rows: pd.DataFrame, train: Split, features: Path, seed: int) -> np.ndarray:
    """Of the training examples, (n,), in the order of `train`."""
    from regraft.training.difficulty import held_out_losses

    archive = np.load(features / "features.npz")
    known = in_order(rows, archive["ids"])
    losses = held_out_losses(known, archive["averaged"], seed=seed)
    names = known.loc[known["split"] == "train", "id"]
    return np.asarray(pd.Series(losses, index=names).loc[train.rows["id"]])
