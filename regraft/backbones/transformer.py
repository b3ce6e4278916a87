"""Text encoders: any encoder of the transformers library behind the interface of all encoders.

Block 0 is the embeddings, each layer is one block. The embedding of a text is the mean of its
tokens after the last layer, of unit length (Reimers and Gurevych, "Sentence-BERT", EMNLP 2019,
section 3); with `taps` the means after so many layers before it join in.

The network reads one tensor (n, 2, tokens): ids and mask (see `tokens`). So a text is to the engine
what an image is: a row of a tensor, whose trunk can be cached and whose gradients flow alike.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from torch import nn

from regraft.backbones.blocks import Block
from regraft.backbones.blockwise import BlockwiseEncoder, TrunkReached
from regraft.backbones.tokens import TextTokens
from regraft.backbones.transformer_files import network_of
from regraft.errors import UserError

TOKENIZER = "tokenizer.json"
_LAYER_COUNTS = ("num_hidden_layers", "n_layers", "n_layer", "num_layers")


@dataclass(frozen=True)
class TransformerSpec:
    """Everything that is needed to build one text encoder again, without weights and tokenizer.

    Attributes
    ----------
    architecture : the name that was asked for.
    config : the configuration of transformers, with its `model_type`.
    max_tokens : longer texts are cut.
    taps : layers before the last whose mean joins the embedding.
    pretrained : where the weights came from: `embedded`, `hub`, `random` or a folder.
    tokenizer : sha256 of the tokenizer.
    """

    architecture: str
    config: dict[str, Any]
    max_tokens: int
    taps: int = 0
    pretrained: str = ""
    tokenizer: str = ""
    kind: ClassVar[str] = "transformer"

    def to_json(self) -> dict[str, Any]:
        return {"kind": self.kind, **asdict(self)}

    @staticmethod
    def from_json(values: dict[str, Any]) -> TransformerSpec:
        return TransformerSpec(**{name: v for name, v in values.items() if name != "kind"})


class TransformerEncoder(BlockwiseEncoder):
    """A transformers model without head, and its tokenizer as `tokens`.

    encoder(encoder.tokens.tensor(["What is asthma?"]))  # (1, 384)

    Attributes
    ----------
    hidden_size : numbers that a layer has of a token.
    """

    mixes = False

    def __init__(self, spec: TransformerSpec, model: nn.Module, tokens: TextTokens) -> None:
        super().__init__()
        self.spec = spec
        self.model = model
        self.tokens = tokens
        self._list = layer_list(model)
        self.blocks = blocks_of(model, self._list)
        n_layers = len(self._layers)
        self.taps: list[int] = list(range(n_layers - spec.taps, n_layers)) if spec.taps else []
        self.hidden_size = int(spec.config["hidden_size"])
        self.dim = self.hidden_size * (1 + len(self.taps))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(n, 2, tokens) ids and mask to (n, dim) unit-length embeddings."""
        return self._pooled(x)[0]

    embed = forward

    def with_words(self, x: torch.Tensor, count: int) -> tuple[torch.Tensor, torch.Tensor]:
        """What `forward` returns, and what the last layer says of each of the first `count` tokens,
        zeros behind the last one: (n, count, hidden)."""
        embedding, hidden = self._pooled(x)
        own = (hidden[:, :count] * x[:, 1, : min(count, hidden.shape[1]), None]).float()
        return embedding, nn.functional.pad(own, (0, 0, 0, count - own.shape[1]))

    def _pooled(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """The embedding (n, dim), and the last layer (n, tokens, hidden) up to the longest text."""
        x = x[:, :, : _longest(x[:, 1])]
        with self._tapping(self.taps, x[:, 1]) as pooled:
            final = self.hidden(x)
        means = [*(pooled[index] for index in self.taps), _mean(final, x[:, 1])]
        return _joined(means), final

    def hidden(self, x: torch.Tensor) -> torch.Tensor:
        """(n, 2, tokens) to what the last layer says of each token, (n, tokens, hidden)."""
        found = self.model(input_ids=x[:, 0], attention_mask=x[:, 1])
        hidden: torch.Tensor = found.last_hidden_state
        return hidden

    # -- frozen trunk ---------------------------------------------------------------------------

    @torch.inference_mode()
    def trunk(self, x: torch.Tensor, end: int) -> tuple[torch.Tensor, torch.Tensor]:
        """The activation (n, tokens, hidden) after block `end`, and the mask with the means of the
        taps up to there (n, tokens + sum of dims)."""
        kept: list[torch.Tensor] = []

        def stop(layer: nn.Module, args: Any, named: Any) -> None:
            kept.append(args[0] if args else named["hidden_states"])
            raise TrunkReached

        inside = [index for index in self.taps if index <= end]
        with self._tapping(inside, x[:, 1]) as pooled:
            hook = self._layers[end].register_forward_pre_hook(stop, with_kwargs=True)
            try:
                self.hidden(x)
            except TrunkReached:
                pass
            finally:
                hook.remove()
        return kept[0], torch.cat([x[:, 1].float(), *(pooled[index] for index in inside)], 1)

    def from_trunk(self, activation: torch.Tensor, taps: torch.Tensor, end: int) -> torch.Tensor:
        """The embedding (n, dim) from what `trunk` returned.

        The model's own forward runs with the layers after `end` alone, on padding; what reaches the
        first of them is exchanged for the activation (`trunk_is_exact` checks that this is all
        that the rest reads beside the mask).
        """
        full = activation.shape[1]
        mask = taps[:, :full].long()
        longest = _longest(mask)
        activation, mask = activation[:, :longest], mask[:, :longest]
        inside = [index for index in self.taps if index <= end]
        means = taps[:, full:].chunk(len(inside), 1) if inside else ()
        rest = nn.ModuleList(self._layers[end:])

        def exchange(layer: nn.Module, args: Any, named: Any) -> Any:
            if args:
                return (activation, *args[1:]), named
            return args, {**named, "hidden_states": activation}

        with (
            self._tapping([index for index in self.taps if index > end], mask) as pooled,
            self._only(rest),
        ):
            hook = rest[0].register_forward_pre_hook(exchange, with_kwargs=True)
            try:
                final = self.hidden(torch.stack([torch.zeros_like(mask), mask], 1))
            finally:
                hook.remove()
        known = dict(zip(inside, means, strict=True)) | pooled
        return _joined([*(known[index] for index in self.taps), _mean(final, mask)])

    # -- the rest of the interface --------------------------------------------------------------

    @property
    def input_size(self) -> int:
        """Tokens of the longest text that is read whole."""
        return self.spec.max_tokens

    @property
    def input_shape(self) -> tuple[int, ...]:
        return (2, self.input_size)

    def takes_image_size(self, size: int) -> bool:
        """A text has no size in pixels."""
        return False

    def blank(self) -> TransformerEncoder:
        """Another encoder of this spec, randomly initialised."""
        return TransformerEncoder(self.spec, network_of(self.spec.config), self.tokens)

    def save_beside(self, folder: Path) -> None:
        """Write the tokenizer."""
        (folder / TOKENIZER).write_text(self.tokens.json, encoding="utf-8")

    # -- helpers --------------------------------------------------------------------------------

    @property
    def _layers(self) -> nn.ModuleList:
        found = self.model.get_submodule(self._list)
        assert isinstance(found, nn.ModuleList)
        return found

    @contextmanager
    def _only(self, layers: nn.ModuleList) -> Iterator[None]:
        """While it is open, the model has these layers alone."""
        whole = self._layers
        self.model.set_submodule(self._list, layers)
        try:
            yield
        finally:
            self.model.set_submodule(self._list, whole)

    @contextmanager
    def _tapping(self, indices: list[int], mask: torch.Tensor) -> Iterator[dict[int, torch.Tensor]]:
        """While it is open, a forward pass fills in the mean (n, hidden) after these blocks."""
        found: dict[int, torch.Tensor] = {}
        hooks = []
        for index in indices:

            def keep(layer: nn.Module, args: Any, output: Any, index: int = index) -> None:
                hidden = output[0] if isinstance(output, tuple) else output
                found[index] = _mean(hidden, mask)

            hooks.append(self._layers[index - 1].register_forward_hook(keep))
        try:
            yield found
        finally:
            for hook in hooks:
                hook.remove()


def _longest(mask: torch.Tensor) -> int:
    """Columns up to the last one in which any row has text."""
    used = mask.any(0).nonzero()
    return int(used.max()) + 1 if len(used) else 1


def _mean(hidden: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Mean (n, hidden) over the tokens that are text; 0 where there are none."""
    weights = mask.unsqueeze(2).to(hidden.dtype)
    return (hidden * weights).sum(1) / weights.sum(1).clamp(min=1)


def _joined(means: list[torch.Tensor]) -> torch.Tensor:
    parts = [nn.functional.normalize(mean.float(), dim=1) for mean in means]
    return nn.functional.normalize(torch.cat(parts, 1), dim=1)


def layer_list(model: nn.Module) -> str:
    """Path of the list of layers: the longest list whose members are of one class.

    Raises ValueError for a network without one.
    """
    found = [
        (len(module), path)
        for path, module in model.named_modules()
        if isinstance(module, nn.ModuleList) and len({type(one) for one in module}) == 1
    ]
    if not found:
        raise ValueError("the network has no list of layers")
    return max(found, key=lambda one: one[0])[1]


def blocks_of(model: nn.Module, layers: str) -> list[Block]:
    """Block 0 with what comes before the layers, a block per layer, and in the last one also what
    comes after them. Embeddings that stand behind the layers (of relative positions) belong to
    block 0: every layer reads them."""
    n_layers = len(list(model.get_submodule(layers).children()))
    names = [name for name, _ in model.named_parameters()]
    found: list[list[str]] = [[] for _ in range(n_layers + 1)]
    for name in names:
        if name.startswith(f"{layers}."):
            found[int(name.removeprefix(f"{layers}.").split(".")[0]) + 1].append(name)
        else:
            behind = any(found[1:]) and "embed" not in name.lower()
            found[-1 if behind else 0].append(name)
    outputs = ["embeddings", *(f"{layers}.{index}" for index in range(n_layers))]
    return [Block(i, tuple(found[i]), outputs[i]) for i in range(n_layers + 1)]


def with_layers(
    encoder: TransformerEncoder, count: int, *, taps: int | None = None
) -> TransformerEncoder:
    """A copy with `count` of the layers, evenly spaced, the last one among them, and with as many
    taps, or so many.

    Raises
    ------
    UserError
        More layers than there are, or fewer than the taps need.
    """
    there = len(encoder.blocks) - 1
    taps = encoder.spec.taps if taps is None else taps
    if not taps < count <= there:
        raise UserError(
            "the encoder cannot have so many layers",
            where="distillation.student.layers",
            got=str(count),
            expected=f"{taps + 1} to {there}",
        )
    model = copy.deepcopy(encoder.model)
    path = layer_list(model)
    layers = list(model.get_submodule(path).children())
    kept = [layers[round((number + 1) * there / count) - 1] for number in range(count)]
    model.set_submodule(path, nn.ModuleList(kept))
    config = encoder.spec.config
    changed = {name: count for name in _LAYER_COUNTS if config.get(name) == there}
    return TransformerEncoder(
        replace(encoder.spec, config=config | changed, taps=taps), model, encoder.tokens
    ).eval()


def blank_transformer(spec: dict[str, Any], folder: Path) -> TransformerEncoder:
    """An encoder of this spec (as JSON), randomly initialised, with the tokenizer of `folder`."""
    found = TransformerSpec.from_json(spec)
    text = (folder / TOKENIZER).read_text(encoding="utf-8")
    tokens = TextTokens(
        text, max_tokens=found.max_tokens, pad_id=found.config.get("pad_token_id") or 0
    )
    return TransformerEncoder(found, network_of(found.config), tokens)


@torch.inference_mode()
def embed_texts(
    encoder: TransformerEncoder, texts: Sequence[str], *, words: int = 0, batch_size: int = 32
) -> np.ndarray:
    """Embeddings (n, dim) float32 of texts, in eval mode; with `words` what the last layer says of
    so many tokens follows, (n, dim + words * hidden). Texts of similar length go together, so that
    little is spent on padding."""
    encoder.eval()
    order = sorted(range(len(texts)), key=lambda index: len(texts[index]))
    found = np.zeros((len(texts), encoder.dim + words * encoder.hidden_size), dtype=np.float32)
    for start in range(0, len(order), batch_size):
        chosen = order[start : start + batch_size]
        x = encoder.tokens.tensor([texts[index] for index in chosen])
        embedding, own = encoder.with_words(x.to(encoder.device), words)
        found[chosen] = torch.cat([embedding.float(), own.flatten(1)], 1).cpu().numpy()
    return found
