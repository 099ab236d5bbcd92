"""The folder in which something prebuilt lies: its record, and its files as they are or packed."""

from dataclasses import dataclass
from pathlib import Path

import pytest

from imagebuilder import process
from imagebuilder.prebuilt.shelf import Shelf, Unreadable
from imagebuilder.store import sha256


@dataclass(frozen=True)
class Toy:
    """A record."""

    made_from: str
    schema: str = "toy/1"


RECORD = Toy("water")
FILES = {"plain": b"as it is", "packed.xz": b"the same again " * 1000}


@pytest.fixture
def shelf(tmp_path: Path) -> Shelf[Toy]:
    """One that holds both kinds of files."""
    made = Shelf(tmp_path / "a" / "prebuilt", Toy, "toy/1")
    made.keep(RECORD, FILES)
    return made


def test_what_is_kept_is_read_again(shelf: Shelf[Toy]) -> None:
    assert shelf.record() == RECORD
    for name, data in FILES.items():
        assert shelf.read(name, len(data)) == data
        assert shelf.holds(name, sha256(data), len(data)) and not shelf.holds(name, sha256(b"other"), len(data))


@pytest.mark.tools
def test_what_is_packed_is_xz(shelf: Shelf[Toy]) -> None:
    path = shelf.folder / "packed.xz"
    assert process.run(["xz", "--decompress", "--stdout", path]).stdout == FILES["packed.xz"]


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"made_from": 3}', '{"made_from": "air", "schema": "toy/2"}'])
def test_a_record_that_makes_no_sense_is_none(shelf: Shelf[Toy], text: str) -> None:
    (shelf.folder / "record.json").write_text(text)
    assert shelf.record() is None


@pytest.mark.parametrize("name", FILES)
def test_what_is_larger_than_allowed_or_gone_is_not_read(shelf: Shelf[Toy], name: str) -> None:
    with pytest.raises(Unreadable, match="unpacks to more than 5 bytes"):
        shelf.read(name, 5)
    (shelf.folder / name).unlink()
    with pytest.raises(Unreadable, match="missing or damaged"):
        shelf.read(name, 1 << 20)
    assert not shelf.holds(name, sha256(FILES[name]), 1 << 20)


def test_what_is_cut_off_is_damaged(shelf: Shelf[Toy]) -> None:
    path = shelf.folder / "packed.xz"
    path.write_bytes(path.read_bytes()[:40])
    with pytest.raises(Unreadable, match="missing or damaged"):
        shelf.read("packed.xz", 1 << 20)
