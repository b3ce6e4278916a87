"""Each plan gives the stages that its paper describes."""

from __future__ import annotations

import pytest

from regraft.errors import UserError
from regraft.transfer.plans import KINDS, stages_of


def test_head_only_has_no_stage_after_the_probe() -> None:
    assert stages_of({"kind": "head_only"}, 8) == []


def test_full_moves_every_block_at_once() -> None:
    (stage,) = stages_of({"kind": "full", "epochs": 5}, 8)
    assert stage.trainable == frozenset(range(8))
    assert (stage.epochs, stage.rate_factor) == (5, 1.0)


def test_gradual_unfreezing_goes_from_the_head_to_the_input() -> None:
    plan = {
        "kind": "gradual_unfreezing",
        "depths": [1, 3, 8],
        "epochs": [4, 3, 2],
        "rate_decay_per_stage": 0.5,
    }
    stages = stages_of(plan, 8)
    assert [sorted(stage.trainable) for stage in stages] == [[7], [5, 6, 7], list(range(8))]
    assert [stage.epochs for stage in stages] == [4, 3, 2]
    assert [stage.rate_factor for stage in stages] == [1.0, 0.5, 0.25]
    assert len({stage.name for stage in stages}) == 3


def test_a_depth_beyond_the_network_means_all_of_it() -> None:
    (stage,) = stages_of({"kind": "gradual_unfreezing", "depths": [99], "epochs": [1]}, 4)
    assert stage.trainable == frozenset(range(4))


@pytest.mark.parametrize(
    ("depths", "epochs"),
    [([2, 4], [1]), ([4, 2], [1, 1]), ([2, 2], [1, 1]), ([0, 2], [1, 1]), ([-1], [1])],
)
def test_depths_that_make_no_sense_are_refused(depths: list[int], epochs: list[int]) -> None:
    plan = {"kind": "gradual_unfreezing", "depths": depths, "epochs": epochs}
    with pytest.raises(UserError, match="depths") as raised:
        stages_of(plan, 8)
    assert str(depths) in str(raised.value)


def test_an_unknown_kind_names_the_known_ones() -> None:
    with pytest.raises(KeyError, match="gradual_unfreezing"):
        stages_of({"kind": "thaw"}, 8)


def test_a_recipe_and_the_plans_know_the_same_kinds() -> None:
    from typing import get_args

    from regraft.recipe.finetune import Plan

    union = get_args(get_args(Plan)[0])
    assert {options.model_fields["kind"].default for options in union} == set(KINDS)


def test_the_plan_s_options_are_not_changed() -> None:
    plan = {"kind": "full", "epochs": 5}
    stages_of(plan, 8)
    assert plan == {"kind": "full", "epochs": 5}
