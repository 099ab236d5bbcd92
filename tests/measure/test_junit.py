"""JUnit XML: held against the schema that CI systems use, and counted by another reader."""

import re
from pathlib import Path

from imagebuilder.measure import checks, junit
from imagebuilder.measure.report import Check
from imagebuilder.pytest_plugin.generated_tests import TESTS
from tests.junit import validated

from .test_report import REPORT


def test_suites_cases_and_counts() -> None:
    root = validated(junit.write(REPORT))
    assert root.tag == "testsuites"
    assert [suite.attrib for suite in root] == [
        {"name": "nginx", "tests": "3", "errors": "0", "failures": "0", "skipped": "0"},
        {"name": "redis", "tests": "3", "errors": "0", "failures": "2", "skipped": "1"},
    ]
    assert root.attrib == {"name": "imagebuilder", "tests": "6", "failures": "2", "errors": "0"}


def test_cases_say_what_went_wrong() -> None:
    cases = {
        (case.get("classname"), case.get("name")): case for case in validated(junit.write(REPORT)).iter("testcase")
    }
    assert cases["nginx", "gets_ready"].get("time") == "0.605"
    assert [child.attrib for child in cases["redis", "builds"]] == [{"message": "no such package"}]
    assert [child.tag for child in cases["redis", "boots"]] == ["skipped"]
    (failure,) = cases["redis", "keeps[image_bytes]"]
    assert failure.get("message") == "image_bytes was not measured, and at most 6000000 is promised"


def test_the_names_are_those_of_the_tests() -> None:
    """One name for one thing: in reports, in both kinds of JUnit XML, and in the docs."""
    names = {re.sub(r"\[.*", "", case.get("name") or "") for case in validated(junit.write(REPORT)).iter("testcase")}
    assert {*names, checks.BUILDS, checks.BOOTS, checks.GETS_READY} <= set(TESTS)
    docs = (Path(__file__).parents[2] / "docs" / "reports.md").read_text()
    (told,) = re.findall(r"^\| `name` \| • \| (`builds`.*) \|$", docs, re.M)
    assert {checks.BUILDS, checks.BOOTS, checks.GETS_READY, checks.CLONES} <= set(re.findall(r"`(\w+)`", told))


def test_an_older_report_has_the_names_of_today() -> None:
    assert Check.model_validate({"name": "ready", "holds": True}).name == checks.GETS_READY


def test_what_a_console_said_is_still_xml() -> None:
    check = Check(name="ready", holds=False, message="\x1b[31mpanic\x00 \ud800 <&>")
    report = REPORT.model_copy(update={"images": (REPORT.images[0].model_copy(update={"checks": (check,)}),)})
    (failure,) = validated(junit.write(report)).iter("failure")
    assert failure.get("message") == "\ufffd[31mpanic\ufffd \ufffd <&>"


def test_several_reports_say_whose_suite_it_is() -> None:
    suites = validated(junit.write_all([("a", REPORT), ("b", REPORT)]))
    assert [suite.get("name") for suite in suites] == ["a: nginx", "a: redis", "b: nginx", "b: redis"]
    assert suites.get("tests") == "12"
    assert junit.write_all([("a", REPORT)]) == junit.write(REPORT)


def test_the_same_report_gives_the_same_bytes() -> None:
    assert junit.write(REPORT) == junit.write(REPORT)
