"""JUnit XML: held against the schema that CI systems use, and counted by another reader."""

from imagebuilder.measure import junit
from imagebuilder.measure.report import Check
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
    assert cases["nginx", "ready"].get("time") == "0.605"
    assert [child.attrib for child in cases["redis", "builds"]] == [{"message": "no such package"}]
    assert [child.tag for child in cases["redis", "boots"]] == ["skipped"]
    (failure,) = cases["redis.budget", "image_bytes"]
    assert failure.get("message") == "image_bytes was not measured, and at most 6000000 is promised"


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
