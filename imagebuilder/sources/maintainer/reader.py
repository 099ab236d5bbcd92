"""A shell script as a value: the part of the shell's language in which maintainer scripts are written (sh(1p)).

Nothing runs here. A script that is longer or nested deeper than any real one, or that is not understood, is Unreadable.
"""

import re
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass

LONGEST_SCRIPT_CHARACTERS = 1 << 18
DEEPEST = 40
BREAKS = frozenset(" \t\n;&|<>()")
NAME = re.compile(r"[A-Za-z_]\w*")
ASSIGNMENT = re.compile(r"([A-Za-z_]\w*)\+?=")
FUNCTION = re.compile(r"([A-Za-z_][\w-]*)[ \t]*\([ \t]*\)")
RESERVED = re.compile(r"(if|then|elif|else|fi|for|in|while|until|do|done|case|esac|function|\{|\}|!)(?=[\s;&|<>()]|$)")
REDIRECT = re.compile(r"\d*(<<-|<<|>>|>\||>&|<&|&>|<>|<|>)")
PARAMETER = re.compile(r"(#?)([A-Za-z_]\w*|[0-9@*#?$!-])(:?[-+=?]|##?|%%?|)")


class Unreadable(Exception):
    """The script is not written in what is understood here."""


@dataclass(frozen=True, slots=True)
class Literal:
    """Text as it stands."""

    text: str
    quoted: bool = False


@dataclass(frozen=True, slots=True)
class Parameter:
    """``$name`` or ``${name OPERATOR word}``."""

    name: str
    quoted: bool = False
    operator: str = ""
    word: "Word" = ()


@dataclass(frozen=True, slots=True)
class Substitution:
    """``$(…)``; without a script where it is none that is understood."""

    script: "Sequence | None"
    quoted: bool = False


Word = tuple[Literal | Parameter | Substitution, ...]


@dataclass(frozen=True, slots=True)
class Redirect:
    """An operator and where it leads; of ``<<`` the text itself."""

    operator: str
    word: Word


@dataclass(frozen=True, slots=True)
class Simple:
    """A command with its words."""

    words: tuple[Word, ...]
    assignments: tuple[tuple[str, Word], ...] = ()
    redirects: tuple[Redirect, ...] = ()


@dataclass(frozen=True, slots=True)
class Sequence:
    """One command after the other."""

    commands: tuple["Command", ...]


@dataclass(frozen=True, slots=True)
class Junction:
    """``left && right``, ``left || right``."""

    left: "Command"
    operator: str
    right: "Command"


@dataclass(frozen=True, slots=True)
class Not:
    """``! command``."""

    command: "Command"


@dataclass(frozen=True, slots=True)
class Pipe:
    """Commands of which each reads what the one before it writes."""

    commands: tuple["Command", ...]


@dataclass(frozen=True, slots=True)
class If:
    """Conditions with what is done for each, the last without one for ``else``."""

    branches: tuple[tuple["Command | None", "Command"], ...]


@dataclass(frozen=True, slots=True)
class For:
    """A body for each word; without words for each argument."""

    name: str
    words: tuple[Word, ...] | None
    body: "Command"


@dataclass(frozen=True, slots=True)
class While:
    """A body while a condition holds, or until it does."""

    condition: "Command"
    body: "Command"


@dataclass(frozen=True, slots=True)
class Case:
    """Bodies by patterns."""

    word: Word
    branches: tuple[tuple[tuple[Word, ...], "Command"], ...]


@dataclass(frozen=True, slots=True)
class Function:
    """A function's definition."""

    name: str
    body: "Command"


Command = Simple | Sequence | Junction | Not | Pipe | If | For | While | Case | Function


def parse(text: str, depth: int = 0) -> Sequence:
    """The script as commands. Raises Unreadable."""
    if len(text) > LONGEST_SCRIPT_CHARACTERS:
        raise Unreadable("it is too long")
    reader = _Reader(text, depth=depth)
    commands = reader.sequence(())
    if reader.at < len(reader.text):
        raise Unreadable("a bracket that nothing opened")
    return commands


@dataclass
class _Reader:
    text: str
    at: int = 0
    depth: int = 0

    # Commands

    def sequence(self, ends: Collection[str]) -> Sequence:
        commands: list[Command] = []
        while True:
            self.separators()
            if self.at >= len(self.text) or self.text.startswith((")", ";;"), self.at) or self.reserved() in ends:
                return Sequence(tuple(commands))
            commands.append(self.junction())

    def junction(self) -> Command:
        left = self.pipe()
        while (operator := self.take("&&", "||")) is not None:
            self.newlines()
            left = Junction(left, operator, self.pipe())
        return left

    def pipe(self) -> Command:
        negated = self.keyword("!")
        commands = [self.command()]
        while not self.text.startswith("||", self.at) and self.take("|"):
            self.newlines()
            commands.append(self.command())
        command = commands[0] if len(commands) == 1 else Pipe(tuple(commands))
        return Not(command) if negated else command

    def command(self) -> Command:
        self.depth = self.deeper()
        command = self.undecorated()
        self.depth -= 1
        return command

    def undecorated(self) -> Command:
        self.blank()
        word = self.reserved()
        compounds: dict[str, Callable[[], Command]] = {
            "if": self.if_,
            "for": self.for_,
            "while": self.while_,
            "until": self.while_,
            "case": self.case,
            "{": self.group,
        }
        if word in ("then", "elif", "else", "fi", "do", "done", "esac", "}"):
            raise Unreadable(f'a "{word}" where none belongs')
        if word == "function":
            self.expect("function")
            self.blank()
        if word in compounds:
            compound = compounds[word]()
            self.redirects()  # where all of it goes
            return compound
        if self.take("("):
            body = self.sequence(())
            self.expect_text(")")
            self.redirects()
            return body
        if (match := FUNCTION.match(self.text, self.at)) and not self.reserved():
            self.at = match.end()
            self.newlines()
            return Function(match[1], self.command())
        return self.simple()

    def if_(self) -> Command:
        branches: list[tuple[Command | None, Command]] = []
        word = "if"
        while word in ("if", "elif"):
            self.expect(word)
            condition = self.sequence(("then",))
            self.expect("then")
            branches.append((condition, self.sequence(("elif", "else", "fi"))))
            word = self.reserved() or ""
        if self.keyword("else"):
            branches.append((None, self.sequence(("fi",))))
        self.expect("fi")
        return If(tuple(branches))

    def for_(self) -> Command:
        self.expect("for")
        self.blank()
        match = NAME.match(self.text, self.at)
        if match is None:
            raise Unreadable("a loop without a name")
        self.at = match.end()
        self.newlines()
        words = tuple(self.words()) if self.keyword("in") else None
        self.separators()
        self.expect("do")
        body = self.sequence(("done",))
        self.expect("done")
        return For(match[0], words, body)

    def while_(self) -> Command:
        self.keyword("while") or self.keyword("until")
        condition = self.sequence(("do",))
        self.expect("do")
        body = self.sequence(("done",))
        self.expect("done")
        return While(condition, body)

    def case(self) -> Command:
        self.expect("case")
        self.blank()
        word = self.word()
        self.newlines()
        self.expect("in")
        branches: list[tuple[tuple[Word, ...], Command]] = []
        self.separators()
        while not self.keyword("esac"):
            self.take("(")
            patterns = [self.pattern()]
            while self.take("|"):
                patterns.append(self.pattern())
            self.expect_text(")")
            branches.append((tuple(patterns), self.sequence(("esac",))))
            self.take(";;")
            self.separators()
        return Case(word, tuple(branches))

    def pattern(self) -> Word:
        self.blank()
        return self.word()

    def group(self) -> Command:
        self.expect("{")
        body = self.sequence(("}",))
        self.expect("}")
        return body

    def simple(self) -> Command:
        assignments: list[tuple[str, Word]] = []
        redirects: list[Redirect] = []
        words: list[Word] = []
        while True:
            redirects.extend(self.redirects())
            if self.at >= len(self.text) or self.text[self.at] in "\n;&|()":
                break
            match = ASSIGNMENT.match(self.text, self.at)
            if match and not words:
                self.at = match.end()
                empty = self.text[self.at : self.at + 1] in BREAKS or self.at >= len(self.text)
                assignments.append((match[1], () if empty else self.word()))
            else:
                words.append(self.word())
        if not (words or assignments or redirects):
            raise Unreadable("a command is missing")
        return Simple(tuple(words), tuple(assignments), tuple(redirects))

    def words(self) -> Iterator[Word]:
        self.blank()
        while self.at < len(self.text) and self.text[self.at] not in BREAKS:
            yield self.word()
            self.blank()

    def redirects(self) -> list[Redirect]:
        found: list[Redirect] = []
        self.blank()
        while match := REDIRECT.match(self.text, self.at):
            self.at = match.end()
            self.blank()
            word = self.word()
            if match[1].startswith("<<"):
                plain = "".join(part.text for part in word if isinstance(part, Literal))
                quoted = any(isinstance(part, Literal) and part.quoted for part in word)
                word = self.here(plain, tabs=match[1] == "<<-", quoted=quoted)
            elif match[0].lstrip("0123456789") == match[0] or match[0].startswith(("1>", "0<")):
                pass
            else:
                self.blank()
                continue  # of another file descriptor: standard error and the like
            found.append(Redirect(match[1], word))
            self.blank()
        return found

    def here(self, end: str, *, tabs: bool, quoted: bool) -> Word:
        """Cut the text of a here-document out of the lines that follow."""
        line_end = self.text.find("\n", self.at)
        if line_end < 0:
            raise Unreadable("a here-document without an end")
        lines: list[str] = []
        at = line_end + 1
        while at < len(self.text):
            stop = self.text.find("\n", at)
            stop = len(self.text) if stop < 0 else stop
            line = self.text[at:stop].lstrip("\t") if tabs else self.text[at:stop]
            at = stop + 1
            if line == end:
                break
            lines.append(f"{line}\n")
        self.text = self.text[: line_end + 1] + self.text[at:]
        body = "".join(lines)
        return (Literal(body, quoted=True),) if quoted else _Reader(body, depth=self.depth).quoted_until(None)

    # Words

    def word(self) -> Word:
        parts: list[Literal | Parameter | Substitution] = []
        start = self.at
        while self.at < len(self.text) and self.text[self.at] not in BREAKS:
            character = self.text[self.at]
            self.at += 1
            if character == "'":
                parts.append(Literal(self.until("'"), quoted=True))
            elif character == '"':
                parts.extend(self.quoted_until('"') or (Literal("", quoted=True),))
            elif character == "\\":
                if self.text[self.at : self.at + 1] != "\n":
                    parts.append(Literal(self.text[self.at : self.at + 1], quoted=True))
                self.at += 1
            elif character in "$`":
                parts.append(self.expansion(character, quoted=False))
            else:
                parts.append(Literal(character))
        if self.at == start:
            raise Unreadable("a word is missing")
        return _joined(parts)

    def quoted_until(self, end: str | None) -> Word:
        parts: list[Literal | Parameter | Substitution] = []
        while self.at < len(self.text):
            character = self.text[self.at]
            self.at += 1
            if character == end:
                return _joined(parts)
            if character == "\\" and self.text[self.at : self.at + 1] in tuple('$`"\\\n'):
                escaped = self.text[self.at]
                parts.append(Literal("" if escaped == "\n" else escaped, quoted=True))
                self.at += 1
            elif character in "$`":
                parts.append(self.expansion(character, quoted=True))
            else:
                parts.append(Literal(character, quoted=True))
        if end is not None:
            raise Unreadable("a quotation without an end")
        return _joined(parts)

    def expansion(self, character: str, *, quoted: bool) -> Literal | Parameter | Substitution:
        if character == "`":
            return Substitution(self.inner(self.until("`").replace("\\`", "`")), quoted)
        if self.text.startswith("((", self.at):
            self.balanced("(", ")")
            return Substitution(None, quoted)
        if self.text.startswith("(", self.at):
            return Substitution(self.inner(self.balanced("(", ")")), quoted)
        if self.text.startswith("{", self.at):
            return self.parameter(self.balanced("{", "}"), quoted=quoted)
        match = re.compile(r"[A-Za-z_]\w*|[0-9@*#?$!-]").match(self.text, self.at)
        if match is None:
            return Literal("$", quoted)
        self.at = match.end()
        return Parameter(match[0], quoted)

    def parameter(self, text: str, *, quoted: bool) -> Parameter | Substitution:
        match = PARAMETER.match(text)
        if match is None or match[1] or (not match[3] and match.end() < len(text)):
            return Substitution(None, quoted)
        word = _Reader(text[match.end() :], depth=self.deeper()).quoted_until(None)
        if not quoted:
            word = tuple(Literal(part.text) if isinstance(part, Literal) else part for part in word)
            word = tuple(Literal(part.text.replace('"', "")) if isinstance(part, Literal) else part for part in word)
        return Parameter(match[2], quoted, match[3], word)

    def inner(self, text: str) -> Sequence:
        return parse(text, self.deeper())

    def deeper(self) -> int:
        if self.depth >= DEEPEST:
            raise Unreadable("it is nested too deep")
        return self.depth + 1

    def until(self, end: str) -> str:
        stop = self.text.find(end, self.at)
        if stop < 0:
            raise Unreadable("a quotation without an end")
        found, self.at = self.text[self.at : stop], stop + 1
        return found

    def balanced(self, begin: str, end: str) -> str:
        """The text between brackets, of which the first is here; quotations in it may hold others."""
        start, level = self.at + 1, 0
        while self.at < len(self.text):
            character = self.text[self.at]
            self.at += 1
            if character == "\\":
                self.at += 1
            elif character == "'" and begin == "(":
                self.until("'")
            elif character == '"' and begin == "(":
                self.skip_quoted()
            elif character == begin:
                level += 1
            elif character == end:
                level -= 1
                if level == 0:
                    return self.text[start : self.at - 1]
        raise Unreadable("a bracket without an end")

    def skip_quoted(self) -> None:
        """Go behind the end of a double quotation."""
        self.depth = self.deeper()
        while self.at < len(self.text):
            character = self.text[self.at]
            self.at += 1
            if character == '"':
                self.depth -= 1
                return
            if character == "\\":
                self.at += 1
            elif character == "$" and self.text.startswith("(", self.at):
                self.balanced("(", ")")
        raise Unreadable("a quotation without an end")

    # Between words

    def blank(self) -> None:
        while self.at < len(self.text):
            if self.text.startswith("\\\n", self.at):
                self.at += 2
            elif self.text[self.at] in " \t":
                self.at += 1
            elif self.text[self.at] == "#":
                end = self.text.find("\n", self.at)
                self.at = len(self.text) if end < 0 else end
            else:
                return

    def newlines(self) -> None:
        self.blank()
        while self.text.startswith("\n", self.at):
            self.at += 1
            self.blank()

    def separators(self) -> None:
        self.blank()
        while self.at < len(self.text) and (
            self.text[self.at] in "\n&" or (self.text[self.at] == ";" and not self.text.startswith(";;", self.at))
        ):
            self.at += 1
            self.blank()

    def reserved(self) -> str | None:
        match = RESERVED.match(self.text, self.at)
        return match[1] if match else None

    def keyword(self, word: str) -> bool:
        self.blank()
        if self.reserved() != word:
            return False
        self.at += len(word)
        self.blank()
        return True

    def expect(self, word: str) -> None:
        if not self.keyword(word):
            raise Unreadable(f'no "{word}" where one belongs')

    def expect_text(self, text: str) -> None:
        if self.take(text) is None:
            raise Unreadable(f'no "{text}" where one belongs')

    def take(self, *texts: str) -> str | None:
        self.blank()
        for text in texts:
            if self.text.startswith(text, self.at):
                self.at += len(text)
                self.blank()
                return text
        return None


def _joined(parts: list[Literal | Parameter | Substitution]) -> Word:
    """The parts with neighbouring texts of one kind as one."""
    joined: list[Literal | Parameter | Substitution] = []
    run: list[str] = []
    quoted = False
    for part in [*parts, None]:
        if run and not (isinstance(part, Literal) and part.quoted == quoted):
            joined.append(Literal("".join(run), quoted))
            run = []
        if isinstance(part, Literal):
            run.append(part.text)
            quoted = part.quoted
        elif part is not None:
            joined.append(part)
    return tuple(joined)
