"""Each monitor sees its own kind of shift, and none sees what is not there."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from regraft.monitoring.baseline import baseline
from regraft.monitoring.checking import measure
from regraft.monitoring.samples import Sample
from regraft.monitoring.verdict import Verdict, judge
from regraft.recipe.monitoring import MonitoringOptions
from tests.monitoring.support import CLASSES, Reference, reference, two_domains, window

OPTIONS = MonitoringOptions()


def judged(known: Reference, live: Sample, options: MonitoringOptions = OPTIONS) -> Verdict:
    measured = measure(baseline(known, enough_rows_in_domain=15), live, options)
    assert not measured.problem, measured.problem
    return judge(measured.tests, alpha=options.alpha, persistence=1, notes=measured.notes)


def firing(verdict: Verdict) -> set[str]:
    return {row["title"] for row in verdict.tests if row["fires"]}


@pytest.mark.parametrize(
    ("shift", "seen"),
    [
        ({"embeddings": 0.6}, {"embeddings"}),
        ({"inputs": 0.2}, {"brightness"}),
        ({"confidence": 0.2}, {"confidence"}),
        ({"priors": [0.05, 0.05, 0.9]}, {"predicted classes", "embeddings"}),
        ({"labels": 60, "error": 0.6}, {"accuracy"}),
        ({}, set()),
        ({"labels": 60}, set()),
    ],
)
def test_each_shift_is_seen_by_its_monitor(shift: dict[str, Any], seen: set[str]) -> None:
    assert firing(judged(reference(), window(**shift))) == seen


def test_false_alarms_are_rare() -> None:
    base = baseline(reference(400, held_out=0.4), enough_rows_in_domain=15)
    options = OPTIONS.model_copy(update={"permutations": 1000})
    alarms = [
        judge(measure(base, window(seed=seed, labels=20), options).tests, alpha=0.01,
              persistence=1).shifted
        for seed in range(20)
    ]  # fmt: skip
    assert sum(alarms) <= 1  # at a true rate of 1 % more happens twice in a hundred times


def test_without_the_minimum_effect_small_shifts_fire() -> None:
    live = window(400, embeddings=0.16)
    assert not judged(reference(600), live).shifted
    loose = OPTIONS.model_copy(update={"min_auc": 0.5})
    assert firing(judged(reference(600), live, loose)) == {"embeddings"}


def of_field(live: Sample) -> Sample:
    rows = live.rows.assign(stat_brightness=live.rows["stat_brightness"] + 1)
    return Sample(rows, live.embeddings + 4, live.name)


def test_only_one_of_two_known_domains_is_no_shift() -> None:
    live = of_field(window(labels=40))
    assert judged(reference(), live).shifted, "to a model that knows only the lab it is one"
    verdict = judged(two_domains(), live)
    assert not verdict.shifted, verdict.reason
    assert {row["domain"] for row in verdict.tests if row["p_value"] is not None} == {"field", ""}


def test_a_shift_within_one_of_two_domains_is_seen_there() -> None:
    lab, field = window(60, seed=3), of_field(window(60, seed=4, inputs=0.3, embeddings=0.8))
    mixed = Sample(
        lab.rows._append(field.rows, ignore_index=True),
        np.concatenate([lab.embeddings, field.embeddings]),
    )
    assert firing(judged(two_domains(), mixed)) == {"embeddings (field)", "brightness (field)"}


def test_a_third_domain_stands_out_in_the_nearest() -> None:
    live = window()
    foreign = Sample(live.rows, live.embeddings - 4)
    assert "embeddings (lab)" in firing(judged(two_domains(), foreign))


def test_a_weaker_domain_is_expected_to_be_weak() -> None:
    known = two_domains()
    field = (known.rows["domain"] == "field").to_numpy()
    rng = np.random.default_rng(0)
    wrong = field & (rng.random(len(field)) < 0.4)
    others = {name: CLASSES[(k + 1) % 3] for k, name in enumerate(CLASSES)}
    known.rows.loc[wrong, "label"] = known.rows.loc[wrong, "predicted"].map(others)
    live = of_field(window(labels=80, error=0.45))
    assert "accuracy" not in firing(judged(known, live))
    assert "accuracy" in firing(judged(two_domains(), live))


def problem(live: Sample, known: Reference | None = None) -> str:
    return measure(baseline(known or reference(), enough_rows_in_domain=15), live, OPTIONS).problem


def test_windows_that_cannot_be_judged_say_why() -> None:
    live = window()
    assert problem(live.take(np.zeros(100, bool))) == "0 answers, 30 are needed"
    assert problem(live.take(np.arange(1))) == "1 answers, 30 are needed"
    narrow = Sample(live.rows, live.embeddings[:, :5])
    assert "5 columns, the reference 24: another model version" in problem(narrow)


def test_embeddings_that_are_nan_are_left_out_until_too_few_are_left() -> None:
    live = window()
    embeddings = live.embeddings.copy()
    embeddings[:20] = np.nan
    assert not judged(reference(), Sample(live.rows, embeddings)).shifted
    embeddings[:80] = np.nan
    assert "20 different inputs" in problem(Sample(live.rows, embeddings))


def test_statistics_that_are_nan_are_left_out() -> None:
    live = window()
    rows = live.rows.assign(stat_brightness=np.nan)
    verdict = judged(reference(), Sample(rows, live.embeddings))
    assert "brightness" not in {row["title"] for row in verdict.tests}


def test_one_input_sent_many_times_counts_once() -> None:
    live = window()
    repeated = live.take(np.repeat(np.arange(29), 4))
    assert "29 different inputs" in problem(repeated)


def test_near_duplicates_in_the_reference_count_once() -> None:
    known = reference(200)
    known.rows["group"] = [str(k // 4) for k in range(200)]
    base = baseline(known, enough_rows_in_domain=15)
    assert len(base.sample) == 50
    assert set(base.sample.rows["split"]) == {"test", "train"}


def test_few_held_out_examples_leave_the_predictions_out_and_say_so() -> None:
    verdict = judged(reference(300, held_out=0.04), window())
    assert {row["monitor"] for row in verdict.tests} == {"inputs", "embeddings"}
    assert "12 held-out examples are too few" in verdict.notes[0]


@pytest.mark.parametrize(("labels", "measured"), [(14, False), (15, True)])
def test_accuracy_needs_fifteen_labels(labels: int, measured: bool) -> None:
    verdict = judged(reference(), window(labels=labels))
    assert ("accuracy" in {row["title"] for row in verdict.tests}) is measured
    if not measured:
        assert "14 answers have a known truth, 15 are needed" in verdict.notes[-1]


def test_fifteen_labels_show_a_collapse_with_its_interval() -> None:
    verdict = judged(reference(error=0.02), window(labels=15, error=0.8))
    accuracy = next(row for row in verdict.tests if row["title"] == "accuracy")
    assert accuracy["fires"]
    assert 0 < accuracy["interval"][0] < accuracy["effect"] < accuracy["interval"][1] <= 1


def test_many_domains_get_as_many_relabellings_as_the_correction_needs() -> None:
    options = OPTIONS.model_copy(update={"permutations": 200})
    assert "embeddings" in firing(judged(reference(), window(embeddings=1.0), options))


def test_monitors_that_are_not_asked_for_are_not_run() -> None:
    options = OPTIONS.model_copy(update={"monitors": ["embeddings"]})
    assert {r["monitor"] for r in judged(reference(), window(), options).tests} == {"embeddings"}
