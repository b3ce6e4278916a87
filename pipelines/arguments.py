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


def training_arguments(recipe: Recipe) -> dict[str, Any]:
    """Arguments of `pipelines.training.training`; relative paths become absolute."""
    values = recipe.model_dump(mode="json")
    data, backbone = values["data"], values["backbone"]
    data["root"] = str(Path(data["root"]).expanduser().absolute())
    student = values["distillation"]["student"]
    backbones = [backbone, student, *values["features"]["candidates"]]
    for options in backbones:
        options["weights"] = _absolute(options["weights"])
    sections = (
        "data",
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
        "domains": {"source": data["source_domain"], "target": data["target_domain"]},
        "target_domain": data["target_domain"],
        "threads": values["finetune"]["threads"],
        "test_views": values["features"]["views"],
        "recipe": values,
        "code_version": code_version(),
        "data_version": _data_version(Path(data["root"])),
        "weights_version": _weights_version([options["weights"] for options in backbones]),
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
        if path and Path(path).is_file():
            content.update(Path(path).read_bytes())
            config = Path(path).with_name("config.json")
            content.update(config.read_bytes() if config.is_file() else b"")
    return content.hexdigest()[:16]


def _absolute(weights: str) -> str:
    """Local files become absolute; an empty value and `random` are words."""
    if weights in {"", "random"}:
        return weights
    return str(Path(weights).expanduser().absolute())
