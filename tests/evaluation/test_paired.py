"""Interval and sign-flip test of two models on the same examples."""

from itertools import product
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy.stats import binomtest

from regraft.errors import UserError
from regraft.evaluation.comparison import compare_models
from regraft.evaluation.paired_bootstrap import paired_bootstrap
from regraft.evaluation.pairs import pair
from regraft.evaluation.sign_flip import sign_flip_test

from .paired import predictions


def interval(labels: Any, candidate: Any, champion: Any, **options: Any) -> dict[str, float]:
    return paired_bootstrap(pair(labels, candidate, champion, **options))


def up_and_down(up: int, down: int, same: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Labels, candidate and champion: `up` mended, `down` broken, `same` right in both."""
    labels = np.zeros(up + down + same, dtype=int)
    champion = np.repeat([1, 0, 0], [up, down, same])
    candidate = np.repeat([0, 1, 0], [up, down, same])
    return labels, candidate, champion


def test_identical_models_do_not_differ() -> None:
    labels, champion = predictions(0.9)
    result = interval(labels, champion, champion)
    assert result == {"difference": 0.0, "low": 0.0, "high": 0.0, "p_better": 0.0}
    found = sign_flip_test(pair(labels, champion, champion))
    assert found == {"p_value": 0.5, "discordant": 0, "exact": True}


def test_pairing_is_sharper_than_two_separate_intervals() -> None:
    labels, champion = predictions(0.8)
    candidate = champion.copy()
    mended = np.flatnonzero(champion != labels)[:12]
    candidate[mended] = labels[mended]
    assert interval(labels, candidate, champion)["low"] > 0


def test_groups_count_as_one_vote() -> None:
    labels, champion = predictions(0.5, count=40)
    candidate = champion.copy()
    candidate[:20] = labels[:20]
    groups = np.where(np.arange(40) < 20, "one leaf", np.arange(40).astype(str))
    assert interval(labels, candidate, champion)["low"] > 0
    assert interval(labels, candidate, champion, groups=groups)["low"] == 0
    assert sign_flip_test(pair(labels, candidate, champion))["p_value"] < 0.01
    found = sign_flip_test(pair(labels, candidate, champion, groups=groups))
    assert found == {"p_value": 0.25, "discordant": 1, "exact": True}


def test_macro_f1_and_probabilities() -> None:
    labels, champion = predictions(0.7)
    candidate = predictions(0.9, seed=1)[1]
    by_class = interval(labels, candidate, champion, metric="macro_f1")
    by_probability = interval(labels, np.eye(4)[candidate], np.eye(4)[champion], metric="macro_f1")
    assert by_class == by_probability
    assert by_class["low"] < by_class["difference"] < by_class["high"]
    assert by_class["p_better"] == 1.0


def test_each_domain_weighs_the_same() -> None:
    labels = np.zeros(110, dtype=int)
    domains = ["lab"] * 100 + ["field"] * 10
    champion = np.where(np.arange(110) < 100, 0, 1)  # right in the lab, wrong in the field
    found = interval(labels, labels, champion, domains=domains)
    assert found["difference"] == pytest.approx(0.5)
    assert interval(labels, labels, champion)["difference"] == pytest.approx(10 / 110)


def test_a_domain_of_a_few_examples_gets_no_vote_of_its_own() -> None:
    labels = np.zeros(105, dtype=int)
    domains = ["lab"] * 100 + ["field"] * 5
    champion = np.where(np.arange(105) < 100, 0, 1)
    found = interval(labels, labels, champion, domains=domains)
    assert found["difference"] == pytest.approx(5 / 105)


@pytest.mark.parametrize(("up", "down"), [(5, 0), (7, 1), (9, 2), (3, 4), (0, 6), (60, 40)])
def test_one_answer_per_group_is_the_mid_p_mcnemar_test(up: int, down: int) -> None:
    found = sign_flip_test(pair(*up_and_down(up, down, same=30)))
    larger = binomtest(up, up + down, alternative="greater").pvalue
    at_least_one_more = binomtest(up + 1, up + down, alternative="greater").pvalue if down else 0.0
    assert found["p_value"] == pytest.approx((larger + at_least_one_more) / 2)
    assert (found["discordant"], found["exact"]) == (up + down, True)


@pytest.mark.parametrize("metric", ["accuracy", "macro_f1"])
def test_enumeration_agrees_with_exchanging_every_group(metric: str) -> None:
    rng = np.random.default_rng(3)
    labels, domains = np.repeat([0, 1, 0], [5, 5, 8]), np.repeat(["lab", "field"], [10, 8])
    candidate, champion = rng.integers(0, 2, 18), rng.integers(0, 2, 18)
    groups = np.concatenate([np.arange(10), np.array([10, 10, 11, 11, 12, 13, 14, 15])])
    candidate = np.where(np.isin(groups, [0, 3, 6, 10, 13]), champion, candidate)
    asked = {"groups": groups, "metric": metric, "domains": domains.tolist()}
    pairs = pair(labels, candidate, champion, by_class=True, **asked)
    assert len(np.unique(pairs.cells)) == 3

    def in_standard_errors(one: np.ndarray, other: np.ndarray) -> float:
        gain = interval(labels, one, other, **asked)["difference"]
        variance = 0.0
        for cell in (labels + 2 * (domains == "lab") == number for number in (0, 2, 3)):
            right = (one == labels)[cell].astype(int) - (other == labels)[cell]
            own = [groups[cell] == group for group in np.unique(groups[cell])]
            residuals = [right[group].sum() - right.mean() * group.sum() for group in own]
            size = (domains == domains[cell][0]).sum()
            variance += (np.square(residuals).sum() + 0.25) / (2 * size) ** 2
        return float(gain / np.sqrt(variance))

    seen, made = in_standard_errors(candidate, champion), []
    differing = np.unique(groups[candidate != champion])
    for swap in product([False, True], repeat=len(differing)):
        exchanged = np.isin(groups, differing[list(swap)])
        made.append(in_standard_errors(np.where(exchanged, champion, candidate),
                                       np.where(exchanged, candidate, champion)))  # fmt: skip
    larger, equal = np.array(made) > seen + 1e-9, np.isclose(made, seen, rtol=0, atol=1e-9)
    found = sign_flip_test(pairs)
    assert found["exact"]
    assert found["p_value"] == pytest.approx(larger.mean() + equal.mean() / 2)


def test_what_differs_between_classes_is_no_doubt_about_the_gain() -> None:
    labels = np.arange(15) % 3
    champion, candidate = np.full(15, 2), labels.copy()
    candidate[[0, 2]] = 1, 0  # one that it calls otherwise, and one that the champion had right
    plain, by_class = (pair(labels, candidate, champion, by_class=how) for how in (False, True))
    assert paired_bootstrap(by_class)["low"] > paired_bootstrap(plain)["low"]
    assert sign_flip_test(by_class)["p_value"] < sign_flip_test(plain)["p_value"]


def test_classes_of_a_few_examples_are_counted_together() -> None:
    labels, candidate = np.repeat([0, 1, 2], [6, 4, 3]), np.zeros(13, dtype=int)
    pairs = pair(labels, candidate, labels, by_class=True)
    assert [pairs.cells[labels == label].tolist() for label in (1, 2)] == [[0] * 4, [0] * 3]
    assert set(pairs.cells[labels == 0]) == {1}


def test_drawing_agrees_with_enumeration(monkeypatch: pytest.MonkeyPatch) -> None:
    pairs = pair(*up_and_down(18, 9, same=50))
    exact = sign_flip_test(pairs)
    monkeypatch.setattr("regraft.evaluation.sign_flip._MOST_COMBINATIONS", 1)
    drawn = sign_flip_test(pairs)
    assert exact["exact"] and not drawn["exact"]
    assert drawn["p_value"] == pytest.approx(exact["p_value"], abs=0.01)


@pytest.mark.parametrize(
    ("labels", "candidate", "champion"),
    [
        ([], [], []),
        ([0, 1], [0, 1], [0]),
        ([0, 1], [0, np.nan], [0, 1]),
        ([0, 1], [[np.nan, 1], [0, 1]], [0, 1]),
        ([0, -1], [0, 1], [0, 1]),
        ([0], [0], [1]),
    ],
)
def test_comparison_refuses_bad_input(labels: Any, candidate: Any, champion: Any) -> None:
    with pytest.raises(UserError):
        pair(labels, candidate, champion)


def test_unknown_metric_is_a_programming_error() -> None:
    with pytest.raises(ValueError, match="macro_f1"):
        pair([0, 1], [0, 1], [0, 1], metric="auc")


def test_a_comparison_tells_slices_source_and_calibration() -> None:
    rows = pd.DataFrame({"label": ["a", "b"] * 20, "domain": ["lab"] * 30 + ["field"] * 10})
    rows["group"] = range(40)
    right = np.eye(2)[np.arange(40) % 2]
    wrong = right.copy()
    wrong[30:] = wrong[30:, ::-1]
    found = compare_models(rows, right, wrong, ["a", "b"], source="lab")
    slices = {(row["slice"], row["value"]): row for row in found["slices"]}
    assert slices[("domain", "field")] == {
        "slice": "domain", "value": "field", "count": 10, "candidate": 1.0, "champion": 0.0
    }  # fmt: skip
    assert slices[("class", "a")]["champion"] == 0.75
    assert [(row["domain"], row["value"], row["groups"], row["lost"], row["won"])
            for row in found["classes"]] == [
        ("field", "a", 5, 0, 5), ("field", "b", 5, 0, 5),
        ("lab", "a", 15, 0, 0), ("lab", "b", 15, 0, 0),
    ]  # fmt: skip
    assert found["source"] == {"count": 30, "candidate": 1.0, "champion": 1.0}
    assert found["ece"] == {"count": 40, "candidate": 0.0, "champion": 0.25}
    assert (found["count"], found["groups"], found["discordant"]) == (40, 40, 10)
    assert "source" not in compare_models(rows, right, wrong, ["a", "b"])


def test_a_comparison_of_what_is_not_probabilities_is_refused() -> None:
    rows = pd.DataFrame({"label": ["a", "b"] * 5, "group": range(10)})
    with pytest.raises(UserError, match="not probabilities"):
        compare_models(rows, np.ones((10, 2)), np.eye(2)[np.arange(10) % 2], ["a", "b"])


def test_photos_of_one_group_lose_a_class_once() -> None:
    rows = pd.DataFrame({"label": ["a"] * 12 + ["b"] * 4, "group": [*([0] * 7), *range(1, 10)]})
    right = np.eye(2)[(rows["label"] == "b").astype(int)]
    (found,) = compare_models(rows, right[:, ::-1], right, ["a", "b"])["classes"]
    assert (found["count"], found["groups"], found["lost"], found["won"]) == (12, 6, 6, 0)
