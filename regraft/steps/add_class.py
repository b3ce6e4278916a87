"""A further class for the champion: a new row of the head, nothing else moves."""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from regraft.data.manifest import files_of, write_manifest
from regraft.data.readers import class_name
from regraft.errors import UserError
from regraft.registry.versions import Reference
from regraft.steps.class_photos import as_manifest_rows, known_photos, read_new_photos, rows_of

_FOLDS = 4  # a quarter of the new photos is kept for tests to come, as in a first training


@dataclass(frozen=True)
class Answers:
    """What the champion makes of one set of photos: embeddings (n, dim), calibrated logits (n,
    classes), true labels (n,) and groups (n,)."""

    embeddings: np.ndarray
    logits: np.ndarray
    labels: np.ndarray
    groups: np.ndarray


def add_class(
    name: str,
    label: str,
    folder: str | Path,
    *,
    manifest: str | Path | None = None,
    max_drop_pp: float = 1.5,
    code_version: str = "",
    seed: int = 0,
) -> dict[str, Any]:
    """Teach the champion of `name` the class `label` from the photos in `folder`; register it.

    The backbone and the head's rows of the known classes stay bit-equal; the new row is fitted
    against the known classes' training photos, which the manifest of the champion's run names
    (`manifest` says where it is for a champion whose run did not log it). Every new photo is
    answered by a head that has not seen it. The gate promotes the new version if the known
    classes' accuracy on their test photos drops by at most `max_drop_pp` points and the macro-F1
    over all classes is shown to rise.

    Returns {label, classes, photos, old_classes {count, champion_accuracy, accuracy, drop_pp,
    interval_pp}, new_class {count, accuracy, low, high}, decision}.

    Raises UserError for an unknown model, a label that exists, a folder that `read_new_photos`
    refuses, and a manifest or known photos that are not there.
    """
    from regraft.registry import versions
    from regraft.registry.run_files import RECIPE, run_file
    from regraft.steps.hardware import use_device
    from regraft.steps.reference import write_reference_of

    versions.check_name(name)
    reference = versions.resolve(name)
    with versions.model_folder(*reference) as base, tempfile.TemporaryDirectory() as temporary:
        work = Path(temporary)
        module, model = _loaded(base)
        label = _new_label(label, model.classes)
        known = known_photos(reference, manifest, model.classes, work)
        photos = read_new_photos(Path(folder), label, known)
        model.to(use_device())
        old, test, new = (
            _answers(module, model, rows)
            for rows in (rows_of(known, "train", "val"), rows_of(known, "test"), photos)
        )
        found = _fitted(old, test, new, len(model.classes), seed)
        scale = model.temperature  # rows are fitted on calibrated logits
        grown = module.with_class(
            model, label, found.row.weight * scale, found.row.bias * scale
        ).to("cpu")
        module.save(grown, work / "model")
        write_manifest(as_manifest_rows(photos, known, found.is_test), work / "manifest.parquet")
        write_reference_of(work / "reference", work / "model", work / "manifest.parquet", seed=seed)
        run_file(reference, RECIPE, work)
        report = _report(label, model.classes, old, test, new, found, photos)
        key = _key(base, label, photos, max_drop_pp)
        report["decision"] = _registered(
            name, reference.version, work, report, key, test, new, found,
            classes=grown.classes, max_drop_pp=max_drop_pp, code_version=code_version,
            digest=_digest(base),
        )  # fmt: skip
    return report


@dataclass(frozen=True)
class _Fitted:
    """The new row, and calibrated logits by heads that had not seen the photos."""

    row: Any
    is_test: np.ndarray
    test_logits: np.ndarray
    new_logits: np.ndarray


def _fitted(old: Answers, test: Answers, new: Answers, classes: int, seed: int) -> _Fitted:
    """One row per fold of the new photos, fitted without it; that without fold 0 is the result."""
    from regraft.backbones.heads.further_class import further_class
    from regraft.shift.cross_validation import assign_folds, fold_numbers

    folds = assign_folds(np.zeros(len(new.labels), int), new.groups, folds=_FOLDS, seed=seed)
    own, rows = np.zeros(len(folds)), {}
    for fold in fold_numbers(folds):
        kept = folds != fold
        rows[fold] = row = further_class(
            np.concatenate([old.embeddings, new.embeddings[kept]]),
            np.repeat([False, True], [len(old.labels), int(kept.sum())]),
            np.concatenate([old.logits, new.logits[kept]]),
            groups=np.concatenate([old.groups, new.groups[kept]]),
            seed=seed,
        )
        own[~kept] = row.logits(new.embeddings[~kept])
    of_test = rows[0].logits(test.embeddings)
    return _Fitted(
        rows[0],
        folds == 0,
        np.column_stack([test.logits, of_test]),
        np.column_stack([new.logits, own]),
    )


def _report(
    label: str,
    classes: list[str],
    old: Answers,
    test: Answers,
    new: Answers,
    found: _Fitted,
    photos: pd.DataFrame,
) -> dict[str, Any]:
    from regraft.evaluation.metrics import class_numbers
    from regraft.evaluation.paired_bootstrap import paired_bootstrap
    from regraft.evaluation.pairs import pair
    from regraft.shift.cross_validation import wilson_interval

    truth = class_numbers(test.labels.tolist(), classes)
    before, after = test.logits.argmax(1), found.test_logits.argmax(1)
    change = paired_bootstrap(pair(truth, after, before, groups=test.groups))
    right = found.new_logits.argmax(1) == len(classes)
    low, high = wilson_interval(float(right.mean()), len(np.unique(new.groups)))
    return {
        "label": label,
        "classes": [*classes, label],
        "photos": {
            "usable": len(photos),
            "independent": int(photos["group"].nunique()),
            "kept_for_tests": int(found.is_test.sum()),
            "of_known_classes": len(old.labels),
        },
        "old_classes": {
            "count": len(truth),
            "champion_accuracy": float((before == truth).mean()),
            "accuracy": float((after == truth).mean()),
            "drop_pp": 0.0 - 100 * change["difference"],
            "interval_pp": [-100 * change["high"], -100 * change["low"]],
        },
        "new_class": {
            "count": len(right), "accuracy": float(right.mean()), "low": low, "high": high,
        },
    }  # fmt: skip


def _registered(
    name: str,
    champion: str,
    work: Path,
    report: dict[str, Any],
    key: str,
    test: Answers,
    new: Answers,
    found: _Fitted,
    *,
    classes: list[str],
    max_drop_pp: float,
    code_version: str,
    digest: str,
) -> dict[str, Any]:
    """Log a run for the grown model and let the gate decide."""
    from scipy.special import softmax

    from regraft.evaluation.comparison import compare_models
    from regraft.evaluation.metrics import class_numbers, classification_metrics
    from regraft.registry.decision import register

    truth = class_numbers([*test.labels, *new.labels], classes)
    groups = np.concatenate([test.groups, new.groups])
    logits = np.concatenate([found.test_logits, found.new_logits])
    mine = softmax(logits, axis=1)
    theirs = softmax(np.concatenate([test.logits, new.logits]), axis=1)
    theirs = np.column_stack([theirs, np.zeros(len(theirs))])  # of the new class it knows nothing
    candidate = classification_metrics(truth, mine, groups=groups)
    before = report["old_classes"]["champion_accuracy"]

    def compare(folder: Path, reference: Reference) -> Mapping[str, Any]:
        if _digest(folder) != digest:
            raise UserError(
                f"the champion of {name!r} changed while the class was added",
                fix="run the same command again",
            )
        rows = pd.DataFrame({"label": np.array(classes)[truth], "group": groups})
        return compare_models(rows, mine, theirs, classes, metric="macro_f1")

    tags = _tags(name, champion) | ({"code_version": code_version} if code_version else {})
    tags["data_version"] = f"{tags.get('data_version', '')}+{key[:8]}"
    return register(
        name=name,
        model_folder=work / "model",
        run_id=_logged(name, champion, work, report, key, tags),
        run_key=key,
        candidate=candidate | {"old_class_accuracy": report["old_classes"]["accuracy"]},
        floor={"old_class_accuracy": before - max_drop_pp / 100 - 1e-9},
        majority_accuracy=float(np.bincount(truth).max() / len(truth)),
        compare=compare,
        code_version=tags.get("code_version", ""),
        data_version=tags["data_version"],
        triggered_by="regraft add-class",
    )


def _logged(
    name: str, champion: str, work: Path, report: dict[str, Any], key: str, tags: dict[str, str]
) -> str:
    from regraft.registry.run_files import RECIPE
    from regraft.registry.runs import log_pipeline_run

    (work / "add_class.json").write_text(json.dumps(report, indent=2), encoding="utf-8")
    return log_pipeline_run(
        experiment=name,
        run_name=f"{name} + {report['label']}",
        run_key=key,
        parameters={"add_class": report["label"], "from_version": champion},
        tags={**tags, "recipe": name},
        dataset={"name": name, "digest": tags["data_version"]},
        steps=[],
        metrics={who: report[who] for who in ("old_classes", "new_class")},
        artifacts=[
            (work / "add_class.json", "reports"),
            (work / "manifest.parquet", "data"),
            (work / "reference", "reference"),
            *((path, "recipe") for path in work.rglob(Path(RECIPE).name)),
        ],
    )


def _loaded(folder: Path) -> tuple[Any, Any]:
    """The task's module and the model. Raises UserError for a task that cannot grow."""
    from regraft.tasks import task_module

    kind = json.loads((folder / "model.json").read_text(encoding="utf-8"))["task"]
    module = task_module(kind)
    if not hasattr(module, "with_class"):
        raise UserError("a class cannot be added to this kind of model", got=kind)
    return module, module.load_model(folder)


def _new_label(label: str, classes: list[str]) -> str:
    wanted = class_name(label.strip())
    taken = [known for known in classes if known.casefold() == wanted.casefold()]
    if taken or not wanted:
        raise UserError(
            "the model knows this class already" if taken else "the new class needs a name",
            got=label,
            expected=f"a name other than {', '.join(classes)}",
            fix="to give a known class more photos, add them to its folder and run the recipe"
            if taken else "",
        )  # fmt: skip
    return wanted


def _tags(name: str, version: str) -> dict[str, str]:
    """code_version and data_version of a registered version."""
    from regraft.registry import store

    tags = store.connect().get_model_version(name, version).tags
    found = {key: tags.get(f"regraft.{key}", "") for key in ("code_version", "data_version")}
    return {key: text for key, text in found.items() if text}


def _answers(module: Any, model: Any, rows: pd.DataFrame) -> Answers:
    embeddings, logits = module.embeddings_and_logits(model, files_of(rows))
    calibrated = logits.astype(np.float64) / model.temperature
    return Answers(embeddings, calibrated, rows["label"].to_numpy(str), rows["group"].to_numpy(str))


def _digest(folder: Path) -> str:
    return hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest()


def _key(base: Path, label: str, photos: pd.DataFrame, max_drop_pp: float) -> str:
    """The same class, photos, budget and champion have the same key: see `register`."""
    parts = [_digest(base), label, max_drop_pp, sorted(photos["sha256"])]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:32]
