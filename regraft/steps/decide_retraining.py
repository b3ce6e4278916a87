"""One check of the live side: is there drift, and does it lead to a retraining now?"""

from __future__ import annotations

import json
import shutil
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd

from regraft.monitoring import retrainings, state
from regraft.monitoring.new_examples import new_examples, whole_log
from regraft.monitoring.triggers import enough_to_learn, may_retrain
from regraft.progress import note
from regraft.recipe.model import Recipe
from regraft.recipe.retraining import RetrainingOptions
from regraft.steps.options import typed

CHECK, DRIFT, WAITING = "check.json", "drift.json", "waiting"
_TOLD = ("window_id", "name", "rows", "judged", "shifted", "drifted", "reason")


def decide_retraining(
    *,
    name: str,
    recipe: dict[str, Any],
    window: str = "",
    since: str = "",
    retrain: bool = True,
    out_dir: str | Path,
) -> bool:
    """Check for drift, write check.json beside the drift report into `out_dir`, and return whether
    to retrain; a retraining is then written down as begun (see `monitoring.retrainings`).

    check.json: drifted, reason, windows, report_id, retrain, why_not, new_examples, labels,
    to_label.
    A retraining that was killed or failed goes on first, at most `retraining.most_attempts` times.
    Drift that may not lead to a retraining yet (cool-down, no labels) is kept and asked about again
    by the next check, until a window without a shift or a new champion speaks against it.
    `recipe` are all its fields, `window` a folder or table instead of the log, `since` a time.
    """
    out = Path(out_dir)
    out.mkdir(parents=True, exist_ok=True)
    options = typed(Recipe, recipe)
    own = RetrainingOptions(**options["retraining"])
    begun = _to_go_on(name, own) if retrain else None
    if begun:
        note(f"the retraining for drift report {begun['report_id']} goes on")
        return _went_on(name, begun, out)
    found = _checked(name, options, window, since, out)
    if found["drifted"]:
        found |= _permitted(name, found, own, out)
    found["retrain"] = retrain and found.get("retrain", False)
    if not retrain and found["drifted"]:
        found["why_not"] = "retraining was switched off with --no-retrain"
    _write(out / CHECK, found)
    if found["retrain"]:
        retrainings.begin(name, found["report_id"], out)
    return bool(found["retrain"])


def _to_go_on(name: str, options: RetrainingOptions) -> dict[str, Any] | None:
    """The unfinished retraining, unless it was tried too often: then it is given up."""
    begun = retrainings.unfinished(name)
    if begun and begun["attempts"] >= options.most_attempts:
        note(f"the retraining for drift report {begun['report_id']} is given up after "
             f"{begun['attempts']} attempts")  # fmt: skip
        retrainings.end(name, begun["report_id"], outcome="given up")
        return None
    return begun


def _went_on(name: str, begun: dict[str, Any], out: Path) -> bool:
    evidence = retrainings.folder_of(name, begun["report_id"]) / retrainings.EVIDENCE
    shutil.copytree(evidence, out, dirs_exist_ok=True)
    retrainings.begin(name, begun["report_id"], out)
    return True


def _checked(
    name: str, options: dict[str, Any], window: str, since: str, out: Path
) -> dict[str, Any]:
    """The drift report of this check, or that of an earlier one that still stands.

    The check writes under REGRAFT_HOME, so that its report is there when this process is killed
    after the check has remembered that it looked at these windows.
    """
    from regraft.steps.check_drift import check_drift

    place = state.folder(name)
    checking, waiting = place / "checking", place / WAITING
    _adopt(name, checking, waiting)
    check_drift(
        name=name,
        options=options["monitoring"],
        retraining=options["retraining"],
        window=window,
        since=since,
        out_dir=checking,
    )
    report = _read(checking / DRIFT)
    asked_for = bool(window or since)
    if not asked_for and _speaks_against(report, waiting):
        shutil.rmtree(waiting)
    if not asked_for and not report["drifted"] and waiting.is_dir():
        report = _read(waiting / DRIFT)
        note(f"drift report {report['report_id']} still stands")
        shutil.copytree(waiting, out, dirs_exist_ok=True)
    else:
        shutil.copytree(checking, out, dirs_exist_ok=True)
    if not asked_for and _read(checking / DRIFT)["drifted"]:
        _replace(checking, waiting)
    return {key: report[key] for key in ("drifted", "reason", "report_id", "version")} | {
        "windows": [{key: one[key] for key in _TOLD} for one in report["windows"]]
    }


def _adopt(name: str, checking: Path, waiting: Path) -> None:
    """Keep the drift report of a check that was killed after it had moved the state."""
    if (checking / DRIFT).is_file():
        report = _read(checking / DRIFT)
        known = {window["window_id"] for window in state.read(name).windows}
        if report["drifted"] and report["windows"][-1]["window_id"] in known:
            _replace(checking, waiting)
    shutil.rmtree(checking, ignore_errors=True)


def _replace(source: Path, target: Path) -> None:
    shutil.rmtree(target, ignore_errors=True)
    source.rename(target)


def _speaks_against(report: dict[str, Any], waiting: Path) -> bool:
    """Is drift that was kept over: by a window of later answers without a shift, or because another
    champion answers now? Labels that came late for answers that drifted do not end it."""
    if not waiting.is_dir():
        return False
    kept = _read(waiting / DRIFT)
    last = max(window["last_sequence"] for window in kept["windows"])
    later = [w for w in report["windows"] if w["judged"] and w["last_sequence"] > last]
    return bool((later and not later[-1]["shifted"]) or kept["version"] != report["version"])


def _permitted(
    name: str, found: dict[str, Any], options: RetrainingOptions, out: Path
) -> dict[str, Any]:
    """May it retrain, is there enough to learn from, and what should be labelled."""
    from regraft.steps.labelling_list import write_labelling_list

    window = pd.read_parquet(out / "window.parquet")
    rows = new_examples(window, whole_log(name))
    labels = int(rows["label"].notna().sum())
    asked = may_retrain(retrainings.past(name), datetime.now(UTC), found["report_id"], options)
    if asked.allowed:
        asked = enough_to_learn(len(rows), labels, options)
    return {
        "retrain": asked.allowed,
        "why_not": "" if asked.allowed else asked.reason,
        "new_examples": len(rows),
        "labels": labels,
        "to_label": write_labelling_list(out, rows, count=options.ask_for),
    }


def _read(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def _write(path: Path, content: Any) -> None:
    path.write_text(json.dumps(content, indent=2), encoding="utf-8")
