"""Which examples to label next: those the model is unsure of, far from each other.

Source: Sener and Savarese, "Active Learning for Convolutional Neural Networks: A Core-Set
Approach", ICLR 2018 (greedy k-centre). Distances are weighed by the uncertainty of the answer, so
that neither twenty shots of one doubtful scene nor twenty sure outliers are asked for:

    next = argmax_i  u_i * min_{j chosen or labelled} ||x_i - x_j||,   u_i = entropy of p_i, in 0..1
"""

from __future__ import annotations

import numpy as np

_SURE = 0.05  # a sure answer far from everything still counts a little: it may be surely wrong


def most_useful(
    embeddings: np.ndarray,
    probabilities: np.ndarray,
    count: int,
    *,
    labelled: np.ndarray | None = None,
) -> list[int]:
    """Row numbers of the `count` (or fewer) examples to label, the most useful first.

    `embeddings` (n, dim) and `probabilities` (n, classes) belong to the candidates, `labelled`
    (m, dim) are embeddings of what has a label already. Rows that are not finite are never chosen;
    equal rows are chosen once.

    >>> x = np.array([[0.0], [0.1], [5.0]])
    >>> p = np.array([[0.5, 0.5], [0.5, 0.5], [0.6, 0.4]])
    >>> most_useful(x, p, 2)
    [0, 2]
    """
    points = np.asarray(embeddings, dtype=np.float64)
    usable = np.isfinite(points).all(1) & np.isfinite(probabilities).all(1)
    points = np.where(usable[:, None], points, 0.0)
    unsure = np.maximum(uncertainty(probabilities), _SURE)
    nearest = np.full(len(points), np.inf)
    for other in np.asarray(labelled if labelled is not None else [], np.float64):
        nearest = np.minimum(nearest, np.linalg.norm(points - other, axis=1))
    chosen: list[int] = []
    while len(chosen) < min(count, int(usable.sum())):
        reach = np.where(np.isinf(nearest), 1.0, nearest)
        score = np.where(usable, unsure * reach, -1.0)
        best = int(score.argmax())
        if score[best] <= 0:
            break
        chosen.append(best)
        nearest = np.minimum(nearest, np.linalg.norm(points - points[best], axis=1))
    return chosen


def uncertainty(probabilities: np.ndarray) -> np.ndarray:
    """Entropy of each row of `probabilities` (n, classes) as a share of the largest possible one.

    >>> uncertainty(np.array([[1.0, 0.0], [0.5, 0.5]])).tolist()
    [0.0, 1.0]
    """
    p = np.clip(np.nan_to_num(np.asarray(probabilities, dtype=np.float64)), 0.0, 1.0)
    logs = np.log(p, where=p > 0, out=np.zeros_like(p))
    entropy = -(p * logs).sum(1) / np.log(max(p.shape[1], 2))
    return np.asarray(np.abs(entropy))
