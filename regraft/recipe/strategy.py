"""Options of the search for a strategy."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from regraft.recipe.base import Options

Strategy = Literal["as_given", "auto"]


class SearchOptions(Options):
    """Successive halving over plans, rates and regularisers, judged on the validation split."""

    candidates: int = Field(default=12, ge=2, le=54)
    """How many configurations are tried, the recipe's own among them. The head alone is compared
    beside them and costs nothing."""
    budget_epochs: int = Field(default=36, ge=2)
    """Epochs that all trials take together, about; what wins is then trained in full."""
