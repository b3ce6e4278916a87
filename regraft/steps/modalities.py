"""Where examples are pairs: what each modality says alone, and what is gained by having both."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from regraft.data.manifest import places
from regraft.steps.measuring import metrics_of, spread
from regraft.steps.probes import ANSWERERS

IMAGE, TEXT, LATE = "image", "text", "weighted"
_MOST_SHOWN = 6
_MISSING = ("missing image", "missing text")
_NAMES = {IMAGE: "image alone", TEXT: "text alone", LATE: "late fusion"}


def answerers_on(test: pd.DataFrame, features: Path, classes: list[str]) -> dict[str, np.ndarray]:
    """Probabilities (n, classes) of each modality alone and of every fusion of frozen features, by
    the name in tables; {} where nothing was fused."""
    if not (features / ANSWERERS).is_file():
        return {}
    archive = np.load(features / ANSWERERS)
    rows, own = places(test["id"], archive["ids"]), archive["classes"].tolist()
    return {
        _NAMES.get(name, f"fusion {name}"): spread(archive[name][rows], own, classes)
        for name in archive.files
        if name not in ("ids", "classes")
    }


def modality_metrics(
    model: Any,
    test: pd.DataFrame,
    served: np.ndarray,
    classes: list[str],
    features: Path,
    *,
    seed: int,
) -> dict[str, Any]:
    """Of the served model, whose answers to the test pairs are `served` (n, classes): metrics
    without the image and without the text, `gains` over each other answerer and `abstention`; {}
    where nothing was fused."""
    others = answerers_on(test, features, classes)
    if not others:
        return {}
    found: dict[str, Any] = {
        name: metrics_of(test, answers, classes, {}, seed)["test"]
        for name, answers in _without(test, model, classes).items()
    }
    found["gains"] = _gains(test, served, others, classes)
    found["abstention"] = _abstention(model.abstain_below, test, served, classes)
    return found


def modality_section(
    metrics: dict[str, Any], served: str, model: Any, frame: pd.DataFrame, paths: dict[str, str]
) -> dict[str, Any]:
    """For the report: what having both modalities is worth over each other answerer and over the
    served model without one, and where in the image the evidence lies. `frame` are the predictions
    on the test pairs, `paths` their files by id."""
    own = metrics[served]
    whole = own["test"]["accuracy"]
    worth = {modality: whole - own[f"missing {modality}"]["accuracy"] for modality in (IMAGE, TEXT)}
    return {
        "gains": own["gains"],
        "worth": worth,
        "abstention": own["abstention"],
        "evidence": _evidence(model, frame, paths),
    }


def _evidence(model: Any, frame: pd.DataFrame, paths: dict[str, str]) -> list[dict[str, Any]]:
    """Pictures of the surest right and wrong answers."""
    from regraft.data.pair_files import open_pair
    from regraft.evaluation.examples import thumbnail
    from regraft.tasks.grad_cam import shown_evidence

    sure = frame.sort_values("confidence", ascending=False, kind="stable")
    right = sure["predicted"] == sure["label"]
    chosen = pd.concat([sure[right].head(_MOST_SHOWN), sure[~right].head(_MOST_SHOWN)])
    found = []
    for row in chosen.to_dict("records"):
        picture = shown_evidence(model, paths[row["id"]])
        if picture is not None:
            text = open_pair(Path(paths[row["id"]]).read_bytes()).text
            found.append(
                {
                    "thumbnail": thumbnail(picture),
                    "text": text,
                    "predicted": row["predicted"],
                    "true": row["label"],
                }
            )
    return found


def _without(test: pd.DataFrame, model: Any, classes: list[str]) -> dict[str, np.ndarray]:
    """What the model says of the test pairs without their image, and without their text."""
    from regraft.data.pair_files import PairFile, open_pair

    pairs = [open_pair(Path(path).read_bytes()) for path in test["path"]]
    inputs = (
        [PairFile(None, pair.text).to_bytes() for pair in pairs],
        [PairFile(pair.image, None).to_bytes() for pair in pairs],
    )
    return {
        name: spread(model.probabilities(values), model.classes, classes)
        for name, values in zip(_MISSING, inputs, strict=True)
    }


def _gains(
    test: pd.DataFrame, served: np.ndarray, others: dict[str, np.ndarray], classes: list[str]
) -> list[dict[str, Any]]:
    """How much more often the served model is right than each other answerer: {name, difference,
    low, high}, 95 %, by paired bootstrap over images."""
    from regraft.evaluation.metrics import class_numbers
    from regraft.evaluation.paired_bootstrap import paired_bootstrap
    from regraft.evaluation.pairs import pair

    truth, groups = class_numbers(test["label"].tolist(), classes), test["group"].tolist()
    rows = []
    for name, other in others.items():
        found = paired_bootstrap(pair(truth, served.argmax(1), other.argmax(1), groups=groups))
        rows.append({"name": name, **{key: found[key] for key in ("difference", "low", "high")}})
    return rows


def _abstention(
    abstain_below: float, test: pd.DataFrame, served: np.ndarray, classes: list[str]
) -> dict[str, float]:
    """Share of the test pairs that are answered, as confident enough, and how often rightly."""
    right = np.array(classes)[served.argmax(1)] == test["label"].to_numpy(str)
    given = served.max(1).round(6) >= abstain_below  # answers have so many digits
    accuracy = float(np.mean(right[given])) if given.any() else 0.0
    return {"answered": round(float(given.mean()), 4), "right": round(accuracy, 4)}
