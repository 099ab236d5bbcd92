"""The sandbox of the templates: jinja2 that sees the recipe's folder and nothing else, and where all must be defined.

What would give another text each time (random choice, filler text) is taken away: the same recipe, the same bytes. What
a template can take in time and memory is bounded by its process alone: ``{{ 10 ** (10 ** 9) }}`` is one operation. This
module is that process's program too, and ``is_plain`` recognises the templates that need none.
"""

import json
import pickle
import re
import resource
import sys
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
    nodes,
)
from jinja2.sandbox import ImmutableSandboxedEnvironment

from imagebuilder.errors import Problem
from imagebuilder.paths import is_file
from imagebuilder.recipe import local_files
from imagebuilder.recipe.suggestions import nearest

# What changes from one rendering to the next.
UNSTEADY_FILTERS = ("random",)
UNSTEADY_GLOBALS = ("lipsum",)
MAX_PROBLEMS = 20
MOST_TEMPLATE_BYTES, MOST_TEXT_BYTES = 1 << 20, 8 << 20
MOST_MEMORY_BYTES, MOST_CPU_S = 512 << 20, 5  # of the process
# A plain template does no more than look up values and put them beside each other: so many, of such a size together.
MOST_PLAIN_CHARACTERS, MOST_PLAIN_WORK_BYTES = 64 << 10, 64 << 20
PLAIN = (
    *(nodes.Template, nodes.Output, nodes.TemplateData, nodes.Name, nodes.Const, nodes.Getattr, nodes.Getitem),
    *(nodes.If, nodes.CondExpr, nodes.Compare, nodes.Operand, nodes.And, nodes.Or, nodes.Not, nodes.Test, nodes.Filter),
)
PLAIN_FILTERS = frozenset({"count", "d", "default", "e", "escape", "length", "lower", "string", "trim", "upper"})


def is_plain(folder: Path, template: str, names: Mapping[str, Any]) -> bool:
    """Whether a template needs no process of its own: no loop, no arithmetic, no call, no other template."""
    environment = _environment(folder)
    try:
        source, _, _ = Beside(folder).get_source(environment, template)
        if len(source) > MOST_PLAIN_CHARACTERS:  # to look at it takes a hundred times its size
            return False
        found = [*environment.parse(source).find_all(nodes.Node)]
    except (TemplateError, ValueError):  # wrong as it stands
        return True
    except RecursionError:
        return False
    plain = all(
        isinstance(node, PLAIN) and (not isinstance(node, nodes.Filter) or node.name in PLAIN_FILTERS) for node in found
    )
    return plain and len(found) * (len(source) + len(repr(names))) <= MOST_PLAIN_WORK_BYTES


def attempt(folder: Path, template: str, names: Mapping[str, Any]) -> tuple[list[Problem], str]:
    """All that is wrong with a template (each undefined variable, or the first other mistake), and its text.

    After an undefined variable is found something stands in for it that passes nearly everywhere, so that the next one
    is found; what else then fails may be due to the stand-in and is not reported.
    """
    environment = _environment(folder)
    known = dict(names)
    found: list[Problem] = []
    text = ""
    while len(found) < MAX_PROBLEMS:
        try:
            text = _text(environment, template, known)
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
    return found, text


def _text(environment: Environment, template: str, names: Mapping[str, Any]) -> str:
    pieces: list[str] = []
    left_bytes = MOST_TEXT_BYTES
    for piece in environment.get_template(template).generate(names):
        left_bytes -= len(piece.encode())  # half a character is no text
        if left_bytes < 0:
            raise TemplateError(f"its text has more than {MOST_TEXT_BYTES >> 20} MiB")
        pieces.append(piece)
    return "".join(pieces)


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
        """The text of a template. Raises TemplateError for one that leads out of the folder, by its name or a link."""
        if not local_files.inside(self.folder, template):
            raise TemplateError(f"'{template}' leads out of the recipe's folder: copy it there")
        path = self.folder / template
        if is_file(path) and path.stat().st_size > MOST_TEMPLATE_BYTES:
            raise TemplateError(f"'{template}' has more than {MOST_TEMPLATE_BYTES >> 20} MiB")
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
    if isinstance(error, MemoryError):
        error = TemplateError(f"it takes more than {MOST_MEMORY_BYTES >> 20} MiB of memory")
    if isinstance(error, RecursionError):
        error = TemplateError("it includes or calls itself without end, or is nested too deeply")
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


def main() -> None:
    """Read folder, template, names and the names of stand-ins; write what is wrong and the text. Within limits."""
    for limit, most in (
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_AS, MOST_MEMORY_BYTES),
        (resource.RLIMIT_CPU, MOST_CPU_S),
    ):
        resource.setrlimit(limit, (most, most))
    folder, template, names, missing = pickle.load(sys.stdin.buffer)
    found, text = attempt(folder, template, {**names, **{name: StandIn(name=name) for name in missing}})
    problems = [[str(each.file), each.line, each.key, each.message, each.hint] for each in found]
    answer = json.dumps({"problems": problems, "text": text}, ensure_ascii=False)
    sys.stdout.buffer.write(answer.encode("utf-8", "surrogatepass"))


if __name__ == "__main__":
    main()
