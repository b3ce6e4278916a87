"""CDAN: the adversary sees the embedding and the predicted classes together.

Source: Long et al., "Conditional Adversarial Domain Adaptation", NeurIPS 2018, equations 5 to 9.
The domain classifier reads h = f x g, the outer product of embedding f (dim) and probabilities g
(classes), so that each class is aligned with its own. Where dim * classes is longer than
`projection`, h is the randomised product (R_f f) * (R_g g) with fixed normal R_f, R_g, whose inner
products are those of f x g in expectation (theorem 1). With entropy weighting an example counts
1 + exp(-H(g)): CDAN+E. As in the authors' code g passes no gradient.

>>> f, g = torch.tensor([[1.0, 2.0]]), torch.tensor([[0.25, 0.75]])
>>> outer_product(f, g).tolist()
[[0.25, 0.75, 0.5, 1.5]]
"""

from __future__ import annotations

import numpy as np
import torch

from regraft.transfer.objective import Objective
from regraft.transfer.objectives.adversary import DomainClassifier, adversarial_loss
from regraft.transfer.objectives.domains import dims_of, target_of
from regraft.transfer.objectives.reversal import growing_scale
from regraft.transfer.step import Batch, Start, Step


class Term(Objective):
    """The adversary's loss; log 2 means that it cannot tell the domains."""

    needs_unlabelled = True
    classifier: DomainClassifier
    embedding_map: torch.Tensor | None
    class_map: torch.Tensor | None

    def __init__(
        self, *, hidden: int = 256, projection: int = 512, entropy_weighting: bool = True
    ) -> None:
        super().__init__()
        self.hidden = hidden
        self.projection = projection
        self.entropy_weighting = entropy_weighting
        # Buffers, kept in the checkpoint: the classifier knows only this projection.
        self.register_buffer("embedding_map", None)
        self.register_buffer("class_map", None)

    def begin(self, start: Start) -> None:
        dim, classes = dims_of(start)
        length = min(dim * classes, self.projection)
        if dim * classes > self.projection:
            self.embedding_map = _normal(start.rng, dim, length)
            self.class_map = _normal(start.rng, classes, length)
        self.classifier = DomainClassifier(length, self.hidden)

    def forward(self, step: Step) -> torch.Tensor:
        source, target = step.labelled, target_of(step)
        return adversarial_loss(
            self.classifier,
            self._joint(source),
            self._joint(target),
            scale=growing_scale(step.progress),
            source_weights=self._weights(source),
            target_weights=self._weights(target),
        )

    def _joint(self, batch: Batch) -> torch.Tensor:
        """Embedding and classes in one vector whose coordinates are of order 1."""
        probabilities = batch.logits.detach().softmax(1)
        if self.embedding_map is None or self.class_map is None:
            joint = outer_product(batch.embeddings, probabilities)
            return joint * joint.shape[1] ** 0.5
        return (batch.embeddings @ self.embedding_map) * (probabilities @ self.class_map)

    def _weights(self, batch: Batch) -> torch.Tensor | None:
        if not self.entropy_weighting:
            return None
        log_p = batch.logits.detach().log_softmax(1)
        return 1 + torch.exp((log_p.exp() * log_p).sum(1))


def outer_product(embeddings: torch.Tensor, probabilities: torch.Tensor) -> torch.Tensor:
    """(n, dim) and (n, classes) to (n, dim * classes)."""
    return (embeddings.unsqueeze(2) * probabilities.unsqueeze(1)).flatten(1)


def _normal(rng: np.random.Generator, rows: int, columns: int) -> torch.Tensor:
    return torch.from_numpy(rng.standard_normal((rows, columns), dtype=np.float32))
