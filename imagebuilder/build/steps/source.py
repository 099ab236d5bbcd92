"""A source's files, as the kind of source gives them."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Self

from imagebuilder.build.steps.result import contents_of_tree
from imagebuilder.sources.kind import Context, Locked, SourceKind
from imagebuilder.sources.layer import Layer
from imagebuilder.store import Store


@dataclass(frozen=True)
class SourceInputs:
    """A source of the recipe: its kind, and what it comes to."""

    kind: SourceKind
    locked: Locked

    def describe(self) -> Any:
        """All that its layer depends on."""
        return self.locked.key


@dataclass(frozen=True)
class SourceResult:
    """The source's files."""

    layer: Layer

    def save(self, store: Store) -> dict[str, Any]:
        """As a step's result."""
        return self.layer.save(store)

    @classmethod
    def load(cls, document: Mapping[str, Any], store: Store) -> Self:
        """As a step's result."""
        return cls(Layer.load(document, store))

    @classmethod
    def contents(cls, document: Mapping[str, Any]) -> Iterable[str]:
        """As a step's result."""
        return contents_of_tree(document["tree"])


def modules(inputs: SourceInputs) -> tuple[str, ...]:
    """What does it: this, and the kind of source alone."""
    return __name__, inputs.kind.fetch.__module__


def run(inputs: SourceInputs, _needs: tuple[()], context: Context) -> SourceResult:
    """Fetch it, or make it."""
    return SourceResult(inputs.kind.fetch(inputs.locked, context))
