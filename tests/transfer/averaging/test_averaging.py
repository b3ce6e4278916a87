"""Averages: right by hand, exact where nothing moved, the same after a resume."""

from __future__ import annotations

import copy
from typing import Any, get_args

import pytest
import torch
from torch import nn

from regraft.recipe.averaging import Averaging
from regraft.transfer.averaging import KINDS, Average, build_averages

OPTIONS = [options().model_dump() for options in get_args(get_args(Averaging)[0])]
every_kind = pytest.mark.parametrize("options", OPTIONS, ids=lambda one: one["kind"])
State = dict[str, torch.Tensor]


def one_of(**options: Any) -> Average:
    (average,) = build_averages([options])
    return average


def random_state(seed: int) -> State:
    """A layer that trains, a frozen one, a mask with infinities, a counter."""
    generator = torch.Generator().manual_seed(seed)
    frozen = torch.randn(50, generator=torch.Generator().manual_seed(99)) / 3
    return {
        "encoder.last.base_layer.weight": torch.randn(4, 3, generator=generator),
        "encoder.last.lora_A.default.weight": torch.randn(2, 3, generator=generator),
        "encoder.first.weight": frozen,
        "encoder.mask": torch.tensor([0.0, -torch.inf]),
        "encoder.bn.num_batches_tracked": torch.tensor(seed),
    }


def trained(average: Average, *seeds: int) -> State:
    """Begin at state 0; one epoch of one step for each seed; the result at the last."""
    average.begin(random_state(0))
    return went_on(average, *seeds)


def went_on(average: Average, *seeds: int) -> State:
    for seed in seeds:
        average.update(random_state(seed))
        average.end_of_epoch(random_state(seed))
    return average.result(random_state(seeds[-1]))


def equal(one: State, other: State) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[key], other[key]) for key in one)


def test_the_recipe_and_the_builder_know_the_same_kinds() -> None:
    assert {options["kind"] for options in OPTIONS} == set(KINDS)


def test_an_unknown_kind_names_the_known_ones() -> None:
    with pytest.raises(KeyError, match="wise_ft"):
        build_averages([{"kind": "swag"}])


@every_kind
def test_it_gives_something_else_than_the_last_weights(options: dict[str, Any]) -> None:
    found = trained(one_of(**options), 1, 2, 3)
    last = random_state(3)
    for name in ("encoder.last.base_layer.weight", "encoder.last.lora_A.default.weight"):
        assert not torch.allclose(found[name], last[name], atol=1e-3)


@every_kind
def test_what_never_moved_comes_out_bit_for_bit(options: dict[str, Any]) -> None:
    found = trained(one_of(**options), *range(1, 30))
    for name in ("encoder.first.weight", "encoder.mask"):
        assert torch.equal(found[name], random_state(0)[name])


@every_kind
def test_weights_that_never_move_are_their_own_average(options: dict[str, Any]) -> None:
    average = one_of(**options)
    average.begin(random_state(7))
    assert equal(went_on(average, *[7] * 20), random_state(7))


@every_kind
def test_counters_are_copied_from_the_last_weights(options: dict[str, Any]) -> None:
    found = trained(one_of(**options), 1, 2, 5)["encoder.bn.num_batches_tracked"]
    assert found.dtype == torch.int64
    assert found.item() == 5


@every_kind
def test_resumed_it_goes_on_as_if_never_stopped(options: dict[str, Any], tmp_path: Any) -> None:
    unbroken, resumed = one_of(**options), one_of(**options)
    trained(unbroken, 1, 2)
    torch.save(unbroken.state_dict(), tmp_path / "state.pt")
    expected = went_on(unbroken, 3, 4)
    resumed.load_state_dict(torch.load(tmp_path / "state.pt", weights_only=True))
    assert equal(went_on(resumed, 3, 4), expected)


@every_kind
def test_training_on_moves_neither_the_average_nor_its_results(options: dict[str, Any]) -> None:
    """State dicts are views of the live weights."""
    model, average = nn.Linear(3, 2), one_of(**options)
    average.begin(model.state_dict())
    with torch.no_grad():
        model.weight += 1
    average.update(model.state_dict())
    average.end_of_epoch(model.state_dict())
    found = average.result(model.state_dict())
    before, weights = copy.deepcopy(found), copy.deepcopy(model.state_dict())
    snapshot = average.state_dict()
    with torch.no_grad():
        model.weight += 5
    average.update(model.state_dict())
    average.end_of_epoch(model.state_dict())
    assert equal(found, before)
    resumed = one_of(**options)
    resumed.load_state_dict(snapshot)
    assert equal(resumed.result(weights), before)


@every_kind
def test_half_precision_comes_out_as_it_went_in(options: dict[str, Any]) -> None:
    average = one_of(**options)
    average.begin({"w": torch.tensor([1.0], dtype=torch.bfloat16)})
    for _ in range(200):
        average.update({"w": torch.tensor([2.0], dtype=torch.bfloat16)})
        average.end_of_epoch({"w": torch.tensor([2.0], dtype=torch.bfloat16)})
    found = average.result({"w": torch.tensor([2.0], dtype=torch.bfloat16)})["w"]
    assert found.dtype == torch.bfloat16
    assert 1 < found.item() <= 2


@pytest.mark.parametrize("kind", ["ema", "soup", "wise_ft"])
def test_weights_that_were_not_there_when_it_began_are_refused(kind: str) -> None:
    average = one_of(**next(options for options in OPTIONS if options["kind"] == kind))
    average.begin({"w": torch.zeros(2)})
    for later in ({"w": torch.zeros(2), "lora_B": torch.ones(2)}, {"w": torch.zeros(3)}):
        with pytest.raises(ValueError, match="adapters"):
            average.update(later)
            average.end_of_epoch(later)
            average.result(later)


def test_ema_by_hand_with_its_warm_up() -> None:
    """Decay 1/10, then 2/11, then the bound 0.2."""
    average = one_of(kind="ema", decay=0.2)
    average.begin({"w": torch.tensor(0.0)})
    expected = 0.0
    for value, decay in ((1.0, 0.1), (2.0, 2 / 11), (4.0, 0.2), (8.0, 0.2)):
        average.update({"w": torch.tensor(value)})
        expected = decay * expected + (1 - decay) * value
    assert average.result({"w": torch.tensor(8.0)})["w"].item() == pytest.approx(expected)


def test_ema_of_noisy_weights_is_nearer_to_their_mean() -> None:
    average = one_of(kind="ema", decay=0.95)
    average.begin({"w": torch.zeros(100)})
    generator = torch.Generator().manual_seed(0)
    for _ in range(300):
        noisy = {"w": 1 + torch.randn(100, generator=generator)}
        average.update(noisy)
    error, last = (one["w"].sub(1).abs().mean() for one in (average.result(noisy), noisy))
    assert error < 0.3 * last


def test_ema_begins_anew_with_each_stage() -> None:
    average = one_of(kind="ema", decay=0.99)
    trained(average, 1, 2, 3)
    assert equal(trained(average, 4), trained(one_of(kind="ema", decay=0.99), 4))


@pytest.mark.parametrize(("alpha", "seed"), [(0.0, 0), (1.0, 3)])
def test_wise_ft_ends_at_start_and_tuned_bit_for_bit(alpha: float, seed: int) -> None:
    found = trained(one_of(kind="wise_ft", alpha=alpha), 1, 2, 3)
    expected = random_state(seed) | {"encoder.bn.num_batches_tracked": torch.tensor(3)}
    assert equal(found, expected)


def test_wise_ft_between_by_hand() -> None:
    average = one_of(kind="wise_ft", alpha=0.25)
    average.begin({"w": torch.tensor([1.0, -2.0])})
    found = average.result({"w": torch.tensor([3.0, 2.0])})["w"]
    assert found.tolist() == [1.5, -1.0]


def test_wise_ft_keeps_the_start_of_the_first_stage() -> None:
    average = one_of(kind="wise_ft", alpha=0.0)
    average.begin({"w": torch.tensor(1.0)})
    average.begin({"w": torch.tensor(2.0)})
    assert average.result({"w": torch.tensor(9.0)})["w"].item() == 1


def test_wise_ft_takes_the_rows_of_new_classes_as_they_were_tuned() -> None:
    """A row of zeros at the start is a class that nothing was known about."""
    average = one_of(kind="wise_ft", alpha=0.5)
    start = {"head.weight": torch.tensor([[2.0], [0.0]]), "head.bias": torch.tensor([1.0, 0.0])}
    tuned = {"head.weight": torch.tensor([[4.0], [6.0]]), "head.bias": torch.tensor([3.0, 8.0])}
    average.begin(start)
    found = average.result(tuned)
    assert found["head.weight"].tolist() == [[3.0], [6.0]]
    assert found["head.bias"].tolist() == [2.0, 8.0]


def test_soup_is_the_mean_of_the_epochs_of_its_stage() -> None:
    average = one_of(kind="soup")
    for values in ((4.0, 8.0), (1.0, 2.0, 6.0)):
        average.begin({"w": torch.tensor(100.0)})
        for value in values:
            average.update({"w": torch.tensor(-50.0)})
            average.end_of_epoch({"w": torch.tensor(value)})
    assert average.result({"w": torch.tensor(6.0)})["w"].item() == pytest.approx(3)


def test_soup_before_the_first_epoch_is_the_weights_themselves() -> None:
    average = one_of(kind="soup")
    average.begin({"w": torch.tensor(1.0)})
    assert average.result({"w": torch.tensor(5.0)})["w"].item() == 5


def test_averages_compose_in_their_order() -> None:
    soup, wise = build_averages([{"kind": "soup"}, {"kind": "wise_ft", "alpha": 0.5}])
    state = {"w": torch.tensor(0.0)}
    for one in (soup, wise):
        one.begin(state)
        for value in (2.0, 4.0):
            one.end_of_epoch({"w": torch.tensor(value)})
    state = {"w": torch.tensor(4.0)}
    for one in (soup, wise):
        state = one.result(state)
    assert state["w"].item() == 1.5
