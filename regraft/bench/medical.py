"""`regraft bench medical`: questions understood, answers found, by what is learned from few."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from regraft.bench import runner
from regraft.bench.cell import Cell, chosen
from regraft.bench.medical_pack import INTENT_OF_TYPE, rows_of

_METHODS = ("zero_shot", "bm25", "plain_fusion", "adapted")
_SETS = {
    "medquad": ("recall_at_1", "no_echo", "echo", "recall_at_5", "mrr", "ndcg"),
    "mistyped": ("recall_at_1", "recall_at_5"),
    "medication": ("recall_at_1", "recall_at_5", "mrr", "ndcg"),
    "liveqa": ("recall_at_1", "recall_at_5", "mrr", "ndcg"),
}
"""The questions, and the figures of each that become a cell."""
_FEW = {
    "data.source_domain": "medicationqa",
    "data.classes": [
        "action", "dose", "indication", "information", "interaction", "side effects", "usage",
    ],
    "data.images_per_class": 8,
    "data.test_fraction": 0.6,
    "data.validation_fraction": 0.0,
}  # fmt: skip
_TEMPLATES = {
    "data.source_domain": "medquad",
    "data.target_domain": "liveqa",
    "data.classes": sorted(INTENT_OF_TYPE.values()),
    "data.images_per_class": 40,
    "data.target_test_fraction": 0.9,
}


def measure_medical(
    folder: Path,
    *,
    patterns: Sequence[str],
    out: Path,
    code_version: str,
    seeds: int,
) -> list[dict[str, Any]]:
    """The rows of the cells whose name fits one of the patterns.

    Raises UserError when the questions are missing, or a pattern fits no cell.
    """
    rows_of(folder, "medquad")
    wanted = chosen(cells(folder, out / "embeddings"), patterns)
    version = runner.version_of(folder, [], code_version)
    return runner.run(wanted, out=out, seeds=seeds, dear_seeds=seeds, version=version)


def cells(folder: Path, cache: Path) -> list[Cell]:
    """Every cell; those of one method are measured together."""
    return [
        *understanding(folder),
        *retrieval(folder, cache),
        *students(folder, cache),
        *domain_readers(folder, cache),
    ]


def understanding(folder: Path) -> list[Cell]:
    """What consumers ask, learned from eight of their questions per type, or from templates."""
    fields = {
        "task": "question_answering",
        "data.root": str(folder),
        "backbone.name": "minilm",
        "features.views": 1,
        "features.taps": 0,
        "finetune.few_shot": {"kind": "contrast"},
        "finetune.augmentation": {"typos": 0.05, "word_dropout": 0.05, "topic_swaps": 0.8},
    }
    few = fields | _FEW
    templates = fields | _TEMPLATES
    frozen: dict[str, Any] = {"method": "methods.frozen_head", "options": {"head": "logistic"}}
    return [
        Cell("consumer types / accuracy / frozen + logistic regression", few,
             "head.test.accuracy", **frozen),
        Cell("consumer types / accuracy / SetFit", few, "peer.test.accuracy", "baselines.set_fit"),
        Cell("consumer types / accuracy / recipe", few),
        Cell("template intents / accuracy / frozen + logistic regression", templates,
             "head.source.accuracy", **frozen),
        Cell("template intents to LiveQA / accuracy / frozen + logistic regression", templates,
             "head.target.accuracy", **frozen),
    ]  # fmt: skip


def students(folder: Path, cache: Path) -> list[Cell]:
    """The search with half the encoder, beside the whole one."""
    how: dict[str, Any] = {
        "overrides": {"data.root": str(folder)},
        "method": "methods.student_retrieval",
        "options": {"folder": str(folder), "cache": str(cache.absolute())},
    }
    return [
        *(Cell(f"{asked} / {figure} / student", metric=f"{asked}.student.{figure}", **how)
          for asked, figures in _SETS.items() for figure in figures),
        *(Cell(f"{asked} / retention / student", metric=f"{asked}.retention", **how)
          for asked in _SETS),
        Cell("medquad / speed-up / student", metric="medquad.speedup", **how),
    ]  # fmt: skip


def domain_readers(folder: Path, cache: Path) -> list[Cell]:
    """The search of an encoder that has read the domain first."""
    how: dict[str, Any] = {
        "overrides": {"data.root": str(folder)},
        "method": "methods.masked_language",
        "options": {"folder": str(folder), "cache": str(cache.absolute())},
    }
    name, found = "{} / {} / masked-LM first, {}", []
    for asked in _SETS:
        for method in ("zero_shot", "adapted"):
            figures = ("recall_at_1", "no_echo", "echo") if asked == "medquad" else ("recall_at_1",)
            found += [
                Cell(name.format(asked, figure, method), metric=f"{asked}.{method}.{figure}", **how)
                for figure in figures
            ]
            found += [
                Cell(name.format(asked, f"gain over the same without, {end}", method),
                     metric=f"{asked}.{method}.gain.{end}", **how)
                for end in ("difference", "low", "high")
            ]  # fmt: skip
    return found + [
        Cell(f"general / {end} / masked-LM first", metric=f"reading.general.{end}", **how)
        for end in ("before", "after")
    ] + [
        Cell(f"hidden words / loss {end} / masked-LM first",
             metric=f"reading.loss_{end}", **how)
        for end in ("before", "after")
    ]  # fmt: skip


def retrieval(folder: Path, cache: Path) -> list[Cell]:
    """The right answer among thousands."""
    how: dict[str, Any] = {
        "overrides": {"data.root": str(folder)},
        "method": "methods.answer_retrieval",
        "options": {"folder": str(folder), "cache": str(cache.absolute())},
    }
    found = []
    for asked, figures in _SETS.items():
        found += [
            Cell(f"{asked} / {figure} / {method}", metric=f"{asked}.{method}.{figure}", **how)
            for figure in figures
            for method in _METHODS
        ]
        found += [
            Cell(f"{asked} / {name} / adapted", metric=f"{asked}.adapted.{name}", **how)
            for name in ("error", "error_at_80", "error_left_at_80")
        ]
        found += [
            Cell(f"{asked} / gain over {other}, {end} / adapted",
                 metric=f"{asked}.adapted.over_{other}.{end}", **how)
            for other in _METHODS[:-1]
            for end in ("difference", "low")
        ]  # fmt: skip
    return found + [
        Cell(f"general / {name}", metric=f"general.{name}", **how)
        for name in ("before", "after", "drop")
    ]
