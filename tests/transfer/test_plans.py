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

    from regraft.recipe.plans import Plan

    union = get_args(get_args(Plan)[0])
    assert {options.model_fields["kind"].default for options in union} == set(KINDS)


def test_every_recipe_s_default_plan_gives_stages_with_something_to_train() -> None:
    from typing import get_args

    from regraft.recipe.plans import Plan

    for options in get_args(get_args(Plan)[0]):
        plan = options().model_dump(mode="json")
        stages = stages_of(plan, 8, gradient_norms=lambda: [1.0] * 8)
        assert all(stage.epochs >= 1 and (stage.trainable or stage.head) for stage in stages)
        assert bool(stages) == (plan["kind"] != "head_only")


def test_last_n_leaves_the_blocks_before_alone() -> None:
    (stage,) = stages_of({"kind": "last_n", "blocks": 3, "epochs": 5}, 8)
    assert stage.trainable == {5, 6, 7}
    (stage,) = stages_of({"kind": "last_n", "blocks": 99, "epochs": 5}, 8)
    assert stage.trainable == set(range(8))


def test_linear_probing_comes_before_fine_tuning() -> None:
    plan = {
        "kind": "linear_probe_fine_tune",
        "head_epochs": 2,
        "head_rate_factor": 10.0,
        "epochs": 5,
    }
    head, everything = stages_of(plan, 8)
    assert (head.trainable, head.epochs, head.rate_factor, head.head) == (set(), 2, 10.0, True)
    assert (everything.trainable, everything.epochs) == (set(range(8)), 5)
    assert everything.rate_factor == 1.0


def test_surgical_takes_the_blocks_with_the_largest_relative_gradient() -> None:
    plan = {"kind": "surgical", "blocks": 2, "epochs": 5}
    (stage,) = stages_of(plan, 4, gradient_norms=lambda: [0.1, 3.0, 0.2, 1.0])
    assert stage.trainable == {1, 3}
    assert "1, 3" in stage.name


@pytest.mark.parametrize("norms", [[1.0, 2.0], [1.0, float("nan"), 2.0, 3.0]])
def test_surgical_refuses_norms_that_mean_nothing(norms: list[float]) -> None:
    plan = {"kind": "surgical", "blocks": 2, "epochs": 5}
    with pytest.raises(ValueError, match="finite"):
        stages_of(plan, 4, gradient_norms=lambda: norms)
    with pytest.raises(ValueError, match="gradient norms"):
        stages_of(plan, 4)


@pytest.mark.parametrize("plan", [{"kind": "full"}, {"kind": "last_n", "blocks": 2}])
def test_progressive_resizing_repeats_a_stage_at_each_size(plan: dict[str, object]) -> None:
    stages = stages_of(plan | {"epochs": 2, "image_sizes": [96, 160]}, 8)
    assert [stage.image_size for stage in stages] == [96, 160]
    assert len({stage.trainable for stage in stages}) == 1
    assert len({stage.name for stage in stages}) == 2
    (stage,) = stages_of(plan | {"epochs": 2, "image_sizes": []}, 8)
    assert stage.image_size == 0
    with pytest.raises(UserError, match="do not rise"):
        stages_of(plan | {"epochs": 2, "image_sizes": [160, 96]}, 8)


def test_gradual_unfreezing_can_grow_its_images() -> None:
    plan = {"kind": "gradual_unfreezing", "depths": [1, 3], "epochs": [4, 3]}
    stages = stages_of(plan | {"image_sizes": [96, 160]}, 8)
    assert [stage.image_size for stage in stages] == [96, 160]
    with pytest.raises(UserError, match="image sizes"):
        stages_of(plan | {"image_sizes": [96]}, 8)


def test_the_plan_s_options_are_not_changed() -> None:
    plan = {"kind": "full", "epochs": 5}
    stages_of(plan, 8)
    assert plan == {"kind": "full", "epochs": 5}
