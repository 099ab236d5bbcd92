"""Texts for the tests: a recipe without mistakes, and TOML written from values or at random."""

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

from hypothesis import strategies as st

GOOD = """\
name = "page"
version = "1.0"
summary = "One page"

[source]
type = "build"
inputs = ["*.c"]
command = ["gcc", "-static", "-o", "server", "server.c"]
outputs = { server = "/usr/bin/server" }

[application]
command = "/usr/bin/server"

[[files]]
path = "/srv/page.html"
template = "page.html.j2"

[[files]]
path = "/srv/logo"
source = "logo.svg"

[variables]
title = "Hello"

[machine]
memory_mib = 32

[ready]
http = { port = 80, body = "Hello" }
"""
T = TypeVar("T")
TRAP = "# [no] table\n"
PAGE = "<h1>{{ title }}</h1>\n"


def write_recipe(folder: Path, text: str = GOOD, *, page: str = PAGE) -> Path:
    """A recipe's folder with the files that ``GOOD`` names."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "recipe.toml").write_bytes(text.encode())
    (folder / "page.html.j2").write_bytes(page.encode())
    (folder / "server.c").write_text("int main(void) { return 0; }\n")
    (folder / "logo.svg").write_text("<svg/>\n")
    (folder / "static").mkdir(exist_ok=True)
    return folder


def spell(value: Any) -> str:
    """A value as TOML (inline)."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return '"' + "".join(_spell_character(character) for character in value) + '"'
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{spell(str(key))} = {spell(entry)}" for key, entry in value.items()) + " }"
    if isinstance(value, list):
        return "[" + ", ".join(map(spell, value)) + "]"
    return str(value)


def _spell_character(character: str) -> str:
    return character if character not in '"\\' and character.isprintable() else f"\\U{ord(character):08x}"


# Spellings of one value, each with a mark that is found again; all but the first lay traps for a reader of lines.
SPELLINGS: tuple[Callable[[str], str], ...] = (
    lambda mark: f'"{mark}"',
    lambda mark: f"'{mark} \\'",
    lambda mark: f'"{mark} \\" ] }} # , = [ \\\\"',
    lambda mark: f'"""{mark}\n[trap]\nx = 1 # \\""" ""\n[[trap]] """""',
    lambda mark: f"'''{mark}\n''\n[trap]\n\"\"\" '''''",
    lambda mark: f'"""{mark} \\\n   """',
)
OTHERS = (
    "1",
    "0x1f",
    "-1",
    "1e3",
    "inf",
    "true",
    "1979-05-27 07:32:00",
    "1979-05-27T07:32:00Z",
    "07:32:00",
    '""',
    "''",
)
KEYS: tuple[Callable[[int], str], ...] = (
    lambda number: f"k{number}",
    lambda number: f"{number}",
    lambda number: f'"k {number} # ="',
    lambda number: f"'k.{number}'",
    lambda number: f'"\\u00e9\\"{number}\\n"',
)
BREAKS = (" ", "\n", "\r\n", " # a ] } , comment\n  ", "")


class _Writer:
    """Draws a document; no key comes twice."""

    def __init__(self, draw: st.DrawFn) -> None:
        self.draw = draw
        self.numbers = itertools.count()

    def one_of(self, *choices: T) -> T:
        return self.draw(st.sampled_from(choices))

    def times(self, least: int = 0) -> range:
        return range(self.draw(st.integers(least, 3)))

    def key(self) -> str:
        """A dotted key."""
        return self.one_of(".", " . ").join(self.one_of(*KEYS)(next(self.numbers)) for _ in self.times(1))

    def value(self, depth: int) -> str:
        shapes = (self.marked, self.marked, lambda _: self.one_of(*OTHERS), self.list, self.list, self.table)
        return self.one_of(*shapes[: 6 if depth else 3])(depth - 1)

    def marked(self, _depth: int) -> str:
        return self.one_of(*SPELLINGS)(f"mark-{next(self.numbers)}-")

    def list(self, depth: int) -> str:
        inside = [f"{self.one_of(*BREAKS)}{self.value(depth)}{self.one_of(*BREAKS)}" for _ in self.times()]
        return f"[{','.join(inside)}{self.one_of('', ',') if inside else ''}{self.one_of(*BREAKS)}]"

    def table(self, depth: int) -> str:
        return "{" + ", ".join(f"{self.key()} = {self.value(depth)}" for _ in self.times()) + "}"

    def pairs(self) -> Iterator[str]:
        for _ in self.times():
            yield f"{self.one_of('', '  ', TRAP)}{self.key()} = {self.value(3)}  # x = [ comment"

    def tables(self) -> Iterator[str]:
        """A table, or a list of tables that have a table and a list of tables themselves."""
        name = self.key()
        if self.one_of(True, False):
            yield from (f"[ {name} ] # table", *self.pairs())
            return
        for _ in self.times(1):
            yield from (f"[[ {name} ]]", *self.pairs(), f"[{name}.{self.key()}]", *self.pairs())
            for _ in self.times():
                yield from (f"[[{name}.many]]", *self.pairs())


@st.composite
def documents(draw: st.DrawFn) -> str:
    """A TOML document of all shapes; its marked values are texts that begin with ``mark-N-``."""
    writer = _Writer(draw)
    lines = [*writer.pairs(), *itertools.chain.from_iterable(writer.tables() for _ in writer.times())]
    return writer.one_of("\n", "\r\n", "\n\n").join(lines)
