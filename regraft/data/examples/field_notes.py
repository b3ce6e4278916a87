"""Field notes to the drawn leaves: what to do follows from picture and note together.

A note says what was sprayed, copper or sulphur, in a farmer's words and among other things. Copper
holds blight back, sulphur rust and powdery mildew. A healthy leaf is left alone; where the spray
fits the disease one waits, else one sprays again. So the picture alone tells only the healthy
leaves apart, and the note alone nothing. Every picture has two notes, one per spray.
"""

from __future__ import annotations

import json
from itertools import product
from pathlib import Path

import numpy as np

from regraft.data.files import write_if_different

FILE = "field_notes.jsonl"

HELD_BACK_BY = {"blight": "copper", "rust": "sulphur", "powdery_mildew": "sulphur"}
_HEALTHY = "healthy"

_SPRAYS = {
    "copper": ("Bordeaux mixture", "copper hydroxide", "copper", "copper oxychloride"),
    "sulphur": ("wettable sulphur", "lime sulphur", "sulphur", "sulphur dust"),
}
_SENTENCES = (
    "Put on {spray} {day}, {weather}.",
    "{spray} {day}; {weather}.",
    "The lower rows got {spray} {day}. It was {weather}.",
    "Treated with {spray} {day}, by hand, {weather}.",
    "{weather} {day}, so we sprayed {spray}.",
)
_DAYS = (
    "on Monday",
    "three days ago",
    "last week",
    "before the weekend",
    "yesterday",
    "on the 12th",
)
_WEATHER = ("dry and calm", "light rain after noon", "windy", "warm", "cool with dew", "overcast")
_REMARKS = (
    "Row {number}, north slope.",
    "Plot {number}.",
    "Seen while pruning.",
    "Neighbour's field looks the same.",
    "Sample {number} of today.",
    "",
)


def action(disease: str, spray: str) -> str:
    """What to do about a leaf: `leave`, `wait` or `spray`."""
    if disease == _HEALTHY:
        return "leave"
    return "wait" if HELD_BACK_BY[disease] == spray else "spray"


def field_notes(*, seed: int = 0, per_class: int = 60) -> list[dict[str, str]]:
    """Rows {file_name, text, label, disease, spray, split}; the pictures are those of the lab that
    `leaves.generate_leaves` draws below `leaves/`. A quarter of them are test."""
    return [
        {
            "file_name": f"leaves/lab/{disease}/{index:03d}.jpg",
            "text": _note(np.random.default_rng([seed, place, index]), spray),
            "label": action(disease, spray),
            "disease": disease,
            "spray": spray,
            "split": "test" if index % 4 == 3 else "train",
        }
        for place, (disease, spray) in enumerate(product((_HEALTHY, *HELD_BACK_BY), _SPRAYS))
        for index in range(per_class)
    ]


def generate_field_notes(root: Path | str, *, seed: int = 0) -> int:
    """Write `root/field_notes.jsonl` where missing or different; returns the files written."""
    lines = [json.dumps(row) + "\n" for row in field_notes(seed=seed)]
    return int(write_if_different(Path(root) / FILE, "".join(lines).encode()))


def _note(rng: np.random.Generator, spray: str) -> str:
    def one(of: tuple[str, ...]) -> str:
        return of[int(rng.integers(len(of)))]

    said = one(_SENTENCES).format(spray=one(_SPRAYS[spray]), day=one(_DAYS), weather=one(_WEATHER))
    said = said[0].upper() + said[1:]
    return " ".join([one(_REMARKS).format(number=int(rng.integers(1, 40))), said]).strip()
