"""Terms that hold what the start knew: L2-SP, EWC, LwF."""

from __future__ import annotations

import copy
from types import SimpleNamespace as Namespace

import numpy as np
import pytest
import torch
from torch import nn

from regraft.errors import UserError
from regraft.transfer.objectives import ewc, l2_sp, lwf
from regraft.transfer.objectives.distillation import soft_answers
from tests.transfer.objectives.support import (
    N,
    Toy,
    begun,
    descend,
    embed,
    examples,
    start_of,
    step_of,
    toy,
)

SOURCE, TARGET = examples(), examples(2.0, seed=3)


def test_l2_sp_is_half_the_sum_of_squares_of_the_backbone_only() -> None:
    model = toy()
    term = begun(l2_sp.Term(), model)
    assert term(step_of(model, SOURCE, None)).item() == 0
    with torch.no_grad():
        model.encoder.weight[0, 0] += 3.0
        model.encoder.bias[1] -= 4.0
        model.head.weight += 7.0
    assert term(step_of(model, SOURCE, None)).item() == pytest.approx(12.5, rel=1e-5)


def test_weights_in_another_memory_format_are_compared_with_themselves() -> None:
    """Encoders lie in memory with their channels last."""
    model = toy()
    model.encoder = nn.Conv2d(3, 4, 3).to(memory_format=torch.channels_last)
    term = begun(l2_sp.Term(), model)
    assert term(Namespace(model=model)).item() == 0
    with torch.no_grad():
        model.encoder.weight[0, 1, 2, 0] += 2.0
    assert term(Namespace(model=model)).item() == pytest.approx(2.0)


@pytest.mark.parametrize("module", [l2_sp, ewc])
def test_descent_brings_a_moved_backbone_back_to_its_start(module: object) -> None:
    model = toy()
    start = copy.deepcopy(model.encoder.state_dict())
    term = begun(module.Term(), model)  # type: ignore[attr-defined]
    with torch.no_grad():
        for parameter in model.encoder.parameters():
            parameter.add_(0.5)
    values = descend(term, model, SOURCE, TARGET, steps=200, rate=0.3)
    assert values[-1] < 0.01 * values[0]
    if module is l2_sp:
        assert torch.allclose(model.encoder.weight, start["weight"], atol=1e-3)


class Logistic(nn.Module):
    """w'x as the encoder, logits (z, -z): the likelihood of class 0 is sigmoid(2 z)."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Linear(6, 1, bias=False)
        self.head = nn.Linear(1, 2, bias=False)
        self.head.weight.data = torch.tensor([[1.0], [-1.0]])


def test_fisher_of_logistic_regression_has_its_closed_form() -> None:
    torch.manual_seed(0)
    model = Logistic()
    y = (torch.arange(N) % 2).float()
    singles = [([SOURCE[i : i + 1]], torch.stack([y[i], 1 - y[i]])[None]) for i in range(N)]
    fisher, reached = ewc.diagonal_fisher(model, embed, singles, batch_size=1)
    p = torch.sigmoid(2 * model.encoder(SOURCE)).detach()
    residual = 2 * (y[:, None] - p)  # d log-likelihood / d z
    assert torch.allclose(fisher, (residual * SOURCE).square().mean(0), atol=1e-5)
    assert reached.all()


def test_fisher_in_batches_squares_the_gradient_of_their_sum() -> None:
    torch.manual_seed(0)
    model, x, targets = Logistic(), SOURCE[:4], torch.eye(2)[[0, 1, 1, 0]]
    singles = [([x[i : i + 1]], targets[i : i + 1]) for i in range(4)]
    fisher, _ = ewc.diagonal_fisher(model, embed, singles, batch_size=2)
    p = torch.sigmoid(2 * model.encoder(x)).detach()
    gradients = 2 * (targets[:, :1] - p) * x
    sums = torch.stack([gradients[:2].sum(0), gradients[2:].sum(0)])
    assert torch.allclose(fisher, sums.square().sum(0) / 4, atol=1e-5)


def test_fisher_is_that_of_the_classes_which_the_start_knows() -> None:
    """Rows of zeros would take probability away from the classes that are old."""
    torch.manual_seed(0)
    model, targets = Logistic(), torch.eye(2)[torch.arange(N) % 2]
    grown = copy.deepcopy(model)
    grown.head.weight.data = torch.cat([model.head.weight.data, torch.zeros(2, 1)])
    more = torch.cat([targets, torch.zeros(N, 2)], 1)
    alone, beside = (
        ewc.diagonal_fisher(one, embed, [([SOURCE], wanted)], batch_size=N)[0]
        for one, wanted in ((model, targets), (grown, more))
    )
    assert torch.allclose(alone, beside)


def test_importance_has_mean_one_and_a_weight_that_nothing_uses_is_free() -> None:
    model = toy()
    old = SOURCE.clone()
    old[:, 2] = 0  # no old example ever used this input
    term = ewc.Term()
    term.begin(start_of(copy.deepcopy(model), old))
    assert term.importance.mean().item() == pytest.approx(1, rel=1e-4)
    with torch.no_grad():
        model.encoder.weight[:, 2] += 10.0
    assert term(step_of(model, SOURCE, None)).item() == 0
    with torch.no_grad():
        model.encoder.weight[:, 3] += 1.0
    assert term(step_of(model, SOURCE, None)).item() > 0


class TwoParts(Toy):
    """An encoder whose first layer is a frozen trunk that `embed` does not run."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Sequential(nn.Linear(4, 6), nn.Linear(6, 5))


def test_a_trunk_out_of_reach_does_not_dilute_the_importance() -> None:
    torch.manual_seed(0)
    model, term = TwoParts(), ewc.Term()
    start = start_of(model)
    behind = type(start)(
        model, lambda encoder, inputs: encoder[1](inputs[0]), start.old, start.example, start.rng
    )
    term.begin(behind)
    in_trunk = sum(parameter.numel() for parameter in model.encoder[0].parameters())
    assert not term.importance[:in_trunk].any()
    assert term.importance[in_trunk:].mean().item() == pytest.approx(1, rel=1e-4)


def test_ewc_leaves_batch_norm_s_statistics_alone() -> None:
    model = toy()
    model.encoder = nn.Sequential(nn.Linear(6, 5), nn.BatchNorm1d(5)).eval()
    before = copy.deepcopy(model.state_dict())
    ewc.Term(examples=8).begin(start_of(model))
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())


def test_ewc_refuses_examples_that_the_model_is_certain_of() -> None:
    model = toy()
    with torch.no_grad():
        model.head.weight.zero_()
    with pytest.raises(UserError, match="no weight that the old examples depend on"):
        ewc.Term().begin(start_of(model))


def test_the_sample_of_a_stream_is_even_and_of_the_size() -> None:
    stream = [([torch.tensor([[float(i)]])], torch.zeros(1, 2)) for i in range(20)]
    counts = np.zeros(20)
    for seed in range(600):
        chosen = ewc.sample(iter(stream), 5, np.random.default_rng(seed))
        numbers = [int(inputs[0]) for inputs, _ in chosen]
        assert len(set(numbers)) == 5
        counts[numbers] += 1
    assert counts.min() > 100 and counts.max() < 200, "150 times each on average"
    assert len(ewc.sample(iter(stream), 99, np.random.default_rng(0))) == 20


def test_lwf_is_nothing_at_the_start_and_hintons_divergence_after() -> None:
    model = toy()
    start = copy.deepcopy(model)
    term = begun(lwf.Term(temperature=3.0), model)
    assert term(step_of(model, SOURCE, None)).item() == pytest.approx(0, abs=1e-6)
    with torch.no_grad():
        model.encoder.weight.mul_(2)
    expected = [
        soft_answers(model.head(model.encoder(x)), start.head(start.encoder(x)), temperature=3.0)
        for x in (SOURCE, TARGET)
    ]
    assert torch.allclose(term(step_of(model, SOURCE, None)), expected[0])
    both = term(step_of(model, SOURCE, TARGET))
    assert torch.allclose(both, torch.stack(expected).mean()), "the target's inputs count too"


def test_lwf_leaves_classes_alone_that_are_new() -> None:
    model = toy()
    with torch.no_grad():
        model.head.weight[-1] = 0
        model.head.bias[-1] = 0
    term = begun(lwf.Term(), model)
    with torch.no_grad():
        model.head.weight[-1] = 5
    assert term(step_of(model, SOURCE, None)).item() == pytest.approx(0, abs=1e-6)
    with torch.no_grad():
        model.head.weight[0] += 5
    assert term(step_of(model, SOURCE, None)).item() > 0.01


def test_lwf_brings_the_answers_back_but_not_the_weights() -> None:
    model = toy()
    start = copy.deepcopy(model)
    term = begun(lwf.Term(), model)
    with torch.no_grad():
        model.encoder.weight.add_(torch.randn(5, 6))
    values = descend(term, model, SOURCE, TARGET, steps=200, rate=0.1)
    assert values[-1] < 0.1 * values[0]
    assert (model.encoder.weight - start.encoder.weight).abs().max() > 0.1


@pytest.mark.parametrize("module", [l2_sp, ewc, lwf])
def test_the_start_is_a_copy_that_does_not_move_with_the_model(module: object) -> None:
    model, term = toy(), module.Term()  # type: ignore[attr-defined]
    term.begin(start_of(model))
    with torch.no_grad():
        model.encoder.weight.mul_(3)
    assert term(step_of(model, SOURCE, None)).item() > 0.01


def test_lwf_s_reference_stays_as_it_was_whatever_is_asked_of_the_term() -> None:
    model = toy()
    model.encoder = nn.Sequential(nn.Linear(6, 5), nn.BatchNorm1d(5), nn.Dropout(0.5)).eval()
    term = begun(lwf.Term(), model).train()
    model.train()
    values = [term(step_of(model.eval(), SOURCE, None)).item() for _ in range(3)]
    assert max(values) == pytest.approx(0, abs=1e-6), "dropout or batch statistics are on"
    assert not list(term.state_dict())


def test_terms_of_one_start_are_the_same_twice() -> None:
    """What `begin` learns must not depend on when it is called: a resumed run calls it anew."""
    model = toy()
    first, again = ewc.Term(examples=7), ewc.Term(examples=7)
    for term in (first, again):
        term.begin(start_of(model))
    assert torch.equal(first.importance, again.importance)
