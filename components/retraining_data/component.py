"""Drift report to the arguments of a training on old and new data."""

from typing import NamedTuple

from kfp import dsl

from components.base import component


@component
def retraining_data(
    name: str,
    recipe: dict,
    drift: dsl.Input[dsl.Artifact],
    code_version: str,
    table: dsl.Output[dsl.Dataset],
) -> NamedTuple(
    "Prepared",
    data=dict,
    domains=dict,
    target_domain=str,
    data_version=str,
    retraining_recipe=dict,
):
    """Put the champion's examples, their splits frozen, and the new ones into one table.

    Args:
        name: Name of the model in the registry.
        recipe: The whole recipe.
        drift: Output of drift_check.
        code_version: Hash of the library.
        table: Folder with table.csv and data.json.
    """
    from collections import namedtuple

    from regraft.steps.recording import recorded
    from regraft.steps.retraining_data import retraining_data as prepare

    with recorded("retraining_data"):
        found = prepare(name=name, recipe=recipe, evidence=drift.path, out_dir=table.path)
    fields = ("data", "domains", "target_domain", "data_version")
    prepared = namedtuple("Prepared", [*fields, "retraining_recipe"])
    return prepared(*(found[field] for field in fields), found["recipe"])
