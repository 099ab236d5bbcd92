"""What a machine starts instead of the bundle: which formats, by which firmware, and what is refused."""

import pytest

from imagebuilder.arch import Firmware
from imagebuilder.build.outputs import firmware_of, startable
from imagebuilder.cli.options import DISKS
from imagebuilder.errors import InputError

BIOS, UEFI = Firmware.BIOS, Firmware.UEFI


def test_help_names_the_formats_that_start() -> None:
    assert startable() == DISKS


@pytest.mark.parametrize(
    ("name", "firmware", "starter"),
    [
        (None, None, None),
        ("direct", None, None),
        *((name, None, BIOS) for name in DISKS),
        *((name, each, each) for name in DISKS for each in (BIOS, UEFI)),
    ],
)
def test_what_starts_it(name: str | None, firmware: Firmware | None, starter: Firmware | None) -> None:
    assert firmware_of(name, firmware) is starter


@pytest.mark.parametrize(
    ("name", "firmware", "says", "hint"),
    [
        (None, UEFI, "disks alone start from UEFI", "--format disk"),
        ("direct", BIOS, "disks alone start from a BIOS", "--format disk"),
        ("gcp", None, "the format gcp is for an import: QEMU does not start it", "--format disk has the same content"),
        ("tar", None, "no machine starts the format 'tar': write one of disk, qcow2, vmdk, vhd", None),
        ("disc", UEFI, "no machine starts the format 'disc': write one of disk, qcow2, vmdk, vhd", None),
    ],
)
def test_refused(name: str | None, firmware: Firmware | None, says: str, hint: str | None) -> None:
    with pytest.raises(InputError) as caught:
        firmware_of(name, firmware)
    assert (caught.value.message, caught.value.hint) == (says, hint)
