"""How good are signs made of spoken words: are they recognised, how far are they from real ones,
and what would unlabelled recordings of a speaker change?"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from regraft.data.sign_lexicon import FPS
from regraft.data.skeleton import hand_of
from regraft.evaluation import motion as measures

_MOST_COUPLES = 8  # per word
_STILL_FRAMES = 25


def signing_figures(
    made: Sequence[np.ndarray],
    said: np.ndarray,
    real: Sequence[np.ndarray],
    words: np.ndarray,
    *,
    learned: Sequence[np.ndarray],
    learned_words: np.ndarray,
) -> dict[str, float]:
    """Of generated signs (frames, SIGN_DIM) of what was `said` (n,), beside real held-out signs of
    `words` (m,): back_recognition by a classifier that has seen the `learned` real signs alone, its
    accuracy on real ones (ceiling) and on the mean pose (floor), and the errors of `motion_errors`.
    """
    another = other_performances(learned, learned_words, real, words)
    classes = np.unique(learned_words)
    judge = measures.SignClassifier(learned, np.searchsorted(classes, learned_words))
    still = np.repeat(np.concatenate(learned).mean(0)[None], _STILL_FRAMES, 0)
    right = judge.answer(made) == np.searchsorted(classes, said)
    ceiling = judge.accuracy(real, np.searchsorted(classes, words))
    couples = [
        (made[int(row)], real[int(place)])
        for word in classes
        for row, place in zip(
            _spread(np.flatnonzero(said == word)),
            np.resize(np.flatnonzero(words == word), _MOST_COUPLES),
            strict=False,
        )
    ]
    return {
        "back_recognition": float(right.mean()),
        "ceiling": ceiling,
        "share_of_ceiling": float(right.mean()) / ceiling if ceiling else float("nan"),
        "floor": judge.accuracy([still] * len(classes), np.arange(len(classes))),
        **motion_errors(couples, another, still),
    }


def other_performances(
    learned: Sequence[np.ndarray],
    learned_words: np.ndarray,
    real: Sequence[np.ndarray],
    words: np.ndarray,
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Every learned sign beside every real held-out sign of the same word."""
    return [
        (learned[int(i)], sign)
        for sign, word in zip(real, words, strict=True)
        for i in np.flatnonzero(learned_words == word)
    ]


def _spread(rows: np.ndarray) -> np.ndarray:
    return rows[:: max(len(rows) // _MOST_COUPLES, 1)]


def motion_errors(
    couples: Sequence[tuple[np.ndarray, np.ndarray]],
    another: Sequence[tuple[np.ndarray, np.ndarray]],
    still: np.ndarray,
) -> dict[str, float]:
    """Figures of generated beside real signs (frames, SIGN_DIM), on joints relative to the wrist;
    the wrist's path in the camera's picture says where a person stood. `another` are real signs
    beside other real ones of the same word: how far two performances are apart (dtw_mje_another).
    `still` is the mean pose."""
    made, real = [hand_of(one) for one, _ in couples], [hand_of(other) for _, other in couples]
    floor = hand_of(still)
    error = float(np.mean([measures.dtw_mje(a, b) for a, b in zip(made, real, strict=True)]))
    lowest = float(np.mean([measures.dtw_mje(floor, b) for b in real]))
    apart = [measures.dtw_mje(hand_of(one), hand_of(other)) for one, other in another]

    def ratio(order: int) -> float:
        parts = [[measures.derivative(x, FPS, order) for x in side] for side in (made, real)]
        return float(np.nanmean(parts[0]) / np.nanmean(parts[1]))

    return {
        "dtw_mje": error,
        "dtw_mje_still": lowest,
        "dtw_mje_ratio": error / lowest,
        "dtw_mje_another": float(np.mean(apart)),
        "pck": float(np.mean([measures.pck(a, b) for a, b in zip(made, real, strict=True)])),
        "pck_still": float(np.mean([measures.pck(floor, b) for b in real])),
        "velocity_ratio": ratio(1),
        "jerk_ratio": ratio(3),
        "bone_instability": float(np.mean([measures.bone_instability(x) for x in made])),
        "bone_instability_real": float(np.mean([measures.bone_instability(x) for x in real])),
    }


def speaker_figures(logits: np.ndarray, labels: np.ndarray, speakers: ArrayLike) -> dict[str, Any]:
    """Accuracy of logits (n, words) per speaker and over all, as they are and centred: each
    speaker's logits minus their mean, which needs recordings of the speaker about evenly spread
    over the words, and no labels (`transfer.test_time.centring` does it when predicting)."""
    names = np.asarray(speakers, dtype=str)
    centred = np.array(logits, dtype=np.float64)
    for name in np.unique(names):
        centred[names == name] -= centred[names == name].mean(0)
    right = {"plain": logits.argmax(1) == labels, "centred": centred.argmax(1) == labels}
    return {
        **{how: round(float(found.mean()), 4) for how, found in right.items()},
        "per_speaker": {
            name: {
                how: round(float(found[names == name].mean()), 4) for how, found in right.items()
            }
            for name in np.unique(names).tolist()
        },
    }
