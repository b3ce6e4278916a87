"""The head that a student begins with: ridge regression on the teacher's logits, in closed form.

Source: Ba and Caruana, "Do Deep Nets Really Need to be Deep?", NeurIPS 2014, section 2.3 (a student
that regresses the teacher's logits); Hoerl and Kennard, 1970, for the penalty:

    min_W,b  strength * |answers - x W - b|^2 + |W|^2

x (views, dim) are the student's embeddings of every view, labelled or not, and answers the
teacher's logits of the same views, each row with mean 0. The strength is the one with the least
error on held-out groups. One fit is enough for that: residuals of a group that is left out are
(I - H_gg)^-1 r_g, with the hat matrix H and the residuals r (Cook and Weisberg, 1982, section 2.2).

>>> import numpy as np
>>> x = np.eye(4)[:, None]  # four examples, one view of each
>>> head = student_head(x, np.array([[[4.0, 2.0]]] * 2 + [[[0.0, 2.0]]] * 2), list("abcd"))
>>> head.logits(x[:, 0]).argmax(1).tolist()
[0, 0, 1, 1]
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from regraft.backbones.heads import LinearHead
from regraft.backbones.heads.linear import span

STRENGTHS = (1.0, 10.0, 100.0, 1000.0)
DEFAULT_STRENGTH = 100.0
MOST_VIEWS = 4096
"""More do not make the head better, and the cost grows with the cube."""


def chosen_examples(n: int, n_views: int) -> np.ndarray:
    """A regular sample of n examples whose views are worth fitting on."""
    return np.linspace(0, n - 1, min(n, max(MOST_VIEWS // n_views, 1))).astype(int)


def student_head(embeddings: np.ndarray, answers: np.ndarray, groups: Sequence[str]) -> LinearHead:
    """A head on `embeddings` (n, views, dim) that answers as the teacher does.

    `answers` (n, views, classes) are its logits; `groups` (n,) are left out together, and with a
    single one the strength is the default.
    """
    n_views = embeddings.shape[1]
    x = embeddings.reshape(-1, embeddings.shape[2]).astype(np.float64)
    y = answers.reshape(-1, answers.shape[2]).astype(np.float64)
    y -= y.mean(1, keepdims=True)
    group = np.repeat(np.unique(groups, return_inverse=True)[1], n_views)
    coordinates, basis, variances = span(x - x.mean(0))
    directions = coordinates / np.sqrt(variances)
    strength = DEFAULT_STRENGTH
    if group.max() > 0:
        errors = {
            one: _held_out_error(directions, variances / (variances + 1 / one), y, group)
            for one in STRENGTHS
        }
        strength = min(errors, key=lambda one: errors[one])
    weight = ((y.T @ coordinates) / (variances + 1 / strength)) @ basis
    return LinearHead(weight, y.mean(0) - weight @ x.mean(0), strength)


def _held_out_error(
    directions: np.ndarray, shrinkage: np.ndarray, y: np.ndarray, group: np.ndarray
) -> float:
    """Squared error of each group's answers by a head that has not seen it, summed over all.
    `directions` (n, rank) are orthonormal; the fit keeps `shrinkage` (rank,) of each."""
    shrunk = directions * shrinkage
    residuals = y - y.mean(0) - shrunk @ (directions.T @ y)
    error = 0.0
    for number in range(int(group.max()) + 1):
        own = np.flatnonzero(group == number)
        hat = 1 / len(y) + shrunk[own] @ directions[own].T
        error += float(np.square(np.linalg.solve(np.eye(len(own)) - hat, residuals[own])).sum())
    return error
