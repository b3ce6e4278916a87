"""Manifest to embeddings, probe baseline and ranking of backbones."""

from kfp import dsl

from components.base import component


@component
def feature_extraction(
    task: str,
    dataset: dsl.Input[dsl.Dataset],
    backbone: dict,
    features: dict,
    threads: int,
    seed: int,
    code_version: str,
    weights_version: str,
    embeddings: dsl.Output[dsl.Artifact],
    parts: dsl.Input[list[dsl.Artifact]] = None,
):
    """Embed every example with the frozen backbone, fit the probe, rank candidate backbones.

    Args:
        task: Kind of task.
        dataset: Output of data_validation.
        backbone: The recipe's backbone section.
        features: The recipe's features section.
        threads: CPU threads; 0 takes all.
        seed: Seed of the probe's cross-validation.
        code_version: Hash of the library, part of the cache key.
        weights_version: Hash of local weight files, part of the cache key.
        embeddings: Folder with features.npz, probe.npz, probe.json, ranking.json and backbone/.
        parts: Outputs of feature_shard, all of them; absent where the recipe has one shard.
    """
    from pathlib import Path

    from regraft.steps.extract_features import extract_features
    from regraft.steps.recording import recorded

    with recorded("feature_extraction"):
        extract_features(
            task=task,
            manifest=Path(dataset.path, "manifest.parquet"),
            backbone=backbone,
            features=features,
            threads=threads,
            seed=seed,
            parts=[part.path for part in parts or []],
            code_version=code_version,
            out_dir=embeddings.path,
        )
