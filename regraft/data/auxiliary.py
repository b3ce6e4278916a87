"""Further labels of an example: columns of a table that are learned beside the main label.

In listing and manifest the labels of task `crop` are the column `label:crop`, None where an example
has none. So every step that reads a manifest sees which tasks there are.

>>> import pandas as pd
>>> table = pd.DataFrame({"path": ["1.jpg", "2.jpg"], "label": ["a", "b"], "crop": ["apple", " "]})
>>> with_tasks(table, ["crop"], where="t.csv").columns.tolist()
['path', 'label', 'label:crop']
>>> task_names(["id", "label", "label:crop"])
['crop']
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Sequence
from typing import Any

import pandas as pd

from regraft.errors import UserError

PREFIX = "label:"


def task_names(columns: Iterable[str]) -> list[str]:
    """The auxiliary tasks of a manifest with these columns, in their order."""
    return [str(name).removeprefix(PREFIX) for name in columns if str(name).startswith(PREFIX)]


def with_tasks(table: pd.DataFrame, names: Sequence[str], *, where: str) -> pd.DataFrame:
    """The table with these columns as labels of tasks; an empty cell means "not labelled". Another
    column that is called as if it were a task is carried as `user_<name>`.

    Raises UserError: a name that comes twice, is the main label's or none of a column.
    """
    missing = [name for name in names if name not in table.columns]
    if missing:
        raise UserError(
            f"the table has no column {' and no column '.join(missing)}",
            where=f"data.auxiliary_labels, {where}",
            got=", ".join(map(str, table.columns)),
            expected="names of columns that hold further labels",
        )
    taken = sorted({name for name in names if names.count(name) > 1 or name in {"path", "label"}})
    if taken:
        raise UserError(
            f"the column {taken[0]} cannot be an auxiliary label",
            where="data.auxiliary_labels",
            got=", ".join(names),
            expected="each column once, and neither path nor label",
        )
    found = table.drop(columns=list(names))
    found = found.rename(
        columns={PREFIX + name: f"user_{PREFIX}{name}" for name in task_names(found.columns)}
    )
    for name in names:
        found[PREFIX + name] = [as_label(value) for value in table[name]]
    return found


def refuse_constant(table: pd.DataFrame, *, where: str) -> None:
    """Raises UserError when a task of `table` has fewer than two values: nothing to tell apart."""
    for name in task_names(table.columns):
        values = sorted({value for value in table[PREFIX + name] if value is not None})
        if len(values) < 2:
            raise UserError(
                f"the column {name} has {'one value' if values else 'no value'}",
                where=f"data.auxiliary_labels, {where}",
                got=", ".join(values) or "empty cells",
                expected="at least two different labels",
                fix=f"take {name} out of data.auxiliary_labels, or label more examples",
            )


def as_label(value: Any) -> str | None:
    """A cell as text; None where it is empty."""
    missing = value is None or (isinstance(value, float) and value != value)
    return unicodedata.normalize("NFC", "" if missing else str(value).strip()) or None
