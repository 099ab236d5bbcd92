"""Statements and envelopes as values: what they are by in-toto's own library, and whatever else may stand in a file."""

import json
from typing import Any

import pytest
from google.protobuf.json_format import ParseDict
from hypothesis import given, settings
from hypothesis import strategies as st
from in_toto_attestation.predicates.test_result.v0 import test_result_pb2
from in_toto_attestation.v1 import statement_pb2
from in_toto_attestation.v1.statement import Statement as Known

from imagebuilder import documents
from imagebuilder.attestation import boot_tests
from imagebuilder.attestation.envelope import opened
from imagebuilder.sbom.statement import Statement
from tests.examples import examples
from tests.measure.reports import FULL
from tests.measure.reports import given as reported

SUBJECTS = {"vmlinux": "a" * 64, "root.erofs": "b" * 64}
JSON: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=20) | st.just("AAAA"),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner, max_size=3),
    max_leaves=8,
)


@pytest.mark.parametrize(("outcomes", "result"), [({"boots": True, "answers": True}, "PASSED"),
                                                  ({"boots": True, "answers": False}, "FAILED")])  # fmt: skip
def test_the_result_of_a_test_is_one_by_in_totos_library(outcomes: dict[str, bool], result: str) -> None:
    made = boot_tests.statement(reported(FULL).report, outcomes, SUBJECTS)
    document = json.loads(made.to_bytes())
    Known.copy_from_pb(ParseDict(document, statement_pb2.Statement())).validate()
    parsed = ParseDict(document["predicate"], test_result_pb2.TestResult())
    assert parsed.result == result
    assert [*parsed.passed_tests] == [name for name, passed in outcomes.items() if passed]
    assert [*parsed.failed_tests] == [name for name, passed in outcomes.items() if not passed]
    host, figures = parsed.configuration
    assert host.annotations["qemu"] == "7.2.22" and host.annotations["accelerator"] == "tcg"
    assert figures.annotations["image"]["startup"]["ready_ms"]["median"] == 610


def test_a_statement_is_read_as_it_was_written() -> None:
    made = Statement(SUBJECTS, "https://example.org/it", {"a": [1, None, "ä"]})
    assert Statement.of_bytes(made.to_bytes()) == made


@settings(max_examples=examples(300), deadline=None)
@given(st.dictionaries(st.sampled_from(["_type", "subject", "predicateType", "predicate"]), JSON), JSON)
def test_whatever_claims_to_be_a_statement(document: dict[str, Any], subject: Any) -> None:
    for each in (document, {**document, "_type": "https://in-toto.io/Statement/v1", "subject": [subject]}):
        try:
            Statement.of_bytes(json.dumps(each).encode())
        except documents.Damaged as error:
            assert str(error)


@settings(max_examples=examples(300), deadline=None)
@given(st.fixed_dictionaries({"payload": JSON, "payloadType": JSON, "signatures": st.lists(JSON, max_size=20)}),
       st.dictionaries(st.sampled_from(["sig", "keyid"]), JSON))  # fmt: skip
def test_whatever_claims_to_be_an_envelope(document: dict[str, Any], signature: dict[str, Any]) -> None:
    for each in (document, {**document, "signatures": [signature]}, {"payload": "AAAA", "payloadType": "x",
                                                                     "signatures": [signature]}):  # fmt: skip
        try:
            assert opened(json.dumps(each).encode(), []) is None
        except documents.Damaged as error:
            assert str(error)
