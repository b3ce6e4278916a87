"""Nested results as the flat names and bounded values that MLflow accepts."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from numbers import Real
from typing import Any

MAX_PARAMETER = 6000  # characters, as of MLflow 3
_MAX_NAME = 250
_NOT_ALLOWED = re.compile(r"[^\w.\- ]")


def metrics(nested: Mapping[str, Any]) -> dict[str, float]:
    """Numbers of a nested mapping under names joined by `/`; MLflow groups its charts by them.

    A pair of numbers (an interval) becomes `low` and `high`; text, None and longer lists are left
    out, they belong into artifacts.

    >>> metrics({"test": {"accuracy": 0.9, "interval": {"accuracy": [0.8, 0.95]}, "note": "x"}})
    {'test/accuracy': 0.9, 'test/interval/accuracy/low': 0.8, 'test/interval/accuracy/high': 0.95}
    """
    return {_name(path): float(value) for path, value in _leaves(nested) if _is_number(value)}


def parameters(nested: Mapping[str, Any]) -> dict[str, str]:
    """Every leaf of a nested mapping as text under dotted names, cut to MLflow's limit.

    >>> parameters({"data": {"root": "photos", "classes": ["a", "b"]}})
    {'data.root': 'photos', 'data.classes': '["a", "b"]'}
    """
    return {_name(path, joint="."): _text(value) for path, value in _parameter_leaves(nested)}


def _leaves(nested: Mapping[str, Any], path: tuple[str, ...] = ()) -> Iterator[tuple[Any, Any]]:
    for key, value in nested.items():
        here = (*path, str(key))
        if isinstance(value, Mapping):
            yield from _leaves(value, here)
        elif _is_pair(value):
            yield (*here, "low"), value[0]
            yield (*here, "high"), value[1]
        else:
            yield here, value


def _parameter_leaves(
    nested: Mapping[str, Any], path: tuple[str, ...] = ()
) -> Iterator[tuple[tuple[str, ...], Any]]:
    for key, value in nested.items():
        if isinstance(value, Mapping) and value:
            yield from _parameter_leaves(value, (*path, str(key)))
        else:
            yield (*path, str(key)), value


def _is_number(value: Any) -> bool:
    return isinstance(value, Real)


def _is_pair(value: Any) -> bool:
    is_list = isinstance(value, Sequence) and not isinstance(value, str)
    return is_list and len(value) == 2 and all(_is_number(part) for part in value)


def _name(path: tuple[str, ...], joint: str = "/") -> str:
    """One MLflow name. What it does not allow is replaced, and a digest keeps it unique."""
    wanted = joint.join(path)
    safe = joint.join(_NOT_ALLOWED.sub("_", part).strip(". ") or "_" for part in path)
    if safe == wanted and len(safe) <= _MAX_NAME:
        return safe
    digest = hashlib.sha256(wanted.encode()).hexdigest()[:6]
    return f"{safe[: _MAX_NAME - 7]}-{digest}"


def _text(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
    if len(text) <= MAX_PARAMETER:
        return text
    digest = hashlib.sha256(text.encode()).hexdigest()[:12]
    ending = f"... ({len(text)} characters, sha256 {digest})"
    return text[: MAX_PARAMETER - len(ending)] + ending
