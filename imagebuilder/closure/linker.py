"""Where the dynamic linker looks for a library, in a tree. Source: ld.so(8), and ``ld.so --list-diagnostics``.

There is no ``/etc/ld.so.cache`` in an image: its folders besides the linker's own (``/etc/ld.so.conf``) are looked
through last, and what is found there needs a link in a folder of the linker's own (``Found.link``).
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath

from imagebuilder.closure import globs
from imagebuilder.closure.elf import Elf, is_elf, parse
from imagebuilder.tree import Kind, Tree

# The dynamic linker's file name -> the folders that it looks through by itself, in its order.
GLIBC = ("/lib/x86_64-linux-gnu", "/usr/lib/x86_64-linux-gnu", "/lib", "/usr/lib")
SYSTEM_FOLDERS: Mapping[str, tuple[str, ...]] = {
    "ld-linux-x86-64.so.2": GLIBC,
    "ld-musl-x86_64.so.1": ("/lib/x86_64-linux-musl", "/lib", "/usr/local/lib", "/usr/lib"),
}
SUBSTITUTES: Mapping[str, str] = {"LIB": "lib/x86_64-linux-gnu", "PLATFORM": "x86_64"}


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
    """The search for libraries in one tree; each file is read once."""

    tree: Tree
    _elves: dict[str, Elf | None] = field(default_factory=dict)

    def elf(self, path: str) -> Elf | None:
        """What the ELF file at a path (all links resolved) says; None for what is none. Raises DamagedElf."""
        if path not in self._elves:
            node = self.tree[path]
            data = node.content.read() if node.kind is Kind.FILE else b""
            self._elves[path] = parse(data) if is_elf(data) else None
        return self._elves[path]

    def find(self, name: str, loaded: Loaded) -> Found | None:
        """The file that the linker takes for a name in DT_NEEDED."""
        if "/" in name:
            path = _expanded(name, loaded)
            return Found(path) if self._fits(path, loaded.elf) else None
        system = self._system_folders(loaded)
        for folder in (*_own_folders(loaded), *system):
            if self._fits(f"{folder}/{name}", loaded.elf):
                return Found(f"{folder}/{name}")
        for folder in self._configured():
            if self._fits(f"{folder}/{name}", loaded.elf):
                return Found(f"{folder}/{name}", link=f"{self._writable(system)}/{name}")
        return None

    def _fits(self, path: str, by: Elf) -> bool:
        """Whether a library is there that is for the same machine; the linker passes others by."""
        real = self.tree.resolve(path)
        if real is None or self.tree[real].kind is not Kind.FILE:
            return False
        elf = self.elf(real)
        return elf is not None and (elf.machine, elf.bits) == (by.machine, by.bits)

    def _system_folders(self, loaded: Loaded) -> tuple[str, ...]:
        interpreter = [each.elf.interpreter for each in loaded.chain()][-1]
        return SYSTEM_FOLDERS.get(PurePosixPath(interpreter or "").name, GLIBC)

    def _writable(self, system: Sequence[str]) -> str:
        """The system folder that is there, with its links resolved."""
        return next((real for folder in system if (real := self.tree.resolve(folder))), "/usr/lib")

    def _configured(self) -> list[str]:
        """The folders of /etc/ld.so.conf and the files that it includes (ldconfig(8))."""
        files = ["/etc/ld.so.conf", *(path for path in self.tree if globs.matches(path, ["/etc/ld.so.conf.d/*.conf"]))]
        texts = [self.tree[path].content.read().decode(errors="replace") for path in files if path in self.tree]
        lines = (line.partition("#")[0].strip() for text in texts for line in text.splitlines())
        return [line.rstrip("/") for line in lines if line.startswith("/")]


def _own_folders(loaded: Loaded) -> list[str]:
    """DT_RPATH of the file and of those that led to it, unless it has DT_RUNPATH, which counts for itself only."""
    if loaded.elf.runpath:
        return [_expanded(folder, loaded) for folder in loaded.elf.runpath]
    above = [each for each in loaded.chain() if not each.elf.runpath]
    return [_expanded(folder, each) for each in above for folder in each.elf.rpath]


def _expanded(folder: str, loaded: Loaded) -> str:
    """A path with $ORIGIN, $LIB and $PLATFORM put in."""
    for name, value in {"ORIGIN": loaded.path.rpartition("/")[0], **SUBSTITUTES}.items():
        folder = folder.replace(f"${{{name}}}", value).replace(f"${name}", value)
    return folder.rstrip("/")
