"""References and windows of known distributions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from regraft.monitoring.samples import Sample

CLASSES = ["a", "b", "c"]
DIM = 24


@dataclass
class Reference:
    rows: pd.DataFrame
    embeddings: np.ndarray
    classes: list[str]
    version: str


def answers(n: int, rng: np.random.Generator, *, priors: Any = None, **shift: float) -> Any:
    """(rows, embeddings, labels); `shift` by embeddings, inputs and confidence."""
    labels = rng.choice(len(CLASSES), n, p=priors)
    embeddings = rng.normal(size=(n, DIM)) + shift.get("embeddings", 0.0)
    embeddings[:, : len(CLASSES)] += 3 * np.eye(len(CLASSES))[labels]
    confidence = np.clip(rng.beta(8, 1, n) - shift.get("confidence", 0.0), 0, 1)
    rest = (1 - confidence[:, None]) / (len(CLASSES) - 1)
    probabilities = np.where(np.eye(len(CLASSES))[labels] == 1, confidence[:, None], rest)
    rows = pd.DataFrame(
        {
            "id": [f"{number:016x}" for number in rng.integers(1 << 60, size=n)],
            "confidence": confidence,
            "stat_brightness": rng.uniform(0.2, 0.8, n) + shift.get("inputs", 0.0),
            "stat_contrast": rng.uniform(0.1, 0.3, n),
            "stat_width": 256.0,
            **{f"p:{name}": probabilities[:, k] for k, name in enumerate(CLASSES)},
        }
    )
    return rows, embeddings.astype(np.float32), np.array(CLASSES, dtype=object)[labels]


def reference(
    n: int = 300, seed: int = 0, *, held_out: float = 0.5, error: float = 0.1, domain: str = ""
) -> Reference:
    rng = np.random.default_rng(seed)
    rows, embeddings, predicted = answers(n, rng)
    split = np.where(np.arange(n) < held_out * n, "test", "train")
    rows = rows.assign(
        split=split,
        domain=domain,
        group=[f"{domain}{k}" for k in range(n)],
        path="",
        predicted=predicted,
        label=_truth(predicted, error, rng),
    )
    return Reference(rows, embeddings, CLASSES, "3")


def two_domains(n: int = 300, seed: int = 0) -> Reference:
    """Lab as `reference`, and as many rows of a field whose embeddings and light differ."""
    lab, field = reference(n, seed, domain="lab"), reference(n, seed + 1, domain="field")
    rows = field.rows.assign(stat_brightness=field.rows["stat_brightness"] + 1)
    return Reference(
        pd.concat([lab.rows, rows], ignore_index=True),
        np.concatenate([lab.embeddings, field.embeddings + 4]),
        CLASSES,
        "3",
    )


def window(
    n: int = 100, seed: int = 1, *, labels: int = 0, error: float = 0.1, **shift: Any
) -> Sample:
    rng = np.random.default_rng(10_000 + seed)
    rows, embeddings, predicted = answers(n, rng, **shift)
    truth = _truth(predicted, error, rng)
    truth[labels:] = None
    rows = rows.assign(
        label=predicted,
        truth=truth,
        time="2026-01-01T00:00:00.000Z",
        sequence=np.arange(n),
        version="3",
        input_hash=rows["id"],
        input_path="",
    )
    return Sample(rows, embeddings, f"window {seed}")


def _truth(predicted: np.ndarray, error: float, rng: np.random.Generator) -> np.ndarray:
    wrong = rng.random(len(predicted)) < error
    return np.where(wrong, np.roll(CLASSES, 1)[[CLASSES.index(p) for p in predicted]], predicted)
