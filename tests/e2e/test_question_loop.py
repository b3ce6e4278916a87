"""The live loop on questions, over HTTP: textbook wording leads to nothing, people's own wording to
a retraining on their questions; a rollback brings the old answers back."""

from __future__ import annotations

import csv
import hashlib
import json
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import yaml

from regraft.data import examples
from regraft.data.examples.health_questions import health_questions
from tests.e2e.support import Project

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(1800)]
TRAINED, SPLITS = 12, ("train", "val", "train", "test", "train", "train")
"""Topics that the champion learns about, and where they are; people ask about the others."""
WINDOW = 60
WORDINGS = yaml.safe_load(
    Path(examples.__path__[0], "health", "wordings.yaml").read_text(encoding="utf-8")
)
RECIPE = {
    "name": "tiny",
    "task": "question_answering",
    "serve": "teacher",
    "backbone": {"name": "minilm"},
    "features": {"views": 1, "taps": 0, "augmented_views": 0},
    "finetune": {"plan": {"kind": "head_only"}, "threads": 1},
    "distillation": {"enabled": False},
    "evaluation": {"latency_images": 4},
    "monitoring": {"window": WINDOW, "permutations": 1000},
    "retraining": {"when_unlabelled": "ask", "min_new_examples": 20, "test_labels_per_class": 4},
    "serving": {"keep_inputs": True, "poll_seconds": 0.1},
}


class Questions(Project):
    """A project whose examples are textbook questions with answers about some health topics.

    `calm` are the same things asked in other words of the textbook, `live` what people ask about
    other topics, each with its intent.
    """

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, per_class=1)
        rows = health_questions()
        topics = list(dict.fromkeys(row["topic"] for row in rows))[:TRAINED]
        known = [
            row | {"split": SPLITS[topics.index(row["topic"]) % len(SPLITS)]}
            for row in rows
            if row["topic"] in topics and row["style"] == "template"
        ]
        people = [row for row in rows if row["topic"] not in topics and row["style"] != "template"]
        self.calm = drawn([row | {"question": reworded(row)} for row in known], WINDOW)
        self.live = drawn(people, 2 * WINDOW)
        table = folder / "questions.jsonl"
        table.write_text("".join(json.dumps(row) + "\n" for row in known), encoding="utf-8")
        recipe = RECIPE | {"data": {"root": str(table)}}
        self.recipe.write_text(yaml.safe_dump(recipe), encoding="utf-8")

    def do(self, *arguments: str) -> str:
        """What a command prints that must succeed."""
        result = self.call(*arguments)
        assert result.code == 0, result.text
        return result.output

    def monitor(self) -> dict[str, Any]:
        out = str(self.folder / "check")
        return dict(json.loads(self.do("monitor", str(self.recipe), "--out", out, "--json")))

    def label(self, rows: list[dict[str, str]]) -> None:
        """Tell what these questions ask."""
        path = self.folder / "labels.csv"
        hashes = [hashlib.sha256(row["question"].encode()).hexdigest() for row in rows]
        told = zip(hashes, [row["intent"] for row in rows], strict=True)
        with path.open("w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows([("input_hash", "label"), *told])
        self.do("feedback", "tiny", str(path))

    @contextmanager
    def served(self) -> Iterator[httpx.Client]:
        server = self.start("serve", "tiny", "--port", "0", "serving.poll_seconds=0.1")
        assert server.process.stdout is not None
        address = server.process.stdout.readline().split()[-1]
        with httpx.Client(base_url=address, timeout=60) as client:
            yield client
        server.process.send_signal(signal.SIGTERM)
        assert server.wait(60).code == 0


def test_questions_in_other_words_are_seen_learned_and_rolled_back(tmp_path: Path) -> None:
    project = Questions(tmp_path)
    first = project.run()
    assert first["decision"]["outcome"] == "first"
    old = first["decision"]["candidate_version"]
    with project.served() as client:
        ask(client, project.calm)
        before = ask(client, project.live)
        told = project.monitor()
        calm, *people = told["windows"]
        assert calm["judged"] and not calm["shifted"], told["reason"]
        assert [window["shifted"] for window in people] == [True, True]
        assert told["drifted"]
        assert not told["retrained"], "nobody has said what these questions ask"

        reply = chat(client, project.calm[0])
        project.label(project.live)
        told = project.monitor()
        assert told["retrained"], told["why_not"]
        decision = told["decision"]
        if decision["outcome"] == "hold":
            project.do("promote", "tiny", decision["candidate_version"], "--reason", "test")
        answers_with(client, decision["candidate_version"])
        assert ask(client, project.live) != before
        assert chat(client, project.calm[0]), "the new champion has an assistant too"
        project.do("rollback", "tiny", "--reason", "test")
        answers_with(client, old)
        assert ask(client, project.live) == before, "the old answers, bit for bit"
        assert chat(client, project.calm[0]) == reply
    history = project.history()
    assert [entry["triggered_by"] for entry in history[:2]] == ["regraft run", "regraft monitor"]
    assert [entry["outcome"] for entry in history[:2]] == ["first", decision["outcome"]]
    assert history[-1]["outcome"] == "rollback"


def drawn(rows: list[dict[str, str]], count: int) -> list[dict[str, str]]:
    """So many rows, of every topic and intent."""
    order = np.random.default_rng(0).permutation(len(rows))
    return [rows[number] for number in order[:count]]


def reworded(row: dict[str, str]) -> str:
    """What a textbook question asks, in another of the textbook's wordings."""
    ways = WORDINGS[row["intent"]]["template"]
    found = [way.format(topic=row["topic"]) for way in ways]
    return next(question for question in found if question != row["question"])


def ask(client: httpx.Client, rows: list[dict[str, str]]) -> list[dict[str, Any]]:
    """The answers of the intent classifier, without their ids."""
    found = [client.post("/predict", json={"inputs": [row["question"]]}) for row in rows]
    assert [response.status_code for response in found] == [200] * len(rows)
    answers = [response.json()["predictions"][0] for response in found]
    return [{key: value for key, value in one.items() if key != "id"} for one in answers]


def chat(client: httpx.Client, row: dict[str, str]) -> str:
    """The reply of the assistant."""
    messages = [{"role": "user", "content": row["question"]}]
    found = client.post("/v1/chat/completions", json={"model": "tiny", "messages": messages})
    assert found.status_code == 200, found.text
    return str(found.json()["choices"][0]["message"]["content"])


def answers_with(client: httpx.Client, version: str) -> None:
    """Wait until this version answers."""
    deadline = time.monotonic() + 120
    while client.get("/model").json()["version"] != str(version):
        assert time.monotonic() < deadline, "the server does not follow"
        time.sleep(0.05)
