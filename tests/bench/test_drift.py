"""The bench of the monitors on drawn numbers instead of photos."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from regraft.bench.drift import measure_streams
from regraft.bench.drift_champion import HELD_OUT, TRAIN, Champion
from regraft.bench.drift_photos import CORRUPTIONS, Photos
from regraft.bench.drift_streams import streams, windows_of
from regraft.cli.tables import drift_table
from regraft.recipe.monitoring import MonitoringOptions

CLASSES = [f"class {k}" for k in range(5)]


def table(
    domain: str, per_class: int, seed: int, *, shift: float = 0.0
) -> tuple[pd.DataFrame, np.ndarray]:
    rng = np.random.default_rng(seed)
    labels = np.repeat(np.arange(5), per_class)
    x = rng.normal(size=(len(labels), 12)) + shift
    x[:, :5] += 4 * np.eye(5)[labels]
    names = [f"{domain}/{k}" for k in range(len(labels))]
    rows = pd.DataFrame(
        {
            "id": names,
            "domain": domain,
            "label": np.array(CLASSES)[labels],
            "group": [f"{domain}{k // 2}" for k in range(len(labels))],
            "lab_row": -1,
            "stat_brightness": rng.normal(size=len(labels)) + shift,
        }
    )
    return rows, x.astype(np.float32)


@pytest.fixture(scope="module")
def photos() -> Photos:
    lab, x = table("lab", 200, 0)
    field = table("field", 60, 1, shift=1.0)
    made = {"lab": (lab, x), "field": field}
    for kind in CORRUPTIONS:
        made[kind] = (lab.assign(lab_row=np.arange(len(lab))), x + 1)
    return Photos({k: v[0] for k, v in made.items()}, {k: v[1] for k, v in made.items()})


def test_reference_and_stream_share_no_photo_and_no_group(photos: Photos) -> None:
    champion = Champion(photos, 3)
    known = champion.reference().rows
    assert len(known) == TRAIN + HELD_OUT
    assert champion.unknown not in set(known["label"])
    for kind in streams(2):
        for window in windows_of(champion, kind, size=100, labels=20, seed=0):
            assert len(window) == 100 and window.rows["id"].is_unique
            assert window.rows["truth"].notna().sum() == 20
            assert not set(window.rows["id"]) & set(known["id"])
    lab = photos.tables["lab"]
    assert not set(lab["group"].iloc[champion.pool]) & set(known["group"])


def test_streams_are_what_they_say(photos: Photos) -> None:
    champion = Champion(photos, 0)
    kinds = {kind.name: kind for kind in streams(2)}

    def drawn(name: str) -> list[pd.DataFrame]:
        own = windows_of(champion, kinds[name], size=100, labels=100, seed=1)
        return [window.rows for window in own]

    field = [int(rows["id"].str.startswith("field").sum()) for rows in drawn("gradual")]
    assert field == list(range(10, 101, 10))
    assert all((rows["truth"] == champion.unknown).sum() == 30 for rows in drawn("new class"))
    assert all(rows["truth"].value_counts().max() == 50 for rows in drawn("class prior"))


def test_rates_and_delays(photos: Photos) -> None:
    options = MonitoringOptions(permutations=200)
    kinds = [k for k in streams(3) if k.name in ("no shift", "sudden", "class prior")]
    kinds = [replace(kind, windows=3) for kind in kinds]
    rows = measure_streams(photos, options=options, repetitions=2, kinds=kinds, labels=20)
    found = {row["stream"]: row for row in rows}
    assert found["no shift"]["windows"] == 6 and found["no shift"]["alarmed_windows"]["share"] == 0
    assert "delay" not in found["no shift"]
    for name in ("sudden", "class prior"):
        assert found[name]["delay"] == 2 and found[name]["soon"]["share"] == 1.0, found[name]
    assert found["sudden"]["seen_by"]["embeddings"] == 1.0
    assert "sudden" in drift_table(rows)
