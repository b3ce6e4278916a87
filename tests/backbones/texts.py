"""A tiny text encoder, built on the spot and written as transformers writes them."""

from __future__ import annotations

from pathlib import Path

import torch

WORDS = """what is are the symptoms of asthma how can i treat fever in children a cold causes
diabetes who gets it and why does my head hurt""".split()


def tiny_folder(folder: Path, kind: str = "bert", *, seed: int = 0) -> Path:
    """A folder with config, weights and tokenizer of a network with three small layers."""
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
    from transformers import AutoConfig, AutoModel

    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    vocabulary = {word: i for i, word in enumerate([*special, *dict.fromkeys(WORDS)])}
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    torch.manual_seed(seed)
    sizes = {"vocab_size": len(vocabulary), "max_position_embeddings": 40, "pad_token_id": 0}
    if kind == "distilbert":
        sizes |= {"dim": 32, "n_layers": 3, "n_heads": 4, "hidden_dim": 64}
    else:
        sizes |= {"hidden_size": 32, "num_hidden_layers": 3, "num_attention_heads": 4}
        sizes |= {"intermediate_size": 64}
    AutoModel.from_config(AutoConfig.for_model(kind, **sizes)).save_pretrained(folder)
    tokenizer.save(str(folder / "tokenizer.json"))
    return folder
