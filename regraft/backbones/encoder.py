"""A pre-trained encoder behind one small interface: ordered blocks, an embedding, a frozen trunk.

The embedding joins the final pooled features with what the blocks before them saw (see `pooling`).
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import torch
from safetensors.torch import load_file
from torch import nn

from regraft.backbones.blocks import ordered_blocks
from regraft.backbones.blockwise import BlockwiseEncoder, TrunkReached
from regraft.backbones.loading import BackboneSpec, build
from regraft.backbones.pooling import mean_and_covariance, power_normalise
from regraft.errors import UserError

if TYPE_CHECKING:
    from torch.utils.hooks import RemovableHandle


Measured = TypeVar("Measured")


class Encoder(BlockwiseEncoder):
    """A timm model without classifier.

    Attributes
    ----------
    taps : indices of the blocks whose pooled output joins the embedding.
    """

    def __init__(self, spec: BackboneSpec, model: nn.Module) -> None:
        super().__init__()
        self.spec = spec
        self.model = model.to(memory_format=torch.channels_last)
        self.blocks = ordered_blocks(model)
        tappable = [block.index for block in self.blocks[1:-1] if block.output]
        self.taps: list[int] = tappable[-spec.taps :] if spec.taps else []
        self._tap_channels: dict[int, int] = {}
        self.tap_dims: dict[int, int] = {}
        self.dim = self._measure_dims()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(n, 3, size, size) normalised images to (n, dim) unit-length embeddings."""
        with self._tapping(self.taps, self._pool) as pooled:
            final = self._final(x)
        return self._combine(pooled, final)

    embed = forward

    def with_regions(self, x: torch.Tensor, side: int) -> tuple[torch.Tensor, torch.Tensor]:
        """What `forward` returns, and what the network's last map says of each of side x side equal
        parts of the image, row by row: (n, side * side, `region_channels`).

        Raises UserError for a network whose last map has no places.
        """
        model: Any = self.model
        with self._tapping(self.taps, self._pool) as pooled:
            last = model.forward_features(x)
        if not isinstance(last, torch.Tensor) or last.ndim < 3:
            raise UserError(
                "this network does not say what is where in an image",
                where="backbone.name",
                got=self.spec.architecture,
                fix="leave cross_attention out of features.fusions",
            )
        places = self._positions(last).float().transpose(1, 2)
        grid = places.unflatten(2, (math.isqrt(places.shape[2]), -1))
        regions = nn.functional.adaptive_avg_pool2d(grid, side).flatten(2).transpose(1, 2)
        return self._combine(pooled, model.forward_head(last, pre_logits=True)), regions

    @cached_property
    def region_channels(self) -> int:
        """Numbers that `with_regions` has of a place."""
        was_training = self.training
        self.eval()
        try:
            with torch.inference_mode():
                blank = torch.zeros(1, *self.input_shape, device=self.device)
                return self.with_regions(blank, 1)[1].shape[2]
        finally:
            self.train(was_training)

    def _final(self, x: torch.Tensor) -> torch.Tensor:
        model: Any = self.model
        return model.forward_head(model.forward_features(x), pre_logits=True)

    # -- frozen trunk ---------------------------------------------------------------------------

    @torch.inference_mode()
    def trunk(self, x: torch.Tensor, end: int) -> tuple[torch.Tensor, torch.Tensor]:
        """What blocks 0..end compute: the activation, and the pooled taps (n, sum of dims)."""
        kept: list[torch.Tensor] = []

        def stop(module: nn.Module, args: Any, output: torch.Tensor) -> None:
            kept.append(output)
            raise TrunkReached

        inside = [index for index in self.taps if index <= end]
        with self._tapping(inside, self._pool) as pooled:
            hook = self._block_module(end).register_forward_hook(stop)
            try:
                self._final(x)
            except TrunkReached:
                pass
            finally:
                hook.remove()
        taps = [pooled[index] for index in inside]
        return kept[0], torch.cat(taps, 1) if taps else x.new_zeros(len(x), 0)

    def from_trunk(self, activation: torch.Tensor, taps: torch.Tensor, end: int) -> torch.Tensor:
        """The embedding (n, dim) from what `trunk` returned.

        The model's own forward runs on one dummy image up to the end of the trunk, where a hook
        puts the cached activation in: valid for every network whose rest reads only that one
        activation (`trunk_is_exact` checks it).
        """
        inside = [index for index in self.taps if index <= end]
        outside = [index for index in self.taps if index > end]
        size = self.spec.preprocessing.image_size
        dummy = activation.new_zeros(1, 3, size, size)

        def replace(module: nn.Module, args: Any, output: torch.Tensor) -> torch.Tensor:
            return activation

        hook = self._block_module(end).register_forward_hook(replace)
        try:
            with self._tapping(outside, self._pool) as pooled:
                final = self._final(dummy)
        finally:
            hook.remove()
        sizes = [self.tap_dims[index] for index in inside]
        cached = dict(zip(inside, taps.split(sizes, 1), strict=True)) if inside else {}
        return self._combine(cached | pooled, final)

    def blank(self) -> Encoder:
        """Another encoder of this spec, randomly initialised."""
        return Encoder(self.spec, build(self.spec.architecture, self.spec.model_args))

    @property
    def input_size(self) -> int:
        """Side of the square input in pixels."""
        return self.spec.preprocessing.image_size

    @property
    def closer_share(self) -> float:
        return self.spec.preprocessing.closer_share

    @property
    def input_shape(self) -> tuple[int, ...]:
        return (3, self.input_size, self.input_size)

    # -- helpers --------------------------------------------------------------------------------

    def _block_module(self, index: int) -> nn.Module:
        return self.model.get_submodule(self.blocks[index].output)

    @contextmanager
    def _tapping(
        self, indices: list[int], measure: Callable[[torch.Tensor], Measured]
    ) -> Iterator[dict[int, Measured]]:
        """While it is open, a forward pass fills in what `measure` makes of these blocks."""
        found: dict[int, Measured] = {}
        hooks: list[RemovableHandle] = []
        for index in indices:

            def keep(
                module: nn.Module, args: Any, output: torch.Tensor, index: int = index
            ) -> None:
                found[index] = measure(output)

            hooks.append(self._block_module(index).register_forward_hook(keep))
        try:
            yield found
        finally:
            for hook in hooks:
                hook.remove()

    def _positions(self, output: torch.Tensor) -> torch.Tensor:
        """(n, c, h, w), (n, h, w, c) or (n, tokens, c) to (n, positions, c)."""
        if output.ndim == 3:
            prefix = int(getattr(self.model, "num_prefix_tokens", 0))
            return output[:, prefix:]
        if getattr(self.model, "output_fmt", "NCHW") == "NHWC":
            return output.flatten(1, 2)
        return output.flatten(2).transpose(1, 2)

    def _pool(self, output: torch.Tensor) -> torch.Tensor:
        return mean_and_covariance(self._positions(output))

    def _combine(self, pooled: dict[int, torch.Tensor], final: torch.Tensor) -> torch.Tensor:
        """Means and final features as one part, each covariance as a part: (n, dim)."""
        taps = [(pooled[index], self._tap_channels[index]) for index in self.taps]
        parts = [torch.cat([*(tap[:, :width] for tap, width in taps), final.float()], 1)]
        parts += [tap[:, width:] for tap, width in taps if tap.shape[1] > width]
        return nn.functional.normalize(
            torch.cat([power_normalise(part) for part in parts], 1), dim=1
        )

    @torch.inference_mode()
    def _measure_dims(self) -> int:
        """Fill in the sizes of the taps and return the length of the embedding."""
        size = self.spec.preprocessing.image_size
        self.eval()

        def sizes(output: torch.Tensor) -> tuple[int, int]:
            return self._positions(output).shape[2], self._pool(output).shape[1]

        with self._tapping(self.taps, sizes) as found:
            final = self._final(torch.zeros(1, 3, size, size))
        self._tap_channels = {index: channels for index, (channels, _) in found.items()}
        self.tap_dims = {index: dim for index, (_, dim) in found.items()}
        return sum(self.tap_dims.values()) + final.shape[1]

    @torch.inference_mode()
    def takes_image_size(self, size: int) -> bool:
        """Whether the network computes at this size; some with positions take only their own."""
        was_training = self.training
        self.eval()
        try:
            found = self(torch.zeros(1, 3, size, size, device=self.device))
        except (AssertionError, RuntimeError, ValueError):  # raised where shapes do not fit
            return False
        finally:
            self.train(was_training)
        return found.shape == (1, self.dim)


def load_encoder(folder: Path) -> BlockwiseEncoder:
    """The encoder that `save` wrote, in eval mode."""
    encoder = blank_encoder(json.loads((folder / "backbone.json").read_text()), folder)
    encoder.load_state_dict(load_file(folder / "model.safetensors"))
    return encoder.eval()


def blank_encoder(spec: dict[str, Any], folder: Path) -> BlockwiseEncoder:
    """An encoder of this spec (as JSON), randomly initialised; `folder` is where `save_beside`
    wrote."""
    if spec.get("kind") == "transformer":
        from regraft.backbones.transformer import blank_transformer

        return blank_transformer(spec, folder)
    if spec.get("kind") == "audio":
        from regraft.backbones.audio_encoder import blank_audio

        return blank_audio(spec)
    if spec.get("kind") == "pair":
        from regraft.backbones.pair_encoder import blank_pair_encoder

        return blank_pair_encoder(spec, folder)
    found = BackboneSpec.from_json(spec)
    return Encoder(found, build(found.architecture, found.model_args))
