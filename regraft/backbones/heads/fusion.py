"""A fusion as a head: from the embeddings of an image and a text, side by side, to classes.

    l_image, l_text = log softmax of a linear head on either embedding, or that of the kind of
                      answer and then of the answer (`transfer.fusion.two_stages`)
    logits = joint(image, text, l_image, l_text) where both are there, else l of the one that is

With cross-attention local features follow behind the embeddings (`backbones.pair_encoder`).

`joint` is that of the fusion whose formula and source `regraft.transfer.fusion.<kind>` gives; here
it is written once more, in tensors, so that gradients reach both encoders. A part of zeros is a
missing modality.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import nn
from torch.nn import functional

from regraft.backbones.heads import cross_attention
from regraft.backbones.heads.linear import Array

_LEARNED = {
    "image_weight", "image_bias", "text_weight", "text_bias", "weight", "bias", "numbers",
    *cross_attention.LEARNED,
}  # fmt: skip
_SMALLEST = 1e-12


@dataclass(frozen=True)
class FusionModel:
    """What was fitted: `values` are the tensors of a `FusionHead` by name, and `kind`, the name of
    the fusion; `cv_accuracy` and its interval as in `LinearHead`."""

    values: Mapping[str, Array]
    cv_accuracy: float | None = None
    cv_low: float | None = None
    cv_high: float | None = None
    strength: float = 0.0

    def logits(self, features: ArrayLike) -> Array:
        """Unnormalised scores (n, classes) of `features` (n, dim)."""
        x = torch.from_numpy(np.asarray(features, dtype=np.float32))
        with torch.inference_mode():
            return np.asarray(FusionHead(self.values)(x).numpy())

    def scaled(self, factor: float) -> FusionModel:
        """The same with the logits of `joint` multiplied by `factor`."""
        scale = np.asarray(self.values.get("scale", 1.0)) * factor
        return replace(self, values={**self.values, "scale": scale})

    def arrays(self) -> dict[str, Any]:
        """What `FusionHead` is made of and an .npz file holds."""
        return dict(self.values)


class FusionHead(nn.Module):
    """`FusionModel` as a module: (n, image dim + text dim) to (n, classes)."""

    kind: torch.Tensor
    scale: torch.Tensor
    abstain_below: torch.Tensor
    image_weight: torch.Tensor
    image_bias: torch.Tensor
    text_weight: torch.Tensor
    text_bias: torch.Tensor

    def __init__(self, values: Mapping[str, Any]) -> None:
        super().__init__()
        given = dict(values)
        number = given.pop("kind")
        if not isinstance(number, torch.Tensor):
            number = torch.tensor(_KINDS.index(str(number)))
        self.register_buffer("kind", number)
        self.register_buffer("scale", _tensor(given.pop("scale", 1.0)))
        self.register_buffer("abstain_below", _tensor(given.pop("abstain_below", 0.0)))
        for name, value in given.items():
            if name in _LEARNED:
                self.register_parameter(name, nn.Parameter(_tensor(value)))
            else:
                self.register_buffer(name, _tensor(value))
        self._joint = _JOINTS[self.name]
        self._parts = [self.image_weight.shape[1], self.text_weight.shape[1]]

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Logits (n, classes) of embeddings (n, dim), behind which local features may stand."""
        image, text, local = x.float().tensor_split([self._parts[0], sum(self._parts)], 1)
        seen, read = (part.abs().amax(1, keepdim=True) > 0 for part in (image, text))
        of_image, of_text = _expert(self, image, "image_"), _expert(self, text, "text_")
        joint = self.scale * self._joint(self, _Pairs(image, text, local, of_image, of_text))
        alone: torch.Tensor = torch.where(seen, of_image, of_text)
        return torch.where(seen & read, joint, alone)

    @property
    def name(self) -> str:
        """Who answers where both modalities are there: a kind of fusion, `image` or `text`."""
        return _KINDS[int(self.kind)]

    @property
    def reads_places(self) -> bool:
        """Whether local features have to stand behind the embeddings."""
        return self._joint is _cross_attention

    @property
    def aligned(self) -> bool:
        """Whether `match` can be asked for."""
        return hasattr(self, "match_image_mean")

    @torch.inference_mode()
    def sides(self, embeddings: ArrayLike) -> tuple[Array, Array]:
        """Images and texts (n, rank) in the space of their alignment (`training.alignment`), of
        unit length, from embeddings (n, dim); NaN where a modality is missing."""
        x = torch.as_tensor(np.asarray(embeddings, dtype=np.float32)).to(self.scale.device)
        found, parts = [], x[:, : sum(self._parts)].split(self._parts, 1)
        for name, part in zip(("image", "text"), parts, strict=True):
            mean, projection = (
                getattr(self, f"match_{name}_{what}") for what in ("mean", "projection")
            )
            missing = part.abs().amax(1, keepdim=True) == 0
            mapped = functional.normalize((part - mean) @ projection.T, dim=1)
            found.append(torch.where(missing, torch.nan, mapped).cpu().numpy())
        return found[0], found[1]

    def match(self, embeddings: ArrayLike) -> Array:
        """Cosines (n,) of image and text after their alignment; NaN where a modality is missing."""
        image, text = self.sides(embeddings)
        return np.asarray((image * text).sum(1))


@dataclass(frozen=True)
class _Pairs:
    """Embeddings of images and texts (n, dim), local features (n, any length) and what the experts
    say, (n, classes)."""

    image: torch.Tensor
    text: torch.Tensor
    local: torch.Tensor
    of_image: torch.Tensor
    of_text: torch.Tensor


def _tensor(value: Any) -> torch.Tensor:
    return torch.as_tensor(np.asarray(value), dtype=torch.float32).clone()


def _expert(head: Any, x: torch.Tensor, side: str = "") -> Any:
    """Log-probabilities (n, classes) of features (n, dim), as `transfer.fusion.expert`."""
    weight, bias = (getattr(head, f"{side}{name}") for name in ("weight", "bias"))
    scores = functional.linear(x, weight, bias)
    if not hasattr(head, f"{side}stage_common"):
        return scores.log_softmax(1)
    common = getattr(head, f"{side}stage_common") > 0
    sums = torch.stack([scores[:, own].sum(1) for own in (~common, common)], 1)
    rare, often = (getattr(head, f"{side}stage_scale") * sums).log_softmax(1).split(1, 1)
    found = scores
    for own, kind in ((~common, rare), (common, often)):
        within = scores.masked_fill(~own, -torch.inf).logsumexp(1, keepdim=True)
        found = torch.where(own, scores - within + kind, found)
    return found


def _image(head: Any, pairs: _Pairs) -> Any:
    return pairs.of_image


def _text(head: Any, pairs: _Pairs) -> Any:
    return pairs.of_text


def _concatenated(head: Any, pairs: _Pairs) -> Any:
    return _expert(head, torch.cat([pairs.image, pairs.text], 1))


def _weighted(head: Any, pairs: _Pairs) -> Any:
    return _mixture(head.numbers[0], pairs)


def _learned(head: Any, pairs: _Pairs) -> Any:
    a, b, c = head.numbers
    return a * pairs.of_image + b * pairs.of_text + c * head.prior


def _gated(head: Any, pairs: _Pairs) -> Any:
    sure = [torch.ones_like(pairs.of_image[:, 0])]
    for one in (pairs.of_image, pairs.of_text):
        sure += [one.amax(1), -(one.exp() * one).sum(1)]
    gate = torch.sigmoid((torch.stack(sure, 1) @ head.numbers).clamp(-30, 30))
    return _mixture(gate[:, None], pairs)


def _bilinear(head: Any, pairs: _Pairs) -> Any:
    seen, read = (
        functional.normalize((part - mean) @ basis.T, dim=1)
        for part, mean, basis in (
            (pairs.image, head.image_mean, head.image_basis),
            (pairs.text, head.text_mean, head.text_basis),
        )
    )
    products = (read[:, :, None] * seen[:, None, :]).flatten(1)
    return _expert(head, torch.cat([pairs.text, head.share * products], 1))


def _cross_attention(head: Any, pairs: _Pairs) -> Any:
    given = dict(head.named_parameters()) | dict(head.named_buffers())
    regions, words = cross_attention.places(given, pairs.local)
    tokens = (
        cross_attention.tokens(given, "image", pairs.image, regions),
        cross_attention.tokens(given, "text", pairs.text, words),
    )
    found = cross_attention.attended(given, *tokens)
    return cross_attention.answers(given, found, pairs.of_image, pairs.of_text)


def _mixture(weight: Any, pairs: _Pairs) -> Any:
    both = weight * pairs.of_image.exp() + (1 - weight) * pairs.of_text.exp()
    return both.clamp(min=_SMALLEST).log()


_JOINTS: dict[str, Callable[..., torch.Tensor]] = {
    "image": _image,
    "text": _text,
    "concatenated": _concatenated,
    "weighted": _weighted,
    "learned": _learned,
    "gated": _gated,
    "bilinear": _bilinear,
    "cross_attention": _cross_attention,
}
_KINDS = list(_JOINTS)
