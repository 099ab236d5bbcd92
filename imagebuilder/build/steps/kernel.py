"""The kernel: prebuilt, from the store, out of a package or compiled."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from imagebuilder import kernel as kernels
from imagebuilder.build.steps.result import contents_of_tree
from imagebuilder.kernel import KernelDefinition
from imagebuilder.sources.kind import Context
from imagebuilder.store import Store
from imagebuilder.tree import Tree


@dataclass(frozen=True)
class KernelInputs:
    """A definition, and the fragments that are added to its own."""

    definition: KernelDefinition
    fragments: tuple[Path, ...]

    @property
    def name(self) -> str:
        """The definition's name."""
        return self.definition.name

    def describe(self) -> Any:
        """All of the definition and its files, by their hash."""
        return kernels.key(self.definition, self.fragments)


@dataclass(frozen=True)
class KernelResult:
    """The kernel's image in the store, and the modules that init loads, in the order of ``module_paths``."""

    sha256: str
    size_bytes: int
    modules: Tree
    module_paths: tuple[str, ...]

    def save(self, store: Store) -> dict[str, Any]:
        """As a step's result."""
        image = {"sha256": self.sha256, "bytes": self.size_bytes}
        return {**image, "modules": self.modules.save(store), "module_paths": [*self.module_paths]}

    @classmethod
    def load(cls, document: Mapping[str, Any], store: Store) -> Self:
        """As a step's result."""
        modules, paths = Tree.load(document["modules"], store), tuple(document["module_paths"])
        return cls(document["sha256"], document["bytes"], modules, paths)

    @classmethod
    def contents(cls, document: Mapping[str, Any]) -> Iterable[str]:
        """As a step's result."""
        return [document["sha256"], *contents_of_tree(document["modules"])]


def run(inputs: KernelInputs, _needs: tuple[()], context: Context) -> KernelResult:
    """Have it there."""
    made = kernels.provide(inputs.definition, extra_fragments=inputs.fragments, store=context.store, say=context.say)
    digest = context.store.put_file(made.image)
    return KernelResult(digest, made.image.stat().st_size, made.modules, made.module_paths)
