"""What every head on cached features needs: its form, its checks, the span of its examples."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from regraft.errors import UserError

Array = NDArray[Any]

_SMALL = 2**23  # numbers in the matrix that a head is fitted on: 64 MB


@dataclass(frozen=True)
class LinearHead:
    """A linear classifier: `weight` (classes, dim), `bias` (classes,).

    `strength` is the inverse penalty it was fitted with (0 where the head has none). `cv_accuracy`
    is the out-of-fold accuracy on the training examples with its 95 % interval `cv_low`,
    `cv_high`; all three are None where nothing could be cross-validated.
    """

    weight: Array
    bias: Array
    strength: float
    cv_accuracy: float | None = None
    cv_low: float | None = None
    cv_high: float | None = None

    def logits(self, features: ArrayLike) -> Array:
        """Unnormalised scores (n, classes) of `features` (n, dim)."""
        return np.asarray(features) @ self.weight.T + self.bias

    def scaled(self, factor: float) -> LinearHead:
        """The same head with its logits multiplied by `factor`."""
        return replace(self, weight=self.weight * factor, bias=self.bias * factor)

    def mapped(self, basis: Array) -> LinearHead:
        """The same head on features `x @ basis` with orthonormal rows `basis` (rank, dim)."""
        return replace(self, weight=self.weight @ basis)

    def arrays(self) -> dict[str, Any]:
        """What `Classifier.set_head` takes and an .npz file holds."""
        return {"weight": self.weight, "bias": self.bias}


def unit_rows(x: Array) -> Array:
    """The rows of x (n, dim) scaled to length 1; one of zeros stays."""
    return np.asarray(x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-12))


@contextmanager
def fitting_threads(features: ArrayLike) -> Iterator[None]:
    """One BLAS thread while it is open where the features (n, dim) are small. Their products take
    microseconds, and threads that wait for each other cost more than they share: logistic
    regression on 680 leaf photos took 0.5 CPU seconds with one thread, 3.5 with two on a busy
    machine."""
    from threadpoolctl import threadpool_limits

    n, dim = np.shape(features)
    with threadpool_limits(1 if n * min(n, dim) <= _SMALL else None, user_api="blas"):
        yield


def checked(features: ArrayLike, labels: ArrayLike) -> tuple[Array, Array]:
    x, y = np.asarray(features, dtype=np.float64), np.asarray(labels)
    if x.ndim != 2 or y.shape != x.shape[:1] or not len(y):
        raise UserError(
            "features and labels do not fit together",
            got=f"features {x.shape}, labels {y.shape}",
            expected="(n, dim) and (n,), n > 0",
        )
    if not np.isfinite(x).all():
        raise UserError("features hold NaN or infinite values", fix="check the backbone's weights")
    present = np.unique(y)
    if len(present) < 2 or not np.array_equal(present, np.arange(len(present))):
        raise UserError(
            "a head needs labels 0, 1, ... with an example of each",
            got=", ".join(map(str, present[:10])),
            expected="at least two classes, none without an example",
        )
    return x, y.astype(np.int64)


def span(centred: Array) -> tuple[Array, Array, Array]:
    """Coordinates (n, rank), orthonormal basis (rank, dim), squared singular values (rank,)."""
    if centred.shape[0] <= centred.shape[1]:
        variances, left = np.linalg.eigh(centred @ centred.T)
        keep = variances > max(variances[-1], 0) * 1e-10
        roots = np.sqrt(variances[keep])
        return (
            left[:, keep] * roots,
            (left[:, keep] / roots).T @ centred,
            variances[keep],
        )
    variances, right = np.linalg.eigh(centred.T @ centred)
    keep = variances > max(variances[-1], 0) * 1e-10
    return centred @ right[:, keep], right[:, keep].T, variances[keep]
