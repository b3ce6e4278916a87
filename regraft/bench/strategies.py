"""`regraft bench strategies`: what does each strategy buy, at its default strength?

A cell is `<section> / <strategy>`; sections are the functions below, one line per cell. To publish
a further strategy, add a line; to publish a further question, a function to `SECTIONS`.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

from regraft.bench.cell import Cell
from regraft.bench.inputs import Backbone, crops, shared_classes
from regraft.recipe.adaptation import AdaptationOptions

Fields = dict[str, Any]

_PLANS: dict[str, Fields] = {
    "head_only": {},
    "last_n": {},
    "gradual_unfreezing": {},
    "linear_probe_fine_tune": {},
    "surgical": {},
    "norm_bias": {},
    "lora": {},
    "full": {},
    "scratch": {
        "finetune.optimiser.learning_rate": 2e-3,
        "finetune.optimiser.head_learning_rate": 2e-3,
        "finetune.optimiser.block_decay": 1.0,
    },
}
_UNCACHED = {"linear_probe_fine_tune", "surgical", "norm_bias", "lora", "full", "scratch"}
_OPTIMISERS: dict[str, Fields] = {
    "adamw": {},
    "sgd": {
        "finetune.optimiser.learning_rate": 1e-2,
        "finetune.optimiser.head_learning_rate": 1e-2,
    },
    "lion": {
        "finetune.optimiser.learning_rate": 2e-5,
        "finetune.optimiser.head_learning_rate": 2e-5,
        "finetune.optimiser.weight_decay": 0.05,
    },
}
_REGULARISERS: dict[str, Fields] = {
    "none": {},
    "no weight decay": {"finetune.optimiser.weight_decay": 0.0},
    "dropout": {"finetune.dropout": 0.2},
    "stochastic depth": {"backbone.drop_path": 0.1},
    "label smoothing": {"finetune.label_smoothing": 0.1},
    "mixup": {"finetune.mixup_alpha": 0.2},
    "cutmix": {"finetune.cutmix_alpha": 1.0},
    "l2_sp": {"finetune.objectives": [{"kind": "l2_sp"}]},
    "ewc": {"finetune.objectives": [{"kind": "ewc"}]},
    "lwf": {"finetune.objectives": [{"kind": "lwf"}]},
    "class-balanced batches": {"finetune.sampling": {"kind": "class_balanced"}},
    "curriculum": {"finetune.sampling": {"kind": "curriculum"}},
    "ema": {"finetune.averaging": [{"kind": "ema"}]},
    "wise_ft": {"finetune.averaging": [{"kind": "wise_ft"}]},
    "soup": {"finetune.averaging": [{"kind": "soup"}]},
}
_ALIGNMENTS = ("dann", "cdan", "mcc", "coral", "mmd", "drcn", "entropy", "pseudo_label")
_ALIGNING: Fields = {
    "finetune.plan.kind": "last_n",
    "finetune.plan.blocks": 4,
    "finetune.plan.epochs": 20,
    "finetune.optimiser.learning_rate": 1e-3,
    "finetune.optimiser.head_learning_rate": 1e-3,
    "finetune.optimiser.block_decay": 1.0,
}
"""Domains are not aligned in the few careful steps of the default plan: more blocks, for longer,
and faster. Chosen on the generated leaves of the example."""
_FIELD_LABELS = (0, 5, 20)
_ADAPTATION, _TARGET = "finetune.adaptation.kind", "teacher.target.accuracy"
ADAPTATIONS = [
    kind for kind in get_args(AdaptationOptions.model_fields["kind"].annotation) if kind != "auto"
]
"""Those that the recipe knows by name; the first is none at all."""


def strategies(data: Path, backbones: list[Backbone]) -> list[Cell]:
    """The cells of every section; the second backbone is the student."""
    return [cell for section in SECTIONS for cell in section(data, backbones)]


def plans(data: Path, backbones: list[Backbone]) -> list[Cell]:
    """Which blocks move. Those that move the first blocks can cache nothing and are dear."""
    return [
        Cell(f"plan, lab {count} shots / {kind}",
             _lab(data, backbones, count) | {"finetune.plan.kind": kind} | fields,
             dear=kind == "scratch" or (count == 100 and kind in _UNCACHED))
        for count in (20, 100)
        for kind, fields in _PLANS.items()
    ]  # fmt: skip


def optimisers(data: Path, backbones: list[Backbone]) -> list[Cell]:
    """How weights move, with the default plan."""
    return [
        Cell(f"optimiser, lab 20 shots / {kind}",
             _lab(data, backbones, 20) | {"finetune.optimiser.kind": kind} | fields)
        for kind, fields in _OPTIMISERS.items()
    ]  # fmt: skip


def regularisers(data: Path, backbones: list[Backbone]) -> list[Cell]:
    """What keeps few examples from being learned by heart, with the default plan."""
    return [
        Cell(f"regularisation, lab 20 shots / {name}", _lab(data, backbones, 20) | fields)
        for name, fields in _REGULARISERS.items()
    ]


def adaptation(data: Path, backbones: list[Backbone]) -> list[Cell]:
    """Lab to field: what the unlabelled and the few labelled field photos buy. `chosen` is the
    recipe's default; terms of the loss move blocks from the head of source only, or from that."""
    cells = []
    for labels in _FIELD_LABELS:
        fields, name = _field(data, backbones, labels), f"lab to field, {labels} field labels"
        kinds = {kind.replace("_", " "): {_ADAPTATION: kind} for kind in ADAPTATIONS}
        cells += [
            Cell(f"{name} / {kind}", fields | changes, _TARGET)
            for kind, changes in {**kinds, "chosen": {}}.items()
        ]
        cells.append(Cell(f"{name} / oracle", fields, "oracle.target.accuracy", "methods.oracle",
                          {"kinds": ADAPTATIONS}))  # fmt: skip
    fields, name = _field(data, backbones, 0) | _ALIGNING, "lab to field, 0 field labels"
    cells += [
        Cell(f"{name}, blocks move / {kind}",
             fields | {"finetune.objectives": [{"kind": kind}], _ADAPTATION: "source_only"},
             _TARGET)
        for kind in _ALIGNMENTS
    ]  # fmt: skip
    together = fields | {"finetune.objectives": [{"kind": "entropy"}]}
    return [*cells, Cell(f"{name}, blocks move / chosen, then entropy", together, _TARGET)]


def forgetting(data: Path, backbones: list[Backbone]) -> list[Cell]:
    """What the lab loses when the field is learned: by training further on the field's labels
    alone, and by the recipe."""
    cells = []
    for labels in (5, 20):
        fields, name = _field(data, backbones, labels), f"lab after {labels} field labels"
        cells += [
            Cell(f"{name} / {words}", fields, f"{who}.source.accuracy", "methods.naive_adaptation")
            for words, who in (("before", "before"), ("naive", "naive"))
        ]
        cells.append(Cell(f"{name} / recipe", fields, "teacher.source.accuracy"))
    return cells


def sequence(data: Path, backbones: list[Backbone]) -> list[Cell]:
    """Crop after crop with one model: those of the lab, then those of the field alone."""
    fields = {
        "data.root": str(data),
        "data.source_domain": "lab",
        "sequence.bounds": False,
        "sequence.tasks": [{"name": crop, "domain": domain} for crop, domain in crops(data)],
        **backbones[0].overrides,
    }
    return [
        Cell(f"crop after crop / {method} / {figure.replace('_', ' ')}",
             fields | {"sequence.method": method}, f"sequence.{figure}", "methods.sequence")
        for method in ("joint", "replay", "lwf", "a_gem", "naive")
        for figure in ("average_accuracy", "forgetting")
    ]  # fmt: skip


def two_labels(data: Path, backbones: list[Backbone]) -> list[Cell]:
    """Crop and disease of the same photos, alone and together, with the default plan."""
    fields = _lab(data, backbones, 20)
    alone = [
        Cell(f"crop and disease, lab 20 shots / alone / {label}", fields,
             f"{label}.accuracy", "methods.two_labels", {"label": label})
        for label in ("crop", "disease")
    ]  # fmt: skip
    return alone + [
        Cell(f"crop and disease, lab 20 shots / {kind} / {label}",
             fields | {"finetune.gradients.kind": kind}, f"{label}.accuracy",
             "methods.two_labels", {"label": "disease", "beside": "crop"})
        for kind in ("sum", "pcgrad", "gradnorm", "uncertainty")
        for label in ("crop", "disease")
    ]  # fmt: skip


def trunk_cache(data: Path, backbones: list[Backbone]) -> list[Cell]:
    """Ten epochs of one stage, with and without the frozen-trunk cache: CPU seconds of the stage
    alone, the filling of the cache included."""
    return [
        Cell(f"ten epochs, lab 100 shots / {part}, {'cached' if cached else 'uncached'}",
             _lab(data, backbones, 100), method="methods.stage", counted=("stage",),
             options={"share": share, "epochs": 10, "cached": cached}, dear=not cached)
        for part, share in (("head", 0.0), ("last third", 1 / 3))
        for cached in (True, False)
    ]  # fmt: skip


def students(data: Path, backbones: list[Backbone]) -> list[Cell]:
    """A student of the teacher's architecture and one of another."""
    fields = _lab(data, backbones, 100)
    kinds: dict[str, Fields] = {"teacher's architecture": {}}
    if len(backbones) > 1:
        other = backbones[1]
        kinds[other.name] = {
            "distillation.student.name": other.name,
            "distillation.student.weights": str(other.weights or ""),
        }
    return [
        Cell(f"student, lab 100 shots / {kind} / {figure}",
             fields | {"distillation.enabled": True} | changes, metric, "methods.student",
             counted=("distillation",), dear=True)
        for kind, changes in kinds.items()
        for figure, metric in (
            ("accuracy", "student.test.accuracy"),
            ("retention", "student.retention"),
            ("speed-up", "student.speedup"),
            ("change by int8", "int8.accuracy_change"),
        )
    ]  # fmt: skip


SECTIONS: tuple[Callable[[Path, list[Backbone]], list[Cell]], ...] = (
    plans, optimisers, regularisers, adaptation, forgetting, sequence, two_labels, trunk_cache,
    students,
)  # fmt: skip


def _lab(data: Path, backbones: list[Backbone], count: int) -> Fields:
    return {
        "data.root": str(data / "lab"),
        "data.images_per_class": count,
        "finetune.probe_is_enough": 1.0,
        **backbones[0].overrides,
    }


def _field(data: Path, backbones: list[Backbone], labels: int) -> Fields:
    return {
        "data.root": str(data),
        "data.source_domain": "lab",
        "data.target_domain": "field",
        "data.classes": shared_classes(data),
        "data.target_labels_per_class": labels,
        **backbones[0].overrides,
    }
