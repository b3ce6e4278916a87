"""`regraft bench medical` on a small pack of made-up questions, with the embedded encoder."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from regraft.backbones.transformer import embed_texts
from regraft.backbones.transformer_loading import load_transformer
from regraft.bench.baselines import set_fit
from regraft.bench.cell import Cell, chosen
from regraft.bench.medical import cells, domain_readers, retrieval, students
from regraft.bench.medical_pack import consumers, drawn, of_rows, rows_of
from regraft.bench.methods import answer_retrieval, masked_language, student_retrieval
from regraft.bench.prepared import Prepared
from regraft.bench.rows import row_of
from regraft.bench.worker import Job, recipe_of
from regraft.data.manifest import files_of
from regraft.errors import UserError
from regraft.tasks.matching import Matcher
from regraft.training.embedding_distillation import Lessons
from regraft.training.masked_language import MaskedLanguage
from tests.backbones.texts import tiny_folder

TOPICS = [
    "asthma", "gout", "measles", "anemia", "eczema", "malaria", "cataract", "migraine", "rickets",
    "scurvy", "tetanus", "mumps", "rabies", "lupus", "psoriasis", "cholera",
]  # fmt: skip
INTENTS = {
    "symptoms": ("What are the symptoms of {} ?", "People with {} feel unwell, tired and sore."),
    "treatment": ("What are the treatments for {} ?", "How is {} treated? By tablets."),
    "causes": ("What causes {} ?", "Some get {} from their parents or from germs."),
    "outlook": ("What is the outlook for {} ?", "Most people with {} live long and well."),
}


@pytest.fixture(scope="module")
def pack(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("medical")
    rows = [
        {"question": q.format(t), "answer": a.format(t), "intent": intent, "focus": t}
        for t in TOPICS
        for intent, (q, a) in INTENTS.items()
    ]
    medication = [
        {"qid": str(i), "question": f"how much {drug}", "answer": f"Take one {drug} a day."}
        for i, drug in enumerate(["aspirin", "insulin", "codeine"])
    ]
    liveqa = [
        {"qid": "1", "question": "is my mole bad", "reference_answers": ["See a doctor.", "Moles"]},
        {"qid": "2", "question": "nobody answered this", "reference_answers": []},
        {"qid": "3", "question": "are lentils good", "reference_answers": ["Lentils are good."]},
    ]
    for name, written in (
        ("medquad", rows),
        ("medicationqa_consumer_questions", medication),
        ("liveqa_med_consumer_questions", liveqa),
    ):
        lines = "\n".join(json.dumps(row) for row in written)
        (folder / f"{name}.jsonl").write_text(lines, encoding="utf-8")
    return folder


def test_no_topic_is_on_two_sides(pack: Path) -> None:
    split = drawn(rows_of(pack, "medquad"), seed=3)
    topics = [{row["focus"] for row in rows} for rows in split.values()]
    assert sum(map(len, topics)) == len(set().union(*topics))
    assert [len(split[name]) for name in ("test", "train", "val")] == [32, 16, 16]


def test_answers_of_consumers_join_the_passages(pack: Path) -> None:
    found = consumers(pack, "liveqa", ["Moles", "Something else"])
    assert found.questions == ["is my mole bad", "are lentils good"]
    assert found.passages == ["Moles", "Something else", "See a doctor.", "Lentils are good."]
    assert found.right == [[2, 0], [3]]


def test_equal_answers_are_one_passage(pack: Path) -> None:
    row = {"question": "a", "answer": "same", "intent": "x", "focus": "t"}
    assert of_rows([row, row]).right == [[0], [0]]


def measured(method: Any, wanted: list[Cell], folder: Path) -> tuple[dict[str, Any], list[Any]]:
    """The figures of a method, and the rows of its cells."""
    first = wanted[0]
    job = Job(first.method, first.options, first.overrides, 0, folder, folder, folder / "log")
    prepared = Prepared(recipe_of(job), folder, folder)
    figures = method.measure(prepared, **first.options)
    return figures, [row_of(cell, [{"figures": figures, "cpu": prepared.cpu}]) for cell in wanted]


def test_every_cell_of_retrieval_is_measured(pack: Path, tmp_path: Path) -> None:
    wanted = retrieval(pack, tmp_path / "cache")
    figures, rows = measured(answer_retrieval, wanted, tmp_path)
    by_name = {row["cell"]: row["mean"] for row in rows}
    assert all(0 <= by_name[f"medquad / recall_at_1 / {name}"] <= 1 for name in ("bm25", "adapted"))
    assert by_name["medquad / recall_at_1 / adapted"] > by_name["medquad / recall_at_1 / bm25"]
    mistyped = [by_name[f"mistyped / recall_at_1 / {name}"] for name in ("adapted", "zero_shot")]
    assert mistyped[0] > mistyped[1]
    assert rows[0]["cpu_seconds"] > 0
    kept = (tmp_path / "cache" / "minilm-256.npz").stat().st_mtime_ns
    again, _ = measured(answer_retrieval, wanted, tmp_path)
    assert again == figures
    assert (tmp_path / "cache" / "minilm-256.npz").stat().st_mtime_ns == kept


def test_every_cell_of_a_student_is_measured(
    pack: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(student_retrieval, "LESSONS", Lessons(epochs=1))
    monkeypatch.setattr(student_retrieval, "_TIMED", 8)
    wanted = students(pack, tmp_path / "cache")
    figures, rows = measured(student_retrieval, wanted, tmp_path)
    by_name = {row["cell"]: row["mean"] for row in rows}
    kept, whole = (figures["medquad"][who]["recall_at_1"] for who in ("student", "teacher"))
    assert by_name["medquad / recall_at_1 / student"] == kept
    assert by_name["medquad / retention / student"] == kept / whole
    assert by_name["medquad / speed-up / student"] > 1.2
    assert rows[0]["cpu_seconds"] > 0


def test_every_cell_of_a_domain_reader_is_measured(
    pack: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[str] = []
    whole = masked_language.pretrain_on_texts

    def reading(encoder: Any, texts: list[str], *rest: Any, **named: Any) -> dict[str, Any]:
        read.extend(texts)
        return whole(encoder, texts, *rest, **named)

    monkeypatch.setattr(masked_language, "pretrain_on_texts", reading)
    folder = str(tiny_folder(tmp_path / "tiny"))
    monkeypatch.setattr(
        masked_language, "load_transformer", lambda *_, **__: load_transformer(folder)
    )
    monkeypatch.setattr(masked_language, "LESSONS", MaskedLanguage(epochs=1))
    monkeypatch.setattr(masked_language, "fit_matcher", lambda pairs, seed: Matcher())
    wanted = domain_readers(pack, tmp_path / "cache")
    figures, rows = measured(masked_language, wanted, tmp_path)
    tested = {row["question"] for row in drawn(rows_of(pack, "medquad"), 0)["test"]}
    assert len(read) == 64 and not tested & {*read}, "no question of a test topic is read"
    by_name = {row["cell"]: row["mean"] for row in rows}
    kept = figures["medquad"]["adapted"]["recall_at_1"]
    assert by_name["medquad / recall_at_1 / masked-LM first, adapted"] == kept
    assert -1 <= by_name["general / after / masked-LM first"] <= 1
    assert by_name["hidden words / loss after / masked-LM first"] > 0
    assert rows[0]["cpu_seconds"] > 0


def test_texts_of_a_split_outlive_the_cell_that_prepared_it(pack: Path, tmp_path: Path) -> None:
    shared, own = tmp_path / "shared", tmp_path / "own"
    fields = {"task": "question_answering", "data.root": str(pack / "medquad.jsonl")}
    job = Job("methods.recipe", {}, fields, 0, shared, own, tmp_path / "log")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("REGRAFT_HOME", str(own / "home"))
        rows = Prepared(recipe_of(job), shared, own).rows
        assert os.environ["REGRAFT_HOME"] == str(own / "home")
    shutil.rmtree(own, ignore_errors=True)
    assert len(rows)
    assert all(
        path.read_text() == text for path, text in zip(files_of(rows), rows["text"], strict=True)
    )


def test_a_missing_pack_is_said(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="questions of the bench"):
        rows_of(tmp_path, "medquad")


def test_cells_are_selected_by_name(pack: Path, tmp_path: Path) -> None:
    found = chosen(cells(pack, tmp_path), ["liveqa / recall_at_1 / *"])
    assert [cell.name.split(" / ")[2] for cell in found] == [
        "zero_shot", "bm25", "plain_fusion", "adapted", "student",
        "masked-LM first, zero_shot", "masked-LM first, adapted",
    ]  # fmt: skip


def test_set_fit_pairs_every_text_with_its_class_and_with_others() -> None:
    labels = np.repeat([0, 1, 2], 3)
    pairs, cosines = set_fit._pairs(labels, np.random.default_rng(0))
    same = labels[pairs[:, 0]] == labels[pairs[:, 1]]
    assert len(pairs) == 2 * set_fit.ITERATIONS * len(labels)
    assert (same == (cosines == 1)).all() and same.mean() == 0.5
    assert (pairs[:, 0] != pairs[:, 1]).all()


def test_set_fit_draws_classes_apart() -> None:
    encoder = load_transformer("minilm", max_tokens=16)
    texts = [text.format(topic) for topic in TOPICS[:3] for text, _ in INTENTS.values()]
    labels = np.tile(np.arange(4), 3)
    same = labels[:, None] == labels

    def contrast() -> float:
        cosines = embed_texts(encoder, texts)
        found = cosines @ cosines.T
        return float(found[same].mean() - found[~same].mean())

    before = contrast()
    set_fit._tune(encoder, texts, labels, seed=0)
    assert contrast() > before + 0.2
