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
    from kfp import compiler

    out_dir.mkdir(parents=True, exist_ok=True)
    written = []
    for name, pipeline in pipelines().items():
        path = out_dir / f"{name}.yaml"
        compiler.Compiler().compile(pipeline(profile), str(path))
        written.append(path)
    return written
