"""The formats as the guest's kernel reads them, down to what the tools on the host lose on the way."""

from dataclasses import replace
from pathlib import Path

import pytest

from imagebuilder import kernel as kernels
from imagebuilder import process
from imagebuilder.arch import MachineType
from imagebuilder.errors import GuestFailed
from imagebuilder.events import silent
from imagebuilder.filesystems import FILESYSTEMS
from imagebuilder.filesystems.common import time_s
from imagebuilder.kernel import Kernel
from imagebuilder.machine.instance import Instance
from imagebuilder.machine.spec import Accelerator, Disk, MachineSpec
from imagebuilder.paths import cache_dir
from imagebuilder.recipe.model import Ready
from imagebuilder.store import Store
from imagebuilder.tree import Blob, Kind, Node, Tree, directory, file

from .trees import EPOCH_S, SIZES, plain_tree

pytestmark = pytest.mark.vm
# micro's EROFS shows no names that begin with "security." (CONFIG_EROFS_FS_SECURITY); the build says so.
VISIBLE = ("user.note",)
READY = Ready(console="^walk: end", timeout_s=300)


@pytest.fixture(scope="module")
def kernel() -> Kernel:
    return kernels.provide(kernels.load_definition("micro"), store=Store(cache_dir()), say=silent)


@pytest.fixture(scope="module")
def walker(tmp_path_factory: pytest.TempPathFactory) -> Path:
    program = tmp_path_factory.mktemp("walk") / "walk"
    process.run(["gcc", "-O1", "-static", "-s", "-o", program, Path(__file__).parent / "walk.c"])
    return program


def full_tree() -> Tree:
    """One of each kind; contents of all sizes at the edges of blocks; a folder of many blocks; long links;
    folders of every size up to the next slot, whose last name the kernel must find."""
    edges = {f"/edges/{size}": file(bytes([size % 251]) * size, uid=size % 2 * 70_000) for size in (*SIZES, 300_000)}
    many = {f"/many/{number:0120d}": file(b"%d" % number, mtime_s=number) for number in range(150)}
    names = {f"/names/{size}/{'n' * size}": file(b"%d" % size) for size in range(1, 33)}
    twins = dict.fromkeys(("/twins/a", "/twins/b"), file(b"twin" * 5000))
    more = {"/links/long": Node(Kind.SYMLINK, 0o777, target="t" * 4000), "/deep/er": directory(mode=0o700, uid=33)}
    return Tree({**plain_tree(), **edges, **many, **names, **twins, **more})


def attributed_tree() -> Tree:
    """The same with extended attributes: of files beside their inode and not, of a folder, of one name and of two."""
    tree = full_tree()
    capability = ("security.capability", bytes.fromhex("0100000200200000000000000000000000000000"))
    note = ("user.note", b"\0\xff" * 700)
    given = {"/edges/100": (capability,), "/edges/300000": (capability, note), "/edges/4032": (note,), "/deep": (note,)}
    return Tree({**tree, **{path: replace(tree[path], xattrs=xattrs) for path, xattrs in given.items()}})


def hashed(node: Node) -> str:
    """FNV-1a with 64 bits, as ``walk.c`` has it."""
    value = 0xCBF29CE484222325
    attributes = b"".join(value for name, value in node.xattrs if name in VISIBLE)
    for byte in (node.target.encode() or node.content.read()) + attributes:
        value = (value ^ byte) * 0x100000001B3 & (1 << 64) - 1
    return f"{value:016x}"


def system(walker: Path) -> Tree:
    """What the machine itself needs."""
    console = Node(Kind.CHARACTER, 0o600, device=(5, 1))
    return Tree({"/walk": file(Blob.at(walker), mode=0o755), "/dev/console": console, "/disk": directory()})


async def walked(
    kernel: Kernel,
    folder: Path,
    tree: Tree,
    *,
    kind: str,
    disk: Path | None = None,
    root: str = "cpio",
    words: str = "rdinit=/walk",
) -> list[list[str]]:
    """What the guest sees: mode, uid, gid, time, device, hash and path of each node, in the order of their paths."""
    FILESYSTEMS[root].write(tree, folder / "root", epoch_s=EPOCH_S)
    spec = MachineSpec(
        MachineType(kernel.machine),
        Accelerator.TCG,
        kernel=kernel.image,
        initrd=folder / "root",
        cmdline=f"{kernel.cmdline} {kernel.cmdline_tcg} {words} walk={kind}",
        disks=(Disk(path=disk),) if disk else (),
        network=False,
        channel=False,
    )
    async with Instance.start(spec) as instance:
        await instance.wait_ready(READY)
        await instance.wait_exit()
        lines = [line.split()[1:] for line in instance.console.splitlines() if line.startswith("walk: ")]
    assert lines[-1] == ["end"]
    return sorted(lines[:-1], key=lambda words: words[-1].split("/"))


async def test_erofs_disk(kernel: Kernel, walker: Path, tmp_path: Path) -> None:
    FILESYSTEMS["erofs"].write(attributed_tree(), tmp_path / "disk", epoch_s=EPOCH_S)
    found = await walked(kernel, tmp_path, system(walker), kind="erofs", disk=tmp_path / "disk")
    assert found == described(attributed_tree())


async def test_damaged_erofs_superblock_is_not_mounted(kernel: Kernel, walker: Path, tmp_path: Path) -> None:
    """The kernel checks the checksum that we write, which ``fsck.erofs`` only reports."""
    FILESYSTEMS["erofs"].write(full_tree(), tmp_path / "disk", epoch_s=EPOCH_S)
    damaged = bytearray((tmp_path / "disk").read_bytes())
    damaged[1024 + 64] ^= 1  # the volume's name
    (tmp_path / "disk").write_bytes(damaged)
    found = await walked(kernel, tmp_path, system(walker), kind="erofs", disk=tmp_path / "disk")
    assert ["mount:", "Bad", "message"] in found


async def test_initramfs(kernel: Kernel, walker: Path, tmp_path: Path) -> None:
    """Times are left aside: the kernel gives unpacked files its own unless it is built to keep them."""
    below = Tree({f"/tree{path.rstrip('/')}": node for path, node in full_tree().items()})
    found = await walked(kernel, tmp_path, system(walker).merge(below), kind="initramfs")
    assert without_times(found) == without_times(described(full_tree()))


async def test_erofs_in_memory(kernel: Kernel, walker: Path, tmp_path: Path) -> None:
    """Read, mapped and sent out of where it lies, by the kernel alone."""
    below = Tree({f"/tree{path.rstrip('/')}": node for path, node in attributed_tree().items()})
    tree = system(walker).merge(below)
    found = await walked(kernel, tmp_path, tree, kind="memory", root="erofs", words="root=memory ro init=/walk")
    assert found == described(attributed_tree())


async def test_no_erofs_in_memory(kernel: Kernel, tmp_path: Path) -> None:
    """An archive is no such image: the kernel says so, and ends."""
    FILESYSTEMS["cpio"].write(full_tree(), tmp_path / "root", epoch_s=EPOCH_S)
    cmdline = f"{kernel.cmdline} {kernel.cmdline_tcg} root=memory ro init=/walk"
    machine, root = MachineType(kernel.machine), tmp_path / "root"
    spec = MachineSpec(machine, Accelerator.TCG, kernel.image, root, cmdline, network=False, channel=False)
    async with Instance.start(spec) as instance:
        with pytest.raises(GuestFailed, match="the initial ramdisk is no EROFS image"):
            await instance.wait_ready(READY)


def described(tree: Tree) -> list[list[str]]:
    """What the guest must see."""
    return [
        [
            *(f"{node.st_mode:o}", str(node.uid), str(node.gid), str(time_s(node, EPOCH_S))),
            *("{}:{}".format(*node.device), hashed(node), path),
        ]
        for path, node in tree.items()
    ]


def without_times(rows: list[list[str]]) -> list[list[str]]:
    return [[*row[:3], *row[4:]] for row in rows]
