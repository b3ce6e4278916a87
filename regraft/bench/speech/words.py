"""Word accuracy on speakers who were never heard: leave one speaker out."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from regraft.backbones.heads import logistic_probe
from regraft.bench.cell import Cell
from regraft.bench.rows import row_of
from regraft.bench.speech.recordings import Recordings, kept_features, kept_vectors, synthesised
from regraft.training.spoken_words import WordExamples, fit_word_head

Answers = Callable[["Words", np.ndarray, np.ndarray], np.ndarray]
SHOTS = (5, 50)
_SCRATCH_EPOCHS = 30


@dataclass(frozen=True)
class Words:
    """What the rows are measured on: recordings, the encoder, and a folder for features."""

    recordings: Recordings
    encoder: Any
    out: Path

    @cached_property
    def _kept(self) -> tuple[np.ndarray, float]:
        return kept_features(self.out / "words.npz", self.encoder, self.recordings.samples)

    @property
    def features(self) -> np.ndarray:
        """Embeddings (n, dim) of the recordings."""
        return self._kept[0]

    @property
    def seconds(self) -> float:
        """CPU seconds per embedding."""
        return self._kept[1]

    @cached_property
    def synthetic(self) -> WordExamples:
        """Words of synthetic voices."""
        samples, words, voices = synthesised(seed=0)
        features, _ = kept_features(self.out / "synthesised.npz", self.encoder, samples)
        return WordExamples(features, words, voices)

    def prepare(self) -> None:
        """Compute what is shared: features of recordings and of synthetic voices."""
        assert len(self.features) and len(self.synthetic.words) and len(self.last_vectors)

    @cached_property
    def last_vectors(self) -> np.ndarray:
        """The encoder's last map of the middle second, (n, channels * vectors)."""
        return kept_vectors(self.out / "last_vectors.npz", self.encoder, self.recordings.samples)

    def examples(self, rows: np.ndarray) -> WordExamples:
        """Features, words and speakers of these recordings."""
        return WordExamples(
            self.features[rows], self.recordings.words[rows], self.recordings.speakers[rows]
        )


def frozen_logistic(words: Words, train: np.ndarray, test: np.ndarray) -> np.ndarray:
    """What a user does today: the encoder's last vectors of one second, logistic regression."""
    x = words.last_vectors
    mean, deviation = x[train].mean(0), x[train].std(0) + 1e-6
    scaled = (x - mean) / deviation
    head = logistic_probe(scaled[train], words.recordings.words[train], strength=1.0, folds=1)
    return head.logits(scaled[test])


def pooled(words: Words, train: np.ndarray, test: np.ndarray) -> np.ndarray:
    """Statistics of the last four layers, ridge regression."""
    return fit_word_head(words.examples(train)).answer(words.features[test])


def with_voices(words: Words, train: np.ndarray, test: np.ndarray) -> np.ndarray:
    """The same, and the words in synthetic voices."""
    head = fit_word_head(words.examples(train), words.synthetic)
    return head.answer(words.features[test])


def centred_pooled(words: Words, train: np.ndarray, test: np.ndarray) -> np.ndarray:
    """Pooled statistics, every speaker centred without labels."""
    head = fit_word_head(words.examples(train), centre=True)
    return head.answer(words.features[test], words.recordings.speakers[test])


def centred_with_voices(words: Words, train: np.ndarray, test: np.ndarray) -> np.ndarray:
    """All of it."""
    head = fit_word_head(words.examples(train), words.synthetic, centre=True)
    return head.answer(words.features[test], words.recordings.speakers[test])


def from_scratch(words: Words, train: np.ndarray, test: np.ndarray) -> np.ndarray:
    """The same architecture, trained on these recordings and their views from random weights."""
    import tempfile
    from types import SimpleNamespace

    import pandas as pd

    from regraft.steps.scratch import from_scratch as trained
    from regraft.tasks import speech_to_sign

    said = words.recordings
    frame = pd.DataFrame(
        {
            "path": [str(path) for path in said.paths],
            "label": said.words.astype(str),
            "group": said.speakers,
            "split": "",
        }
    )
    teacher = SimpleNamespace(encoder=words.encoder, classes=np.unique(frame["label"]).tolist())
    with tempfile.TemporaryDirectory() as folder:
        return trained(
            speech_to_sign,
            teacher,
            frame.iloc[train].assign(split="train").reset_index(drop=True),
            frame.iloc[test],
            epochs=_SCRATCH_EPOCHS,
            seed=0,
            work_dir=Path(folder),
        )


METHODS: dict[str, Answers] = {
    "frozen last layer, logistic": frozen_logistic,
    "pooled statistics, ridge": pooled,
    "pooled, synthetic voices": with_voices,
    "pooled, speakers centred": centred_pooled,
    "pooled, synthetic voices, speakers centred": centred_with_voices,
}
DEAR: dict[str, Answers] = {"from scratch": from_scratch}
"""Methods that train a network: measured with one seed, for the fewest recordings."""


def word_cells() -> list[Cell]:
    """One cell per number of recordings and method."""
    pairs = [(shots, name) for shots in SHOTS for name in METHODS]
    pairs += [(SHOTS[0], name) for name in DEAR]
    return [
        Cell(
            f"words {shots} / {name}",
            {},
            metric="accuracy",
            options={"shots": shots, "of": name},
            dear=name in DEAR,
        )
        for shots, name in pairs
    ]


def word_row(cell: Cell, words: Words, seeds: int) -> dict[str, Any]:
    """The row of a cell: the mean over all speakers left out, per seed."""
    seeds = 1 if cell.dear else seeds
    measured = [_measured(cell, words, seed) for seed in range(seeds)]
    row = row_of(cell, measured)
    by_speaker = [one["figures"]["speakers"] for one in measured]
    return row | {
        "speakers": {
            name: round(float(np.mean([one[name] for one in by_speaker])), 4)
            for name in by_speaker[0]
        }
    }


def _measured(cell: Cell, words: Words, seed: int) -> dict[str, Any]:
    said = words.recordings
    shots, answers = cell.options["shots"], {**METHODS, **DEAR}[cell.options["of"]]
    words.prepare()  # features that cells share count per recording, below
    right, seconds = {}, []
    for speaker in np.unique(said.speakers).tolist():
        train = said.drawn(shots, without=speaker, seed=seed)
        test = np.flatnonzero(said.speakers == speaker)
        start = time.process_time()
        found = answers(words, train, test)
        seconds.append(time.process_time() - start + len(train) * words.seconds)
        right[speaker] = float((found.argmax(1) == said.words[test]).mean())
    figures = {"accuracy": float(np.mean(list(right.values()))), "groups": len(said.words)}
    return {"figures": figures | {"speakers": right}, "cpu": {"finetune": float(np.mean(seconds))}}


def word_rows(cells: Sequence[Cell], words: Words, seeds: int) -> list[dict[str, Any]]:
    """The rows of these cells."""
    from regraft.progress import track

    return [
        word_row(cell, words, seeds)
        for cell in track(list(cells), "words of new speakers", total=len(cells))
    ]
