"""A recipe as JSON: for ``image.json``, for keys of build steps, and what templates see as ``recipe``."""

from typing import Any

from imagebuilder.recipe.model import Recipe


def describe(recipe: Recipe) -> dict[str, Any]:
    """The recipe with its defaults, without what is not given and without paths of this machine."""
    return recipe.model_dump(mode="json", exclude_none=True)
