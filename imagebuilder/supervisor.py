"""Runs a program and ends with it whatever it started, daemons too: ``python -IS supervisor.py PARENT COMMAND…``.

A process of its own, since only who starts the program can have its orphans as children of its own
(PR_SET_CHILD_SUBREAPER, prctl(2)), and ours would be those of all threads together. It ends as the program does. On
SIGTERM, and when PARENT (the number of the process that started it) is gone, it ends everything at once. A program that
kills its supervisor by SIGKILL escapes it: this tidies up, it does not lock in.
"""

import ctypes
import os
import resource
import signal
import sys
import time
from contextlib import suppress
from pathlib import Path

PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER = 1, 36  # linux/prctl.h
ASKED = {signal.SIGTERM, signal.SIGCHLD}
PAUSE_S, PATIENCE_S = 0.001, 5.0


def main(parent: int, command: list[str]) -> int:
    """Run the command; returns its status, negative for a signal."""
    libc = ctypes.CDLL(None)
    libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    signal.pthread_sigmask(signal.SIG_BLOCK, ASKED)
    libc.prctl(PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
    if os.getppid() != parent:
        return -signal.SIGTERM
    ignored = (signal.SIGPIPE, signal.SIGXFSZ)  # by Python
    child = os.posix_spawn(command[0], command, os.environ, setsid=True, setsigmask=(), setsigdef=ignored)
    status = None
    while status is None and signal.sigwait(ASKED) != signal.SIGTERM:
        status = reap(child)
    end_all()
    return -signal.SIGTERM if status is None else status


def reap(child: int) -> int | None:
    """Collect who ended; returns the status of this child when it was among them."""
    status = None
    with suppress(ChildProcessError):
        while (ended := os.waitpid(-1, os.WNOHANG))[0]:
            status = os.waitstatus_to_exitcode(ended[1]) if ended[0] == child else status
    return status


def end_all() -> None:
    """Kill our children until there are none: theirs become ours meanwhile. One of another user may stay."""
    until_s = time.monotonic() + PATIENCE_S
    with suppress(ChildProcessError):
        while time.monotonic() < until_s:
            os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)  # whether there is one
            for pid in children():
                with suppress(OSError):
                    os.kill(pid, signal.SIGKILL)
            reap(0)
            time.sleep(PAUSE_S)


def children() -> list[int]:
    """Our children; there may be more of them already."""
    try:
        return [int(word) for word in Path("/proc/thread-self/children").read_text().split()]
    except FileNotFoundError:  # a kernel without CONFIG_PROC_CHILDREN
        return [int(path.name) for path in Path("/proc").iterdir() if path.name.isdigit() and is_child(path)]


def is_child(process: Path) -> bool:
    """Whether it is one of ours (proc_pid_stat(5): the second word behind the name is its parent)."""
    with suppress(OSError):
        return int((process / "stat").read_text().rpartition(")")[2].split()[1]) == os.getpid()
    return False


def end_as(status: int) -> None:
    """End as the program ended."""
    if status >= 0:
        sys.exit(status)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with suppress(OSError, ValueError):  # SIGKILL has no handler
        signal.signal(-status, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, [-status])
    os.kill(os.getpid(), -status)


if __name__ == "__main__":
    try:
        end_as(main(int(sys.argv[1]), sys.argv[2:]))
    except OSError as error:
        sys.exit(f"{sys.argv[2]}: {error.strerror}")
