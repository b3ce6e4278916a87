"""The live loop, shown: `python -m pipelines.demo_drift [DATA] [key=value ...]` (make demo-drift).

Train on lab photos, serve, let field photos come in, see the drift, label five per class, retrain,
let the server take up the new champion, and go back. DATA is a folder with lab/CLASS and
field/CLASS; the classes that both have are taken.
"""

from __future__ import annotations

import csv
import hashlib
import json
import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from pipelines.demo_actors import Person, Server, accuracy, serving
from pipelines.demo_draws import DRAWS, promoted_share

NAME = "drift_demo"
WINDOW = 100
LABELS_PER_CLASS = 5  # all of them become test photos of the gate
RECIPE: dict[str, Any] = {
    "name": NAME,
    "serve": "teacher",
    "backbone": {"name": "starter"},
    "distillation": {"enabled": False},
    "evaluation": {"latency_images": 8},
    "monitoring": {"window": WINDOW},
    "serving": {"keep_inputs": True, "poll_seconds": 0.5},
    "retraining": {"when_unlabelled": "ask", "cooldown_hours": 0.0},
}


@dataclass
class Photos:
    """`live` field photos come in; `unseen` field photos and `lab` test photos only measure."""

    live: list[Path] = field(default_factory=list)
    unseen: list[Path] = field(default_factory=list)
    lab: list[Path] = field(default_factory=list)


def main() -> None:
    """Show it, print a table, and keep it as demo.json."""
    arguments = sys.argv[1:]
    overrides = [text for text in arguments if "=" in text]
    folders = [text for text in arguments if "=" not in text]
    found = show(Path(folders[0] if folders else "data/leaves"), Path("runs/demo-drift"), overrides)
    print(table(found))


def show(
    data: Path,
    folder: Path,
    overrides: list[str],
    *,
    live: Sequence[Path] = (),
    windows: int = 2,
) -> dict[str, Any]:
    """Play the scenario in `folder` (emptied before) and return what happened as figures.

    With `live` these photos come in instead of field photos, and nothing is done about drift.
    """
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    person = Person(folder.resolve())
    recipe = _write_recipe(person.folder, data.resolve())
    _say("training on lab photos")
    trained = person.asks("run", str(recipe), *overrides, "--out", "run")
    photos = Photos(live=list(live)) if live else _photos(data.resolve(), person.folder)
    found: dict[str, Any] = {"data": str(data), "first_version": _version(trained)}
    with serving(person, NAME) as server:
        found |= _drift(person, server, recipe, overrides, photos, windows)
        if not live and found["drifted_after"]:
            found |= _retrain(person, server, recipe, overrides, photos)
            found |= _measure(person, found, photos)
            found |= _go_back(person, server, found, photos)
    (folder / "demo.json").write_text(json.dumps(found, indent=2), encoding="utf-8")
    return found


def _write_recipe(folder: Path, data: Path) -> Path:
    classes = sorted({p.name for p in (data / "lab").iterdir() if p.is_dir()}
                     & {p.name for p in (data / "field").iterdir() if p.is_dir()})  # fmt: skip
    values = RECIPE | {"data": {"root": str(data), "source_domain": "lab", "classes": classes}}
    path = folder / "recipe.yaml"
    path.write_text(yaml.safe_dump(values), encoding="utf-8")
    return path


def _photos(data: Path, folder: Path) -> Photos:
    """Every second field photo of a class, by a hash of its name, is only measured on."""
    from regraft.data.manifest import read_manifest

    manifest = read_manifest(next((folder / "run").rglob("manifest.parquet")))
    tested = [Path(path) for path in manifest.loc[manifest["split"] == "test", "path"]]
    found = Photos(lab=tested)
    for label in sorted(set(manifest["label"].dropna())):
        own = _shuffled(sorted((data / "field" / label).glob("*.jpg")))
        found.live += own[::2]
        found.unseen += own[1::2]
    found.live = _shuffled(found.live)
    return found


def _shuffled(photos: list[Path]) -> list[Path]:
    """In an order that has nothing to do with names and is the same everywhere."""
    return sorted(photos, key=lambda photo: hashlib.sha256(photo.name.encode() + b"/"
                  + photo.parent.name.encode()).digest())  # fmt: skip


def _drift(
    person: Person, server: Server, recipe: Path, overrides: list[str], photos: Photos, windows: int
) -> dict[str, Any]:
    """Stream window after window; after each, one check. `asked` are answers by photo."""
    asked: dict[str, dict[str, Any]] = {}
    checks: list[dict[str, Any]] = []
    for number in range(1, windows + 1):
        _say(f"window {number} of {windows}: {WINDOW} photos come in")
        for place in range(WINDOW):
            photo = photos.live[((number - 1) * WINDOW + place) % len(photos.live)]
            asked[str(photo)] = server.answers(photo)
        checks.append(_check(person, recipe, overrides))
        _say(checks[-1]["reason"])
        if checks[-1]["drifted"]:
            break
    return {
        "drifted_after": len(checks) if checks[-1]["drifted"] else 0,
        "windows": [window for check in checks for window in check["windows"]],
        "retrained": any(check["retrained"] for check in checks),
        "why_not": checks[-1]["why_not"],
        "reason": checks[-1]["reason"],
        "answers": asked,
    }


def _check(person: Person, recipe: Path, overrides: list[str]) -> dict[str, Any]:
    found: dict[str, Any] = person.asks("monitor", str(recipe), *overrides, "--out", "monitor")
    return found


def _retrain(
    person: Person, server: Server, recipe: Path, overrides: list[str], photos: Photos
) -> dict[str, Any]:
    """The first photos of each class get their label; then a check.

    Not those that the list asks for: most become the frozen test, which must be a fair sample.
    """
    labels = []
    for label in sorted({photo.parent.name for photo in photos.live}):
        own = [photo for photo in photos.live if photo.parent.name == label]
        labels += [(hashlib.sha256(photo.read_bytes()).hexdigest(), label)
                   for photo in own[:LABELS_PER_CLASS]]  # fmt: skip
    with (person.folder / "labels.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([("input_hash", "label"), *labels])
    _say(f"{len(labels)} labels arrive")
    person.types("feedback", NAME, "labels.csv")
    _say("retraining on old and new photos")
    check = _check(person, recipe, overrides)
    decision = check["decision"] or {}
    _say(f"{decision.get('outcome', 'no retraining')}: "
         f"{decision.get('reason', check['why_not'])}")  # fmt: skip
    found = {"labels": len(labels), "retrained": check["retrained"], "decision": decision}
    if decision:
        version = str(decision["candidate_version"])
        if decision["outcome"] == "hold":
            _say("promoted by hand, to show the rest")
            person.types("promote", NAME, version, "--reason", "demonstration")
        found["seconds_to_follow"] = round(server.follows(version), 2)
        _say(f"the server answers with version {server.version()}")
    return found


def _measure(person: Person, found: dict[str, Any], photos: Photos) -> dict[str, Any]:
    """Accuracy of both versions on field photos that nobody saw and on the lab's test photos, and
    how often others of these field photos would have led to a promotion."""
    figures, answers = {}, {}
    for when, version in (("before", found["first_version"]),
                          ("after", found["decision"].get("candidate_version"))):  # fmt: skip
        if version:
            asked = [*photos.lab, *photos.unseen]
            answers[when] = person.asks("predict", f"{NAME}/{version}", *map(str, asked))
            lab, unseen = answers[when][: len(photos.lab)], answers[when][len(photos.lab) :]
            figures[f"lab_{when}"] = accuracy(lab, photos.lab)
            figures[f"field_{when}"] = accuracy(unseen, photos.unseen)
    measured = {"accuracy": figures, "unseen": len(photos.unseen), "lab_test": len(photos.lab)}
    if "after" in answers:
        measured["promoted_draws"] = promoted_share(
            photos.lab, photos.unseen, champion=answers["before"], candidate=answers["after"],
            test_photos=LABELS_PER_CLASS,
        )  # fmt: skip
    return measured


def _go_back(
    person: Person, server: Server, found: dict[str, Any], photos: Photos
) -> dict[str, Any]:
    """Roll back, and ask again what was asked before: are the answers the same to the last bit?"""
    if not found["decision"]:
        return {}
    person.types("rollback", NAME, "--reason", "demonstration")
    server.follows(found["first_version"])
    again = [server.answers(photo) for photo in photos.live[:20]]
    before = [found["answers"][str(photo)] for photo in photos.live[:20]]
    same = [_told(one) == _told(other) for one, other in zip(again, before, strict=True)]
    return {"same_after_rollback": sum(same), "asked_after_rollback": len(same)}


def _told(answer: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in answer.items() if key != "id"}


def _version(summary: dict[str, Any]) -> str:
    return str(summary["decision"]["candidate_version"])


def _say(text: str) -> None:
    print(f"· {text}", file=sys.stderr, flush=True)


def table(found: dict[str, Any]) -> str:
    """What happened, in a few lines."""
    if not found.get("decision"):
        return f"drift: {found['reason']}\nno retraining: {found['why_not']}"
    shares = found["accuracy"]
    lines = [
        "",
        f"drift seen after      {found['drifted_after']} windows of {WINDOW}",
        f"labels given          {found['labels']}",
        f"decision              {found['decision']['outcome']}: {found['decision']['reason']}",
    ]
    if found["decision"]["outcome"] == "hold":
        lines.append("                      (promoted by hand, to show the rest)")
    for name, count in (("field", found["unseen"]), ("lab", found["lab_test"])):
        before, after = shares[f"{name}_before"], shares.get(f"{name}_after")
        told = f"{before:.1%} -> {after:.1%} ({100 * (after - before):+.1f} points)" if (
            after is not None) else f"{before:.1%}"  # fmt: skip
        lines.append(f"{name + ' accuracy':<21} {told} on {count} photos")
    if "promoted_draws" in found:
        lines.append(f"other labelled photos {found['promoted_draws']:.1%} of {DRAWS} draws of "
                     f"{LABELS_PER_CLASS} unseen ones per class promote")  # fmt: skip
    if "seconds_to_follow" in found:
        lines += [
            f"server took it up in  {found['seconds_to_follow']:.1f} s, without a restart",
            f"after the rollback    {found['same_after_rollback']} of "
            f"{found['asked_after_rollback']} answers as before, bit for bit",
        ]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
