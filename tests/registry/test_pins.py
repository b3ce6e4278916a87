from __future__ import annotations

from pathlib import Path

import pytest

from regraft.errors import UserError
from regraft.registry import champions, ledger, pins, versions

from .support import better, equal, never, register


def test_a_pinned_champion_is_not_replaced_until_the_release(
    registry: Path, model_folder: Path
) -> None:
    register("a", model_folder, never)
    pins.pin("plants", reason="audit until Friday")

    held = register("b", model_folder, better)
    assert held["outcome"] == "hold"
    assert held["reason"].startswith("the champion is pinned: audit until Friday (since ")
    assert held["interval"] == [0.02, 0.08]  # what it would have been worth is on record

    pins.release("plants", reason="audited")
    assert register("c", model_folder, better)["outcome"] == "promote"
    told = [entry.outcome for entry in champions.history("plants")]
    assert told == ["first", "pin", "hold", "release", "promote"]
    assert [entry.sequence for entry in champions.history("plants")] == [1, 2, 3, 4, 5]


def test_people_may_move_a_pinned_champion_and_the_pin_stays(
    registry: Path, model_folder: Path
) -> None:
    register("a", model_folder, never)
    register("b", model_folder, better)
    pins.pin("plants")
    assert champions.rollback("plants").candidate_version == "1"
    assert champions.promote("plants", "2", reason="after all").candidate_version == "2"
    assert register("c", model_folder, better)["outcome"] == "hold"
    assert champions.rollback("plants").candidate_version == "1"  # a pin is no champion of its own


def test_pins_that_make_no_sense(registry: Path, model_folder: Path) -> None:
    with pytest.raises(UserError, match="no model"):
        pins.pin("plants")
    register("a", model_folder, never)
    with pytest.raises(UserError, match="is not pinned"):
        pins.release("plants")
    pins.pin("plants", reason="audit")
    with pytest.raises(UserError, match=r"pinned already(.|\n)*audit"):
        pins.pin("plants")
    register("b", model_folder, equal)
    assert ledger.pin_in_force(ledger.entries("plants")) is not None
    assert versions.champion("plants") == "1"


def test_a_promotion_by_hand_needs_a_reason(registry: Path, model_folder: Path) -> None:
    register("a", model_folder, never)
    register("b", model_folder, equal)
    with pytest.raises(UserError, match="needs a reason"):
        champions.promote("plants", "2", reason=" ")
    entry = champions.promote("plants", "2", reason="the vet says so")
    assert (entry.champion_version, entry.champion_after) == ("1", "2")
