"""Density: all clones answer, what they take is told, and what gives is named."""

import asyncio
import errno
import json
import resource
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import jsonschema
import pytest

from imagebuilder.errors import GuestFailed, InputError, MachineError, NotReady
from imagebuilder.machine.clone import held
from imagebuilder.machine.failures import PortTaken
from imagebuilder.machine.template import Template
from imagebuilder.measure.density import Density, DensityOptions, Resource, available_bytes, limit_of, measure
from imagebuilder.measure.report import json_schema
from imagebuilder.recipe.model import Http, Ready

from .conftest import TELLER

CLONES = 5


def found(template: Template, options: DensityOptions) -> Density:
    """What there is to say of so many clones."""
    return asyncio.run(measure(template, options))


@pytest.mark.parametrize(
    "error, resource",
    [
        (OSError(errno.EMFILE, "Too many open files"), Resource.FILES),
        (BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable"), Resource.PROCESSES),
        (OSError(errno.ENOMEM, "Cannot allocate memory"), Resource.MEMORY),
        (OSError(errno.EADDRINUSE, "Address already in use"), Resource.PORTS),
        (OSError(errno.EIO, "Input/output error"), Resource.MACHINE),
        (PortTaken(80), Resource.PORTS),
        (NotReady("a was not ready within 60 s"), Resource.TIME),
        (GuestFailed("a: the guest's kernel panicked"), Resource.MACHINE),
        (MachineError("the machine did not start"), Resource.MACHINE),
    ],
)
def test_what_an_error_says_of_the_host(error: MachineError | OSError, resource: Resource) -> None:
    limit = limit_of(error)
    assert limit.resource is resource
    assert limit.why


def test_memory_is_read_from_the_host() -> None:
    assert 0 < available_bytes() < 1 << 50


@pytest.fixture
def files() -> Iterator[None]:
    """The limit of open files afterwards is that of before."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    yield
    assert resource.getrlimit(resource.RLIMIT_NOFILE) == before
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


@pytest.mark.vm
def test_so_many_at_once(template: Template, files: None) -> None:
    new, copies = (found(template, replace(DensityOptions.of(CLONES), copies=copied)) for copied in (False, True))
    for density in (new, copies):
        complete(density)
    assert copies.copied and not new.copied
    assert new.own_bytes is not None and new.pss_bytes is not None
    # Memory in files that nobody else maps is theirs too, but together and not each.
    assert new.pss_bytes < CLONES * 2 * new.own_bytes.max
    assert copies.own_bytes is not None and copies.pss_bytes is not None
    assert copies.own_bytes.max < new.own_bytes.min / 2
    assert copies.pss_bytes < new.pss_bytes


def complete(density: Density) -> None:
    """All answered, and all is said of them."""
    assert (density.asked, density.answered, density.limited_by) == (CLONES, CLONES, None)
    assert density.answer_ms is not None and density.again_ms is not None and density.own_bytes is not None
    assert len(density.answer_ms.samples) == len(density.again_ms.samples) == CLONES
    assert density.all_ms is not None and density.all_ms >= density.answer_ms.max
    assert density.pss_bytes is not None and density.host_bytes is not None
    assert density.own_bytes.min > 1 << 20
    assert sum(density.own_bytes.samples) < density.pss_bytes
    # Page tables: 8 bytes for a page of 4 KiB at least, and no more than a tenth of what they map.
    assert density.pss_bytes * 1.001 < density.host_bytes < density.pss_bytes * 1.1


@pytest.mark.vm
def test_memory_that_is_to_stay_free_stops_it(template: Template, files: None) -> None:
    density = found(template, replace(DensityOptions.of(None), reserve_bytes=1 << 50))
    assert (density.asked, density.answered, density.limited_by) == (None, 0, Resource.MEMORY)
    assert density.answer_ms is None
    assert "leave less than" in (density.why or "")


@pytest.mark.vm
def test_no_open_files_left(template: Template) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    used = len(list(Path("/proc/self/fd").iterdir()))

    async def with_few_files() -> Density:
        task = asyncio.ensure_future(measure(template, DensityOptions.of(None)))
        await asyncio.sleep(0)  # it has taken all that it may have
        resource.setrlimit(resource.RLIMIT_NOFILE, (used + 30, hard))
        return await task

    try:
        density = asyncio.run(with_few_files())
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert density.limited_by is Resource.FILES
    assert density.answered >= 1
    assert "ulimit -n" in (density.why or "")


@pytest.mark.vm
def test_one_that_does_not_answer_in_time(template: Template, files: None) -> None:
    mute = replace(template, ready=Ready(http=Http(port=80, path="/silent")))
    density = found(mute, replace(DensityOptions.of(CLONES), timeout_s=0.5, copies=False))
    assert (density.answered, density.limited_by) == (0, Resource.TIME)
    assert "not ready within 0.5 s" in (density.why or "")


@pytest.mark.vm
def test_what_answers_at_no_port_is_refused(template: Template) -> None:
    with pytest.raises(InputError, match="answers on no port"):
        found(replace(template, ready=Ready(console="ready")), DensityOptions.of(1))


@pytest.mark.vm
def test_a_clone_has_no_huge_pages_and_we_have_them_as_before(template: Template) -> None:
    def huge(process: str | int) -> str:
        words = dict(line.split(":", 1) for line in Path(f"/proc/{process}/status").read_text().splitlines())
        return words["THP_enabled"].strip()

    async def of_a_clone() -> str:
        async with held(template) as instance:
            return huge(instance.pid)

    before = huge("self")
    assert asyncio.run(of_a_clone()) == "0"
    assert huge("self") == before


def bench(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """The verb, as a user types it."""
    argv = [sys.executable, "-m", "imagebuilder", "bench", "--accel", "tcg", *words]
    return subprocess.run(argv, cwd=folder, capture_output=True, text=True)


@pytest.mark.tools
@pytest.mark.parametrize(
    "words, says",
    [
        (("--density", "0"), "1 or more, or max"),
        (("--density", "many"), "1 or more, or max"),
        (("--density", "2", "--vs", "other"), "--vs does not go with --density, which has clones up at once"),
        (("--no-fork-server",), "--no-fork-server has no effect without --template or --density"),
    ],
)
def test_words_that_are_refused(tmp_path: Path, words: tuple[str, ...], says: str) -> None:
    ran = bench(tmp_path, str(TELLER), *words)
    assert ran.returncode == 2
    assert says in " ".join(ran.stderr.split())


@pytest.mark.vm
def test_the_verb_shows_and_writes_it(template: Template, tmp_path: Path) -> None:
    ran = bench(tmp_path, str(TELLER), "--density", "2", "--json", "report.json")
    assert ran.returncode == 0, ran.stderr
    assert "2 of 2" in ran.stdout
    document = json.loads((tmp_path / "report.json").read_text())
    jsonschema.validate(document, json_schema())
    density = document["images"][0]["density"]
    assert density["answered"] == len(density["answer_ms"]["samples"]) == 2
    assert density["limited_by"] is None and document["images"][0]["startup"] is None
    assert density["copied"] and "copies of one QEMU" in ran.stdout
    ran = bench(tmp_path, str(TELLER), "--density", "1", "--no-fork-server", "--json", "report.json")
    assert ran.returncode == 0 and "copies of one QEMU" not in ran.stdout, ran.stderr
    assert not json.loads((tmp_path / "report.json").read_text())["images"][0]["density"]["copied"]
    ran = bench(tmp_path, str(TELLER), "--density", "1", "--json", "/dev/full")
    assert ran.returncode == 2 and "1 of 1" in ran.stdout and "/dev/full cannot be written" in ran.stderr
