"""Which photos get a label is chance: how often would the gate have promoted with others?"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from regraft.evaluation.comparison import compare_models
from regraft.evaluation.gate import Rules, decide
from regraft.evaluation.metrics import class_numbers, classification_metrics
from regraft.recipe.gate import GateOptions

Answers = Sequence[dict[str, Any]]
"""Of `regraft predict`, one per photo."""
DRAWS = 200


def promoted_share(
    lab: Sequence[Path],
    field: Sequence[Path],
    *,
    champion: Answers,
    candidate: Answers,
    test_photos: int,
    draws: int = DRAWS,
    seed: int = 0,
) -> float:
    """Share of `draws` in which the gate, with a recipe's defaults, promotes.

    A test set is all of `lab` and `test_photos` of every class of `field`, which neither model
    learned from; answers are those to `lab` and then `field`, and a photo's folder is its label.
    Latency, which does not depend on the draw, is left out.
    """
    photos = [*lab, *field]
    rows = pd.DataFrame({"label": [photo.parent.name for photo in photos]})
    rows["domain"] = ["lab"] * len(lab) + ["field"] * len(field)
    rows["group"] = range(len(rows))
    classes = sorted(set(rows["label"]))
    mine, theirs = (
        np.array([[answer["probabilities"][name] for name in classes] for answer in answers])
        for answers in (candidate, champion)
    )
    options = GateOptions().model_dump()
    rules = {name: options[name] for name in Rules.__dataclass_fields__}
    rng = np.random.default_rng(seed)
    promoted = 0
    for _ in range(draws):
        drawn = _drawn(rows, test_photos, rng)
        own = rows.iloc[drawn].reset_index(drop=True)
        truth = class_numbers(own["label"].tolist(), classes)
        decision = decide(
            candidate=classification_metrics(truth, mine[drawn], replicates=200),
            floor={"accuracy": options["min_accuracy"]},
            majority_accuracy=float(own["label"].value_counts(normalize=True).max()),
            comparison=compare_models(own, mine[drawn], theirs[drawn], classes, source="lab"),
            rules=Rules(**rules | {"max_latency_ratio": None}),
        )
        promoted += decision.outcome == "promote"
    return promoted / draws


def _drawn(rows: pd.DataFrame, per_class: int, rng: np.random.Generator) -> np.ndarray:
    field = rows[rows["domain"] == "field"]
    chosen = [
        rng.choice(own.to_numpy(), per_class, replace=False)
        for own in field.groupby("label").groups.values()
    ]
    return np.concatenate([np.flatnonzero(rows["domain"] == "lab"), *chosen])
