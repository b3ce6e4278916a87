import numpy as np
import pandas as pd
import pytest
from scipy.stats import wasserstein_distance

from regraft.errors import UserError
from regraft.shift.column_statistics import (
    _relabelled_distances,
    compare_columns,
    wasserstein_tests,
)


def _table(n, seed, **moves):
    rng = np.random.default_rng(seed)
    return pd.DataFrame({name: rng.normal(size=n) + move for name, move in moves.items()})


def test_reports_each_shared_numeric_column(tmp_path):
    before = _table(120, 0, brightness=0, contrast=0).assign(width=224, name="x")
    after = _table(90, 1, brightness=1.0, contrast=0).assign(width=224, name="y", extra=1)
    html = tmp_path / "report.html"
    found = {row["column"]: row for row in compare_columns(before, after, html=html)}
    assert list(found) == ["brightness", "contrast", "width"]
    assert {name: row["drifted"] for name, row in found.items()} == {
        "brightness": True,
        "contrast": False,
        "width": False,
    }
    expected = wasserstein_distance(before.brightness, after.brightness) / before.brightness.std(
        ddof=0
    )
    assert found["brightness"]["score"] == pytest.approx(expected)
    assert found["brightness"]["method"] == "wasserstein"
    assert all(type(row["drifted"]) is bool for row in found.values())
    text = html.read_text()
    assert "<script src=" not in text
    assert '<link rel="stylesheet" href="http' not in text


def test_a_constant_column_that_changes_has_drifted():
    before, after = (
        pd.DataFrame({"width": [224] * 20}),
        pd.DataFrame({"width": [256] * 20}),
    )
    assert compare_columns(before, after)[0]["drifted"] is True


@pytest.mark.parametrize("n", [20, 2000])
def test_does_not_alarm_on_sample_size(n):
    names = {f"c{i}": 0.0 for i in range(20)}
    # With 2000 rows 0.1 standard deviations are significant, with 20 noise exceeds them.
    after = _table(n, 1, **dict.fromkeys(names, 0.1))
    rows = compare_columns(_table(n, 0, **names), after)
    assert sum(row["drifted"] for row in rows) == 0


def test_relabelled_distance_is_wasserstein_of_the_relabelled_rows():
    rng = np.random.default_rng(0)
    before, after = rng.normal(size=7), rng.normal(size=5)
    order = np.array([True] * 7 + [False] * 5)[rng.permutation(12)]
    pooled = np.sort(np.concatenate([before, after]))
    expected = wasserstein_distance(pooled[order], pooled[~order]) / before.std()
    assert _relabelled_distances(
        before[:, None], after[:, None], order[None]
    ).item() == pytest.approx(expected)


GOOD = pd.DataFrame({"a": [1.0, 2.0, 3.0]})


@pytest.mark.parametrize(
    "bad",
    [
        GOOD.iloc[:0],
        GOOD.iloc[:1],
        GOOD.rename(columns={"a": "b"}),
        pd.DataFrame({"a": ["x", "y"]}),
        pd.DataFrame({"a": [1.0, np.nan]}),
    ],
)
def test_refuses_tables_without_an_answer(bad):
    for pair in ((bad, GOOD), (GOOD, bad)):
        with pytest.raises(UserError):
            compare_columns(*pair)


def test_refuses_an_unknown_column():
    with pytest.raises(UserError, match="sharpness"):
        compare_columns(GOOD, GOOD, columns=["sharpness"])


def test_the_score_of_one_statistic_is_evidentlys() -> None:
    rng = np.random.default_rng(0)
    before, after = rng.normal(size=(60, 2)), rng.normal([1.0, 0.0], 1, size=(40, 2))
    scores, p_values = wasserstein_tests(before, after)
    found = compare_columns(
        *(pd.DataFrame(values, columns=["x", "y"]) for values in (before, after))
    )
    assert [row["score"] for row in found] == pytest.approx(scores.tolist())
    assert p_values[0] < 0.01 < p_values[1]


def test_p_values_of_one_statistic_are_uniform_without_a_shift() -> None:
    rng = np.random.default_rng(1)
    samples = [np.round(rng.normal(size=(2, 30)), 1) for _ in range(200)]  # with ties
    p_values = [
        wasserstein_tests(a[:, None], b[:, None], permutations=199)[1][0] for a, b in samples
    ]
    assert 0.03 < np.mean(np.array(p_values) <= 0.1) < 0.18
    constant = np.ones((20, 1)), np.ones((30, 1))
    assert wasserstein_tests(*constant, permutations=50)[1].tolist() == [1.0]
