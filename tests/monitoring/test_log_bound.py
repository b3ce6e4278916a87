"""The bound in bytes always holds; the oldest go first, with the inputs that only they name."""

from __future__ import annotations

import hashlib
import os
import time
from pathlib import Path

import numpy as np
import pytest

from regraft.monitoring.feedback import add_labels
from regraft.monitoring.log_folder import bytes_of
from regraft.monitoring.log_reading import read_log
from regraft.monitoring.prediction_log import LogFull
from tests.monitoring.log_support import log, record

BOUND = 1_000_000


def photo(number: int, size: int = 4000) -> bytes:
    return b"\xff\xd8\xff" + np.random.default_rng(number).bytes(size)


def wide(number: int) -> np.ndarray:
    return np.random.default_rng(number).normal(size=1280)


def of(number: int, content: bytes) -> object:
    return record(number, input_hash=hashlib.sha256(content).hexdigest())


def settled_bytes(folder: Path) -> int:
    """Bytes of the log, once a segment that is being made has taken the place of its tail: for that
    moment both are there."""
    deadline = time.monotonic() + 30
    while (found := bytes_of(folder)) > BOUND and time.monotonic() < deadline:
        time.sleep(0.01)
    return found


def test_the_bound_holds_after_every_append_and_the_newest_stay(tmp_path: Path) -> None:
    with log(tmp_path, max_bytes=BOUND) as writer:
        for number in range(900):
            writer.append([record(number, embedding=wide(number))])
            assert settled_bytes(tmp_path) <= BOUND
    found = read_log(tmp_path).rows["sequence"].tolist()
    assert found == list(range(901 - len(found), 901)), "not the newest ones in one piece"
    assert BOUND * 0.4 < bytes_of(tmp_path) <= BOUND, "far less is kept than may be"


def test_kept_inputs_count_and_go_with_their_last_record(tmp_path: Path) -> None:
    shared = photo(0)
    with log(tmp_path, max_bytes=BOUND, keep_inputs=True) as writer:
        for number in range(400):
            content = shared if number % 10 == 0 else photo(number + 1)
            writer.append([of(number, content)], [content])
            assert settled_bytes(tmp_path) <= BOUND
    rows = read_log(tmp_path).rows
    named = set(rows["input_path"])
    kept = {str(path) for path in (tmp_path / "inputs").iterdir()}
    assert named == kept
    assert 20 < len(kept) < 400
    for path, digest in zip(rows["input_path"], rows["input_hash"], strict=True):
        assert hashlib.sha256(Path(path).read_bytes()).hexdigest() == digest
        assert path.endswith(f"{digest}.jpg")
    assert str(tmp_path / "inputs" / f"{hashlib.sha256(shared).hexdigest()}.jpg") in kept


def test_inputs_are_kept_only_if_the_recipe_says_so(tmp_path: Path) -> None:
    with log(tmp_path) as writer:
        writer.append([record(1), record(2, input_path="/photos/2.jpg")], [photo(1), photo(2)])
    assert not (tmp_path / "inputs").exists()
    assert read_log(tmp_path).rows["input_path"].tolist() == ["", "/photos/2.jpg"]


def test_an_input_too_large_for_the_bound_is_answered_and_not_kept(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with log(tmp_path, max_bytes=BOUND, keep_inputs=True) as writer:
        for number in range(3):
            writer.append([record(number)], [photo(number, BOUND // 4)])
    assert read_log(tmp_path).rows["input_path"].tolist() == [""] * 3
    assert capsys.readouterr().err.count("too large") == 1


def test_a_batch_that_never_fits_is_refused_whole(tmp_path: Path) -> None:
    with log(tmp_path, max_bytes=BOUND) as writer:
        writer.append([record(0)])
        huge = record(1, label="x" * BOUND)
        with pytest.raises(LogFull, match="do not fit"):
            writer.append([huge])
        writer.append([record(2)])
    assert record(1).id not in set(read_log(tmp_path).rows["id"])
    assert read_log(tmp_path).rows["id"].tolist()[-1] == record(2).id


def test_the_folder_may_be_moved_with_its_inputs(tmp_path: Path) -> None:
    content = photo(3)
    with log(tmp_path / "here", keep_inputs=True) as writer:
        writer.append([of(3, content)], [content])
    (tmp_path / "here").rename(tmp_path / "there")
    (path,) = read_log(tmp_path / "there").rows["input_path"]
    assert Path(path).read_bytes() == content


def test_what_a_killed_process_left_is_removed_when_room_is_made(tmp_path: Path) -> None:
    stray, partial = tmp_path / "inputs" / f"{'a' * 64}.jpg", tmp_path / "inputs" / ".half"
    stray.parent.mkdir()
    for path in (stray, partial):
        path.write_bytes(os.urandom(BOUND // 2 - 10_000))
    with log(tmp_path, max_bytes=BOUND, keep_inputs=True) as writer:
        for number in range(3):
            writer.append([of(number, photo(number))], [photo(number)])
            assert settled_bytes(tmp_path) <= BOUND
    assert not stray.exists()
    assert not partial.exists()
    assert len(list((tmp_path / "inputs").iterdir())) == 3


def test_labels_go_with_their_answers(tmp_path: Path) -> None:
    with log(tmp_path, max_bytes=BOUND) as writer:
        for start in range(0, 400, 10):
            batch = [record(start + k, embedding=wide(start + k)) for k in range(10)]
            writer.append(batch)
            add_labels(tmp_path, [{"id": one.id, "label": "rust" * 50} for one in batch])
            assert settled_bytes(tmp_path) <= BOUND
    rows = read_log(tmp_path).rows
    assert rows["truth"].notna().all()
    assert rows["truth_order"].is_monotonic_increasing
    assert (tmp_path / "feedback.log").read_bytes().count(b"\n") < 400


def test_set_aside_files_are_the_first_to_go(tmp_path: Path) -> None:
    (tmp_path / "segment-000000000001-000000000002-0.parquet.corrupt").write_bytes(b"x" * 600_000)
    with log(tmp_path, max_bytes=BOUND) as writer:
        for number in range(200):
            writer.append([record(number, embedding=wide(number))])
    assert not list(tmp_path.glob("*.corrupt"))
    assert len(read_log(tmp_path).rows) == 200
