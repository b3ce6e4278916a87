"""Who trains, who selects, who tests: grouped, stratified, and stable when data are added.

The order in which groups are drawn is a hash of the seed and the group's name, not a shuffle of
the rows: it does not depend on the order of the rows, and a group keeps its place when others
arrive. So nearly all of yesterday's test examples are test examples tomorrow.
"""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterable

import pandas as pd

from regraft.data.auxiliary import PREFIX, task_names
from regraft.data.pins import PINNED, pinned_sides, pinned_splits, refuse_unlabelled_source
from regraft.errors import UserError

VALIDATION_FROM_IMAGES = 20


def assign_splits(
    table: pd.DataFrame,
    *,
    images_per_class: int,
    test_fraction: float,
    validation_fraction: float,
    target_domain: str,
    source_domain: str,
    target_labels_per_class: int,
    target_test_fraction: float,
    seed: int,
    unlabelled_rest: bool = False,
) -> pd.DataFrame:
    """Return `table` (columns id, label, domain, group) with `split`, rows in the same order.

    One domain (`target_domain` ''): `test_fraction` of each class becomes `test`; of the rest
    `images_per_class` (0: all) stay labelled, the others are `unused`; if then every class has at
    least 20 labelled images, `validation_fraction` of them become `val`, otherwise there is no
    `val` and choices are made by cross-validation. Rows without a label become `unlabelled`, and
    with `unlabelled_rest` so do the `unused` ones; near-duplicates of test and val rows never do.

    Two domains: the source as above. Target: `target_test_fraction` becomes `test`,
    `target_labels_per_class` of the rest `train`, the others `unlabelled`, with label None, and
    so are the labels of auxiliary tasks.

    A column `split` pins rows (see `data.pins`): they are where it says, whatever the options are,
    and what it said is kept as `pinned`. Rows with an empty cell are split as ever among
    themselves, except that a near-duplicate of a pinned test or val row is `unused`, and one of a
    pinned training row is never drawn for test or val.

    A group is never on two sides. A class with two groups or more has at least one test example
    and one that is not; a class with one group has no test example.

    Raises UserError for fractions outside [0, 1), negative counts, and rows outside the target
    domain that are pinned to `unlabelled`.
    """
    _check_fractions(test_fraction, validation_fraction, target_test_fraction)
    _check_counts(images_per_class, target_labels_per_class)
    _check_rest(unlabelled_rest, target_domain)
    refuse_unlabelled_source(table, target_domain=target_domain)
    examples = _Examples(table, seed)
    pins, sides = pinned_splits(table), pinned_sides(table)
    held = {row for row in range(len(table)) if sides.get(examples.group[row])}
    frozen = {row for row in held if sides[examples.group[row]] in {"test", "val"}}
    source, target = (
        [row for row in rows if row not in pins and row not in frozen]
        for rows in _by_domain(table, source_domain, target_domain)
    )
    split = _split_source(
        examples, source, held, images_per_class, test_fraction, validation_fraction
    )
    split |= _split_target(
        examples, target, held, split, target_labels_per_class, target_test_fraction
    )
    if not target_domain:
        split |= _unlabelled(examples, source, split, rest=unlabelled_rest)
    split |= dict.fromkeys(frozen, "unused") | pins
    result = table.copy()
    if "split" in table:
        result[PINNED] = table["split"]
    result["split"] = [split[row] for row in range(len(table))]
    hidden = result["split"] == "unlabelled"
    for name in ("label", *(PREFIX + task for task in task_names(result.columns))):
        result[name] = [None if h else x for h, x in zip(hidden, result[name], strict=True)]
    return result


class _Examples:
    """Labels, groups and the drawing order of the rows, by row position."""

    def __init__(self, table: pd.DataFrame, seed: int) -> None:
        self.label = [None if pd.isna(value) else str(value) for value in table["label"]]
        self.group = table["group"].tolist()
        self.row_order = [(_place(seed, name), name) for name in table["id"]]
        self.group_order = {name: (_place(seed, name), name) for name in set(self.group)}

    def labelled(self, rows: Iterable[int]) -> dict[str, list[int]]:
        """Rows of each class in drawing order; rows without a label are left out."""
        classes: dict[str, list[int]] = defaultdict(list)
        for row in sorted(rows, key=self.row_order.__getitem__):
            label = self.label[row]
            if label is not None:
                classes[label].append(row)
        return dict(classes)

    def grouped(self, rows: Iterable[int]) -> dict[str, list[int]]:
        """Rows of each group, the groups in drawing order."""
        groups: dict[str, list[int]] = defaultdict(list)
        for row in rows:
            groups[self.group[row]].append(row)
        return {name: groups[name] for name in sorted(groups, key=self.group_order.__getitem__)}


def _place(seed: int, name: str) -> int:
    digest = hashlib.blake2b(f"{seed}\0{name}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big")


def _by_domain(table: pd.DataFrame, source: str, target: str) -> tuple[list[int], list[int]]:
    if not target:
        return list(range(len(table))), []
    domains = table["domain"].tolist()
    return (
        [row for row, name in enumerate(domains) if name == source],
        [row for row, name in enumerate(domains) if name == target],
    )


def _split_source(
    examples: _Examples,
    rows: list[int],
    held: set[int],
    per_class: int,
    test: float,
    validation: float,
) -> dict[int, str]:
    """`held` are rows that must not be drawn, because a near-duplicate is pinned to training."""
    tested = _draw_groups(examples, [row for row in rows if row not in held], test)
    left = examples.labelled(row for row in rows if row not in tested)
    chosen = [row for one in left.values() for row in one[: per_class or None]]
    enough = all(len(one[: per_class or None]) >= VALIDATION_FROM_IMAGES for one in left.values())
    drawable = [row for row in chosen if row not in held]
    validating = _draw_groups(examples, drawable, validation) if enough else set()
    split = dict.fromkeys(rows, "unused")
    split |= dict.fromkeys(chosen, "train")
    split |= dict.fromkeys(validating, "val")
    return split | dict.fromkeys(tested, "test")


def _unlabelled(
    examples: _Examples, rows: list[int], split: dict[int, str], *, rest: bool
) -> dict[int, str]:
    """Rows that can be learned from without a label. One that shares a group with a test or
    validation row would let it be seen: it is `unused`."""
    judging = {examples.group[row] for row in rows if split[row] in {"test", "val"}
               and examples.label[row] is not None}  # fmt: skip
    found = {}
    for row in rows:
        if examples.label[row] is None or (rest and split[row] == "unused"):
            found[row] = "unused" if examples.group[row] in judging else "unlabelled"
    return found


def _split_target(
    examples: _Examples,
    rows: list[int],
    held: set[int],
    source: dict[int, str],
    labels: int,
    test: float,
) -> dict[int, str]:
    """The source decides first: a target photo that is a near-duplicate of one follows it."""
    side = defaultdict(set)
    for row, name in source.items():
        if name != "unused":
            side[examples.group[row]].add(name)
    follows = {row for row in rows if side[examples.group[row]] == {"test"}}
    selecting = {row for row in rows if side[examples.group[row]] == {"val"}}
    free = [row for row in rows if not side[examples.group[row]] and row not in held]
    tested = follows | _draw_groups(examples, free, test)
    kept_away = tested | selecting
    left = examples.labelled(row for row in rows if row not in kept_away)
    split = dict.fromkeys(rows, "unlabelled")
    split |= dict.fromkeys((row for one in left.values() for row in one[:labels]), "train")
    split |= dict.fromkeys(selecting, "unused")
    return split | {r: "test" if examples.label[r] is not None else "unused" for r in tested}


def _draw_groups(examples: _Examples, rows: Iterable[int], fraction: float) -> set[int]:
    """Draw whole groups until each class has given its share; the rows that were drawn."""
    groups = examples.grouped(rows)
    if fraction == 0:
        return set()
    labels = {name: [examples.label[row] for row in members] for name, members in groups.items()}
    draw = _Draw({name: Counter(x for x in one if x is not None) for name, one in labels.items()})
    draw.by_share(fraction)
    draw.at_least_one_per_class()
    return {row for name in draw.taken for row in groups[name]}


class _Draw:
    """Groups taken so far, and what each class can still give.

    `counts` says for each group, in drawing order, how many examples of each class it holds.
    """

    def __init__(self, counts: dict[str, Counter[str]]) -> None:
        self.counts = counts
        self.taken: set[str] = set()
        self.given: Counter[str] = Counter()
        self.groups_left = Counter(label for count in counts.values() for label in count)

    def by_share(self, fraction: float) -> None:
        """Take a group if at least half of it still fits the shares of its classes."""
        total: Counter[str] = Counter()
        for count in self.counts.values():
            total.update(count)
        share = {label: max(1, round(fraction * count)) for label, count in total.items()}
        for name, count in self.counts.items():
            fits = sum(min(n, max(0, share[c] - self.given[c])) for c, n in count.items())
            if 2 * fits >= count.total() and self._can_spare(name):
                self._take(name)

    def at_least_one_per_class(self) -> None:
        """Let a class whose groups were all too large give its smallest one."""
        for label in sorted({c for count in self.counts.values() for c in count}):
            if self.given[label]:
                continue
            own = [n for n, count in self.counts.items() if label in count and self._can_spare(n)]
            if own:
                self._take(min(own, key=lambda name: self.counts[name].total()))

    def _can_spare(self, name: str) -> bool:
        """True if every class in the group keeps another group."""
        return bool(self.counts[name]) and all(self.groups_left[c] > 1 for c in self.counts[name])

    def _take(self, name: str) -> None:
        self.taken.add(name)
        self.given.update(self.counts[name])
        self.groups_left.subtract(self.counts[name].keys())


def _check_fractions(*fractions: float) -> None:
    for value in fractions:
        if not 0 <= value < 1:
            raise UserError("a split fraction is outside [0, 1)", got=str(value), where="data")


def _check_rest(unlabelled_rest: bool, target_domain: str) -> None:
    if unlabelled_rest and target_domain:
        raise UserError(
            "the rest of the source is unlabelled only where there is no target domain",
            where="data.unlabelled_rest",
            got=f"true with data.target_domain {target_domain}",
            fix="leave one of the two out",
        )


def _check_counts(*counts: int) -> None:
    for value in counts:
        if value < 0:
            raise UserError("a number of images is negative", got=str(value), where="data")
