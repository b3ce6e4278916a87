"""Load an image encoder of transformers by its folder or hub name, with weights that are there.

Of a dual encoder (CLIP, SigLIP) the image tower is taken; `transformer_loading` takes the text
tower of the same name.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from regraft.backbones.preprocessing import Preprocessing, of_transformers
from regraft.backbones.transformer_files import config_of, opened, weights_of
from regraft.errors import UserError

if TYPE_CHECKING:
    from torch import nn

ARCHITECTURE = "transformers_vision"
_NOUN = "image encoder"


def is_transformers_name(name: str) -> bool:
    """Whether this backbone's name is a folder that transformers wrote, or `OWNER/MODEL` on the hub
    of an owner other than timm."""
    config = Path(name).expanduser() / "config.json"
    if config.is_file():
        return "model_type" in json.loads(config.read_text(encoding="utf-8"))
    owner, _, model = name.partition("/")
    return bool(model) and owner not in ("timm", "") and not owner.startswith((".", "~"))


def load_vision(name: str) -> tuple[dict[str, Any], Preprocessing, nn.Module, str]:
    """Configuration, preprocessing, network, and where the weights came from.

    Raises
    ------
    UserError
        Hub out of reach, missing weights, or a model that does not turn an image into tokens.
    """
    from transformers import AutoImageProcessor

    from regraft.backbones.families.transformers_vision import TransformersVision

    folder = Path(name).expanduser()
    source = folder if folder.is_dir() else name
    config = config_of(source, "vision", {}, noun=_NOUN)
    if not all(isinstance(config.get(side), int) for side in ("image_size", "patch_size")):
        raise _no_encoder(name, f"a {config['model_type']} without image_size and patch_size")
    weights = weights_of(source, config, noun=_NOUN)
    try:
        network = TransformersVision(weights, config)
    except (AttributeError, TypeError, ValueError, RuntimeError) as error:
        raise _no_encoder(name, f"{type(error).__name__}: {error}") from error
    origin = str(source) if source is folder else "hub"
    processor = opened(lambda: AutoImageProcessor.from_pretrained(source), source, _NOUN)
    return config, of_transformers(processor, config["image_size"]), network, origin


def _no_encoder(name: str, got: str) -> UserError:
    return UserError(
        "this network does not turn an image into tokens",
        where=f"backbone.name={name}",
        got=got.splitlines()[0][:200],
        expected="an encoder like ViT, DINOv2, or the image tower of CLIP or SigLIP",
        fix="convolutional networks are taken by their timm name",
    )
