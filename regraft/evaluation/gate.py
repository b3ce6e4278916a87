"""The gate: may the candidate replace the champion? Gains must be shown, harm need only be seen."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

from regraft.errors import UserError
from regraft.evaluation.class_losses import FEWEST_OF_A_CLASS, sign_test
from regraft.evaluation.evidence import interval_of, number, share
from regraft.evaluation.pairs import FEWEST_GROUPS

Outcome = Literal["first", "promote", "hold"]
LEVEL = 0.03
"""One-sided level of the sign-flip test. Together with the interval it promotes equal models at
most 33 times in 1,000 (simulated for 6 to 45 answers, 1,500 test sets each at the worst)."""
CLASS_LEVEL = 1 / 16
"""One-sided level of the sign test of each class: four examples lost and none won reach it. Of
equal models it holds back 1 in 100 for each class of five examples (docs/gate.md)."""
FEWEST_FOR_CALIBRATION = 50
"""Below this many examples the calibration error is mostly noise."""


@dataclass(frozen=True)
class Check:
    """One rule and what came of it. `passed` is None where it could not be judged, and why is in
    `words`; `value` and `limit` are as `words` tell them."""

    name: str
    passed: bool | None
    value: float | None
    limit: float | None
    words: str


@dataclass(frozen=True)
class Decision:
    """What the gate says; `interval` is that of candidate - champion (None without a champion)."""

    outcome: Outcome
    reason: str
    interval: tuple[float, float] | None = None
    checks: tuple[Check, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready, in the shape of summary.json."""
        found = {**asdict(self), "interval": list(self.interval) if self.interval else None}
        return found | {"checks": [asdict(check) for check in self.checks]}


@dataclass(frozen=True)
class Rules:
    """Limits of the comparison with a champion; None leaves a rule out.

    `min_gain` is a share, `max_*_pp` are percentage points, `max_ece_increase` is a share and
    `max_latency_ratio` candidate over champion. Slices with fewer than `min_slice_rows` examples
    are not judged by their points alone.
    """

    min_gain: float = 0.0
    max_slice_drop_pp: float | None = None
    min_slice_rows: int = 10
    max_source_drop_pp: float | None = None
    max_ece_increase: float | None = None
    max_latency_ratio: float | None = None


def decide(
    *,
    candidate: Mapping[str, Any],
    floor: Mapping[str, float],
    majority_accuracy: float,
    comparison: Mapping[str, Any] | None,
    rules: Rules = Rules(),
    probe: Mapping[str, float] | None = None,
    pinned: str = "",
) -> Decision:
    """Apply every rule; the first that fails gives the reason to hold the candidate back.

    `candidate` is the result of `classification_metrics`, `comparison` that of
    `comparison.compare_models` (None without a champion), with latency {candidate, champion} in ms
    and left_out (rows that the champion knew) where known; if too few rows are left it holds count
    and groups alone. `probe` {candidate, probe} are source accuracies after and before adaptation,
    which count as long as there is no champion. `pinned` says why the champion must stay.

    1. Floor: every metric named in `floor` is reached, and the lower end of the candidate's 95%
       accuracy interval is above `majority_accuracy` (what guessing the commonest class gets).
    2. No champion: the source is not forgotten, and the candidate is the first.
    3. The champion is not pinned, and there are at least 6 independent examples.
    4. The gain is shown: the lower end of its interval exceeds `min_gain`, and the sign-flip test
       says that luck hardly makes such a gain (`LEVEL`). How many examples of each class there are
       counts as given, not as chance.
    5. No harm is seen: slices, classes, source, calibration and latency stay within their budgets;
       a class of few examples is only lost if luck hardly loses so many (`CLASS_LEVEL`).

    Raises UserError if anything that the rules read is missing or not a finite number: a gate
    without evidence must not look like a gate that said no.
    """
    checks = [*_floor(candidate, floor), _majority(candidate, majority_accuracy)]
    interval = None
    if comparison is None:
        if probe is not None and rules.max_source_drop_pp is not None:
            checks.append(_against_probe(probe, rules.max_source_drop_pp))
    else:
        if pinned:
            checks.append(Check("pinned", False, None, None, f"the champion is pinned: {pinned}"))
        checks.append(_evidence(comparison))
        if checks[-1].passed:
            interval = interval_of(comparison)
            checks += [*_gain(comparison, rules), *_harm(comparison, rules)]
    failed = [check for check in checks if check.passed is False]
    if failed:
        return Decision("hold", _reason(failed), interval, tuple(checks))
    if interval is None:
        reason = "reaches the floor and there is no champion to beat"
        return Decision("first", reason, None, tuple(checks))
    reason = next(check.words for check in checks if check.name == "gain")
    return Decision("promote", reason, interval, tuple(checks))


def with_check(decision: Decision, check: Check) -> Decision:
    """The same decision after a further check, which holds the candidate if it did not pass."""
    checks = (*decision.checks, check)
    if check.passed:
        return Decision(decision.outcome, decision.reason, decision.interval, checks)
    return Decision("hold", check.words, decision.interval, checks)


def _reason(failed: list[Check]) -> str:
    others = ", ".join(check.name for check in failed[1:])
    return failed[0].words + (f" (also failed: {others})" if others else "")


def _floor(candidate: Mapping[str, Any], floor: Mapping[str, float]) -> Iterator[Check]:
    for name, asked in floor.items():
        limit, words = number(asked, f"the floor of {name}"), _words(name)
        value = share(candidate.get(name), f"the candidate's {words}")
        is_below = "is below" if value < limit else "reaches"
        told = f"{words} {value:.1%} {is_below} the floor of {limit:.1%}"
        yield Check(f"floor of {words}", value >= limit, value, limit, told)


def _majority(candidate: Mapping[str, Any], majority_accuracy: float) -> Check:
    limit = number(majority_accuracy, "the accuracy of the majority baseline")
    accuracy = share(candidate.get("accuracy"), "the candidate's accuracy")
    interval = (candidate.get("interval") or {}).get("accuracy")
    low = number(interval[0] if interval else None, "the candidate's accuracy interval")
    shown = "shown" if low > limit else "not shown"
    words = (
        f"{shown} to beat the majority class: accuracy {accuracy:.1%} "
        f"(at least {low:.1%}) against {limit:.1%}"
    )
    return Check("majority class", low > limit, low, limit, words)


def _against_probe(probe: Mapping[str, float], budget: float) -> Check:
    after = share(probe.get("candidate"), "the candidate's source accuracy")
    before = share(probe.get("probe"), "the probe's source accuracy")
    limit = number(budget, "the source budget")
    drop = 100 * (before - after)
    words = f"source accuracy {before:.1%} -> {after:.1%}, a drop of {max(drop, 0):.1f} points"
    kept = drop <= limit + 1e-9
    return Check("source", kept, drop, limit, f"{words}; {limit:g} are allowed")


def _evidence(comparison: Mapping[str, Any]) -> Check:
    count = int(number(comparison.get("count"), "the number of examples compared"))
    groups = int(number(comparison.get("groups"), "the number of independent examples"))
    left_out = int(comparison.get("left_out", 0))
    words = f"{count} test examples, {groups} of them independent"
    if left_out:
        words += f"; {left_out} more were left out because the champion was trained on them"
    enough = groups >= FEWEST_GROUPS
    if not enough:
        words = f"too few to compare: {words}; at least {FEWEST_GROUPS} are needed"
    return Check("evidence", enough, groups, FEWEST_GROUPS, words)


def _gain(comparison: Mapping[str, Any], rules: Rules) -> Iterator[Check]:
    asked = number(rules.min_gain, "min_gain")
    low, high = interval_of(comparison)
    span = f"{low * 100:+.1f} to {high * 100:+.1f} points (95%)"
    by = f" by more than {asked * 100:.1f} points" if asked else ""
    words = f"not shown to be better than the champion{by}: {span}"
    if low > asked:
        words = f"better than the champion{by}: {span}"
    elif high < 0:
        words = f"worse than the champion: {span}"
    yield Check("gain", low > asked, low, asked, words)
    p = share(comparison.get("p_value"), "the p-value of the comparison")
    luck = "more than luck" if p <= LEVEL else "not shown to be more than luck"
    words = f"the gain is {luck}: p {p:.2g}, at most {LEVEL:g} is asked"
    if "discordant" in comparison:
        words += f" (the models differ on {comparison['discordant']} independent examples)"
    yield Check("luck", p <= LEVEL, p, LEVEL, words)


def _harm(comparison: Mapping[str, Any], rules: Rules) -> Iterator[Check]:
    if rules.max_slice_drop_pp is not None:
        yield _slices(comparison, rules.max_slice_drop_pp, rules.min_slice_rows)
        yield _classes(comparison, rules.max_slice_drop_pp)
    if rules.max_source_drop_pp is not None and comparison.get("source") is not None:
        drop, told, kept = _drop(comparison["source"], "source accuracy", rules.max_source_drop_pp)
        yield Check("source", kept, drop, rules.max_source_drop_pp, told)
    if rules.max_ece_increase is not None:
        yield _calibration(_part(comparison, "ece"), rules.max_ece_increase)
    if rules.max_latency_ratio is not None:
        yield _latency(_part(comparison, "latency"), rules.max_latency_ratio)


def _slices(comparison: Mapping[str, Any], budget: float, fewest: int) -> Check:
    """The slice that lost most; one example more than the budget may be lost in each."""
    limit = number(budget, "the slice budget")
    judged = [row for row in _part(comparison, "slices") if row["count"] >= fewest]
    if not judged:
        return Check("slices", None, None, limit, f"no slice has {fewest} examples")
    found = [_drop(row, f"{row['slice']} {row['value']}", limit) for row in judged]
    broken = [one for one in found if not one[2]]
    drop, told, _ = max(broken or found, key=lambda one: one[0])
    if broken[1:]:
        told += f" (and {len(broken) - 1} more of {len(judged)} slices)"
    return Check("slices", not broken, drop, limit, told)


def _classes(comparison: Mapping[str, Any], budget: float) -> Check:
    """The class of a domain that lost most, beyond the budget of a slice and beyond luck."""
    limit = number(budget, "the slice budget")
    found = [_class(row, limit) for row in _part(comparison, "classes")]
    if not found:
        words = f"no class has {FEWEST_OF_A_CLASS} independent examples"
        return Check("classes", None, None, CLASS_LEVEL, words)
    broken = [one for one in found if not one[2]]
    p, told, _ = min(broken or found, key=lambda one: one[0])
    if broken[1:]:
        told += f" (and {len(broken) - 1} more of {len(found)} classes)"
    return Check("classes", not broken, p, CLASS_LEVEL, told)


def _class(row: Mapping[str, Any], budget: float) -> tuple[float, str, bool]:
    """The sign test's p-value, in words, and whether the class was kept."""
    name = f"class {row['value']}" + (f" of {row['domain']}" if row["domain"] else "")
    _, told, kept = _drop(row, name, budget)
    lost, won = (int(number(row.get(key), f"what {name} {key}")) for key in ("lost", "won"))
    p = sign_test(lost, won)
    told += f" ({lost} lost, {won} won: p {p:.2g}, above {CLASS_LEVEL:g} it may be luck)"
    return p, told, kept or p > CLASS_LEVEL


def _drop(row: Mapping[str, Any], name: str, budget: float) -> tuple[float, str, bool]:
    """Points lost, in words, and whether that is within the budget and one example of slack."""
    count = number(row.get("count"), f"the number of examples of {name}")
    after = share(row.get("candidate"), f"the candidate's {name}")
    before = share(row.get("champion"), f"the champion's {name}")
    drop, allowed = 100 * (before - after), number(budget, f"the budget of {name}")
    change = f"a drop of {drop:.1f} points" if drop > 0 else f"a gain of {-drop:.1f} points"
    words = f"{name}: {before:.1%} -> {after:.1%} of {count:.0f}, {change}"
    kept = (before - after) * count <= allowed / 100 * count + 1 + 1e-9
    return drop, f"{words}; {allowed:g} and one example are allowed", kept


def _calibration(ece: Mapping[str, Any], budget: float) -> Check:
    limit = number(budget, "the calibration budget")
    count = number(ece.get("count"), "the number of examples of the calibration")
    after = share(ece.get("candidate"), "the candidate's calibration error")
    before = share(ece.get("champion"), "the champion's calibration error")
    if count < FEWEST_FOR_CALIBRATION:
        words = f"{count:.0f} examples say too little; {FEWEST_FOR_CALIBRATION} are needed"
        return Check("calibration", None, None, limit, words)
    rise = after - before
    words = f"calibration error {before:.3f} -> {after:.3f}; a rise of {limit:g} is allowed"
    return Check("calibration", rise <= limit, rise, limit, words)


def _latency(latency: Mapping[str, Any], budget: float) -> Check:
    limit = number(budget, "the latency budget")
    mine = number(latency.get("candidate"), "the candidate's latency")
    theirs = number(latency.get("champion"), "the champion's latency")
    if theirs <= 0:
        raise UserError("the champion's latency is no time", got=f"{theirs} ms")
    ratio = mine / theirs
    words = f"{mine:.1f} ms an answer against {theirs:.1f}; {limit:g} times that is allowed"
    return Check("latency", ratio <= limit, ratio, limit, words)


def _part(comparison: Mapping[str, Any], name: str) -> Any:
    if comparison.get(name) is None:
        raise UserError(f"the gate cannot decide: {name} was not measured", got="nothing")
    return comparison[name]


def _words(name: str) -> str:
    return {"macro_f1": "macro-F1"}.get(name, name.replace("_", " "))
