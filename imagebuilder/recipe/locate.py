"""On which line of a TOML file a key stands. ``tomllib`` does not say, so the text is gone through once more.

Only for text that ``tomllib`` has read without an error: nothing is checked here.
"""

import re
from collections.abc import Mapping

Place = tuple[int | str, ...]

SPACE = re.compile(r"[ \t]*")
BLANK = re.compile(r"(?:[ \t\r\n]|#[^\n]*)*")
BARE = re.compile(r"[A-Za-z0-9_-]+")
SCALAR = re.compile(r"[^,\]}#\n]*")
# A text's whole spelling; those of three quotes first, and up to two more quotes may stand before their end.
STRING = re.compile(
    r'"""(?:[^\\"]|\\.|"{1,2}(?!"))*"{3,5}' r"|'''(?:[^']|'{1,2}(?!'))*'{3,5}" r'|"(?:[^\\"]|\\.)*"' r"|'[^']*'",
    re.DOTALL,
)
ESCAPE = re.compile(r"\\(?:u([0-9A-Fa-f]{4})|U([0-9A-Fa-f]{8})|(.))")
ESCAPES = {"b": "\b", "t": "\t", "n": "\n", "f": "\f", "r": "\r", "e": "\x1b"}


def locate(text: str) -> Mapping[Place, int]:
    """The line, from 1, on which each key, table and list entry begins: ``("files", 0, "path")`` → 7."""
    return _Walk(text).lines


def line_of(lines: Mapping[Place, int], place: Place) -> int:
    """The line of a key, or of the nearest thing around it when it is not there; 1 for the file itself."""
    while place not in lines and place:
        place = place[:-1]
    return lines.get(place, 1)


class _Walk:
    """One pass over the text. ``at`` is where it has come to; ``lines`` what it has found."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0
        self.line = 1
        self.lines: dict[Place, int] = {}
        self.counts: dict[Place, int] = {}
        self._document()

    def _document(self) -> None:
        table: Place = ()
        self._pass(BLANK)
        while self.at < len(self.text):
            if self._next("["):
                table = self._header()
            else:
                self._pair(table)
            self._pass(BLANK)

    def _header(self) -> Place:
        many = self._next("[[")
        line = self.line
        self.at += 2 if many else 1
        *above, last = self._key()
        self.at += 2 if many else 1
        place = self._within((), above, line)
        place = (*place, last)
        self.lines.setdefault(place, line)
        if many:
            self.counts[place] = self.counts.get(place, 0) + 1
            place = self._newest(place)
            self.lines[place] = line
        return place

    def _pair(self, table: Place) -> None:
        line = self.line
        *above, last = self._key()
        self.at += 1  # the "="
        place = (*self._within(table, above, line), last)
        self.lines.setdefault(place, line)
        self._pass(SPACE)
        self._value(place)

    def _within(self, place: Place, keys: list[str], line: int) -> Place:
        """The place under dotted keys: of a list of tables the newest is meant."""
        for key in keys:
            place = (*place, key)
            self.lines.setdefault(place, line)
            place = self._newest(place)
        return place

    def _newest(self, place: Place) -> Place:
        return (*place, self.counts[place] - 1) if place in self.counts else place

    def _key(self) -> list[str]:
        keys: list[str] = []
        while True:
            self._pass(SPACE)
            if self._next('"', "'"):
                keys.append(_unquoted(self._pass(STRING)))
            else:
                keys.append(self._pass(BARE))
            self._pass(SPACE)
            if not self._next("."):
                return keys
            self.at += 1

    def _value(self, place: Place) -> None:
        if self._next("["):
            self._list(place)
        elif self._next("{"):
            self._inline_table(place)
        else:
            self._pass(STRING if self._next('"', "'") else SCALAR)

    def _list(self, place: Place) -> None:
        index = 0
        self._step_in()
        while not self._next("]"):
            self.lines[*place, index] = self.line
            self._value((*place, index))
            index += 1
            self._step_on()
        self.at += 1

    def _inline_table(self, place: Place) -> None:
        self._step_in()
        while not self._next("}"):
            self._pair(place)
            self._step_on()
        self.at += 1

    def _step_in(self) -> None:
        self.at += 1
        self._pass(BLANK)

    def _step_on(self) -> None:
        """Over the comma, if there is one, and whatever is blank around it."""
        self._pass(BLANK)
        if self._next(","):
            self._step_in()

    def _next(self, *marks: str) -> bool:
        return self.text.startswith(marks, self.at)

    def _pass(self, pattern: re.Pattern[str]) -> str:
        """Go over what the pattern matches here, and return it."""
        matched = pattern.match(self.text, self.at)
        if matched is None:
            raise ValueError(f"line {self.line} is no TOML")
        self.at = matched.end()
        self.line += matched[0].count("\n")
        return matched[0]


def _unquoted(spelling: str) -> str:
    if spelling.startswith("'"):
        return spelling[1:-1]
    return ESCAPE.sub(_unescaped, spelling[1:-1])


def _unescaped(matched: re.Match[str]) -> str:
    code = matched[1] or matched[2]
    return chr(int(code, 16)) if code else ESCAPES.get(matched[3], matched[3])
