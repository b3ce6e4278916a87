"""By what the best epoch is chosen."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from regraft.training.examples import TaskLabels

Score = Callable[[np.ndarray], dict[str, float]]

_TEMPERATURES = np.geomspace(0.1, 10.0, 25)


def validation_score(labels: np.ndarray, answers: np.ndarray | None = None) -> Score:
    """Logits (n, classes) of the validation examples to loss and accuracy.

    The loss is the negative log-likelihood at its best temperature: the model is calibrated
    afterwards anyway, and the accuracy of a hundred examples moves in whole points.

    `answers` (m, classes) are a teacher's probabilities for further, unlabelled examples behind
    the labelled ones: there the loss is the cross-entropy with them, and right is what the teacher
    says.
    """

    def score(logits: np.ndarray) -> dict[str, float]:
        targets = np.eye(logits.shape[1])[labels]
        if answers is not None:
            targets = np.concatenate([targets, answers])
        losses = [_cross_entropy(logits / t, targets) for t in _TEMPERATURES]
        accuracy = float((logits.argmax(1) == targets.argmax(1)).mean())
        return {"val_loss": float(min(losses)), "val_accuracy": accuracy}

    return score


def multi_task_score(
    score: Score, tasks: dict[str, tuple[slice, TaskLabels]], *, n_classes: int, weight: float
) -> Score:
    """`score` of the first `n_classes` columns of the logits, with `weight` times the loss of every
    task added. A task is its columns and its labels; its accuracy is "val_accuracy:<task>"."""
    known = {name: labels.known for name, (_, labels) in tasks.items()}
    scores = {
        name: validation_score(labels.labels[known[name]])
        for name, (_, labels) in tasks.items()
        if known[name].any()
    }

    def total(logits: np.ndarray) -> dict[str, float]:
        found = score(logits[:, :n_classes])
        for name, own in scores.items():
            of_task = own(logits[known[name]][:, tasks[name][0]])
            found["val_loss"] += weight * of_task["val_loss"]
            found[f"val_accuracy:{name}"] = of_task["val_accuracy"]
        return found

    return total


def _cross_entropy(logits: np.ndarray, targets: np.ndarray) -> float:
    shifted = logits - logits.max(1, keepdims=True)
    log_probabilities = shifted - np.log(np.exp(shifted).sum(1, keepdims=True))
    return float(-(targets * log_probabilities).sum(1).mean())
