"""Models to metrics and report."""

from kfp import dsl

from components.base import component


@component
def evaluation(
    task: str,
    name: str,
    serve: str,
    dataset: dsl.Input[dsl.Dataset],
    embeddings: dsl.Input[dsl.Artifact],
    shift_verdict: dsl.Input[dsl.Artifact],
    teacher: dsl.Input[dsl.Model],
    evaluation: dict,
    domains: dict,
    threads: int,
    seed: int,
    code_version: str,
    data_version: str,
    measured: dsl.Output[dsl.Artifact],
    metrics: dsl.Output[dsl.Metrics],
    report: dsl.Output[dsl.HTML],
    student: dsl.Input[dsl.Model] = None,
):
    """Answer the test split once with every model, compare with the baselines, write the report.

    Args:
        task: Kind of task.
        name: Name of the recipe.
        serve: Which model is served, `student` or `teacher`.
        dataset: Output of data_validation.
        embeddings: Output of feature_extraction.
        shift_verdict: Output of domain_shift_detection.
        teacher: Output of progressive_finetune.
        evaluation: The recipe's evaluation section.
        domains: Names of the source and target domain.
        threads: CPU threads; 0 takes all.
        seed: Seed of the bootstrap.
        code_version: Hash of the library, part of the cache key.
        data_version: Hash of the raw files.
        measured: Folder with metrics.json, predictions.parquet, report.html and model_card.md.
        metrics: Scores for the Kubeflow page.
        report: The report for the Kubeflow page.
        student: Output of distillation; absent where the recipe has none.
    """
    import json
    import shutil
    from pathlib import Path

    from regraft.steps.evaluate import evaluate
    from regraft.steps.recording import recorded

    with recorded("evaluation"):
        found = evaluate(
            task=task,
            name=name,
            serve=serve,
            quality=dataset.path,
            manifest=Path(dataset.path, "manifest.parquet"),
            features=embeddings.path,
            shift=shift_verdict.path,
            teacher=teacher.path,
            student=student.path if student else None,
            options=evaluation,
            domains=domains,
            threads=threads,
            seed=seed,
            versions={"code_version": code_version, "data_version": data_version},
            out_dir=measured.path,
        )
        for who in {"teacher", "student"} & set(found):
            for metric in ("accuracy", "macro_f1", "ece"):
                metrics.log_metric(f"{who}_{metric}", found[who]["test"][metric])
        # the cache takes an output without a file for a lost one, and would do the step again
        Path(metrics.path).write_text(json.dumps(metrics.metadata))
        shutil.copyfile(Path(measured.path, "report.html"), report.path)
