"""Build a backbone by name, with weights that are really there.

A missing or unfitting weight file and an unreachable hub are errors: random weights come only when
asked for by name (`random`).
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from regraft.backbones.preprocessing import Preprocessing, infer_preprocessing, of_timm
from regraft.backbones.transformers_vision import (
    ARCHITECTURE,
    is_transformers_name,
    load_vision,
)
from regraft.errors import UserError
from regraft.progress import note

if TYPE_CHECKING:
    from torch import nn

STARTERS = Path(__file__).parent.parent / "starters"


@dataclass(frozen=True)
class BackboneSpec:
    """Everything that is needed to build one backbone again, without its weights."""

    architecture: str
    preprocessing: Preprocessing
    model_args: dict[str, Any] = field(default_factory=dict)
    taps: int = 3
    pretrained: str = ""
    """Where the weights came from: `starter`, `hub`, `random` or a file name."""

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @staticmethod
    def from_json(values: dict[str, Any]) -> BackboneSpec:
        fields = dict(values["preprocessing"])
        fields["mean"], fields["std"] = tuple(fields["mean"]), tuple(fields["std"])
        return BackboneSpec(**{**values, "preprocessing": Preprocessing(**fields)})


def load_pretrained(
    name: str,
    *,
    factory: str = "",
    weights: str = "",
    image_size: int = 0,
    max_tokens: int = 0,
    mean: list[float] | None = None,
    std: list[float] | None = None,
    drop_path: float = 0.0,
    dropout: float = 0.0,
    model_args: dict[str, Any] | None = None,
    taps: int = 3,
    **of_pairs: Any,
) -> tuple[BackboneSpec, nn.Module]:
    """The spec and the timm model without classifier, in eval mode, with its weights.

    `of_pairs` are the fields of a backbone that single images have no use for; they must be empty.
    A `factory` ("package.module:function", see `families`) takes the place of the name.

    Raises
    ------
    UserError
        Unknown name or factory, missing or unfitting weights, hub out of reach.
    """
    refuse_fields({"max_tokens": max_tokens} | of_pairs, ("max_tokens", "text", "locked"), "image")
    name = factory or name
    arguments = _regularisation(drop_path, dropout) | (model_args or {})
    if name == "starter":
        found = _from_folder(sorted(STARTERS.glob("*/model.safetensors"))[0], "", arguments)
    elif not factory and is_transformers_name(name):
        found = _from_transformers(name, weights, arguments)
    elif weights == "random":
        model = build(name, arguments)
        found = (_spec(name, of_timm(_registered(model)), arguments, "random"), model)
    elif weights:
        found = _from_file(Path(weights), name, arguments)
    else:
        found = _from_hub(name, arguments)
    spec, model = found
    changes: dict[str, Any] = {"image_size": image_size or spec.preprocessing.image_size}
    changes |= {"mean": tuple(mean)} if mean else {}
    changes |= {"std": tuple(std)} if std else {}
    spec = replace(spec, taps=taps, preprocessing=replace(spec.preprocessing, **changes))
    return spec, model.eval()


def refuse_fields(fields: dict[str, Any], known: Sequence[str], noun: str) -> None:
    """Raises UserError where one of the `known` fields of a backbone is given that an encoder of
    this noun has no use for; TypeError for unknown ones."""
    unknown = sorted(set(fields) - set(known))
    if unknown:
        raise TypeError(f"unknown arguments: {', '.join(unknown)}")
    given = [
        field
        for field, value in fields.items()
        if (any(value.values()) if isinstance(value, dict) else value)
    ]
    if given:
        raise UserError(
            f"an encoder of a single {noun} has no such options",
            where=", ".join(f"backbone.{field}" for field in given),
            got=", ".join(str(fields[field]) for field in given),
            fix="leave them out",
        )


def _regularisation(drop_path: float, dropout: float) -> dict[str, Any]:
    """timm's names of stochastic depth (Huang et al., ECCV 2016) and of dropout before the head."""
    rates = {"drop_path_rate": drop_path, "drop_rate": dropout}
    return {name: rate for name, rate in rates.items() if rate}


def build(architecture: str, model_args: dict[str, Any]) -> nn.Module:
    """The model of this timm name or factory without classifier, randomly initialised."""
    import timm

    from regraft.backbones.families import from_factory

    bare = architecture.removeprefix("timm/")
    try:
        if ":" in bare:
            made: nn.Module = from_factory(bare, model_args)
            return made
        _refuse_unknown(bare)
        return timm.create_model(bare, pretrained=False, num_classes=0, **model_args)
    except TypeError as error:
        raise UserError(
            f"{architecture} does not take these arguments",
            where="backbone.model_args, backbone.drop_path or backbone.dropout",
            got=f"{model_args}: {error}",
        ) from error


def _refuse_unknown(name: str) -> None:
    import timm

    bare = name.split(".")[0]
    if not timm.is_model(bare):
        near = difflib.get_close_matches(bare, timm.list_models(), n=3)
        raise UserError(
            "unknown backbone",
            where="backbone.name",
            got=name,
            expected="`starter`, a timm model name, or a folder or hub name of transformers"
            + (f", e.g. {', '.join(near)}" if near else ""),
            fix="a network that timm does not know is brought by backbone.factory",
        )


def load_state(model: nn.Module, state: dict[str, Any], where: str) -> None:
    """Load strictly, except for a classifier that the file may have and the model has not."""
    classifiers = _classifier_prefixes(model)
    own = model.state_dict()
    kept = {key: value for key, value in state.items() if not key.startswith(classifiers)}
    missing = [key for key in own if key not in kept and not key.endswith("num_batches_tracked")]
    unexpected = [key for key in kept if key not in own]
    unfit = [key for key in kept if key in own and kept[key].shape != own[key].shape]
    if missing or unexpected or unfit:
        raise UserError(
            "the weights do not fit the backbone",
            where=where,
            got=f"{len(missing)} missing {missing[:3]}, {len(unexpected)} unexpected "
            f"{unexpected[:3]}, {len(unfit)} of another shape {unfit[:3]}",
            expected=f"the parameter names of timm's {type(model).__name__}",
            fix="set backbone.name to the architecture that the file was made with",
        )
    model.load_state_dict(kept, strict=False)


def _registered(model: Any) -> dict[str, Any]:
    """What timm knows of the weights that belong to this model's name."""
    cfg: dict[str, Any] = getattr(model, "pretrained_cfg", {})
    return cfg


def _classifier_prefixes(model: Any) -> tuple[str, ...]:
    names = _registered(model).get("classifier") or ()
    names = (names,) if isinstance(names, str) else tuple(names)
    return tuple(f"{name}." for name in names)


def _spec(
    architecture: str, preprocessing: Preprocessing, arguments: dict[str, Any], origin: str
) -> BackboneSpec:
    return BackboneSpec(architecture, preprocessing, arguments, pretrained=origin)


def read_state(path: Path) -> dict[str, Any]:
    """The tensors of a weight file by name. Raises UserError: missing or unreadable."""
    if not path.is_file():
        raise UserError(
            "the weight file is missing",
            where="backbone.weights",
            got=str(path),
            expected="a .safetensors file or torch checkpoint",
            fix="check the path; `random` trains from scratch, an empty value takes the hub",
        )
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            return load_file(path)
        import torch

        state = torch.load(path, map_location="cpu", weights_only=True)
        return state.get("state_dict", state)
    except Exception as error:  # every reader has its own exception types for a damaged file
        raise UserError(
            "the weight file cannot be read", where=str(path), got=str(error)
        ) from error


def _from_file(path: Path, name: str, arguments: dict[str, Any]) -> tuple[BackboneSpec, nn.Module]:
    if path.with_name("config.json").is_file():
        return _from_folder(path, name, arguments)
    state = read_state(path)

    def loaded(extra: dict[str, Any]) -> nn.Module:
        model = build(name, arguments | extra)
        load_state(model, state, str(path))
        return model.eval()

    model = loaded({})
    open_padding = _takes_padding(model) and "pad_type" not in arguments
    variants = [{}, {"pad_type": "same"}] if open_padding else [{}]
    registered = of_timm(_registered(model))
    preprocessing, extra, table = infer_preprocessing(loaded, registered, variants)
    if table:
        best = min(table, key=lambda key: table[key])
        note(
            f"{path.name} says nothing of its preprocessing; its batch-norm statistics fit "
            f"'{best}' best ({', '.join(f'{k}: {v:.2f}' for k, v in table.items())})"
        )
    return _spec(name, preprocessing, arguments | extra, path.name), loaded(extra)


def _takes_padding(model: nn.Module) -> bool:
    """Families ported from TensorFlow come with symmetric or TensorFlow's SAME padding."""
    return type(model).__name__ in {"EfficientNet", "MobileNetV3"}


def _from_folder(
    path: Path, name: str, arguments: dict[str, Any]
) -> tuple[BackboneSpec, nn.Module]:
    """Weights with timm's hub-style `config.json` beside them."""
    config = json.loads(path.with_name("config.json").read_text(encoding="utf-8"))
    architecture = config["architecture"]
    if name and name != architecture:
        raise UserError(
            "the weights are of another architecture",
            where=str(path.with_name("config.json")),
            got=architecture,
            expected=name,
            fix=f"set backbone.name={architecture}",
        )
    arguments = config.get("model_args", {}) | arguments
    model = build(architecture, arguments)
    state = {key: value.float() for key, value in read_state(path).items()}
    load_state(model, state, str(path))
    origin = "starter" if path.is_relative_to(STARTERS) else path.name
    return _spec(architecture, of_timm(config["pretrained_cfg"]), arguments, origin), model


def _from_transformers(
    name: str, weights: str, arguments: dict[str, Any]
) -> tuple[BackboneSpec, nn.Module]:
    if weights or arguments:
        raise UserError(
            "an image encoder of transformers has its own weights and arguments",
            where="backbone.weights, backbone.model_args, backbone.drop_path or backbone.dropout",
            got=", ".join(map(str, filter(None, (weights, arguments)))),
            fix="leave them out, or take the network by its timm name",
        )
    config, preprocessing, model, origin = load_vision(name)
    return _spec(ARCHITECTURE, preprocessing, {"config": config}, origin), model


def _from_hub(name: str, arguments: dict[str, Any]) -> tuple[BackboneSpec, nn.Module]:
    import timm

    build(name, arguments)  # an unknown name is another error than an unreachable hub
    bare = name.removeprefix("timm/")
    if not timm.is_model_pretrained(bare):
        raise UserError(
            "timm knows no pre-trained weights for this backbone",
            where="backbone.name",
            got=name,
            fix="give backbone.weights=FILE, or backbone.weights=random to train from scratch",
        )
    try:
        model = timm.create_model(bare, pretrained=True, num_classes=0, **arguments)
    except (OSError, RuntimeError, ValueError) as error:
        raise UserError(
            "the weights could not be fetched from the hub",
            where=f"backbone.name={name}",
            got=f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}",
            fix="check the network, or give backbone.weights=FILE; nothing was replaced by "
            "random weights",
        ) from error
    return _spec(name, of_timm(_registered(model)), arguments, "hub"), model
