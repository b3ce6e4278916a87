"""The motion decoder and its bridge: each is trained, and pre-training carries over."""

from __future__ import annotations

import re
from functools import cache
from typing import Any

import numpy as np
import pytest
import torch

from regraft.backbones.motion_autoencoder import PHASES, MotionAutoencoder, at_phases
from regraft.data.skeleton import SIGN_DIM
from regraft.errors import UserError
from regraft.training.motion_pretraining import pretrain_motion, varied
from regraft.training.sign_bridge import fit_bridge

WORDS = 3
BRIEF = {"kind": "full", "epochs": 30}


def signs(seed: int, per_word: int) -> tuple[list[np.ndarray], np.ndarray]:
    """Three motions along fixed lines, of any length."""
    rng = np.random.default_rng(seed)
    ends = np.random.default_rng(99).normal(size=(WORDS, 2, SIGN_DIM))
    words = np.tile(np.arange(WORDS), per_word)
    found = []
    for word in words:
        time = np.linspace(0, 1, int(rng.integers(15, 25)))[:, None]
        way = ends[word, 0] + time * (ends[word, 1] - ends[word, 0])
        found.append(way + 0.05 * rng.normal(size=way.shape))
    return found, words


@cache
def pretrained() -> MotionAutoencoder:
    return pretrain_motion(signs(0, 6)[0], steps=120, batch=12)


def error(autoencoder: MotionAutoencoder, memory: torch.Tensor, wanted: torch.Tensor) -> float:
    with torch.no_grad():
        return float((autoencoder.decode(memory) - wanted).abs().mean())


def test_pretraining_learns_to_give_back_what_it_saw() -> None:
    wanted = at_phases(signs(1, 2)[0])
    autoencoder = pretrained()
    with torch.no_grad():
        memory = autoencoder.encode(wanted)
        lengths = autoencoder.frames(memory)
    still = float((autoencoder.mean - wanted).abs().mean())
    assert error(autoencoder, memory, wanted) < 0.6 * still
    assert ((lengths > 12) & (lengths < 30)).all()


def test_a_pretrained_decoder_beats_one_from_scratch_with_the_same_steps() -> None:
    given, words = signs(2, 2)
    wanted = at_phases(signs(3, 1)[0])
    errors = []
    for first, known in ((pretrained(), True), (MotionAutoencoder(), False)):
        bridge = fit_bridge(first, given, words, pretrained=known, plan=BRIEF)
        errors.append(error(bridge.autoencoder, bridge.values.detach(), wanted))
    assert errors[0] < 0.8 * errors[1]


def test_the_best_word_decides_what_is_signed() -> None:
    given, words = signs(2, 2)
    bridge = fit_bridge(pretrained(), given, words, plan=BRIEF)
    scores = np.array([[0.2, 0.1, 0.0], [0.1, 0.12, 0.3]])
    with torch.no_grad():
        memory = bridge.memory(torch.from_numpy(scores).float())
    nearest = (memory[:, None] - bridge.values).flatten(2).norm(dim=2).argmin(1)
    assert nearest.tolist() == [0, 2]
    made = bridge.signs(scores)
    assert [sign.shape[1] for sign in made] == [SIGN_DIM] * 2
    assert all(5 < len(sign) < 60 for sign in made)


def test_training_leaves_the_given_autoencoder_alone() -> None:
    before = {name: value.clone() for name, value in pretrained().state_dict().items()}
    fit_bridge(pretrained(), *signs(2, 2), plan=BRIEF)
    for name, value in pretrained().state_dict().items():
        assert torch.equal(value, before[name])


def test_variation_turns_and_warps_but_keeps_bones_in_proportion() -> None:
    wanted = at_phases(signs(1, 2)[0])
    other = varied(wanted, np.random.default_rng(0))
    assert other.shape == (6, PHASES, SIGN_DIM)
    assert not torch.allclose(other, wanted, atol=0.05)
    lengths = [x[:, 0, :63].unflatten(1, (21, 3)).norm(dim=2) for x in (wanted, other)]
    ratios = lengths[1] / lengths[0]
    assert torch.allclose(ratios, ratios.mean(1, keepdim=True).expand_as(ratios), rtol=1e-3)


PLANS: list[tuple[dict[str, Any], set[str]]] = [
    ({"kind": "head_only"}, set()),
    ({"kind": "last_n", "blocks": 1, "epochs": 8}, {"write_norm", "leave", "length"}),
    (
        {"kind": "gradual_unfreezing", "depths": [1, 2], "epochs": [4, 4]},
        {"write_norm", "leave", "length", "writers.1"},
    ),
    (
        {"kind": "lora", "rank": 4, "alpha": 8, "epochs": 8},
        {"writers.0", "writers.1", "leave"},
    ),
    ({"kind": "full", "epochs": 8}, {"write_norm", "leave", "length", "writers.0", "writers.1"}),
]


@pytest.mark.parametrize(("plan", "moved"), PLANS, ids=[plan["kind"] for plan, _ in PLANS])
def test_a_plan_says_which_parts_of_the_decoder_move(plan: dict[str, Any], moved: set[str]) -> None:
    before = pretrained().state_dict()
    bridge = fit_bridge(pretrained(), *signs(2, 2), plan=plan)
    after = bridge.autoencoder.state_dict()
    assert set(after) == set(before), "adapters are merged"
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert {re.match(r"writers\.\d|\w+", name).group() for name in changed} == moved


def test_every_plan_comes_nearer_to_the_signs() -> None:
    given, words = signs(2, 2)
    wanted = at_phases(signs(3, 1)[0])
    found = {}
    for name, plan in {
        "frozen": {"kind": "head_only"},
        "values": {"kind": "linear_probe_fine_tune", "head_epochs": 30, "head_rate_factor": 1.0,
                   "epochs": 1},
        "lora": {"kind": "lora", "rank": 8, "alpha": 16, "epochs": 30},
        "full": BRIEF,
    }.items():  # fmt: skip
        bridge = fit_bridge(pretrained(), given, words, plan=plan)
        found[name] = error(bridge.autoencoder, bridge.values.detach(), wanted)
    assert max(found["values"], found["lora"], found["full"]) < found["frozen"]


def test_motions_have_no_image_size() -> None:
    with pytest.raises(UserError, match="no image size"):
        fit_bridge(pretrained(), *signs(2, 2), plan=BRIEF | {"image_sizes": [96, 160]})
