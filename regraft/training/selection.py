"""By what the best epoch is chosen."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.special import softmax

from regraft.training.examples import TaskLabels

Score = Callable[[np.ndarray], dict[str, float]]

Validator = Callable[[np.ndarray, np.ndarray], float]
"""A label-free score: (features, probabilities (n, classes)) to a number, higher is better."""

_SURE_LEAD = float(np.log(99))
"""In these units a validation example leads by 99 to 1 on the average."""
_TEMPERATURES = np.geomspace(0.1, 10.0, 25)


def validation_score(labels: np.ndarray, answers: np.ndarray | None = None) -> Score:
    """Logits (n, classes) of the validation examples to loss and accuracy.

    The loss is the negative log-likelihood at its best temperature: the model is calibrated
    afterwards anyway, and the accuracy of a hundred examples moves in whole points.
    `val_loss_error` is its standard error: the examples' deviation over the root of their number.

    `answers` (m, classes) are a teacher's probabilities for further, unlabelled examples behind
    the labelled ones: there the loss is the cross-entropy with them, and right is what the teacher
    says.
    """

    def score(logits: np.ndarray) -> dict[str, float]:
        targets = np.eye(logits.shape[1])[labels]
        if answers is not None:
            targets = np.concatenate([targets, answers])
        losses = [_cross_entropies(logits / t, targets) for t in _TEMPERATURES]
        own = min(losses, key=np.mean)
        accuracy = float((logits.argmax(1) == targets.argmax(1)).mean())
        return {
            "val_loss": float(own.mean()),
            "val_loss_error": _standard_error(own),
            "val_accuracy": accuracy,
        }

    return score


@dataclass(frozen=True)
class TargetScore:
    """What chooses the epoch where terms of the loss read a target that no validation example is
    of: the loss of source examples says nothing of it, and is lowest before anything moved.

    Attributes
    ----------
    validator : of the answers to unlabelled target examples, with their logits as features.
    n_classes : the columns of the logits that are the label's.
    max_source_drop : an epoch that is right on a smaller share of the validation examples than the
        starting weights, by more than this, is out.
    """

    validator: Validator
    n_classes: int
    max_source_drop: float

    def __call__(self, target: np.ndarray, validation: np.ndarray | None) -> float:
        """The score of logits (n, classes) of target examples.

        Their scale is measured on `validation` logits: to train on makes all answers surer, and
        surer answers score higher, so that the last epoch would always win. What counts is how
        sure the target's answers are beside the source's.
        """
        logits = target[:, : self.n_classes]
        if validation is not None:
            first = np.sort(validation[:, : self.n_classes], axis=1)[:, ::-1]
            lead = float((first[:, 0] - first[:, 1]).mean())
            logits = logits * (_SURE_LEAD / max(lead, 1e-6))
        return float(self.validator(logits, softmax(logits, axis=1)))


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
            # errors on the same examples go together: added, which is the largest they can be
            found["val_loss_error"] += weight * of_task["val_loss_error"]
            found[f"val_accuracy:{name}"] = of_task["val_accuracy"]
        return found

    return total


def _standard_error(losses: np.ndarray) -> float:
    """Of the mean of (n,); of a single one the loss itself, as nothing shows its spread."""
    return float(losses.std(ddof=1) / np.sqrt(len(losses)) if len(losses) > 1 else losses[0])


def _cross_entropies(logits: np.ndarray, targets: np.ndarray) -> np.ndarray:
    shifted = logits - logits.max(1, keepdims=True)
    log_probabilities = shifted - np.log(np.exp(shifted).sum(1, keepdims=True))
    return np.asarray(-(targets * log_probabilities).sum(1))
