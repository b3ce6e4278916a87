"""The data of a retraining: what the champion learned from, and what came in since."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pandas as pd

from regraft.data.auxiliary import PREFIX, task_names
from regraft.data.files import atomic_write
from regraft.data.kinds import kind_of
from regraft.data.manifest import read_manifest
from regraft.errors import UserError
from regraft.progress import note
from regraft.recipe.model import Recipe
from regraft.steps.options import typed

SOURCE, LIVE = "training", "live"
"""Names of the two domains where the recipe has none."""
RESULT, TABLE = "data.json", "table.csv"
_NAMED = 5


def retraining_data(
    *, name: str, recipe: dict[str, Any], evidence: str | Path, out_dir: str | Path
) -> dict[str, Any]:
    """Write table.csv (path, label, domain, split, group) and return the arguments of a training
    on it: data, domains, target_domain, data_version, recipe, and `counts` for the report.

    `recipe` are all its fields, `evidence` the folder of the drift report with drift.json and
    window.parquet. The champion's examples keep their splits, so its test examples stay frozen.
    Of every class the first new labels become frozen test examples, then every second one trains
    (of a class that is new, with twice `data.min_images_per_class` labels, every second from the
    start); new examples without a label are the unlabelled target. The table lies in the folder of
    the retraining under REGRAFT_HOME, with copies of the inputs that the log may throw away, and is
    copied to `out_dir`. Repeated, it returns what it returned the first time.

    Raises UserError when the champion's manifest or files are gone (see
    `retraining.allow_missing`).
    """
    from regraft.data.versions import content_version
    from regraft.monitoring.retrainings import folder_of

    options = typed(Recipe, recipe)
    report = json.loads(Path(evidence, "drift.json").read_text(encoding="utf-8"))
    folder = folder_of(name, report["report_id"])
    if not (folder / RESULT).is_file():
        domains = _domains(options["data"])
        old = _old_rows(name, domains, options)
        new = _new_rows(name, evidence, old, domains["target"], options, folder / "inputs")
        table = _without_replaced(old, new)
        _write_table(pd.concat([table, new], ignore_index=True), folder / TABLE, options)
        result = _arguments(options, domains, folder / TABLE)
        if set(new["label"].dropna()) - set(old["label"].dropna()):
            result["data"]["target_labels_per_class"] = 1  # learn what only the new examples have
        result["data_version"] = content_version(folder / TABLE)
        result["counts"] = _counts(table, new)
        text = json.dumps(result, indent=2)
        atomic_write(folder / RESULT, lambda path: path.write_text(text, encoding="utf-8"))
    found: dict[str, Any] = json.loads((folder / RESULT).read_text(encoding="utf-8"))
    Path(out_dir).mkdir(parents=True, exist_ok=True)
    for file in (RESULT, TABLE):
        shutil.copyfile(folder / file, Path(out_dir, file))
    note("retraining on " + ", ".join(f"{n} {what}" for what, n in found["counts"].items() if n))
    return found


def _domains(data: dict[str, Any]) -> dict[str, str]:
    source = data["source_domain"] or SOURCE
    return {"source": source, "target": data["target_domain"] or LIVE}


def _old_rows(name: str, domains: dict[str, str], options: dict[str, Any]) -> pd.DataFrame:
    """The champion's manifest: sha256, path, label, domain, split, group, perceptual_hash and
    further columns of the kind and auxiliary labels."""
    limits = options["retraining"]
    manifest = _champions_manifest(name)
    manifest["domain"] = [domain or domains["source"] for domain in manifest["domain"]]
    manifest = _present(manifest[manifest["split"] != "unused"], limits["allow_missing"])
    if limits["replay_per_class"]:
        training = manifest[manifest["split"] == "train"].sort_values("sha256")
        over = training.groupby(["domain", "label"]).cumcount() >= limits["replay_per_class"]
        manifest = manifest.drop(index=training.index[over])
    kept = ["sha256", "path", "label", "domain", "split", "group", "perceptual_hash"]
    kept += [name for name in kind_of(options["task"]).further_columns if name in manifest]
    return manifest[[*kept, *(PREFIX + task for task in task_names(manifest.columns))]]


def _champions_manifest(name: str) -> pd.DataFrame:
    import tempfile

    from regraft.registry.run_files import MANIFEST, run_file
    from regraft.registry.versions import resolve

    champion = resolve(name)
    with tempfile.TemporaryDirectory() as temporary:
        path = run_file(champion, MANIFEST, Path(temporary))
        if path is None:
            raise UserError(
                "the run of the champion has no manifest, so old examples cannot be replayed",
                where=f"{champion.name}/{champion.version}",
                fix="train it once more with regraft run",
            )
        return read_manifest(path)


def _present(manifest: pd.DataFrame, allow_missing: bool) -> pd.DataFrame:
    there = [Path(path).is_file() for path in manifest["path"]]
    gone = manifest[[not found for found in there]]
    if not len(gone):
        return manifest
    named = ", ".join(gone["path"].head(_NAMED)) + (
        f" and {len(gone) - _NAMED} more" if len(gone) > _NAMED else ""
    )
    if not allow_missing:
        raise UserError(
            f"{len(gone)} of {len(manifest)} examples that the champion learned from are gone",
            where=named,
            expected="the files that its manifest names, to learn what it knew once more",
            fix="restore them, or go on without them: retraining.allow_missing=true",
        )
    note(f"{len(gone)} of {len(manifest)} old examples are gone and left out: {named}")
    return manifest[there]


def _new_rows(
    name: str,
    evidence: str | Path,
    old: pd.DataFrame,
    domain: str,
    options: dict[str, Any],
    inputs: Path,
) -> pd.DataFrame:
    """New examples with label, split and a path that lasts; columns as those of `_old_rows`."""
    from regraft.monitoring.log_folder import log_folder
    from regraft.monitoring.new_examples import new_examples, whole_log

    found = new_examples(pd.read_parquet(Path(evidence, "window.parquet")), whole_log(name))
    known = set(old["label"].dropna())
    found = _of_learnable_classes(found, known, 2 * options["data"]["min_images_per_class"])
    seen = old.set_index("sha256")["split"]
    split = found["sha256"].map(seen)
    # What the champion saw without a label may train with one, but never test it.
    late = (split == "unlabelled") & found["label"].notna()
    found = found[split.isna() | late]
    found = found.sort_values("position", ascending=False)
    found = found.sort_values("label", key=lambda column: column.isna(), kind="stable")
    found = found.head(options["retraining"]["most_new_examples"])
    found = found.sort_values(["arrived", "position"])
    not_for_tests = set(found["sha256"]) & set(seen.index) | _like_training(found, old, options)
    first = dict.fromkeys(known, options["retraining"]["test_labels_per_class"])
    found["split"] = _splits(found, not_for_tests, first)
    found["path"] = [_lasting(path, log_folder(name), inputs) for path in found["path"]]
    return found.assign(domain=domain, group="")[
        ["sha256", "path", "label", "domain", "split", "group"]
    ]


def _of_learnable_classes(found: pd.DataFrame, known: set[str], enough: int) -> pd.DataFrame:
    """Without the labels of classes that are new and have fewer than `enough` examples."""
    counts = found.loc[~found["label"].isin(known), "label"].value_counts()
    few = counts[counts < enough]
    if len(few):
        named = ", ".join(f"{label} ({count})" for label, count in few.items())
        note(f"left out, classes that the champion does not know with fewer than {enough} labels: "
             f"{named}")  # fmt: skip
    return found[~found["label"].isin(few.index)]


def _like_training(found: pd.DataFrame, old: pd.DataFrame, options: dict[str, Any]) -> set[str]:
    """sha256 of labelled examples that show a scene which the champion trained on."""
    from regraft.data.duplicates import near_duplicate_pairs

    labelled = found[found["label"].notna()]
    kind, data = kind_of(options["task"]), options["data"]
    inspect = kind.inspector(**data)
    facts = [inspect(Path(path)) for path in labelled["path"]]
    own = [str(fact.get("perceptual_hash", "")) for fact in facts]
    trained = old.loc[old["split"] != "test", "perceptual_hash"].tolist()
    pairs = near_duplicate_pairs([*trained, *own], kind.distance(data))
    across = pairs[(pairs[:, 0] < len(trained)) & (pairs[:, 1] >= len(trained))]
    return set(labelled["sha256"].iloc[across[:, 1] - len(trained)])


def _splits(found: pd.DataFrame, not_for_tests: set[str], first: dict[str, int]) -> list[str]:
    """The `first` labels of a known class test, then one trains and one tests in turn; of a class
    that is new the first one trains."""
    given: dict[str, int] = {}
    splits = []
    for label, sha in zip(found["label"], found["sha256"], strict=True):
        if label is None:
            splits.append("unlabelled")
        elif sha in not_for_tests:
            splits.append("train")
        else:
            number = given[label] = given.get(label, -1) + 1
            beyond = number - first.get(label, 0)
            tests = beyond < 0 or beyond % 2 == 1
            splits.append("test" if tests else "train")
    return splits


def _lasting(path: str, log: Path, inputs: Path) -> str:
    """Inputs that the log keeps only for a while are linked (or copied) to where they stay."""
    source = Path(path).resolve()
    if not source.is_relative_to(log.resolve()):
        return str(source)
    inputs.mkdir(parents=True, exist_ok=True)
    target = inputs / source.name
    if not target.exists():
        try:
            os.link(source, target)
        except OSError:
            atomic_write(target, lambda temporary: shutil.copyfile(source, temporary))
    return str(target)


def _without_replaced(old: pd.DataFrame, new: pd.DataFrame) -> pd.DataFrame:
    """An old unlabelled example that has a label now is a new one."""
    return old[~old["sha256"].isin(new["sha256"])]


def _write_table(table: pd.DataFrame, path: Path, options: dict[str, Any]) -> None:
    further = kind_of(options["task"]).further_columns
    tasks = (PREFIX + task for task in options["data"]["auxiliary_labels"])
    columns = ["path", "label", "domain", "split", "group", *further, *tasks]
    text = table.reindex(columns=columns).rename(columns=lambda name: name.removeprefix(PREFIX))
    atomic_write(path, lambda temporary: text.to_csv(temporary, index=False))


def _arguments(options: dict[str, Any], domains: dict[str, str], table: Path) -> dict[str, Any]:
    data = options["data"] | {
        "root": str(table),
        "source_domain": domains["source"],
        "target_domain": domains["target"],
        "images_per_class": 0,  # the table says who trains
        "target_labels_per_class": 0,
    }
    return {
        "data": data,
        "domains": domains,
        "target_domain": domains["target"],
        "recipe": options | {"data": data},
    }


def _counts(old: pd.DataFrame, new: pd.DataFrame) -> dict[str, int]:
    names = {"train": "to train", "test": "to test", "unlabelled": "unlabelled"}
    return {
        "old examples": len(old),
        **{
            f"new examples {text}": int((new["split"] == split).sum())
            for split, text in names.items()
        },
    }
