"""The demonstration's draws: the gate as it is, on other photos."""

from pathlib import Path
from typing import Any

import pytest

from pipelines.demo_draws import promoted_share

CLASSES = ("a", "b", "c")


def photos(count: int) -> list[Path]:
    return [Path(CLASSES[number % 3], f"{number}.jpg") for number in range(count)]


def answers(labels: list[str]) -> list[dict[str, Any]]:
    return [{"probabilities": {name: 0.98 if name == label else 0.01 for name in CLASSES}}
            for label in labels]  # fmt: skip


@pytest.mark.parametrize(("lab", "field", "share"), [("", "", 1.0), ("", "c", 0.0), ("a", "", 0.0)])
def test_better_equal_and_forgetful(lab: str, field: str, share: float) -> None:
    """The champion knows the lab and calls all of the field c; the candidate calls all of a domain
    as given here, and is right where nothing is."""
    ours, theirs = photos(60), photos(45)
    champion = answers([photo.parent.name for photo in ours] + ["c"] * 45)
    candidate = answers([lab or photo.parent.name for photo in ours]
                        + [field or photo.parent.name for photo in theirs])  # fmt: skip
    found = promoted_share(
        ours, theirs, champion=champion, candidate=candidate, test_photos=5, draws=5
    )
    assert found == share
