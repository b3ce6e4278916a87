"""The search of an encoder that has read the domain first, beside the one that has not.

MiniLM reads the questions and answers of the training topics and of topics that are neither trained
nor tested, without their labels (`training.masked_language`, as `features.domain_pretraining` does
in the pipeline); then it is adapted on the same 1,000 pairs. Whatever general similarity it loses
it is measured as it then is: the guard of the pipeline would keep the old one.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from regraft.backbones.transformer_loading import load_transformer
from regraft.bench.medical_pack import Questions, drawn, of_rows, rows_of, sets_of
from regraft.bench.methods.answer_retrieval import (
    MAX_TOKENS,
    figures_of,
    pairs_of,
    respelt_of,
)
from regraft.bench.prepared import Prepared
from regraft.bench.text_embeddings import TextEmbeddings
from regraft.evaluation.retrieval import better_than, rank_passages
from regraft.tasks.bm25 import Bm25
from regraft.tasks.matching import Matcher, Weights
from regraft.training.masked_language import MaskedLanguage, pretrain_on_texts
from regraft.training.retrieval import fit_matcher

LESSONS = MaskedLanguage(epochs=2, max_general_drop_pp=100.0)
METHODS = ("zero_shot", "adapted")


def measure(prepared: Prepared, *, folder: str, cache: str) -> dict[str, Any]:
    """{"medquad", "mistyped", "medication", "liveqa": {method: figures, with `gain`, over the same
    method without}, "reading": {"general": {"before", "after"}, "loss_before", "loss_after"} of
    `pretrain_on_texts`}; the step `finetune` is what reading and embedding the training pairs
    cost."""
    pack, seed = Path(folder), prepared.recipe.seed
    encoder = load_transformer("minilm", max_tokens=MAX_TOKENS)
    split = drawn(rows_of(pack, "medquad"), seed)
    read = [*split["train"], *split["val"]]
    texts = [row[name] for name in ("question", "answer") for row in read]
    with prepared.timed("finetune"):
        reading = pretrain_on_texts(
            encoder, texts, [row["focus"].lower() for row in read] * 2, LESSONS,
            seed=seed, folder=prepared.own,
        )  # fmt: skip
    train, test = (of_rows(split[name]) for name in ("train", "test"))
    embeddings = {
        "before": TextEmbeddings(
            Path(cache) / "minilm-256.npz", load_transformer("minilm", max_tokens=MAX_TOKENS)
        ),
        "after": TextEmbeddings(prepared.own / "adapted.npz", encoder),
    }
    matchers: dict[str, dict[str, Matcher]] = {}
    for who, own in embeddings.items():
        pairs, cost = pairs_of(train, own)
        prepared.cpu["finetune"] += cost if who == "after" else 0.0
        zero_shot = Matcher(Weights(dense=1.0, lexical=0.0))
        matchers[who] = {"zero_shot": zero_shot, "adapted": fit_matcher(pairs, seed=seed)}
    found = {
        name: _beside(matchers, embeddings, one, respelt_of(one, encoder))
        for name, one in sets_of(pack, test).items()
    }
    losses = {f"loss_{end}": reading["held_out_loss"][end] for end in ("before", "after")}
    return found | {"reading": {"general": reading["general"], **losses}}


def _beside(
    matchers: dict[str, dict[str, Matcher]],
    embeddings: dict[str, TextEmbeddings],
    asked: Questions,
    questions: list[str],
) -> dict[str, Any]:
    lexical = Bm25.of(asked.passages).scores(questions)
    sides = {
        who: (own.of(questions)[0], own.of(asked.passages)[0]) for who, own in embeddings.items()
    }
    found: dict[str, Any] = {}
    for method in METHODS:
        before, after = (
            rank_passages(matchers[who][method].scores(*sides[who], lexical), asked.right)
            for who in ("before", "after")
        )
        found[method] = figures_of(after, asked)
        found[method]["gain"] = better_than(after, before, asked.topics)
    return found
