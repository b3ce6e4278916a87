"""The model card: what the served model is for, what it can and cannot do, in Markdown."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from regraft.evaluation.report import template, write_atomically


def write_model_card(path: str | Path, content: Mapping[str, Any]) -> None:
    """Write the card from the same `content` as the report (Mitchell et al. 2019).

    `content["card"]` may hold intended_use, out_of_scope, limitations [str], backbone,
    data_licence, weights_licence, model_licence; what is missing gets a plain default or a TODO.
    """
    text = template("model_card.md.j2", autoescape=False).render(c=content, card=content["card"])
    write_atomically(Path(path), text)
