"""The pipelines as YAML for a Kubeflow cluster."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from pipelines.profile import ClusterProfile


def pipelines(shards: int = 1) -> dict[str, Callable[[ClusterProfile | None], Any]]:
    """Every pipeline by name, as a function of the profile (or None) that it is compiled for.
    `shards` is `features.shards` of the recipes that they are to run."""
    from pipelines.monitoring import monitoring_pipeline
    from pipelines.training import training_pipeline

    def made(
        make: Callable[..., Any], with_student: bool
    ) -> Callable[[ClusterProfile | None], Any]:
        return lambda profile: make(with_student=with_student, shards=shards, profile=profile)

    return {
        name + suffix: made(make, with_student)
        for name, make in (("training", training_pipeline), ("monitoring", monitoring_pipeline))
        for suffix, with_student in (("", True), ("_without_student", False))
    }


def compile_all(
    out_dir: Path, profile: ClusterProfile | None = None, *, shards: int = 1
) -> list[Path]:
    """Write one YAML per pipeline and return the paths.

    With a profile every step carries that cluster's settings; without one the files hold what all
    clusters have in common.
    """
    out_dir.mkdir(parents=True, exist_ok=True)
    return [compile_one(name, out_dir, profile, shards=shards) for name in pipelines()]


def compile_one(
    name: str, folder: Path, profile: ClusterProfile | None = None, *, shards: int = 1
) -> Path:
    """One pipeline as YAML in `folder`; the rest as in `compile_all`."""
    from kfp import compiler

    path = folder / f"{name}.yaml"
    compiler.Compiler().compile(pipelines(shards)[name](profile), str(path))
    return path
