"""Why an instance did not do what it should, as a sentence: the application's own words first, then what to do.

It follows from what was seen: how the machine ended, what stands on its console, and what init says listens.
"""

import re
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass

from imagebuilder.machine.backtrace import without_frames
from imagebuilder.machine.ending import EARLY, Exit, How
from imagebuilder.machine.excerpt import excerpt, refusal
from imagebuilder.machine.messages import Listens
from imagebuilder.machine.refused import refused

MOST_LINES = 3
WORDS_CHARACTERS = 300
MAIN_CHARACTERS = 220  # of these, for the line that says the most
LEAST_CHARACTERS = 40
MOST_NAMED = 4
LAST_CHARACTERS, LAST_LINES = 32768, 20  # of the console, in which one looks for complaints
INIT = "init: "
COLOURS = re.compile(r"\x1b\[[0-9;]*m")
KERNEL = re.compile(r"\[ *\d+\.\d{6}\] ")
OUT_OF_MEMORY = re.compile(r"Out of memory: Killed process \d+ \(([^)\n]{1,64})\)")
NO_MEMORY_LEFT = re.compile(r"deadlocked on memory|[Oo]ut of memory|unable to allocate|[Ff]ailed to allocate")
FOREGROUND = "have it stay in the foreground, as nginx with -g 'daemon off;' and redis-server with --daemonize no"
MORE_MEMORY = "give it more: machine.memory_mib of the recipe, or --memory"
NO_IPV6 = 'its kernel may lack IPv6: have it listen on 0.0.0.0, or add that with kernel.fragments = ["ipv6"]'
LOOPBACK_ONLY = "the guest's network does not reach that: have it listen on 0.0.0.0"
FAMILY = re.compile(r"Address family not supported|EAFNOSUPPORT|[Ee]rr(no|or)? ?=?:? ?97\b|\(97[:)]")
CLOSED = re.compile(r"cannot (?:start|enter the working directory) [^:\n]*: Permission denied")
CLOSED_TO_USER = (
    'its user (nonroot where the recipe names none) may not: set mode = "0755" where the recipe brings that file and'
    ' its folders, or user = "root" under [application]'
)
SIGKILL = 9
OUTSIDE = re.compile(
    r"network is unreachable|no route to host|temporary failure in name resolution|name or service not known"
    r"|no address associated with hostname|could not resolve|no such host\b|UnknownHostException|connection refused"
    r"|connection timed out|\b(?:ENOTFOUND|EAI_AGAIN|ENETUNREACH|EHOSTUNREACH|ECONNREFUSED|ETIMEDOUT)\b",
    re.IGNORECASE,
)
INSIDE = re.compile(r"\b127\.\d+\.\d+\.\d+|\blocalhost\b|::1\b|\b0\.0\.0\.0\b|\.sock\b")
NO_EGRESS = (
    'a guest reaches nothing outside of it by itself: egress = "full" under [machine] of the recipe, or --egress full'
    " of run and serve, lets it"
)


@dataclass(frozen=True, slots=True)
class Seen:
    """What was seen of an instance. ``left`` are processes that ran on when the application had ended, ``listens`` is
    None when that is not known; ``closed``: it has a network, and no way out; ``lacks`` returns what to do about files
    that lines say are missing, ``unread`` about those that the configuration reads where they are there."""

    name: str
    memory_mib: int
    console: str = ""
    left: int = 0
    listens: Collection[Listens] | None = None
    closed: bool = False
    lacks: Callable[[Sequence[str]], Iterable[str]] = lambda _: ()
    unread: Callable[[], Iterable[str]] = tuple


def failed(seen: Seen, end: Exit, when: str) -> tuple[str, str | None]:
    """Sentence and hint for a machine that ended; ``when`` completes the sentence: "before it was ready"."""
    what, advice = _what(seen, end)
    sentence = what if what.startswith(EARLY) else f"{what} {when}"
    return f"{seen.name}: {sentence}", "; ".join(
        filter(None, (last_words(seen.console), advice, *remedies(seen)))
    ) or None


def late(seen: Seen, limit_s: float, lacking: str, port: int | None) -> tuple[str, str | None]:
    """Sentence and hint for one that was not ready in time; ``lacking`` is what did not come."""
    elsewhere = None if port is None or seen.listens is None else _elsewhere(port, seen.listens)
    lacking, advice = elsewhere or (lacking, None)
    killed = OUT_OF_MEMORY.search(seen.console)
    memory = f"the guest ran out of memory, and its kernel killed {killed[1]}: {MORE_MEMORY}" if killed else None
    others = [each for each in remedies(seen) if not (each == NO_IPV6 and advice == LOOPBACK_ONLY)]
    idle = port is not None and seen.listens is not None and not seen.listens and not killed
    unread = tuple(seen.unread()) if idle else ()
    hints = (last_words(seen.console), memory, *(unread or (advice,)), *others)
    return f"{seen.name} was not ready within {limit_s:g} s: {lacking}", "; ".join(filter(None, hints)) or None


def last_words(console: str) -> str | None:
    """The last lines of a console that are the application's, and not init's or the kernel's; without any, those of
    the kernel. Of a backtrace the line that says what it is about."""
    own = own_lines(console) or [line for line in _lines(console) if not line.startswith(INIT)][-1:]
    lines, main = without_frames(own)
    shown = list(range(len(lines)))[-MOST_LINES:]
    if main is None:
        main = next((at for at in reversed(shown) if refusal(lines[at])), None)
    elif main not in shown:
        shown = [main, *shown[1:]]
    said = " / ".join(_fitting([lines[at] for at in shown], None if main is None else shown.index(main)))
    return f"the console ends with: {said}" if said else None


def _fitting(lines: list[str], main: int | None) -> list[str]:
    """The lines, each short enough that all together are; the main one gets the most, and short ones leave others what
    they do not need."""
    room = WORDS_CHARACTERS
    short: dict[int, str] = {}
    for at in sorted(range(len(lines)), key=lambda at: (at != main, len(lines[at]))):
        left = len(lines) - len(short)
        share = MAIN_CHARACTERS if at == main and left > 1 else max(room // left, LEAST_CHARACTERS)
        short[at] = excerpt(lines[at], share)
        room -= len(short[at])
    return [short[at] for at in range(len(lines))]


def own_lines(console: str) -> list[str]:
    """What the application printed, without empty lines; indented as it was."""
    return [line for line in _lines(console) if not (line.startswith(INIT) or KERNEL.match(line))]


def _lines(console: str) -> list[str]:
    return [line for line in (each.rstrip() for each in COLOURS.sub("", console).splitlines()) if line]


def _what(seen: Seen, end: Exit) -> tuple[str, str | None]:
    """What ended it, and what to do about that."""
    starved = f"the guest ran out of memory ({seen.memory_mib} MiB): its kernel"
    if end.how is How.PANIC and NO_MEMORY_LEFT.search(end.why):
        return f"{starved} panicked ({end.why.partition(': ')[2]})", MORE_MEMORY
    if end.how is How.SILENT and not end.why.startswith(EARLY):
        return f"{end.why},", None
    if end.how is not How.APPLICATION:
        return end.why, CLOSED_TO_USER if CLOSED.search(end.why) else None
    if end.signal == SIGKILL and OUT_OF_MEMORY.search(seen.console):
        return f"{starved} killed the application", MORE_MEMORY
    if seen.left and end.ok:
        running = "1 process" if seen.left == 1 else f"{seen.left} processes"
        return (
            f"the application went into the background (it exited with status 0 and left {running} running)",
            FOREGROUND,
        )
    return f"the application started and {end.did}", None


def remedies(seen: Seen) -> Iterator[str]:
    """What to do about that of which the application's last lines complain."""
    lines, _ = without_frames(own_lines(seen.console[-LAST_CHARACTERS:]))
    last = lines[-LAST_LINES:]
    if any(map(FAMILY.search, last)):
        yield NO_IPV6
    if seen.closed and any(OUTSIDE.search(line) and not INSIDE.search(line) for line in last):
        yield NO_EGRESS
    yield from refused(last)
    yield from seen.lacks(last)


def _elsewhere(port: int, listens: Collection[Listens]) -> tuple[str, str] | None:
    """What is wrong when nothing listens on the port that is asked, and what to do; None when something does."""
    there = sorted(map(str, (each for each in listens if each.port == port)))
    if any(not each.local for each in listens if each.port == port):
        return None
    if there:
        return f"port {port} is listened on at {' and '.join(there)} only", LOOPBACK_ONLY
    if not listens:
        return (
            f"nothing listens on port {port}, nor on another one",
            "the application may need more time, or no network port",
        )
    named = ", ".join(sorted(map(str, listens))[:MOST_NAMED])
    return f"nothing listens on port {port}, but at {named}", "give [ready] that port, or the application this one"
