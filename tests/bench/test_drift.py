"""The bench of the monitors on drawn numbers instead of photos."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from regraft.bench.drift import measure_streams
from regraft.bench.drift_champion import HELD_OUT, TRAIN, Champion
from regraft.bench.drift_photos import CORRUPTIONS, Photos, embedded
from regraft.bench.drift_streams import chosen_streams, streams, windows_of
from regraft.bench.inputs import backbones, data_folder
from regraft.cli.tables import drift_table
from regraft.errors import UserError
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
    field = table("field", 70, 1, shift=1.0)
    made = {"lab": (lab, x), "field": field}
    for kind in CORRUPTIONS:
        made[kind] = (lab.assign(lab_row=np.arange(len(lab))), x + 1)
    return Photos({k: v[0] for k, v in made.items()}, {k: v[1] for k, v in made.items()})


def test_reference_and_stream_share_no_photo_and_no_group(photos: Photos) -> None:
    champions = {knows: Champion(photos, 3, field=100 * knows) for knows in (False, True)}
    assert len(champions[False].reference().rows) == TRAIN + HELD_OUT
    assert champions[True].reference().rows["domain"].value_counts()["field"] == 100
    for kind in streams(2):
        champion = champions[kind.knows_field]
        known = champion.reference().rows
        assert champion.unknown not in set(known["label"])
        for window in windows_of(champion, kind, size=100, labels=20, seed=0):
            assert len(window) == 100 and window.rows["id"].is_unique
            assert window.rows["truth"].notna().sum() == 20
            assert not set(window.rows["id"]) & set(known["id"])
    lab, pool = photos.tables["lab"], champions[False].pool
    assert not set(lab["group"].iloc[pool]) & set(champions[False].reference().rows["group"])


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
    options = MonitoringOptions(permutations=200, alpha=0.05)
    kinds = [
        k for k in streams(3) if k.name in ("no shift", "known field", "sudden", "class prior")
    ]
    kinds = [replace(kind, windows=3) for kind in kinds]
    rows = measure_streams(photos, options=options, repetitions=2, kinds=kinds, labels=20)
    found = {row["stream"]: row for row in rows}
    assert found["no shift"]["windows"] == 6 and found["no shift"]["alarmed_windows"]["share"] == 0
    assert found["known field"]["alarmed_windows"]["share"] == 0
    assert "delay" not in found["no shift"]
    assert found["sudden"]["delay"] == 2 and found["sudden"]["soon"]["share"] == 1.0
    assert found["class prior"]["seen_by"]["predictions"] > 0
    assert found["sudden"]["seen_by"]["embeddings"] == 1.0
    assert found["sudden"]["delay_alone"]["embeddings"] == 2
    assert found["class prior"]["delay_alone"]["inputs"] is None, "no input statistic changes"
    assert "sudden" in drift_table(rows)


def test_a_kind_that_is_not_there_is_an_error_and_a_part_keeps_its_seed() -> None:
    assert chosen_streams("new*", 5)[0].seed == streams(5)[7].seed == 7000
    with pytest.raises(UserError, match="no kind of stream"):
        chosen_streams("nothing", 5)


@pytest.mark.realdata
def test_on_real_photos_the_field_is_seen_and_the_lab_is_calm(
    real_data: Path, tmp_path: Path
) -> None:
    """Three known classes and one unknown, few photos: what `regraft bench drift` measures at
    length."""
    source = data_folder(str(real_data / "plants"))
    weights = real_data / "weights" / "mobilenetv2_100" / "model.safetensors"
    backbone = backbones([f"mobilenetv2_100={weights}"])[0]
    few = {"lab/tomato_bacterial_spot": 110, "lab/tomato_healthy": 110,
           "lab/tomato_late_blight": 110, "lab/tomato_yellow_leaf_curl_virus": 20,
           "field/tomato_bacterial_spot": 40, "field/tomato_late_blight": 40}  # fmt: skip
    for folder, count in few.items():
        (tmp_path / "photos" / folder).mkdir(parents=True)
        for path in sorted((source / folder).iterdir())[:count]:
            (tmp_path / "photos" / folder / path.name).symlink_to(path)
    photos = embedded(tmp_path / "photos", backbone, tmp_path, corrupted=4)
    kinds = [replace(k, windows=3) for k in streams(3) if k.name in ("no shift", "sudden")]
    options = MonitoringOptions(window=60)
    calm, sudden = measure_streams(
        photos, options=options, repetitions=2, kinds=kinds, labels=20, train=150, held_out=70
    )
    assert calm["alarmed_windows"]["share"] == 0
    assert sudden["delay"] == 2 and sudden["seen_by"]["embeddings"] == 1.0
    assert sudden["delay_alone"]["embeddings"] == 2
