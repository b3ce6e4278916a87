"""The training pipeline: raw files to a registered champion."""

from typing import NamedTuple

from kfp import dsl

from components.data_validation.component import data_validation
from components.distillation.component import distillation as distil
from components.domain_shift_detection.component import domain_shift_detection
from components.evaluation.component import evaluation as evaluate
from components.feature_extraction.component import feature_extraction
from components.progressive_finetune.component import progressive_finetune
from components.registration.component import registration


Outputs = NamedTuple(
    "Outputs",
    [
        ("dataset", dsl.Dataset),
        ("verdict", dsl.Artifact),
        ("teacher", dsl.Model),
        ("student", dsl.Model),
        ("measured", dsl.Artifact),
        ("decision", dsl.Artifact),
    ],
)


@dsl.pipeline(
    name="regraft-training",
    description="Validate, embed, detect shift, fine-tune, distil, evaluate, register.",
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
) -> Outputs:
    """Arguments are the sections of a recipe (see `pipelines.arguments`)."""
    checked = data_validation(
        task=task, data=data, seed=seed, code_version=code_version, data_version=data_version
    )
    embedded = feature_extraction(
        task=task,
        dataset=checked.outputs["dataset"],
        backbone=backbone,
        features=features,
        threads=threads,
        seed=seed,
        code_version=code_version,
        weights_version=weights_version,
    )
    shifted = domain_shift_detection(
        dataset=checked.outputs["dataset"],
        embeddings=embedded.outputs["embeddings"],
        shift=shift,
        target_domain=target_domain,
        seed=seed,
        code_version=code_version,
    )
    tuned = progressive_finetune(
        task=task,
        dataset=checked.outputs["dataset"],
        embeddings=embedded.outputs["embeddings"],
        finetune=finetune,
        test_views=test_views,
        seed=seed,
        code_version=code_version,
    )
    taught = distil(
        task=task,
        dataset=checked.outputs["dataset"],
        teacher=tuned.outputs["teacher"],
        distillation=distillation,
        threads=threads,
        seed=seed,
        code_version=code_version,
        weights_version=weights_version,
    )
    measured = evaluate(
        task=task,
        name=name,
        serve=serve,
        dataset=checked.outputs["dataset"],
        embeddings=embedded.outputs["embeddings"],
        shift_verdict=shifted.outputs["verdict"],
        teacher=tuned.outputs["teacher"],
        student=taught.outputs["student"],
        evaluation=evaluation,
        domains=domains,
        threads=threads,
        seed=seed,
        code_version=code_version,
        data_version=data_version,
    )
    decided = registration(
        name=name,
        serve=serve,
        dataset=checked.outputs["dataset"],
        teacher=tuned.outputs["teacher"],
        student=taught.outputs["student"],
        measured=measured.outputs["measured"],
        gate=gate,
        recipe=recipe,
        code_version=code_version,
        data_version=data_version,
    )
    decided.set_caching_options(enable_caching=False)
    return Outputs(
        dataset=checked.outputs["dataset"],
        verdict=shifted.outputs["verdict"],
        teacher=tuned.outputs["teacher"],
        student=taught.outputs["student"],
        measured=measured.outputs["measured"],
        decision=decided.outputs["decision"],
    )
