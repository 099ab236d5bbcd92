"""The figures of our pages, made from the reports in ``docs/figures``.

    python -m tests.docs.figures               write them into the pages (make docs-figures)
    python -m tests.docs.figures keep FILE…    take new reports, without what names this machine's paths

A page has them between ``<!-- figures: NAME -->`` and ``<!-- end of figures -->``, and nowhere else.
"""

import re
import sys
import textwrap
from collections.abc import Callable, Mapping
from pathlib import Path

from imagebuilder.measure.report import ImageReport, Report, load
from tests.docs.blocks import ROOT

FOLDER = ROOT / "docs" / "figures"
REPORTS = ("starts", "least", "clones", "kernels")
"""What ``make figures-report`` measures: each a file of ``docs/figures``."""
PLACE = re.compile(r"(?P<begin><!-- figures: (?P<name>\w+) -->\n).*?(?P<end><!-- end of figures -->)", re.S)
NONE = "–"


def report(name: str) -> Report:
    """A report of the tree."""
    return load(FOLDER / f"{name}.json")


def written(text: str) -> str:
    """A page with its figures as the reports have them."""
    return PLACE.sub(lambda found: f"{found['begin']}\n{FIGURES[found['name']]()}\n\n{found['end']}", text)


def keep(path: Path) -> None:
    """A report into the tree. The command lines in it name folders of the machine that measured: they are left out."""
    document = load(path)
    images = tuple(image.model_copy(update={"command": None}) for image in document.images)
    FOLDER.mkdir(exist_ok=True)
    (FOLDER / path.name).write_bytes(document.model_copy(update={"images": images}).to_bytes())


def _starts() -> str:
    """The table of README: what each recipe takes."""
    document, clones = report("starts"), report("clones")
    least = {image.name: image for image in report("least").images}
    rows = [
        "| recipe | image as shipped | least memory that answers | spawn → ready | × floor | guest instructions |",
        "|---|---|---|---|---|---|",
        *(_start(image, least.get(image.name)) for image in document.images),
        *(_start(image, None) for image in clones.images if image.name != "nginx"),
    ]
    floors = [image.startup.floor_ms.median for image in document.images if image.startup]
    where = f"{_where(document, clones)} Medians of {_rounds(document)} rounds; the floor was {min(floors):.0f} ms."
    return "\n".join([_lines(where), "", *rows])


def _start(image: ImageReport, least: ImageReport | None) -> str:
    startup = image.startup
    assert startup
    memory = least.memory.minimum_bytes if least and least.memory else None
    cells = (
        f"`{image.name.split()[0]}`{_kind(image.name)}",
        f"{image.bytes / 1e6:.1f} MB" if image.bytes else NONE,
        f"{memory >> 20} MiB" if memory else NONE,
        _time(startup.ready_ms.median),
        f"{startup.floors.median:.1f}" if startup.floors else NONE,
        f"{startup.instructions.median / 1e6:.1f} M" if startup.instructions else NONE,
    )
    return f"| {' | '.join(cells)} |"


def _kind(name: str) -> str:
    return {"clone": ", clone of a template", "copy": ", clone as a copy of a warm one"}.get(name.partition(" ")[2], "")


def _clones() -> str:
    """The table of templates.md: a cold start beside clones."""
    document = report("clones")
    rows = ["| | spawn → ready | × floor | QEMU's processor time |", "|---|---|---|---|"]
    for image in document.images:
        startup = image.startup
        assert startup and startup.floors and startup.cpu_ms
        ready = startup.ready_ms
        times = f"{_time(ready.median)} ({ready.min:.0f} to {ready.max:.0f})"
        kind = _kind(image.name).removeprefix(", ") or "cold start"
        rows.append(f"| {kind} | {times} | {startup.floors.median:.1f} | {startup.cpu_ms.median:.0f} ms |")
    where = f"{_where(document)} Medians of {_rounds(document)} rounds of nginx, all in turn."
    return "\n".join([_lines(where), "", *rows])


def _kernels() -> str:
    """The sentence of README: our kernel beside the yardstick."""
    document = report("kernels")
    ours, theirs = (image for image in document.images)
    assert ours.startup and theirs.startup and theirs.bytes
    factor = theirs.startup.ready_ms.median / ours.startup.ready_ms.median
    mib = theirs.machine.memory_mib if theirs.machine else 0
    return _lines(
        f"{_where(document)} The same nginx on Debian's cloud kernel, both with {mib} MiB and in turn, takes "
        f"{_time(theirs.startup.ready_ms.median)} beside {_time(ours.startup.ready_ms.median)} on `{ours.kernel}`, "
        f"{factor:.0f} times as long, and ships as {theirs.bytes / 1e6:.1f} MB."
    )


def _lines(text: str) -> str:
    return textwrap.fill(text, 120, break_on_hyphens=False)


def _where(*documents: Report) -> str:
    document = documents[0]
    host = document.host
    when = f"{document.made:%Y-%m-%d}" if document.made else "an unknown day"
    accelerator = (host.accelerator or "an unknown accelerator").upper()
    busy = (
        " **The host was busy: the times scatter.**"
        if any(image.warnings for each in documents for image in each.images)
        else ""
    )
    return f"Measured on {when}: {host.cores} cores of an {host.cpu}, QEMU {host.qemu}, {accelerator}.{busy}"


def _rounds(document: Report) -> str:
    rounds = sorted({len(image.startup.ready_ms.samples) for image in document.images if image.startup})
    return " to ".join(map(str, rounds))


def _time(ms: float) -> str:
    return f"{ms / 1e3:.2f} s" if ms >= 1e3 else f"{ms:.0f} ms" if ms >= 20 else f"{ms:.1f} ms"


FIGURES: Mapping[str, Callable[[], str]] = {"starts": _starts, "clones": _clones, "kernels": _kernels}
PAGES = ("README.md", "docs/templates.md")
"""The pages that have any."""


def main(words: list[str]) -> None:
    """The command line above."""
    if words[:1] == ["keep"]:
        for each in words[1:]:
            keep(Path(each))
        return
    for page in PAGES:
        path = ROOT / page
        path.write_text(written(path.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
