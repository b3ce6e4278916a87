import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression, Ridge
from threadpoolctl import threadpool_info

from regraft.backbones.heads import (
    DEFAULT_STRENGTH,
    KINDS,
    STRENGTHS,
    CacheHead,
    LinearHead,
    cache_model,
    head_of,
    logistic_probe,
    nearest_class_mean,
    ridge_head,
)
from regraft.backbones.heads.linear import fitting_threads
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


@pytest.mark.parametrize("fit", KINDS.values(), ids=KINDS)
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


def _two_arcs(per_class, seed=0):
    """Classes on alternating quarters of a circle: no linear head separates them."""
    rng = np.random.default_rng(seed)
    labels = np.arange(2 * per_class) % 2
    quarter = rng.integers(0, 2, len(labels)) * 2 + labels
    angle = (quarter + rng.uniform(0.1, 0.9, len(labels))) * np.pi / 2
    return np.stack([np.cos(angle), np.sin(angle)], 1), labels


def test_the_cache_is_the_paper_s_formula():
    x, labels = _data(6, 10, unit=True)
    cache = cache_model(x, labels)
    new, _ = _data(3, 10, seed=5, unit=True)
    similarity = new @ x.T
    onehot = np.eye(3)[labels] / 6
    expected = cache.linear.logits(new) + cache.alpha * (
        np.exp(-cache.beta * (1 - similarity)) @ onehot
    )
    np.testing.assert_allclose(cache.logits(new), expected)


def test_the_cache_learns_what_no_linear_head_can():
    x, labels = _two_arcs(60)
    new, truth = _two_arcs(200, seed=1)
    assert _accuracy(ridge_head(x, labels), new, truth) < 0.7
    assert _accuracy(cache_model(x, labels), new, truth) > 0.95


def test_cross_validation_turns_the_cache_down_where_neighbours_mislead():
    """Nearest neighbours of noise: alpha stays small against that of the circle."""
    x, labels = _data(30, 40, signal=0.4, unit=True)
    misled, useful = cache_model(x, labels), cache_model(*_two_arcs(60))

    def share(cache, features):
        rest = cache.logits(features) - cache.linear.logits(features)
        return rest.std() / cache.linear.logits(features).std()

    assert share(misled, x) < share(useful, _two_arcs(60)[0])


def test_copies_in_one_group_do_not_choose_the_cache():
    rng = np.random.default_rng(3)
    x, labels = rng.normal(size=(30, 50)), np.arange(30) % 2
    copies, copied = np.repeat(x, 4, axis=0), np.repeat(labels, 4)
    leaky = cache_model(copies, copied)
    honest = cache_model(copies, copied, groups=np.repeat(np.arange(30), 4))
    assert (leaky.alpha, leaky.beta) != (honest.alpha, honest.beta)


def test_one_example_per_class_takes_the_paper_s_alpha_and_beta():
    cache = cache_model(*_data(1, 40, signal=3.0, unit=True))
    assert (cache.alpha, cache.beta) == (1.0, 5.5)


def test_a_larger_class_does_not_answer_louder():
    """At alpha -> infinity only the cache speaks; twice the copies of a class change nothing."""
    x, labels = _data(5, 10, unit=True)
    more = np.concatenate([x, x[labels == 0]])
    more_labels = np.concatenate([labels, labels[labels == 0]])
    silent = LinearHead(np.zeros((3, 10)), np.zeros(3), 0.0)
    once = cache_model(x, labels, linear=silent, groups=np.zeros(len(x)))
    twice = cache_model(more, more_labels, linear=silent, groups=np.zeros(len(more)))
    np.testing.assert_allclose(once.logits(x), twice.logits(x))


@pytest.mark.parametrize("kind", KINDS)
def test_arrays_scale_and_basis_keep_the_answers(kind):
    x, labels = _data(6, 10, unit=True)
    head = KINDS[kind](x, labels)
    again = head_of(head.arrays())
    np.testing.assert_allclose(again.logits(x), head.logits(x))
    np.testing.assert_allclose(head.scaled(3.0).logits(x), 3 * head.logits(x))
    rotation = np.linalg.qr(np.random.default_rng(0).normal(size=(12, 10)))[0].T
    np.testing.assert_allclose(head.mapped(rotation).logits(x @ rotation), head.logits(x))


def test_the_module_equals_the_arrays_and_can_learn():
    x, labels = _data(6, 10, unit=True)
    cache = cache_model(x, labels)
    module = CacheHead(10, 3, len(x))
    arrays = {k: torch.tensor(v, dtype=torch.float32) for k, v in cache.arrays().items()}
    state = {f"linear.{k}" if k in {"weight", "bias"} else k: v for k, v in arrays.items()}
    module.load_state_dict(state)
    found = module(torch.tensor(x, dtype=torch.float32))
    np.testing.assert_allclose(found.detach().numpy(), cache.logits(x), atol=1e-5)
    found.logsumexp(1).sum().backward()
    assert module.keys.grad is not None and module.keys.grad.abs().sum() > 0


def test_small_fits_use_one_blas_thread_and_give_the_threads_back():
    before = [pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"]
    with fitting_threads(np.zeros((100, 50))):
        inside = [pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"]
    with fitting_threads(np.broadcast_to(0.0, (5000, 5000))):
        large = [pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"]
    after = [pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"]
    assert set(inside) == {1}
    assert large == after == before
