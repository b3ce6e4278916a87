"""Networks that no library registers, brought by a registered factory.

A factory is a function that timm's `register_model` knows; its name is then a backbone's name like
any other. The modules of this folder register those of the project. A user's own network needs no
change here: `backbone.factory: "my_package.networks:tiny_net"` in the recipe, and

    from timm.models import register_model

    @register_model
    def tiny_net(pretrained=False, num_classes=0, width=32):
        return TinyNet(width)

It is called with `pretrained=False, num_classes=0` and `backbone.model_args`. The network must have
`forward_features(x)`, `forward_head(x, pre_logits=True)` to features (n, dim), and `forward(x)`,
which does both. It should have `group_matcher` (which parameters form one unit of depth, as in
timm; else its children and grandchildren are the blocks) and `pretrained_cfg` (a dict with mean,
std, input_size, classifier).
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

import timm

from regraft.backbones.families import (  # noqa: F401 (they register)
    mobilenetv1,
    speech_embedding,
    squeezenet,
    transformers_vision,
)
from regraft.errors import UserError

_METHODS = ("forward_features", "forward_head")


def registered_name(factory: str) -> str:
    """timm's name of the function "package.module:function", whose module is imported.

    Only functions that their own module registered are called: a saved model names its factory,
    and what a file names must not be any function of any library.

    Raises
    ------
    UserError
        No such module, or the function is not a registered one.
    """
    module_name, _, name = factory.partition(":")
    try:
        module = import_module(module_name)
    except (ImportError, ValueError) as error:
        raise UserError(
            "the module of the backbone's factory cannot be imported",
            where="backbone.factory",
            got=f"{factory}: {error}",
            expected="package.module:function",
            fix="install the package, or put its folder on PYTHONPATH",
        ) from error
    known = timm.is_model(name) and timm.model_entrypoint(name)
    if not known or known is not getattr(module, name, None):
        raise UserError(
            "the backbone's factory is not a registered one",
            where="backbone.factory",
            got=factory,
            expected=f"a function {name!r} of {module_name}, decorated with register_model",
            fix="put @timm.models.register_model before it",
        )
    return name


def from_factory(factory: str, model_args: dict[str, Any]) -> Any:
    """What the function "package.module:function" makes, an encoder without classifier.

    Raises
    ------
    UserError
        As `registered_name`, or the network has not the methods of an encoder.
    """
    name = registered_name(factory)
    model = timm.model_entrypoint(name)(pretrained=False, num_classes=0, **model_args)
    missing = [method for method in _METHODS if not callable(getattr(model, method, None))]
    if missing:
        raise UserError(
            "the backbone's factory made a network without the methods of an encoder",
            where="backbone.factory",
            got=f"{factory}: {type(model).__name__} has no {' and no '.join(missing)}",
            expected="forward_features(x) and forward_head(x, pre_logits=True) to (n, dim)",
        )
    return model
