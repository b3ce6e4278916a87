"""Domain-adaptive pre-training: a text encoder reads the domain before it learns from labels.

    loss = mean over chosen tokens of -log softmax(E norm(gelu(W h)) + b) [token]

15 % of the tokens are chosen; of ten, eight are hidden, one is exchanged for any other token and
one is left (Devlin et al., "BERT", NAACL 2019, section 3.1). h is what the last layer says of the
token, E the token embeddings. Goes on with what the encoder was pre-trained by, on unlabelled texts
of the domain (Gururangan et al., "Don't Stop Pretraining", ACL 2020, section 3).

W and b are new: folders of sentence encoders have no output layer. So they are trained alone for
one pass before any layer moves, because gradients of a random layer distort what the encoder knows
(Kumar et al., "Fine-Tuning can Distort Pretrained Features", ICLR 2022). E stays, so that words
which no text holds keep their meaning; dropout is off (Lan et al., "ALBERT", ICLR 2020).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from regraft.backbones.tokens import TextTokens
from regraft.backbones.transformer import TransformerEncoder, embed_texts
from regraft.errors import UserError
from regraft.progress import note, track
from regraft.training.checkpoints import load_checkpoint, save_checkpoint
from regraft.training.excerpts import excerpts, length_batches
from regraft.training.general_similarity import general_similarity
from regraft.training.loop import Diverged
from regraft.transfer.rates import warmup_cosine

_HIDDEN, _EXCHANGED = 0.8, 0.1
_HELD_OUT = 0.1
_HEAD_RATE = 1e-3
_WARMUP = 0.1
_CHECKPOINT = "masked_language.pt"


@dataclass(frozen=True)
class MaskedLanguage:
    """How an encoder is pre-trained further; the fields are those of the recipe's section.

    Attributes
    ----------
    max_general_drop_pp : the encoder stays what it was where the similarity of general sentences
        falls by more points.
    """

    epochs: int = 3
    learning_rate: float = 5e-5
    batch_size: int = 32
    masked_share: float = 0.15
    excerpt_words: int = 40
    max_general_drop_pp: float = 2.0


class TokenHead(nn.Module):
    """Logits (n, vocabulary) of tokens from (n, hidden), tied to the token embeddings."""

    def __init__(self, hidden: int, embeddings: torch.Tensor) -> None:
        super().__init__()
        vocabulary, width = embeddings.shape
        self.change = nn.Linear(hidden, width)
        nn.init.normal_(self.change.weight, std=0.02)
        nn.init.zeros_(self.change.bias)
        self.norm = nn.LayerNorm(width)
        self.bias = nn.Parameter(torch.zeros(vocabulary))

    def forward(self, hidden: torch.Tensor, embeddings: torch.Tensor) -> torch.Tensor:
        return F.linear(self.norm(F.gelu(self.change(hidden))), embeddings, self.bias)


def pretrain_on_texts(
    encoder: TransformerEncoder,
    texts: Sequence[str],
    groups: Sequence[str],
    how: MaskedLanguage | None = None,
    *,
    seed: int,
    folder: Path,
) -> dict[str, Any]:
    """Pre-train the encoder further, in place; it is left in eval mode.

    A tenth of the `groups` (n,) of the texts (n,) is held out to measure on. `folder` keeps a
    checkpoint after every pass, from which a killed call goes on to the same weights.

    Returns {"adapted": whether the weights are new ones, "texts", "held_out_texts": counts,
    "epochs", "held_out_loss": {"fresh", "before", "after"} in nats per chosen token: with a fresh
    output layer, with a trained one on the encoder as it was, and in the end, "general": {"before",
    "after", "drop_pp", "allowed_pp"}}.

    Raises
    ------
    UserError
        The tokenizer has no token for what is hidden, there are no two groups of different texts,
        the training diverged, or the disk is full.
    """
    how = how or MaskedLanguage()
    _refuse_without_mask(encoder)
    taught, held_out = _sides(texts, groups, seed)
    original = {name: value.clone() for name, value in encoder.state_dict().items()}
    general = partial(general_similarity, partial(embed_texts, encoder))
    before = general()
    losses = _Course(encoder, taught, held_out, how, seed, folder / _CHECKPOINT).run()
    after = general()
    drop = 100 * (before - after)
    adapted = drop <= how.max_general_drop_pp
    if not adapted:
        encoder.load_state_dict(original)
        note(
            f"the encoder stays what it was: reading the domain cost {drop:.1f} points of general "
            f"similarity, more than max_general_drop_pp {how.max_general_drop_pp:g}"
        )
    return {
        "adapted": adapted,
        "texts": len(taught),
        "held_out_texts": len(held_out),
        "epochs": how.epochs,
        "held_out_loss": {name: round(value, 4) for name, value in losses.items()},
        "general": {
            "before": round(before, 4),
            "after": round(after, 4),
            "drop_pp": round(drop, 2),
            "allowed_pp": how.max_general_drop_pp,
        },
    }


def masked(
    x: torch.Tensor, tokens: TextTokens, n_tokens: int, share: float, rng: np.random.Generator
) -> tuple[torch.Tensor, torch.Tensor]:
    """Ids with mask (n, 2, length) as the encoder is shown them, and which tokens (n, length) are
    to be told: a `share` of those that are text. Others come from the vocabulary of `n_tokens`."""
    special = torch.tensor(tokens.special_ids)
    text = x[:, 1].bool() & ~torch.isin(x[:, 0], special)
    chosen = text & torch.from_numpy(rng.random(text.shape) < share)
    part = torch.from_numpy(rng.random(text.shape))
    words = np.setdiff1d(np.arange(n_tokens), tokens.special_ids)
    others = torch.from_numpy(rng.choice(words, size=text.shape))
    hidden = chosen & (part < _HIDDEN)
    exchanged = chosen & (part >= _HIDDEN) & (part < _HIDDEN + _EXCHANGED)
    ids = torch.where(hidden, tokens.mask_id or 0, torch.where(exchanged, others, x[:, 0]))
    return torch.stack([ids, x[:, 1]], 1), chosen


class _Course:
    """All passes over the texts: number 0 trains the output layer alone.

    Excerpts, order and masks of a pass follow from (seed, pass), so a resumed course equals one
    that was never interrupted.
    """

    def __init__(
        self,
        encoder: TransformerEncoder,
        taught: Sequence[str],
        held_out: Sequence[str],
        how: MaskedLanguage,
        seed: int,
        checkpoint: Path,
    ) -> None:
        self.encoder, self.taught, self.how, self.seed = encoder, taught, how, seed
        self.checkpoint = checkpoint
        # nn.Module does not declare the method, which every transformers model has
        self.embeddings = encoder.model.get_input_embeddings().weight  # type: ignore[operator]
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            hidden = int(encoder.spec.config["hidden_size"])
            self.head = TokenHead(hidden, self.embeddings).to(encoder.device)
        self.moving = [
            parameter
            for block in encoder.blocks[1:]
            for parameter in encoder.parameters_of(block.index)
        ]
        self.optimiser = torch.optim.AdamW(
            [
                {"params": list(self.head.parameters()), "peak": _HEAD_RATE},
                {"params": self.moving, "peak": how.learning_rate},
            ],
            weight_decay=0.01,
        )
        self.held_out = list(self._batches(held_out, np.random.default_rng((seed, 2**32))))
        self.losses: dict[str, float] = {}

    def run(self) -> dict[str, float]:
        """The held-out losses."""
        self.encoder.eval()
        begin = self._resumed()
        if not begin:
            self.losses["fresh"] = self._held_out_loss()
        for number in range(begin, self.how.epochs + 1):
            self._pass(number)
            self.losses["after" if number else "before"] = self._held_out_loss()
            self._save(number)
        self.encoder.requires_grad_(True)
        return self.losses

    def _pass(self, number: int) -> None:
        self.encoder.requires_grad_(False)
        for parameter in self.moving:
            parameter.requires_grad_(number > 0)
        rng = np.random.default_rng((self.seed, number))
        per_pass = -(-len(self.taught) // self.how.batch_size)
        total = self.how.epochs * per_pass
        name = f"reading the domain, {number}/{self.how.epochs}" if number else "the output layer"
        batches = track(self._batches(self.taught, rng), name, total=per_pass)
        for step, (x, shown, chosen) in enumerate(batches, start=(number - 1) * per_pass):
            warmup = round(_WARMUP * total)
            factor = warmup_cosine(step, total=total, warmup=warmup) if number else 1.0
            for group in self.optimiser.param_groups:
                group["lr"] = group["peak"] * factor
            self._step(self._loss(x, shown, chosen) / max(int(chosen.sum()), 1))

    def _step(self, loss: torch.Tensor) -> None:
        if not math.isfinite(float(loss.detach())):
            raise Diverged(
                "reading the domain diverged",
                where="features.domain_pretraining",
                got=f"loss {float(loss.detach())}",
                expected="a finite loss",
                fix="lower features.domain_pretraining.learning_rate",
            )
        self.optimiser.zero_grad()
        loss.backward()
        for group in self.optimiser.param_groups:
            nn.utils.clip_grad_norm_(group["params"], 1.0)
        self.optimiser.step()

    def _batches(
        self, texts: Sequence[str], rng: np.random.Generator
    ) -> Iterator[tuple[torch.Tensor, torch.Tensor, torch.Tensor]]:
        """Tokens as they are and as they are shown, (n, 2, length), and the chosen ones."""
        tokens, n_tokens = self.encoder.tokens, len(self.embeddings)
        pieces = excerpts(texts, words=self.how.excerpt_words, seed=int(rng.integers(2**31)))
        lengths = np.array([len(ids) for ids in tokens.ids(pieces)])
        for numbers in length_batches(lengths, self.how.batch_size, rng):
            x = tokens.tensor([pieces[index] for index in numbers])
            shown, chosen = masked(x, tokens, n_tokens, self.how.masked_share, rng)
            yield x, shown, chosen

    def _loss(self, x: torch.Tensor, shown: torch.Tensor, chosen: torch.Tensor) -> torch.Tensor:
        """Summed over the chosen tokens."""
        device = self.encoder.device
        hidden = self.encoder.hidden(shown.to(device))[chosen.to(device)]
        logits = self.head(hidden, self.embeddings)
        return F.cross_entropy(logits.float(), x[:, 0][chosen].to(device), reduction="sum")

    @torch.inference_mode()
    def _held_out_loss(self) -> float:
        """Mean over the chosen tokens of texts that are not taught, always the same ones."""
        total = sum(float(self._loss(*batch)) for batch in self.held_out)
        return total / max(sum(int(chosen.sum()) for _, _, chosen in self.held_out), 1)

    def _save(self, number: int) -> None:
        state = {
            "pass": number,
            "layers": [parameter.detach() for parameter in self.moving],
            "head": self.head.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "losses": self.losses,
        }
        save_checkpoint(self.checkpoint, state)

    @torch.no_grad()
    def _resumed(self) -> int:
        """The number of the next pass; 0 where nothing was begun."""
        state = load_checkpoint(self.checkpoint)
        if state is None:
            return 0
        for parameter, value in zip(self.moving, state["layers"], strict=True):
            parameter.copy_(value)
        self.head.load_state_dict(state["head"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.losses = state["losses"]
        return int(state["pass"]) + 1


def _sides(texts: Sequence[str], groups: Sequence[str], seed: int) -> tuple[list[str], list[str]]:
    """Different texts to learn from, and those of the held-out groups. A text that several groups
    share belongs to the first one."""
    own: dict[str, str] = {}
    for text, group in zip(texts, groups, strict=True):
        own.setdefault(text, group)
    names = sorted(set(own.values()))
    if len(names) < 2:
        raise UserError(
            "there are too few texts to read the domain from",
            where="features.domain_pretraining.epochs",
            got=f"{len(own)} texts of {len(names)} group(s)",
            expected="different texts of at least 2 groups (topics) among the training and "
            "unlabelled examples",
            fix="add texts, or set it to 0",
        )
    count = max(1, round(_HELD_OUT * len(names)))
    kept = {names[i] for i in np.random.default_rng(seed).permutation(len(names))[:count]}
    return (
        [text for text, group in own.items() if group not in kept],
        [text for text, group in own.items() if group in kept],
    )


def _refuse_without_mask(encoder: TransformerEncoder) -> None:
    if encoder.tokens.mask_id is None:
        raise UserError(
            "this encoder cannot be pre-trained by masked words",
            where=f"features.domain_pretraining.epochs, backbone.name={encoder.spec.architecture}",
            got="a tokenizer without [MASK] or <mask>",
            expected="an encoder like BERT, RoBERTa, MPNet or MiniLM",
            fix="set features.domain_pretraining.epochs=0, or name another encoder",
        )
