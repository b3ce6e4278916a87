"""Questions through the same steps as photos, with a tiny encoder built on the spot."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from regraft.backbones.transformer import TransformerEncoder
from regraft.backbones.transformer_loading import load_transformer
from regraft.data.manifest import read_manifest
from regraft.errors import UserError
from regraft.recipe import Recipe
from regraft.recipe.augmentation import AugmentationOptions
from regraft.recipe.distillation import StudentOptions
from regraft.steps.measuring import answers_of
from regraft.tasks import load_model, question_answering
from regraft.tasks.text_predictor import TextPredictor
from regraft.tasks.text_views import TextViews, noisy
from tests.backbones.texts import tiny_folder

FORMS = {
    "symptoms": "what are the symptoms of {} in children",
    "causes": "what causes {} and why",
    "treatment": "how can i treat {}",
}
TOPICS = [
    f"{a} {b}"
    for a in ("asthma", "fever", "diabetes")
    for b in ("a", "head", "cold", "hurt", "my", "children", "who", "the", "it", "gets")
]


@dataclass(frozen=True)
class Made:
    """Folders of the steps."""

    root: Path
    recipe: dict[str, Any]
    metrics: dict[str, Any]

    @property
    def teacher(self) -> TextPredictor:
        found = load_model(self.root / "teacher")
        assert isinstance(found, TextPredictor)
        return found


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    """All steps up to the evaluation."""
    from regraft.steps.detect_shift import detect_shift_between_splits
    from regraft.steps.distill import distill
    from regraft.steps.evaluate import evaluate
    from regraft.steps.extract_features import extract_features
    from regraft.steps.finetune import finetune
    from regraft.steps.validate_data import validate_data

    root = tmp_path_factory.mktemp("questions")
    lines = [
        {"question": form.format(topic), "intent": intent, "topic": topic,
         "answer": f"{topic}: {intent}.", "source": "a leaflet",
         "split": ("train", "val", "test", "train")[number % 4]}
        for number, topic in enumerate(TOPICS) for intent, form in FORMS.items()
    ]  # fmt: skip
    (root / "q.jsonl").write_text("\n".join(map(json.dumps, lines)), encoding="utf-8")
    noise = {"typos": 0.1, "word_dropout": 0.1, "cached_views": 2}
    recipe = Recipe.model_validate(
        {
            "name": "tiny", "task": "question_answering", "serve": "teacher",
            "data": {"root": str(root / "q.jsonl")},
            "backbone": {"name": str(tiny_folder(root / "encoder"))},
            "features": {"views": 1, "taps": 0, "augmentation": noise},
            "finetune": {
                "plan": {"kind": "last_n", "blocks": 2, "epochs": 2}, "augmentation": noise,
                "min_labels_per_class": 0, "probe_is_enough": 1.0,
            },
            "distillation": {
                "epochs": 1, "student": {"layers": 1}, "augmentation": noise,
                "retriever": {"epochs": 3},
            },
            "evaluation": {"latency_images": 4},
        }
    ).model_dump()  # fmt: skip
    step = {"task": "question_answering", "seed": 0}
    manifest = root / "data" / "manifest.parquet"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("REGRAFT_HOME", str(root / "home"))
        validate_data(data=recipe["data"], out_dir=root / "data", **step)
        extract_features(
            manifest=manifest, backbone=recipe["backbone"], features=recipe["features"],
            threads=0, out_dir=root / "features", **step,
        )  # fmt: skip
        detect_shift_between_splits(
            manifest=manifest, features=root / "features", options=recipe["shift"],
            target_domain="", seed=0, out_dir=root / "shift",
        )  # fmt: skip
        common = {
            "manifest": manifest, "features": root / "features", "shift": root / "shift", **step
        }  # fmt: skip
        finetune(
            options=recipe["finetune"], test_views=1, code_version="x",
            out_dir=root / "teacher", **common,
        )  # fmt: skip
        distill(
            teacher=root / "teacher", options=recipe["distillation"], finetune=recipe["finetune"],
            threads=0, code_version="x", out_dir=root / "student", **common,
        )  # fmt: skip
        metrics = evaluate(
            name="tiny", serve="teacher", quality=root / "data", teacher=root / "teacher",
            student=root / "student", options=recipe["evaluation"], domains={}, threads=0,
            versions={}, out_dir=root / "evaluation", **common,
        )  # fmt: skip
    return Made(root, recipe, metrics)


def test_the_steps_learn_the_intent_of_questions_about_new_topics(made: Made) -> None:
    assert made.metrics["teacher"]["test"]["accuracy"] > 0.9
    assert made.metrics["baselines"]["majority"]["test"]["accuracy"] < 0.5
    found = made.teacher.predict(["why causes hurt"])
    assert set(found[0]) == {"label", "confidence", "probabilities"}


def test_a_file_that_is_gone_is_an_error_and_its_name_is_no_question(
    made: Made, tmp_path: Path
) -> None:
    rows = read_manifest(made.root / "data" / "manifest.parquet").head(2)
    there = answers_of(made.teacher, rows).probabilities
    np.testing.assert_allclose(there, made.teacher.probabilities(rows["text"].tolist()), atol=1e-5)
    gone = rows.assign(path=str(tmp_path / "texts" / "gone.txt"))
    with pytest.raises(UserError, match=r"the text cannot be read[\s\S]*gone.txt"):
        answers_of(made.teacher, gone)


def test_blocks_were_trained_on_the_cached_trunk(made: Made) -> None:
    history = json.loads((made.root / "teacher" / "history.json").read_text())
    assert [stage["name"] for stage in history["stages"]] == ["probe", "last 2 blocks"]
    assert list((made.root / "home" / "trunks").glob("*/card.json"))


def test_the_student_has_fewer_layers(made: Made) -> None:
    student = load_model(made.root / "student")
    assert isinstance(student, TextPredictor)
    assert len(student.model.encoder.blocks) == 2
    assert made.metrics["student"]["speedup"] > 0
    assert student.predict(["what causes asthma"])[0]["label"] in FORMS


def test_the_student_has_an_assistant_of_its_own(made: Made) -> None:
    student = load_model(made.root / "student")
    assert isinstance(student, TextPredictor)
    assert len(student.assistant.retriever.encoder.blocks) == 2
    figures = made.metrics["student"]
    kept, whole = (made.metrics[who]["retrieval"]["recall_at_1"] for who in ("student", "teacher"))
    assert figures["search"]["retention"] == pytest.approx(kept / whole, abs=1e-4)
    assert figures["search"]["layers"] == {"teacher": 3, "student": 1}
    assert {"abstention", "answers", "robustness"} <= set(figures)
    content = json.loads((made.root / "evaluation" / "content.json").read_text())
    assert content["distillation"]["search"] == figures["search"]
    assert "1 of 3 layers" in (made.root / "evaluation" / "report.html").read_text("utf-8")


def test_the_report_shows_questions_as_text(made: Made) -> None:
    content = json.loads((made.root / "evaluation" / "content.json").read_text())
    assert content["noun"] == "questions"
    shown = question_answering.open_example(read_manifest_of(made)["path"].iat[0])
    assert shown == read_manifest_of(made)["text"].iat[0]
    assert (made.root / "evaluation" / "report.html").stat().st_size > 10_000


def read_manifest_of(made: Made) -> pd.DataFrame:
    return read_manifest(made.root / "data" / "manifest.parquet")


def test_the_reference_holds_the_statistics_that_live_questions_get(made: Made) -> None:
    reference = pd.read_parquet(made.root / "evaluation" / "reference" / "reference.parquet")
    row = reference.iloc[0]
    text = Path(row["path"]).read_text()
    live = made.teacher.prepare(text.encode(), max_pixels=1)[1]
    assert live == {k.removeprefix("stat_"): row[k] for k in row.index if k.startswith("stat_")}
    assert set(live) == {"characters", "words", "function_words", "broken_words"}
    assert made.teacher.describe("Xyzzy qwrt plugh")["broken_words"] == 1.0
    known = made.teacher.describe("what is asthma")
    assert known["function_words"] == pytest.approx(2 / 3, abs=1e-3) and not known["broken_words"]


def test_path_bytes_and_text_of_one_question_are_answered_alike(made: Made, tmp_path: Path) -> None:
    file = tmp_path / "q.txt"
    file.write_text("what causes   fever", encoding="utf-8")
    teacher = made.teacher
    prepared, _ = teacher.prepare(b"what causes fever")
    found = teacher.predict([str(file), b"what causes fever", "what causes fever", prepared])
    assert [one["label"] for one in found] == [found[0]["label"]] * 4
    assert np.ptp([one["confidence"] for one in found]) < 1e-5
    assert teacher.from_text(str(file)) == str(file).encode(), "a client's text is never a file"


def test_prepared_questions_of_different_length_are_answered_as_alone(made: Made) -> None:
    teacher = made.teacher
    texts = [b"fever", b"what are the symptoms of asthma in children and why"]
    together, embeddings = teacher.answer([teacher.prepare(text)[0] for text in texts])
    alone = [teacher.predict([text])[0] for text in texts]
    for one, other in zip(together, alone, strict=True):
        assert one["confidence"] == pytest.approx(other["confidence"], abs=1e-5)
    assert embeddings.shape == (2, 32)


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ("", "empty"), ("\x00\x01\x07", "empty"), ("?!", "empty"),
        ("pain " * 20_000, "too long"), (b"\xff\xfe\x00\x81", "not a text"),
    ],
)  # fmt: skip
def test_bad_questions_are_one_clear_error(made: Made, bad: Any, message: str) -> None:
    data = bad if isinstance(bad, bytes) else bad.encode()
    for ask in (lambda: made.teacher.predict([bad]), lambda: made.teacher.prepare(data)):
        with pytest.raises(UserError, match=message):
            ask()


def test_control_characters_change_no_answer(made: Made) -> None:
    plain, odd = made.teacher.predict(["what causes fever", "what\x00 causes\x1b fever\x07"])
    assert plain == odd


def test_a_saved_model_answers_as_before(made: Made, tmp_path: Path) -> None:
    model = made.teacher.model
    question_answering.save(model, tmp_path)
    again = load_model(tmp_path)
    rows = ["what causes fever", "how can i treat asthma"]
    assert again.predict(rows) == made.teacher.predict(rows)  # type: ignore[arg-type]
    assert json.loads((tmp_path / "model.json").read_text())["task"] == "question_answering"


def test_a_class_can_be_added_to_a_text_model(made: Made) -> None:
    model = made.teacher.model
    grown = question_answering.with_class(model, "outlook", np.zeros(32), -9.0)
    x = model.encoder.tokens.tensor(["what causes fever"])  # type: ignore[union-attr]
    with torch.inference_mode():
        assert torch.allclose(grown(x)[:, :3], model(x), atol=1e-6)
        assert grown.classes[-1] == "outlook"


def test_mixup_and_several_test_views_are_refused(made: Made, tmp_path: Path) -> None:
    from regraft.steps.finetune import finetune

    folder = made.root / "features"
    options = made.recipe["finetune"] | {"mixup_alpha": 0.2}
    with pytest.raises(UserError, match="cannot be mixed"):
        finetune(
            task="question_answering", manifest=made.root / "data" / "manifest.parquet",
            features=folder, options=options, test_views=1, seed=0, code_version="x",
            out_dir=tmp_path,
        )  # fmt: skip
    encoder = tiny(tmp_path)
    with pytest.raises(UserError, match=r"features\.views"):
        question_answering.new_model(encoder, ["a", "b"], test_views=2)


def test_the_student_is_refused_more_layers_than_there_are(tmp_path: Path) -> None:
    encoder = tiny(tmp_path)
    options = StudentOptions().model_dump()
    half = question_answering.student_encoder(encoder, options)
    assert len(half.blocks) == 2 and half.spec.config["num_hidden_layers"] == 1
    with torch.inference_mode():
        x = encoder.tokens.tensor(["what is asthma"])
        whole = question_answering.student_encoder(encoder, options | {"layers": 3})
        assert torch.equal(whole(x), encoder(x))
    for wrong in ({"layers": 4}, {"image_size": 96}):
        with pytest.raises(UserError):
            question_answering.student_encoder(encoder, options | wrong)


def tiny(tmp_path: Path) -> TransformerEncoder:
    return load_transformer(str(tiny_folder(tmp_path / "tiny")))


def test_views_are_the_text_and_then_reproducible_noise(tmp_path: Path) -> None:
    tokens = tiny(tmp_path).tokens
    texts = ["what are the symptoms of diabetes in children", "what causes fever"]
    noise = AugmentationOptions(typos=0.5, word_dropout=0.3).model_dump()
    views = TextViews(texts, tokens, noise, seed=0)
    assert views.text(0, 0) == texts[0]
    changed = [views.text(0, view) for view in range(1, 9)]
    assert len(set(changed)) > 4
    assert changed == [TextViews(texts, tokens, noise, seed=0).text(0, v) for v in range(1, 9)]
    assert views.batch(np.array([0, 1]), np.array([1, 0])).shape == (2, 2, views.length)
    other = AugmentationOptions(typos=0.4, word_dropout=0.3).model_dump()
    assert views.fingerprint != TextViews(texts, tokens, other, seed=0).fingerprint
    plain = TextViews(texts, tokens, AugmentationOptions().model_dump(), seed=0)
    assert plain.text(0, 3) == texts[0]


def test_noise_never_leaves_an_empty_text() -> None:
    rng = np.random.default_rng(0)
    assert all(noisy("fever", rng, typos=0.9, dropout=0.99) for _ in range(50))


def test_views_may_be_about_another_topic_of_the_table(tmp_path: Path) -> None:
    tokens = tiny(tmp_path).tokens
    texts, topics = ["what causes Fever in children", "how can i treat it"], ["fever", "asthma"]
    swaps = AugmentationOptions(topic_swaps=1.0).model_dump()
    views = TextViews(texts, tokens, swaps, seed=0, topics=topics)
    seen = {views.text(0, view) for view in range(1, 30)}
    assert seen == {"what causes fever in children", "what causes asthma in children"}
    assert views.text(0, 0) == texts[0]
    assert {views.text(1, view) for view in range(9)} == {texts[1]}  # it does not name its topic
    assert views.fingerprint != TextViews(texts, tokens, swaps, seed=0).fingerprint
    unknown = TextViews(texts, tokens, swaps, seed=0, topics=["", ""])
    assert unknown.text(0, 3) == texts[0]
