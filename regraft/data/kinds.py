"""What the examples of a kind of task are, for everyone who handles them before there is a model.

By the name of the kind, not by its module in `regraft.tasks`: that one imports torch, and data
validation needs none.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd

from regraft.data import recordings
from regraft.data.audio import inspect_audio
from regraft.data.images import inspect_image
from regraft.data.inspection import Inspector
from regraft.data.pair_files import inspect_pair
from regraft.data.pairs import ANSWERS, list_pairs
from regraft.data.questions import COLUMNS, list_questions
from regraft.data.tables import listing_of, raw_table
from regraft.data.texts import inspect_text
from regraft.data.validation import (
    validate_images,
    validate_pairs,
    validate_recordings,
    validate_texts,
)
from regraft.errors import UserError


@dataclass(frozen=True)
class Kind:
    """The data of one kind of task. `options` below are the fields of the recipe's data section."""

    validate: Callable[..., dict[str, Any]]
    """Raw files to a manifest, called like `validation.validate_images`."""
    own_options: frozenset[str]
    """The options that `validate` takes and not every other kind does."""
    inspector: Callable[[Mapping[str, Any]], Inspector]
    """From the options to what looks at one file."""
    list_table: Callable[[Path, Path], pd.DataFrame]
    """The listing (see `readers.list_examples`) of a table; what it holds itself goes to a store,
    the second argument."""
    distance: Callable[[Mapping[str, Any]], int]
    """The most bits in which perceptual hashes of near-duplicates differ."""
    store: str = ""
    """Folder of the home for examples that a table holds itself; '' where they are always files."""
    further_columns: tuple[str, ...] = ()
    """Columns of the manifest that a retraining carries on beside those that all kinds have."""
    slices: Mapping[str, str] = field(default_factory=dict)
    """Columns of the manifest that the evaluation also scores apart, and what they are called;
    examples need not have them."""
    open_answers: bool = False
    """Whether test examples may have labels that no training example has, to be counted as missed;
    else they are left out."""


def _inspector_of_images(options: Mapping[str, Any]) -> Inspector:
    return partial(
        inspect_image,
        max_pixels=options["max_image_pixels"],
        min_side=options["min_image_side"],
    )


def _inspector_of_texts(options: Mapping[str, Any]) -> Inspector:
    return partial(
        inspect_text, max_characters=options["max_characters"], language=options["language"]
    )


def _inspector_of_pairs(options: Mapping[str, Any]) -> Inspector:
    return partial(
        inspect_pair,
        max_pixels=options["max_image_pixels"],
        min_side=options["min_image_side"],
        max_characters=options["max_characters"],
    )


def _pairs_of(table: Path, store: Path) -> pd.DataFrame:
    return list_pairs(table, store=store, source_domain="", target_domain="", classes=[])


def _questions_of(table: Path, store: Path) -> pd.DataFrame:
    return list_questions(table, store=store, source_domain="", target_domain="", classes=[])


PAIR_SLICES = {ANSWERS: "answers", "question_type": "question type"}


def _inspector_of_recordings(options: Mapping[str, Any]) -> Inspector:
    return partial(
        inspect_audio, max_seconds=options["max_seconds"], min_seconds=options["min_seconds"]
    )


def _recordings_of(table: Path, store: Path) -> pd.DataFrame:
    return recordings.list_recordings(
        table, store=store, source_domain="", target_domain="", classes=[]
    )


_KINDS = {
    "image_classification": Kind(
        validate=validate_images,
        own_options=frozenset({"min_image_side", "max_image_pixels", "near_duplicate_distance"}),
        inspector=_inspector_of_images,
        list_table=lambda table, store: listing_of(raw_table(table), table, domains=[]),
        distance=lambda options: int(options["near_duplicate_distance"]),
    ),
    "speech_to_sign": Kind(
        validate=validate_recordings,
        own_options=frozenset({"min_seconds", "max_seconds", "sign_source", "synthetic_voices"}),
        inspector=_inspector_of_recordings,
        list_table=_recordings_of,
        distance=lambda options: 0,  # two recordings of a word by one speaker are not one
        store="voices",
        further_columns=recordings.COLUMNS,
        slices={"speaker": "speaker"},
    ),
    "question_answering": Kind(
        validate=validate_texts,
        own_options=frozenset({"max_characters", "language"}),
        inspector=_inspector_of_texts,
        list_table=_questions_of,
        distance=lambda options: 0,  # they share all words that count, or they differ
        store="texts",
        further_columns=COLUMNS[1:],
    ),
    "image_text_classification": Kind(
        validate=validate_pairs,
        own_options=frozenset(
            {"min_image_side", "max_image_pixels", "near_duplicate_distance", "max_characters"}
            | {"rare_classes"}
        ),
        inspector=_inspector_of_pairs,
        list_table=_pairs_of,
        distance=lambda options: int(options["near_duplicate_distance"]),
        store="pairs",
        further_columns=tuple(PAIR_SLICES),
        slices=PAIR_SLICES,
        open_answers=True,
    ),
}


def kind_of(task: str) -> Kind:
    """The data of a kind of task.

    Raises UserError for one that nobody registered.
    """
    if task not in _KINDS:
        raise UserError("unknown task", got=task, expected=", ".join(_KINDS))
    return _KINDS[task]


def options_of(kind: Kind, options: Mapping[str, Any]) -> dict[str, Any]:
    """Without those that only other kinds have."""
    others = frozenset().union(*(other.own_options for other in _KINDS.values()))
    return {
        name: value
        for name, value in options.items()
        if name in kind.own_options or name not in others
    }
