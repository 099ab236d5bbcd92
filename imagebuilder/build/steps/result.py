"""What a step gives: a value that the store keeps as JSON, with contents by their hash."""

from collections.abc import Iterable, Mapping
from typing import Any, Protocol, Self

from imagebuilder.store import Store


class Result(Protocol):
    """What a step gives."""

    def save(self, store: Store) -> Mapping[str, Any]:
        """Keep the contents in the store; returns the document from which ``load`` gives the result back."""

    @classmethod
    def load(cls, document: Mapping[str, Any], store: Store) -> Self:
        """The result that ``save`` described. Raises CacheError when a content is missing or damaged."""

    @classmethod
    def contents(cls, document: Mapping[str, Any]) -> Iterable[str]:
        """The digests of the contents that the document stands for: it is worth nothing without them."""


def contents_of_tree(document: Mapping[str, Any]) -> list[str]:
    """The digests of a saved tree's files."""
    return [node["sha256"] for node in document.values() if "sha256" in node]
