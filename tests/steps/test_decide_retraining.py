"""Drift leads to one retraining, once it may and there is enough to learn from."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from regraft.monitoring import retrainings, state
from regraft.recipe import Recipe
from regraft.steps.decide_retraining import decide_retraining
from regraft.steps.record_retraining import record_retraining
from tests.steps.test_retraining_data import window


class Stream:
    """What the drift check finds, check by check; the real one has tests of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.number, self.version = folder, 0, "1"
        self.truth: list[str | None] = [None] * 4
        self.shifts: list[bool] = []
        self.killed = self.late = False

    def __call__(self, *, name: str, out_dir: Path, window: str, since: str, **_: Any) -> bool:
        out_dir.mkdir(parents=True, exist_ok=True)
        entries = []
        for shifted in self.shifts:
            self.number += 1
            entries.append({"window_id": f"w{self.number}", "version": self.version, "rows": 4,
                            "name": f"w{self.number}", "judged": True, "shifted": shifted,
                            "drifted": shifted, "reason": "told",
                            "last_sequence": 0 if self.late else self.number,
                            "ids": []})  # fmt: skip
        drifted = any(self.shifts)
        report = {"version": self.version, "report_id": f"r{self.number}", "drifted": drifted,
                  "reason": "told", "windows": entries}  # fmt: skip
        if drifted:
            rows = self.rows()
            rows.to_parquet(out_dir / "window.parquet")
            np.save(out_dir / "embeddings.npy", np.eye(4, dtype=np.float16))
        (out_dir / "report.html").write_text("report")
        (out_dir / "drift.json").write_text(json.dumps(report))
        known = state.read(name)
        known.add(entries)
        state.write(name, known)
        if self.killed:
            raise KeyboardInterrupt
        return drifted

    def rows(self) -> pd.DataFrame:
        rows = window(self.folder, [(n, truth) for n, truth in enumerate(self.truth)])
        return rows.assign(**{"p:a": 0.6, "p:b": 0.4})


@pytest.fixture
def stream(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Stream:
    monkeypatch.setenv("REGRAFT_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    found = Stream(tmp_path / "live")
    monkeypatch.setattr("regraft.steps.check_drift.check_drift", found)
    return found


def asked(
    stream: Stream, *shifts: bool, retrain: bool = True, since: str = "", **options: Any
) -> tuple[bool, dict[str, Any]]:
    """One check in which the log holds these new windows; the decision and check.json."""
    stream.shifts = list(shifts)
    values = {"name": "leaf", "data": {"root": "photos"},
              "retraining": {"min_new_examples": 4, **options}}  # fmt: skip
    recipe = Recipe.model_validate(values).model_dump(mode="json")
    out = stream.folder.parent / f"out{len(list(stream.folder.parent.glob('out*')))}"
    found = decide_retraining(name="leaf", recipe=recipe, retrain=retrain, since=since, out_dir=out)
    return found, json.loads((out / "check.json").read_text())


def ended(stream: Stream, report_id: str) -> None:
    folder = stream.folder.parent / "decided"
    folder.mkdir(exist_ok=True)
    (folder / "drift.json").write_text(json.dumps({"report_id": report_id}))
    (folder / "decision.json").write_text(json.dumps({"outcome": "promote"}))
    for name in ("metrics.json", "report.html"):
        (folder / name).write_text("{}")
    record_retraining(name="leaf", evidence=folder, evaluation=folder, decision=folder)


def test_no_drift_no_retraining(stream: Stream) -> None:
    decided, check = asked(stream, False)
    assert not decided
    assert not check["drifted"]
    assert retrainings.past("leaf") == []


def test_drift_is_written_down_as_a_retraining_before_it_begins(stream: Stream) -> None:
    decided, check = asked(stream, True)
    assert decided
    assert check["new_examples"] == 4
    begun = retrainings.unfinished("leaf")
    assert begun is not None
    assert begun["report_id"] == check["report_id"]
    assert Path(check["to_label"]).is_file()


def test_after_a_kill_the_same_retraining_goes_on_whatever_came_since(stream: Stream) -> None:
    _, first = asked(stream, True)
    decided, again = asked(stream, False)
    assert decided
    assert again["report_id"] == first["report_id"]
    assert stream.number == 1, "nothing new was looked at meanwhile"
    assert [one["attempts"] for one in retrainings.past("leaf")] == [2]


def test_what_fails_again_and_again_is_given_up(stream: Stream) -> None:
    asked(stream, True)
    assert asked(stream, most_attempts=2)[0]
    assert not asked(stream, False, most_attempts=2)[0]
    assert [one["outcome"] for one in retrainings.past("leaf")] == ["given up"]


def test_the_cool_down_holds_and_says_so(stream: Stream) -> None:
    _, first = asked(stream, True)
    ended(stream, first["report_id"])
    decided, check = asked(stream, True)
    assert not decided
    assert check["drifted"]
    assert "cool-down" in check["why_not"]
    assert asked(stream, True, cooldown_hours=0)[0]


def test_without_labels_it_asks_and_goes_on_when_they_have_come(stream: Stream) -> None:
    """No new answer comes between the two checks: the drift that was seen still stands."""
    decided, check = asked(stream, True, when_unlabelled="ask")
    assert not decided
    assert "what to label" in check["why_not"]
    rows = pd.read_csv(check["to_label"])
    assert len(rows) == 4
    labelled = stream.rows().assign(truth="a")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("regraft.steps.decide_retraining.whole_log", lambda name: labelled)
        decided, again = asked(stream, when_unlabelled="ask")
    assert decided
    assert again["report_id"] == check["report_id"]
    assert again["labels"] == 4


def test_a_window_without_a_shift_ends_the_waiting(stream: Stream) -> None:
    asked(stream, True, when_unlabelled="ask")
    assert not asked(stream, False)[1]["drifted"]
    assert not asked(stream)[1]["drifted"]


def test_labels_that_came_late_and_show_no_fall_do_not_end_it(stream: Stream) -> None:
    asked(stream, True, when_unlabelled="ask")
    stream.late = True
    assert asked(stream, False, when_unlabelled="ask")[1]["drifted"]


def test_a_new_champion_ends_the_waiting(stream: Stream) -> None:
    asked(stream, True, when_unlabelled="ask")
    stream.version = "2"
    assert not asked(stream)[1]["drifted"]


def test_what_led_to_a_retraining_waits_no_more(stream: Stream) -> None:
    _, first = asked(stream, True)
    ended(stream, first["report_id"])
    decided, check = asked(stream, cooldown_hours=0)
    assert not decided
    assert not check["drifted"]


def test_no_retrain_only_reports_and_the_next_check_retrains(stream: Stream) -> None:
    decided, check = asked(stream, True, retrain=False)
    assert not decided
    assert "--no-retrain" in check["why_not"]
    assert retrainings.past("leaf") == []
    assert asked(stream)[0]


def test_a_check_that_was_killed_after_it_moved_the_state_loses_nothing(stream: Stream) -> None:
    stream.killed = True
    with pytest.raises(KeyboardInterrupt):
        asked(stream, True)
    stream.killed = False
    decided, check = asked(stream)
    assert decided
    assert check["report_id"] == "r1"


def test_a_look_back_neither_uses_nor_ends_what_waits(stream: Stream) -> None:
    asked(stream, True, when_unlabelled="ask")
    assert not asked(stream, False, since="2026-01-01")[1]["drifted"]
    assert asked(stream)[1]["drifted"]


def test_too_few_files_are_no_reason_to_train(stream: Stream) -> None:
    decided, check = asked(stream, True, min_new_examples=5)
    assert not decided
    assert "4 new examples whose files are there, 5 are needed" in check["why_not"]
