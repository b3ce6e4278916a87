"""What all combinations have in common: they add, leave alone what is not reached, and resume."""

from __future__ import annotations

from typing import Any, get_args

import pytest
import torch
from torch.nn import Parameter

from regraft.recipe.gradients import Gradients
from regraft.transfer.gradients import KINDS, build_gradients
from tests.transfer.gradients.support import TwoHeads, gradients_of, quadratic, shared

OPTIONS = [options().model_dump() for options in get_args(get_args(Gradients)[0])]
every_kind = pytest.mark.parametrize("options", OPTIONS, ids=lambda one: one["kind"])


def losses_of(w: torch.Tensor, extra: torch.Tensor | None = None) -> dict[str, torch.Tensor]:
    """Conflicting tasks, a term and a memory."""
    losses = {"label:a": quadratic(w, 1.0, 0.0), "label:b": 3 * quadratic(w, -1.0, 0.5)}
    return losses | {"l2_sp": w.sum() if extra is None else extra, "memory": -w[0] + 2 * w[1]}


def test_the_recipe_and_the_builder_know_the_same_kinds() -> None:
    assert {options["kind"] for options in OPTIONS} == set(KINDS)


def test_an_unknown_kind_names_the_known_ones() -> None:
    with pytest.raises(KeyError, match="pcgrad"):
        build_gradients({"kind": "cagrad"})


@every_kind
def test_it_adds_to_the_gradient_that_is_there(options: dict[str, Any]) -> None:
    w = Parameter(torch.tensor([[0.2, 0.1]]))
    (alone,) = gradients_of(build_gradients(options), losses_of(w[0]), [w])
    w.grad = torch.full((1, 2), 5.0)
    build_gradients(options).backward(losses_of(w[0]), [w], torch.Tensor.backward)
    assert alone is not None
    assert torch.allclose(w.grad, alone + 5)


@every_kind
def test_parameters_that_no_loss_reaches_stay_without_gradient(options: dict[str, Any]) -> None:
    w, unused, frozen = shared(0.2, 0.1), shared(1.0), shared(1.0).requires_grad_(False)
    matrix = Parameter(torch.ones(2, 2))
    own = shared(2.0)
    losses = losses_of(matrix @ w, extra=own.sum())
    found = gradients_of(build_gradients(options), losses, [w, unused, frozen, matrix])
    assert found[0] is not None
    assert found[3] is not None
    assert found[1] is None
    assert found[2] is None
    assert own.grad is not None, "a term's own parameters learn too"


@every_kind
def test_backward_is_called_once_and_may_scale(options: dict[str, Any]) -> None:
    w = Parameter(torch.tensor([[0.2, 0.1]]))
    (alone,) = gradients_of(build_gradients(options), losses_of(w[0]), [w])
    calls = []

    def halved(loss: torch.Tensor) -> None:
        calls.append(loss)
        (loss / 2).backward()

    w.grad = None
    build_gradients(options).backward(losses_of(w[0]), [w], halved)
    assert len(calls) == 1
    assert alone is not None
    assert w.grad is not None
    assert torch.allclose(w.grad, alone / 2)


@every_kind
def test_one_task_is_the_sum_bit_for_bit(options: dict[str, Any]) -> None:
    """A-GEM too, while there is no memory."""
    w = shared(0.3, -0.7)
    losses = {"label": quadratic(w, 1.0, 2.0), "mmd": 0.1 * w.sum(), "l2_sp": (w**2).sum()}
    (found,) = gradients_of(build_gradients(options), losses, [w])
    w.grad = None
    losses = {"label": quadratic(w, 1.0, 2.0), "mmd": 0.1 * w.sum(), "l2_sp": (w**2).sum()}
    sum(losses.values(), torch.tensor(0.0)).backward()
    assert found is not None
    assert w.grad is not None
    assert torch.equal(found, w.grad)


@every_kind
def test_resumed_it_goes_on_as_if_never_stopped(options: dict[str, Any]) -> None:
    def step(combination: Any, model: TwoHeads, number: int) -> torch.Tensor:
        torch.manual_seed(number)
        a, b = model(torch.randn(8, 6))
        losses = {"label:a": (a**2).mean(), "label:b": ((b - 3 * a) ** 2).mean()}
        losses["label:c"] = ((a - b - 1) ** 2).mean()
        found = gradients_of(combination, losses, list(model.parameters()))
        return torch.cat([one.flatten() for one in found if one is not None])

    unbroken, model = build_gradients(options, seed=4), TwoHeads()
    for number in range(3):
        step(unbroken, model, number)
    resumed = build_gradients(options, seed=99)
    resumed.load_state_dict(unbroken.state_dict())
    for number in range(3, 6):
        assert torch.equal(step(unbroken, model, number), step(resumed, model, number))


@every_kind
def test_the_state_before_the_first_step_can_be_loaded(options: dict[str, Any]) -> None:
    fresh = build_gradients(options)
    fresh.load_state_dict(build_gradients(options).state_dict())
    w = Parameter(torch.tensor([[0.2, 0.1]]))
    assert gradients_of(fresh, losses_of(w[0]), [w])[0] is not None


@every_kind
def test_the_state_survives_a_checkpoint(options: dict[str, Any], tmp_path: Any) -> None:
    combination = build_gradients(options)
    w = Parameter(torch.tensor([[0.2, 0.1]]))
    gradients_of(combination, losses_of(w[0]), [w])
    torch.save(combination.state_dict(), tmp_path / "state.pt")
    state = torch.load(tmp_path / "state.pt", weights_only=True)
    build_gradients(options).load_state_dict(state)


def test_only_agem_needs_a_memory() -> None:
    needing = [one["kind"] for one in OPTIONS if build_gradients(one).needs_memory]
    assert needing == ["agem"]
