"""Distillation: the teacher in, a cheaper student out."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from regraft.data.manifest import read_manifest
from regraft.recipe.model import DistillationOptions
from regraft.steps.options import typed


def distill(
    *,
    task: str,
    manifest: str | Path,
    teacher: str | Path,
    options: dict[str, Any],
    threads: int,
    seed: int,
    code_version: str,
    out_dir: str | Path,
) -> None:
    """Write the student's model folder and history.json into `out_dir`.

    `teacher` is the model folder of the fine-tuning, `options` the recipe's distillation section.

    Raises
    ------
    UserError
        The student's weights are missing, training diverged, or the disk is full.
    """
    from regraft.steps.hardware import use_device, use_threads
    from regraft.steps.recording import modelling
    from regraft.steps.saving import save_trained
    from regraft.steps.workspace import digest, work_dir
    from regraft.tasks import task_module
    from regraft.training.examples import Split, split_of
    from regraft.training.losses import distillation_loss
    from regraft.training.optimisation import Optimisation
    from regraft.training.progressive import fine_tune
    from regraft.training.selection import validation_score
    from regraft.training.sources import Data
    from regraft.transfer.plans import stages_of

    options = typed(DistillationOptions, options)
    use_threads(threads)
    module, rows = task_module(task), read_manifest(Path(manifest))
    device = use_device()
    master = module.load_model(Path(teacher)).to(device)
    student = _student(module, master, options["student"]).to(device)
    train, validation = (split_of(rows, name, master.classes) for name in ("train", "val"))
    augmentation = options["augmentation"]
    seen = module.training_views(master.encoder, train.rows, augmentation, seed=seed)

    def views(split: Split) -> Any:
        return module.training_views(student.encoder, split.rows, augmentation, seed=seed)

    with (
        work_dir(
            "distill",
            manifest=digest(manifest),
            options=options,
            seed=seed,
            code=code_version,
            teacher=digest(Path(teacher, "model.safetensors")),
        ) as folder,
        modelling(),
    ):
        answers = _answers(module, master, seen, augmentation["cached_views"], folder)
        history = fine_tune(
            student,
            stages_of({"kind": "full", "epochs": options["epochs"]}, len(student.encoder.blocks)),
            data=Data(
                train=views(train),
                validation=views(validation) if len(validation) else None,
                n_views=augmentation["cached_views"],
            ),
            score=validation_score(validation.labels),
            loss=distillation_loss(
                train,
                answers,
                temperature=options["temperature"],
                label_weight=options["label_weight"],
            ),
            optimisation=Optimisation(
                learning_rate=options["learning_rate"],
                block_decay=options["block_decay"],
                batch_size=options["batch_size"],
            ),
            work_dir=folder,
            seed=seed,
        )
        student.temperature = master.temperature
        save_trained(module, student, validation, history, Path(out_dir))


def _student(module: Any, teacher: Any, options: dict[str, Any]) -> Any:
    """The student before it learns. Named `teacher` it is a copy at a smaller input size; any
    other backbone begins with its own weights and the teacher's knowledge has to be learned."""
    from regraft.backbones.encoder import Encoder
    from regraft.backbones.loading import build, load_pretrained

    spec = teacher.encoder.spec
    if options["name"] != "teacher":
        encoder = Encoder(*load_pretrained(**options, taps=spec.taps))
        return module.new_model(encoder, teacher.classes, test_views=1)
    size = options["image_size"] or _cheaper_size(spec.preprocessing.image_size)
    spec = replace(spec, preprocessing=replace(spec.preprocessing, image_size=size))
    encoder = Encoder(spec, build(spec.architecture, spec.model_args))
    student = module.new_model(encoder, teacher.classes, test_views=1)
    student.load_state_dict(teacher.state_dict())
    return student


def _cheaper_size(image_size: int) -> int:
    """About 4/7 of the teacher's side, a multiple of 32: a third of the arithmetic."""
    return max(round(image_size * 4 / 7 / 32) * 32, 32)


def _answers(module: Any, teacher: Any, views: Any, n_views: int, folder: Path) -> np.ndarray:
    """The teacher's logits (n, views, classes) of every view the student will see; kept in
    `folder`, so that a resumed run does not ask again."""
    path = folder / "answers.npy"
    if path.is_file():
        return np.asarray(np.load(path))
    answers = module.logits_of_views(teacher, views, n_views)
    partial = path.with_suffix(".partial.npy")
    np.save(partial, answers)
    partial.replace(path)
    return np.asarray(answers)
