"""From a recipe to the arguments of the training pipeline."""

from __future__ import annotations

import hashlib
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from regraft.recipe import Recipe

_SOURCES = ("regraft", "components", "pipelines")
_LIBRARIES = (
    "torch",
    "torchvision",
    "timm",
    "numpy",
    "scikit-learn",
    "great-expectations",
    "evidently",
    "mlflow",
    "kfp",
)

_WORDS = {"", "random"}  # of a weights field, which is else a file


def training_arguments(recipe: Recipe, *, data_version: str = "") -> dict[str, Any]:
    """Arguments of `pipelines.training.training`; relative paths become absolute. An empty
    `data_version` is computed from the files."""
    values = _absolute_values(recipe)
    data = values["data"]
    return {
        **_model_arguments(values),
        "data": data,
        "domains": {"source": data["source_domain"], "target": data["target_domain"]},
        "target_domain": data["target_domain"],
        "data_version": data_version or _data_version(Path(data["root"])),
        "triggered_by": "regraft run",
    }


def monitoring_arguments(
    recipe: Recipe, *, window: str = "", since: str = "", retrain: bool = True
) -> dict[str, Any]:
    """Arguments of `pipelines.monitoring.monitoring`: those of the training without its data,
    which a check puts together, and what to look at."""
    window = str(Path(window).expanduser().absolute()) if window else ""
    return {
        **_model_arguments(_absolute_values(recipe)),
        "window": window,
        "since": since,
        "retrain": retrain,
    }


def input_folders(recipe: Recipe) -> list[Path]:
    """Folders that the training's steps read: that of the raw files, those of weight files."""
    values = _absolute_values(recipe)
    root = Path(values["data"]["root"])
    weights = map(Path, _weight_paths(values))
    return [
        root if root.is_dir() else root.parent,
        *(path if path.is_dir() else path.parent for path in weights),
    ]


def _absolute_values(recipe: Recipe) -> dict[str, Any]:
    values = recipe.model_dump(mode="json")
    values["data"]["root"] = str(Path(values["data"]["root"]).expanduser().absolute())
    for options in _backbones(values):
        options["weights"] = _absolute(options["weights"])
        if _is_model_folder(options["name"]):
            options["name"] = _absolute(options["name"])
    return values


def _backbones(values: dict[str, Any]) -> list[dict[str, Any]]:
    student = values["distillation"]["student"]
    found = [values["backbone"], student, *values["features"]["candidates"]]
    return found + [options["text"] for options in found]


def _is_model_folder(name: str) -> bool:
    """Whether a backbone's name is a folder of transformers, not a word."""
    return (Path(name).expanduser() / "config.json").is_file()


def _weight_paths(values: dict[str, Any]) -> list[str]:
    """Files and folders that hold weights."""
    backbones = _backbones(values)
    names = [options["name"] for options in backbones if _is_model_folder(options["name"])]
    return names + [o["weights"] for o in backbones if o["weights"] not in _WORDS]


def _model_arguments(values: dict[str, Any]) -> dict[str, Any]:
    """Everything that does not depend on the data."""
    sections = (
        "backbone",
        "features",
        "shift",
        "finetune",
        "distillation",
        "evaluation",
        "gate",
    )
    return {
        **{key: values[key] for key in ("name", "task", "seed", "serve", *sections)},
        "threads": values["finetune"]["threads"],
        "test_views": values["features"]["views"],
        "recipe": values,
        "code_version": code_version(),
        "weights_version": _weights_version(_weight_paths(values)),
    }


def code_version() -> str:
    """Hash of the library's sources and of the versions of what it computes with.

    The step cache of Kubeflow does not see imported code; this is how a change of it is seen.
    """
    root = Path(__file__).parent.parent
    content = hashlib.sha256()
    for folder in _SOURCES:
        for path in sorted((root / folder).rglob("*")):
            if path.suffix in {".py", ".j2", ".safetensors", ".json", ".css"}:
                content.update(str(path.relative_to(root)).encode() + path.read_bytes())
    for library in _LIBRARIES:
        content.update(_installed(library).encode())
    return content.hexdigest()[:16]


def _installed(library: str) -> str:
    try:
        return version(library)
    except PackageNotFoundError:
        return "absent"


def _data_version(root: Path) -> str:
    from regraft.data.versions import content_version

    return content_version(root)


def _weights_version(paths: list[str]) -> str:
    content = hashlib.sha256()
    for path in paths:
        content.update(path.encode())
        given = Path(path)
        own = given.iterdir() if given.is_dir() else (given, given.with_name("config.json"))
        for file in sorted(own):
            content.update(file.read_bytes() if file.is_file() else b"")
    return content.hexdigest()[:16]


def _absolute(weights: str) -> str:
    """Local files become absolute; an empty value and `random` are words."""
    if weights in _WORDS:
        return weights
    return str(Path(weights).expanduser().absolute())
