"""The pipelines as YAML for a Kubeflow cluster."""

from __future__ import annotations

from pathlib import Path


def compile_all(out_dir: Path) -> list[Path]:
    """Write one YAML per pipeline and return the paths."""
    from kfp import compiler

    from pipelines.training import training_pipeline

    pipelines = {
        "training": training_pipeline(with_student=True),
        "training_without_student": training_pipeline(with_student=False),
    }
    out_dir.mkdir(parents=True, exist_ok=True)
    for name, pipeline in pipelines.items():
        compiler.Compiler().compile(pipeline, str(out_dir / f"{name}.yaml"))
    return [out_dir / f"{name}.yaml" for name in pipelines]
