"""A container image, of a registry or of an OCI layout beside the recipe: its files, and how it is started.

Which image a tag means is chosen once, and kept in the lockfile by its digest.
"""

from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import quote

from pydantic_core import InitErrorDetails

from imagebuilder.errors import SourceError
from imagebuilder.events import step
from imagebuilder.paths import is_file
from imagebuilder.recipe import fields
from imagebuilder.recipe.base import mistake_at
from imagebuilder.sources.kind import Context, Defaults, Locked, Material, Package, SourceTable
from imagebuilder.store import key_of
from imagebuilder.tree import MOST_FOLDERS, Blob, Kind, Tree, directory, resolve_in
from imagebuilder.words import counted, shortened

if TYPE_CHECKING:
    from collections.abc import Iterable

    from imagebuilder.oci.content import Content, Descriptor
    from imagebuilder.oci.manifest import Image
    from imagebuilder.sources.layer import Layer

SHA256 = "sha256:"
# What runtimes mount over it in each container, and so does init: what images have there is left of their making.
MOUNTED = ("/dev", "/proc", "/sys")
MOST_WANTED = 1_000  # volumes and the working directory
OF_RUNTIMES = frozenset({"/etc/hosts", "/etc/hostname", "/etc/resolv.conf", "/.dockerenv"})


class OciSource(SourceTable):
    """A container image: its files, and what it says of its application."""

    type: Literal["oci"]
    """The kind of source."""
    image: fields.Line | None = None
    """An image of a registry: "HOST/NAME:TAG" or "HOST/NAME@sha256:…"."""
    path: fields.Beside | None = None
    """An OCI layout beside the recipe: a folder, or a tar archive; or an archive of `docker save`."""
    tag: fields.Line | None = None
    """Which image of the layout or archive, where it has several."""
    slim: bool = False
    """Whether only what the command needs is kept; else all files of the image are."""

    @classmethod
    def between(cls, raw: Mapping[str, Any]) -> Iterator[InitErrorDetails]:
        """One place, and a tag only where it is not part of the name."""
        if ("image" in raw) == ("path" in raw):
            yield mistake_at((), "write either image, or path")
        elif "tag" in raw and "image" in raw:
            yield mistake_at(("tag",), 'the tag is part of the image\'s name: write image = "HOST/NAME:TAG"')


def resolve(source: OciSource, context: Context) -> Locked:
    """The image by the digest of its manifest, and what it says of its application. Raises SourceError, InputError."""
    from imagebuilder.oci import execution

    with ExitStack() as stack:
        if source.image is not None:
            choice = context.choice(source.type, {"image": source.image}, lambda: (_chosen(source, context),))
            manifest = _descriptor(choice.packages[0])
        else:
            choice, manifest = None, _in_layout(source, context)
        name = source.image or str(source.path)
        key = {"type": source.type, "manifest": manifest.digest, "slim": source.slim}
        known = key_of(["how a container image is started", 1, manifest.digest])
        said = context.store.record(known)
        if said is None:
            content = _content(source, context, stack)
            image = _image(content, manifest, name)
            tree = _tree(content, image, name, context)
            context.asked[f"oci {manifest.digest}"] = tree
            found = execution.defaults(image.configuration.config, tree, name, context.say)
            said = {"application": found[0], "ports": found[1]}
            context.store.keep(known, said)
    return Locked(source, key, choice, Defaults(said["application"], tuple(said["ports"])))


def fetch(locked: Locked, context: Context) -> "Layer":
    """The files of all layers. Raises SourceError."""
    from imagebuilder.sources.layer import Layer

    source: OciSource = locked.source
    digest = locked.key["manifest"]
    name = source.image or str(source.path)
    tree = context.asked.get(f"oci {digest}")
    if tree is None:
        from imagebuilder.oci.content import Descriptor

        with ExitStack() as stack:
            content = _content(source, context, stack)
            size = locked.choice.packages[0].bytes if locked.choice else -1
            image = _image(content, Descriptor("", digest, size), name)
            tree = _tree(content, image, name, context)
    hexadecimal = digest.removeprefix(SHA256)
    plain = name.partition("@")[0].rpartition("/")[2].partition(":")[0]
    purl = f"pkg:oci/{quote(plain.lower(), safe='')}@{quote(digest, safe='')}"
    material = Material(name, digest, purl, sha256=hexadecimal)
    return Layer(tree, dict.fromkeys(tree, name), slim=source.slim, lenient=True, materials={name: material})


def _chosen(source: OciSource, context: Context) -> Package:
    """The manifest for our platform that the name means now, as the lockfile has it."""
    from imagebuilder.oci import manifest, reference

    assert source.image is not None
    wanted = reference.parse(source.image)
    with ExitStack() as stack:
        content = _content(source, context, stack)
        with step(context.say, f"ask {source.image}", f"which image {source.image} is"):
            found = manifest.manifest_of(content, content.resolve(None), source.image)
            size = found.size_bytes if found.size_bytes >= 0 else len(content.document(found))
    if not found.digest.startswith(SHA256):
        raise SourceError(f"{source.image} is named by sha512, which lockfiles do not have: take a sha256 digest")
    version = found.digest[: len(SHA256) + 12] if not wanted.tag or wanted.tag[0] == "_" else wanted.tag
    return Package(wanted.name, version, found.digest.removeprefix(SHA256), size)


def _descriptor(package: Package) -> "Descriptor":
    from imagebuilder.oci.content import Descriptor

    return Descriptor("", f"{SHA256}{package.sha256}", package.bytes)


def _in_layout(source: OciSource, context: Context) -> "Descriptor":
    from imagebuilder.oci import manifest

    layout = _local(source, context)
    return manifest.manifest_of(layout, layout.resolve(source.tag), str(source.path))


def _local(source: OciSource, context: Context) -> "Content":
    from imagebuilder.oci.archive import Archive
    from imagebuilder.oci.layout import Layout

    path = context.folder / str(source.path)
    return Archive(path) if is_file(path) else Layout(path)


def _content(source: OciSource, context: Context, stack: ExitStack) -> "Content":
    if source.image is None:
        return _local(source, context)
    from imagebuilder.oci import reference
    from imagebuilder.oci.registry import Registry

    return stack.enter_context(Registry(reference.parse(source.image), context.store, context.say))


def _image(content: "Content", manifest: "Descriptor", name: str) -> "Image":
    from imagebuilder.oci.manifest import image_of

    return image_of(content, manifest, name)


def _tree(content: "Content", image: "Image", name: str, context: Context) -> Tree:
    """The files of all layers, contents in the store."""
    from imagebuilder.oci.layers import LayerFile, applied

    paths = content.blobs(image.layers, context.store, context.say)
    diff_ids = image.configuration.rootfs.diff_ids
    files = [
        LayerFile(paths[each.digest], diff_id, f"layer {number} of {name}")
        for number, (each, diff_id) in enumerate(zip(image.layers, diff_ids, strict=True), 1)
    ]

    def keep(chunks: "Iterable[bytes]", _size_bytes: int) -> Blob:
        path = context.store.place(context.store.put_chunks(chunks))
        return Blob(path.name, path.stat().st_size, path=path)

    with step(context.say, f"unpack {name}", f"unpack {name}"):
        tree = applied(files, keep)
    below = tuple(f"{each}/" for each in MOUNTED)
    own = tree.filter(lambda path, _: path not in OF_RUNTIMES and not path.startswith(below))
    execution = image.configuration.config
    wanted = [execution.WorkingDir, *(execution.Volumes or ())] if execution else []
    if len(wanted) > MOST_WANTED:
        raise SourceError(f"{name} has {counted(len(wanted) - 1, 'volume')}: it is refused")
    return _with_folders(own, [each for each in wanted if each and each.startswith("/")], name)


def _with_folders(tree: Tree, wanted: "Iterable[str]", name: str) -> Tree:
    """With the folders that a runtime makes where the image lacks them. Raises SourceError for one too deep."""
    nodes = dict(tree)
    for path in wanted:
        parts = [part for part in path.split("/") if part not in ("", ".")]
        if len(parts) > MOST_FOLDERS:
            raise SourceError(f"{name}: its folder {shortened(path)} is below more than {MOST_FOLDERS} others")
        if ".." in parts or resolve_in(nodes, path) is not None:
            continue
        place = "/"
        for part in parts:
            inner = f"{place.rstrip('/')}/{part}"
            found = resolve_in(nodes, inner)
            if found is None and inner in nodes:
                break  # a link to nothing
            if found is not None and nodes[found].kind is not Kind.DIRECTORY:
                break
            if found is None:
                nodes[inner] = directory()
            place = found or inner
    return Tree(nodes)
