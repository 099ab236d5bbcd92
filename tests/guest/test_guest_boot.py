"""Init at work: each test boots it in QEMU and looks at what the application saw and what the host was told."""

import re
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from imagebuilder import process
from imagebuilder.events import silent
from imagebuilder.formats import FORMATS
from imagebuilder.guest import InitConfig, Limit, Mount, init_conf, provide_init
from imagebuilder.guest.config import Sysctl
from imagebuilder.paths import cache_dir
from imagebuilder.store import Store
from imagebuilder.tree import Blob, Node, Tree, directory, file
from tests.guest.guest_boot import PORT, Guest, boot, running

pytestmark = [
    pytest.mark.vm,
    pytest.mark.skipif(process.find("musl-gcc") is None, reason="musl-gcc is not installed"),
    pytest.mark.skipif(process.find("qemu-system-x86_64") is None, reason="QEMU is not installed"),
]

HERE = Path(__file__).parent
MACHINE_NETWORK = ("-netdev", "user,id=n,guestfwd=tcp:10.0.2.100:7-cmd:cat", "-device", "virtio-net-device,netdev=n")
TICK_NS = 10_000_000  # CONFIG_HZ_100
Make = Callable[..., Tree]


@pytest.fixture(scope="session")
def store() -> Store:
    """The usual cache: a kernel that must be compiled is not compiled for each run."""
    return Store(cache_dir())


@pytest.fixture(scope="session")
def kernel(store: Store) -> Path:
    """The curated kernel."""
    from imagebuilder import kernel as kernels

    return kernels.provide(kernels.load_definition("micro"), store=store, say=silent).image


@pytest.fixture(scope="session")
def init(store: Store) -> Blob:
    """The program under test."""
    return provide_init(store)


@pytest.fixture(scope="session")
def probe(tmp_path_factory: pytest.TempPathFactory) -> Blob:
    """The application of these tests."""
    output = tmp_path_factory.mktemp("probe") / "probe"
    process.run(["musl-gcc", "-Os", "-static", "-s", "-Wall", "-Werror", "-o", output, HERE / "probe.c"])
    return Blob.at(output)


@pytest.fixture
def image(init: Blob, probe: Blob) -> Make:
    """Make a tree whose application does the words; keywords are fields of the configuration."""

    def make(*words: str, files: dict[str, Node] | None = None, **fields: object) -> Tree:
        config = InitConfig(**{"args": ("/probe", *words), **fields})  # type: ignore[arg-type]
        return Tree(
            {
                "/proc": directory(mode=0o555),
                "/dev": directory(),
                "/init": file(init, mode=0o755),
                "/probe": file(probe, mode=0o755),
                "/init.conf": file(init_conf(config)),
                **(files or {}),
            }
        )

    return make


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


def assert_failed(guest: Guest, sentence: str) -> None:
    """Init said why on both wires, and nothing that could be taken for success."""
    assert guest.console.text.splitlines()[-1] == f"init: {sentence}"
    assert guest.reports[-1] == f"error {sentence}"
    assert not any(line.startswith(("exit", "phase application")) for line in guest.reports)


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
    FORMATS["erofs"].write(tree, tmp_path / "root.erofs", epoch_s=0)
    drive = f"id=d,if=none,format=raw,readonly=on,file={tmp_path}/root.erofs"
    disk = ("-drive", drive, "-device", "virtio-blk-device,drive=d")
    guest = boot(kernel, Tree({}), "ib.channel=1 root=/dev/vda ro rootfstype=erofs init=/init", more=disk)
    assert f"write /etc/x {result}\n" in guest.console.text
    assert (" / overlay " in guest.console.text) == bool(overlay)
    assert guest.reports[-1] == "exit 0"


@pytest.mark.parametrize("size", [1 << 20, 60 << 20], ids=["fits", "too-large"])
def test_what_is_read_ahead_is_in_memory(kernel: Path, image: Make, tmp_path: Path, size: int) -> None:
    files = {"/data": file(bytes(range(256)) * (size // 256))}
    tree = image("sleep=500", "file=/proc/meminfo", ahead=("/nothing", "/data"), files=files)
    FORMATS["erofs"].write(tree, tmp_path / "root.erofs", epoch_s=0)
    drive = f"id=d,if=none,format=raw,readonly=on,file={tmp_path}/root.erofs"
    disk = ("-drive", drive, "-device", "virtio-blk-device,drive=d")
    guest = boot(kernel, Tree({}), "ib.channel=1 root=/dev/vda ro rootfstype=erofs init=/init", more=disk)
    found = re.search(r"\| Cached: +(\d+) kB", guest.console.text)
    assert found is not None
    assert (int(found[1]) << 10 >= 1 << 20) == (size == 1 << 20)


def test_a_disk_is_mounted_where_it_is_wanted(kernel: Path, image: Make, tmp_path: Path) -> None:
    FORMATS["erofs"].write(Tree({"/greeting": file(b"hello\n")}), tmp_path / "data.erofs", epoch_s=0)
    drive = f"id=d,if=none,format=raw,readonly=on,file={tmp_path}/data.erofs"
    tree = image("file=/srv/data/greeting", mounts=(Mount("erofs", "/srv/data", "ro,source=/dev/vda"),))
    guest = boot(kernel, tree, more=("-drive", drive, "-device", "virtio-blk-device,drive=d"))
    assert guest.console.text == "/srv/data/greeting| hello\n"


def test_orphans_are_reaped(kernel: Path, image: Make) -> None:
    assert boot(kernel, image("orphans=40", "zombies")).console.text == "zombies 0\n"


def test_a_flood_of_output_arrives_whole(kernel: Path, image: Make) -> None:
    lines = boot(kernel, image("flood=2000")).console.text.splitlines()
    assert [line.split(" .")[0] for line in lines] == [f"flood {i} of 2000" for i in range(1, 2001)]


# Network


def test_dhcp(kernel: Path, image: Make) -> None:
    tree = image("addresses", "tell=10.0.2.100:7", "file=/etc/resolv.conf")
    guest = boot(kernel, tree, "ib.channel=1 ib.ip=dhcp", more=MACHINE_NETWORK)
    assert guest.console.text.splitlines() == [
        "address lo 127.0.0.1/255.0.0.0",
        "address eth0 10.0.2.15/255.255.255.0",
        "told, heard hello",
        "",
        "/etc/resolv.conf| nameserver 10.0.2.3",
    ]
    assert list(guest.phases_ns) == ["init", "mounts", "network", "application"]


def test_a_static_address(kernel: Path, image: Make) -> None:
    tree = image("addresses", "tell=10.0.2.100:7", "file=/etc/resolv.conf")
    guest = boot(kernel, tree, "ib.channel=1 ib.ip=10.0.2.77/24,10.0.2.2,1.1.1.1,8.8.8.8", more=MACHINE_NETWORK)
    assert "address eth0 10.0.2.77/255.255.255.0\ntold, heard hello\n" in guest.console.text
    assert guest.console.text.endswith("| nameserver 1.1.1.1\n/etc/resolv.conf| nameserver 8.8.8.8\n")


def test_a_gateway_outside_the_subnet(kernel: Path, image: Make) -> None:
    tree = image("addresses", "tell=10.0.2.100:7", "file=/proc/net/route")
    guest = boot(kernel, tree, "ib.channel=1 ib.ip=10.0.2.77/32,10.0.2.2", more=MACHINE_NETWORK)
    assert "address eth0 10.0.2.77/255.255.255.255\ntold, heard hello\n" in guest.console.text


def test_name_servers_on_a_root_that_cannot_be_written(kernel: Path, image: Make, tmp_path: Path) -> None:
    names = file(b"nameserver 10.0.2.3\n")
    tree = image("file=/etc/resolv.conf", files={"/etc": directory(), "/etc/resolv.conf": names})
    FORMATS["erofs"].write(tree, tmp_path / "root.erofs", epoch_s=0)
    drive = f"id=d,if=none,format=raw,readonly=on,file={tmp_path}/root.erofs"
    more = (*MACHINE_NETWORK, "-drive", drive, "-device", "virtio-blk-device,drive=d")
    root = "ib.channel=1 root=/dev/vda ro rootfstype=erofs init=/init ib.ip=10.0.2.77/24,10.0.2.2"
    assert boot(kernel, Tree({}), f"{root},1.1.1.1", more=more).console.text.endswith("| nameserver 1.1.1.1\n")
    assert boot(kernel, Tree({}), f"{root},10.0.2.3", more=more).console.text.endswith("| nameserver 10.0.2.3\n")
    assert boot(kernel, Tree({}), root, more=more).console.text == ""  # none is told: none stays


def test_no_network_asked_for_brings_only_the_loopback(kernel: Path, image: Make) -> None:
    guest = boot(kernel, image("addresses"), more=MACHINE_NETWORK)
    assert guest.console.text == "address lo 127.0.0.1/255.0.0.0\n"


def test_an_image_that_wants_no_network_has_none(kernel: Path, image: Make) -> None:
    guest = boot(kernel, image("addresses", "say=x", network=False), more=MACHINE_NETWORK)
    assert guest.console.text == "say [x]\n"
    assert list(guest.phases_ns) == ["init", "mounts", "network", "application"]


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ("ib.ip=dhcp", "ib.ip=dhcp asks for a network, and there is no Ethernet interface"),
        ("ib.ip=10.0.2.300/24", "ib.ip=10.0.2.300/24 is neither 'dhcp' nor ADDRESS/PREFIX,GATEWAY,DNS"),
    ],
)
def test_a_network_that_cannot_be(kernel: Path, image: Make, words: str, sentence: str) -> None:
    assert_failed(boot(kernel, image(), f"ib.channel=1 {words}"), sentence)


@pytest.mark.slow
def test_no_dhcp_server(kernel: Path, image: Make) -> None:
    nobody = ("-netdev", "hubport,id=n,hubid=0", "-device", "virtio-net-device,netdev=n")
    guest = boot(kernel, image(), "ib.channel=1 ib.ip=dhcp", more=nobody)
    assert_failed(guest, "no DHCP server gave eth0 an address within 60 seconds")


# The host


def test_terminate(kernel: Path, image: Make) -> None:
    with running(kernel, image("wait=15", "exit=7"), "ib.channel=1") as guest:
        guest.console.until("waiting for 15")
        guest.channel.until("phase application")
        guest.channel.say(b"terminate\n")
    assert "got 15\n" in guest.console.text
    assert guest.reports[-1] == "exit 7"


def test_terminate_with_the_signal_that_the_image_names(kernel: Path, image: Make) -> None:
    with running(kernel, image("wait=3", stop_signal=3), "ib.channel=1") as guest:
        guest.console.until("waiting for 3")
        guest.channel.say(b"term")
        guest.channel.say(b"inate\n")
    assert guest.reports[-1] == "exit 0"


def test_terminate_ends_in_a_kill(kernel: Path, image: Make) -> None:
    with running(kernel, image("ignore=15", "wait=10", stop_grace_ms=200), "ib.channel=1") as guest:
        guest.console.until("waiting for 10")
        guest.channel.say(b"terminate\nterminate\n")
    assert guest.reports[-1] == "signal 9"


def test_signals_and_memory(kernel: Path, image: Make) -> None:
    with running(kernel, image("wait=10", "wait=12"), "ib.channel=1") as guest:
        guest.console.until("waiting for 10")
        guest.channel.say(b"memory\nnonsense\nsignal 999\n" + b"x" * 5000 + b"\nsignal 10\n")
        guest.console.until("waiting for 12")
        guest.channel.say(b"signal 12\n")
    (memory,) = (line for line in guest.reports if line.startswith("memory "))
    figures = {key: int(value) for key, value in (word.split("=") for word in memory.split()[1:])}
    told = "total free available buffers cached anonymous mapped shmem slab stacks tables percpu"
    assert list(figures) == told.split()
    assert 64 << 20 > figures["total"] > figures["free"] > 0
    assert figures["anonymous"] > 0 and figures["stacks"] > 0 and figures["tables"] > 0
    assert guest.reports[-1] == "exit 0"


def test_an_application_that_goes_on_has_its_signal_already(kernel: Path, image: Make) -> None:
    with running(kernel, image("go-on-with=10"), "ib.channel=1") as guest:
        guest.console.until("to be stopped")
        guest.channel.say(b"freeze\n")
        guest.channel.until("done freeze")
        guest.channel.say(b"thaw 10\n")
    assert guest.console.text.endswith("went on with 10\n")
    assert guest.reports[-2:] == ["done thaw", "exit 0"]


def test_power_off_at_once(kernel: Path, image: Make) -> None:
    with running(kernel, image("ignore=15", "wait=10"), "ib.channel=1") as guest:
        guest.console.until("waiting for 10")
        guest.channel.say(b"poweroff\n")
    assert guest.reports[-1].startswith("phase application")


def test_control_c_on_the_console(kernel: Path, image: Make) -> None:
    with running(kernel, image("wait=2", "exit=5"), "ib.channel=1") as guest:
        guest.console.until("waiting for 2")
        guest.console.say(b"\x03")
    assert "got 2\n" in guest.console.text
    assert guest.reports[-1] == "exit 5"


def test_signals_to_init_reach_the_application(kernel: Path, image: Make) -> None:
    assert boot(kernel, image("init=10", "sleep=9000")).reports[-1] == "signal 10"


def test_a_port_that_comes_late(kernel: Path, image: Make) -> None:
    with running(kernel, image("wait=15"), "ib.channel=1", port=False) as guest:
        guest.console.until("waiting for 15")
        guest.monitor.say(b"device_add virtserialport,chardev=channel,name=imagebuilder.0\n")
        guest.channel.until("phase application")
        guest.channel.say(b"terminate\n")
    assert list(guest.phases_ns) == ["init", "mounts", "network", "application"]
    assert guest.reports[-1] == "exit 0"


def test_a_port_that_comes_when_all_is_over(kernel: Path, image: Make) -> None:
    with running(kernel, image("exit=3"), "ib.channel=1", port=False) as guest:
        guest.console.until("exited with status 3")
        guest.monitor.say(b"device_add virtserialport,chardev=channel,name=imagebuilder.0\n")
    assert guest.reports[-1] == "exit 3"


def test_a_host_that_listens_late(kernel: Path, image: Make, tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp("s") / "late"
    more = ("-chardev", f"socket,id=late,path={path},server=on,wait=off", "-device", PORT.replace("=channel", "=late"))
    with running(kernel, image("watch=1000", "wait=15"), "ib.channel=1", more=more, port=False) as guest:
        guest.console.until("waiting for 15")
        assert used_ms(guest) < 300
        with socket.socket(socket.AF_UNIX) as late:
            late.connect(str(path))
            stream = late.makefile("rw")
            heard = [stream.readline().split()[1:3] for _ in range(5)]
            stream.write("terminate\n")
            stream.flush()
            heard.append(stream.readline().split()[1:3])
    told = [words for words in heard if words[0] != "clock"]
    phases = [["phase", name] for name in ("init", "mounts", "network", "application")]
    assert told == [*phases, ["exit", "0"]]


def used_ms(guest: Guest) -> int:
    """What init needed of the second in which it had nothing to do."""
    match = re.search(r"init used (\d+) ms of 1000 ms", guest.console.text)
    assert match is not None
    return int(match[1])


@pytest.mark.parametrize("port", [True, False])
def test_waiting_costs_nothing(kernel: Path, image: Make, port: bool) -> None:
    assert used_ms(boot(kernel, image("watch=1000"), port=port)) < 300


def test_a_port_that_the_machine_names(kernel: Path, image: Make) -> None:
    assert boot(kernel, image("exit=3"), "ib.channel=vport0p1").reports[-1] == "exit 3"


def test_that_the_application_listens_is_told(kernel: Path, image: Make) -> None:
    tree = image("sleep=300", "listen=80", "wait=15")
    with running(kernel, tree, "ib.channel=vport0p1 ib.listen=1") as guest:
        guest.channel.until("phase listening")
        guest.channel.say(b"terminate\n")
    assert list(guest.phases_ns) == ["init", "mounts", "network", "application", "listening"]
    assert guest.reports.index("watch listening") < guest.reports.index(phase(guest, "application"))
    waited_ns = guest.phases_ns["listening"] - guest.phases_ns["application"]
    assert waited_ns > 300_000_000 - TICK_NS
    assert guest.reports[-1] == "exit 0"


def phase(guest: Guest, name: str) -> str:
    """The line that told of a phase."""
    return f"phase {name} {guest.phases_ns[name]}"


def test_looking_whether_it_listens_costs_little(kernel: Path, image: Make) -> None:
    guest = boot(kernel, image("watch=1000"), "ib.channel=vport0p1 ib.listen=1")
    assert used_ms(guest) < 300
    assert "listening" not in guest.phases_ns


def test_only_the_port_of_our_name_is_taken(kernel: Path, image: Make) -> None:
    other = ("-chardev", "null,id=other", "-device", "virtserialport,chardev=other,name=other.0")
    assert boot(kernel, image("exit=3"), more=other).reports[-1] == "exit 3"


def test_a_port_that_never_comes_does_not_hold_the_end(kernel: Path, image: Make) -> None:
    guest = boot(kernel, image("say=x", "exit=3"), port=False)
    assert guest.console.text == "say [x]\ninit: the application exited with status 3\n"


def test_without_a_channel(kernel: Path, image: Make) -> None:
    guest = boot(kernel, image("exit=3"), "")
    assert guest.console.text == "init: the application exited with status 3\n"
    assert guest.reports == []
