"""Packages of a Debian release, unpacked into one tree: no root, no maintainer scripts.

What these would make when the packages are installed is made from the tree, as far as it can be (``maintainer``).
"""

from collections.abc import Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Literal
from urllib.parse import quote

from pydantic import Field

from imagebuilder.arch import TARGET
from imagebuilder.errors import ImagebuilderError, SourceError
from imagebuilder.events import step
from imagebuilder.recipe import fields
from imagebuilder.recipe.values import MAX_ID
from imagebuilder.sources.apt_says import NoLongerThere
from imagebuilder.sources.kind import Choice, Context, Locked, Material, Package, SourceTable
from imagebuilder.sources.licences import declared
from imagebuilder.sources.overlay import overlay
from imagebuilder.tree import Kind, Node, Tree, directory, symlink
from imagebuilder.words import counted, whole_number

if TYPE_CHECKING:
    from imagebuilder.sources.layer import Layer

# Every Debian system has it, so no package depends on it; it has the numbers of www-data, nobody and so on.
ALWAYS = ("base-passwd",)
# Since Debian 12 these are links into /usr; packages of Debian 12 still have files in them (https://wiki.debian.org/UsrMerge).
MERGED: Mapping[str, str] = {name: f"/usr{name}" for name in ("/bin", "/sbin", *TARGET.merged_folders)}
# As base-files has them, on which every package relies.
RUN: Mapping[str, Node] = {
    "/run": directory(),
    "/run/lock": directory(mode=0o1777),
    "/var/run": symlink("/run"),
    "/var/lock": symlink("/run/lock"),
}


class DebianSource(SourceTable):
    """Packages of a Debian release and all that they depend on, slimmed to what the command needs."""

    type: Literal["debian"]
    """The kind of source."""
    release: fields.Release
    """The Debian release, as in "bookworm"."""
    packages: tuple[fields.Package, ...] = Field(min_length=1)
    """Packages to take files from; what they depend on comes with them. "name=version" asks for one version."""
    include: tuple[fields.ImageGlob, ...] = ()
    """Files to keep besides the command and the libraries it needs: absolute paths or patterns."""
    exclude: tuple[fields.ImageGlob, ...] = ()
    """Files to leave out although they were kept: absolute paths or patterns."""
    byte_code: tuple[fields.ImageGlob, ...] = ()
    """Python modules that are kept and whose byte code is made, by the image's own interpreter: paths or patterns."""


def resolve(source: DebianSource, context: Context) -> Locked:
    """The packages with version and digest; needs the network only the first time, and when asked to choose again."""
    choice = _choice(source, context)
    listed = [(package.name, package.version, package.sha256) for package in choice.packages]
    key = {"type": source.type, "release": source.release, "packages": listed}
    return Locked(source, key, choice)


def fetch(locked: Locked, context: Context) -> "Layer":
    """The files of all packages. Raises SourceError as ``apt`` and ``deb`` do."""
    from imagebuilder.sources import apt, deb
    from imagebuilder.sources.layer import Layer, kept
    from imagebuilder.sources.maintainer import Control, set_up

    source: DebianSource = locked.source
    packages = locked.choice.packages if locked.choice else ()
    try:
        files = apt.fetch(source.release, packages, store=context.store, say=context.say)
    except NoLongerThere as error:
        said = f"{error.message.removeprefix('source.packages: ')}, which was chosen earlier"
        raise SourceError(said, hint=context.lock_hint("--update")) from error
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
    materials = {each.name: _material(each, source.release, tree) for each in packages}
    return Layer(tree, {**origins, **made}, packages, slim=True, setup=setup, materials=materials)


def _material(package: Package, release: str, tree: Tree) -> Material:
    """A package for the bill of materials; its licences are those that its copyright file declares."""
    query = f"arch={TARGET.debian}&distro={release}"
    purl = f"pkg:deb/debian/{quote(package.name, safe='')}@{quote(package.version, safe='')}?{query}"
    place = tree.resolve(f"/usr/share/doc/{package.name}/copyright")
    node = tree[place] if place else None
    licences = declared(node.content.read()) if node is not None and node.kind is Kind.FILE else ()
    return Material(package.name, package.version, purl, licences, package.sha256)


def package_with(library: str, release: str, context: Context) -> str | None:
    """The release's package that should have a library, as far as the lists at hand tell."""
    from imagebuilder.sources import apt, sonames

    key = f"names of {release}"
    if key not in context.asked:
        context.asked[key] = frozenset[str]()
        with suppress(ImagebuilderError):  # it is for a hint only
            context.asked[key] = apt.names(release, store=context.store, say=context.say)
    return sonames.package_with(library, context.asked[key])


def merge_usr(nodes: Mapping[str, Node]) -> dict[str, Node]:
    """The nodes with those of ``/bin``, ``/sbin``, ``/lib`` and its kin where they are on a merged system."""
    return {_merged(path): node for path, node in nodes.items() if not (path in MERGED and node.kind is Kind.SYMLINK)}


def known_users(layer: "Layer") -> dict[str, tuple[int, int]]:
    """User and group numbers by name: of the layer's own passwd file, and of those that its packages make."""
    node = layer.tree.get("/etc/passwd")
    text = node.content.read().decode(errors="replace") if node is not None and node.kind is Kind.FILE else ""
    rows = (line.split(":") for line in text.splitlines())
    own = {row[0]: (int(row[2]), int(row[3])) for row in rows if _is_user(row)}
    return {user.name: (user.uid, user.gid) for user in layer.setup.users} | own


def _is_user(row: list[str]) -> bool:
    return len(row) >= 4 and bool(row[0]) and all(whole_number(field, MAX_ID) is not None for field in row[2:4])


def _merged(path: str) -> str:
    first = "/" + path.split("/", 2)[1]
    return MERGED[first] + path.removeprefix(first) if first in MERGED else path


def _choice(source: DebianSource, context: Context) -> Choice:
    def resolved() -> tuple[Package, ...]:
        from imagebuilder.sources import apt

        request = apt.PackageRequest(source.release, words)
        return apt.resolve(
            request, store=context.store, say=context.say, refresh=context.refresh, remember=context.remember
        )

    words = tuple(dict.fromkeys((*source.packages, *ALWAYS)))
    return context.choice(source.type, {"release": source.release, "packages": [*words]}, resolved)
