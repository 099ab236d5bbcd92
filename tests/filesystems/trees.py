"""Random trees, and what a folder on disk really holds, to compare with."""

import os
import stat
from dataclasses import dataclass
from pathlib import Path

from hypothesis import strategies as st

from imagebuilder.filesystems.common import time_s
from imagebuilder.tree import EMPTY, TYPE_BITS, Kind, Node, Tree, directory, file

EPOCH_S = 1_700_000_000
AS_ROOT = os.geteuid() == 0  # who else may give files away and make devices
SIZES = (0, 1, 100, 4031, 4032, 4033, 4063, 4064, 4065, 4095, 4096, 4097, 8192, 9999)

names = st.text(st.characters(exclude_characters="/\0", codec="utf-8"), min_size=1, max_size=60).filter(
    lambda name: name not in (".", "..")
)
owners = st.sampled_from((0, 33, 65_534, 100_000))
modes = st.sampled_from((0o400, 0o644, 0o755, 0o600))
times = st.sampled_from((None, 0, 1_000_000_000, EPOCH_S, EPOCH_S + 1))
contents = st.builds(lambda size, byte: bytes([byte]) * size, st.sampled_from(SIZES), st.integers(0, 3))
attributes = st.dictionaries(st.sampled_from(("user.a", "trusted.long", "security.x")), st.binary(max_size=300)).map(
    lambda given: tuple(sorted(given.items()))
)
files = st.builds(
    lambda data, mode, uid, gid, at: Node(Kind.FILE, mode, uid, gid, at, content=file(data).content),
    contents,
    modes,
    owners,
    owners,
    times,
)
links = st.builds(lambda target, at: Node(Kind.SYMLINK, 0o777, target=target, mtime_s=at), names, times)
folders = st.builds(lambda uid, at: Node(Kind.DIRECTORY, 0o755, uid, uid, at), owners, times)
devices = st.builds(
    lambda kind, major, minor: Node(kind, 0o600, device=(major, minor)),
    st.sampled_from((Kind.CHARACTER, Kind.BLOCK)),
    st.integers(0, 4095),
    st.integers(0, 70_000),
)
fifos = st.just(Node(Kind.FIFO, 0o600))
leaves = st.one_of(files, files, links, fifos, *([devices] if AS_ROOT else []))


@st.composite
def trees(draw: st.DrawFn) -> Tree:
    """A few folders in each other, and all kinds of nodes in them."""
    nodes: dict[str, Node] = {"/": directory(mode=0o755)}
    places = [""]
    for _ in range(draw(st.integers(0, 4))):
        place = f"{draw(st.sampled_from(places))}/{draw(names)}"
        nodes[place] = draw(folders)
        places.append(place)
    for _ in range(draw(st.integers(0, 12))):
        nodes.setdefault(f"{draw(st.sampled_from(places))}/{draw(names)}", draw(leaves))
    return Tree(nodes)


@dataclass(frozen=True, slots=True)
class Seen:
    """What ``stat`` and reading tell of a node."""

    kind: Kind
    mode: int
    uid: int
    gid: int
    mtime_s: int | None
    content: bytes | str | tuple[int, int]


def seen(folder: Path) -> dict[str, Seen]:
    """All below a folder, by its path in it; the folder itself is ``/``."""
    below = {f"/{path.relative_to(folder)}": _seen(path) for path in folder.rglob("*")}
    return {"/": _seen(folder), **below}


def expected(tree: Tree) -> dict[str, Seen]:
    """What a folder must hold that was unpacked from the tree; only root can give its files to others."""
    mine = None if AS_ROOT else (os.geteuid(), os.getegid())
    return {
        path: Seen(node.kind, node.mode, *(mine or (node.uid, node.gid)), time_s(node, EPOCH_S), _content(node))
        for path, node in tree.items()
    }


def _content(node: Node) -> bytes | str | tuple[int, int]:
    if node.kind is Kind.FILE:
        return node.content.read()
    return node.target or node.device


def _seen(path: Path) -> Seen:
    found = path.lstat()
    kind = next(kind for kind, bits in TYPE_BITS.items() if stat.S_IFMT(found.st_mode) == bits)
    device = (os.major(found.st_rdev), os.minor(found.st_rdev))
    content: bytes | str | tuple[int, int] = device
    if kind is Kind.FILE:
        content = path.read_bytes()
    elif kind is Kind.SYMLINK:
        content = str(path.readlink())
    return Seen(kind, stat.S_IMODE(found.st_mode), found.st_uid, found.st_gid, int(found.st_mtime), content)


def plain_tree() -> Tree:
    """One of each kind, with what is easily lost: set-user-ID, a large device number, a time before and after."""
    return Tree(
        {
            "/bin/su": file(b"#!", mode=0o4755, uid=0, gid=42, mtime_s=5),
            "/dev/null": Node(Kind.CHARACTER, 0o666, device=(1, 3)),
            "/dev/nvme9n1": Node(Kind.BLOCK, 0o660, device=(259, 70_000)),
            "/empty": Node(Kind.FILE, 0o600, content=EMPTY),
            "/late": file(b"late", mtime_s=EPOCH_S + 1000),
            "/lib": Node(Kind.SYMLINK, 0o777, target="usr/lib"),
            "/run/pipe": Node(Kind.FIFO, 0o600),
            "/tmp": directory(mode=0o1777),
        }
    )
