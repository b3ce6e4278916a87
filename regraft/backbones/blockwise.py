"""What every encoder has in common: ordered blocks that are frozen, trained and cut one by one.

`Encoder` (timm's networks), `TransformerEncoder` (transformers' text encoders) and `AudioEncoder`
(of waveforms) are the families; the engine asks for nothing that is not here.
"""

from __future__ import annotations

import json
from abc import abstractmethod
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import torch
from safetensors.torch import save_file
from torch import nn

from regraft.backbones.blocks import Block, norm_and_bias_names

if TYPE_CHECKING:
    from typing import Self


class TrunkReached(Exception):
    """Ends a forward pass where the frozen trunk ends."""


class Blockwise(nn.Module):
    """A network whose depth is a list of blocks, as plans freeze and train them.

    Attributes
    ----------
    model : the network.
    blocks : list of `Block`, from the input to the output.
    """

    model: nn.Module
    blocks: list[Block]

    def __init__(self) -> None:
        super().__init__()
        self._frozen: set[int] = set()
        self._keep_statistics = True

    def modality_of(self, index: int) -> str:
        """Which of several inputs this block reads; empty where there is one."""
        return ""

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
            replace(block, parameters=tuple(n for n in names if owner.get(plain_name(n)) is block))
            for block in self.blocks
        ]

    def train(self, mode: bool = True) -> Self:
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


class BlockwiseEncoder(Blockwise):
    """What turns inputs into embeddings.

    Attributes
    ----------
    spec : everything that is needed to build the network again; it has `to_json()`.
    model : the network of the library it comes from.
    dim : length of the embedding.
    mixes : whether a mean of two inputs is an input, as mixup and CutMix need it.
    parts : lengths of the parts of the embedding that are made of different inputs; () where there
        is one input.
    reads_places : whether local features follow behind the embedding.
    """

    spec: Any
    dim: int
    mixes: bool = True
    parts: tuple[int, ...] = ()
    reads_places: bool = False

    @property
    def places(self) -> tuple[tuple[int, int], ...]:
        """With `parts`, of each how many places it has and how many numbers say what is there."""
        return ()

    @property
    @abstractmethod
    def input_size(self) -> int:
        """How much the network reads: the side of an image in pixels, tokens of a text, or
        samples of a sound."""

    @property
    @abstractmethod
    def input_shape(self) -> tuple[int, ...]:
        """Shape of what the network reads of one example."""

    @abstractmethod
    def trunk(self, x: torch.Tensor, end: int) -> tuple[torch.Tensor, torch.Tensor]:
        """What blocks 0..end compute of x: the activation, and what else `from_trunk` needs of
        them, (n, any length)."""

    @abstractmethod
    def from_trunk(self, activation: torch.Tensor, taps: torch.Tensor, end: int) -> torch.Tensor:
        """The embedding (n, dim) from what `trunk` returned."""

    @abstractmethod
    def blank(self) -> Self:
        """Another encoder of this spec, randomly initialised."""

    @abstractmethod
    def takes_image_size(self, size: int) -> bool:
        """Whether the network computes on square images of this side."""

    def with_encoders(self, change: Callable[[Any], Any]) -> Self | None:
        """The same of its encoders after a `change`; None for what is not made of encoders."""
        return None

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return next(self.parameters()).device

    @property
    def closer_share(self) -> float:
        """Share of the sides of an image that every second test view keeps; 1 for what is none."""
        return 1.0

    # -- frozen trunk ---------------------------------------------------------------------------

    def trunk_end(self, trainable: set[int]) -> int | None:
        """The last block before the first trainable one after which the network can be cut."""
        first = min(trainable, default=len(self.blocks))
        ends = [block.index for block in self.blocks[:first] if block.output]
        return ends[-1] if ends else None

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

    # -- files ----------------------------------------------------------------------------------

    def save(self, folder: Path) -> None:
        """Write weights, spec and what else the encoder needs; `load_encoder` reads them."""
        folder.mkdir(parents=True, exist_ok=True)
        state = {name: value.contiguous() for name, value in self.state_dict().items()}
        save_file(state, folder / "model.safetensors")
        self.save_beside(folder)
        (folder / "backbone.json").write_text(json.dumps(self.spec.to_json(), indent=2))

    def save_beside(self, folder: Path) -> None:
        """Write what is needed beside weights and spec to read inputs: a tokenizer."""
