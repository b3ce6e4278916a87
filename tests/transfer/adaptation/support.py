"""Two domains of blobs: what they differ in is an offset that all target examples share."""

from __future__ import annotations

import numpy as np

from regraft.transfer.adaptation.domains import SOURCE, TARGET, Domains

CLASSES, PER_CLASS, DIM = 3, 40, 16


def blobs(offset: float, *, noise: float = 0.08, seed: int = 0) -> tuple[Domains, np.ndarray]:
    """Labelled source and unlabelled target examples, and the target's true labels (t,).

    Class k lies at 0.5 on axis k; `offset` moves the target from the first class to the second,
    and twice as far along an axis that tells the domains apart, so one linear head can serve both.
    """
    rng = np.random.default_rng(seed)
    truth = np.arange(CLASSES * PER_CLASS) % CLASSES
    source, target = (
        0.5 * np.eye(DIM)[truth] + rng.normal(0, noise, (len(truth), DIM)) for _ in range(2)
    )
    target[:, 1] += offset
    target[:, 0] -= offset
    target[:, CLASSES] += 2 * offset
    return joined(source, truth, target, classes=CLASSES), truth


def line(offset: float, *, seed: int = 0) -> Domains:
    """Two classes on a line, at -0.5 and 0.5. With an offset of 1 the target's first class lies
    where the source's second does: who learns the target so must forget the source."""
    rng = np.random.default_rng(seed)
    truth = np.arange(80) % 2
    source, target = (
        np.stack([truth - 0.5 + rng.normal(0, 0.05, 80), rng.normal(0, 0.05, 80)], 1)
        for _ in range(2)
    )
    target[:, 0] += offset
    return joined(source, truth, target, classes=2)


def joined(source: np.ndarray, labels: np.ndarray, target: np.ndarray, *, classes: int) -> Domains:
    return Domains(
        features=np.concatenate([source, target]).astype(np.float32),
        domain=np.repeat([SOURCE, TARGET], [len(source), len(target)]),
        example=np.concatenate([np.arange(len(source)), np.arange(len(target))]),
        source_labels=labels,
        target_labels=np.full(len(target), -1),
        classes=classes,
    )
