"""The training pipeline: raw files to a registered champion."""

from typing import Any, NamedTuple

from kfp import dsl

from components.data_validation.component import data_validation
from components.distillation.component import distillation as distil
from components.domain_shift_detection.component import domain_shift_detection
from components.evaluation.component import evaluation as evaluate
from components.feature_extraction.component import feature_extraction
from components.feature_shard.component import feature_shard
from components.progressive_finetune.component import progressive_finetune
from components.registration.component import registration
from pipelines.cluster_settings import place_on_cluster, run_config
from pipelines.profile import ClusterProfile


class Outputs(NamedTuple):
    """What a run leaves behind."""

    dataset: dsl.Dataset
    verdict: dsl.Artifact
    teacher: dsl.Model
    measured: dsl.Artifact
    decision: dsl.Artifact


def training_pipeline(
    *, with_student: bool, shards: int = 1, profile: ClusterProfile | None = None
) -> Any:
    """The pipeline with or without a distillation step, for the cluster of `profile`.

    Kubeflow has no artifact that may come from one of two branches, so a recipe without a student
    is a pipeline of its own instead of a condition in this one; and so is one whose features are
    extracted in `shards`.
    """

    @dsl.pipeline(
        name="regraft-training" if with_student else "regraft-training-without-student",
        description="Validate, embed, detect shift, fine-tune, distil, evaluate, register.",
        pipeline_config=run_config(profile),
    )
    def training(
        name: str,
        task: str,
        seed: int,
        serve: str,
        data: dict,
        backbone: dict,
        features: dict,
        shift: dict,
        finetune: dict,
        distillation: dict,
        evaluation: dict,
        gate: dict,
        domains: dict,
        target_domain: str,
        threads: int,
        test_views: int,
        recipe: dict,
        code_version: str,
        data_version: str,
        weights_version: str,
        triggered_by: str,
    ) -> Outputs:
        """Arguments are the sections of a recipe (see `pipelines.arguments`)."""
        checked = data_validation(
            task=task, data=data, seed=seed, code_version=code_version, data_version=data_version
        )
        dataset = checked.outputs["dataset"]
        how = {"task": task, "dataset": dataset, "backbone": backbone, "features": features,
               "threads": threads, "code_version": code_version,
               "weights_version": weights_version}  # fmt: skip
        if shards > 1:
            with dsl.ParallelFor(list(range(shards)), name="shards") as shard:
                part = feature_shard(shard=shard, **how)
            parts = dsl.Collected(part.outputs["part"])
            embedded = feature_extraction(seed=seed, parts=parts, **how)
        else:
            embedded = feature_extraction(seed=seed, **how)
        embeddings = embedded.outputs["embeddings"]
        shifted = domain_shift_detection(
            dataset=dataset, embeddings=embeddings, shift=shift, target_domain=target_domain,
            seed=seed, code_version=code_version,
        )  # fmt: skip
        tuned = progressive_finetune(
            task=task, dataset=dataset, embeddings=embeddings,
            shift_verdict=shifted.outputs["verdict"], finetune=finetune,
            test_views=test_views, seed=seed, code_version=code_version,
        )  # fmt: skip
        models = {"teacher": tuned.outputs["teacher"]}
        if with_student:
            taught = distil(
                task=task, dataset=dataset, embeddings=embeddings,
                shift_verdict=shifted.outputs["verdict"], teacher=models["teacher"],
                distillation=distillation, finetune=finetune, threads=threads, seed=seed,
                code_version=code_version, weights_version=weights_version,
            )  # fmt: skip
            models["student"] = taught.outputs["student"]
        measured = evaluate(
            task=task, name=name, serve=serve, dataset=dataset, embeddings=embeddings,
            shift_verdict=shifted.outputs["verdict"], evaluation=evaluation, domains=domains,
            threads=threads, seed=seed, code_version=code_version, data_version=data_version,
            **models,
        )  # fmt: skip
        decided = registration(
            name=name, serve=serve, dataset=dataset, measured=measured.outputs["measured"],
            gate=gate, recipe=recipe, code_version=code_version, data_version=data_version,
            triggered_by=triggered_by, **models,
        )  # fmt: skip
        decided.set_caching_options(enable_caching=False)
        place_on_cluster(profile)
        return Outputs(
            dataset=dataset,
            verdict=shifted.outputs["verdict"],
            teacher=models["teacher"],
            measured=measured.outputs["measured"],
            decision=decided.outputs["decision"],
        )

    return training
