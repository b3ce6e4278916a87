"""A retraining is known before it begins, and ends once."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from regraft.monitoring import retrainings


@pytest.fixture
def evidence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("REGRAFT_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    (tmp_path / "report").mkdir()
    (tmp_path / "report/drift.json").write_text("{}")
    return tmp_path / "report"


def test_from_beginning_to_end(evidence: Path) -> None:
    assert retrainings.past("leaf") == []
    folder = retrainings.begin("leaf", "r1", evidence)
    assert (folder / "evidence/drift.json").is_file()
    begun = retrainings.unfinished("leaf")
    assert begun is not None
    assert (begun["report_id"], begun["attempts"], begun["ended"]) == ("r1", 1, None)
    retrainings.end("leaf", "r1", outcome="promote", decision={"outcome": "promote"})
    assert retrainings.unfinished("leaf") is None
    assert [one["outcome"] for one in retrainings.past("leaf")] == ["promote"]
    assert retrainings.past("other") == []


def test_one_that_was_killed_keeps_its_evidence_and_start(evidence: Path) -> None:
    retrainings.begin("leaf", "r1", evidence, now=datetime(2026, 1, 1, tzinfo=UTC))
    (evidence / "drift.json").write_text("something later")
    folder = retrainings.begin("leaf", "r1", evidence)
    found = retrainings.past("leaf")
    assert [(one["attempts"], one["started"]) for one in found] == [
        (2, "2026-01-01T00:00:00+00:00")
    ]
    assert (folder / "evidence/drift.json").read_text() == "{}"


def test_half_a_folder_of_a_kill_is_no_retraining(evidence: Path) -> None:
    (retrainings.folder_of("leaf", "r1") / "evidence").mkdir(parents=True)
    assert retrainings.past("leaf") == []
    retrainings.begin("leaf", "r1", evidence)
    assert len(retrainings.past("leaf")) == 1


def test_the_first_ending_counts(evidence: Path) -> None:
    retrainings.begin("leaf", "r1", evidence)
    retrainings.end("leaf", "r1", outcome="hold")
    assert retrainings.end("leaf", "r1", outcome="promote")["outcome"] == "hold"
