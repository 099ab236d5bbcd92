"""Why an instance did not do what it should, as a sentence: the application's own words first, then what to do.

It is told from what was seen: how the machine ended, what stands on its console, and what init says listens.
"""

import re
from collections.abc import Collection
from dataclasses import dataclass

from imagebuilder.machine.ending import EARLY, Exit, How
from imagebuilder.machine.excerpt import excerpt
from imagebuilder.machine.messages import Listens

MOST_LINES = 3
WORDS_CHARACTERS = 300
MOST_NAMED = 4
INIT = "init: "
KERNEL = re.compile(r"\[ *\d+\.\d{6}\] ")
OUT_OF_MEMORY = re.compile(r"Out of memory: Killed process \d+ \(([^)\n]{1,64})\)")
NO_MEMORY_LEFT = re.compile(r"deadlocked on memory|[Oo]ut of memory|unable to allocate|[Ff]ailed to allocate")
FOREGROUND = "have it stay in the foreground, as nginx with -g 'daemon off;' and redis-server with --daemonize no"
MORE_MEMORY = "give it more: machine.memory_mib of the recipe, or --memory"
NO_IPV6 = 'its kernel may lack IPv6: have it listen on 0.0.0.0, or add that with kernel.fragments = ["ipv6"]'
FAMILY = re.compile(r"Address family not supported|EAFNOSUPPORT|[Ee]rr(no|or)? ?=?:? ?97\b|\(97[:)]")
SIGKILL = 9


@dataclass(frozen=True, slots=True)
class Seen:
    """What was seen of an instance. ``left`` are processes that ran on when the application had ended, ``listens`` is
    None when nobody could tell."""

    name: str
    memory_mib: int
    console: str = ""
    left: int = 0
    listens: Collection[Listens] | None = None


def failed(seen: Seen, end: Exit, when: str) -> tuple[str, str | None]:
    """Sentence and hint for a machine that ended; ``when`` completes the sentence: "before it was ready"."""
    what, advice = _what(seen, end)
    sentence = what if what.startswith(EARLY) else f"{what} {when}"
    return f"{seen.name}: {sentence}", "; ".join(filter(None, (last_words(seen.console), advice))) or None


def late(seen: Seen, limit_s: float, lacking: str, port: int | None) -> tuple[str, str | None]:
    """Sentence and hint for one that was not ready in time; ``lacking`` is what did not come."""
    elsewhere = None if port is None or seen.listens is None else _elsewhere(port, seen.listens)
    lacking, advice = elsewhere or (lacking, None)
    killed = OUT_OF_MEMORY.search(seen.console)
    memory = f"the guest ran out of memory, and its kernel killed {killed[1]}: {MORE_MEMORY}" if killed else None
    hints = (last_words(seen.console), memory, advice, _family(seen.console))
    return f"{seen.name} was not ready within {limit_s:g} s: {lacking}", "; ".join(filter(None, hints)) or None


def last_words(console: str) -> str | None:
    """The last lines of a console that are the application's, and not init's or the kernel's; without any, those of
    the kernel."""
    own = own_lines(console) or [line for line in _lines(console) if not line.startswith(INIT)][-1:]
    if not own:
        return None
    said = " / ".join(excerpt(line, WORDS_CHARACTERS // MOST_LINES) for line in own[-MOST_LINES:])
    return f"the console ends with: {said}"


def own_lines(console: str) -> list[str]:
    """What the application printed, without empty lines."""
    return [line for line in _lines(console) if not (line.startswith(INIT) or KERNEL.match(line))]


def _lines(console: str) -> list[str]:
    return [line for line in (each.strip() for each in console.splitlines()) if line]


def _what(seen: Seen, end: Exit) -> tuple[str, str | None]:
    """What ended it, and what to do about that."""
    starved = f"the guest ran out of memory ({seen.memory_mib} MiB): its kernel"
    if end.how is How.PANIC and NO_MEMORY_LEFT.search(end.why):
        return f"{starved} panicked ({end.why.partition(': ')[2]})", MORE_MEMORY
    if end.how is How.SILENT and not end.why.startswith(EARLY):
        return f"{end.why},", None
    if end.how is not How.APPLICATION:
        return end.why, None
    if end.signal == SIGKILL and OUT_OF_MEMORY.search(seen.console):
        return f"{starved} killed the application", MORE_MEMORY
    if seen.left and end.ok:
        running = "1 process" if seen.left == 1 else f"{seen.left} processes"
        return (
            f"the application went into the background (it exited with status 0 and left {running} running)",
            FOREGROUND,
        )
    return f"the application started and {end.did}", _family(seen.console)


def _family(console: str) -> str | None:
    return NO_IPV6 if FAMILY.search(console[-4096:]) else None


def _elsewhere(port: int, listens: Collection[Listens]) -> tuple[str, str] | None:
    """What is wrong when nobody listens at the port that is asked, and what to do; None when somebody does."""
    there = sorted(map(str, (each for each in listens if each.port == port)))
    if any(not each.local for each in listens if each.port == port):
        return None
    if there:
        return f"port {port} is listened on at {' and '.join(there)} only", (
            "the guest's network does not reach that: have it listen on 0.0.0.0"
        )
    if not listens:
        return (
            f"nobody listens at port {port}, nor at another one",
            "the application may need more time, or no network port",
        )
    named = ", ".join(sorted(map(str, listens))[:MOST_NAMED])
    return f"nobody listens at port {port}, but at {named}", "give [ready] that port, or the application this one"
