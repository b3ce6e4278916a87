"""A new row is learned against the known ones, and leaves them in peace."""

from __future__ import annotations

import numpy as np
from scipy.optimize import minimize
from scipy.special import logsumexp

from regraft.backbones.heads import logistic_probe
from regraft.backbones.heads.further_class import DEFAULT_STRENGTH, further_class


def sample(per_class: int, n_new: int, seed: int = 0):
    """Three known classes with a fitted head, and a fourth."""
    means = np.random.default_rng(99).normal(size=(4, 60))
    labels = np.repeat([0, 1, 2, 3], [per_class] * 3 + [n_new])
    x = means[labels] + 2.0 * np.random.default_rng(seed).normal(size=(len(labels), 60))
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    known = logistic_probe(x[labels < 3], labels[labels < 3], strength=100.0)
    return x, labels, known


def test_it_is_the_optimum_of_the_cross_entropy_with_known_rows_fixed() -> None:
    x, labels, known = sample(10, 10)  # balanced: every weight is 1
    logits = known.logits(x)

    def loss(flat: np.ndarray) -> float:
        every = np.column_stack([logits, x @ flat[:-1] + flat[-1]])
        likelihood = every[np.arange(len(x)), labels] - logsumexp(every, axis=1)
        return -50.0 * likelihood.sum() + (flat[:-1] ** 2).sum() / 2

    row = further_class(x, labels == 3, logits, strength=50.0)
    ours = np.append(row.weight, row.bias)
    best = minimize(loss, ours, method="BFGS", options={"gtol": 1e-4})
    assert loss(ours) <= best.fun + 1e-3 * abs(best.fun)


def test_new_photos_are_found_and_known_ones_kept() -> None:
    x, labels, known = sample(60, 8)
    row = further_class(x, labels == 3, known.logits(x))
    new, truth, _ = sample(100, 100, seed=1)
    before = known.logits(new)
    after = np.column_stack([before, row.logits(new)]).argmax(1)
    old = truth < 3
    lost = (before.argmax(1) == truth)[old].mean() - (after == truth)[old].mean()
    assert (after == truth)[~old].mean() > 0.7
    assert 0 <= lost < 0.1


def test_a_row_that_ignores_the_known_classes_would_lose_them() -> None:
    """The offset matters: a class mean as the row takes far more of the known examples."""
    x, labels, known = sample(60, 8)
    row = further_class(x, labels == 3, known.logits(x))
    new, truth, _ = sample(100, 100, seed=1)
    mean = x[labels == 3].mean(0) * np.linalg.norm(known.weight, axis=1).mean()
    imprinted = np.column_stack([known.logits(new), new @ mean / np.linalg.norm(mean) * 30])
    learned = np.column_stack([known.logits(new), row.logits(new)])
    assert (learned.argmax(1) == truth).mean() > (imprinted.argmax(1) == truth).mean()


def test_a_rare_class_weighs_as_much_as_a_known_one() -> None:
    """Copies of the new examples change nothing: the class weighs the same."""
    x, labels, known = sample(40, 5)
    copies = np.concatenate([x, np.repeat(x[labels == 3], 3, axis=0)])
    is_new = np.concatenate([labels == 3, np.ones(15, bool)])
    once = further_class(x, labels == 3, known.logits(x), strength=100.0)
    often = further_class(copies, is_new, known.logits(copies), strength=100.0)
    np.testing.assert_allclose(often.logits(x), once.logits(x), atol=0.02)


def test_one_group_cannot_choose_a_strength() -> None:
    x, labels, known = sample(20, 4)
    groups = np.where(labels == 3, -1, np.arange(len(x)))
    row = further_class(x, labels == 3, known.logits(x), groups=groups)
    assert row.strength == DEFAULT_STRENGTH
