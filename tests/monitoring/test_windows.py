from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from regraft.errors import UserError
from regraft.monitoring.windows import cut, from_files
from tests.monitoring.support import window


def test_windows_are_consecutive_and_complete_and_the_rest_waits() -> None:
    log = window(25)
    found = cut(log, 10)
    assert [len(part) for part in found] == [10, 10]
    assert [part.name for part in found] == ["answers 0 to 9", "answers 10 to 19"]
    assert cut(log, 26) == []


def test_a_clock_that_goes_backwards_does_not_reorder() -> None:
    log = window(20)
    log.rows["time"] = [f"2026-01-01T00:00:{59 - k:02d}.000Z" for k in range(20)]
    shuffled = log.take(np.random.default_rng(0).permutation(20))
    first = cut(shuffled, 10)[0]
    assert first.rows["sequence"].tolist() == list(range(10))
    assert np.array_equal(first.embeddings, log.embeddings[:10])


class Predictor:
    """Answers by the first letter of the file's content."""

    task = "image_classification"
    classes = ["rust", "scab"]

    def answer(self, inputs: list[Any]) -> tuple[list[dict[str, Any]], np.ndarray]:
        texts = [Path(value).read_text() for value in inputs]
        labels = ["rust" if text.startswith("r") else "scab" for text in texts]
        answers = [
            {"label": label, "confidence": 0.9, "probabilities": {label: 0.9}} for label in labels
        ]
        return answers, np.array([[len(text), 1.0] for text in texts])

    def measured(self, embeddings: np.ndarray) -> list[dict[str, float]]:
        return [{"height": float(row[1])} for row in embeddings]

    def describe(self, value: Any) -> dict[str, float]:
        text = Path(value).read_text()
        if not text:
            raise UserError("the file is empty")
        return {"length": float(len(text))}


def write(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


def test_class_folders_are_the_truth(tmp_path: Path) -> None:
    root = write(tmp_path, {"rust/1.txt": "r", "scab/2.txt": "red", "new/3.txt": "s", ".x": "r"})
    found = from_files(root, Predictor(), version="4")
    assert found.rows["id"].tolist() == ["new/3.txt", "rust/1.txt", "scab/2.txt"]
    assert found.rows["truth"].tolist() == ["new", "rust", "scab"]
    assert found.rows["label"].tolist() == ["scab", "rust", "rust"]
    assert found.rows["stat_length"].tolist() == [1, 1, 3]
    assert found.embeddings.tolist() == [[1, 1], [1, 1], [3, 1]]


@pytest.mark.parametrize("files", [{"1.txt": "r"}, {"monday/1.txt": "r"}])
def test_other_folders_are_no_truth(tmp_path: Path, files: dict[str, str]) -> None:
    assert from_files(write(tmp_path, files), Predictor(), version="4").rows["truth"].isna().all()


def test_a_table_with_some_labels(tmp_path: Path) -> None:
    write(tmp_path, {"1.txt": "r", "2.txt": "s", "t.csv": "path,label\n1.txt,scab\n2.txt,\n"})
    rows = from_files(tmp_path / "t.csv", Predictor(), version="4").rows
    assert rows["label"].tolist() == ["rust", "scab"]
    assert rows["truth"].tolist() == ["scab", None]


def test_files_that_cannot_be_read_are_left_out(tmp_path: Path) -> None:
    root = write(tmp_path, {"1.txt": "r", "2.txt": ""})
    assert from_files(root, Predictor(), version="4").rows["id"].tolist() == ["1.txt"]


@pytest.mark.parametrize("files", [{}, {"2.txt": ""}])
def test_nothing_readable_is_one_clear_error(tmp_path: Path, files: dict[str, str]) -> None:
    with pytest.raises(UserError, match="nothing at this path"):
        from_files(write(tmp_path, files), Predictor(), version="4")


def test_a_path_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such window"):
        from_files(tmp_path / "gone", Predictor(), version="4")
