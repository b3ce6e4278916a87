"""A pinned champion stays: the gate holds every candidate back until the pin is released."""

from __future__ import annotations

from regraft.errors import UserError
from regraft.registry import champions, ledger, store, versions
from regraft.registry.ledger import PIN, RELEASE, Entry
from regraft.registry.lock import locked


def pin(name: str, *, reason: str = "", triggered_by: str = "regraft pin") -> Entry:
    """Pin the champion of `name`, whichever it is; people may still promote and roll back.

    Raises `UserError` for a model without champion, and for one that is pinned already.
    """
    return _say(name, PIN, reason, triggered_by)


def release(name: str, *, reason: str = "", triggered_by: str = "regraft pin --release") -> Entry:
    """Let the gate move the champion of `name` again. Raises `UserError` if it is not pinned."""
    return _say(name, RELEASE, reason, triggered_by)


@store.available()
def _say(name: str, outcome: str, reason: str, triggered_by: str) -> Entry:
    with locked(name):
        settled = champions.repair(name)
        champion = versions.resolve(name).version
        resumed = champions.interrupted(settled, outcome)
        if resumed is not None:
            return resumed
        _refuse_repetition(name, outcome)
        entry = champions.by_hand(name, champion, outcome, reason or "by hand", triggered_by)
        return champions.settle(entry)


def _refuse_repetition(name: str, outcome: str) -> None:
    pinned = ledger.pin_in_force(ledger.entries(name))
    if outcome == RELEASE and pinned is None:
        raise UserError(f"the champion of {name!r} is not pinned", fix=f"regraft history {name}")
    if outcome == PIN and pinned is not None:
        raise UserError(
            f"the champion of {name!r} is pinned already",
            got=f"since {pinned.time}: {pinned.reason}",
            fix=f"regraft pin {name} --release",
        )
