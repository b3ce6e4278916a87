"""What a sequence of tasks did to the model: how much it knows, keeps, and gains beforehand.

    R[i, j] = accuracy on the test examples of task j after training on task i      (T, T)

    average accuracy   1/T     sum_j       R[T, j]
    backward transfer  1/(T-1) sum_{j<T}   R[T, j] - R[j, j]        below 0: forgotten
    forward transfer   1/(T-1) sum_{j>1}   R[j-1, j] - b[j]         b: accuracy of chance
    forgetting         1/(T-1) sum_{j<T}   max_{i<T} R[i, j] - R[T, j]

Sources: the first three, Lopez-Paz and Ranzato, "Gradient Episodic Memory for Continual Learning",
NeurIPS 2017, equations 2 to 4; forgetting, Chaudhry et al., "Riemannian Walk for Incremental
Learning", ECCV 2018, equation 3 (whose maximum begins at task j: before, nothing was learned that
could be forgotten).

With disjoint classes a model that has one row per class seen so far cannot name a class before it
has seen it: then R[j-1, j] is 0 and, with b = 0, so is forward transfer.

>>> found = continual_metrics([[0.9, 0.0], [0.7, 0.8]])
>>> {name: round(value, 3) for name, value in found.items()}
{'average_accuracy': 0.75, 'backward_transfer': -0.2, 'forward_transfer': 0.0, 'forgetting': 0.2}
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from regraft.errors import UserError

Matrix = NDArray[np.float64]


def continual_metrics(
    accuracy: ArrayLike, chance: ArrayLike | None = None
) -> dict[str, float | None]:
    """The four figures of an accuracy matrix (T, T); row i is measured after task i.

    `chance` (T,) is what an untrained model reaches on each task, 0 by default. With one task the
    three differences are None: there is nothing to compare.

    Raises
    ------
    UserError
        The matrix is empty, not square, or holds something that is no accuracy.
    """
    matrix = _checked(accuracy)
    n = len(matrix)
    floor = np.zeros(n) if chance is None else np.asarray(chance, dtype=np.float64)
    if floor.shape != (n,):
        raise UserError("one accuracy of chance per task is needed", got=str(floor.shape))
    found: dict[str, float | None] = {"average_accuracy": float(matrix[-1].mean())}
    differences = {
        "backward_transfer": backward_transfer(matrix),
        "forward_transfer": np.diagonal(matrix, offset=1) - floor[1:],
        "forgetting": forgetting(matrix),
    }
    return found | {
        name: float(values.mean()) if len(values) else None for name, values in differences.items()
    }


def backward_transfer(matrix: Matrix) -> Matrix:
    """(T-1,): what learning the later tasks did to each of the earlier ones."""
    return np.asarray(matrix[-1, :-1] - np.diagonal(matrix)[:-1])


def forgetting(matrix: Matrix) -> Matrix:
    """(T-1,): how far each earlier task fell from the best it was at before the last task."""
    n = len(matrix)
    best = np.array([matrix[j : n - 1, j].max() for j in range(n - 1)])
    return np.asarray(best - matrix[-1, :-1])


def _checked(accuracy: ArrayLike) -> Matrix:
    matrix = np.asarray(accuracy, dtype=np.float64)
    if matrix.ndim != 2 or len(matrix) == 0 or matrix.shape[0] != matrix.shape[1]:
        raise UserError(
            "the accuracy matrix is not square",
            got=f"shape {matrix.shape}",
            expected="a row per task trained on, a column per task tested on",
        )
    if not ((matrix >= 0) & (matrix <= 1)).all():
        raise UserError(
            "the accuracy matrix holds something that is no accuracy",
            got=str(matrix.tolist()),
            expected="numbers from 0 to 1, none of them missing",
        )
    return matrix
