"""Challenges: those of real servers, and whatever else stands in that header."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imagebuilder.oci.challenge import Challenge, parse

READ = {
    'Bearer realm="https://auth.docker.io/token",service="registry.docker.io",scope="repository:a/b:pull,push"': (
        Challenge(
            "bearer",
            {
                "realm": "https://auth.docker.io/token",
                "service": "registry.docker.io",
                "scope": "repository:a/b:pull,push",
            },
        ),
    ),
    'Basic realm="a \\"b\\"", BEARER Realm=x , service = y': (
        Challenge("basic", {"realm": 'a "b"'}),
        Challenge("bearer", {"realm": "x", "service": "y"}),
    ),
    'Negotiate, Basic realm="x"': (Challenge("negotiate"), Challenge("basic", {"realm": "x"})),
    'NTLM abc==, Bearer realm="r"': (Challenge("ntlm"), Challenge("bearer", {"realm": "r"})),
    'Bearer realm="first",realm="second"': (Challenge("bearer", {"realm": "first"}),),
    'realm="of nobody"': (),
    'Basic realm="open': (Challenge("basic"),),
    "": (),
}


@pytest.mark.parametrize("header", READ, ids=lambda header: header[:30])
def test_read(header: str) -> None:
    assert parse(header) == READ[header]


TEXT = st.text(st.characters(codec="latin-1", exclude_categories=["Cc"]))


@given(st.dictionaries(st.sampled_from(["realm", "service", "scope"]), TEXT, min_size=1))
def test_what_is_quoted_comes_back(parameters: dict[str, str]) -> None:
    quoted = {name: value.replace("\\", "\\\\").replace('"', '\\"') for name, value in parameters.items()}
    header = "Bearer " + ",".join(f'{name}="{value}"' for name, value in quoted.items())
    assert parse(header) == (Challenge("bearer", parameters),)


@given(st.text() | st.text(st.sampled_from('Basic realm="x",\\ =')))
def test_whatever_a_server_sends_is_read(header: str) -> None:
    assert all(each.scheme for each in parse(header))


@pytest.mark.parametrize("text", ["a", ",", 'a="\\', "a ", "a = ", " ", "a=", '"', "=="])
def test_a_long_one_takes_no_time(text: str) -> None:
    began_s = time.process_time()
    parse(text * 100_000)
    assert time.process_time() - began_s < 2
