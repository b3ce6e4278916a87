"""Progressive fine-tuning: manifest and features in, the teacher out."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from regraft.data.manifest import read_manifest
from regraft.progress import note
from regraft.recipe.finetune import FinetuneOptions
from regraft.steps.options import typed


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
) -> None:
    """Write the teacher's model folder and history.json into `out_dir`.

    `features` is the folder of the feature extraction, `options` the recipe's finetune section.

    Raises
    ------
    UserError
        Training diverged, or the disk is full; a re-run continues from the last epoch.
    """
    from regraft.backbones.encoder import load_encoder
    from regraft.steps.hardware import use_device, use_threads
    from regraft.steps.recording import modelling
    from regraft.steps.saving import save_trained
    from regraft.steps.workspace import digest, work_dir
    from regraft.tasks import task_module
    from regraft.training.examples import split_of
    from regraft.training.losses import classification_loss
    from regraft.training.progressive import Optimisation, fine_tune
    from regraft.training.selection import validation_score
    from regraft.transfer.plans import stages_of

    options = typed(FinetuneOptions, options)
    use_threads(options["threads"])
    module, rows = task_module(task), read_manifest(Path(manifest))
    encoder = load_encoder(Path(features, "backbone"))
    probe = json.loads(Path(features, "probe.json").read_text(encoding="utf-8"))
    head = np.load(Path(features, "probe.npz"))
    model = module.new_model(encoder, probe["classes"], test_views=test_views)
    model.set_head(head["weight"], head["bias"])
    model.to(use_device())
    train, validation = (split_of(rows, name, model.classes) for name in ("train", "val"))
    stages = stages_of(options["plan"], len(encoder.blocks))
    if stages and train.smallest_class < options["min_labels_per_class"]:
        note(
            f"{train.smallest_class} training labels in the smallest class: the probe is the model"
        )
        stages = []
    optimisation = Optimisation(
        **options["optimiser"],
        batch_size=options["batch_size"],
        clip_norm=options["clip_norm"],
        keep_statistics=options["batch_norm"] == "frozen",
        precision=options["precision"],
    )
    loss = classification_loss(
        train,
        label_smoothing=options["label_smoothing"],
        mixup_alpha=options["mixup_alpha"],
        class_balance=options["class_balance"],
    )
    augmentation = options["augmentation"]
    with (
        work_dir(
            "finetune",
            manifest=digest(manifest),
            options=options,
            seed=seed,
            code=code_version,
            backbone=digest(
                Path(features, "backbone", "model.safetensors"), Path(features, "probe.npz")
            ),
        ) as folder,
        modelling(),
    ):
        history = fine_tune(
            model,
            stages,
            train=module.training_views(encoder, train.rows, augmentation, seed=seed),
            validation=module.training_views(encoder, validation.rows, augmentation, seed=seed)
            if len(validation)
            else None,
            score=validation_score(validation.labels),
            step_loss=loss,
            optimisation=optimisation,
            n_views=augmentation["cached_views"],
            work_dir=folder,
            seed=seed,
        )
        save_trained(module, model, validation, history, Path(out_dir))
