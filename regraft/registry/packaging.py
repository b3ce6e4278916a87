"""A model folder as an MLflow model: code as a file, weights as safetensors, nothing pickled."""

from __future__ import annotations

import base64
import importlib.metadata
import io
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import regraft

if TYPE_CHECKING:
    from mlflow.entities import LoggedModel
    from mlflow.models import ModelSignature

REQUIRED = ("model.safetensors", "model.json")
IMAGE_PACKAGES = ("numpy", "pandas", "pillow", "safetensors", "timm", "torch", "torchvision")
_MAY_EXECUTE = {".pkl", ".pickle", ".pt", ".pth", ".bin", ".ckpt", ".joblib", ".npy"}
_CODE = Path(regraft.__file__).parent / "serving" / "pyfunc_model.py"


def save_pyfunc(
    path: Path,
    model_folder: Path,
    *,
    logged: LoggedModel,
    input_name: str = "image",
    input_example: str | None = None,
    packages: Sequence[str] = IMAGE_PACKAGES,
) -> None:
    """Write the MLflow model at `path` around a copy of `model_folder`.

    Signature: a table with the one text column `input_name` (path, base64 text or bytes) in;
    `label`, `confidence`, `probabilities` (class to share) out. The example is stored without
    being run: that would import torch into a process that needs nothing of it.

    `regraft` itself is no pip requirement (it may not be on the reader's index): its version is
    in the metadata, and a served model needs it installed.

    Raises `ValueError` when the folder is no model folder or holds a file that runs code on load.
    """
    import mlflow.pyfunc
    import pandas as pd
    from mlflow.models import Model

    check_model_folder(model_folder)
    mlflow.pyfunc.save_model(
        str(path),
        python_model=str(_CODE),
        artifacts={"model": str(model_folder)},
        signature=_signature(input_name),
        input_example=pd.DataFrame({input_name: [input_example or example_image()]}),
        pip_requirements=requirements(packages),
        metadata={"regraft_version": regraft.__version__},
        mlflow_model=Model(
            artifact_path=logged.artifact_location,
            model_uuid=logged.model_id,
            model_id=logged.model_id,
            run_id=logged.source_run_id,
        ),
    )


def check_model_folder(folder: Path) -> None:
    """Raise `ValueError` unless `folder` is complete and free of files that run code on load."""
    missing = [name for name in REQUIRED if not (folder / name).is_file()]
    if missing:
        raise ValueError(f"{folder} is no model folder: {', '.join(missing)} missing")
    unsafe = sorted(path.name for path in folder.rglob("*") if path.suffix in _MAY_EXECUTE)
    if unsafe:
        raise ValueError(f"{folder} holds files that may be pickles: {', '.join(unsafe)}")


def artifact_folder(model: Path) -> Path:
    """The model folder inside a saved MLflow model."""
    import yaml

    described: dict[str, Any] = yaml.safe_load((model / "MLmodel").read_text(encoding="utf-8"))
    return model / described["flavors"]["python_function"]["artifacts"]["model"]["path"]


def requirements(packages: Sequence[str]) -> list[str]:
    """Pinned to what is installed here, without local build tags (`+cpu`) that no index knows."""
    return [f"{name}=={importlib.metadata.version(name).split('+')[0]}" for name in packages]


def example_image() -> str:
    """A small real PNG as base64 text, so that the stored example can be sent to any server."""
    from PIL import Image

    gradient = Image.linear_gradient("L").resize((64, 64)).convert("RGB")
    buffer = io.BytesIO()
    gradient.save(buffer, format="PNG")
    return base64.b64encode(buffer.getvalue()).decode()


def _signature(input_name: str) -> ModelSignature:
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, DataType, Schema
    from mlflow.types.schema import Map

    answer: list[Any] = [
        ColSpec(DataType.string, "label"),
        ColSpec(DataType.double, "confidence"),
        ColSpec(Map(DataType.double), "probabilities"),
    ]
    return ModelSignature(
        inputs=Schema([ColSpec(DataType.string, input_name)]), outputs=Schema(answer)
    )
