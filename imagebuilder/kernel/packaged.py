"""A distribution's own kernel out of its package: the image, and just the modules that are asked for.

The package comes through the machine's apt, verified by it; no script of it runs.
"""

import io
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Any, cast

from elftools.common.exceptions import ELFError
from elftools.elf.elffile import ELFFile

from imagebuilder.errors import CacheError, KernelError, SourceError
from imagebuilder.events import Say
from imagebuilder.kernel.definition import FILE, KernelDefinition, Package, key
from imagebuilder.kernel.kernel import Kernel
from imagebuilder.sources import apt, deb
from imagebuilder.store import Store
from imagebuilder.tree import Blob, Kind, Node, Tree, file

MOVE = "put the newest version there; kernels/README.md says how"


def provide(definition: KernelDefinition, *, store: Store, say: Say) -> Kernel:
    """The kernel of a package, from the store or downloaded. Raises KernelError when it is no longer to be had."""
    record_key = key(definition)
    record = store.record(record_key)
    try:
        if record is None:
            raise CacheError("not taken out yet")
        tree = Tree.load(record["modules"], store)
        image = store.blob(record["image"])
    except CacheError:
        nodes = _unpacked(definition, store=store, say=say)
        image, tree, record = _take_out(definition, nodes, store)
        store.keep(record_key, record)
    return Kernel(definition, image, record["image"], tree, tuple(record["paths"]))


def load_order(modules: Mapping[str, bytes], wanted: tuple[str, ...], *, builtin: frozenset[str]) -> list[str]:
    """The wanted modules and what they need, each after what it needs.

    Names are those of the files without ``.ko``, with ``_`` for ``-``. What is built in is left out. Raises
    KernelError for a module that the kernel does not have.
    """
    order: dict[str, None] = {}

    def visit(name: str, asked_by: str) -> None:
        if name in builtin or name in order:
            return
        if name not in modules:
            raise KernelError(f"the kernel has no module {name}, which {asked_by} needs")
        for needed in depends(modules[name]):
            visit(needed, name)
        order[name] = None

    for name in wanted:
        visit(name.replace("-", "_"), "its definition")
    return list(order)


def depends(module: bytes) -> Iterator[str]:
    """The modules that one needs itself, from its section ``.modinfo``."""
    try:
        section = ELFFile(io.BytesIO(module)).get_section_by_name(".modinfo")
    except ELFError as error:
        raise KernelError(f"a module of the kernel's package is no ELF file: {error}") from error
    lines = section.data().split(b"\0") if section else []
    for line in lines:
        if line.startswith(b"depends="):
            yield from (name.decode().replace("-", "_") for name in line.removeprefix(b"depends=").split(b",") if name)


def _unpacked(definition: KernelDefinition, *, store: Store, say: Say) -> Mapping[str, Node]:
    package = cast(Package, definition.package)
    request = apt.PackageRequest(package.release, (f"{package.name}={package.version}",), dependencies=False)
    try:
        found = apt.resolve(request, store=store, say=say)
        return deb.unpack(apt.fetch(package.release, found, store=store, say=say)[package.name], Blob.of_content)
    except SourceError as error:
        place = definition.folder / FILE
        raise KernelError(f"{place}: the kernel's package is not to be had: {error.message}", hint=MOVE) from error


def _take_out(
    definition: KernelDefinition, nodes: Mapping[str, Node], store: Store
) -> tuple[Path, Tree, dict[str, Any]]:
    package = cast(Package, definition.package)
    if package.image not in nodes:
        raise KernelError(f"{definition.folder / FILE}: {package.name} {package.version} has no {package.image}")
    paths = {_name(path): path for path, node in nodes.items() if path.endswith(".ko") and node.kind is Kind.FILE}
    contents = {name: nodes[path].content.read() for name, path in paths.items()}
    order = load_order(contents, package.modules, builtin=_builtin(nodes))
    tree = Tree({paths[name]: file(contents[name]) for name in order})
    digest = store.put(nodes[package.image].content.read())
    record = {"image": digest, "modules": tree.save(store), "paths": [paths[name] for name in order]}
    return store.blob(digest), tree, record


def _builtin(nodes: Mapping[str, Node]) -> frozenset[str]:
    """What the kernel has built in: its package lists it."""
    lists = [node.content.read() for path, node in nodes.items() if path.endswith("/modules.builtin")]
    return frozenset(_name(line) for content in lists for line in content.decode().split())


def _name(path: str) -> str:
    return PurePosixPath(path).name.removesuffix(".ko").replace("-", "_")
