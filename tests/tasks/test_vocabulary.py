"""Misspelt words of questions."""

from __future__ import annotations

import time

import pytest

from regraft.tasks.vocabulary import Vocabulary

TEXTS = ["Bronchiolitis is treated with oxygen.", "Asthma: use the inhaler. Asthma comes back."]


@pytest.mark.parametrize(
    ("asked", "read"),
    [
        ("sronchiolitis", "bronchiolitis"),
        ("bornchiolitsi", "bronchiolitis"),
        ("asthmma", "asthma"),
        ("ashtma?", "asthma?"),
        ("What is ASTMHA", "What is asthma"),
        ("asttmmha", "asttmmha"),
        ("brnchilits", "brnchilits"),
        ("wth", "wth"),
        ("zoloft 50mg", "zoloft 50mg"),
        ("Asthma Inhaler", "Asthma Inhaler"),
        ("", ""),
    ],
)
def test_one_error_or_two_in_a_long_word(asked: str, read: str) -> None:
    assert Vocabulary(TEXTS).respelt(asked) == read


def test_words_that_somebody_knows_are_no_errors() -> None:
    assert Vocabulary(TEXTS).respelt("inhale") == "inhaler"
    assert Vocabulary(TEXTS, {"inhale"}.__contains__).respelt("inhale") == "inhale"


def test_of_equally_near_words_the_most_frequent() -> None:
    vocabulary = Vocabulary(["treated", "treater", "treater"])
    assert vocabulary.respelt("treates") == "treater"


def test_a_long_text_costs_little() -> None:
    vocabulary = Vocabulary(
        [" ".join(f"word{chr(97 + i % 26)}{chr(97 + i // 26 % 26)}" for i in range(676))]
    )
    start = time.process_time()
    text = " ".join(f"nothing{i:05d}" * 3 for i in range(5000))
    assert vocabulary.respelt(text) == text
    assert time.process_time() - start < 5


def test_no_passages() -> None:
    assert Vocabulary([]).respelt("asthmma") == "asthmma"
