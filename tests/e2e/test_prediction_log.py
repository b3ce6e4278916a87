"""Writers of the prediction log in processes of their own: killed, together, on a full disk."""

from __future__ import annotations

import signal
import time
from pathlib import Path
from subprocess import Popen

import numpy as np
import pytest

from regraft.monitoring.log_reading import read_log
from regraft.monitoring.prediction_log import LogFull
from tests.e2e.support import grow, small_disk
from tests.monitoring.log_support import log, record, writer

pytestmark = pytest.mark.e2e
_KILLS = 8


def test_nothing_acknowledged_is_lost_however_often_writers_are_killed(tmp_path: Path) -> None:
    """Two at a time, killed at different moments of writing and sealing; nobody repairs."""
    acknowledged: list[str] = []
    rng = np.random.default_rng(0)
    for attempt in range(_KILLS // 2):
        pair = [writer(tmp_path, 10_000 * (2 * attempt + one)) for one in (0, 1)]
        for process in pair:
            _first_line(process, acknowledged)
        time.sleep(float(rng.uniform(0, 0.3)))  # when exactly is of no matter
        for process in pair:
            process.send_signal(signal.SIGKILL)
        for process in pair:
            rest = process.communicate()[0]
            acknowledged += rest[: rest.rfind("\n") + 1].split()
        found = read_log(tmp_path)
        assert found.rows["id"].is_unique
        assert set(acknowledged) <= set(found.rows["id"])
        assert found.rows["sequence"].is_monotonic_increasing
        assert found.rows["sequence"].is_unique
        assert (found.corrupt_segments, found.corrupt_lines) == (0, 0)
    assert len(acknowledged) > 20 * _KILLS
    with log(tmp_path, max_bytes=500_000_000):
        pass  # whoever comes next seals what the dead left
    found = read_log(tmp_path)
    assert set(acknowledged) <= set(found.rows["id"])
    assert not list(tmp_path.glob("tail*"))
    own = [int(one, 16) for one in found.rows["id"]]
    for start in range(0, 10_000 * _KILLS, 10_000):
        of_one = [number for number in own if start <= number < start + 10_000]
        assert of_one == list(range(start, start + len(of_one))), "a writer's order"


def _first_line(process: Popen[str], acknowledged: list[str]) -> None:
    assert process.stdout is not None
    acknowledged.append(process.stdout.readline().strip())
    assert acknowledged[-1], "the writer ended before it wrote"


def test_two_processes_write_one_order(tmp_path: Path) -> None:
    pair = [writer(tmp_path, start, "300") for start in (0, 1000)]
    for process in pair:
        assert len(process.communicate()[0].split()) == 300
        assert process.returncode == 0
    found = read_log(tmp_path)
    assert found.rows["sequence"].tolist() == list(range(1, 601))
    assert not list(tmp_path.glob("tail*"))


def test_on_a_full_disk_nothing_is_half_acknowledged_and_it_goes_on_after(tmp_path: Path) -> None:
    disk = tmp_path / "small disk"
    try:
        with small_disk(disk, "1m"):
            _fill_up_and_go_on(disk)
    except LogFull:
        raise
    except OSError as error:
        pytest.skip(f"no file system may be mounted here: {error}")


def _fill_up_and_go_on(disk: Path) -> None:
    wide = np.random.default_rng(0)
    acknowledged = []
    own = log(disk / "log", max_bytes=100_000_000, segment_rows=50)
    number, refused = 0, 0
    while refused < 20:
        batch = [record(number + k, embedding=wide.normal(size=1280)) for k in range(3)]
        number += 3
        try:
            own.append(batch)
        except LogFull as error:
            assert "No space left" in str(error)
            refused += 1
        else:
            acknowledged += [one.id for one in batch]
    found = read_log(disk / "log")
    assert len(acknowledged) > 100
    assert found.rows["id"].tolist() == acknowledged
    assert found.corrupt_lines == 0
    grow(disk, "20m")
    own.append([record(9999)])
    own.close()
    assert read_log(disk / "log").rows["id"].tolist() == [*acknowledged, record(9999).id]
    assert not list((disk / "log").glob("tail*"))
