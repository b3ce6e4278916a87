"""The report's pictures: each function takes plain numbers and returns markup for HTML."""

from regraft.evaluation.charts.confidence import gate_interval, reliability, risk_coverage
from regraft.evaluation.charts.results import accuracy_by_slice, comparison, confusion_matrix
from regraft.evaluation.charts.runs import (
    backbone_ranking,
    class_counts,
    learning_curves,
    search_rungs,
    shift_overlay,
    teacher_student,
)

__all__ = [
    "accuracy_by_slice",
    "backbone_ranking",
    "class_counts",
    "comparison",
    "confusion_matrix",
    "gate_interval",
    "learning_curves",
    "reliability",
    "risk_coverage",
    "search_rungs",
    "shift_overlay",
    "teacher_student",
]
