"""The walk from programs to all that they need, in one tree."""

from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from imagebuilder.closure.elf import DamagedElf
from imagebuilder.closure.linker import Found, Linker, Loaded
from imagebuilder.errors import ClosureError
from imagebuilder.sources.hints import did_you_mean
from imagebuilder.tree import Kind, Node, Tree, symlink

SHEBANG_BYTES = 256  # as Linux: BINPRM_BUF_SIZE
ENV = ("/usr/bin/env", "/bin/env")
ENV_PATH = ("/bin", "/usr/bin")  # where env looks without PATH: confstr(3), _CS_PATH
SHOWN = 10


@dataclass
class Walk:
    """``kept`` grows with the reason of each path, ``links`` with links to add; what is ``dropped`` may not be kept."""

    tree: Tree
    dropped: Mapping[str, str]
    kept: dict[str, str] = field(default_factory=dict)
    links: dict[str, Node] = field(default_factory=dict)
    missing: list[str] = field(default_factory=list)
    hints: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._linker = Linker(self.tree)
        self._queue: deque[Loaded] = deque()
        self._seen: set[str] = set()

    def command(self, path: str) -> None:
        """Keep a program and all it needs. Raises ClosureError when it is not there or cannot run."""
        real = self.tree.resolve(path)
        if real is None:
            hint = did_you_mean(path, _programs(self.tree))
            raise ClosureError(f'the command "{path}" is not in the image', hint=hint)
        node = self.tree[real]
        if node.kind is not Kind.FILE or not node.mode & 0o111:
            raise ClosureError(f'the command "{path}" is no file that may be executed')
        self._program(path, real, "the command")
        self._drain()

    def whole(self, path: str) -> None:
        """Keep what stands at a path, and what it needs when it is an ELF file."""
        self._keep(path, "kept whole")
        self._elf(path, path)
        self._drain()

    def include(self, path: str, glob: str) -> None:
        """Keep what a glob matched: a link with what it leads to, an ELF file with what it needs."""
        if path in self.dropped:
            return
        real = self.tree.resolve(path)
        if real is not None and real in self.dropped:
            return
        self._keep(path, f"included by {glob}")
        if real is not None:
            self._elf(path, real)
        self._drain()

    def check(self) -> None:
        """Raise ClosureError when something is missing: all of it."""
        if self.missing:
            more = [f"and {len(self.missing) - SHOWN} more"] if len(self.missing) > SHOWN else []
            hints = "; ".join(dict.fromkeys(self.hints[:3])) or None
            raise ClosureError("\n".join([*self.missing[:SHOWN], *more]), hint=hints)

    # Programs

    def _program(self, path: str, real: str, why: str) -> None:
        """A program that is to run: an ELF file, or a script with the program that interprets it."""
        self._keep(path, why)
        if real in self._seen:
            return
        if self._elf(path, real):
            elf = self._linker.elf(real)
            if elf is not None and not elf.runs_here:
                raise ClosureError(f"{path} is built for another machine ({elf.machine}, {elf.bits} bits)")
            return
        self._seen.add(real)
        head = self.tree[real].content.read()[:SHEBANG_BYTES]
        if not head.startswith(b"#!"):
            raise ClosureError(f'{path} cannot run: it is neither an ELF file nor a script that begins with "#!"')
        words = head[2:].split(b"\n")[0].decode(errors="replace").split()
        if not words:
            raise ClosureError(f"{path} cannot run: its first line names no interpreter")
        for program in _interpreters(words, self.tree):
            self._need_program(program, path)

    def _need_program(self, program: str, path: str) -> None:
        real = self.tree.resolve(program)
        if real is None:
            raise ClosureError(f"{program} is not in the image: needed by {path}, whose first line names it")
        self._program(program, real, f"interprets {path}")

    # ELF files

    def _elf(self, path: str, real: str) -> bool:
        """Whether there is an ELF file; what it needs is then on its way."""
        try:
            elf = self._linker.elf(real)
        except DamagedElf as error:
            raise ClosureError(f"{path} is a damaged ELF file: {error}") from error
        if elf is None:
            return False
        if real not in self._seen and elf.runs_here:
            self._seen.add(real)
            self._queue.append(Loaded(real, elf))
        return True

    def _drain(self) -> None:
        while self._queue:
            self._load(self._queue.popleft())

    def _load(self, loaded: Loaded) -> None:
        if loaded.by is None and loaded.elf.interpreter is not None:
            interpreter = loaded.elf.interpreter
            self._library(interpreter, Found(interpreter) if self.tree.resolve(interpreter) else None, loaded)
        for name in loaded.elf.needed:
            try:
                self._library(name, self._linker.find(name, loaded), loaded)
            except DamagedElf as error:
                raise ClosureError(f"{name} is damaged ({error}): {_needed_by(loaded)}") from error

    def _library(self, name: str, found: Found | None, loaded: Loaded) -> None:
        real = self.tree.resolve(found.path) if found else None
        if found is None or real is None:
            self.missing.append(f"{name} is not in the image: {_needed_by(loaded)}")
            self.hints.extend(_hint(name, self.tree))
            return
        if real in self.dropped:
            self.missing.append(f"{real} is {self.dropped[real]}: {_needed_by(loaded)}")
        self._keep(found.path, f"linked by {loaded.path}")
        if found.link is not None:
            self.links[found.link] = symlink(found.path)
        elf = self._linker.elf(real)
        if real not in self._seen and elf is not None:
            self._seen.add(real)
            self._queue.append(Loaded(found.path, elf, by=loaded))

    def _keep(self, path: str, why: str) -> None:
        """Keep a path, the links that one passes on the way to it, and what it leads to."""
        real = self.tree.resolve(path)
        for link in self.tree.links_to(path):
            self.kept.setdefault(link, why)
        self.kept.setdefault(path if real is None else real, why)


def _needed_by(loaded: Loaded) -> str:
    return ", ".join(f"needed by {each.path}" for each in loaded.chain())


def _hint(name: str, tree: Tree) -> Iterator[str]:
    """Where a missing library may be found: elsewhere in the tree, or in the package that Debian would call so."""
    elsewhere = next((path for path in tree if path.endswith(f"/{name.rpartition('/')[2]}")), None)
    stem, _, number = name.partition(".so")
    if elsewhere:
        yield f"{elsewhere} is there: a link to it with [[files]] would be found"
    elif stem.startswith("lib"):
        between = "-" if stem[-1:].isdigit() else ""
        yield f"Debian usually has {name} in a package like {stem.lower()}{between}{number.lstrip('.')}"


def _interpreters(words: list[str], tree: Tree) -> Iterator[str]:
    """The programs that the first line of a script names: the interpreter, and the one that ``env`` looks for."""
    yield words[0]
    if words[0] in ENV:
        program = next((word for word in words[1:] if not word.startswith("-") and "=" not in word), None)
        if program is not None:
            names = [program] if "/" in program else [f"{folder}/{program}" for folder in ENV_PATH]
            yield next((name for name in names if tree.resolve(name)), names[0])


def _programs(tree: Tree) -> Iterator[str]:
    return (path for path, node in tree.items() if node.kind is not Kind.DIRECTORY and node.mode & 0o111)
