"""The result of boot tests as a statement: in-toto's ``test-result``, version 0.1
(https://github.com/in-toto/attestation/blob/main/spec/predicates/test-result.md)."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from imagebuilder.measure.report import Report
from imagebuilder.sbom.statement import Statement

PREDICATE = "https://in-toto.io/attestation/test-result/v0.1"
PASSED, FAILED = "PASSED", "FAILED"
GOOD = (PASSED, "WARNED")


def statement(report: Report, outcomes: Mapping[str, bool], subjects: Mapping[str, str]) -> Statement:
    """What was found of the one image of a report, whose files are the ``subjects``: the tests by name, and whether
    each passed."""
    failed = [name for name, passed in outcomes.items() if not passed]
    predicate = {
        "result": FAILED if failed else PASSED,
        "configuration": [_machine(report), _figures(report)],
        "passedTests": [name for name, passed in outcomes.items() if passed],
        "failedTests": failed,
    }
    return Statement(subjects, PREDICATE, predicate)


def _machine(report: Report) -> dict[str, Any]:
    """The machine that tested."""
    known = {key: value for key, value in asdict(report.host).items() if value is not None}
    return {"name": "host", "annotations": known}


def _figures(report: Report) -> dict[str, Any]:
    """What was measured, as ``test --json`` writes it."""
    document = report.as_json()
    return {"name": document["schema"], "annotations": {"made": document["made"], "image": document["images"][0]}}
