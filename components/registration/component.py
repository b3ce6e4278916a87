"""Measured models to a decision in the registry."""

from kfp import dsl

from components.base import component


@component
def registration(
    name: str,
    serve: str,
    dataset: dsl.Input[dsl.Dataset],
    teacher: dsl.Input[dsl.Model],
    measured: dsl.Input[dsl.Artifact],
    gate: dict,
    recipe: dict,
    code_version: str,
    data_version: str,
    triggered_by: str,
    decision: dsl.Output[dsl.Artifact],
    report: dsl.Output[dsl.HTML],
    student: dsl.Input[dsl.Model] = None,
) -> bool:
    """Log the run in MLflow, register the served model, move the champion alias or hold.

    Args:
        name: Name of the model in the registry.
        serve: Which model is served, `student` or `teacher`.
        dataset: Output of data_validation.
        teacher: Output of progressive_finetune.
        measured: Output of evaluation.
        gate: The recipe's gate section.
        recipe: The whole recipe, logged as parameters.
        code_version: Hash of the library.
        data_version: Hash of the raw files.
        triggered_by: What the ledger names as the reason of the run.
        decision: Folder with decision.json.
        report: The report with the decision in it.
        student: Output of distillation; absent where the recipe has none.
    """
    import shutil
    from pathlib import Path

    from regraft.steps.recording import recorded
    from regraft.steps.register import register_model

    with recorded("registration"):
        found = register_model(
            name=name,
            serve=serve,
            teacher=teacher.path,
            student=student.path if student else None,
            quality=dataset.path,
            evaluation=measured.path,
            gate=gate,
            recipe=recipe,
            versions={"code_version": code_version, "data_version": data_version},
            triggered_by=triggered_by,
            out_dir=decision.path,
        )
        shutil.copyfile(Path(decision.path, "report.html"), report.path)
    return found["outcome"] != "hold"
