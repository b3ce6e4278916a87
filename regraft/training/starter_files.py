"""What a starter backbone consists of on disk: weights, timm's config, and the provenance card."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from regraft import __version__
from regraft.errors import UserError

if TYPE_CHECKING:
    from torch import nn

CHANNEL_MEAN = (0.5, 0.5, 0.5)
CHANNEL_STD = (0.25, 0.25, 0.25)


def save_starter(model: nn.Module, out_file: Path, architecture: str, image_size: int) -> None:
    """Write the weights (float16, without classifier) and timm's hub-style config.json.

    Raises RuntimeError when a weight does not fit into float16; nothing is written then.
    """
    model.reset_classifier(0)  # type: ignore[operator]
    metadata = {
        "architecture": architecture,
        "mean": json.dumps(CHANNEL_MEAN),
        "std": json.dumps(CHANNEL_STD),
        "image_size": str(image_size),
    }
    save_weights(model.state_dict(), out_file, metadata)
    config = {
        "architecture": architecture,
        "num_classes": 0,
        "pretrained_cfg": {
            "input_size": [3, image_size, image_size],
            "interpolation": "bicubic",
            "crop_pct": 1.0,
            "mean": CHANNEL_MEAN,
            "std": CHANNEL_STD,
            "num_classes": 0,
        },
        "model_args": {},
    }
    _write_json(out_file.parent / "config.json", config)


def save_weights(state: dict[str, Any], out_file: Path, metadata: dict[str, str]) -> None:
    """Write the tensors of a network in float16; the same ones give the same bytes.

    Raises RuntimeError when a weight does not fit into float16; nothing is written then.
    """
    import torch
    from safetensors.torch import save_file

    tensors = {
        name: (tensor.half() if tensor.is_floating_point() else tensor).contiguous()
        for name, tensor in state.items()
    }
    if not all(torch.isfinite(tensor).all() for tensor in tensors.values()):
        raise RuntimeError("a weight does not fit into float16; nothing was written")
    out_file.parent.mkdir(parents=True, exist_ok=True)
    save_file(tensors, out_file, metadata=metadata)
    _sort_metadata(out_file)
    out_file.chmod(0o644)  # safetensors writes for the owner alone


def _sort_metadata(path: Path) -> None:
    """Put the metadata in order: safetensors writes them in a random one, and the same training
    should give the same bytes."""
    content = path.read_bytes()
    end = 8 + int.from_bytes(content[:8], "little")
    header = json.loads(content[8:end])
    header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    path.write_bytes(len(text).to_bytes(8, "little") + text + content[end:])


def _write_json(path: Path, values: dict[str, Any]) -> None:
    path.write_text(json.dumps(values, indent=2) + "\n", encoding="utf-8")


def library_versions() -> dict[str, str]:
    """Versions of what determines the bytes of the weights."""
    from importlib.metadata import version

    names = ("torch", "timm", "numpy")
    return {"regraft": __version__} | {name: version(name) for name in names}


def shell_command(out_file: Path, **arguments: Any) -> str:
    """The call that makes the starter again, as a shell command from the project's root."""
    call = ", ".join(f"{name}={value!r}" for name, value in arguments.items())
    path = f"regraft/starters/{out_file.parent.name}/{out_file.name}"
    return (
        'python -c "from regraft.training.pretraining import pretrain_starter; '
        f"pretrain_starter('{path}', {call})\""
    )


def check_file(out_file: Path) -> None:
    """Raises UserError where a starter is to be written to another kind of file."""
    if out_file.suffix != ".safetensors":
        raise UserError(
            "starters are safetensors files", got=out_file.name, expected="*.safetensors"
        )


def write_card(card: dict[str, Any], folder: Path, text: str) -> None:
    """Write card.json and, for people, `text` as card.md."""
    _write_json(folder / "card.json", card)
    (folder / "card.md").write_text(text, encoding="utf-8")


def card_text(card: dict[str, Any]) -> str:
    """What people read of a starter for images."""
    versions = ", ".join(f"{name} {version}" for name, version in card["made_with"].items())
    return f"""# Starter backbone `{card["name"]}`

A small image encoder for machines that reach no model hub: {card["architecture"]} (timm),
without classifier, float16, {card["file_bytes"] / 1e6:.2f} MB.

**Made from**: {card["images"]} generated pictures of patterned surfaces
(`regraft/data/examples/textures.py`), {card["classes"]} classes (pattern x palette),
{card["epochs"]} epochs for inputs of {card["image_size"]} pixels, {card["cpu_seconds"]:.0f} CPU
seconds. No third-party data, no photograph, no drawn leaf.

**Licence**: {card["licence"]}, like the rest of the project.

**Source task**: {card["source_task_accuracy"]:.1%} of held-out pictures right
(chance {1 / card["classes"]:.1%}).

{_probe_text(card.get("probe"))}
It knows textures and colours, not objects: with a hub or a local ImageNet weight file expect
far better features.

**Make it again** (bit-equal on the same kind of processor with the same thread count and
{versions}):

```
{card["reproduce"]}
```
"""


def _probe_text(probe: dict[str, float] | None) -> str:
    if probe is None:
        return "**Linear probe**: not measured.\n"
    return f"""**Linear probe on the example leaves** (5 classes, {probe["images_per_class"]:.0f}
lab pictures of each for training, pooled features, logistic regression):

| weights | lab | field |
|---|---|---|
| random | {probe["lab_random_weights"]:.1%} | {probe["field_random_weights"]:.1%} |
| starter | {probe["lab_starter"]:.1%} | {probe["field_starter"]:.1%} |
"""
