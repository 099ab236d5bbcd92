"""What a maintainer script would do on a system that installs its package for the first time, found without running it.

The script is followed with what is known: its arguments (``configure``, no older version), its variables, what the
host says about files and commands. Where a condition is not known both ways are followed, and what is done there is
in doubt. A word that is not known holds UNKNOWN. Nothing is executed; loops, calls and values are bounded.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Protocol

from imagebuilder.arch import TARGET
from imagebuilder.sources.maintainer import reader
from imagebuilder.sources.maintainer.reader import Command, Literal, Parameter, Redirect, Substitution, Word
from imagebuilder.words import whole_number

UNKNOWN = "\0"
MOST_STEPS = 20_000
MOST_CALLS = 20
LONGEST_VALUE = 1 << 14
Status = bool | None  # None: not known


@dataclass(frozen=True, slots=True)
class Did:
    """A command that is not the shell's own: its words, where it writes and what it reads, whether it is in doubt."""

    words: tuple[str, ...]
    writes: tuple[tuple[str, str], ...] = ()  # (operator, path)
    text: str = UNKNOWN
    doubtful: bool = False


class Host(Protocol):
    """The system on which the script would run."""

    def run(self, did: Did) -> Status:
        """A command that is not the shell's own; whether it ends well."""

    def output(self, words: Sequence[str]) -> str:
        """What a command prints, or UNKNOWN."""

    def test(self, operator: str, path: str) -> Status:
        """``[ -OPERATOR path ]`` for files."""


class _Ends(Exception):
    """``exit``, ``return``, ``break`` and ``continue``, and the end of our patience."""

    def __init__(self, what: str, status: Status = True) -> None:
        self.what, self.status = what, status


def follow(script: str, host: Host, arguments: Sequence[str] = ("configure", "")) -> None:
    """Tell the host all that the script does. Raises Unreadable."""
    shell = _Shell(host, dict(enumerate(arguments, start=1)))
    with suppress(_Ends):
        shell.run(reader.parse(script))


@dataclass
class _Shell:
    host: Host
    arguments: Mapping[int, str]
    variables: dict[str, str] = field(default_factory=lambda: dict(ENVIRONMENT))
    functions: dict[str, Command] = field(default_factory=dict)
    doubt: int = 0
    steps: int = 0
    calls: int = 0

    def run(self, command: Command) -> Status:
        self.steps += 1
        if self.steps > MOST_STEPS:
            raise _Ends("patience")
        return RUNNERS[type(command)](self, command)

    def doubtfully(self, command: Command) -> None:
        """What may be done, or not: it cannot end what stands around it."""
        with self.doubting():
            try:
                self.run(command)
            except _Ends as ends:
                if ends.what == "patience":
                    raise

    @contextmanager
    def doubting(self) -> Iterator[None]:
        self.doubt += 1
        try:
            yield
        finally:
            self.doubt -= 1

    def sequence(self, command: reader.Sequence) -> Status:
        status: Status = True
        for each in command.commands:
            status = self.run(each)
        return status

    def junction(self, command: reader.Junction) -> Status:
        left = self.run(command.left)
        if left is None:
            self.doubtfully(command.right)
            return None
        return self.run(command.right) if left == (command.operator == "&&") else left

    def not_(self, command: reader.Not) -> Status:
        status = self.run(command.command)
        return None if status is None else not status

    def pipe(self, command: reader.Pipe) -> Status:
        for each in command.commands:
            self.run(each)
        return None

    def if_(self, command: reader.If) -> Status:
        doubts = 0
        try:
            for condition, body in command.branches:
                status: Status = True if condition is None else self.run(condition)
                if status is True and not doubts:
                    return self.run(body)
                if status is not False:
                    self.doubtfully(body)
                if status is True:
                    return None
                if status is None and not doubts:
                    doubts = 1
                    self.doubt += 1
            return None if doubts else True
        finally:
            self.doubt -= doubts

    def for_(self, command: reader.For) -> Status:
        words = self.arguments_now() if command.words is None else self.expand(command.words)
        for word in words:
            self.assign(command.name, word)
            try:
                self.doubtfully(command.body) if UNKNOWN in word else self.run(command.body)
            except _Ends as ends:
                if ends.what not in ("break", "continue"):
                    raise
                if ends.what == "break":
                    break
        return True

    def while_(self, command: reader.While) -> Status:
        self.run(command.condition)
        self.doubtfully(command.body)
        return None

    def case(self, command: reader.Case) -> Status:
        (word,) = self.expand((command.word,), split=False)
        for patterns, body in command.branches:
            texts = self.expand(patterns, split=False)
            if UNKNOWN in word or any(UNKNOWN in text for text in texts):
                self.doubtfully(body)
            elif any(fnmatchcase(word, text) for text in texts):
                return self.run(body)
        return None if UNKNOWN in word else True

    def function(self, command: reader.Function) -> Status:
        self.functions[command.name] = command.body
        return True

    def simple(self, command: reader.Simple) -> Status:
        for name, value in command.assignments:
            (text,) = self.expand((value,), split=False)
            self.assign(name, text)
        words = self.expand(command.words)
        writes = tuple(self.writes(command.redirects))
        if not words:
            if any(path.startswith("/") for _, path in writes):
                self.host.run(Did((":",), writes, "", self.doubt > 0))
            substituted = any(isinstance(part, Substitution) for _, value in command.assignments for part in value)
            return None if substituted else True
        text = next((self.text(each.word) for each in command.redirects if each.operator.startswith("<<")), UNKNOWN)
        if words[0] in self.functions:
            return self.call(words)
        if words[0] in BUILTINS and not writes:
            return BUILTINS[words[0]](self, words[1:])
        if "|" in words[0] or UNKNOWN in words[0]:
            return None
        return self.host.run(Did(tuple(words), writes, text, self.doubt > 0))

    def call(self, words: Sequence[str]) -> Status:
        self.calls += 1
        kept, self.arguments = self.arguments, dict(enumerate(words[1:], start=1))
        try:
            return None if self.calls > MOST_CALLS else self.run(self.functions[words[0]])
        except _Ends as ends:
            if ends.what != "return":
                raise
            return ends.status
        finally:
            self.arguments = kept
            self.calls -= 1

    # Words

    def assign(self, name: str, text: str) -> None:
        self.variables[name] = text if len(text) <= LONGEST_VALUE else UNKNOWN

    def arguments_now(self) -> list[str]:
        return list(self.arguments.values())

    def writes(self, redirects: Sequence[Redirect]) -> Iterator[tuple[str, str]]:
        for redirect in redirects:
            if redirect.operator in (">", ">>", ">|", "&>"):
                yield redirect.operator, self.text(redirect.word)

    def text(self, word: Word) -> str:
        return self.expand((word,), split=False)[0]

    def expand(self, words: Sequence[Word], *, split: bool = True) -> list[str]:
        """The words with what they stand for, as many as the shell would make of them."""
        return [text for word in words for text in (self.fields(word) if split else [self.joined(word)])]

    def joined(self, word: Word) -> str:
        return "".join(self.value(part) for part in word)

    def fields(self, word: Word) -> list[str]:
        fields: list[str] = []
        here: str | None = None
        for part in word:
            if isinstance(part, Parameter) and part.name == "@" and part.quoted:
                fields += [*([here] if here else []), *self.arguments_now()]
                here = None
                continue
            value = self.value(part)
            if part.quoted or isinstance(part, Literal):
                here = (here or "") + value
                continue
            pieces = value.split()
            if value[:1].isspace() and here is not None:
                fields.append(here)
                here = None
            for piece in pieces[:-1]:
                fields.append((here or "") + piece)
                here = None
            here = (here or "") + pieces[-1] if pieces else here
        return fields if here is None else [*fields, here]

    def value(self, part: Literal | Parameter | Substitution) -> str:
        if isinstance(part, Literal):
            return part.text
        return self.substituted(part) if isinstance(part, Substitution) else self.parameter(part)

    def substituted(self, part: Substitution) -> str:
        commands = part.script.commands if part.script else ()
        if len(commands) == 1 and isinstance(commands[0], reader.Simple):
            words = self.expand(commands[0].words)
            if words and not any(UNKNOWN in word for word in words):
                return self.host.output(words)
        return UNKNOWN

    def parameter(self, part: Parameter) -> str:
        value = self.lookup(part.name)
        if part.operator in ("", None):
            return UNKNOWN if value is None else value
        word = self.joined(part.word)
        if part.operator in ("#", "##", "%", "%%"):
            return _trimmed(value, part.operator, word)
        missing = value is None or (part.operator.startswith(":") and not value)
        if "+" in part.operator:
            return "" if missing else word
        if value is None and part.name not in KNOWN_EMPTY:
            missing = True
        if missing and "=" in part.operator:
            self.assign(part.name, word)
        return word if missing else value or ""

    def lookup(self, name: str) -> str | None:
        if (place := whole_number(name)) is not None:
            return self.arguments.get(place, "") if place else UNKNOWN
        if name in "@*":
            return " ".join(self.arguments.values())
        if name == "#":
            return str(len(self.arguments))
        if name in ("?", "$", "!", "-"):
            return UNKNOWN
        return self.variables.get(name, "" if name in KNOWN_EMPTY else None)


# What dpkg and debconf give a maintainer script of a first installation.
ENVIRONMENT: Mapping[str, str] = {
    "DPKG_MAINTSCRIPT_ARCH": TARGET.debian,
    "DPKG_MAINTSCRIPT_NAME": "postinst",
    "DEBIAN_FRONTEND": "noninteractive",
    "HOME": "/root",
    "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
}
KNOWN_EMPTY = frozenset({"DPKG_ROOT", "DPKG_ADMINDIR", "DEBUG", "IFS", "SYSROOT"})


def _trimmed(value: str | None, operator: str, pattern: str) -> str:
    """``${name#pattern}`` and its kin, for patterns without ``[``."""
    if value is None or UNKNOWN in value + pattern or len(value) > 1000:
        return UNKNOWN
    cuts = range(len(value) + 1)
    if operator[0] == "#":
        ends = [cut for cut in cuts if fnmatchcase(value[:cut], pattern)]
        return value[ends[-1 if operator == "##" else 0] :] if ends else value
    starts = [cut for cut in cuts if fnmatchcase(value[cut:], pattern)]
    return value[: starts[0 if operator == "%%" else -1]] if starts else value


# The shell's own commands


def _exit(shell: _Shell, words: Sequence[str]) -> Status:
    raise _Ends("exit")


def _return(shell: _Shell, words: Sequence[str]) -> Status:
    raise _Ends("return", {"0": True}.get(words[0], False) if words else True)


def _break(shell: _Shell, words: Sequence[str]) -> Status:
    raise _Ends("break")


def _continue(shell: _Shell, words: Sequence[str]) -> Status:
    raise _Ends("continue")


def _export(shell: _Shell, words: Sequence[str]) -> Status:
    for word in words:
        name, equals, value = word.partition("=")
        if equals:
            shell.assign(name, value)
        else:
            shell.variables.setdefault(name, "")
    return True


def _unset(shell: _Shell, words: Sequence[str]) -> Status:
    for word in words:
        shell.variables[word] = ""
    return True


def _set(shell: _Shell, words: Sequence[str]) -> Status:
    if "--" in words:
        shell.arguments = dict(enumerate(words[words.index("--") + 1 :], start=1))
    return True


def _shift(shell: _Shell, words: Sequence[str]) -> Status:
    given = whole_number(words[0]) if words else None
    count = 1 if given is None else given
    shell.arguments = dict(enumerate(shell.arguments_now()[count:], start=1))
    return True


def _test(shell: _Shell, words: Sequence[str]) -> Status:
    words = [word for word in words if word not in ("]", "]]")]
    for joint, decide in (("-o", _either), ("-a", _both)):
        if joint in words[1:-1]:
            at = words.index(joint, 1)
            return decide(_test(shell, words[:at]), _test(shell, words[at + 1 :]))
    if words[:1] == ["!"] and len(words) > 1:
        status = _test(shell, words[1:])
        return None if status is None else not status
    if len(words) == 3:
        return _compared(words[0], words[1], words[2])
    if len(words) == 2:
        return _asked(shell, words[0], words[1])
    return bool(words and words[0]) if not any(UNKNOWN in word for word in words) else None


def _either(left: Status, right: Status) -> Status:
    return True if True in (left, right) else None if None in (left, right) else False


def _both(left: Status, right: Status) -> Status:
    return False if False in (left, right) else None if None in (left, right) else True


def _compared(left: str, operator: str, right: str) -> Status:
    if UNKNOWN in left + right:
        return None
    if operator in ("=", "=="):
        return left == right
    if operator == "!=":
        return left != right
    numbers: Mapping[str, Callable[[int, int], bool]] = {
        "-eq": int.__eq__, "-ne": int.__ne__, "-lt": int.__lt__, "-le": int.__le__, "-gt": int.__gt__, "-ge": int.__ge__
    }  # fmt: skip
    one, other = whole_number(left), whole_number(right)
    return None if operator not in numbers or one is None or other is None else numbers[operator](one, other)


def _asked(shell: _Shell, operator: str, word: str) -> Status:
    if UNKNOWN in word:
        return None
    if operator in ("-z", "-n"):
        return (word == "") == (operator == "-z")
    return shell.host.test(operator, word) if operator[:1] == "-" and len(operator) == 2 else None


def _db_get(shell: _Shell, words: Sequence[str]) -> Status:
    shell.assign("RET", shell.host.output(("db_get", *words)))
    return True


BUILTINS: Mapping[str, Callable[[_Shell, Sequence[str]], Status]] = {
    **dict.fromkeys(
        (":", "true", "umask", "cd", "trap", ".", "source", "wait", "eval", "exec", "alias"), lambda s, w: True
    ),
    "false": lambda shell, words: False,
    "exit": _exit,
    "return": _return,
    "break": _break,
    "continue": _continue,
    **dict.fromkeys(("export", "readonly", "local", "declare", "typeset"), _export),
    "unset": _unset,
    "db_get": _db_get,
    "set": _set,
    "shift": _shift,
    **dict.fromkeys(("[", "test", "[["), _test),
}

RUNNERS: Mapping[type, Callable[..., Status]] = {
    reader.Simple: _Shell.simple,
    reader.Sequence: _Shell.sequence,
    reader.Junction: _Shell.junction,
    reader.Not: _Shell.not_,
    reader.Pipe: _Shell.pipe,
    reader.If: _Shell.if_,
    reader.For: _Shell.for_,
    reader.While: _Shell.while_,
    reader.Case: _Shell.case,
    reader.Function: _Shell.function,
}
