"""The reference of a model: its answers to the examples it was made with, for comparing live ones.

Whether live inputs have drifted is asked of what the served model makes of them, so the reference
holds what the prediction log holds: answers, embeddings and input statistics, found by the same
functions.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from regraft.data.images import DEFAULT_MAX_PIXELS
from regraft.data.manifest import files_of, in_order, read_manifest
from regraft.progress import track

HELD_OUT = ("val", "test")
FURTHER = ("train", "unlabelled")
_PER_DOMAIN = 300
_BATCH = 16
_COLUMNS = ["id", "split", "domain", "label", "group", "path"]


@dataclass(frozen=True)
class Observed:
    """What a model makes of examples: `rows` (n, rows of its head, before the temperature),
    `embeddings` (n, dim), and statistics of the inputs, for the examples `ids`."""

    ids: list[str]
    rows: np.ndarray
    embeddings: np.ndarray
    statistics: pd.DataFrame

    def rows_of(self, ids: pd.Series) -> np.ndarray:
        """`rows` of these examples, in their order."""
        place = {example: index for index, example in enumerate(self.ids)}
        return self.rows[[place[example] for example in ids]]


def chosen_rows(rows: pd.DataFrame, *, seed: int) -> pd.DataFrame:
    """The rows of a manifest that the reference holds.

    All of validation and test. A domain that has fewer than 300 of them (an unlabelled target has
    none) is filled up to 300 by training and unlabelled rows, drawn by `seed`: enough for tests of
    windows of a hundred, where passing thousands through the model would cost minutes.
    """
    held_out = rows[rows["split"].isin(HELD_OUT)]
    further = rows[rows["split"].isin(FURTHER)]
    have = held_out["domain"].value_counts()
    found = [held_out]
    for domain, own in further.groupby("domain", sort=True):
        missing = max(_PER_DOMAIN - int(have.get(domain, 0)), 0)
        found.append(own.sample(min(missing, len(own)), random_state=seed))
    return pd.concat(found).sort_index().reset_index(drop=True)


def observe(model: Any, rows: pd.DataFrame) -> Observed:
    """Answer each of these rows once; each file is decoded once, as the server decodes it."""
    paths, statistics = files_of(rows), []
    found = []
    starts = range(0, len(paths), _BATCH)
    for start in track(starts, "the model's reference", total=len(starts)):
        contents = [path.read_bytes() for path in paths[start : start + _BATCH]]
        prepared = [model.prepare(data, max_pixels=DEFAULT_MAX_PIXELS) for data in contents]
        statistics += [facts for _, facts in prepared]
        found.append(model.rows_and_embeddings([value for value, _ in prepared]))
    answers, embeddings = (np.concatenate(parts) for parts in zip(*found, strict=True))
    # what the network says of examples that it was fitted on is no reference for others
    fitted = (rows["split"] == "train").to_numpy()
    measured = [
        {} if known else more
        for known, more in zip(fitted, model.measured(embeddings), strict=True)
    ]
    facts = [one | more for one, more in zip(statistics, measured, strict=True)]
    return Observed(rows["id"].tolist(), answers, embeddings, pd.DataFrame(facts))


def write_reference(folder: Path, model: Any, manifest: pd.DataFrame, seen: Observed) -> None:
    """Write reference.parquet (a row per example: id, split, domain, label, group, path,
    predicted, confidence, stat_<name>, p:<class>) and embeddings.npy (n, dim) float16."""
    folder.mkdir(parents=True, exist_ok=True)
    frame = in_order(manifest, seen.ids)[_COLUMNS].copy()
    answers = model.answers_of(seen.rows)
    frame["predicted"] = [answer["label"] for answer in answers]
    frame["confidence"] = [answer["confidence"] for answer in answers]
    probabilities = pd.DataFrame([answer["probabilities"] for answer in answers])
    parts = [frame, seen.statistics.add_prefix("stat_"), probabilities.add_prefix("p:")]
    pd.concat(parts, axis=1).to_parquet(folder / "reference.parquet", index=False)
    np.save(folder / "embeddings.npy", seen.embeddings.astype(np.float16))


def write_reference_of(folder: Path, model: Path, manifest: Path, *, seed: int) -> None:
    """The same for a saved model and its manifest; examples whose files are gone are left out."""
    from regraft.tasks import load_model

    rows, predictor = read_manifest(manifest), load_model(model)
    there = rows[[Path(path).is_file() for path in rows["path"]]]
    write_reference(folder, predictor, rows, observe(predictor, chosen_rows(there, seed=seed)))
