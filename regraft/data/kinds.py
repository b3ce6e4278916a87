"""What the examples of a kind of task are, for everyone who handles them before there is a model.

By the name of the kind, not by its module in `regraft.tasks`: that one imports torch, and data
validation needs none.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import pandas as pd

from regraft.data import recordings
from regraft.data.inspection import Inspector
from regraft.data.pairs import ANSWERS, list_pairs
from regraft.data.questions import COLUMNS, list_questions
from regraft.data.tables import listing_of, raw_table
from regraft.data.validation import (
    inspector_of_images,
    inspector_of_pairs,
    inspector_of_recordings,
    inspector_of_texts,
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
    inspector: Callable[..., Inspector]
    """From the options, as keywords, to what looks at one file."""
    list_table: Callable[..., pd.DataFrame]
    """The listing (see `readers.list_examples`) of a table; what it holds itself goes to `store`, a
    keyword."""
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

    def distance(self, options: Mapping[str, Any]) -> int:
        """The most bits in which perceptual hashes of near-duplicates differ. 0 where that is no
        option: texts share all words that count or differ, and two recordings of a word are two."""
        name = "near_duplicate_distance"
        return int(options[name]) if name in self.own_options else 0


PAIR_SLICES = {ANSWERS: "answers", "question_type": "question type"}
_WHOLE: dict[str, Any] = {"source_domain": "", "target_domain": "", "classes": []}


_KINDS = {
    "image_classification": Kind(
        validate=validate_images,
        own_options=frozenset({"min_image_side", "max_image_pixels", "near_duplicate_distance"}),
        inspector=inspector_of_images,
        list_table=lambda table, store: listing_of(raw_table(table), table, domains=[]),
    ),
    "speech_to_sign": Kind(
        validate=validate_recordings,
        own_options=frozenset({"min_seconds", "max_seconds", "sign_source", "synthetic_voices"}),
        inspector=inspector_of_recordings,
        list_table=partial(recordings.list_recordings, **_WHOLE),
        store="voices",
        further_columns=recordings.COLUMNS,
        slices={"speaker": "speaker"},
    ),
    "question_answering": Kind(
        validate=validate_texts,
        own_options=frozenset({"max_characters", "language"}),
        inspector=inspector_of_texts,
        list_table=partial(list_questions, **_WHOLE),
        store="texts",
        further_columns=COLUMNS[1:],
    ),
    "image_text_classification": Kind(
        validate=validate_pairs,
        own_options=frozenset(
            {"min_image_side", "max_image_pixels", "near_duplicate_distance", "max_characters"}
            | {"rare_classes"}
        ),
        inspector=inspector_of_pairs,
        list_table=partial(list_pairs, **_WHOLE),
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
