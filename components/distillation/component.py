"""Teacher to a cheaper student."""

from kfp import dsl

from components.base import component


@component
def distillation(
    task: str,
    dataset: dsl.Input[dsl.Dataset],
    embeddings: dsl.Input[dsl.Artifact],
    shift_verdict: dsl.Input[dsl.Artifact],
    teacher: dsl.Input[dsl.Model],
    distillation: dict,
    finetune: dict,
    threads: int,
    seed: int,
    code_version: str,
    weights_version: str,
    student: dsl.Output[dsl.Model],
):
    """Teach a cheaper model the teacher's answers; validation chooses the epoch.

    Args:
        task: Kind of task.
        dataset: Output of data_validation.
        embeddings: Output of feature_extraction, that further teachers begin with.
        shift_verdict: Output of domain_shift_detection, for further teachers.
        teacher: Output of progressive_finetune.
        distillation: The recipe's distillation section.
        finetune: The recipe's finetune section, for further teachers.
        threads: CPU threads; 0 takes all.
        seed: Seed of views and batches.
        code_version: Hash of the library, part of the cache key.
        weights_version: Hash of local weight files, part of the cache key.
        student: Model folder with history.json.
    """
    from pathlib import Path

    from regraft.steps.distill import distill
    from regraft.steps.recording import recorded

    with recorded("distillation"):
        distill(
            task=task,
            manifest=Path(dataset.path, "manifest.parquet"),
            features=embeddings.path,
            shift=shift_verdict.path,
            teacher=teacher.path,
            options=distillation,
            finetune=finetune,
            threads=threads,
            seed=seed,
            code_version=code_version,
            out_dir=student.path,
        )
