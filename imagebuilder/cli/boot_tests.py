"""``imagebuilder test --pytest``: the boot tests of recipes, run by pytest itself (``docs/testing.md``)."""

import shlex
from collections.abc import Iterable, Mapping

import click

from imagebuilder.errors import ToolMissing
from imagebuilder.recipe.load import FILE, find


def run(names: Iterable[str], words: str, given: Mapping[str, object | None]) -> int:
    """Run the tests that each recipe gives and those beside it; returns pytest's exit status, as the plugin has it.

    ``words`` are further arguments for pytest; ``given`` its options and their values, None for those that were not
    given. Raises ToolMissing without pytest, and RecipeError for a recipe that is not there.
    """
    try:
        import pytest
    except ImportError as error:
        raise ToolMissing("pytest is needed to run boot tests and not installed", hint="pip install pytest") from error
    folders = [find(name) for name in names]
    chosen = [f"{option}={value}" for option, value in given.items() if value is not None]
    paths = [str(path) for folder in folders for path in (folder, folder / FILE)]
    try:
        more = shlex.split(words)
    except ValueError as error:
        raise click.BadParameter(f"{words!r} cannot be read as words: {error}", param_hint="--pytest") from error
    # The folder of a recipe that ships may not be ours to write to.
    return int(pytest.main([*paths, "-p", "no:cacheprovider", *chosen, *more]))


def refuse(given: Mapping[str, object]) -> None:
    """Options of the measurement say nothing to pytest. Raises UsageError that names those that were given."""
    wrong = [option for option, value in given.items() if value]
    if wrong:
        raise click.UsageError(f"{', '.join(wrong)} cannot be given with --pytest: measure without it")
