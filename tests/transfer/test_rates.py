"""Learning rates, by number."""

from __future__ import annotations

import pytest

from regraft.transfer.rates import block_rates, warmup_cosine


def test_each_block_towards_the_input_learns_at_a_fraction_of_the_next() -> None:
    rates = block_rates([4, 5, 6, 7], 8, last_rate=1e-3, decay=0.5)
    assert rates == pytest.approx({7: 1e-3, 6: 5e-4, 5: 2.5e-4, 4: 1.25e-4})


def test_a_block_s_rate_depends_on_its_depth_not_on_what_else_is_trained() -> None:
    alone = block_rates([4], 8, last_rate=1e-3, decay=0.5)
    assert alone[4] == block_rates([4, 7], 8, last_rate=1e-3, decay=0.5)[4]


def test_no_decay_is_one_rate() -> None:
    assert set(block_rates([0, 1, 2], 3, last_rate=0.1, decay=1.0).values()) == {0.1}


def test_warm_up_rises_in_equal_steps_to_the_full_rate() -> None:
    found = [warmup_cosine(step, total=104, warmup=4) for step in range(5)]
    assert found == pytest.approx([0.25, 0.5, 0.75, 1.0, 1.0])


def test_the_cosine_is_half_way_down_in_the_middle_and_ends_near_zero() -> None:
    assert warmup_cosine(54, total=104, warmup=4) == pytest.approx(0.5)
    assert 0 < warmup_cosine(103, total=104, warmup=4) < 1e-3
    assert warmup_cosine(104, total=104, warmup=4) == pytest.approx(0)


def test_the_rate_never_rises_after_the_warm_up() -> None:
    found = [warmup_cosine(step, total=50, warmup=5) for step in range(5, 60)]
    assert found == sorted(found, reverse=True)
    assert min(found) >= 0


@pytest.mark.parametrize(("total", "warmup"), [(1, 0), (1, 1), (3, 3)])
def test_stages_of_few_steps_do_not_divide_by_zero(total: int, warmup: int) -> None:
    assert all(0 < warmup_cosine(step, total=total, warmup=warmup) <= 1 for step in range(total))
