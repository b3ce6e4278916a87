"""The pipelines as YAML for a Kubeflow cluster."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from pipelines.profile import ClusterProfile


def pipelines() -> dict[str, Callable[[ClusterProfile | None], Any]]:
    """Every pipeline by name, as a function of the profile (or None) that it is compiled for."""
    from pipelines.monitoring import monitoring_pipeline
    from pipelines.training import training_pipeline

    return {
        "training": lambda profile: training_pipeline(with_student=True, profile=profile),
        "training_without_student": lambda profile: training_pipeline(
            with_student=False, profile=profile
        ),
        "monitoring": lambda profile: monitoring_pipeline(with_student=True, profile=profile),
        "monitoring_without_student": lambda profile: monitoring_pipeline(
            with_student=False, profile=profile
        ),
    }


def compile_all(out_dir: Path, profile: ClusterProfile | None = None) -> list[Path]:
    """Write one YAML per pipeline and return the paths.

    With a profile every step carries that cluster's settings; without one the files hold what all
    clusters have in common.
    """
    out_dir.mkdir(parents=True, exist_ok=True)
    return [compile_one(name, out_dir, profile) for name in pipelines()]


def compile_one(name: str, folder: Path, profile: ClusterProfile | None = None) -> Path:
    """One pipeline as YAML in `folder`; the profile as in `compile_all`."""
    from kfp import compiler

    path = folder / f"{name}.yaml"
    compiler.Compiler().compile(pipelines()[name](profile), str(path))
    return path
