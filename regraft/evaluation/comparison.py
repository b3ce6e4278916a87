"""The gate: may the candidate replace the champion?"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike

from regraft.errors import UserError
from regraft.evaluation import bootstrap
from regraft.evaluation.bootstrap import REPLICATES, Ints
from regraft.evaluation.metrics import check_labels, check_probabilities

Outcome = Literal["first", "promote", "hold"]
METRICS = {"accuracy": bootstrap.accuracy_of, "macro_f1": bootstrap.macro_f1_of}


@dataclass(frozen=True)
class Decision:
    """What the gate says; `interval` is that of candidate - champion (None without a champion)."""

    outcome: Outcome
    reason: str
    interval: tuple[float, float] | None = None

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready, in the shape of summary.json."""
        return {**asdict(self), "interval": list(self.interval) if self.interval else None}


def paired_bootstrap(
    labels: ArrayLike,
    candidate: ArrayLike,
    champion: ArrayLike,
    *,
    groups: ArrayLike | Sequence[Any] | None = None,
    metric: str = "accuracy",
    replicates: int = REPLICATES,
    seed: int = 0,
) -> dict[str, float]:
    """Interval of metric(candidate) - metric(champion) on the same examples.

    `labels` (n,) are class numbers; `candidate` and `champion` are probabilities (n, classes) or
    predicted class numbers (n,). Both are resampled together, whole `groups` at a time, so what
    makes an example hard cancels out. Returns difference, low, high (95%) and p_better, the share
    of replicates in which the candidate is strictly better.

    Raises UserError for empty, NaN or mismatching input and for fewer than two groups: one group
    has no spread, and an interval without width would always promote.
    """
    if metric not in METRICS:
        raise ValueError(f"metric is one of {', '.join(METRICS)}, got {metric!r}")
    truth = _class_numbers(labels, "labels")
    choices = [_predicted(candidate, truth, "candidate"), _predicted(champion, truth, "champion")]
    codes = bootstrap.group_codes(groups, len(truth))
    if codes.max() == 0:
        raise UserError(
            "two models cannot be compared on one group of examples",
            got=f"{len(truth)} examples in 1 group",
            expected="at least 2 groups",
            fix="use a larger test split",
        )
    classes = int(max(truth.max(), *(predicted.max() for predicted in choices))) + 1
    tallies = [bootstrap.class_tallies(truth, predicted, codes, classes) for predicted in choices]
    sums = bootstrap.resample(np.concatenate(tallies, axis=1), replicates=replicates, seed=seed)
    score = METRICS[metric]
    differences = score(sums[:, : 3 * classes]) - score(sums[:, 3 * classes :])
    low, high = bootstrap.percentile_interval(differences)
    return {
        "difference": float(score(tallies[0].sum(axis=0)) - score(tallies[1].sum(axis=0))),
        "low": low,
        "high": high,
        "p_better": float((differences > 0).mean()),
    }


def decide(
    *,
    candidate: Mapping[str, Any],
    floor: Mapping[str, float],
    majority_accuracy: float,
    difference: Mapping[str, float] | None,
    min_gain: float = 0.0,
) -> Decision:
    """Apply the gate's rules in order; the first that fails holds the candidate back.

    1. Floor: every metric named in `floor` is reached, and the lower end of the candidate's 95%
       accuracy interval is above `majority_accuracy` (what guessing the commonest class gets).
    2. No champion (`difference` is None): the candidate is the first.
    3. Promote only if the lower end of `difference` (from `paired_bootstrap`) exceeds `min_gain`.

    `candidate` is the result of `classification_metrics`. Raises UserError if anything that the
    rules read is missing or not a finite number: a gate without evidence must not look like a gate
    that said no.
    """
    minimum_gain = _number(min_gain, "min_gain")
    majority = _number(majority_accuracy, "the accuracy of the majority baseline")
    limits = {name: _number(value, f"the floor of {name}") for name, value in floor.items()}
    scores = {name: _metric(candidate, name) for name in {"accuracy", *limits}}
    lower_accuracy = _number(_lower_end(candidate), "the candidate's accuracy interval")
    interval = _interval(difference)
    for name, limit in limits.items():
        if scores[name] < limit:
            reason = f"{_words(name)} {scores[name]:.1%} is below the floor of {limit:.1%}"
            return Decision("hold", reason, interval)
    if lower_accuracy <= majority:
        reason = (
            f"not shown to beat the majority class: accuracy {scores['accuracy']:.1%} "
            f"(at least {lower_accuracy:.1%}) against {majority:.1%}"
        )
        return Decision("hold", reason, interval)
    if interval is None:
        return Decision("first", "reaches the floor and there is no champion to beat")
    return _against_champion(interval, minimum_gain)


def _against_champion(interval: tuple[float, float], min_gain: float) -> Decision:
    low, high = interval
    span = f"{low * 100:+.1f} to {high * 100:+.1f} points (95%)"
    asked = f" by more than {min_gain * 100:.1f} points" if min_gain else ""
    if low > min_gain:
        return Decision("promote", f"better than the champion{asked}: {span}", interval)
    if high < 0:
        return Decision("hold", f"worse than the champion: {span}", interval)
    return Decision("hold", f"not shown to be better than the champion{asked}: {span}", interval)


def _predicted(output: ArrayLike, truth: Ints, who: str) -> Ints:
    values = np.asarray(output)
    if values.ndim == 2:
        scores = check_probabilities(values)
        check_labels(truth, scores)
        return scores.argmax(axis=1)
    numbers = _class_numbers(values, f"predictions of the {who}")
    if len(numbers) != len(truth):
        raise UserError(
            f"the {who} was not scored on the same examples",
            got=f"{len(numbers)} predictions",
            expected=f"{len(truth)}",
        )
    return numbers


def _class_numbers(values: ArrayLike, what: str) -> Ints:
    raw = np.asarray(values)
    if raw.ndim != 1 or not len(raw):
        raise UserError(f"{what}: nothing to compare", got=f"shape {raw.shape}", expected="(n,)")
    if raw.dtype.kind not in "iuf" or not np.isfinite(raw).all() or (raw != np.floor(raw)).any():
        raise UserError(f"{what}: not class numbers", expected="whole numbers, no NaN")
    if raw.min() < 0:
        raise UserError(f"{what}: not class numbers", got=f"{raw.min()}", expected="0 and above")
    return raw.astype(np.int64)


def _lower_end(candidate: Mapping[str, Any]) -> Any:
    interval = (candidate.get("interval") or {}).get("accuracy")
    return interval[0] if interval else None


def _interval(difference: Mapping[str, float] | None) -> tuple[float, float] | None:
    if difference is None:
        return None
    low = _number(difference.get("low"), "the lower end of the comparison with the champion")
    high = _number(difference.get("high"), "the upper end of the comparison with the champion")
    if low > high:
        raise UserError("the comparison's interval is reversed", got=f"{low} to {high}")
    return low, high


def _metric(candidate: Mapping[str, Any], name: str) -> float:
    value = _number(candidate.get(name), f"the candidate's {_words(name)}")
    if not 0 <= value <= 1:
        raise UserError(f"the candidate's {_words(name)} is no share", got=str(value))
    return value


def _number(value: Any, what: str) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float, np.number)):
        raise UserError(f"the gate cannot decide: {what} is missing", got=repr(value))
    if not math.isfinite(value):
        raise UserError(f"the gate cannot decide: {what} is not finite", got=repr(value))
    return float(value)


def _words(name: str) -> str:
    return {"macro_f1": "macro-F1"}.get(name, name.replace("_", " "))
