"""Bytes as shipped: against the very tools that the definition names, and by what is remembered."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from imagebuilder import process
from imagebuilder.bundle import Boot, Bundle, Image, KernelPart, RootPart, write
from imagebuilder.measure import size
from imagebuilder.store import Store

Write = Callable[[size.Counter], None]
KERNEL = b"kernel code " * 20_000
ROOT = bytes(range(256)) * 2_000


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "cache")


def bundle_in(folder: Path, store: Store, *, root: bytes = ROOT) -> Bundle:
    kernel, packed = store.put(KERNEL), store.put(root)
    image = Image(
        schema="imagebuilder.image/1",
        name="one",
        version="1",
        kernel=KernelPart(name="micro", file="vmlinux", bytes=len(KERNEL), sha256=kernel),
        root=RootPart(format="initramfs", file="root.cpio", bytes=len(root), sha256=packed),
        cmdline="quiet",
        boot=Boot(machine="microvm", acpi=False, memory_mib=32, cpus=1),
        ready={},
        budget={},
        recipe={},
    )
    return write(image.sealed(), folder, store)


@pytest.mark.skipif(process.find("zstd") is None, reason="zstd is not installed")
def test_as_tar_and_zstd_pack_it(tmp_path: Path, store: Store) -> None:
    bundle = bundle_in(tmp_path / "one", store, root=os.urandom(300_000) + ROOT)
    archive = process.run(["tar", "-c", "-C", bundle.folder, "."]).stdout
    by_tools = len(process.run(["zstd", "-19", "-c"], stdin=archive).stdout)
    assert size.shipped(bundle, store).total_bytes == pytest.approx(by_tools, rel=0.005)


def test_parts_add_up_nearly(tmp_path: Path, store: Store) -> None:
    found = size.shipped(bundle_in(tmp_path / "one", store), store)
    assert min(found.kernel_bytes, found.root_bytes, found.rest_bytes) > 0
    assert found.kernel_bytes + found.root_bytes + found.rest_bytes == pytest.approx(found.total_bytes, abs=1000)


def test_depends_on_neither_folder_nor_time_nor_mode(tmp_path: Path, store: Store) -> None:
    one, other = bundle_in(tmp_path / "one", store), bundle_in(tmp_path / "elsewhere" / "two", store)
    os.utime(other.root, (1, 1))
    other.root.chmod(0o600)
    assert size.shipped(one, store) == size.shipped(other, Store(tmp_path / "other cache"))


def test_is_remembered_by_content(tmp_path: Path, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    bundle = bundle_in(tmp_path / "one", store)
    found = size.shipped(bundle, store)
    packed: list[Write] = []
    real = size.compressed_bytes

    def watched(write: Write) -> int:
        packed.append(write)
        return real(write)

    monkeypatch.setattr(size, "compressed_bytes", watched)
    assert size.shipped(bundle, store) == found
    assert packed == []
    other = size.shipped(bundle_in(tmp_path / "other", store, root=ROOT + b"more"), store)
    assert len(packed) == 3  # the bundle, its root and image.json; the kernel is the same
    assert other.kernel_bytes == found.kernel_bytes
