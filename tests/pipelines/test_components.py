"""Every component is documented for its reader and wraps one call."""

from __future__ import annotations

import inspect
import re
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from pipelines.local import STEPS as TRAINING
from pipelines.local_monitoring import STEPS as MONITORING

STEPS = [*TRAINING, *MONITORING]
ROOT = Path(__file__).parents[2] / "components"
FOLDERS = sorted(path.name for path in ROOT.iterdir() if (path / "__init__.py").is_file())


def function_of(folder: str) -> Any:
    return getattr(import_module(f"components.{folder}.component"), folder).python_func


def test_there_is_one_folder_per_step() -> None:
    assert set(STEPS) <= set(FOLDERS)


@pytest.mark.parametrize("folder", FOLDERS)
def test_a_component_says_what_it_does_and_what_it_takes(folder: str) -> None:
    module = import_module(f"components.{folder}.component")
    assert module.__doc__
    function = function_of(folder)
    text = inspect.getdoc(function)
    assert text, folder
    summary, _, arguments = text.partition("Args:")
    assert summary.strip().endswith(".")
    described = re.findall(r"^\s+(\w+): \S", arguments, flags=re.MULTILINE)
    assert described == list(inspect.signature(function).parameters)


@pytest.mark.parametrize("folder", STEPS)
def test_a_component_records_itself_under_its_name(folder: str) -> None:
    source = inspect.getsource(import_module(f"components.{folder}.component"))
    assert f'recorded("{folder}")' in source


@pytest.mark.parametrize("folder", FOLDERS)
def test_a_component_is_a_thin_wrapper(folder: str) -> None:
    source = inspect.getsource(function_of(folder))
    body = source.rpartition('"""')[2]
    assert len(body.strip().splitlines()) <= 40
