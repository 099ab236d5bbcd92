"""The code's part of a step's key, computed from the modules that do the step: their imports are followed inside the
package. Only what can change a result counts (``essence``), so that a message may be reworded."""

import ast
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from pathlib import Path

from imagebuilder.build.essence import SPEAKERS, essences
from imagebuilder.paths import PACKAGE
from imagebuilder.store import Store, key_of, sha256_file

SETTLED_NS = 2 * 10**9
"""How old a file's last change has to be before its times are taken for its content: a change that follows at once may
have the same, as far as file systems tell times apart."""


@dataclass(frozen=True)
class Code:
    """The package's code: of each module that a step is made of what counts (its hash), and what it imports."""

    essence: Mapping[str, str]
    imports: Mapping[str, tuple[str, ...]]
    key: str = ""
    """Under which the store knows it."""

    def revision(self, modules: Iterable[str]) -> str:
        """The hash of the code that runs when these modules do something."""
        return key_of({name: self.essence[name] for name in self.reached(modules)})

    def reached(self, modules: Iterable[str]) -> set[str]:
        """The modules, and all that they import."""
        reached: set[str] = set()
        pending = [*modules]
        while pending:
            name = pending.pop()
            if name not in reached:
                reached.add(name)
                pending += self.imports[name]
        return reached

    def changed(self, modules: Iterable[str], before: "Code") -> list[str]:
        """Which of the modules' code is another than it was before."""
        reached = self.reached(modules) | before.reached(each for each in modules if each in before.imports)
        return sorted(name for name in reached if self.essence.get(name) != before.essence.get(name))


def code_of(steps: Iterable[str], store: Store, package: Path = PACKAGE) -> Code:
    """The code of the steps' modules: read once, then known to the store as long as no file of the package changes."""
    key = key_of(["code", _digest(package, store), sorted(steps)])
    if (known := known_code(key, store)) is not None:
        return known
    code = _read(package, tuple(steps))
    store.keep(key, {"essence": {**code.essence}, "imports": {**code.imports}})
    return replace(code, key=key)


def known_code(key: str, store: Store) -> Code | None:
    """The code that the store knows under this key."""
    known = store.record(key)
    return (
        Code(known["essence"], {name: tuple(each) for name, each in known["imports"].items()}, key) if known else None
    )


def _digest(package: Path, store: Store) -> str:
    """The hash of the package's files: read once, then known to the store as long as none of them has another size,
    time or inode."""
    times, settled = _times(package)
    key = key_of(["files of code", str(package), times])
    known = store.record(key) if settled else None
    if known is None:
        known = {"digest": key_of(_files(package))}
        if settled:
            store.keep(key, known)
    return str(known["digest"])


@lru_cache
def _times(package: Path) -> tuple[Mapping[str, tuple[int, ...]], bool]:
    """Of each file what changes with it, as it was when this process first asked; and whether all of it was old."""
    before_ns = time.time_ns() - SETTLED_NS
    states = {path.relative_to(package).as_posix(): path.stat() for path in sorted(package.rglob("*.py"))}
    times = {
        name: (state.st_size, state.st_mtime_ns, state.st_ctime_ns, state.st_dev, state.st_ino)
        for name, state in states.items()
    }
    return times, all(max(state.st_mtime_ns, state.st_ctime_ns) < before_ns for state in states.values())


@lru_cache
def _files(package: Path) -> Mapping[str, str]:
    """The package's files by their hash, as they were when this process first asked."""
    return {path.relative_to(package).as_posix(): sha256_file(path) for path in sorted(package.rglob("*.py"))}


@lru_cache
def _read(package: Path, steps: tuple[str, ...]) -> Code:
    return Source(package).code(steps)


@dataclass(frozen=True)
class Source:
    """The package's files."""

    package: Path

    @cached_property
    def _paths(self) -> Mapping[str, Path]:
        """The files by the name of their module."""
        named = {}
        for path in self.package.rglob("*.py"):
            parts = (self.package.name, *path.relative_to(self.package).with_suffix("").parts)
            named[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
        return named

    def code(self, steps: Iterable[str]) -> Code:
        """All that is reached from the steps' modules."""
        trees: dict[str, ast.Module] = {}
        imports: dict[str, tuple[str, ...]] = {}
        pending = [*steps]
        while pending:
            name = pending.pop()
            if name not in trees:
                trees[name] = ast.parse(self._paths[name].read_bytes())
                imports[name] = tuple(sorted({*self._imported(trees[name])} - {name, *SPEAKERS}))
                pending += imports[name]
        return Code(essences(trees), imports)

    def _imported(self, node: ast.AST) -> Iterator[str]:
        """The modules of the package that are imported, but for those that only a type checker imports."""
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in self._paths)
        elif isinstance(node, ast.ImportFrom) and node.module in self._paths:
            names = [f"{node.module}.{alias.name}" for alias in node.names]
            yield from (name if name in self._paths else str(node.module) for name in names)
        else:
            is_for_types = isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
            for each in node.orelse if isinstance(node, ast.If) and is_for_types else ast.iter_child_nodes(node):
                yield from self._imported(each)
