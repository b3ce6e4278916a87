"""One fitted assistant for all tests of this folder, which only read it."""

from __future__ import annotations

import pytest

from regraft.tasks.assistant.assistant import Assistant

from .support import fitted


@pytest.fixture(scope="session")
def assistant() -> Assistant:
    return fitted()
