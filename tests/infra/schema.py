"""Manifests against the schemas of Kubernetes, strictly: unknown fields, wrong types, missing ones.

The schemas know nothing of custom resources (Prometheus, KServe).
"""

from __future__ import annotations

from typing import Any

import kubernetes_validate

VERSIONS = ("1.29", kubernetes_validate.latest_version())
"""The oldest that docs/cluster.md promises, and the newest there are schemas of."""


def problems(manifest: dict[str, Any]) -> list[str]:
    """What the API server would refuse with strict field validation; empty if nothing."""
    found = []
    for version in VERSIONS:
        try:
            kubernetes_validate.validate(manifest, version, strict=True)
        except kubernetes_validate.ValidationError as error:
            found.append(f"{'.'.join(map(str, error.path))}: {error.message}")
        except kubernetes_validate.SchemaNotFoundError:
            found.append(f"{version} knows no {manifest['apiVersion']} {manifest['kind']}")
    return found


def is_custom(manifest: dict[str, Any]) -> bool:
    """Is it a resource that an operator defines?"""
    group = manifest["apiVersion"].rpartition("/")[0]
    return "." in group and not group.endswith(".k8s.io")
