"""Nothing that a supervised program starts outlives it, however it is left and however it ends."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from imagebuilder import supervisor
from imagebuilder.errors import ToolFailed
from imagebuilder.process import run

pytestmark = pytest.mark.tools

# A daemon as they are written: two forks, a session of its own, no file left open; it writes its number to "pid".
DAEMON = """
import os, sys, time
if os.fork(): sys.exit(int(sys.argv[1]))
os.setsid()
if os.fork(): os._exit(0)
for fd in range(3): os.close(fd)
with open("pid.new", "w") as file: file.write(str(os.getpid()))
os.rename("pid.new", "pid")
time.sleep(100)
"""
# One that holds our pipes, and one that is another process each moment.
HOLDER = "setsid sh -c 'echo $$ > pid; echo begun; exec sleep 100' &"
COMET = """
import os
with open("pid", "w") as file: file.write(str(os.getpid()))
os.setsid()
while True:
    if os.fork(): os._exit(0)
"""
UNTIL_THERE = "while ! [ -s pid ]; do sleep 0.01; done"


def shell(daemon: str, status: int) -> list[str]:
    return ["sh", "-c", f"{HOLDER if daemon == 'holder' else 'python3 daemon.py 0 &'} {UNTIL_THERE}; exit {status}"]


def gone(folder: Path) -> bool:
    """Whether the daemon that was there is gone, and all else whose folder this is."""
    assert (folder / "pid").read_text().strip()
    return not [process for process in Path("/proc").iterdir() if process.name.isdigit() and works_in(process, folder)]


def works_in(process: Path, folder: Path) -> bool:
    try:
        return (process / "cwd").readlink() == folder
    except OSError:
        return False


@pytest.fixture(params=["daemon", "holder", "comet"])
def daemon(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    (tmp_path / "daemon.py").write_text(COMET if request.param == "comet" else DAEMON)
    return str(request.param)


@pytest.mark.parametrize("status", [0, 3])
def test_at_the_end(daemon: str, status: int, tmp_path: Path) -> None:
    begin_s = time.monotonic()
    try:
        run(shell(daemon, status), cwd=tmp_path, supervised=True, on_line=lambda _line: None)
    except ToolFailed as error:
        assert error.status == status != 0
    assert gone(tmp_path) and time.monotonic() - begin_s < 60  # of 100 that it would sleep


def test_at_a_timeout(daemon: str, tmp_path: Path) -> None:
    words = shell(daemon, 0)
    with pytest.raises(ToolFailed, match="did not end within 5 s"):
        run([*words[:-1], f"{words[-1].rpartition(';')[0]}; sleep 100"], cwd=tmp_path, supervised=True, timeout_s=5)
    assert gone(tmp_path)


RUNNER = """
import sys
from pathlib import Path
from imagebuilder.process import run
run(["sh", "-c", sys.argv[1]], cwd=Path(sys.argv[2]), supervised=True)
"""


@pytest.mark.parametrize("by", [signal.SIGINT, signal.SIGKILL])
def test_when_we_are_ended(daemon: str, by: int, tmp_path: Path) -> None:
    script = f"{shell(daemon, 0)[-1].rpartition(';')[0]}; touch there; sleep 100"
    argv = [sys.executable, "-c", RUNNER, script, str(tmp_path)]
    with subprocess.Popen(argv, stderr=subprocess.DEVNULL) as runner:
        for _ in range(2400):
            if (tmp_path / "there").exists():
                break
            time.sleep(0.05)
        runner.send_signal(by)
    for _ in range(2400):
        if gone(tmp_path):
            return
        time.sleep(0.05)
    raise AssertionError("something lives on")


@pytest.mark.parametrize("how", ["exit 3", "kill -TERM $$", "kill -KILL $$", "kill -SEGV $$", "kill -KILL 0"])
def test_it_ends_as_the_program_does(how: str) -> None:
    with pytest.raises(ToolFailed) as alone:
        run(["sh", "-c", f"echo said >&2; {how}"])
    with pytest.raises(ToolFailed) as caught:
        run(["sh", "-c", f"echo said >&2; {how}"], supervised=True)
    assert (caught.value.status, caught.value.message) == (alone.value.status, alone.value.message)


def test_the_program_finds_everything_as_without() -> None:
    # glibc's posix_spawn may leave two signals of its own ignored (32 and 33), which every libc sets again.
    signals = "grep SigBlk /proc/self/status; grep SigIgn /proc/self/status | sed -E 's/[01][08](.{7})$/00\\1/'"
    script = f"{signals}; pwd; umask; readlink /proc/self/fd/0; ulimit -a; env"
    alone, supervised = (run(["sh", "-c", script], supervised=each, env={"A": "1"}).text for each in (False, True))
    assert supervised == alone


def test_children_without_the_kernels_list(monkeypatch: pytest.MonkeyPatch) -> None:
    with subprocess.Popen(["sleep", "100"]) as child:
        assert child.pid in supervisor.children()
        assert supervisor.is_child(Path(f"/proc/{child.pid}")) and not supervisor.is_child(Path("/proc/1"))
        assert os.getpid() not in supervisor.children()
        child.kill()
