"""What a source gets to know, and what it gives."""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from imagebuilder.events import Say
from imagebuilder.sources.maintainer import Setup
from imagebuilder.store import Store
from imagebuilder.tree import Blob, Tree


@dataclass(frozen=True)
class Context:
    """Where the recipe is, where results are kept, who listens; ``refresh`` asks anew what may have changed outside."""

    folder: Path
    store: Store
    say: Say
    refresh: bool = False
    # What was asked anew already, so that one build does so once.
    asked: dict[str, Any] = field(default_factory=dict, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Package:
    """A package of a distribution that is in the image; ``bytes`` is the size of its file."""

    name: str
    version: str
    sha256: str
    bytes: int

    def describe(self) -> dict[str, Any]:
        """The package as JSON."""
        return asdict(self)


@dataclass(frozen=True)
class Layer:
    """The files of one source: ``origins`` names the package (or source) of each path, ``slim`` says that only what
    the application needs is to be kept, ``setup`` what packages made besides files, ``owner`` whose its files
    are to be, in the recipe's words."""

    tree: Tree
    origins: Mapping[str, str] = field(default_factory=dict)
    packages: tuple[Package, ...] = ()
    slim: bool = False
    setup: Setup = field(default_factory=Setup)
    owner: str = "root"

    def owned(self, ids: tuple[int, int]) -> "Layer":
        """The layer with all its files (not the folders that only stand above them) given to a user."""
        given = {path: replace(self.tree[path], uid=ids[0], gid=ids[1]) for path in self.origins}
        return replace(self, tree=Tree({**self.tree, **given}))

    def save(self, store: Store) -> dict[str, Any]:
        """Keep the contents in the store; returns the document from which ``load`` gives the layer back."""
        packages = [package.describe() for package in self.packages]
        document = {"tree": self.tree.save(store), "origins": {**self.origins}, "packages": packages, "slim": self.slim}
        return {**document, "setup": self.setup.describe(), "owner": self.owner}

    @classmethod
    def load(cls, document: Mapping[str, Any], store: Store) -> "Layer":
        """The layer that ``save`` described. Raises CacheError when a content is missing or damaged."""
        packages = tuple(Package(**package) for package in document["packages"])
        tree, setup = Tree.load(document["tree"], store), Setup.load(document["setup"])
        return cls(tree, document["origins"], packages, document["slim"], setup, document["owner"])


@dataclass(frozen=True, slots=True)
class SourceKind:
    """A row of ``SOURCES``: the two functions of a kind of source."""

    describe: Callable[[Any, Context], Any]
    provide: Callable[[Any, Context], Layer]


def kept(content: bytes | Path, store: Store) -> Blob:
    """A content (of a file: what is in it) that is in the store from now on, and no longer in memory."""
    digest = store.put_file(content) if isinstance(content, Path) else store.put(content)
    path = store.blob(digest)
    return Blob(digest, path.stat().st_size, path=path)
