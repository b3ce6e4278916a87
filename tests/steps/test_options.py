"""Options as a cluster's form or a protobuf struct hands them over."""

from __future__ import annotations

import pytest

from regraft.errors import UserError
from regraft.recipe.data import DataOptions
from regraft.recipe.model import GateOptions
from regraft.steps.options import typed


def test_whole_numbers_are_integers_again() -> None:
    found = typed(DataOptions, {"root": "photos", "images_per_class": 5.0})
    assert found["images_per_class"] == 5
    assert isinstance(found["images_per_class"], int)


def test_defaults_are_filled_in() -> None:
    assert typed(GateOptions, {})["metric"] == "accuracy"


@pytest.mark.parametrize(
    ("values", "word"),
    [({"root": "photos", "images_per_class": 5.5}, "images_per_class"),
     ({"root": "photos", "rot": "x"}, "rot"), ({}, "root")],
)  # fmt: skip
def test_what_makes_no_sense_is_refused(values: dict[str, object], word: str) -> None:
    with pytest.raises(UserError, match=word):
        typed(DataOptions, values)
