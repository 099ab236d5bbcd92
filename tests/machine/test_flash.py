"""Which files of UEFI this host has, as the packages that brought them describe them."""

import json
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from imagebuilder.arch import MachineType
from imagebuilder.errors import ToolMissing
from imagebuilder.machine.flash import Flash, find


def described(folder: Path, **changes: Any) -> dict[str, Any]:
    """A description as Debian's package ovmf has it."""
    for name in ("code", "vars"):
        (folder / name).write_bytes(name.encode())
    parts = {"executable": "code", "nvram-template": "vars"}
    mapping = {name: {"filename": str(folder / file), "format": "raw"} for name, file in parts.items()}
    return {
        "interface-types": ["uefi"],
        "mapping": {"device": "flash", **mapping},
        "targets": [{"architecture": "x86_64", "machines": ["pc-i440fx-*", "pc-q35-*"]}],
        "features": ["acpi-s3"],
        **changes,
    }


def laid_down(folder: Path, name: str, document: object) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(json.dumps(document))
    return folder


def test_the_first_that_fits_is_taken(tmp_path: Path) -> None:
    good = described(tmp_path)
    share = laid_down(tmp_path / "share", "60.json", good)
    for name, unfit in {
        "10.json": described(tmp_path, features=["secure-boot"]),
        "20.json": described(tmp_path, features=["requires-smm"]),
        "30.json": described(tmp_path, **{"interface-types": ["bios"]}),
        "40.json": described(tmp_path, targets=[{"architecture": "aarch64", "machines": ["virt-*"]}]),
        "50.json": described(tmp_path, mapping={**good["mapping"], "device": "memory"}),
        "55.json": described(
            tmp_path, mapping={**good["mapping"], "executable": {"filename": "/no/such", "format": "raw"}}
        ),
    }.items():
        laid_down(share, name, unfit)
    expected = Flash(tmp_path / "code", tmp_path / "vars")
    assert find(MachineType.Q35, (tmp_path / "etc", share)) == expected
    with pytest.raises(ToolMissing, match="no UEFI for QEMU's microvm is installed") as caught:
        find(MachineType.MICROVM, (share,))
    assert caught.value.hint == "sudo apt-get install ovmf"


def test_one_of_this_host_stands_for_one_of_a_package(tmp_path: Path) -> None:
    share = laid_down(tmp_path / "share", "60.json", described(tmp_path))
    etc = laid_down(tmp_path / "etc", "60.json", {})
    with pytest.raises(ToolMissing):
        find(MachineType.Q35, (etc, share))
    assert find(MachineType.Q35, (share,)).code == tmp_path / "code"


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
KEYS = ("interface-types", "mapping", "targets", "features")


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(document=st.dictionaries(st.sampled_from(KEYS), VALUES) | VALUES, whole=st.booleans(), data=st.binary())
def test_what_makes_no_sense_is_passed_over(tmp_path: Path, document: Any, whole: bool, data: bytes) -> None:
    share = tmp_path / "share"
    if whole and isinstance(document, dict):
        document = {**described(tmp_path), **document}
    laid_down(share, "60.json", document)
    (share / "70.json").write_bytes(data)
    with suppress(ToolMissing):
        find(MachineType.Q35, (share,))


@pytest.mark.tools
def test_debian_s_package_is_found() -> None:
    flash = find(MachineType.Q35)
    assert flash.code.stat().st_size > 1 << 20 and flash.variables.stat().st_size > 1 << 16
