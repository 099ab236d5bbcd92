"""Kernel definitions: what ships can be read, and each mistake is one sentence."""

import shutil
from pathlib import Path

import pytest

from imagebuilder import paths
from imagebuilder.arch import Firmware, ImageType, MachineType
from imagebuilder.errors import KernelError
from imagebuilder.events import Event, Warned
from imagebuilder.kernel import asks_for, key, list_definitions, load_definition

MICRO = paths.shipped("kernels") / "micro"


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A user's copy of micro in ``kernels/micro`` of the current folder."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "kernels/micro").mkdir(parents=True)
    shutil.copy(MICRO / "kernel.toml", tmp_path / "kernels/micro")
    return tmp_path / "kernels/micro"


def change(folder: Path, old: str, new: str) -> None:
    text = (folder / "kernel.toml").read_text()
    assert old in text
    (folder / "kernel.toml").write_text(text.replace(old, new, 1))


def test_what_ships_can_be_read() -> None:
    found = {definition.name: definition for definition in list_definitions()}
    assert {"micro", "debian-cloud"} <= set(found)
    assert found["micro"].source is not None
    assert found["micro"].boot.acpi is False
    assert found["debian-cloud"].package is not None
    assert all(path.is_file() for path in (*found["micro"].fragments, *found["micro"].patches))


def test_one_that_is_wrong_hides_no_other(own: Path) -> None:
    shutil.copytree(own, own.with_name("broken"))
    change(own.with_name("broken"), "[boot]", '[bo"ot]')
    said: list[Event] = []
    assert {"micro", "debian-cloud"} <= {definition.name for definition in list_definitions(said.append)}
    assert [type(each) for each in said] == [Warned] and "broken/kernel.toml" in str(said), said


def test_a_definition_can_be_named_by_its_folder(own: Path) -> None:
    assert load_definition(str(MICRO)).folder == MICRO
    assert load_definition("micro").folder == own


def test_an_unknown_name_gets_the_nearest() -> None:
    with pytest.raises(KernelError, match=r'there is no kernel \'mikro\' \(did you mean "micro"\?\)'):
        load_definition("mikro")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('name = "micro"', 'name = "micro', "cannot be read as TOML"),
        ('name = "micro"', 'name = "nano"', 'write "micro"'),
        ("acpi = false", "acpi = 3.5", "boot.acpi: "),
        ("acpi = false\n", "", "boot.acpi: this key is missing"),
        ("acpi = false", "acpi = false\nacppi = true", "boot.acppi: this key is not known"),
        ('["microvm"]', '["vax"]', r"products\.0.machines\.0: .*'microvm' or 'q35'"),
        ('["direct"]', '["openboot"]', r"products\.0.firmware\.0: .*'direct', 'bios' or 'uefi'"),
        ('["direct"]', "[]", r"products\.0.firmware: .*at least 1 item"),
        ('"vmlinux"', '"zImage"', r"products\.0.file: .*'vmlinux' or 'bzImage'"),
        ('arch = "x86_64"', 'arch = "vax"', "arch: 'vax' is not known: write x86_64"),
        ('sha256 = "', 'sha256 = "zz', "source.sha256: "),
        ('release = "bookworm"\n', "", "write either url, or all of release, package, version and file"),
        ('release = "bookworm"\n', 'url = "https://example.org/x.tar.xz"\n', "write either url, or all of"),
        ("[source]", "[package]", "package.name: this key is missing"),
    ],
)
def test_mistakes_are_named(own: Path, old: str, new: str, message: str) -> None:
    change(own, old, new)
    with pytest.raises(KernelError, match=message):
        load_definition("micro")


def test_the_product_is_the_one_that_the_firmware_starts(own: Path) -> None:
    more = '\n[[products]]\nfile = "vmlinux"\nmachines = ["q35"]\nfirmware = ["bios", "uefi"]\n\n[boot]'
    change(own, "\n[boot]", more)
    micro = load_definition("micro")
    assert micro.product(Firmware.DIRECT).file is ImageType.VMLINUX
    assert micro.product(Firmware.UEFI).machines == (MachineType.Q35,)
    change(own, '"bios", "uefi"', '"bios"')
    with pytest.raises(KernelError, match="micro is started by direct or bios, not by uefi: take another kernel"):
        load_definition("micro").product(Firmware.UEFI)
    with pytest.raises(KernelError, match="not by uefi, as the format x is: take another kernel"):
        load_definition("micro").product(Firmware.UEFI, "the format x")


def test_it_comes_as_one_file(own: Path) -> None:
    change(own, "\n[boot]", '\n[[products]]\nfile = "bzImage"\nmachines = ["q35"]\nfirmware = ["bios"]\n\n[boot]')
    with pytest.raises(KernelError, match="one kernel comes as one file, not as vmlinux and bzImage"):
        load_definition("micro")


def test_a_missing_fragment_is_named_with_the_nearest(own: Path) -> None:
    change(own, '"network"', '"netwrok"')
    with pytest.raises(KernelError, match=r"there is no netwrok\.config in fragments .*network\.config"):
        key(load_definition("micro"))


def test_a_missing_profile_is_named(own: Path) -> None:
    change(own, 'profile = "micro"', 'profile = "mikro"')
    with pytest.raises(KernelError, match=r"there is no mikro\.tar\.xz in profiles"):
        key(load_definition("micro"))


def test_the_key_holds_all_that_an_image_depends_on(own: Path, tmp_path: Path) -> None:
    before = key(load_definition("micro"))
    assert before == key(load_definition("micro"))
    fragment = tmp_path / "more.config"
    fragment.write_text("CONFIG_IPV6=y\n")
    more = key(load_definition("micro"), (fragment,))
    fragment.write_text("CONFIG_INET=n\n")
    other = key(load_definition("micro"), (fragment,))
    change(own, "ttyS0 quiet", "ttyS0 debug")
    words = key(load_definition("micro"))
    shutil.copy(MICRO.parent / "fragments/network.config", own)
    (own / "network.config").write_text((own / "network.config").read_text() + "CONFIG_UNIX_DIAG=y\n")
    symbol = key(load_definition("micro"))
    assert len({before, more, other, words, symbol}) == 5


def test_what_a_kernel_asks_of_a_symbol(tmp_path: Path) -> None:
    micro, symbol = load_definition("micro"), "LOG_BUF_SHIFT"
    (tmp_path / "mine.config").write_text(f"CONFIG_{symbol}=1024\n")
    assert asks_for(micro, (), symbol) == "12"
    assert asks_for(micro, (tmp_path / "mine.config",), symbol) == "1024"
    assert asks_for(micro, (), "NOTHING_OF_OURS") is None
    assert asks_for(load_definition("debian-cloud"), (), symbol) is None


def test_a_recipes_missing_fragment_is_named(tmp_path: Path) -> None:
    with pytest.raises(KernelError, match=r"fragment .*gone\.config cannot be read"):
        key(load_definition("micro"), (tmp_path / "gone.config",))
