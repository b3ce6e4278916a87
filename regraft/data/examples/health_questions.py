"""The embedded question set: general health knowledge in plain words, 32 topics times 12 intents.

Written for this project; general information, not medical advice. Topics and answers stand in
`health/*.yaml`, the ways to ask in `health/wordings.yaml`. Every answer is asked for twice: in the
textbook's form (style `template`) and as people do (`lay`, or `misspelt`).
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import yaml

from regraft.data.files import write_if_different

_FOLDER = Path(__file__).parent / "health"
_WORDINGS = _FOLDER / "wordings.yaml"
FILE = "questions.jsonl"


def health_questions() -> list[dict[str, str]]:
    """Rows {question, answer, intent, topic, source, style}, topic by topic; always the same."""
    wordings = yaml.safe_load(_WORDINGS.read_text(encoding="utf-8"))
    files = sorted(path for path in _FOLDER.glob("*.yaml") if path != _WORDINGS)
    topics = [topic for path in files for topic in yaml.safe_load(path.read_text("utf-8"))]
    return [
        {
            "question": question,
            "answer": answer,
            "intent": intent,
            "topic": topic["topic"],
            "source": topic["source"],
            "style": style,
        }
        for number, topic in enumerate(topics)
        for place, (intent, answer) in enumerate(topic["answers"].items())
        for style, question in _asked(topic, wordings[intent], number, place)
    ]


def _asked(
    topic: dict[str, Any], ways: dict[str, list[str]], number: int, place: int
) -> list[tuple[str, str]]:
    """Two wordings of one question; which, turns from topic to topic and intent to intent."""
    informal = ("lay", "misspelt")[(number + place) % 2]
    turns = {"template": number + place, informal: number // 2 + place}
    names = {"topic": topic["topic"], "lay": topic["lay"], "misspelt": topic["misspelt"]}
    return [(style, ways[style][turn % len(ways[style])].format(**names))
            for style, turn in turns.items()]  # fmt: skip


def generate_health(root: Path | str) -> int:
    """Write `root/questions.jsonl` where missing or different; returns the files written."""
    lines = [json.dumps(row, ensure_ascii=False) + "\n" for row in health_questions()]
    return int(write_if_different(Path(root) / FILE, "".join(lines).encode()))
