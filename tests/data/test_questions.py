"""Tables of questions become manifests; what is wrong with a text is found."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from regraft.data.manifest import read_manifest
from regraft.data.questions import list_questions
from regraft.data.validation import validate_texts
from regraft.errors import UserError

HOW: dict[str, Any] = {
    "classes": [], "source_domain": "", "target_domain": "", "target_labels_per_class": 0,
    "images_per_class": 0, "test_fraction": 0.25, "target_test_fraction": 0.5,
    "validation_fraction": 0.15, "min_images_per_class": 2, "max_imbalance": 20.0, "seed": 0,
}  # fmt: skip
TOPICS = ["asthma", "gout", "measles", "scurvy", "rickets", "mumps", "rabies", "tetanus"]
FORMS = {"symptoms": "What are the symptoms of {}?", "causes": "How do people catch {}?"}


def rows() -> list[dict[str, Any]]:
    return [
        {"question": form.format(topic), "intent": intent, "topic": topic.title(),
         "answer": f"About {topic}: {intent}.", "source": "a leaflet"}
        for topic in TOPICS for intent, form in FORMS.items()
    ]  # fmt: skip


def table(folder: Path, lines: list[dict[str, Any]], name: str = "questions.jsonl") -> Path:
    path = folder / name
    path.write_text("\n".join(json.dumps(line) for line in lines), encoding="utf-8")
    return path


def validated(
    tmp_path: Path, lines: list[dict[str, Any]], **how: Any
) -> tuple[dict[str, Any], pd.DataFrame]:
    quality = validate_texts(
        table(tmp_path, lines), tmp_path / "out", store=tmp_path / "store", **(HOW | how)
    )
    return quality, read_manifest(tmp_path / "out" / "manifest.parquet")


def failed(quality: dict[str, Any]) -> dict[str, int]:
    return {e["meaning"]: e["unexpected"] for e in quality["expectations"] if not e["success"]}


def quarantined(tmp_path: Path) -> dict[str, str]:
    found = pd.read_parquet(tmp_path / "out" / "quarantine.parquet")
    return dict(zip(found["id"], found["reason"], strict=True))


def test_a_topic_is_on_one_side_and_nothing_is_wrong_with_good_questions(tmp_path: Path) -> None:
    quality, manifest = validated(tmp_path, rows())
    assert failed(quality) == {}
    assert manifest.groupby("topic")["split"].nunique().max() == 1
    assert set(manifest["split"]) == {"train", "test"}
    assert set(manifest["group"]) == set(TOPICS)
    one = manifest[manifest["id"] == "questions:00001"].iloc[0]
    assert (one["text"], one["label"], one["answer"]) == (
        "What are the symptoms of asthma?", "symptoms", "About asthma: symptoms.",
    )  # fmt: skip
    assert Path(one["path"]).read_text() == one["text"]
    assert one["words"] == 6 and one["function_words"] == pytest.approx(4 / 6, abs=1e-3)


@pytest.mark.parametrize(
    ("question", "reason"),
    [
        ("", "empty_text"),
        (" \x00\x07 … ?! ", "empty_text"),
        ("pain " * 20_000, "too_long"),
        ("Wie wird man den Husten los, wenn er nicht weggeht?", "other_language"),
        ("Какие симптомы у астмы и что делать?", "other_language"),
    ],
)
def test_what_is_no_usable_question_is_quarantined(
    tmp_path: Path, question: str, reason: str
) -> None:
    bad = {**rows()[0], "question": question, "topic": "other"}
    quality, manifest = validated(tmp_path, [*rows(), bad])
    assert quarantined(tmp_path) == {"questions:00017": reason}
    assert len(failed(quality)) == 1 and len(manifest) == 16


def test_any_language_is_taken_where_none_is_expected(tmp_path: Path) -> None:
    foreign = {**rows()[0], "question": "Wie wird man den Husten los, wenn er nicht weggeht?"}
    quality, _ = validated(tmp_path, [*rows(), foreign], language="")
    assert quality["usable"] == 17


@pytest.mark.parametrize(
    ("change", "meaning"),
    [
        ({"question": "What <b>are</b> the symptoms of plague &amp; pox?"},
         "the question has no markup"),
        ({"answer": "<p>See a doctor.</p>"}, "the answer has no markup"),
        ({"question": "I am jo.doe@mail.example, what are the symptoms of plague?"},
         "the question has no e-mail address or telephone number"),
        ({"question": "Call me at +44 20 7946 0018: what are the symptoms of plague?"},
         "the question has no e-mail address or telephone number"),
        ({"answer": "Write to help@clinic.example."},
         "the answer has no e-mail address or telephone number"),
        ({"question": "What are \x07the symptoms of plague?"}, "there are no control characters"),
        ({"answer": ""}, "the question has an answer, as others have"),
        ({"question": "the symptoms of ASTHMA -- what are they", "answer": "None at all."},
         "one question has one answer"),
    ],
)  # fmt: skip
def test_what_a_person_should_look_at_fails_its_expectation(
    tmp_path: Path, change: dict[str, str], meaning: str
) -> None:
    base = {**rows()[0], "question": "What are the symptoms of plague?", "topic": "plague"}
    quality, _ = validated(tmp_path, [*rows(), base | change])
    assert list(failed(quality)) == [meaning]
    assert quality["quarantined"] == 0


def test_doses_years_and_ordinary_figures_are_no_telephone_numbers(tmp_path: Path) -> None:
    base = {**rows()[0], "topic": "dose",
            "question": "Is 500-1000 mg a day from 1998-2003 or 12.5 mg safe?"}  # fmt: skip
    quality, _ = validated(tmp_path, [*rows(), base])
    assert failed(quality) == {}


def test_the_same_words_stay_on_one_side_whatever_their_topic_is_called(tmp_path: Path) -> None:
    twin = [
        {**row, "topic": f"{row['topic']} (other name)", "question": row["question"].upper()}
        for row in rows()
    ]
    quality, manifest = validated(tmp_path, [*rows(), *twin])
    assert quality["near_duplicate_groups"] > 0 and failed(quality) == {}
    sides = manifest.groupby(manifest["topic"].str.split(" ").str[0])["split"].nunique()
    assert sides.max() == 1


def test_a_question_on_two_sides_fails_the_check(tmp_path: Path) -> None:
    from regraft.data.quality import class_table, run_expectations
    from regraft.data.text_quality import TEXT_SUITE

    _, manifest = validated(tmp_path, rows())
    leaked = manifest[manifest["split"] == "test"].iloc[[0]]
    leaked = leaked.assign(id="copy", split="train", group="another", sha256="x")
    leaked["text"] = leaked["text"].str.lower()
    both = pd.concat([manifest, leaked], ignore_index=True)
    incoming = both.assign(reason="", detail="")
    counts = both["label"].value_counts()
    found = run_expectations(
        incoming, class_table(counts), both, tmp_path / "docs",
        min_per_class=2, max_imbalance=20, suite=TEXT_SUITE,
    )  # fmt: skip
    assert [e["meaning"] for e in found if not e["success"]] == [
        "no question is on two sides in the same words"
    ]


def test_the_same_question_twice_is_kept_once_and_with_two_intents_not_at_all(
    tmp_path: Path,
) -> None:
    again = {**rows()[0]}
    torn = {**rows()[2], "intent": "causes"}
    validated(tmp_path, [*rows(), again, torn])
    assert quarantined(tmp_path) == {
        "questions:00017": "exact_duplicate",
        "questions:00003": "conflicting_labels",
        "questions:00018": "conflicting_labels",
    }


def test_a_corrupt_row_is_named(tmp_path: Path) -> None:
    path = table(tmp_path, rows())
    path.write_text(path.read_text() + '\n{"question": "What', encoding="utf-8")
    with pytest.raises(UserError, match="line 17"):
        validate_texts(path, tmp_path / "out", store=tmp_path / "store", **HOW)
    path.write_bytes(b"\xff\xfe\x00bad")
    with pytest.raises(UserError, match="UTF-8"):
        validate_texts(path, tmp_path / "out", store=tmp_path / "store", **HOW)


def test_missing_columns_and_tables_are_named(tmp_path: Path) -> None:
    options = {"store": tmp_path / "store", "source_domain": "", "target_domain": "", "classes": []}
    with pytest.raises(UserError, match="no column question"):
        list_questions(table(tmp_path, [{"q": "a", "intent": "b"}]), **options)
    with pytest.raises(UserError, match="no column intent"):
        list_questions(table(tmp_path, [{"question": "a"}]), **options)
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(UserError, match="no table of questions"):
        list_questions(empty, **options)


def test_consumer_questions_are_the_target_under_the_names_of_the_source(tmp_path: Path) -> None:
    folder = tmp_path / "pack"
    folder.mkdir()
    table(folder, rows(), "medquad.jsonl")
    asked = [
        {"qid": f"T{n}", "question": f"hello my son feels ill, is it {topic} number {n}",
         "types": [types], "focus": [{"text": topic, "category": "Problem"}],
         "reference_answers": ["It may be."], "source": "LiveQA"}
        for n, (topic, types) in enumerate((t, k) for t in TOPICS for k in ("symptom", "cause"))
    ]  # fmt: skip
    asked.append(
        {**asked[0], "qid": "T99", "question": "how much of it may I take", "types": ["dosage"]}
    )
    table(folder, asked, "liveqa_questions.jsonl")
    validate_texts(
        folder, tmp_path / "out", store=tmp_path / "store",
        **(HOW | {"source_domain": "medquad", "target_domain": "liveqa"}),
    )  # fmt: skip
    manifest = read_manifest(tmp_path / "out" / "manifest.parquet")
    target = manifest[manifest["domain"] == "liveqa"]
    assert set(target.loc[target["split"] == "test", "label"]) == {"symptoms", "causes"}
    assert set(target["split"]) <= {"test", "unlabelled", "unused"}
    assert "T99" not in " ".join(target["id"]), "a type that the source lacks is left out"
    with pytest.raises(UserError, match="no tables are called 'nowhere'"):
        list_questions(folder, store=tmp_path / "store", source_domain="nowhere",
                       target_domain="", classes=[])  # fmt: skip


def test_files_of_a_retraining_are_read_as_questions(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("What is\tgout?", encoding="utf-8")
    pd.DataFrame({"path": ["a.txt"], "label": ["information"], "split": ["train"]}).to_csv(
        tmp_path / "t.csv", index=False
    )
    found = list_questions(
        tmp_path / "t.csv", store=tmp_path / "store", source_domain="", target_domain="",
        classes=[],
    )  # fmt: skip
    assert found["text"].tolist() == ["What is gout?"] and found["split"].tolist() == ["train"]
