"""The monitoring pipeline: prediction log to a drift verdict and, where it drifted, retraining."""

from typing import Any, NamedTuple

from kfp import dsl

from components.drift_check.component import drift_check
from components.retraining_data.component import retraining_data
from components.retraining_record.component import retraining_record
from pipelines.cluster_settings import place_on_cluster, run_config
from pipelines.profile import ClusterProfile
from pipelines.training import training_pipeline


class Outputs(NamedTuple):
    """What a check leaves behind in any case."""

    drift: dsl.Artifact


def monitoring_pipeline(
    *, with_student: bool, shards: int = 1, profile: ClusterProfile | None = None
) -> Any:
    """Check, and only where the check says so: data, the training pipeline, the record.

    The training is the same pipeline that `regraft run` uses, nested, so that a retraining has one
    lineage from the log to the alias. What a check found depends on when it is made, so neither it
    nor what follows directly from it is cached; the steps of the training are, and a retraining
    that was killed goes on with the step that was next.
    """
    training = training_pipeline(with_student=with_student, shards=shards, profile=profile)

    @dsl.pipeline(
        name="regraft-monitoring" if with_student else "regraft-monitoring-without-student",
        description="Check for drift; retrain on old and new data, meet the champion, record.",
        pipeline_config=run_config(profile),
    )
    def monitoring(
        name: str,
        task: str,
        seed: int,
        serve: str,
        backbone: dict,
        features: dict,
        shift: dict,
        finetune: dict,
        distillation: dict,
        evaluation: dict,
        gate: dict,
        threads: int,
        test_views: int,
        recipe: dict,
        window: str,
        since: str,
        retrain: bool,
        code_version: str,
        weights_version: str,
    ) -> Outputs:
        """Arguments are the sections of a recipe (see `pipelines.arguments`)."""
        checked = drift_check(
            name=name, recipe=recipe, window=window, since=since, retrain=retrain,
            code_version=code_version,
        )  # fmt: skip
        checked.set_caching_options(enable_caching=False)
        drift = checked.outputs["drift"]
        with dsl.If(checked.outputs["Output"] == True, name="drift"):  # noqa: E712
            prepared = retraining_data(
                name=name, recipe=recipe, drift=drift, code_version=code_version
            )
            prepared.set_caching_options(enable_caching=False)
            trained = training(
                name=name, task=task, seed=seed, serve=serve,
                data=prepared.outputs["data"],
                backbone=backbone, features=features, shift=shift, finetune=finetune,
                distillation=distillation, evaluation=evaluation, gate=gate,
                domains=prepared.outputs["domains"],
                target_domain=prepared.outputs["target_domain"],
                threads=threads, test_views=test_views,
                recipe=prepared.outputs["retraining_recipe"],
                code_version=code_version,
                data_version=prepared.outputs["data_version"],
                weights_version=weights_version,
                triggered_by="regraft monitor",
            )  # fmt: skip
            recorded = retraining_record(
                name=name, drift=drift, measured=trained.outputs["measured"],
                decision=trained.outputs["decision"], code_version=code_version,
            )  # fmt: skip
            recorded.set_caching_options(enable_caching=False)
        place_on_cluster(profile)
        return Outputs(drift=drift)

    return monitoring
