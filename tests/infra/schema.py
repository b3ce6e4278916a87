"""Manifests against the API of Kubernetes, strictly: unknown fields, wrong types, missing ones.

The schemas are the models of the `kubernetes` client, which kfp brings; they know nothing of custom
resources (Prometheus, KServe).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

_SIMPLE: dict[str, type | tuple[type, ...]] = {
    "str": str, "int": int, "float": (int, float), "bool": bool, "datetime": str,
}  # fmt: skip


def problems(manifest: dict[str, Any]) -> list[str]:
    """What the API server would refuse with strict field validation; empty if nothing."""
    from kubernetes.client import ApiClient, models

    version = manifest["apiVersion"].rpartition("/")[2]
    name = version[0].upper() + version[1:] + manifest["kind"]
    if not hasattr(models, name):
        return [f"the API knows no {manifest['apiVersion']} {manifest['kind']}"]
    found = list(_unknown(manifest, name, models, manifest["kind"]))
    try:
        ApiClient()._ApiClient__deserialize(manifest, name)  # its models refuse missing fields
    except ValueError as error:
        found.append(str(error))
    return found


def is_custom(manifest: dict[str, Any]) -> bool:
    """Is it a resource that an operator defines?"""
    group = manifest["apiVersion"].rpartition("/")[0]
    return "." in group and not group.endswith(".k8s.io")


def _unknown(value: Any, kind: str, models: Any, where: str) -> Iterator[str]:
    if kind == "object" or value is None:
        return
    if kind in _SIMPLE:
        wrong_flag = isinstance(value, bool) and kind != "bool"
        if not isinstance(value, _SIMPLE[kind]) or wrong_flag:
            yield f"{where}: {value!r} is no {kind}"
    elif match := re.fullmatch(r"list\[(.+)\]", kind):
        if not isinstance(value, list):
            yield f"{where}: {value!r} is no list"
            return
        for number, child in enumerate(value):
            yield from _unknown(child, match[1], models, f"{where}[{number}]")
    elif match := re.fullmatch(r"dict\(str, (.+)\)", kind):
        for key, child in value.items():
            yield from _unknown(child, match[1], models, f"{where}.{key}")
    else:
        yield from _unknown_of_model(value, getattr(models, kind), models, where)


def _unknown_of_model(value: Any, model: Any, models: Any, where: str) -> Iterator[str]:
    if not isinstance(value, dict):
        yield f"{where}: {value!r} is no mapping"
        return
    attributes = {json: attribute for attribute, json in model.attribute_map.items()}
    for key, child in value.items():
        if key not in attributes:
            yield f"{where}.{key} is unknown"
        else:
            kind = model.openapi_types[attributes[key]]
            yield from _unknown(child, kind, models, f"{where}.{key}")
