"""Pairs of image and text through the commands: trained, asked, watched, and learned again."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from regraft.data.examples.leaves import draw_leaf
from tests.e2e.support import CLASSES, Project, write_recipe

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(1800)]

_WHERE = {"lab": "Picked and put on paper", "field": "Seen among the plants"}
_DONE = ("Sprayed against mildew last week", "Only watered, nothing else")


class Pairs(Project):
    """A project whose examples are leaves with notes. A note says where the leaf was seen, which
    the picture shows too, and what was done, which only the note knows."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, per_class=1)
        self.table = self.notes("train", range(60), labelled=True)
        self.recipe = write_recipe(
            folder / "tiny.yaml",
            self.table,
            task="image_text_classification",
            data={"root": str(self.table), "rare_classes": "keep", "near_duplicate_distance": 0,
                  "test_fraction": 0.4},
            backbone={"name": "starter", "text": {"name": "minilm", "taps": 2}},
            features={"views": 1, "taps": 3, "head": "fusion", "augmented_views": 0},
            finetune={"plan": {"kind": "head_only"}},
            distillation={"enabled": False},
            monitoring={"permutations": 1000},
            retraining={"min_new_examples": 20},
        )  # fmt: skip

    def notes(
        self, name: str, numbers: range, *, labelled: bool = False, mixed: bool = False
    ) -> Path:
        """A table of pairs; `mixed` gives every picture the note of one from the other place."""
        rows: list[dict[str, Any]] = []
        for number in numbers:
            for disease in CLASSES:
                place = list(_WHERE)[number % 2]
                file = self.folder / name / f"{disease}-{number}.jpg"
                file.parent.mkdir(exist_ok=True)
                Image.fromarray(draw_leaf(place, disease, number)).save(file, quality=90)
                said = list(_WHERE.values())[(number + mixed) % 2]
                done = _DONE[number // 2 % 2]
                ill = "wait" if done == _DONE[0] else "spray"
                action = "leave" if disease == "healthy" else ill
                text = f"{said}. {done}."
                row = {"file_name": f"{name}/{file.name}", "text": text, "label": ""}
                rows.append(row | ({"label": action} if labelled else {}))
        path = self.folder / f"{name}.jsonl"
        path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
        return path

    def monitor(self, window: Path) -> dict[str, Any]:
        out = self.folder / f"check-{window.stem}"
        command = ("monitor", str(self.recipe), "--window", str(window), "--out", str(out))
        result = self.call(*command, "--json")
        assert result.code == 0, result.text
        found: dict[str, Any] = json.loads(result.output)
        return found

    def finds_both_ways(self, table: Path) -> None:
        """Pictures by the place that a note names, and the note by a picture."""
        for place, said in _WHERE.items():
            asked = ("--text", f"{said}. {_DONE[1]}.")
            found = [Path(one["item"]) for one in self.search(table, *asked, "-k", "10")]
            right = [list(_WHERE)[int(file.stem.split("-")[1]) % 2] == place for file in found]
            assert sum(right) >= 8, (place, found)
            best = self.search(table, "--image", str(found[right.index(True)]), "-k", "1")
            assert best[0]["item"].startswith(said)
        kept = {file: file.stat().st_mtime_ns for file in self.home.glob("search/tiny-1/*.npz")}
        assert len(kept) == 2
        self.search(table, *asked)
        assert {file: file.stat().st_mtime_ns for file in kept} == kept, "embedded once"

    def search(self, table: Path, *arguments: str) -> list[dict[str, Any]]:
        result = self.call("search", "tiny", "--among", str(table), *arguments, "--json")
        assert result.code == 0, result.text
        found: list[dict[str, Any]] = json.loads(result.output)
        return found


def test_pairs_are_trained_asked_watched_and_learned_again(tmp_path: Path) -> None:
    project = Pairs(tmp_path)
    summary = project.run()
    teacher, baselines = summary["metrics"]["teacher"], summary["metrics"]["baselines"]
    assert {"missing image", "missing text", "gains", "abstention"} <= set(teacher)
    assert {"majority", "probe", "image alone", "text alone", "late fusion"} <= set(baselines)
    for missing, other in (("image", "text"), ("text", "image")):
        alone = baselines[f"{other} alone"]["test"]["accuracy"]
        assert teacher[f"missing {missing}"]["accuracy"] == pytest.approx(alone, abs=0.021)

    photo = next((tmp_path / "train").glob("healthy-*.jpg"))
    note = "::Only watered, nothing else."
    asked = project.call("predict", "tiny", f"{photo}{note}", note, "--json")
    assert asked.code == 0, asked.text
    both, read = json.loads(asked.output)
    assert read["answered_by"] == "text"
    assert {"label", "confidence", "abstains"} <= set(both)

    window = project.notes("calm", range(600, 630))
    project.finds_both_ways(window)
    calm = project.monitor(window)
    assert not calm["drifted"], calm["reason"]
    mixed = project.monitor(project.notes("mixed", range(600, 630), mixed=True))
    assert mixed["drifted"]
    assert "match" in mixed["reason"]
    assert mixed["retrained"]
    assert [entry["triggered_by"] for entry in project.history()] == [
        "regraft run", "regraft monitor",
    ]  # fmt: skip
