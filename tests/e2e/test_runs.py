"""The main job as a user sees it: one command, then the questions one asks afterwards."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from tests.e2e.conftest import Finished
from tests.e2e.support import CLASSES, Project

pytestmark = pytest.mark.e2e
STEPS = ["data_validation", "feature_extraction", "domain_shift_detection",
         "progressive_finetune", "distillation", "evaluation", "registration"]  # fmt: skip


def test_the_summary_has_what_others_rely_on(finished: Finished) -> None:
    for summary in finished.summaries:
        assert summary["recipe"] == "tiny"
        assert re.fullmatch(r"[0-9a-f]{16}", summary["code_version"])
        assert summary["data_version"].startswith("sha256:")
        assert summary["served"] == "teacher"
        assert [step["name"] for step in summary["steps"]] == STEPS
        for step in summary["steps"]:
            assert step["status"] == "done"
            assert step["cached"] is False
            assert step["seconds"] > 0
            assert step["cpu_seconds"] > 0
        metrics = summary["metrics"]
        for found in (metrics["teacher"], metrics["student"], *metrics["baselines"].values()):
            low, high = found["test"]["interval"]["accuracy"]
            assert 0 <= low <= found["test"]["accuracy"] <= high <= 1
            assert {"macro_f1", "ece"} <= set(found["test"])
        assert {"majority", "probe"} <= set(metrics["baselines"])
        assert {"outcome", "reason", "interval"} <= set(summary["decision"])


def test_nothing_is_warned_of(finished: Finished) -> None:
    assert [line for one in finished.results for line in one.text.splitlines()
            if "Warning" in line] == []  # fmt: skip


def test_the_report_needs_nothing_but_itself(finished: Finished) -> None:
    for summary in finished.summaries:
        html = Path(finished.project.folder, summary["reports"]["evaluation"]).read_text("utf-8")
        fetched = re.findall(r"""(?:src|href)\s*=\s*["']?([^"'\s>]+)""", html)
        fetched += re.findall(r"url\(\s*[\"']?([^\"')]+)", html)
        outside = [link for link in fetched if not link.startswith(("data:", "#"))]
        assert outside == []
        assert summary["decision"]["reason"][:20] in html


def test_every_report_is_where_the_summary_says(finished: Finished) -> None:
    for summary in finished.summaries:
        for name, path in summary["reports"].items():
            if name != "shift":  # too few images to compare
                assert Path(finished.project.folder, path).is_file(), name


def test_what_live_answers_are_compared_with_is_kept_with_the_run(
    finished: Finished, monkeypatch: pytest.MonkeyPatch
) -> None:
    from regraft.monitoring.reference import load_reference
    from regraft.registry.run_files import run_file
    from regraft.registry.versions import resolve

    monkeypatch.setenv("REGRAFT_HOME", str(finished.project.home))
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    found = load_reference("tiny")
    assert found.classes == list(CLASSES)
    assert len(found.rows) == len(found.embeddings)
    assert {"train", "val", "test"} == set(found.rows["split"])
    recipe = run_file(resolve("tiny"), "recipe/recipe.json", finished.project.folder)
    assert recipe is not None
    assert json.loads(recipe.read_text())["name"] == "tiny"


def test_two_runs_at_once_leave_one_champion_and_a_consistent_ledger(finished: Finished) -> None:
    first, second = finished.history
    assert [first["sequence"], second["sequence"]] == [1, 2]
    assert {first["state"], second["state"]} == {"done"}
    assert {first["candidate_version"], second["candidate_version"]} == {"1", "2"}
    assert (first["outcome"], first["champion_version"]) == ("first", None)
    assert second["champion_version"] == first["candidate_version"]
    by_version = {s["decision"]["candidate_version"]: s["decision"] for s in finished.summaries}
    for entry in finished.history:
        told = by_version[entry["candidate_version"]]
        assert told["outcome"] == entry["outcome"]
        assert told["interval"] == entry["interval"]
    kept = second if second["outcome"] == "promote" else first
    assert by_version["2"]["champion_after"] == kept["candidate_version"] or (
        by_version["1"]["champion_after"] == kept["candidate_version"]
    )


def test_the_champion_answers(finished: Finished) -> None:
    photo = finished.project.photos / CLASSES[1] / "000.jpg"
    result = finished.project.call("predict", "tiny", str(photo), "--json")
    assert result.code == 0, result.text
    (answer,) = json.loads(result.output)
    assert answer["label"] in CLASSES
    assert set(answer["probabilities"]) == set(CLASSES)
    assert answer["confidence"] == max(answer["probabilities"].values())


def test_the_history_says_who_became_champion_and_why(finished: Finished) -> None:
    result = finished.project.call("history", "tiny")
    assert result.code == 0, result.text
    header, *decisions = result.output.splitlines()
    assert header.split()[-1] == "why"
    (first,) = [line for line in decisions if " first " in line]
    assert "no champion to beat" in first


def test_the_same_command_again_registers_nothing_new(finished: Finished) -> None:
    before, history = finished.summaries[0], finished.project.history()
    again = finished.project.run("seed=0", out="run0")
    cached = {step["name"]: step["cached"] for step in again["steps"]}
    assert cached == {name: name != "registration" for name in STEPS}
    assert again["metrics"] == before["metrics"]
    assert again["decision"]["candidate_version"] == before["decision"]["candidate_version"]
    assert again["decision"]["outcome"] == before["decision"]["outcome"]
    assert finished.project.history() == history


def test_a_class_with_one_image_stops_before_training(tmp_path: Path) -> None:
    project = Project(tmp_path)
    for photo in sorted((project.photos / CLASSES[1]).iterdir())[1:]:
        photo.unlink()
    result = project.start_run().wait()
    assert result.code == 2, result.text
    assert CLASSES[1] in result.text
    assert "Traceback" not in result.text
    assert project.records() == {"data_validation": "failed"}
    assert not (tmp_path / "run" / "summary.json").exists()
    assert not (project.home / "mlflow.db").exists()


def test_folders_that_cannot_be_written_are_named(finished: Finished, tmp_path: Path) -> None:
    """A folder below a file: refused for everyone, root included."""
    file = tmp_path / "file"
    file.write_text("")
    project = finished.project
    result = project.start("run", str(project.recipe), "--out", str(file / "run")).wait()
    assert result.code == 2, result.text
    assert str(file / "run") in result.text
    other = Project(tmp_path / "other", home=file / "home")
    result = other.start_run().wait()
    assert result.code == 2, result.text
    assert str(file / "home") in result.text
    assert "REGRAFT_HOME" in result.text
    assert "Traceback" not in result.text
