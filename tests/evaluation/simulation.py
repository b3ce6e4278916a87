"""Simulated answers of two models to one test set, and what the gate says of them.

`python -m tests.evaluation.simulation` prints the promotion rates that docs/gate.md quotes.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import cache
from typing import Any

import numpy as np
import pandas as pd

from regraft.evaluation.class_losses import sign_test
from regraft.evaluation.comparison import compare_models
from regraft.evaluation.gate import CLASS_LEVEL, LEVEL, Decision, Rules, decide
from regraft.evaluation.metrics import class_numbers, classification_metrics
from regraft.recipe.gate import GateOptions

CLASSES = ("healthy", "blight", "rust")
Accuracy = float | tuple[float, ...]
"""Of all classes alike, or of each of `CLASSES`."""
Domains = Mapping[str, tuple[int, Accuracy, Accuracy]]
"""Name -> (rows, accuracy of the champion, accuracy of the candidate)."""
Decisions = tuple[Decision, ...]


def decision(rng: np.random.Generator, domains: Domains, **changes: Any) -> Decision:
    """Draw a test set and both models' answers, and ask the gate with the recipe's defaults.

    `shared` of the rows (`lab_shared` of the lab's) are equally hard for both models, on the others
    they err independently.
    `broken` names a class that the candidate answers at chance.
    """
    rows, candidate, champion = answers(rng, domains, **changes)
    comparison = compare_models(
        rows, candidate, champion, CLASSES, source="lab" if len(domains) > 1 else ""
    )
    truth = class_numbers(rows["label"].tolist(), CLASSES)
    return decide(
        candidate=classification_metrics(truth, candidate, replicates=200),
        floor={"accuracy": 0.0},
        majority_accuracy=float(rows["label"].value_counts(normalize=True).max()),
        comparison=comparison | {"latency": {"candidate": 10.0, "champion": 10.0}},
        rules=rules(),
    )


def rules() -> Rules:
    """The limits that a recipe without a gate section has."""
    options = GateOptions()
    return Rules(**{name: getattr(options, name) for name in Rules.__dataclass_fields__})


def answers(
    rng: np.random.Generator,
    domains: Domains,
    *,
    shared: float = 0.0,
    lab_shared: float | None = None,
    broken: str = "",
) -> tuple[pd.DataFrame, np.ndarray, np.ndarray]:
    parts = []
    for name, (count, before, after) in domains.items():
        label = np.resize(CLASSES, count)
        theirs = rng.random(count)
        alike = lab_shared if name == "lab" and lab_shared is not None else shared
        mine = np.where(rng.random(count) < alike, theirs, rng.random(count))
        goal = np.where(label == broken, 1 / len(CLASSES), per_row(after, count))
        parts.append(
            pd.DataFrame(
                {"label": label, "domain": name, "brightness": rng.random(count),
                 "champion": theirs < per_row(before, count), "candidate": mine < goal,
                 "confidence_of_champion": np.mean(before), "confidence_of_candidate": goal}
            )
        )  # fmt: skip
    rows = pd.concat(parts, ignore_index=True)
    rows["group"] = np.arange(len(rows))
    made = [probabilities(rng, rows, who) for who in ("candidate", "champion")]
    return rows[["label", "domain", "brightness", "group"]], made[0], made[1]


def per_row(accuracy: Accuracy, count: int) -> np.ndarray:
    """Of rows whose classes alternate, (count,)."""
    return np.resize(np.asarray(accuracy, dtype=np.float64), count)


def probabilities(rng: np.random.Generator, rows: pd.DataFrame, who: str) -> np.ndarray:
    """Roughly calibrated: confident as often as right, with some noise, (n, classes)."""
    truth = class_numbers(rows["label"].tolist(), CLASSES)
    wrong = (truth + rng.integers(1, len(CLASSES), len(rows))) % len(CLASSES)
    predicted = np.where(rows[who], truth, wrong)
    noise = rng.uniform(-0.05, 0.05, len(rows))
    confidence = np.clip(rows[f"confidence_of_{who}"] + noise, 0.4, 0.99)
    found = np.repeat((1 - confidence.to_numpy())[:, None] / (len(CLASSES) - 1), len(CLASSES), 1)
    found[np.arange(len(rows)), predicted] = confidence
    return found


def decisions(domains: Domains, times: int, seed: int, **changes: Any) -> Decisions:
    """The gate's word on `times` simulated comparisons; kept, for who asks for the same again."""
    return _made(tuple(domains.items()), times, seed, tuple(changes.items()))


def promoted(domains: Domains, times: int = 200, seed: int = 0, **changes: Any) -> float:
    """Share of `times` simulated comparisons in which the gate promotes."""
    outcomes = [made.outcome for made in decisions(domains, times, seed, **changes)]
    return outcomes.count("promote") / times


def reasons(domains: Domains, times: int = 200, seed: int = 0, **changes: Any) -> dict[str, float]:
    """How often each check failed."""
    made = decisions(domains, times, seed, **changes)
    failed = [check.name for one in made for check in one.checks if check.passed is False]
    return {name: failed.count(name) / times for name in sorted(set(failed))}


@cache
def _made(domains: tuple[Any, ...], times: int, seed: int, changes: tuple[Any, ...]) -> Decisions:
    rng = np.random.default_rng(seed)
    return tuple(decision(rng, dict(domains), **dict(changes)) for _ in range(times))


LEANING = (0.05, 0.05, 0.92)
"""Of a model that calls nearly everything rust, as one does that has never seen the field."""
LAB = (150, 0.97, 0.97)
FIELD: Domains = {"lab": LAB, "field": (15, 0.34, 0.83)}
LEANING_FIELD: Domains = {"lab": LAB, "field": (15, LEANING, 0.8)}
LOST_FIELD_CLASS: Domains = {"lab": LAB, "field": (15, LEANING, (0.95, 0.95, 0.0))}
SCENES: dict[str, tuple[Domains, dict[str, Any]]] = {
    "same accuracy, 6 rows": ({"lab": (6, 0.7, 0.7)}, {}),
    "same accuracy, 15 rows": ({"lab": (15, 0.7, 0.7)}, {}),
    "same accuracy, 30 rows": ({"lab": (30, 0.7, 0.7)}, {}),
    "same accuracy, 150 rows": ({"lab": (150, 0.9, 0.9)}, {}),
    "same accuracy, 150 lab and 15 field rows": ({"lab": LAB, "field": (15, 0.6, 0.6)}, {}),
    "the same, both call nearly all of the field rust": (
        {"lab": LAB, "field": (15, LEANING, LEANING)}, {}),
    "the same, one calls nearly all of the field rust, the other healthy": (
        {"lab": LAB, "field": (15, LEANING, LEANING[::-1])}, {}),
    "the same, one calls nearly all of the field rust, the other errs anywhere": (
        {"lab": LAB, "field": (15, LEANING, 0.34)}, {}),
    "worse: 90 % to 85 %, 300 rows": ({"lab": (300, 0.9, 0.85)}, {}),
    "better, but one class lost: 60 % to 90 %, 300 rows": (
        {"lab": (300, 0.6, 0.9)}, {"broken": "rust"}),
    "better, but the field's rust lost: five photos, 92 % to none": (LOST_FIELD_CLASS, {}),
    "field 34 % to 83 % of 15, lab 97 % of 150, errors independent": (FIELD, {}),
    "field 34 % to 83 % of 15, lab 97 % of 150, half of the errors shared": (
        FIELD, {"shared": 0.5}),
    "field 34 % to 83 % of 15, lab 97 % of 150, errors shared in the lab alone": (
        FIELD, {"lab_shared": 1.0}),
    "field 34 % (nearly all called rust) to 80 % of 15, lab 97 % of 150": (
        LEANING_FIELD, {"lab_shared": 1.0}),
    "field 76 % to 87 % of 60, lab 97 % of 150": (
        {"lab": LAB, "field": (60, 0.76, 0.87)}, {"shared": 0.5}),
    "better: 80 % to 90 %, 300 rows": ({"lab": (300, 0.8, 0.9)}, {}),
    "better: 50 % to 90 %, 30 rows": ({"lab": (30, 0.5, 0.9)}, {}),
}  # fmt: skip


def class_held(count: int, before: float, after: float, level: float = CLASS_LEVEL) -> float:
    """How often a class of `count` independent examples, at most 9, counts as lost; exact. The
    models err independently, with these accuracies."""
    lost, won = before * (1 - after), after * (1 - before)
    return sum(
        math.comb(count, b) * math.comb(count - b, c)
        * lost**b * won**c * (1 - lost - won) ** (count - b - c)
        for b in range(count + 1)
        for c in range(count + 1 - b)
        if sign_test(b, c) <= level
    )  # fmt: skip


def main() -> None:
    for count, before, after, level in [
        *((n, same, same, CLASS_LEVEL) for n in (5, 9) for same in (0.5, 0.6, 0.8)),
        *((5, before, 0.0, CLASS_LEVEL) for before in (0.8, 0.95)),
        (5, 0.6, 0.6, 1 / 8),
        (5, 0.8, 0.0, LEVEL),
    ]:
        rate = class_held(count, before, after, level)
        told = f"{count} examples, {before:.0%} -> {after:.0%}, at p <= {level:.3g}"
        print(f"{rate:6.1%}  class of {told}, counts as lost")
    for name, (domains, changes) in SCENES.items():
        failed = reasons(domains, **changes)
        told = ", ".join(f"{check} {rate:.0%}" for check, rate in failed.items())
        print(f"{promoted(domains, **changes):6.1%}  {name}  (failed: {told})")


if __name__ == "__main__":
    main()
