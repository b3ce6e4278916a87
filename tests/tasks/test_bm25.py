"""BM25 against the formula, and what its scores promise."""

from __future__ import annotations

from math import log
from pathlib import Path

import numpy as np
import pytest

from regraft.tasks.bm25 import Bm25, words

TEXTS = ["Asthma is treated with an inhaler.", "Fever goes away with rest.", "Rest helps; rest!"]


def test_the_formula() -> None:
    """The word rest stands in two of three passages, twice in the third, whose length is 3 of a
    mean of 10/3 words."""
    index = Bm25.of(TEXTS)
    lengths = [len(words(text)) for text in TEXTS]
    idf = log(1 + 1.5 / 2.5)
    saturated = 2 * 2.2 / (2 + 1.2 * (0.25 + 0.75 * lengths[2] / np.mean(lengths)))
    raw = index.weights[index.vocabulary["rest"], 2]
    assert raw == pytest.approx(idf * saturated)
    assert index.scores(["rest"])[0, 2] == pytest.approx(saturated / 2.2)


def test_scores_lie_between_nothing_and_everything() -> None:
    scores = Bm25.of(TEXTS).scores(["rest " * 5, "the of", "", "asthma inhaler treated"])
    assert (scores >= 0).all() and (scores <= 1).all()
    assert not scores[1:3].any()
    assert scores[3].argmax() == 0


def test_a_word_that_no_passage_has_makes_unsure() -> None:
    index = Bm25.of(TEXTS)
    asked, strange = index.scores(["rest", "rest parliament"])
    assert strange.argmax() == asked.argmax()
    assert strange.max() < asked.max() / 2


def test_saved_and_loaded(tmp_path: Path) -> None:
    index = Bm25.of(TEXTS)
    index.save(tmp_path)
    questions = ["fever and rest", "unknown asthma"]
    assert (Bm25.load(tmp_path).scores(questions) == index.scores(questions)).all()
