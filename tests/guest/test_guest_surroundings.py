"""Init at work: what ordinary programs expect to find around them. Each test boots it in QEMU."""

from pathlib import Path

import pytest

from imagebuilder.filesystems import FILESYSTEMS
from imagebuilder.platforms.values import Mount
from imagebuilder.recipe.values import Capability
from imagebuilder.tree import Kind, Node, Tree, directory, file, symlink

from .conftest import Make
from .guest_boot import NEEDS, Guest, assert_failed, boot

pytestmark = NEEDS
NOBODY = 65534
EPOCH_S = 1_100_000_000
ROOT_ON_DISK = "ib.channel=1 root=/dev/vda ro rootfstype=erofs init=/init"


def boot_from_disk(kernel: Path, tree: Tree, folder: Path, words: str = "") -> Guest:
    """Boot a tree whose root is a disk."""
    FILESYSTEMS["erofs"].write(tree, folder / "root.erofs", epoch_s=EPOCH_S)
    drive = f"id=d,if=none,format=raw,readonly=on,file={folder}/root.erofs"
    disk = ("-drive", drive, "-device", "virtio-blk-device,drive=d")
    return boot(kernel, Tree({}), f"{ROOT_ON_DISK} {words}", more=disk)


def looks(guest: Guest) -> dict[str, str]:
    """What stands where: path → mode, owner, time and target."""
    lines = (line.split(" ", 2) for line in guest.console.text.splitlines() if line.startswith("look "))
    return {path: what for _, path, what in lines}


def test_the_devices_that_programs_expect(kernel: Path, image: Make) -> None:
    paths = ("fd", "stdin", "stdout", "stderr", "shm", "full", "tty", "ptmx", "console")
    words = (f"look=/dev/{path}" for path in paths)
    others = (f"as={NOBODY}:/dev/stderr", "as=1:/dev/stdout")
    become = (Capability.SETUID.number, Capability.SETGID.number)
    guest = boot(kernel, image(*words, "shared", "touch=/dev/stderr", *others, capabilities=become))
    found = {path: what.split(" ") for path, what in looks(guest).items()}
    links = {path: words[-1] for path, words in found.items() if "->" in words}
    assert links == {
        "/dev/fd": "/proc/self/fd",
        "/dev/stdin": "fd/0",
        "/dev/stdout": "fd/1",
        "/dev/stderr": "fd/2",
    }
    assert found["/dev/shm"][:2] == ["41777", "0:0"]
    assert found["/dev/full"][0] == found["/dev/tty"][0] == found["/dev/ptmx"][0] == "20666"
    assert found["/dev/console"][:2] == ["20622", "0:0"]
    assert "shared memory works\n" in guest.console.text
    assert "write /dev/stderr works\n" in guest.console.text
    assert guest.console.text.count("written as another\n") == 2


def test_the_console_of_another_user_stays_its_own(kernel: Path, image: Make) -> None:
    guest = boot(kernel, image("look=/dev/console", "touch=/dev/stderr", uid=NOBODY, gid=NOBODY))
    assert looks(guest)["/dev/console"].startswith(f"20600 {NOBODY}:")
    assert "write /dev/stderr works\n" in guest.console.text


COVERED = {
    "/run": directory(mode=0o700),
    "/run/app": directory(mode=0o2750, uid=7, gid=8),
    "/run/app/app.conf": file(b"an option\n", mode=0o4640, uid=5, gid=6, mtime_s=1_000_000_000),
    "/run/app/large": file(bytes(range(256)) * 4096),
    "/run/app/empty": directory(mode=0o1777),
    "/run/app/deep/er/still": file(b"deep\n"),
    "/run/link": symlink("app/app.conf"),
    "/run/pipe": Node(Kind.FIFO, 0o622),
    "/run/inner": directory(),
    "/run/inner/file": file(b"inner\n"),
    "/dev/log": symlink("/run/log"),
    "/dev/stdout": symlink("/run/out"),
    "/dev/null": Node(Kind.CHARACTER, 0o600, device=(1, 3)),
    "/dev/own/file": file(b"mine\n"),
    **{f"/run/many/{number:03}": file(b"") for number in range(200)},
}
LOOKED_AT = (
    "/run", "/run/app", "/run/app/app.conf", "/run/app/large", "/run/app/empty", "/run/link", "/run/pipe", "/run/inner",
    "/run/inner/file", "/dev/log", "/dev/stdout", "/dev/stderr", "/dev/null", "/dev/own/file", "/run/many/199",
)  # fmt: skip


@pytest.mark.parametrize("root", ["initramfs", "read-only", "overlay"])
def test_what_the_image_has_below_a_mount_stands_on_it(kernel: Path, image: Make, tmp_path: Path, root: str) -> None:
    tree = image(
        *(f"look={path}" for path in LOOKED_AT),
        "file=/run/app/app.conf", "file=/run/app/deep/er/still", "file=/dev/own/file", "touch=/run/app/app.conf",
        mounts=(Mount("tmpfs", "/run", "mode=0711"), Mount("tmpfs", "/run/inner", "mode=0500")),
        copies=("/dev", "/run"), overlay="yes" if root == "overlay" else None, files=COVERED,
        capabilities=(Capability.DAC_OVERRIDE.number,),
    )  # fmt: skip
    guest = boot(kernel, tree) if root == "initramfs" else boot_from_disk(kernel, tree, tmp_path)
    found = looks(guest)
    assert found["/run"].startswith("40711 0:0 "), "a mount has the mode that its options say"
    assert found["/run/app"].startswith("42750 7:8 ")
    assert found["/run/app/app.conf"].startswith("104640 5:6 ")
    if root != "initramfs":  # whose files are as old as the machine
        assert found["/run/app"].endswith(f" {EPOCH_S}")
        assert found["/run/app/app.conf"].endswith(" 1000000000")
    assert found["/run/app/large"].startswith("100644 0:0 ")
    assert found["/run/app/empty"].startswith("41777 0:0 ")
    assert found["/run/link"].endswith(" -> app/app.conf")
    assert found["/run/pipe"].startswith("10622 0:0 ")
    assert found["/run/inner"].startswith("40500 ")
    assert found["/run/inner/file"].startswith("100644 ")
    assert found["/dev/log"].endswith(" -> /run/log")
    assert found["/dev/stdout"].endswith(" -> /run/out"), "the image's link stands"
    assert found["/dev/stderr"].endswith(" -> fd/2")
    assert found["/dev/null"].startswith("20666 "), "the kernel's device stands"
    assert found["/run/many/199"].startswith("100644 ")
    lines = guest.console.text.splitlines()
    assert lines[-4:] == [
        "/run/app/app.conf| an option",
        "/run/app/deep/er/still| deep",
        "/dev/own/file| mine",
        "write /run/app/app.conf works",
    ]


def test_a_mount_that_is_too_small_for_what_is_below_it(kernel: Path, image: Make) -> None:
    tree = image(mounts=(Mount("tmpfs", "/run", "size=64k"),), copies=("/run",), files=COVERED)
    guest = boot(kernel, tree)
    assert_failed(guest, "cannot copy large, which is below a mount, onto it: No space left on device")


HOSTS = {"/etc/hosts": file(b"127.0.0.1 localhost\n127.0.1.1 web\n")}


@pytest.mark.parametrize("root", ["initramfs", "read-only"])
def test_a_host_knows_its_own_name(kernel: Path, image: Make, tmp_path: Path, root: str) -> None:
    """The image's, and one that the machine gives; without a name server or a network."""
    tree = image("own-name", "file=/etc/hosts", hostname="web", files=HOSTS)
    for name in ("web", "web-7"):
        words = f"ib.hostname={name}"
        in_memory = root == "initramfs"
        guest = (
            boot(kernel, tree, f"ib.channel=1 {words}") if in_memory else boot_from_disk(kernel, tree, tmp_path, words)
        )
        assert f"{name} is 127.0.1.1\n" in guest.console.text
        assert "/etc/hosts| 127.0.0.1 localhost\n" in guest.console.text
