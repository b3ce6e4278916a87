"""One window against the baseline: which tests are made, and which cannot be."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace

from regraft.monitoring.baseline import Baseline, Part
from regraft.monitoring.monitors import Test, embeddings, inputs, performance, predictions
from regraft.monitoring.samples import Sample
from regraft.recipe.monitoring import MonitoringOptions

_FEWEST_HELD_OUT = 20


@dataclass(frozen=True)
class Measured:
    """What one window gave: its tests, notes on what was not compared, and, if it cannot be judged
    at all, why (`problem`)."""

    tests: list[Test]
    notes: list[str] = field(default_factory=list)
    problem: str = ""


def measure(base: Baseline, window: Sample, options: MonitoringOptions) -> Measured:
    """Compare a window with the baseline by every monitor that `options` names except `quality`.

    Whatever is wrong with the window is an outcome, not an exception: the log holds what it holds.
    """
    if problem := _problem(base, window, options):
        return Measured([], problem=problem)
    if window.late_labels:
        return _accuracy(base, base.placed(window.take(window.finite)), options)
    placed = base.placed(window.take(window.finite))
    if len(placed) < options.enough_rows:
        return Measured([], problem=f"{len(placed)} different inputs with an embedding, "
                        f"{options.enough_rows} are needed")  # fmt: skip
    parts, note = base.parts(placed, enough_rows=options.enough_rows_in_domain)
    if not parts:
        return Measured([], problem=note or "nothing to compare")
    notes = [note] if note else []
    options = _with_enough_relabellings(options, len(parts), len(placed.statistics))
    tests = [test for part in parts for test in _tests(part, options, notes)]
    if "performance" in options.monitors:
        accuracy = _accuracy(base, placed, options)
        tests, notes = tests + accuracy.tests, notes + accuracy.notes
    return Measured(tests, notes)


def _accuracy(base: Baseline, placed: Sample, options: MonitoringOptions) -> Measured:
    found, note = performance.tests(
        base.held_out,
        placed,
        min_effect=options.min_accuracy_drop,
        enough_labels=options.enough_labels,
        permutations=options.permutations,
    )
    return Measured(found, [f"accuracy: {note}"] if note else [])


def _with_enough_relabellings(
    options: MonitoringOptions, parts: int, statistics: int
) -> MonitoringOptions:
    """So many that the smallest p-value survives the correction for all tests, twice over."""
    tests = parts * (statistics + 3) + 1
    needed = math.ceil(2 * tests / options.alpha)
    return options.model_copy(update={"permutations": max(options.permutations, needed)})


def _problem(base: Baseline, window: Sample, options: MonitoringOptions) -> str:
    enough = options.enough_labels if window.late_labels else options.enough_rows
    if len(window) < enough:
        return f"{len(window)} answers, {enough} are needed"
    if window.width != base.sample.width:
        return (
            f"embeddings have {window.width} columns, the reference {base.sample.width}: "
            "another model version made them"
        )
    return ""


def _tests(part: Part, options: MonitoringOptions, notes: list[str]) -> list[Test]:
    found: list[Test] = []
    monitors, permutations = options.monitors, options.permutations
    if "inputs" in monitors:
        found += inputs.tests(
            part.everything,
            part.window,
            min_effect=options.min_input_distance,
            permutations=permutations,
        )
    enough = len(part.held_out) >= options.enough_held_out
    if "embeddings" in monitors:
        found += embeddings.tests(
            part.held_out if enough else part.everything,
            part.window,
            min_effect=options.min_auc,
            permutations=permutations,
        )
    if "predictions" in monitors:
        if len(part.held_out) >= _FEWEST_HELD_OUT:
            found += predictions.tests(
                part.held_out,
                part.window,
                min_label_shift=options.min_label_shift,
                min_confidence_shift=options.min_confidence_shift,
                permutations=permutations,
            )
        else:
            where = f" of '{part.domain}'" if part.domain else ""
            notes.append(f"predictions{where}: {len(part.held_out)} held-out examples are too few")
    return [replace(test, domain=part.domain) for test in found]
