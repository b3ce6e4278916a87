"""Pairs of image and text over HTTP bodies: a mapping of an input's fields is one input."""

from __future__ import annotations

import json
from typing import Any

import pytest

from regraft.serving.inputs import parse
from regraft.serving.problems import Refused

FIELDS = ("image", "text")


def _parsed(content: Any, fields: tuple[str, ...] = FIELDS) -> list[Any]:
    body = json.dumps(content).encode()
    found = parse("application/json", body, from_text=str.encode, max_inputs=3, fields=fields)
    return [json.loads(given.data) for given in found.inputs]


@pytest.mark.parametrize("key", ["inputs", "instances", "dataframe_records"])
def test_a_mapping_of_the_fields_is_one_input(key: str) -> None:
    pairs = [{"image": "aGk=", "text": "Is it red?"}, {"text": "Is it red?"}, {"image": "aGk="}]
    assert _parsed({key: pairs}) == pairs


def test_a_pair_as_text_and_a_pair_in_a_column_are_inputs_too() -> None:
    pair = {"image": "aGk=", "text": "Is it red?"}
    assert _parsed({"inputs": [json.dumps(pair), {"pair": json.dumps(pair)}]}) == [pair, pair]


def test_other_mappings_and_inputs_without_fields_are_refused_as_ever() -> None:
    for content, fields in (
        ({"image": "aGk=", "path": "/etc/passwd"}, FIELDS),
        ({"image": "aGk=", "text": "Is it red?"}, ()),
        ({}, FIELDS),
    ):
        with pytest.raises(Refused):
            _parsed({"inputs": [content]}, fields)
