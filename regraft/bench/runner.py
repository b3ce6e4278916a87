"""Measure the cells of a table, seed after seed; keep what is finished, continue what is not."""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import os
import re
import shutil
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from regraft.bench.cell import Cell, digest
from regraft.bench.rows import markdown, row_of
from regraft.bench.worker import Job, measured
from regraft.data.files import atomic_write, claimed_folder
from regraft.data.versions import content_version
from regraft.progress import note
from regraft.steps.hardware import PROCESS_ENVIRONMENT


@dataclass(frozen=True)
class Measurement:
    """One cell's method with one seed, and the file that keeps what it found."""

    cell: Cell
    seed: int
    file: Path

    @property
    def split(self) -> str:
        """Names the split that it is measured on."""
        return digest(self.seed, self.cell.data)


def run(
    cells: Sequence[Cell],
    *,
    out: Path,
    seeds: int,
    dear_seeds: int,
    version: str,
) -> list[dict[str, Any]]:
    """Measure every cell with `seeds` seeds, dear ones with at most `dear_seeds`.

    Returns one row per cell (see `rows.row_of`) and writes them to `out`/table.md. Every finished
    measurement is a file in `out`/cells, and is taken from there while `version`, which names data,
    weights and code, is the same. A measurement that fails costs its row a seed and gives it an
    "error"; the others go on.

    Raises UserError when another bench is writing to `out`.
    """
    with _claimed(out):
        by_cell = {
            cell.name: [
                Measurement(cell, seed, _file(out, cell, seed, version))
                for seed in range(min(seeds, dear_seeds) if cell.dear else seeds)
            ]
            for cell in cells
        }
        errors = _measure([one for own in by_cell.values() for one in own], out)
        rows = [
            row_of(
                cell,
                [json.loads(m.file.read_text()) for m in by_cell[cell.name] if m.file.is_file()],
                next((errors[m.file] for m in by_cell[cell.name] if m.file in errors), ""),
            )
            for cell in cells
        ]
        (out / "table.md").write_text(markdown(rows) + "\n", encoding="utf-8")
    return rows


def version_of(data: Path, weights: Sequence[Path], code_version: str) -> str:
    """Changes when data, weights or code do."""
    contents = [hashlib.sha256(path.read_bytes()).hexdigest() for path in weights]
    return digest(content_version(data), contents, code_version)


def _measure(wanted: list[Measurement], out: Path) -> dict[Path, str]:
    """Do what is not done yet; {file: message} of what failed. All cells with the first seed come
    first, and those of one split together."""
    open_ones = {one.file: one for one in wanted if not one.file.is_file()}
    note(f"{len({one.file for one in wanted})} measurements, {len(open_ones)} still to do")
    queue = sorted(open_ones.values(), key=lambda one: (one.seed, one.split))
    errors: dict[Path, str] = {}
    started = time.monotonic()
    for done, one in enumerate(queue, start=1):
        shared = out / "work" / one.split
        try:
            found = _in_own_process(one, shared, out)
        except Exception as error:  # noqa: BLE001 (whatever it is, it becomes the cell's row)
            errors[one.file] = f"{type(error).__name__}: {error}"
            found = None
        if found is not None:
            text = json.dumps({"cell": one.cell.name, "seed": one.seed, **found}, indent=2)
            atomic_write(one.file, partial(Path.write_text, data=text, encoding="utf-8"))
        left = (time.monotonic() - started) / done * (len(queue) - done)
        _say(one, found, errors.get(one.file, ""), f"{done}/{len(queue)}", left)
        if done == len(queue) or queue[done].split != one.split:
            shutil.rmtree(shared, ignore_errors=True)
    return errors


def _in_own_process(one: Measurement, shared: Path, out: Path) -> dict[str, Any]:
    own = out / "work" / "own"
    shutil.rmtree(own, ignore_errors=True)
    own.mkdir(parents=True)
    cell = one.cell
    job = Job(
        cell.method, cell.options, cell.overrides, one.seed,
        shared.absolute(), own.absolute(), (out / "log.txt").absolute(),
    )  # fmt: skip
    with ProcessPoolExecutor(1, mp_context=_processes()) as pool:
        found = pool.submit(measured, job).result()
    shutil.rmtree(own, ignore_errors=True)
    return found


def _processes() -> Any:
    """Children of one process that has imported the libraries and does nothing else."""
    for name, value in PROCESS_ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["regraft.bench.worker"])
    return context


def _say(one: Measurement, found: Any, error: str, place: str, left: float) -> None:
    if found is None:
        what = f"FAILED, {error}"
    else:
        row = row_of(one.cell, [found])
        what = f"{row['metric']} {row['mean']:.3f}, {row['cpu_seconds']:.0f} CPU s"
    note(f"[{place}] {one.cell.name}, seed {one.seed}: {what}; about {left / 60:.0f} min left")


def _file(out: Path, cell: Cell, seed: int, version: str) -> Path:
    """Readable, and different for everything that is measured otherwise."""
    plain = re.sub(r"[^a-z0-9]+", "-", cell.method.lower().rsplit(".", 1)[-1])
    return out / "cells" / f"{plain}-{cell.key(version)}-seed{seed}.json"


@contextmanager
def _claimed(out: Path) -> Iterator[None]:
    """One bench at a time writes to a folder; what a killed one was working on is removed."""
    remove = partial(shutil.rmtree, out / "work", ignore_errors=True)
    with claimed_folder(out, "bench", remove):
        yield
        remove()
