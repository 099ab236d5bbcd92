"""``imagebuilder diff`` from Python: in what two images differ, by what stands in their folders alone.

::

    found = difference(Bundle.open(Path("before/nginx")), Bundle.open(Path("out/nginx")))
    for change in found.sections["packages"]:
        print(change.name, change.before, change.after)
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from imagebuilder.bundle import Bundle, Image
from imagebuilder.kernel.prebuilt import options_of
from imagebuilder.measure.report import ImageReport, Report
from imagebuilder.sbom import reading
from imagebuilder.sbom.reading import Bill

Value = str | bool | int | float | None
Values = Mapping[str, Value]


@dataclass(frozen=True, slots=True)
class Change:
    """A value before and after; None is not there."""

    name: str
    before: Value
    after: Value


@dataclass(frozen=True)
class Difference:
    """The ``sections`` by name, each of what differs; those in which nothing does are empty. ``notes``: what could not
    be compared, and why, a sentence each."""

    sections: Mapping[str, tuple[Change, ...]]
    notes: tuple[str, ...] = ()

    @property
    def same(self) -> bool:
        """Whether the images are; figures of a start differ between two starts of the same image."""
        return not any(changes for name, changes in self.sections.items() if name != "startup")

    def describe(self) -> dict[str, Any]:
        """As JSON."""
        made = {
            name: [{"name": each.name, "before": each.before, "after": each.after} for each in changes]
            for name, changes in self.sections.items()
        }
        return {"same": self.same, **made, "notes": [*self.notes]}


def difference(before: Bundle, after: Bundle, *, reports: Sequence[Report] = ()) -> Difference:
    """What differs: how they boot, sizes in bytes, packages, files (their SHA-256; of one that moved to another owner
    nothing), the kernel, its options, and how they started, by the reports in which they were measured. Raises
    InputError when the bill of materials of one cannot be read."""
    bundles = (before, after)
    bills = tuple(reading.read(each.folder) for each in bundles)
    options = tuple(options_of(each.image.kernel.sha256) for each in bundles)
    figures = tuple(_measured(each.image, reports) for each in bundles)
    sections = {
        "image": _changes(*(_booted(each.image) for each in bundles)),
        "sizes": _changes(*(_sizes(each.image) for each in bundles)),
        "packages": _changes(*(_versions(each) for each in bills)),
        "files": _changes(*(_digests(each) for each in bills)),
        "kernel": _changes(*(each.kernel for each in bills)),
        "options": _changes(*options) if all(options) else (),
        "startup": _changes(*(_figures(each) for each in figures)) if all(figures) else (),
    }
    return Difference(sections, tuple(_notes(bundles, sections, options, figures, reports)))


def _changes(before: Values, after: Values) -> tuple[Change, ...]:
    """What is not the same, by name."""
    names = sorted(before.keys() | after.keys())
    return tuple(
        Change(name, before.get(name), after.get(name)) for name in names if before.get(name) != after.get(name)
    )


def _booted(image: Image) -> Values:
    """How an image boots and what it is, as values by the names of ``image.json``."""
    plain = image.boot.model_dump(mode="json") | image.model_dump(mode="json", include={"version", "cmdline"})
    shown = {name: value if isinstance(value, str | int | None) else str(value) for name, value in plain.items()}
    return {**shown, "kernel": image.kernel.name, "root": image.root.format}


def _sizes(image: Image) -> Values:
    """Bytes of the two files, and of the groups of what is in the root."""
    kept = {line.name: line.bytes for line in image.contents if line.kept}
    return {"kernel's file": image.kernel.bytes, "root's file": image.root.bytes, **kept}


def _versions(bill: Bill) -> Values:
    return {name: version or "of no version" for name, version in bill.versions.items()}


def _digests(bill: Bill) -> Values:
    return {path: file.sha256 for path, file in bill.files.items()}


def _measured(image: Image, reports: Sequence[Report]) -> ImageReport | None:
    """The last measurement of this very image."""
    found = [each for report in reports for each in report.images if each.digest == image.digest and each.startup]
    return found[-1] if found else None


def _figures(measured: ImageReport | None) -> Values:
    if measured is None or measured.startup is None:
        return {}
    startup, memory = measured.startup, measured.memory
    return {
        "ready_ms": startup.ready_ms.median,
        "floor_ms": startup.floor_ms.median,
        "startup_floors": round(startup.times_floor, 2),
        "guest_used_bytes": memory.guest_used_bytes if memory else None,
        "host_pss_bytes": memory.host_pss_bytes if memory else None,
        "image_bytes": measured.bytes,
    }


def _notes(
    bundles: Sequence[Bundle],
    sections: Mapping[str, Sequence[Change]],
    options: Sequence[Mapping[str, str]],
    figures: Sequence[ImageReport | None],
    reports: Sequence[Report],
) -> Iterator[str]:
    before, after = (each.image for each in bundles)
    if before.root.sha256 != after.root.sha256 and before.root.format == after.root.format and not sections["files"]:
        yield "The roots differ in what is no file's content: owners, modes, links, times, or where it stands."
    if before.kernel.sha256 != after.kernel.sha256 and not all(options):
        unknown = " and ".join(str(each.folder) for each, known in zip(bundles, options, strict=True) if not known)
        yield f"The kernel's options are not compared: those of {unknown} are not known here."
    if reports and not all(figures):
        missing = " and ".join(str(each.folder) for each, found in zip(bundles, figures, strict=True) if found is None)
        yield f"How they start is not compared: no report has measured {missing}."
    hosts = {(report.host.cpu, report.host.accelerator) for report in reports}
    if len(hosts) > 1:
        yield "The reports are of different machines or accelerators: their times are not to be compared."
