"""A Node project with its lock: production dependencies, unpacked by us, beside Debian's node of a release.

No script of a package is run. What is taken are the tarballs that ``package-lock.json`` names by their integrity, from
where it says or from the registry that npm is configured for here.
"""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal
from urllib.parse import quote

from imagebuilder.errors import SourceError
from imagebuilder.events import Note, Progress, Warned, silent, step
from imagebuilder.recipe import fields
from imagebuilder.sources.debian import DebianSource
from imagebuilder.sources.files import collect
from imagebuilder.sources.kind import Choice, Context, Defaults, Locked, Material, Package, SourceTable
from imagebuilder.store import key_of, sha256_file
from imagebuilder.tree import Node, Tree
from imagebuilder.words import counted, some

if TYPE_CHECKING:
    from imagebuilder.sources.layer import Layer
    from imagebuilder.sources.npm.lock import Chosen, Wanted

AT_ONCE = 8
MOST_TARBALL_BYTES = 1 << 30
# Beside a project, and not of it: what is installed for development, what imagebuilder writes, what is for git or npm.
NOT_SHIPPED = ("node_modules", "out", "package-lock.json", "recipe.toml", "recipe.lock", "pages.json")


class NodeSource(SourceTable):
    """A Node project with its production dependencies, by package-lock.json, and Debian's node."""

    type: Literal["node"]
    """The kind of source."""
    project: fields.FolderBeside = "."
    """The project's folder beside the recipe, with package.json and package-lock.json (version 2 or 3)."""
    release: fields.Release
    """The Debian release whose node it is."""
    files: tuple[fields.GlobBeside, ...] = ()
    """Paths or patterns beside the recipe of the project's own files; else all that do not begin with a dot, but
    node_modules, out, the lock and the recipe."""
    target: fields.ImagePath = "/srv/app"
    """The folder in the image in which the project stands."""
    owner: fields.User = "root"
    """The owner of its files: a name, "uid", "uid:gid" or "name:uid"."""


def implied(source: NodeSource) -> tuple[SourceTable, ...]:
    """Debian's node."""
    return (DebianSource(type="debian", release=source.release, packages=("nodejs",)),)


def resolve(source: NodeSource, context: Context) -> Locked:
    """The packages by version and digest, the project's files by hash, and how it is started."""
    from imagebuilder.sources.npm import lock, start
    from imagebuilder.sources.npm.package import program

    folder = context.folder / source.project
    project = lock.described(folder)
    found = lock.load(folder, project)
    files = _own_files(source, context)
    asks = {"lock": key_of([[each.place, each.name, each.version, each.digest] for each in found.packages])}
    choice = context.choice(source.type, asks, lambda: _chosen(found, folder, context))
    key = {
        "type": source.type,
        "target": source.target,
        "owner": source.owner,
        "files": {path: node.describe() for path, node in files.items()},
        "packages": [[each.place, each.name, each.version, each.digest, {**each.bins}] for each in found.packages],
    }
    root = [each for each in found.packages if each.place.count("node_modules/") == 1]
    programs = {name: f"{each.place}{program(path)}" for each in root for name, path in each.bins.items()}
    application = start.defaults(project, source.target, files, programs)
    return Locked(source, key, choice, Defaults(application))


def fetch(locked: Locked, context: Context) -> "Layer":
    """The project below ``target``, with its packages in ``node_modules``. Raises SourceError."""
    from imagebuilder.sources.layer import Layer, kept
    from imagebuilder.sources.npm import lock
    from imagebuilder.sources.npm.package import links, unpacked

    source: NodeSource = locked.source
    folder = context.folder / source.project
    found = lock.load(folder, lock.described(folder))
    _tell(found, context)
    blobs = _blobs(found, locked.choice, folder, context)
    nodes: dict[str, Node] = {}
    origins: dict[str, str] = {}
    with step(context.say, f"unpack-{source.type}", f"unpack {counted(len(found.packages), 'package')} of npm"):
        for package in found.packages:
            with blobs[package.place].open("rb") as stream:
                files = unpacked(stream, package, lambda data: kept(data, context.store))
            bins = dict(links(package, files))
            files |= {path: replace(files[path], mode=0o755) for path in _programs(package, files)}
            placed = {f"{package.place}{path}": node for path, node in files.items()} | bins
            nodes |= placed
            origins |= dict.fromkeys(placed, f"{package.name}@{package.version}")
    own = _own_files(source, context)
    nodes, origins = {**nodes, **own}, {**origins, **dict.fromkeys(own, "project")}
    target = source.target.rstrip("/")
    tree = Tree({f"{target}/{path}": node for path, node in nodes.items()})
    names = {f"{target}/{path}": origin for path, origin in origins.items()}
    packages = locked.choice.packages if locked.choice else ()
    materials = _materials(found, packages)
    return Layer(tree, names, packages, owner=source.owner, materials=materials)


def _materials(found: "Chosen", packages: tuple[Package, ...]) -> dict[str, Material]:
    """The packages for the bill of materials, by name with version."""
    digests = {each.identity: each.sha256 for each in packages}
    made = {}
    for each in found.packages:
        name = f"{each.name}@{each.version}"
        purl = f"pkg:npm/{quote(each.name, safe='/')}@{quote(each.version, safe='')}"
        licences = (each.licence,) if each.licence else ()
        made[name] = Material(each.name, each.version, purl, licences, digests.get(name, ""))
    return made


def _programs(package: "Wanted", files: Mapping[str, Node]) -> list[str]:
    from imagebuilder.sources.npm.package import program

    return [path for path in map(program, package.bins.values()) if path in files]


def _own_files(source: NodeSource, context: Context) -> dict[str, Node]:
    """The project's files by their path in it."""
    if source.files:
        inside = "" if source.project in (".", "./") else f"{source.project.strip('/')}/"
        found = collect(context.folder, source.files, key="source.files")
        outside = next((path for path in found if not path.startswith(inside)), None)
        if outside is not None:
            raise SourceError(f"source.files: {outside} is not in the project's folder {source.project}")
        return {path.removeprefix(inside): node for path, node in found.items()}
    folder = context.folder / source.project
    names = sorted(each.name for each in folder.iterdir() if each.name not in NOT_SHIPPED)
    return collect(folder, [name for name in names if not name.startswith(".")], key="source.project")


def _chosen(found: "Chosen", folder: Path, context: Context) -> tuple[Package, ...]:
    """The packages with the hash and the size of their tarballs, which are in the store then."""
    blobs = _blobs(found, None, folder, context)
    described = (
        Package(each.name, each.version, sha256_file(blobs[each.place]), blobs[each.place].stat().st_size)
        for each in found.packages
    )
    return tuple(dict.fromkeys(described))


def _blobs(found: "Chosen", choice: Choice | None, folder: Path, context: Context) -> dict[str, Path]:
    """The tarballs by place: from the store where it has them, else downloaded, several at a time."""
    from concurrent.futures import ThreadPoolExecutor

    from imagebuilder.sources import download
    from imagebuilder.sources.npm.registry import configured

    registry = configured(folder)
    known = {(each.name, each.version): each.sha256 for each in (choice.packages if choice else ())}
    name, total = "npm", len(found.packages)

    def one(package: "Wanted") -> Path:
        digest = known.get((package.name, package.version))
        if digest is not None and context.store.has(digest):
            return context.store.blob(digest)
        url = registry.url(package)
        check = (package.algorithm, package.digest)
        headers = registry.headers(url)
        return download.verified(
            url, *check, store=context.store, say=silent, headers=headers, most_bytes=MOST_TARBALL_BYTES
        )

    with step(context.say, name, f"{counted(total, 'package')} of npm"), ThreadPoolExecutor(AT_ONCE) as pool:
        paths: dict[str, Path] = {}
        try:
            for package, path in zip(found.packages, pool.map(one, found.packages), strict=True):
                paths[package.place] = path
                context.say(Progress(name, len(paths), total))
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    return paths


def _tell(found: "Chosen", context: Context) -> None:
    """Say what is left out, and what is not run."""
    if found.elsewhere:
        names = [place.rpartition("node_modules/")[2] for place in found.elsewhere]
        context.say(Note(f"left out, as they are for other systems: {some(names)}"))
    scripts = [f"{each.name} {each.version}" for each in found.packages if each.has_script]
    if scripts:
        said = f"not run are the install scripts of {some(scripts)}"
        context.say(Warned(f"{said}: what they would build or download is not in the image"))
