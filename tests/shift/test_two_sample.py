import numpy as np
import pytest

from regraft.errors import UserError
from regraft.shift.two_sample import (
    auc_interval,
    domain_classifier,
    mmd_permutation_test,
    principal_components,
)


def _pair(n, m, dim=20, move=0.0, seed=0):
    rng = np.random.default_rng(seed)
    a, b = rng.normal(size=(n, dim)), rng.normal(size=(m, dim))
    b[:, : dim // 2] += move
    return a, b


def _naive_mmd(a, b, bandwidth):
    def k(x, y):
        return np.exp(-((x - y) ** 2).sum() / (2 * bandwidth**2))

    aa = np.mean([k(x, y) for i, x in enumerate(a) for j, y in enumerate(a) if i != j])
    bb = np.mean([k(x, y) for i, x in enumerate(b) for j, y in enumerate(b) if i != j])
    return aa + bb - 2 * np.mean([k(x, y) for x in a for y in b])


def test_statistic_is_the_unbiased_mmd():
    a, b = _pair(9, 13, dim=3, move=1.0)
    pooled = np.concatenate([a, b])
    distances = np.linalg.norm(pooled[:, None] - pooled, axis=2)[np.triu_indices(22, 1)]
    bandwidth = np.sqrt(np.median(distances**2))
    found = mmd_permutation_test(a, b, permutations=20)
    assert found["statistic"] == pytest.approx(_naive_mmd(a, b, bandwidth))


def test_effect_grows_with_distance_and_not_with_sample_size():
    effects = [mmd_permutation_test(*_pair(80, 60, move=m))["effect_size"] for m in (0.5, 1, 3)]
    assert 0 < effects[0] < effects[1] < effects[2] < 1
    large = mmd_permutation_test(*_pair(400, 400, move=1))["effect_size"]
    assert large == pytest.approx(effects[1], abs=0.02)


def test_p_values_are_uniform_under_the_null():
    p = [
        mmd_permutation_test(*_pair(15, 25, seed=s), permutations=99)["p_value"] for s in range(80)
    ]
    assert np.mean(np.array(p) <= 0.05) <= 0.11
    assert 0.4 < np.mean(p) < 0.6
    assert min(p) >= 0.01


def test_at_most_max_samples_rows_are_used():
    a, b = _pair(2000, 30, move=2)
    assert mmd_permutation_test(a, b, max_samples=40, permutations=99)["p_value"] == 0.01


def test_identical_rows_are_no_shift():
    found = mmd_permutation_test(np.ones((5, 3)), np.ones((7, 3)), permutations=50)
    assert found["p_value"] == 1.0
    assert found["effect_size"] == 0.0


def test_classifier_finds_a_shift_and_names_the_examples():
    a, b = _pair(60, 40)
    b[:8] += 4
    found = domain_classifier(a, b)
    assert found.reference_scores.shape == (60,)
    assert set(np.argsort(-found.current_scores)[:8]) == set(range(8))
    far = domain_classifier(*_pair(60, 40, move=3))
    assert far.auc > 0.99
    assert 0.9 < far.low < far.auc <= far.high <= 1


def test_classifier_seldom_alarms_under_the_null():
    runs = [domain_classifier(*_pair(20, 30, seed=s), seed=s) for s in range(40)]
    assert np.mean([run.low > 0.5 for run in runs]) <= 0.1
    assert abs(np.mean([run.auc for run in runs]) - 0.5) < 0.06


def test_near_duplicates_do_not_leak_across_folds():
    a, b = _pair(12, 12, dim=60, seed=4)
    copies = [np.repeat(x, 5, axis=0) for x in (a, b)]
    groups = np.repeat(np.arange(24), 5)
    leaky = domain_classifier(*copies)
    honest = domain_classifier(*copies, groups=groups)
    assert leaky.auc > 0.95
    assert honest.auc < 0.75
    assert honest.high - honest.low > 0.3


def test_rows_beyond_the_limit_are_not_scored():
    found = domain_classifier(*_pair(50, 30, move=2), max_samples=20)
    assert np.isfinite(found.reference_scores).sum() == 20
    assert np.isfinite(found.current_scores).sum() == 20


def test_auc_interval_covers_and_is_never_empty():
    low, high = auc_interval(1.0, 20, 20)
    assert 0.8 < low < 1
    assert high == 1.0
    assert auc_interval(0.0, 20, 20) == pytest.approx((0.0, 1 - low))
    rng = np.random.default_rng(0)
    covered = 0
    for _ in range(300):
        a, b = rng.normal(size=25), rng.normal(size=35) + 1.0
        low, high = auc_interval(float((b[:, None] > a).mean()), 25, 35)
        covered += low <= 0.7602 <= high
    assert 0.92 <= covered / 300 <= 0.98


@pytest.mark.parametrize("shape", [(30, 8), (12, 40)])
def test_principal_components(shape):
    x = np.random.default_rng(0).normal(size=shape) * np.linspace(1, 5, shape[1])
    x[:, 0] = 3.0
    found = principal_components(x, 4)
    rest = x[:, 1:]
    standard = (rest - rest.mean(0)) / rest.std(0)
    u, s, _ = np.linalg.svd(standard, full_matrices=False)
    expected = u[:, :4] * s[:4] / s[0] * np.sqrt(len(x))
    np.testing.assert_allclose(np.abs(found), np.abs(expected), atol=1e-8)


NAN = np.array([[1.0, np.nan], [1.0, 2.0]])
GOOD = np.random.default_rng(0).normal(size=(6, 2))


@pytest.mark.parametrize("compare", [mmd_permutation_test, domain_classifier])
@pytest.mark.parametrize(
    "bad",
    [
        NAN,
        np.empty((0, 2)),
        np.ones((1, 2)),
        np.ones((4, 3)),
        np.ones(4),
        np.ones((4, 0)),
    ],
)
def test_refuses_samples_without_an_answer(compare, bad):
    for pair in ((bad, GOOD), (GOOD, bad)):
        with pytest.raises(UserError):
            compare(*pair)


def test_refuses_a_sample_that_is_one_group():
    with pytest.raises(UserError, match="independent"):
        domain_classifier(GOOD, GOOD, groups=[0] * 6 + [1, 2, 3, 4, 5, 6])
