"""Nearest class mean (Mensink et al., TPAMI 2013; as prototypes: Snell et al., NeurIPS 2017).

    logit_k(x) = m_k . x - |m_k|^2 / 2,   m_k = mean of the class's features

>>> head = nearest_class_mean([[0.0, 1.0], [0.0, 3.0], [4.0, 0.0]], [0, 0, 1])
>>> head.logits([[0.0, 2.0], [4.0, 0.0]]).argmax(1).tolist()
[0, 1]
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from regraft.backbones.heads.linear import LinearHead, checked


def nearest_class_mean(features: ArrayLike, labels: ArrayLike) -> LinearHead:
    """Nearest class mean by Euclidean distance, written as a linear head (Mensink et al., 2013).

    Logits are `-|x - mean|^2 / 2` up to a term that all classes share.
    """
    x, y = checked(features, labels)
    means = np.stack([x[y == label].mean(0) for label in range(y.max() + 1)])
    return LinearHead(means, -0.5 * (means**2).sum(1), 0.0)
