"""Signs of words: real ones are recognised, the mean pose is not; speakers are centred."""

from __future__ import annotations

import numpy as np
import pytest

from regraft.data.examples.number_signs import drawn_signer, number_sign
from regraft.data.skeleton import normalised_hand
from regraft.evaluation.sign_player import strip
from regraft.evaluation.signing import signing_figures, speaker_figures


@pytest.fixture(scope="module")
def signs() -> tuple[list[np.ndarray], np.ndarray]:
    """Four signs of each of ten numbers, one per signer."""
    rng = np.random.default_rng(0)
    signers = [drawn_signer(rng) for _ in range(4)]
    found = [normalised_hand(number_sign(str(n), s, rng)) for s in signers for n in range(10)]
    return found, np.tile(np.arange(10), 4)


def test_real_signs_pass_and_wrong_ones_fail(signs: tuple[list[np.ndarray], np.ndarray]) -> None:
    motions, words = signs
    learned = {"learned": motions[:30], "learned_words": words[:30]}
    real, numbers = motions[30:], words[30:]
    good = signing_figures(real, numbers, real, numbers, **learned)
    assert good["back_recognition"] == good["ceiling"] >= 0.9
    assert good["dtw_mje"] == 0 and good["floor"] <= 0.2 and good["dtw_mje_still"] > 0.1
    assert 0 < good["dtw_mje_another"] < good["dtw_mje_still"]
    shifted = signing_figures(real, (numbers + 1) % 10, real, numbers, **learned)
    assert shifted["back_recognition"] <= 0.2
    assert shifted["dtw_mje_ratio"] > 0.7


def test_a_speaker_who_is_off_by_a_constant_is_mended_by_centring() -> None:
    rng = np.random.default_rng(0)
    labels = np.tile(np.arange(4), 25)
    logits = np.eye(4)[labels] + 0.1 * rng.normal(size=(100, 4))
    speakers = np.repeat(["ann", "bob"], 50)
    logits[speakers == "bob"] += [0, 0, 0, 5]
    found = speaker_figures(logits, labels, speakers)
    assert found["per_speaker"]["ann"]["plain"] > 0.95
    assert found["per_speaker"]["bob"]["plain"] < 0.4
    assert found["per_speaker"]["bob"]["centred"] > 0.9


def test_a_strip_is_a_picture_that_needs_no_file(
    signs: tuple[list[np.ndarray], np.ndarray],
) -> None:
    first, second = strip(signs[0][0]), strip(signs[0][1])
    assert first.startswith("data:image/png;base64,") and first != second
