"""The one door to other programs: a clean environment, argv lists only, nothing left running.

Not found, failed and ended by a signal are distinguished, because the remedy differs.
"""

import os
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from imagebuilder import paths, pipes
from imagebuilder.arch import ARCHITECTURES
from imagebuilder.errors import ImagebuilderError, MachineLacks, NotExecutable, ToolFailed, ToolMissing, ToolTimedOut

# Program -> the Debian package that brings it.
PACKAGES: Mapping[str, str] = {
    "apt-get": "apt",
    "apt-cache": "apt",
    "bc": "bc",
    "bison": "bison",
    "cc": "gcc",
    "dpkg-deb": "dpkg",
    "flex": "flex",
    "gcc": "gcc",
    "go": "golang-go",
    "ld": "binutils",
    "make": "make",
    "mksquashfs": "squashfs-tools",
    "musl-gcc": "musl-tools",
    "patch": "patch",
    "rustc": "rustc",
    "setpriv": "util-linux",
    "strip": "binutils",
    "tar": "tar",
    "xz": "xz-utils",
    **{row.qemu: row.qemu_package for row in ARCHITECTURES.values()},
}

# What other programs may see of our environment: where programs and caches are.
PASSED = ("PATH", "HOME", "TMPDIR")
# How to get out through a proxy: for who downloads alone, since the address may hold a password.
PROXIES = ("http_proxy", "https_proxy", "no_proxy", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY")
SUPERVISOR = Path(__file__).with_name("supervisor.py")
SUPERVISOR_S = 10.0  # to end what it supervises
TAIL_LINES, TAIL_LINE_CHARACTERS = 12, 500  # of what it said when it fails
looked_for: set[str] = set()
"""The files that programs would have been, in this process: where one of them is another, so may be what was found."""


@dataclass(frozen=True, slots=True)
class Completed:
    """What a program that ended well had printed: all of its standard output, or where its lines were given as they
    came the last of it, and the last of its errors."""

    stdout: bytes
    stderr: bytes

    @property
    def text(self) -> str:
        """Its standard output as text."""
        return self.stdout.decode(errors="replace")


def environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """The environment that programs get: the few variables of ``PASSED``, a fixed language and time zone, ``extra``."""
    return {"PATH": os.defpath, **ours(PASSED), "LC_ALL": "C.UTF-8", "TZ": "UTC", **(extra or {})}


def ours(names: Iterable[str]) -> dict[str, str]:
    """Those of these variables that are set for us."""
    return {name: os.environ[name] for name in names if name in os.environ}


def find(tool: str) -> Path | None:
    """Where a program is; the folders for administration count too, which a user's PATH often lacks."""
    looked_for.update(str(Path(folder, tool).absolute()) for folder in _folders().split(os.pathsep))
    found = shutil.which(tool, path=_folders())
    return Path(found) if found else None


def _folders() -> str:
    return os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/local/sbin", "/usr/sbin", "/sbin"])


def _present(tool: str) -> Path | None:
    """Where the file of a program is that cannot be executed."""
    found = shutil.which(tool, mode=os.F_OK, path=_folders())
    return Path(found) if found and not os.access(found, os.X_OK) else None


def _not_executable(path: Path) -> ImagebuilderError:
    """Why a file that is there cannot be executed; it is not missing."""
    if os.statvfs(path).f_flag & os.ST_NOEXEC:
        hint = "set IMAGEBUILDER_CACHE to a folder in which programs may run"
        why = "its file system is mounted noexec"
        return MachineLacks(
            f"{path} cannot be executed: {why}", hint=hint if paths.cache_dir() in path.parents else None
        )
    return NotExecutable(f"{path} cannot be executed: its mode forbids it", hint=f"chmod +x {shlex.quote(str(path))}")


def require(tool: str) -> Path:
    """Where a program is, or ``ToolMissing`` with the command that installs it. Raises MachineLacks or NotExecutable
    for one that is there and cannot be executed."""
    found = find(tool)
    if found is None and (present := _present(tool)) is not None:
        raise _not_executable(present)
    if found is None:
        package = PACKAGES.get(tool)
        hint = f"sudo apt-get install {package}" if package else None
        raise ToolMissing(f"{tool} is needed and not installed: install it and try again", hint=hint)
    return found


def run(
    argv: Sequence[str | os.PathLike[str]],
    *,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    stdin: bytes | None = None,
    timeout_s: float | None = None,
    on_line: Callable[[str], None] | None = None,
    supervised: bool = False,
    pass_fds: Sequence[int] = (),
) -> Completed:
    """Run a program to its end and return what it printed.

    ``env`` is added to the clean environment. ``on_line`` gets each line of its standard output as it comes (both
    outputs joined), a very long one in pieces; what it raises ends the program. It inherits ``pass_fds``. Raises
    ToolMissing, ToolTimedOut or ToolFailed, also for a program that prints without end (``pipes.MOST_…``). On every way
    out the program and its session are gone, with ``supervised`` all that it started, daemons too.
    """
    words = [*_leash(), str(require(str(argv[0]))), *(str(word) for word in argv[1:])]
    words = [sys.executable, "-IS", str(SUPERVISOR), str(os.getpid()), *words] if supervised else words
    printed = pipes.Output(on_line=on_line) if on_line else pipes.Output(pipes.MOST_BYTES)
    said = printed if on_line else pipes.Output()
    child = subprocess.Popen(
        words,
        cwd=cwd,
        env=environment(env),
        stdin=subprocess.PIPE if stdin is not None else subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT if on_line else subprocess.PIPE,
        start_new_session=True,
        umask=0o022,
        pass_fds=pass_fds,
    )
    outputs = {pipe: each for pipe, each in ((child.stdout, printed), (child.stderr, said)) if pipe is not None}
    how, error_kind = None, ToolFailed
    try:
        pipes.exchange(child.pid, outputs, stdin=child.stdin, given=stdin or b"", timeout_s=timeout_s)
        child.wait()
        printed.end()
    except pipes.TooMuch as error:
        how = f"printed more than {error} and was ended"
    except TimeoutError:
        how, error_kind = f"did not end within {timeout_s} s", ToolTimedOut
    finally:
        _end(child, supervised=supervised)
    if how or child.returncode != 0:
        failed = failure(argv, child.returncode, bytes(said.kept), how=how, kind=error_kind)
        failed.stdout = "" if printed is said else bytes(printed.kept[-pipes.END_BYTES :]).decode(errors="replace")
        raise failed
    return Completed(bytes(printed.kept), bytes(said.kept))


def failure(
    argv: Sequence[str | os.PathLike[str]],
    status: int,
    stderr: bytes,
    *,
    how: str | None = None,
    kind: type[ToolFailed] = ToolFailed,
) -> ToolFailed:
    """The error for a program that ended with ``status`` (negative: by that signal), or as ``how`` says."""
    lines = stderr[-pipes.END_BYTES :].decode(errors="replace").strip().splitlines()[-TAIL_LINES:]
    tail = [line if len(line) <= TAIL_LINE_CHARACTERS else f"{line[:TAIL_LINE_CHARACTERS]}…" for line in lines]
    how = how or (f"was ended by {_name(-status)}" if status < 0 else f"failed with status {status}")
    last = tail[-1] if tail else "it said nothing"
    return kind(f"{Path(argv[0]).name} {how}: {last}", status=status, stderr="\n".join(tail), how=how)


def _name(number: int) -> str:
    """Of a signal; those for real time have none."""
    return signal.Signals(number).name if number in {*signal.Signals} else f"signal {number}"


def shell_line(argv: Sequence[str | os.PathLike[str]]) -> str:
    """The command line as one would paste it into a shell."""
    return shlex.join(str(word) for word in argv)


def _leash() -> list[str]:
    """What makes a program end with us even when we are killed; where it is missing, that program lives on."""
    setpriv = find("setpriv")
    return [str(setpriv), "--pdeathsig", "KILL"] if setpriv else []


def _end(child: subprocess.Popen[bytes], *, supervised: bool) -> None:
    """Nothing of the program's session survives: its children neither, and of a supervised one all that it started."""
    try:
        if supervised and child.poll() is None:
            child.terminate()
            with suppress(subprocess.TimeoutExpired):
                child.wait(SUPERVISOR_S)
    finally:
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(child.pid, signal.SIGKILL)
        child.wait()
        for pipe in (child.stdin, child.stdout, child.stderr):
            if pipe is not None:
                pipe.close()
