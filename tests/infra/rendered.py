"""What `kubectl kustomize` makes of an overlay."""

from __future__ import annotations

import shutil
import subprocess
from functools import lru_cache
from pathlib import Path
from typing import Any

import pytest
import yaml

INFRA = Path(__file__).parents[2] / "infra"
KUBECTL = shutil.which("kubectl")
needs_kubectl = pytest.mark.skipif(KUBECTL is None, reason="kubectl, which renders, is not here")
ROOTS = ["overlays/local", "overlays/cluster", "restore"]


@lru_cache
def manifests(root: str) -> tuple[dict[str, Any], ...]:
    """Every resource of an overlay."""
    command = [str(KUBECTL), "kustomize", str(INFRA / root)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return tuple(yaml.safe_load_all(done.stdout))


def pod(manifest: dict[str, Any]) -> dict[str, Any] | None:
    """The pod template of a workload, with its metadata; None for other kinds."""
    spec = manifest.get("spec", {})
    template = spec.get("jobTemplate", {}).get("spec", spec).get("template")
    found: dict[str, Any] | None = template
    return found


def pods(root: str) -> list[tuple[str, dict[str, Any]]]:
    """Name and template of every workload."""
    templates = [(m["metadata"]["name"], pod(m)) for m in manifests(root)]
    return [(name, template) for name, template in templates if template]


def containers(template: dict[str, Any]) -> list[dict[str, Any]]:
    """All containers of a pod, those that run first included."""
    spec = template["spec"]
    return [*spec.get("initContainers", []), *spec["containers"]]
