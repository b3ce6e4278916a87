"""Distillation: the teacher in, a cheaper student out."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from regraft.data.manifest import read_manifest
from regraft.progress import note
from regraft.recipe.distillation import DistillationOptions
from regraft.steps.options import typed

if TYPE_CHECKING:
    from regraft.steps.teachers import Teachers
    from regraft.training.examples import Split
    from regraft.training.losses import DistillationLoss


def distill(
    *,
    task: str,
    manifest: str | Path,
    features: str | Path,
    teacher: str | Path,
    options: dict[str, Any],
    finetune: dict[str, Any],
    threads: int,
    seed: int,
    code_version: str,
    out_dir: str | Path,
    shift: str | Path | None = None,
) -> None:
    """Write the student's model folder and history.json into `out_dir`.

    `teacher` is the model folder of the fine-tuning, `options` the recipe's distillation section.
    `features`, `shift` (the folders of these steps) and `finetune` (the recipe's section) are what
    further teachers of an ensemble are made from.

    The student learns from the training examples and, where a target domain is given, from its
    unlabelled images. Its head is first fitted to the teacher's answers in closed form; then all
    of it learns them, as long as that helps on examples it does not learn from. Where there are
    none (few labels, no target domain), the head is all that is new. Where the teacher answers
    questions and `retriever.epochs` says so, the student gets an assistant of its own.

    Raises
    ------
    UserError
        The student's weights are missing, training diverged, or the disk is full.
    """
    import torch

    from regraft.steps.companions import teach_companions
    from regraft.steps.hardware import use_device, use_threads
    from regraft.steps.recording import modelling
    from regraft.steps.saving import save_trained
    from regraft.steps.teachers import Teachers, further_teachers
    from regraft.steps.workspace import digest, work_dir
    from regraft.tasks import task_module
    from regraft.training.examples import split_of

    options = typed(DistillationOptions, options)
    use_threads(threads)
    module, rows = task_module(task), read_manifest(Path(manifest))
    device = use_device()
    master = module.load_model(Path(teacher)).to(device)
    train, validation = (split_of(rows, name, master.classes) for name in ("train", "val"))
    with work_dir(
        "distill",
        manifest=digest(manifest),
        options=options,
        seed=seed,
        code=code_version,
        teacher=digest(Path(teacher, "model.safetensors")),
    ) as folder:
        further = further_teachers(
            options["ensemble_seeds"],
            folder,
            task=task,
            manifest=manifest,
            features=features,
            shift=shift,
            options=finetune,
            test_views=master.test_views,
            code_version=code_version,
        )
        models = [master, *(module.load_model(one).to(device) for one in further)]
        teachers = Teachers(module, models, options["augmentation"], seed, folder)
        torch.manual_seed(seed)  # a student may begin with random weights
        encoder = module.student_encoder(master.encoder, options["student"])
        student = module.new_model(encoder, master.classes, test_views=1).to(device)
        with modelling():
            lesson = _lesson(rows, train, validation)
            history = _teach(student, teachers, lesson, options, Path(features))
            save_trained(module, student, validation, history, Path(out_dir))
            teach_companions(
                rows,
                Path(teacher),
                Path(out_dir),
                student=lambda own: module.student_encoder(own, options["student"]),
                options=options,
                seed=seed,
            )


@dataclass(frozen=True)
class _Lesson:
    """What the student learns from, and what its epoch is chosen by: labelled rows, and behind
    them unlabelled ones of the target domain."""

    train: Split
    taught: pd.DataFrame
    validation: Split
    judged: pd.DataFrame


def _lesson(rows: pd.DataFrame, train: Split, validation: Split) -> _Lesson:
    """Every seventh group of the unlabelled rows judges, the others teach."""
    unlabelled = rows[rows["split"] == "unlabelled"]
    numbers = np.unique(unlabelled["group"].to_numpy(str), return_inverse=True)[1]
    judges = numbers % 7 == 6
    return _Lesson(
        train,
        pd.concat([train.rows, unlabelled[~judges]], ignore_index=True),
        validation,
        pd.concat([validation.rows, unlabelled[judges]], ignore_index=True),
    )


def _teach(
    student: Any, teachers: Teachers, lesson: _Lesson, options: dict[str, Any], features: Path
) -> dict[str, Any]:
    """Train the student in place and return the history."""
    from regraft.backbones.heads import FusionHead
    from regraft.steps.probes import fusion_options
    from regraft.training.optimisation import Optimisation
    from regraft.training.ports import Ports
    from regraft.training.progressive import fine_tune
    from regraft.training.sources import Data
    from regraft.transfer.plans import stages_of

    fuses = isinstance(teachers.models[0].head, FusionHead)
    only_head = fuses and not len(lesson.judged)  # which is fitted on pairs as they are
    n_views = 1 if only_head else teachers.views_of(len(lesson.taught))
    answers = teachers.answers(lesson.taught, n_views, "answers")
    if fuses:
        fusions = fusion_options(features, teachers.models[0].head.name)
        _fit_fusion(student, teachers, lesson.taught, answers, fusions)
    else:
        _fit_head(student, teachers, lesson.taught, answers)
    return fine_tune(
        student,
        stages_of(_plan(lesson, options["epochs"]), len(student.encoder.blocks)),
        data=Data(
            train=teachers.views(student, lesson.taught),
            validation=teachers.views(student, lesson.judged) if len(lesson.judged) else None,
            n_views=n_views,
        ),
        score=_score(teachers, lesson),
        loss=_loss(teachers, lesson, answers, options),
        optimisation=Optimisation(
            learning_rate=options["learning_rate"],
            block_decay=options["block_decay"],
            batch_size=options["batch_size"],
        ),
        ports=Ports(objectives=[options["hint"]]),
        work_dir=teachers.folder,
        seed=teachers.seed,
    )


def _plan(lesson: _Lesson, epochs: int) -> dict[str, Any]:
    """The new head alone, where there is nothing to choose an epoch by. (Five epochs on 5 leaf
    photos per class, unchosen: 98.0 % of the teacher's accuracy, the head alone 100.0 %.)"""
    if len(lesson.judged):
        return {"kind": "full", "epochs": epochs}
    note("no validation examples: the student keeps its weights and gets a new head")
    return {"kind": "head_only"}


def _fit_head(student: Any, teachers: Teachers, rows: pd.DataFrame, answers: np.ndarray) -> None:
    """Let the student answer as the teachers do, as far as a new head alone can."""
    from scipy.special import softmax

    from regraft.training.student_head import chosen_examples, student_head

    n_views = answers.shape[1]
    chosen = chosen_examples(len(answers), n_views)
    own = rows.iloc[chosen]
    embeddings = teachers.module.embeddings_of_views(
        student.encoder, teachers.views(student, own), list(range(n_views))
    )
    probabilities = softmax(answers[chosen] / teachers.temperature, axis=2)
    head = student_head(embeddings, probabilities, own["group"].tolist())
    head = head.scaled(teachers.temperature)  # its logits are learned from the teachers' hence
    student.set_head(head.weight, head.bias)
    student.temperature = teachers.temperature


def _fit_fusion(
    student: Any,
    teachers: Teachers,
    rows: pd.DataFrame,
    answers: np.ndarray,
    fusions: list[dict[str, Any]],
) -> None:
    """The teacher's fusion on what the student sees, or one modality where that is enough. Pairs
    without a label have the teacher's."""
    from regraft.steps.probes import calibrated
    from regraft.training.fusion_probe import fit_fusion_probe

    head, encoder = teachers.models[0].head, student.encoder
    said = np.array(student.classes)[answers[:, 0].argmax(1)]
    labels = np.where(rows["label"].isna(), said, rows["label"])
    encoder.reads_places = head.reads_places
    features, _ = teachers.module.embed(encoder, rows, views=1)
    probe, _ = fit_fusion_probe(
        rows.assign(split="train", label=labels),
        features,
        parts=encoder.parts,
        places=encoder.places,
        fusions=fusions,
        seed=teachers.seed,
    )
    scaled = calibrated(probe, factor=teachers.temperature)
    student.set_head(**scaled, abstain_below=float(head.abstain_below))
    student.temperature = teachers.temperature


def _score(teachers: Teachers, lesson: _Lesson) -> Any:
    from scipy.special import softmax

    from regraft.training.selection import validation_score

    unlabelled = lesson.judged[len(lesson.validation) :]
    if not len(unlabelled):
        return validation_score(lesson.validation.labels)
    logits = teachers.answers(unlabelled, 1, "judged")[:, 0]
    return validation_score(lesson.validation.labels, softmax(logits / teachers.temperature, 1))


def _loss(
    teachers: Teachers, lesson: _Lesson, answers: np.ndarray, options: dict[str, Any]
) -> DistillationLoss:
    from regraft.training.losses import distillation_loss

    hinted, n_views = options["hint"]["strength"] > 0, answers.shape[1]
    return distillation_loss(
        lesson.train,
        answers,
        temperature=options["temperature"],
        label_weight=options["label_weight"],
        teacher_embeddings=teachers.embeddings(lesson.taught, n_views) if hinted else None,
        variant=options["answers"],
    )
