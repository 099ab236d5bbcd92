"""What is ours alone: folders of mode 0700 with files of mode 0600, whatever the umask, behind no symbolic link.

A hash proves that a content is whole, and says nothing of who wrote it: whom one trusts shows in owners and modes. So
a cache is refused that another user (but for root) owns, or may write to.
"""

import errno
import os
import pwd
import shlex
import shutil
import stat
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from imagebuilder.errors import InputError, OutputError

FOLDERS = ("blobs", "records", "choices", "locks", "scratch", "partial", "templates", "apt")
OURS = frozenset((*FOLDERS, "users", "lost+found"))
FOLDER_MODE, FILE_MODE = 0o700, 0o600
WRITABLE_BY_OTHERS = stat.S_IWGRP | stat.S_IWOTH
ELSEWHERE = "set IMAGEBUILDER_CACHE to a folder of your own"


def opener(path: str, flags: int) -> int:
    """For ``open``: a new file is closed to others, a symbolic link is an error (ELOOP), no pipe is waited for."""
    return os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, FILE_MODE)


def lock_opener(path: str, flags: int) -> int:
    """The same for a file that is only locked, and so holds nothing: a folder in its place is removed."""
    try:
        return opener(path, flags)
    except IsADirectoryError:
        shutil.rmtree(path, ignore_errors=True)  # which leaves alone what another process has put there meanwhile
        return opener(path, flags)


def write(path: Path, content: bytes) -> None:
    """Write a file that only we can read, also where one that others could read stood. Raises OSError."""
    with open(path, "wb", opener=opener) as stream:
        os.fchmod(stream.fileno(), FILE_MODE)
        stream.write(content)


def make_folder(path: Path) -> None:
    """Make a folder, and those above it that are missing, for us alone; one that is there stays as it is. Raises
    OSError, FileExistsError when something else stands there."""
    missing = [folder for folder in (path, *path.parents) if not folder.exists()]
    for folder in reversed(missing or [path]):
        folder.mkdir(mode=FOLDER_MODE, exist_ok=True)
    if path.is_symlink():
        raise FileExistsError(errno.EEXIST, "a symbolic link stands there", str(path))


def close(path: Path) -> None:
    """Close a folder of ours to others. Raises OSError."""
    if stat.S_IMODE(path.stat().st_mode) != FOLDER_MODE:
        path.chmod(FOLDER_MODE)


def remove(path: Path) -> None:
    """Remove what is damaged, also what stands in the place of a file. Raises OutputError."""
    try:
        _remove(path)
    except OSError as error:
        raise OutputError(f"the cache entry {path} cannot be removed: {error.strerror}") from error


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def check(root: Path) -> None:
    """Raises InputError when another user may have written to this folder, or to those in it, two levels deep, or when
    one of these is a symbolic link (the folder itself may be one of ours), or when it is no cache; OutputError when it
    cannot be read."""
    try:
        _check_owner(root, root.lstat(), root)
        _check_kind(root)
        _check_closed(root, root.stat(), root)
        for folder in _inside(root, root):
            if folder.name != "locks":  # thousands of files, which are opened behind no link
                for _ in _inside(folder, root):
                    pass
    except (FileNotFoundError, NotADirectoryError):
        pass  # none there yet, or something else, which is found out when it is made
    except OSError as error:
        raise OutputError(f"the cache {root} cannot be read: {error.strerror}", hint=elsewhere()) from error


def _check_kind(root: Path) -> None:
    """Raises InputError for a place that was never a cache, such as ``/dev/null`` or ``/etc``: no folder, or one with
    more of other things than of ours. Nothing of it is to be closed or removed."""
    if not stat.S_ISDIR(root.stat().st_mode):
        raise InputError(f"the cache {root} is no folder", hint=ELSEWHERE)
    names = {entry.name for entry in os.scandir(root)}
    strange = sorted(names.difference(OURS))
    if len(strange) > len(names) / 2:
        raise InputError(f"the cache {root} is a folder of other things, such as {strange[0]}", hint=ELSEWHERE)


def _inside(folder: Path, root: Path) -> Iterator[Path]:
    """The folders in it, checked."""
    for entry in sorted(os.scandir(folder), key=lambda entry: entry.name):
        with suppress(FileNotFoundError):  # removed meanwhile
            path, found = Path(entry.path), entry.stat(follow_symlinks=False)
            if stat.S_ISLNK(found.st_mode):
                raise InputError(
                    f"the cache {root} cannot be trusted: {path} is a symbolic link, which imagebuilder never makes",
                    hint=f"rm {shlex.quote(str(path))}",
                )
            if stat.S_ISDIR(found.st_mode):
                _check_closed(path, found, root)
                yield path


def _check_closed(path: Path, found: os.stat_result, root: Path) -> None:
    _check_owner(path, found, root)
    if found.st_mode & WRITABLE_BY_OTHERS:
        place = shlex.quote(str(root))
        mend = f"chmod -R go-w {place}; or rm -r {place}, where you do not trust them"
        raise InputError(
            f"the cache {root} cannot be trusted: others than you may write to {path}",
            hint=mend if found.st_uid == os.geteuid() and not _is_shared(path, found, root) else elsewhere(),
        )


def _is_shared(path: Path, found: os.stat_result, root: Path) -> bool:
    """Whether it is the whole of a place that is everybody's, as an empty ``/tmp`` of a container is."""
    return path == root and bool(found.st_mode & stat.S_ISVTX)


def _check_owner(path: Path, found: os.stat_result, root: Path) -> None:
    if foreign := whose(found):
        raise InputError(f"the cache {root} cannot be trusted: {path} belongs to {foreign}", hint=elsewhere())


def whose(found: os.stat_result) -> str | None:
    """The name of the user whose it is; None when that is us, or root, who may do everything anyway."""
    return None if found.st_uid in (os.geteuid(), 0) else _name(found.st_uid)


def elsewhere() -> str:
    """What to do when the place of the cache belongs to another user."""
    return f"run without sudo, or {ELSEWHERE}" if os.geteuid() == 0 else ELSEWHERE


def _name(uid: int) -> str:
    try:
        return f"the user {pwd.getpwuid(uid).pw_name}, not to you"
    except KeyError:
        return f"the user {uid}, not to you"
