"""The range test mends a rate that is far too small, and leaves nothing else behind."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from regraft.training.loop import StageLoop
from regraft.training.progressive import Optimisation
from regraft.training.rate_search import search_rates
from regraft.transfer.stage import Stage
from tests.training.support import classifier
from tests.training.test_progressive import train

TIMID = Optimisation(learning_rate=1e-9, head_learning_rate=1e-8, batch_size=8)


def test_a_rate_far_too_small_is_raised_and_its_ratios_stay(tmp_path: Path) -> None:
    model = classifier()
    last = len(model.encoder.blocks) - 1
    stage = Stage("last", frozenset({last}), 3)
    history = train(model, [stage], tmp_path, how=replace(TIMID, range_test=True), validate=False)
    rates = history["stages"][0]["epochs"][0]["learning_rates"]
    assert 1e-5 < rates["head"] < 1
    block = model.encoder.blocks[last].name
    assert abs(rates["head"] / rates[block] - 10) < 1e-6
    losses = [epoch["train_loss"] for epoch in history["stages"][0]["epochs"]]
    timid = train(classifier(), [stage], tmp_path / "timid", how=TIMID, validate=False)
    assert losses[-1] < timid["stages"][0]["epochs"][-1]["train_loss"] - 0.02


def test_the_test_leaves_weights_and_optimiser_as_they_were(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With steps of size 0 afterwards, the trained weights are the first ones."""
    seen = []

    def then_stand_still(loop: StageLoop) -> None:
        search_rates(loop)
        seen.append(dict(loop.optimiser.state))
        for group in loop.optimiser.param_groups:
            group["peak_rate"] = 0.0

    monkeypatch.setattr("regraft.training.progressive.search_rates", then_stand_still)
    model = classifier()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    stage = Stage("all", frozenset(range(len(model.encoder.blocks))), 1)
    train(model, [stage], tmp_path, how=replace(TIMID, range_test=True), validate=False)
    assert seen == [{}]
    assert all(value.equal(before[name]) for name, value in model.state_dict().items())
