"""Features that were extracted in shards are those that one step extracts."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from regraft.data.examples.leaves import draw_leaf
from regraft.steps.extract_features import embed_shard, extract_features
from regraft.steps.validate_data import validate_data

SHARDS = 3
HOW: dict[str, Any] = {
    "task": "image_classification",
    "backbone": {"name": "starter"},
    "features": {"views": 2, "augmented_views": 2, "shards": SHARDS},
    "threads": 1,
}


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """The folders of the shards; beside them the manifest, and `whole` without shards."""
    root = tmp_path_factory.mktemp("features")
    for label in ("healthy", "rust"):
        (root / "photos" / label).mkdir(parents=True)
        for index in range(10):
            picture = Image.fromarray(draw_leaf("lab", label, index))
            picture.save(root / "photos" / label / f"{index}.jpg", quality=90)
    data = {"root": str(root / "photos")}
    validate_data(task=HOW["task"], data=data, seed=0, out_dir=root / "data")
    manifest = root / "data" / "manifest.parquet"
    extract_features(**HOW, manifest=manifest, seed=0, out_dir=root / "whole")
    folders = [root / str(shard) for shard in range(SHARDS)]
    for shard, folder in enumerate(folders):
        embed_shard(**HOW, manifest=manifest, shard=shard, out_dir=folder)
    return folders


def gathered(parts: list[Path], out: Path) -> Path:
    manifest = parts[0].parent / "data" / "manifest.parquet"
    extract_features(**HOW, manifest=manifest, seed=0, parts=parts, out_dir=out)
    return out


def test_together_they_are_the_whole_whatever_their_order(
    parts: list[Path], tmp_path: Path
) -> None:
    whole, found = parts[0].parent / "whole", gathered(parts[::-1], tmp_path)
    assert {path.name for path in found.iterdir()} == {path.name for path in whole.iterdir()}
    for name in ("features.npz", "probe.npz"):
        one, other = np.load(whole / name), np.load(found / name)
        assert set(one) == set(other)
        for key in one:
            if one[key].dtype.kind == "f":
                np.testing.assert_allclose(one[key], other[key], rtol=1e-3, atol=1e-5)
            else:
                np.testing.assert_array_equal(one[key], other[key])
    cards = [json.loads((folder / "probe.json").read_text()) for folder in (whole, found)]
    assert cards[0]["cv_accuracy"] == cards[1]["cv_accuracy"]
    seconds = json.loads((found / "cost.json").read_text())["test_cpu_seconds"]
    assert seconds == pytest.approx(
        sum(json.loads((part / "cost.json").read_text())["test_cpu_seconds"] for part in parts)
    )


def test_shards_share_the_examples(parts: list[Path]) -> None:
    sizes = [len(np.load(part / "features.npz")["ids"]) for part in parts]
    assert sum(sizes) == 20
    assert max(sizes) - min(sizes) <= 1


def test_a_shard_that_is_missing_or_there_twice_is_seen(parts: list[Path], tmp_path: Path) -> None:
    for wrong in (parts[1:], [parts[0], *parts]):
        with pytest.raises(ValueError, match="not the 20 of the manifest"):
            gathered(wrong, tmp_path)


def test_more_shards_than_examples_is_no_error(parts: list[Path], tmp_path: Path) -> None:
    how = HOW | {"features": HOW["features"] | {"shards": 32}}
    manifest = parts[0].parent / "data" / "manifest.parquet"
    embed_shard(**how, manifest=manifest, shard=31, out_dir=tmp_path / "empty")
    assert len(np.load(tmp_path / "empty" / "features.npz")["ids"]) == 0
    gathered([*parts, tmp_path / "empty"], tmp_path / "out")
    shutil.rmtree(tmp_path)
