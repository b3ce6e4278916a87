"""The pipelines as YAML for a Kubeflow cluster."""

from __future__ import annotations

from pathlib import Path


def compile_all(out_dir: Path) -> list[Path]:
    """Write one YAML per pipeline and return the paths."""
    from kfp import compiler

    from pipelines.training import training

    out_dir.mkdir(parents=True, exist_ok=True)
    path = out_dir / "training.yaml"
    compiler.Compiler().compile(training, str(path))
    return [path]
