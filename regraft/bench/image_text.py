"""`regraft bench image-text`: what is gained by seeing the image and reading the text?"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from regraft.bench.inputs import Backbone
from regraft.bench.pair_retrieval import retrieval_rows
from regraft.data.images import DEFAULT_MAX_PIXELS
from regraft.data.pair_quality import check_pairs
from regraft.data.pairs import read_pairs, usable
from regraft.evaluation.bootstrap import accuracy_interval
from regraft.evaluation.paired_bootstrap import paired_bootstrap
from regraft.evaluation.pairs import pair
from regraft.progress import note, track
from regraft.recipe.fusion import FUSIONS
from regraft.training.fusion import IMAGE, TEXT, PairModel, fit_pairs
from regraft.transfer.fusion import Embedded

_IMAGE_TAPS, _TEXT_TAPS = 3, 5
_FEWEST_IN_SLICE = 20
_YES_NO = ("yes", "no")
CHOSEN = "chosen on training pairs"


@dataclass(frozen=True)
class Answered:
    """Test pairs, and for each answerer what it said under each seed: class numbers (seeds, n)."""

    pairs: pd.DataFrame
    truth: NDArray[np.int64]
    answers: dict[str, NDArray[np.int64]]


def measure_image_text(
    table: Path, backbone: Backbone, *, out: Path, seeds: int
) -> list[dict[str, Any]]:
    """Rows {cell, metric, mean, low, high, cpu_seconds, seeds} on the test pairs of a table.

    Accuracies and their differences (`a - b`) have a 95 % interval by bootstrap over images, seeds
    pooled. A seed draws the folds on which strengths, fusions and the answerer are chosen; test
    pairs choose nothing. `cpu_seconds` are those of embedding everything once and one fit of all.
    The checks of the data are written to `out`/data_docs.
    """
    pairs = read_pairs(table, max_pixels=DEFAULT_MAX_PIXELS)
    for failed in (e for e in check_pairs(pairs, out / "data_docs") if not e["success"]):
        note(f"note: not so: {failed['meaning']} ({failed['unexpected']})")
    pairs = usable(pairs)
    started = time.process_time()
    embedded = embed_pairs(pairs, backbone)
    embedding = time.process_time() - started
    test = (pairs["split"] == "test").to_numpy()
    started = time.process_time()
    models = [
        _fitted(pairs[~test], embedded.rows(~test), seed)
        for seed in track(range(seeds), "fits", total=seeds)
    ]
    fitting = (time.process_time() - started) / seeds
    commonest = str(pairs.loc[~test, "label"].mode()[0])
    answered = _answered(models, pairs[test].reset_index(drop=True), embedded.rows(test), commonest)
    rows = [*_accuracies(answered), *retrieval_rows(pairs, embedded, out)]
    for row in rows:
        row |= {"cpu_seconds": round(embedding + fitting, 1), "seeds": seeds}
    names = [model.chosen for model in models]
    note(f"chosen on held-out training pairs: {', '.join(names)}")
    return rows


def embed_pairs(pairs: pd.DataFrame, backbone: Backbone) -> Embedded:
    """Embeddings of every pair by the vision backbone and the embedded text encoder, both frozen.
    Images are not mirrored: left and right may be what is asked."""
    from regraft.backbones.encoder import Encoder
    from regraft.backbones.loading import load_pretrained
    from regraft.backbones.pair_encoder import PairEncoder
    from regraft.backbones.transformer_loading import load_transformer
    from regraft.tasks.image_text_classification import embed_table
    from regraft.training.fusion_probe import embedded

    weights = str(backbone.weights or "")
    image = Encoder(*load_pretrained(backbone.name, weights=weights, taps=_IMAGE_TAPS)).eval()
    encoder = PairEncoder(image, load_transformer(taps=_TEXT_TAPS))
    encoder.reads_places = True
    return embedded(embed_table(encoder, pairs), encoder.parts, encoder.places)


def _fitted(train: pd.DataFrame, embedded: Embedded, seed: int) -> PairModel:
    return fit_pairs(
        embedded,
        train["label"].tolist(),
        train["group"].tolist(),
        fusions=[options.model_dump() for options in FUSIONS],
        seed=seed,
    )


def _answered(
    models: Sequence[PairModel], test: pd.DataFrame, embedded: Embedded, commonest: str
) -> Answered:
    """What each answerer says. Labels that no training pair has get numbers that nobody answers."""
    classes = models[0].classes
    known = [*classes, *sorted(set(test["label"]) - set(classes))]
    truth = np.array([known.index(label) for label in test["label"]])

    def said(by: str, *, missing: str = "") -> NDArray[np.int64]:
        answers = [model.probabilities(embedded, by=by, missing=missing) for model in models]
        return np.stack([answer.argmax(1) for answer in answers])

    answers = {"majority": np.full((len(models), len(test)), known.index(commonest))}
    answers |= {f"{name} alone": said(name) for name in (IMAGE, TEXT)}
    answers |= {f"fusion {kind}": said(kind) for kind in models[0].fusions}
    answers[CHOSEN] = said("")
    for modality in (IMAGE, TEXT):
        answers[f"{CHOSEN}, {modality} missing"] = said("", missing=modality)
    return Answered(test, truth, answers)


def _accuracies(answered: Answered) -> Iterator[dict[str, Any]]:
    everything = np.ones(len(answered.truth), dtype=bool)
    yield from _slice("all", answered, everything)
    binary = answered.pairs["label"].isin(_YES_NO).to_numpy()
    if binary.any() and not binary.all():
        yield from _slice("yes/no", answered, binary)
    if "question_type" not in answered.pairs:
        return
    for kind, rows in answered.pairs.groupby("question_type").groups.items():
        if len(rows) >= _FEWEST_IN_SLICE:
            own = answered.pairs.index.isin(rows)
            for name in (f"{TEXT} alone", CHOSEN):
                yield _accuracy(f"type {kind} ({len(rows)})", name, answered, own)


def _slice(name: str, answered: Answered, own: NDArray[np.bool_]) -> Iterator[dict[str, Any]]:
    title = f"{name} ({int(own.sum())})"
    for who in answered.answers:
        yield _accuracy(title, who, answered, own)
    for other in (f"{TEXT} alone", f"{IMAGE} alone", "fusion concatenated", "fusion weighted"):
        yield _difference(title, CHOSEN, other, answered, own)


def _accuracy(title: str, who: str, answered: Answered, own: NDArray[np.bool_]) -> dict[str, Any]:
    right = (answered.answers[who] == answered.truth)[:, own]
    low, high = accuracy_interval(right.ravel(), _groups(answered, own, len(right)))
    mean = float(right.mean())
    return {
        "cell": f"{title}: {who}", "metric": "accuracy", "mean": mean, "low": low, "high": high
    }  # fmt: skip


def _difference(
    title: str, who: str, other: str, answered: Answered, own: NDArray[np.bool_]
) -> dict[str, Any]:
    one, two = answered.answers[who][:, own], answered.answers[other][:, own]
    truth = np.tile(answered.truth[own], len(one))
    groups = _groups(answered, own, len(one))
    found = paired_bootstrap(pair(truth, one.ravel(), two.ravel(), groups=groups))
    return {
        "cell": f"{title}: {who} - {other}",
        "metric": "difference",
        "mean": found["difference"],
        "low": found["low"],
        "high": found["high"],
    }


def _groups(answered: Answered, own: NDArray[np.bool_], seeds: int) -> NDArray[Any]:
    """An image is one group, under whatever seed it was asked about."""
    return np.tile(answered.pairs["group"].to_numpy(str)[own], seeds)
