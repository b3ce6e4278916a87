"""Two encoders as one: an image and a text become their embeddings side by side.

The network reads one row of numbers per pair (see `packed`), so a pair is to the engine what an
image is. Blocks of both encoders are one list, in the order of their distance from the output: the
last two blocks are the last one of each. A missing image or text is a part of zeros, which a fusion
head answers without (`heads.fusion`). Where the head reads places, what the encoders say of regions
and words follows behind the embeddings.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal, cast

import torch
from torch import nn

from regraft.backbones.blocks import Block
from regraft.backbones.blockwise import BlockwiseEncoder
from regraft.backbones.encoder import Encoder
from regraft.backbones.loading import BackboneSpec, build
from regraft.backbones.transformer import (
    TransformerEncoder,
    TransformerSpec,
    blank_transformer,
    embed_texts,
)

IMAGE, TEXT = "image", "text"
_FLAGS = 2
_GRID, _WORDS = 4, 32  # regions per side of an image, tokens from the beginning of a text


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
    def places(self) -> tuple[tuple[int, int], ...]:
        return (_GRID**2, self.image.region_channels), (_WORDS, self.text.hidden_size)

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
        """Rows of `packed` to (n, dim), behind which local features follow where `reads_places`
        says so; each part has length 1, or 0 where it is missing."""
        size = self.image.input_size
        flags, pixels, tokens = x.split([_FLAGS, 3 * size**2, x.shape[1] - _FLAGS - 3 * size**2], 1)
        images, texts = pixels.reshape(-1, 3, size, size), tokens.reshape(len(x), 2, -1).long()
        return self.joined(
            self._there(self.of_images, images, flags[:, 0] > 0, length=self._lengths[0]),
            self._there(self._of_tokens, texts, flags[:, 1] > 0, length=self._lengths[1]),
        )

    embed = forward

    def of_images(self, x: torch.Tensor) -> torch.Tensor:
        """Embeddings of images (n, 3, size, size), with their regions where these are read:
        (n, image dim + any length)."""
        if not self.reads_places:
            return self.image(x)
        embedding, regions = self.image.with_regions(x, _GRID)
        return torch.cat([embedding, regions.flatten(1)], 1)

    def of_texts(self, texts: Sequence[str]) -> torch.Tensor:
        """The same of texts and their words, in eval mode."""
        words = _WORDS if self.reads_places else 0
        return torch.from_numpy(embed_texts(self.text, texts, words=words))

    def joined(self, images: torch.Tensor, texts: torch.Tensor) -> torch.Tensor:
        """What `forward` returns, from what `of_images` and `of_texts` say of the same pairs."""
        (image, regions), (text, words) = (
            side.tensor_split([dim], 1)
            for side, dim in zip((images, texts), self.parts, strict=True)
        )
        return torch.cat([image, text, regions, words], 1)

    def _of_tokens(self, x: torch.Tensor) -> torch.Tensor:
        if not self.reads_places:
            return self.text(x)
        embedding, words = self.text.with_words(x, _WORDS)
        return torch.cat([embedding, words.flatten(1)], 1)

    @property
    def _lengths(self) -> list[int]:
        """Of what is encoded of either modality."""
        local = [n * width for n, width in self.places] if self.reads_places else [0, 0]
        return [dim + length for dim, length in zip(self.parts, local, strict=True)]

    @staticmethod
    def _there(
        encode: Callable[[torch.Tensor], torch.Tensor],
        x: torch.Tensor,
        there: torch.Tensor,
        *,
        length: int,
    ) -> torch.Tensor:
        """What is encoded (n, length) of the rows that are there; zeros of the others."""
        if there.all():
            return encode(x)
        found = torch.zeros(len(x), length, device=x.device)
        if there.any():
            found = found.index_put((there.nonzero()[:, 0],), encode(x[there]).float())
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
        found = PairEncoder(change(self.image), change(self.text), locked=self.spec.locked)
        found.reads_places = self.reads_places
        return found

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
