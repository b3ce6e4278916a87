"""A synthetic evaluation: everything that the steps hand over, made from a seed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image, ImageDraw

from regraft.evaluation.calibration import fit_temperature
from regraft.evaluation.content import assemble
from regraft.evaluation.examples import show_examples
from regraft.evaluation.metrics import classification_metrics, prior_probabilities

CLASSES = [
    "Apple___Apple_scab", "Apple___Black_rot", "Apple___healthy", "Corn___Northern_Leaf_Blight",
    "Grape___Esca_(Black_Measles)", "Tomato___Early_blight", "Tomato___Late_blight",
    "Tomato___Spider_mites Two-spotted_spider_mite",
]  # fmt: skip


@pytest.fixture
def make_content() -> Callable[..., dict[str, Any]]:
    """A function that assembles full content: make_content(classes=[...], count=400)."""
    return synthetic_content


def synthetic_content(
    classes: list[str] = CLASSES, count: int = 400, skill: float = 5.0, seed: int = 0
) -> dict[str, Any]:
    rng = np.random.default_rng(seed)
    labels = np.arange(count) % len(classes)
    teacher = softmax(logits(rng, labels, len(classes), skill))
    sharp = softmax(logits(rng, labels, len(classes), skill - 0.3) * 3)
    temperature = fit_temperature(np.log(sharp), labels)
    student = softmax(np.log(sharp) / temperature)
    frame = predictions(rng, labels, student, classes)
    groups = frame["group"].to_numpy()

    def score(probabilities: np.ndarray) -> dict[str, Any]:
        return classification_metrics(labels, probabilities, groups=groups, classes=classes)

    probe = softmax(logits(rng, labels, len(classes), skill - 1.0))
    metrics = {
        "teacher": {"test": score(teacher), **domains(0.971, 0.655)},
        "student": {"test": score(student), **domains(0.958, 0.631)},
        "baselines": {
            "majority": score(prior_probabilities(labels, count, len(classes))),
            "probe": {"test": score(probe), **domains(0.978, 0.346)},
        },
    }
    return assemble(
        recipe="plant_disease",
        served="student",
        classes=classes,
        predictions=frame,
        probabilities=student,
        uncalibrated=sharp,
        temperature=temperature,
        metrics=metrics,
        show=show_examples(lambda name: leaf(abs(hash(name)) % 1000)),
        histories={"Teacher": history(rng, True) | CHOICES, "Student": history(rng, False)},
        timing={
            "teacher": {"throughput_per_second": 41.2, "latency_ms": 27.3, "size_bytes": 9.2e6,
                        "parameters": 2_234_120},
            "student": {"throughput_per_second": 118.0, "latency_ms": 9.1, "size_bytes": 2.1e6,
                        "parameters": 524_008},
        },
        quality=quality(classes),
        shift=shift(rng, frame),
        ranking=RANKING,
        steps=STEPS,
        decision={"outcome": "promote", "interval": [0.004, 0.031], "champion_version": 3,
                  "candidate_version": 4, "max_source_drop_pp": 1.5,
                  "reason": "better than the champion: +0.4 to +3.1 points (95%)"},
        method={"command": "regraft run recipes/plant_disease.yaml data.images_per_class=100",
                "seed": 0, "data_version": "sha256:3f9c1a", "code_version": "0.1.0 (97dfc5a)",
                "split_sizes": {"train": 640, "val": 160, "test": count},
                "versions": {"python": "3.11.7", "torch": "2.9.0", "timm": "1.0.20"}},
        card={"backbone": "mobilenetv2_100 (ImageNet-1k)"},
        missing={"trained from scratch": "not asked for by the recipe"},
    ) | {"answering": ANSWERING, "signing": SIGNING, "modalities": MODALITIES}  # fmt: skip


_PIXEL = (
    "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAgAAAAICAAAAADhZOFXAAAAGklEQVR42mMUYIAAFnkYQxHG"
    "UCDMYHwPZQAALeQB2gvqqowAAAAASUVORK5CYII="
)
SIGNING = {
    "signing": dict.fromkeys(
        ("back_recognition", "ceiling", "floor", "dtw_mje", "dtw_mje_still", "dtw_mje_another",
         "pck", "pck_still", "velocity_ratio", "jerk_ratio", "bone_instability",
         "bone_instability_real", "milliseconds_per_word"), 0.5)
    | {"pretraining_motions": {"own": 80, "of_other_sources": 261}},
    "speakers": {"plain": 0.8, "centred": 0.9,
                 "per_speaker": {"<ann>": {"plain": 0.8, "centred": 0.9}}},
    "pictures": [{"word": "<one>", "made": _PIXEL, "real": _PIXEL}],
}  # fmt: skip
MODALITIES = {
    "gains": [{"name": "text alone", "difference": 0.04, "low": 0.01, "high": 0.07}],
    "worth": {"image": 0.04, "text": 0.15},
    "abstention": {"answered": 0.75, "right": 0.58},
    "evidence": [{"thumbnail": _PIXEL, "text": "Is it <red>?", "predicted": "no", "true": "yes"}],
}
_SHARES = {"count": 40, "answered": 0.9, "asked_back": 0.05, "abstained": 0.05}
ANSWERING = {
    "retrieval": {"count": 40, "recall_at_1": 0.8, "recall_at_5": 0.95, "mrr": 0.87, "ndcg": 0.9},
    "abstention": {
        "in_domain": _SHARES, "out_of_domain": _SHARES, "without_topic": _SHARES,
        "error_at_80": 0.1, "error_at_100": 0.2,
    },
    "dialogues": [{"turns": [{"asked": "What is <gout>?", "reply": "A disease [1]."}]}],
}  # fmt: skip


def domains(source: float, target: float) -> dict[str, Any]:
    return {
        name: {"accuracy": accuracy, "macro_f1": accuracy - 0.01, "count": 200}
        for name, accuracy in (("source", source), ("target", target))
    }


def logits(rng: np.random.Generator, labels: np.ndarray, classes: int, skill: float) -> np.ndarray:
    scores = rng.gumbel(size=(len(labels), classes))
    scores[np.arange(len(labels)), labels] += skill
    # One pair of classes that looks alike, so that the confusion matrix has something to say.
    alike = labels == 5
    scores[alike, 6 % classes] += skill - 1.5
    return scores


def softmax(scores: np.ndarray) -> np.ndarray:
    powers = np.exp(scores - scores.max(axis=1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True))


def predictions(
    rng: np.random.Generator, labels: np.ndarray, probabilities: np.ndarray, classes: list[str]
) -> pd.DataFrame:
    count = len(labels)
    side = rng.integers(180, 900, count)
    return pd.DataFrame(
        {
            "id": [f"lab/{classes[k]}/image_{i:04d}.jpg" for i, k in enumerate(labels)],
            "label": [classes[k] for k in labels],
            "predicted": [classes[k] for k in probabilities.argmax(axis=1)],
            "confidence": probabilities.max(axis=1),
            "split": "test",
            "domain": np.where(rng.random(count) < 0.8, "lab", "field"),
            "group": [f"g{number // 2}" for number in range(count)],
            "width": side,
            "height": side,
            "brightness": rng.beta(4, 4, count),
            "quality_flags": np.where(rng.random(count) < 0.05, "exif_rotated", ""),
        }
    )


def history(rng: np.random.Generator, validated: bool) -> dict[str, Any]:
    plan = [("probe", 3, ["head"]), ("last third", 4, ["blocks.5", "blocks.6", "head"]),
            ("all", 4, [f"blocks.{k}" for k in range(7)] + ["head"])]  # fmt: skip
    done, stages = 0, []
    for name, epochs, blocks in plan:
        rows = []
        for epoch in range(1, epochs + 1):
            done += 1
            loss = 1.6 * np.exp(-done / 4) + 0.1
            rows.append({"epoch": epoch, "train_loss": loss, "seconds": 6.1,
                         "val_loss": loss + 0.05 + 0.02 * rng.random() if validated else None,
                         "val_accuracy": 0.98 - 0.3 * np.exp(-done / 3) if validated else None,
                         "learning_rates": {"head": 1e-3}})  # fmt: skip
        stages.append({"name": name, "epochs": rows, "trainable_blocks": blocks,
                       "image_size": 224, "chosen_epoch": epochs})  # fmt: skip
    return {"stages": stages, "chosen": {"stage": "all", "epoch": 3}}


def quality(classes: list[str]) -> dict[str, Any]:
    return {
        "examples": 1412, "usable": 1398, "quarantined": 14,
        "reasons": {"truncated": 6, "not_an_image": 5, "conflicting_label": 3},
        "classes": {name: {"train": 80 - 3 * (k % 9), "val": 20, "test": 50, "unused": 12 * (k % 3)}
                    for k, name in enumerate(classes)},
        "flags": {"exif_rotated": 21, "converted_cmyk": 2}, "imbalance": 1.6,
        "near_duplicate_groups": 38,
        "warnings": ["38 groups of near-duplicates were kept on one side of the split."],
        "expectations": [
            {"expectation": "expect_column_values_to_be_unique", "column": "id", "success": True,
             "unexpected": 0},
            {"expectation": "expect_column_values_to_be_between", "column": "brightness",
             "success": False, "unexpected": 4}],
        "data_docs": "data_docs/index.html",
    }  # fmt: skip


def shift(rng: np.random.Generator, frame: pd.DataFrame) -> dict[str, Any]:
    def comparison(name: str, current: str, offset: float) -> dict[str, Any]:
        return {
            "name": name, "reference": "train", "current": current, "n_reference": 640,
            "n_current": 400, "mmd": {"statistic": 0.01, "p_value": 0.005, "effect_size": offset},
            "classifier": {"auc": 0.5 + offset / 6, "low": 0.48 + offset / 6, "high": 0.6},
            "image_statistics": [
                {"column": "brightness", "method": "Wasserstein distance", "score": 0.1 * offset,
                 "threshold": 0.1, "drifted": offset > 1}],
            "shifted": offset > 1,
            "overlay": {"reference": rng.normal(size=(400, 2)).tolist(),
                        "current": (rng.normal(size=(400, 2)) + offset).tolist()},
            "most_shifted": frame["id"].head(8).tolist(),
        }  # fmt: skip

    comparisons = [comparison("train vs test", "test", 0.1),
                   comparison("source vs target", "field, unlabelled", 2.4)]  # fmt: skip
    return {"comparisons": comparisons, "shifted": True,
            "reason": "source vs target: domain classifier AUC 0.90, MMD p 0.005."}  # fmt: skip


def leaf(seed: int) -> Image.Image:
    rng = np.random.default_rng(seed)
    image = Image.new("RGB", (300, 240), tuple(rng.integers(90, 220, 3).tolist()))
    pen = ImageDraw.Draw(image)
    pen.ellipse((60, 30, 240, 210), fill=(60, int(rng.integers(90, 160)), 50))
    for x, y in rng.integers(90, 190, (6, 2)).tolist():
        pen.ellipse((x, y, x + 14, y + 14), fill=(110, 70, 30))
    return image


def rung(epochs: int, losses: dict[str, float | None], kept: int) -> dict[str, Any]:
    rows = [{"name": name, "val_loss": loss, "kept": place < kept}
            for place, (name, loss) in enumerate(losses.items())]  # fmt: skip
    return {"epochs": epochs, "probe_loss": 0.352, "candidates": rows}


CHOICES: dict[str, Any] = {
    "adaptation": {
        "chosen": "self_training", "chosen_by": "information_maximisation", "background": True,
        "candidates": [
            {"kind": "source_only", "background": False, "mean_entropy": -0.61,
             "information_maximisation": 0.3146, "soft_neighbourhood_density": 4.09,
             "source_accuracy": 0.9781, "target_classes": [1, 86, 33], "allowed": True},
            {"kind": "standardise", "background": True, "mean_entropy": -0.34,
             "information_maximisation": 0.7013, "soft_neighbourhood_density": 3.71,
             "source_accuracy": 0.9402, "target_classes": [31, 52, 37], "allowed": False},
            {"kind": "self_training", "background": True, "mean_entropy": -0.21,
             "information_maximisation": 0.6932, "soft_neighbourhood_density": 3.66,
             "source_accuracy": 0.9725, "target_classes": [38, 44, 38], "allowed": True}],
    },
    "strategy": {
        "chosen": "last 2, then 4 blocks, rate x 3, mixup",
        "reason": "100 training labels in the smallest class, a shift was found; of 6 "
        "configurations it won by validation loss (0.214 after 6 epochs, 0.352 for the head alone)",
        "rungs": [
            rung(1, {"last 2 blocks, rate x 10, plain": 0.291,
                     "last 2, then 4 blocks, rate x 3, mixup": 0.296, "as given": 0.318,
                     "last 4 blocks, rate x 1, ema": 0.349,
                     "last 2 blocks, rate x 3, l2_sp": 0.36,
                     "last 4 blocks, rate x 10, plain": None}, 2),
            rung(6, {"last 2, then 4 blocks, rate x 3, mixup": 0.214,
                     "last 2 blocks, rate x 10, plain": 0.233}, 1),
        ],
    },
}  # fmt: skip
RANKING = [
    {"backbone": "mobilenetv2_100", "logme": 1.21, "probe_accuracy": 0.962, "probe_low": 0.948,
     "probe_high": 0.975, "embed_ms": 11.3, "parameters": 2_223_872, "chosen": True},
    {"backbone": "squeezenet1_1", "logme": 0.84, "probe_accuracy": 0.931, "probe_low": 0.911,
     "probe_high": 0.949, "embed_ms": 9.8, "parameters": 722_496, "chosen": False},
    {"backbone": "starter", "logme": 0.22, "probe_accuracy": 0.711, "probe_low": 0.68,
     "probe_high": 0.741, "embed_ms": 3.1, "parameters": 301_000, "chosen": False},
]  # fmt: skip
STEPS = [
    {"name": name, "seconds": seconds, "cpu_seconds": 1.7 * seconds, "status": "done",
     "cached": name == "data_validation"}
    for name, seconds in [
        ("data_validation", 9.0), ("feature_extraction", 31.0), ("domain_shift_detection", 7.5),
        ("progressive_finetune", 144.0), ("distillation", 61.0), ("evaluation", 12.0)]
]  # fmt: skip
