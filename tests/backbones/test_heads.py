import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression, Ridge

from regraft.backbones.heads import (
    DEFAULT_STRENGTH,
    STRENGTHS,
    logistic_probe,
    nearest_class_mean,
    ridge_head,
)
from regraft.errors import UserError


def _data(per_class, dim, signal=1.0, seed=0, classes=3, unit=False):
    """Class means are the same for every seed, examples differ."""
    means = np.random.default_rng(99).normal(size=(classes, dim))
    labels = np.arange(per_class * classes) % classes
    noise = np.random.default_rng(seed).normal(size=(len(labels), dim))
    x = signal * means[labels] + noise + 0.3
    return (x / np.linalg.norm(x, axis=1, keepdims=True) if unit else x), labels


def _accuracy(head, x, labels):
    return (head.logits(x).argmax(1) == labels).mean()


@pytest.mark.parametrize("dim", [8, 120])
@pytest.mark.parametrize("strength", [0.1, 10.0, 1000.0])
def test_equals_scikit_learn_at_a_fixed_strength(dim, strength):
    x, labels = _data(15, dim, unit=True)
    head = logistic_probe(x, labels, strength=strength)
    reference = LogisticRegression(C=strength, tol=1e-8, max_iter=20000).fit(x, labels)
    assert head.weight.shape == (3, dim)
    np.testing.assert_allclose(head.weight, reference.coef_, atol=2e-3 * abs(head.weight).max())
    ours = head.logits(x) - head.logits(x).mean(1, keepdims=True)
    theirs = reference.decision_function(x)
    np.testing.assert_allclose(ours, theirs - theirs.mean(1, keepdims=True), atol=0.02)


def test_two_classes_are_binary_logistic_regression_at_twice_the_strength():
    x, labels = _data(20, 5, classes=2)
    head = logistic_probe(x, labels, strength=1.0)
    reference = LogisticRegression(C=2.0, tol=1e-8, max_iter=5000).fit(x, labels)
    logits = head.logits(x)
    difference = logits[:, 1] - logits[:, 0]
    np.testing.assert_allclose(difference, reference.decision_function(x), atol=1e-3)


def test_cross_validation_reads_the_noise():
    weak, labels = _data(30, 20, signal=0.15, unit=True)
    strong, _ = _data(30, 20, signal=3.0, unit=True)
    cautious, confident = logistic_probe(weak, labels), logistic_probe(strong, labels)
    assert cautious.strength < confident.strength
    assert {cautious.strength, confident.strength} <= set(STRENGTHS)
    for head in (cautious, confident):
        assert 0 <= head.cv_low <= head.cv_accuracy <= head.cv_high <= 1
    assert cautious.cv_accuracy < 0.7
    assert confident.cv_accuracy > 0.95


def test_cross_validated_accuracy_foretells_the_accuracy_on_new_examples():
    x, labels = _data(40, 30, signal=0.5)
    head = logistic_probe(x, labels)
    assert head.cv_low <= _accuracy(head, *_data(400, 30, signal=0.5, seed=1)) <= head.cv_high


def test_copies_in_one_group_do_not_leak():
    rng = np.random.default_rng(3)
    x, labels = rng.normal(size=(30, 50)), np.arange(30) % 2
    copies, copied_labels = np.repeat(x, 4, axis=0), np.repeat(labels, 4)
    leaky = logistic_probe(copies, copied_labels)
    honest = logistic_probe(copies, copied_labels, groups=np.repeat(np.arange(30), 4))
    assert leaky.cv_accuracy == 1.0
    assert honest.cv_accuracy < 0.75
    # Thirty independent examples, not 120: the interval stays wide.
    assert honest.cv_high - honest.cv_low > 0.25


@pytest.mark.parametrize("per_class", [2, 3, 4])
def test_few_examples_shrink_the_folds(per_class):
    x, labels = _data(per_class, 40, signal=3.0, unit=True)
    head = logistic_probe(x, labels)
    assert head.cv_accuracy == 1.0
    assert head.cv_low < 0.9


def test_one_example_per_class_takes_the_documented_default():
    x, labels = _data(1, 40, signal=3.0, unit=True)
    head = logistic_probe(x, labels)
    assert (head.strength, head.cv_accuracy, head.cv_low) == (
        DEFAULT_STRENGTH,
        None,
        None,
    )
    assert _accuracy(head, x, labels) == 1.0


def test_is_deterministic_for_a_seed():
    x, labels = _data(10, 30, signal=0.3)
    first, second = (logistic_probe(x, labels, seed=5) for _ in range(2))
    np.testing.assert_array_equal(first.weight, second.weight)
    assert first.cv_accuracy == second.cv_accuracy


def test_nearest_class_mean_is_the_nearest_mean():
    x, labels = _data(12, 6)
    means = np.stack([x[labels == c].mean(0) for c in range(3)])
    expected = np.linalg.norm(x[:, None] - means, axis=2).argmin(1)
    np.testing.assert_array_equal(nearest_class_mean(x, labels).logits(x).argmax(1), expected)


@pytest.mark.parametrize("dim", [5, 90])
def test_ridge_equals_scikit_learn(dim):
    x, labels = _data(12, dim)
    head = ridge_head(x, labels, strength=0.5)
    reference = Ridge(alpha=2.0).fit(x, np.eye(3)[labels])
    np.testing.assert_allclose(head.logits(x), reference.predict(x), atol=1e-8)


@pytest.mark.parametrize("fit", [logistic_probe, nearest_class_mean, ridge_head])
@pytest.mark.parametrize(
    ("x", "labels"),
    [
        (np.full((4, 2), np.nan), [0, 0, 1, 1]),
        (np.ones((4, 2)), [0, 0, 2, 2]),
        (np.ones((4, 2)), [0, 0, 0, 0]),
        (np.ones((4, 2)), ["a", "a", "b", "b"]),
        (np.ones((4, 2)), [0, 1, 0]),
        (np.empty((0, 2)), []),
    ],
)
def test_refuses_what_cannot_be_fitted(fit, x, labels):
    with pytest.raises(UserError):
        fit(x, labels)


def test_refuses_a_strength_that_is_not_positive():
    with pytest.raises(UserError, match="strength"):
        logistic_probe(*_data(3, 4), strength=0.0)
