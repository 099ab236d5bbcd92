"""What a page shows, held against what was printed, where it does not depend on the machine.

Masked in both: numbers (so all figures, sizes and times), hashes, dates, machine names, paths of this machine, bars and
frames of tables, how wide a table is. How long a test took, which is not shown of a short one, is left out. ``…`` is
for anything in a line, and on a line of its own for any lines. Progress lines (they end with ``…``, and of a
long step with how long it takes so far or took), which a terminal draws as a bar and takes away, are left out of what
was printed.
"""

import re
from collections.abc import Iterable, Sequence

ANSI = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
ANYTHING = "…"
PROGRESS = re.compile(r".* …|.*: done in # UNIT|.*: .*# UNIT so far")
MASKS: tuple[tuple[re.Pattern[str], str], ...] = (
    (re.compile(r"\b\d{4}-\d\d-\d\d(T[\d:]+(Z|[+-][\d:]+)?)?"), "DATE"),
    (re.compile(r"-[0-9a-f]{12}\b"), "-HASH"),
    (re.compile(r"\b(?=[0-9a-f]*\d)(?=[0-9a-f]*[a-f])[0-9a-f]{8,64}\b"), "HASH"),
    (re.compile(r"(?<![\w.])/(?:tmp|home|root|work|var/tmp)/\S+"), "PATH"),
    (re.compile(r"[━─═]+|[-=_]{8,}"), "─"),
    (re.compile(r"[█▏▎▍▌▋▊▉░▒▓]+"), ""),
    (re.compile(r"\d+(?:[.,]\d+)*"), "#"),
    (re.compile(r"\b(?:ns|µs|ms|s|B|kB|MB|GB|KiB|MiB|GiB)\b"), "UNIT"),
    (re.compile(r"\s+"), " "),
    (re.compile(r"^(✓ .*) # UNIT$"), r"\1"),
)


def masked(line: str) -> str:
    """A line without what depends on the machine."""
    line = ANSI.sub("", line)
    for pattern, word in MASKS:
        line = pattern.sub(word, line)
    return line.strip()


def printed(text: str) -> list[str]:
    """What a command printed, as it is compared: no empty lines, no progress."""
    lines = (masked(line.rpartition("\r")[2]) for line in ANSI.sub("", text).splitlines())
    return [line for line in lines if line and not PROGRESS.fullmatch(line)]


def difference(shown: Iterable[str], text: str) -> str | None:
    """None when ``text`` is what a page shows; else the first line shown that was not printed in its place."""
    wanted = [line for each in shown if (line := masked(each))]
    found = printed(text)
    return _compare(wanted, found, loose=False)


def _compare(wanted: Sequence[str], found: Sequence[str], *, loose: bool) -> str | None:
    """``loose``: further lines may stand before the first wanted one."""
    if not wanted:
        return None if loose or not found else f"and then, not shown: {found[0]}"
    first, *rest = wanted
    if first == ANYTHING:
        return _compare(rest, found, loose=True)
    pattern = re.compile(".*".join(re.escape(piece) for piece in first.split(ANYTHING)))
    why = f"shown, not printed: {first}"
    for number, line in enumerate(found if loose else found[:1]):
        if pattern.fullmatch(line):
            why_rest = _compare(rest, found[number + 1 :], loose=False)
            if why_rest is None:
                return None
            why = why_rest
    return why
