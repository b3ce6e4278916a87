"""Who is champion: every move of the alias goes through the ledger first."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Sequence

from regraft.errors import UserError
from regraft.evaluation.gate import Check
from regraft.progress import note
from regraft.registry import ledger, store, versions
from regraft.registry.ledger import Entry
from regraft.registry.lock import locked

Verify = Callable[[str, str], Check]


@store.available()
def promote(
    name: str,
    version: str,
    *,
    reason: str,
    triggered_by: str = "regraft promote",
    verify: Verify | None = None,
) -> Entry:
    """Make a version champion by hand, past the gate, and return the ledger's entry.

    `verify(name, version)` is asked first whether the version can be served at all. A call that
    was killed is finished by the next one. Raises `UserError` when the version is unknown,
    unfinished, champion already or not fit to serve, and when there is no reason.
    """
    if not reason.strip():
        raise UserError("a promotion by hand needs a reason", fix="--reason TEXT")
    with locked(name):
        settled = repair(name)
        target = versions.resolve(f"{name}/{version}").version
        resumed = interrupted(settled, "promote", target)
        if resumed is not None:
            return resumed
        _refuse_champion(name, target)
        if verify is not None:
            _refuse_unfit(verify(name, target))
        return settle(by_hand(name, target, "promote", reason, triggered_by))


@store.available()
def rollback(
    name: str,
    to: str | None = None,
    *,
    reason: str = "",
    triggered_by: str = "regraft rollback",
) -> Entry:
    """Make the champion before the present one (or version `to`) champion again.

    Repeated, it goes further back, never forth; a call that was killed is finished by the next
    one. Raises `UserError` when there is nothing to go back to.
    """
    with locked(name):
        settled = repair(name)
        versions.resolve(name)
        resumed = interrupted(settled, "rollback", to)
        if resumed is not None:
            return resumed
        target = versions.resolve(f"{name}/{to if to is not None else _before(name)}").version
        _refuse_champion(name, target)
        return settle(by_hand(name, target, "rollback", reason or "by hand", triggered_by))


@store.available()
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


def interrupted(settled: Sequence[Entry], outcome: str, version: str | None = None) -> Entry | None:
    """Of the entries that `repair` settled the one that the same command wrote before it was
    killed: doing it again would roll back twice, or complain that it is done."""
    for entry in reversed(settled):
        same = entry.outcome == outcome and version in {None, entry.candidate_version}
        if same and not entry.by_gate and entry.state == ledger.DONE:
            note(f"finished the {outcome} that was interrupted")
            return entry
    return None


def settle(entry: Entry) -> Entry:
    """Carry out a written entry: move the alias if it says so, then mark it done.

    Safe to repeat. A champion other than the one the entry was decided against makes it void, and
    so does a pin that was set meanwhile if it is the gate that wants to move.
    """
    now = versions.champion(entry.model)
    state, outcome = ledger.DONE, entry.outcome
    if entry.moves and now != entry.candidate_version:
        is_valid = now == entry.champion_version and not _is_pinned_against(entry)
        if not (is_valid and _set_alias(entry)):
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


def _set_alias(entry: Entry) -> bool:
    """Move the alias; False where another machine set the first one at the same moment, which the
    database refuses to do twice."""
    from mlflow.exceptions import MlflowException

    client = store.connect()
    try:
        client.set_registered_model_alias(entry.model, versions.CHAMPION, entry.candidate_version)
    except MlflowException:
        if versions.champion(entry.model) == entry.champion_version:
            raise
        return versions.champion(entry.model) == entry.candidate_version
    return True


def _is_pinned_against(entry: Entry) -> bool:
    return entry.by_gate and ledger.pin_in_force(ledger.entries(entry.model)) is not None


def by_hand(name: str, version: str, outcome: str, reason: str, triggered_by: str) -> Entry:
    """Write down what a person wants; it is not carried out yet."""
    tags = store.connect().get_model_version(name, version).tags
    return ledger.append(
        Entry(
            model=name,
            outcome=outcome,
            candidate_version=version,
            champion_version=versions.champion(name),
            reason=reason,
            run_key=uuid.uuid4().hex,
            code_version=tags.get("regraft.code_version", ""),
            data_version=tags.get("regraft.data_version", ""),
            triggered_by=triggered_by,
        )
    )


def _refuse_champion(name: str, version: str) -> None:
    if versions.champion(name) == version:
        raise UserError(f"version {version} of {name!r} is champion already")


def _refuse_unfit(check: Check) -> None:
    if not check.passed:
        raise UserError(
            "this version cannot be served", got=check.words, fix="train it again, or take another"
        )


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
