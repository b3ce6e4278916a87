"""One line of a table: what is measured, and which figure of it is reported."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any

from regraft.errors import UserError

TRAINING = ("feature_extraction", "shift_detection", "finetune")
"""The steps whose CPU seconds count as training."""


@dataclass(frozen=True)
class Cell:
    """One line of a table.

    Attributes
    ----------
    overrides : dotted recipe fields and their values, as on the command line of `regraft run`.
    metric : path of the figure in what the method measured.
    method : module of this room whose `measure(prepared, **options)` does it.
    counted : the steps whose CPU seconds are reported.
    dear : measured with fewer seeds.
    """

    name: str
    overrides: dict[str, Any]
    metric: str = "teacher.test.accuracy"
    method: str = "methods.recipe"
    options: dict[str, Any] = field(default_factory=dict)
    counted: tuple[str, ...] = TRAINING
    dear: bool = False

    @property
    def data(self) -> dict[str, Any]:
        """The overrides of the data section: cells that agree in them share their split."""
        return {key: value for key, value in self.overrides.items() if key.startswith("data.")}

    def key(self, version: str) -> str:
        """Digest of what is measured. Cells that only report other figures of it share a key."""
        return digest(self.method, self.options, self.overrides, version)


def chosen(cells: Iterable[Cell], patterns: Iterable[str]) -> list[Cell]:
    """The cells whose name fits one of the patterns; all of them without a pattern.

    >>> cells = [Cell("lab 5 shots / ridge", {}), Cell("lab 20 shots / ridge", {})]
    >>> [cell.name for cell in chosen(cells, ["lab 5 *"])]
    ['lab 5 shots / ridge']

    Raises UserError when a pattern fits none.
    """
    everything, patterns = list(cells), list(patterns)
    for pattern in patterns:
        if not any(fnmatchcase(cell.name, pattern) for cell in everything):
            raise UserError(
                "no cell has such a name",
                where="--cells",
                got=pattern,
                expected=" | ".join(cell.name for cell in everything),
            )
    if not patterns:
        return everything
    return [cell for cell in everything if any(fnmatchcase(cell.name, p) for p in patterns)]


def digest(*values: Any) -> str:
    """16 hex digits of anything that JSON can hold."""
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()[:16]
