"""The right answer among thousands: zero-shot, BM25, their plain fusion, and adapted.

The adapted one is what the pipeline trains (`training.retrieval.fit_matcher`), and like its search
it reads misspelt words as what was probably meant. Nothing is chosen on test questions; the
consumers' questions are met with what was learned from MedQuAD's templates.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from regraft.backbones.transformer_loading import load_transformer
from regraft.bench.medical_pack import Questions, drawn, of_rows, rows_of, sets_of
from regraft.bench.prepared import Prepared
from regraft.bench.text_embeddings import TextEmbeddings
from regraft.evaluation.retrieval import (
    Ranking,
    better_than,
    echoes,
    rank_passages,
    retrieval_metrics,
)
from regraft.tasks.bm25 import Bm25
from regraft.tasks.matching import Matcher, Weights
from regraft.tasks.retriever import vocabulary
from regraft.training.general_similarity import general_similarity
from regraft.training.retrieval import Pairs, fit_matcher

MAX_TOKENS = 256
"""Half the answers are longer than the recipe's 128."""
_BASELINES = {
    "zero_shot": Matcher(Weights(dense=1.0, lexical=0.0)),
    "bm25": Matcher(Weights(dense=0.0, lexical=1.0)),
    "plain_fusion": Matcher(),
}


def measure(prepared: Prepared, *, folder: str, cache: str) -> dict[str, Any]:
    """{"medquad", "mistyped" (the same questions with typing errors), "medication", "liveqa":
    {method: figures}, "general": figures}; the step `finetune` is what training cost, the
    embeddings of its texts included."""
    pack, seed = Path(folder), prepared.recipe.seed
    encoder = load_transformer("minilm", max_tokens=MAX_TOKENS)
    embeddings = TextEmbeddings(Path(cache) / "minilm-256.npz", encoder)
    split = drawn(rows_of(pack, "medquad"), seed)
    pairs, cost = pairs_of(of_rows(split["train"]), embeddings)
    with prepared.timed("finetune"):
        adapted = fit_matcher(pairs, seed=seed)
    prepared.cpu["finetune"] += cost
    methods = {**_BASELINES, "adapted": adapted}
    found: dict[str, Any] = {
        name: _compared(methods, asked, embeddings, encoder)
        for name, asked in sets_of(pack, of_rows(split["test"])).items()
    }
    return found | {"general": _general(adapted, embeddings)}


def pairs_of(
    asked: Questions, embeddings: TextEmbeddings, searched: TextEmbeddings | None = None
) -> tuple[Pairs, float]:
    """Training questions with their passages, and the CPU seconds that their embeddings cost;
    passages by `searched`, if given."""
    questions, first = embeddings.of(asked.questions)
    passages, second = (searched or embeddings).of(asked.passages)
    intents = np.unique(asked.intents, return_inverse=True)[1]
    right = np.array([own[0] for own in asked.right])
    pairs = Pairs(
        asked.questions, asked.passages, questions, passages, right, intents, asked.topics
    )
    return pairs, first + second


def _compared(
    methods: dict[str, Matcher], asked: Questions, embeddings: TextEmbeddings, encoder: Any
) -> dict[str, Any]:
    """{method: figures}; the adapted one's also hold its gain over each of the others."""
    passages, _ = embeddings.of(asked.passages)
    index, respelt = Bm25.of(asked.passages), respelt_of(asked, encoder)
    rankings = {}
    for name, matcher in methods.items():
        questions = respelt if name == "adapted" else asked.questions
        scores = matcher.scores(embeddings.of(questions)[0], passages, index.scores(questions))
        rankings[name] = rank_passages(scores, asked.right)
    found = {name: figures_of(one, asked) for name, one in rankings.items()}
    for name in _BASELINES:
        gain = better_than(rankings["adapted"], rankings[name], asked.topics)
        found["adapted"][f"over_{name}"] = gain
    return found


def respelt_of(asked: Questions, encoder: Any) -> list[str]:
    """The questions as the search reads them."""
    words = vocabulary(asked.passages, encoder)
    return [words.respelt(question) for question in asked.questions]


def figures_of(ranking: Ranking, asked: Questions) -> dict[str, Any]:
    """`retrieval_metrics` with error, error_left_at_80 (of 1), and recall@1 of the questions that
    their answers repeat (`echo`) and of the others (`no_echo`), where there are any."""
    figures = retrieval_metrics(ranking, asked.topics)
    figures["error"] = 1 - figures["recall_at_1"]
    figures["error_left_at_80"] = figures["error_at_80"] / max(figures["error"], 1e-9)
    figures["groups"] = len(set(asked.topics))
    echo = np.array(
        [
            any(echoes(question, asked.passages[number]) for number in own)
            for question, own in zip(asked.questions, asked.right, strict=True)
        ]
    )
    for name, where in (("echo", echo), ("no_echo", ~echo)):
        if where.any():
            figures[name] = float(ranking.hit[where].mean())
    return figures


def _general(adapted: Matcher, embeddings: TextEmbeddings) -> dict[str, float]:
    """Spearman correlation of cosine and grade on the general sentence pairs, with the embeddings
    as they are (`before`; the encoder is frozen, so they are never changed) and moved by the
    adapter of the questions (`after`)."""
    adapter = adapted.adapter
    assert adapter is not None
    before = general_similarity(lambda texts: embeddings.of(texts)[0])
    after = general_similarity(lambda texts: adapter.questions(embeddings.of(texts)[0]))
    return {"before": before, "after": after, "drop": before - after}
