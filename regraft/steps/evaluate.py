"""Evaluation: everything that was trained meets the test split, once."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, cast

import numpy as np
import pandas as pd

from regraft.data.kinds import kind_of
from regraft.data.manifest import files_of, read_manifest, statistics_in
from regraft.evaluation.slices import CATEGORIES
from regraft.progress import note
from regraft.recipe.model import EvaluationOptions
from regraft.steps.domain_pretraining import as_method
from regraft.steps.measuring import SLICE
from regraft.steps.options import typed

_FRAME = [
    "id",
    "path",
    "label",
    "split",
    "domain",
    "group",
    "quality_flags",
]


def evaluate(
    *,
    task: str,
    name: str,
    serve: str,
    manifest: str | Path,
    quality: str | Path,
    features: str | Path,
    shift: str | Path,
    teacher: str | Path,
    student: str | Path | None,
    options: dict[str, Any],
    domains: dict[str, str],
    threads: int,
    seed: int,
    versions: dict[str, str],
    out_dir: str | Path,
) -> dict[str, Any]:
    """Write metrics.json, predictions.parquet, content.json, report.html, model_card.md and the
    folder reference (see `regraft.steps.reference`).

    `quality`, `features`, `shift`, `teacher` and `student` are folders of the steps before.
    Returns the metrics of summary.json: {"teacher": {"test": ..., "<domain>": ...}, "student",
    "baselines"}; of auxiliary tasks under "tasks" by name.
    """
    from regraft.evaluation import content as assembling
    from regraft.evaluation.examples import show_examples
    from regraft.evaluation.model_card import write_model_card
    from regraft.evaluation.report import write_report
    from regraft.steps.companions import companion_figures, companions_beside
    from regraft.steps.hardware import use_threads
    from regraft.steps.measuring import (
        answers_from,
        answers_of,
        baseline_metrics,
        metrics_of,
        scored_rows,
        slices_of,
        spread,
        task_metrics,
        timing_of,
    )
    from regraft.steps.modalities import modality_metrics, modality_section
    from regraft.steps.recording import modelling
    from regraft.steps.reference import chosen_rows, observe, write_reference
    from regraft.steps.scratch import from_scratch
    from regraft.steps.workspace import work_dir
    from regraft.tasks import NOUNS, load_model, task_module

    use_threads(threads)
    options = typed(EvaluationOptions, options)
    out = Path(out_dir)
    out.mkdir(parents=True, exist_ok=True)
    module, rows = task_module(task), read_manifest(Path(manifest))
    folders = {"teacher": Path(teacher)} | ({"student": Path(student)} if student else {})
    models = {who: load_model(folder) for who, folder in folders.items()}
    classes = models["teacher"].classes
    kind = kind_of(task)
    test, shown = scored_rows(rows, classes, open_answers=kind.open_answers)
    parts = slices_of(test, kind.slices)
    served = serve if serve in models else "teacher"
    with modelling():
        seen = observe(models[served], chosen_rows(rows, seed=seed))
        answers = {
            who: answers_from(model, seen.rows_of(test["id"]))
            if who == served
            else answers_of(model, test)
            for who, model in models.items()
        }
    answers = {who: own.over(classes, shown) for who, own in answers.items()}
    write_reference(out / "reference", models[served], rows, seen)
    metrics: dict[str, Any] = {
        who: metrics_of(test, found.probabilities, shown, domains, seed, parts)
        for who, found in answers.items()
    }
    tasks = cast(Any, models["teacher"]).model.auxiliary
    for who, own in answers.items():
        if own.tasks:
            metrics[who]["tasks"] = task_metrics(test, own.tasks, tasks, seed)
    if tasks and "student" in models:
        note(f"the student answers the label alone; the teacher also {', '.join(tasks)}")
    metrics["baselines"] = baseline_metrics(
        rows, test, classes, Path(features), domains, seed, shown=shown, slices=parts
    )
    lessons = modality_metrics(
        models[served], test, answers[served].probabilities, shown, Path(features), seed=seed
    )
    metrics[served] |= lessons
    if options["from_scratch"]:
        with work_dir("from_scratch", out=str(out)) as folder:
            found = from_scratch(
                module, cast(Any, models["teacher"]).model, rows, test,
                epochs=options["from_scratch_epochs"], seed=seed, work_dir=folder,
            )  # fmt: skip
        found = spread(found, classes, shown)
        metrics["baselines"]["scratch"] = metrics_of(test, found, shown, domains, seed, parts)
    with modelling():
        timing = {
            who: timing_of(model, folders[who], files_of(test)[: options["latency_images"]])
            for who, model in models.items()
        }
    for who, figures in timing.items():
        metrics[who]["cost"] = figures
    if "student" in metrics:
        metrics["student"] |= _beside_teacher(metrics, timing)
    frame = _predictions(test, answers, served, shown, list(kind.slices), out)
    paths = dict(zip(rows["id"], rows["path"], strict=True))
    content = assembling.assemble(
        recipe=name,
        served=served,
        classes=shown,
        predictions=frame,
        probabilities=answers[served].probabilities,
        uncalibrated=answers[served].uncalibrated,
        temperature=answers[served].temperature,
        metrics=_tasks_as_splits(metrics),
        slicing={"categories": CATEGORIES | dict(kind.slices)},
        show=show_examples(lambda example: module.open_example(paths[example])),
        noun=NOUNS[task],
        histories={who: _read(folder / "history.json") for who, folder in folders.items()},
        timing=timing,
        quality=_read(Path(quality, "quality.json")),
        shift=_read(Path(shift, "shift.json")),
        ranking=_read(Path(features, "ranking.json")),
        method={
            "seed": seed,
            **versions,
            "split_sizes": rows["split"].value_counts().to_dict(),
            **as_method(Path(features)),
        },
        card={"backbone": _read(Path(features, "backbone", "backbone.json"))["architecture"]},
        seed=seed,
    )
    with modelling():
        for who, model in models.items():
            shares = answers[who].uncalibrated[:, [shown.index(name) for name in classes]]
            logits = np.log(np.maximum(shares, np.finfo(float).tiny))
            sections, further = companion_figures(model, test, logits, seed=seed)
            content |= sections if who in ("teacher", served) else {}
            metrics[who] |= further
        if "student" in models:
            beside = companions_beside(models["teacher"], models["student"], test, metrics)
            content["distillation"] |= beside
            metrics["student"] |= beside
    if lessons:
        content["modalities"] = modality_section(metrics, served, models[served], frame, paths)
    _write(out / "metrics.json", metrics)
    _write(out / "content.json", content)
    write_report(out / "report.html", content)
    write_model_card(out / "model_card.md", content)
    return metrics


def _beside_teacher(metrics: dict[str, Any], timing: dict[str, Any]) -> dict[str, float | None]:
    """What the student keeps of the teacher's accuracy (None if that is 0) and gains in speed."""
    kept, whole = (metrics[who]["test"]["accuracy"] for who in ("student", "teacher"))
    fast, slow = (timing[who]["throughput_per_second"] for who in ("student", "teacher"))
    return {
        "retention": round(kept / whole, 4) if whole else None,
        "speedup": round(fast / slow, 2),
    }


def _tasks_as_splits(metrics: dict[str, Any]) -> dict[str, Any]:
    """For the report's table of results: a line "task crop" beside "test"; slices have a table of
    their own."""

    def lines(found: dict[str, Any]) -> dict[str, Any]:
        tasks = found.get("tasks", {})
        own = {k: value for k, value in found.items() if k != "tasks" and SLICE not in k}
        return own | {f"task {name}": value for name, value in tasks.items()}

    baselines = {name: lines(found) for name, found in metrics["baselines"].items()}
    models = {who: lines(found) for who, found in metrics.items() if who != "baselines"}
    return models | {"baselines": baselines}


def _predictions(
    test: pd.DataFrame,
    answers: dict[str, Any],
    served: str,
    classes: list[str],
    further: list[str],
    out: Path,
) -> pd.DataFrame:
    """The served model's answers beside what is known of the examples, `further` columns of the
    manifest among it; also as a file, with the probabilities of every model."""
    known = [name for name in further if name in test]
    frame = test[[*_FRAME, *known, *statistics_in(test.columns)]].copy()
    probabilities = answers[served].probabilities
    frame["predicted"] = np.array(classes)[probabilities.argmax(1)]
    frame["confidence"] = probabilities.max(1)
    columns = [
        pd.DataFrame(found.probabilities, columns=[f"{who}:{label}" for label in classes])
        for who, found in answers.items()
    ]
    saved = pd.concat([frame, *columns], axis=1)
    saved.to_parquet(out / "predictions.parquet", index=False)
    return frame


def _read(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def _write(path: Path, content: Any) -> None:
    path.write_text(json.dumps(content, indent=2), encoding="utf-8")
