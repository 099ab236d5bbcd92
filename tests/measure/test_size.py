"""Bytes as shipped: against the very tools that the definition names, and by what is remembered."""

import asyncio
import io
import os
import signal
import tarfile
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import zstandard

from imagebuilder import process
from imagebuilder.arch import MachineType
from imagebuilder.bundle import BootSettings, Bundle, ContentLine, Image, KernelFile, RecipeView, RootFile, write
from imagebuilder.events import Begun, Ended, Event, Progress
from imagebuilder.measure import size
from imagebuilder.recipe.model import Budget, Ready
from imagebuilder.store import Store

KERNEL = b"kernel code " * 20_000
ROOT = bytes(range(256)) * 2_000


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "cache")


def bundle_in(folder: Path, store: Store, *, root: bytes = ROOT, contents: tuple[ContentLine, ...] = ()) -> Bundle:
    kernel, packed = store.put(KERNEL), store.put(root)
    image = Image(
        schema="imagebuilder.image/1",
        name="one",
        version="1",
        kernel=KernelFile(name="micro", file="vmlinux", bytes=len(KERNEL), sha256=kernel),
        root=RootFile(format="initramfs", file="root.cpio", bytes=len(root), sha256=packed),
        cmdline="quiet",
        boot=BootSettings(machine=MachineType.MICROVM, acpi=False, memory_mib=32, cpus=1),
        ready=Ready(exit=0),
        budget=Budget(),
        recipe=RecipeView(),
        contents=contents,
    )
    return write(image.sealed(), folder, store)


@pytest.mark.tools
@pytest.mark.skipif(process.find("zstd") is None, reason="zstd is not installed")
def test_as_tar_and_zstd_pack_it(tmp_path: Path, store: Store) -> None:
    bundle = bundle_in(tmp_path / "one", store, root=os.urandom(300_000) + ROOT)
    archive = process.run(["tar", "-c", "-C", bundle.folder, "."]).stdout
    by_tools = len(process.run(["zstd", "-19", "-c"], stdin=archive).stdout)
    assert size.shipped(bundle, store).total_bytes == pytest.approx(by_tools, rel=0.005)


def test_parts_add_up(tmp_path: Path, store: Store) -> None:
    found = size.shipped(bundle_in(tmp_path / "one", store), store)
    assert min(found.kernel_bytes, found.root_bytes, found.rest_bytes) > 0
    assert found.kernel_bytes + found.root_bytes + found.rest_bytes == found.total_bytes


def test_its_archives_one_behind_the_other_are_one_archive(tmp_path: Path, store: Store) -> None:
    bundle = bundle_in(tmp_path / "one", store)
    whole = b"".join(chunk for path in bundle.files() for piece in size.pieces(path) for chunk in piece.chunks())
    with tarfile.open(fileobj=io.BytesIO(whole + bytes(1024))) as archive:
        for path in bundle.files():
            content = archive.extractfile(path.name)
            assert content is not None and content.read() == path.read_bytes()


def test_a_large_file_is_packed_in_pieces_by_any_number_of_threads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(size, "PIECE_BYTES", 100_000)
    found, said = set(), list[Event]()
    for processors in (1, 5):
        monkeypatch.setattr(os, "sched_getaffinity", lambda _pid, many=processors: set(range(many)))
        store = Store(tmp_path / f"cache{processors}")
        found.add(size.shipped(bundle_in(tmp_path / "one", store), store, say=said.append))
    assert len(found) == 1
    pieces = size.pieces(tmp_path / "one" / "vmlinux")
    packed = [packed_alone(b"".join(piece.chunks())) for piece in pieces]
    assert len(pieces) == 3 and found.pop().kernel_bytes == sum(packed)
    done = [event.done for event in said[: len(said) // 2] if isinstance(event, Progress)]
    assert isinstance(said[0], Begun) and isinstance(said[-1], Ended)
    assert done == sorted(done) and done[-1] == said[0].total


def packed_alone(data: bytes) -> int:
    """How many bytes the compressor makes of these."""
    compressor = zstandard.ZstdCompressor(level=19).compressobj()
    return len(compressor.compress(data) + compressor.flush())


def test_depends_on_neither_folder_nor_time_nor_mode(tmp_path: Path, store: Store) -> None:
    one, other = bundle_in(tmp_path / "one", store), bundle_in(tmp_path / "elsewhere" / "two", store)
    os.utime(other.root, (1, 1))
    other.root.chmod(0o600)
    assert size.shipped(one, store) == size.shipped(other, Store(tmp_path / "other cache"))


def test_is_remembered_by_content(tmp_path: Path, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    bundle = bundle_in(tmp_path / "one", store)
    found = size.shipped(bundle, store)
    packed: list[str] = []
    real = size.compressed_bytes

    def watched(piece: size.Piece, count: size.Count) -> int:
        packed.append(piece.path.name)
        return real(piece, count)

    monkeypatch.setattr(size, "compressed_bytes", watched)
    assert size.shipped(bundle, store) == size.known(bundle, store) == found
    assert packed == []
    other = size.shipped(bundle_in(tmp_path / "other", store, root=ROOT + b"more"), store)
    assert packed == ["root.cpio"]  # the kernel is the same
    assert other.kernel_bytes == found.kernel_bytes


def test_is_packed_where_it_is_promised_and_else_only_looked_up(tmp_path: Path, store: Store) -> None:
    bundle = bundle_in(tmp_path / "one", store)
    assert size.promised(bundle, store) is None
    promised = bundle.image.model_copy(update={"budget": Budget(image_bytes=1)})
    found = size.promised(Bundle(bundle.folder, promised), store)
    assert found is not None and size.promised(bundle, store) == found


def beside_other_work(bundle: Bundle, store: Store, after_s: float) -> None:
    async def cancelled() -> None:
        await asyncio.wait_for(size.shipped_soon(bundle, store), after_s)

    with pytest.raises(TimeoutError):
        asyncio.run(cancelled())


def by_control_c(bundle: Bundle, store: Store, after_s: float) -> None:
    before = signal.signal(signal.SIGALRM, signal.default_int_handler)
    signal.setitimer(signal.ITIMER_REAL, after_s)
    try:
        with pytest.raises(KeyboardInterrupt):
            size.shipped(bundle, store)
    finally:
        signal.signal(signal.SIGALRM, before)


@pytest.mark.parametrize("interrupted", [beside_other_work, by_control_c])
def test_who_is_interrupted_need_not_wait_for_the_rest(
    tmp_path: Path, store: Store, interrupted: Callable[[Bundle, Store, float], None]
) -> None:
    bundle = bundle_in(tmp_path / "one", store, root=os.urandom(16 << 20))
    begin_s = time.monotonic()
    interrupted(bundle, store, 0.1)
    between_s = time.monotonic()
    size.shipped(bundle, store)
    assert between_s - begin_s < (time.monotonic() - between_s) / 2


def line(name: str, size_bytes: int, *, kept: bool = True) -> ContentLine:
    return ContentLine(name=name, files=1, bytes=size_bytes, kept=kept, why="a test")


def test_where_the_bytes_went(tmp_path: Path, store: Store) -> None:
    lines = (
        line("imagebuilder: init", 31_000),
        line("nginx: program", 1_000),
        line("libssl3: library", 2_000),
        line("libc6: library", 3_000),
        line("nginx: configuration", 400),
        line("recipe: data", 50),
        line("micro: kernel module", 6),
        line("nginx: documentation", 10**9, kept=False),
    )
    image = bundle_in(tmp_path / "one", store, contents=lines).image
    found = size.contents(image)
    assert found == {
        "kernel": len(KERNEL) + 6,
        "init": 31_000,
        "application": 1_000,
        "libraries": 5_000,
        "data": 450,
        "file_system": len(ROOT) - 37_456,
    }
    assert sum(found.values()) == image.kernel.bytes + image.root.bytes


def test_a_compressed_root_is_smaller_than_what_is_in_it(tmp_path: Path, store: Store) -> None:
    image = bundle_in(tmp_path / "one", store, contents=(line("nginx: program", 10**9),)).image
    found = size.contents(image)
    assert found["file_system"] == 0
    assert sum(found.values()) - 2 * found["compressed"] == image.kernel.bytes + image.root.bytes


@pytest.mark.tools
def test_allocated_as_du_counts(tmp_path: Path, store: Store) -> None:
    bundle = bundle_in(tmp_path / "one", store)
    by_du = sum(int(process.run(["du", "--block-size=1", path]).text.split()[0]) for path in bundle.files())
    assert size.allocated_bytes(bundle) == by_du > 0
