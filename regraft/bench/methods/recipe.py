"""The training pipeline of a recipe, step by step: what `regraft run` gives as the teacher."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd

from regraft.bench.prepared import Prepared
from regraft.steps.finetune import finetune
from regraft.steps.measuring import answers_of, baseline_metrics, metrics_of
from regraft.tasks import load_model


def measure(prepared: Prepared) -> dict[str, Any]:
    """{"teacher": {"test", "source", "target"}, "baselines": {"majority", "probe"}}."""
    folder = train(prepared)
    model = load_model(folder)
    test = tested(prepared, model.classes)
    seed, domains = prepared.recipe.seed, prepared.domains
    return {
        "teacher": scores(prepared, folder),
        "baselines": baseline_metrics(
            prepared.rows, test, model.classes, prepared.features, domains, seed
        ),
    }


def train(prepared: Prepared, options: dict[str, Any] | None = None, name: str = "teacher") -> Path:
    """The folder of the teacher, `name`; `options` takes the place of the recipe's section."""
    recipe, out = prepared.recipe, prepared.own / name
    shift = prepared.shift if recipe.data.target_domain else None
    features, manifest = prepared.features, prepared.manifest
    with prepared.timed("finetune"):
        finetune(
            task=recipe.task, manifest=manifest, features=features, shift=shift,
            options=options or prepared.values["finetune"], test_views=recipe.features.views,
            seed=recipe.seed, code_version="bench", out_dir=out,
        )  # fmt: skip
    return out


def scores(prepared: Prepared, folder: Path) -> dict[str, Any]:
    """Metrics of a saved model on the test split and on each of its domains."""
    model = load_model(folder)
    test = tested(prepared, model.classes)
    found = answers_of(model, test).probabilities
    return metrics_of(test, found, model.classes, prepared.domains, prepared.recipe.seed)


def tested(prepared: Prepared, classes: list[str]) -> pd.DataFrame:
    """The test rows of these classes."""
    rows = prepared.rows
    return rows[(rows["split"] == "test") & rows["label"].isin(classes)].reset_index(drop=True)
