"""What the evaluation measures of each model: answers, metrics per slice, time and size."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from regraft.data.auxiliary import PREFIX
from regraft.data.manifest import files_of, places
from regraft.evaluation.metrics import class_numbers, classification_metrics, prior_probabilities

FEWEST_IN_SLICE = 20
SLICE = ": "
"""What stands between the name of a slicing and its value in the names of slices."""


@dataclass(frozen=True)
class Answers:
    """Probabilities (n, classes) of one model, after and before temperature scaling; `tasks` are
    those of each auxiliary task (n, its classes), after."""

    probabilities: np.ndarray
    uncalibrated: np.ndarray
    temperature: float
    tasks: dict[str, np.ndarray] = field(default_factory=dict)

    def over(self, own: list[str], classes: list[str]) -> Answers:
        """The same as columns of `classes`; `own` are those of the model."""
        if own == classes:
            return self
        return replace(
            self,
            probabilities=spread(self.probabilities, own, classes),
            uncalibrated=spread(self.uncalibrated, own, classes),
        )


def scored_rows(
    rows: pd.DataFrame, classes: list[str], *, open_answers: bool
) -> tuple[pd.DataFrame, list[str]]:
    """The test rows of a manifest and the classes they are scored by: those of the model, and with
    `open_answers` behind them the labels that it never learned, which it always misses."""
    labelled = rows[(rows["split"] == "test") & rows["label"].notna()]
    if not open_answers:
        labelled = labelled[labelled["label"].isin(classes)]
    unlearned = sorted(set(labelled["label"]) - set(classes))
    return labelled.reset_index(drop=True), [*classes, *unlearned]


def slices_of(test: pd.DataFrame, columns: Mapping[str, str]) -> dict[str, np.ndarray]:
    """Masks (n,) of the slices that are large enough to be scored apart, by name."""
    found = {}
    for column, name in columns.items():
        if column in test and test[column].nunique() > 1:
            for value, count in test[column].value_counts().sort_index().items():
                if count >= FEWEST_IN_SLICE and value:
                    found[f"{name}{SLICE}{value}"] = (test[column] == value).to_numpy()
    return found


def spread(probabilities: np.ndarray, own: list[str], classes: list[str]) -> np.ndarray:
    """Probabilities (n, own) as columns of `classes`; 0 for what a model does not know."""
    found = np.zeros((len(probabilities), len(classes)))
    found[:, [classes.index(name) for name in own]] = probabilities
    return found


def answers_of(model: Any, test: pd.DataFrame) -> Answers:
    """The model's answers to the test rows."""
    return answers_from(model, model.rows(files_of(test)))


def answers_from(model: Any, found: np.ndarray) -> Answers:
    """The answers that the rows of the head (n, rows), before the temperature, amount to."""
    from scipy.special import softmax

    rows = np.asarray(found, dtype=np.float64)
    logits, temperature = rows[:, : len(model.classes)], float(model.temperature)
    return Answers(
        softmax(logits / temperature, axis=1),
        softmax(logits, axis=1),
        temperature,
        model.task_probabilities(rows),
    )


def metrics_of(
    test: pd.DataFrame,
    probabilities: np.ndarray,
    classes: list[str],
    domains: dict[str, str],
    seed: int,
    slices: Mapping[str, np.ndarray] | None = None,
) -> dict[str, Any]:
    """Metrics on the whole test split, on each of its domains and on `slices` (masks by name).

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
    return result | {name: measured(mask) for name, mask in (slices or {}).items()}


def task_metrics(
    test: pd.DataFrame,
    probabilities: dict[str, np.ndarray],
    classes: dict[str, list[str]],
    seed: int,
) -> dict[str, Any]:
    """Metrics of each auxiliary task on the test rows that have a label of it which the model
    knows; a task without such rows is left out."""
    found = {}
    for name, answers in probabilities.items():
        labels = test[PREFIX + name]
        known = labels.isin(classes[name]).to_numpy()
        if known.any():
            found[name] = classification_metrics(
                class_numbers(labels[known].tolist(), classes[name]),
                answers[known],
                groups=test.loc[known, "group"].to_numpy(),
                classes=classes[name],
                seed=seed,
            )
    return found


def baseline_metrics(
    rows: pd.DataFrame,
    test: pd.DataFrame,
    classes: list[str],
    features: Path,
    domains: dict[str, str],
    seed: int,
    *,
    shown: list[str] | None = None,
    slices: Mapping[str, np.ndarray] | None = None,
) -> dict[str, Any]:
    """The majority class, and the probe on frozen features that the fine-tuning began with; where
    pairs were fused also each modality alone and every fusion. `shown` as in `scored_rows`."""
    from scipy.special import softmax

    from regraft.backbones.heads import head_of
    from regraft.steps.modalities import answerers_on

    shown = shown or classes
    train = rows[(rows["split"] == "train") & rows["label"].isin(classes)]
    labels = class_numbers(train["label"].tolist(), classes)
    prior = prior_probabilities(labels, len(test), len(shown))
    archive, head = np.load(features / "features.npz"), head_of(np.load(features / "probe.npz"))
    of_test = places(test["id"], archive["ids"])
    seen = [archive[name] for name in ("averaged", "local") if name in archive.files]
    found = np.concatenate([one[of_test] for one in seen], 1)
    answers = {
        "majority": prior,
        "probe": spread(softmax(head.logits(found), axis=1), classes, shown),
        **answerers_on(test, features, shown),
    }
    metrics = {
        name: metrics_of(test, one, shown, domains, seed, slices) for name, one in answers.items()
    }
    if (features / "auxiliary.npz").is_file():
        metrics["probe"]["tasks"] = _probe_tasks(test, features, found, seed)
    return metrics


def _probe_tasks(
    test: pd.DataFrame, features: Path, embeddings: np.ndarray, seed: int
) -> dict[str, Any]:
    """Metrics of the auxiliary probes that the fine-tuning began with."""
    from scipy.special import softmax

    from regraft.backbones.heads import head_of

    card = json.loads((features / "probe.json").read_text(encoding="utf-8"))["auxiliary"]
    classes = {name: one["classes"] for name, one in card.items()}
    logits = head_of(np.load(features / "auxiliary.npz")).logits(embeddings)
    ends = np.cumsum([len(names) for names in classes.values()])[:-1]
    parts = zip(classes, np.split(logits, ends, axis=1), strict=True)
    return task_metrics(test, {name: softmax(p, axis=1) for name, p in parts}, classes, seed)


def timing_of(model: Any, folder: Path, inputs: list[Path]) -> dict[str, float]:
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


def latencies(models: dict[str, Any], inputs: list[Path], *, rounds: int = 5) -> dict[str, float]:
    """Milliseconds that each model takes for one input: the best of `rounds`, mean over `inputs`.

    The models take turns, so what else the machine does meets them alike; the best round is the one
    that was disturbed least.
    """
    best = {who: [float("inf")] * len(inputs) for who in models}
    for model in models.values():
        model.probabilities(inputs[:1])  # the first call pays for memory that later ones reuse
    for _ in range(rounds):
        for place, value in enumerate(inputs):
            for who, model in models.items():
                started = time.perf_counter()
                model.probabilities([value])
                best[who][place] = min(best[who][place], time.perf_counter() - started)
    return {who: 1e3 * float(np.mean(times)) for who, times in best.items()}


def encoder_speedup(slow: Any, fast: Any, texts: list[str], *, rounds: int = 3) -> float:
    """How many times as many texts per CPU second the encoder `fast` embeds as `slow` does.

    They take turns, each counts its best of `rounds`, and other processes do not count.
    """
    from regraft.backbones.transformer import embed_texts

    best = [float("inf"), float("inf")]
    for _ in range(rounds):
        for place, encoder in enumerate((slow, fast)):
            started = time.process_time()
            embed_texts(encoder, texts)
            best[place] = min(best[place], time.process_time() - started)
    return best[0] / best[1]


def _seconds(model: Any, inputs: list[Path]) -> float:
    started = time.perf_counter()
    model.logits(inputs)
    return time.perf_counter() - started
