"""Where questions come with answers: the model learns to find them, and when to stay silent.

A retriever over all answers is adapted on training questions, thresholds are fitted on validation
questions, and both are measured on test questions, whose topics neither has seen.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from regraft.data.questions import COLUMNS
from regraft.progress import note

SECTION, SHOWN = "answering", ("dialogues",)

_MOST_PAIRS = 1000
_MOST_MEASURED = 200
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


def write(rows: pd.DataFrame, features: Path, folder: Path, *, seed: int) -> None:
    """Write retriever/ and assistant.json into a model folder.

    `features` is the folder of that step: passages are found by the encoder as it was pre-trained,
    because one that is tuned to intents forgets what a text is about. Without 20 validation
    questions no threshold can be fitted: nothing is written, and that is said.
    """
    from regraft.backbones.encoder import load_encoder
    from regraft.backbones.transformer import TransformerEncoder
    from regraft.tasks.assistant.fitting import fit_assistant
    from regraft.tasks.retriever import Retriever

    answered = rows[(rows["answer"] != "") & rows["label"].notna()]
    validation = answered[answered["split"] == "val"]
    if len(validation) < _FEWEST_VALIDATION:
        note(
            f"{len(validation)} validation questions with an answer, fewer than "
            f"{_FEWEST_VALIDATION}: no assistant is made"
        )
        return
    encoder = load_encoder(features / "backbone")
    assert isinstance(encoder, TransformerEncoder)
    passages, numbers = passages_of(rows)
    matcher = _matcher(encoder, answered[answered["split"] == "train"], seed)
    retriever = Retriever(encoder, passages, matcher=matcher)
    relevant = [[numbers[answer]] for answer in validation["answer"]]
    fit_assistant(retriever, validation["text"].tolist(), relevant).save(folder)


def _matcher(encoder: Any, train: pd.DataFrame, seed: int) -> Any:
    from regraft.backbones.transformer import embed_texts
    from regraft.tasks.retriever import topic_names
    from regraft.training.retrieval import Pairs, fit_matcher

    embed = partial(embed_texts, encoder)
    chosen = train.sample(min(len(train), _MOST_PAIRS), random_state=seed).sort_index()
    passages, places = passages_of(chosen)
    texts, questions = list(places), chosen["text"].tolist()
    asked = embed(questions)
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
