"""Networks that no library registers: those of the project, and a user's own."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from timm.layers import DropPath

from regraft.backbones.encoder import Encoder, load_encoder
from regraft.backbones.loading import build, load_pretrained
from regraft.errors import UserError
from regraft.recipe.backbone import BackboneOptions

FAMILIES = ["squeezenet1_1_backbone", "mobilenetv1_075"]

TINY = textwrap.dedent(
    """
    import torch
    from timm.models import register_model

    class TinyNet(torch.nn.Module):
        def __init__(self, width):
            super().__init__()
            self.first = torch.nn.Conv2d(3, width, 3, stride=2)
            self.second = torch.nn.Conv2d(width, width, 3, stride=2)
            self.third = torch.nn.Conv2d(width, 2 * width, 3, stride=2)
            self.pretrained_cfg = {"mean": (0.1, 0.2, 0.3), "input_size": (3, 40, 40)}

        def forward_features(self, x):
            for layer in (self.first, self.second, self.third):
                x = torch.relu(layer(x))
            return x

        def forward_head(self, x, pre_logits=True):
            return x.mean((2, 3))

        def forward(self, x):
            return self.forward_head(self.forward_features(x))

    @register_model
    def tiny_net(pretrained=False, num_classes=0, width=8):
        return TinyNet(width)

    @register_model
    def plain_layer(pretrained=False, num_classes=0):
        return torch.nn.Linear(3, 3)

    def unregistered(pretrained=False, num_classes=0):
        return TinyNet(8)
    """
)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The name of an importable module with a user's networks."""
    folder = tmp_path_factory.mktemp("own_networks")
    (folder / "tiny_networks.py").write_text(TINY)
    sys.path.insert(0, str(folder))
    return "tiny_networks"


def encoder_of(name: str, **options: object) -> Encoder:
    torch.manual_seed(0)
    return Encoder(*load_pretrained(name, weights="random", **options)).eval()  # type: ignore[arg-type]


@pytest.mark.parametrize("name", FAMILIES)
def test_a_registered_family_is_an_encoder_like_any_other(name: str, tmp_path: Path) -> None:
    encoder = encoder_of(name, image_size=64)
    x = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    assert len(encoder.blocks) >= 6
    assert len(encoder.taps) == 3
    named = [parameter for block in encoder.blocks for parameter in block.parameters]
    assert named == [parameter for parameter, _ in encoder.model.named_parameters()]
    ends = [block.index for block in encoder.blocks[:-1] if block.output]
    assert len(ends) >= 4
    assert all(encoder.trunk_is_exact(x, end) for end in ends)
    encoder.save(tmp_path)
    with torch.inference_mode():
        assert load_encoder(tmp_path)(x).equal(encoder(x))


def test_a_cached_activation_is_not_overwritten() -> None:
    encoder = encoder_of("squeezenet1_1_backbone", image_size=64)
    activation, taps = (part.clone() for part in encoder.trunk(torch.randn(2, 3, 64, 64), 0))
    before = activation.clone()
    encoder.from_trunk(activation, taps, 0)
    assert activation.equal(before)


def test_the_width_of_mobilenetv1_is_three_quarters() -> None:
    encoder = encoder_of("mobilenetv1_075", image_size=64)
    assert encoder.model.num_features == 768
    assert encoder.spec.preprocessing.mean == (0.5, 0.5, 0.5)


def test_a_classifier_that_does_not_exist_is_refused() -> None:
    import timm

    with pytest.raises(ValueError, match="no classifier"):
        timm.create_model("squeezenet1_1_backbone", num_classes=10)


@pytest.mark.realdata
def test_the_squeezenet_weights_reproduce_their_reference(real_data: Path) -> None:
    folder = real_data / "weights" / "squeezenet1_1_backbone"
    spec, model = load_pretrained(
        "squeezenet1_1_backbone", weights=str(folder / "model.safetensors")
    )
    reference = dict(np.load(folder / "reference_io.npz"))
    x = spec.preprocessing.normalise(torch.from_numpy(reference["images_uint8_nhwc"]))
    (pooled,) = (value for value in reference.values() if value.shape == (5, 512))
    with torch.inference_mode():
        np.testing.assert_allclose(model(x).numpy(), pooled, rtol=1e-3, atol=2e-2)


@pytest.mark.realdata
def test_the_mobilenetv1_weights_reproduce_their_reference(real_data: Path) -> None:
    folder = real_data / "weights" / "mobilenetv1_075"
    path = folder / "model.safetensors"
    spec, model = load_pretrained("mobilenetv1_075", weights=str(path))
    reference = dict(np.load(folder / "reference_io.npz"))
    x = spec.preprocessing.normalise(torch.from_numpy(reference["images_uint8_nhwc"]))
    (logits,) = (value for value in reference.values() if value.shape == (5, 1000))
    state = load_file(path)
    with torch.inference_mode():
        found = model(x) @ state["classifier.weight"].T + state["classifier.bias"]
    np.testing.assert_allclose(found.numpy(), logits, atol=1e-3)


def test_a_user_s_factory_makes_the_backbone(tiny: str, tmp_path: Path) -> None:
    options = BackboneOptions(
        factory=f"{tiny}:tiny_net", weights="random", model_args={"width": 12}
    )
    torch.manual_seed(0)
    encoder = Encoder(*load_pretrained(**options.model_dump(mode="json"))).eval()
    assert encoder.spec.architecture == f"{tiny}:tiny_net"
    assert encoder.spec.preprocessing.image_size == 40
    assert encoder.spec.preprocessing.mean == (0.1, 0.2, 0.3)
    assert [block.name for block in encoder.blocks] == ["first", "second", "third"]
    x = torch.randn(2, 3, 40, 40)
    assert encoder.trunk_is_exact(x, 1)
    encoder.save(tmp_path)
    with torch.inference_mode():
        assert load_encoder(tmp_path)(x).equal(encoder(x))


def test_a_user_s_factory_loads_a_user_s_weights(tiny: str, tmp_path: Path) -> None:
    source = build(f"{tiny}:tiny_net", {})
    save_file(source.state_dict(), tmp_path / "own.safetensors")
    _, model = load_pretrained(
        "starter", factory=f"{tiny}:tiny_net", weights=str(tmp_path / "own.safetensors")
    )
    assert all(value.equal(source.state_dict()[n]) for n, value in model.state_dict().items())
    with pytest.raises(UserError, match="do not fit"):
        load_pretrained("squeezenet1_1_backbone", weights=str(tmp_path / "own.safetensors"))


@pytest.mark.parametrize(
    ("factory", "message"),
    [
        ("no_such_package.networks:net", "cannot be imported"),
        ("{tiny}:no_such_function", "not a registered one"),
        ("{tiny}:unregistered", "not a registered one"),
        ("os:system", "not a registered one"),
        ("{tiny}:resnet18", "not a registered one"),
        ("{tiny}:plain_layer", "no forward_features and no forward_head"),
        (":tiny_net", "cannot be imported"),
    ],
)
def test_what_is_no_factory_of_an_encoder_is_refused(tiny: str, factory: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        load_pretrained("", factory=factory.format(tiny=tiny), weights="random")


def test_a_user_s_factory_without_weights_is_not_random(tiny: str) -> None:
    with pytest.raises(UserError, match="no pre-trained weights"):
        load_pretrained("", factory=f"{tiny}:tiny_net")


def test_arguments_a_factory_does_not_take_are_refused(tiny: str) -> None:
    with pytest.raises(UserError, match="does not take"):
        load_pretrained("", factory=f"{tiny}:tiny_net", weights="random", drop_path=0.1)


def test_options_of_the_command_line_import_no_network_library() -> None:
    code = "import sys, regraft.recipe.backbone; sys.exit('timm' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize("name", ["mobilenetv2_100", "test_vit", "starter"])
def test_stochastic_depth_reaches_the_blocks_and_only_while_training(name: str) -> None:
    torch.manual_seed(0)
    weights = "" if name == "starter" else "random"
    encoder = Encoder(*load_pretrained(name, weights=weights, image_size=64, drop_path=0.5)).eval()
    rates = [m.drop_prob for m in encoder.model.modules() if isinstance(m, DropPath)]
    assert max(rates) > 0.25
    x = torch.randn(4, 3, 64, 64)
    assert encoder(x).equal(encoder(x))
    everything = {block.index for block in encoder.blocks}
    encoder.freeze_except(everything)
    encoder.train()
    assert not encoder(x).equal(encoder(x))
    encoder.freeze_except(set())
    assert encoder(x).equal(encoder(x)), "a frozen block is not left out either"


def test_dropout_reaches_the_features() -> None:
    encoder = encoder_of("squeezenet1_1_backbone", image_size=64, dropout=0.5)
    x = torch.randn(2, 3, 64, 64)
    encoder.freeze_except(set(range(8)))
    encoder.train()
    assert not encoder(x).equal(encoder(x))
    encoder.eval()
    assert encoder(x).equal(encoder(x))


@pytest.mark.parametrize("name", [*FAMILIES, "vgg11"])
def test_a_family_without_stochastic_depth_says_so(name: str) -> None:
    with pytest.raises(UserError, match="drop_path"):
        load_pretrained(name, weights="random", drop_path=0.1)
