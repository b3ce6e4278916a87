"""A registered or saved model as an ONNX file that was shown to answer like it."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from regraft.data.manifest import read_manifest
from regraft.data.readers import list_examples
from regraft.errors import UserError

_MOST_CALIBRATION, _MOST_CHECKED = 128, 1000
_TOLERANCE = 1e-3  # of the largest logit


@dataclass(frozen=True)
class _Photos:
    """What is calibrated on and what is checked on; `labels` of the latter, if there are any."""

    calibration: list[Any]
    checked: list[Any]
    labels: list[str] | None


def export(
    reference: str,
    file: str | Path,
    *,
    int8: bool = False,
    images: str | Path | None = None,
    manifest: str | Path | None = None,
    max_drop_pp: float = 0.5,
) -> dict[str, Any]:
    """Write the model `reference` (NAME, NAME@ALIAS, NAME/VERSION or a model folder) as ONNX.

    The graph takes normalised pixels and gives the logits that `predict` begins with; its metadata
    say how a photo becomes pixels (see `onnx_graph.write_graph`). Graph and model are both run on
    photos: those in `images` (class folders, or photos without labels), else the test rows of
    `manifest` or of the manifest that the model's run logged, else (float only) natural photos
    that come with scikit-learn. With `int8` the layers are quantised, calibrated on every other
    photo of `images`, else on training rows; none of them is checked on.

    Returns {model, file, bytes, opset, photos, labelled, float: {max_logit_difference, agreement,
    accuracy, accuracy_drop_pp}, int8: the same, calibration_photos and float_layers (the first
    layers, which eight bits would have spoilt), or None}. Accuracy and its drop are None where the
    photos have no labels.

    Raises UserError, and writes nothing, when the graph does not answer like the model or the
    quantised one loses more than `max_drop_pp` points of accuracy (without labels: answers
    otherwise for more than that share of the photos).
    """
    from regraft.serving import onnx_graph
    from regraft.tasks import image_classification as task

    file = Path(file)
    with _model_folder(reference) as folder, tempfile.TemporaryDirectory() as temporary:
        work = Path(temporary)
        _refuse_what_is_no_image_model(folder)
        model = task.load_model(folder)
        photos = _photos(reference, images, manifest, work, model.classes, int8=int8)
        pixels = _pixels(model, photos.checked)
        truth = task.predictor(model).logits(photos.checked)
        graph = work / "float.onnx"
        onnx_graph.write_graph(model, graph)
        exact = _parity(truth, onnx_graph.answers(graph, pixels), model.classes, photos.labels)
        _refuse_if_other(exact, truth, reference)
        report = {"float": exact, "int8": None}
        if int8:
            small = work / "int8.onnx"
            kept = onnx_graph.quantise(graph, small, _pixels(model, photos.calibration))
            found = _parity(truth, onnx_graph.answers(small, pixels), model.classes, photos.labels)
            report["int8"] = found | {
                "calibration_photos": len(photos.calibration),
                "float_layers": kept,
            }
            _refuse_if_worse(found, max_drop_pp, reference)
            graph = small
        _publish(graph, file)
    return {
        "model": reference,
        "file": str(file),
        "bytes": file.stat().st_size,
        "opset": onnx_graph.OPSET,
        "photos": len(photos.checked),
        "labelled": photos.labels is not None,
        **report,
    }


def _refuse_what_is_no_image_model(folder: Path) -> None:
    kind = json.loads((folder / "model.json").read_text(encoding="utf-8"))["task"]
    if kind != "image_classification":
        raise UserError(
            "only image classifiers are exported",
            where=str(folder),
            got=kind,
            expected="image_classification",
            fix="serve the model with regraft serve",
        )


@contextmanager
def _model_folder(reference: str) -> Iterator[Path]:
    if (Path(reference) / "model.json").is_file():
        yield Path(reference)
        return
    from regraft.registry import versions

    with versions.model_folder(*versions.resolve(reference)) as folder:
        yield folder


def _photos(
    reference: str,
    images: str | Path | None,
    manifest: str | Path | None,
    work: Path,
    classes: list[str],
    *,
    int8: bool,
) -> _Photos:
    if images is not None:
        return _from_folder(Path(images), classes, int8=int8)
    path = Path(manifest) if manifest is not None else _logged_manifest(reference, work)
    if path is not None:
        return _from_manifest(path, classes)
    if not int8:
        from regraft.backbones.preprocessing import natural_photos

        return _Photos([], natural_photos(), None)
    raise UserError(
        "eight bits need photos to calibrate on",
        where=reference,
        got="the model's run logged no manifest of its data",
        fix="name a folder of class folders with --images, or a manifest.parquet with --manifest",
    )


def _from_folder(folder: Path, classes: list[str], *, int8: bool) -> _Photos:
    """Photos by class folder where these are the model's classes, else photos without labels."""
    if folder.is_dir() and not any((folder / label).is_dir() for label in classes):
        rows = pd.DataFrame({"path": sorted(map(str, _files(folder))), "label": ""})
    else:
        rows = list_examples(folder, source_domain="", target_domain="", classes=[])
        rows = rows[rows["label"].isin(classes) & (rows["reason"] == "")]
    if len(rows) < 2:
        raise UserError(
            "too few photos to check the export on",
            where=str(folder),
            got=str(len(rows)),
            expected="at least 2",
        )
    every = np.arange(len(rows))
    calibrating = every % 2 == 0 if int8 else every < 0
    checked = _spread(rows[~calibrating], _MOST_CHECKED)
    labels = checked["label"].tolist()
    return _Photos(
        _spread(rows[calibrating], _MOST_CALIBRATION)["path"].tolist(),
        checked["path"].tolist(),
        labels if all(labels) else None,
    )


def _from_manifest(path: Path, classes: list[str]) -> _Photos:
    rows = read_manifest(path)
    rows = rows[rows["label"].isin(classes)]
    train = _spread(rows[rows["split"] == "train"], _MOST_CALIBRATION)
    test = _spread(rows[rows["split"] == "test"], _MOST_CHECKED)
    if not len(train) or not len(test):
        raise UserError(
            "the manifest is not that of this model",
            where=str(path),
            got=f"{len(train)} training and {len(test)} test rows of its classes",
        )
    return _Photos(train["path"].tolist(), test["path"].tolist(), test["label"].tolist())


def _logged_manifest(reference: str, work: Path) -> Path | None:
    from regraft.registry import versions
    from regraft.registry.run_files import MANIFEST, run_file

    if (Path(reference) / "model.json").is_file():
        return None
    return run_file(versions.resolve(reference), MANIFEST, work)


def _files(folder: Path) -> list[Path]:
    from regraft.data.files import is_ignored

    return [path for path in folder.rglob("*") if path.is_file() and not is_ignored(path.name)]


def _spread(rows: pd.DataFrame, most: int) -> pd.DataFrame:
    """At most `most` rows, evenly over all of them, so that every class is among them."""
    if len(rows) <= most:
        return rows
    return rows.iloc[np.linspace(0, len(rows) - 1, most).round().astype(int)]


def _pixels(model: Any, inputs: list[Any]) -> np.ndarray:
    """The network's input (n, 3, size, size): what stays outside the graph."""
    from regraft.tasks.image_predictor import decode

    preprocessing = model.encoder.spec.preprocessing
    parts = [preprocessing.tensor([decode(value)]).contiguous().numpy() for value in inputs]
    return np.concatenate(parts)


def _parity(
    truth: np.ndarray, found: np.ndarray, classes: list[str], labels: list[str] | None
) -> dict[str, Any]:
    """How far `found` is from the model's own logits `truth`, both (n, classes)."""
    result: dict[str, Any] = {
        "max_logit_difference": float(np.abs(truth - found).max()),
        "agreement": float((truth.argmax(1) == found.argmax(1)).mean()),
        "accuracy": None,
        "accuracy_drop_pp": None,
    }
    if labels is not None:
        names, right = np.array(classes), np.array(labels)
        before, after = (float((names[x.argmax(1)] == right).mean()) for x in (truth, found))
        result |= {"accuracy": after, "accuracy_drop_pp": 100 * (before - after)}
    return result


def _refuse_if_other(found: dict[str, Any], truth: np.ndarray, reference: str) -> None:
    limit = _TOLERANCE * max(1.0, float(np.abs(truth).max()))
    if not found["max_logit_difference"] <= limit:
        raise UserError(
            "the exported graph does not answer like the model",
            where=reference,
            got=f"logits differ by up to {found['max_logit_difference']:.2g}",
            expected=f"at most {limit:.2g}",
            fix="export another architecture; this one computes something that tracing misses",
        )


def _refuse_if_worse(found: dict[str, Any], max_drop_pp: float, reference: str) -> None:
    drop, what = found["accuracy_drop_pp"], "points of accuracy lost"
    if drop is None:
        drop, what = 100 * (1 - found["agreement"]), "% of the photos answered otherwise"
    if not drop <= max_drop_pp + 1e-9:
        raise UserError(
            "in eight bits the model loses too much",
            where=reference,
            got=f"{drop:.2f} {what}",
            expected=f"at most {max_drop_pp:g}",
            fix="export without --int8, or allow more with --max-drop-pp",
        )


def _publish(graph: Path, file: Path) -> None:
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(graph, file)
    except OSError as error:
        raise UserError(
            "the ONNX file cannot be written",
            where=str(file),
            got=error.strerror or str(error),
            fix="choose another place with --onnx",
        ) from error
