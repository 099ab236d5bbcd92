"""A report as JUnit XML, as CI systems read it: a suite per image, a case per check and per promise."""

from collections.abc import Sequence
from xml.etree import ElementTree as xml

from imagebuilder.measure.budget import BudgetRow
from imagebuilder.measure.checks import GETS_READY, promise
from imagebuilder.measure.render.load_untrusted import plain
from imagebuilder.measure.report import Check, ImageReport, Report


def write(report: Report) -> bytes:
    """The document; the same report gives the same bytes."""
    return _document([_suite(image, image.name) for image in report.images])


def write_all(reports: Sequence[tuple[str, Report]]) -> bytes:
    """One document of several reports; where there are several, the suites' names begin with the reports' labels."""
    several = len(reports) > 1
    named = [(f"{label}: " if several else "", image) for label, report in reports for image in report.images]
    return _document([_suite(image, before + image.name) for before, image in named])


def _document(suites: list[xml.Element]) -> bytes:
    root = xml.Element("testsuites", {"name": "imagebuilder", **_totals(suites)})
    root.extend(suites)
    for element in root.iter():  # a console's line may stand in a message, and XML knows no control characters
        element.attrib.update({name: plain(value) for name, value in element.attrib.items()})
    xml.indent(root)
    return bytes(xml.tostring(root, encoding="utf-8", xml_declaration=True)) + b"\n"


def _suite(image: ImageReport, name: str) -> xml.Element:
    cases = [_checked(image, check) for check in image.checks] + [_promised(image, row) for row in image.budget]
    counts = {name: str(sum(case.find(name) is not None for case in cases)) for name in ("failure", "skipped")}
    suite = xml.Element("testsuite", name=name, tests=str(len(cases)), errors="0")
    suite.set("failures", counts["failure"])
    suite.set("skipped", counts["skipped"])
    suite.extend(cases)
    return suite


def _checked(image: ImageReport, check: Check) -> xml.Element:
    seconds = image.startup.ready_ms.median / 1000 if check.name == GETS_READY and image.startup else 0
    case = xml.Element("testcase", classname=image.name, name=check.name, time=f"{seconds:.3f}")
    if check.holds is None:
        xml.SubElement(case, "skipped", message=check.message or "not reached")
    elif not check.holds:
        xml.SubElement(case, "failure", message=check.message or "failed")
    return case


def _promised(image: ImageReport, row: BudgetRow) -> xml.Element:
    case = xml.Element("testcase", classname=image.name, name=promise(row.key), time="0.000")
    if not row.holds:
        found = "was not measured" if row.value is None else f"is {row.value}"
        xml.SubElement(case, "failure", message=f"{row.key} {found}, and at most {row.limit} is promised")
    return case


def _totals(suites: list[xml.Element]) -> dict[str, str]:
    names = ("tests", "failures", "errors")
    return {name: str(sum(int(suite.get(name, "0")) for suite in suites)) for name in names}
