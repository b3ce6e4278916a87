"""Prediction log to a drift report, and whether to retrain."""

from kfp import dsl

from components.base import component


@component
def drift_check(
    name: str,
    recipe: dict,
    window: str,
    since: str,
    retrain: bool,
    code_version: str,
    drift: dsl.Output[dsl.Artifact],
    report: dsl.Output[dsl.HTML],
) -> bool:
    """Compare the newest answers with the champion's reference; return whether to retrain.

    Args:
        name: Name of the model in the registry.
        recipe: The whole recipe.
        window: Folder or table to look at instead of the prediction log, or empty.
        since: ISO time from which on the log is looked at, or empty for what is new.
        retrain: False only reports.
        code_version: Hash of the library.
        drift: Folder with check.json, drift.json, report.html and to_label.csv.
        report: The drift report for the Kubeflow page.
    """
    import shutil
    from pathlib import Path

    from regraft.steps.decide_retraining import decide_retraining
    from regraft.steps.recording import recorded

    with recorded("drift_check"):
        decided = decide_retraining(
            name=name,
            recipe=recipe,
            window=window,
            since=since,
            retrain=retrain,
            out_dir=drift.path,
        )
        shutil.copyfile(Path(drift.path, "report.html"), report.path)
    return decided
