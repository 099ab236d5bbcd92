"""The walk from programs to all that they need, in one tree."""

from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from imagebuilder.closure import globs, scripts
from imagebuilder.closure.elf import DamagedElf
from imagebuilder.closure.linker import Found, Linker, Loaded
from imagebuilder.errors import ClosureError
from imagebuilder.sources.hints import nearest_path
from imagebuilder.tree import Kind, Node, Tree, symlink

SHOWN = 10
RUNNABLE = 'with mode = "0755" it is, under [[files]]; or with chmod +x beside the recipe'


@dataclass(frozen=True, slots=True)
class Missing:
    """A library that was not found where the linker looks, and what needs it."""

    name: str
    loaded: Loaded

    def __str__(self) -> str:
        return f"{self.name} is not in the image: {_needed_by(self.loaded)}"


def nobody_knows(_library: str) -> str | None:
    """Where no source knows packages."""
    return None


@dataclass
class Walk:
    """``kept`` grows with the reason of each path, ``links`` with links to add, ``idle`` with scripts that cannot run,
    by what they lack; what is ``dropped`` may not be kept. ``environment`` is the application's."""

    tree: Tree
    dropped: Mapping[str, str]
    environment: Mapping[str, str] = field(default_factory=dict)
    package_with: Callable[[str], str | None] = nobody_knows
    kept: dict[str, str] = field(default_factory=dict)
    links: dict[str, Node] = field(default_factory=dict)
    idle: dict[str, list[str]] = field(default_factory=dict)
    missing: list[Missing] = field(default_factory=list)
    tolerated: list[str] = field(default_factory=list)
    needed_yet_dropped: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._linker = Linker(self.tree, _folders(self.environment.get("LD_LIBRARY_PATH", "")))
        self._queue: deque[Loaded] = deque()
        self._seen: set[str] = set()

    def command(self, path: str) -> None:
        """Keep a program and all it needs. Raises ClosureError when it is not there or cannot run."""
        real = self.tree.resolve(path)
        if real is None:
            near = nearest_path(path, _programs(self.tree))
            hint = f'did you mean "{near}"?' if near else scripts.remedy(path)
            raise ClosureError(f'the command "{path}" is not in the image', hint=hint)
        if not scripts.is_executable(self.tree[real]):
            hint = RUNNABLE if self.tree[real].kind is Kind.FILE else None
            raise ClosureError(f'the command "{path}" is no file that may be executed', hint=hint)
        self._program(path, real, "the command")
        for name in _folders(self.environment.get("LD_PRELOAD", "").replace(" ", ":")):
            self._preload(name, real)
        self._drain()

    def calls(self, path: str, *, lenient: bool = False) -> None:
        """Keep the programs that a script of the recipe's own calls by their absolute paths, with all they need."""
        real = self.tree.resolve(path)
        if real is None or not scripts.is_executable(self.tree[real]) or not scripts.first_line(self.tree[real]):
            return
        for program in scripts.programs_named(self.tree[real], self.tree):
            if self.tree.resolve(program) not in self.dropped:
                self.whole(program, f"called by {path}", lenient=lenient)

    def whole(self, path: str, why: str, *, lenient: bool = False) -> None:
        """Keep what stands at a path with what a link leads to, and what it needs: libraries, interpreters. What of
        these is missing or damaged is only noted with ``lenient``."""
        self._keep(path, why)
        real = self.tree.resolve(path)
        before = len(self.missing)
        try:
            if real is not None and real not in self.dropped:
                self._follow(path, real, is_named=False)
            self._drain()
        except ClosureError as error:
            if not lenient:
                raise
            self.tolerated.append(error.message)
            self._drain_leniently()
        if lenient:
            self.tolerated += map(str, self.missing[before:])
            del self.missing[before:]

    def include(self, path: str, glob: str) -> None:
        """Keep what a glob matched: a link with what it leads to, with libraries and interpreters.

        Raises ClosureError for a script that the recipe names and whose interpreter is not there.
        """
        real = self.tree.resolve(path)
        if path in self.dropped or real in self.dropped:
            return
        self._keep(path, f"included by {glob}")
        if real is not None:
            self._follow(path, real, is_named=path == glob)
        self._drain()

    def need(self, path: str, why: str) -> None:
        """Keep what a program that is kept opens by itself; as an include does, unless the recipe excludes it."""
        real = self.tree.resolve(path)
        if path in self.dropped or real in self.dropped:
            return
        self._keep(path, why)
        if real is not None:
            self._follow(path, real, is_named=False)
        self._drain()

    def on_the_way(self, glob: str) -> None:
        """Keep the links in the folders that a glob names: /bin/sh is there by that name too, not only in /usr/bin."""
        for link in self.tree.links_to(globs.fixed_part(glob)):
            if link not in self.dropped:
                self.kept.setdefault(link, f"included by {glob}")

    def check(self) -> None:
        """Raise ClosureError when something is missing: all of it."""
        missing = [each for each in self.missing if not self._comes_otherwise(each)]
        sentences = [*map(str, missing), *self.needed_yet_dropped]
        if sentences:
            more = [f"and {len(sentences) - SHOWN} more"] if len(sentences) > SHOWN else []
            hints = dict.fromkeys(hint for each in missing for hint in self._hint(each))
            raise ClosureError("\n".join([*sentences[:SHOWN], *more]), hint="; ".join([*hints][:3]) or None)

    # Programs

    def _follow(self, path: str, real: str, *, is_named: bool) -> None:
        """What a file needs that is kept for another reason than to be run."""
        if self._elf(path, real) or real in self._seen or not scripts.is_executable(self.tree[real]):
            return
        words = scripts.first_line(self.tree[real])
        if not words or (scripts.is_imported(real) and not is_named):
            return
        lacking = next((each for each in self._interpreters(words) if self.tree.resolve(each) is None), None)
        if lacking is None or is_named:
            self._program(path, real, self.kept.get(real, "kept"))
        else:
            self.idle.setdefault(lacking, []).append(path)

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
        words = scripts.first_line(self.tree[real])
        if words is None:
            raise ClosureError(f'{path} cannot run: it is neither an ELF file nor a script that begins with "#!"')
        if not words:
            raise ClosureError(f"{path} cannot run: its first line names no interpreter")
        for program in self._interpreters(words):
            self._need_program(program, path)

    def _interpreters(self, words: Sequence[str]) -> list[str]:
        return list(scripts.interpreters(words, self.tree, _folders(self.environment.get("PATH", ""))))

    def _need_program(self, program: str, path: str) -> None:
        real = self.tree.resolve(program)
        if real is None:
            message = f"{scripts.shown(program)} is not in the image: needed by {path}, whose first line names it"
            raise ClosureError(message, hint=scripts.remedy(program))
        if not scripts.is_executable(self.tree[real]):
            raise ClosureError(
                f"{program} is no file that may be executed: needed by {path}, whose first line names it"
            )
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

    def _preload(self, name: str, program: str) -> None:
        """A library that the application's environment has loaded before all others (ld.so(8), LD_PRELOAD)."""
        elf = self._linker.elf(program)
        if elf is not None:
            self._find(name, Loaded(program, elf))

    def _drain(self) -> None:
        while self._queue:
            loaded = self._queue.popleft()
            interpreter = loaded.elf.interpreter if loaded.by is None else None
            for name in (*([interpreter] if interpreter else []), *loaded.elf.needed):
                self._find(name, loaded, is_interpreter=name == interpreter)

    def _drain_leniently(self) -> None:
        while self._queue:
            try:
                self._drain()
            except ClosureError as error:
                self.tolerated.append(error.message)

    def _find(self, name: str, loaded: Loaded, *, is_interpreter: bool = False) -> None:
        """A library, or the interpreter of a program, found by its path and not searched for."""
        try:
            there = Found(name) if self.tree.resolve(name) else None
            self._library(name, there if is_interpreter else self._linker.find(name, loaded), loaded)
        except DamagedElf as error:
            raise ClosureError(f"{name} is damaged ({error}): {_needed_by(loaded)}") from error

    def _library(self, name: str, found: Found | None, loaded: Loaded) -> None:
        real = self.tree.resolve(found.path) if found else None
        if found is None or real is None:
            self.missing.append(Missing(name, loaded))
            return
        if real in self.dropped:
            self.needed_yet_dropped.append(f"{real} is {self.dropped[real]}: {_needed_by(loaded)}")
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

    # What is missing

    def _comes_otherwise(self, missing: Missing) -> bool:
        """Whether a library of a plug-in is kept elsewhere: its program loads it first, and the linker then takes that
        one by its name, as Java's virtual machine for Java's libraries."""
        first = [*missing.loaded.chain()][-1]
        return not first.elf.is_program and self._elsewhere(missing, self.kept) is not None

    def _elsewhere(self, missing: Missing, paths: Mapping[str, object]) -> str | None:
        """Where a library of this name is that would do."""
        end = f"/{missing.name.rpartition('/')[2]}"
        fitting = (path for path in paths if path.endswith(end) and self._linker.fits(path, missing.loaded.elf))
        return next((path for path in fitting if self.tree.resolve(path) not in self.dropped), None)

    def _hint(self, missing: Missing) -> Iterator[str]:
        """What would bring a library: what is elsewhere in the tree, or the package that should have it."""
        elsewhere = self._elsewhere(missing, self.tree)
        plug_in = not [*missing.loaded.chain()][-1].elf.is_program
        if elsewhere and plug_in:
            yield f'"{elsewhere}" is there: under include it is kept, for a program that loads it first'
        elif elsewhere:
            link = self._linker.place(missing.name, missing.loaded)
            yield f'{elsewhere} is there: [[files]] with path = "{link}" and symlink = "{elsewhere}" has it found'
        elif package := self.package_with(missing.name):
            yield f"{missing.name} should be in {package}"


def _needed_by(loaded: Loaded) -> str:
    return ", ".join(f"needed by {each.path}" for each in loaded.chain())


def _folders(words: str) -> tuple[str, ...]:
    return tuple(word for word in words.split(":") if word)


def _programs(tree: Tree) -> Iterator[str]:
    return (path for path, node in tree.items() if node.kind is not Kind.DIRECTORY and _runs(path, tree))


def _runs(path: str, tree: Tree) -> bool:
    real = tree.resolve(path)
    return real is not None and scripts.is_executable(tree[real])
