"""Everything that the gate wants to know about two models' answers to the same examples."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from regraft.evaluation.calibration import expected_calibration_error
from regraft.evaluation.class_losses import class_losses
from regraft.evaluation.metrics import check_labels, check_probabilities, class_numbers
from regraft.evaluation.paired_bootstrap import paired_bootstrap
from regraft.evaluation.pairs import pair
from regraft.evaluation.sign_flip import sign_flip_test
from regraft.evaluation.slices import parts_of


def compare_models(
    rows: pd.DataFrame,
    candidate: ArrayLike,
    champion: ArrayLike,
    classes: Sequence[str],
    *,
    metric: str = "accuracy",
    source: str = "",
    slicing: Mapping[str, Mapping[str, str]] | None = None,
    seed: int = 0,
) -> dict[str, Any]:
    """Compare the probabilities (n, classes) of two models on the same rows.

    `rows` has the columns label and group, and optionally domain and those that slices are made
    of (see `slices.slice_table`). `source` names the domain that must not be forgotten.

    Returns what `gate.decide` reads: difference, low, high, p_better (`paired_bootstrap`), p_value,
    discordant, exact (`sign_flip_test`), count, groups, slices [{slice, value, count, candidate,
    champion}], classes (`class_losses`), ece {count, candidate, champion} and, where `source` has
    rows, source {count, candidate, champion}; figures of a model are accuracies and calibration
    errors. Raises UserError as `pairs.pair` does.
    """
    truth = class_numbers(rows["label"].tolist(), classes)
    scores = {"candidate": candidate, "champion": champion}
    checked = {who: check_probabilities(values) for who, values in scores.items()}
    for values in checked.values():
        check_labels(truth, values)
    pairs = pair(
        truth, checked["candidate"], checked["champion"], groups=rows["group"].to_numpy(),
        domains=rows["domain"].tolist() if "domain" in rows else None, by_class=True, metric=metric,
    )  # fmt: skip
    right = rows.assign(
        candidate=pairs.candidate == pairs.truth, champion=pairs.champion == pairs.truth
    )
    found: dict[str, Any] = {
        **paired_bootstrap(pairs, seed=seed),
        **sign_flip_test(pairs, seed=seed),
        "count": len(rows),
        "groups": int(pairs.codes.max()) + 1,
        "slices": [
            {"slice": name, "value": value, **accuracies(part)}
            for name, value, part in parts_of(right, **(slicing or {}))
        ],
        "classes": class_losses(right),
        "ece": {"count": len(rows)}
        | {who: expected_calibration_error(truth, one) for who, one in checked.items()},
    }
    if source and "domain" in rows and (rows["domain"] == source).any():
        found["source"] = accuracies(right[right["domain"] == source])
    return found


def accuracies(right: pd.DataFrame) -> dict[str, Any]:
    """{count, candidate, champion} of rows with these two columns of right or wrong."""
    return {
        "count": len(right),
        **{who: float(np.mean(right[who])) for who in ("candidate", "champion")},
    }
