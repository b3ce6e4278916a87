"""What the assistant needs of a retriever; `regraft.tasks.retriever.Retriever` is one."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import numpy as np


class Passage(Protocol):
    """A text that may answer a question, and where it is from."""

    @property
    def id(self) -> str: ...
    @property
    def text(self) -> str: ...
    @property
    def topic(self) -> str: ...
    @property
    def intent(self) -> str: ...
    @property
    def source(self) -> str: ...


class Hit(Protocol):
    """A passage by its number, and its score, which can be compared between questions. `named`
    says how far the question names its topic."""

    @property
    def passage(self) -> int: ...
    @property
    def score(self) -> float: ...
    @property
    def named(self) -> float: ...


class Retriever(Protocol):
    """Passages that can be searched."""

    @property
    def passages(self) -> Sequence[Passage]: ...

    def search(self, questions: list[str], k: int = 5) -> Sequence[Sequence[Hit]]:
        """The k best passages of each question, best first."""

    def embed_questions(self, questions: list[str]) -> np.ndarray:
        """(n, dim), unit length."""

    def save(self, folder: Path) -> None:
        """Write it to a folder."""
