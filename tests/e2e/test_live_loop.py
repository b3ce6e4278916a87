"""The live loop as its users see it: commands, a server over HTTP, processes that are killed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from pipelines.demo_drift import show
from regraft.data.examples.leaves import draw_leaf
from tests.e2e.support import CLASSES, Project, read

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(1800)]
SMALL = ("distillation.enabled=false", "retraining.min_new_examples=20",
         "monitoring.permutations=1000")  # fmt: skip


@pytest.mark.realdata
def test_field_photos_lead_to_a_better_champion_that_still_knows_the_lab(
    real_data: Path, tmp_path: Path
) -> None:
    """Three tomato classes, real ImageNet weights: the whole of `make demo-drift`."""
    weights = real_data / "weights" / "mobilenetv2_100" / "model.safetensors"
    found = show(
        real_data / "plants",
        tmp_path / "demo",
        ["backbone.name=mobilenetv2_100", f"backbone.weights={weights}",
         "data.images_per_class=80"],
    )  # fmt: skip
    assert found["drifted_after"] in {1, 2}
    assert found["labels"] == 15
    assert found["decision"]["outcome"] == "promote"
    accuracy = found["accuracy"]
    assert accuracy["field_after"] >= accuracy["field_before"] + 0.25
    assert found["promoted_draws"] >= 0.4  # with other labelled photos
    assert accuracy["lab_after"] >= accuracy["lab_before"] - 0.015
    assert found["same_after_rollback"] == found["asked_after_rollback"] == 20


def test_photos_as_before_lead_to_nothing(tmp_path: Path) -> None:
    """Other photos of the training's own kind, two windows of them, at a real server."""
    draw(tmp_path / "data" / "lab", "lab", range(60))
    draw(tmp_path / "data" / "field", "field", range(1))
    others = draw(tmp_path / "others", "lab", range(1000, 1100))
    live = [photo for pair in zip(others[:100], others[100:], strict=True) for photo in pair]
    found = show(tmp_path / "data", tmp_path / "demo", ["data.test_fraction=0.5"], live=live)
    assert found["drifted_after"] == 0, found["reason"]
    assert [window["judged"] for window in found["windows"]] == [True, True]
    assert not found["retrained"]
    assert found["why_not"] == "no drift"


def draw(folder: Path, domain: str, numbers: range) -> list[Path]:
    """Generated leaves `folder/CLASS/NUMBER.jpg`, class by class."""
    paths = [folder / label / f"{number:04}.jpg" for label in CLASSES for number in numbers]
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        picture = draw_leaf(domain, path.parent.name, int(path.stem))
        Image.fromarray(picture).save(path, quality=90)
    return paths


def test_a_retraining_is_killed_again_and_again_and_happens_once(tmp_path: Path) -> None:
    """kill -9 of a step, then of the command; afterwards the same report leads to no other."""
    project = Project(tmp_path)
    project.run(*SMALL)
    live = tmp_path / "live"
    draw(live, "field", range(500, 525))
    command = ("monitor", str(project.recipe), *SMALL, "--window", str(live), "--out",
               str(tmp_path / "check"), "--json")  # fmt: skip

    def done(step: str) -> bool:
        try:
            return bool(read(tmp_path / "check" / "records" / f"{step}.json")["status"] == "done")
        except FileNotFoundError:
            return False

    first = project.start(*command)
    first.when(lambda: done("feature_extraction"), seconds=600)
    first.kill_step()
    result = first.wait()
    assert result.code == 1, result.text
    assert "the same command continues" in result.text
    (retraining,) = retrainings(project)
    assert retraining["ended"] is None
    second = project.start(*command)
    second.when(lambda: done("evaluation"), seconds=600)
    second.kill()
    assert second.nothing_left(60)
    result = project.call(*command)
    assert result.code == 0, result.text
    summary = json.loads(result.output)
    assert summary["retrained"]
    assert {s["name"] for s in summary["steps"] if s["cached"]} >= {
        "data_validation", "feature_extraction", "progressive_finetune",
    }  # fmt: skip
    history = project.history()
    assert [entry["triggered_by"] for entry in history] == ["regraft run", "regraft monitor"]
    (retraining,) = retrainings(project)
    assert retraining["attempts"] == 3
    assert retraining["outcome"] == summary["decision"]["outcome"]
    again = project.call(*command)
    told = json.loads(again.output)
    assert not told["retrained"]
    if retraining["outcome"] == "hold":  # with a new champion the report is a new one
        assert "has led to a retraining already" in told["why_not"]
    assert len(project.history()) == 2


def retrainings(project: Project) -> list[dict[str, Any]]:
    folder = project.home / "monitoring" / "tiny" / "retrainings"
    return [read(path) for path in sorted(folder.glob("*/retraining.json"))]
