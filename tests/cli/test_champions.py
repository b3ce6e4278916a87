"""How decisions are shown."""

from __future__ import annotations

from dataclasses import replace

from regraft.cli.champions import history_table
from regraft.registry.ledger import DONE, INTENDED, SUPERSEDED, Entry

FIRST = Entry(
    "plants", "first", "1", None, "reaches the floor", "a", "regraft run", run_id="r",
    code_version="0123456789abcdef", data_version="sha256:fedcba9876543210",
    time="2026-11-25T03:13:40.123+00:00", sequence=1, state=DONE,
)  # fmt: skip


def lines(*entries: Entry) -> list[str]:
    return history_table(entries).splitlines()


def test_who_was_champion_when_why_and_on_what() -> None:
    promoted = replace(FIRST, outcome="promote", candidate_version="2", champion_version="1",
                       reason="better\nby far")  # fmt: skip
    back = replace(promoted, outcome="rollback", candidate_version="1", champion_version="2",
                   triggered_by="regraft rollback", reason="by hand", run_id="")  # fmt: skip
    head, first, second, third, _, now = lines(FIRST, promoted, back)
    assert head.split("  ")[0] == "when (UTC)"
    assert (
        first.split()
        == (
            "2026-11-25 03:13:40 first 1 - -> 1 fedcba9876 0123456789 regraft run reaches the floor"
        ).split()
    )
    assert "1 -> 2" in second and second.endswith("better by far")
    assert "2 -> 1" in third and "regraft rollback" in third
    assert now == "champion: version 1"
    assert len({line.index("regraft r") for line in (first, second, third)}) == 1


def test_what_did_not_happen_is_marked() -> None:
    held = replace(FIRST, outcome="hold", candidate_version="2", champion_version="1")
    void = replace(held, outcome="promote", state=SUPERSEDED)
    found = lines(FIRST, held, void, replace(void, state=INTENDED))
    assert "hold" in found[2] and " 1 " in found[2] and "->" not in found[2]
    assert "promote (void)" in found[3] and "->" not in found[3]
    assert "promote (unfinished)" in found[4]


def test_a_pin_is_told() -> None:
    pinned = replace(FIRST, outcome="pin", champion_version="1", reason="audit", run_id="")
    assert lines(FIRST, pinned)[-1] == "champion: version 1, pinned: audit"
    released = replace(pinned, outcome="release")
    assert lines(FIRST, pinned, released)[-1] == "champion: version 1"
