"""Questions that come with answers: an assistant beside the model, and what it is worth."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from regraft.backbones.transformer_loading import load_transformer
from regraft.data.examples.health_questions import health_questions
from regraft.steps.answers import measure, passages_of, wanted, write
from regraft.tasks.assistant.assistant import Assistant
from tests.backbones.texts import tiny_folder

TOPICS = 15


def manifest() -> pd.DataFrame:
    """Two in five topics are tested, one in five fits the thresholds, the others train."""
    rows = pd.DataFrame(health_questions()).rename(columns={"question": "text", "intent": "label"})
    topics = list(dict.fromkeys(rows["topic"]))[:TOPICS]
    places = {
        topic: ("train", "test", "train", "val", "test")[n % 5] for n, topic in enumerate(topics)
    }
    rows = rows[rows["topic"].isin(topics) & (rows["style"] == "template")]
    return rows.assign(
        id=[f"q{n}" for n in range(len(rows))], group=rows["topic"], split=rows["topic"].map(places)
    ).reset_index(drop=True)


@pytest.fixture(scope="module")
def features(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of feature extraction as far as an assistant reads it."""
    root = tmp_path_factory.mktemp("features")
    load_transformer(str(tiny_folder(root / "tiny"))).save(root / "backbone")
    return root


@pytest.fixture(scope="module")
def assistant(features: Path, tmp_path_factory: pytest.TempPathFactory) -> Assistant:
    folder = tmp_path_factory.mktemp("model")
    write(manifest(), features, folder, seed=0)
    return Assistant.load(folder)


def test_every_answer_is_a_passage_once_and_carries_where_it_is_from() -> None:
    rows = manifest()
    twice = pd.concat([rows, rows.assign(text="in other words")])
    passages, numbers = passages_of(twice.assign(answer=[*twice["answer"][:-1], ""]))
    assert len(passages) == len(numbers) == rows["answer"].nunique()
    first = passages[numbers[rows["answer"][0]]]
    row = rows.iloc[0]
    assert (first.topic, first.intent, first.source) == (row["topic"], row["label"], row["source"])


def test_the_figures_are_those_of_test_questions_that_have_an_answer(assistant: Assistant) -> None:
    rows = manifest()
    test = rows[rows["split"] == "test"]
    unanswered = test.assign(answer="", text="What did nobody answer?")
    found = measure(
        SimpleNamespace(assistant=assistant), pd.concat([test, unanswered]), np.zeros(0), seed=0
    )
    assert set(found) == {"retrieval", "abstention", "answers", "robustness", "dialogues"}
    assert found["retrieval"]["count"] == len(test)
    assert found["retrieval"]["recall_at_1"] > 5 / len(assistant.retriever.passages)
    assert found["abstention"]["in_domain"]["count"] == len(test)


def test_too_few_validation_questions_write_nothing_and_it_is_said(
    features: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = manifest()
    few = pd.concat([rows[rows["split"] != "val"], rows[rows["split"] == "val"][:19]])
    write(few, features, tmp_path, seed=0)
    assert not list(tmp_path.iterdir())
    assert "19 validation questions" in capsys.readouterr().err


def test_tables_without_answers_have_none() -> None:
    rows = manifest()
    assert wanted(rows)
    assert not wanted(rows.assign(answer=""))
    assert not wanted(rows.drop(columns="answer"))
