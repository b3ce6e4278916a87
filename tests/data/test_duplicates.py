from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from regraft.data.duplicates import (
    NEAR_DUPLICATE_DISTANCE,
    assign_groups,
    conflicting_rows,
    exact_duplicates,
    near_duplicate_pairs,
)
from regraft.data.images import perceptual_hash
from tests.data.conftest import Photo


def rows(*entries: tuple[str, str | None, str]) -> pd.DataFrame:
    return pd.DataFrame(entries, columns=["id", "label", "sha256"])


def test_of_copies_with_one_label_the_first_stays() -> None:
    found = exact_duplicates(rows(("b", "x", "1"), ("a", "x", "1"), ("c", "x", "2")))
    assert found["reason"].to_dict() == {0: "exact_duplicate"}
    assert found["detail"][0].endswith(" a")


def test_copies_with_different_labels_all_go() -> None:
    found = exact_duplicates(
        rows(("a", "x", "1"), ("b", "y", "1"), ("c", "x", "1"), ("d", "x", "2"))
    )
    assert found["reason"].tolist() == ["conflicting_labels"] * 3
    assert found["detail"][0].endswith("x, y")


def test_a_labelled_copy_stays_before_an_unlabelled_one() -> None:
    found = exact_duplicates(rows(("a", None, "1"), ("b", "x", "1")))
    assert found["reason"].to_dict() == {0: "exact_duplicate"}


def test_no_rows() -> None:
    assert exact_duplicates(rows()).empty
    assert near_duplicate_pairs([], 68).shape == (0, 2)


@pytest.mark.parametrize("distance", [0, 40, 110, 120])
def test_pairs_equal_those_of_the_plain_definition(
    distance: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("regraft.data.duplicates._CELLS_PER_CHUNK", 500)
    generator = np.random.default_rng(0)
    bits = generator.integers(0, 2, (120, 256), dtype=np.uint8)
    bits[60:] = bits[:60] ^ (generator.random((60, 256)) < 0.1)
    expected = {
        (i, j) for i in range(120) for j in range(i) if (bits[i] != bits[j]).sum() <= distance
    }
    hashes = [np.packbits(row).tobytes().hex() for row in bits]
    found = near_duplicate_pairs(hashes, distance)
    assert {(int(j), int(i)) for i, j in found} == expected


def test_a_thousand_equal_hashes_are_linked_not_listed() -> None:
    pairs = near_duplicate_pairs(["ab"] * 1000, 0)
    assert len(pairs) == 999
    assert (
        assign_groups(pd.DataFrame({"id": [f"{i:04}" for i in range(1000)]}), pairs)
        .eq("0000")
        .all()
    )


def test_altered_photos_are_near_and_others_are_not(photo: Photo) -> None:
    photos = [photo(seed, (256, 192)) for seed in range(40)]
    altered = [p.resize((128, 96)).rotate(1) for p in photos]
    hashes = [perceptual_hash(p.convert("L")) for p in photos + altered]
    pairs = near_duplicate_pairs(hashes, NEAR_DUPLICATE_DISTANCE)
    assert sorted(map(tuple, pairs.tolist())) == [(i, i + 40) for i in range(40)]


def test_groups_join_near_duplicates_and_own_groups() -> None:
    table = pd.DataFrame({"id": list("abcdef"), "group": ["", "g", "", "g", "", ""]})
    groups = assign_groups(table, np.array([[2, 3], [4, 5]]))
    assert groups.tolist() == ["a", "g", "g", "g", "e", "e"]


def test_conflicts_are_found_through_chains_and_ignore_the_unlabelled() -> None:
    labels = pd.Series(["x", "x", "y", None, "x", "x"])
    assert conflicting_rows(labels, np.array([[0, 1], [1, 2], [2, 3], [4, 5]])) == [0, 1, 2]
