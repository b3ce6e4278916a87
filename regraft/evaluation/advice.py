"""From figures to things to do: the rules behind "What deserves attention"."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

FEW_TEST_EXAMPLES = 100
WEAK_CLASS_GAP = 0.10
HIGH_ECE = 0.05
HARMFUL_SCALING = 0.02
LEAST_RETENTION = 0.98
HIGH_QUARANTINE = 0.05
HIGH_IMBALANCE = 10.0
SURE = 0.95
MOST_ITEMS = 6

Item = dict[str, str]


def attention(content: Mapping[str, Any]) -> list[Item]:
    """Return at most 6 findings {what, do, section} of a report's content, the gravest first."""
    rules = (_slices, _weak_class, _shift, _probe, _retention, _calibration, _labels, _data, _size)
    return [item for rule in rules for item in rule(content)][:MOST_ITEMS]


def _slices(content: Mapping[str, Any]) -> Iterator[Item]:
    table = content.get("slices")
    if not table:
        return
    below = [
        row
        for row in table["rows"]
        if row["slice"] != "class" and not row["small"] and row["high"] < table["overall"]
    ]
    for row in sorted(below, key=lambda row: row["accuracy"])[:2]:
        yield {
            "what": f"{row['slice']} “{row['value']}” reaches {row['accuracy']:.1%} "
            f"(n = {row['count']}) against {table['overall']:.1%} overall.",
            "do": "Add labelled examples of this kind to the training data, then run again.",
            "section": "slices",
        }


def _weak_class(content: Mapping[str, Any]) -> Iterator[Item]:
    confusion = content.get("confusion")
    if not confusion:
        return
    known = [row for row in confusion["per_class"] if row["count"] >= 5]
    weakest = min(known, key=lambda row: row["recall"], default=None)
    if weakest is None or weakest["recall"] >= confusion["accuracy"] - WEAK_CLASS_GAP:
        return
    name = weakest["class"]
    rival = next((pair for pair in confusion["pairs"] if pair["true"] == name), None)
    taken = f", most often taken for “{rival['predicted']}” ({rival['count']})" if rival else ""
    yield {
        "what": f"Only {weakest['recall']:.0%} of “{name}” (n = {weakest['count']}) "
        f"are recognised{taken}.",
        "do": "Check the labels of these classes first, then add labelled examples of both.",
        "section": "confusion",
    }


def _shift(content: Mapping[str, Any]) -> Iterator[Item]:
    shift = content.get("shift")
    if shift and shift.get("shifted"):
        yield {
            "what": f"The samples differ: {shift.get('reason') or 'a shift was detected'}",
            "do": "Trust the figures of the shifted domain only; label a few examples of it.",
            "section": "shift",
        }


def _probe(content: Mapping[str, Any]) -> Iterator[Item]:
    rows = content.get("results", {}).get("rows", [])
    served = next((row for row in rows if row["served"]), None)
    probe = next((row for row in rows if row["key"] == "probe"), None)
    if not served or not probe or served["split"] != probe["split"]:
        return
    if (served["accuracy_interval"] or [served["accuracy"]])[0] <= probe["accuracy"]:
        yield {
            "what": f"The served model ({served['accuracy']:.1%}) is not shown to beat a plain "
            f"probe on frozen features ({probe['accuracy']:.1%}).",
            "do": "Let more blocks train or take another backbone; or serve the cheaper probe.",
            "section": "results",
        }


def _retention(content: Mapping[str, Any]) -> Iterator[Item]:
    distillation = content.get("distillation")
    if distillation and (distillation["retention"] or 1.0) < LEAST_RETENTION:
        yield {
            "what": f"The student keeps only {distillation['retention']:.1%} of the teacher's "
            "accuracy.",
            "do": "Train it longer, give it more unlabelled examples, or serve the teacher.",
            "section": "distillation",
        }


def _calibration(content: Mapping[str, Any]) -> Iterator[Item]:
    reliability = content.get("reliability")
    if not reliability or reliability["count"] < FEW_TEST_EXAMPLES:
        return
    before = reliability["ece_before"]
    if before is not None and before < reliability["ece_after"] - HARMFUL_SCALING:
        yield {
            "what": f"Temperature scaling made the calibration error worse: {before:.1%} before, "
            f"{reliability['ece_after']:.1%} after.",
            "do": "The validation split is too small or unlike the test split; enlarge it.",
            "section": "reliability",
        }
    elif reliability["ece_after"] > HIGH_ECE:
        yield {
            "what": f"Confidence and accuracy differ by {reliability['ece_after']:.1%} on average.",
            "do": "Do not use thresholds on the confidence; hold out more validation examples.",
            "section": "reliability",
        }


def _labels(content: Mapping[str, Any]) -> Iterator[Item]:
    mistakes = content.get("mistakes") or {"examples": []}
    sure = [row for row in mistakes["examples"] if row["confidence"] >= SURE]
    if len(sure) >= 3:
        yield {
            "what": f"{len(sure)} of the mistakes shown were made with a confidence of 95% or "
            "more.",
            "do": "Look at them: a wrong label or a cut-off object is the usual cause.",
            "section": "mistakes",
        }


def _data(content: Mapping[str, Any]) -> Iterator[Item]:
    quality = content.get("quality") or {}
    examples, bad = quality.get("examples") or 0, quality.get("quarantined") or 0
    if examples and bad / examples > HIGH_QUARANTINE:
        yield {
            "what": f"{bad} of {examples} files were quarantined ({bad / examples:.0%}).",
            "do": "Open the list of reasons: one broken export is often behind most of them.",
            "section": "quality",
        }
    if (quality.get("imbalance") or 1.0) > HIGH_IMBALANCE:
        yield {
            "what": f"The largest class is {quality['imbalance']:.0f} times the smallest.",
            "do": "Read macro-F1 rather than accuracy, and collect the rare classes.",
            "section": "quality",
        }


def _size(content: Mapping[str, Any]) -> Iterator[Item]:
    count = content.get("reliability", {}).get("count", FEW_TEST_EXAMPLES)
    if count < FEW_TEST_EXAMPLES:
        yield {
            "what": f"The test split has only {count} examples; every figure here is rough.",
            "do": "Read the intervals, not the points; add test examples before deciding.",
            "section": "method",
        }
