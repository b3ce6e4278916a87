"""One version of a model in memory, checked to answer."""

from __future__ import annotations

import json
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from regraft.errors import UserError
from regraft.registry import store, versions
from regraft.registry.run_files import run_file
from regraft.registry.versions import Reference

_EXAMPLE = "serving_input_example.json"
_RECIPE = "recipe/recipe.json"
_MAX_PIXELS = 100_000_000


@dataclass(frozen=True, eq=False)
class LoadedModel:
    """A version that answers."""

    name: str
    version: str
    predictor: Any
    tags: dict[str, str] = field(default_factory=dict)
    """Of the registered version, with `code_version` and `data_version`."""


def load(reference: Reference) -> LoadedModel:
    """Load a registered version and let it answer its own input example.

    Raises `UserError` when its files are missing or it does not answer.
    """
    from regraft.tasks import load_model

    with versions.model_folder(*reference) as folder:
        predictor = load_model(folder)
        _check_answers(reference, predictor, folder.parents[1] / _EXAMPLE)
    found = store.connect().get_model_version(*reference)
    tags = {str(key).removeprefix("regraft."): str(value) for key, value in found.tags.items()}
    return LoadedModel(reference.name, reference.version, predictor, tags)


def serving_section(reference: Reference) -> dict[str, Any]:
    """The section `serving` of the recipe that the version was trained by; empty without one."""
    with tempfile.TemporaryDirectory(prefix="regraft-recipe-") as temporary:
        path = run_file(reference, _RECIPE, Path(temporary))
        if path is None:
            return {}
        section: dict[str, Any] = json.loads(path.read_text(encoding="utf-8")).get("serving", {})
        return section


def _check_answers(reference: Reference, predictor: Any, example: Path) -> None:
    text = _example_text(reference, example)
    value, _ = predictor.prepare(predictor.from_text(text), max_pixels=_MAX_PIXELS)
    answers, embeddings = predictor.answer([value])
    complete = len(answers) == len(embeddings) == 1
    if not complete or answers[0]["label"] not in predictor.classes:
        raise UserError(
            f"version {reference.version} of {reference.name!r} does not answer its own example",
            where=str(example),
            got=str(answers)[:200],
            expected="one answer with a label of its classes",
        )


def _example_text(reference: Reference, example: Path) -> str:
    try:
        row = json.loads(example.read_text(encoding="utf-8"))["dataframe_split"]["data"][0]
        return str(row[0])
    except (OSError, ValueError, KeyError, IndexError) as error:
        raise UserError(
            f"version {reference.version} of {reference.name!r} has no input example",
            where=str(example),
            got=str(error).splitlines()[0],
            fix="register it anew: regraft run RECIPE",
        ) from error
