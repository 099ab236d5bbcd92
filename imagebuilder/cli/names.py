"""Names that a shell completes: of recipes, kernels, fragments, templates and formats. What is not among them is
refused by whoever uses it, with the nearest one."""

from collections.abc import Callable, Iterable

import click
from click.shell_completion import CompletionItem

from imagebuilder.errors import ImagebuilderError


def _recipes() -> Iterable[str]:
    from imagebuilder.recipe.finding import names

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
    from imagebuilder.formats import FORMATS

    return ("direct", *FORMATS)


class Known(click.ParamType[str]):
    """One of some names; with ``kind`` a file or folder will do as well (``file``, ``dir``)."""

    def __init__(self, name: str, known: Callable[[], Iterable[str]], kind: str | None = None) -> None:
        self.name = name
        self._known = known
        self._kind = kind

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        """The names that begin so, else files."""
        try:
            found = sorted(name for name in self._known() if name.startswith(incomplete))
        except (ImagebuilderError, OSError):  # a shell that completes words is no place to be told of it
            found = []
        if found or self._kind is None:
            return [CompletionItem(name) for name in found]
        return [CompletionItem(incomplete, type=self._kind)]


RECIPE = Known("NAME", _recipes, "dir")
KERNEL = Known("KERNEL", _kernels)
FRAGMENT = Known("FRAGMENT", _fragments, "file")
TEMPLATE = Known("NAME|KEY", _templates)
FORMAT = Known("FORMAT", _formats)
