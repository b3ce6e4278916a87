"""Signs made of spoken words: are they recognised, and how far are they from real ones?"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from regraft.bench.cell import Cell
from regraft.bench.rows import row_of
from regraft.bench.speech.words import Words
from regraft.data.motion import open_motion
from regraft.data.skeleton import normalised_hand
from regraft.errors import UserError
from regraft.evaluation import motion as measures
from regraft.evaluation.signing import motion_errors, other_performances

PAIRS = (5, 20)
DECODERS = ("pre-trained", "from scratch")

_TEST_SIGNS = 4
_PRETRAINING_STEPS = 1000
PLANS: dict[str, dict[str, Any]] = {
    "100 steps": {"kind": "full", "epochs": 100},
    "400 steps": {"kind": "full", "epochs": 400},
}
"""Of bridging: little training, and as much as the pipeline's."""
FURTHER: dict[str, dict[str, Any]] = {
    "frozen": {"kind": "head_only"},
    "last block": {"kind": "last_n", "blocks": 1, "epochs": 400},
    "gradual unfreezing": {
        "kind": "gradual_unfreezing", "depths": [1, 2, 3], "epochs": [200, 100, 100]
    },
    "LoRA": {"kind": "lora", "rank": 8, "alpha": 16, "epochs": 400},
}  # fmt: skip
"""Other plans of a pre-trained decoder, as many steps at most."""


@dataclass(frozen=True)
class Signs:
    """Normalised signs (frames, SIGN_DIM), the label and the source of each (n,)."""

    signs: list[np.ndarray]
    labels: np.ndarray
    sources: np.ndarray

    def split(self, source: str, seed: int) -> tuple[np.ndarray, np.ndarray]:
        """Rows of one source to learn from, and four of each label to test on."""
        rng = np.random.default_rng(seed)
        own = np.flatnonzero(self.sources == source)
        train, test = [], []
        for label in np.unique(self.labels[own]):
            rows = rng.permutation(own[self.labels[own] == label])
            test.append(rows[:_TEST_SIGNS])
            train.append(rows[_TEST_SIGNS:])
        return np.concatenate(train), np.concatenate(test)


def read_signs(folder: Path) -> Signs:
    """The signs that `folder/index.jsonl` lists (file, label, source; files count from the folder
    or the one above). Motions that do not pass the checks are left out.

    Raises UserError where there is no list, or nothing in it passes.
    """
    index = folder / "index.jsonl"
    if not index.is_file():
        raise UserError("the signs of the bench are not here", where=str(folder))
    signs, labels, sources = [], [], []
    for line in index.read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        file = folder / row["file"]
        try:
            motion = open_motion(file if file.is_file() else folder.parent / row["file"])
            signs.append(normalised_hand(motion.joints))
        except (UserError, ValueError):
            continue
        labels.append(str(row["label"]))
        sources.append(str(row["source"]))
    if not signs:
        raise UserError("no motion passes the checks", where=str(index))
    return Signs(signs, np.array(labels), np.array(sources))


def sources_of_words(signs: Signs) -> list[str]:
    """The sources that sign the spoken words, "0" to "9"."""
    return np.unique(signs.sources[np.char.isdigit(signs.labels)]).tolist()


def sign_cells(sources: Sequence[str]) -> list[Cell]:
    """One cell per source of signs, number of pairs, plan of bridging and decoder."""
    kinds = [(name, decoder) for name in PLANS for decoder in DECODERS]
    kinds += [(name, DECODERS[0]) for name in FURTHER]
    return [
        Cell(
            f"signs {source} {pairs} / {decoder} decoder, {plan}",
            {},
            metric="back_recognition",
            options={
                "source": source,
                "pairs": pairs,
                "plan": plan,
                "pretrained": decoder == DECODERS[0],
            },
        )
        for source in sources
        for pairs in PAIRS
        for plan, decoder in kinds
    ]


class SignBench:
    """Measures cells; what they share (heads, pre-trained decoders) is computed once."""

    def __init__(self, words: Words, signs: Signs, *, pretraining_steps: int) -> None:
        self.words, self.signs = words, signs
        self.pretraining_steps = pretraining_steps
        self._pretrained = cache(self._pretrain)
        self._scores = cache(self._score)

    def row(self, cell: Cell, seeds: int) -> dict[str, Any]:
        """The row of a cell, over the seeds: back-recognition, and the other figures beside it."""
        measured = [self._measured(seed=seed, **cell.options) for seed in range(seeds)]
        further = [one["figures"] for one in measured]
        names = [name for name in further[0] if name != cell.metric]
        means = {name: round(float(np.mean([one[name] for one in further])), 4) for name in names}
        return row_of(cell, measured) | {"figures": means}

    def _measured(
        self, source: str, pairs: int, plan: str, pretrained: bool, seed: int
    ) -> dict[str, Any]:
        from regraft.backbones.motion_autoencoder import MotionAutoencoder
        from regraft.training.sign_bridge import fit_bridge

        train, test = self.signs.split(source, seed)
        classes = np.unique(self.signs.labels[train]).tolist()
        chosen = np.concatenate([train[self.signs.labels[train] == c][:pairs] for c in classes])
        first = self._pretrained(source, seed) if pretrained else MotionAutoencoder()
        start = time.process_time()
        bridge = fit_bridge(
            first,
            [self.signs.signs[i] for i in chosen],
            _numbers(self.signs.labels[chosen], classes),
            pretrained=pretrained,
            plan=(PLANS | FURTHER)[plan],
            seed=seed,
        )
        seconds = time.process_time() - start
        figures = self._figures(bridge, classes, train, test, pairs, seed)
        return {"figures": figures, "cpu": {"finetune": seconds}}

    def _figures(
        self,
        bridge: Any,
        classes: list[str],
        train: np.ndarray,
        test: np.ndarray,
        pairs: int,
        seed: int,
    ) -> dict[str, float]:
        signs, labels = self.signs.signs, self.signs.labels
        judge = measures.SignClassifier([signs[i] for i in train], _numbers(labels[train], classes))
        still = np.repeat(np.concatenate([signs[i] for i in train]).mean(0)[None], 25, 0)
        said, scores, speakers = self._scores(tuple(classes), pairs, seed)
        start = time.process_time()
        made = bridge.signs(scores)
        latency = (time.process_time() - start) / len(made)
        right = judge.answer(made) == said
        by_speaker = [right[speakers == speaker].mean() for speaker in np.unique(speakers)]
        couples = [
            (made[row], signs[i])
            for word, label in enumerate(classes)
            for row, i in zip(
                np.flatnonzero(said == word)[:: max((said == word).sum() // 8, 1)],
                np.resize(test[labels[test] == label], 8),
                strict=False,
            )
        ]
        another = other_performances(
            [signs[i] for i in train], labels[train], [signs[i] for i in test], labels[test]
        )
        ceiling = judge.accuracy([signs[i] for i in test], _numbers(labels[test], classes))
        return {
            "back_recognition": float(np.mean(by_speaker)),
            "groups": len(made),
            "ceiling": ceiling,
            "share_of_ceiling": float(np.mean(by_speaker)) / ceiling,
            "still_back_recognition": judge.accuracy(
                [still] * len(classes), np.arange(len(classes))
            ),
            **motion_errors(couples, another, still),
            "milliseconds_per_word": 1000 * latency,
        }

    def _pretrain(self, source: str, seed: int) -> Any:
        """A decoder that has seen every other source's motion, and none of this one's."""
        from regraft.training.motion_pretraining import pretrain_motion

        others = [
            s for s, own in zip(self.signs.signs, self.signs.sources, strict=True) if own != source
        ]
        return pretrain_motion(others, steps=self.pretraining_steps, seed=seed)

    def _score(
        self, classes: tuple[str, ...], shots: int, seed: int
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Words (n,), scores (n, words) and speakers (n,) of everyone, each left out in turn."""
        from regraft.bench.speech.words import METHODS

        said = self.words.recordings
        found: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
        numbers = [int(label) for label in classes]
        for speaker in np.unique(said.speakers).tolist():
            train = said.drawn(shots, without=speaker, seed=seed)
            test = np.flatnonzero((said.speakers == speaker) & np.isin(said.words, numbers))
            answers = METHODS["pooled, synthetic voices, speakers centred"](self.words, train, test)
            names = np.searchsorted(numbers, said.words[test])
            found.append((names, answers[:, numbers], said.speakers[test]))
        names, scores, speakers = zip(*found, strict=True)
        return np.concatenate(names), np.concatenate(scores), np.concatenate(speakers)


def sign_rows(
    cells: Sequence[Cell],
    words: Words,
    signs: Signs,
    seeds: int,
    *,
    pretraining_steps: int = _PRETRAINING_STEPS,
) -> list[dict[str, Any]]:
    """The rows of these cells, and those of `gains`."""
    bench = SignBench(words, signs, pretraining_steps=pretraining_steps)
    words.prepare()
    rows = [bench.row(cell, seeds) for cell in cells]
    return rows + gains(cells, rows)


def gains(cells: Sequence[Cell], rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """What pre-training adds to back-recognition: a row per number of pairs and plan. Its values
    are the differences of two rows that agree in all but the decoder, for every source and seed:
    the same pairs, test signs and recordings. The interval is over these."""
    values: dict[tuple[int, str, str], dict[bool, list[float]]] = {}
    for cell, row in zip(cells, rows, strict=True):
        pairs, plan, source = (cell.options[name] for name in ("pairs", "plan", "source"))
        values.setdefault((pairs, plan, source), {})[cell.options["pretrained"]] = row["values"]
    found: dict[tuple[int, str], list[float]] = {}
    for (pairs, plan, _), one in values.items():
        if len(one) == len(DECODERS):
            apart = np.subtract(one[True], one[False]).tolist()
            found.setdefault((pairs, plan), []).extend(apart)
    return [
        row_of(
            Cell(f"signs {pairs} / gain by pre-training, {plan}", {}, metric="gain"),
            [{"figures": {"gain": value}, "cpu": {}} for value in differences],
        )
        for (pairs, plan), differences in sorted(found.items())
    ]


def _numbers(labels: np.ndarray, classes: Sequence[str]) -> np.ndarray:
    return np.searchsorted(np.asarray(classes), labels)
