"""Half the encoder, nearly the same search: a student of MiniLM's embeddings beside its teacher.

The student is what the pipeline's distillation makes: every second layer, taught the embeddings of
training questions and excerpts of their answers, and of further ones (topics that are neither
trained nor tested) without their labels. It reads the questions; passages, which are embedded once
and not while somebody waits, keep the teacher's vectors. Both are adapted alike on the same 1,000
pairs. Embeddings of the student are not kept from one bench to the next.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from regraft.backbones.transformer import embed_texts, with_layers
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
from regraft.evaluation.retrieval import rank_passages
from regraft.steps.measuring import encoder_speedup
from regraft.tasks.bm25 import Bm25
from regraft.training.embedding_distillation import Lessons, teach_embeddings
from regraft.training.excerpts import excerpts
from regraft.training.retrieval import fit_matcher

LAYERS, LESSONS = 3, Lessons(epochs=4)
_TIMED = 64


def measure(prepared: Prepared, *, folder: str, cache: str) -> dict[str, Any]:
    """{"medquad", "mistyped", "medication", "liveqa": {"teacher", "student": figures,
    "retention"}}, and
    "speedup" of the encoder in the first; the step `finetune` is what the student's lessons cost,
    the teacher's embeddings included."""
    pack, seed = Path(folder), prepared.recipe.seed
    encoder = load_transformer("minilm", max_tokens=MAX_TOKENS)
    split = drawn(rows_of(pack, "medquad"), seed)
    train, further, test = (of_rows(split[name]) for name in ("train", "val", "test"))
    embeddings = {"teacher": TextEmbeddings(Path(cache) / "minilm-256.npz", encoder)}
    student = with_layers(encoder, LAYERS)
    shown = [*train.passages, *further.passages]
    texts = [*train.questions, *further.questions, *excerpts(shown, seed=seed)]
    with prepared.timed("finetune"):
        teach_embeddings(student, texts, embed_texts(encoder, texts), LESSONS, seed=seed)
    embeddings["student"] = TextEmbeddings(prepared.own / "student.npz", student)
    passages = embeddings["teacher"]
    matchers = {
        who: fit_matcher(pairs_of(train, own, passages)[0], seed=seed)
        for who, own in embeddings.items()
    }
    found: dict[str, Any] = {
        name: _beside(matchers, embeddings, asked, respelt_of(asked, encoder))
        for name, asked in sets_of(pack, test).items()
    }
    timed = [*test.questions[:_TIMED], *test.passages[:_TIMED]]
    found["medquad"]["speedup"] = encoder_speedup(encoder, student, timed)
    return found


def _beside(
    matchers: dict[str, Any],
    embeddings: dict[str, TextEmbeddings],
    asked: Questions,
    questions: list[str],
) -> dict[str, Any]:
    lexical = Bm25.of(asked.passages).scores(questions)
    passages, _ = embeddings["teacher"].of(asked.passages)
    rankings = {
        who: rank_passages(
            matchers[who].scores(own.of(questions)[0], passages, lexical),
            asked.right,
        )
        for who, own in embeddings.items()
    }
    found: dict[str, Any] = {who: figures_of(one, asked) for who, one in rankings.items()}
    kept, whole = (found[who]["recall_at_1"] for who in ("student", "teacher"))
    return found | {"retention": kept / whole}
