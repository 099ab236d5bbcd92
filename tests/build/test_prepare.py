"""Commands that run in a machine while the image is built, for real."""

import ctypes
import re
import socket
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

import pytest

from imagebuilder import process
from imagebuilder.build.steps import STEPS, StepKind, prepare
from imagebuilder.build.walk import Build
from imagebuilder.errors import InputError, OutputError, SourceError
from imagebuilder.events import Event, Note, Warned, silent
from imagebuilder.preparation import HEAD_BYTES, NotPrepared, Preparation, outcome
from imagebuilder.recipe.load import load
from imagebuilder.recipe.model import Prepare
from imagebuilder.sources.kind import Context
from imagebuilder.store import Store
from imagebuilder.tree import Kind, Tree
from tests.machine.test_egress import OUTSIDE, in_a_network_of_its_own

T = TypeVar("T")
CLONE_NEWNS = 0x20000  # linux/sched.h

RECIPE = """
name = "app"
version = "1"
summary = "A test."
[[source]]
type = "build"
inputs = ["app.c"]
command = ["cc", "-static", "-o", "app", "app.c"]
outputs = {{ app = "/app" }}
[[files]]
path = "/etc/given"
text = "given"
[[files]]
path = "/srv"
directory = true
owner = "1000"
[application]
command = "/app"
[ready]
exit = 0
[[prepare]]
{prepare}
"""
PROGRAM = r"""
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

/* Whether somebody takes a connection there within so many seconds. */
static int is_reached(const char *address, const char *port, const char *seconds)
{
    struct sockaddr_in there = {.sin_family = AF_INET, .sin_port = htons(atoi(port))};
    struct pollfd one = {.fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0), .events = POLLOUT};
    int error = 0;
    socklen_t size = sizeof error;

    inet_pton(AF_INET, address, &there.sin_addr);
    if (connect(one.fd, (void *)&there, sizeof there) && errno != EINPROGRESS)
        return 0;
    return poll(&one, 1, atoi(seconds) * 1000) == 1 && !getsockopt(one.fd, SOL_SOCKET, SO_ERROR, &error, &size) &&
           !error;
}

int main(int count, char **words)
{
    const char *what = count > 1 ? words[1] : "";
    static char block[1 << 16];
    unsigned chance = 0;
    struct timespec now;
    if (!strcmp(what, "write")) {
        FILE *file = fopen("/srv/made", "w");
        if (!file || getrandom(&chance, sizeof chance, 0) != sizeof chance)
            return 1;
        clock_gettime(CLOCK_REALTIME, &now);
        fprintf(file, "%u %ld.%ld %d %s %p\n", chance, now.tv_sec, now.tv_nsec, getpid(), getenv("WORD"), (void *)&now);
        return fclose(file) || unlink("/srv/none") == 0 || chmod("/srv/made", 0600);
    }
    if (!strcmp(what, "reach")) {
        FILE *file = fopen("/srv/made", "w");
        for (int i = 2; i + 2 < count; i += 3)
            fprintf(file, "%s %s\n", words[i], is_reached(words[i], words[i + 1], words[i + 2]) ? "yes" : "no");
        return fclose(file);
    }
    if (!strcmp(what, "fail"))
        return puts("this is why") < 0 ? 1 : 3;
    if (!strcmp(what, "paint"))
        return puts("\033]0;title\007 here\tthere") < 0;
    if (!strcmp(what, "much")) {
        FILE *file = fopen("/srv/much", "w");
        for (int i = 0; i < 2048; i++)  /* 128 MiB that are no zeros */
            if (getrandom(block, sizeof block, 0) != sizeof block || fwrite(block, sizeof block, 1, file) != 1)
                return 1;
        return fclose(file);
    }
    if (!strcmp(what, "hang"))
        for (;;)
            pause();
    if (!strcmp(what, "fill")) {
        FILE *file = fopen("/fill", "w");
        while (file && fwrite(block, sizeof block, 1, file) == 1)
            ;
        perror("/fill");
        return 1;
    }
    if (!strcmp(what, "endless"))
        for (;;)
            puts("again and again");
    return 0;
}
"""


def build(folder: Path, prepare: str, store: str = "store") -> Build:
    """A build of a recipe that prepares this."""
    app = folder / "app"
    app.mkdir(exist_ok=True)
    (app / "recipe.toml").write_text(RECIPE.format(prepare=prepare))
    (app / "app.c").write_text(PROGRAM)
    return Build(load(app), Store(folder / store), silent)


def root(folder: Path, prepare: str, store: str = "store") -> Tree:
    """The root of its image."""
    return build(folder, prepare, store).root


WRITES = 'command = ["/app", "write"]\nuser = "1000"\nenvironment = { WORD = "word" }'


@pytest.mark.vm
@pytest.mark.slow
def test_the_same_bytes_in_another_cache_and_not_run_again_in_the_same(tmp_path: Path) -> None:
    first, second = (root(tmp_path, WRITES, store)["/srv/made"] for store in ("one", "two"))
    assert first == second and first.uid == 1000 and first.mode == 0o600
    assert b" 17672256" in first.content.read() and b" word " in first.content.read()
    cached = [each.cached for each in build(tmp_path, WRITES, "one").outlooks() if each.step.kind == "prepare"]
    assert cached == [True]


@pytest.mark.vm
@pytest.mark.slow
@pytest.mark.parametrize(
    ("what", "more", "said"),
    [
        ("fail", "", r"prepare 1: app exited with status 3:\n    this is why"),
        ("none", 'directory = "/none"', r"could not be started \(status 127\):\n.*/none: No such"),
        ("fill", "memory_mib = 64", "No space left on device(.|\n)*memory_mib under"),
        ("hang", "timeout_s = 20", "prepare 1: app did not end within 20 s, and said nothing"),
        ("endless", "timeout_s = 20", "prepare 1: app (did not end within 20 s|cannot be run)"),
    ],
)
def test_a_command_that_fails_shows_its_console(tmp_path: Path, what: str, more: str, said: str) -> None:
    with pytest.raises(SourceError, match=said) as raised:
        root(tmp_path, f'command = ["/app", "{what}"]\n{more}')
    assert "the same machine again: qemu" in str(raised.value)
    assert {*raised.value.evidence} == {"console.txt", "command.txt"}


@pytest.mark.vm
@pytest.mark.slow
def test_a_full_disk_of_this_host_is_said_and_not_waited_for(tmp_path: Path) -> None:
    """QEMU stopped the guest until somebody would make room: until its time was over, in which it had too little."""
    small = tmp_path / "store"
    small.mkdir()

    def filled() -> int:
        process.run(["mount", "-t", "tmpfs", "-o", "size=64m,mode=0700", "none", small])
        with pytest.raises((SourceError, OutputError), match="free some disk space"):
            root(tmp_path, 'command = ["/app", "much"]\ntimeout_s = 300')
        process.run(["mount", "-o", "remount,size=640m", small])
        return root(tmp_path, 'command = ["/app", "much"]\ntimeout_s = 300')["/srv/much"].size_bytes

    assert with_mounts_of_its_own(filled) == 128 << 20


def with_mounts_of_its_own(work: Callable[[], T]) -> T:
    """Do it in a thread whose mounts nobody else sees, and which are gone with it."""
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(lambda: work() if _left_the_mounts() else pytest.skip("it takes root")).result()


def _left_the_mounts() -> bool:
    if ctypes.CDLL(None).unshare(CLONE_NEWNS):
        return False
    process.run(["mount", "--make-rprivate", "/"])
    return True


def test_more_memory_than_a_file_can_have(tmp_path: Path) -> None:
    """It ended in a traceback."""
    (tmp_path / "root").touch()

    def prepared(memory_mib: int) -> Preparation:
        wanted = Prepare(command=("/app",), memory_mib=memory_mib)
        inputs = prepare.PrepareInputs(1, "app", wanted, None, (), (), "", "", 0)
        return prepare._preparation(inputs, tmp_path / "root", tmp_path / "kernel", tmp_path / "changes")

    with pytest.raises(SourceError, match="prepare 1: app: its disk for a memory of 2,147,483,647 MiB cannot be made"):
        prepared(2**31 - 1)
    assert prepared(512).changes_mib == 896  # by the hint: give it less with memory_mib


@pytest.mark.vm
@pytest.mark.slow
def test_what_a_command_says_steers_no_terminal(tmp_path: Path) -> None:
    said: list[Event] = []
    built = build(tmp_path, 'command = ["/app", "paint"]')
    assert "/app" in Build(built.recipe, built.store, said.append).root
    notes = [each.text for each in said if isinstance(each, Note)]
    assert [each for each in notes if "here" in each] == [r"\x1b]0;title\x07 here there"]


@pytest.mark.vm
@pytest.mark.slow
def test_a_command_that_needs_longer_gets_it_by_the_hint(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="did not end within 1 s") as raised:
        root(tmp_path, f"{WRITES}\ntimeout_s = 1")
    assert "if it needs longer, give it more with timeout_s under [[prepare]]" in str(raised.value)
    assert "/srv/made" in root(tmp_path, f"{WRITES}\ntimeout_s = 300")


@pytest.mark.vm
@pytest.mark.slow
@pytest.mark.parametrize(("more", "reached"), [("network = true", "yes"), ("", "no")])
def test_with_a_network_it_reaches_what_the_host_does_but_its_loopback(tmp_path: Path, more: str, reached: str) -> None:
    """The host's loopback is the gateway of QEMU's network."""

    def made() -> bytes:
        with socket.create_server(("127.0.0.1", 0)) as own, socket.create_server((OUTSIDE, 0)) as other:
            ports = [each.getsockname()[1] for each in (own, other)]
            words = f'"reach", "10.0.2.2", "{ports[0]}", "5", "{OUTSIDE}", "{ports[1]}", "100"'
            return root(tmp_path, f'command = ["/app", {words}]\n{more}')["/srv/made"].content.read()

    assert in_a_network_of_its_own(made) == f"10.0.2.2 no\n{OUTSIDE} {reached}\n".encode()


DEBIAN = """
name = "app"
version = "1"
summary = "A test."
[source]
type = "debian"
release = "bookworm"
packages = ["busybox-static", "shared-mime-info"]
[application]
command = "/bin/busybox"
[ready]
exit = 0
[[prepare]]
postinst = ["shared-mime-info"]
"""


@pytest.mark.vm
@pytest.mark.slow
@pytest.mark.network
def test_a_package_s_own_script_makes_what_it_makes_and_no_bookkeeping(tmp_path: Path) -> None:
    """It is a script of a shell that is BusyBox: Debian has one, which no package says that it needs."""
    (tmp_path / "recipe.toml").write_text(DEBIAN)
    said: list[Event] = []
    made = Build(load(tmp_path), Store(tmp_path / "store"), said.append).root
    assert not [each for each in said if isinstance(each, Warned)]  # of what its postinst does
    assert made["/usr/share/mime/mime.cache"].kind is Kind.FILE
    assert not any(path.startswith(("/var/lib/dpkg", "/bin/sh")) for path in made)


DATABASE = """
name = "database"
version = "15"
summary = "A database whose first files are made when the image is built."
[source]
type = "debian"
release = "bookworm"
packages = ["postgresql-15", "busybox-static"]
[[files]]
path = "/var/lib/database"
directory = true
owner = "postgres"
mode = "0700"
[[prepare]]
command = ["/usr/lib/postgresql/15/bin/initdb", "--pgdata=/var/lib/database", "--auth=trust", "--no-locale"]
user = "postgres"
timeout_s = 900
[application]
command = "/usr/lib/postgresql/15/bin/postgres"
[ready]
exit = 0
"""


@pytest.mark.vm
@pytest.mark.slow
@pytest.mark.network
@pytest.mark.timeout(2400)
def test_a_database_has_the_same_first_files_each_time(tmp_path: Path) -> None:
    """Its number is a time and that of a process, and each row names the transaction that wrote it."""
    (tmp_path / "recipe.toml").write_text(DATABASE)
    planned = Build(load(tmp_path), Store(tmp_path / "store"), silent)
    step = next(each for each in planned.plan.steps() if each.kind is StepKind.PREPARE)
    needs = tuple(planned.result(each) for each in step.needs)
    first, second = (prepare.run(step.inputs, needs, planned.planner.context).layer.tree for _ in range(2))
    assert first["/var/lib/database/PG_VERSION"].content.read() == b"15\n"
    assert [path for path in {**first, **second} if first.get(path) != second.get(path)] == []


def test_a_package_that_no_source_brings(tmp_path: Path) -> None:
    with pytest.raises(InputError, match='no source brings a package "nginx"'):
        _ = build(tmp_path, 'postinst = ["nginx"]').planner._prepare


def test_outside_of_a_build_nobody_starts_a_machine(tmp_path: Path) -> None:
    planned = build(tmp_path, WRITES)
    step = next(each for each in planned.plan.steps() if each.kind is StepKind.PREPARE)
    with pytest.raises(SourceError, match="prepare 1: app needs a machine, and only a build starts one"):
        STEPS[step.kind].run(step.inputs, (), Context(tmp_path, planned.store, silent))


@pytest.mark.parametrize(
    ("head", "said"),
    [
        (b"", "did not end: its machine did before"),
        (b"imagebuilder.changes/1 exit 9999 bytes 1 members 1\n", "did not end"),
        (b"imagebuilder.changes/1 exit 0 bytes 1 members 1", "did not end"),
        (b"imagebuilder.changes/1 error no room\n", "was given up: no room.*memory_mib"),
        (b"imagebuilder.changes/1 error cannot write it\n", "was given up: cannot write it.*free some disk space"),
    ],
)
def test_what_the_disk_says_first(tmp_path: Path, head: bytes, said: str) -> None:
    disk = tmp_path / "disk"
    disk.write_bytes(head.ljust(HEAD_BYTES, b"\0"))
    wanted = Preparation("app", disk, "", disk, 1, disk, 1, 1, 0)
    with pytest.raises(NotPrepared) as raised:
        outcome(wanted, ())
    assert re.search(said, str(raised.value))
    disk.write_bytes(b"imagebuilder.changes/1 exit 0 bytes 512 members 1\n".ljust(HEAD_BYTES, b"\0"))
    assert outcome(wanted, ["a"]).stream_bytes == 512
