"""Below which confidence a fusion abstains, from its answers to held-out pairs."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from regraft.evaluation.calibration import fit_temperature
from regraft.steps.probes import abstention_threshold


def _probe(right: list[int], sure: list[float]) -> SimpleNamespace:
    """Held-out answers to two classes: which were right, and how far their logits are apart."""
    logits = np.stack([np.array(sure), np.zeros(len(sure))], 1)
    return SimpleNamespace(held_out_logits=logits, held_out_labels=1 - np.array(right, dtype=int))


def _confidence(probe: SimpleNamespace, place: int) -> float:
    scale = fit_temperature(probe.held_out_logits, probe.held_out_labels)
    return float(1 / (1 + np.exp(-probe.held_out_logits[place, 0] / scale)))


def test_the_last_answer_down_to_which_enough_are_right_is_the_limit() -> None:
    probe = _probe([1, 1, 0, 1, 0, 0, 0, 0], [4, 3.5, 3, 2.5, 2, 1.5, 1, 0.5])
    assert abstention_threshold(probe, 0.75) == pytest.approx(_confidence(probe, 3))
    assert abstention_threshold(probe, 0.5) == pytest.approx(_confidence(probe, 5))


def test_nothing_abstains_where_all_answers_together_are_right_often_enough() -> None:
    probe = _probe([1, 1, 1, 1, 1, 0, 1, 1], [4, 3.5, 3, 2.5, 2, 1.5, 1, 0.5])
    assert abstention_threshold(probe, 0.5) == 0
    assert abstention_threshold(probe, 0.0) == 0


def test_everything_abstains_where_the_surest_are_wrong_or_nothing_was_held_out() -> None:
    assert abstention_threshold(_probe([0, 0, 1, 0], [4, 3, 2, 1]), 0.9) == 1
    assert abstention_threshold(_probe([], []), 0.5) == 1
