"""What surrounds us is foreign: streams that are closed or full, no home, no place for temporary files, a folder that
is gone. Never a traceback, never a sentence that is not true."""

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.app import recipe_text
from tests.cli.conftest import Cli, Ran

pytestmark = pytest.mark.tools

SHELL = 'exec "$@" {redirected}'
STREAMS = ("<&-", ">&-", "2>&-", "<&- >&- 2>&-", ">/dev/full", "2>/dev/full", ">/dev/full 2>/dev/full")
FAULTS = ("Traceback", "Exception ignored", "fault of imagebuilder")
FULL = "error: standard output: No space left on device\n"


def ran_as(
    words: Sequence[str],
    *,
    folder: Path,
    cache: Path,
    shell: str = 'exec "$@"',
    wrapped: Sequence[str] = (),
    **env: str,
) -> Ran:
    """A run under a shell that changes what surrounds it first; a variable of value "-" is taken away."""
    given = {**os.environ, "IMAGEBUILDER_CACHE": str(cache), **env}
    given = {name: value for name, value in given.items() if value != "-"}
    argv = [*wrapped, "sh", "-c", shell, "sh", sys.executable, "-m", "imagebuilder", *words]
    done = subprocess.run(argv, cwd=folder, env=given, capture_output=True, text=True, timeout=240)
    assert not any(fault in done.stdout + done.stderr for fault in FAULTS), done
    return Ran(done.returncode, done.stdout, done.stderr)


@pytest.mark.parametrize("redirected", STREAMS)
@pytest.mark.parametrize(
    ("words", "status"),
    [(("build", "app"), 0), (("list",), 0), (("build", "app", "--json"), 0), (("build", "nothing"), 2)],
    ids=["build", "list", "json", "wrong"],
)
def test_streams(
    recipe: Path, tmp_path: Path, cache: Path, redirected: str, words: tuple[str, ...], status: int
) -> None:
    ran = ran_as(words, folder=tmp_path, cache=cache, shell=SHELL.format(redirected=redirected))
    full = ">/dev/full" in redirected.split() and status == 0  # the result could not be printed
    assert ran.status == (2 if full else status), ran
    if full and "2>" not in redirected:
        assert ran.err.endswith(FULL), ran


@pytest.mark.vm
@pytest.mark.parametrize(
    ("redirected", "status"), [("<&-", 0), (">&-", 0), ("2>&-", 0), ("<&- >&- 2>&-", 0), (">/dev/full", 2)]
)
def test_streams_of_a_console(recipe: Path, tmp_path: Path, cache: Path, redirected: str, status: int) -> None:
    ran = ran_as(
        ("run", "app", "--accel", "tcg"), folder=tmp_path, cache=cache, shell=SHELL.format(redirected=redirected)
    )
    assert ran.status == status, ran
    assert ">" in redirected.replace("2>", "") or "hello, world" in ran.out, ran
    assert status == 0 or ran.err.endswith(FULL), ran


@pytest.mark.vm
@pytest.mark.parametrize("redirected", ["<&-", "<&- >&- 2>&-"])
def test_streams_of_tests(recipe: Path, tmp_path: Path, cache: Path, redirected: str) -> None:
    words = ("test", "app", "--accel", "tcg", "--", "-k", "boots", "-p", "no:asyncio")
    ran = ran_as(words, folder=tmp_path, cache=cache, shell=SHELL.format(redirected=redirected))
    assert ran.status == 0, ran


SOMEBODY = ("unshare", "--map-user=4321", "--map-group=4321")
"""A user of whom passwd knows nothing, and to whom our files belong."""


def somebody() -> None:
    """Skip where nobody can be somebody else."""
    if subprocess.run([*SOMEBODY, "true"], capture_output=True).returncode:
        pytest.skip("there are no user namespaces here")


@pytest.mark.parametrize(
    "words", [("build", "app"), ("list",), ("inspect", "app"), ("doctor", "--json")], ids=lambda words: words[0]
)
@pytest.mark.parametrize("wrapped", [(), SOMEBODY], ids=["a user", "not in passwd"])
def test_no_home(recipe: Path, tmp_path: Path, cache: Path, words: tuple[str, ...], wrapped: tuple[str, ...]) -> None:
    if wrapped:
        somebody()
    ran = ran_as(words, folder=tmp_path, cache=cache, wrapped=wrapped, HOME="-", XDG_CACHE_HOME="-")
    assert ran.status == 0, ran


@pytest.mark.vm
def test_tests_of_somebody(recipe: Path, tmp_path: Path, cache: Path) -> None:
    somebody()
    words = ("test", "app", "--accel", "tcg", "--", "-k", "boots")
    ran = ran_as(words, folder=tmp_path, cache=cache, wrapped=SOMEBODY, HOME="-", XDG_CACHE_HOME="-")
    assert ran.status == 0, ran


def test_no_home_and_no_cache_named(recipe: Path, tmp_path: Path, cache: Path) -> None:
    somebody()
    given = {"HOME": "-", "IMAGEBUILDER_CACHE": "-", "XDG_CACHE_HOME": "-"}
    ran = ran_as(("list",), folder=tmp_path, cache=cache, wrapped=SOMEBODY, **given)
    assert ran.status == 0, ran
    ran = ran_as(("build", "app"), folder=tmp_path, cache=cache, wrapped=SOMEBODY, **given)
    said = [line for line in ran.err.splitlines() if not line.endswith("…")]
    assert ran.status == 2 and len(said) == 2 and "IMAGEBUILDER_CACHE" in said[1], ran


@pytest.mark.parametrize(
    "words", [("build", "app"), ("list",), ("test", "app"), ("new", "mine")], ids=lambda words: words[0]
)
def test_a_folder_that_is_gone(tmp_path: Path, cache: Path, words: tuple[str, ...]) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    ran = ran_as(
        words, folder=tmp_path, cache=cache, shell=f'cd "{gone}" && rmdir "{gone}" && exec "$@"', PYTHONSAFEPATH="1"
    )
    assert ran.status == 2 and "the current folder was removed: change to another one" in ran.err, ran


@pytest.mark.parametrize("words", [("build", "app"), ("build", "app", "--format", "tar")], ids=["image", "root"])
def test_a_narrow_umask(recipe: Path, tmp_path: Path, cache: Path, words: tuple[str, ...]) -> None:
    made = []
    for umask in ("022", "077"):
        shutil.rmtree(tmp_path / "out", ignore_errors=True)
        own = tmp_path / f"cache{umask}"
        ran = ran_as(words, folder=tmp_path, cache=own, shell=f'umask {umask} && exec "$@"')
        assert ran.status == 0, ran
        made.append({path.name: path.read_bytes() for path in (tmp_path / "out").rglob("*") if path.is_file()})
    assert made[0] == made[1]


@pytest.mark.vm
@pytest.mark.parametrize("folder", ["/nonexistent", "/proc"])
def test_no_place_for_temporary_files(recipe: Path, tmp_path: Path, cache: Path, folder: str) -> None:
    ran = ran_as(("run", "app", "--accel", "tcg"), folder=tmp_path, cache=cache, TMPDIR=folder)
    assert ran.status == 0 and "hello, world" in ran.out, ran  # the system has others


def mounted(options: str, folder: Path, words: Sequence[str], *, at: Path, cache: Path) -> Ran:
    """A run that sees a file system of its own in a folder."""
    at.mkdir(exist_ok=True)
    shell = f'mount -t tmpfs -o mode=700,{options} tmpfs "{at}" || exit 77; exec "$@"'
    ran = ran_as(words, folder=folder, cache=cache, shell=shell, wrapped=("unshare", "--map-root-user", "--mount"))
    if ran.status in (1, 77) and ("unshare" in ran.err or "mount" in ran.err):
        pytest.skip("no file system can be mounted here")
    return ran


def test_a_cache_where_nothing_can_be_executed(recipe: Path, tmp_path: Path) -> None:
    """What runs there is there: to say that it is not installed would be wrong."""
    text = (recipe / "recipe.toml").read_text()
    more = (
        '[[source]]\ntype = "build"\ninputs = ["tool"]\ncommand = ["./tool"]\noutputs = { x = "/x" }\n\n[application]'
    )
    (recipe / "recipe.toml").write_text(text.replace("[source]", "[[source]]").replace("[application]", more))
    (recipe / "tool").write_text("#!/bin/sh\necho > x\n")
    (recipe / "tool").chmod(0o755)
    own = tmp_path / "own"
    ran = mounted("noexec", tmp_path, ("build", "app"), at=own, cache=own)
    assert ran.status == 3 and "cannot be executed" in ran.err and "IMAGEBUILDER_CACHE" in ran.err, ran
    assert "not installed" not in ran.err


@pytest.mark.parametrize("words", [("build", "app"), ("list",)], ids=lambda words: words[0])
def test_a_cache_that_cannot_be_written(recipe: Path, tmp_path: Path, words: tuple[str, ...]) -> None:
    own = tmp_path / "own"
    ran = mounted("ro", tmp_path, words, at=own, cache=own)
    assert ran.status == (0 if words == ("list",) else 2), ran
    assert words == ("list",) or (f"the cache {own} cannot be written" in ran.err and "IMAGEBUILDER_CACHE" in ran.err)


def read_only(words: Sequence[str], *, folder: Path, cache: Path) -> Ran:
    """A run that can only read the cache."""
    shell = 'mount --bind "$IMAGEBUILDER_CACHE" "$IMAGEBUILDER_CACHE" || exit 77\n'
    shell += 'mount -o remount,ro,bind "$IMAGEBUILDER_CACHE" || exit 77; exec "$@"'
    ran = ran_as(words, folder=folder, cache=cache, shell=shell, wrapped=("unshare", "--map-root-user", "--mount"))
    if ran.status in (1, 77) and ("unshare" in ran.err or "mount" in ran.err):
        pytest.skip("no file system can be mounted here")
    return ran


@pytest.fixture
def readable(recipe: Path, tmp_path: Path) -> Path:
    """A cache with the image of the recipe, which is built."""
    own = tmp_path / "own"
    assert ran_as(("build", "app"), folder=tmp_path, cache=own).status == 0
    return own


READING = [
    (("inspect", "app"), "digest"),
    (("inspect", "app", "--packed"), "shipped"),
    (("doctor", "--json"), "not writable"),
    (("template", "list", "--json"), "[]"),
    (("cache", "ls"), "contents"),
    (("list",), "hello"),
    (("build", "app"), "digest"),
    (("build", "app", "--plan"), "nothing would be made"),
]


def test_a_cache_that_can_only_be_read_is_read(readable: Path, tmp_path: Path) -> None:
    for words, says in READING:
        ran = read_only(words, folder=tmp_path, cache=readable)
        assert ran.status == (3 if words[0] == "doctor" else 0) and says in ran.out, ran


def test_what_would_write_to_a_cache_that_can_only_be_read_is_refused(
    readable: Path, recipe: Path, tmp_path: Path
) -> None:
    words = [("build", "app", "-q", "--out", "new"), ("cache", "prune"), ("cache", "verify")]
    refused = [read_only(each, folder=tmp_path, cache=readable) for each in words]
    (recipe / "recipe.toml").write_text((recipe / "recipe.toml").read_text() + '[[files]]\npath = "/x"\ntext = "x"\n')
    refused += [read_only((verb, "app", "-q"), folder=tmp_path, cache=readable) for verb in ("build", "run", "inspect")]
    for ran in refused:
        assert ran.status == 2, ran
        assert f"error: the cache {readable} cannot be written: Read-only file system" in ran.err, ran
        assert ran.err.count("\n") == 2 and "hint: set IMAGEBUILDER_CACHE to another folder" in ran.err, ran


@pytest.mark.vm
def test_an_image_is_run_and_no_template_cloned_from_a_cache_that_can_only_be_read(
    readable: Path, recipe: Path, tmp_path: Path
) -> None:
    ran = read_only(("run", "app", "--accel", "tcg"), folder=tmp_path, cache=readable)
    assert ran.status == 0 and "hello, world" in ran.out, ran
    (recipe / "recipe.toml").write_text(recipe_text("http=80", ready="tcp = { port = 80 }\ntimeout_s = 120"))
    ran = ran_as(("template", "create", "app", "--accel", "tcg"), folder=tmp_path, cache=readable)
    assert ran.status == 0, ran
    words = ("bench", "app", "--accel", "tcg", "--template", "--runs", "2")
    ran = read_only(words, folder=tmp_path, cache=readable)
    assert ran.status == 2 and "app cannot be cloned" in ran.err and "can only be read" in ran.err, ran


SMALL = """
set -e
mount -t tmpfs -o mode=700,size={size} tmpfs "$IMAGEBUILDER_CACHE" || exit 77
python=$1; shift 3; $python -m imagebuilder build app -q
{meanwhile}
exec $python -m imagebuilder "$@"
"""
FILL = """
(until ls "$IMAGEBUILDER_CACHE"/scratch/*/work/memory; do sleep 0.01; done
cat /dev/zero > "$IMAGEBUILDER_CACHE/fill") >/dev/null 2>&1 &
"""


@pytest.mark.vm
@pytest.mark.parametrize(
    ("size", "meanwhile", "says"),
    [("60m", "", "may take 67.1 MB, and"), ("120m", FILL, "became full while the template of app was made")],
    ids=["full", "becomes full"],
)
def test_a_template_that_does_not_fit(recipe: Path, tmp_path: Path, size: str, meanwhile: str, says: str) -> None:
    """Its memory is a file: without room for that QEMU was ended by SIGBUS."""
    own = tmp_path / "own"
    own.mkdir()
    more = "[machine]\nmemory_mib = 64\n"
    (recipe / "recipe.toml").write_text(recipe_text("http=80", ready="tcp = { port = 80 }\ntimeout_s = 120", more=more))
    shell = SMALL.format(size=size, meanwhile=meanwhile)
    words = ("template", "create", "app", "--accel", "tcg", "-q")
    ran = ran_as(words, folder=tmp_path, cache=own, shell=shell, wrapped=("unshare", "--map-root-user", "--mount"))
    if ran.status in (1, 77) and ("unshare" in ran.err or "mount" in ran.err):
        pytest.skip("no file system can be mounted here")
    assert ran.status == 2 and "SIGBUS" not in ran.err and says in ran.err, ran
    assert str(own) in ran.err and "hint: free some disk space, or set IMAGEBUILDER_CACHE" in ran.err, ran


@pytest.mark.parametrize("variable", ["-", "", "C", "POSIX", "xx_YY.ISO-8859-1"])
def test_any_locale(cli: Cli, recipe: Path, tmp_path: Path, cache: Path, variable: str) -> None:
    ran = ran_as(("inspect", "app"), folder=tmp_path, cache=cache, LC_ALL=variable, PYTHONIOENCODING="ascii")
    assert ran.status == 0, ran
