"""The root as one file."""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Self

from imagebuilder.build.steps.root import RootResult
from imagebuilder.bundle import IN_MEMORY
from imagebuilder.filesystems import FILESYSTEMS
from imagebuilder.sources.kind import Context
from imagebuilder.store import Store


@dataclass(frozen=True)
class PackInputs:
    """The time of all that has none of its own, in seconds since 1970."""

    epoch_s: int


@dataclass(frozen=True)
class PackResult:
    """The file in the store: its name, and what the root is to those who boot it (``format``)."""

    format: str
    file: str
    bytes: int
    sha256: str

    def save(self, _store: Store) -> dict[str, Any]:
        """As a step's result."""
        return asdict(self)

    @classmethod
    def load(cls, document: Mapping[str, Any], _store: Store) -> Self:
        """As a step's result."""
        return cls(**document)

    @classmethod
    def contents(cls, document: Mapping[str, Any]) -> Iterable[str]:
        """As a step's result."""
        return [document["sha256"]]


def run(inputs: PackInputs, needs: tuple[RootResult], context: Context) -> PackResult:
    """Write it."""
    (root,) = needs
    row = FILESYSTEMS[IN_MEMORY.get(root.format, root.format)]
    with context.store.scratch() as scratch:
        path = scratch / f"root{row.suffix}"
        row.write(root.tree, path, epoch_s=inputs.epoch_s)
        digest = context.store.put_file(path)
        return PackResult(root.format, path.name, path.stat().st_size, digest)
