"""What is acknowledged is in the log, whatever happens to writers, clocks, disks and bits."""

from __future__ import annotations

import fcntl
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from regraft.errors import UserError
from regraft.monitoring import log_folder as places
from regraft.monitoring.log_reading import read_log
from regraft.monitoring.prediction_log import LogFull, PredictionLog
from tests.monitoring.log_support import log, record


def ids(folder: Path) -> list[str]:
    found: list[str] = read_log(folder).rows["id"].tolist()
    return found


def names(*numbers: int) -> list[str]:
    return [record(number).id for number in numbers]


def test_what_is_appended_is_read_before_and_after_sealing(tmp_path: Path) -> None:
    with log(tmp_path, segment_rows=4) as writer:
        for number in range(10):
            writer.append([record(number)])
        live = read_log(tmp_path)
    sealed = read_log(tmp_path)
    for found in (live, sealed):
        assert found.rows["id"].tolist() == [record(number).id for number in range(10)]
        assert found.rows["sequence"].tolist() == list(range(1, 11))
        assert found.embeddings.shape == (10, 8)
        assert found.embeddings[:, 0].tolist() == list(range(10))
        assert found.rows["p:rust"].tolist() == [0.75] * 10
        assert found.rows["stat_width"].tolist() == [64.0] * 10
        assert found.rows["truth"].isna().all()
        assert (found.corrupt_segments, found.corrupt_lines) == (0, 0)
    assert not list(tmp_path.glob("tail*"))
    assert len(list(tmp_path.glob("segment-*"))) >= 3
    assert live.rows.equals(sealed.rows)


def test_an_empty_log_has_the_columns_of_a_full_one(tmp_path: Path) -> None:
    empty = read_log(tmp_path / "nothing")
    with log(tmp_path) as writer:
        writer.append([record(1)])
    plain = [c for c in read_log(tmp_path).rows if not str(c).startswith(("p:", "stat_"))]
    assert empty.rows.columns.tolist() == plain
    assert len(empty.rows) == len(empty.embeddings) == 0


def test_what_is_asked_for_is_read(tmp_path: Path) -> None:
    with log(tmp_path, segment_rows=2) as writer:
        writer.append([record(1, version="2"), record(2), record(3, role="shadow")])
        writer.append([record(4), record(5), record(6)])
    assert ids(tmp_path) == names(1, 2, 4, 5, 6)
    assert read_log(tmp_path, version="2").rows["id"].tolist() == names(1)
    assert read_log(tmp_path, role=None).rows["id"].tolist() == names(1, 2, 3, 4, 5, 6)
    assert read_log(tmp_path, after=4).rows["id"].tolist() == names(5, 6)
    for since in ("2030-01-01T00:00:05Z", "2030-01-01T02:00:05+02:00", "2030-01-01T00:00:05"):
        assert read_log(tmp_path, since=since).rows["id"].tolist() == names(5, 6)
    assert read_log(tmp_path, since="2031-01-01").rows.empty
    with pytest.raises(UserError, match="yesterday evening"):
        read_log(tmp_path, since="yesterday evening")


def test_models_of_other_classes_and_sizes_share_a_log(tmp_path: Path) -> None:
    with log(tmp_path) as writer:
        old = record(1, version="2", probabilities={"rust": 1.0}, embedding=np.ones(4))
        writer.append([old, record(2)])
    found = read_log(tmp_path)
    assert found.rows["p:healthy"].isna().tolist() == [True, False]
    assert np.isnan(found.embeddings).all(axis=1).tolist() == [True, False]
    assert read_log(tmp_path, version="2").embeddings.tolist() == [[1, 1, 1, 1]]
    assert "p:healthy" not in read_log(tmp_path, version="2").rows


def test_the_order_is_that_of_the_answers_even_if_the_clock_goes_backwards(tmp_path: Path) -> None:
    times = ["2030-01-01T00:00:09.000Z", "2030-01-01T00:00:01.000Z", "2029-12-31T00:00:00.000Z"]
    for number, moment in enumerate(times):
        with log(tmp_path) as writer:  # a process each
            writer.append([record(number, time=moment)])
    assert ids(tmp_path) == names(0, 1, 2)
    assert read_log(tmp_path).rows["sequence"].tolist() == [1, 2, 3]


def test_numbers_go_on_where_they_ended_even_without_the_counters(tmp_path: Path) -> None:
    for number in range(3):
        with log(tmp_path) as writer:
            writer.append([record(number)])
        if number == 0:
            (tmp_path / "counters").unlink()
        else:
            (tmp_path / "counters").write_bytes(b"rubbish")
    assert read_log(tmp_path).rows["sequence"].tolist() == [1, 2, 3]


def test_a_torn_last_line_was_never_acknowledged(tmp_path: Path) -> None:
    writer = log(tmp_path)
    writer.append([record(1), record(2)])
    tail = tmp_path / "tail.log"
    whole = tail.read_bytes()
    last = whole.splitlines(keepends=True)[-1]
    for cut in range(1, len(last) - 1, 37):
        tail.write_bytes(whole[:-cut])
        if cut > 1:  # with only its newline missing, the record is whole
            assert ids(tmp_path) == names(1)
        writer.append([record(100 + cut)])
        expected = names(1, 2, 101) if cut == 1 else names(1, 100 + cut)
        assert ids(tmp_path) == expected
        assert read_log(tmp_path).corrupt_lines == 0


def test_a_tail_without_a_line_does_not_outlive_the_next_writer(tmp_path: Path) -> None:
    """A process killed between making the file and its first line leaves one."""
    (tmp_path / "tail.log").touch()
    with log(tmp_path):
        pass
    assert not list(tmp_path.glob("tail*"))
    (tmp_path / "tail.log").touch()
    with log(tmp_path) as writer:
        writer.seal()  # takes the file away under a writer that has it open
        writer.append([record(1)])
    assert ids(tmp_path) == names(1)


def test_any_flipped_bit_of_a_tail_costs_its_line_and_is_counted(tmp_path: Path) -> None:
    writer = log(tmp_path)
    writer.append([record(number) for number in range(5)])
    tail = tmp_path / "tail.log"
    whole = tail.read_bytes()
    start = whole.index(b"\n") + 1
    for place in range(start, whole.index(b"\n", start), 11):
        for bit in (1, 16, 128):
            tail.write_bytes(_flipped(whole, place, bit))
            found = read_log(tmp_path)
            assert found.rows["id"].tolist() == names(0, 2, 3, 4), (place, bit)
            assert found.corrupt_lines >= 1  # a flip can make one line two
    writer.append([record(5)])
    writer.seal()
    found = read_log(tmp_path)
    assert found.rows["id"].tolist() == names(0, 2, 3, 4, 5)
    assert found.corrupt_lines >= 1, "damage is still counted after sealing"


def _flipped(content: bytes, place: int, bit: int = 1) -> bytes:
    return content[:place] + bytes([content[place] ^ bit]) + content[place + 1 :]


@pytest.mark.parametrize("where", [0.0, 0.1, 0.5, 0.9, 0.999])
def test_a_flipped_bit_of_a_segment_sets_it_aside_and_reading_goes_on(
    where: float, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with log(tmp_path, segment_rows=2) as writer:
        for number in range(6):
            writer.append([record(number)])
    writer.close()
    second = sorted(tmp_path.glob("segment-*"))[1]
    content = second.read_bytes()
    second.write_bytes(_flipped(content, int(where * len(content))))
    for _ in range(2):
        found = read_log(tmp_path)
        assert len(found.rows) == len(found.embeddings)
        assert set(names(0, 1)) < set(found.rows["id"])
        assert set(names(2, 3)).isdisjoint(found.rows["id"])
        assert found.corrupt_segments == 1
    assert second.name in capsys.readouterr().err
    assert second.with_name(f"{second.name}.corrupt").read_bytes() != content
    with log(tmp_path) as writer:
        writer.append([record(7)])
    assert ids(tmp_path)[-1] == record(7).id


def test_a_segment_that_was_sealed_twice_counts_once(tmp_path: Path) -> None:
    """Killed between the segment and the removal of its tail."""
    writer = log(tmp_path)
    writer.append([record(1), record(2)])
    copy = (tmp_path / "tail.log").read_bytes()
    writer.seal()
    (tmp_path / "tail-000000000003.log").write_bytes(copy)
    assert ids(tmp_path) == names(1, 2)
    writer.close()
    assert ids(tmp_path) == names(1, 2)
    assert len(list(tmp_path.glob("segment-*"))) == 1


def test_a_failed_write_leaves_nothing_and_the_next_one_works(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer = log(tmp_path, keep_inputs=True)
    writer.append([record(1)])
    real = os.write

    def half(file: int, data: bytes) -> int:
        monkeypatch.setattr(os, "write", full)
        return real(file, bytes(data)[: len(data) // 2])

    def full(file: int, data: bytes) -> int:
        raise OSError(28, "No space left on device")

    for fault in (half, full):
        monkeypatch.setattr(os, "write", fault)
        with pytest.raises(LogFull, match="No space left"):
            writer.append([record(2), record(3)], [b"one", b"two"])
        monkeypatch.setattr(os, "write", real)
        assert ids(tmp_path) == names(1)
        assert list((tmp_path / "inputs").iterdir()) == []
    writer.append([record(4)])
    assert ids(tmp_path) == names(1, 4)
    assert read_log(tmp_path).corrupt_lines == 0


def test_a_record_waits_for_the_disk_only_if_asked_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[int] = []
    real = os.fsync
    monkeypatch.setattr(os, "fsync", lambda file: (synced.append(file), real(file)))
    monkeypatch.setattr("regraft.monitoring.prediction_log._SECONDS_BETWEEN_SYNCS", 3600.0)
    for wanted in (False, True):
        writer = log(tmp_path / str(wanted), fsync=wanted)
        synced.clear()
        writer.append([record(1)])
        assert bool(synced) is wanted


def test_a_removed_folder_comes_back(tmp_path: Path) -> None:
    """Somebody clears the log while the server runs."""
    folder = tmp_path / "log"
    writer = log(folder)
    writer.append([record(1)])
    folder.rename(tmp_path / "away")
    writer.append([record(2)])
    assert ids(folder) == names(2)
    assert ids(tmp_path / "away") == names(1)


def test_whoever_keeps_the_lock_too_long_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer = log(tmp_path)
    writer.append([record(1)])
    monkeypatch.setattr(places.acquire, "__kwdefaults__", {"seconds": 0.05})
    with (tmp_path / "counters").open("rb") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        with pytest.raises(LogFull, match="another process"):
            writer.append([record(2)])
    writer.append([record(3)])
    assert ids(tmp_path) == names(1, 3)


def test_after_the_end_nothing_is_appended(tmp_path: Path) -> None:
    writer = log(tmp_path)
    writer.close()
    writer.close()
    with pytest.raises(ValueError, match="closed"):
        writer.append([record(1)])
    with pytest.raises(ValueError, match="1,000,000"):
        PredictionLog(tmp_path, max_bytes=10)


def test_a_folder_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(LogFull):
        log(tmp_path / "file" / "log")


def test_a_lone_record_is_sealed_after_a_while(tmp_path: Path) -> None:
    writer = log(tmp_path, segment_seconds=0.2)
    writer.append([record(1)])
    _wait(lambda: bool(list(tmp_path.glob("segment-*"))))
    assert ids(tmp_path) == names(1)


def _wait(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_threads_write_and_readers_read_while_it_is_sealed(tmp_path: Path) -> None:
    """At every moment a reader sees each acknowledged record exactly once, in order."""
    acknowledged: list[str] = []
    writer = log(tmp_path, segment_rows=7)

    def write(thread: int) -> None:
        for number in range(60):
            one = record(1000 * thread + number)
            writer.append([one])
            acknowledged.append(one.id)

    threads = [threading.Thread(target=write, args=(thread,)) for thread in range(3)]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        before = acknowledged.copy()
        found = read_log(tmp_path)
        assert found.rows["id"].is_unique
        assert set(before) <= set(found.rows["id"])
        assert found.rows["sequence"].is_monotonic_increasing
        assert found.corrupt_lines == 0
    writer.close()
    assert len(acknowledged) == 180
    found = read_log(tmp_path)
    assert len(found.rows) == 180
    assert found.rows["sequence"].tolist() == list(range(1, 181))
    for thread in range(3):
        own = [one for one in found.rows["id"] if int(one, 16) // 1000 == thread]
        assert own == sorted(own), "a thread's records are in its order"


def test_little_traffic_leaves_few_segments(tmp_path: Path) -> None:
    for number in range(12):
        with log(tmp_path, segment_rows=5) as writer:  # each sealed at its end
            writer.append([record(number, version=str(number // 6))])
    found = sorted(tmp_path.glob("segment-*"))
    assert [len(pd.read_parquet(path)) for path in found] == [5, 5, 2]
    assert ids(tmp_path) == names(*range(12))
    assert read_log(tmp_path).rows["sequence"].tolist() == list(range(1, 13))
    assert read_log(tmp_path, version="0").embeddings[:, 0].tolist() == list(range(6))


def test_a_damaged_segment_is_not_joined_to_what_is_whole(tmp_path: Path) -> None:
    with log(tmp_path) as writer:
        writer.append([record(0)])
    (first,) = tmp_path.glob("segment-*")
    first.write_bytes(_flipped(first.read_bytes(), 30))
    with log(tmp_path) as writer:
        writer.append([record(1)])
    found = read_log(tmp_path)
    assert found.rows["id"].tolist() == names(1)
    assert found.corrupt_segments == 1


def test_numbers_of_any_kind_are_kept_and_nonsense_is_refused_whole(tmp_path: Path) -> None:
    odd = record(1, confidence=np.float32(0.5), version=3, statistics={"width": np.int64(3)})
    with log(tmp_path) as writer:
        writer.append([odd])
        for nonsense in ({"statistics": {"width": "wide"}}, {"embedding": "none"}):
            with pytest.raises(ValueError, match="convert"):
                writer.append([record(2), record(3, **nonsense)])
    found = read_log(tmp_path, version="3").rows
    assert found["id"].tolist() == names(1)
    assert found["stat_width"].tolist() == [3.0]


def test_a_copy_without_counters_can_be_read_though_damaged(tmp_path: Path) -> None:
    log(tmp_path).append([record(1), record(2)])
    whole = (tmp_path / "tail.log").read_bytes()
    (tmp_path / "copy").mkdir()
    (tmp_path / "copy" / "tail.log").write_bytes(_flipped(whole, 20))
    found = read_log(tmp_path / "copy")
    assert found.rows["id"].tolist() == names(2)
    assert found.corrupt_lines == 1


def test_segments_are_plain_parquet(tmp_path: Path) -> None:
    with log(tmp_path) as writer:
        writer.append([record(1), record(2)])
    table = pd.concat(map(pd.read_parquet, sorted(tmp_path.glob("segment-*.parquet"))))
    assert table["id"].tolist() == names(1, 2)
    assert list(table["embedding"].iloc[0]) == [1] * 8
