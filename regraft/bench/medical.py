"""`regraft bench medical`: questions understood, answers found, by what is learned from few."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from regraft.bench import runner
from regraft.bench.cell import Cell, chosen
from regraft.bench.medical_pack import rows_of

_METHODS = ("zero_shot", "bm25", "plain_fusion", "adapted")
_SETS = {
    "medquad": ("recall_at_1", "no_echo", "echo", "recall_at_5", "mrr", "ndcg"),
    "medication": ("recall_at_1", "recall_at_5", "mrr", "ndcg"),
    "liveqa": ("recall_at_1", "recall_at_5", "mrr", "ndcg"),
}
"""The questions, and the figures of each that become a cell."""


def measure_medical(
    folder: Path,
    *,
    patterns: Sequence[str],
    out: Path,
    code_version: str,
    seeds: int,
) -> list[dict[str, Any]]:
    """The rows of the cells whose name fits one of the patterns.

    Raises UserError when the questions are missing, or a pattern fits no cell.
    """
    rows_of(folder, "medquad")
    wanted = chosen(cells(folder, out / "embeddings"), patterns)
    version = runner.version_of(folder, [], code_version)
    return runner.run(wanted, out=out, seeds=seeds, dear_seeds=seeds, version=version)


def cells(folder: Path, cache: Path) -> list[Cell]:
    """Every cell; those of one method are measured together."""
    return [*retrieval(folder, cache)]


def retrieval(folder: Path, cache: Path) -> list[Cell]:
    """The right answer among thousands."""
    how: dict[str, Any] = {
        "overrides": {"data.root": str(folder)},
        "method": "methods.answer_retrieval",
        "options": {"folder": str(folder), "cache": str(cache.absolute())},
    }
    found = []
    for asked, figures in _SETS.items():
        found += [
            Cell(f"{asked} / {figure} / {method}", metric=f"{asked}.{method}.{figure}", **how)
            for figure in figures
            for method in _METHODS
        ]
        found += [
            Cell(f"{asked} / {name} / adapted", metric=f"{asked}.adapted.{name}", **how)
            for name in ("error", "error_at_80", "error_left_at_80")
        ]
        found += [
            Cell(f"{asked} / gain over {other}, {end} / adapted",
                 metric=f"{asked}.adapted.over_{other}.{end}", **how)
            for other in _METHODS[:-1]
            for end in ("difference", "low")
        ]  # fmt: skip
    return found + [
        Cell(f"general / {name}", metric=f"general.{name}", **how)
        for name in ("before", "after", "drop")
    ]
