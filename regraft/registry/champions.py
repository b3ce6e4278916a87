"""Who is champion: every move of the alias goes through the ledger first."""

from __future__ import annotations

import uuid
from collections.abc import Sequence

from regraft.errors import UserError
from regraft.registry import ledger, store, versions
from regraft.registry.ledger import Entry
from regraft.registry.lock import locked


def promote(
    name: str, version: str, *, reason: str, triggered_by: str = "regraft promote"
) -> Entry:
    """Make a version champion by hand, past the gate, and return the ledger's entry.

    Raises `UserError` when the version is unknown, unfinished or champion already.
    """
    with locked(name):
        repair(name)
        versions.resolve(f"{name}/{version}")
        return _move_by_hand(name, str(version), "promote", reason, triggered_by)


def rollback(
    name: str,
    to: str | None = None,
    *,
    reason: str = "",
    triggered_by: str = "regraft rollback",
) -> Entry:
    """Make the champion before the present one (or version `to`) champion again.

    Repeated, it goes further back, never forth. Raises `UserError` when there is nothing to go
    back to.
    """
    with locked(name):
        repair(name)
        versions.resolve(name)
        target = str(to) if to is not None else _before(name)
        versions.resolve(f"{name}/{target}")
        return _move_by_hand(name, target, "rollback", reason or "by hand", triggered_by)


def history(name: str) -> list[Entry]:
    """Every decision about the model, oldest first. Raises `UserError` for an unknown model."""
    written = ledger.entries(name)
    if not written:
        versions.resolve(name)  # says what is wrong with the name
    return written


def repair(name: str) -> list[Entry]:
    """Finish what a crash left between ledger and alias; returns the entries that it settled.

    Call it under the lock of the model. If somebody moved the alias elsewhere in the meantime,
    that later will stands and the entry is marked as superseded.
    """
    open_entries = [entry for entry in ledger.entries(name) if entry.state == ledger.INTENDED]
    return [settle(entry) for entry in open_entries]


def settle(entry: Entry) -> Entry:
    """Carry out a written entry: move the alias if it says so, then mark it done.

    Safe to repeat. A champion other than the one the entry was decided against makes it void.
    """
    now = versions.champion(entry.model)
    state, outcome = ledger.DONE, entry.outcome
    if entry.moves and now != entry.candidate_version:
        if now == entry.champion_version:
            _set_alias(entry)
        else:
            state, outcome = ledger.SUPERSEDED, "hold"
    if entry.by_gate:
        versions.mark_registered(entry.model, entry.candidate_version, outcome=outcome)
    return ledger.mark(entry, state)


def line_of_champions(entries: Sequence[Entry]) -> list[str]:
    """The champions that a rollback walks back through, the present one last.

    A promotion adds to the line, a rollback cuts it back to the version that it returned to.
    """
    line: list[str] = []
    for entry in entries:
        if not entry.moves or entry.state == ledger.SUPERSEDED:
            continue
        version = entry.candidate_version
        if entry.outcome == "rollback" and version in line:
            line = line[: len(line) - line[::-1].index(version)]
        else:
            line.append(version)
    return line


def _set_alias(entry: Entry) -> None:
    client = store.connect()
    client.set_registered_model_alias(entry.model, versions.CHAMPION, entry.candidate_version)


def _move_by_hand(name: str, version: str, outcome: str, reason: str, triggered_by: str) -> Entry:
    now = versions.champion(name)
    if now == version:
        raise UserError(f"version {version} of {name!r} is champion already")
    entry = ledger.append(
        Entry(
            model=name,
            outcome=outcome,
            candidate_version=version,
            champion_version=now,
            reason=reason,
            run_key=uuid.uuid4().hex,
            triggered_by=triggered_by,
        )
    )
    return settle(entry)


def _before(name: str) -> str:
    now = versions.champion(name)
    line = line_of_champions(ledger.entries(name))
    if now in line:
        line = line[: len(line) - line[::-1].index(now)]
    earlier = [version for version in line if version != now]
    if not earlier:
        raise UserError(
            f"model {name!r} has no earlier champion to go back to",
            got=f"champion is version {now}",
            fix=f"regraft rollback {name} --to VERSION",
        )
    return earlier[-1]
