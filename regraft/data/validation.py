"""From a folder of files to a manifest that can be trusted, or one clear refusal."""

from __future__ import annotations

import functools
import json
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from regraft.data import verdict
from regraft.data.audio import DEFAULT_MAX_SECONDS, DEFAULT_MIN_SECONDS, inspect_audio
from regraft.data.audio_quality import AUDIO_SUITE
from regraft.data.duplicates import NEAR_DUPLICATE_DISTANCE
from regraft.data.files import atomic_write
from regraft.data.images import DEFAULT_MAX_PIXELS, DEFAULT_MIN_SIDE, inspect_image
from regraft.data.inspection import (
    Inspector,
    group_examples,
    inspect_listing,
    mark_copies,
    mark_unlabelled,
)
from regraft.data.manifest import QUARANTINE_COLUMNS, write_manifest
from regraft.data.pair_files import inspect_pair
from regraft.data.pair_quality import PAIR_SUITE, with_leaking_labels
from regraft.data.pairs import list_pairs
from regraft.data.quality import IMAGE_SUITE, Suite, class_table, run_expectations
from regraft.data.questions import list_questions
from regraft.data.readers import list_examples
from regraft.data.recordings import list_recordings
from regraft.data.splits import assign_splits
from regraft.data.text_quality import TEXT_SUITE, with_answer_flags
from regraft.data.texts import DEFAULT_LANGUAGE, DEFAULT_MAX_CHARACTERS, inspect_text
from regraft.errors import UserError
from regraft.progress import note

QUARANTINE_CSV = "quarantine.csv"


def inspector_of_images(*, max_image_pixels: int, min_image_side: int, **others: Any) -> Inspector:
    """What looks at one picture; of the fields of the recipe's data section it needs these."""
    return functools.partial(inspect_image, max_pixels=max_image_pixels, min_side=min_image_side)


def inspector_of_texts(*, max_characters: int, language: str, **others: Any) -> Inspector:
    """The same for texts."""
    return functools.partial(inspect_text, max_characters=max_characters, language=language)


def inspector_of_pairs(
    *, max_image_pixels: int, min_image_side: int, max_characters: int, **others: Any
) -> Inspector:
    """The same for pairs of image and text."""
    return functools.partial(
        inspect_pair,
        max_pixels=max_image_pixels,
        min_side=min_image_side,
        max_characters=max_characters,
    )


def inspector_of_recordings(*, max_seconds: float, min_seconds: float, **others: Any) -> Inspector:
    """The same for recordings of words."""
    return functools.partial(inspect_audio, max_seconds=max_seconds, min_seconds=min_seconds)


def validate_images(
    root: Path,
    out_dir: Path,
    *,
    classes: list[str],
    source_domain: str,
    target_domain: str,
    target_labels_per_class: int,
    images_per_class: int,
    test_fraction: float,
    target_test_fraction: float,
    validation_fraction: float,
    min_images_per_class: int,
    min_image_side: int = DEFAULT_MIN_SIDE,
    max_image_pixels: int = DEFAULT_MAX_PIXELS,
    max_imbalance: float,
    near_duplicate_distance: int = NEAR_DUPLICATE_DISTANCE,
    auxiliary_labels: Sequence[str] = (),
    seed: int,
    unlabelled_rest: bool = False,
) -> dict[str, Any]:
    """`validate` for pictures: each side at least `min_image_side` pixels after rotation."""
    return validate(
        root,
        out_dir,
        inspect=inspector_of_images(
            max_image_pixels=max_image_pixels, min_image_side=min_image_side
        ),
        classes=classes,
        source_domain=source_domain,
        target_domain=target_domain,
        target_labels_per_class=target_labels_per_class,
        images_per_class=images_per_class,
        test_fraction=test_fraction,
        target_test_fraction=target_test_fraction,
        validation_fraction=validation_fraction,
        min_per_class=min_images_per_class,
        max_imbalance=max_imbalance,
        near_duplicate_distance=near_duplicate_distance,
        auxiliary_labels=auxiliary_labels,
        seed=seed,
        unlabelled_rest=unlabelled_rest,
    )


def validate_texts(
    root: Path,
    out_dir: Path,
    *,
    store: Path,
    min_images_per_class: int,
    max_characters: int = DEFAULT_MAX_CHARACTERS,
    language: str = DEFAULT_LANGUAGE,
    **how: Any,
) -> dict[str, Any]:
    """`validate` for tables of questions (see `questions.list_questions`), which become files in
    `store`. `how` are its other arguments; questions are near-duplicates where they share all words
    but function words, and all questions about one topic are on one side of a split."""
    return validate(
        root,
        out_dir,
        inspect=inspector_of_texts(max_characters=max_characters, language=language),
        list_=functools.partial(list_questions, store=store),
        flagged=with_answer_flags,
        suite=TEXT_SUITE,
        near_duplicate_distance=0,
        min_per_class=min_images_per_class,
        **how,
    )


def validate_pairs(
    root: Path,
    out_dir: Path,
    *,
    store: Path,
    min_images_per_class: int,
    min_image_side: int = DEFAULT_MIN_SIDE,
    max_image_pixels: int = DEFAULT_MAX_PIXELS,
    max_characters: int = DEFAULT_MAX_CHARACTERS,
    **how: Any,
) -> dict[str, Any]:
    """`validate` for tables of image-text pairs (see `pairs.list_pairs`), which become files in
    `store`. `how` are its other arguments. All pairs with one image are on one side of a split."""
    return validate(
        root,
        out_dir,
        inspect=inspector_of_pairs(
            max_image_pixels=max_image_pixels,
            min_image_side=min_image_side,
            max_characters=max_characters,
        ),
        list_=functools.partial(list_pairs, store=store),
        flagged=with_leaking_labels,
        suite=PAIR_SUITE,
        min_per_class=min_images_per_class,
        **how,
    )


def validate_recordings(
    root: Path,
    out_dir: Path,
    *,
    store: Path,
    min_images_per_class: int,
    min_seconds: float = DEFAULT_MIN_SECONDS,
    max_seconds: float = DEFAULT_MAX_SECONDS,
    sign_source: str = "",
    synthetic_voices: int = 0,
    **how: Any,
) -> dict[str, Any]:
    """`validate` for recordings of words (see `recordings.list_recordings`); synthetic voices go to
    `store`. `how` are its other arguments; all that a speaker said is on one side of a split."""
    return validate(
        root,
        out_dir,
        inspect=inspector_of_recordings(max_seconds=max_seconds, min_seconds=min_seconds),
        list_=functools.partial(
            list_recordings,
            store=store,
            sign_source=sign_source,
            synthetic_voices=synthetic_voices,
        ),
        suite=AUDIO_SUITE,
        near_duplicate_distance=0,
        min_per_class=min_images_per_class,
        **how,
    )


def validate(
    root: Path,
    out_dir: Path,
    *,
    inspect: Inspector,
    classes: list[str],
    source_domain: str,
    target_domain: str,
    target_labels_per_class: int,
    images_per_class: int,
    test_fraction: float,
    target_test_fraction: float,
    validation_fraction: float,
    min_per_class: int,
    max_imbalance: float,
    near_duplicate_distance: int,
    auxiliary_labels: Sequence[str] = (),
    seed: int,
    unlabelled_rest: bool = False,
    rare_classes: str = "refuse",
    list_: Callable[..., pd.DataFrame] = list_examples,
    flagged: Callable[[pd.DataFrame], pd.DataFrame] | None = None,
    suite: Suite = IMAGE_SUITE,
) -> dict[str, Any]:
    """List, inspect, quarantine, group, split and check the examples below `root`.

    Writes manifest.parquet, quarantine.parquet, quarantine.csv, quality.json and data_docs/ into
    `out_dir` and returns the content of quality.json. `inspect` is what is special about a kind of
    data, see `inspection.Inspector`; so are `list_`, which is called like
    `readers.list_examples`, `flagged`, which may add quality flags to the usable rows, and the
    `suite` of checks.

    Raises UserError (after writing the quarantine tables) when a class has fewer than
    `min_per_class` usable examples or fewer than two independent ones (unless `rare_classes` is
    `keep`), or when fewer than two classes, or test examples, are left; one message names all of
    them.
    """
    out_dir = _writable(Path(out_dir))
    listing = list_(
        Path(root),
        source_domain=source_domain,
        target_domain=target_domain,
        classes=classes,
        auxiliary_labels=auxiliary_labels,
    )
    learned, left_out = verdict.keep_classes(
        listing,
        source_domain=source_domain,
        target_domain=target_domain,
        target_labels_per_class=target_labels_per_class,
    )
    known = listing["label"].isna() | listing["label"].isin(list(learned))
    table = inspect_listing(listing[known].reset_index(drop=True), inspect)
    table = mark_copies(mark_unlabelled(table, target_domain=target_domain))
    _write_quarantine(table, out_dir)
    usable = table[table["reason"] == ""].drop(columns=["reason", "detail"]).reset_index(drop=True)
    usable, near_duplicate_groups = group_examples(usable, distance=near_duplicate_distance)
    usable = flagged(usable) if flagged else usable
    verdict.refuse_if_too_few(
        table,
        usable,
        learned,
        target_domain=target_domain,
        min_per_class=min_per_class if rare_classes == "refuse" else 0,
        quarantine=out_dir / QUARANTINE_CSV,
    )
    manifest = assign_splits(
        usable,
        images_per_class=images_per_class,
        test_fraction=test_fraction,
        validation_fraction=validation_fraction,
        target_domain=target_domain,
        source_domain=source_domain,
        target_labels_per_class=target_labels_per_class,
        target_test_fraction=target_test_fraction,
        seed=seed,
        unlabelled_rest=unlabelled_rest,
    )
    verdict.refuse_without_test(manifest)
    write_manifest(manifest, out_dir / "manifest.parquet")
    counts = verdict.usable_counts(usable, learned)
    quality = _measured(table, usable, manifest, counts)
    quality["near_duplicate_groups"] = near_duplicate_groups
    quality["warnings"] = verdict.warnings(
        listing,
        manifest,
        counts,
        left_out=left_out,
        images_per_class=images_per_class,
        max_imbalance=max_imbalance,
        near_duplicates=near_duplicate_groups if near_duplicate_distance else 0,
    )
    quality["expectations"] = run_expectations(
        _with_flags_of(table, usable),
        class_table(counts),
        manifest,
        _emptied(out_dir / "data_docs"),
        min_per_class=min_per_class if rare_classes == "refuse" else 0,
        max_imbalance=max_imbalance,
        suite=suite,
    )
    quality["data_docs"] = str(out_dir / "data_docs" / "index.html")
    return _published(quality, out_dir)


def _measured(
    table: pd.DataFrame, usable: pd.DataFrame, manifest: pd.DataFrame, counts: pd.Series
) -> dict[str, Any]:
    return {
        "examples": len(table),
        "usable": len(usable),
        "quarantined": len(table) - len(usable),
        "reasons": verdict.reason_counts(table),
        "classes": verdict.split_counts(manifest, usable["label"]),
        "domains": {
            str(name): verdict.split_counts(rows, usable.loc[rows.index, "label"])
            for name, rows in manifest.groupby("domain")
        },
        "flags": verdict.flag_counts(usable["quality_flags"]),
        "imbalance": verdict.imbalance(counts),
    }


def _with_flags_of(table: pd.DataFrame, usable: pd.DataFrame) -> pd.DataFrame:
    """Flags of near-duplicates are found after inspection; the checks shall see them too."""
    flags = table["id"].map(dict(zip(usable["id"], usable["quality_flags"], strict=True)))
    return table.assign(quality_flags=flags.fillna(table["quality_flags"]))


def _emptied(folder: Path) -> Path:
    """Pages of an earlier run would be listed beside the new ones."""
    shutil.rmtree(folder, ignore_errors=True)
    return folder


def _writable(out_dir: Path) -> Path:
    try:
        out_dir.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(
            "cannot create the output folder",
            where=str(out_dir),
            got=str(error.strerror),
            fix="choose another with --out",
        ) from error
    return out_dir


def _write_quarantine(table: pd.DataFrame, out_dir: Path) -> None:
    bad = table.loc[table["reason"] != "", list(QUARANTINE_COLUMNS)].astype("object")
    atomic_write(out_dir / "quarantine.parquet", lambda p: bad.to_parquet(p, index=False))
    # utf-8-sig: a spreadsheet program guesses wrong without the mark.
    atomic_write(
        out_dir / QUARANTINE_CSV, lambda p: bad.to_csv(p, index=False, encoding="utf-8-sig")
    )


def _published(quality: dict[str, Any], out_dir: Path) -> dict[str, Any]:
    text = json.dumps(quality, indent=1, ensure_ascii=False)
    atomic_write(out_dir / "quality.json", lambda p: p.write_text(text, encoding="utf-8"))
    note(f"{quality['usable']} of {quality['examples']} examples are usable")
    for warning in quality["warnings"]:
        note(f"note: {warning}")
    return quality
