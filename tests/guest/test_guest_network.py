"""Init at work: the network that the application finds. Each test boots it in QEMU."""

from pathlib import Path

import pytest

from imagebuilder.filesystems import FILESYSTEMS
from imagebuilder.tree import Tree, directory, file

from .conftest import Make
from .guest_boot import NEEDS, assert_failed, boot

pytestmark = NEEDS
MACHINE_NETWORK = ("-netdev", "user,id=n,guestfwd=tcp:10.0.2.100:7-cmd:cat", "-device", "virtio-net-device,netdev=n")


@pytest.mark.parametrize(
    ("restrict", "names"),
    [
        ("off", "/etc/resolv.conf| nameserver 10.0.2.3"),
        ("on", "no /etc/resolv.conf: No such file or directory"),
    ],
)
def test_dhcp(kernel: Path, image: Make, restrict: str, names: str) -> None:
    """QEMU itself answers it, on a restricted network too, which has no name server but what the host forwards."""
    tree = image("addresses", "tell=10.0.2.100:7", "file=/etc/resolv.conf")
    backend, network, *device = MACHINE_NETWORK
    guest = boot(kernel, tree, "ib.channel=1 ib.ip=dhcp", more=(backend, f"{network},restrict={restrict}", *device))
    assert guest.console.text.splitlines() == [
        "address lo 127.0.0.1/255.0.0.0",
        "address eth0 10.0.2.15/255.255.255.0",
        "told, heard hello",
        "",
        names,
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
    FILESYSTEMS["erofs"].write(tree, tmp_path / "root.erofs", epoch_s=0)
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
