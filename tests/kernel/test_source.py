"""Where a kernel's source comes from: a URL on a real server, and a package whose pinned version is gone."""

import hashlib
from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest

from imagebuilder.errors import KernelError
from imagebuilder.events import Event, Progress, silent
from imagebuilder.kernel import load_definition
from imagebuilder.kernel.definition import KernelDefinition, Source
from imagebuilder.kernel.source import tarball
from imagebuilder.store import Store

CONTENT = b"a kernel's source" * 100_000
DIGEST = hashlib.sha256(CONTENT).hexdigest()


class Quiet(SimpleHTTPRequestHandler):
    """Serves a folder and says nothing."""

    def do_GET(self) -> None:
        """Also of an odd length, and without an end; and an address that leads nowhere."""
        if self.path == "/nowhere":
            self.send_response(302)
            self.send_header("Location", "http://[x/")
            self.end_headers()
            return
        if self.path not in ("/odd", "/endless"):
            super().do_GET()
            return
        self.send_response(200)
        if self.path == "/odd":
            self.send_header("Content-Length", "many")
        self.end_headers()
        with suppress(OSError):
            self.wfile.write(CONTENT)
            while self.path == "/endless":
                self.wfile.write(CONTENT)

    def log_message(self, format: str, *args: object) -> None:
        """Nothing."""


@pytest.fixture
def server(tmp_path: Path) -> Iterator[str]:
    """The address of a server on the loopback that has ``linux.tar``."""
    folder = tmp_path / "served"
    folder.mkdir()
    (folder / "linux.tar").write_bytes(CONTENT)
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder))) as serving:
        thread = Thread(target=serving.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{serving.server_port}"
        serving.shutdown()
        thread.join()


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "cache")


def micro_from(source: Source) -> KernelDefinition:
    """``micro``, with its source from elsewhere."""
    return load_definition("micro").model_copy(update={"source": source})


def left_in(store: Store) -> list[Path]:
    """Contents that were kept, and work in progress that was not tidied up."""
    kept = [path for path in (store.root / "blobs").rglob("*") if path.is_file()]
    return [*kept, *(store.root / "scratch").iterdir()]


def test_a_url_is_downloaded_once_and_checked(server: str, store: Store) -> None:
    said: list[Event] = []
    definition = micro_from(Source(url=f"{server}/linux.tar", sha256=DIGEST))
    assert tarball(definition, store=store, say=said.append).read_bytes() == CONTENT
    steps = [event for event in said if isinstance(event, Progress)]
    assert (steps[-1].done, steps[-1].total) == (len(CONTENT), len(CONTENT))
    said.clear()
    assert tarball(definition, store=store, say=said.append).read_bytes() == CONTENT
    assert not said


def test_a_length_that_is_none_is_not_known(server: str, store: Store) -> None:
    assert tarball(micro_from(Source(url=f"{server}/odd", sha256=DIGEST)), store=store, say=silent).stat().st_size


def test_a_download_has_an_end(server: str, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("imagebuilder.kernel.source.MOST_BYTES", 64 << 20)
    with pytest.raises(KernelError, match=r"endless has more than 67,108,864 bytes"):
        tarball(micro_from(Source(url=f"{server}/endless", sha256=DIGEST)), store=store, say=silent)
    assert not left_in(store)


@pytest.mark.parametrize(
    ("path", "digest", "sentence"),
    [
        ("linux.tar", "0" * 64, f"kernel.toml: .* has the sha256 {DIGEST}, and expected is 0000"),
        ("gone.tar", DIGEST, "kernel.toml: the kernel's source is not to be had: .*404"),
        ("nowhere", DIGEST, "kernel.toml: the kernel's source is not to be had: .*Invalid"),
    ],
    ids=["another content", "not there", "leads nowhere"],
)
def test_what_is_not_the_pinned_one_is_not_kept(
    server: str, store: Store, path: str, digest: str, sentence: str
) -> None:
    with pytest.raises(KernelError, match=sentence):
        tarball(micro_from(Source(url=f"{server}/{path}", sha256=digest)), store=store, say=silent)
    assert not left_in(store)


def test_a_url_that_is_none_is_refused(store: Store) -> None:
    with pytest.raises(KernelError, match=r"is not to be had: .* expected a URL of https"):
        tarball(micro_from(Source(url="http://[x/linux.tar", sha256=DIGEST)), store=store, say=silent)


@pytest.mark.tools
@pytest.mark.network
def test_a_pin_that_is_gone_says_what_there_is_and_how_to_move_it(store: Store) -> None:
    pinned = load_definition("micro").source
    assert pinned is not None
    gone = pinned.model_copy(update={"version": "6.12.1-1", "sha256": "0" * 64})
    with pytest.raises(KernelError, match=r"linux-source-6\.12 6\.12\.1-1 is gone .* which have 6\.12\.\d+") as caught:
        tarball(micro_from(gone), store=store, say=silent)
    assert "kernels/README.md" in str(caught.value.hint)
