"""A pre-trained encoder behind one small interface: ordered blocks, an embedding, a frozen trunk.

The embedding joins the final pooled features with what the blocks before them saw (see `pooling`).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import torch
from safetensors.torch import load_file, save_file
from torch import nn

from regraft.backbones.blocks import Block, norm_and_bias_names, ordered_blocks
from regraft.backbones.loading import BackboneSpec, build
from regraft.backbones.pooling import mean_and_covariance, power_normalise

if TYPE_CHECKING:
    from torch.utils.hooks import RemovableHandle


Measured = TypeVar("Measured")


class _TrunkReached(Exception):
    """Ends a forward pass where the frozen trunk ends."""


class Encoder(nn.Module):
    """A timm model without classifier.

    Attributes
    ----------
    blocks : list of `Block`, from the input to the output.
    taps : indices of the blocks whose pooled output joins the embedding.
    dim : length of the embedding.
    """

    def __init__(self, spec: BackboneSpec, model: nn.Module) -> None:
        super().__init__()
        self.spec = spec
        self.model = model.to(memory_format=torch.channels_last)
        self.blocks: list[Block] = ordered_blocks(model)
        tappable = [block.index for block in self.blocks[1:-1] if block.output]
        self.taps: list[int] = tappable[-spec.taps :] if spec.taps else []
        self._frozen: set[int] = set()
        self._keep_statistics = True
        self._tap_channels: dict[int, int] = {}
        self.tap_dims: dict[int, int] = {}
        self.dim = self._measure_dims()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(n, 3, size, size) normalised images to (n, dim) unit-length embeddings."""
        with self._tapping(self.taps, self._pool) as pooled:
            final = self._final(x)
        return self._combine(pooled, final)

    embed = forward

    def _final(self, x: torch.Tensor) -> torch.Tensor:
        model: Any = self.model
        return model.forward_head(model.forward_features(x), pre_logits=True)

    # -- frozen trunk ---------------------------------------------------------------------------

    def trunk_end(self, trainable: set[int]) -> int | None:
        """The last block before the first trainable one after which the network can be cut."""
        first = min(trainable, default=len(self.blocks))
        ends = [block.index for block in self.blocks[:first] if block.output]
        return ends[-1] if ends else None

    @torch.inference_mode()
    def trunk(self, x: torch.Tensor, end: int) -> tuple[torch.Tensor, torch.Tensor]:
        """What blocks 0..end compute: the activation, and the pooled taps (n, sum of dims)."""
        kept: list[torch.Tensor] = []

        def stop(module: nn.Module, args: Any, output: torch.Tensor) -> None:
            kept.append(output)
            raise _TrunkReached

        inside = [index for index in self.taps if index <= end]
        with self._tapping(inside, self._pool) as pooled:
            hook = self._block_module(end).register_forward_hook(stop)
            try:
                self._final(x)
            except _TrunkReached:
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

    @torch.inference_mode()
    def trunk_is_exact(self, x: torch.Tensor, end: int) -> bool:
        """Whether cutting after block `end` gives the same embedding as the whole network."""
        was_training = self.training
        self.eval()
        try:
            whole = self(x)
            cut = self.from_trunk(*self.trunk(x, end), end)
        except RuntimeError:  # shapes do not fit: something bypasses the cut
            return False
        finally:
            self.train(was_training)
        return whole.shape == cut.shape and bool(torch.allclose(whole, cut, atol=1e-4))

    # -- freezing -------------------------------------------------------------------------------

    def freeze_except(
        self,
        trainable: set[int],
        *,
        keep_statistics: bool = True,
        parameters: Literal["all", "norm_bias", "lora"] = "all",
    ) -> None:
        """Train only these blocks, and of them only these parameters: all, those of normalisation
        layers and biases, or those of low-rank adapters. Frozen means parameters and buffers:
        frozen blocks stay in eval mode whatever `.train()` says. With `keep_statistics` the batch
        norms of trainable blocks keep their running statistics too."""
        self._frozen = {block.index for block in self.blocks} - trainable
        self._keep_statistics = keep_statistics
        chosen = self._names_of(parameters)
        named = dict(self.model.named_parameters())
        for block in self.blocks:
            for name in block.parameters:
                named[name].requires_grad_(block.index in trainable and name in chosen)
        self.train(self.training)

    def _names_of(self, parameters: str) -> set[str]:
        if parameters == "norm_bias":
            return norm_and_bias_names(self.model)
        names = {name for name, _ in self.model.named_parameters()}
        return {name for name in names if ".lora_" in name} if parameters == "lora" else names

    def rename_parameters(self, plain_name: Callable[[str], str]) -> None:
        """Find each block's parameters again after layers inside were wrapped or unwrapped.
        `plain_name` says what a parameter's name is, or stands for, in the plain network."""
        owner = {plain_name(name): block for block in self.blocks for name in block.parameters}
        names = [name for name, _ in self.model.named_parameters()]
        self.blocks = [
            replace(block, parameters=tuple(n for n in names if owner[plain_name(n)] is block))
            for block in self.blocks
        ]

    def train(self, mode: bool = True) -> Encoder:
        super().train(mode)
        if mode:
            self._hold_frozen()
        return self

    def _hold_frozen(self) -> None:
        frozen = {name for index in self._frozen for name in self.blocks[index].parameters}
        for path, module in self.model.named_modules():
            names = [f"{path}.{name}" if path else name for name, _ in module.named_parameters()]
            inside_frozen = bool(names) and all(name in frozen for name in names)
            is_batch_norm = isinstance(module, nn.modules.batchnorm._BatchNorm)
            if inside_frozen or (is_batch_norm and self._keep_statistics):
                module.eval()

    def parameters_of(self, index: int) -> list[nn.Parameter]:
        """The parameters of one block."""
        parameters = dict(self.model.named_parameters())
        return [parameters[name] for name in self.blocks[index].parameters]

    # -- files ----------------------------------------------------------------------------------

    def save(self, folder: Path) -> None:
        """Write weights and spec; `load_encoder` reads them."""
        folder.mkdir(parents=True, exist_ok=True)
        state = {name: value.contiguous() for name, value in self.state_dict().items()}
        save_file(state, folder / "model.safetensors")
        (folder / "backbone.json").write_text(json.dumps(self.spec.to_json(), indent=2))

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return next(self.parameters()).device

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
        except (AssertionError, RuntimeError):  # what networks raise where shapes do not fit
            return False
        finally:
            self.train(was_training)
        return found.shape == (1, self.dim)


def load_encoder(folder: Path) -> Encoder:
    """The encoder that `Encoder.save` wrote, in eval mode."""
    spec = BackboneSpec.from_json(json.loads((folder / "backbone.json").read_text()))
    encoder = Encoder(spec, build(spec.architecture, spec.model_args))
    encoder.load_state_dict(load_file(folder / "model.safetensors"))
    return encoder.eval()
