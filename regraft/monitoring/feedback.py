"""Labels that come later: what an answer should have been."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from regraft.errors import UserError
from regraft.monitoring.labels_file import Key, append, labels
from regraft.monitoring.line_files import read_lines
from regraft.monitoring.log_folder import TAIL, LogLock, rotated_tails, segments
from regraft.monitoring.samples import PROBABILITY
from regraft.monitoring.segments import DamagedSegmentError, read_columns, read_segment

KINDS = ("id", "input_hash")


@dataclass(frozen=True)
class Feedback:
    """What became of labels: `added` are new or changed, `unchanged` were known already, `unknown`
    name no answer in the log and were not kept. `new_classes`: labels that the models which
    answered do not know; they are kept, and the next training learns them."""

    added: int
    unchanged: int
    unknown: list[str]
    new_classes: list[str]


def add_labels(folder: str | Path, table: pd.DataFrame | Iterable[Mapping[str, Any]]) -> Feedback:
    """Keep the true label of answers in the log at `folder`.

    Each row has `label` and either `id` (of one answer) or `input_hash` (of every answer to the
    same bytes, later ones too). Of several labels of one answer the last counts; the same labels
    again change nothing, not even their order of arrival. All new ones are kept, or none.

    Raises UserError where a row has no label or no key, or there is no log; `OSError` (LogFull)
    where the labels cannot be written.
    """
    place = Path(folder).resolve()
    wanted = _checked(table)
    if not place.is_dir():
        raise UserError(
            "there is no prediction log here",
            where=str(place),
            expected="the folder of answers that `regraft serve` has given",
        )
    answered = dict(_classes_of(place, set(wanted)))
    known = {key: label for key, label in wanted.items() if key in answered}
    lock = LogLock(place)
    try:
        with lock.held() as held:
            now = labels(place)
            new = [(k, label) for k, label in known.items() if now.get(k, ("", 0))[0] != label]
            if new:
                append(place, held, new)
    finally:
        lock.close()
    unknown = [key[1] for key in wanted if key not in answered]
    foreign = {label for key, label in known.items() if label not in answered[key]}
    return Feedback(len(new), len(known) - len(new), unknown, sorted(foreign))


def read_labels(path: Path) -> tuple[pd.DataFrame, int]:
    """A CSV or JSONL file of labels, every value as text, and how many rows without a label were
    left out: of a list of what to label, a person may have done a part. Raises UserError."""
    try:
        table = _table(path)
    except (OSError, ValueError) as error:
        raise UserError(
            "the labels cannot be read", where=str(path), got=str(error).splitlines()[0]
        ) from error
    if "label" not in table or not set(KINDS) & set(table):
        raise UserError(
            "the table lacks columns",
            where=str(path),
            got=", ".join(map(str, table.columns)),
            expected="label, and id or input_hash",
        )
    done = table["label"].map(_text) != ""
    return table[done].reset_index(drop=True), int((~done).sum())


def _table(path: Path) -> pd.DataFrame:
    suffix = path.suffix.lower()
    if suffix == ".csv":
        return pd.read_csv(path, dtype=str, keep_default_na=False)
    if suffix in {".jsonl", ".ndjson"}:
        return pd.read_json(path, lines=True, dtype=False, convert_dates=False)
    raise UserError("not a table of labels", where=str(path), expected=".csv or .jsonl")


def _checked(table: pd.DataFrame | Iterable[Mapping[str, Any]]) -> dict[Key, str]:
    """The last label of each key, in order of first appearance."""
    given: Iterable[Any] = table.to_dict("records") if isinstance(table, pd.DataFrame) else table
    found: dict[Key, str] = {}
    for number, row in enumerate(given, start=1):
        keys = [(kind, _text(row.get(kind))) for kind in KINDS if _text(row.get(kind))]
        label = _text(row.get("label"))
        if len(keys) != 1 or not label:
            raise UserError(
                "a label must say what it is the label of",
                where=f"row {number}",
                got=", ".join(f"{name}={value!r}" for name, value in row.items())[:200]
                or "nothing",
                expected="label, and either id or input_hash",
            )
        found[keys[0]] = label
    return found


def _text(value: Any) -> str:
    return "" if value is None or value != value else str(value).strip()


def _classes_of(folder: Path, wanted: set[Key]) -> Iterator[tuple[Key, set[str]]]:
    """For each key that the log has, the classes of the model that answered; the newest first,
    since labels come soon after answers."""
    left = set(wanted)
    for path in [folder / TAIL, *reversed(rotated_tails(folder))]:
        try:
            lines = read_lines(path, folder)
        except FileNotFoundError:
            continue
        for _, fields in lines.values:
            for key in _keys(fields, left):
                yield key, set(fields["probabilities"])
    for path in reversed(segments(folder)):
        if not left:
            return
        keys = read_columns(path, KINDS)
        if any(keys[kind].isin([value for k, value in left if k == kind]).any() for kind in KINDS):
            yield from _in_segment(path, left)


def _in_segment(path: Path, left: set[Key]) -> Iterator[tuple[Key, set[str]]]:
    try:
        rows, _ = read_segment(path)
    except (DamagedSegmentError, FileNotFoundError):
        return
    columns = [str(name) for name in rows if str(name).startswith(PROBABILITY)]
    for _, row in rows.iterrows():
        for key in _keys(row, left):
            classes = [name for name in columns if row[name] == row[name]]
            yield key, {name.removeprefix(PROBABILITY) for name in classes}


def _keys(fields: Any, left: set[Key]) -> list[Key]:
    """The keys of an answer that are still looked for; they no longer are."""
    found = [(kind, fields[kind]) for kind in KINDS if (kind, fields[kind]) in left]
    left.difference_update(found)
    return found
