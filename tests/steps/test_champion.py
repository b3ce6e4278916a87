"""The champion meets the candidate on rows that it was not trained on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from regraft.data.manifest import write_manifest
from regraft.registry.versions import Reference
from regraft.steps import champion
from regraft.steps.champion import meets_champion
from regraft.steps.measuring import latencies, spread

CHAMPION = Reference("plants", "1")


class Fake:
    """Answers by the name of the file: `<label>-<number>.jpg`; `wrong` are answered amiss."""

    def __init__(self, classes: list[str], wrong: str = "") -> None:
        self.classes, self.wrong = classes, wrong

    def probabilities(self, inputs: list[str]) -> np.ndarray:
        found = np.zeros((len(inputs), len(self.classes)))
        for row, path in enumerate(inputs):
            label = Path(path).name.split("-")[0]
            known = label in self.classes and label != self.wrong
            found[row, self.classes.index(label) if known else -1] = 1.0
        return found


def manifest(path: Path, rows: pd.DataFrame) -> Path:
    full = rows.assign(size=1, quality_flags="")
    write_manifest(full, path)
    return path


def photos(count: int = 24) -> pd.DataFrame:
    """Test rows of two classes; the first third from the lab."""
    rows = pd.DataFrame({"label": ["rust", "blight"] * (count // 2)})
    rows["id"] = rows["path"] = [f"{label}-{n}.jpg" for n, label in enumerate(rows["label"])]
    rows["domain"] = ["lab"] * (count // 3) + ["field"] * (count - count // 3)
    rows["group"] = rows["sha256"] = rows["id"]
    rows["perceptual_hash"] = ""
    rows["split"] = "test"
    return rows


@pytest.fixture
def compare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Compare a candidate that is always right with a champion, whose manifest is given."""

    def call(rows: pd.DataFrame, theirs: pd.DataFrame | None, known: Fake) -> dict[str, Any]:
        mine = Fake(["blight", "rust"])
        logged = None if theirs is None else manifest(tmp_path / "theirs.parquet", theirs)
        models = {"champion": known, "candidate": mine}
        monkeypatch.setattr(champion, "run_file", lambda *_: logged)
        monkeypatch.setattr("regraft.tasks.load_model", lambda folder: models[Path(folder).name])
        answers = mine.probabilities(rows["path"].tolist())
        predictions = rows.drop(columns=["sha256", "perceptual_hash"])
        for column, label in enumerate(mine.classes):
            predictions[f"teacher:{label}"] = answers[:, column]
        made = meets_champion(
            predictions=predictions, manifest=manifest(tmp_path / "ours.parquet", rows),
            candidate=Path("candidate"), served="teacher", metric="accuracy",
            source_domain="lab", seed=0,
        )  # fmt: skip
        return made(Path("champion"), CHAMPION)

    return call


def test_rows_that_the_champion_was_trained_on_are_left_out(compare: Any) -> None:
    rows = photos()
    rows.loc[3, "group"] = rows.loc[2, "group"]  # near-duplicates of each other
    rows.loc[5, "perceptual_hash"] = "0f" * 32
    theirs = photos(4).assign(split="train", sha256="other", perceptual_hash="")
    theirs.loc[0, "sha256"] = rows.loc[2, "sha256"]
    theirs.loc[1, ["sha256", "split"]] = [rows.loc[7, "sha256"], "val"]
    theirs.loc[2, ["sha256", "split"]] = [rows.loc[9, "sha256"], "test"]
    theirs.loc[3, "perceptual_hash"] = "0f" * 31 + "0e"
    found = compare(rows, theirs, Fake(["blight", "rust"], wrong="blight"))
    assert (found["left_out"], found["count"]) == (4, 20)  # 2 and its twin, 7, 5; not 9
    assert found["p_value"] < 0.01 and found["low"] > 0
    assert set(found["latency"]) == {"candidate", "champion"}
    assert found["source"]["count"] == 4


def test_too_few_unseen_rows_are_told_and_nothing_is_measured(compare: Any) -> None:
    rows = photos()
    theirs = rows.iloc[:19].assign(split="train")
    found = compare(rows, theirs, Fake(["blight", "rust"]))
    assert found == {"count": 5, "groups": 5, "left_out": 19}


def test_a_champion_without_a_manifest_is_compared_and_that_is_said(
    compare: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    found = compare(photos(), None, Fake(["blight", "rust"]))
    assert (found["left_out"], found["difference"]) == (0, 0.0)
    assert "did not log its manifest" in capsys.readouterr().err


def test_classes_that_only_one_of_them_knows(compare: Any) -> None:
    theirs = photos(2).assign(split="train", sha256="other")
    found = compare(photos(), theirs, Fake(["blight", "canker"]))  # answers canker for rust
    assert found["difference"] == pytest.approx(0.5)


def test_spread_keeps_what_each_model_said() -> None:
    found = spread(np.array([[0.25, 0.75]]), ["b", "c"], ["a", "b", "c", "d"])
    assert found.tolist() == [[0.0, 0.25, 0.75, 0.0]]


def test_latencies_are_the_best_of_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [0.0]

    class Timed(Fake):
        def __init__(self, seconds: float) -> None:
            super().__init__(["a"])
            self.seconds, self.calls = seconds, 0

        def probabilities(self, inputs: list[str]) -> np.ndarray:
            self.calls += 1
            clock[0] += self.seconds + (5.0 if self.calls == 3 else 0.0)  # disturbed once
            return super().probabilities(inputs)

    monkeypatch.setattr("time.perf_counter", lambda: clock[0])
    found = latencies({"candidate": Timed(0.25), "champion": Timed(0.5)}, ["a-1", "a-2"])
    assert found == pytest.approx({"candidate": 250.0, "champion": 500.0})
