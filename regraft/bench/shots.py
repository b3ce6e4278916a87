"""`regraft bench shots`: how good is a model with 1, 5, 10, 20, 100 photos per class?

A cell is `lab <shots> shots / <method> / <backbone>`. The labelled budget is the same for all: what
a method keeps for validation is missing from its training. `the rest unlabelled` reads further
photos of the pool without their labels; no peer does. `episodes, <shots> shots / <head>` are means
over episodes of five classes (see `evaluation.episodes`).
"""

from __future__ import annotations

from pathlib import Path

from regraft.bench.cell import Cell
from regraft.bench.inputs import Backbone

_POOLS = (1, 5, 20)
_EPISODES, _EPISODE_SHOTS = 50, [1, 5, 10, 20]
SHOTS = (1, 5, 10, 20, 100)
HEADS = ("nearest_class_mean", "ridge", "logistic", "cache_model", "auto")
_PEERS, _SCRATCH, _SECOND = (5, 20, 100), (20, 100), (5, 20, 100)
_SCRATCH_RATES = {
    "finetune.probe_is_enough": 1.0,
    "finetune.optimiser.learning_rate": 2e-3,
    "finetune.optimiser.head_learning_rate": 2e-3,
    "finetune.optimiser.block_decay": 1.0,
}


def shots(data: Path, backbones: list[Backbone]) -> list[Cell]:
    """Every method with the first backbone; heads and recipe with the others."""
    first, *others = backbones
    found = [cell for count in SHOTS for cell in _all(data, count, first)]
    found += [cell for other in others for count in _SECOND for cell in _ours(data, count, other)]
    return found + _in_episodes(data, first)


def _in_episodes(data: Path, backbone: Backbone) -> list[Cell]:
    """One measurement; every cell is a figure of it."""
    how = {"shots": _EPISODE_SHOTS, "episodes": _EPISODES}
    return [
        Cell(f"episodes, {count} shots / {head} / {backbone.name}", _fields(data, 5, backbone),
             f"episodes.{head}.{count}.accuracy", "methods.episodes", how)
        for count in _EPISODE_SHOTS for head in HEADS if head != "auto"
    ]  # fmt: skip


def _all(data: Path, count: int, backbone: Backbone) -> list[Cell]:
    fields = _fields(data, count, backbone)
    cells = [Cell(_name(count, "majority"), fields, "majority.test.accuracy", "baselines.majority")]
    cells += _ours(data, count, backbone)
    if count in _SCRATCH:
        scratch = fields | {"finetune.plan.kind": "scratch"} | _SCRATCH_RATES
        cells.append(Cell(_name(count, "from scratch", backbone), scratch, dear=True))
    if count in _PEERS:
        cells += [
            Cell(_name(count, words, backbone), fields, "peer.test.accuracy",
                 f"baselines.{method}", counted=("finetune",), dear=count >= 20)
            for words, method in (
                ("HuggingFace full fine-tuning", "hugging_face"), ("textbook", "textbook"),
            )
        ]  # fmt: skip
    return cells


def _ours(data: Path, count: int, backbone: Backbone) -> list[Cell]:
    fields = _fields(data, count, backbone)
    heads = [
        Cell(_name(count, head, backbone), fields, "head.test.accuracy", "methods.frozen_head",
             {"head": head})
        for head in HEADS
    ]  # fmt: skip
    rest = fields | {"data.unlabelled_rest": True}
    pools = [Cell(_name(count, "recipe, the rest unlabelled", backbone), rest)]
    return [
        *heads,
        Cell(_name(count, "recipe", backbone), fields),
        *(pools if count in _POOLS else []),
    ]


def _fields(data: Path, count: int, backbone: Backbone) -> dict[str, object]:
    return {"data.root": str(data / "lab"), "data.images_per_class": count, **backbone.overrides}


def _name(count: int, method: str, backbone: Backbone | None = None) -> str:
    return f"lab {count} shots / {method} / {backbone.name if backbone else 'none'}"
