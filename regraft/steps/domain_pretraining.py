"""Before anything is embedded: the text encoder reads the domain, where the recipe wants that."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd

from regraft.errors import UserError

CARD = "domain_pretraining.json"
_READ = ("train", "unlabelled")
"""Splits; no text of another one is opened."""


def pretrain_on_domain(
    task: str,
    encoder: Any,
    rows: pd.DataFrame,
    options: dict[str, Any],
    *,
    seed: int,
    code_version: str,
    out: Path,
) -> None:
    """Pre-train the texts' part of `encoder` further, in place, on texts of training and unlabelled
    rows, and write domain_pretraining.json (see `training.masked_language`) into `out`.

    `options` are the fields of the recipe's section. Without epochs nothing happens.

    Raises
    ------
    UserError
        The task has no texts, or as `pretrain_on_texts`.
    """
    from regraft.steps.hardware import use_device
    from regraft.steps.workspace import work_dir
    from regraft.tasks import task_module
    from regraft.training.masked_language import MaskedLanguage, pretrain_on_texts
    from regraft.training.trunk_store import weights_digest

    if not options["epochs"]:
        return
    module = task_module(task)
    if not hasattr(module, "domain_texts"):
        raise UserError(
            "this backbone reads no texts that it could be pre-trained on",
            where="features.domain_pretraining.epochs",
            got=f"{options['epochs']} with task {task}",
            expected="0, or a task whose encoder is a transformer of texts",
            fix="leave features.domain_pretraining out",
        )
    text, texts, groups = module.domain_texts(encoder, rows[rows["split"].isin(_READ)])
    with work_dir(
        "domain_pretraining",
        texts=texts,
        groups=groups,
        options=options,
        seed=seed,
        code=code_version,
        encoder=weights_digest(text, len(text.blocks) - 1),
        tokens=[text.tokens.digest, text.tokens.max_tokens],
    ) as folder:
        text.to(use_device())
        card = pretrain_on_texts(
            text, texts, groups, MaskedLanguage(**options), seed=seed, folder=folder
        )
        text.to("cpu")
    (out / CARD).write_text(json.dumps(card, indent=2), encoding="utf-8")


def as_method(features: Path) -> dict[str, Any]:
    """What a report says of it under how things were measured; {} where it was not wanted.
    `features` is the folder of the feature extraction."""
    if not (features / CARD).is_file():
        return {}
    card = json.loads((features / CARD).read_text(encoding="utf-8"))
    losses, general = card["held_out_loss"], card["general"]
    sentence = (
        f"{card['epochs']} passes over {card['texts']} texts; loss of hidden words in "
        f"{card['held_out_texts']} other texts {losses['before']:.3f} before, "
        f"{losses['after']:.3f} after; general similarity {general['before']:.3f} before, "
        f"{general['after']:.3f} after"
    )
    if not card["adapted"]:
        sentence += (
            f": {general['drop_pp']:.1f} points lost, {general['allowed_pp']:g} allowed, so the "
            "encoder stayed what it was"
        )
    return {"domain_pretraining": sentence}
