"""Where recordings of words are paired with motions: the model learns to sign what it hears.

A motion decoder is pre-trained without words, on the motions of training examples and on those of
all other sources that the data hold, then bridged to the words. Of each word every fourth motion is
kept for the test, whoever said the word.
"""

from __future__ import annotations

import hashlib
import time
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from regraft.data.sign_lexicon import read_sign
from regraft.errors import UserError
from regraft.progress import note

if TYPE_CHECKING:
    from regraft.backbones.motion_autoencoder import MotionAutoencoder
    from regraft.transfer.step import Partners

SECTION, SHOWN = "signing", ("pictures",)

_PRETRAINING_STEPS = 1000
_HELD_OUT = 4  # every fourth
_FEWEST_PAIRS = 2


def wanted(rows: pd.DataFrame) -> bool:
    """Whether the examples of a manifest are recordings that are paired with motions."""
    return "motion" in rows and bool((rows["motion"].fillna("") != "").any())


def motions_of(rows: pd.DataFrame) -> pd.DataFrame:
    """The different motions (label, motion, signer, held_out) of a manifest's words. Every fourth
    of a word is held out, by an order that does not change when others arrive; of a word with
    fewer than four none."""
    paired = rows[(rows["motion"].fillna("") != "") & rows["label"].notna()]
    found = paired[["label", "motion", "signer"]].drop_duplicates(["label", "motion"])
    order = [hashlib.sha256(Path(path).name.encode()).hexdigest() for path in found["motion"]]
    found = found.assign(order=order).sort_values(["label", "order"])
    place = found.groupby("label").cumcount()
    return found.assign(held_out=place % _HELD_OUT == _HELD_OUT - 1).drop(columns="order")


def write(
    rows: pd.DataFrame, features: Path, folder: Path, *, options: dict[str, Any], seed: int
) -> None:
    """Write the signer into a model folder: of the motions that training examples are paired with
    and that are not held out, after those of other sources (`data.recordings.unlabelled_motions`).
    `features` is not needed. Fewer than two words with a sign are none.
    """
    import json

    from regraft.tasks.signer import Signer
    from regraft.training.sign_bridge import fit_bridge

    words = json.loads((folder / "model.json").read_text(encoding="utf-8"))["classes"]
    pairs = _learned(rows, words)
    signed = [word for word in words if (pairs["label"] == word).sum()]
    if len(signed) < _FEWEST_PAIRS:
        note(f"{len(signed)} words have a motion to learn from: no signer is made")
        return
    signs = [read_sign(Path(path)) for path in pairs["motion"]]
    others = _of_other_sources(rows)
    note(f"the motion decoder learns from {len(signs)} signs and {len(others)} of other sources")
    numbers = np.array([signed.index(label) for label in pairs["label"]])
    plan = options["signing"]["plan"]
    decoder = _pretrained((*pairs["motion"], *others), _PRETRAINING_STEPS, seed)
    bridge = fit_bridge(decoder, signs, numbers, plan=plan, seed=seed)
    Signer(
        _of_all_words(bridge, words, signed),
        words,
        frozenset(set(words) - set(signed)),
        {"own": len(signs), "of_other_sources": len(others)},
    ).save(folder)


def partners(rows: pd.DataFrame, classes: list[str], *, seed: int) -> Partners:
    """The motions that training examples are paired with and that are not held out, as memories of
    the pre-trained decoder, each of its word.

    Raises UserError where there are none.
    """
    import torch

    from regraft.backbones.motion_autoencoder import at_phases
    from regraft.transfer.step import Partners

    pairs = _learned(rows, classes)
    if pairs.empty:
        raise UserError(
            "no training example has a motion to learn from",
            where="finetune.objectives",
            fix="leave out the terms that read motions",
        )
    signs = [read_sign(Path(path)) for path in pairs["motion"]]
    motions = (*pairs["motion"], *_of_other_sources(rows))
    decoder = _pretrained(motions, _PRETRAINING_STEPS, seed)
    with torch.no_grad():
        found = decoder.encode(at_phases(signs))
    numbers = np.array([classes.index(label) for label in pairs["label"]])
    return Partners(found.flatten(1).numpy(), numbers)


def _learned(rows: pd.DataFrame, words: list[str]) -> pd.DataFrame:
    """Those of `motions_of` that these words are learned from."""
    motions = motions_of(rows)
    of_training = set(rows.loc[rows["split"] == "train", "motion"])
    pairs = motions[motions["motion"].isin(of_training) & ~motions["held_out"]]
    return pairs[pairs["label"].isin(words)]


def _of_other_sources(rows: pd.DataFrame) -> list[str]:
    from regraft.data.recordings import unlabelled_motions

    return [str(path) for path in unlabelled_motions(rows)]


@lru_cache(maxsize=1)
def _pretrained(motions: tuple[str, ...], steps: int, seed: int) -> MotionAutoencoder:
    """The decoder after these files; kept, because objectives and bridge both begin with it."""
    from regraft.training.motion_pretraining import pretrain_motion

    return pretrain_motion([read_sign(Path(path)) for path in motions], steps=steps, seed=seed)


def _of_all_words(bridge: Any, words: list[str], signed: list[str]) -> Any:
    """The bridge with a place for every word; those without a sign remember the mean of all."""
    import torch

    from regraft.tasks.sign_bridge import SignBridge

    known = {word: bridge.values.data[place] for place, word in enumerate(signed)}
    mean = bridge.values.data.mean(0)
    values = torch.stack([known.get(word, mean) for word in words])
    return SignBridge(bridge.autoencoder, values)


def measure(predictor: Any, test: pd.DataFrame, logits: np.ndarray, *, seed: int) -> dict[str, Any]:
    """Of a model's signer, on the words that it heard in test recordings: "signing" with the
    figures of `evaluation.signing`, "speakers" with what unlabelled recordings of each speaker
    would change, and "pictures" of generated signs beside real ones; {} without a signer."""
    from regraft.evaluation.sign_player import strip
    from regraft.evaluation.signing import signing_figures, speaker_figures

    signer = predictor.signer
    if signer is None:
        return {}
    words = predictor.classes
    known = test["label"].isin(words).to_numpy()
    test, logits = test[known], logits[known]
    motions = motions_of(test)
    motions = motions[motions["label"].isin(set(words) - signer.unsigned)]
    learned, held = motions[~motions["held_out"]], motions[motions["held_out"]]
    labels = np.array([words.index(label) for label in test["label"]])
    figures: dict[str, Any] = {"speakers": speaker_figures(logits, labels, test["speaker"])}
    if held.empty or set(learned["label"]) != set(held["label"]):
        note("too few motions are held out to judge the signs by")
        return figures
    real = [read_sign(Path(path)) for path in held["motion"]]
    numbers = np.array([words.index(label) for label in held["label"]])
    start = time.process_time()
    made = signer.signs(logits)
    each = 1000 * (time.process_time() - start) / len(made)
    signed = np.flatnonzero([sign is not None for sign in made])
    figures["signing"] = signing_figures(
        [made[i] for i in signed],
        labels[signed],
        real,
        numbers,
        learned=[read_sign(Path(path)) for path in learned["motion"]],
        learned_words=np.array([words.index(label) for label in learned["label"]]),
    ) | {"milliseconds_per_word": round(each, 2), "held_out_signs": len(real)}
    figures["signing"]["pretraining_motions"] = signer.pretraining_motions
    figures["pictures"] = [
        {
            "word": words[number],
            "made": strip(signer.bridge.signs(_sure(number, len(words)))[0]),
            "real": strip(real[int(np.flatnonzero(numbers == number)[0])]),
        }
        for number in sorted(set(numbers.tolist()))
    ]
    return figures


def _sure(number: int, words: int) -> np.ndarray:
    """Scores (1, words) of a word that was heard well."""
    return np.eye(words)[[number]]
