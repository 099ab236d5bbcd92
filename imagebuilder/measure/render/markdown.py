"""Reports as Markdown, short enough for the comment of a pull request."""

import re
from collections.abc import Callable, Mapping, Sequence

from imagebuilder.measure.render import lines, words
from imagebuilder.measure.render.lines import Line, Place
from imagebuilder.measure.render.load_untrusted import UntrustedReport
from imagebuilder.measure.report import ImageReport
from imagebuilder.words import counted

PUNCTUATION = re.compile(r"([!-'*-+/:-@\[-`{-~])")  # all that can mean something; not ( ) , - . which then cannot
CALLS = re.compile(r"([@#])")  # a name or a number after it becomes a mention on the usual sites

# A column -> what stands in it.
COLUMNS: Mapping[str, Callable[[ImageReport], str]] = {
    "ready": lambda image: words.ms(image.startup.ready_ms.median if image.startup else None),
    "× floor": lambda image: words.times(words.floors(image.startup)),
    "shipped": lambda image: words.size(image.bytes),
    "guest": lambda image: words.size(image.memory.guest_used_bytes if image.memory else None),
    "host": lambda image: words.size(image.memory.host_pss_bytes if image.memory else None),
    "promises": lambda image: _kept(image),
}


def page(reports: Sequence[UntrustedReport]) -> str:
    """The text. Where several reports have the same image, its last figures stand beside its first."""
    found = lines.places(reports)
    apart = lines.apart(found)
    parts = [_title(found), *([apart] if apart else []), *(part for place in found for part in _place(place))]
    return "\n\n".join(parts) + "\n"


def escaped(text: str) -> str:
    """A text that is shown as it is, in a table too: https://spec.commonmark.org/0.31.2/#backslash-escapes."""
    return CALLS.sub("\\1\u200b", PUNCTUATION.sub(r"\\\1", " ".join(text.split())))


def _title(found: Sequence[Place]) -> str:
    images = [line.last.image for place in found for line in place.lines]
    if not images:
        return "### imagebuilder: no image was measured"
    short = sum(not image.holds for image in images)
    many = f"{len(images)} image{'s' if len(images) != 1 else ''}"
    if short:
        return f"### ✗ imagebuilder: {short} of {many} fall{'s' if short == 1 else ''} short"
    return f"### ✓ imagebuilder: {many}, every check and promise holds"


def _place(place: Place) -> list[str]:
    head = ["| | image |" + "".join(f" {name} |" for name in COLUMNS), "|---|---|" + "---:|" * len(COLUMNS)]
    table = "\n".join([*head, *map(_row, place.lines)])
    falls = [
        f"- ✗ {_name(line)}: {escaped(text)}" for line in place.lines for text in words.shortfalls(line.last.image)
    ]
    beside = [
        f"- · {_name(line)}: {escaped(compared)}" for line in place.lines if (compared := _compared(line.last.image))
    ]
    told = [*falls, *beside]
    return [table, *(["\n".join(told)] if told else []), _where(place)]


def _row(line: Line) -> str:
    cells = [words.mark(line.last.image.holds), _name(line), *(_cell(line, say) for say in COLUMNS.values())]
    return f"| {' | '.join(cells)} |"


def _name(line: Line) -> str:
    image = line.last.image
    return " ".join(part for part in (escaped(image.name), escaped(image.version or "")) if part)


def _cell(line: Line, say: Callable[[ImageReport], str]) -> str:
    first, last = say(line.points[0].image), say(line.last.image)
    return last if first in (last, words.NOT_MEASURED) else f"{last} (was {first})"


def _kept(image: ImageReport) -> str:
    kept = sum(row.holds for row in image.budget)
    return f"{kept} of {len(image.budget)}" if image.budget else "none"


def _compared(image: ImageReport) -> str | None:
    """The verdict beside a reference, with the ratio of the times to ready."""
    found = image.comparison
    if found is None or not found.changes:
        return None
    first = found.changes[0]
    ratio = f"{first.what} {first.ratio:.3f} times, 99 % interval {first.low:.3f} to {first.high:.3f}"
    return f"{found.said} beside {found.reference}: {ratio}"


def _where(place: Place) -> str:
    host = place.host
    facts = {
        "QEMU": host.qemu,
        "accelerator": host.accelerator,
        "kernel": host.kernel,
        "imagebuilder": host.imagebuilder,
    }
    said = [f"{name} {escaped(fact or 'unknown')}" for name, fact in facts.items()]
    cores = counted(host.cores, "core") if host.cores else "unknown cores"
    return f"<sub>{escaped(host.cpu or 'unknown processor')}, {cores}, {', '.join(said)}</sub>"
