"""Fixtures that every room's tests share."""

from __future__ import annotations

import os
from pathlib import Path

import pytest


@pytest.hookimpl(tryfirst=True)  # before xdist reads the groups
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Where several processes share the tests, those that share expensive fixtures stay together:
    the tests of a file, and the end-to-end tests that look at the same finished runs."""
    for item in items:
        shared = item.path.parent.name == "e2e" and "finished" in getattr(item, "fixturenames", ())
        own = item.path.name == "test_services.py"
        group = "finished" if shared and not own else str(item.path)
        item.add_marker(pytest.mark.xdist_group(group))


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of the real data packs; the test is skipped where they are not."""
    named = os.environ.get("REGRAFT_DATA")
    folder = Path(named) if named else Path(__file__).parents[2] / "shared" / "data"
    if not folder.is_dir():
        pytest.skip(f"the real data packs are not here: {folder} (set REGRAFT_DATA)")
    return folder
