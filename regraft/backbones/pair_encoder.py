"""Two encoders as one: an image and a text become their embeddings side by side.

The network reads one row of numbers per pair (see `packed`), so a pair is to the engine what an
image is. Blocks of both encoders are one list, in the order of their distance from the output: the
last two blocks are the last one of each. A missing image or text is a part of zeros, which a fusion
head answers without (`heads.fusion`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal, cast

import torch
from torch import nn

from regraft.backbones.blocks import Block
from regraft.backbones.blockwise import BlockwiseEncoder
from regraft.backbones.encoder import Encoder
from regraft.backbones.loading import BackboneSpec, build
from regraft.backbones.transformer import TransformerEncoder, TransformerSpec, blank_transformer

IMAGE, TEXT = "image", "text"
_FLAGS = 2


@dataclass(frozen=True)
class PairSpec:
    """What both encoders are built from; `locked` is the modality that never trains, or ''."""

    image: BackboneSpec
    text: TransformerSpec
    locked: str = ""
    kind: ClassVar[str] = "pair"

    @property
    def architecture(self) -> str:
        return f"{self.image.architecture} + {self.text.architecture}"

    @property
    def taps(self) -> int:
        """Those of the image encoder; see `features.taps`."""
        return self.image.taps

    def to_json(self) -> dict[str, Any]:
        return {
            "kind": self.kind,
            "architecture": self.architecture,
            "image": self.image.to_json(),
            "text": self.text.to_json(),
            "locked": self.locked,
        }


class PairEncoder(BlockwiseEncoder):
    """An image and a text encoder. `parts` are the lengths of their embeddings.

    encoder(encoder.packed(images, tokens))  # (n, image dim + text dim)
    """

    mixes = False

    def __init__(self, image: Encoder, text: TransformerEncoder, *, locked: str = "") -> None:
        super().__init__()
        self.spec = PairSpec(image.spec, text.spec, locked)
        self._encoders = [image, text]  # a plain list: `model` alone names the weights
        self.model = nn.ModuleDict({IMAGE: image.model, TEXT: text.model})
        self.blocks = [
            Block(index, tuple(f"{side}.{name}" for name in block.parameters), "")
            for index, (side, block) in enumerate(_by_depth({IMAGE: image, TEXT: text}))
        ]
        self.parts = (image.dim, text.dim)
        self.dim = sum(self.parts)

    @property
    def image(self) -> Encoder:
        return cast(Encoder, self._encoders[0])

    @property
    def text(self) -> TransformerEncoder:
        return cast(TransformerEncoder, self._encoders[1])

    def packed(self, images: torch.Tensor | None, tokens: torch.Tensor | None) -> torch.Tensor:
        """float32 (n, 2 + 3 * size * size + 2 * tokens) from images (n, 3, size, size) and ids
        with mask (n, 2, tokens). What is None is missing from all of these pairs."""
        n = len(cast(torch.Tensor, tokens if images is None else images))
        size = self.image.input_size
        flags = torch.tensor([[images is not None, tokens is not None]]).float().expand(n, _FLAGS)
        if images is None:
            images = torch.zeros(n, 3, size, size)
        if tokens is None:
            tokens = torch.zeros(n, 2, 1, dtype=torch.long)
        # ids of tokens are whole numbers far below 2 ** 24, which float32 holds exactly
        return torch.cat([flags, images.flatten(1), tokens.flatten(1).float()], 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Rows of `packed` to (n, dim); each part has length 1, or 0 where it is missing."""
        size = self.image.input_size
        flags, pixels, tokens = x.split([_FLAGS, 3 * size**2, x.shape[1] - _FLAGS - 3 * size**2], 1)
        parts = [
            self._part(self.image, pixels.reshape(-1, 3, size, size), flags[:, 0] > 0),
            self._part(self.text, tokens.reshape(len(x), 2, -1).long(), flags[:, 1] > 0),
        ]
        return torch.cat(parts, 1)

    embed = forward

    @staticmethod
    def _part(encoder: BlockwiseEncoder, x: torch.Tensor, there: torch.Tensor) -> torch.Tensor:
        found = x.new_zeros(len(x), encoder.dim, dtype=torch.float32)
        if there.all():
            found = encoder(x)
        elif there.any():
            found = found.index_put((there.nonzero()[:, 0],), encoder(x[there]).float())
        return found

    # -- the rest of the interface --------------------------------------------------------------

    def trunk_end(self, trainable: set[int]) -> int | None:
        """None: two activations of different depth are not cached."""
        return None

    def trunk(self, x: torch.Tensor, end: int) -> tuple[torch.Tensor, torch.Tensor]:
        raise NotImplementedError("two encoders are not cut; see trunk_end")

    def from_trunk(self, activation: torch.Tensor, taps: torch.Tensor, end: int) -> torch.Tensor:
        raise NotImplementedError("two encoders are not cut; see trunk_end")

    def freeze_except(
        self,
        trainable: set[int],
        *,
        keep_statistics: bool = True,
        parameters: Literal["all", "norm_bias", "lora"] = "all",
    ) -> None:
        """As of every encoder, and a locked modality stays frozen whatever a plan says (Zhai et
        al., "LiT", CVPR 2022)."""
        trainable = {index for index in trainable if self.modality_of(index) != self.spec.locked}
        super().freeze_except(trainable, keep_statistics=keep_statistics, parameters=parameters)

    def modality_of(self, index: int) -> str:
        """`image` or `text`."""
        return self.blocks[index].parameters[0].partition(".")[0]

    def with_encoders(self, change: Callable[[Any], Any]) -> PairEncoder:
        """The same of its encoders after a `change`."""
        return PairEncoder(change(self.image), change(self.text), locked=self.spec.locked)

    @property
    def input_size(self) -> int:
        """Side of the image in pixels."""
        return self.image.input_size

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Numbers in a row of `packed` whose text has as many tokens as are read."""
        return (_FLAGS + 3 * self.input_size**2 + 2 * self.text.input_size,)

    def takes_image_size(self, size: int) -> bool:
        """A pair is packed for one size."""
        return size == self.input_size

    def blank(self) -> PairEncoder:
        """Another encoder of this spec, randomly initialised."""
        return PairEncoder(self.image.blank(), self.text.blank(), locked=self.spec.locked)

    def save_beside(self, folder: Path) -> None:
        """Write the tokenizer."""
        self.text.save_beside(folder)


def blank_pair_encoder(spec: dict[str, Any], folder: Path) -> PairEncoder:
    """An encoder of this spec (as JSON), randomly initialised, with the tokenizer of `folder`."""
    image = BackboneSpec.from_json(spec[IMAGE])
    return PairEncoder(
        Encoder(image, build(image.architecture, image.model_args)),
        blank_transformer(spec[TEXT], folder),
        locked=spec["locked"],
    )


def _by_depth(encoders: dict[str, BlockwiseEncoder]) -> Iterator[tuple[str, Block]]:
    """The blocks of both with their side, by their distance from the output: what counts for
    unfreezing from the head down."""
    found = [
        (len(encoder.blocks) - block.index, side, block)
        for side, encoder in encoders.items()
        for block in encoder.blocks
        if block.parameters
    ]
    for _, side, block in sorted(found, key=lambda one: (-one[0], one[1])):
        yield side, block
