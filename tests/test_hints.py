"""Hints are followed, and work; tests/docs/test_docs_hints.py has the list of all."""

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from imagebuilder import cache, kernel, private, process
from imagebuilder.bundle import Bundle
from imagebuilder.errors import ImagebuilderError
from imagebuilder.events import silent
from imagebuilder.kernel import config
from imagebuilder.machine.spec import Forward, check_network
from imagebuilder.paths import cache_dir, source_date_epoch_s
from imagebuilder.platforms.linux.covered import copied
from imagebuilder.platforms.linux.layer import defaults
from imagebuilder.platforms.values import Mount, Surroundings
from imagebuilder.recipe import new
from imagebuilder.store import Store
from imagebuilder.tree import Tree, file
from tests.app import RECIPE, lay_down


def hint_of(work: Callable[[], object]) -> str:
    """The hint with which it is refused."""
    with pytest.raises(ImagebuilderError) as caught:
        work()
    assert caught.value.hint
    return caught.value.hint


def test_a_size() -> None:
    hint = hint_of(lambda: cache.size_of("much", what="--to"))
    assert [cache.size_of(word, what="--to") for word in re.findall(r"\d+\w|none", hint)] == [10**10, 5 * 10**8, None]


@pytest.mark.parametrize("text", ["yesterday", "-5", "1.5", "99999999999999", "²", "1" * 5000])
def test_a_time(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", text)
    (time,) = re.findall(r"such as (\d+),", hint_of(source_date_epoch_s))
    for right in (time, ""):
        monkeypatch.setenv("SOURCE_DATE_EPOCH", right)
        assert source_date_epoch_s() == int(time)


def test_a_place_for_the_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("IMAGEBUILDER_CACHE", "XDG_CACHE_HOME", "HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("imagebuilder.paths.home", lambda: None)
    (name,) = re.findall("set ([A-Z_]+) to a folder", hint_of(cache_dir))
    monkeypatch.setenv(name, str(tmp_path))
    assert cache_dir() == tmp_path


def test_a_place_that_is_no_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (name,) = re.findall("set ([A-Z_]+) to a folder of your own", hint_of(lambda: private.check(Path("/etc"))))
    monkeypatch.setenv(name, str(tmp_path / "own"))
    private.check(Store(cache_dir()).root)


@pytest.mark.tools
@pytest.mark.parametrize("fault", ["open", "link"])
def test_a_cache_that_cannot_be_trusted(tmp_path: Path, fault: str) -> None:
    root = tmp_path / "the cache"
    Store(root)
    if fault == "open":
        (root / "blobs").chmod(0o777)
    else:
        (root / "planted").symlink_to("/etc")
    hint = hint_of(lambda: private.check(root))
    subprocess.run(["sh", "-c", hint.partition(";")[0]], check=True)
    private.check(root)


@pytest.mark.tools
def test_a_program_that_may_not_run(tmp_path: Path) -> None:
    tool = tmp_path / "a tool"
    tool.write_text("#!/bin/sh\necho it runs\n")
    subprocess.run(shlex.split(hint_of(lambda: process.run([tool]))), check=True)
    assert process.run([tool]).text == "it runs\n"


def test_a_name_that_would_do(tmp_path: Path) -> None:
    (name,) = re.findall("'(.+)' would do", hint_of(lambda: new.new_recipe("My Own App!", tmp_path)))
    assert new.new_recipe(name, tmp_path)


def test_a_line_of_a_fragment(tmp_path: Path) -> None:
    fragment = tmp_path / "own.config"
    fragment.write_text("CONFIG_IPV6=m\n")
    (line,) = re.findall(r"such as (\S+);", hint_of(lambda: config.parse(fragment)))
    fragment.write_text(f"{line}\n")
    assert config.parse(fragment) == {"IPV6": "y"}


def test_processors() -> None:
    definition = kernel.load_definition("micro")
    (most,) = re.findall(r"write (\d+) or less", hint_of(lambda: kernel.check_cpus(definition, (), 5000)))
    kernel.check_cpus(definition, (), int(most))


def test_a_network() -> None:
    forwards = (Forward(8080, 80),)
    assert "network = false" in hint_of(lambda: check_network("app", forwards, network=False))
    check_network("app", forwards, network=True)


SYSTEM = defaults((), Surroundings())


@pytest.mark.parametrize(
    ("path", "mounts", "hint", "then"),
    [
        ("/run/a", (Mount("tmpfs", "/run/a/b"), Mount("tmpfs", "/run")), "outer one first",
         (Mount("tmpfs", "/run"), Mount("tmpfs", "/run/a/b"))),
        ("/data", (Mount("tmpfs", "/data"),), "mount it elsewhere", (Mount("tmpfs", "/elsewhere"),)),
        ("/data/x", (Mount("proc", "/data"),), "mount it elsewhere", (Mount("proc", "/elsewhere"),)),
        ("/data/x", (Mount("tmpfs", "/data", "size=4k"),), "larger size=", (Mount("tmpfs", "/data", "size=16k"),)),
        ("/proc/x", (), "another path", ()),
    ],
)  # fmt: skip
def test_mounts(path: str, mounts: tuple[Mount, ...], hint: str, then: tuple[Mount, ...]) -> None:
    def image(at: str) -> Tree:
        return SYSTEM.merge(Tree({at: file(b"x" * 5000)}))

    assert hint in hint_of(lambda: copied(image(path), mounts, SYSTEM))
    if hint == "another path":
        path = "/srv/x"
    if not (then and then[0].target == "/run"):
        copied(image(path), then, SYSTEM)
    else:
        copied(SYSTEM, then, SYSTEM)


def test_fragments_of_a_kernel_that_is_not_compiled(tmp_path: Path) -> None:
    fragment = kernel.fragment("ipv6", beside=tmp_path)
    given = kernel.load_definition("debian-cloud")
    provide = partial(kernel.build, extra_fragments=(fragment,), store=Store(tmp_path), say=silent)
    (name,) = re.findall(r"such as (\w+)", hint_of(lambda: provide(given)))
    kernel.check_requirements(kernel.load_definition(name), (fragment,), {"IPV6": "the test"})


@pytest.mark.tools
def test_an_image_that_is_not_there(application: Path, cache: Path, tmp_path: Path) -> None:
    lay_down(tmp_path / "app", application, RECIPE)
    out = tmp_path / "out" / "app"
    words = shlex.split(hint_of(lambda: Bundle.open(out)).replace("NAME", "app"))
    given = {**os.environ, "IMAGEBUILDER_CACHE": str(cache)}
    run = partial(subprocess.run, cwd=tmp_path, env=given, capture_output=True, text=True)
    refused = run([sys.executable, "-m", *words, "--out", "."])  # where the recipe is
    assert refused.returncode == 2 and "hint: give another --out" in refused.stderr
    assert run([sys.executable, "-m", *words]).returncode == 0
    assert Bundle.open(out).image.name == "app"
