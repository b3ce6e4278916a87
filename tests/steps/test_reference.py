"""Which examples the reference holds: everything held out, and enough of every domain."""

from __future__ import annotations

import pandas as pd

from regraft.steps.reference import chosen_rows


def manifest(**counts: int) -> pd.DataFrame:
    """`field_val=3`: three validation rows of the domain field."""
    rows = [name.split("_") for name, count in counts.items() for _ in range(count)]
    table = pd.DataFrame(rows, columns=["domain", "split"])
    return table.assign(id=[f"{number:05d}" for number in range(len(table))])


def found(table: pd.DataFrame, seed: int = 0) -> dict[tuple[str, str], int]:
    return chosen_rows(table, seed=seed).value_counts(["domain", "split"]).to_dict()


def test_held_out_rows_are_all_there_and_unused_ones_never() -> None:
    table = manifest(lab_test=900, lab_val=50, lab_train=500, lab_unused=400)
    assert found(table) == {("lab", "test"): 900, ("lab", "val"): 50}


def test_a_domain_with_few_of_them_is_filled_up() -> None:
    table = manifest(lab_test=400, lab_train=400, field_unlabelled=2000, sky_val=20, sky_train=30)
    assert found(table) == {
        ("lab", "test"): 400, ("field", "unlabelled"): 300, ("sky", "val"): 20,
        ("sky", "train"): 30,
    }  # fmt: skip


def test_the_draw_depends_on_the_seed_alone_and_order_is_kept() -> None:
    table = manifest(lab_test=40, lab_train=4000)
    one, two, other = (chosen_rows(table, seed=seed)["id"].tolist() for seed in (0, 0, 1))
    assert one == two != other
    assert one == sorted(one)
    assert len(set(one)) == 300
