"""Tables of questions: which examples are there, who asked, about what, and how is it answered.

A table (CSV or JSON lines) has a row per question: `question` (or `text`), `intent` (or `label`,
`type`, `types`), and optionally `answer` (or `reference_answers`), `topic` (or `focus`), `source`,
`domain`, `group` and `split`. These are also the names that MedQuAD, LiveQA and MedicationQA use.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from regraft.data.readers import existing_root, refuse_case_collisions, restricted
from regraft.data.tables import TABLE_SUFFIXES, listing_of, raw_table, row_ids
from regraft.data.texts import clean, stored
from regraft.errors import UserError
from regraft.progress import note

_NAMES = {
    "text": ("question", "text"),
    "label": ("intent", "label", "type", "types"),
    "topic": ("topic", "focus"),
    "answer": ("answer", "reference_answers"),
    "source": ("source",),
    "style": ("style",),
}
CONSUMER_TYPES = {
    "prognosis": "outlook",
    "cause": "causes",
    "symptom": "symptoms",
    "diagnosis": "exams and tests",
}
"""Types of consumer questions (LiveQA) that MedQuAD calls otherwise."""
COLUMNS = ("text", "answer", "topic", "source")


def list_questions(
    root: Path,
    *,
    store: Path,
    source_domain: str,
    target_domain: str,
    classes: list[str],
    auxiliary_labels: Sequence[str] = (),
) -> pd.DataFrame:
    """List the questions of a table, or of the tables in a folder, sorted by id.

    In a folder each table is a domain, called like the file (`liveqa` also means a file whose name
    begins so); without `source_domain` the largest one is read. A question becomes a file in
    `store`. All questions about one topic are a group. A table with the column `path` instead names
    files, one text each, as `readers.list_examples` has it.

    Returns what `readers.list_examples` does, with the columns text, answer, topic and source.

    Raises UserError: no table, no such domain, no column for the question or its label, a line that
    is not JSON (named), and as `readers.list_examples`.
    """
    root = existing_root(Path(root))
    domains = [domain for domain in (source_domain, target_domain) if domain]
    parts = [
        _listed(path, domain, domains, auxiliary_labels, store)
        for path, domain in _tables(root, domains)
    ]
    listing = pd.concat(parts, ignore_index=True).sort_values(["id", "label"], kind="stable")
    listing = listing.reset_index(drop=True)
    listing.attrs["classes"] = sorted(pair for part in parts for pair in part.attrs["classes"])
    refuse_case_collisions(listing.attrs["classes"], where=str(root))
    return restricted(listing, classes, where=str(root))


def _tables(root: Path, domains: list[str]) -> list[tuple[Path, str]]:
    """The tables to read, with the domain that a whole table is of ('' where its rows say it)."""
    if root.is_file():
        return [(root, "")]
    found = sorted(path for path in root.iterdir() if path.suffix.lower() in TABLE_SUFFIXES)
    if not found:
        raise UserError(
            "the folder holds no table of questions",
            where=str(root),
            expected=f"a file with one of the endings {', '.join(sorted(TABLE_SUFFIXES))}",
        )
    if not domains:
        largest = max(found, key=lambda path: path.stat().st_size)
        if len(found) > 1:
            note(f"of {len(found)} tables the largest is read: {largest.name}; "
                 "data.source_domain names another")  # fmt: skip
        return [(largest, largest.stem)]
    return [(_table_of(domain, found), domain) for domain in domains]


def _table_of(domain: str, tables: list[Path]) -> Path:
    same = [path for path in tables if path.stem == domain]
    named = same or [path for path in tables if path.stem.startswith(f"{domain}_")]
    if len(named) != 1:
        raise UserError(
            f"{len(named) or 'no'} tables are called '{domain}'",
            where=f"data.source_domain or data.target_domain, {tables[0].parent}",
            got=", ".join(path.name for path in tables),
            expected="the beginning of the name of one table",
        )
    return named[0]


def _listed(
    path: Path, domain: str, domains: list[str], auxiliary_labels: Sequence[str], store: Path
) -> pd.DataFrame:
    raw = raw_table(path)
    if "path" in raw and not any(name in raw for name in _NAMES["text"]):
        listing = listing_of(raw, path, domains=domains, auxiliary_labels=auxiliary_labels)
        return _with_text(listing)
    table = _renamed(raw, path, auxiliary_labels)
    if domain:
        table["domain"], domains = domain, [domain]
    table["path"] = [str(stored(text, store)) for text in table["text"]]
    listing = listing_of(table, path, domains=domains, auxiliary_labels=auxiliary_labels)
    attrs = listing.attrs
    listing = listing.drop(columns="id").rename(columns={"example": "id"})
    listing.attrs = attrs
    return listing


def _renamed(raw: pd.DataFrame, path: Path, auxiliary_labels: Sequence[str]) -> pd.DataFrame:
    """The columns under the names that the manifest has for them; others are left out."""
    table = pd.DataFrame(index=raw.index)
    for name, sources in _NAMES.items():
        source = next((one for one in sources if one in raw), None)
        if source is None and name in ("text", "label"):
            raise UserError(
                f"the table has no column {sources[0]}",
                where=str(path),
                got=", ".join(map(str, raw.columns)) or "no columns",
                expected="question and intent, and optionally answer, topic and source",
            )
        read = _READERS.get(name, _text)
        table[name] = [read(value) for value in raw[source]] if source else ""
    for name in ("domain", "split"):
        if name in raw:
            table[name] = raw[name]
    own = raw["group"] if "group" in raw else pd.Series("", index=raw.index)
    table["group"] = [
        _text(given) or topic.casefold() for given, topic in zip(own, table["topic"], strict=True)
    ]
    table["example"] = row_ids(raw, path)
    for name in auxiliary_labels:
        if name in raw:
            table[name] = raw[name]
    return table


def _with_text(listing: pd.DataFrame) -> pd.DataFrame:
    attrs = listing.attrs
    texts = [_file_text(path) if not why else ""
             for path, why in zip(listing["path"], listing["reason"], strict=True)]  # fmt: skip
    filled = listing.assign(text=texts, **{n: "" for n in COLUMNS[1:] if n not in listing})
    filled.attrs = attrs
    return filled


def _file_text(path: str) -> str:
    return clean(Path(path).read_bytes().decode("utf-8-sig", "replace"))


def _text(value: Any) -> str:
    missing = value is None or (isinstance(value, float) and value != value)
    return "" if missing else str(value)


def _listed_value(value: Any) -> list[Any]:
    """Lists travel as JSON text (see `tables.raw_table`)."""
    text = _text(value)
    if not text.startswith("["):
        return [text]
    try:
        found = json.loads(text)
    except json.JSONDecodeError:
        return [text]
    return list(found) or [""]


def _label(value: Any) -> str:
    """The first type that MedQuAD knows, under MedQuAD's name, else the first."""
    types = [str(one).strip() for one in _listed_value(value)]
    mapped = [CONSUMER_TYPES.get(one, one) for one in types]
    known = [one for one, given in zip(mapped, types, strict=True) if given in CONSUMER_TYPES]
    shared = [one for one in mapped if one in _SHARED_TYPES]
    return (known + shared + mapped)[0]


_SHARED_TYPES = ("treatment", "information", "susceptibility", "inheritance")


def _first(value: Any) -> str:
    first = _listed_value(value)[0]
    return clean(_text(first.get("text") if isinstance(first, dict) else first))


_READERS = {"label": _label, "topic": _first, "answer": _first, "source": _first, "style": _first}
