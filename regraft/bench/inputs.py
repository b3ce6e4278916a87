"""The photos and the backbones that a bench is run on."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from regraft.errors import UserError

DEFAULT_BACKBONES = ("mobilenetv2_100", "mobilenetv1_075")


@dataclass(frozen=True)
class Backbone:
    """A backbone's name and its weight file; None takes the name's own weights."""

    name: str
    weights: Path | None

    @property
    def overrides(self) -> dict[str, Any]:
        """As fields of the recipe."""
        return {"backbone.name": self.name, "backbone.weights": str(self.weights or "")}


def data_folder(given: str | None) -> Path:
    """The folder with lab/CLASS/* and field/CLASS/*; without one that of the real data packs.

    Raises UserError when it is not there.
    """
    folder = Path(given).absolute() if given else _pack("--data") / "plants"
    if not (folder / "lab").is_dir():
        raise UserError(
            "the photos of the bench are not here",
            where=str(folder),
            expected="a folder with lab/CLASS/*.jpg and field/CLASS/*.jpg",
            fix="name one with --data",
        )
    return folder


def pack_folder(name: str, given: str | None, option: str) -> Path:
    """The folder `given`, or that of the real data pack `name`.

    Raises UserError when it is not there.
    """
    folder = Path(given).absolute() if given else _pack(option) / name
    if not folder.is_dir():
        raise UserError(
            "the folder is not there", where=option, got=str(folder), expected=f"the pack {name}"
        )
    return folder


def backbones(given: Sequence[str]) -> list[Backbone]:
    """From NAME=FILE, or NAME for its own weights; without any the two of the real data packs.

    Raises UserError when a file is not there.
    """
    if not given:
        root = _pack("--weights") / "weights"
        given = [f"{name}={root / name / 'model.safetensors'}" for name in DEFAULT_BACKBONES]
    found = []
    for text in given:
        name, _, file = text.partition("=")
        if file and not Path(file).is_file():
            raise UserError(
                "the weight file is missing", where="--weights", got=text, expected="NAME=FILE"
            )
        found.append(Backbone(name, Path(file).absolute() if file else None))
    return found


def shared_classes(data: Path) -> list[str]:
    """The classes that both domains have."""
    return sorted(_classes(data, "lab") & _classes(data, "field"))


def crops(data: Path) -> list[tuple[str, str]]:
    """(crop, domain): what class names say before the first `_`, the lab's crops first, then those
    that are in the field alone."""
    lab, field = (
        {name.partition("_")[0] for name in _classes(data, domain)} for domain in ("lab", "field")
    )
    return [(crop, "lab") for crop in sorted(lab)] + [
        (crop, "field") for crop in sorted(field - lab)
    ]


def _classes(data: Path, domain: str) -> set[str]:
    return {folder.name for folder in (data / domain).glob("*") if folder.is_dir()}


def pairs_table(given: str | None) -> Path:
    """The table of image-text pairs, or its folder; without one that of the real data packs."""
    return Path(given).absolute() if given else _pack("--data") / "image_text" / "vqa_rad"


def _pack(option: str) -> Path:
    named = os.environ.get("REGRAFT_DATA")
    if not named:
        raise UserError(
            "the real data packs are not named",
            where="the environment variable REGRAFT_DATA",
            fix=f"set it, or use {option}",
        )
    return Path(named).absolute()
