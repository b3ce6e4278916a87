"""Networks of the transformers library from a configuration, a folder or a hub name.

A dual encoder (CLIP, Radford et al., ICML 2021; SigLIP, Zhai et al., ICCV 2023) is two of them: its
configuration has one for the text tower and one for the image tower.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from regraft.errors import UserError

if TYPE_CHECKING:
    from torch import nn

Tower = Literal["text", "vision"]
Opened = TypeVar("Opened")

_NOT_OF_THE_NETWORK = {"_name_or_path", "transformers_version", "architectures", "dtype"}
_NOT_OF_THE_NETWORK |= {"torch_dtype", "model_type"}


def config_of(
    source: Path | str, tower: Tower, changes: Mapping[str, Any], *, noun: str
) -> dict[str, Any]:
    """The configuration in a folder or on the hub, of this tower where it has two, with `changes`;
    what `network_of` takes. `noun` is what messages call it.

    Raises UserError: not there or unreadable, or no such setting.
    """
    from transformers import AutoConfig

    whole = opened(lambda: AutoConfig.from_pretrained(source), source, noun)
    config: Any = getattr(whole, f"{tower}_config", whole)
    unknown = sorted(name for name in changes if not hasattr(config, name))
    if unknown:
        raise UserError(
            f"the {noun} has no such setting",
            where="backbone.model_args or backbone.dropout",
            got=", ".join(unknown),
            expected=f"fields of transformers' {type(config).__name__}",
        )
    for name, value in changes.items():
        setattr(config, name, value)
    values: dict[str, Any] = config.to_diff_dict()
    kept = {key: value for key, value in values.items() if key not in _NOT_OF_THE_NETWORK}
    read = ("hidden_size", "image_size", "patch_size", "model_type")
    return kept | {name: getattr(config, name) for name in read if hasattr(config, name)}


def network_of(config: dict[str, Any]) -> nn.Module:
    """The randomly initialised network of a transformers configuration, without a pooler."""
    own = config_object(config)
    kind = _class_of(own)
    return _without_pooler(kind(own) if _is_tower(own) else kind.from_config(own))


def weights_of(source: Path | str, config: dict[str, Any], *, noun: str) -> nn.Module:
    """The network with the weights of a folder or of the hub.

    Raises UserError: not there, or a weight is missing, which is not replaced by a random one.
    """
    own = config_object(config)
    with _quiet():
        model, found = opened(
            lambda: _class_of(own).from_pretrained(source, config=own, output_loading_info=True),
            source,
            noun,
        )
    missing = sorted(key for key in found["missing_keys"] if not key.startswith("pooler."))
    if missing:
        raise UserError(
            f"the weights do not fit the {noun}",
            where=str(source),
            got=f"{len(missing)} missing, for example {missing[0]}",
            fix="nothing was replaced by random weights; take the files that belong together",
        )
    return _without_pooler(model)


def opened(load: Callable[[], Opened], source: Path | str, noun: str) -> Opened:
    """What `load` returns. Raises UserError where it cannot."""
    try:
        return load()
    except (OSError, RuntimeError, ValueError, KeyError) as error:
        local = isinstance(source, Path)
        raise UserError(
            f"the {noun} cannot be read"
            if local
            else f"the {noun} could not be fetched from the hub",
            where=f"backbone.name={source}",
            got=f"{type(error).__name__}: {(str(error).splitlines() or [''])[0][:200]}",
            expected="a folder in the format of transformers" if local else "a reachable hub",
            fix="check the files"
            if local
            else "check the name and the network, or name a folder; nothing was replaced by "
            "random weights, and what is embedded needs no hub",
        ) from error


def config_object(config: dict[str, Any]) -> Any:
    """The configuration of transformers that a dict with its `model_type` stands for."""
    from transformers import AutoConfig

    values = {name: value for name, value in config.items() if name != "model_type"}
    return AutoConfig.for_model(config["model_type"], **values)


def _is_tower(config: Any) -> bool:
    return str(config.model_type).endswith(("_text_model", "_vision_model"))


def _class_of(config: Any) -> Any:
    """The class of the bare network; AutoModel does not know every tower."""
    import transformers

    if not _is_tower(config):
        return transformers.AutoModel
    return getattr(transformers, type(config).__name__.removesuffix("Config") + "Model")


def _without_pooler(model: Any) -> nn.Module:
    """A pooler made for pre-training, or a linear head behind SigLIP's last token, is no part of
    the embedding."""
    from torch import nn

    if getattr(model, "pooler", None) is not None:
        model.pooler = None
    if isinstance(getattr(model, "head", None), nn.Linear):
        model.head = nn.Identity()
    network: nn.Module = model.float().eval()
    return network


@contextmanager
def _quiet() -> Iterator[None]:
    """Weights of the other tower are no news, and bars belong to whoever calls."""
    from transformers.utils import logging

    before = logging.get_verbosity()
    logging.disable_progress_bar()
    logging.set_verbosity_error()
    try:
        yield
    finally:
        logging.set_verbosity(before)
