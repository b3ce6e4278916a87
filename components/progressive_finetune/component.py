"""Manifest, embeddings and shift verdict to the teacher."""

from kfp import dsl

from components.base import component


@component
def progressive_finetune(
    task: str,
    dataset: dsl.Input[dsl.Dataset],
    embeddings: dsl.Input[dsl.Artifact],
    shift_verdict: dsl.Input[dsl.Artifact],
    finetune: dict,
    test_views: int,
    seed: int,
    code_version: str,
    teacher: dsl.Output[dsl.Model],
):
    """Fine-tune through the stages of the plan; validation chooses the epoch.

    Args:
        task: Kind of task.
        dataset: Output of data_validation.
        embeddings: Output of feature_extraction.
        shift_verdict: Output of domain_shift_detection; a shifted target is adapted to.
        finetune: The recipe's finetune section.
        test_views: Flipped views averaged when predicting.
        seed: Seed of views, batches and dropout.
        code_version: Hash of the library, part of the cache key.
        teacher: Model folder with history.json.
    """
    from pathlib import Path

    from regraft.steps.finetune import finetune as run
    from regraft.steps.recording import recorded

    with recorded("progressive_finetune"):
        run(
            task=task,
            manifest=Path(dataset.path, "manifest.parquet"),
            features=embeddings.path,
            shift=shift_verdict.path,
            options=finetune,
            test_views=test_views,
            seed=seed,
            code_version=code_version,
            out_dir=teacher.path,
        )
