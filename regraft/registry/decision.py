"""Registration: a candidate enters the registry, meets the champion, and the gate decides.

The order makes every crash harmless: version (pending) -> decision -> ledger -> alias -> version
(registered). A kill leaves the alias either old or new; running the same `run_key` again finishes
the work and returns the decision that was written down, without asking the gate a second time.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from regraft.evaluation.gate import Decision, Rules, decide, with_check
from regraft.registry import champions, fresh_process, ledger, packaging, store, versions
from regraft.registry.champions import Verify
from regraft.registry.ledger import Entry
from regraft.registry.lock import locked
from regraft.registry.versions import Reference

Compare = Callable[[Path, Reference], Mapping[str, Any]]
_ATTEMPTS = 3


@store.available()
def register(
    *,
    name: str,
    model_folder: Path | str,
    run_id: str,
    run_key: str,
    candidate: Mapping[str, Any],
    floor: Mapping[str, float],
    majority_accuracy: float,
    compare: Compare,
    rules: Rules | None = None,
    probe: Mapping[str, float] | None = None,
    verify: Verify | None = None,
    code_version: str = "",
    data_version: str = "",
    triggered_by: str = "regraft run",
    input_name: str = "image",
    input_example: str | None = None,
    packages: Sequence[str] = packaging.IMAGE_PACKAGES,
) -> dict[str, Any]:
    """Register the model of a run and let the gate decide whether it becomes champion.

    `candidate`, `floor`, `majority_accuracy`, `rules` and `probe` go to
    `regraft.evaluation.gate.decide`. `compare(folder, reference)` gets the champion's model folder
    and version, scores it on the candidate's own test examples and returns what `decide` calls the
    comparison; it is not called while there is no champion. A candidate that the gate would
    promote must first answer in a fresh process (`verify(name, version)`, by default
    `fresh_process.verify`); one that does not is held, and so is every one while the champion is
    pinned.

    Returns the decision of summary.json: outcome, reason, interval, checks, candidate_version and
    champion_version (the champion that was met, None for the first), plus champion_after, run_id
    and state. Runs at the same time on one machine wait for each other; if another machine moves
    the champion in between, the candidate meets the new one.
    """
    versions.check_name(name)
    with locked(name):
        champions.repair(name)
        versions.remove_leftovers(name, keep_run_key=run_key)
        written = ledger.find(name, run_key)
        if written is not None:
            return _finish(written)
        tags = {"regraft.code_version": code_version, "regraft.data_version": data_version}
        version = versions.register_candidate(
            name,
            model_folder,
            run_id,
            run_key=run_key,
            tags=tags,
            input_name=input_name,
            input_example=input_example,
            packages=packages,
        )

        def judge(comparison: Mapping[str, Any] | None) -> Decision:
            return decide(
                candidate=candidate,
                floor=floor,
                majority_accuracy=majority_accuracy,
                comparison=comparison,
                rules=rules or Rules(),
                probe=probe,
                pinned=_pin(name),
            )

        champion, decision = _meet_champion(name, compare, judge)
        if decision.outcome in ledger.MOVES:
            check = (verify or fresh_process.verify)(name, version)
            decision = with_check(decision, check)
        entry = ledger.append(
            Entry(
                model=name,
                outcome=decision.outcome,
                candidate_version=version,
                champion_version=champion,
                reason=decision.reason,
                interval=decision.interval,
                checks=tuple(asdict(check) for check in decision.checks),
                run_key=run_key,
                run_id=run_id,
                code_version=code_version,
                data_version=data_version,
                triggered_by=triggered_by,
            )
        )
        return _finish(champions.settle(entry))


def _meet_champion(
    name: str, compare: Compare, judge: Callable[[Mapping[str, Any] | None], Decision]
) -> tuple[str | None, Decision]:
    """Compare with the present champion; again if it changed while the comparison ran."""
    for _ in range(_ATTEMPTS):
        champion = versions.champion(name)
        comparison = None
        if champion is not None:
            with versions.model_folder(name, champion) as folder:
                comparison = compare(folder, Reference(name, champion))
        decision = judge(comparison)
        if versions.champion(name) == champion:
            return champion, decision
    raise RuntimeError(f"the champion of {name!r} changed {_ATTEMPTS} times during the comparison")


def _pin(name: str) -> str:
    """Why the champion must stay, '' if it need not."""
    pin = ledger.pin_in_force(ledger.entries(name))
    return f"{pin.reason} (since {pin.time[:16].replace('T', ' ')} UTC)" if pin else ""


def _finish(entry: Entry) -> dict[str, Any]:
    """Note the decision on the run, for who reads MLflow's pages, and return it."""
    from mlflow.entities import RunTag

    summary = _summary(entry)
    version = f"{entry.model}/{entry.candidate_version}"
    tags = [RunTag("regraft.decision", summary["outcome"]), RunTag("regraft.model", version)]
    store.connect().log_batch(entry.run_id, tags=tags)
    return summary


def _summary(entry: Entry) -> dict[str, Any]:
    outcome, reason = entry.outcome, entry.reason
    if entry.state == ledger.SUPERSEDED:
        outcome = "hold"
        reason = f"the champion was changed or pinned before this took effect: {reason}"
    return {
        "outcome": outcome,
        "reason": reason,
        "interval": list(entry.interval) if entry.interval else None,
        "checks": list(entry.checks),
        "champion_version": entry.champion_version,
        "candidate_version": entry.candidate_version,
        "champion_after": versions.champion(entry.model),
        "run_id": entry.run_id,
        "state": entry.state,
    }
