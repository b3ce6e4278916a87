"""What a step leaves behind about itself: how long it took, what it cost, why it failed."""

from __future__ import annotations

import gc
import json
import os
import select
import stat
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from regraft.data.files import atomic_write
from regraft.errors import UserError

_model_seconds = 0.0


@contextmanager
def recorded(name: str) -> Iterator[None]:
    """Write `<REGRAFT_STEP_RECORDS>/<name>.json` when the step ends, well or badly.

    Without that variable (on a cluster, where the platform keeps records) nothing is written. CPU
    seconds are those of the whole process so far, imports included, and of its children.
    """
    folder = os.environ.get("REGRAFT_STEP_RECORDS")
    if folder:
        _end_with_the_run()
    started = time.time() - _process_age_seconds()
    record: dict[str, object] = {"name": name, "status": "done"}
    try:
        yield
    except BaseException as error:
        user = isinstance(error, UserError)
        record |= {
            "status": "failed",
            "error": str(error) or type(error).__name__,
            "error_type": type(error).__name__,
            "user_error": user,
        }
        raise
    finally:
        times = os.times()
        cpu = times.user + times.system + times.children_user + times.children_system
        record |= {
            "seconds": round(time.time() - started, 2),
            "cpu_seconds": round(cpu, 2),
            "model_seconds": round(_model_seconds, 2),
        }
        if folder:
            if os.environ.get("_KFP_RUNTIME"):
                # the process is the step's own and ends now; collecting torch's garbage takes 1 s
                gc.disable()
                gc.freeze()
            text = json.dumps(record)
            path = Path(folder, f"{name}.json")
            atomic_write(path, partial(Path.write_text, data=text, encoding="utf-8"))


@contextmanager
def modelling() -> Iterator[None]:
    """Count the wall time inside as training or inference (`model_seconds` of the record)."""
    global _model_seconds
    started = time.monotonic()
    try:
        yield
    finally:
        _model_seconds += time.monotonic() - started


def _end_with_the_run() -> None:
    """End this process when nobody reads its output any more: the run was killed.

    The run is not our parent (a shell is between), but it holds the reading end of our output, and
    the system closes that however the run ends. What was half written is safe as after kill -9.
    """
    output = sys.__stdout__
    try:
        if output is None or not stat.S_ISFIFO(os.fstat(output.fileno()).st_mode):
            return
    except (OSError, ValueError):
        return
    reader_gone = select.poll()
    reader_gone.register(output.fileno(), 0)  # errors are always reported

    def watch() -> None:
        reader_gone.poll()
        os._exit(1)

    threading.Thread(target=watch, name="end-with-the-run", daemon=True).start()


def _process_age_seconds() -> float:
    """Seconds since this process began, so that imports count as part of the step."""
    try:
        ticks = int(Path("/proc/self/stat").read_text().rpartition(")")[2].split()[19])
        uptime = float(Path("/proc/uptime").read_text().split()[0])
    except (OSError, ValueError, IndexError):
        return 0.0
    return max(uptime - ticks / os.sysconf("SC_CLK_TCK"), 0.0)
