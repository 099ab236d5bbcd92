"""The source ``python``: wheels of where pip is configured to take them from, by the hashes of a lock."""

import sys
from collections.abc import Callable
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Event, Thread

import pytest

from imagebuilder.errors import SourceError
from imagebuilder.events import silent
from imagebuilder.lockfile import Version
from imagebuilder.sources import python
from imagebuilder.sources.kind import Context
from imagebuilder.sources.layer import Layer
from imagebuilder.sources.python import index
from imagebuilder.sources.python.index import PYPI, Settings, parsed
from imagebuilder.store import Store

from .wheels import digest_of, wheel

SITE = "/usr/local/lib/python3.12/site-packages"
LICENSED = {"app/__init__.py": "", "app-1.0.dist-info/licenses/LICENSE": "words"}


@pytest.fixture
def context(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Context:
    (tmp_path / "links").mkdir()
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "links"))
    return Context(tmp_path, Store(tmp_path / "cache"), silent)


@pytest.fixture
def offer(tmp_path: Path, context: Context) -> Callable[..., str]:
    def offer(filename: str, data: bytes) -> str:
        (tmp_path / "links" / filename).write_bytes(data)
        return digest_of(data)

    return offer


def taken(context: Context, requirements: str, *, project: str | None = None) -> Layer:
    (context.folder / "requirements.txt").write_text(requirements)
    source = python.PythonSource(type="python", requirements="requirements.txt", python="3.12", project=project)
    return python.fetch(python.resolve(source, context), context)


def test_a_wheel_of_a_folder_of_pip_with_its_material(context: Context, offer: Callable[..., str]) -> None:
    digest = offer("app-1.0-py3-none-any.whl", wheel(files=LICENSED))
    layer = taken(context, f"app==1.0 --hash=sha256:{digest}")
    assert layer.origins[f"{SITE}/app/__init__.py"] == "app"
    assert [(each.name, each.version, each.sha256) for each in layer.packages] == [("app", "1.0", digest)]
    assert layer.materials["app"].purl == "pkg:pypi/app@1.0" and layer.materials["app"].licences == ()


@pytest.mark.parametrize(("told", "licences"), [("MIT", ("MIT",)), ("the usual words", ()), ("mit or zlib", ())])
def test_a_licence_counts_where_it_is_an_spdx_expression(
    context: Context, offer: Callable[..., str], told: str, licences: tuple[str, ...]
) -> None:
    metadata = {"app-1.0.dist-info/METADATA": f"Metadata-Version: 2.4\nName: app\nLicense: {told}\n"}
    digest = offer("app-1.0-py3-none-any.whl", wheel(files=metadata))
    expected = ("MIT OR Zlib",) if " or " in told else licences
    assert taken(context, f"app==1.0 --hash=sha256:{digest}").materials["app"].licences == expected


def test_a_version_with_an_epoch_stands_in_the_lockfile() -> None:
    from pydantic import TypeAdapter

    assert TypeAdapter(Version).validate_python("1!2.0+local") == "1!2.0+local"


def refusal(context: Context, requirements: str, *, project: str | None = None) -> str:
    with pytest.raises(SourceError) as refused:
        taken(context, requirements, project=project)
    assert "\n" not in refused.value.message
    return refused.value.message


def test_a_wheel_with_another_hash_is_refused(context: Context, offer: Callable[..., str]) -> None:
    offer("app-1.0-py3-none-any.whl", wheel())
    assert refusal(context, f"app==1.0 --hash=sha256:{'0' * 64}").startswith("no wheel of app 1.0 has a hash that ")


def test_a_wheel_for_another_python_is_refused(context: Context, offer: Callable[..., str]) -> None:
    digest = offer("app-1.0-cp39-cp39-win_amd64.whl", wheel())
    said = refusal(context, f"app==1.0 --hash=sha256:{digest}")
    assert said.startswith("app 1.0 has no wheel for Python 3.12 on manylinux_2_28_")
    assert said.endswith(": there are app-1.0-cp39-cp39-win_amd64.whl")


def test_a_source_distribution_alone_is_refused_and_a_wheel_of_it_taken(
    context: Context, offer: Callable[..., str]
) -> None:
    page = context.folder / "index/app/index.html"
    page.parent.mkdir(parents=True)
    page.write_text('<a href="app-1.0.tar.gz">app-1.0.tar.gz</a>')
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PIP_NO_INDEX", "0")
        patch.setenv("PIP_INDEX_URL", (context.folder / "index").as_uri())
        said = refusal(context, f"app==1.0 --hash=sha256:{'0' * 64}")
    assert said == "app 1.0 is there as a source distribution only, app-1.0.tar.gz, and no wheel"
    digest = offer("app-1.0-py3-none-any.whl", wheel())
    again = Context(context.folder, context.store, silent)
    assert taken(again, f"app==1.0 --hash=sha256:{digest}").packages


def test_a_lock_that_does_not_fit_its_project(context: Context, offer: Callable[..., str]) -> None:
    digest = offer("app-1.0-py3-none-any.whl", wheel())
    (context.folder / "own").mkdir()
    (context.folder / "own/main.py").write_text("")
    (context.folder / "own/pyproject.toml").write_text('[project]\nname = "own"\ndependencies = ["app", "zoo>=2"]\n')
    line = f"app==1.0 --hash=sha256:{digest}\n"
    said = refusal(context, line, project="own")
    assert said == "requirements.txt does not fit pyproject.toml: it lacks zoo"
    second = offer("zoo-2.0-py3-none-any.whl", wheel("zoo", "2.0"))
    layer = taken(context, f"{line}zoo==2.0 --hash=sha256:{second}\n", project="own")
    assert "/srv/main.py" in layer.tree


def test_no_index_that_can_be_asked(context: Context, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIP_NO_INDEX", "0")
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/secret")
    said = refusal(context, f"app==1.0 --hash=sha256:{'0' * 64}")
    assert said.startswith("no package index that pip is configured for can be asked") and "secret" not in said


class Closed(BaseHTTPRequestHandler):
    """An index that shows its pages to those whom it knows."""

    def do_GET(self) -> None:
        self.send_error(int(self.path.split("/")[1]))

    def log_message(self, *_words: object) -> None:
        """Quiet."""


@pytest.mark.parametrize("status", [401, 403])
def test_an_index_that_wants_credentials_says_so(
    context: Context, monkeypatch: pytest.MonkeyPatch, status: int
) -> None:
    monkeypatch.setenv("PIP_NO_INDEX", "0")
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with ThreadingHTTPServer(("127.0.0.1", 0), Closed) as serving:
        Thread(target=serving.serve_forever, daemon=True).start()
        index = f"http://127.0.0.1:{serving.server_port}"
        monkeypatch.setenv("PIP_INDEX_URL", f"{index}/{status}")
        monkeypatch.setenv("PIP_EXTRA_INDEX_URL", f"{index}/404")
        said = refusal(context, f"app==1.0 --hash=sha256:{'0' * 64}")
        serving.shutdown()
    assert f"refuses what it has of app (HTTP {status})" in said and "~/.netrc" in said and "127.0.0.1" not in said


BROKEN = {
    "packed": b"Content-Encoding: gzip\r\nContent-Length: 4\r\n\r\nnone",
    "short": b"Content-Type: text/html\r\nContent-Length: 9000\r\n\r\n<a href=x>",
    "parts": b"Content-Type: text/html\r\nTransfer-Encoding: chunked\r\n\r\nnone\r\n",
    "declared": b"Content-Type: text/html\r\nContent-Length: 8\r\n\r\n<![foo[x",
    "numbers": b'Content-Type: x/json\r\nContent-Length: 41\r\n\r\n{"files":[{"filename":5,"url":"http://a"}]',
    "more": b'Content-Type: x/json\r\nContent-Length: 42\r\n\r\n{"files":[{"filename":5,"url":"http://a"}]}',
    "leads": b"Location: http://[x/\r\nContent-Length: 0\r\n\r\n",
}


class Odd(BaseHTTPRequestHandler):
    """An index whose pages are broken in one way each."""

    def do_GET(self) -> None:
        kind = self.path.split("/")[1]
        status = b"302 Found" if kind == "leads" else b"200 OK"
        self.wfile.write(b"HTTP/1.1 " + status + b"\r\nConnection: close\r\n" + BROKEN[kind])
        self.close_connection = True

    def log_message(self, *_words: object) -> None:
        """Quiet."""


@pytest.mark.parametrize("kind", BROKEN)
def test_a_page_of_an_index_that_is_broken(context: Context, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    monkeypatch.setenv("PIP_NO_INDEX", "0")
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with ThreadingHTTPServer(("127.0.0.1", 0), Odd) as serving:
        Thread(target=serving.serve_forever, daemon=True).start()
        monkeypatch.setenv("PIP_INDEX_URL", f"http://127.0.0.1:{serving.server_port}/{kind}")
        said = refusal(context, f"app==1.0 --hash=sha256:{'0' * 64}")
        serving.shutdown()
    assert said.startswith("no package index that pip is configured for can be asked: ")


def test_a_page_that_comes_slowly_ends(context: Context, monkeypatch: pytest.MonkeyPatch) -> None:
    class Slow(Odd):
        def do_GET(self) -> None:
            self.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 100000\r\n\r\n")
            with suppress(OSError):
                while not over.wait(0.05):
                    self.wfile.write(b"x")

    over = Event()
    monkeypatch.setenv("PIP_NO_INDEX", "0")
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setattr(index, "PAGE_S", 1)
    with ThreadingHTTPServer(("127.0.0.1", 0), Slow) as serving:
        Thread(target=serving.serve_forever, daemon=True).start()
        monkeypatch.setenv("PIP_INDEX_URL", f"http://127.0.0.1:{serving.server_port}")
        said = refusal(context, f"app==1.0 --hash=sha256:{'0' * 64}")
        over.set()
        serving.shutdown()
    assert said.endswith("a page of it does not come within 1 s")


def test_what_pip_is_configured_for(tmp_path: Path) -> None:
    (tmp_path / "pip.conf").write_text("[global]\nindex-url = https://a.example/simple\ntrusted-host = b.example:81\n")
    none = {"XDG_CONFIG_DIRS": str(tmp_path / "none"), "XDG_CONFIG_HOME": str(tmp_path / "none")}
    found = Settings.read({**none, "PIP_CONFIG_FILE": str(tmp_path / "pip.conf"), "PIP_EXTRA_INDEX_URL": "file:///i"})
    assert "https://a.example/simple" in found.indexes and "file:///i" in found.indexes
    assert "b.example" in found.trusted
    assert Settings.read({"PIP_CONFIG_FILE": "/dev/null"}).indexes == (PYPI,) and sys.prefix


def test_pages_of_an_index_in_both_formats() -> None:
    name, digest = "app-1.0-py3-none-any.whl", "0" * 64
    html = parsed(f'<a href="../f/{name}#sha256={digest}">x</a>'.encode(), "text/html", "https://a.example/simple/app/")
    text = f'{{"files": [{{"filename": "{name}", "url": "../f/{name}", "hashes": {{"sha256": "{digest}"}}}}]}}'
    json = parsed(text.encode(), "application/vnd.pypi.simple.v1+json", "https://a.example/simple/app/")
    assert html == json and html[0].url == f"https://a.example/simple/f/{name}"
    with pytest.raises(SourceError):
        parsed(b'{"files": 3}', "application/json", "https://a.example/")
