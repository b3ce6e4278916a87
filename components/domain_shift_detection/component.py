"""Embeddings to a shift verdict."""

from kfp import dsl

from components.base import component


@component
def domain_shift_detection(
    dataset: dsl.Input[dsl.Dataset],
    embeddings: dsl.Input[dsl.Artifact],
    shift: dict,
    target_domain: str,
    seed: int,
    code_version: str,
    verdict: dsl.Output[dsl.Artifact],
    statistics_page: dsl.Output[dsl.HTML],
) -> bool:
    """Compare labelled source, unlabelled target and test; return whether any is shifted.

    Args:
        dataset: Output of data_validation.
        embeddings: Output of feature_extraction.
        shift: The recipe's shift section.
        target_domain: Name of the target domain, or empty.
        seed: Seed of the permutations.
        code_version: Hash of the library, part of the cache key.
        verdict: Folder with shift.json.
        statistics_page: Evidently's page of the image statistics.
    """
    import shutil
    from pathlib import Path

    from regraft.steps.detect_shift import detect_shift_between_splits
    from regraft.steps.recording import recorded

    with recorded("domain_shift_detection"):
        shifted = detect_shift_between_splits(
            manifest=Path(dataset.path, "manifest.parquet"),
            features=embeddings.path,
            options=shift,
            target_domain=target_domain,
            seed=seed,
            out_dir=verdict.path,
        )
        page = Path(verdict.path, "shift_evidently.html")
        if page.is_file():
            shutil.copyfile(page, statistics_page.path)
        else:  # an output without a file would be done again every time
            Path(statistics_page.path).write_text("<p>Too few examples to compare.</p>")
    return shifted
