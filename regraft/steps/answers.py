"""Where questions come with answers: the model learns to find them, and when to stay silent.

A retriever over all answers is adapted on training questions, thresholds are fitted on validation
questions, and both are measured on test questions, whose topics neither has seen.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from regraft.data.questions import COLUMNS
from regraft.progress import note

if TYPE_CHECKING:
    from regraft.training.embedding_distillation import Lessons

Embed = Callable[[Sequence[str]], np.ndarray]
"""Texts (n) to vectors (n, dim) of unit length."""

SECTION, SHOWN = "answering", ("dialogues",)

_MOST_PAIRS = 1000
_MOST_MEASURED = 200
_MOST_TIMED = 64
_FEWEST_VALIDATION = 20


def wanted(rows: pd.DataFrame) -> bool:
    """Whether the examples of a manifest are questions that carry answers."""
    return {*COLUMNS} <= {*rows.columns} and bool((rows["answer"] != "").any())


def passages_of(rows: pd.DataFrame) -> tuple[list[Any], dict[str, int]]:
    """The different answers of a manifest as passages, and the number of each by its text."""
    from regraft.tasks.retriever import Passage

    answered = rows[rows["answer"] != ""].drop_duplicates("answer")
    columns = ["id", "answer", "text", "topic", "label", "source"]
    passages = [Passage(*map(str, row)) for row in answered[columns].fillna("").to_numpy()]
    return passages, {passage.text: number for number, passage in enumerate(passages)}


def write(
    rows: pd.DataFrame, features: Path, folder: Path, *, options: dict[str, Any], seed: int
) -> None:
    """Write retriever/ and assistant.json into a model folder; none of the `options` is about them.

    `features` is the folder of that step: passages are found by the encoder as it was pre-trained,
    because one that is tuned to intents forgets what a text is about. Without 20 validation
    questions no threshold can be fitted: nothing is written, and that is said.
    """
    from regraft.backbones.encoder import load_encoder

    count = len(_answered(rows, "val"))
    if count < _FEWEST_VALIDATION:
        note(
            f"{count} validation questions with an answer, fewer than "
            f"{_FEWEST_VALIDATION}: no assistant is made"
        )
        return
    _assistant(load_encoder(features / "backbone"), rows, seed).save(folder)


def teach(
    rows: pd.DataFrame,
    teacher: Path,
    folder: Path,
    *,
    student: Callable[[Any], Any],
    lessons: Lessons,
    seed: int,
) -> None:
    """Write the assistant of a cheaper model into its folder, where the folder of its `teacher` has
    one: it reads questions with an encoder that has learned the embeddings of the teacher's.

    `student` makes that encoder, untaught, from the teacher's. It learns from training questions,
    excerpts of their answers and unlabelled questions, without their labels. What is searched is
    embedded once and not while somebody waits: by the teacher, where both embeddings are of one
    length. Adapter, thresholds and fusion are fitted on these as the teacher's were.
    """
    from regraft.backbones.transformer import embed_texts
    from regraft.tasks.assistant.assistant import CARD, RETRIEVER
    from regraft.tasks.retriever import Retriever
    from regraft.training.embedding_distillation import teach_embeddings
    from regraft.training.excerpts import excerpts

    if not (teacher / CARD).is_file():
        return
    whole = Retriever.load(teacher / RETRIEVER).encoder
    train = _answered(rows, "train")
    asked = [*train["text"], *rows.loc[rows["split"] == "unlabelled", "text"]]
    texts = list(dict.fromkeys([*asked, *excerpts(train["answer"].tolist(), seed=seed)]))
    encoder = student(whole)
    losses = teach_embeddings(encoder, texts, embed_texts(whole, texts), lessons, seed=seed)
    note(f"the student's search learned {len(texts)} embeddings: "
         f"loss {losses[0]:.3f} -> {losses[-1]:.3f}")  # fmt: skip
    _assistant(encoder, rows, seed, searched_by=whole).save(folder)


def _answered(rows: pd.DataFrame, split: str) -> pd.DataFrame:
    return rows[(rows["answer"] != "") & rows["label"].notna() & (rows["split"] == split)]


def _assistant(encoder: Any, rows: pd.DataFrame, seed: int, *, searched_by: Any = None) -> Any:
    """Adapted on the training questions, thresholds from the validation questions. `encoder` reads
    questions; `searched_by` embeds passages and topics, where it gives vectors of that length."""
    from regraft.backbones.transformer import embed_texts
    from regraft.tasks.assistant.fitting import fit_assistant
    from regraft.tasks.retriever import Retriever, topic_names

    alike = searched_by is not None and searched_by.dim == encoder.dim
    embed = partial(embed_texts, searched_by if alike else encoder)
    passages, numbers = passages_of(rows)
    matcher = _matcher(partial(embed_texts, encoder), embed, _answered(rows, "train"), seed)
    validation = _answered(rows, "val")
    relevant = [[numbers[answer]] for answer in validation["answer"]]
    retriever = Retriever(
        encoder,
        passages,
        vectors=embed([passage.text for passage in passages]),
        topics=topic_names(passages, embed),
        matcher=matcher,
    )
    return fit_assistant(retriever, validation["text"].tolist(), relevant)


def _matcher(ask: Embed, embed: Embed, train: pd.DataFrame, seed: int) -> Any:
    """`ask` embeds questions, `embed` what is searched."""
    from regraft.tasks.retriever import topic_names
    from regraft.training.retrieval import Pairs, fit_matcher

    chosen = train.sample(min(len(train), _MOST_PAIRS), random_state=seed).sort_index()
    passages, places = passages_of(chosen)
    texts, questions = list(places), chosen["text"].tolist()
    asked = ask(questions)
    return fit_matcher(
        Pairs(
            questions,
            texts,
            asked,
            embed(texts),
            np.array([places[answer] for answer in chosen["answer"]]),
            pd.factorize(chosen["label"], sort=True)[0],
            chosen["group"].tolist(),
            named=topic_names(passages, embed).named(questions, asked),
        ),
        seed=seed,
    )


def measure(predictor: Any, test: pd.DataFrame, logits: np.ndarray, *, seed: int) -> dict[str, Any]:
    """Of a model's assistant on the test questions that have an answer: {"retrieval", "abstention",
    "answers", "robustness", "dialogues"}; {} without an assistant."""
    from regraft.evaluation.assistant import assistant_metrics
    from regraft.evaluation.retrieval import rank_passages, retrieval_metrics

    assistant = predictor.assistant
    if assistant is None:
        return {}
    retriever = assistant.retriever
    numbers = {passage.text: number for number, passage in enumerate(retriever.passages)}
    asked = test[test["answer"].isin(list(numbers))]
    relevant = [[numbers[answer]] for answer in asked["answer"]]
    ranking = rank_passages(retriever.scores(asked["text"].tolist()), relevant)
    few = slice(None, None, max(1, -(-len(asked) // _MOST_MEASURED)))
    return {
        "retrieval": retrieval_metrics(ranking, asked["group"].to_numpy()),
        **assistant_metrics(
            assistant,
            asked["text"].iloc[few].tolist(),
            relevant[few],
            asked["answer"].iloc[few].tolist(),
            seed=seed,
        ),
    }


def beside(
    teacher: Any, student: Any, test: pd.DataFrame, metrics: dict[str, Any]
) -> dict[str, Any]:
    """Of a student with an assistant: {"search": {retention: recall@1 over the teacher's (None if
    that is 0), speedup: of its encoder on the test questions and their answers, layers of both}};
    {} without."""
    from regraft.steps.measuring import encoder_speedup

    if student.assistant is None or teacher.assistant is None:
        return {}
    kept, whole = (metrics[who]["retrieval"]["recall_at_1"] for who in ("student", "teacher"))
    slow, fast = (one.assistant.retriever.encoder for one in (teacher, student))
    few = test.iloc[:: -(-len(test) // _MOST_TIMED)]
    return {
        "search": {
            "retention": round(kept / whole, 4) if whole else None,
            "speedup": round(encoder_speedup(slow, fast, [*few["text"], *few["answer"]]), 2),
            "layers": {"teacher": len(slow.blocks) - 1, "student": len(fast.blocks) - 1},
        }
    }
