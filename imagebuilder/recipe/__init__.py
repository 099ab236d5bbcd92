"""The recipe: what the user writes, as a frozen, typed value. ``model`` says what it may hold, ``load`` reads one."""

from imagebuilder.recipe.load import find, load, names
from imagebuilder.recipe.model import FileEntry, Recipe
from imagebuilder.recipe.new import new_recipe
from imagebuilder.recipe.schema import json_schema

__all__ = ["FileEntry", "Recipe", "find", "json_schema", "load", "names", "new_recipe"]
