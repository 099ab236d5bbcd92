"""Names of files are whatever their file system allows: every byte but NUL and ``/``."""

import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from imagebuilder.errors import SourceError
from imagebuilder.filesystems import FILESYSTEMS
from imagebuilder.sources.files import collect
from imagebuilder.store import Store
from imagebuilder.tree import Tree
from tests.examples import examples

LONGEST = 255
ALPHABET = st.sampled_from([*(bytes([byte]) for byte in range(1, 256) if byte != ord("/")), "ü".encode(), b"-", b"\n"])
NAMES = st.lists(ALPHABET, min_size=1, max_size=12).map(b"".join).filter(lambda name: name not in (b".", b".."))
FOLDERS = st.lists(NAMES, min_size=1, max_size=5, unique=True)
UNPACKED: dict[str, Callable[[Path, Path], list[str]]] = {
    "cpio": lambda file, into: ["cpio", "-idm", "--quiet", "--no-absolute-filenames", "-F", str(file)],
    "tar": lambda file, into: ["tar", "-x", "-f", str(file)],
    "erofs": lambda file, into: ["fsck.erofs", f"--extract={into}", "--force", "--overwrite", str(file)],
    "squashfs": lambda file, into: ["unsquashfs", "-q", "-n", "-f", "-d", str(into), str(file)],
}


@pytest.mark.tools
@pytest.mark.parametrize("format_name", FILESYSTEMS)
@settings(max_examples=examples(8), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(names=FOLDERS)
def test_each_name_comes_to_the_image_byte_for_byte(format_name: str, names: list[bytes]) -> None:
    with TemporaryDirectory() as base:
        folder, into, file = (Path(base) / name for name in ("recipe", "into", "root"))
        (folder / "data").mkdir(parents=True)
        into.mkdir()
        for number, name in enumerate(names):
            path = folder / "data" / os.fsdecode(name)
            path.symlink_to(os.fsdecode(names[0])) if number % 2 else path.write_bytes(name)
        store = Store(Path(base) / "store")
        nodes = {f"/{path}": node for path, node in collect(folder, ["data/**"], key="source.files").items()}
        FILESYSTEMS[format_name].write(Tree.load(Tree(nodes).save(store), store), file, epoch_s=0)
        subprocess.run(UNPACKED[format_name](file, into), cwd=into, check=True, capture_output=True)
        assert {os.fsencode(path.name) for path in (into / "data").iterdir()} == set(names)
        for number, name in enumerate(names):
            path = into / "data" / os.fsdecode(name)
            assert os.fsencode(path.readlink()) == names[0] if number % 2 else path.read_bytes() == name


@pytest.mark.parametrize(
    "links",
    [{"a": "a"}, {"a": "b", "b": "a"}, {"a": "a/x"}, {"a": "."}, {"a": "b/c", "b": "a"}, {"a": "missing"}],
    ids=str,
)
def test_a_loop_of_links_is_carried_as_it_is(tmp_path: Path, links: dict[str, str]) -> None:
    (tmp_path / "data").mkdir()
    for name, target in links.items():
        (tmp_path / "data" / name).symlink_to(target)
    found = collect(tmp_path, ["data/**"], key="source.files")
    assert {path: node.target for path, node in found.items()} == {f"data/{a}": b for a, b in links.items()}
    assert collect(tmp_path, ["data"], key="source.files") == found


def test_a_loop_that_leads_out_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "recipe"
    folder.mkdir()
    (folder / "a").symlink_to("../outside")
    (tmp_path / "outside").symlink_to("outside")
    with pytest.raises(SourceError, match=r"a is a link to \.\./outside, out of the folder"):
        collect(folder, ["*"], key="source.files")


@pytest.mark.parametrize(
    "make", [os.mkfifo, lambda path: os.mknod(path, 0o20644, os.makedev(1, 3))], ids=["fifo", "device"]
)
def test_what_is_no_file_is_refused(tmp_path: Path, make: Callable[[Path], None]) -> None:
    try:
        make(tmp_path / "x")
    except PermissionError:
        pytest.skip("no device can be made here")
    with pytest.raises(SourceError, match="x is neither a file, a folder nor a link: leave it out"):
        collect(tmp_path, ["*"], key="source.files")


@pytest.mark.parametrize(
    ("pattern", "meant"),
    [("*.{a,b}", {"1.a", "2.b"}), ("{1,2,3}.a", {"1.a"}), ("{d,e}/{x,y}", {"d/x"}), ("{1.a}", set()), ("{a", set())],
)
def test_braces(tmp_path: Path, pattern: str, meant: set[str]) -> None:
    (tmp_path / "d").mkdir()
    for name in ("1.a", "2.b", "3.c", "d/x"):
        (tmp_path / name).touch()
    if meant:
        assert set(collect(tmp_path, [pattern], key="source.files")) == meant
    else:
        with pytest.raises(SourceError, match="matches no file"):
            collect(tmp_path, [pattern], key="source.files")
