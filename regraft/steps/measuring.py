"""What the evaluation measures of each model: answers, metrics per slice, time and size."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from regraft.evaluation.metrics import class_numbers, classification_metrics, prior_probabilities


@dataclass(frozen=True)
class Answers:
    """Probabilities (n, classes) of one model, after and before temperature scaling."""

    probabilities: np.ndarray
    uncalibrated: np.ndarray
    temperature: float


def answers_of(model: Any, test: pd.DataFrame) -> Answers:
    """The model's answers to the test rows."""
    from scipy.special import softmax

    logits = np.asarray(model.logits(test["path"].tolist()), dtype=np.float64)
    temperature = float(model.temperature)
    return Answers(softmax(logits / temperature, axis=1), softmax(logits, axis=1), temperature)


def metrics_of(
    test: pd.DataFrame,
    probabilities: np.ndarray,
    classes: list[str],
    domains: dict[str, str],
    seed: int,
) -> dict[str, Any]:
    """Metrics on the whole test split and on each of its domains.

    `domains` maps the words source and target to names of domains; both the word and the name are
    keys of the result.
    """
    labels = class_numbers(test["label"].tolist(), classes)
    groups = test["group"].to_numpy()

    def measured(mask: np.ndarray) -> dict[str, Any]:
        return classification_metrics(
            labels[mask], probabilities[mask], groups=groups[mask], classes=classes, seed=seed
        )

    result = {"test": measured(np.ones(len(test), dtype=bool))}
    for word, name in domains.items():
        mask = (test["domain"] == name).to_numpy()
        if name and mask.any():
            result[word] = result[name] = measured(mask)
    return result


def baseline_metrics(
    rows: pd.DataFrame,
    test: pd.DataFrame,
    classes: list[str],
    features: Path,
    domains: dict[str, str],
    seed: int,
) -> dict[str, Any]:
    """The majority class, and the probe on frozen features that the fine-tuning began with."""
    from scipy.special import softmax

    from regraft.backbones.heads import head_of

    train = rows[(rows["split"] == "train") & rows["label"].isin(classes)]
    labels = class_numbers(train["label"].tolist(), classes)
    prior = prior_probabilities(labels, len(test), len(classes))
    archive, head = np.load(features / "features.npz"), head_of(np.load(features / "probe.npz"))
    place = {name: index for index, name in enumerate(archive["ids"])}
    found = archive["averaged"][[place[name] for name in test["id"]]]
    logits = head.logits(found)
    return {
        "majority": metrics_of(test, prior, classes, domains, seed),
        "probe": metrics_of(test, softmax(logits, axis=1), classes, domains, seed),
    }


def timing_of(model: Any, folder: Path, inputs: list[str]) -> dict[str, float]:
    """Throughput (examples per second, one batch, decoding included), latency of a single example
    (median, ms), size of the weight file and number of parameters."""
    model.logits(inputs[:2])  # the first call pays for memory that later ones reuse
    rounds = [_seconds(model, inputs) for _ in range(3)]
    singles = [_seconds(model, [value]) for value in inputs[:8]]
    return {
        "throughput_per_second": round(len(inputs) / min(rounds), 2),
        "latency_ms": round(float(np.median(singles)) * 1e3, 2),
        "size_bytes": (folder / "model.safetensors").stat().st_size,
        "parameters": int(sum(p.numel() for p in model.model.parameters())),
    }


def _seconds(model: Any, inputs: list[str]) -> float:
    started = time.perf_counter()
    model.logits(inputs)
    return time.perf_counter() - started
