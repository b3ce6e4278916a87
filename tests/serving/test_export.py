"""An exported graph answers like the model, or there is no file."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pandas as pd
import pytest
import torch
from PIL import Image

from regraft.backbones.encoder import Encoder
from regraft.backbones.loading import load_pretrained
from regraft.backbones.preprocessing import Preprocessing
from regraft.data.examples.leaves import draw_leaf
from regraft.data.images import open_rgb
from regraft.errors import UserError
from regraft.serving import onnx_graph
from regraft.serving.export import export
from regraft.tasks import image_classification as task
from regraft.training.probe import fit_probe
from tests.training.support import classifier

CLASSES = ["healthy", "mosaic", "rust"]


def fitted(
    root: Path, rows: pd.DataFrame, out: Path, *, kind: str = "auto", **backbone: Any
) -> Path:
    """A model folder: a probe on these rows of split train."""
    encoder = Encoder(*load_pretrained(**backbone, taps=3)).eval()
    _, averaged = task.embed(encoder, rows, views=2)
    probe = fit_probe(rows, averaged, seed=0, kind=kind)
    model = task.new_model(encoder, probe.classes, test_views=2)
    model.set_head(**probe.head.scaled(8.0).arrays())
    task.save(model, out)
    return out


def rows_of(root: Path, per_class: int) -> pd.DataFrame:
    paths = [p for f in sorted(root.iterdir()) for p in sorted(f.iterdir())[:per_class]]
    return pd.DataFrame(
        {"path": map(str, paths), "label": [p.parent.name for p in paths], "split": "train",
         "group": map(str, paths)}
    )  # fmt: skip


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("photos")
    for label in CLASSES:
        (root / label).mkdir()
        for index in range(16):
            Image.fromarray(draw_leaf("lab", label, index)).save(root / label / f"{index:02d}.png")
    return root


@pytest.fixture(scope="module")
def model(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("model")
    return fitted(photos, rows_of(photos, 16), out, name="starter")


def test_the_graph_answers_like_the_model(model: Path, photos: Path, tmp_path: Path) -> None:
    found = export(str(model), tmp_path / "out" / "model.onnx", images=photos)
    assert found["labelled"] and found["photos"] == 48
    assert found["float"]["agreement"] == 1.0
    assert found["float"]["accuracy_drop_pp"] == 0.0
    assert found["float"]["max_logit_difference"] < 1e-3
    assert found["int8"] is None
    onnx.checker.check_model(str(tmp_path / "out" / "model.onnx"))


def test_the_metadata_is_all_that_a_caller_needs(model: Path, photos: Path, tmp_path: Path) -> None:
    """From a photo to probabilities with onnxruntime, numpy and Pillow only."""
    file = tmp_path / "model.onnx"
    export(str(model), file, images=photos)
    session = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
    about = {k: json.loads(v) for k, v in session.get_modelmeta().custom_metadata_map.items()}
    how = about["preprocessing"]
    path = next((photos / "rust").iterdir())
    image = open_rgb(path).resize([how["image_size"]] * 2, Image.Resampling.BICUBIC)
    pixels = (np.asarray(image, np.float32) / 255 - how["mean"]) / how["std"]
    (logits,) = session.run(None, {"pixels": pixels.transpose(2, 0, 1)[None].astype(np.float32)})
    odds = np.exp((logits[0] - logits.max()) / about["temperature"])
    (expected,) = task.load(model).predict([str(path)])
    got = dict(zip(about["classes"], odds / odds.sum(), strict=True))
    assert got == pytest.approx(expected["probabilities"], abs=1e-4)
    assert how["crop_share"] == Preprocessing(96, (0, 0, 0), (1, 1, 1)).crop_share


def test_eight_bits_are_smaller_and_nearly_as_good(
    model: Path, photos: Path, tmp_path: Path
) -> None:
    exact = export(str(model), tmp_path / "float.onnx", images=photos)
    found = export(str(model), tmp_path / "int8.onnx", images=photos, int8=True, max_drop_pp=5.0)
    assert found["bytes"] < 0.6 * exact["bytes"]
    assert found["int8"]["calibration_photos"] == found["photos"] == 24
    assert found["int8"]["agreement"] >= 0.9
    assert found["int8"]["max_logit_difference"] > found["float"]["max_logit_difference"]
    graph = onnx.load(str(tmp_path / "int8.onnx"))
    kinds = [node.op_type for node in graph.graph.node]
    assert "QuantizeLinear" in kinds and "DequantizeLinear" in kinds
    assert {entry.key for entry in graph.metadata_props} >= {"classes", "preprocessing"}
    scales = [t for t in graph.graph.initializer if t.name.endswith("_scale")]
    assert any(t.dims and t.dims[0] > 1 for t in scales), "not per channel"


def test_no_test_view_has_its_head_in_eight_bits(model: Path, photos: Path, tmp_path: Path) -> None:
    export(str(model), tmp_path / "int8.onnx", images=photos, int8=True, max_drop_pp=5.0)
    nodes = onnx.load(str(tmp_path / "int8.onnx")).graph.node
    made_by = {output: node.op_type for node in nodes for output in node.output}
    heads = [node for node in nodes if node.name.startswith("/model/head")]
    gemms = [node for node in heads if node.op_type == "Gemm"]
    assert len(gemms) == 2
    assert not any(made_by.get(name) == "DequantizeLinear" for node in gemms for name in node.input)


def test_layers_that_eight_bits_spoil_stay_in_float(
    model: Path, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = {}
    for limit in (np.inf, 0.0):
        monkeypatch.setattr(onnx_graph, "_MOST_CHANGE", limit)
        file = tmp_path / f"{limit}.onnx"
        found[limit] = export(str(model), file, images=photos, int8=True, max_drop_pp=50)["int8"]
    assert found[np.inf]["float_layers"] == 0
    assert found[0.0]["float_layers"] > 1
    assert found[0.0]["max_logit_difference"] < 0.8 * found[np.inf]["max_logit_difference"]


def test_eight_bits_that_lose_too_much_leave_no_file(
    model: Path, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Calibrated on darkness: activations are cut off."""
    calibrate = onnx_graph.quantise
    monkeypatch.setattr(
        onnx_graph, "quantise", lambda graph, path, pixels: calibrate(graph, path, pixels * 1e-3)
    )
    with pytest.raises(UserError, match="loses too much"):
        export(str(model), tmp_path / "m.onnx", images=photos, int8=True)
    assert not (tmp_path / "m.onnx").exists()


def test_a_graph_that_answers_otherwise_leaves_no_file(
    model: Path, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers = onnx_graph.answers
    monkeypatch.setattr(onnx_graph, "answers", lambda *args: answers(*args) + 0.1)
    with pytest.raises(UserError, match="does not answer like the model"):
        export(str(model), tmp_path / "m.onnx", images=photos)
    monkeypatch.setattr(onnx_graph, "answers", lambda *args: answers(*args) * np.nan)
    with pytest.raises(UserError, match="does not answer like the model"):
        export(str(model), tmp_path / "m.onnx", images=photos)
    assert not (tmp_path / "m.onnx").exists()


def test_photos_without_labels_count_answers_that_differ(
    model: Path, photos: Path, tmp_path: Path
) -> None:
    flat = tmp_path / "flat"
    flat.mkdir()
    for path in sorted(photos.rglob("*.png"))[::4]:
        shutil.copy(path, flat / f"{path.parent.name}{path.name}")
    found = export(str(model), tmp_path / "m.onnx", images=flat, int8=True, max_drop_pp=50)
    assert not found["labelled"]
    assert found["int8"]["accuracy_drop_pp"] is None
    assert found["photos"] == 6


def test_without_photos_only_the_float_graph_can_be_checked(model: Path, tmp_path: Path) -> None:
    assert export(str(model), tmp_path / "m.onnx")["photos"] == 18
    with pytest.raises(UserError, match="photos to calibrate on"):
        export(str(model), tmp_path / "m.onnx", int8=True)


@pytest.mark.parametrize("name", ["test_efficientnet", "test_vit"])
def test_other_architectures_and_a_cache_model(name: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = task.Classifier(Encoder(*load_pretrained(name, weights="random")), ["a", "b"])
    dim, rng = model.encoder.dim, np.random.default_rng(0)
    keys = rng.normal(size=(6, dim))
    model.set_head(
        rng.normal(size=(2, dim)), np.zeros(2), keys=keys / np.linalg.norm(keys, axis=1)[:, None],
        values=np.eye(2)[[0, 1] * 3] / 3, alpha=np.asarray(2.0), beta=np.asarray(3.0),
    )  # fmt: skip
    task.save(model.eval(), tmp_path / "model")
    assert export(str(tmp_path / "model"), tmp_path / "m.onnx")["float"]["agreement"] == 1.0


def test_what_cannot_be_traced_is_an_error_that_says_so(tmp_path: Path) -> None:
    """Position embeddings that are resampled on the way have no operator."""
    task.save(classifier("test_vit").eval(), tmp_path / "model")
    with pytest.raises(UserError, match="cannot be written as ONNX"):
        export(str(tmp_path / "model"), tmp_path / "m.onnx")


@pytest.mark.realdata
def test_real_weights_on_real_photos(real_data: Path, tmp_path: Path) -> None:
    root = real_data / "plants" / "lab"
    rows = pd.concat([rows_of(root, 10)[i::10] for i in range(5)])  # 40 photos of 8 classes
    weights = real_data / "weights" / "mobilenetv2_100" / "model.safetensors"
    folder = fitted(
        root, rows.reset_index(drop=True), tmp_path / "model", name="mobilenetv2_100",
        weights=str(weights),
    )  # fmt: skip
    photos = tmp_path / "photos"
    for path in rows["path"]:
        (photos / Path(path).parent.name).mkdir(parents=True, exist_ok=True)
        shutil.copy(path, photos / Path(path).parent.name)
    found = export(str(folder), tmp_path / "m.onnx", images=photos, int8=True, max_drop_pp=5.0)
    assert found["float"]["agreement"] == 1.0
    assert found["int8"]["agreement"] >= 0.9
    assert found["bytes"] < 6_000_000


def test_what_is_no_image_model_is_refused(tmp_path: Path) -> None:
    card = tmp_path / "model.json"
    card.write_text(json.dumps({"task": "question_answering"}), encoding="utf-8")
    with pytest.raises(UserError, match="only image classifiers are exported"):
        export(str(tmp_path), tmp_path / "model.onnx")
    assert list(tmp_path.iterdir()) == [card]
