"""Compiling: what cannot be compiled is said in a sentence, and what can gives the same bytes in another folder."""

import io
import tarfile
from pathlib import Path

import pytest

from imagebuilder import kernel, paths, process
from imagebuilder.errors import KernelError, ToolMissing
from imagebuilder.events import Event, Progress, silent
from imagebuilder.kernel import compile, prebuilt
from imagebuilder.kernel.choice import PREBUILT
from imagebuilder.kernel.definition import KernelDefinition, load_definition
from imagebuilder.store import Store

pytestmark = pytest.mark.tools


class Zeros(io.RawIOBase):
    """Zeros without an end."""

    def read(self, count: int = -1) -> bytes:
        """So many of them."""
        return bytes(count)


def tarball(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("one\n")
    process.run(
        ["tar", "--create", "--file", folder / "source.tar", "--directory", folder, *{n.split("/")[0] for n in names}]
    )
    return folder / "source.tar"


def test_a_source_is_unpacked_and_patched(tmp_path: Path) -> None:
    source = tarball(tmp_path, "linux/Kconfig", "linux/a.c")
    patch = tmp_path / "a.patch"
    patch.write_text("Why.\n\n--- a/a.c\n+++ b/a.c\n@@ -1 +1 @@\n-one\n+two\n")
    (tmp_path / "scratch").mkdir()
    tree = compile.unpack(source, tmp_path / "scratch", [patch])
    assert (tree / "a.c").read_text() == "two\n"


def test_a_patch_that_does_not_fit_is_named(tmp_path: Path) -> None:
    source = tarball(tmp_path, "linux/Kconfig", "linux/a.c")
    patch = tmp_path / "a.patch"
    patch.write_text("--- a/a.c\n+++ b/a.c\n@@ -1 +1 @@\n-zero\n+two\n")
    (tmp_path / "scratch").mkdir()
    with pytest.raises(KernelError, match=r"a\.patch does not fit"):
        compile.unpack(source, tmp_path / "scratch", [patch])


def test_what_is_no_kernel_is_refused(tmp_path: Path) -> None:
    (tmp_path / "scratch").mkdir()
    with pytest.raises(KernelError, match="no tarball with one folder"):
        compile.unpack(tarball(tmp_path, "program/main.c"), tmp_path / "scratch", [])


def test_an_archive_that_unpacks_to_more_than_any_source_is_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compile, "MOST_BYTES", 256 << 20)
    (tmp_path / "scratch").mkdir()
    name = tmp_path / "bomb.tar.xz"
    with name.open("wb") as stream, tarfile.open(fileobj=stream, mode="w|xz") as archive:
        for number in range(8):
            member = tarfile.TarInfo(f"linux/{number}")
            member.size = 128 << 20
            archive.addfile(member, Zeros())
    assert name.stat().st_size < 1 << 20
    with pytest.raises(KernelError, match=r"bomb\.tar\.xz is refused: it unpacks to more than"):
        compile.unpack(name, tmp_path / "scratch", [])
    assert sum(path.stat().st_size for path in (tmp_path / "scratch/source/linux").iterdir()) < 512 << 20


def test_a_patch_without_an_end_is_refused(tmp_path: Path) -> None:
    (tmp_path / "scratch").mkdir()
    with pytest.raises(KernelError, match="the patch /dev/zero is longer than 4 MiB"):
        compile.unpack(tarball(tmp_path, "linux/Kconfig"), tmp_path / "scratch", [Path("/dev/zero")])


def test_a_missing_compiler_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compile, "TOOLS", ("a-compiler-that-nobody-has",))
    with pytest.raises(ToolMissing, match="a-compiler-that-nobody-has is needed"):
        kernel.build(load_definition("micro"), store=Store(tmp_path / "store"), say=silent)


@pytest.mark.network
@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("name", PREBUILT)
def test_the_prebuilt_kernel_can_be_made_again(name: str, tmp_path: Path) -> None:
    """Another folder, another time, no cache: the same bytes."""
    seen: list[Event] = []
    kernel.verify(load_definition(name), store=Store(tmp_path / "store"), say=seen.append)
    counts = [event.done for event in seen if isinstance(event, Progress) and event.step == f"kernel-{name}"]
    record = prebuilt.read_record(load_definition(name))
    assert record is not None
    assert counts == list(range(1, record.objects + 1))


@pytest.mark.network
@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize(
    "name", sorted({path.stem for path in (paths.shipped("kernels") / "fragments").glob("*.config")} - {"standard"})
)
def test_every_fragment_survives(name: str, configured: compile.Make, micro: KernelDefinition) -> None:
    from imagebuilder.kernel import config

    more = paths.shipped("kernels") / f"fragments/{name}.config"
    configured.configure(config.merge((*micro.fragments, more)))


@pytest.fixture(scope="module")
def micro() -> KernelDefinition:
    return load_definition("micro")


@pytest.fixture(scope="module")
def configured(micro: KernelDefinition, tmp_path_factory: pytest.TempPathFactory) -> compile.Make:
    from imagebuilder.kernel.source import tarball as fetched

    source = fetched(micro, store=Store(paths.cache_dir()), say=silent)
    return compile.Make(compile.unpack(source, tmp_path_factory.mktemp("kernel"), micro.patches), micro, False)


@pytest.mark.network
@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_a_symbol_that_cannot_be_is_named(configured: compile.Make, micro: KernelDefinition, tmp_path: Path) -> None:
    from imagebuilder.kernel import config

    fragment = tmp_path / "mine.config"
    fragment.write_text("CONFIG_USB_STORAGE=y\nCONFIG_UTS_NS=y\n")
    with pytest.raises(KernelError, match=r"mine\.config asks for CONFIG_USB_STORAGE=y.*CONFIG_UTS_NS=y"):
        configured.configure(config.merge((*micro.fragments, fragment)))
