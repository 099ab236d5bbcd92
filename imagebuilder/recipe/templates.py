"""Templates: jinja2 in a sandbox that sees the recipe's folder and nothing else, and where all must be defined.

What would give another text each time (random choice, filler text) is taken away: the same recipe, the same bytes.
"""

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from traceback import extract_tb
from typing import Any

from jinja2 import (
    ChainableUndefined,
    Environment,
    FileSystemLoader,
    StrictUndefined,
    TemplateError,
    TemplateSyntaxError,
    UndefinedError,
)
from jinja2.sandbox import ImmutableSandboxedEnvironment

from imagebuilder.errors import Problem, RecipeError
from imagebuilder.recipe import beside
from imagebuilder.recipe.describe import describe
from imagebuilder.recipe.model import Recipe
from imagebuilder.recipe.near import nearest

# What changes from one rendering to the next.
UNSTEADY_FILTERS = ("random",)
UNSTEADY_GLOBALS = ("lipsum",)
MAX_PROBLEMS = 20


def render(recipe: Recipe, template: str) -> str:
    """The text of a template beside the recipe. Raises RecipeError with every variable that is not defined."""
    names = {**recipe.variables, "recipe": describe(recipe)}
    found = problems(recipe.folder, template, names)
    if found:
        raise RecipeError(tuple(found))
    return _environment(recipe.folder).get_template(template).render(names)


def problems(folder: Path, template: str, names: Mapping[str, Any]) -> list[Problem]:
    """All that is wrong with a template: each undefined variable, or the first other mistake.

    After an undefined variable is found something stands in for it that passes nearly everywhere, so that the next one
    is found; what else then fails may be due to the stand-in and is not reported.
    """
    environment = _environment(folder)
    known = dict(names)
    found: list[Problem] = []
    while len(found) < MAX_PROBLEMS:
        try:
            environment.get_template(template).render(known).encode()  # half a character is no text
        except Exception as error:  # whatever the user's template does, it is the template that is wrong
            name = _undefined_name(error)
            if name in known or (name is None and any(isinstance(value, StandIn) for value in known.values())):
                break
            found.append(_problem(error, folder, template, names))
            if name is None:
                break
            known[name] = StandIn(name=name)
        else:
            break
    return found


class Strict(StrictUndefined):
    """A variable that is not defined; to count with it is an error like any other use."""

    __slots__ = ()
    __index__ = StrictUndefined._fail_with_undefined_error


class StandIn(ChainableUndefined):
    """A value in which all is defined, for one that is missing or could not be read."""

    __slots__ = ()

    def __call__(self, *_arguments: Any, **_options: Any) -> "StandIn":  # type: ignore[override]  # that never returns
        """A call gives the same again."""
        return self


class Beside(FileSystemLoader):
    """Templates in a folder; none that a link fetches from elsewhere."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.folder = folder

    def get_source(self, environment: Environment, template: str) -> tuple[str, str, Callable[[], bool]]:
        """The text of a template. Raises TemplateError for one behind a link that leads out of the folder."""
        if not beside.inside(self.folder, template):
            raise TemplateError(f"'{template}' is behind a link that leads out of the recipe's folder: copy it there")
        return super().get_source(environment, template)


def _environment(folder: Path) -> ImmutableSandboxedEnvironment:
    environment = ImmutableSandboxedEnvironment(
        loader=Beside(folder), undefined=Strict, keep_trailing_newline=True, autoescape=False
    )
    for name in UNSTEADY_FILTERS:
        del environment.filters[name]
    for name in UNSTEADY_GLOBALS:
        del environment.globals[name]
    return environment


def _problem(error: Exception, folder: Path, template: str, names: Mapping[str, Any]) -> Problem:
    """Where in which template the error happened, and what it means."""
    file, line = _place(error, folder, template)
    name = _undefined_name(error)
    if name is not None:
        near = nearest(name, names)
        hint = f"did you mean '{near}'?" if near else f"give it a value under [variables]: {name} = …"
        return Problem(file, line, name, "this variable is not defined", hint)
    text = str(error).strip().splitlines() or [type(error).__name__]
    return Problem(file, line, "", f"the template cannot be used: {text[0]}")


def _place(error: Exception, folder: Path, template: str) -> tuple[Path, int]:
    if isinstance(error, TemplateSyntaxError):
        return folder / (error.name or template), error.lineno
    frames = [frame for frame in extract_tb(error.__traceback__) if Path(frame.filename).is_relative_to(folder)]
    return (Path(frames[-1].filename), frames[-1].lineno or 0) if frames else (folder / template, 0)


def _undefined_name(error: Exception) -> str | None:
    matched = re.fullmatch("'(.+)' is undefined", str(error)) if isinstance(error, UndefinedError) else None
    return matched[1] if matched else None
