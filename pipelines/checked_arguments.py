"""Arguments against the pipeline they are meant for, before anything is sent.

Kubeflow's client sends what it is given, whatever the pipeline takes: a mistake shows minutes
later, in the first step that reads it, or not at all.
"""

from __future__ import annotations

import difflib
import json
import math
from pathlib import PurePosixPath
from typing import Any

from pipelines.profile import ClusterProfile
from regraft.errors import UserError

_TYPES: dict[str, tuple[type, ...]] = {
    "STRING": (str,),
    "NUMBER_INTEGER": (int,),
    "NUMBER_DOUBLE": (int, float),
    "BOOLEAN": (bool,),
    "LIST": (list,),
    "STRUCT": (dict,),
}
_LARGEST = 100_000  # bytes; a command line ends at about 130 KB


def check_arguments(spec: dict[str, Any], arguments: dict[str, Any]) -> None:
    """Refuse what the pipeline of `spec` (its compiled YAML, first document) would not take.

    Raises
    ------
    UserError
        Names are unknown (with the nearest one) or missing, a value has another type than the
        pipeline says, is no JSON (NaN, infinity) or is too large for a parameter.
    """
    parameters = spec["root"].get("inputDefinitions", {}).get("parameters", {})
    problems = [
        *(_unknown(name, parameters) for name in arguments if name not in parameters),
        *(
            f"{name} is missing"
            for name, definition in parameters.items()
            if name not in arguments and not _may_be_absent(definition)
        ),
        *(
            problem
            for name, definition in parameters.items()
            if name in arguments
            and (problem := _wrong(name, arguments[name], definition["parameterType"]))
        ),
    ]
    if problems:
        raise UserError(
            "the pipeline does not take these arguments",
            where=spec["pipelineInfo"]["name"],
            got="; ".join(problems),
            expected=", ".join(sorted(parameters)),
            fix="nothing was sent; pipeline and library must be of one version: "
            "`regraft compile` again",
        )


def check_reachable(arguments: dict[str, Any], profile: ClusterProfile) -> None:
    """Refuse paths of this machine that no step on the cluster could open.

    Raises `UserError` when the data or a weight file lies outside of the volumes that the profile
    mounts; a profile without volumes is not judged.
    """
    mounts = [PurePosixPath(volume.mount_path) for volume in profile.volumes]
    if not mounts:
        return
    for field, path in _paths(arguments):
        if not any(PurePosixPath(path).is_relative_to(mount) for mount in mounts):
            raise UserError(
                "no step on the cluster can read this path",
                where=field,
                got=path,
                expected="a path under " + " or ".join(map(str, mounts)),
                fix=f"copy it into a volume of the profile and say {field}={mounts[0]}/...",
            )


def _paths(arguments: dict[str, Any]) -> list[tuple[str, str]]:
    recipe = arguments.get("recipe", {})
    found = [("data.root", arguments.get("data", {}).get("root", ""))]
    student = recipe.get("distillation", {}).get("student", {})
    sections = [("backbone", recipe.get("backbone", {})), ("distillation.student", student)]
    sections += [
        (f"features.candidates.{number}", options)
        for number, options in enumerate(recipe.get("features", {}).get("candidates", []))
    ]
    found += [(f"{name}.weights", options.get("weights", "")) for name, options in sections]
    return [(field, path) for field, path in found if path not in {"", "random"}]


def _unknown(name: str, parameters: dict[str, Any]) -> str:
    close = difflib.get_close_matches(name, parameters, n=1)
    return f"{name} is unknown" + (f", did you mean {close[0]}?" if close else "")


def _may_be_absent(definition: dict[str, Any]) -> bool:
    return "defaultValue" in definition or bool(definition.get("isOptional"))


def _wrong(name: str, value: Any, kind: str) -> str:
    """What is wrong with a value; empty if nothing."""
    allowed = _TYPES.get(kind)
    is_flag = isinstance(value, bool) and kind != "BOOLEAN"
    if allowed and (not isinstance(value, allowed) or is_flag):
        return f"{name}={value!r} is no {kind}"
    if not _is_finite(value):
        return f"{name} holds NaN or infinity, which JSON cannot say"
    size = len(json.dumps(value).encode())
    return f"{name} has {size} bytes, at most {_LARGEST} fit" if size > _LARGEST else ""


def _is_finite(value: Any) -> bool:
    if isinstance(value, dict):
        return all(map(_is_finite, value.values()))
    if isinstance(value, list):
        return all(map(_is_finite, value))
    return not isinstance(value, float) or math.isfinite(value)
