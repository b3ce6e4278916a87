"""The champion's reference: what live answers are compared with."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from regraft.errors import UserError
from regraft.monitoring.samples import PROBABILITY
from regraft.registry.run_files import run_file
from regraft.registry.versions import Reference as VersionReference
from regraft.registry.versions import resolve


@dataclass(frozen=True)
class Reference:
    """What the served model made of its own examples when it was evaluated.

    `rows`: id, split, domain, label (its truth; None where unlabelled), group, path, predicted,
    confidence, stat_<name>, p:<class>. Every validation and test example is there; training
    and unlabelled ones where a domain has few of these. Row i of `embeddings` (n, dim) float32
    belongs to row i of `rows`.
    """

    rows: pd.DataFrame
    embeddings: np.ndarray
    classes: list[str]
    version: str


def load_reference(reference: str | VersionReference) -> Reference:
    """The reference of `NAME` (its champion), `NAME@ALIAS` or `NAME/VERSION`.

    Raises `UserError` for a version that is not registered, or whose run kept no reference.
    """
    found = resolve(reference) if isinstance(reference, str) else reference
    with tempfile.TemporaryDirectory(prefix="regraft-reference-") as temporary:
        folder = run_file(found, "reference", Path(temporary))
        if folder is None or not (folder / "reference.parquet").is_file():
            raise UserError(
                f"version {found.version} of {found.name} kept no reference to compare with",
                where="reference/ among the artifacts of its run",
                got="nothing",
                expected="reference.parquet and embeddings.npy, as evaluation writes them",
                fix="train it again with this version of Regraft: regraft run RECIPE",
            )
        rows = pd.read_parquet(folder / "reference.parquet")
        embeddings = np.load(folder / "embeddings.npy", allow_pickle=False).astype(np.float32)
    rows["label"] = [None if pd.isna(label) else label for label in rows["label"]]
    classes = [str(c).removeprefix(PROBABILITY) for c in rows if str(c).startswith(PROBABILITY)]
    return Reference(rows, embeddings, classes, str(found.version))
