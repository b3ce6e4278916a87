"""The encoder reads the domain before it is embedded with, and every step behind sees that."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from regraft.backbones.encoder import load_encoder
from regraft.backbones.pair_encoder import PairEncoder
from regraft.backbones.transformer_loading import load_transformer
from regraft.data.examples.health_questions import health_questions
from regraft.data.manifest import read_manifest
from regraft.data.pair_files import PairFile, stored_pair
from regraft.errors import UserError
from regraft.recipe import Recipe
from regraft.recipe.backbone import BackboneOptions, FeatureOptions
from regraft.steps.domain_pretraining import CARD, as_method, pretrain_on_domain
from regraft.steps.extract_features import extract_features
from regraft.steps.options import typed
from regraft.steps.validate_data import validate_data
from regraft.tasks import image_text_classification, load_model
from regraft.tasks.assistant.assistant import Assistant
from regraft.training import masked_language
from tests.backbones.texts import tiny_folder
from tests.data.test_pair_files import picture

TOPICS = 12
READING = {"epochs": 2, "learning_rate": 1e-2, "max_general_drop_pp": 100.0}


def features_of(root: Path, out: str, **options: Any) -> Path:
    """The folder of a feature extraction with these options of the pre-training."""
    extract_features(
        task="question_answering", manifest=root / "data" / "manifest.parquet",
        backbone={"name": str(root / "tiny")}, seed=0, threads=1, out_dir=root / out,
        features={
            "views": 1, "taps": 0, "augmented_views": 0, "head": "ridge",
            **({"domain_pretraining": options} if options else {}),
        },
    )  # fmt: skip
    return root / out


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A part of the embedded questions as a manifest, and a tiny encoder; in `features` what the
    encoder that has read them makes of them."""
    folder = tmp_path_factory.mktemp("domain")
    rows = pd.DataFrame(health_questions())
    topics = list(dict.fromkeys(rows["topic"]))[:TOPICS]
    sides = dict(zip(topics, ("train", "test", "train", "val") * TOPICS, strict=False))
    rows = rows[rows["topic"].isin(topics)].assign(split=rows["topic"].map(sides))
    lines = [json.dumps(row) for row in rows.to_dict("records")]
    (folder / "q.jsonl").write_text("\n".join(lines), encoding="utf-8")
    tiny_folder(folder / "tiny")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("REGRAFT_HOME", str(folder / "home"))
        validate_data(
            task="question_answering", data={"root": str(folder / "q.jsonl")}, seed=0,
            out_dir=folder / "data",
        )  # fmt: skip
        features_of(folder, "features", **READING)
    return folder


@pytest.fixture(autouse=True)
def _home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REGRAFT_HOME", str(tmp_path / "home"))


def test_features_are_those_of_the_encoder_that_has_read(root: Path) -> None:
    card = json.loads((root / "features" / CARD).read_text())
    assert card["adapted"] and card["held_out_loss"]["after"] < card["held_out_loss"]["before"]
    encoder = load_encoder(root / "features" / "backbone")
    plain = load_transformer(str(root / "tiny"))
    assert not all(v.equal(plain.state_dict()[n]) for n, v in encoder.state_dict().items())
    rows = read_manifest(root / "data" / "manifest.parquet").iloc[:4]
    archive = np.load(root / "features" / "features.npz")
    x = encoder.tokens.tensor(rows["text"].tolist())
    with torch.inference_mode():
        found = encoder.eval()(x).numpy()
    order = [archive["ids"].tolist().index(name) for name in rows["id"]]
    np.testing.assert_allclose(archive["features"][order], found, atol=1e-4)


def test_without_epochs_nothing_changes_bit_for_bit(root: Path) -> None:
    plain, off = features_of(root, "plain"), features_of(root, "off", epochs=0)
    encoder = load_transformer(str(root / "tiny"))
    for folder in (plain, off):
        assert not (folder / CARD).exists() and as_method(folder) == {}
        kept = load_encoder(folder / "backbone").state_dict()
        assert all(value.equal(kept[name]) for name, value in encoder.state_dict().items())
    one, other = (np.load(folder / "features.npz") for folder in (plain, off))
    assert all(np.array_equal(one[name], other[name]) for name in one.files)


def test_no_text_of_a_test_or_validation_row_is_read(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[str] = []

    def reads(encoder: Any, texts: list[str], groups: list[str], *_: Any, **__: Any) -> Any:
        read.extend(texts)
        assert len(texts) == len(groups)
        return {}

    monkeypatch.setattr(masked_language, "pretrain_on_texts", reads)
    rows = read_manifest(root / "data" / "manifest.parquet")
    first = rows[rows["split"] == "train"]["topic"].iat[0]
    rows.loc[rows["topic"] == first, "split"] = "unlabelled"
    options = typed(FeatureOptions, {"domain_pretraining": READING})["domain_pretraining"]
    pretrain_on_domain(
        "question_answering", load_transformer(str(root / "tiny")), rows, options,
        seed=0, code_version="", out=root,
    )  # fmt: skip
    own = rows[rows["split"].isin(["train", "unlabelled"])]
    others = rows[rows["split"].isin(["test", "val"])]
    assert {*read} == {*own["text"], *own["answer"]} - {""}
    assert len(others) and not {*read} & ({*others["text"], *others["answer"]} - {""})


def test_a_killed_step_goes_on_where_it_was(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole, passes = masked_language._Course._pass, []

    def dies(course: Any, number: int) -> None:
        passes.append(number)
        if len(passes) == 3:
            raise KeyboardInterrupt
        whole(course, number)

    monkeypatch.setattr(masked_language._Course, "_pass", dies)
    with pytest.raises(KeyboardInterrupt):
        features_of(root, "again", **READING)
    features_of(root, "again", **READING)
    assert passes == [0, 1, 2, 2]
    name = "backbone/model.safetensors"
    assert (root / "again" / name).read_bytes() == (root / "features" / name).read_bytes()


def test_an_encoder_that_forgets_stays_and_the_report_says_so(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers = [0.9, 0.8]
    monkeypatch.setattr(masked_language, "general_similarity", lambda embed: answers.pop(0))
    folder = features_of(root, "kept", epochs=1, learning_rate=1e-2)
    kept = load_encoder(folder / "backbone").state_dict()
    plain = load_transformer(str(root / "tiny")).state_dict()
    assert all(value.equal(kept[name]) for name, value in plain.items())
    sentence = as_method(folder)["domain_pretraining"]
    assert "10.0 points lost, 2 allowed, so the encoder stayed what it was" in sentence
    assert "stayed" not in as_method(root / "features")["domain_pretraining"]


@pytest.mark.e2e
def test_the_steps_behind_search_and_answer_with_it(root: Path, tmp_path: Path) -> None:
    """Fine-tuning, its assistant and the evaluation, on the embedded questions."""
    from regraft.steps.detect_shift import detect_shift_between_splits
    from regraft.steps.evaluate import evaluate
    from regraft.steps.finetune import finetune

    recipe = Recipe.model_validate(
        {
            "name": "tiny", "task": "question_answering", "data": {"root": str(root / "q.jsonl")},
            "finetune": {"plan": {"kind": "head_only"}},
            "evaluation": {"latency_images": 4},
        }
    ).model_dump()  # fmt: skip
    common = {
        "manifest": root / "data" / "manifest.parquet", "features": root / "features", "seed": 0,
    }  # fmt: skip
    detect_shift_between_splits(
        **common, options=recipe["shift"], target_domain="", out_dir=tmp_path / "shift"
    )
    common |= {"task": "question_answering", "shift": tmp_path / "shift"}
    finetune(
        options=recipe["finetune"], test_views=1, code_version="x", out_dir=tmp_path / "teacher",
        **common,
    )  # fmt: skip
    read = load_encoder(root / "features" / "backbone").state_dict()
    model: Any = load_model(tmp_path / "teacher")
    for encoder in (model.model.encoder, Assistant.load(tmp_path / "teacher").retriever.encoder):
        assert all(value.equal(read[name]) for name, value in encoder.state_dict().items())
    evaluate(
        name="tiny", serve="teacher", quality=root / "data", teacher=tmp_path / "teacher",
        student=None, options=recipe["evaluation"], domains={}, threads=1, versions={},
        out_dir=tmp_path / "evaluation", **common,
    )  # fmt: skip
    for name in ("report.html", "model_card.md"):
        text = (tmp_path / "evaluation" / name).read_text("utf-8")
        assert "loss of hidden words" in text


def test_of_pairs_the_encoder_of_texts_reads(tmp_path: Path) -> None:
    """And files of test pairs are not even opened."""
    backbone = {"name": "starter", "image_size": 32, "text": {"name": str(tiny_folder(tmp_path))}}
    options = typed(BackboneOptions, backbone)
    encoder = image_text_classification.pretrained_encoder(options, taps=0)
    assert isinstance(encoder, PairEncoder)
    before = {name: value.clone() for name, value in encoder.state_dict().items()}
    texts = ("who gets asthma", "why is a cold", "treat fever in children", "my head hurt")
    rows = pd.DataFrame(
        [
            {"path": str(stored_pair(PairFile(picture(n % 2), text), tmp_path)), "group": f"g{n}",
             "split": "train"}
            for n, text in enumerate(texts)
        ] + [{"path": str(tmp_path / "nothing here"), "group": "g", "split": "test"}]
    )  # fmt: skip
    how = typed(FeatureOptions, {"domain_pretraining": READING})["domain_pretraining"]
    pretrain_on_domain(
        "image_text_classification", encoder, rows, how, seed=0, code_version="", out=tmp_path
    )
    assert json.loads((tmp_path / CARD).read_text())["texts"] == 3
    moved = {name for name, v in encoder.state_dict().items() if not v.equal(before[name])}
    assert moved and all(name.startswith("model.text.") for name in moved)


@pytest.mark.parametrize("task", ["image_classification", "speech_to_sign"])
def test_what_reads_no_texts_is_refused(task: str, tmp_path: Path) -> None:
    how = typed(FeatureOptions, {"domain_pretraining": {"epochs": 1}})["domain_pretraining"]
    rows = pd.DataFrame({"split": ["train"]})
    with pytest.raises(UserError, match="reads no texts"):
        pretrain_on_domain(task, None, rows, how, seed=0, code_version="", out=tmp_path)


def test_shards_would_each_read_for_themselves() -> None:
    with pytest.raises(UserError, match="shards 2"):
        typed(FeatureOptions, {"shards": 2, "domain_pretraining": {"epochs": 1}})
    assert typed(FeatureOptions, {"shards": 2})["shards"] == 2
