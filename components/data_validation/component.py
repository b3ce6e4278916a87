"""Raw files to manifest, quarantine and quality report."""

from kfp import dsl

from components.base import component


@component
def data_validation(
    task: str,
    data: dict,
    seed: int,
    code_version: str,
    data_version: str,
    dataset: dsl.Output[dsl.Dataset],
    quality_page: dsl.Output[dsl.HTML],
):
    """Check every file, quarantine the bad, group near-duplicates and split.

    Args:
        task: Kind of task.
        data: The recipe's data section.
        seed: Seed of the split.
        code_version: Hash of the library, part of the cache key.
        data_version: Hash of the raw files, part of the cache key.
        dataset: Folder with manifest.parquet, quarantine.parquet, quality.json and data_docs/.
        quality_page: Great Expectations' page of the results.
    """
    import shutil
    from pathlib import Path

    from regraft.steps.recording import recorded
    from regraft.steps.validate_data import validate_data

    with recorded("data_validation"):
        validate_data(task=task, data=data, seed=seed, out_dir=dataset.path)
        shutil.copyfile(Path(dataset.path, "data_docs", "index.html"), quality_page.path)
        dataset.metadata["data_version"] = data_version
