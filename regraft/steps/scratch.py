"""The baseline "from scratch": the same architecture without what it was pre-trained on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from regraft.data.manifest import files_of
from regraft.recipe.augmentation import AugmentationOptions

_RATE = 2e-3


def from_scratch(
    module: Any,
    teacher: Any,
    rows: pd.DataFrame,
    test: pd.DataFrame,
    *,
    epochs: int,
    seed: int,
    work_dir: Path,
) -> np.ndarray:
    """Probabilities (n, classes) on `test` of a model trained on the same rows for `epochs`.

    Every block learns at one rate from random weights, batch norm measures its own statistics.
    """
    import torch

    from regraft.training.examples import split_of
    from regraft.training.losses import classification_loss
    from regraft.training.optimisation import Optimisation
    from regraft.training.progressive import fine_tune
    from regraft.training.selection import validation_score
    from regraft.training.sources import Data
    from regraft.transfer.plans import stages_of

    torch.manual_seed(seed)
    encoder = teacher.encoder.blank()
    model = module.new_model(encoder, teacher.classes, test_views=1)
    train, validation = (split_of(rows, name, model.classes) for name in ("train", "val"))
    augmentation = AugmentationOptions().model_dump()
    fine_tune(
        model, stages_of({"kind": "full", "epochs": epochs}, len(encoder.blocks)),
        data=Data(
            train=module.training_views(encoder, train.rows, augmentation, seed=seed),
            validation=module.training_views(encoder, validation.rows, augmentation, seed=seed)
            if len(validation) else None,
        ),
        score=validation_score(validation.labels),
        loss=classification_loss(
            train, label_smoothing=0.0, mixup_alpha=0.0, class_balance=True
        ),
        optimisation=Optimisation(
            learning_rate=_RATE, head_learning_rate=_RATE, block_decay=1.0, keep_statistics=False
        ),
        work_dir=work_dir, seed=seed,
    )  # fmt: skip
    found: np.ndarray = module.predictor(model).probabilities(files_of(test))
    return found
