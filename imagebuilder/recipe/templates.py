"""The templates of a recipe: their text, or what is wrong with them. What a template does is done in its sandbox, and
but for the plainest in a process with limits."""

import json
import os
import pickle
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from imagebuilder import process
from imagebuilder.errors import Problem, RecipeError, ToolFailed
from imagebuilder.recipe import sandbox
from imagebuilder.recipe.describe import describe
from imagebuilder.recipe.model import Recipe
from imagebuilder.recipe.sandbox import StandIn as StandIn

TIMEOUT_S = 60.0  # of the wall's clock: the limit is that of the processor's time


def render(recipe: Recipe, template: str) -> str:
    """The text of a template beside the recipe. Raises RecipeError with every variable that is not defined."""
    found, text = _attempt(recipe.folder, template, {**recipe.variables, "recipe": describe(recipe)})
    if found:
        raise RecipeError(tuple(found))
    return text


def problems(folder: Path, template: str, names: Mapping[str, Any]) -> list[Problem]:
    """All that is wrong with a template: each undefined variable, or the first other mistake."""
    return _attempt(folder, template, names)[0]


def _attempt(folder: Path, template: str, names: Mapping[str, Any]) -> tuple[list[Problem], str]:
    if sandbox.is_plain(folder, template, names):
        return sandbox.attempt(folder, template, names)
    missing = [name for name, value in names.items() if isinstance(value, StandIn)]
    given = {name: value for name, value in names.items() if name not in missing}
    path = os.pathsep.join(each or str(Path.cwd()) for each in sys.path)
    try:
        answer = process.run(
            [sys.executable, "-SP", "-m", sandbox.__name__],
            env={"PYTHONPATH": path, "PYTHONHASHSEED": "0"},
            stdin=pickle.dumps((folder, template, given, missing)),
            timeout_s=TIMEOUT_S,
        )
    except ToolFailed as error:
        limits = f"{sandbox.MOST_CPU_S} s of a processor and {sandbox.MOST_MEMORY_BYTES >> 20} MiB of memory"
        message = f"the template cannot be used: it takes more than {limits}, or ends its process ({error.how})"
        return [Problem(folder / template, 0, "", message)], ""
    read = json.loads(answer.stdout.decode("utf-8", "surrogatepass"))
    return [Problem(Path(file), *rest) for file, *rest in read["problems"]], read["text"]
