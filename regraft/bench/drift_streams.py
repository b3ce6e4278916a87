"""Streams of windows of embedded photos: without a shift, and with one of known kind and start.

Each stream draws the split anew: a reference (training and held-out photos) and a pool that has no
photo and no near-duplicate of one in common with it. A window is drawn from the pool without
replacement, so without a shift it is exchangeable with the reference. Windows of one stream share
photos: there are more windows than photos.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase

import numpy as np

from regraft.bench.drift_champion import Champion
from regraft.bench.drift_photos import CORRUPTIONS
from regraft.errors import UserError
from regraft.monitoring.samples import Sample

Drawn = list[tuple[str, np.ndarray]]
"""Rows of tables of `Photos`."""
Draw = Callable[[Champion, int, np.random.Generator], Drawn]

_PRIOR, _NEW_CLASS, _GRADUAL = 0.5, 0.3, 10


@dataclass(frozen=True)
class Stream:
    """How the windows after the start of a shift are drawn; `shifted` is False for none at all.
    `knows_field`: the champion has learned field photos too. `seed` keeps the draws of one kind
    the same when others are left out.
    """

    name: str
    what: str
    draw: Draw = field(repr=False)
    windows: int = 6
    shifted: bool = True
    knows_field: bool = False
    seed: int = 0


def chosen_streams(pattern: str, calm_windows: int) -> list[Stream]:
    """The kinds whose name fits the pattern. Raises UserError if none does."""
    kinds = streams(calm_windows)
    found = [kind for kind in kinds if fnmatchcase(kind.name, pattern)]
    if not found:
        raise UserError(
            "no kind of stream has such a name",
            where="--only",
            got=pattern,
            expected=" | ".join(kind.name for kind in kinds),
        )
    return found


def streams(calm_windows: int = 50) -> list[Stream]:
    """Every kind of stream; that without a shift has `calm_windows` windows."""
    corrupted = [Stream(kind, f"every photo with {kind}", _corrupted(kind)) for kind in CORRUPTIONS]
    kinds = [
        Stream("no shift", "lab photos", _calm, calm_windows, shifted=False),
        Stream("sudden", "field photos of known classes", _sudden),
        Stream("gradual", f"field photos, {100 // _GRADUAL} % more in each window", _gradual,
               _GRADUAL),
        Stream("class prior", f"one class makes {_PRIOR:.0%}", _prior),
        *corrupted,
        Stream("new class", f"{_NEW_CLASS:.0%} of a class never learned", _new_class),
        Stream("known field", "only field photos, to a champion that knows lab and field",
               _known_field, windows=2, shifted=False, knows_field=True),
    ]  # fmt: skip
    return [replace(kind, seed=1000 * number) for number, kind in enumerate(kinds)]


def windows_of(
    champion: Champion, stream: Stream, *, size: int, labels: int, seed: int
) -> list[Sample]:
    """The windows of one stream; the truth of `labels` answers of each is known."""
    rng = np.random.default_rng(seed)
    found = []
    for number in range(stream.windows):
        drawn = [(t, rows) for t, rows in stream.draw(champion, number, rng) if len(rows)]
        window = champion.answers(_cut(drawn, size), f"{stream.name} {number}")
        hidden = rng.permutation(len(window))[labels:]
        window.rows.loc[hidden, "truth"] = None
        found.append(window)
    return found


def _cut(drawn: Drawn, size: int) -> Drawn:
    """As many as a window has, in the proportions drawn (which are per hundred)."""
    total = sum(len(rows) for _, rows in drawn)
    return [(t, rows[: round(len(rows) * size / total)]) for t, rows in drawn]


def _calm(champion: Champion, number: int, rng: np.random.Generator) -> Drawn:
    return [("lab", rng.permutation(champion.pool)[:100])]


def _field(champion: Champion, rng: np.random.Generator) -> np.ndarray:
    labels = champion.photos.tables["field"]["label"]
    return rng.permutation(np.flatnonzero(labels.isin(champion.classes)))


def _sudden(champion: Champion, number: int, rng: np.random.Generator) -> Drawn:
    return [("field", _field(champion, rng)[:100])]


def _known_field(champion: Champion, number: int, rng: np.random.Generator) -> Drawn:
    return [("field", rng.permutation(champion.field_pool)[:100])]


def _gradual(champion: Champion, number: int, rng: np.random.Generator) -> Drawn:
    share = min((number + 1) * 100 // _GRADUAL, 100)
    return [
        ("lab", rng.permutation(champion.pool)[: 100 - share]),
        ("field", _field(champion, rng)[:share]),
    ]


def _prior(champion: Champion, number: int, rng: np.random.Generator) -> Drawn:
    frequent = champion.classes[int(champion.train[0]) % len(champion.classes)]
    pool = rng.permutation(champion.pool)
    own = (champion.of("lab", pool) == frequent).to_numpy()
    half = int(100 * _PRIOR)
    return [("lab", np.concatenate([pool[own][:half], pool[~own][: 100 - half]]))]


def _corrupted(kind: str) -> Draw:
    def draw(champion: Champion, number: int, rng: np.random.Generator) -> Drawn:
        of = champion.photos.tables[kind]["lab_row"]
        return [(kind, rng.permutation(np.flatnonzero(of.isin(champion.pool)))[:100])]

    return draw


def _new_class(champion: Champion, number: int, rng: np.random.Generator) -> Drawn:
    new = np.flatnonzero(champion.photos.tables["lab"]["label"] == champion.unknown)
    share = int(100 * _NEW_CLASS)
    return [
        ("lab", rng.permutation(champion.pool)[: 100 - share]),
        ("lab", rng.permutation(new)[:share]),
    ]
