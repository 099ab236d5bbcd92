"""Packages of a Debian release, unpacked into one tree: no root, no maintainer scripts.

What these would make when the packages are installed is made from the tree, as far as it can be (``maintainer``).
"""

from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from imagebuilder.errors import ImagebuilderError
from imagebuilder.events import step
from imagebuilder.recipe.model import DebianSource
from imagebuilder.sources import apt, deb, sonames
from imagebuilder.sources.layer import Context, Layer, Package, kept
from imagebuilder.sources.maintainer import Control, set_up
from imagebuilder.sources.overlay import overlay
from imagebuilder.tree import Kind, Node, Tree, directory, symlink
from imagebuilder.words import counted

REVISION = 2
# Every Debian system has it, so no package depends on it; it knows the numbers of www-data, nobody and so on.
ALWAYS = ("base-passwd",)
# Since Debian 12 these are links into /usr; packages of Debian 12 still have files in them (https://wiki.debian.org/UsrMerge).
MERGED: Mapping[str, str] = {name: f"/usr{name}" for name in ("/bin", "/sbin", "/lib", "/lib64")}
# As base-files has them, on which every package relies.
RUN: Mapping[str, Node] = {
    "/run": directory(),
    "/run/lock": directory(mode=0o1777),
    "/var/run": symlink("/run"),
    "/var/lock": symlink("/run/lock"),
}


def describe(source: DebianSource, context: Context) -> Any:
    """The packages with version and digest; needs the network only the first time, and when told to ask anew."""
    packages = [(package.name, package.version, package.sha256) for package in _resolve(source, context)]
    return {"type": source.type, "revision": REVISION, "release": source.release, "packages": packages}


def provide(source: DebianSource, context: Context) -> Layer:
    """The files of all packages. Raises SourceError as ``apt`` and ``deb`` do."""
    packages = _resolve(source, context)
    files = apt.fetch(source.release, packages, store=context.store, say=context.say)
    tree, origins, controls = Tree(), dict[str, str](), dict[str, Control]()
    with step(context.say, f"unpack-{source.release}", f"unpack {counted(len(packages), 'package')}"):
        for package in packages:
            nodes = merge_usr(deb.unpack(files[package.name], lambda data: kept(data, context.store)))
            tree, paths = overlay(tree, nodes)
            origins |= dict.fromkeys(paths, package.name)
            controls[package.name] = Control(**deb.control(files[package.name]))
    links = {path: symlink(target.removeprefix("/")) for path, target in MERGED.items() if target in tree}
    links |= {path: node for path, node in RUN.items() if path not in tree}
    origins |= dict.fromkeys(links, "base-files")  # the package that has them since Debian 13
    tree, made, setup = set_up(Tree({**tree, **links}), origins, controls)
    return Layer(tree, {**origins, **made}, packages, slim=True, setup=setup)


def package_with(library: str, release: str, context: Context) -> str | None:
    """The release's package that should have a library, as far as the lists at hand tell."""
    key = f"names of {release}"
    if key not in context.asked:
        context.asked[key] = frozenset[str]()
        with suppress(ImagebuilderError):  # it is for a hint only
            context.asked[key] = apt.names(release, store=context.store, say=context.say)
    return sonames.package_with(library, context.asked[key])


def merge_usr(nodes: Mapping[str, Node]) -> dict[str, Node]:
    """The nodes with those of ``/bin``, ``/sbin``, ``/lib`` and ``/lib64`` where they are on a merged system."""
    return {_merged(path): node for path, node in nodes.items() if not (path in MERGED and node.kind is Kind.SYMLINK)}


def known_users(layer: Layer) -> dict[str, tuple[int, int]]:
    """User and group numbers by name: of the layer's own passwd file, and of those that its packages make."""
    node = layer.tree.get("/etc/passwd")
    text = node.content.read().decode(errors="replace") if node is not None and node.kind is Kind.FILE else ""
    rows = (line.split(":") for line in text.splitlines())
    own = {row[0]: (int(row[2]), int(row[3])) for row in rows if _is_user(row)}
    return {user.name: (user.uid, user.gid) for user in layer.setup.users} | own


def _is_user(row: list[str]) -> bool:
    return len(row) >= 4 and bool(row[0]) and all(field.isascii() and field.isdigit() for field in row[2:4])


def _merged(path: str) -> str:
    first = "/" + path.split("/", 2)[1]
    return MERGED[first] + path.removeprefix(first) if first in MERGED else path


def _resolve(source: DebianSource, context: Context) -> tuple[Package, ...]:
    wish = apt.Wish(source.release, tuple(dict.fromkeys((*source.packages, *ALWAYS))))
    if wish.key not in context.asked:
        refresh, store = context.refresh, context.store
        context.asked[wish.key] = apt.resolve(wish, store=store, say=context.say, refresh=refresh)
    packages: tuple[Package, ...] = context.asked[wish.key]
    return packages
