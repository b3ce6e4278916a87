"""The champion answers the candidate's test rows afresh, as the gate asks."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from regraft.data.duplicates import NEAR_DUPLICATE_DISTANCE, near_duplicate_pairs
from regraft.data.manifest import files_of, read_manifest
from regraft.evaluation.pairs import FEWEST_GROUPS
from regraft.progress import note
from regraft.registry.run_files import MANIFEST, run_file
from regraft.registry.versions import Reference

_TIMED = 8


def meets_champion(
    *,
    predictions: pd.DataFrame,
    manifest: Path,
    candidate: Path,
    served: str,
    metric: str,
    source_domain: str,
    seed: int,
) -> Callable[[Path, Reference], dict[str, Any]]:
    """How a champion is compared, for `registry.decision.register`.

    `predictions` are those of the evaluation step, `manifest` is that of the candidate, whose model
    folder is `candidate`. Test rows that the champion was trained on are left out. If fewer than
    `FEWEST_GROUPS` independent ones remain, only their number is returned, and the gate holds.
    """

    def compare(champion: Path, reference: Reference) -> dict[str, Any]:
        from regraft.evaluation.comparison import compare_models
        from regraft.steps.measuring import latencies, spread
        from regraft.steps.recording import modelling
        from regraft.tasks import load_model

        seen = rows_known_to(reference, predictions, manifest)
        rows = predictions[~seen].reset_index(drop=True)
        groups = int(rows["group"].nunique())
        found = {"count": len(rows), "groups": groups, "left_out": int(seen.sum())}
        if seen.any():
            note(f"{seen.sum()} test rows are left out: champion {reference.version} knows them")
        if groups < FEWEST_GROUPS:
            return found
        theirs, mine = load_model(champion), load_model(candidate)
        classes = list(dict.fromkeys([*mine.classes, *theirs.classes, *sorted(rows["label"])]))
        own = rows[[f"{served}:{name}" for name in mine.classes]].to_numpy()
        paths = files_of(rows)
        with modelling():
            answers = theirs.probabilities(paths)
            times = latencies({"candidate": mine, "champion": theirs}, paths[:_TIMED])
        return found | compare_models(
            rows,
            spread(own, mine.classes, classes),
            spread(answers, theirs.classes, classes),
            classes,
            metric=metric,
            source=source_domain if rows["domain"].nunique() > 1 else "",
            seed=seed,
        ) | {"latency": times}  # fmt: skip

    return compare


def rows_known_to(reference: Reference, tests: pd.DataFrame, manifest: Path) -> np.ndarray:
    """Which of the rows `tests` (column id) a version was trained on, (n,) bool.

    Its run's manifest says so: the same bytes, a near-duplicate, or one of the same group, in its
    training or validation split. Photos that it saw without their label count as unseen.
    """
    with tempfile.TemporaryDirectory() as folder:
        logged = run_file(reference, MANIFEST, Path(folder))
        if logged is None:
            note(
                f"the run of {reference.name}/{reference.version} did not log its manifest: which "
                "test rows the champion was trained on is not known"
            )
            return np.zeros(len(tests), dtype=bool)
        theirs = read_manifest(logged)
    trained = theirs[theirs["split"].isin(["train", "val"])]
    ours = read_manifest(manifest)
    known = set(ours.loc[_twins(ours, trained), "group"])
    return tests["group"].isin(known).to_numpy()


def _twins(ours: pd.DataFrame, trained: pd.DataFrame) -> np.ndarray:
    """Which of our test rows are, or nearly are, one of `trained`, (n,) bool."""
    same = (ours["split"] == "test").to_numpy()
    found = same & ours["sha256"].isin(trained["sha256"]).to_numpy()
    left = np.flatnonzero(same & ~found)
    hashes = [*ours["perceptual_hash"].iloc[left], *trained["perceptual_hash"]]
    pairs = near_duplicate_pairs(hashes, NEAR_DUPLICATE_DISTANCE)
    across = pairs[(pairs[:, 0] < len(left)) & (pairs[:, 1] >= len(left))]
    found[left[across[:, 0]]] = True
    return found
