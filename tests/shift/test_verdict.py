import json

import numpy as np
import pandas as pd
import pytest

from regraft.errors import UserError
from regraft.shift.verdict import detect_shift, is_shifted, overlay, summarise


def _pair(n=40, m=30, move=0.0, seed=0, dim=12):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n, dim)), rng.normal(size=(m, dim)) + move


def _entry(name="a vs b", p=0.002, low=0.9, auc=0.95):
    mmd = {"statistic": 0.1, "p_value": p, "effect_size": 0.1}
    classifier = {"auc": auc, "low": low, "high": 0.99}
    return {
        "name": name,
        "mmd": mmd,
        "classifier": classifier,
        "shifted": is_shifted(mmd, classifier),
    }


def test_a_shift_is_found_and_written_as_plain_json():
    a, b = _pair(move=1.5)
    ids = [f"field/{i}.jpg" for i in range(30)]
    found = detect_shift(a, b, reference="train", current="test", ids=ids)
    assert found["shifted"] is True
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    assert set(found) == {
        "name", "reference", "current", "n_reference", "n_current", "mmd", "classifier",
        "image_statistics", "shifted", "overlay", "most_shifted",
    }  # fmt: skip
    assert (found["name"], found["n_reference"], found["n_current"]) == (
        "train vs test",
        40,
        30,
    )
    assert len(found["most_shifted"]) == 12
    assert set(found["most_shifted"]) <= set(ids)


def test_no_shift_between_halves_of_one_sample():
    alarms = [detect_shift(*_pair(seed=s), seed=s)["shifted"] for s in range(40)]
    assert alarms.count(True) <= 2
    assert set(map(type, alarms)) == {bool}


def test_a_significant_but_small_shift_is_not_a_shift():
    found = detect_shift(*_pair(1500, 1500, move=0.12))
    assert found["mmd"]["p_value"] <= 0.05
    assert 0.5 < found["classifier"]["low"] < found["classifier"]["auc"] < 0.7
    assert found["shifted"] is False


def test_thresholds_move_the_verdict():
    pair = _pair(300, 300, move=0.3)
    assert detect_shift(*pair, min_auc=0.6)["shifted"] is True
    assert detect_shift(*pair, min_auc=0.95)["shifted"] is False


@pytest.mark.parametrize(
    ("p", "low", "auc", "expected"),
    [
        (0.002, 0.9, 0.95, True),
        (0.05, 0.51, 0.7, True),
        (0.06, 0.9, 0.95, False),
        (0.002, 0.5, 0.95, False),
        (0.002, 0.6, 0.69, False),
    ],
)
def test_each_branch_of_the_verdict(p, low, auc, expected):
    classifier = {"auc": np.float64(auc), "low": np.float64(low), "high": 1.0}
    assert is_shifted({"p_value": p}, classifier) is expected


@pytest.mark.parametrize("key", ["p", "low", "auc"])
def test_nan_is_never_no_shift(key):
    with pytest.raises(UserError):
        _entry(**{key: float("nan")})


def test_near_duplicates_count_once():
    a, b = _pair(14, 14, dim=40, seed=1)
    a, b = (np.repeat(x, 6, axis=0) for x in (a, b))
    groups = np.repeat(np.arange(28), 6)
    assert detect_shift(a, b)["shifted"] is True  # what would happen without groups
    assert detect_shift(a, b, groups=groups)["shifted"] is False


@pytest.mark.parametrize(
    ("a", "b"),
    [
        (np.full((20, 3), np.nan), np.ones((20, 3))),
        (np.empty((0, 3)), np.ones((20, 3))),
        (np.ones((20, 3)), np.ones((1, 3))),
        (np.zeros((3, 3)), np.ones((3, 3))),
    ],
)
def test_refuses_input_that_allows_no_verdict(a, b):
    with pytest.raises(UserError):
        detect_shift(a, b)


def test_four_against_four_suffice_for_a_verdict():
    assert detect_shift(*_pair(4, 4, move=50))["shifted"] is True


def test_refuses_one_group_and_misfitting_companions():
    a, b = _pair()
    for wrong in ({"groups": [0] * 70}, {"groups": [0]}, {"ids": ["x"]}):
        with pytest.raises(UserError):
            detect_shift(a, b, **wrong)


def test_overlay_is_bounded_and_aligned():
    points = overlay(*_pair(700, 20, move=5))
    assert (len(points["reference"]), len(points["current"])) == (500, 20)
    x = [np.array(points[side])[:, 0] for side in ("reference", "current")]
    assert max(x[0]) < min(x[1]) or max(x[1]) < min(x[0])
    assert len(overlay(np.eye(3)[:, :1], np.eye(3)[:, :1])["current"][0]) == 2


def test_statistics_inform_but_do_not_decide(tmp_path):
    a, b = _pair()
    rng = np.random.default_rng(0)
    stats = [pd.DataFrame({"brightness": rng.random(n) + d}) for n, d in ((40, 0), (30, 2))]
    html = tmp_path / "shift.html"
    found = detect_shift(a, b, reference_stats=stats[0], current_stats=stats[1], html=html)
    assert found["image_statistics"][0]["drifted"] is True
    assert found["shifted"] is False
    assert html.stat().st_size > 10_000


def test_summary_names_the_shifted_comparisons():
    calm = _entry("train vs test", p=0.5, low=0.4, auc=0.52)
    verdict = summarise([calm, _entry("lab vs field", auc=0.98), _entry("lab vs test")])
    assert verdict["shifted"] is True
    assert verdict["reason"].startswith("lab vs field shifted: domain classifier AUC 0.98")
    assert verdict["reason"].endswith("also lab vs test")
    assert summarise([calm]) == {
        "shifted": False,
        "reason": "no shift; largest in train vs test: domain classifier AUC 0.52 [0.40, 0.99], "
        "MMD p = 0.500, share of variance 0.100",
    }


def test_no_comparison_is_no_verdict():
    with pytest.raises(UserError):
        summarise([])
