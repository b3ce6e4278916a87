"""Making a starter backbone, and the one that is committed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from regraft.errors import UserError
from regraft.training.pretraining import pretrain_starter
from regraft.training.starter_probe import probe_starter

SMALL: dict[str, Any] = {
    "classes": 21, "images": 252, "epochs": 4, "image_size": 48, "probe_images_per_class": 0,
}  # fmt: skip
STARTERS = sorted((Path(__file__).parents[2] / "regraft" / "starters").glob("*/model.safetensors"))


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    weights = tmp_path_factory.mktemp("starters") / "small" / "model.safetensors"
    return weights, pretrain_starter(weights, **SMALL)


def _load_strictly(weights: Path) -> None:
    import timm
    from safetensors.torch import load_file

    config = json.loads((weights.parent / "config.json").read_text(encoding="utf-8"))
    model = timm.create_model(config["architecture"], pretrained=False, num_classes=0)
    model.load_state_dict(load_file(weights), strict=True)


def test_a_few_steps_lower_the_loss(made: tuple[Path, dict[str, Any]]) -> None:
    losses = made[1]["train_loss"]
    assert len(losses) == SMALL["epochs"]
    assert losses[-1] < losses[0] - 0.1


def test_the_folder_is_complete_and_loads_strictly(made: tuple[Path, dict[str, Any]]) -> None:
    weights, card = made
    _load_strictly(weights)
    assert json.loads((weights.parent / "card.json").read_text(encoding="utf-8")) == card
    text = (weights.parent / "card.md").read_text(encoding="utf-8")
    assert card["reproduce"] in text
    assert "not measured" in text
    config = json.loads((weights.parent / "config.json").read_text(encoding="utf-8"))
    assert config["pretrained_cfg"]["input_size"] == [3, 48, 48]


def test_the_file_says_what_it_is(made: tuple[Path, dict[str, Any]]) -> None:
    from safetensors import safe_open

    with safe_open(made[0], framework="pt") as file:
        metadata = file.metadata()
    assert metadata["architecture"] == "test_resnet"
    assert metadata["image_size"] == "48"
    assert len(json.loads(metadata["mean"])) == len(json.loads(metadata["std"])) == 3


def test_made_twice_gives_the_same_bytes_whatever_the_callers_random_state(
    made: tuple[Path, dict[str, Any]], tmp_path: Path
) -> None:
    import torch

    torch.manual_seed(123)
    state, threads = torch.get_rng_state(), torch.get_num_threads()
    weights = tmp_path / "small" / "model.safetensors"
    pretrain_starter(weights, **SMALL)
    assert weights.read_bytes() == made[0].read_bytes()
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.get_num_threads() == threads


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"source": "leaves"}, "unknown source task"),
        ({"architecture": "resnet_of_nowhere"}, "unknown architecture"),
        ({"classes": 1}, "too small"),
        ({"images": 30}, "too small"),
        ({"epochs": 0}, "too small"),
        ({"image_size": 16}, "too small"),
    ],
)
def test_impossible_requests_write_nothing(
    change: dict[str, Any], message: str, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match=message):
        pretrain_starter(tmp_path / "model.safetensors", **(SMALL | change))
    assert not list(tmp_path.iterdir())


def test_only_safetensors_are_written(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="safetensors"):
        pretrain_starter(tmp_path / "model.pt", **SMALL)


def test_the_committed_starters_stay_small() -> None:
    assert STARTERS
    assert sum(weights.stat().st_size for weights in STARTERS) <= 5_000_000


@pytest.mark.parametrize("weights", STARTERS, ids=lambda path: path.parent.name)
def test_a_committed_starter_loads_strictly_and_beats_random_weights(weights: Path) -> None:
    _load_strictly(weights)
    probe = probe_starter(weights, images_per_class=10, test_per_class=20, seed=1)
    assert probe["lab_starter"] >= probe["lab_random_weights"] + 0.10
    card = json.loads((weights.parent / "card.json").read_text(encoding="utf-8"))
    assert card["probe"]["lab_starter"] >= card["probe"]["lab_random_weights"] + 0.10
    assert card["third_party_data"] == "none"
