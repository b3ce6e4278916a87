"""A sequence of tasks: raw files in; accuracy after every task, and the last model, out."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from regraft.data.manifest import files_of, read_manifest
from regraft.errors import UserError
from regraft.evaluation.continual import continual_metrics
from regraft.recipe.backbone import BackboneOptions, FeatureOptions
from regraft.recipe.data import DataOptions
from regraft.recipe.finetune import FinetuneOptions
from regraft.recipe.sequence import SequenceOptions
from regraft.steps.options import typed
from regraft.steps.sequence_tasks import TaskPlan, planned_tasks

BOUNDS = ("naive", "joint")


def sequence(
    *,
    task: str,
    data: dict[str, Any],
    backbone: dict[str, Any],
    features: dict[str, Any],
    finetune: dict[str, Any],
    options: dict[str, Any],
    seed: int,
    code_version: str,
    out_dir: str | Path,
) -> dict[str, Any]:
    """Learn the tasks of a recipe's section `sequence` (`options`) one after the other.

    Writes sequence.json (also returned), sequence.csv (the accuracies), manifest.parquet and
    model/, the model of the method after the last task, into `out_dir`. The other arguments are
    the sections of their names. All labelled examples that are not kept for the test train:
    nothing is chosen on validation data.

    Raises
    ------
    UserError
        The tasks do not fit the data, the method needs blocks that move, training diverged, or
        the disk is full; a further call continues where this one stopped.
    """
    from regraft.steps.hardware import use_threads
    from regraft.steps.recording import modelling
    from regraft.steps.workspace import digest, work_dir
    from regraft.tasks import task_module

    options = typed(SequenceOptions, options)
    sections = {
        "backbone": typed(BackboneOptions, backbone),
        "features": typed(FeatureOptions, features),
        "finetune": typed(FinetuneOptions, finetune),
    }
    _refuse_idle(options, sections["features"])
    use_threads(sections["finetune"]["threads"])
    out = Path(out_dir)
    tasks = planned_tasks(typed(DataOptions, data), options)
    rows = _manifest(task, typed(DataOptions, data), tasks, seed, out)
    methods = list(dict.fromkeys([options["method"], *(BOUNDS if options["bounds"] else ())]))
    known = {key: value for key, value in options.items() if key not in ("method", "bounds")}
    with (
        work_dir(
            "sequence",
            manifest=digest(out / "manifest.parquet"),
            sections=sections,
            options=known,
            weights=_digest_of_weights(sections["backbone"]["weights"]),
            seed=seed,
            code=code_version,
        ) as folder,
        modelling(),
    ):
        found = _learned(
            task_module(task), rows, tasks, methods, sections, options, seed, code_version, folder
        )
        task_module(task).save(found[options["method"]].model.to("cpu"), out / "model")
    report = _report(rows, tasks, found, options)
    (out / "sequence.json").write_text(json.dumps(report, indent=2), encoding="utf-8")
    _accuracies(report).to_csv(out / "sequence.csv", index=False)
    return report


def _refuse_idle(options: dict[str, Any], features: dict[str, Any]) -> None:
    from regraft.training.sequence_methods import METHODS

    if features["domain_pretraining"]["epochs"]:
        raise UserError(
            "a sequence of tasks learns from images, and texts are what an encoder is further "
            "pre-trained on",
            where="features.domain_pretraining.epochs",
            got=str(features["domain_pretraining"]["epochs"]),
            expected="0",
        )
    if METHODS[options["method"]].holds_backbone and options["plan"]["kind"] == "head_only":
        raise UserError(
            f"{options['method']} holds weights of the backbone, and the plan moves none",
            where="sequence.plan.kind",
            got="head_only",
            expected="a plan that moves blocks",
            fix="set sequence.plan.kind=last_n, or take another sequence.method",
        )


def _manifest(
    task: str, data: dict[str, Any], tasks: list[TaskPlan], seed: int, out: Path
) -> pd.DataFrame:
    """Training and test rows of all tasks, with the number of their task; one validation of the
    data per domain."""
    from regraft.data.manifest import write_manifest
    from regraft.steps.validate_data import validate_data

    parts = []
    for domain in dict.fromkeys(one.domain for one in tasks):
        owner = {
            name: number
            for number, one in enumerate(tasks)
            if one.domain == domain
            for name in one.classes
        }
        chosen = {
            "source_domain": domain,
            "target_domain": "",
            "classes": list(owner),
            "validation_fraction": 0.0,
        }
        folder = out / "data" / (domain or "all")
        validate_data(task=task, data=data | chosen, seed=seed, out_dir=folder)
        part = read_manifest(folder / "manifest.parquet")
        part = part[part["split"].isin(["train", "test"])]
        parts.append(part.assign(task=part["label"].map(owner).astype(int)))
    rows = pd.concat(parts, ignore_index=True)
    write_manifest(rows, out / "manifest.parquet")
    return rows


def _digest_of_weights(weights: str) -> str:
    from regraft.steps.workspace import digest

    return digest(weights) if Path(weights).is_file() else weights


def _learned(
    module: Any,
    rows: pd.DataFrame,
    tasks: list[TaskPlan],
    methods: list[str],
    sections: dict[str, Any],
    options: dict[str, Any],
    seed: int,
    code_version: str,
    folder: Path,
) -> dict[str, Any]:
    """Every method's end state."""
    from regraft.training.sequence import learn_tasks
    from regraft.training.sequence_tasks import Tasks

    learner = _learner(module, rows, sections, options, seed, code_version, folder)
    order = Tasks(rows, [one.name for one in tasks], [one.classes for one in tasks])
    return {name: learn_tasks(order, name, learner, folder / name) for name in methods}


def _learner(
    module: Any,
    rows: pd.DataFrame,
    sections: dict[str, Any],
    options: dict[str, Any],
    seed: int,
    code_version: str,
    folder: Path,
) -> Any:
    from regraft.backbones.encoder import Encoder
    from regraft.backbones.loading import build, load_pretrained
    from regraft.evaluation.calibration import fit_temperature
    from regraft.steps.engine import optimisation_of, ports_of, trunks_of
    from regraft.steps.hardware import use_device
    from regraft.training.checkpoints import kept_array
    from regraft.training.sequence import Learner
    from regraft.transfer.stage import Stage

    finetune, views = sections["finetune"], sections["features"]["views"]
    spec, network = load_pretrained(**sections["backbone"], taps=sections["features"]["taps"])
    encoder = Encoder(spec, network).eval()
    start = {name: value.clone() for name, value in encoder.state_dict().items()}
    optimisation = optimisation_of(finetune)

    def model(classes: list[str]) -> Any:
        own = Encoder(spec, build(spec.architecture, spec.model_args))
        own.load_state_dict(start)
        return module.new_model(own, classes, test_views=views).to(use_device()).eval()

    def widened(old: Any, classes: list[str]) -> Any:
        return module.new_model(old.encoder, classes, test_views=views).to(use_device()).eval()

    def embed(one: Any, chosen: pd.DataFrame) -> np.ndarray:
        found: np.ndarray = module.embeddings_and_logits(one, files_of(chosen))[0]
        return found

    return Learner(
        model=model,
        widened=widened,
        views=lambda own, chosen: module.training_views(
            own, chosen, finetune["augmentation"], seed=seed
        ),
        embed=embed,
        features=kept_array(folder / "features.npy", lambda: embed(model(["any"]), rows)),
        temperature=fit_temperature,
        plan=options["plan"],
        head=Stage(
            "grown head",
            frozenset(),
            options["head_epochs"],
            rate_factor=options["head_learning_rate"] / optimisation.head_learning_rate,
        ),
        optimisation=optimisation,
        ports=ports_of(finetune),
        loss={
            name: finetune[name]
            for name in ("label_smoothing", "mixup_alpha", "cutmix_alpha", "class_balance")
        },
        cached_views=finetune["augmentation"]["cached_views"],
        trunks=trunks_of(finetune, code_version),
        memory_per_class=options["memory_per_class"],
        seed=seed,
    )


def _report(
    rows: pd.DataFrame, tasks: list[TaskPlan], found: dict[str, Any], options: dict[str, Any]
) -> dict[str, Any]:
    """sequence.json."""
    from regraft.training.sequence_methods import METHODS

    counts = rows.groupby(["task", "split"]).size()
    methods = {
        name: {
            "accuracy": one.accuracy,
            **continual_metrics(one.accuracy),
            "remembered": len(one.memory) if METHODS[name].remembers else 0,
        }
        for name, one in found.items()
    }
    report = {
        "method": options["method"],
        "memory_per_class": options["memory_per_class"],
        "plan": options["plan"],
        "tasks": [
            {
                "name": one.name,
                "domain": one.domain,
                "classes": one.classes,
                "train": int(counts[number, "train"]),
                "test": int(counts[number, "test"]),
            }
            for number, one in enumerate(tasks)
        ],
        "methods": methods,
    }
    if "joint" in methods:
        joint = methods["joint"]["average_accuracy"]
        for one in methods.values():
            one["below_joint_pp"] = round(100 * (joint - one["average_accuracy"]), 3)
    return report


def _accuracies(report: dict[str, Any]) -> pd.DataFrame:
    """The accuracies as a small table: a row per method and task trained on."""
    names = [one["name"] for one in report["tasks"]]
    return pd.DataFrame(
        [
            {"method": method, "after": after, **dict(zip(names, row, strict=True))}
            for method, one in report["methods"].items()
            for after, row in zip(names, one["accuracy"], strict=True)
        ]
    )
