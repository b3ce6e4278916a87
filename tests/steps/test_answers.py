"""Questions that come with answers: an assistant beside the model, and what it is worth."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from regraft.backbones.transformer_loading import load_transformer
from regraft.data.examples.health_questions import health_questions
from regraft.recipe.distillation import DistillationOptions
from regraft.steps.answers import beside, measure, passages_of, wanted, write
from regraft.steps.companions import teach_companions
from regraft.steps.options import typed
from regraft.tasks import question_answering
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
    write(manifest(), features, folder, options={}, seed=0)
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
    write(few, features, tmp_path, options={}, seed=0)
    assert not list(tmp_path.iterdir())
    assert "19 validation questions" in capsys.readouterr().err


def test_tables_without_answers_have_none() -> None:
    rows = manifest()
    assert wanted(rows)
    assert not wanted(rows.assign(answer=""))
    assert not wanted(rows.drop(columns="answer"))


@pytest.fixture(scope="module")
def student(features: Path, assistant: Assistant, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a student with one of three layers; its teacher's lies beside it."""
    root = tmp_path_factory.mktemp("student")
    assistant.save(root / "teacher")
    options = typed(DistillationOptions, {"student": {"layers": 1}, "retriever": {"epochs": 2}})
    teach_companions(
        manifest(), root / "teacher", root / "own", options=options, seed=0,
        student=lambda own: question_answering.student_encoder(own, options["student"]),
    )  # fmt: skip
    return root / "own"


def test_a_student_searches_the_same_passages_with_fewer_layers(
    student: Path, assistant: Assistant
) -> None:
    own = Assistant.load(student)
    assert own.retriever.passages == assistant.retriever.passages
    assert len(own.retriever.encoder.blocks) == 2 < len(assistant.retriever.encoder.blocks)
    assert own.retriever.matcher.weights != assistant.retriever.matcher.weights


def test_a_student_stands_beside_its_teacher(student: Path, assistant: Assistant) -> None:
    rows = manifest()
    test = rows[rows["split"] == "test"]
    teacher, own = (SimpleNamespace(assistant=a) for a in (assistant, Assistant.load(student)))
    metrics = {
        who: measure(one, test, np.zeros(0), seed=0)
        for who, one in {"teacher": teacher, "student": own}.items()
    }
    found = beside(teacher, own, test, metrics)["search"]
    kept, whole = (metrics[who]["retrieval"]["recall_at_1"] for who in ("student", "teacher"))
    assert found["retention"] == pytest.approx(kept / whole, abs=1e-4)
    assert found["layers"] == {"teacher": 3, "student": 1}
    assert found["speedup"] > 0
    assert beside(teacher, SimpleNamespace(assistant=None), test, metrics) == {}


@pytest.mark.parametrize("epochs, of_teacher", [(0, True), (2, False)])
def test_without_lessons_or_a_teachers_assistant_a_student_has_none(
    assistant: Assistant, tmp_path: Path, epochs: int, of_teacher: bool
) -> None:
    if of_teacher:
        assistant.save(tmp_path / "teacher")
    options = typed(DistillationOptions, {"retriever": {"epochs": epochs}})
    teach_companions(
        manifest(), tmp_path / "teacher", tmp_path / "own", options=options, seed=0, student=repr
    )
    assert not (tmp_path / "own").exists()
