"""What the application was refused inside its guest, by its own words, and the key of the recipe that lets it."""

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import PurePosixPath

from imagebuilder.recipe.values import Capability
from imagebuilder.words import to_add

CLOSED = re.compile(r"permission denied|\bEACCES\b|\berrno 13\b|\(13: ", re.IGNORECASE)
NOT_PERMITTED = re.compile(r"operation not permitted|\bEPERM\b|\berrno 1\b|\(1: ", re.IGNORECASE)
READ_ONLY = re.compile(r"read-only file ?system|\bEROFS\b|\berrno 30\b|\(30: ", re.IGNORECASE)
PATH = re.compile(r"(?<![\w./])/[\w.+@%~-]+(?:/[\w.+@%~-]+)*")
AS_ROOT = (
    'set user = "root" under [application] (for files of other users also '
    f"{to_add(['dac_override'], 'capabilities', 'application')})"
)
NO_MOUNT = ("/", "/dev", "/proc", "/sys")  # a mount there would hide what was there before

# What stands in the line that reports a refused call, and what the kernel asks for (capabilities(7)).
CALLS: Mapping[re.Pattern[str], tuple[Capability, ...]] = {
    re.compile(words, re.IGNORECASE): granted
    for words, granted in {
        r"set(e|re|res|fs)?[ug]id|(set|init)groups|privileges|(change|switch\w*|set) (to )?(user|group|uid|gid)": (
            Capability.SETUID,
            Capability.SETGID,
        ),
        r"chown": (Capability.CHOWN,),
        r"chmod|utime": (Capability.FOWNER,),
        r"\braw\b|SOCK_RAW|AF_PACKET|packet socket|\bicmp\b": (Capability.NET_RAW,),
        r"iptables|nftables|netlink|\btun\b|SIOC\w+|route": (Capability.NET_ADMIN,),
        r"mlock|lock\w* memory": (Capability.IPC_LOCK,),
        r"priority|sched_set|\bnice\b|affinity": (Capability.SYS_NICE,),
        r"rlimit": (Capability.SYS_RESOURCE,),
        r"chroot": (Capability.SYS_CHROOT,),
        r"\bu?mount|unshare|pivot_root|namespace|sethostname": (Capability.SYS_ADMIN,),
        r"settime|adjtime|set.{0,20} clock": (Capability.SYS_TIME,),
        r"mknod": (Capability.MKNOD,),
        r"ptrace|process_vm": (Capability.SYS_PTRACE,),
        r"reboot": (Capability.SYS_BOOT,),
        r"\bkill\b": (Capability.KILL,),
    }.items()
}


def refused(lines: Sequence[str]) -> Iterator[str]:
    """What to write into the recipe for the last refusal of each kind in the lines."""
    if line := _last(READ_ONLY, lines):
        yield _read_only(_path(line))
    # A call that is no matter of a file may be refused by either number.
    forbidden = [line for line in lines if NOT_PERMITTED.search(line) or (CLOSED.search(line) and _is_call(line))]
    if line := _last(CLOSED, [each for each in lines if each not in forbidden]):
        yield _closed(_path(line))
    if forbidden:
        yield _forbidden(forbidden)


def _last(pattern: re.Pattern[str], lines: Sequence[str]) -> str | None:
    return next(filter(pattern.search, reversed(lines)), None)


def _is_call(line: str) -> bool:
    return _path(line) is None and any(call.search(line) for call in CALLS)


def _path(line: str) -> PurePosixPath | None:
    found = PATH.search(line)
    return PurePosixPath(found[0]) if found else None


def _mount(path: PurePosixPath | None) -> str | None:
    """A folder in memory that everybody may write to."""
    folder = str(path.parent) if path else "/"
    return None if folder in NO_MOUNT else to_add([f"tmpfs {folder} mode=1777"], "mounts", "root")


def _read_only(path: PurePosixPath | None) -> str:
    mount = _mount(path)
    return f"the root cannot be written: {mount or 'add a tmpfs to mounts under [root]'}, a folder in memory"


def _closed(path: PurePosixPath | None) -> str:
    ways = ", or ".join(way for way in (_mount(path), AS_ROOT) if way)
    return f"the application (nonroot where the recipe names no user) may not: {ways}"


def _forbidden(lines: Sequence[str]) -> str:
    wanted = {each for line in lines for call, granted in CALLS.items() if call.search(line) for each in granted}
    names = [each.value for each in Capability if each in wanted]
    said = "root too has only the capabilities that the recipe grants"
    unknown = "add its name in capabilities(7) to capabilities under [application]"
    return f"{said}: {to_add(names, 'capabilities', 'application') if names else unknown}"
