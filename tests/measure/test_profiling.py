"""A kernel's profile: the same bytes for the same counts, and no kernel without one to make."""

import io
import tarfile
from pathlib import Path

import pytest

from imagebuilder import paths
from imagebuilder.build.walk import Build
from imagebuilder.events import silent
from imagebuilder.kernel import load_definition
from imagebuilder.kernel.arcs import counted
from imagebuilder.kernel.compile import compiled
from imagebuilder.measure import profiling
from imagebuilder.recipe.load import load
from imagebuilder.store import Store


def names(content: bytes) -> set[str]:
    with tarfile.open(fileobj=io.BytesIO(content)) as tar:
        return set(tar.getnames())


def test_an_archive_is_the_same_for_the_same_files() -> None:
    files = [("init/main.gcda", b"one"), ("fs/open.gcda", b"two")]
    packed = profiling.archive(files)
    assert packed == profiling.archive(reversed(files))
    with tarfile.open(fileobj=io.BytesIO(packed)) as tar:
        found = {name: tar.extractfile(name) for name in tar.getnames()}
        assert {name: each.read() for name, each in found.items() if each} == dict(files)


@pytest.mark.parametrize("words", [["debian-cloud", "out/nginx"], ["micro"]])
def test_what_cannot_be_made_is_said(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert profiling.main(words) != 0
    assert "name a kernel whose [config] has a profile" in capsys.readouterr().err


def test_an_image_that_is_not_there_is_said_before_anything_is_compiled(capsys: pytest.CaptureFixture[str]) -> None:
    assert profiling.main(["micro", "out/of-nobody"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "out/of-nobody" in line


def test_the_profile_that_ships_covers_the_start() -> None:
    """One file for each object, and among them those without which no kernel starts."""
    archive = load_definition("micro").profile
    assert archive is not None
    found = names(archive.read_bytes())
    assert {"init/main.gcda", "kernel/fork.gcda", "net/ipv4/tcp_input.gcda"} <= found
    assert all(Path(name).suffix == ".gcda" for name in found)


@pytest.mark.vm
@pytest.mark.network
@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_the_profile_can_be_made_again(tmp_path: Path) -> None:
    """Counts differ a little from start to start; what is counted does not."""
    micro, store = load_definition("micro"), Store(paths.cache_dir())
    assert micro.profile is not None
    kernel = store.blob(compiled(counted(micro), store=store, say=silent).digest)
    nginx = Build(load("nginx"), store, silent).run(tmp_path)
    made = profiling.profile(kernel, [nginx], store)
    assert names(made) == names(micro.profile.read_bytes())
    assert 0.5 < len(made) / micro.profile.stat().st_size < 2
