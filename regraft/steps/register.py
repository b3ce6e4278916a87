"""Registration: the served model meets the champion, and the gate decides."""

from __future__ import annotations

import hashlib
import json
import os
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd

from regraft.recipe.gate import GateOptions
from regraft.recipe.model import Recipe
from regraft.steps.champion import meets_champion
from regraft.steps.options import typed


def register_model(
    *,
    name: str,
    serve: str,
    teacher: str | Path,
    student: str | Path | None,
    quality: str | Path,
    evaluation: str | Path,
    gate: dict[str, Any],
    recipe: dict[str, Any],
    versions: dict[str, str],
    out_dir: str | Path,
    triggered_by: str = "regraft run",
) -> dict[str, Any]:
    """Log the run, register the served model, let the gate decide; write decision.json and the
    final report.html (with the decision and the cost of the steps) and return the decision.

    `versions` holds code_version and data_version; `recipe` is logged as parameters.
    """
    from regraft.evaluation.content import with_outcome
    from regraft.evaluation.gate import Rules
    from regraft.evaluation.report import write_report
    from regraft.registry import fresh_process
    from regraft.registry.decision import register
    from regraft.registry.runs import log_pipeline_run
    from regraft.tasks import INPUTS, PACKAGES

    gate, recipe = typed(GateOptions, gate), typed(Recipe, recipe)
    out, evaluated = Path(out_dir), Path(evaluation)
    out.mkdir(parents=True, exist_ok=True)
    metrics = _read(evaluated / "metrics.json")
    folder = Path(student) if serve == "student" and student else Path(teacher)
    served = "student" if student and folder == Path(student) else "teacher"
    run_key = _run_key(folder, recipe, versions)
    steps = _steps(Path(teacher), Path(student) if student else None)
    run_id = log_pipeline_run(
        experiment=name,
        run_name=f"{name} {versions['data_version'][-8:]}",
        run_key=run_key,
        parameters=recipe,
        tags={**versions, "recipe": name, "served": served},
        dataset={"name": name, "digest": versions["data_version"]},
        steps=steps,
        metrics=_scores(metrics),
        artifacts=[
            (evaluated / "report.html", "reports"),
            (evaluated / "model_card.md", "reports"),
            (evaluated / "metrics.json", "reports"),
            (Path(quality, "quality.json"), "data"),
            (Path(quality, "manifest.parquet"), "data"),
            (evaluated / "reference", "reference"),
            (_written(out / "recipe.json", recipe), "recipe"),
        ],
    )
    input_name, input_example = INPUTS[recipe["task"]]
    decision = register(
        name=name,
        model_folder=folder,
        run_id=run_id,
        run_key=run_key,
        candidate=metrics[served]["test"],
        floor={"accuracy": gate["min_accuracy"]},
        majority_accuracy=metrics["baselines"]["majority"]["test"]["accuracy"],
        compare=meets_champion(
            predictions=pd.read_parquet(evaluated / "predictions.parquet"),
            manifest=Path(quality, "manifest.parquet"),
            candidate=folder,
            served=served,
            metric=gate["metric"],
            source_domain=recipe["data"]["source_domain"],
            seed=recipe["seed"],
        ),
        rules=Rules(**{name: gate[name] for name in Rules.__dataclass_fields__}),
        probe=_source_of_probe(metrics, served),
        verify=partial(fresh_process.verify, timeout_seconds=gate["fresh_process_seconds"]),
        code_version=versions["code_version"],
        data_version=versions["data_version"],
        triggered_by=triggered_by,
        input_name=input_name,
        input_example=input_example,
        packages=sorted({"numpy", "pandas", "safetensors", *PACKAGES[recipe["task"]]}),
    )
    decision["served"] = served
    content = with_outcome(
        _read(evaluated / "content.json"),
        decision | {name: gate[name] for name in ("min_gain", "max_source_drop_pp")},
        [{k: v for k, v in step.items() if k != "history"} for step in steps],
    )
    write_report(out / "report.html", content)
    (out / "decision.json").write_text(json.dumps(decision, indent=2), encoding="utf-8")
    return decision


def _source_of_probe(metrics: dict[str, Any], served: str) -> dict[str, float] | None:
    """Source accuracies after adaptation and before it, where there are two domains."""
    probe = metrics["baselines"]["probe"]
    if not all({"source", "target"} <= set(found) for found in (metrics[served], probe)):
        return None
    return {
        "candidate": metrics[served]["source"]["accuracy"],
        "probe": probe["source"]["accuracy"],
    }


def _steps(teacher: Path, student: Path | None) -> list[dict[str, Any]]:
    """The records of the steps so far, with the learning curves of those that trained."""
    folder = os.environ.get("REGRAFT_STEP_RECORDS", "")
    records = [_read(path) for path in sorted(Path(folder).glob("*.json"))] if folder else []
    curves = {"progressive_finetune": teacher, "distillation": student}
    for record in records:
        trained = curves.get(record["name"])
        if trained is not None:
            record["history"] = _read(trained / "history.json")
    return records


def _scores(metrics: dict[str, Any]) -> dict[str, Any]:
    """The figures that MLflow's pages can plot; tables per class stay in metrics.json."""
    return {
        who: {
            split: {k: v for k, v in figures.items() if k != "per_class"}
            for split, figures in found.items()
            if isinstance(figures, dict)
        }
        for who, found in ({**metrics, **metrics["baselines"]}).items()
        if who != "baselines"
    }


def _run_key(folder: Path, recipe: dict[str, Any], versions: dict[str, str]) -> str:
    """The same model of the same recipe, data and code has the same key, so a registration that
    was killed is finished by the next run and never doubled."""
    text = json.dumps([recipe, versions], sort_keys=True)
    content = hashlib.sha256(text.encode() + (folder / "model.safetensors").read_bytes())
    return content.hexdigest()[:32]


def _written(path: Path, content: Any) -> Path:
    path.write_text(json.dumps(content, indent=2), encoding="utf-8")
    return path


def _read(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))
