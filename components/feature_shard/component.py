"""A share of the examples to their embeddings."""

from kfp import dsl

from components.base import component


@component
def feature_shard(
    task: str,
    dataset: dsl.Input[dsl.Dataset],
    backbone: dict,
    features: dict,
    shard: int,
    threads: int,
    code_version: str,
    weights_version: str,
    part: dsl.Output[dsl.Artifact],
):
    """Embed one of `features.shards` shares of the examples with the frozen backbone.

    Args:
        task: Kind of task.
        dataset: Output of data_validation.
        backbone: The recipe's backbone section.
        features: The recipe's features section.
        shard: Number of the share, from 0.
        threads: CPU threads; 0 takes all.
        code_version: Hash of the library, part of the cache key.
        weights_version: Hash of local weight files, part of the cache key.
        part: Folder with features.npz and cost.json of this share.
    """
    from pathlib import Path

    from regraft.steps.extract_features import embed_shard
    from regraft.steps.recording import recorded

    with recorded(f"feature_shard_{shard}"):
        embed_shard(
            task=task,
            manifest=Path(dataset.path, "manifest.parquet"),
            backbone=backbone,
            features=features,
            shard=shard,
            threads=threads,
            out_dir=part.path,
        )
