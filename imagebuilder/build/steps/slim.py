"""What the application needs of its sources' files, after the transforms of that stage."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Self

from imagebuilder.build.steps.layers import owned_layers, users_of
from imagebuilder.build.steps.result import contents_of_tree
from imagebuilder.build.steps.source import SourceResult
from imagebuilder.closure.groups import Group
from imagebuilder.events import Warned
from imagebuilder.platforms.table import PLATFORMS
from imagebuilder.platforms.users import Ids
from imagebuilder.platforms.values import Surroundings
from imagebuilder.sources.debian import package_with
from imagebuilder.sources.kind import Context, Package
from imagebuilder.sources.maintainer import Setup, joined
from imagebuilder.sources.state import state_folders
from imagebuilder.store import Store
from imagebuilder.transforms.kind import ChosenTransform, TransformContext, transformed
from imagebuilder.tree import Node, Tree


@dataclass(frozen=True)
class SlimInputs:
    """``roots`` are the programs that must run, on that ``platform``, ``added`` the recipe's files (as far as the
    closure reads them), ``search`` what of the application's environment says what is looked for and where,
    ``releases`` those of Debian in which a missing library may be, ``packages`` those that the recipe names. ``traced``
    is what its list says of files that are opened: path and why (None: it has no list); with ``whole`` nothing is left
    out, whatever the sources say."""

    platform: str
    roots: tuple[str, ...]
    arguments: tuple[str, ...]
    transforms: Mapping[str, ChosenTransform] = field(default_factory=dict)
    added: tuple[tuple[str, Node], ...] = ()
    search: Mapping[str, str] | None = None
    releases: tuple[str, ...] = ()
    packages: tuple[str, ...] = ()
    traced: tuple[tuple[str, str], ...] | None = None
    whole: bool = False


@dataclass(frozen=True)
class SlimResult:
    """What is needed; ``setup`` and ``packages`` of the packages that it is of, ``groups`` of what was kept and
    dropped, ``users`` by name of all that the sources know."""

    tree: Tree
    setup: Setup
    packages: tuple[Package, ...]
    groups: tuple[Group, ...]
    users: Mapping[str, Ids]

    def save(self, store: Store) -> dict[str, Any]:
        """As a step's result."""
        return {
            "tree": self.tree.save(store),
            "setup": self.setup.describe(),
            "packages": [package.describe() for package in self.packages],
            "contents": [group.describe() for group in self.groups],
            "users": {name: [*ids] for name, ids in self.users.items()},
        }

    @classmethod
    def load(cls, document: Mapping[str, Any], store: Store) -> Self:
        """As a step's result."""
        return cls(
            Tree.load(document["tree"], store),
            Setup.load(document["setup"]),
            tuple(Package(**each) for each in document["packages"]),
            tuple(Group(**each) for each in document["contents"]),
            {name: (uid, gid) for name, (uid, gid) in document["users"].items()},
        )

    @classmethod
    def contents(cls, document: Mapping[str, Any]) -> Iterable[str]:
        """As a step's result."""
        return contents_of_tree(document["tree"])


def modules(inputs: SlimInputs) -> tuple[str, ...]:
    """What does it: this, and the transforms of its stage."""
    return __name__, *(each.transform.apply.__module__ for each in inputs.transforms.values())


def run(inputs: SlimInputs, needs: Sequence[SourceResult], context: Context) -> SlimResult:
    """Transform it."""
    from imagebuilder.closure.slimming import Around

    known = users_of(needs)
    layers = owned_layers(needs, known)
    if inputs.whole:
        layers = [replace(each, slim=False, lenient=True) for each in layers]
    added = dict(inputs.added)
    below = PLATFORMS[inputs.platform].defaults((), Surroundings(debian=any(layer.packages for layer in layers)))

    def package_of(library: str) -> str | None:
        return _package_with(library, inputs.releases, context)

    traced = None if inputs.traced is None else dict(inputs.traced)
    around = Around(below, added, inputs.search or {}, package_of, inputs.arguments, inputs.packages, traced)
    with context.store.scratch() as scratch:
        given = TransformContext(inputs.roots, around, scratch, layers)
        done = transformed(Tree(), inputs.transforms, given)
    for sentence in () if inputs.whole else done.warnings:
        context.say(Warned(sentence))
    origins = {path: name for layer in layers for path, name in layer.origins.items()}
    used = {origins[path] for path in done.tree if path in origins}
    setup = joined(layer.setup.of(used) for layer in layers)
    for package, what in {}.items() if inputs.whole else setup.unmade.items():
        context.say(Warned(f"{package}: not done here is what its postinst does: {', '.join(what)}"))
    tree = Tree({**state_folders(layers, done.tree, used), **done.tree})
    known_packages = (package for layer in layers for package in layer.packages)
    packages = tuple(each for each in known_packages if not used.isdisjoint((each.name, each.identity)))
    return SlimResult(tree, setup, packages, done.groups, known)


def _package_with(library: str, releases: Sequence[str], context: Context) -> str | None:
    """The package that should have a library, of the first of the Debian releases that has one."""
    for release in releases:
        package = package_with(library, release, context)
        if package is not None:
            return f"the package {package} of Debian {release}"
    from imagebuilder.sources.sonames import is_glibc

    if not releases and is_glibc(library):
        return 'the package libc6, which a [[source]] of type "debian" brings'
    return None
