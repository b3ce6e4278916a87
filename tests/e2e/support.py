"""Runs of the command line as a user starts them: in processes of their own, on a tiny problem."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml
from PIL import Image

from regraft.data.examples.leaves import draw_leaf

ROOT = Path(__file__).parents[2]
CLASSES = ("healthy", "powdery_mildew")
IMAGES_PER_CLASS = 28

RECIPE: dict[str, Any] = {
    "name": "tiny",
    "task": "image_classification",
    "serve": "teacher",
    "data": {"root": "set per test"},
    "backbone": {"name": "starter"},
    "features": {"views": 1, "augmented_views": 0},
    "finetune": {
        "plan": {"kind": "gradual_unfreezing", "depths": [1], "epochs": [20]},
        "min_labels_per_class": 0,
        "batch_size": 8,
        "threads": 1,
        "augmentation": {"cached_views": 2},
    },
    "distillation": {"epochs": 8, "batch_size": 8},
    "evaluation": {"latency_images": 4},
}
"""Small enough for seconds, with enough epochs that a kill between two of them can be timed."""


def write_photos(root: Path, per_class: int = IMAGES_PER_CLASS) -> Path:
    for label in CLASSES:
        folder = root / label
        folder.mkdir(parents=True)
        for index in range(per_class):
            picture = draw_leaf("lab", label, index)
            Image.fromarray(picture).save(folder / f"{index:03d}.jpg", quality=90)
    return root


def write_recipe(path: Path, photos: Path, **sections: Any) -> Path:
    values = RECIPE | {"data": {"root": str(photos)}} | sections
    path.write_text(yaml.safe_dump(values), encoding="utf-8")
    return path


class Project:
    """A folder with photos, a recipe, a home and the output folders of runs; `environment` says
    where the registry is, if not in the home."""

    def __init__(
        self,
        folder: Path,
        *,
        home: Path | None = None,
        per_class: int = 0,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.folder = folder
        self.home = home or folder / "home"
        self.environment = environment or {}
        self.photos = write_photos(folder / "photos", per_class or IMAGES_PER_CLASS)
        self.recipe = write_recipe(folder / "tiny.yaml", self.photos)

    def start(self, *arguments: str) -> Command:
        return Command(self, list(arguments))

    def call(self, *arguments: str) -> Result:
        return self.start(*arguments).wait()

    def start_run(self, *overrides: str, out: str = "run") -> Command:
        return self.start("run", str(self.recipe), *overrides, "--out", str(self.folder / out))

    def run(self, *overrides: str, out: str = "run") -> dict[str, Any]:
        """A run that must succeed; returns its summary."""
        result = self.start_run(*overrides, out=out).wait()
        assert result.code == 0, result.text
        return self.summary(out)

    def summary(self, out: str = "run") -> dict[str, Any]:
        return read(self.folder / out / "summary.json")

    def records(self, out: str = "run") -> dict[str, str]:
        """What became of each step that the last run into `out` started and ended itself."""
        found = [read(path) for path in (self.folder / out / "records").glob("*.json")]
        return {record["name"]: record["status"] for record in found}

    def history(self) -> list[dict[str, Any]]:
        result = self.call("history", "tiny", "--json")
        assert result.code == 0, result.text
        return json.loads(result.output)

    def forget(self, step: str) -> None:
        """Take a step out of the cache, so that the next run does it again."""
        entries = list((self.home / "step_cache").glob("*.json"))
        found = [path for path in entries if f"/{step.replace('_', '-')}/" in path.read_text()]
        assert found, f"{step} was not cached"
        for path in found:
            path.unlink()

    def checkpoint_of(self, work: str) -> Callable[[], bool]:
        """Has this kind of work (`finetune` or `distill`) left a checkpoint?"""
        return lambda: any((self.home / "work").glob(f"{work}-*/checkpoint.pt"))


class Result:
    """How a command ended."""

    def __init__(self, code: int, output: str, text: str) -> None:
        self.code, self.output, self.text = code, output, text

    def __repr__(self) -> str:
        return f"exit {self.code}\n{self.text}"


def _interruptible() -> None:
    """Tests that a shell runs in its background ignore Ctrl-C, and so would all they start."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


class Command:
    """A started `regraft`, leader of a session that holds every process it starts."""

    def __init__(self, project: Project, arguments: list[str]) -> None:
        environment = {
            **os.environ,
            "REGRAFT_HOME": str(project.home),
            "PYTHONPATH": str(ROOT),
            "OMP_NUM_THREADS": "1",
        }
        for name in ("MLFLOW_TRACKING_URI", "MLFLOW_RUN_ID", "REGRAFT_STEP_RECORDS"):
            environment.pop(name, None)
        environment |= project.environment
        self.process = subprocess.Popen(
            [sys.executable, "-m", "regraft.cli.main", *arguments],
            cwd=project.folder,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
            preexec_fn=_interruptible,
        )

    def wait(self, seconds: float = 300) -> Result:
        try:
            output, errors = self.process.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, signal.SIGKILL)
            raise
        return Result(self.process.returncode, output, errors + output)

    def when(self, condition: Callable[[], bool], seconds: float = 120) -> None:
        """Return as soon as the condition holds while the command runs."""
        deadline = time.monotonic() + seconds
        while not condition():
            assert self.process.poll() is None, f"it ended too early: {self.wait()}"
            assert time.monotonic() < deadline, "it never happened"
            time.sleep(0.002)

    def step_processes(self) -> list[int]:
        """Everything alive in the session except the command itself."""
        members = [pid for pid, session, state in _processes()
                   if session == self.process.pid and state not in "ZX"]  # fmt: skip
        return [pid for pid in members if pid != self.process.pid]

    def kill_step(self) -> None:
        """kill -9 of the step that is running, its shell included."""
        found = self.step_processes()
        assert found, "no step is running"
        for pid in found:
            os.kill(pid, signal.SIGKILL)

    def interrupt(self) -> None:
        """Ctrl-C in a terminal: every process of the group gets it."""
        os.killpg(self.process.pid, signal.SIGINT)

    def kill(self) -> None:
        self.process.kill()

    def nothing_left(self, seconds: float = 15) -> bool:
        """Have all processes of the run ended within this time?"""
        deadline = time.monotonic() + seconds
        while self.step_processes():
            if time.monotonic() > deadline:
                return False
            time.sleep(0.05)
        return True


def _processes() -> Iterator[tuple[int, int, str]]:
    """(pid, session, state) of every process."""
    for folder in Path("/proc").iterdir():
        if not folder.name.isdigit():
            continue
        try:
            fields = (folder / "stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue  # it ended meanwhile
        yield int(folder.name), int(fields[3]), fields[0]


def read(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def scores(summary: dict[str, Any]) -> dict[str, Any]:
    """Everything measured except times."""
    return {
        who: {split: figures for split, figures in found.items() if split in {"test"}}
        for who, found in summary["metrics"].items()
        if who != "baselines"
    }


@contextmanager
def small_disk(folder: Path, size: str) -> Iterator[None]:
    """A file system of its own, of this size, in `folder`; `OSError` where that is not allowed."""
    folder.mkdir()
    _mount("-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder))
    try:
        yield
    finally:
        _mount_command("umount", "--lazy", str(folder))


def grow(folder: Path, size: str) -> None:
    _mount("-o", f"remount,size={size}", str(folder))


def _mount(*arguments: str) -> None:
    _mount_command("mount", *arguments)


def _mount_command(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise OSError(done.stderr.strip())
