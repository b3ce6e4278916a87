"""From a YAML file and `key=value` overrides to a checked recipe."""

from __future__ import annotations

import difflib
import re
from pathlib import Path
from typing import Any, TypeVar, get_args

import yaml
from pydantic import BaseModel, ValidationError

from regraft.errors import UserError
from regraft.recipe.model import Recipe

T = TypeVar("T", bound=BaseModel)


class _Loader(yaml.SafeLoader):
    """YAML with the booleans and floats of YAML 1.2: `no` is a class, 1e-3 is a number."""


_Loader.yaml_implicit_resolvers = {
    first: [pair for pair in pairs if pair[0] not in {"tag:yaml.org,2002:bool"}]
    for first, pairs in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:bool", re.compile(r"^(?:true|True|TRUE|false|False|FALSE)$"), list("tTfF")
)
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"^[-+]?\d+(?:\.\d*)?[eE][-+]?\d+$"), list("-+0123456789")
)


def load_recipe(path: str | Path, overrides: list[str] | None = None) -> Recipe:
    """Read a recipe, apply overrides of the form `dotted.path=value`, and check every field.

    Raises
    ------
    UserError
        The file is missing or no YAML, an override has no `=`, a key is unknown (the nearest valid
        one is named) or a value is ill-typed or out of range.
    """
    return load_options(
        Recipe,
        Path(path),
        overrides or [],
        noun="recipe",
        folder="recipes",
        fields="the fields that `regraft recipe schema` lists",
    )


def load_options(
    model: type[T], path: Path, overrides: list[str], *, noun: str, folder: str, fields: str
) -> T:
    """Read and check a YAML file of options; `noun` and `fields` name it in messages, `folder` is
    where its examples are. Raises `UserError` as `load_recipe` does."""
    values = _read(path, noun, folder)
    for override in overrides:
        apply_override(values, override)
    where = f"{path} (and overrides)" if overrides else str(path)
    return check_options(model, values, noun=noun, where=where, fields=fields)


def check_options(
    model: type[T], values: dict[str, Any], *, noun: str, where: str, fields: str
) -> T:
    """Check nested values. Raises `UserError` as `load_recipe` does."""
    try:
        return model.model_validate(values)
    except ValidationError as error:
        problems = [_problem(details, model) for details in error.errors()]
        raise UserError(
            f"the {noun} has {len(problems)} invalid field{'s' if len(problems) > 1 else ''}",
            where=where,
            got="; ".join(problems),
            expected=fields,
        ) from error


def _read(path: Path, noun: str, folder: str) -> dict[str, Any]:
    try:
        values = yaml.load(path.read_text(encoding="utf-8"), Loader=_Loader)
    except OSError as error:
        found = sorted(str(p) for p in Path(folder).glob("*.yaml"))
        raise UserError(
            f"the {noun} cannot be read",
            where=str(path),
            got=error.strerror or str(error),
            expected="a YAML file" + (f", for example {', '.join(found)}" if found else ""),
        ) from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UserError(f"the {noun} is not valid YAML", where=str(path), got=str(error)) from error
    if not isinstance(values, dict):
        raise UserError(
            f"the {noun} must be a mapping",
            where=str(path),
            got=type(values).__name__,
            expected="keys and values",
        )
    return values


def apply_override(values: dict[str, Any], override: str) -> None:
    """Set one field of nested `values`, from `dotted.path=YAML`. Raises `UserError`."""
    key, separator, text = override.partition("=")
    if not separator or not key:
        raise UserError(
            "an override needs the form key=value",
            got=override,
            expected="data.images_per_class=20",
        )
    try:
        value = yaml.load(text, Loader=_Loader)
    except yaml.YAMLError as error:
        raise UserError(f"the value of {key} is not valid YAML", got=text) from error
    *parents, last = key.split(".")
    section = values
    for parent in parents:
        child = section.setdefault(parent, {})
        if not isinstance(child, dict):
            raise UserError(
                f"{parent} is a single value and has no fields", where=key, got=override
            )
        section = child
    if last == "kind" and section.get("kind") != value:
        section.clear()  # the options of one kind mean nothing to another
    section[last] = "" if value is None else value


def _problem(details: Any, model: type[BaseModel]) -> str:
    location = [str(part) for part in details["loc"]]
    dotted = ".".join(location)
    if details["type"] == "extra_forbidden":
        nearest = nearest_field(model, location)
        return f"{dotted} is unknown" + (f", did you mean {nearest}?" if nearest else "")
    if details["type"] == "missing":
        return f"{dotted} is missing"
    if details["type"] == "value_error":  # an own rule says enough, and the value may be a secret
        return f"{dotted}: {details['msg'].removeprefix('Value error, ')}"
    return f"{dotted}={details['input']!r}: {details['msg']}"


def nearest_field(model: type[BaseModel], location: list[str]) -> str:
    """The valid dotted path that is most like `location`; empty if none is near."""
    paths = field_paths(model)
    dotted = ".".join(location)
    close = difflib.get_close_matches(dotted, paths, n=1, cutoff=0.6)
    if close:
        return close[0]
    same_leaf = [p for p in paths if p.rsplit(".", 1)[-1] == location[-1]]
    return same_leaf[0] if same_leaf else ""


def field_paths(model: type[BaseModel], prefix: str = "") -> list[str]:
    """Every dotted path of an options class, sections included."""
    paths = []
    for name, field in model.model_fields.items():
        paths.append(prefix + name)
        for section in sections_of(field.annotation):
            paths += field_paths(section, f"{prefix}{name}.")
    return list(dict.fromkeys(paths))


def sections_of(annotation: Any) -> list[type[BaseModel]]:
    """The options classes that a field's type mentions."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    members = [part for part in get_args(annotation) if isinstance(part, type)]
    return [part for part in members if issubclass(part, BaseModel)]
