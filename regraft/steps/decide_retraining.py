"""One check of the live side: is there drift, and does it lead to a retraining now?"""

from __future__ import annotations

import json
import shutil
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd

from regraft.progress import note
from regraft.recipe.model import Recipe
from regraft.recipe.retraining import RetrainingOptions
from regraft.steps.options import typed

CHECK, DRIFT = "check.json", "drift.json"


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
    from regraft.monitoring import retrainings

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
    from regraft.monitoring import retrainings

    begun = retrainings.unfinished(name)
    if begun and begun["attempts"] >= options.most_attempts:
        note(f"the retraining for drift report {begun['report_id']} is given up after "
             f"{begun['attempts']} attempts")  # fmt: skip
        retrainings.end(name, begun["report_id"], outcome="given up")
        return None
    return begun


def _went_on(name: str, begun: dict[str, Any], out: Path) -> bool:
    from regraft.monitoring import retrainings

    evidence = retrainings.folder_of(name, begun["report_id"]) / retrainings.EVIDENCE
    shutil.copytree(evidence, out, dirs_exist_ok=True)
    retrainings.begin(name, begun["report_id"], out)
    return True


def _checked(
    name: str, options: dict[str, Any], window: str, since: str, out: Path
) -> dict[str, Any]:
    """The drift report of this check, or that of an earlier one that still stands."""
    from regraft.steps.check_drift import check_drift  # type: ignore

    check_drift(
        name=name,
        options=options["monitoring"],
        retraining=options["retraining"],
        window=window,
        since=since,
        out_dir=out,
    )
    report = _read(out / DRIFT)
    waiting = _waiting(name)
    if report["drifted"]:
        _replace(out, waiting)
    elif _speaks_against(name, report, waiting):
        shutil.rmtree(waiting, ignore_errors=True)
    elif waiting.is_dir():
        earlier = _read(waiting / DRIFT)
        note(f"drift report {earlier['report_id']} still stands")
        shutil.copytree(waiting, out, dirs_exist_ok=True)
        report = earlier
    return {key: report[key] for key in ("drifted", "reason", "windows", "report_id")}


def _speaks_against(name: str, report: dict[str, Any], waiting: Path) -> bool:
    """Is drift that was kept over: by a window without a shift, or because another champion
    answers now?"""
    from regraft.registry.versions import resolve

    if not waiting.is_dir():
        return False
    judged = [window for window in report["windows"] if window["judged"]]
    if judged and not judged[-1]["shifted"]:
        return True
    return str(_read(waiting / DRIFT)["version"]) != resolve(name).version


def _permitted(
    name: str, found: dict[str, Any], options: RetrainingOptions, out: Path
) -> dict[str, Any]:
    """May it retrain, is there enough to learn from, and what should be labelled."""
    from regraft.monitoring import retrainings
    from regraft.monitoring.new_examples import new_examples, whole_log
    from regraft.monitoring.triggers import enough_to_learn, may_retrain
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


def _waiting(name: str) -> Path:
    from regraft.monitoring.retrainings import folder_of

    return folder_of(name).parent / "waiting"


def _replace(source: Path, target: Path) -> None:
    """A copy of the folder in one step: what is half written is under another name."""
    partial = target.with_name(f"{target.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    shutil.copytree(source, partial)
    shutil.rmtree(target, ignore_errors=True)
    partial.rename(target)


def _read(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def _write(path: Path, content: Any) -> None:
    path.write_text(json.dumps(content, indent=2), encoding="utf-8")
