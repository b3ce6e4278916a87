"""Successive halving gives the most epochs to the best, and a search that was killed goes on."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from regraft.recipe.finetune import FinetuneOptions
from regraft.training.search import Search, Trial, remembered, rung_epochs, successive_halving
from regraft.training.search_space import (
    AS_GIVEN,
    PLANS,
    RATES,
    REGULARISERS,
    candidates_of,
    shortened,
)
from regraft.transfer.plans import stages_of

NAMES = [f"c{number}" for number in range(12)]
RECIPE = FinetuneOptions().model_dump(mode="json")


def test_a_third_goes_on_and_the_budget_is_kept() -> None:
    asked: list[tuple[str, int]] = []

    def evaluate(name: str, epochs: int) -> float:
        asked.append((name, epochs))
        return abs(NAMES.index(name) - 7) + 1 / epochs

    found = successive_halving(NAMES, evaluate, rung_epochs(12, 36))
    assert found.winner == "c7"
    assert [len(rung.losses) for rung in found.rungs] == [12, 4, 2]
    assert sum(epochs for _, epochs in asked) == 36
    assert found.rungs[0].kept == ["c7", "c6", "c8", "c5"]


def test_one_that_is_only_good_at_first_does_not_win() -> None:
    """A later rung overrules an earlier one."""

    def evaluate(name: str, epochs: int) -> float:
        return 0.0 if epochs == 1 and name == "c0" else 0.5 if name == "c0" else 1 / epochs

    assert successive_halving(NAMES, evaluate, [1, 3, 6]).winner == "c1"


def test_a_candidate_that_diverges_is_the_worst_and_ties_go_to_the_first() -> None:
    losses = {"a": math.nan, "b": math.inf, "c": 5.0, "d": 5.0}
    found = successive_halving(list(losses), lambda name, epochs: losses[name], [1])
    assert found.rungs[0].kept == ["c", "d"]


def test_nothing_to_search_is_said() -> None:
    with pytest.raises(ValueError, match="nothing to search"):
        successive_halving([], lambda name, epochs: 0.0, [1])


@pytest.mark.parametrize("count", [1, 2, 3, 4, 9, 12, 54])
def test_every_rung_trains_whatever_the_budget(count: int) -> None:
    for budget in (2, 36, 500):
        epochs = rung_epochs(count, budget)
        assert min(epochs) >= 1
        assert epochs == sorted(epochs)


def test_a_killed_search_asks_for_nothing_twice(tmp_path: Path) -> None:
    calls: list[tuple[str, int]] = []

    def evaluate(name: str, epochs: int) -> Trial:
        if len(calls) == 9:
            calls.append(("killed", 0))
            raise KeyboardInterrupt
        calls.append((name, epochs))
        return Trial(math.inf if name == "c3" else NAMES.index(name) / epochs, 0.25)

    def searched(file: Path) -> Search:
        ask = remembered(evaluate, file)
        return successive_halving(NAMES, lambda name, epochs: ask(name, epochs).loss, [1, 3, 6])

    file = tmp_path / "search.json"
    with pytest.raises(KeyboardInterrupt):
        searched(file)
    known = json.loads(file.read_text(encoding="utf-8"))
    assert len(known) == 9 and known["c3, 1 epochs"] == [None, 0.25]
    resumed = searched(file)
    assert len(set(calls)) == len(calls) == 12 + 4 + 2 + 1
    assert resumed == searched(tmp_path / "other.json")
    assert remembered(evaluate, file)("c2", 1) == Trial(2.0, 0.25)


def test_candidates_are_recipes_drawn_evenly_and_by_seed() -> None:
    found = candidates_of(RECIPE, 12, seed=0)
    assert len(found) == 12
    assert found[AS_GIVEN] == {}
    assert list(found) == list(candidates_of(RECIPE, 12, seed=0))
    assert list(found) != list(candidates_of(RECIPE, 12, seed=1))
    for levels in (PLANS, [f"rate x {rate:g}" for rate in RATES], REGULARISERS):
        counts = [sum(level in name.split(", ") or level in name for name in found)
                  for level in levels]  # fmt: skip
        assert min(counts) >= 1
    for changes in found.values():
        valid = FinetuneOptions.model_validate(RECIPE | changes)
        assert valid.model_dump(mode="json") == RECIPE | changes


def test_the_whole_grid_is_there_and_no_candidate_twice() -> None:
    found = candidates_of(RECIPE, 1000, seed=0)
    assert len(found) == 1 + len(PLANS) * len(RATES) * len(REGULARISERS)
    changed = [json.dumps(one, sort_keys=True) for one in found.values()]
    assert len(set(changed)) == len(changed)


def test_what_the_recipe_regularises_with_stays() -> None:
    recipe = RECIPE | {"objectives": [{"kind": "l2_sp", "strength": 3.0}], "mixup_alpha": 0.7}
    for changes in candidates_of(recipe, 1000, seed=0).values():
        both = recipe | changes
        assert both["objectives"] == recipe["objectives"]
        assert both["mixup_alpha"] == 0.7


def test_a_recipe_of_the_head_alone_is_no_candidate() -> None:
    assert AS_GIVEN not in candidates_of(RECIPE | {"plan": {"kind": "head_only"}}, 12, seed=0)


@pytest.mark.parametrize("epochs", [1, 3, 6])
def test_trials_are_as_long_as_asked(epochs: int) -> None:
    for plan in (*PLANS.values(), {"kind": "full", "epochs": 30, "image_sizes": []}):
        assert sum(s.epochs for s in stages_of(shortened(plan, epochs), 8)) == epochs
