"""The drawn leaf pictures: reproducible, complete, and different between the two domains."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from regraft.data.examples.leaves import (
    CLASSES,
    DOMAINS,
    IMAGE_SIZE,
    draw_leaf,
    generate_leaves,
    leaf_images,
)
from regraft.data.versions import content_version
from regraft.errors import UserError

FEW = {"lab_per_class": 2, "field_per_class": 1}


def test_same_seed_gives_the_same_bytes_and_another_seed_others(tmp_path: Path) -> None:
    roots = [tmp_path / name for name in ("a", "b", "c")]
    for root, seed in zip(roots, (0, 0, 1), strict=True):
        generate_leaves(root, seed=seed, **FEW)
    first, again, other = (content_version(root) for root in roots)
    assert first == again
    assert first != other


def test_a_picture_does_not_depend_on_how_many_are_drawn() -> None:
    few, _ = leaf_images("lab", per_class=1)
    more, _ = leaf_images("lab", per_class=2)
    assert np.array_equal(few, more[::2])


def test_layout_counts_and_decoding(tmp_path: Path) -> None:
    written = generate_leaves(tmp_path, **FEW)
    files = sorted(tmp_path.rglob("*.*"))
    assert written == len(files) == len(CLASSES) * 3
    assert {path.relative_to(tmp_path).parts[:2] for path in files} == {
        (domain, label) for domain in DOMAINS for label in CLASSES
    }
    for path in files:
        with Image.open(path) as image:
            assert (image.format, image.mode, image.size) == ("JPEG", "RGB", (IMAGE_SIZE,) * 2)
            image.load()


def test_writes_only_what_is_missing_or_different_and_removes_nothing(tmp_path: Path) -> None:
    generate_leaves(tmp_path, **FEW)
    foreign = tmp_path / "lab" / "rust" / "my_own.jpg"
    foreign.write_bytes(b"mine")
    (tmp_path / "lab" / "rust" / "000.jpg").write_bytes(b"damaged")
    (tmp_path / "field" / "blight" / "000.jpg").unlink()
    assert generate_leaves(tmp_path, **FEW) == 2
    assert generate_leaves(tmp_path, **FEW) == 0
    assert foreign.read_bytes() == b"mine"


def test_the_field_is_darker_and_more_cluttered_than_the_laboratory() -> None:
    lab, _ = leaf_images("lab", per_class=8)
    field, _ = leaf_images("field", per_class=8)
    assert lab.mean() > field.mean() + 30

    def clutter_of_the_rim(pixels: np.ndarray) -> float:
        return float(np.median(pixels[:, :12].std(axis=(1, 2)).mean(axis=1)))

    assert clutter_of_the_rim(field) > 2 * clutter_of_the_rim(lab)


def test_mean_colour_does_not_tell_the_class() -> None:
    """Nearest class mean on mean and spread of the channels stays far below the features' 90 %."""
    pixels, labels = leaf_images("lab", per_class=24)
    flat = pixels.reshape(len(pixels), -1, 3).astype(np.float64)
    features = np.concatenate([flat.mean(axis=1), flat.std(axis=1)], axis=1)
    features = (features - features.mean(axis=0)) / features.std(axis=0)
    train = np.arange(len(labels)) % 2 == 0
    means = np.stack([features[train & (labels == k)].mean(axis=0) for k in range(len(CLASSES))])
    distance = ((features[~train, None] - means[None]) ** 2).sum(axis=2)
    assert (distance.argmin(axis=1) == labels[~train]).mean() < 0.6


def test_no_two_laboratory_pictures_are_near_duplicates() -> None:
    """Else the data validation would group or flag pictures of different leaves."""
    from regraft.data.duplicates import NEAR_DUPLICATE_DISTANCE, near_duplicate_pairs
    from regraft.data.images import perceptual_hash

    pixels, _ = leaf_images("lab", per_class=20)
    hashes = [perceptual_hash(Image.fromarray(picture)) for picture in pixels]
    assert len(near_duplicate_pairs(hashes, NEAR_DUPLICATE_DISTANCE)) == 0


@pytest.mark.parametrize(("domain", "label"), [("moon", "rust"), ("lab", "hunger")])
def test_unknown_domain_or_class_is_the_users_fault(domain: str, label: str) -> None:
    with pytest.raises(UserError, match="unknown kind of leaf picture"):
        draw_leaf(domain, label, 0)
