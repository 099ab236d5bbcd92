"""Downloads, of a real server on the loopback that breaks off, moves, delays and lies."""

import hashlib
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from imagebuilder.errors import SourceError
from imagebuilder.events import Begun, Event, Progress
from imagebuilder.sources import download
from imagebuilder.store import Store

DATA = bytes(range(256)) * 20_000
DIGEST = hashlib.sha256(DATA).hexdigest()


@dataclass
class Server:
    """What it does with requests, and which it got: path and Range."""

    port: int = 0
    cut_after: int | None = None
    """It breaks off after so many bytes of each answer."""
    ranges: bool = True
    moved: dict[str, str] = field(default_factory=dict)
    statuses: list[int] = field(default_factory=list)
    """Of the next answers."""
    pause_s: float = 0.0
    wrong_range: bool = False
    asked: list[tuple[str, str | None]] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    given = Server()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            given.asked.append((self.path, self.headers.get("Range")))
            if given.statuses:
                self.send_error(given.statuses.pop(0))
                return
            if self.path in given.moved:
                self.send_response(302)
                self.send_header("Location", given.moved[self.path])
                self.end_headers()
                return
            begin = int(self.headers["Range"][6:-1]) if given.ranges and "Range" in self.headers else 0
            part = DATA[begin:]
            self.send_response(206 if begin else 200)
            self.send_header("Content-Length", str(len(part)))
            self.send_header("ETag", '"one"')
            if begin:
                first = begin + 1 if given.wrong_range else begin
                self.send_header("Content-Range", f"bytes {first}-{len(DATA) - 1}/{len(DATA)}")
            self.end_headers()
            if given.pause_s:
                for byte in part[:200]:
                    self.wfile.write(bytes([byte]))
                    time.sleep(given.pause_s)
            self.wfile.write(part[: given.cut_after])

        def log_message(self, *_: object) -> None:
            pass

    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setattr(download, "PAUSE_S", 0.01)
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as http:
        http.handle_error = lambda *_: None  # type: ignore[method-assign]  # clients that went away
        given.port = http.server_port
        threading.Thread(target=http.serve_forever, args=(0.02,), daemon=True).start()
        yield given
        http.shutdown()


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


def fetch(server: Server, store: Store, events: list[Event] | None = None, digest: str = DIGEST) -> bytes:
    say = events.append if events is not None else lambda _: None
    return download.blob(f"{server.url}/app.tar", digest, store=store, say=say).read_bytes()


def test_it_is_downloaded_once_with_progress(server: Server, store: Store, events: list[Event]) -> None:
    assert fetch(server, store, events) == DATA
    assert [each.title for each in events if isinstance(each, Begun)] == [f"download {server.url}/app.tar"]
    progress = [each for each in events if isinstance(each, Progress)]
    assert (progress[-1].done, progress[-1].total) == (len(DATA), len(DATA))
    assert fetch(server, store) == DATA
    assert len(server.asked) == 1, "the second time the store has it"
    store.place(DIGEST).write_bytes(b"damaged")
    assert fetch(server, store) == DATA and len(server.asked) == 2


@pytest.mark.parametrize("ranges", [True, False])
def test_it_goes_on_where_the_connection_broke(server: Server, store: Store, ranges: bool) -> None:
    server.cut_after, server.ranges = 2_000_000, ranges
    if ranges:
        assert fetch(server, store) == DATA
        assert [begin for _, begin in server.asked] == [None, "bytes=2000000-", "bytes=4000000-"]
    else:
        with pytest.raises(SourceError, match=r"cannot be downloaded: .*IncompleteRead"):
            fetch(server, store)
        assert len(server.asked) <= 1 + 2 * download.TRIES


def test_a_server_that_is_busy_is_asked_again(server: Server, store: Store) -> None:
    server.statuses = [503, 429, 502]
    assert fetch(server, store) == DATA


@pytest.mark.parametrize(("status", "times"), [(404, 1), (403, 1), (401, 1), (503, download.TRIES)])
def test_what_the_server_answers_is_said(server: Server, store: Store, status: int, times: int) -> None:
    server.statuses = [status] * 9
    with pytest.raises(SourceError, match=rf"/app\.tar cannot be downloaded: the server answers {status} \w+"):
        fetch(server, store)
    assert len(server.asked) == times


def test_something_else_is_not_kept(server: Server, store: Store) -> None:
    with pytest.raises(SourceError, match=f"has the sha256 {DIGEST}, and expected is 0000") as refused:
        fetch(server, store, digest="0" * 64)
    assert refused.value.hint == "try again; do not trust it"
    assert not store.has(DIGEST) and not store.has("0" * 64)


def test_it_is_followed_to_where_it_moved_but_not_to_a_place_that_is_not_taken(server: Server, store: Store) -> None:
    server.moved = {"/app.tar": "/b.tar", "/b.tar": f"{server.url}/c.tar"}
    assert fetch(server, store) == DATA
    assert [path for path, _ in server.asked] == ["/app.tar", "/b.tar", "/c.tar"]
    for place, said in {
        "http://192.0.2.1/x": "leads to http://192.0.2.1/x: expected a URL of https: plain HTTP is taken of 127",
        "file:///etc/passwd": "leads to file:///etc/passwd: expected a URL of https",
        "/app.tar": "leads from one address to the next, and nowhere",
    }.items():
        server.moved = {"/app.tar": place}
        with pytest.raises(SourceError, match=said):
            download.blob(f"{server.url}/app.tar", "1" * 64, store=store, say=lambda _: None)


def test_a_server_that_goes_on_elsewhere_is_refused(server: Server, store: Store) -> None:
    server.cut_after, server.wrong_range = 1000, True
    with pytest.raises(SourceError, match="goes on elsewhere than asked for"):
        fetch(server, store)


def test_a_server_that_hardly_answers_is_given_up(
    server: Server, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(download, "SLOW_S", 0.5)
    server.pause_s = 0.2  # all of it would take 40 s
    began_s = time.monotonic()
    with pytest.raises(SourceError, match=r"comes too slowly: \d+ bytes in 0\.5 s"):
        fetch(server, store)
    assert time.monotonic() - began_s < 30


def test_a_server_that_says_nothing_is_given_up(server: Server, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(download, "TIMEOUT_S", 0.2)
    server.pause_s = 2
    with pytest.raises(SourceError, match=r"cannot be downloaded: .*timed out"):
        fetch(server, store)


def test_nobody_there(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(download, "PAUSE_S", 0.01)
    with pytest.raises(SourceError, match=r"^http://127\.0\.0\.1:1/a cannot be downloaded: .*Connection refused"):
        download.blob("http://user:word@127.0.0.1:1/a?token=x", "2" * 64, store=store, say=lambda _: None)


def test_it_has_a_bound(server: Server, store: Store) -> None:
    with pytest.raises(SourceError, match="has more than 1,000 bytes"):
        download.blob(f"{server.url}/x", DIGEST, store=store, say=lambda _: None, most_bytes=1000)
