"""Stopped in every way, the same command goes on as if nothing had happened."""

from __future__ import annotations

import shutil
import signal
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from regraft.data.examples.leaves import draw_leaf
from tests.e2e.conftest import Finished
from tests.e2e.support import CLASSES, Command, Project, grow, scores, small_disk

pytestmark = pytest.mark.e2e


def test_a_run_stopped_again_and_again_ends_as_if_it_had_not_been(finished: Finished) -> None:
    """Ctrl-C and kill -9 in fine-tuning, kill -9 in distillation, then the rest."""
    project, before = finished.project, finished.summaries[0]
    decisions = project.history()
    project.forget("progressive_finetune")
    _interrupted(project.start_run("seed=0", out="run0"), project)
    _killed(project.start_run("seed=0", out="run0"), project, "finetune")
    _killed(project.start_run("seed=0", out="run0"), project, "distill")
    assert project.records("run0").get("progressive_finetune") == "done"
    after = project.run("seed=0", out="run0")
    log = (project.folder / "run0" / "log.txt").read_text(encoding="utf-8")
    assert "continuing after stage" in log, "distillation began anew"
    assert {s["name"]: s["cached"] for s in after["steps"]}["progressive_finetune"]
    assert scores(after) == scores(before)
    assert _weights(after) == _weights(before), "other weights than without the kills"
    assert after["decision"]["candidate_version"] == before["decision"]["candidate_version"]
    assert project.history() == decisions
    assert not list((project.home / "work").glob("*/checkpoint.pt"))


def _interrupted(run: Command, project: Project) -> None:
    run.when(project.checkpoint_of("finetune"))
    run.interrupt()
    result = run.wait()
    assert result.code == 130, result.text
    assert "the same command continues" in result.text
    assert run.nothing_left()


def _killed(run: Command, project: Project, work: str) -> None:
    epochs = _epochs(project, work)
    run.when(lambda: _epochs(project, work) > epochs)
    run.kill_step()
    result = run.wait()
    assert result.code == 1, result.text
    step = {"finetune": "progressive_finetune", "distill": "distillation"}[work]
    assert f"step {step} ended without a word" in result.text
    assert "log.txt" in result.text
    assert "Traceback" not in result.text
    assert run.nothing_left()
    assert _epochs(project, work) > epochs, "the step was faster than the kill"


def _epochs(project: Project, work: str) -> int:
    import torch

    for path in (project.home / "work").glob(f"{work}-*/checkpoint.pt"):
        epoch: int = torch.load(path)["progress"]["epoch"]
        return epoch
    return 0


def _weights(summary: dict[str, Any]) -> bytes:
    return Path(summary["artifacts"]["teacher"], "model.safetensors").read_bytes()


def test_kill_of_the_registration_registers_once(project: Project) -> None:
    """A changed option of the distillation, and the kill just when the new version appears."""
    decisions = project.history()
    change = ("seed=0", "distillation.learning_rate=0.0004")
    run = project.start_run(*change, out="changed")
    run.when(lambda: project.records("changed").get("evaluation") == "done")
    assert set(project.records("changed")) == {"distillation", "evaluation"}
    run.when(lambda: _versions(project) > len(decisions))
    run.kill_step()
    result = run.wait()
    assert result.code == 1, result.text
    assert "registration" not in project.records("changed")
    after = project.run(*change, out="changed")
    assert {s["name"] for s in after["steps"] if not s["cached"]} == {"registration"}
    now = project.history()
    assert len(now) == len(decisions) + 1
    assert now[:-1] == decisions
    assert now[-1]["state"] == "done"
    assert after["decision"]["candidate_version"] == now[-1]["candidate_version"]
    moved = [e["candidate_version"] for e in now if e["outcome"] in {"first", "promote"}]
    assert after["decision"]["champion_after"] == moved[-1]
    assert _versions(project) == len(now)


def _versions(project: Project) -> int:
    """Versions in the registry, pending ones included."""
    import sqlite3

    with sqlite3.connect(f"file:{project.home / 'mlflow.db'}?mode=ro", uri=True) as database:
        return int(database.execute("select count(*) from model_versions").fetchone()[0])


def test_a_changed_photo_is_seen_and_kill_of_the_run_ends_its_steps(project: Project) -> None:
    """kill -9 of the command itself: what it had started ends too."""
    photo = project.photos / CLASSES[0] / "000.jpg"
    kept = photo.read_bytes()
    Image.fromarray(draw_leaf("lab", CLASSES[0], 99)).save(photo)
    try:
        run = project.start_run("seed=0", out="other photo")
        run.when(project.checkpoint_of("finetune"))
        assert run.step_processes()
        run.kill()
        assert run.nothing_left()
        assert run.wait().code == -signal.SIGKILL
    finally:
        photo.write_bytes(kept)
    done = {name for name, status in project.records("other photo").items() if status == "done"}
    assert {"data_validation", "feature_extraction"} <= done, "old results of an old photo"


def test_a_full_disk_says_so_and_loses_nothing(project: Project, tmp_path: Path) -> None:
    """The home is a file system of its own; it fills up at a checkpoint."""
    disk = tmp_path / "small disk"
    try:
        with small_disk(disk, "2m"):
            _fill_up_and_continue(project, disk)
    except OSError as error:
        pytest.skip(f"no file system may be mounted here: {error}")


def _fill_up_and_continue(project: Project, disk: Path) -> None:
    shutil.copytree(project.home / "step_cache", disk / "step_cache")
    other = Project.__new__(Project)
    other.__dict__ |= project.__dict__ | {"home": disk}
    other.forget("progressive_finetune")
    run = other.start_run("seed=0", out="full")
    result = run.wait()
    assert result.code == 2, result.text
    assert "checkpoint.pt could not be written, the disk is full" in result.text
    assert str(disk) in result.text
    assert "REGRAFT_HOME" in result.text
    assert "Traceback" not in result.text
    grow(disk, "200m")
    run = other.start_run("seed=0", out="full")
    run.when(lambda: other.records("full").get("progressive_finetune") == "done")
    run.kill()
    assert run.nothing_left()
    assert run.wait().code == -signal.SIGKILL
