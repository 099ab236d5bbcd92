"""What a build that changed nothing printed, to be printed again: to import what a build needs takes longer than to see
that nothing is another.

A build whose words, folder, environment and program are the same as before gives the same when everything that it read
or looked for is as it was. What it opened an audit hook notes (https://docs.python.org/3/library/audit_events.html);
of the folders of recipes, kernels and our code each entry counts, whether it was opened or not. A file is as it was by
its size, times, mode and inode, if it was settled before the build began. What the build wrote is checked by content,
as a build does it, and so are its records in the cache. In doubt there is no answer, and the build finds out itself.
"""

import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from imagebuilder.errors import ImagebuilderError, OutputError
from imagebuilder.paths import PACKAGE, cache_dir, search
from imagebuilder.store import Store, key_of, sha256_file

SETTLED_NS = 2 * 10**9  # file systems' times are that coarse at most (FAT)
MOST_ENTRIES = 20_000
PASSING = ("_", "OLDPWD", "PWD", "SHLVL", "PYTEST_CURRENT_TEST")  # variables of which nothing depends
NO_FILES = ("/dev/", "/proc/", "/sys/")
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT
State = list[int] | None


class _Unsettled(Exception):
    """Something was changed too lately, or there is too much, to know it again."""


@dataclass
class Watched:
    """What the build that goes on has opened to read, since ``began_ns`` (Unix time)."""

    words: Sequence[str]
    began_ns: int = field(default_factory=time.time_ns)
    opened: set[str] = field(default_factory=set)

    def note(self, event: str, args: tuple[Any, ...]) -> None:
        """The audit hook."""
        reads = event in ("os.listdir", "os.scandir") or (event == "open" and not (args[2] or 0) & WRITING)
        if reads and isinstance(args[0], str | bytes | os.PathLike):
            self.opened.add(str(Path(os.fsdecode(args[0])).absolute()))

    def state(self, path: str, read: Callable[[str], os.stat_result] = os.stat) -> State:
        """What is there now. Raises _Unsettled when it was not there before the build began."""
        state = _state(path, read)
        if state and max(state[2:4]) > self.began_ns - SETTLED_NS:
            raise _Unsettled
        return state


def watch(words: Sequence[str]) -> Watched:
    """Note from here on what is opened."""
    watched = Watched(words)
    sys.addaudithook(watched.note)
    return watched


def answer(words: Sequence[str]) -> str | None:
    """What the command of these words printed when it changed nothing, where it would print that again."""
    try:
        store = Store(cache_dir())
        known = store.record(_key(words))
        same = known is not None and _as_it_was(known, store)
    except (ImagebuilderError, OSError, _Unsettled):
        return None  # the build says what it is
    return str(known["text"]) if known and same else None


@dataclass(frozen=True)
class Used:
    """What a build that changes nothing uses: ``folders`` of recipes and kernels, files that may be there and need not
    (``looked_for``), the ``outputs``, and of the cache the keys of ``results`` and the digests of ``contents``."""

    folders: Iterable[Path]
    looked_for: Iterable[str]
    outputs: Iterable[Path]
    results: Iterable[str]
    contents: Iterable[str]


def remember(watched: Watched, store: Store, used: Used, text: str) -> None:
    """Keep ``text`` as the answer to the same words, where it can be known later that nothing is another."""
    roots = sorted({str(each.absolute()) for each in (*used.folders, *search("kernels"), PACKAGE)})
    outputs = {str(each.absolute()): sha256_file(each) for each in used.outputs}
    apart = (*(f"{each}/" for each in (*roots, store.root, sys.prefix, sys.base_prefix)), *NO_FILES)
    opened = [each for each in watched.opened if not f"{each}/".startswith(apart) and each not in outputs]
    libraries = [each for each in sys.path if each.startswith((sys.prefix, sys.base_prefix))]
    try:
        files = {each: watched.state(each) for each in sorted({*opened, *libraries, *used.looked_for})}
        trees = {each: _tree(each, watched.state) for each in roots}
    except (_Unsettled, OSError):
        return
    known = {"text": text, "files": files, "trees": trees, "outputs": outputs}
    with suppress(OutputError):
        store.keep(_key(watched.words), {**known, "results": [*used.results], "contents": [*used.contents]})


def _key(words: Sequence[str]) -> str:
    variables = {name: value for name, value in os.environ.items() if name not in PASSING}
    program = (sys.version, sys.executable, sys.prefix, str(PACKAGE), os.geteuid())
    return key_of(["unchanged", [*words], str(Path.cwd()), variables, program])


def _as_it_was(known: Mapping[str, Any], store: Store) -> bool:
    return (
        all(_state(path) == state for path, state in known["files"].items())
        and all(_tree(path) == digest for path, digest in known["trees"].items())
        and all(sha256_file(Path(path)) == digest for path, digest in known["outputs"].items())
        and all(map(store.intact, known["results"]))
        and all(map(store.has, known["contents"]))
    )


def _state(path: str, read: Callable[[str], os.stat_result] = os.stat) -> State:
    try:
        found = read(path)
    except (OSError, ValueError):
        return None
    return [found.st_mode, found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_dev, found.st_ino]


def _tree(folder: str, state: Callable[..., State] = _state) -> str:
    """The hash of all that is in a folder, by names and states; a link's with that of where it leads to."""
    return key_of(sorted(_entries(folder, state, [MOST_ENTRIES])))


def _entries(folder: str, state: Callable[..., State], left: list[int]) -> Iterator[list[Any]]:
    """Raises _Unsettled where there are too many, OSError for a folder that cannot be read."""
    if not Path(folder).is_dir():
        return
    with os.scandir(folder) as entries:
        for entry in entries:
            left[0] -= 1
            if left[0] < 0:
                raise _Unsettled
            if entry.is_dir(follow_symlinks=False):
                yield [entry.path, [entry.stat(follow_symlinks=False).st_mode]]
                yield from _entries(entry.path, state, left)
            else:
                yield [entry.path, state(entry.path, os.lstat), state(entry.path) if entry.is_symlink() else None]
