"""The options of a step, typed again after their way through a pipeline."""

from __future__ import annotations

from typing import Any, TypeVar

from pydantic import ValidationError

from regraft.errors import UserError
from regraft.recipe.base import Options

T = TypeVar("T", bound=Options)


def typed(section: type[T], values: dict[str, Any]) -> dict[str, Any]:
    """Plain values of a recipe's section, checked.

    Kubeflow hands numbers over as protobuf structs, which know no integers: 5 arrives as 5.0. And
    on a cluster a person may have typed them into a form.
    """
    try:
        return section.model_validate(values).model_dump(mode="json")
    except ValidationError as error:
        raise UserError(f"the options of {section.__name__} are invalid", got=str(error)) from error
