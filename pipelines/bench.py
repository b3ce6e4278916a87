"""Benchmarks that a user can run again. A bench compares ratios within one run, in CPU seconds."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from regraft.recipe import Recipe

# Steps, or the part of a step, that neither train nor answer: start of the processes, validation,
# statistics, report, registry. Training and inference report themselves (see `_model_seconds`).
_NO_MODEL = {"data_validation", "domain_shift_detection", "registration"}


def cost(recipe: Recipe, out_dir: Path) -> dict[str, Any]:
    """What the whole pipeline costs beside the one plain loop (`pipelines/plain_loop.py`).

    Runs the recipe without any cache, then the loop on the same photos. Returns CPU seconds of
    both, their ratio, and the share of wall time that is not training or inference.
    """
    from pipelines.local import run_training

    summary = run_training(recipe, out_dir, cached=False)
    manifest = Path(summary["artifacts"]["dataset"], "manifest.parquet")
    backbone = recipe.backbone.model_dump(mode="json")
    command = [sys.executable, "-m", "pipelines.plain_loop", str(manifest), json.dumps(backbone)]
    printed = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    loop = json.loads(printed.splitlines()[-1])
    modelling = sum(step.get("model_seconds", 0.0) for step in summary["steps"])
    return {
        "pipeline_cpu_seconds": summary["cpu_seconds"],
        "loop_cpu_seconds": round(loop["cpu_seconds"], 2),
        "ratio": round(summary["cpu_seconds"] / loop["cpu_seconds"], 3),
        "wall_seconds": summary["seconds"],
        "share_not_training_or_inference": round(1 - modelling / summary["seconds"], 3),
        "accuracy": {who: summary["metrics"][who]["test"]["accuracy"]
                     for who in ("teacher", "student") if who in summary["metrics"]},
        "loop_accuracy": round(loop["accuracy"], 4),
        "steps": summary["steps"],
    }  # fmt: skip
