"""A classifier as an ONNX graph, and the graph in eight bits."""

from __future__ import annotations

import contextlib
import json
import re
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from regraft.errors import UserError

OPSET = 17
INPUT, OUTPUT = "pixels", "logits"
_HEAD = re.compile(r"/model/head(_\d+)?/")
"""Nodes of the head, of which every test view has its own."""
_MOST_CHANGE = 0.1
"""How much of their spread the logits may change in eight bits before more layers stay in float."""


class _Averaged(nn.Module):
    """What `Classifier.averaged_logits` computes, in a form that can be traced."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.stack([self.model(view) for view in self.model.views(x)]).mean(0)


def write_graph(model: Any, path: Path) -> None:
    """Write the graph: `pixels` (n, 3, size, size) normalised float32 to `logits` (n, classes).

    The logits are the mean over the test views, before the temperature. What lies outside the
    graph is in its metadata: classes, temperature and preprocessing, as JSON.

    The tracing exporter is used: it records what the hooks that tap the blocks did, and needs no
    further package. Raises UserError for an architecture with an operator that it cannot write.
    """
    size = model.encoder.spec.preprocessing.image_size
    example = torch.zeros(2, 3, size, size)
    with _traceable(), warnings.catch_warnings():
        # shapes are constants on purpose, and the exporter says that there is a newer one
        warnings.simplefilter("ignore")
        try:
            torch.onnx.export(
                _Averaged(model).eval(),
                (example,),
                str(path),
                dynamo=False,
                opset_version=OPSET,
                input_names=[INPUT],
                output_names=[OUTPUT],
                dynamic_axes={INPUT: {0: "n"}, OUTPUT: {0: "n"}},
            )
        except torch.onnx.errors.OnnxExporterError as error:
            raise UserError(
                "this architecture cannot be written as ONNX",
                where=model.encoder.spec.architecture,
                got=str(error).strip().splitlines()[0],
                fix="train a convolutional student, or use the backbone at its own image size",
            ) from error
    _describe(model, path)


def quantise(graph: Path, path: Path, pixels: np.ndarray) -> int:
    """Write `graph` with its layers in eight bits, calibrated on `pixels` (n, 3, size, size), and
    return how many layers stay as they are.

    Static quantisation in the QDQ form: activations as uint8 by their range on the calibration
    photos, weights as int8 with a scale per output channel (Jacob et al., CVPR 2018; per channel:
    Krishnamoorthi, 2018). Only layers with weights are quantised, and the head is not: embeddings
    are covariances and square roots, which eight bits would spoil for no gain in speed.

    The first layers of a small network can be the ones that eight bits spoil (in MobileNetV1 six of
    28 make nine tenths of the error): as many of them stay in float, by eighths of the layers, as
    it takes for the logits of the calibration photos to change by less than `_MOST_CHANGE`.
    """
    import onnx
    from onnxruntime.quantization.shape_inference import quant_pre_process

    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        prepared = Path(folder) / "prepared.onnx"
        quant_pre_process(str(graph), str(prepared), skip_symbolic_shape=True)
        layers, truth = _layers(prepared), answers(graph, pixels)
        for share in (0, 1 / 8, 1 / 4, 1 / 2):
            kept = round(share * len(layers))
            _write_quantised(prepared, path, [n for names in layers[kept:] for n in names], pixels)
            if _change(truth, answers(path, pixels)) < _MOST_CHANGE:
                break
    described = onnx.load(str(path))
    del described.metadata_props[:]
    described.metadata_props.extend(onnx.load(str(graph)).metadata_props)
    onnx.save(described, str(path))
    return kept


def _write_quantised(graph: Path, path: Path, nodes: list[str], pixels: np.ndarray) -> None:
    from onnxruntime import quantization as q

    q.quantize_static(
        str(graph),
        str(path),
        _Calibration(pixels),
        quant_format=q.QuantFormat.QDQ,
        per_channel=True,
        weight_type=q.QuantType.QInt8,
        activation_type=q.QuantType.QUInt8,
        nodes_to_quantize=nodes,
    )


def _change(truth: np.ndarray, found: np.ndarray) -> float:
    """Root mean square change of the logits (n, classes) beside their spread; what is added to
    all classes of a photo alike changes no answer and does not count."""
    own, other = (x - x.mean(1, keepdims=True) for x in (truth, found))
    return float(np.sqrt(np.mean((own - other) ** 2)) / max(own.std(), 1e-12))


def answers(graph: Path, pixels: np.ndarray, batch: int = 16) -> np.ndarray:
    """The graph's logits (n, classes), as onnxruntime computes them on the CPU."""
    import onnxruntime

    session = onnxruntime.InferenceSession(str(graph), providers=["CPUExecutionProvider"])
    starts = range(0, len(pixels), batch)
    return np.concatenate(
        [session.run([OUTPUT], {INPUT: pixels[start : start + batch]})[0] for start in starts]
    )


class _Calibration:
    """Photos one batch at a time, as onnxruntime asks for them."""

    def __init__(self, pixels: np.ndarray, batch: int = 8) -> None:
        self._batches = iter(
            [pixels[start : start + batch] for start in range(0, len(pixels), batch)]
        )

    def get_next(self) -> dict[str, np.ndarray] | None:
        batch = next(self._batches, None)
        return None if batch is None else {INPUT: batch}


def _layers(graph: Path) -> list[list[str]]:
    """Per layer with a weight matrix or kernels, from the input on, the names of its nodes (one for
    each test view), without the head."""
    import onnx

    model = onnx.load(str(graph), load_external_data=False)
    weights = {tensor.name for tensor in model.graph.initializer}
    found: dict[str, list[str]] = {}
    for node in model.graph.node:
        has_weights = node.op_type in {"Conv", "Gemm", "MatMul"} and node.input[1] in weights
        if has_weights and not _HEAD.match(node.name):
            found.setdefault(node.input[1], []).append(node.name)
    return list(found.values())


@contextlib.contextmanager
def _traceable() -> Iterator[None]:
    """`triu_indices` has no ONNX operator; of a known shape it is a constant."""
    original = torch.triu_indices

    def constant(rows: Any, columns: Any, *args: Any, **kwargs: Any) -> torch.Tensor:
        return torch.from_numpy(np.stack(np.triu_indices(int(rows), 0, int(columns))))

    torch.triu_indices = constant  # type: ignore[assignment]
    try:
        yield
    finally:
        torch.triu_indices = original


def _describe(model: Any, path: Path) -> None:
    import onnx

    graph = onnx.load(str(path))
    preprocessing = model.encoder.spec.to_json()["preprocessing"]
    values = {
        "classes": model.classes,
        "temperature": model.temperature,
        "test_views": model.test_views,
        "preprocessing": preprocessing,
    }
    onnx.helper.set_model_props(graph, {key: json.dumps(value) for key, value in values.items()})
    onnx.save(graph, str(path))
