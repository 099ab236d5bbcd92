"""What an application is refused in its guest, and that what is advised then lets it."""

import re
from pathlib import Path

import pytest

from imagebuilder import process
from imagebuilder.build.walk import build
from imagebuilder.errors import GuestFailed
from imagebuilder.events import silent
from imagebuilder.machine.diagnosis import CLOSED_TO_USER
from imagebuilder.machine.instance import Instance
from imagebuilder.machine.refused import refused
from imagebuilder.machine.spec import Accelerator, spec_of
from imagebuilder.recipe.load import load
from imagebuilder.store import Store

RECIPE = """
name = "refused"
version = "1"
summary = "does one thing"
source = {{ type = "files", files = ["app"], target = "/usr/bin", mode = "{mode}" }}
ready = {{ exit = 0 }}
machine = {{ disks = [{{ size_mib = 1 }}] }}
[application]
command = "/usr/bin/app"
arguments = ["{word}"]
{application}
[root]
{root}
"""


@pytest.mark.parametrize(
    ("line", "key"),
    [
        (
            'nginx: [emerg] chown("/var/lib/nginx/body", 33) failed (1: Operation not permitted)',
            'add "chown" to capabilities',
        ),
        (
            "nginx: [emerg] initgroups(www-data, 33) failed (1: Operation not permitted)",
            'add "setgid", "setuid" to capabilities',
        ),
        ("PermissionError: [Errno 1] Operation not permitted", "add its name in capabilities(7)"),
        ("ping: socktype: SOCK_RAW", None),
        ("Error: listen EPERM: operation not permitted 1.2.3.4", "add its name in capabilities(7)"),
        (
            "PermissionError: [Errno 13] Permission denied: '/var/lib/app/db'",
            'add "tmpfs /var/lib/app mode=1777" to mounts',
        ),
        ("Error: EACCES: permission denied, mkdir '/data'", 'set user = "root" under [application] ('),
        ("OSError: [Errno 30] Read-only file system: '/srv/app/x'", 'add "tmpfs /srv/app mode=1777" to mounts'),
        ("GET /13/1: 200", None),
        ("setpriority: Permission denied", 'add "sys_nice" to capabilities'),
    ],
)
def test_what_is_advised_for_a_line(line: str, key: str | None) -> None:
    advised = list(refused(["starting", line, "bye"]))
    assert [key in each for each in advised if key] == ([True] if key else []) and bool(advised) == bool(key)


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The application of ``refused.c``."""
    path = tmp_path_factory.mktemp("refused") / "app"
    process.run(["gcc", "-static", "-Os", "-s", "-o", path, Path(__file__).with_name("refused.c")])
    return path


async def start(
    folder: Path, program: Path, word: str, *, application: str = "", root: str = "", mode: str = "0755"
) -> str | None:
    """Build it and boot it; what is advised, or None where it did its work."""
    recipe = folder / f"recipe{len(list(folder.iterdir()))}"
    recipe.mkdir()
    (recipe / "app").write_bytes(program.read_bytes())
    (recipe / "recipe.toml").write_text(RECIPE.format(word=word, application=application, root=root, mode=mode))
    made = build(load(recipe), folder / "out", store=Store(folder / "cache"), say=silent)
    async with Instance.start(spec_of(made, accelerator=Accelerator.TCG)) as instance:
        try:
            await instance.wait_ready(made.ready, 120)
        except GuestFailed as error:
            assert "exited with status 1" in str(error) or "cannot start" in str(error)
            return error.hint
    return None


@pytest.mark.vm
@pytest.mark.parametrize("word", ["setuid", "chown", "raw", "nice", "mount", "chroot", "clock", "mknod"])
@pytest.mark.parametrize("user", ["", 'user = "root"'], ids=["nonroot", "root"])
async def test_the_capability_that_is_named_is_the_one(tmp_path: Path, program: Path, word: str, user: str) -> None:
    hint = await start(tmp_path, program, word, application=user)
    named = re.search('add ("[^:]+) to capabilities', hint or "")
    assert named, hint
    assert await start(tmp_path, program, word, application=f"{user}\ncapabilities = [{named[1]}]") is None


@pytest.mark.vm
@pytest.mark.parametrize(
    "root", ["", 'format = "erofs"', 'format = "erofs"\nwritable = false'], ids=["", "erofs", "ro"]
)
async def test_a_file_that_is_not_its_own_and_a_root_that_cannot_be_written(
    tmp_path: Path, program: Path, root: str
) -> None:
    word = "/usr/bin/kept"
    hint = await start(tmp_path, program, word, root=root)
    mount = re.search('add ("[^"]+") to mounts', hint or "")
    assert mount, hint
    for others in ("", '"tmpfs /run", '):  # the recipe may have some already
        assert await start(tmp_path, program, word, root=f"{root}\nmounts = [{others}{mount[1]}]") is None
    if 'user = "root"' in (hint or ""):
        assert await start(tmp_path, program, word, root=root, application='user = "root"') is None


@pytest.mark.vm
async def test_a_disk_is_roots(tmp_path: Path, program: Path) -> None:
    hint = await start(tmp_path, program, "/dev/vda")
    assert hint is not None and 'set user = "root" under [application]' in hint and "mounts" not in hint
    assert await start(tmp_path, program, "/dev/vda", application='user = "root"') is None


@pytest.mark.vm
async def test_a_file_of_another_user_is_closed_to_root_too(tmp_path: Path, program: Path) -> None:
    """Without capabilities root is no more than the owner of root's files."""
    other, word = '[[files]]\npath = "/other"\ntext = ""\nmode = "0600"\nowner = "other:77"\n', "/other"
    hint = await start(tmp_path, program, word, application='user = "root"', root=other)
    named = re.search('add ("[^"]+") to capabilities', hint or "")
    assert named, hint
    allowed = f'user = "root"\ncapabilities = [{named[1]}]'
    assert await start(tmp_path, program, word, application=allowed, root=other) is None


@pytest.mark.vm
async def test_a_program_that_only_root_may_run(tmp_path: Path, program: Path) -> None:
    """Init says so, and not the application; each of both ways out is tried."""
    hint = await start(tmp_path, program, "nice", mode="0700")
    assert hint is not None and CLOSED_TO_USER in hint
    (mode,) = re.findall('mode = "([0-7]+)"', CLOSED_TO_USER)
    (user,) = re.findall('user = "[a-z]+"', CLOSED_TO_USER)
    assert "capabilities" in (await start(tmp_path, program, "nice", mode=mode) or "")
    assert "capabilities" in (await start(tmp_path, program, "nice", application=user, mode="0700") or "")
