"""A user's own table of examples (CSV or JSON lines) as a listing."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from regraft.data.auxiliary import as_label, refuse_constant, with_tasks
from regraft.data.files import link_problem
from regraft.data.manifest import CORE_COLUMNS, SPLITS, STATISTICS
from regraft.data.pins import PINNED
from regraft.errors import UserError

TABLE_SUFFIXES = {".csv", ".jsonl"}
_KNOWN = {"path", "label", "domain", "group", "split"}
_RESERVED = (set(CORE_COLUMNS) | set(STATISTICS) | {"reason", "detail", PINNED}) - _KNOWN


def read_table(
    path: Path, *, domains: list[str], auxiliary_labels: Sequence[str] = ()
) -> pd.DataFrame:
    """List the rows of a table; those of other domains than `domains` ([] takes all) are left out.

    Relative paths count from the table's folder. A cell that is empty (CSV) or null (JSONL) in
    `label` means "not labelled". What `split` says is pinned (see `splits.assign_splits`); an empty
    cell leaves the row to be drawn. A column that has the name of one of the manifest's own columns
    is carried as `user_<name>`, one of `auxiliary_labels` as `label:<name>` (see `data.auxiliary`).
    Returns what `readers.list_examples` returns.

    Raises UserError: no UTF-8, a malformed line, no path or label column, an unknown domain or
    split, a row pinned to train, val or test without a label, or an auxiliary label without a
    column or with a single value.
    """
    return listing_of(raw_table(path), path, domains=domains, auxiliary_labels=auxiliary_labels)


def listing_of(
    raw: pd.DataFrame, path: Path, *, domains: list[str], auxiliary_labels: Sequence[str] = ()
) -> pd.DataFrame:
    """`read_table` from the cells `raw` of the table at `path`."""
    _require_columns(raw, path)
    raw = with_tasks(raw, list(auxiliary_labels), where=str(path))
    table = raw.rename(columns={name: f"user_{name}" for name in _RESERVED & set(raw.columns)})
    table["label"] = [as_label(value) for value in table["label"]]
    table["domain"] = [_text(value) for value in table.get("domain", [""] * len(table))]
    if "split" in table:
        table["split"] = [_text(value) for value in table["split"]]
        _refuse_wrong_splits(table, path)
    table = _of_domains(table, domains, path)
    refuse_constant(table, where=str(path))
    return _as_listing(table, path.parent)


def raw_table(path: Path) -> pd.DataFrame:
    """The cells of a table as they are; nested values of JSON lines as JSON text.

    Raises UserError: no UTF-8, or a malformed line.
    """
    return _read_csv(path) if path.suffix.lower() == ".csv" else _read_jsonl(path)


def row_ids(raw: pd.DataFrame, path: Path) -> list[str]:
    """Names of the rows of a table whose files are no names: by the table's own ids where they tell
    rows apart, else by row number."""
    for name in ("qid", "id"):
        if name in raw and raw[name].notna().all() and raw[name].is_unique:
            return [f"{path.stem}:{value}" for value in raw[name]]
    return [f"{path.stem}:{number:05d}" for number in range(1, len(raw) + 1)]


def _read_csv(path: Path) -> pd.DataFrame:
    try:
        # Everything is text: a class may be called 'NA', 'None' or '01'.
        return pd.read_csv(path, dtype=str, keep_default_na=False, encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise _not_utf8(path) from error
    except (pd.errors.ParserError, pd.errors.EmptyDataError) as error:
        raise UserError("the table is not valid CSV", where=str(path), got=str(error)) from error


def _read_jsonl(path: Path) -> pd.DataFrame:
    rows: list[dict[str, Any]] = []
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise _not_utf8(path) from error
    for number, line in enumerate(lines, start=1):
        if line.strip():
            rows.append(_json_object(line, where=f"{path}, line {number}"))
    return pd.DataFrame(rows, dtype=object)


def _not_utf8(path: Path) -> UserError:
    return UserError("the table is not UTF-8 text", where=str(path), fix="save it as UTF-8")


def _json_object(line: str, *, where: str) -> dict[str, Any]:
    try:
        value = json.loads(line)
    except json.JSONDecodeError as error:
        raise UserError("a line is not JSON", where=where, got=str(error)) from error
    if not isinstance(value, dict):
        raise UserError("a line is not a JSON object", where=where, got=line[:80])
    nested = (dict, list)
    return {k: json.dumps(v) if isinstance(v, nested) else v for k, v in value.items()}


def _require_columns(table: pd.DataFrame, path: Path) -> None:
    missing = [name for name in ("path", "label") if name not in table.columns]
    if missing:
        raise UserError(
            f"the table has no column {' and no column '.join(missing)}",
            where=str(path),
            got=", ".join(map(str, table.columns)) or "no columns",
            expected="path, label, and optionally domain, group and split",
        )
    blank = [row for row, value in enumerate(table["path"], start=1) if not _text(value)]
    if blank:
        raise UserError(
            f"{len(blank)} rows of the table have no path",
            where=f"{path}, first in data row {blank[0]}",
        )


def _refuse_wrong_splits(table: pd.DataFrame, path: Path) -> None:
    """One message for every wrong value, and one for all pinned rows whose label is missing."""
    wrong = sorted(set(table["split"]) - {*SPLITS, ""})
    if wrong:
        rows = [row for row, value in enumerate(table["split"], start=1) if value in wrong]
        raise UserError(
            f"{len(rows)} rows of the table have an unknown split",
            where=f"{path}, column split, first in data row {rows[0]}",
            got=", ".join(wrong),
            expected=f"{', '.join(SPLITS)}, or an empty cell where the row is to be drawn",
            fix="correct the cells, or rename the column if it means something else",
        )
    needed = table["split"].isin(["train", "val", "test"]) & table["label"].isna()
    if needed.any():
        first = int(needed.to_numpy().argmax())
        raise UserError(
            f"{int(needed.sum())} rows are pinned to a split that needs a label, and have none",
            where=f"{path}, first in data row {first + 1}",
            got=f"split {table['split'].iat[first]}, empty label",
            expected="a label, or the split unlabelled",
        )


def _text(value: Any) -> str:
    missing = value is None or (isinstance(value, float) and value != value)
    return "" if missing else str(value).strip()


def _of_domains(table: pd.DataFrame, domains: list[str], path: Path) -> pd.DataFrame:
    present = sorted(set(table["domain"]))
    unknown = [name for name in domains if name not in present]
    if unknown:
        raise UserError(
            f"no row has the domain '{unknown[0]}'",
            where=f"{path}, column domain",
            got=", ".join(name or "(empty)" for name in present) or "no rows",
            fix="correct data.source_domain / data.target_domain",
        )
    return table[table["domain"].isin(domains)] if domains else table


def _as_listing(table: pd.DataFrame, folder: Path) -> pd.DataFrame:
    listing = table.drop(columns="path").assign(
        id=[_example_id(_text(value), folder) for value in table["path"]],
        path=[os.path.normpath(folder / _text(value)) for value in table["path"]],
    )
    problems = [file_problem(Path(path), folder) for path in listing["path"]]
    listing["reason"] = [reason for reason, _ in problems]
    listing["detail"] = [detail for _, detail in problems]
    if "group" in listing:
        listing["group"] = [_text(value) for value in listing["group"]]
    for name in set(listing.columns) - _KNOWN - {"id", "reason", "detail"}:
        listing[name] = _one_type(listing[name])
    first = ["id", "path", "label", "domain", "reason", "detail"]
    listing = listing[[*first, *(name for name in listing.columns if name not in first)]]
    listing = listing.sort_values(["id", "label"], kind="stable").reset_index(drop=True)
    pairs = set(zip(listing["domain"], listing["label"], strict=True))
    listing.attrs["classes"] = sorted([domain, label] for domain, label in pairs if label)
    return listing


def _example_id(value: str, folder: Path) -> str:
    """Relative to the table's folder if inside it: the same table elsewhere gives the same ids."""
    path = Path(os.path.normpath(folder / value))
    return path.relative_to(folder).as_posix() if path.is_relative_to(folder) else path.as_posix()


def file_problem(path: Path, folder: Path) -> tuple[str, str]:
    """(reason, detail) if a file that a table in `folder` names cannot be used, else ('', '')."""
    if path.is_relative_to(folder) and not path.resolve().is_relative_to(folder):
        return link_problem(path, folder)
    if not path.exists():
        return "missing_file", "the table names this file, but it is not there"
    return ("", "") if path.is_file() else ("not_a_file", "not a regular file")


def _one_type(column: pd.Series) -> pd.Series:
    """Parquet columns have one type; a mixture of types becomes text."""
    kinds = {type(value) for value in column if value is not None}
    return column.infer_objects() if len(kinds) <= 1 else column.map(_text)
