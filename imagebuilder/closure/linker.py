"""Where the dynamic linker looks for a library, in a tree. Source: ld.so(8), and ``ld.so --list-diagnostics``.

There is no ``/etc/ld.so.cache`` in an image: its folders besides the linker's own (``/etc/ld.so.conf``) are looked
through last, and what is found there needs a link in a folder of the linker's own (``Found.link``).
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import PurePosixPath

from imagebuilder.arch import TARGET
from imagebuilder.closure import globs
from imagebuilder.closure.elf import DamagedElf, Elf, is_elf, parse
from imagebuilder.tree import Kind, Tree

SUBSTITUTES: Mapping[str, str] = {"LIB": TARGET.library_folder, "PLATFORM": TARGET.name}
TOKEN = re.compile(r"\$(?:\{(?P<braced>ORIGIN|LIB|PLATFORM)\}|(?P<bare>ORIGIN|LIB|PLATFORM)(?!\w))")
CONF, CONF_PARTS = "/etc/ld.so.conf", "/etc/ld.so.conf.d/*.conf"


@dataclass(frozen=True, slots=True)
class Loaded:
    """An ELF file that was loaded, and by which (none for a program or plug-in)."""

    path: str
    elf: Elf
    by: "Loaded | None" = None

    def chain(self) -> Iterator["Loaded"]:
        """This one and those that led to it, up to the first."""
        here: Loaded | None = self
        while here is not None:
            yield here
            here = here.by


@dataclass(frozen=True, slots=True)
class Found:
    """Where a library is; ``link`` is where a link to it must be, when the linker would not find it otherwise."""

    path: str
    link: str | None = None


@dataclass
class Linker:
    """The search for libraries in one tree, and in the folders of LD_LIBRARY_PATH; each file is read once."""

    tree: Tree
    library_path: Sequence[str] = ()
    _elves: dict[str, Elf | None] = field(default_factory=dict)

    def elf(self, path: str) -> Elf | None:
        """What the ELF file at a path (all links resolved) says; None for what is none. Raises DamagedElf."""
        if path not in self._elves:
            node = self.tree[path]
            data = node.content.read() if node.kind is Kind.FILE else b""
            self._elves[path] = parse(data) if is_elf(data) else None
        return self._elves[path]

    def find(self, name: str, loaded: Loaded) -> Found | None:
        """The file that the linker takes for a name in DT_NEEDED. Raises DamagedElf."""
        if "/" in name:
            path = _expanded(name, loaded)
            return Found(path) if self._fits(path, loaded.elf) else None
        rpath, runpath = _own_folders(loaded)
        by_path = [_expanded(folder, [*loaded.chain()][-1]) for folder in self.library_path]
        for folder in (*rpath, *by_path, *runpath, *self._system_folders(loaded)):
            if self._fits(f"{folder}/{name}", loaded.elf):
                return Found(f"{folder}/{name}")
        for folder in self._configured:
            if self._fits(f"{folder}/{name}", loaded.elf):
                return Found(f"{folder}/{name}", link=self.place(name, loaded))
        return None

    def place(self, name: str, loaded: Loaded) -> str:
        """Where a library of this name would be found: in the first of the linker's own folders that is there."""
        if "/" in name:
            return _expanded(name, loaded)
        real = (self.tree.resolve(folder) for folder in self._system_folders(loaded))
        return f"{next(filter(None, real), '/usr/lib')}/{name}"

    def fits(self, path: str, by: Elf) -> bool:
        """Whether an undamaged library is there that is for the same machine."""
        try:
            return self._fits(path, by)
        except DamagedElf:
            return False

    def _fits(self, path: str, by: Elf) -> bool:
        """Whether a library is there that is for the same machine; the linker passes others by."""
        real = self.tree.resolve(path)
        if real is None or self.tree[real].kind is not Kind.FILE:
            return False
        elf = self.elf(real)
        return elf is not None and (elf.machine, elf.bits) == (by.machine, by.bits)

    def _system_folders(self, loaded: Loaded) -> tuple[str, ...]:
        interpreter = [each.elf.interpreter for each in loaded.chain()][-1]
        return TARGET.linkers.get(PurePosixPath(interpreter or "").name, TARGET.glibc_folders)

    @cached_property
    def _configured(self) -> list[str]:
        """The folders of /etc/ld.so.conf and the files that it includes; without one, of those that it would."""
        return list(dict.fromkeys(self._folders_of(CONF) if self.tree.resolve(CONF) else self._included(CONF_PARTS)))

    def _folders_of(self, path: str, above: tuple[str, ...] = ()) -> Iterator[str]:
        """The folders that a file of ldconfig(8) names, with those of the files that it includes."""
        real = self.tree.resolve(path)
        if real is None or real in above or self.tree[real].kind is not Kind.FILE:
            return
        for line in self.tree[real].content.read().decode(errors="replace").splitlines():
            words = line.partition("#")[0].split()
            if words[:1] == ["include"]:
                for pattern in words[1:]:
                    whole = pattern if pattern.startswith("/") else f"{real.rpartition('/')[0]}/{pattern}"
                    yield from self._included(whole, (*above, real))
            elif words and words[0].startswith("/"):
                yield words[0].rstrip("/")

    def _included(self, pattern: str, above: tuple[str, ...] = ()) -> Iterator[str]:
        for path in self.tree:
            if globs.matches(path, [pattern]):
                yield from self._folders_of(path, above)


def _own_folders(loaded: Loaded) -> tuple[list[str], list[str]]:
    """DT_RPATH of the file and of those that led to it, unless it has DT_RUNPATH, which counts for itself only."""
    if loaded.elf.runpath:
        return [], [_expanded(folder, loaded) for folder in loaded.elf.runpath]
    above = [each for each in loaded.chain() if not each.elf.runpath]
    return [_expanded(folder, each) for each in above for folder in each.elf.rpath], []


def _expanded(folder: str, loaded: Loaded) -> str:
    """A path with $ORIGIN, $LIB and $PLATFORM put in."""
    values = {"ORIGIN": loaded.path.rpartition("/")[0], **SUBSTITUTES}
    return TOKEN.sub(lambda token: values[token["braced"] or token["bare"]], folder).rstrip("/")
