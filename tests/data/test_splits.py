from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from regraft.data.quality import sides_of_groups
from regraft.data.splits import assign_splits
from regraft.errors import UserError

DEFAULTS: dict[str, Any] = {
    "images_per_class": 0,
    "test_fraction": 0.2,
    "validation_fraction": 0.2,
    "target_domain": "",
    "source_domain": "",
    "target_labels_per_class": 0,
    "target_test_fraction": 0.5,
    "seed": 0,
}


def examples(counts: dict[str, int], *, domain: str = "") -> pd.DataFrame:
    rows = [(f"{domain}/{c}/{i}", c, domain) for c, n in counts.items() for i in range(n)]
    table = pd.DataFrame(rows, columns=["id", "label", "domain"])
    return table.assign(group=table["id"])


def with_random_groups(table: pd.DataFrame, seed: int, groups: int) -> pd.DataFrame:
    """Groups of all sizes, some of them across classes and domains."""
    generator = np.random.default_rng(seed)
    return table.assign(group=[f"g{n}" for n in generator.integers(0, groups, len(table))])


def split(table: pd.DataFrame, **options: Any) -> pd.DataFrame:
    return assign_splits(table, **(DEFAULTS | options))


def counted(table: pd.DataFrame, **of: str) -> dict[str, int]:
    for column, value in of.items():
        table = table[table[column] == value]
    return table["split"].value_counts().to_dict()


def two_domains() -> pd.DataFrame:
    parts = [
        examples({"a": 30, "b": 30}, domain="lab"),
        examples({"a": 9, "b": 20}, domain="field"),
    ]
    return pd.concat(parts, ignore_index=True)


def test_stratified_counts_of_one_domain() -> None:
    table = split(examples({"a": 100, "b": 50}))
    assert counted(table, label="a") == {"train": 64, "test": 20, "val": 16}
    assert counted(table, label="b") == {"train": 32, "test": 10, "val": 8}


def test_images_per_class_is_exact_and_the_rest_is_unused() -> None:
    table = split(examples({"a": 100, "b": 50}), images_per_class=30)
    for label, total in (("a", 100), ("b", 50)):
        found = counted(table, label=label)
        assert found["train"] + found["val"] == 30
        assert found["unused"] == total - 30 - found["test"]


def test_the_test_split_does_not_depend_on_images_per_class() -> None:
    tests = [set(split(examples({"a": 60, "b": 60}), images_per_class=n).query("split=='test'").id)
             for n in (0, 5, 20)]  # fmt: skip
    assert tests[0] == tests[1] == tests[2]


@pytest.mark.parametrize(("each", "has_validation"), [(19, False), (20, True)])
def test_validation_needs_twenty_labels_in_every_class(each: int, has_validation: bool) -> None:
    table = split(examples({"a": 100, "b": 100}), images_per_class=each)
    assert ("val" in set(table["split"])) is has_validation
    scarce = split(examples({"a": 100, "b": 10}))
    assert "val" not in set(scarce["split"])


def test_smallest_useful_case() -> None:
    table = split(examples({"a": 4, "b": 4}))
    for label in "ab":
        assert counted(table, label=label) == {"train": 3, "test": 1}


def test_a_class_with_one_group_has_no_test() -> None:
    table = examples({"a": 4, "b": 4})
    table.loc[table["label"] == "a", "group"] = "one"
    assert counted(split(table), label="a") == {"train": 4}


@pytest.mark.parametrize("seed", range(25))
def test_groups_never_cross_and_every_class_is_tested(seed: int) -> None:
    table = with_random_groups(examples({"a": 40, "b": 25, "c": 12}), seed, groups=30)
    result = split(table, seed=seed)
    assert sides_of_groups(result).max() == 1
    for label, own in result.groupby("label"):
        spare_groups = own.loc[own["split"] != "test", "group"].nunique()
        assert spare_groups >= 1, label
        assert "test" in set(own["split"]), label


@pytest.mark.parametrize("seed", range(15))
def test_groups_never_cross_between_domains(seed: int) -> None:
    table = with_random_groups(two_domains(), seed, groups=40)
    result = split(table, source_domain="lab", target_domain="field", seed=seed)
    assert sides_of_groups(result).max() <= 1


def test_a_group_on_two_sides_is_seen() -> None:
    table = pd.DataFrame({"group": ["g", "g", "h"], "split": ["train", "test", "unused"]})
    assert sides_of_groups(table).tolist() == [2, 2, 0]
    table["split"] = ["unlabelled", "test", "train"]
    assert sides_of_groups(table).tolist() == [2, 2, 1]


def test_large_groups_leave_a_test() -> None:
    table = examples({"a": 10, "b": 10})
    table["group"] = [f"{row.label}{i % 10 < 5}" for i, row in enumerate(table.itertuples())]
    for label in "ab":
        assert counted(split(table), label=label) == {"train": 5, "test": 5}


def test_row_order_does_not_matter_and_the_seed_does() -> None:
    table = examples({"a": 50, "b": 50})
    first = split(table).set_index("id")["split"]
    shuffled = split(table.sample(frac=1, random_state=3)).set_index("id")["split"]
    other = split(table, seed=1).set_index("id")["split"]
    assert (first == shuffled.reindex(first.index)).all()
    assert (first != other).any()


def test_old_test_examples_stay_when_data_arrive() -> None:
    before = split(examples({"a": 200, "b": 200})).set_index("id")["split"]
    after = split(examples({"a": 250, "b": 220})).set_index("id")["split"]
    old_test = before.index[before == "test"]
    assert (after[old_test] == "test").mean() > 0.85


def test_two_domains_without_target_labels() -> None:
    table = split(two_domains(), source_domain="lab", target_domain="field")
    field = table[table["domain"] == "field"]
    assert counted(field) == {"test": 14, "unlabelled": 15}
    assert field.loc[field["split"] == "unlabelled", "label"].isna().all()
    assert field.loc[field["split"] == "test", "label"].notna().all()
    assert counted(table, domain="lab") == {"train": 38, "test": 12, "val": 10}


def test_target_labels_per_class() -> None:
    options = {"source_domain": "lab", "target_domain": "field", "target_labels_per_class": 3}
    table = split(two_domains(), **options)
    field = table[(table["domain"] == "field") & (table["split"] == "train")]
    assert field["label"].value_counts().to_dict() == {"a": 3, "b": 3}


def test_rows_that_never_had_a_label() -> None:
    table = two_domains()
    table.loc[table["domain"] == "field", "label"] = None
    result = split(table, source_domain="lab", target_domain="field")
    assert counted(result, domain="field") == {"unlabelled": 29}


def test_rows_of_one_domain_without_a_label_are_unlabelled() -> None:
    table = examples({"a": 20, "b": 20})
    table.loc[::5, "label"] = None
    result = split(table)
    assert (result.loc[::5, "split"] == "unlabelled").all()
    rest = result[result["label"].notna()]
    assert set(rest["split"]) == {"train", "test"} and (rest["split"] == "test").sum() == 6


def test_the_rest_is_unlabelled_where_asked_for() -> None:
    table = examples({"a": 40, "b": 40})
    plain = split(table, images_per_class=5)
    rest = split(table, images_per_class=5, unlabelled_rest=True)
    assert counted(rest) == {"train": 10, "test": 16, "unlabelled": 54}
    assert rest["split"].replace({"unlabelled": "unused"}).tolist() == plain["split"].tolist()
    assert rest.loc[rest["split"] == "unlabelled", "label"].isna().all()
    with pytest.raises(UserError, match="unlabelled only where there is no target domain"):
        split(two_domains(), source_domain="lab", target_domain="field", unlabelled_rest=True)


@pytest.mark.parametrize("seed", range(15))
def test_what_looks_like_a_test_or_validation_example_is_not_learned_from(seed: int) -> None:
    table = with_random_groups(examples({"a": 60, "b": 60}), seed, groups=60)
    table.loc[::6, "label"] = None
    result = split(table, images_per_class=25, unlabelled_rest=True, seed=seed)
    assert sides_of_groups(result).max() <= 1
    groups = {name: set(rows["group"]) for name, rows in result.groupby("split")}
    assert groups["val"] and not groups["unlabelled"] & (groups["val"] | groups["test"])
    assert not result.loc[::6, "split"].isin(["train", "val", "test"]).any()


@pytest.mark.parametrize(
    "wrong", [{"test_fraction": 1.0}, {"validation_fraction": -0.1}, {"images_per_class": -1}]
)
def test_impossible_numbers_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(UserError, match="outside|negative"):
        split(examples({"a": 4, "b": 4}), **wrong)


def test_fifty_thousand_rows_are_split_in_seconds() -> None:
    table = split(examples({"a": 25_000, "b": 25_000}))
    assert counted(table)["test"] == 10_000
