"""The tree that we make of an image's layers is what `umoci unpack` writes of them: layers at random, with whiteouts,
opaque folders, hard links, long names, extended attributes, sparse files, and folders in the place of files."""

import gzip
import io
import os
import shutil
import stat
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from imagebuilder import process
from imagebuilder.events import silent
from imagebuilder.sources import Context, oci
from imagebuilder.sources.oci import OciSource
from imagebuilder.store import Store
from imagebuilder.tree import Kind, Node
from tests.examples import examples
from tests.oci import registries

pytestmark = [pytest.mark.tools, pytest.mark.skipif(not shutil.which("umoci"), reason="needs umoci")]
IS_ROOT = os.geteuid() == 0
LONG = "n" * 120  # longer than the field of a header
CAPABILITY = b"\x01\0\0\x02\0\x04\0\0" + bytes(12)  # cap_net_bind_service+ep, as setcap writes it
KINDS = {
    stat.S_IFREG: Kind.FILE,
    stat.S_IFDIR: Kind.DIRECTORY,
    stat.S_IFLNK: Kind.SYMLINK,
    stat.S_IFIFO: Kind.FIFO,
}


@dataclass
class Random:
    """Layers in the making, and what is there of those before: each path with whether it is a folder. A link is not
    linked to again: umoci would follow it."""

    draw: st.DrawFn
    there: dict[str, bool] = field(default_factory=dict)
    links: set[str] = field(default_factory=set)

    def layer(self) -> bytes:
        """One layer more: each path at most once, and no whiteout of what it has itself (of which order may matter)."""
        stream = io.BytesIO()
        own: dict[str, bool] = {}
        lower = dict(self.there)
        with tarfile.open(fileobj=stream, mode="w", format=tarfile.PAX_FORMAT) as archive:
            for _ in range(self.draw(st.integers(1, 8))):
                path = self.draw(st.sampled_from(PATHS))
                if path in own or not self._makes_folders(archive, path, own):
                    continue
                self._member(archive, path, own, lower)
        return gzip.compress(stream.getvalue(), 1, mtime=0)

    def _makes_folders(self, archive: tarfile.TarFile, path: str, own: dict[str, bool]) -> bool:
        """Whether all above a path is a folder, after what is missing was made; not where this layer has another."""
        parts = path.split("/")
        above = ["/".join(parts[:count]) for count in range(1, len(parts))]
        if any(own.get(each) is False for each in above):
            return False
        for each in above:
            if not own.get(each) and not self.there.get(each):
                self._add(archive, self._info(each, tarfile.DIRTYPE), own)
        return True

    def _member(self, archive: tarfile.TarFile, path: str, own: dict[str, bool], lower: dict[str, bool]) -> None:
        kinds = ["file", "file", "folder", "link", "sparse", "fifo"]
        others = (each for each, is_folder in self.there.items() if not is_folder and each not in self.links)
        targets = sorted(each for each in others if not f"{each}/".startswith(f"{path}/"))
        kinds += ["hard"] * 2 if targets else []
        kinds += ["hide"] * 2 if path in lower and not any(each.startswith(f"{path}/") for each in own) else []
        kinds += ["opaque"] if lower.get(path) else []
        kind = self.draw(st.sampled_from(kinds))
        if kind == "hide":
            folder, _, name = path.rpartition("/")
            archive.addfile(self._info(f"{folder}/.wh.{name}".lstrip("/"), tarfile.REGTYPE))
            self._forget(path)
            own[path] = False
        elif kind == "opaque":
            self._add(archive, self._info(path, tarfile.DIRTYPE), own)
            archive.addfile(self._info(f"{path}/.wh..wh..opq", tarfile.REGTYPE))
            for each in [each for each in self.there if each.startswith(f"{path}/") and each not in own]:
                del self.there[each]
        elif kind == "hard":
            info = self._info(path, tarfile.LNKTYPE)
            info.linkname = self.draw(st.sampled_from(targets))
            self._add(archive, info, own)
        else:
            self._plain(archive, path, kind, own)

    def _plain(self, archive: tarfile.TarFile, path: str, kind: str, own: dict[str, bool]) -> None:
        types = {"folder": tarfile.DIRTYPE, "link": tarfile.SYMTYPE, "fifo": tarfile.FIFOTYPE}
        info, data = self._info(path, types.get(kind, tarfile.REGTYPE)), b""
        pax: dict[str, str] = {}
        if kind == "link":
            info.linkname = self.draw(st.sampled_from(["nowhere", "../a", "/b/c", LONG]))
        elif kind == "file":
            data = self.draw(st.binary(max_size=40)) * self.draw(st.sampled_from([1, 1, 700]))
            if self.draw(st.booleans()):
                pax["SCHILY.xattr.user.word"] = self.draw(st.sampled_from(["x", "ü", "long" * 20]))
            if IS_ROOT and self.draw(st.integers(0, 4)) == 0:
                pax["SCHILY.xattr.security.capability"] = CAPABILITY.decode(errors="surrogateescape")
        elif kind == "sparse":  # as GNU tar writes it, "1.0" of its manual
            pax |= {"GNU.sparse.major": "1", "GNU.sparse.minor": "0"}
            pax |= {"GNU.sparse.name": path, "GNU.sparse.realsize": "10003"}
            data = b"2\n0\n5\n10000\n3\n".ljust(512, b"\0") + b"beginend"
        info.size, info.pax_headers = len(data), pax
        self._add(archive, info, own, data)

    def _add(self, archive: tarfile.TarFile, info: tarfile.TarInfo, own: dict[str, bool], data: bytes = b"") -> None:
        archive.addfile(info, io.BytesIO(data))
        if not info.isdir():
            self._forget(info.name)
        self.links.difference_update({info.name})
        self.links.update({info.name} if info.issym() else ())
        own[info.name] = self.there[info.name] = info.isdir()

    def _forget(self, path: str) -> None:
        for each in [each for each in self.there if each == path or each.startswith(f"{path}/")]:
            del self.there[each]

    def _info(self, name: str, kind: bytes) -> tarfile.TarInfo:
        info = tarfile.TarInfo(name)
        info.type, info.mtime = kind, self.draw(st.integers(1, 2_000_000_000))
        info.mode = self.draw(st.sampled_from([0o755, 0o700, 0o4711] if kind != tarfile.REGTYPE else [0o644, 0o600]))
        info.uid, info.gid = self.draw(st.sampled_from([(0, 0), (33, 33), (1000, 100)]))
        return info


PATHS = [
    *(name for name in ("a", "b", "c")),
    *(f"{one}/{two}" for one in "abc" for two in ("d", "e", LONG)),
    *(f"{one}/d/{name}" for one in "abc" for name in ("f", "g", f"{LONG}/{LONG}")),
]


@st.composite
def images(draw: st.DrawFn) -> list[bytes]:
    """The layers of an image."""
    random = Random(draw)
    return [random.layer() for _ in range(draw(st.integers(1, 4)))]


def unpacked(root: Path) -> Iterator[tuple[str, tuple[object, ...]]]:
    """What stands in a folder, as ``seen`` has nodes."""
    for path in sorted(root.rglob("*")):
        said = path.lstat()
        kind = KINDS[stat.S_IFMT(said.st_mode)]
        data: object = path.read_bytes() if kind is Kind.FILE else None
        data = str(path.readlink()) if kind is Kind.SYMLINK else data
        names = [] if kind is Kind.SYMLINK else os.listxattr(path)
        named = {name: os.getxattr(path, name) for name in names if compared(name)}
        yield f"/{path.relative_to(root)}", seen(kind, stat.S_IMODE(said.st_mode), (said.st_uid, said.st_gid), data,
                                                 int(said.st_mtime), named)  # fmt: skip


def compared(attribute: str) -> bool:
    return attribute.startswith("user.w") or (IS_ROOT and attribute == "security.capability")


def seen(
    kind: Kind, mode: int, owner: tuple[int, int], data: object, mtime: int | None, named: dict[str, bytes]
) -> tuple[object, ...]:
    """What both must have: not the times of folders, which an entry in them changes, nor what only root can set."""
    return (kind, mode, owner if IS_ROOT else None, data, mtime if kind is Kind.FILE else None, sorted(named.items()))


def ours(node: Node) -> tuple[object, ...]:
    """A node of our tree, as ``seen`` has it."""
    data: object = node.content.read() if node.kind is Kind.FILE else None
    data = node.target if node.kind is Kind.SYMLINK else data
    named = {name: value for name, value in node.xattrs if compared(name)}
    return seen(node.kind, node.mode, (node.uid, node.gid), data, node.mtime_s, named)


@settings(
    max_examples=examples(40), deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)
@given(layers=images())
def test_our_tree_is_what_umoci_unpacks(layers: list[bytes]) -> None:
    with TemporaryDirectory() as scratch:
        folder = Path(scratch)
        registries.image(folder / "image", layers)
        rootless = [] if IS_ROOT else ["--rootless"]
        process.run(["umoci", "unpack", *rootless, "--image", f"{folder}/image:v1", str(folder / "bundle")])
        context = Context(folder, Store(folder / "store"), silent)
        tree = oci.fetch(oci.resolve(OciSource(type="oci", path="image"), context), context).tree
        theirs = dict(unpacked(folder / "bundle/rootfs"))
        assert {path: ours(node) for path, node in tree.items() if path != "/"} == theirs
