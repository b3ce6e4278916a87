"""The ledger: every decision about a model, in order, never rewritten.

One MLflow run per entry in the experiment `regraft/ledger`, so that it works on a server as on a
file, shows in MLflow's pages and can be searched. An entry is written *before* the alias moves
(`state=intended`) and marked afterwards; what a crash leaves between the two is repaired by
`regraft.registry.champions.repair`. Runs, not tags on versions: a version can be promoted, rolled
back and promoted again, each time an entry of its own.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from regraft.registry import store

if TYPE_CHECKING:
    from mlflow.entities import Run

EXPERIMENT = "regraft/ledger"
INTENDED, DONE, SUPERSEDED = "intended", "done", "superseded"
PIN, RELEASE = "pin", "release"
MOVES = ("first", "promote", "rollback")
_PREFIX = "regraft.ledger."
_MODEL = f"{_PREFIX}model"
_LONGEST = 5000  # characters of one tag; a server refuses more
_SHORT = 200


@dataclass(frozen=True)
class Entry:
    """One decision. `champion_version` is the champion before it, None when there was none."""

    model: str
    outcome: str  # first, promote, hold, rollback, pin or release
    candidate_version: str
    champion_version: str | None
    reason: str
    run_key: str
    triggered_by: str
    interval: tuple[float, float] | None = None
    checks: tuple[Mapping[str, Any], ...] = ()  # of the gate: name, passed, value, limit, words
    run_id: str = ""
    code_version: str = ""
    data_version: str = ""
    time: str = ""  # ISO 8601, UTC
    sequence: int = 0  # counts the entries of one model; a clock may go backwards
    state: str = INTENDED
    entry_id: str = ""

    @property
    def moves(self) -> bool:
        """Does the entry make its candidate the champion?"""
        return self.outcome in MOVES

    @property
    def champion_after(self) -> str | None:
        """The champion once the entry is carried out."""
        carried_out = self.moves and self.state != SUPERSEDED
        return self.candidate_version if carried_out else self.champion_version

    @property
    def by_gate(self) -> bool:
        """Does the entry end a registration (and not a move by hand)?"""
        return bool(self.run_id)

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        found = {**asdict(self), "interval": list(self.interval) if self.interval else None}
        return found | {"checks": [dict(check) for check in self.checks]}


def append(entry: Entry) -> Entry:
    """Write the entry and return it with time, sequence and id.

    An entry with the same model and run key is returned as it was written the first time. Call it
    under the lock of the model.
    """
    client = store.connect()
    known = entries(entry.model)
    for earlier in known:
        if earlier.run_key == entry.run_key:
            return earlier
    sequence = 1 + max((earlier.sequence for earlier in known), default=0)
    now = datetime.now(UTC).isoformat(timespec="milliseconds")
    written = replace(entry, sequence=sequence, time=now)
    run = client.create_run(
        store.experiment_id(client, EXPERIMENT),
        run_name=f"{entry.model} {sequence} {entry.outcome}",
        tags=_tags(written),  # with the run in one request: there is no half-written entry
    )
    with store.quiet():
        client.set_terminated(run.info.run_id)
    return replace(written, entry_id=str(run.info.run_id))


def mark(entry: Entry, state: str) -> Entry:
    """Say what became of an intended entry: `DONE` or `SUPERSEDED`."""
    store.connect().set_tag(entry.entry_id, f"{_PREFIX}state", state)
    return replace(entry, state=state)


def entries(model: str) -> list[Entry]:
    """The entries of one model, oldest first; of two with one run key the first counts."""
    client = store.connect()
    experiment = client.get_experiment_by_name(EXPERIMENT)
    if experiment is None:
        return []
    runs = store.all_pages(
        client.search_runs,
        experiment_ids=[experiment.experiment_id],
        filter_string=f"tags.`{_MODEL}` = {store.quoted(model)}",
        max_results=1000,
    )
    read = sorted((_entry(run) for run in runs), key=lambda entry: (entry.sequence, entry.time))
    first: dict[str, Entry] = {}
    for entry in read:
        first.setdefault(entry.run_key, entry)
    return list(first.values())


def find(model: str, run_key: str) -> Entry | None:
    """The entry that a run wrote about a model."""
    return next((entry for entry in entries(model) if entry.run_key == run_key), None)


def pin_in_force(known: Sequence[Entry]) -> Entry | None:
    """The entry that pins the champion, None if the last word on it was a release."""
    said = [entry for entry in known if entry.outcome in {PIN, RELEASE}]
    return said[-1] if said and said[-1].outcome == PIN else None


def _tags(entry: Entry) -> dict[str, str]:
    values = entry.as_dict()
    del values["entry_id"]
    values["reason"] = str(values["reason"])[:_LONGEST]
    if len(json.dumps(values["checks"])) > _LONGEST:  # a slice may have a very long name
        values["checks"] = [
            check | {"words": check["words"][:_SHORT]} for check in values["checks"]
        ]
    return {
        _PREFIX + key: value if isinstance(value, str) else json.dumps(value)
        for key, value in values.items()
    }


def _entry(run: Run) -> Entry:
    tags: Mapping[str, str] = run.data.tags
    texts = {key: tags.get(_PREFIX + key, "") for key in Entry.__dataclass_fields__}
    interval = json.loads(texts["interval"] or "null")
    champion = texts["champion_version"]
    return Entry(
        **{  # type: ignore[arg-type]
            **texts,
            "interval": tuple(interval) if interval else None,
            "checks": tuple(json.loads(texts["checks"] or "[]")),
            "champion_version": None if champion in {"", "null"} else champion,
            "sequence": int(texts["sequence"]),
            "entry_id": str(run.info.run_id),
        }
    )
