"""An encoder with a head: the classifier that tasks build, train and save."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import nn

from regraft.backbones.blockwise import BlockwiseEncoder
from regraft.backbones.folding import folded
from regraft.backbones.heads import CacheHead, FusionHead
from regraft.errors import UserError
from regraft.tasks.image_views import views_of


class Classifier(nn.Module):
    """An encoder and a head: linear, or a cache model (see `set_head`).

    `test_views` views of an image are averaged (as logits) when predicting;
    `temperature` divides the logits before the softmax (Guo et al., ICML 2017).

    `auxiliary` are the classes of further tasks by name (hard parameter sharing: Caruana,
    "Multitask Learning", Machine Learning 28, 1997). Their rows of the head follow those of
    `classes`, in this order; `auxiliary_temperatures` are theirs. The model itself answers with
    `classes` alone.
    """

    def __init__(
        self,
        encoder: BlockwiseEncoder,
        classes: list[str],
        *,
        test_views: int = 1,
        auxiliary: dict[str, list[str]] | None = None,
    ) -> None:
        super().__init__()
        self.encoder = encoder
        self.classes = classes
        self.test_views = test_views
        self.temperature = 1.0
        self.auxiliary = auxiliary or {}
        self.auxiliary_temperatures = dict.fromkeys(self.auxiliary, 1.0)
        rows = len(classes) + sum(map(len, self.auxiliary.values()))
        self.head: nn.Linear | CacheHead | FusionHead = nn.Linear(encoder.dim, rows)

    @property
    def auxiliary_columns(self) -> dict[str, slice]:
        """Where the logits of each auxiliary task are among those of the head."""
        return columns_of(len(self.classes), self.auxiliary)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Images (n, 3, size, size) to logits (n, classes)."""
        return self.of_classes(self.head(self.encoder(x)))

    def of_classes(self, logits: torch.Tensor) -> torch.Tensor:
        """What the head's logits (n, rows) say of the classes: (n, classes)."""
        return logits[:, : len(self.classes)] if self.auxiliary else logits

    def for_inference(self) -> Classifier:
        """What answers like this model as it is now, with less arithmetic: the head is shared, the
        encoder a folded copy (`backbones.folding`). It must not be trained or saved."""
        other = copy.copy(self.eval())
        other._modules = dict(self._modules)
        other.encoder = folded(self.encoder)
        return other

    @torch.inference_mode()
    def averaged_logits(self, x: torch.Tensor) -> torch.Tensor:
        """Logits (n, classes), mean over the test views."""
        return self.of_classes(self.averaged_rows(x))

    @torch.inference_mode()
    def averaged_rows(self, x: torch.Tensor) -> torch.Tensor:
        """Logits (n, rows) of all tasks, mean over the test views."""
        return self.averaged(x)[0]

    @torch.inference_mode()
    def averaged(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Logits (n, rows) of all tasks and embeddings (n, dim), both mean over the test views."""
        self.eval()
        embeddings = [self.encoder(view) for view in self.views(x)]
        rows = torch.stack([self.head(embedding) for embedding in embeddings]).mean(0)
        return rows, torch.stack(embeddings).mean(0)

    def views(self, x: torch.Tensor) -> list[torch.Tensor]:
        """What the network sees of inputs, one test view after the other."""
        return views_of(x, self.test_views, self.encoder.closer_share)

    def set_auxiliary_head(self, weight: np.ndarray, bias: np.ndarray) -> None:
        """Put in the rows of the auxiliary tasks: weight (their classes, dim), bias."""
        own = {name: value.clone() for name, value in self.head.state_dict().items()}
        for name, rows in (("weight", weight), ("bias", bias)):
            own[name][len(self.classes) :] = torch.from_numpy(np.asarray(rows, dtype=np.float32))
        self.head.load_state_dict(own)

    def set_head(self, weight: np.ndarray, bias: np.ndarray, **cache: Any) -> None:
        """Put in a head that was fitted on features: weight (classes, dim), bias (classes,), and
        of a cache model the other arrays of `CacheModel.arrays`. Auxiliary rows stay.

        Raises
        ------
        UserError
            A cache model for several tasks: its keys vote for the classes of one.
        """
        if self.auxiliary and cache:
            raise UserError(
                "a cache model answers one task",
                where="features.head",
                got=f"cache_model with the auxiliary tasks {', '.join(self.auxiliary)}",
                expected="auto or a linear head",
            )
        if self.auxiliary:
            kept = {name: value.cpu().numpy() for name, value in self.head.state_dict().items()}
            weight = np.concatenate([weight, kept["weight"][len(self.classes) :]])
            bias = np.concatenate([bias, kept["bias"][len(self.classes) :]])
        arrays = {"weight": weight, "bias": bias}
        if cache:
            arrays = {f"linear.{name}": value for name, value in arrays.items()} | cache
            n_keys, dim = np.shape(cache["keys"])
            self.head = CacheHead(dim, len(self.classes), n_keys).to(self.encoder.device)
        tensors = {
            name: torch.from_numpy(np.asarray(value, dtype=np.float32))
            for name, value in arrays.items()
        }
        self.head.load_state_dict(tensors)

    def load_state_dict(
        self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False
    ) -> Any:
        """As ever, and the head takes the form of the one whose weights these are."""
        if "head.keys" in state_dict:
            n_keys, dim = state_dict["head.keys"].shape
            self.head = CacheHead(dim, len(self.classes), n_keys).to(self.encoder.device)
        return super().load_state_dict(state_dict, strict=strict, assign=assign)


def columns_of(n_classes: int, auxiliary: dict[str, list[str]]) -> dict[str, slice]:
    """Where the logits of each auxiliary task are, behind those of `n_classes` main classes.

    >>> columns_of(3, {"crop": ["apple", "tomato"]})
    {'crop': slice(3, 5, None)}
    """
    found, start = {}, n_classes
    for name, classes in auxiliary.items():
        found[name] = slice(start, start + len(classes))
        start += len(classes)
    return found
