"""HTTP messages: what is understood, what is refused, and that nothing else is passed on."""

import asyncio
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imagebuilder.fleet.http import HEAD_BYTES, HOP, Request, Response, TooLarge, Unreadable, read_answer, read_request

MOST_BYTES = 1000
GET = b"GET / HTTP/1.1\r\nHost: h\r\n"
PUT = b"PUT / HTTP/1.1\r\nHost: h\r\n"


class Sink:
    """The client's end of a connection, as far as reading a request needs it."""

    def __init__(self) -> None:
        self.data = b""

    def write(self, data: bytes) -> None:
        """What is sent."""
        self.data += data


async def _reading(data: bytes, read: Any, *words: Any) -> Any:
    reader = asyncio.StreamReader(limit=HEAD_BYTES)
    reader.feed_data(data)
    reader.feed_eof()
    return await read(reader, *words)


def request(data: bytes, sink: Sink | None = None) -> Request:
    """The request in the bytes."""
    return asyncio.run(_reading(data, read_request, sink or Sink(), MOST_BYTES))  # type: ignore[no-any-return]


def answer(data: bytes, method: str = "GET") -> Response:
    """The answer in the bytes."""
    return asyncio.run(_reading(data, read_answer, method, MOST_BYTES))  # type: ignore[no-any-return]


def test_a_request_is_written_anew() -> None:
    found = request(
        b"POST /a?b=c HTTP/1.0\r\nHost: here\r\nConnection: keep-alive, X-Mine\r\nX-Mine: 1\r\nKeep-Alive: 5\r\n"
        b"Content-Length: 5\r\n\r\nhelloand more"
    )
    assert (found.method, found.target, found.body) == ("POST", "/a?b=c", b"hello")
    assert found.to_bytes({"X-Other": "2"}) == (
        b"POST /a?b=c HTTP/1.1\r\nHost: here\r\nX-Other: 2\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello"
    )


def test_chunks_become_a_body_of_known_length() -> None:
    found = request(PUT + b"Transfer-Encoding: Chunked\r\n\r\n3;a=b\r\nabc\r\n02\r\nde\r\n0\r\nT: 1\r\n\r\n")
    assert found.body == b"abcde"
    assert b"Content-Length: 5\r\n" in found.to_bytes()
    assert b"ransfer" not in found.to_bytes()


def test_a_client_that_waits_is_told_to_go_on() -> None:
    sink = Sink()
    found = request(PUT + b"Expect: 100-continue\r\nContent-Length: 1\r\n\r\nx", sink)
    assert sink.data == b"HTTP/1.1 100 Continue\r\n\r\n"
    assert b"Expect" not in found.to_bytes()


def test_an_answer_is_written_anew() -> None:
    found = answer(
        b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 201 All is well\r\nSet-Cookie: a=1\r\nSet-Cookie: b=2\r\n"
        b"Transfer-Encoding: chunked\r\n\r\nA\r\n0123456789\r\n0\r\n\r\n"
    )
    assert (found.status, found.reason, found.body) == (201, "All is well", b"0123456789")
    assert found.to_bytes() == (
        b"HTTP/1.1 201 All is well\r\nSet-Cookie: a=1\r\nSet-Cookie: b=2\r\nContent-Length: 10\r\n"
        b"Connection: close\r\n\r\n0123456789"
    )


def test_an_answer_without_a_length_ends_with_its_connection() -> None:
    assert answer(b"HTTP/1.0 200\r\n\r\nall of it").body == b"all of it"


@pytest.mark.parametrize("method, status", [("HEAD", 200), ("GET", 304), ("GET", 204)])
def test_answers_that_have_no_body(method: str, status: int) -> None:
    found = answer(f"HTTP/1.1 {status} \r\nContent-Length: 7\r\n\r\n".encode(), method)
    assert found.body == b""
    assert (b"Content-Length: 7" in found.to_bytes()) is (method == "HEAD")


@pytest.mark.parametrize(
    "data",
    [
        b"GET /\r\nHost: h\r\n\r\n",
        b"GET  / HTTP/1.1\r\nHost: h\r\n\r\n",
        b"GET / HTTP/2.0\r\nHost: h\r\n\r\n",
        b"G(T / HTTP/1.1\r\nHost: h\r\n\r\n",
        b"GET /\xc3\xa4 HTTP/1.1\r\nHost: h\r\n\r\n",
        GET + b"A : b\r\n\r\n",
        b"GET / HTTP/1.1\r\n\r\n",
        GET + b"Host: i\r\n\r\n",
        GET + b"A: \0\r\n\r\n",
        GET + b"no colon\r\n\r\n",
        PUT + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\nab",
        PUT + b"Content-Length: +1\r\n\r\na",
        PUT + b"Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        PUT + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        PUT + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        PUT + b"Transfer-Encoding: chunked\r\n\r\n0x1\r\na\r\n0\r\n\r\n",
        PUT + b"Transfer-Encoding: chunked\r\n\r\n1\r\nab\r\n0\r\n\r\n",
    ],
)
def test_requests_that_could_be_understood_in_two_ways_are_refused(data: bytes) -> None:
    with pytest.raises(Unreadable):
        request(data)


@pytest.mark.parametrize(
    "data",
    [
        GET + b"A: " + b"b" * 2 * HEAD_BYTES + b"\r\n\r\n",
        PUT + b"Content-Length: 1001\r\n\r\n" + b"a" * 1001,
        PUT + b"Transfer-Encoding: chunked\r\n\r\n3e9\r\n" + b"a" * 1001 + b"\r\n0\r\n\r\n",
    ],
)
def test_requests_that_are_too_large_are_refused(data: bytes) -> None:
    with pytest.raises(TooLarge):
        request(data)


@pytest.mark.parametrize("data", [GET + b"A: b\r\n c\r\n\r\n", b"GET / HTTP/1.1\nHost: h\nA: b c\n\n"])
def test_old_ways_to_end_a_line_are_not_passed_on(data: bytes) -> None:
    assert request(data).to_bytes() == GET + b"A: b c\r\nConnection: close\r\n\r\n"


def test_a_request_that_names_no_host_gets_one() -> None:
    assert b"\r\nHost: localhost\r\n" in request(b"GET / HTTP/1.0\r\n\r\n").to_bytes()
    assert b"\r\nHost: h\r\n" in request(GET + b"Connection: host\r\n\r\n").to_bytes()


def test_a_server_may_say_much_before_it_answers() -> None:
    assert answer(b"HTTP/1.1 102 Processing\r\n\r\n" * 5000 + b"HTTP/1.1 204 \r\n\r\n").status == 204


def test_what_makes_no_sense_is_quoted_in_short() -> None:
    with pytest.raises(Unreadable, match=r"^begins with no line of HTTP/1 .*illegal request line") as caught:
        request(b"Hello\x1b[2J" + b"a" * 5000 + b"\r\n\r\n")
    assert len(str(caught.value)) < 250 and str(caught.value).isprintable()


@pytest.mark.parametrize("data", [b"", b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\na"])
def test_an_answer_that_breaks_off_is_none(data: bytes) -> None:
    with pytest.raises(EOFError):
        answer(data)


@pytest.mark.parametrize("data", [b"garbage\r\n\r\n", b"HTTP/1.1 20 OK\r\n\r\n", b"HTTP/1.1 200OK\r\n\r\n"])
def test_an_answer_that_is_none(data: bytes) -> None:
    with pytest.raises(Unreadable):
        answer(data)


WORDS = [
    *(
        b"GET",
        b"HEAD",
        b"CONNECT",
        b"/",
        b" ",
        b"\r\n",
        b"\n",
        b"\t",
        b":",
        b",",
        b"0",
        b"5",
        b"abcde",
        b"\xe4",
        b"\x01",
    ),
    *(b"HTTP/1.0", b"HTTP/1.1", b"GET / HTTP/1.1\r\n", b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 100 \r\n", b"Host: a\r\n"),
    *(b"Connection: ", b"Content-Length: ", b"Transfer-Encoding: chunked\r\n", b"Upgrade: a\r\n", b"host", b"close"),
    *(b"Expect: 100-continue\r\n", b"A: b\r\n", b"99999999999999999999", b"9" * 5000, b"5\r\nabcde\r\n0\r\n\r\n"),
]


@given(st.binary(max_size=300) | st.lists(st.sampled_from(WORDS), max_size=20).map(b"".join))
def test_whatever_comes_is_refused_or_passed_on(data: bytes) -> None:
    for read in (request, answer):
        for beginning in (b"", b"HTTP/1.1 200 OK\r\n" if read is answer else GET):
            try:
                found = read(beginning + data)
            except (Unreadable, EOFError):
                continue
            again = read(found.to_bytes())
            assert again.body == found.body and set(again.passed_on) - {("Host", "localhost")} <= set(found.passed_on)
            assert set(again.passed_on) >= set(found.passed_on)


TOKENS = st.text("abcXYZ012-_!", min_size=1, max_size=8)
LETTERS = [chr(code) for code in (*range(33, 127), *range(160, 256))]
VALUES = st.text(LETTERS, max_size=20)
ROWS = st.lists(st.tuples(TOKENS, VALUES).filter(lambda row: row[0].lower() not in HOP), max_size=5)
HEADERS = ROWS.map(lambda rows: [("Host", "h"), *rows])


@given(TOKENS, st.text("/abc?=%", min_size=1, max_size=20), HEADERS, st.binary(max_size=50))
def test_what_is_written_is_read_as_the_same(
    method: str, target: str, headers: list[tuple[str, str]], body: bytes
) -> None:
    written = Request(tuple(headers), body, method=method, target=target)
    found = request(written.to_bytes())
    assert (found.method, found.target, found.body, found.passed_on) == (method, target, body, tuple(headers))
    replied = answer(Response(tuple(headers), body, status=200, reason="OK").to_bytes())
    assert (replied.status, replied.body, replied.passed_on) == (200, body, tuple(headers))
