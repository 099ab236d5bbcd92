"""The partition table: right to another tool, whole at both ends, and of its numbers alone."""

import json
import re
import subprocess
import zlib
from pathlib import Path
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imagebuilder.images.gpt import CODE_BYTES, HEAD_SECTORS, SECTOR_BYTES, TAIL_SECTORS, Partition, Table

KIND, GUID = UUID("21686148-6449-6e6f-744e-656564454649"), UUID("11111111-2222-3333-4444-555555555555")
DISK = UUID("99999999-8888-7777-6666-555555555555")


def table(sectors: int = 2048) -> Table:
    """Two partitions, and code."""
    first = Partition(KIND, GUID, "boot", 40, 100)
    return Table(DISK, sectors, [first, Partition(KIND, DISK, "root ü", 144, sectors - 33 - 144)], b"\xf4" * CODE_BYTES)


def written(path: Path, made: Table) -> Path:
    """On a disk."""
    with path.open("wb") as stream:
        stream.write(made.head)
        stream.seek((made.sectors - TAIL_SECTORS) * SECTOR_BYTES)
        stream.write(made.tail)
    return path


def test_sizes_and_what_protects_it() -> None:
    made = table()
    assert len(made.head) == HEAD_SECTORS * SECTOR_BYTES and len(made.tail) == TAIL_SECTORS * SECTOR_BYTES
    assert made.head[:CODE_BYTES] == b"\xf4" * CODE_BYTES and made.head[510:512] == b"\x55\xaa"
    assert made.head[446:462] == bytes.fromhex("00000200eeffffff01000000ff070000")
    assert made.head[462:510] == bytes(48)


@given(st.integers(100, 2**40))
def test_the_check_sums_are_those_of_what_is_there(sectors: int) -> None:
    made = table(sectors + 200)
    for header in (made.head[512:604], made.tail[-512:-420]):
        crc = int.from_bytes(header[16:20], "little")
        assert zlib.crc32(header[:16] + bytes(4) + header[20:]) == crc
    assert made.head[1024:] == made.tail[:-512]


@pytest.mark.tools
@pytest.mark.parametrize("sectors", [2048, 123_456])
def test_sgdisk_finds_no_fault(tmp_path: Path, sectors: int) -> None:
    path = written(tmp_path / "disk", table(sectors))
    told = subprocess.run(["sgdisk", "--verify", path], capture_output=True, text=True, check=True).stdout
    assert "No problems found" in told, told
    assert not any(word in told.lower() for word in ("warning", "invalid", "corrupt", "damaged", "mismatch")), told
    shown = subprocess.run(["sgdisk", "--info=2", path], capture_output=True, text=True, check=True).stdout
    assert re.search(rf"Partition unique GUID: {DISK}", shown, re.IGNORECASE) and "'root ü'" in shown, shown
    assert f"Last sector: {sectors - 34} " in shown, shown


@pytest.mark.tools
@pytest.mark.parametrize("place", [512 + 60, 1024 + 32, 2048 * 512 - 512 + 24])
def test_sgdisk_finds_one_bit(tmp_path: Path, place: int) -> None:
    """Else the test before would say nothing."""
    path = written(tmp_path / "disk", table())
    content = bytearray(path.read_bytes())
    content[place] ^= 1
    path.write_bytes(content)
    told = subprocess.run(["sgdisk", "--verify", path], capture_output=True, text=True, check=False)
    said = told.stdout + told.stderr
    assert any(word in said.lower() for word in ("invalid", "corrupt", "damaged", "mismatch")), said


@pytest.mark.tools
def test_sfdisk_reads_the_same(tmp_path: Path) -> None:
    path = written(tmp_path / "disk", table())
    told = json.loads(subprocess.run(["sfdisk", "--json", path], capture_output=True, check=True).stdout)
    found = told["partitiontable"]
    assert (found["label"], found["id"], found["firstlba"]) == ("gpt", str(DISK).upper(), HEAD_SECTORS)
    assert [(each["start"], each["size"], each["name"]) for each in found["partitions"]] == [
        (40, 100, "boot"),
        (144, 2048 - 33 - 144, "root ü"),
    ]
