"""The embedded question set is complete, consistent and reproducible."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest

from regraft.data.examples.general_questions import general_questions, similarity_pairs
from regraft.data.examples.health_questions import FILE, generate_health, health_questions

ROWS = health_questions()


def test_every_topic_answers_every_intent_in_two_wordings() -> None:
    topics, intents = ({row[key] for row in ROWS} for key in ("topic", "intent"))
    assert len(topics) >= 30
    assert len(intents) >= 12
    counted = Counter((row["topic"], row["intent"]) for row in ROWS)
    assert set(counted.values()) == {2}
    assert len(counted) == len(topics) * len(intents)


def test_questions_are_distinct_and_so_are_the_answers() -> None:
    assert len({row["question"].lower() for row in ROWS}) == len(ROWS)
    assert len({row["answer"] for row in ROWS}) == len(ROWS) / 2


def test_answers_are_short_texts_with_a_named_public_page() -> None:
    for row in ROWS:
        assert 30 < len(row["answer"]) < 400, row
        assert row["answer"].endswith("."), row
        assert row["source"].split()[0] in {"WHO", "NHS", "CDC", "World"}, row


def test_styles_are_mixed() -> None:
    shares = {
        style: count / len(ROWS) for style, count in Counter(r["style"] for r in ROWS).items()
    }
    assert shares == pytest.approx({"template": 0.5, "lay": 0.25, "misspelt": 0.25}, abs=0.02)


def test_the_written_file_holds_the_rows_and_is_written_once(tmp_path: Path) -> None:
    assert generate_health(tmp_path) == 1
    assert generate_health(tmp_path) == 0
    (tmp_path / FILE).write_text("damaged")
    assert generate_health(tmp_path) == 1
    assert [json.loads(line) for line in (tmp_path / FILE).open(encoding="utf-8")] == ROWS


def test_general_questions_of_the_two_parts_are_of_different_kinds() -> None:
    fit, test = general_questions("fit"), general_questions("test")
    assert not set(fit) & set(test)
    for part in (fit, test):
        questions = [question for kind in part.values() for question in kind]
        assert len(part) >= 5
        assert len(set(questions)) == len(questions) >= 100


def test_similarity_pairs_are_graded_and_none_is_with_itself() -> None:
    pairs = similarity_pairs()
    assert Counter(grade for _, _, grade in pairs) == dict.fromkeys((0, 1, 3, 5), 40)
    assert all(first != second for first, second, _ in pairs)
