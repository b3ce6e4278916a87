"""Terms between two domains: adversaries, covariances, kernel means."""

from __future__ import annotations

import copy
import math

import numpy as np
import pytest
import torch
from torch.nn.functional import binary_cross_entropy_with_logits, normalize

from regraft.transfer.objective import Objective
from regraft.transfer.objectives import cdan, coral, dann, mmd
from regraft.transfer.objectives.adversary import DomainClassifier, adversarial_loss
from regraft.transfer.objectives.reversal import growing_scale, reverse
from regraft.transfer.step import Start
from tests.transfer.objectives.support import (
    begun,
    descend,
    embed,
    examples,
    start_of,
    step_of,
    toy,
)

SOURCE, TARGET = examples(), examples(2.0, seed=3)


def test_reversal_is_the_identity_with_the_gradient_turned_round() -> None:
    x = torch.tensor([1.0, -2.0], requires_grad=True)
    y = reverse(x, 0.25)
    assert torch.equal(x, y)
    (y * torch.tensor([4.0, 8.0])).sum().backward()
    assert x.grad is not None
    assert x.grad.tolist() == [-1.0, -2.0]


def test_the_scale_grows_from_nothing_to_one() -> None:
    scales = [growing_scale(p) for p in np.linspace(0, 1, 11)]
    assert scales[0] == 0 and scales == sorted(scales)
    assert growing_scale(0.1) == pytest.approx(2 / (1 + math.exp(-1)) - 1)
    assert scales[-1] == pytest.approx(1, abs=1e-3)


def test_the_adversary_s_loss_is_cross_entropy_with_domains_of_equal_weight() -> None:
    torch.manual_seed(0)
    classifier = DomainClassifier(6, 8)
    found = adversarial_loss(classifier, SOURCE, TARGET[:16], scale=1.0)
    of_source = binary_cross_entropy_with_logits(classifier(SOURCE), torch.ones(48))
    of_target = binary_cross_entropy_with_logits(classifier(TARGET[:16]), torch.zeros(16))
    assert torch.allclose(found, (of_source + of_target) / 2)


def test_weights_of_an_adversary_choose_who_counts() -> None:
    torch.manual_seed(0)
    classifier = DomainClassifier(6, 8)
    only_first = torch.zeros(48).index_fill(0, torch.tensor([0]), 5.0)
    found = adversarial_loss(classifier, SOURCE, TARGET, scale=1.0,
                             source_weights=only_first, target_weights=only_first)  # fmt: skip
    expected = adversarial_loss(classifier, SOURCE[:1], TARGET[:1], scale=1.0)
    assert torch.allclose(found, expected)


@pytest.mark.parametrize("module", [dann, cdan])
def test_the_adversary_learns_and_the_encoder_is_spared_at_first(module: object) -> None:
    model = toy()
    term = begun(module.Term(hidden=16), model)  # type: ignore[attr-defined]
    value = term(step_of(model, SOURCE, TARGET, progress=0.0))
    value.backward()
    assert not model.encoder.weight.grad.any(), "the scale is 0 at the beginning"
    frozen = copy.deepcopy(model).requires_grad_(False)
    optimiser = torch.optim.SGD(term.parameters(), lr=0.1)
    for _ in range(100):
        optimiser.zero_grad()
        loss = term(step_of(frozen, SOURCE, TARGET))
        loss.backward()
        optimiser.step()
    assert loss < 0.7 * value, "the domains can be told apart, so the adversary does"


@pytest.mark.parametrize("module", [dann, cdan])
def test_one_step_of_the_encoder_makes_the_domains_harder_to_tell(module: object) -> None:
    """Against a trained adversary that stays as it is, descent of the encoder raises its loss."""
    model = toy()
    term = begun(module.Term(hidden=16), model)  # type: ignore[attr-defined]
    optimiser = torch.optim.Adam(term.parameters(), lr=0.01)
    for _ in range(100):
        optimiser.zero_grad()
        term(step_of(model, SOURCE, TARGET)).backward()
        optimiser.step()
    before = term(step_of(model, SOURCE, TARGET, progress=1.0))
    model.zero_grad()
    before.backward()
    with torch.no_grad():
        model.encoder.weight -= 0.05 * model.encoder.weight.grad
        model.encoder.bias -= 0.05 * model.encoder.bias.grad
    assert term(step_of(model, SOURCE, TARGET)) > before


def gap(model: object) -> float:
    """Distance of the domains' mean embeddings, in standard deviations of the source."""
    with torch.no_grad():
        source, target = (model.encoder(x) for x in (SOURCE, TARGET))  # type: ignore[attr-defined]
    return float((source.mean(0) - target.mean(0)).norm() / source.std(0).norm())


def test_dann_brings_the_domains_together() -> None:
    model = toy()
    before = gap(model)
    descend(begun(dann.Term(hidden=16), model), model, SOURCE, TARGET, steps=300, rate=0.05)
    assert gap(model) < 0.5 * before


def test_cdan_joins_embedding_and_classes_exactly_or_in_expectation() -> None:
    model = toy()
    term = cdan.Term(projection=20000)
    term.begin(start_of(model))
    assert term.embedding_map is None, "15 numbers need no projection"
    f, g = torch.randn(2, 5), torch.rand(2, 3).softmax(1)
    exact = cdan.outer_product(f, g)
    assert torch.allclose(exact @ exact.T, (f @ f.T) * (g @ g.T))
    maps = [
        cdan._normal(np.random.default_rng(seed), rows, 20000) for seed, rows in ((0, 5), (1, 3))
    ]
    projected = (f @ maps[0]) * (g @ maps[1])
    assert torch.allclose(projected @ projected.T / 20000, exact @ exact.T, atol=0.2)


def test_cdan_projects_wide_embeddings() -> None:
    model = toy()
    term = cdan.Term(projection=7, hidden=4)
    term.begin(start_of(model))
    assert term.classifier.layers[0].in_features == 7
    assert {"embedding_map", "class_map"} < set(term.state_dict()), "a resumed run needs them"
    assert term(step_of(model, SOURCE, TARGET)).isfinite()


@pytest.mark.parametrize("projection", [512, 12])
def test_cdan_sees_the_classes_where_dann_does_not(projection: int) -> None:
    """Equal embeddings, but the domains' classes are swapped: only the conditional adversary
    can tell."""
    model = toy(dim=6)
    model.encoder = torch.nn.Identity()
    x = SOURCE[:, :6]
    source, target = step_of(model, x, x).labelled, step_of(model, x, -x).unlabelled
    assert target is not None
    flipped = type(source)([x], source.embeddings, -source.logits)
    step = step_of(model, x, x)
    swapped = type(step)(model, embed, source, step.targets, 0.0, flipped)
    losses = {}
    for module, options in ((dann, {}), (cdan, {"projection": projection})):
        torch.manual_seed(0)
        term = module.Term(hidden=32, **options)
        term.begin(Start(model, embed, start_of(model).old, [x[:1]], np.random.default_rng(0)))
        optimiser = torch.optim.Adam(term.parameters(), lr=0.01)
        for _ in range(150):
            optimiser.zero_grad()
            loss = term(swapped)
            loss.backward(retain_graph=True)
            optimiser.step()
        losses[module] = loss.item()
    assert losses[dann] > 0.68, "log 2 = 0.693: the embeddings are the same"
    assert losses[cdan] < 0.4


def test_entropy_weighting_trusts_the_confident() -> None:
    model = toy()
    term = cdan.Term()
    step = step_of(model, SOURCE, TARGET)
    sure = type(step.labelled)([SOURCE], step.labelled.embeddings, torch.eye(3)[[0, 1]] * 50)
    unsure = type(step.labelled)([SOURCE], step.labelled.embeddings, torch.zeros(2, 3))
    assert term._weights(sure).tolist() == pytest.approx([2.0, 2.0])
    assert term._weights(unsure).tolist() == pytest.approx([4 / 3, 4 / 3])
    assert cdan.Term(entropy_weighting=False)._weights(sure) is None


@pytest.mark.parametrize("sizes", [(20, 20, 7), (5, 9, 40)])
def test_coral_by_gram_matrices_equals_the_covariances(sizes: tuple[int, int, int]) -> None:
    n, m, d = sizes
    torch.manual_seed(0)
    x, y = torch.randn(n, d, dtype=torch.float64), 2 * torch.randn(m, d, dtype=torch.float64) + 1
    expected = (torch.cov(x.T) - torch.cov(y.T)).square().sum()
    assert torch.allclose(coral.covariance_distance(x, y), expected)


def test_coral_of_unit_vectors_is_the_papers_formula_for_scaled_coordinates() -> None:
    model = toy()
    step = step_of(model, SOURCE, TARGET)
    f, g = (normalize(batch.embeddings, dim=1) for batch in (step.labelled, step.unlabelled))
    unit = type(step)(model, embed, type(step.labelled)([SOURCE], f, f), step.targets, 0.0,
                      type(step.labelled)([TARGET], g, g))  # fmt: skip
    difference = torch.cov(f.T * 5**0.5) - torch.cov(g.T * 5**0.5)
    assert torch.allclose(coral.Term()(unit), difference.square().sum() / (4 * 5**2))


def test_coral_and_mmd_of_the_same_sample_are_nothing() -> None:
    model = toy()
    for term in (coral.Term(), mmd.Term()):
        assert term(step_of(model, SOURCE, SOURCE)).item() == pytest.approx(0, abs=1e-5)


def test_coral_ignores_a_shift_of_the_mean_and_mmd_does_not() -> None:
    assert coral.covariance_distance(SOURCE, SOURCE + 5).item() == pytest.approx(0, abs=1e-3)
    assert mmd.kernel_distance(SOURCE, SOURCE + 5, bandwidths=[1.0]) > 0.5


def test_mmd_is_the_formula_written_out() -> None:
    x, y = torch.tensor([[0.0], [1.0]]), torch.tensor([[3.0]])
    m = 4.0  # squared distances 1, 9 and 4
    k = [np.exp(-d / (2 * m)) for d in (1, 9, 4)]
    expected = (2 + 2 * k[0]) / 4 + 1 - 2 * (k[1] + k[2]) / 2
    assert mmd.kernel_distance(x, y, bandwidths=[2.0]).item() == pytest.approx(expected)


def test_mmd_tells_a_shift_from_chance() -> None:
    chance = mmd.kernel_distance(SOURCE, examples(seed=5), bandwidths=[0.5, 1, 2]).item()
    shifted = mmd.kernel_distance(SOURCE, examples(2.0, seed=5), bandwidths=[0.5, 1, 2]).item()
    assert 0 <= chance < 0.05 < 2 * chance + 0.05 < shifted


@pytest.mark.parametrize(("term", "rate"), [(coral.Term(), 0.02), (mmd.Term(), 0.3)])
def test_a_few_steps_bring_the_domains_together(term: Objective, rate: float) -> None:
    values = descend(term, toy(), SOURCE, TARGET, steps=60, rate=rate)
    assert values[-1] < 0.3 * values[0]
