"""Reading ELF files: what they need, and one kind of error for all that is damaged."""

import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from imagebuilder import process
from imagebuilder.closure.elf import DamagedElf, Elf, is_elf, parse
from tests.examples import examples

from .elves import AARCH64, LINKER, elf, program


def test_a_program() -> None:
    assert parse(program("liba.so.1", "libb.so", runpath="/opt/a:$ORIGIN/b")) == Elf(
        "EM_X86_64", 64, LINKER, ("liba.so.1", "libb.so"), (), ("/opt/a", "$ORIGIN/b"), is_program=True
    )


def test_a_library_for_another_machine() -> None:
    library = parse(elf("liba.so", rpath="/x", machine=AARCH64))
    assert not library.runs_here
    assert (library.interpreter, library.rpath, library.is_program) == (None, ("/x",), False)


@pytest.mark.tools
def test_a_real_program_needs_what_readelf_says() -> None:
    if process.find("readelf") is None:
        pytest.skip("needs readelf")
    python = Path(sys.executable).resolve()
    shown = process.run(["readelf", "--dynamic", python]).text
    assert all(f"[{name}]" in shown for name in parse(python.read_bytes()).needed)
    assert len(parse(python.read_bytes()).needed) == shown.count("(NEEDED)")


@pytest.mark.parametrize(
    "data", [b"\x7fELF", b"\x7fELF" + bytes(60), program("a")[:100], b"\x7fELF\x02\x01" + b"\xff" * 200]
)
def test_damaged(data: bytes) -> None:
    assert is_elf(data)
    with pytest.raises(DamagedElf):
        parse(data)


WHOLE = [program("liba.so.1", "libb.so.2", runpath="$ORIGIN"), elf("libc.so.6", rpath="/lib")]


@settings(max_examples=examples(500), deadline=None)
@given(
    st.sampled_from(WHOLE),
    st.lists(st.tuples(st.integers(4, 600), st.integers(0, 255)), max_size=6),
    st.integers(0, 500),
)
def test_wrong_bytes_give_an_elf_file_or_one_kind_of_error(
    whole: bytes, wrong: list[tuple[int, int]], cut: int
) -> None:
    data = bytearray(whole)
    for offset, byte in wrong:
        data[offset % len(data)] = byte
    data[:4] = b"\x7fELF"
    try:
        assert isinstance(parse(bytes(data[: max(4, len(data) - cut)])), Elf)
    except DamagedElf as error:
        assert str(error)
