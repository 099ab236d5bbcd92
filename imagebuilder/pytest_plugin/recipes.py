"""A ``recipe.toml`` as pytest sees it: a module whose tests are those of ``promises.py``. Collecting builds nothing."""

from collections.abc import Iterable
from types import ModuleType

import pytest

from imagebuilder.errors import ImagebuilderError
from imagebuilder.pytest_plugin import promises
from imagebuilder.recipe.load import load


class RecipeFile(pytest.Module):
    """The tests of one recipe."""

    promises: tuple[str, ...] = ()
    """The keys of its budget."""

    def _getobj(self) -> ModuleType:
        return promises

    def funcnamefilter(self, name: str) -> bool:
        """Whether a function is a test."""
        return name in promises.TESTS and (name != promises.keeps.__name__ or bool(self.promises))

    def classnamefilter(self, name: str) -> bool:
        """There are no classes of tests."""
        return False

    def collect(self) -> Iterable[pytest.Item | pytest.Collector]:
        """The tests; a recipe with mistakes gives them, each with its line, instead."""
        try:
            recipe = load(self.path.parent)
        except ImagebuilderError as error:
            raise self.CollectError(str(error)) from error
        self.promises = tuple(recipe.budget.model_dump(exclude_none=True))
        if self.config.pluginmanager.hasplugin("timeout"):
            self.add_marker(pytest.mark.timeout(0))  # every wait has a limit of its own; measuring takes what it takes
        return super().collect()
