"""A classifier saved and loaded answers bit for bit alike, however the image arrives."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from regraft import tasks
from regraft.errors import UserError
from regraft.tasks import image_classification as task
from tests.training.support import classifier


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    rng = np.random.default_rng(1)
    path = tmp_path / "my photo ü.png"
    Image.fromarray(rng.integers(0, 256, (70, 90, 3), dtype=np.uint8)).save(path)
    return path


@pytest.mark.parametrize("name", ["test_efficientnet", "test_vit"])
def test_saved_and_loaded_gives_equal_logits(name: str, tmp_path: Path) -> None:
    model = classifier(name).eval()
    model.temperature, model.test_views = 1.7, 2
    task.save(model, tmp_path)
    found = task.load_model(tmp_path)
    x = torch.randn(3, 3, 64, 64)
    assert torch.equal(found.averaged_logits(x), model.averaged_logits(x))
    assert not found.training
    assert (found.classes, found.temperature, found.test_views) == (["left", "right"], 1.7, 2)
    assert found.encoder.spec.preprocessing == model.encoder.spec.preprocessing


def with_cache(seed: int = 0) -> task.Classifier:
    model = classifier(seed=seed).eval()
    rng = np.random.default_rng(seed)
    dim = model.encoder.dim
    keys = rng.normal(size=(6, dim))
    model.set_head(
        rng.normal(size=(2, dim)), np.zeros(2), keys=keys / np.linalg.norm(keys, axis=1)[:, None],
        values=np.eye(2)[[0, 1] * 3] / 3, alpha=np.asarray(2.0), beta=np.asarray(3.0),
    )  # fmt: skip
    return model


def test_a_cache_model_saved_and_loaded_gives_equal_logits(tmp_path: Path) -> None:
    model, x = with_cache(), torch.randn(3, 3, 64, 64)
    task.save(model, tmp_path)
    assert json.loads((tmp_path / "model.json").read_text())["head"] == "cache_model"
    assert torch.equal(task.load_model(tmp_path).averaged_logits(x), model.averaged_logits(x))
    linear = model.head.linear(model.encoder(x))  # type: ignore[operator,union-attr]
    assert not torch.allclose(model(x), linear), "the cache says nothing"


def test_a_copy_of_a_cache_model_takes_its_head_over() -> None:
    """Distillation begins with the teacher's weights in a new model."""
    model, student = with_cache(), classifier(seed=1).eval()
    student.load_state_dict(model.state_dict())
    x = torch.randn(2, 3, 64, 64)
    assert torch.equal(student(x), model(x))


@pytest.mark.parametrize("make", [lambda: classifier().eval(), with_cache])
def test_a_further_class_changes_nothing_of_the_old_ones(make: object) -> None:
    model: task.Classifier = make()  # type: ignore[operator]
    model.temperature, model.test_views = 1.3, 2
    row = np.random.default_rng(2).normal(size=model.encoder.dim)
    grown = task.with_class(model, "middle", row, 0.5)
    x = torch.randn(3, 3, 64, 64)
    assert grown.classes == ["left", "right", "middle"]
    assert (grown.temperature, grown.test_views) == (1.3, 2)
    for name, value in model.encoder.state_dict().items():
        assert torch.equal(grown.encoder.state_dict()[name], value), name
    before, after = model.averaged_logits(x), grown.averaged_logits(x)
    torch.testing.assert_close(after[:, :2], before, atol=1e-6, rtol=1e-5)
    expected = model.encoder(x) @ torch.tensor(row, dtype=torch.float32) + 0.5
    single = task.with_class(_one_view(model), "middle", row, 0.5)
    torch.testing.assert_close(single.averaged_logits(x)[:, 2], expected, atol=1e-5, rtol=1e-4)


def _one_view(model: task.Classifier) -> task.Classifier:
    model.test_views = 1
    return model


def test_embeddings_and_logits_are_those_of_the_predictor(photo: Path) -> None:
    model = classifier().eval()
    model.test_views = 4
    embeddings, logits = task.embeddings_and_logits(model, [photo, photo])
    assert embeddings.shape == (2, model.encoder.dim)
    np.testing.assert_allclose(logits, task.predictor(model).logits([str(photo)] * 2), atol=1e-6)
    linear = embeddings @ model.head.weight.detach().numpy().T  # type: ignore[operator,union-attr]
    np.testing.assert_allclose(
        linear + model.head.bias.detach().numpy(),
        logits,
        atol=1e-5,  # type: ignore[union-attr]
    )


def test_answers_come_with_the_embeddings_they_rest_on(photo: Path) -> None:
    model = classifier().eval()
    model.test_views = 4
    predictor = task.predictor(model)
    inputs = [str(photo), Image.new("RGB", (40, 40), "green")] * 9  # more than one batch
    answers, embeddings = predictor.answer(inputs)
    assert answers == predictor.predict(inputs)
    assert embeddings.shape == (18, model.encoder.dim)
    assert embeddings.dtype == np.float32
    linear = embeddings @ model.head.weight.detach().numpy().T  # type: ignore[operator,union-attr]
    linear += model.head.bias.detach().numpy()  # type: ignore[union-attr]
    expected = [model.classes[number] for number in linear.argmax(1)]
    assert [answer["label"] for answer in answers] == expected
    nothing, none = predictor.answer([])
    assert nothing == []
    assert none.shape == (0, model.encoder.dim)


def test_a_prepared_input_is_answered_and_described_as_its_file_is(photo: Path) -> None:
    predictor = task.predictor(classifier().eval())
    value, statistics = predictor.prepare(photo.read_bytes(), max_pixels=10_000)
    assert predictor.predict([value]) == predictor.predict([str(photo)])
    assert statistics == predictor.describe(str(photo))
    assert (statistics["width"], statistics["height"]) == (90, 70)


def test_a_saved_model_is_weights_and_text_only(tmp_path: Path) -> None:
    task.save(classifier(), tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"model.safetensors", "model.json"}
    assert json.loads((tmp_path / "model.json").read_text())["task"] == "image_classification"


def test_path_bytes_base64_and_data_uri_give_the_same_answer(photo: Path, tmp_path: Path) -> None:
    task.save(classifier(), tmp_path / "model")
    predictor = tasks.load_model(tmp_path / "model")
    content = photo.read_bytes()
    text = base64.b64encode(content).decode()
    inputs = [str(photo), content, text, f"data:image/png;base64,{text}"]
    together = predictor.predict(inputs)
    assert together[0] == together[1] == together[2] == together[3]
    answer = together[0]
    assert set(answer["probabilities"]) == {"left", "right"}
    assert sum(answer["probabilities"].values()) == pytest.approx(1, abs=1e-5)
    assert answer["confidence"] == max(answer["probabilities"].values())
    assert answer["probabilities"][answer["label"]] == answer["confidence"]


def test_an_answer_does_not_depend_on_its_neighbours(photo: Path) -> None:
    predictor = task.predictor(classifier().eval())
    other = Image.new("RGB", (40, 40), "green")
    alone = predictor.logits([str(photo)])[0]
    crowd = predictor.logits([other] * 20 + [str(photo)])[20]
    np.testing.assert_allclose(crowd, alone, rtol=1e-4, atol=1e-5)


def test_no_input_gives_no_answer() -> None:
    predictor = task.predictor(classifier().eval())
    assert predictor.predict([]) == []
    assert predictor.probabilities([]).shape == (0, 2)


@pytest.mark.parametrize("garbage", ["no_such_file.jpg", "a b c", "data:image/png;base64,@@@"])
def test_garbage_is_refused_by_name(garbage: str) -> None:
    predictor = task.predictor(classifier().eval())
    with pytest.raises(UserError) as raised:
        predictor.predict([garbage])
    assert garbage[:20] in str(raised.value)


def test_a_file_that_is_no_image_is_refused_by_name(tmp_path: Path) -> None:
    path = tmp_path / "notes.jpg"
    path.write_text("not a picture")
    predictor = task.predictor(classifier().eval())
    with pytest.raises(UserError, match="notes.jpg"):
        predictor.predict([str(path)])
    with pytest.raises(UserError):
        predictor.predict([b"not a picture"])
    with pytest.raises(UserError):
        predictor.predict([base64.b64encode(b"not a picture").decode()])


def test_the_temperature_changes_confidence_but_no_label(photo: Path) -> None:
    model = classifier().eval()
    cool = task.predictor(model).predict([str(photo)])[0]
    model.temperature = 5.0
    warm = task.predictor(model).predict([str(photo)])[0]
    assert warm["label"] == cool["label"]
    assert warm["confidence"] < cool["confidence"]


def test_a_head_fitted_on_features_is_taken_over() -> None:
    model = classifier().eval()
    rng = np.random.default_rng(0)
    weight, bias = rng.normal(size=(2, model.encoder.dim)), np.array([0.5, -0.5])
    model.set_head(weight, bias)
    x = torch.randn(2, 3, 64, 64)
    with torch.inference_mode():
        expected = model.encoder(x).numpy() @ weight.T + bias
        np.testing.assert_allclose(model(x).numpy(), expected, rtol=1e-3, atol=1e-3)


def test_folders_without_a_model_and_unknown_tasks_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no model"):
        tasks.load_model(tmp_path)
    (tmp_path / "model.json").write_text(json.dumps({"task": "telepathy"}))
    with pytest.raises(UserError, match="telepathy"):
        tasks.load_model(tmp_path)
