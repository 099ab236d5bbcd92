"""The one door to other programs: a clean environment, argv lists only, nothing left running.

Not found, failed and ended by a signal are told apart, because the user does something else in each case.
"""

import os
import shlex
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from imagebuilder import paths
from imagebuilder.errors import ImagebuilderError, MachineLacks, NotExecutable, ToolFailed, ToolMissing

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
    "ld": "binutils",
    "make": "make",
    "mksquashfs": "squashfs-tools",
    "musl-gcc": "musl-tools",
    "patch": "patch",
    "qemu-system-x86_64": "qemu-system-x86",
    "setpriv": "util-linux",
    "strip": "binutils",
    "tar": "tar",
    "xz": "xz-utils",
}

# What other programs may see of our environment: where programs and caches are.
PASSED = ("PATH", "HOME", "TMPDIR")
# How to get out through a proxy: for who downloads alone, since the address may hold a password.
PROXIES = ("http_proxy", "https_proxy", "no_proxy", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY")
TAIL_LINES = 12


@dataclass(frozen=True, slots=True)
class Completed:
    """What a program that ended well had printed."""

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
) -> Completed:
    """Run a program to its end and return what it printed.

    ``env`` is added to the clean environment. ``on_line`` gets each line of its standard output as it comes (both
    outputs joined); ``stdin`` cannot be combined with it. Raises ToolMissing or ToolFailed; the program and its
    children are gone on every way out.
    """
    words = [*_leash(), str(require(str(argv[0]))), *(str(word) for word in argv[1:])]
    child = subprocess.Popen(
        words,
        cwd=cwd,
        env=environment(env),
        stdin=subprocess.PIPE if stdin is not None else subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT if on_line else subprocess.PIPE,
        start_new_session=True,
        umask=0o022,
    )
    try:
        if on_line is not None:
            stdout, stderr = _follow(child, on_line)
        else:
            stdout, stderr = child.communicate(stdin, timeout=timeout_s)
    except subprocess.TimeoutExpired as error:
        raise ToolFailed(f"{argv[0]} did not end within {timeout_s:g} s", status=-signal.SIGKILL) from error
    finally:
        _end(child)
    if child.returncode != 0:
        raise failure(argv, child.returncode, stderr)
    return Completed(stdout, stderr)


def failure(argv: Sequence[str | os.PathLike[str]], status: int, stderr: bytes) -> ToolFailed:
    """The error for a program that ended with ``status`` (negative: by that signal)."""
    tail = "\n".join(stderr.decode(errors="replace").strip().splitlines()[-TAIL_LINES:])
    how = f"was ended by {signal.Signals(-status).name}" if status < 0 else f"failed with status {status}"
    last = tail.splitlines()[-1] if tail else "it said nothing"
    return ToolFailed(f"{Path(argv[0]).name} {how}: {last}", status=status, stderr=tail)


def shell_line(argv: Sequence[str | os.PathLike[str]]) -> str:
    """The command line as one would paste it into a shell."""
    return shlex.join(str(word) for word in argv)


def _leash() -> list[str]:
    """What makes a program end with us even when we are killed; where it is missing, that program lives on."""
    setpriv = find("setpriv")
    return [str(setpriv), "--pdeathsig", "KILL"] if setpriv else []


def _follow(child: subprocess.Popen[bytes], on_line: Callable[[str], None]) -> tuple[bytes, bytes]:
    assert child.stdout is not None
    lines: list[bytes] = []
    for line in child.stdout:
        lines.append(line)
        on_line(line.decode(errors="replace").rstrip("\n"))
    child.wait()
    output = b"".join(lines)
    return output, output


def _end(child: subprocess.Popen[bytes]) -> None:
    """Nothing of the program's session survives: its children neither."""
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(child.pid, signal.SIGKILL)
    child.wait()
    for pipe in (child.stdin, child.stdout, child.stderr):
        if pipe is not None:
            pipe.close()
