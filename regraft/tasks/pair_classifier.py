"""The classifier of pairs: as every other, and its head may be a fusion."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from regraft.backbones.heads.fusion import FusionHead
from regraft.tasks.classifier import Classifier

_PREFIX = "head."


class PairClassifier(Classifier):
    """See `Classifier`."""

    def set_head(
        self, weight: np.ndarray | None = None, bias: np.ndarray | None = None, **other: Any
    ) -> None:
        """Put in a linear head, or with `kind` among the arrays those of a `FusionHead`."""
        if "kind" not in other:
            assert weight is not None and bias is not None
            super().set_head(weight, bias, **other)
            return
        given = {"weight": weight, "bias": bias} if weight is not None else {}
        self._take(FusionHead(other | given))

    def load_state_dict(
        self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False
    ) -> Any:
        """As ever, and the head takes the form of the one whose weights these are."""
        if f"{_PREFIX}kind" in state_dict:
            own = {
                name.removeprefix(_PREFIX): value
                for name, value in state_dict.items()
                if name.startswith(_PREFIX)
            }
            self._take(FusionHead(own))
        return super().load_state_dict(state_dict, strict=strict, assign=assign)

    def _take(self, head: FusionHead) -> None:
        self.head = head.to(self.encoder.device)
        self.encoder.reads_places = head.reads_places

    @torch.inference_mode()
    def averaged(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """As ever; the embeddings (n, dim) are without local features."""
        rows, embeddings = super().averaged(x)
        return rows, embeddings[:, : self.encoder.dim]
