"""What the application may do in its guest: nothing but what the recipe grants, root too."""

import re
from dataclasses import replace
from pathlib import Path

import pytest

from imagebuilder.platforms.values import Mount
from imagebuilder.recipe.values import Capability
from imagebuilder.sources.maintainer.capabilities import encoded
from imagebuilder.tree import Tree

from .conftest import Make
from .guest_boot import NEEDS, assert_failed, boot

pytestmark = NEEDS

SETS = ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")


def rights(console: str) -> tuple[set[int], str]:
    """The values of all five sets of capabilities, and NoNewPrivs."""
    found = dict(re.findall(r"^(Cap\w+|NoNewPrivs):\t(\w+)$", console, re.MULTILINE))
    return {int(found[name], 16) for name in SETS}, found["NoNewPrivs"]


@pytest.mark.parametrize("uid", [0, 1000])
@pytest.mark.parametrize("granted", [(), (Capability.NET_BIND_SERVICE, Capability.CHECKPOINT_RESTORE)])
def test_the_application_and_its_children_have_what_is_granted(
    kernel: Path, image: Make, uid: int, granted: tuple[Capability, ...]
) -> None:
    numbers = tuple(each.number for each in granted)
    guest = boot(kernel, image("rights", uid=uid, capabilities=numbers))
    assert rights(guest.console.text) == ({sum(1 << number for number in numbers)}, "1")


def test_a_program_with_rights_of_its_own_gains_none(kernel: Path, image: Make, tmp_path: Path) -> None:
    """Root's set-user-ID bit and file capabilities: no effect under NoNewPrivs."""
    tree = image("identity", "rights", uid=1000, gid=1000)
    marked = replace(tree["/probe"], mode=0o6755, xattrs=(("security.capability", encoded("cap_net_raw+ep") or b""),))
    guest = boot(kernel, Tree({**tree, "/probe": marked}))
    assert "uid=1000 euid=1000" in guest.console.text
    assert rights(guest.console.text) == ({0}, "1")


def test_init_is_out_of_reach_of_root(kernel: Path, image: Make) -> None:
    guest = boot(kernel, image("sleep=300", "take-port", mounts=(Mount("proc", "/proc"),)))
    assert guest.console.text.splitlines() == [
        "pidfd_getfd Operation not permitted, 0 written to",
        "ptrace Operation not permitted",
        "memory Permission denied",
        "files 0 open",
    ]
    assert not any("taken" in line for line in guest.reports)


@pytest.mark.parametrize("words", ["ib.channel=1", "ib.channel=vport0p1"])
@pytest.mark.parametrize(
    ("uid", "granted", "why"),
    [
        (0, (), "Resource busy"),
        (1000, (Capability.DAC_OVERRIDE.number,), "Resource busy"),
        (1000, (), "Permission denied"),
    ],
)
def test_nobody_is_faster_than_init_at_its_port(
    kernel: Path, image: Make, words: str, uid: int, granted: tuple[int, ...], why: str
) -> None:
    guest = boot(kernel, image("grab=/dev/vport0p1", uid=uid, capabilities=granted), words)
    assert guest.console.text == f"grab /dev/vport0p1 {why}\n"
    assert guest.reports[-1] == "exit 0"


@pytest.mark.parametrize("uid", [0, 1000])
def test_processes_that_are_not_its_own_are_hidden(kernel: Path, image: Make, uid: int) -> None:
    """Unless the recipe mounts another /proc."""
    for mounts, said in (((), "no /proc/1/comm: No such file"), ((Mount("proc", "/proc"),), "/proc/1/comm| init")):
        assert said in boot(kernel, image("file=/proc/1/comm", uid=uid, mounts=mounts)).console.text


def test_a_server_that_begins_as_root_becomes_another_user_where_that_is_granted(kernel: Path, image: Make) -> None:
    assert "become 33 Operation not permitted\n" in boot(kernel, image("become=33")).console.text
    granted = (Capability.SETUID.number, Capability.SETGID.number)
    guest = boot(kernel, image("become=33", "rights", capabilities=granted))
    assert "become 33 works\n" in guest.console.text
    assert "CapEff:\t0000000000000000\n" in guest.console.text


def test_a_capability_that_the_kernel_does_not_know(kernel: Path, image: Make) -> None:
    sentence = "cannot keep the capabilities of the application: the kernel does not know one of them"
    assert_failed(boot(kernel, image(capabilities=(63,))), sentence)
