"""Is enough left to train on? One message that names every class that falls short."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pandas as pd

from regraft.data.manifest import SPLITS
from regraft.data.pins import PINNED, lost_pins, pins
from regraft.data.splits import VALIDATION_FROM_IMAGES
from regraft.errors import UserError

UNLABELLED = "(unlabelled)"
_FEWEST_CLASSES = 2
_FEWEST_GROUPS = 2  # one for training, one for the test
_FEWEST_TEST_GROUPS = 2
_ALIKE = "all of them near-duplicates or of one group, so none is left for a test"


def keep_classes(
    listing: pd.DataFrame, *, source_domain: str, target_domain: str, target_labels_per_class: int
) -> tuple[dict[str, str], list[str]]:
    """Which classes are learned, and which classes of the target domain are left out.

    The first is {class: domain whose examples must suffice ('' for all)}: the source domain, or
    the target domain for a class that only occurs there and of which labels may be used.
    """
    pairs = listing.attrs["classes"]
    if not target_domain:
        return {name: source_domain for _, name in sorted(pairs)}, []
    source = {name for domain, name in pairs if domain == source_domain}
    only_target = {name for domain, name in pairs if domain == target_domain} - source
    learned = dict.fromkeys(sorted(source), source_domain)
    if target_labels_per_class > 0:
        return learned | dict.fromkeys(sorted(only_target), target_domain), []
    return learned, sorted(only_target)


def usable_counts(usable: pd.DataFrame, learned: dict[str, str]) -> pd.Series:
    """Usable labelled examples of each learned class in the domain that must suffice."""
    return pd.Series(
        {name: len(_of(usable, name, home)) for name, home in learned.items()}, dtype=int
    )


def refuse_if_too_few(
    table: pd.DataFrame,
    usable: pd.DataFrame,
    learned: dict[str, str],
    *,
    target_domain: str,
    min_per_class: int,
    quarantine: Path,
) -> None:
    """Raise one UserError that lists every class with too few usable examples.

    `table` is every inspected example, `usable` those without a reason, with their `group`;
    `min_per_class` 0 takes classes of any size. Also refused: fewer than two classes that have an
    example, and a target domain without a usable one.
    """
    short = []
    for name, home in learned.items() if min_per_class else ():
        own = _of(usable, name, home)
        shortfall = _shortfall(len(own), own["group"].nunique(), min_per_class)
        if shortfall:
            lost = _lost(table, name, home)
            short.append((name, f"{len(own)} usable, {lost}", shortfall))
    if short:
        raise _too_few(short, learned, quarantine)
    if len(learned) < _FEWEST_CLASSES:
        raise UserError(
            "fewer than two classes: there is nothing to tell apart",
            where="data.root, data.classes",
            got=", ".join(learned) or "no classes",
            expected="at least two class folders",
        )
    left = [name for name, home in learned.items() if len(_of(usable, name, home))]
    if len(left) < _FEWEST_CLASSES:
        raise UserError(
            "fewer than two classes have a usable example",
            where=str(quarantine),
            got=f"{', '.join(left) or 'none'}; of {len(table)} examples {_reasons(table)}",
            expected="usable examples of at least two classes",
            fix="mend the quarantined files (each is listed with its reason in the table above)",
        )
    if target_domain and not (usable["domain"] == target_domain).any():
        raise UserError(
            f"the target domain '{target_domain}' has no usable example of a known class",
            where=str(quarantine),
            expected=f"examples of {', '.join(learned)}",
            fix="add some, or leave data.target_domain empty",
        )


def refuse_without_test(manifest: pd.DataFrame) -> None:
    """Raise UserError where the splits leave too little to compare models on: on one group any
    difference would be certain."""
    left = manifest[manifest["split"] == "test"]["group"].nunique()
    if left >= _FEWEST_TEST_GROUPS:
        return
    pinned = (pins(manifest) != "").any()
    raise UserError(
        "too few examples are left for a test",
        where="column split" if pinned else "data.root",
        got=f"{left} independent ones of {manifest['group'].nunique()}"
        + (", some rows are pinned" if pinned else ""),
        expected=f"at least {_FEWEST_TEST_GROUPS}; what is alike or of one group (image, person) "
        "counts once, and is never on two sides",
        fix="add examples" + (", or pin some to test" if pinned else ""),
    )


def warnings(
    listing: pd.DataFrame,
    manifest: pd.DataFrame,
    counts: pd.Series,
    *,
    left_out: list[str],
    images_per_class: int,
    max_imbalance: float,
    near_duplicates: int,
) -> list[str]:
    """What a person should know although the run goes on."""
    found = []
    if left_out:
        found.append(f"left out, unknown to the source domain: {', '.join(left_out)}")
    plain = "split" not in listing and not listing["domain"].any()
    if plain and _looks_like_domains(listing["id"]):
        found.append("the class folders hold the same sub-folders: are they domains? "
                     "then set data.source_domain")  # fmt: skip
    ratio = imbalance(counts)
    if ratio > max_imbalance:
        found.append(f"the largest class has {ratio:.1f} times the examples of the smallest")
    scarce = counts[counts < images_per_class]
    found += [f"{name}: fewer than {images_per_class} usable examples" for name in scarce.index]
    said = pins(manifest)
    if not (manifest["split"] == "val").any():
        few = f"a class has fewer than {VALIDATION_FROM_IMAGES} labelled examples"
        why = "nothing is pinned to val" if (said != "").all() else few
        found.append(f"no validation split ({why}): choices are made by cross-validation")
    if images_per_class and (said == "train").any():
        found.append("data.images_per_class does not count for what is pinned to train")
    found += _lost_pins(manifest) + _without_motion(manifest)
    other = manifest["quality_flags"].str.contains("near_duplicate_other_label").sum()
    if other:
        found.append(f"{other} near-duplicates have another label than their twin")
    if manifest["group"].duplicated(keep=False).mean() > 0.5 and near_duplicates:
        found.append("more than half of the examples are grouped as near-duplicates: if they are "
                     "different things, lower data.near_duplicate_distance")  # fmt: skip
    return found


def _lost_pins(manifest: pd.DataFrame) -> list[str]:
    moved = manifest[lost_pins(manifest)]
    if not len(moved):
        return []
    return [
        f"{len(rows)} examples pinned to {name} are near-duplicates of a pinned test or validation "
        "example and are not used"
        for name, rows in moved.groupby(PINNED)
    ]


def _without_motion(manifest: pd.DataFrame) -> list[str]:
    """Words that are recognised and cannot be signed, where others can."""
    if "motion" not in manifest:
        return []
    paired = manifest["motion"].fillna("") != ""
    words = sorted(set(manifest["label"].dropna()) - set(manifest["label"][paired].dropna()))
    if not paired.any() or not words:
        return []
    return [f"no motion for {', '.join(words)}: recognised, never signed"]


def imbalance(counts: pd.Series) -> float:
    """Examples of the largest class over those of the smallest."""
    some = counts[counts > 0]
    return round(float(some.max() / some.min()), 2) if len(some) else 0.0


def split_counts(manifest: pd.DataFrame, labels: pd.Series) -> dict[str, dict[str, int]]:
    """Rows of each class and split; `labels` are the labels before the unlabelled lost theirs."""
    names = labels.fillna(UNLABELLED)
    counts = Counter(zip(names, manifest["split"], strict=True))
    return {name: {s: counts[name, s] for s in SPLITS} for name in sorted(set(names))}


def flag_counts(flags: pd.Series) -> dict[str, int]:
    """How often each quality flag occurs."""
    return dict(sorted(Counter(f for text in flags for f in text.split(",") if f).items()))


def _of(table: pd.DataFrame, name: str, home: str) -> pd.DataFrame:
    own = table[table["label"] == name]
    return own[own["domain"] == home] if home else own


def _shortfall(usable: int, groups: int, needed: int) -> str:
    needed = max(needed, _FEWEST_GROUPS)
    if usable < needed:
        return f"{needed} needed"
    if groups < _FEWEST_GROUPS:
        return _ALIKE
    return ""


def _lost(table: pd.DataFrame, name: str, home: str) -> str:
    return _reasons(_of(table, name, home))


def _reasons(table: pd.DataFrame) -> str:
    reasons = Counter(r for r in table["reason"] if r)
    if not reasons:
        return "0 quarantined"
    listed = ", ".join(f"{count} {reason}" for reason, count in sorted(reasons.items()))
    return f"{reasons.total()} quarantined ({listed})"


def _too_few(
    short: list[tuple[str, str, str]], learned: dict[str, str], quarantine: Path
) -> UserError:
    """`short`: of each class its name, what there is, and what is missing."""
    names = {name for name, *_ in short}
    good = [name for name in learned if name not in names]
    alike = any(missing == _ALIKE for *_, missing in short)
    apart = ", lower data.near_duplicate_distance where they are different things" if alike else ""
    without = f" or leave these classes out with data.classes=[{','.join(good)}]"
    return UserError(
        f"too few usable examples in {len(short)} of {len(learned)} classes",
        where=str(quarantine),
        got="\n            ".join(f"{name}: {have}; {missing}" for name, have, missing in short),
        expected="enough examples of every class to train and to test",
        fix="add examples, mend the quarantined files (each is listed with its reason in the "
        f"table above), lower data.min_images_per_class{apart}{without if len(good) > 1 else ''}",
    )


def _looks_like_domains(ids: pd.Series) -> bool:
    parts = [example.split("/") for example in ids]
    if not parts or min(map(len, parts)) < 3:
        return False
    holders: dict[str, set[str]] = {}
    for first, second, *_ in parts:
        holders.setdefault(second, set()).add(first)
    return any(len(firsts) > 1 for firsts in holders.values())


def reason_counts(table: pd.DataFrame) -> dict[str, Any]:
    """How many examples were quarantined for each reason."""
    return dict(sorted(Counter(r for r in table["reason"] if r).items()))
