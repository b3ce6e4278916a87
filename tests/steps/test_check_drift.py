"""Checks one after the other, as a schedule makes them: what is remembered, what a kill leaves."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from regraft.monitoring import state
from regraft.monitoring.log_folder import log_folder
from regraft.monitoring.prediction_log import PredictionLog
from regraft.monitoring.record import Record
from regraft.monitoring.samples import Sample
from regraft.steps import check_drift as step
from regraft.steps.check_drift import check_drift
from tests.monitoring.support import reference, window

ROOT = Path(__file__).parents[2]
OPTIONS = {"monitors": ["inputs", "embeddings", "predictions", "performance"]}


class Log:
    """A prediction log that grows, read through the same function as the real one."""

    def __init__(self) -> None:
        self.parts: list[Sample] = []

    def append(self, n: int = 100, **shift: Any) -> None:
        part = window(n, seed=len(self.parts) + 1, **shift)
        start = sum(map(len, self.parts))
        part.rows["sequence"] = np.arange(start, start + n)
        self.parts.append(part)

    def read(
        self, folder: Path, *, version: str, since: str | None = None, after: int | None = None
    ) -> Sample:
        rows = pd.concat([part.rows for part in self.parts], ignore_index=True)
        sample = Sample(rows, np.concatenate([part.embeddings for part in self.parts]))
        return sample.take((rows["version"] == version).to_numpy())


@pytest.fixture
def log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Log:
    monkeypatch.setenv("REGRAFT_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.setattr(step, "_reference", lambda name: reference())
    made = Log()
    monkeypatch.setattr(step, "from_log", made.read)
    return made


def check(out: Path, **changes: Any) -> dict[str, Any]:
    arguments = {"name": "m", "options": OPTIONS, "out_dir": out, "snapshots": False} | changes
    retrain = check_drift(**arguments)
    found: dict[str, Any] = json.loads((out / "drift.json").read_text())
    assert retrain is found["permission"]["allowed"]
    return found


def test_drift_is_seen_at_the_second_window_with_the_evidence_of_both(
    log: Log, tmp_path: Path
) -> None:
    log.append()
    calm = check(tmp_path)
    assert not calm["drifted"] and [w["shifted"] for w in calm["windows"]] == [False]
    log.append(embeddings=1.0)
    first = check(tmp_path)
    assert first["windows"][0]["shifted"] and not first["drifted"]
    assert not (tmp_path / "window.parquet").exists()
    log.append(50, embeddings=1.0)
    waiting = check(tmp_path)
    assert (waiting["windows"], waiting["waiting"], waiting["drifted"]) == ([], 50, False)
    log.append(50, embeddings=1.0)
    second = check(tmp_path)
    assert second["drifted"] and second["permission"]["allowed"]
    assert "answers 200 to 299" in second["reason"] and "embeddings" in second["reason"]
    evidence = pd.read_parquet(tmp_path / "window.parquet")
    assert evidence["sequence"].tolist() == list(range(100, 300))
    assert np.load(tmp_path / "embeddings.npy").shape == (200, 24)
    log.append()
    after = check(tmp_path)
    assert not after["drifted"] and not (tmp_path / "window.parquet").exists()


@pytest.mark.e2e
def test_of_fifty_calm_windows_hardly_any_is_shifted_and_nothing_is_retrained(
    log: Log, tmp_path: Path
) -> None:
    for _ in range(50):
        log.append()
    found = check(tmp_path, options=OPTIONS | {"permutations": 1000})
    assert len(found["windows"]) == 50
    assert sum(w["shifted"] for w in found["windows"]) <= 0.05 * 50
    assert not found["drifted"] and not found["permission"]["allowed"]


def test_the_report_is_one_page_that_needs_nothing_else(log: Log, tmp_path: Path) -> None:
    log.append()
    check(tmp_path)
    log.append(embeddings=1.0)
    log.append(embeddings=1.0)
    found = check(tmp_path)
    page = (tmp_path / "report.html").read_text()
    assert found["report_id"] in page and "m: drift" in page
    assert not re.search(r'(src|href)="(?!data:|#)', page)
    assert page.count('<svg class="chart"') == 3


def test_the_same_answers_judged_again_have_the_same_report_id(log: Log, tmp_path: Path) -> None:
    log.append(embeddings=1.0)
    log.append(embeddings=1.0)
    found = [check(tmp_path, since="2026-01-01") for _ in range(2)]
    assert found[0]["report_id"] == found[1]["report_id"]
    assert found[0]["drifted"]
    assert state.read("m").windows == [], "a look back moves nothing"


def test_nothing_new_is_judged_twice_whatever_the_clock_says(log: Log, tmp_path: Path) -> None:
    log.append(200)
    log.parts[0].rows["time"] = [f"2026-01-{1 + (200 - k) // 10:02d}" for k in range(200)]
    assert [w["name"] for w in check(tmp_path)["windows"]] == ["answers 0 to 99",
                                                              "answers 100 to 199"]  # fmt: skip
    assert check(tmp_path)["windows"] == []


def test_windows_of_another_champion_do_not_count(log: Log, tmp_path: Path) -> None:
    log.append(embeddings=1.0)
    log.parts[0].rows["version"] = "2"
    known = state.State()
    known.add([{"version": "2", "last_sequence": 99, "ids": [], "judged": True, "shifted": True,
                "drifted": False, "effects": {}}])  # fmt: skip
    state.write("m", known)
    log.append(embeddings=1.0)
    assert not check(tmp_path)["drifted"]


def test_a_window_that_cannot_be_judged_neither_counts_nor_interrupts(
    log: Log, tmp_path: Path
) -> None:
    log.append(embeddings=1.0)
    log.append()
    log.parts[1].rows["input_hash"] = "one photo"
    log.append(embeddings=1.0)
    found = check(tmp_path)
    assert [w["judged"] for w in found["windows"]] == [True, False, True]
    assert found["windows"][1]["reason"] == (
        "not judged: 1 different inputs with an embedding, 30 are needed"
    )
    assert found["drifted"]


def test_a_retraining_of_just_now_holds_the_next_one_back(log: Log, tmp_path: Path) -> None:
    from regraft.monitoring import retrainings

    (tmp_path / "evidence").mkdir()
    retrainings.begin("m", "earlier", tmp_path / "evidence")
    retrainings.end("m", "earlier", outcome="hold")
    log.append(200, embeddings=1.0)
    found = check(tmp_path / "out", retraining={"cooldown_hours": 24})
    assert found["drifted"] and not found["permission"]["allowed"]
    assert "cool-down" in found["permission"]["reason"]


def test_defects_are_told_and_lead_to_no_retraining(log: Log, tmp_path: Path) -> None:
    log.append(200)
    log.parts[0].rows.loc[:50, "label"] = "weed"
    found = check(tmp_path, options={"monitors": ["embeddings", "quality"]})
    assert found["windows"][0]["defects"] == ["answers are known classes: 51 of 100 rows fail"]
    assert not found["drifted"]
    assert "Defects in the data" in (tmp_path / "report.html").read_text()


def test_snapshots_are_added_to_one_project_over_time(log: Log, tmp_path: Path) -> None:
    from evidently.ui.workspace import Workspace

    for _ in range(2):
        log.append()
        check(tmp_path, snapshots=True)
    workspace = Workspace(str(tmp_path / "home/monitoring/m/evidently"))
    (project,) = workspace.list_projects()
    assert project.name == "m"
    assert len(workspace.list_runs(project.id)) == 2


def test_labels_that_come_late_are_judged_once(log: Log, tmp_path: Path) -> None:
    log.append(200, labels=200, error=0.7)
    truth = log.parts[0].rows["truth"].copy()
    log.parts[0].rows["truth"] = None
    assert not any(w["shifted"] for w in check(tmp_path)["windows"])
    log.parts[0].rows.loc[:9, "truth"] = truth[:10]
    assert check(tmp_path)["windows"] == [], "ten labels are too few, and wait for more"
    log.parts[0].rows.loc[:39, "truth"] = truth[:40]
    (late,) = check(tmp_path)["windows"]
    assert late["name"] == "labels of 40 earlier answers" and late["shifted"]
    assert [test["title"] for test in late["tests"]] == ["accuracy"]
    assert check(tmp_path)["windows"] == []
    log.parts[0].rows["truth"] = truth
    found = check(tmp_path)
    assert found["windows"][0]["rows"] == 160 and found["drifted"]
    assert len(pd.read_parquet(tmp_path / "window.parquet")) == 200


def test_labels_that_are_there_in_time_are_not_judged_again(log: Log, tmp_path: Path) -> None:
    log.append(100, labels=40)
    assert "accuracy" in {test["title"] for test in check(tmp_path)["windows"][0]["tests"]}
    assert check(tmp_path)["windows"] == []


def logged(sample: Sample, version: str = "3") -> list[Record]:
    return [
        Record(
            id=row["id"], time=row["time"], model="m", version=version, role="champion",
            input_hash=row["id"], label=row["label"], confidence=row["confidence"],
            probabilities={k[2:]: v for k, v in row.items() if k.startswith("p:")},
            statistics={k[5:]: v for k, v in row.items() if k.startswith("stat_")},
            embedding=sample.embeddings[number],
        )
        for number, row in enumerate(sample.rows.to_dict("records"))
    ]  # fmt: skip


def test_through_the_prediction_log_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REGRAFT_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(step, "_reference", lambda name: reference())
    assert check(tmp_path)["reason"] == "nothing to judge: 0 new answers, a window has 100"
    log = PredictionLog(log_folder("m"), max_bytes=50_000_000, segment_rows=70)
    log.append(logged(window(100, seed=1)))
    log.append(logged(window(150, seed=2, embeddings=1.0)))
    log.append(logged(window(100, seed=3, embeddings=9.0), version="2"))
    found = check(tmp_path)
    assert [w["shifted"] for w in found["windows"]] == [False, True]
    assert found["waiting"] == 50
    log.append(logged(window(50, seed=4, embeddings=1.0)))
    log.close()
    found = check(tmp_path)
    assert found["drifted"] and len(found["windows"]) == 1
    assert len(pd.read_parquet(tmp_path / "window.parquet")) == 200


def test_a_folder_instead_of_the_log_decides_alone(
    log: Log, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = window(100, embeddings=1.0)
    monkeypatch.setattr(step, "_of_files", lambda name, base, path: given)
    found = check(tmp_path, window="photos")
    assert found["drifted"] and "one window was given and decides" in found["reason"]
    assert state.read("m").windows == []
    given.rows["input_hash"] = [f"{k}" for k in range(100)]
    assert check(tmp_path, window="photos")["report_id"] != found["report_id"]


_KILLED = """
import os, signal, sys
from pathlib import Path
from regraft.data import files
from regraft.monitoring import state
from regraft.steps import check_drift as step
from tests.steps.test_check_drift import Log, OPTIONS
from tests.monitoring.support import reference
log = Log(); log.append(100); log.append(100)
step._reference = lambda name: reference()
step.from_log = log.read
stop = sys.argv[1]
def killed(path, write):
    if Path(path).name == stop:
        write(Path(path).with_name("half"))
        os.kill(os.getpid(), signal.SIGKILL)
    files.atomic_write(path, write)
state.atomic_write = step.atomic_write = killed
step.check_drift(name="m", options=OPTIONS, out_dir=sys.argv[2], snapshots=False)
"""


@pytest.mark.e2e
@pytest.mark.parametrize("stop", ["drift.json", "state.json"])
def test_kill_9_leaves_the_state_as_it_was(log: Log, tmp_path: Path, stop: str) -> None:
    log.append(100)
    check(tmp_path)
    before = (tmp_path / "home/monitoring/m/state.json").read_bytes()
    log.append(100)
    done = subprocess.run(
        [sys.executable, "-c", _KILLED, stop, str(tmp_path)],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert (tmp_path / "home/monitoring/m/state.json").read_bytes() == before
    found = check(tmp_path)
    assert [w["name"] for w in found["windows"]] == ["answers 100 to 199"]
