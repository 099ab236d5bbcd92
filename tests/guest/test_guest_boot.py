"""Init at work: how it ends, and what the application finds. Each test boots it in QEMU."""

import re
import time
from pathlib import Path

import pytest

from imagebuilder import process
from imagebuilder.filesystems import FILESYSTEMS
from imagebuilder.platforms.linux import Limit
from imagebuilder.platforms.linux.config import Sysctl
from imagebuilder.platforms.values import Ahead, Mount
from imagebuilder.tree import Blob, Tree, directory, file

from .conftest import HERE, Make
from .guest_boot import NEEDS, TICK_NS, assert_failed, boot, running

pytestmark = NEEDS


# How it ends


def test_success_is_silent_and_reported(kernel: Path, image: Make) -> None:
    guest = boot(kernel, image("say=hello"))
    assert guest.console.text == "say [hello]\n"
    assert guest.reports[-1] == "exit 0"
    assert list(guest.phases_ns) == ["init", "mounts", "network", "application"]
    assert list(guest.phases_ns.values()) == sorted(guest.phases_ns.values())
    (clock,) = (line for line in guest.reports if line.startswith("clock "))
    step_ns = int(clock.split()[1])
    assert step_ns % TICK_NS == 0 or 0 < step_ns < TICK_NS  # a clock that stands still between two ticks, or a good one


def test_an_exit_status_is_reported(kernel: Path, image: Make) -> None:
    guest = boot(kernel, image("exit=3"))
    assert guest.console.text == "init: the application exited with status 3\n"
    assert guest.reports[-1] == "exit 3"


def test_death_by_a_signal_is_reported(kernel: Path, image: Make) -> None:
    guest = boot(kernel, image("raise=11"))
    assert guest.console.text == "init: the application was ended by signal 11 (Segmentation fault)\n"
    assert guest.reports[-1] == "signal 11"


def test_what_the_application_left_running_does_not_hold_the_machine(kernel: Path, image: Make) -> None:
    assert boot(kernel, image("child", "exit=4")).reports[-1] == "exit 4"


SCRIPT = file(b"#!/bin/none -x\n", mode=0o755)


@pytest.mark.parametrize(
    ("command", "sentence"),
    [
        ("/nothing", "cannot start /nothing: there is no such file in the image"),
        ("/plain", "cannot start /plain: it is not executable"),
        ("/nonsense", "cannot start /nonsense: it is no program for this kernel and processor"),
        ("/script", "cannot start /script: it exists, but its interpreter /bin/none is missing"),
        ("/dynamic", "cannot start /dynamic: it exists, but its interpreter /lib/ld-musl-x86_64.so.1 is missing"),
        ("/proc", "cannot start /proc: Permission denied"),
    ],
)
def test_why_it_could_not_start(kernel: Path, image: Make, tmp_path: Path, command: str, sentence: str) -> None:
    process.run(["musl-gcc", "-o", tmp_path / "dynamic", HERE / "probe.c"])
    files = {
        "/plain": file(b"x"),
        "/nonsense": file(b"nonsense\n", mode=0o755),
        "/script": SCRIPT,
        "/dynamic": file(Blob.at(tmp_path / "dynamic"), mode=0o755),
    }
    assert_failed(boot(kernel, image(args=(command,), files=files)), sentence)


def test_a_wrong_configuration(kernel: Path, image: Make) -> None:
    tree = image(files={"/init.conf": file(b"arg /probe\ncolour blue\n")})
    assert_failed(boot(kernel, tree), "/init.conf: line 2: 'colour blue' is no key")


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"mounts": (Mount("none", "/x"),)}, "cannot mount none on /x: the kernel does not know this file system"),
        ({"mounts": (Mount("tmpfs", "/x", "colour=blue"),)}, "cannot mount tmpfs on /x: Invalid argument"),
        ({"sysctls": (Sysctl("no/such", "1"),)}, "cannot write '1' to /proc/sys/no/such: No such file or directory"),
        ({"modules": ("/m.ko",)}, "cannot open the kernel module /m.ko: No such file or directory"),
        ({"cwd": "/none"}, "cannot enter the working directory /none: No such file or directory"),
        ({"limits": (Limit("nofile", "9", "8"),)}, "cannot set the limit nofile: Invalid argument"),
    ],
)
def test_what_could_not_be_done(kernel: Path, image: Make, fields: dict[str, object], sentence: str) -> None:
    assert_failed(boot(kernel, image(**fields)), sentence)


# What the application finds


def test_identity_limits_environment(kernel: Path, image: Make) -> None:
    tree = image(
        "fds", "signals", "identity", "say=a\nb\\ c",
        uid=1000, gid=1001, groups=(4, 5), cwd="/srv", hostname="web", env=("A=1 2", "B=x=y\n"),
        limits=(Limit("nofile", "100", "200"),),
        files={"/srv": directory()},
    )  # fmt: skip
    expected = [
        "fd 0", "fd 1", "fd 2", "signals blocked=0 ignored=0",
        "ids uid=1000 euid=1000 gid=1001 groups=4,5", "cwd /srv", "nofile 100 200", "host web",
        "env [A=1 2]", "env [B=x=y", "]", "console opens again", "foreground yes", "say [a", "b\\ c]",
    ]  # fmt: skip
    assert boot(kernel, tree).console.text.splitlines() == expected


def test_the_command_line_names_the_host(kernel: Path, image: Make) -> None:
    guest = boot(kernel, image("identity", hostname="web"), "ib.hostname=web-7")
    assert "host web-7\n" in guest.console.text


def test_mounts_and_sysctls(kernel: Path, image: Make) -> None:
    tree = image(
        "file=/proc/mounts", "file=/proc/sys/vm/overcommit_memory",
        mounts=(Mount("tmpfs", "/run/deep/er", "nosuid,nodev,noexec,mode=0700,size=64k"), Mount("sysfs", "/sys", "ro")),
        sysctls=(Sysctl("vm/overcommit_memory", "1"),),
    )  # fmt: skip
    console = boot(kernel, tree).console.text
    assert re.search(r"tmpfs /run/deep/er tmpfs rw,nosuid,nodev,noexec,.*size=64k.*mode=700", console)
    assert "sysfs /sys sysfs ro," in console
    assert "overcommit_memory| 1\n" in console


@pytest.mark.parametrize(("overlay", "result"), [("8m", "works"), ("yes", "works"), (None, "Read-only file system")])
def test_the_root_on_a_disk(kernel: Path, image: Make, tmp_path: Path, overlay: str | None, result: str) -> None:
    tree = image("touch=/etc/x", "file=/etc/x", "file=/proc/mounts", overlay=overlay, files={"/etc": directory()})
    FILESYSTEMS["erofs"].write(tree, tmp_path / "root.erofs", epoch_s=0)
    drive = f"id=d,if=none,format=raw,readonly=on,file={tmp_path}/root.erofs"
    disk = ("-drive", drive, "-device", "virtio-blk-device,drive=d")
    guest = boot(kernel, Tree({}), "ib.channel=1 root=/dev/vda ro rootfstype=erofs init=/init", more=disk)
    assert f"write /etc/x {result}\n" in guest.console.text
    assert (" / overlay " in guest.console.text) == bool(overlay)
    assert guest.reports[-1] == "exit 0"


@pytest.mark.parametrize("size", [1 << 20, 60 << 20], ids=["fits", "too-large"])
def test_what_is_read_ahead_is_in_memory(kernel: Path, image: Make, tmp_path: Path, size: int) -> None:
    files = {"/data": file(bytes(range(256)) * (size // 256))}
    parts = tuple((first, 256) for first in range(0, size >> 12, 256))
    ahead = (Ahead("/nothing", ((0, 1),)), Ahead("/data", parts if size == 1 << 20 else ((0, size >> 12),)))
    tree = image("sleep=500", "file=/proc/meminfo", ahead=ahead, files=files)
    FILESYSTEMS["erofs"].write(tree, tmp_path / "root.erofs", epoch_s=0)
    drive = f"id=d,if=none,format=raw,readonly=on,file={tmp_path}/root.erofs"
    disk = ("-drive", drive, "-device", "virtio-blk-device,drive=d")
    guest = boot(kernel, Tree({}), "ib.channel=1 root=/dev/vda ro rootfstype=erofs init=/init", more=disk)
    found = re.search(r"\| Cached: +(\d+) kB", guest.console.text)
    assert found is not None
    assert (int(found[1]) << 10 >= 1 << 20) == (size == 1 << 20)


EVERY_OTHER = tuple((page, 1) for page in range(10_000, 11_000, 2))


@pytest.mark.parametrize(
    ("words", "overlay", "told"),
    [("", None, EVERY_OTHER), ("", "yes", EVERY_OTHER), ("ib.learn=/dev/vda", "yes", ())],
    ids=["read-only", "overlay", "learning"],
)
def test_exactly_those_parts_are_read_ahead(
    kernel: Path, image: Make, tmp_path: Path, words: str, overlay: str | None, told: tuple[tuple[int, int], ...]
) -> None:
    """And init tells so, in more lines than it can keep; when it learns, only what the application reads."""
    files = {"/data": file(bytes(range(256)) * 16 * 11_000), "/read": file(b"read by the application\n" * 400)}
    ahead = (Ahead("/read", ((1, 1),)), Ahead("/nothing", ((0, 1),)), Ahead("/data", EVERY_OTHER))
    tree = image("file=/read", "wait=10", ahead=ahead, overlay=overlay, files=files)
    FILESYSTEMS["erofs"].write(tree, tmp_path / "root.erofs", epoch_s=0)
    drive = f"id=d,if=none,format=raw,readonly=on,file={tmp_path}/root.erofs"
    disk = ("-drive", drive, "-device", "virtio-blk-device,drive=d")
    cmdline = f"ib.channel=1 root=/dev/vda ro rootfstype=erofs init=/init {words}"
    with running(kernel, Tree({}), cmdline, more=disk) as guest:
        guest.console.until("waiting for 10")
        guest.channel.say(b"pages\n")
        guest.channel.until("done pages")
        guest.channel.say(b"signal 10\n")
    found: dict[str, list[int]] = {}
    for _, number, *numbers in (line.split() for line in guest.reports if line.startswith("pages ")):
        found.setdefault(number, []).extend(map(int, numbers))
    assert found.pop("0") == [0, 3]
    assert found == ({"2": [number for part in told for number in part]} if told else {})


def test_a_disk_that_is_not_there_cannot_be_learned_from(kernel: Path, image: Make) -> None:
    guest = boot(kernel, image("say=never"), "ib.channel=1 ib.learn=/dev/vdz")
    assert_failed(guest, "ib.learn=/dev/vdz: No such file or directory")


def test_a_disk_is_mounted_where_it_is_wanted(kernel: Path, image: Make, tmp_path: Path) -> None:
    FILESYSTEMS["erofs"].write(Tree({"/greeting": file(b"hello\n")}), tmp_path / "data.erofs", epoch_s=0)
    drive = f"id=d,if=none,format=raw,readonly=on,file={tmp_path}/data.erofs"
    tree = image("file=/srv/data/greeting", mounts=(Mount("erofs", "/srv/data", "ro,source=/dev/vda"),))
    guest = boot(kernel, tree, more=("-drive", drive, "-device", "virtio-blk-device,drive=d"))
    assert guest.console.text == "/srv/data/greeting| hello\n"


def test_orphans_are_reaped(kernel: Path, image: Make) -> None:
    assert boot(kernel, image("orphans=40", "zombies")).console.text == "zombies 0\n"


@pytest.mark.parametrize(("lines", "late"), [(2000, False), (12000, True)], ids=["at once", "to a late reader"])
def test_a_flood_of_output_arrives_whole(kernel: Path, image: Make, lines: int, late: bool) -> None:
    with running(kernel, image(f"flood={lines}"), "ib.channel=1") as guest:
        if late:  # more than sockets hold: the guest must wait
            guest.console.until("flood 1 ")
            guest.console.reading.clear()
            time.sleep(2)
            assert f"flood {lines} " not in guest.console.text
            guest.console.reading.set()
    came = [line.split(" .")[0] for line in guest.console.text.splitlines()]
    assert came == [f"flood {i} of {lines}" for i in range(1, lines + 1)]


def test_the_console_is_read(kernel: Path, image: Make) -> None:
    with running(kernel, image("echo"), "ib.channel=1") as guest:
        guest.console.until("say something")
        for word in ("one", "two" * 30):
            guest.console.say(f"{word}\n".encode())
            guest.console.until(f"read [{word}]")
        guest.console.say(b"\x04")
    assert guest.console.text.splitlines()[-1] == "end of input"
