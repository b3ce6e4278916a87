"""General knowledge in two small sets, written for this project: questions that a specialised
assistant has to leave unanswered, and sentences that are more or less alike."""

from __future__ import annotations

from pathlib import Path

import yaml

_FOLDER = Path(__file__).parent / "general"


def general_questions(part: str) -> dict[str, list[str]]:
    """Questions by kind. `part` is "fit" (sport, cooking, ...: thresholds are fitted on them) or
    "test" (other kinds, only to measure on)."""
    text = (_FOLDER / "questions.yaml").read_text(encoding="utf-8")
    found: dict[str, list[str]] = yaml.safe_load(text)[part]
    return found


def similarity_pairs() -> list[tuple[str, str, int]]:
    """Pairs of sentences with how alike they are: 5 the same, 3 partly, 1 the subject, 0 not."""
    lines = yaml.safe_load((_FOLDER / "similarity.yaml").read_text(encoding="utf-8"))
    pairs = [
        (line[0], other, grade)
        for line in lines
        for other, grade in zip(line[1:], (5, 3, 1), strict=True)
    ]
    turned = lines[7:] + lines[:7]
    return pairs + [(one[0], other[0], 0) for one, other in zip(lines, turned, strict=True)]
