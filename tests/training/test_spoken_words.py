"""Words of unseen speakers: each of the three means must carry something."""

from __future__ import annotations

import numpy as np
import pytest

from regraft.errors import UserError
from regraft.training.spoken_words import WordExamples, centred, fit_word_head

DIM, WORDS = 30, 6


def spoken(speakers: int, per_word: int, *, offset: float, seed: int) -> WordExamples:
    """Every speaker moves all words along three directions, the same for all speakers."""
    rng = np.random.default_rng(seed)
    shapes, directions = np.random.default_rng(99).normal(size=(2, WORDS, DIM))
    words = np.tile(np.repeat(np.arange(WORDS), per_word), speakers)
    who = np.repeat(np.arange(speakers), WORDS * per_word)
    offsets = offset * rng.normal(size=(speakers, 3)) @ directions[:3]
    features = shapes[words] + offsets[who] + 0.6 * rng.normal(size=(len(words), DIM))
    return WordExamples(features, words, np.array([f"{seed}-{s}" for s in who]))


def accuracy(found: np.ndarray, examples: WordExamples) -> float:
    return float((found.argmax(1) == examples.words).mean())


def test_centring_removes_what_a_speaker_adds() -> None:
    train, test = (spoken(3, 4, offset=2.0, seed=seed) for seed in (1, 2))
    plain = fit_word_head(train).answer(test.features)
    head = fit_word_head(train, centre=True)
    assert accuracy(head.answer(test.features, test.speakers), test) > 0.95
    assert accuracy(plain, test) < 0.85


def test_further_voices_teach_what_speakers_may_do() -> None:
    train, test = spoken(2, 2, offset=4.0, seed=1), spoken(6, 5, offset=4.0, seed=2)
    voices = spoken(30, 1, offset=4.0, seed=3)
    alone = accuracy(fit_word_head(train).answer(test.features), test)
    assert accuracy(fit_word_head(train, voices).answer(test.features), test) > alone + 0.1


def test_the_strength_is_chosen_on_speakers_left_out() -> None:
    """With noise everywhere, the strong penalty must win although the weak one fits better."""
    train = spoken(3, 3, offset=2.0, seed=1)
    chosen = fit_word_head(train, strengths=[1e-3, 1e6]).head.strength
    assert chosen == 1e-3
    assert fit_word_head(spoken(1, 3, offset=0, seed=1), strengths=[0.1, 1, 10]).head.strength == 1


def test_centred_features_have_no_mean_per_speaker() -> None:
    examples = spoken(3, 2, offset=5.0, seed=0)
    found = centred(examples.features, examples.speakers)
    for speaker in np.unique(examples.speakers):
        np.testing.assert_allclose(found[examples.speakers == speaker].mean(0), 0, atol=1e-12)


def test_features_of_two_encoders_do_not_mix() -> None:
    train = spoken(2, 2, offset=0, seed=0)
    other = WordExamples(train.features[:, :7], train.words, train.speakers)
    with pytest.raises(UserError, match="different encoders"):
        fit_word_head(train, other)
