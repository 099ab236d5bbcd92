"""The blocks of code of our pages: what language each has, which file its text is, which commands it shows."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGES = tuple(
    path.relative_to(ROOT).as_posix()
    for path in (
        ROOT / "README.md",
        ROOT / "CHANGELOG.md",
        ROOT / "CONTRIBUTING.md",
        ROOT / "SECURITY.md",
        ROOT / "kernels" / "README.md",
        *sorted((ROOT / "docs").glob("*.md")),
    )
    if path.is_file()
)
FENCE = re.compile(r"^```(?P<language>\w*)\n(?P<text>.*?)^```$", re.M | re.S)
NAMED = re.compile(r"`(?P<path>[\w./-]+\.\w+)`[^`\n]*:\n\Z")
"""A path in the last words before a block, which end with a colon: the block is that file."""
PROMPT, CONTINUED = "$ ", "> "
COMMENT = re.compile(r"(?:^|\s)#\s.*$")


@dataclass(frozen=True, slots=True)
class Command:
    """A command as a page shows it, and what the page says that it prints; None where it shows nothing."""

    page: str
    line: int
    words: str
    """Without the comment behind it."""
    comment: str
    shown: tuple[str, ...] | None

    @property
    def where(self) -> str:
        """``page:line``."""
        return f"{self.page}:{self.line}"


@dataclass(frozen=True)
class Block:
    """A fenced block. ``line`` is that of its first line of text, counted from 1."""

    page: str
    line: int
    language: str
    text: str
    before: str
    """The page's text up to the block."""

    @property
    def where(self) -> str:
        """``page:line``."""
        return f"{self.page}:{self.line}"

    @property
    def first(self) -> str:
        """Its first line."""
        return self.text.partition("\n")[0]

    @property
    def file(self) -> str | None:
        """The file that it is, by the words before it."""
        found = NAMED.search(self.before.rstrip("\n") + "\n")
        return found["path"] if found else None

    @cached_property
    def commands(self) -> tuple[Command, ...]:
        """The commands of a block of a shell: all its lines (``sh``), or those behind a prompt (``console``)."""
        if self.language == "sh":
            return tuple(self._plain())
        return tuple(self._prompted()) if self.language == "console" else ()

    def _plain(self) -> Iterator[Command]:
        """Lines, and those that a backslash continues; a line of its own that is a comment is none."""
        begin, words = 0, ""
        for number, line in enumerate(self.text.splitlines()):
            begin = begin if words else number
            words += line
            if words.endswith("\\"):
                words = words[:-1]
                continue
            if words.strip() and not words.startswith("#"):
                yield self._command(begin, words, None)
            words = ""

    def _prompted(self) -> Iterator[Command]:
        """What stands behind each prompt, with the lines below it as what it prints, where there are any."""
        pieces = re.split(r"^\$ ", self.text, flags=re.M)
        assert not pieces[0], f"{self.where}: a console block begins with a prompt"
        number = 0
        for piece in pieces[1:]:
            words, *shown = piece.splitlines()
            while words.endswith("\\"):
                words = words[:-1] + shown.pop(0).removeprefix(CONTINUED)
            yield self._command(number, words, tuple(shown) or None)
            number += len(piece.splitlines())

    def _command(self, number: int, words: str, shown: tuple[str, ...] | None) -> Command:
        comment = COMMENT.search(words)
        bare = words[: comment.start()] if comment else words
        return Command(self.page, self.line + number, bare.strip(), comment[0].strip() if comment else "", shown)


def text(page: str) -> str:
    """The text of a page."""
    return (ROOT / page).read_text(encoding="utf-8")


def blocks(page: str) -> tuple[Block, ...]:
    """The fenced blocks of a page, in order."""
    whole = text(page)
    return tuple(
        Block(page, whole[: found.start()].count("\n") + 2, found["language"], found["text"], whole[: found.start()])
        for found in FENCE.finditer(whole)
    )


def prose(page: str) -> str:
    """A page without its blocks."""
    return FENCE.sub("", text(page))


ALL = tuple(block for page in PAGES for block in blocks(page))
