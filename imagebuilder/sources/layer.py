"""What a source gives: files, and what it knows of them."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from imagebuilder.sources.kind import Material, Package
from imagebuilder.sources.maintainer import Setup
from imagebuilder.store import Store
from imagebuilder.tree import Blob, Tree


@dataclass(frozen=True)
class Layer:
    """The files of one source: ``origins`` names the package (or source) of each path, ``slim`` says that only what
    the application needs is to be kept, ``setup`` what packages made besides files, ``owner`` whose its files
    are to be, in the recipe's words, ``materials`` has details of what ``origins`` names, ``removed`` the paths at
    which nothing of the layers below it stands any more; ``lenient`` says that a library which is missing for one of
    its files is worth no more than a warning."""

    tree: Tree
    origins: Mapping[str, str] = field(default_factory=dict)
    packages: tuple[Package, ...] = ()
    slim: bool = False
    setup: Setup = field(default_factory=Setup)
    owner: str = "root"
    materials: Mapping[str, Material] = field(default_factory=dict)
    removed: tuple[str, ...] = ()
    lenient: bool = False

    def owned(self, ids: tuple[int, int]) -> "Layer":
        """The layer with all its files (not the folders that only stand above them) given to a user."""
        given = {path: replace(self.tree[path], uid=ids[0], gid=ids[1]) for path in self.origins}
        return replace(self, tree=Tree({**self.tree, **given}))

    def save(self, store: Store) -> dict[str, Any]:
        """Keep the contents in the store; returns the document from which ``load`` gives the layer back."""
        packages = [package.describe() for package in self.packages]
        document = {"tree": self.tree.save(store), "origins": {**self.origins}, "packages": packages, "slim": self.slim}
        materials = {name: each.describe() for name, each in self.materials.items()}
        return {
            **document,
            "setup": self.setup.describe(),
            "owner": self.owner,
            "materials": materials,
            "removed": [*self.removed],
            "lenient": self.lenient,
        }

    @classmethod
    def load(cls, document: Mapping[str, Any], store: Store) -> "Layer":
        """The layer that ``save`` described. Raises CacheError when a content is missing or damaged."""
        packages = tuple(Package(**package) for package in document["packages"])
        tree, setup = Tree.load(document["tree"], store), Setup.load(document["setup"])
        materials = {name: Material.load(each) for name, each in document["materials"].items()}
        rest = (document["slim"], setup, document["owner"], materials, tuple(document["removed"]), document["lenient"])
        return cls(tree, document["origins"], packages, *rest)


def kept(content: bytes | Path, store: Store) -> Blob:
    """A content (of a file: what is in it) that is in the store from now on, and no longer in memory."""
    digest = store.put_file(content) if isinstance(content, Path) else store.put(content)
    path = store.blob(digest)
    return Blob(digest, path.stat().st_size, path=path)
