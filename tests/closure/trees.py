"""What tests of the closure build their trees of."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from imagebuilder.closure.slimming import Around, Slimmed, slim
from imagebuilder.sources.layer import Layer
from imagebuilder.tree import Kind, Node, Tree, file, symlink

from .elves import elf

MULTIARCH = "/usr/lib/x86_64-linux-gnu"
# A merged /usr with a linker and a C library, as Debian has them.
BASE: Mapping[str, Node] = {
    "/lib": symlink("usr/lib"),
    "/lib64": symlink("usr/lib64"),
    "/usr/lib64/ld-linux-x86-64.so.2": symlink("/lib/x86_64-linux-gnu/ld-linux-x86-64.so.2"),
    f"{MULTIARCH}/ld-linux-x86-64.so.2": file(elf(), mode=0o755),
    f"{MULTIARCH}/libc.so.6": file(elf("ld-linux-x86-64.so.2")),
    "/usr/share/doc/libc6/copyright": file(b"text"),
}


def executable(content: bytes) -> Node:
    """A program or script."""
    return file(content, mode=0o755)


def layer(nodes: Mapping[str, Node], *, slim: bool = True, origin: str = "pkg") -> Layer:
    """A layer of which all comes from one package."""
    tree = Tree(nodes)
    return Layer(tree, dict.fromkeys(tree, origin), slim=slim)


def slimmed(
    nodes: Mapping[str, Node],
    root: str = "/usr/bin/app",
    *,
    include: Sequence[str] = (),
    exclude: Sequence[str] = (),
    around: Around | None = None,
    whole: Mapping[str, Node] | None = None,
) -> Slimmed:
    """What one program needs of packages, with files kept ``whole`` over them."""
    layers = [layer({**BASE, **nodes}), *([layer(whole, slim=False, origin="own")] if whole else [])]
    return slim(layers, roots=[root], include=include, exclude=exclude, around=around)


def added(files: Mapping[str, Node], **environment: str) -> Around:
    """What a recipe adds."""
    return replace(Around(), above=files, environment=environment)


def paths(result: Slimmed) -> list[str]:
    """All but folders."""
    return sorted(path for path, node in result.tree.items() if node.kind is not Kind.DIRECTORY)
