"""Names that a shell completes: of recipes, kernels, fragments, templates and formats, and of files. What is not among
them is refused where it is used, with the nearest one; an empty one, as of a variable that is not set, at once."""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import click
from click.shell_completion import CompletionItem

from imagebuilder.errors import ImagebuilderError


def _recipes() -> Iterable[str]:
    from imagebuilder.recipe.lookup import names

    return names()


def _kernels() -> Iterable[str]:
    from imagebuilder.kernel import list_definitions

    return (each.name for each in list_definitions())


def _fragments() -> Iterable[str]:
    from imagebuilder.kernel.definition import shared_fragments

    return (path.stem for path in shared_fragments())


def _templates() -> Iterable[str]:
    from imagebuilder.machine.template import templates
    from imagebuilder.paths import cache_dir
    from imagebuilder.store import Store

    return {each.name for each in templates(Store(cache_dir()))}


def _formats() -> Iterable[str]:
    from imagebuilder.build.outputs import names

    return names()


class FilePath(click.Path):
    """The path of a file or a folder; an empty one would be the current folder."""

    def __init__(self, **more: Any) -> None:
        super().__init__(path_type=Path, **more)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The path. Click takes what is neither a file nor a folder, such as a device, for both."""
        path: Any = super().convert(_not_empty(self, value, param, ctx), param, ctx)
        if not self.file_okay and path.exists() and not path.is_dir():
            self.fail(f"'{path}' is no folder", param, ctx)
        return path


class Known(click.ParamType[str]):
    """One of some names; with ``kind`` a file or folder will do as well (``file``, ``dir``)."""

    def __init__(self, name: str, known: Callable[[], Iterable[str]], kind: str | None = None) -> None:
        self.name = name
        self._known = known
        self._kind = kind

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """The name, as it is."""
        return str(_not_empty(self, value, param, ctx))

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        """The names that begin so, else files."""
        try:
            found = sorted(name for name in self._known() if name.startswith(incomplete))
        except (ImagebuilderError, OSError):  # an error has no place in a shell's completion
            found = []
        if found or self._kind is None:
            return [CompletionItem(name) for name in found]
        return [CompletionItem(incomplete, type=self._kind)]


def _not_empty(kind: click.ParamType[Any], value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
    if value == "":
        kind.fail("it is empty", param, ctx)
    return value


RECIPE = Known("NAME", _recipes, "dir")
KERNEL = Known("KERNEL", _kernels)
FRAGMENT = Known("FRAGMENT", _fragments, "file")
TEMPLATE = Known("NAME|KEY", _templates)
FORMAT = Known("FORMAT", _formats)
REFERENCE = Known("REF", _recipes, "file")
