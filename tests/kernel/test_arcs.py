"""Counters: what is read out of an image and written as a file is what GCC's own library writes, byte for byte."""

import struct
from pathlib import Path

import pytest

from imagebuilder import kernel, process
from imagebuilder.errors import KernelError, ToolFailed
from imagebuilder.kernel import arcs

from .counted import counted

pytestmark = pytest.mark.tools

PROGRAM = """
__attribute__((noinline)) int each(int n) { int sum = 0; for (int i = 0; i < n; i++) sum += i & 3 ? 1 : n; return sum; }
int never(int n) { return n > 3 ? 7 : each(n); }
int main(int n, char **words) { return each(10 * n) == 37 ? 0 : never(n); }
"""
OTHER = "int other(int n) { return n ? 1 : 2; }\n"
LIBRARY = "void __gcov_init(void *d) {}\nvoid __gcov_exit(void) {}\nvoid __gcov_merge_add(void *c, unsigned n) {}\n"
FLAGS = ("-O2", "-fno-pie", "-mcmodel=kernel")


@pytest.fixture
def image(tmp_path: Path) -> Path:
    """An image with counters as a kernel has them: linked without any library."""
    for folder, name, text in (("one", "a", PROGRAM), ("two", "b", OTHER), ("", "library", LIBRARY)):
        (tmp_path / folder).mkdir(exist_ok=True)
        (tmp_path / folder / f"{name}.c").write_text(text)
        counting = ("-fprofile-arcs",) if folder else ()
        made = f"{folder}/{name}.o" if folder else f"{name}.o"
        process.run(["gcc", *FLAGS, *counting, "-c", "-o", made, made[:-1] + "c"], cwd=tmp_path)
    words = ["gcc", "-no-pie", "-nostdlib", "-static", "-Wl,-e,main", "-o", "image"]
    process.run([*words, "one/a.o", "two/b.o", "library.o"], cwd=tmp_path)
    return tmp_path / "image"


def test_every_object_and_function_is_found(image: Path) -> None:
    found = arcs.units(arcs.Image(image))
    assert [unit.file for unit in found] == ["one/a.gcda", "two/b.gcda"]
    assert [len(unit.functions) for unit in found] == [3, 1]
    begin, size = arcs.window(found)
    assert size >= 8 * sum(function.counters for unit in found for function in unit.functions)
    memory = struct.pack(f"<{size // 8}Q", *range(size // 8))
    numbers = [
        number for unit in found for function in unit.functions for number in arcs.counts(function, memory, begin)
    ]
    assert len(numbers) == len(set(numbers))


def test_the_file_is_the_one_that_gccs_library_writes(image: Path) -> None:
    """The same object, linked with libgcov and run: its file and ours differ in nothing."""
    folder = image.parent
    process.run(["gcc", *FLAGS, "-no-pie", "-fprofile-arcs", "-o", "program", "one/a.o"], cwd=folder)
    process.run([folder / "program"], cwd=folder)
    theirs = (folder / "one/a.gcda").read_bytes()
    unit = arcs.units(arcs.Image(image))[0]
    counted = _counts_of(theirs, unit)
    assert any(map(any, counted)) and not all(map(any, counted))
    assert _without_summary(arcs.gcda(unit, counted, hot=1)) == _without_summary(theirs)


def test_gcc_reads_it_back(image: Path) -> None:
    """Without one warning, which it has for a file that is missing or of another source."""
    folder = image.parent
    unit = arcs.units(arcs.Image(image))[0]
    counted = [tuple(range(1, function.counters + 1)) for function in unit.functions]
    words = [*FLAGS, "-fbranch-probabilities", "-fprofile-correction", "-Wmissing-profile", "-Werror"]
    compile_it = ["gcc", *words, "-c", "-o", "one/a.o", "one/a.c"]
    with pytest.raises(ToolFailed):
        process.run(compile_it, cwd=folder)
    (folder / unit.file).write_bytes(arcs.gcda(unit, counted, hot=1))
    process.run(compile_it, cwd=folder)


def test_an_image_without_counters_is_refused(tmp_path: Path) -> None:
    (tmp_path / "library.c").write_text(LIBRARY)
    process.run(["gcc", "-nostdlib", "-static", "-Wl,-e,__gcov_init", "-o", "image", "library.c"], cwd=tmp_path)
    with pytest.raises(KernelError, match="has counters"):
        arcs.units(arcs.Image(tmp_path / "image"))


def test_a_packaged_kernel_cannot_be_counted() -> None:
    with pytest.raises(KernelError, match="comes ready from a package"):
        arcs.counted(kernel.load_definition("debian-cloud"))


def test_a_counted_kernel_is_another_one() -> None:
    micro = kernel.load_definition("micro")
    counted = arcs.counted(micro)
    assert kernel.key(counted) != kernel.key(micro)
    assert counted.patches[-1].stem == arcs.COUNTING and counted.profile is None  # it is made with that


def _counts_of(content: bytes, unit: arcs.ObjectCounters) -> list[tuple[int, ...]]:
    """The counts in a file, function by function."""
    at, found = 16 + 16, []
    for function in unit.functions:
        tag, size = struct.unpack_from("<Ii", content, at + 20)
        assert tag == arcs.COUNTERS and abs(size) == 8 * function.counters
        found.append(
            struct.unpack_from(f"<{function.counters}Q", content, at + 28) if size > 0 else (0,) * (-size // 8)
        )
        at += 28 + max(size, 0)
    return found


def _without_summary(content: bytes) -> bytes:
    """The sum of all is another one: we say what is hot."""
    return content[:28] + content[32:]


def test_a_kernel_without_an_end_is_not_read_for_ever() -> None:
    with pytest.raises(KernelError, match="the counted kernel /dev/zero has more than 128 MiB"):
        arcs.Image(Path("/dev/zero"))


def test_what_is_read_of_a_damaged_kernel_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each bound at its edge: a kernel with one function and three counters."""
    path = tmp_path / "vmlinux"
    path.write_bytes(counted())
    (unit,) = arcs.units(arcs.Image(path))
    assert (unit.file, arcs.window([unit])[1]) == ("a.gcda", 24)
    monkeypatch.setattr(arcs, "MOST_COUNTERS_BYTES", 23)
    with pytest.raises(KernelError, match="its counters lie over each other, or far from each other"):
        arcs.window([unit])
    with pytest.raises(KernelError, match="its counters lie over each other"):
        arcs.window([unit, unit])
    monkeypatch.setattr(arcs, "MOST_FUNCTIONS", 1)
    with pytest.raises(KernelError, match="has more than 1 functions, as no kernel has"):
        arcs.units(arcs.Image(path))
    monkeypatch.setattr(arcs, "MOST_PARTS", 2)
    with pytest.raises(KernelError, match="has more than 2 sections, as no kernel has"):
        arcs.Image(path)
    monkeypatch.undo()
    for damaged in (b"", b"none", counted()[:60], counted()[:200], counted()[:-1]):
        path.write_bytes(damaged)
        with pytest.raises(KernelError, match="the counted kernel is damaged: "):
            arcs.units(arcs.Image(path))
