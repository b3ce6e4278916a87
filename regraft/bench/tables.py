"""The tables by name."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from regraft.bench import inputs, runner
from regraft.bench.cell import chosen
from regraft.bench.shots import shots
from regraft.bench.strategies import strategies

TABLES = {"shots": shots, "strategies": strategies}


def measure_table(
    name: str,
    *,
    data: str | None,
    weights: Sequence[str],
    patterns: Sequence[str],
    out: Path,
    code_version: str,
    seeds: int = 5,
    dear_seeds: int = 1,
) -> list[dict[str, Any]]:
    """The rows of the table `name`, restricted to the cells whose name fits one of `patterns`.

    `data` and `weights` are those of the command line; see `inputs` for their defaults.

    Raises UserError when photos or weights are missing, or a pattern fits no cell.
    """
    folder, found = inputs.data_folder(data), inputs.backbones(weights)
    files = [one.weights for one in found if one.weights]
    return runner.run(
        chosen(TABLES[name](folder, found), patterns),
        out=out,
        seeds=seeds,
        dear_seeds=dear_seeds,
        version=runner.version_of(folder, files, code_version),
    )
