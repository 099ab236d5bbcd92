"""The recipe java: compiled, given its runtime and its archive of classes in a machine, booted, and asked by a client
that is not ours."""

import asyncio
import urllib.error
import urllib.request
from dataclasses import replace
from pathlib import Path

import pytest

from imagebuilder.build.walk import Build
from imagebuilder.bundle import Bundle
from imagebuilder.events import silent
from imagebuilder.machine.instance import Instance
from imagebuilder.machine.spec import Accelerator, spec_of
from imagebuilder.recipe.load import load
from imagebuilder.store import Store
from imagebuilder.tree import Kind

# A machine that counts its instructions runs a compiler and a linker: some minutes.
pytestmark = [pytest.mark.vm, pytest.mark.network, pytest.mark.slow]
PORT = 8000
ARCHIVE = "/opt/java/lib/application.jsa"


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Build:
    return Build(load("java"), Store(tmp_path_factory.mktemp("cache")), silent)


@pytest.fixture(scope="module")
def bundle(work: Build, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return work.run(tmp_path_factory.mktemp("out"))


def asked(url: str, numbers: str | None = None) -> tuple[int, str]:
    """GET, or POST of numbers: the status, and the answer's text."""
    request = urllib.request.Request(url, numbers.encode() if numbers is not None else None)
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


async def test_java_answers_with_its_classes_from_the_archive(work: Build, bundle: Bundle) -> None:
    files = {path for path, node in work.root.items() if node.kind is Kind.FILE}
    assert {"/srv/app/application.jar", ARCHIVE, "/opt/java/lib/modules"} <= files
    assert not {path for path in files if path.rpartition("/")[2] in ("javac", "jlink", "busybox", "sh", "src.zip")}
    assert not {path for path in files if path.startswith(("/usr/lib/jvm", "/usr/src"))}
    assert "openjdk-17-jdk-headless" in [each.name for each in bundle.image.packages]
    spec = spec_of(bundle, accelerator=Accelerator.TCG, memory_mib=work.recipe.budget.memory_mib)
    async with Instance.start(spec) as instance:
        await instance.wait_ready(bundle.ready)
        url = f"http://127.0.0.1:{instance.host_port(PORT)}"
        assert await asyncio.to_thread(asked, f"{url}/hello/you") == (200, "hello, you\n")
        assert await asyncio.to_thread(asked, f"{url}/sum", "1 2.5 4") == (200, "7.5\n")
        assert await asyncio.to_thread(asked, f"{url}/sum", "one") == (400, "expected numbers\n")
        assert (await asyncio.to_thread(asked, f"{url}/nothing"))[0] == 404


async def test_the_archive_fits_the_runtime_and_the_jar(work: Build, bundle: Bundle, tmp_path: Path) -> None:
    """The virtual machine would pass over one that does not without a word; with -Xshare:on it ends."""
    application = work.recipe.application.model_copy(update={"environment": {"JDK_JAVA_OPTIONS": "-Xshare:on"}})
    strict = replace(work, recipe=work.recipe.model_copy(update={"application": application}), made=set())
    built = replace(strict, _made={}, _results={}).run(tmp_path / "out")
    async with Instance.start(spec_of(built, accelerator=Accelerator.TCG)) as instance:
        await instance.wait_ready(built.ready)
        assert "JDK_JAVA_OPTIONS: -Xshare:on" in instance.console


def test_the_same_bytes_from_another_cache(bundle: Bundle, tmp_path: Path) -> None:
    """jlink, and the archive of classes, are made again."""
    again = Build(load("java"), Store(tmp_path / "cache"), silent).run(tmp_path / "out")
    one, two = ({path.name: path.read_bytes() for path in each.files()} for each in (bundle, again))
    assert {name for name in one if one[name] != two.get(name)} == set()
