"""What the user asked for: typed, frozen options. Imports nothing heavy."""

from regraft.recipe.loading import load_recipe
from regraft.recipe.model import Recipe

__all__ = ["Recipe", "load_recipe"]
