"""A ``recipe.toml`` as pytest sees it: a module with the tests of ``generated_tests.py``. Collecting builds nothing."""

from collections.abc import Iterable
from types import ModuleType

import pytest

from imagebuilder import documents
from imagebuilder.errors import ImagebuilderError
from imagebuilder.pytest_plugin import generated_tests


class RecipeFile(pytest.Module):
    """The tests of one recipe."""

    promises: tuple[str, ...] = ()
    """The keys of its budget, which speaks of the bundle: no other format is held against it."""

    def _getobj(self) -> ModuleType:
        return generated_tests

    def funcnamefilter(self, name: str) -> bool:
        """Whether a function is a test."""
        return name in generated_tests.TESTS and (name != generated_tests.keeps.__name__ or bool(self.promises))

    def classnamefilter(self, name: str) -> bool:
        """There are no classes of tests."""
        return False

    def collect(self) -> Iterable[pytest.Item | pytest.Collector]:
        """The tests; a recipe with mistakes gives them, each with its line, instead."""
        seen = self._seen() if self.config.option.collectonly else None
        try:
            promised = self._checked() if seen is None else seen
            self.promises = () if self.config.getoption("--ib-format") else promised
        except ImagebuilderError as error:
            raise self.CollectError(str(error)) from error
        if self.config.pluginmanager.hasplugin("timeout"):
            self.add_marker(pytest.mark.timeout(0))  # every wait has a limit of its own; measuring takes what it takes
        return super().collect()

    def _checked(self) -> tuple[str, ...]:
        """The keys of its budget, of a recipe without mistakes. Raises RecipeError."""
        from imagebuilder.recipe.load import load

        return tuple(load(self.path.parent).budget.model_dump(exclude_none=True))

    def _seen(self) -> tuple[str, ...] | None:
        """The same as they are written, for who only wants to see the names of the tests: to check the recipe takes as
        long as all the rest of that. None when it must be, since it is no TOML or has no such table."""
        try:
            _, document = documents.toml_of(documents.read(self.path, documents.MOST_TOML_BYTES))
        except (OSError, documents.Damaged):
            return None
        budget = document.get("budget", {})
        return tuple(budget) if isinstance(budget, dict) else None
