"""One check after the other, each in a process of its own, until somebody says stop."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
from types import FrameType

from regraft.progress import note

_SECONDS_TO_END = 20.0


def watch_forever(arguments: list[str], pause_seconds: int) -> int:
    """Run `regraft monitor *arguments`, wait, and again; returns the number of checks.

    A check that fails is noted and changes nothing. SIGTERM and Ctrl-C end the running check (the
    system then ends its steps, see `regraft.steps.recording`) and the loop.
    """
    stop = threading.Event()
    running: list[subprocess.Popen[bytes]] = []

    def end(number: int, frame: FrameType | None) -> None:
        stop.set()
        for process in running:
            process.terminate()

    before = {number: signal.signal(number, end) for number in (signal.SIGTERM, signal.SIGINT)}
    checks = 0
    try:
        while not stop.is_set():
            checks += 1
            note(f"check {checks}")
            code = _checked(arguments, running, stop)
            if code and not stop.is_set():
                note(f"check {checks} failed with exit code {code}; the next one is made all the "
                     "same")  # fmt: skip
            stop.wait(pause_seconds)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    note(f"ended after {checks} checks")
    return checks


def _checked(
    arguments: list[str], running: list[subprocess.Popen[bytes]], stop: threading.Event
) -> int:
    command = [sys.executable, "-m", "regraft.cli.main", "monitor", *arguments]
    process = subprocess.Popen(command, start_new_session=True)  # Ctrl-C reaches it through us
    running.append(process)
    if stop.is_set():  # the signal came between the start and the list
        process.terminate()
    while True:
        try:
            code = process.wait(_SECONDS_TO_END if stop.is_set() else 1.0)
            break
        except subprocess.TimeoutExpired:
            if stop.is_set():
                process.kill()
    running.remove(process)
    return code
