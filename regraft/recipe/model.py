"""The recipe: one typed model of everything that a user may change."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from regraft.recipe.backbone import BackboneOptions, FeatureOptions
from regraft.recipe.base import Options
from regraft.recipe.data import DataOptions
from regraft.recipe.distillation import DistillationOptions
from regraft.recipe.finetune import FinetuneOptions
from regraft.recipe.gate import GateOptions
from regraft.recipe.monitoring import MonitoringOptions
from regraft.recipe.retraining import RetrainingOptions
from regraft.recipe.sequence import SequenceOptions
from regraft.recipe.serving import ServingOptions


class ShiftOptions(Options):
    """When two samples count as different."""

    alpha: float = Field(default=0.01, gt=0, lt=1)
    """Level of the permutation test."""
    min_auc: float = Field(default=0.7, gt=0.5, lt=1)
    """Smallest effect: how well a classifier tells the samples apart (0.5 is not at all)."""


class EvaluationOptions(Options):
    """What is measured beside the models themselves."""

    from_scratch: bool = False
    """Also train the same architecture from random weights, as a baseline (costly)."""
    from_scratch_epochs: int = Field(default=30, ge=1)
    """How long that baseline is trained."""
    worst_mistakes: int = Field(default=24, ge=0, le=200)
    """How many of the most confident mistakes the report shows."""
    latency_images: int = Field(default=32, ge=4)
    """Examples used to time the models."""


class Recipe(Options):
    """One use case."""

    name: str = Field(pattern=r"^[a-z][a-z0-9_]*$")
    """Name of the model in the registry: lower-case letters, digits and _."""
    task: Literal[
        "image_classification",
        "speech_to_sign",
        "question_answering",
        "image_text_classification",
    ] = "image_classification"
    """What is learned."""
    seed: int = Field(default=0, ge=0)
    """Decides splits, views, initial weights and the order of batches."""
    serve: Literal["student", "teacher"] = "student"
    """Which of the two models is registered and served."""
    data: DataOptions
    """Which examples, and how they are split."""
    backbone: BackboneOptions = BackboneOptions()
    """The pre-trained encoder."""
    features: FeatureOptions = FeatureOptions()
    """Frozen features and the ranking of backbones."""
    shift: ShiftOptions = ShiftOptions()
    """Shift detection."""
    finetune: FinetuneOptions = FinetuneOptions()
    """Progressive fine-tuning."""
    distillation: DistillationOptions = DistillationOptions()
    """The student."""
    evaluation: EvaluationOptions = EvaluationOptions()
    """Measurement and report."""
    gate: GateOptions = GateOptions()
    """The rule for the champion."""
    monitoring: MonitoringOptions = MonitoringOptions()
    """What counts as drift of live data."""
    retraining: RetrainingOptions = RetrainingOptions()
    """When drift leads to a retraining, and what it is trained on."""
    serving: ServingOptions = ServingOptions()
    """The HTTP server: limits, batching, what is logged, who answers in shadow."""
    sequence: SequenceOptions = SequenceOptions()
    """Tasks that are learned one after the other."""
