"""Pairs of image and text: two small encoders, their fusion, and what is answered."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Literal

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

from regraft.backbones.encoder import load_encoder
from regraft.backbones.heads.fusion import FusionHead, FusionModel
from regraft.backbones.heads.linear import LinearHead
from regraft.backbones.pair_encoder import PairEncoder
from regraft.data.pair_files import PairFile, stored_pair
from regraft.errors import UserError
from regraft.recipe.augmentation import AugmentationOptions
from regraft.recipe.backbone import BackboneOptions
from regraft.recipe.fusion import FUSIONS
from regraft.tasks import image_text_classification as task
from regraft.tasks.grad_cam import evidence_map, shown_evidence
from regraft.tasks.pair_predictor import PairPredictor
from regraft.training.fusion import PairModel, fit_pairs
from regraft.training.fusion_probe import fit_fusion_probe
from regraft.training.optimisation import Optimisation, freeze, groups_of
from regraft.transfer.fusion import Embedded
from regraft.transfer.fusion.concatenated import Concatenated
from regraft.transfer.fusion.expert import Expert
from regraft.transfer.fusion.two_stages import TwoStages
from regraft.transfer.plans import lora
from regraft.transfer.stage import Stage
from tests.backbones.texts import WORDS, tiny_folder
from tests.data.test_pair_files import picture

N = 60


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> PairEncoder:
    folder = tiny_folder(tmp_path_factory.mktemp("text"))
    options = BackboneOptions.model_validate(
        {"name": "starter", "image_size": 64, "text": {"name": str(folder), "taps": 1}}
    )
    return task.pretrained_encoder(options.model_dump(mode="json"), taps=1)


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> pd.DataFrame:
    """The label follows from picture (one of two) and text (one of two) together."""
    store, rng = tmp_path_factory.mktemp("pairs"), np.random.default_rng(0)
    found = []
    for number in range(N):
        of_image, of_text = number % 2, (number // 2) % 2
        words = " ".join([*rng.choice(WORDS[10:20], 3), ["asthma", "fever"][of_text]])
        path = stored_pair(PairFile(picture(of_image, 48 + number), words), store)
        label = "agree" if of_image == of_text else "differ"
        found.append((f"{number}", str(path), label, f"g{number}", path.stem))
    return pd.DataFrame(found, columns=["id", "path", "label", "group", "sha256"]).assign(
        domain="", split=["test" if number % 3 == 0 else "train" for number in range(N)]
    )


@pytest.fixture(scope="module", params=["bilinear", "cross_attention"])
def predictor(
    request: pytest.FixtureRequest, encoder: PairEncoder, rows: pd.DataFrame
) -> PairPredictor:
    own = copy.deepcopy(encoder)
    own.reads_places = True
    features, _ = task.embed(own, rows, views=1)
    probe, _ = fit_fusion_probe(
        rows, features, parts=own.parts, places=own.places, seed=0,
        fusions=[one.model_dump() for one in FUSIONS if one.kind in ("weighted", request.param)],
    )  # fmt: skip
    assert probe.chosen == request.param
    model = task.new_model(own, probe.classes, test_views=1)
    model.set_head(**probe.head.arrays() | {"abstain_below": 0.6})
    return task.predictor(model)


def test_what_only_both_know_is_answered(predictor: PairPredictor, rows: pd.DataFrame) -> None:
    test = rows[rows["split"] == "test"]
    answers = predictor.predict(test["path"].tolist())
    right = np.mean([a["label"] == b for a, b in zip(answers, test["label"], strict=True)])
    assert right > 0.8
    (by,) = {answer["answered_by"] for answer in answers}
    assert by == predictor.model.head.name
    _, embeddings = predictor.answer(test["path"].tolist())
    assert embeddings.shape[1] == predictor.encoder.dim  # local features are the head's alone


def test_without_a_modality_the_other_one_answers(predictor: PairPredictor) -> None:
    image, text = PairFile(picture(0), None), PairFile(None, "fever")
    alone = predictor.predict([image.to_bytes(), text.to_bytes()])
    assert [answer["answered_by"] for answer in alone] == ["image", "text"]
    assert all(answer["abstains"] for answer in alone)  # alone, neither knows
    together = predictor.predict([image.to_bytes(), text.to_bytes(), b'{"text": "a cold"}'])
    for one, again in zip(alone, together, strict=False):
        assert again["confidence"] == pytest.approx(one["confidence"], abs=1e-5)


def test_a_folder_answers_as_the_model_did(
    predictor: PairPredictor, rows: pd.DataFrame, tmp_path: Path
) -> None:
    task.save(predictor.model, tmp_path)
    paths = rows["path"].tolist()[:5]
    found = task.load(tmp_path)
    np.testing.assert_allclose(found.logits(paths), predictor.logits(paths), atol=1e-4)
    features, _ = task.embed(predictor.encoder, rows[:5], views=1)  # what the head was fitted on
    with torch.inference_mode():
        fitted = predictor.model.head(torch.from_numpy(features)).numpy()
    np.testing.assert_allclose(fitted, predictor.logits(paths), atol=1e-4)
    assert json.loads((tmp_path / "model.json").read_text())["head"] == "fusion"
    predictor.model.encoder.save(tmp_path / "encoder")
    again = load_encoder(tmp_path / "encoder")
    again.reads_places = predictor.encoder.reads_places
    x = predictor.tensor(paths)
    with torch.inference_mode():
        torch.testing.assert_close(again(x), predictor.model.encoder(x), atol=1e-4, rtol=1e-4)


def test_a_person_may_name_a_photo_and_a_question(predictor: PairPredictor, tmp_path: Path) -> None:
    photo = tmp_path / "a.png"
    photo.write_bytes(picture(0))
    whole = predictor.predict([PairFile(picture(0), "fever").to_bytes()])
    assert predictor.predict([f"{photo}::fever"]) == whole
    assert predictor.predict(["::fever"])[0]["answered_by"] == "text"
    assert predictor.predict([str(photo)])[0]["answered_by"] == "image"
    for nothing in ("::", "nowhere.png::fever", "nowhere"):
        with pytest.raises(UserError):
            predictor.predict([nothing])


def test_bad_live_input_is_one_error_and_opens_nothing(
    predictor: PairPredictor, tmp_path: Path
) -> None:
    photo = tmp_path / "a.png"
    photo.write_bytes(picture(0))
    named = json.dumps({"image": str(photo), "text": "fever"}).encode()
    long = json.dumps({"text": "a " * 25_000}).encode()
    for data in (b"{}", b"::", f"{photo}::fever".encode(), named, long):
        with pytest.raises(UserError):
            predictor.prepare(data, max_pixels=10_000)
    with pytest.raises(UserError, match="too_many_pixels"):
        predictor.prepare(PairFile(picture(0, 200), "fever").to_bytes(), max_pixels=10_000)


def test_evidence_lies_in_the_image_where_the_image_counts(
    predictor: PairPredictor, encoder: PairEncoder, rows: pd.DataFrame, tmp_path: Path
) -> None:
    path = rows["path"][0]
    found = evidence_map(predictor, path)
    assert found is not None
    assert found.min() >= 0
    assert found.max() == pytest.approx(1)
    picture = shown_evidence(predictor, path)
    assert picture is not None
    assert np.ptp(np.asarray(picture, dtype=int), axis=2).max() > 30  # red on grey
    reader = task.new_model(copy.deepcopy(encoder), predictor.classes, test_views=1)
    values = {k: v.numpy() for k, v in predictor.model.head.state_dict().items()}
    reader.set_head(**values | {"kind": "text"})
    assert evidence_map(task.predictor(reader), path) is None


def test_mixed_up_pairs_match_less(predictor: PairPredictor, rows: pd.DataFrame) -> None:
    """Here image and text are independent but for the label, so alignment is given one to learn."""
    same = rows[rows["label"] == "agree"].reset_index(drop=True)
    features, _ = task.embed(predictor.encoder, same, views=1)
    probe, _ = fit_fusion_probe(
        same.assign(split="train", label=["x", "y"] * (len(same) // 2)), features,
        parts=predictor.encoder.parts, places=predictor.encoder.places, seed=0,
        fusions=[{"kind": "concatenated"}],
    )  # fmt: skip
    head = FusionHead(probe.head.arrays())
    image, text = np.split(features[:, : predictor.encoder.dim], [predictor.encoder.parts[0]], 1)
    shuffled = np.concatenate([image, np.roll(text, 1, axis=0)], 1)
    assert head.match(features).mean() > head.match(shuffled).mean() + 0.5
    missing = np.concatenate([image, np.zeros_like(text)], 1)
    assert np.isnan(head.match(missing)).all()


@pytest.fixture(scope="module")
def every_fusion() -> tuple[PairModel, Embedded]:
    rng = np.random.default_rng(0)
    parts = [rng.normal(size=(90, dim)) for dim in (12, 9)]
    image, text = (x / np.linalg.norm(x, axis=1, keepdims=True) for x in parts)
    labels = [["a", "b", "c"][int(i[0] > 0) + int(t[0] > 0)] for i, t in zip(*parts, strict=True)]
    regions, words = rng.normal(size=(90, 4, 3)), rng.normal(size=(90, 5, 2))
    words[::2, 3:] = 0.0  # shorter texts
    pairs = Embedded(image, text, regions.astype(np.float32), words.astype(np.float32))
    groups, fusions = [str(n) for n in range(90)], [one.model_dump() for one in FUSIONS]
    return fit_pairs(pairs, labels, groups, fusions=fusions, seed=0, draws=1), pairs


@pytest.mark.parametrize("kind", ["image", "text", *(one.kind for one in FUSIONS)])
def test_a_head_says_what_the_fusion_says(
    kind: str, every_fusion: tuple[PairModel, Embedded]
) -> None:
    model, pairs = every_fusion
    local = (np.reshape(side, (90, -1)) for side in (pairs.regions, pairs.words))
    both = np.concatenate([pairs.image, pairs.text, *local], 1)
    both[0, :12] = both[1, 12:21] = 0.0
    reads_places = FusionHead(model.values(kind)).reads_places
    assert reads_places == (kind == "cross_attention")
    logits = FusionModel(model.values(kind)).logits(both if reads_places else both[:, :21])
    found = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    wanted = model.probabilities(pairs, by=kind)
    np.testing.assert_allclose(found[2:], wanted[2:], atol=1e-4)
    for row, missing in enumerate(("image", "text")):
        alone = model.probabilities(pairs, missing=missing)
        np.testing.assert_allclose(found[row], alone[row], atol=1e-4)


@pytest.mark.parametrize("name", ["image", "text", "concatenated"])
def test_a_head_tells_the_kind_of_answer_first_where_an_expert_does(name: str) -> None:
    rng = np.random.default_rng(0)
    image, text = rng.normal(size=(20, 5)), rng.normal(size=(20, 4))

    def expert(dim: int) -> Expert:
        head = LinearHead(rng.normal(size=(6, dim)), rng.normal(size=6), 1.0)
        return Expert(head, 0.7, np.zeros((20, 6)), TwoStages(np.arange(6) < 2, 2.0))

    fusions = {"concatenated": Concatenated(expert(9))}
    model = PairModel(list("abcdef"), expert(5), expert(4), fusions, {}, name, {})
    logits = FusionModel(model.values()).logits(np.concatenate([image, text], 1))
    np.testing.assert_allclose(
        np.exp(logits), model.probabilities(Embedded(image, text)), atol=1e-5
    )


def test_gradients_reach_both_encoders_and_a_locked_one_stays(
    encoder: PairEncoder, predictor: PairPredictor, rows: pd.DataFrame
) -> None:
    sides = {name.split(".")[0] for block in encoder.blocks[-2:] for name in block.parameters}
    assert sides == {"image", "text"}
    views = task.training_views(
        encoder, rows[:4], AugmentationOptions(modality_dropout=0.9).model_dump(), seed=0
    )
    x = views.batch(np.arange(4), np.ones(4, dtype=int))
    assert (x[:, :2].sum(1) == 1).any()
    whole = views.batch(np.arange(4), np.zeros(4, dtype=int))
    for locked, moving in (("", {"image", "text"}), ("image", {"text"}), ("text", {"image"})):
        own = PairEncoder(encoder.image, encoder.text, locked=locked)
        own.reads_places = predictor.encoder.reads_places
        own.freeze_except({block.index for block in own.blocks[-2:]})
        own.train()
        own.zero_grad(set_to_none=True)
        predictor.model.head(own(whole)).square().sum().backward()
        moved = {n.split(".")[1] for n, p in own.named_parameters() if p.grad is not None}
        assert moved == moving
    encoder.freeze_except(set())
    encoder.zero_grad(set_to_none=True)
    encoder.eval()


@pytest.mark.parametrize("parameters", ["all", "lora"])
def test_each_modality_has_its_own_rate(
    encoder: PairEncoder, predictor: PairPredictor, parameters: Literal["all", "lora"]
) -> None:
    own = encoder.with_encoders(copy.deepcopy)
    model = task.new_model(own, predictor.classes, test_views=1)
    stage = Stage("all", frozenset(range(len(own.blocks))), 1, parameters=parameters)
    if parameters == "lora":
        lora.prepare(model, seed=0, rank=2, alpha=4)
    how = Optimisation(learning_rate=1.0, block_decay=1.0, modality_rates={"text": 0.25})
    freeze(model, stage, how)
    rates = {id(p): g["lr"] for g in groups_of(model, stage, how, nn.ModuleDict())
             for p in g["params"]}  # fmt: skip
    found: dict[str, set[float]] = {"image": set(), "text": set()}
    for name, parameter in own.model.named_parameters():
        if parameter.requires_grad:
            found[name.partition(".")[0]].add(rates[id(parameter)])
    assert found == {"image": {1.0}, "text": {0.25}}


def test_a_rate_of_a_modality_that_is_not_there_is_refused(encoder: PairEncoder) -> None:
    model = SimpleNamespace(encoder=encoder.text, head=nn.Linear(1, 1))
    stage, how = Stage("last", frozenset({0}), 1), Optimisation(modality_rates={"image": 0.1})
    with pytest.raises(UserError, match="no such modality") as caught:
        groups_of(model, stage, how, nn.ModuleDict())
    assert "modality_rates" in str(caught.value)


@pytest.mark.parametrize(
    ("what", "options"), [("views", {"test_views": 2}), ("fields", {"text": {"name": "minilm"}})]
)
def test_what_a_pair_has_not_is_refused(
    encoder: PairEncoder, what: str, options: dict[str, Any]
) -> None:
    from regraft.backbones.loading import load_pretrained

    with pytest.raises(UserError):
        if what == "views":
            task.new_model(encoder, ["a", "b"], **options)
        else:
            load_pretrained("starter", **options)
