from __future__ import annotations

from pathlib import Path

import pytest

from regraft.errors import UserError
from regraft.registry import champions, ledger, store, versions
from regraft.registry.ledger import Entry

from .support import better, equal, never, register


def entry(outcome: str, version: str, state: str = ledger.DONE) -> Entry:
    return Entry("plants", outcome, version, None, "", version, "test", state=state)


def test_line_of_champions() -> None:
    walked = [entry("first", "1"), entry("promote", "2"), entry("hold", "3")]
    walked += [entry("promote", "4", ledger.SUPERSEDED), entry("promote", "5")]

    assert champions.line_of_champions(walked) == ["1", "2", "5"]
    assert champions.line_of_champions([*walked, entry("rollback", "2")]) == ["1", "2"]
    assert champions.line_of_champions([*walked, entry("rollback", "3")]) == ["1", "2", "5", "3"]


def test_rollback_walks_back_and_never_forth(registry: Path, model_folder: Path) -> None:
    register("a", model_folder, never)
    register("b", model_folder, better)
    register("c", model_folder, better)

    assert champions.rollback("plants", reason="worse in the field").candidate_version == "2"
    assert champions.rollback("plants").candidate_version == "1"
    with pytest.raises(UserError, match="no earlier champion"):
        champions.rollback("plants")

    assert versions.champion("plants") == "1"
    register("d", model_folder, better)
    assert champions.rollback("plants").candidate_version == "1"
    told = [(made.outcome, made.candidate_version) for made in champions.history("plants")]
    assert told[3:] == [("rollback", "2"), ("rollback", "1"), ("promote", "4"), ("rollback", "1")]
    assert champions.history("plants")[3].reason == "worse in the field"


def test_rollback_to_a_version(registry: Path, model_folder: Path) -> None:
    for key, compare in (("a", never), ("b", better), ("c", better)):
        register(key, model_folder, compare)

    assert champions.rollback("plants", to="1").champion_version == "3"
    assert versions.champion("plants") == "1"
    with pytest.raises(UserError, match="no registered version '9'"):
        champions.rollback("plants", to="9")


def test_promote_by_hand(registry: Path, model_folder: Path) -> None:
    register("a", model_folder, never)
    register("b", model_folder, equal)

    made = champions.promote("plants", "2", reason="the vet says so")

    assert versions.champion("plants") == "2"
    assert made.reason == "the vet says so"
    version = store.connect().get_model_version("plants", "2")
    assert version.tags["regraft.outcome"] == "hold"  # what the gate said stays on record
    with pytest.raises(UserError, match="champion already"):
        champions.promote("plants", "2", reason="again")


def test_history_of_an_unknown_model(registry: Path) -> None:
    with pytest.raises(UserError, match="no model 'plants'"):
        champions.history("plants")
