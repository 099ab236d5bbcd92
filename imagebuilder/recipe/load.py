"""Reading a recipe: a folder or a name becomes a ``Recipe``, or an error that lists every mistake with its line."""

from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from imagebuilder import documents
from imagebuilder.errors import Problem, RecipeError
from imagebuilder.paths import is_file
from imagebuilder.recipe.describe import describe
from imagebuilder.recipe.local_files import relative
from imagebuilder.recipe.locate import Place, line_of, locate
from imagebuilder.recipe.lookup import FILE, find
from imagebuilder.recipe.messages import explain
from imagebuilder.recipe.model import Recipe


def load(name_or_folder: str | Path) -> Recipe:
    """The recipe in a folder, or the one of that name. Raises RecipeError with every mistake, in the file's order."""
    folder = find(name_or_folder)
    text, document = _read(folder / FILE)
    recipe, found = _validate(folder, text, document)
    found += _template_problems(folder, document, recipe)
    if recipe is None or found:
        raise RecipeError(tuple(_for_reading(problem) for problem in found))
    return recipe


def _read(file: Path) -> tuple[str, dict[str, Any]]:
    """The text and what it says. Raises RecipeError with the one problem of a file that is no TOML."""
    try:
        return documents.toml_of(documents.read(file, documents.MOST_TOML_BYTES))
    except OSError as error:
        problem = Problem(file, 0, "", f"it cannot be read: {error.strerror}")
    except documents.Damaged as error:
        hint = "save the file as UTF-8" if isinstance(error.__cause__, UnicodeDecodeError) else None
        problem = Problem(file, error.line, "", str(error), hint)
    raise RecipeError((_for_reading(problem),))


def _validate(folder: Path, text: str, document: dict[str, Any]) -> tuple[Recipe | None, list[Problem]]:
    try:
        return Recipe.model_validate(document, context=folder), []
    except ValidationError as error:
        errors = error.errors(include_url=False)
    lines: Mapping[Place, int] = {}
    with suppress(ValueError, RecursionError):  # a mistake without its line is better than none
        lines = locate(text)
    found = [_problem(folder / FILE, lines, document, error) for error in errors if not _follows(error)]
    return None, sorted(found, key=lambda problem: problem.line)


def _problem(file: Path, lines: Mapping[Place, int], document: dict[str, Any], error: ErrorDetails) -> Problem:
    place = _written(error["loc"], document)
    if error["type"].startswith("union_tag"):  # pydantic names the source, we the key that decides
        place = (*place, "type")
    message, hint = explain(error)
    return Problem(file, line_of(lines, place), ".".join(key for key in place if isinstance(key, str)), message, hint)


def _follows(error: ErrorDetails) -> bool:
    """Whether it only repeats another: a list counts as too short when its entries are wrong."""
    return error["type"] == "too_short" and bool(error["input"])


def _written(place: Place, document: dict[str, Any]) -> Place:
    """Pydantic's place as the file has it: without the kind of source, the index of a lone [source], marks of keys."""
    place = tuple(step for step in place if step != "[key]")
    if place[:1] == ("source",):
        index = place[1:2] if isinstance(document.get("source"), list) else ()
        place = ("source", *index, *place[3:])
    return place


def _template_problems(folder: Path, document: dict[str, Any], recipe: Recipe | None) -> list[Problem]:
    """Mistakes in the templates; they are looked for even when the recipe itself has some."""
    templates = list(dict.fromkeys(_templates(folder, document)))
    if not templates:
        return []
    from imagebuilder.recipe.templates import StandIn, problems  # jinja2 takes longer to import than all else here

    variables = document.get("variables", {})
    known = variables if isinstance(variables, dict) else {}
    known = {**known, "recipe": describe(recipe) if recipe else StandIn(name="recipe")}
    return [problem for template in templates for problem in problems(folder, template, known)]


def _templates(folder: Path, document: dict[str, Any]) -> Iterator[str]:
    files = document.get("files")
    for entry in files if isinstance(files, list) else ():
        name = entry.get("template") if isinstance(entry, dict) else None
        if isinstance(name, str):
            with suppress(ValueError):
                if is_file(folder / relative(name)):
                    yield name


def _for_reading(problem: Problem) -> Problem:
    """With the file as one would type it from here."""
    here = Path.cwd()
    file = problem.file.relative_to(here) if problem.file.is_relative_to(here) else problem.file
    return Problem(file, problem.line, problem.key, problem.message, problem.hint)
