"""Do live answers still look like what the champion was trained on?"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from regraft.data.files import atomic_write
from regraft.monitoring import checking, drift, retrainings, state
from regraft.monitoring.baseline import Baseline, baseline
from regraft.monitoring.log_folder import log_folder as prediction_log
from regraft.monitoring.monitors import Test
from regraft.monitoring.report import write_drift_report
from regraft.monitoring.samples import Sample
from regraft.monitoring.triggers import may_retrain
from regraft.monitoring.verdict import Verdict, judge, not_judged
from regraft.monitoring.windows import cut, from_files, from_log, late_labels, unseen
from regraft.progress import note, track
from regraft.recipe.monitoring import MonitoringOptions
from regraft.recipe.retraining import RetrainingOptions

DRIFT, REPORT, WINDOW, EMBEDDINGS = "drift.json", "report.html", "window.parquet", "embeddings.npy"


def check_drift(
    *,
    name: str,
    options: dict[str, Any],
    retraining: dict[str, Any] | None = None,
    window: str | Path = "",
    since: str = "",
    out_dir: str | Path,
    log_folder: str | Path = "",
    snapshots: bool = True,
) -> bool:
    """Judge the new windows of the champion's prediction log; return whether to retrain.

    `options` and `retraining` are the recipe's sections `monitoring` and `retraining`. `window`
    names a folder or table instead of the log: that one window decides alone. `since` (ISO time)
    looks at the log from then on, seen already or not. Only a check of what is new moves the
    state, and only as its last act, so a check that is killed is simply made again.

    Writes into `out_dir`: drift.json (version, report_id, drifted, reason, permission, windows,
    waiting), report.html, data_docs/ (Great Expectations), and, where there is drift,
    window.parquet and embeddings.npy of the shifted windows. Adds snapshots to the evidently
    workspace of the model (`home/monitoring/NAME/evidently`).

    Raises UserError if there is no champion, it has no reference, or another check does not end.
    """
    checked, out = MonitoringOptions.model_validate(options), Path(out_dir)
    out.mkdir(parents=True, exist_ok=True)
    with state.held(name):
        base = baseline(_reference(name), enough_rows_in_domain=checked.enough_rows_in_domain)
        known = state.read(name)
        past = [] if window or since else known.of_version(base.version)
        if window:
            looked = _Looked([_of_files(name, base, window)])
        else:
            looked = _of_log(name, base, checked, known, since, log_folder)
        verdicts = _judged(base, looked.windows, checked, past, out, alone=bool(window))
        entries = [
            drift.entry(base.version, w, v) for w, v in zip(looked.windows, verdicts, strict=True)
        ]
        found = drift.summary(name, base.version, entries, looked.waiting, checked)
        found["permission"] = _permission(name, found, retraining)
        _write_evidence(out, found["drifted"], looked, verdicts)
        write_drift_report(out / REPORT, found, base=base, windows=looked.windows, past=past)
        _write_json(out / DRIFT, found)
        if not window and not since:
            labelled = [identity for entry in entries for identity in entry["labelled"]]
            known.add([drift.remembered(entry) for entry in entries], labelled)
            state.write(name, known)
        if snapshots and looked.windows:
            from regraft.monitoring.workspace import add_windows

            folder = state.folder(name) / "evidently"
            full = [one for one in looked.windows if not one.late_labels]
            add_windows(folder, name, base, full, checked)
    note(found["reason"])
    return bool(found["permission"]["allowed"])


@dataclass(frozen=True)
class _Looked:
    """The windows to be judged, how many answers wait for theirs to be full, and the answers of the
    shifted windows just before, which an earlier check has judged."""

    windows: list[Sample]
    waiting: int = 0
    before: Sample | None = None


def _reference(name: str) -> Any:
    from regraft.monitoring.reference import load_reference

    return load_reference(name)


def _of_files(name: str, base: Baseline, path: str | Path) -> Sample:
    return from_files(path, _predictor(name, base.version), version=base.version)


def _of_log(
    name: str,
    base: Baseline,
    options: MonitoringOptions,
    known: state.State,
    since: str,
    folder: str | Path,
) -> _Looked:
    place = Path(folder or prediction_log(name))
    if since:
        log = from_log(place, version=base.version, since=since)
        windows = cut(log, options.window)
        return _Looked(windows, len(log) - sum(map(len, windows)))
    log = from_log(place, version=base.version, after=known.seen_up_to)
    new = unseen(log, known)
    windows = cut(new, options.window)
    waiting = len(new) - sum(map(len, windows))
    shifted = _ids_of_last_shifted(known.of_version(base.version))
    before = log.take(log.rows["id"].isin(shifted).to_numpy(bool)) if shifted else None
    late = late_labels(log, known)
    if "performance" in options.monitors and len(late) >= options.enough_labels:
        windows = [late, *windows]
    return _Looked(windows, waiting, before)


def _ids_of_last_shifted(past: Sequence[dict[str, Any]]) -> set[str]:
    ids: set[str] = set()
    for window in reversed([w for w in past if w["judged"]]):
        if not window["shifted"]:
            break
        ids |= set(window["ids"])
    return ids


def _predictor(name: str, version: str) -> Any:
    from regraft.registry import versions
    from regraft.tasks import load_model

    with versions.model_folder(name, version) as folder:
        return load_model(folder)


def _judged(
    base: Baseline,
    windows: Sequence[Sample],
    options: MonitoringOptions,
    past: Sequence[dict[str, Any]],
    out: Path,
    *,
    alone: bool,
) -> list[Verdict]:
    before = [bool(w["shifted"]) for w in past if w["judged"]]
    verdicts = []
    for number, window in enumerate(track(windows, "windows", total=len(windows))):
        measured = checking.measure(base, window, options)
        defects = _defects(base, window, options, out / "data_docs" / f"{number:03d}")
        if measured.problem:
            verdicts.append(not_judged(measured.problem, defects))
            continue
        verdict = judge(
            [*measured.tests, *defects],
            alpha=options.alpha,
            persistence=options.persistence,
            before=before,
            alone=alone,
            notes=measured.notes,
        )
        before.append(verdict.shifted)
        verdicts.append(verdict)
    return verdicts


def _defects(base: Baseline, window: Sample, options: MonitoringOptions, docs: Path) -> list[Test]:
    if "quality" not in options.monitors or window.late_labels:
        return []
    from regraft.monitoring.monitors import quality

    return quality.tests(
        window,
        classes=base.classes,
        width=base.sample.width,
        max_share=options.max_defect_share,
        docs=docs,
    )


def _permission(
    name: str, found: dict[str, Any], retraining: dict[str, Any] | None
) -> dict[str, Any]:
    if not found["drifted"]:
        return {"allowed": False, "reason": "no drift"}
    options = RetrainingOptions.model_validate(retraining or {})
    asked = may_retrain(retrainings.past(name), datetime.now(UTC), found["report_id"], options)
    return {"allowed": asked.allowed, "reason": asked.reason}


def _write_evidence(out: Path, drifted: bool, looked: _Looked, verdicts: Sequence[Verdict]) -> None:
    """The answers of the shifted windows: what a retraining may learn from."""
    for name in (WINDOW, EMBEDDINGS):
        (out / name).unlink(missing_ok=True)
    if not drifted:
        return
    shifted = [] if looked.before is None else [looked.before]
    shifted += [w for w, v in zip(looked.windows, verdicts, strict=True) if v.shifted]
    rows = pd.concat([w.rows for w in shifted], ignore_index=True)
    once = ~rows["id"].duplicated().to_numpy()  # a label may have come for an answer judged before
    embeddings = np.concatenate([w.embeddings for w in shifted])[once].astype(np.float16)
    rows = rows[once]
    atomic_write(out / WINDOW, lambda p: rows.to_parquet(p, index=False))
    with (out / EMBEDDINGS).open("wb") as file:
        np.save(file, embeddings)


def _write_json(path: Path, content: dict[str, Any]) -> None:
    text = json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False)
    atomic_write(path, lambda partial: partial.write_text(text, encoding="utf-8"))
