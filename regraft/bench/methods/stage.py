"""One stage of training, with or without the frozen-trunk cache: what the cache saves."""

from __future__ import annotations

import json
from typing import Any

import numpy as np

from regraft.bench.methods.recipe import scores
from regraft.bench.prepared import Prepared
from regraft.steps.hardware import use_device
from regraft.steps.saving import save_trained
from regraft.training.examples import split_of
from regraft.training.losses import classification_loss
from regraft.training.optimisation import Optimisation
from regraft.training.progressive import fine_tune
from regraft.training.selection import validation_score
from regraft.training.sources import Data
from regraft.training.trunk_store import TrunkStore
from regraft.transfer.stage import Stage, last_blocks


def measure(prepared: Prepared, *, share: float, epochs: int, cached: bool) -> dict[str, Any]:
    """{"teacher": {"test"}} after `epochs` of the head and the last `share` of the blocks, from the
    probed head; the step `stage` is the training alone."""
    model = _probed(prepared)
    model.to(use_device())
    train, validation = (split_of(prepared.rows, s, model.classes) for s in ("train", "val"))
    options, seed = prepared.values["finetune"], prepared.recipe.seed

    def views(rows: Any) -> Any:
        return prepared.module.training_views(
            model.encoder, rows, options["augmentation"], seed=seed
        )

    blocks = len(model.encoder.blocks)
    with prepared.timed("stage"):
        history = fine_tune(
            model,
            [Stage("stage", last_blocks(round(share * blocks), blocks), epochs)],
            data=Data(
                train=views(train.rows),
                validation=views(validation.rows) if len(validation) else None,
                cached_views=options["augmentation"]["cached_views"],
            ),
            loss=classification_loss(
                train, label_smoothing=0.0, mixup_alpha=0.0, class_balance=True
            ),
            score=validation_score(validation.labels),
            optimisation=Optimisation(**options["optimiser"]),
            trunks=TrunkStore(prepared.own / "trunks", 2**40) if cached else None,
            work_dir=prepared.own / "work",
            seed=seed,
        )
    save_trained(prepared.module, model, validation, history, prepared.own / "teacher")
    return {"teacher": scores(prepared, prepared.own / "teacher")}


def _probed(prepared: Prepared) -> Any:
    """The encoder with the head that the feature extraction fitted."""
    card = json.loads((prepared.features / "probe.json").read_text(encoding="utf-8"))
    views = prepared.recipe.features.views
    model = prepared.module.new_model(prepared.encoder(), card["classes"], test_views=views)
    model.set_head(**np.load(prepared.features / "probe.npz"))
    return model
