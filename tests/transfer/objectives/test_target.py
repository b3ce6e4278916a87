"""Terms of the target alone: confusion, entropy, pseudo-labels, reconstruction."""

from __future__ import annotations

import copy
import math

import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from regraft.errors import UserError
from regraft.transfer.objectives import drcn, entropy, mcc, pseudo_label
from regraft.transfer.step import Batch, Start, Step
from tests.transfer.objectives.support import begun, descend, examples, start_of, step_of, toy

SOURCE, TARGET = examples(), examples(2.0, seed=3)


def with_logits(logits: torch.Tensor) -> Step:
    """A step whose target batch has these logits."""
    step = step_of(toy(), SOURCE, TARGET)
    target = Batch([TARGET[: len(logits)]], torch.zeros(len(logits), 5), logits)
    return Step(step.model, step.embed, step.labelled, step.targets, 0.5, target)


def test_class_confusion_is_the_papers_formula() -> None:
    torch.manual_seed(0)
    logits = torch.randn(10, 4)
    p = (logits / 2.5).softmax(1)
    w = 1 + torch.exp(-torch.distributions.Categorical(p).entropy())
    w = 10 * w / w.sum()
    matrix = torch.einsum("nj,n,nk->jk", p, w, p)
    matrix = matrix / matrix.sum(1, keepdim=True)
    expected = (matrix.sum() - matrix.trace()) / 4
    assert torch.allclose(mcc.class_confusion(logits, temperature=2.5), expected)


def test_sure_predictions_confuse_nothing_and_even_ones_everything() -> None:
    assert mcc.class_confusion(100 * torch.eye(3), temperature=2.5).item() == pytest.approx(0)
    assert mcc.class_confusion(torch.zeros(5, 3), temperature=2.5).item() == pytest.approx(2 / 3)


def test_information_is_entropy_less_diversity() -> None:
    uniform, sure = torch.zeros(6, 3), 100 * torch.eye(3)
    one_class = torch.tensor([[100.0, 0.0, 0.0]]).repeat(4, 1)
    log3 = math.log(3)
    assert entropy.information(uniform, diversity=0).item() == pytest.approx(log3)
    assert entropy.information(uniform, diversity=1).item() == pytest.approx(0, abs=1e-6)
    assert entropy.information(sure, diversity=1).item() == pytest.approx(-log3)
    assert entropy.information(one_class, diversity=0).item() == pytest.approx(0, abs=1e-6)
    assert entropy.information(one_class, diversity=1).item() == pytest.approx(0, abs=1e-6)


def test_diversity_keeps_every_class_in_use() -> None:
    used = {}
    for diversity in (0.0, 1.0):
        model = toy()
        with torch.no_grad():
            model.head.bias.copy_(torch.tensor([1.5, 0.0, 0.0]))
        descend(entropy.Term(diversity=diversity), model, SOURCE, TARGET, steps=300, rate=0.3)
        used[diversity] = model.head(model.encoder(TARGET)).softmax(1).mean(0).min().item()
    assert used[1.0] > 0.2
    assert used[1.0] > 2 * used[0.0]


@pytest.mark.parametrize(
    "term",
    [mcc.Term(), entropy.Term(), entropy.Term(diversity=0), pseudo_label.Term(threshold=0.4)],
)
def test_a_few_steps_lower_the_term(term: torch.nn.Module) -> None:
    model = toy()
    begun(term, model)  # type: ignore[arg-type]
    if isinstance(term, pseudo_label.Term):
        term.momentum = 0.999  # thresholds as good as fixed, so that values compare
    values = descend(term, model, SOURCE, TARGET, steps=60, rate=0.3)  # type: ignore[arg-type]
    assert values[-1] < values[0] - 0.05


def labels_term(threshold: float = 0.9, momentum: float = 0.999999) -> pseudo_label.Term:
    term = pseudo_label.Term(threshold=threshold, momentum=momentum)
    term.begin(start_of(toy()))
    return term


def test_only_confident_predictions_are_labels() -> None:
    sure, unsure = torch.tensor([5.0, 0.0, 0.0]), torch.tensor([1.0, 0.0, 0.9])
    found = labels_term()(with_logits(torch.stack([sure, unsure])))
    expected = cross_entropy(sure[None], torch.tensor([0])) / 2
    assert torch.allclose(found, expected, atol=1e-6)


def test_no_confident_prediction_costs_nothing_and_still_has_a_gradient() -> None:
    logits = torch.zeros(4, 3, requires_grad=True)
    value = labels_term()(with_logits(logits))
    assert value.item() == 0
    value.backward()
    assert logits.grad is not None and not logits.grad.any()


def test_pseudo_labels_of_every_class_count_alike() -> None:
    rows = [[5.0, 0.0, 0.0]] * 3 + [[0.0, 4.0, 0.0]]
    logits = torch.tensor(rows)
    losses = cross_entropy(logits, logits.argmax(1), reduction="none")
    found = labels_term()(with_logits(logits))
    assert torch.allclose(found, (losses[:3].mean() + losses[3]) / 2, atol=1e-6)


def test_a_class_that_is_predicted_less_needs_less_confidence() -> None:
    term = labels_term(threshold=0.95, momentum=0.0)
    assert term.thresholds().tolist() == pytest.approx([0.95] * 3), "alike at first"
    mostly_first = torch.tensor([[4.0, 0.0, 0.0]] * 6 + [[0.0, 3.0, 0.0]] * 4)
    term(with_logits(mostly_first))
    found = term.thresholds().tolist()
    assert found[0] == pytest.approx(0.95)
    assert 0.5 < found[1] < 0.8
    assert found[2] == 0.5, "never more likely wrong than right"


def test_thresholds_are_kept_in_the_checkpoint() -> None:
    term = labels_term(momentum=0.5)
    term(with_logits(torch.tensor([[4.0, 0.0, 0.0]] * 6)))
    again = labels_term()
    again.load_state_dict(copy.deepcopy(term.state_dict()))
    assert torch.equal(again.thresholds(), term.thresholds())


@pytest.mark.parametrize(
    ("shape", "grid"),
    [
        ((2, 3, 64, 64), (3, 14, 14)),
        ((2, 8, 7, 5), (8, 7, 5)),
        ((2, 9, 5), (5, 9, 1)),
        ((2, 6), (6, 1, 1)),
    ],
)
def test_what_is_rebuilt_has_at_most_14_positions_a_side(
    shape: tuple[int, ...], grid: tuple[int, ...]
) -> None:
    assert tuple(drcn.positions(torch.zeros(shape)).shape[1:]) == grid


class Pictures(nn.Module):
    """An encoder of pictures (n, 3, 16, 16)."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Sequential(nn.AvgPool2d(4), nn.Flatten(), nn.Linear(48, 12))
        self.head = nn.Linear(12, 3)


def pictures_started(hidden: int = 32) -> tuple[drcn.Term, Pictures, torch.Tensor, Step]:
    torch.manual_seed(0)
    model, term = Pictures().eval(), drcn.Term(hidden=hidden)
    smooth = torch.randn(24, 3, 2, 2)
    x = nn.functional.interpolate(smooth, size=16, mode="bilinear")
    step = step_of(model, x, x, targets=torch.zeros(24, 3))
    base = start_of(model, examples())
    term.begin(Start(model, step.embed, base.old, [x[:1]], base.rng))
    return term, model, x, step


def test_reconstruction_of_the_mean_costs_one() -> None:
    term, _, _, step = pictures_started()
    with torch.no_grad():
        for parameter in term.decoder.parameters():
            parameter.zero_()
    assert term(step).item() == pytest.approx(1, abs=1e-3)


def test_training_rebuilds_the_target_s_pictures_and_moves_the_encoder() -> None:
    term, model, x, step = pictures_started()
    first = model.encoder[2].weight.clone()
    optimiser = torch.optim.Adam([*model.parameters(), *term.parameters()], lr=0.01)
    for _ in range(120):
        value = term(step_of(model, x, x, targets=step.targets))
        optimiser.zero_grad()
        value.backward()
        optimiser.step()
    assert value.item() < 0.3
    assert not torch.equal(first, model.encoder[2].weight)


def test_reconstruction_takes_other_sizes_and_refuses_other_channels() -> None:
    term, model, x, step = pictures_started()
    target = step.unlabelled
    assert target is not None
    larger = Batch([nn.functional.interpolate(x, size=20)], target.embeddings, target.logits)
    other = Batch([torch.zeros(24, 8, 4, 4)], target.embeddings, target.logits)
    rebuilt = term(Step(model, step.embed, step.labelled, step.targets, 0.5, larger))
    assert rebuilt.isfinite()
    with pytest.raises(UserError, match="inputs of one kind"):
        term(Step(model, step.embed, step.labelled, step.targets, 0.5, other))
