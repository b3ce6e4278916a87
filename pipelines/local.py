"""Run the training pipeline on this machine, through Kubeflow's local runner."""

from __future__ import annotations

import json
import shutil
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipelines.runner import claimed, cpu_seconds, run_pipeline, step_table
from regraft.recipe import Recipe
from regraft.registry import store

if TYPE_CHECKING:
    from pipelines.containers import Containers

STEPS = [
    "data_validation",
    "feature_extraction",
    "domain_shift_detection",
    "progressive_finetune",
    "distillation",
    "evaluation",
    "registration",
]


def steps_of(recipe: Recipe) -> list[str]:
    """The steps of a training with this recipe, in their order."""
    shards = recipe.features.shards
    embedding = [f"feature_shard_{number}" for number in range(shards)] if shards > 1 else []
    steps = [step for step in STEPS if recipe.distillation.enabled or step != "distillation"]
    return [*steps[:1], *embedding, *steps[1:]]


def run_training(
    recipe: Recipe,
    out_dir: Path,
    *,
    cached: bool = True,
    containers: Containers | None = None,
) -> dict[str, Any]:
    """Run all steps and write summary.json into `out_dir`; returns the summary.

    Each step is a process, or one of `containers`. Steps whose inputs, options and code are
    unchanged are taken from the cache, so a run after a failure continues with the step that
    failed; with `cached` false nothing is taken from there.

    Raises
    ------
    UserError
        A step refused the user's input; the message is the step's own.
    StepError
        A step failed otherwise; the message is the step's own and names the log.
    """
    from pipelines.arguments import training_arguments
    from pipelines.training import training_pipeline

    started, cpu_before = time.time(), cpu_seconds()
    arguments = training_arguments(recipe)
    steps = steps_of(recipe)
    if containers:
        arguments["code_version"] = containers.code_version
    pipeline = training_pipeline(
        with_student=recipe.distillation.enabled,
        shards=recipe.features.shards,
        profile=containers.profile if containers else None,
    )
    store.writable_folder(store.home())
    with claimed(out_dir) as records:
        task = run_pipeline(pipeline, arguments, out_dir, records, len(steps), cached=cached,
                            containers=containers)  # fmt: skip
        rows = step_table(records, steps)
        # containers are no children of this process
        outside = sum(row["cpu_seconds"] for row in rows) if containers else 0.0
        summary = {
            "recipe": recipe.name,
            "code_version": arguments["code_version"],
            "data_version": arguments["data_version"],
            **_outputs(task, out_dir),
            "steps": rows,
            "seconds": round(time.time() - started, 2),
            "cpu_seconds": round(cpu_seconds() - cpu_before + outside, 2),
        }
        (out_dir / "summary.json").write_text(json.dumps(summary, indent=2), encoding="utf-8")
    return summary


def _outputs(run: Any, out_dir: Path) -> dict[str, Any]:
    """Metrics, decision and where the reports are; the report itself is copied beside them."""
    folders = {name: Path(artifact.path) for name, artifact in run.outputs.items()}
    metrics = json.loads((folders["measured"] / "metrics.json").read_text(encoding="utf-8"))
    decision = json.loads((folders["decision"] / "decision.json").read_text(encoding="utf-8"))
    shutil.copyfile(folders["decision"] / "report.html", out_dir / "report.html")
    shutil.copyfile(folders["measured"] / "model_card.md", out_dir / "model_card.md")
    return {
        "served": decision["served"],
        "metrics": metrics,
        "decision": decision,
        "shift": json.loads((folders["verdict"] / "shift.json").read_text(encoding="utf-8")),
        "reports": {
            "evaluation": str(out_dir / "report.html"),
            "model_card": str(out_dir / "model_card.md"),
            "data_docs": str(folders["dataset"] / "data_docs" / "index.html"),
            "quarantine": str(folders["dataset"] / "quarantine.csv"),
            "shift": str(folders["verdict"] / "shift_evidently.html"),
        },
        "artifacts": {name: str(folder) for name, folder in folders.items()},
    }
