"""Typing errors are few, reproducible and there."""

from __future__ import annotations

import numpy as np

from regraft.data.examples.health_questions import health_questions
from regraft.tasks.typing_errors import typed_badly, typing_error

QUESTIONS = [row["question"] for row in health_questions()][::4]


def test_typing_errors_are_reproducible_few_and_there() -> None:
    for question in QUESTIONS[:50]:
        bad = typed_badly(question, 3)
        assert bad == typed_badly(question, 3) != typed_badly(question, 4)
        assert abs(len(bad) - len(question)) <= len(question) / 10
    changed = [typed_badly(question, n) != question for n, question in enumerate(QUESTIONS)]
    assert sum(changed) > 0.9 * len(changed)
    assert typed_badly("123 ?", 0) == "123 ?"


def test_the_four_errors_at_both_ends_of_a_word() -> None:
    for place, expected in ((0, {"at", "ccat", "act"}), (2, {"ca", "catt", "cat"})):
        found = {typing_error("cat", place, np.random.default_rng(seed)) for seed in range(60)}
        replaced = {word for word in found if len(word) == 3 and word not in expected}
        assert expected <= found
        assert len(replaced) > 5 and len(found - replaced) == 3
