"""Windows of answers: cut from the prediction log, or made of files that the champion answers."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pandas as pd

from regraft.data.files import is_ignored
from regraft.data.kinds import kind_of
from regraft.data.manifest import files_of
from regraft.data.readers import class_name
from regraft.data.tables import TABLE_SUFFIXES
from regraft.errors import UserError
from regraft.monitoring.samples import PROBABILITY, STATISTIC, Array, Sample
from regraft.monitoring.state import State
from regraft.progress import note
from regraft.registry.store import home

Window = Sample
"""A window is a sample of live answers, in the order in which they were given."""


class Answering(Protocol):
    """What a window of files needs of a predictor (`regraft.tasks.Predictor`)."""

    task: str
    classes: list[str]

    def answer(self, inputs: list[Any]) -> tuple[list[dict[str, Any]], Array]: ...
    def describe(self, value: Any) -> dict[str, float]: ...
    def measured(self, embeddings: Array) -> list[dict[str, float]]: ...


def cut(log: Sample, size: int) -> list[Window]:
    """Consecutive windows of exactly `size` answers by sequence number; the rest waits.

    The number decides, not the time: a clock that goes backwards must not reorder answers.
    """
    if not len(log):
        return []
    order = np.argsort(log.rows["sequence"].to_numpy(np.int64), kind="stable")
    windows = []
    for start in range(0, len(order) - size + 1, size):
        part = log.take(order[start : start + size])
        first, last = part.rows["sequence"].iloc[0], part.rows["sequence"].iloc[-1]
        windows.append(Sample(part.rows, part.embeddings, f"answers {first} to {last}"))
    return windows


def from_log(
    folder: Path, *, version: str, since: str | None = None, after: int | None = None
) -> Sample:
    """The answers of a model version in the prediction log in `folder`, to be `cut` into windows;
    with `since`, an ISO time, those from then on; with `after`, those with a later sequence number.
    """
    from regraft.monitoring.log_reading import read_log

    found = read_log(folder, since=since, version=version, after=after)
    return Sample(found.rows.reset_index(drop=True), np.asarray(found.embeddings))


def unseen(log: Sample, state: State) -> Sample:
    """The answers that no check has looked at yet."""
    if not len(log):
        return log
    rows = log.rows
    new = (rows["sequence"] > state.seen_up_to) & ~rows["id"].isin(state.seen_ids)
    return log.take(new.to_numpy(bool))


def late_labels(log: Sample, state: State) -> Sample:
    """Answers of the windows looked at last whose truth has come since."""
    rows = log.rows
    seen, judged = rows["id"].isin(state.seen_ids), rows["id"].isin(state.judged_labels)
    found = log.take((seen & rows["truth"].notna() & ~judged).to_numpy(bool))
    name = f"labels of {len(found)} earlier answers"
    return Sample(found.rows, found.embeddings, name, late_labels=True)


def from_files(path: str | Path, predictor: Answering, *, version: str) -> Window:
    """One window of everything at `path`, answered by the champion.

    A folder of class folders (their names are the truth where the champion knows any of them), a
    flat folder, or a CSV/JSONL table with the columns path and label, or question and intent (empty
    where unknown). Files that cannot be read are left out and named. Raises UserError if nothing is
    left.
    """
    files = _listed(Path(path), predictor.task, set(predictor.classes))
    described = [_described(predictor, Path(path)) for path in files["path"]]
    readable = [k for k, facts in enumerate(described) if facts is not None]
    if not readable:
        raise UserError(
            "nothing at this path can be read",
            where=str(path),
            got=f"{len(files)} files",
            expected="inputs that the model takes",
        )
    files = files.iloc[readable].reset_index(drop=True)
    answers, embeddings = predictor.answer(files_of(files))
    measured = predictor.measured(embeddings)
    facts = [(described[k] or {}) | more for k, more in zip(readable, measured, strict=True)]
    rows = pd.DataFrame(
        {
            "id": files["id"],
            "time": "",
            "sequence": np.arange(len(files)),
            "version": version,
            "label": [answer["label"] for answer in answers],
            "confidence": [float(answer["confidence"]) for answer in answers],
            "input_path": files["path"],
            "input_hash": [_digest(Path(p)) for p in files["path"]],
            "truth": files["truth"],
            **_columns(PROBABILITY, (answer["probabilities"] for answer in answers)),
            **_columns(STATISTIC, facts),
        }
    )
    return Sample(rows, np.asarray(embeddings, np.float32), str(path))


def _columns(prefix: str, values: Iterable[dict[str, float]]) -> dict[str, pd.Series]:
    table = pd.DataFrame(list(values))
    return {f"{prefix}{name}": table[name] for name in table.columns}


def _described(predictor: Answering, path: Path) -> dict[str, float] | None:
    try:
        return predictor.describe(str(path))
    except UserError as error:
        note(f"left out: {path.name}: {error.what}")
        return None


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _listed(path: Path, task: str, classes: set[str]) -> pd.DataFrame:
    """Columns id, path, truth."""
    if path.is_file() and path.suffix.lower() in TABLE_SUFFIXES:
        kind = kind_of(task)
        table = kind.list_table(path.resolve(), store=(home() / kind.store).resolve())
        table = table[table["reason"] == ""]
        return table.rename(columns={"label": "truth"})[["id", "path", "truth"]]
    if not path.is_dir():
        raise UserError(
            "there is no such window",
            where="--window",
            got=str(path),
            expected=f"a folder of inputs, or a table ({', '.join(sorted(TABLE_SUFFIXES))})",
        )
    names = [p.relative_to(path) for p in sorted(path.rglob("*")) if p.is_file()]
    names = [name for name in names if not any(map(is_ignored, name.parts))]
    folders = [class_name(name.parts[0]) if len(name.parts) > 1 else None for name in names]
    # Folders none of which is a class are places or days, not a truth that is always missed.
    truth = folders if classes & set(folders) else [None] * len(names)
    return pd.DataFrame(
        {
            "id": [name.as_posix() for name in names],
            "path": [str(path / name) for name in names],
            "truth": pd.Series(truth, dtype=object),
        }
    )
