"""Weights are really there, or it is an error."""

from __future__ import annotations

from pathlib import Path

import pytest
import timm
import torch
from safetensors.torch import save_file

from regraft.backbones.loading import load_pretrained
from regraft.errors import UserError


def test_the_starter_loads_without_a_hub() -> None:
    spec, model = load_pretrained("starter")
    assert spec.pretrained == "starter"
    assert sum(p.numel() for p in model.parameters()) > 10_000


def test_a_weight_file_is_what_the_model_computes_with(tmp_path: Path) -> None:
    source = timm.create_model("test_vit", pretrained=False, num_classes=7)
    save_file(source.state_dict(), tmp_path / "weights.safetensors")
    _, model = load_pretrained("test_vit", weights=str(tmp_path / "weights.safetensors"))
    for name, value in model.state_dict().items():
        assert value.equal(source.state_dict()[name])


def test_a_torch_checkpoint_is_read_without_pickled_code(tmp_path: Path) -> None:
    source = timm.create_model("test_vit", pretrained=False)
    torch.save({"state_dict": source.state_dict()}, tmp_path / "weights.pth")
    load_pretrained("test_vit", weights=str(tmp_path / "weights.pth"))


@pytest.mark.parametrize(
    ("name", "weights", "message"),
    [
        ("mobilenetv2_10", "random", "mobilenetv2_100"),
        ("test_vit", "missing.safetensors", "missing"),
        ("test_vit", "text.safetensors", "cannot be read"),
        ("test_vit", "other.safetensors", "do not fit"),
    ],
)
def test_what_cannot_be_loaded_is_refused(
    tmp_path: Path, name: str, weights: str, message: str
) -> None:
    (tmp_path / "text.safetensors").write_text("not weights")
    other = timm.create_model("test_efficientnet", pretrained=False)
    save_file(other.state_dict(), tmp_path / "other.safetensors")
    path = weights if weights == "random" else str(tmp_path / weights)
    with pytest.raises(UserError, match=message):
        load_pretrained(name, weights=path)


def test_an_unreachable_hub_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def unreachable(*args: object, **kwargs: object) -> None:
        raise OSError("no route to host")

    monkeypatch.setattr("timm.models._builder.load_pretrained", unreachable)
    with pytest.raises(UserError, match="could not be fetched"):
        load_pretrained("mobilenetv2_100")


@pytest.mark.realdata
def test_preprocessing_of_a_bare_file_is_inferred(real_data: Path) -> None:
    weights = real_data / "weights" / "mobilenetv2_100" / "model.safetensors"
    spec, _ = load_pretrained("mobilenetv2_100", weights=str(weights))
    assert spec.preprocessing.mean == (0.5, 0.5, 0.5)
    assert spec.model_args == {"pad_type": "same"}


@pytest.mark.realdata
def test_real_weights_reproduce_their_reference(real_data: Path) -> None:
    """The pooled features put through the file's own classifier give the published logits."""
    import numpy as np
    from safetensors.torch import load_file

    folder = real_data / "weights" / "mobilenetv2_100"
    spec, model = load_pretrained("mobilenetv2_100", weights=str(folder / "model.safetensors"))
    reference = np.load(folder / "reference_io.npz")
    x = spec.preprocessing.normalise(torch.from_numpy(reference["images_uint8_nhwc"]))
    state = load_file(folder / "model.safetensors")
    with torch.inference_mode():
        logits = model(x) @ state["classifier.weight"].T + state["classifier.bias"]
    np.testing.assert_allclose(logits.numpy(), reference["torch_logits"], atol=1e-3)
