"""What registries and images do wrong, through the command line: a real registry on the loopback, and a server of our
own for what a real one does not do. One sentence, no traceback, and nothing half-written."""

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from imagebuilder.arch import TARGET
from imagebuilder.store import sha256
from tests.cli.conftest import Ran
from tests.oci import registries
from tests.oci.registries import MANIFEST, PASSWORD, USER, Image, Running, packed
from tests.oci.test_registry import log_in
from tests.oci.test_source import FOREIGN, INDEX, OTHER, layout, typed

pytestmark = pytest.mark.tools

NO_DIGEST = f"sha256:{'0' * 64}"
BOMB_BYTES = 200 << 20  # a layer of 200 KiB
# The command line with less patience: a registry that hangs is given up after 157 s else.
QUICK = """
from imagebuilder.oci.transport import Limits
names = [*Limits.__dataclass_fields__]
given = dict(zip(names, Limits.__init__.__defaults__))
given |= {"connect_s": 2.0, "answer_s": 0.5, "first_wait_s": 0.01, "attempts": 2}
Limits.__init__.__defaults__ = tuple(given[name] for name in names)
from imagebuilder.__main__ import main
main()
"""


@dataclass(frozen=True)
class Place:
    """A user's folder with a cache of its own."""

    folder: Path

    def run(self, *words: str, quick: bool = False) -> Ran:
        """The command line there."""
        argv = [sys.executable, *(("-c", QUICK) if quick else ("-m", "imagebuilder")), *words]
        given = {**os.environ, "IMAGEBUILDER_CACHE": str(self.folder / "cache")}
        done = subprocess.run(
            argv, cwd=self.folder, env=given, capture_output=True, text=True, timeout=240, stdin=subprocess.DEVNULL
        )
        return Ran(done.returncode, done.stdout, done.stderr)

    def refused(self, image: str, said: str, *, new: bool = False, quick: bool = False) -> None:
        """This is said of an image by ``build`` of a recipe, and the same sentence by ``new --from``. Then there is
        neither a recipe, an image, nor a lockfile, nor anything in the cache that is another content."""
        app = self.folder / "app"
        app.mkdir()
        head = 'name = "app"\nversion = "1"\nsummary = "a test"\n'
        recipe = f'{head}source = {{ type = "oci", image = "{image}" }}\nready = {{ exit = 0 }}\n'
        (app / "recipe.toml").write_text(recipe)
        verbs = (("build", "app"), *([("new", "x", "--from", image)] if new else []))
        for words in verbs:
            sentence = _sentence(self.run(*words, quick=quick))
            assert said in sentence, sentence
        left = {path.name for path in self.folder.iterdir()} - {"home", "store"}
        assert left <= {"app", "cache", "out"} and [path.name for path in app.iterdir()] == ["recipe.toml"], left
        assert not [*self.folder.glob("out/*")] and not [*self.folder.glob("recipes/*")]
        for blob in self.folder.glob("cache/blobs/*/*"):
            assert blob.name == sha256(blob.read_bytes()), blob


def _sentence(ran: Ran) -> str:
    """The one line that says what is wrong; a hint may follow, and nothing else."""
    assert ran.status == 2 and ran.out == "" and "Traceback" not in ran.err, ran
    lines = ran.err.splitlines()
    [first] = [number for number, line in enumerate(lines) if line.startswith("error: ")]
    assert all(line.startswith("hint: ") for line in lines[first + 1 :]) and len(lines) <= first + 2, ran.err
    return lines[first].removeprefix("error: ")


@pytest.fixture
def place(tmp_path: Path, home: Path) -> Place:
    return Place(tmp_path)


# A real registry


@pytest.fixture(scope="module")
def full(served: Running, layout: Image, tmp_path_factory: pytest.TempPathFactory) -> Running:
    """The registry with images that are none of ours too."""
    folder = tmp_path_factory.mktemp("images")
    made(folder / "windows", config=lambda told: told.update(os="windows"))
    made(folder / "unknown", manifest=typed("application/x"))
    made(folder / "foreign", manifest=typed(FOREIGN))
    registries.image(folder / "bomb", [packed({"app": bytes(BOMB_BYTES)})])
    for name in ("windows", "unknown", "foreign", "bomb"):
        served.push(folder / name, f"t/{name}:v1")
    made(folder / "other", config=lambda told: told.update(architecture=OTHER))
    rows = []
    for name, system, architecture in (("other", "linux", OTHER), ("windows", "windows", TARGET.oci)):
        served.push(folder / name, f"t/index:{name}")
        [row] = json.loads((folder / name / "index.json").read_text())["manifests"]
        rows.append({"mediaType": MANIFEST, "digest": row["digest"], "size": row["size"],
                     "platform": {"os": system, "architecture": architecture}})  # fmt: skip
    index = {"schemaVersion": 2, "mediaType": INDEX, "manifests": rows}
    served.put("t/index", "v1", json.dumps(index).encode(), INDEX)
    return served


made: Callable[..., Path] = lambda folder, **edits: layout(folder, {"app": b"x"}, **edits)  # noqa: E731


CASES = {
    "unknown tag": ("t/app:v2", "{host}/t/app has no tag v2"),
    "unknown repository": ("t/nothing:v1", "{host} has no t/nothing, or hides it"),
    "unknown digest": (f"t/app@{NO_DIGEST}", "{host} has no sha256:000000000000 in t/app"),
    "another platform": ("t/index:v1", f"has no image for linux/{TARGET.oci}: it has linux/{OTHER}, windows"),
    "Windows": ("t/windows:v1", f"is an image for windows/{TARGET.oci}, and linux/{TARGET.oci} is needed"),
    "a layer of an unknown type": ("t/unknown:v1", 'has a layer of the unknown type "application/x"'),
    "a layer that is not passed on": ("t/foreign:v1", "has a layer that may not be passed on"),
    "a bomb": ("t/bomb:v1", "is refused: it unpacks to more than"),
}


@pytest.mark.parametrize(("name", "said"), CASES.values(), ids=CASES)
def test_an_image_of_a_registry(place: Place, full: Running, name: str, said: str) -> None:
    place.refused(f"{full.host}/{name}", said.format(host=full.host), new=True)


DAMAGED = {
    ("manifest", False): "{host} cannot answer now: HTTP status 500",  # it reads what it sends
    ("manifest", True): "{host} sent another manifest than its header Docker-Content-Digest names",
    ("configuration", False): "{host} sent another content: sha256:",
    ("configuration", True): "{host} sent another content: sha256:",
    ("layer", False): "is another content: what came has the digest sha256:",
    ("layer", True): "is longer than the 5,244,733 bytes that it is to be",
}


@pytest.mark.parametrize(("part", "is_longer"), DAMAGED)
def test_another_content(place: Place, layout: Image, tmp_path: Path, part: str, is_longer: bool) -> None:
    """The registry's disk is damaged: what it sends is not what the digest says."""
    with registries.registry(tmp_path / "store") as running:
        running.push(layout.layout, "t/app:v1")
        manifest = json.loads((layout.layout / "blobs/sha256" / layout.digest.removeprefix("sha256:")).read_text())
        digest = {"manifest": layout.digest, "configuration": manifest["config"]["digest"], "layer": layout.layers[1]}
        name = digest[part].removeprefix("sha256:")
        [blob] = (tmp_path / "store").glob(f"**/blobs/sha256/*/{name}/data")
        data = blob.read_bytes()
        blob.write_bytes(data + b" " if is_longer else data.replace(b"a", b"b", 1))
        said = DAMAGED[part, is_longer].format(host=running.host)
        place.refused(f"{running.host}/t/app@{layout.digest}", said, quick=True)


def test_a_login_that_is_missing(place: Place, layout: Image, tmp_path: Path) -> None:
    with registries.registry(tmp_path / "store", auth=registries.htpasswd(tmp_path / "home")) as running:
        place.refused(f"{running.host}/t/app:v1", f"reading t/app from {running.host} needs a login")


def test_a_login_that_is_refused(place: Place, home: Path, tmp_path: Path) -> None:
    with registries.registry(tmp_path / "store", auth=registries.htpasswd(home)) as running:
        log_in(running, USER, PASSWORD, home / ".docker" / "config.json")
        (home / "htpasswd").write_text(f"{USER}:$2y$04${'0' * 53}\n")
        place.refused(f"{running.host}/t/app:v1", f"{running.host} does not accept the credentials of {home}")


# A server of our own


class Server(ThreadingHTTPServer):
    """Answers with the image of a layout, but for what ``hostile`` does."""

    daemon_threads = True
    layout: Path
    hostile: "Hostile"
    asked: int = 0

    @property
    def host(self) -> str:
        """As the name of an image has it."""
        return f"127.0.0.1:{self.server_port}"

    def handle_error(self, *_: object) -> None:
        """The other side has gone."""


class Handler(BaseHTTPRequestHandler):
    """One connection."""

    server: Server
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        """A manifest or a content by its digest."""
        self.server.asked += 1
        if not self.server.hostile(self):
            self.send(*self.found())

    def found(self) -> tuple[bytes, str]:
        """What is asked for, and its type."""
        name = self.path.rpartition(":")[2]
        kind = MANIFEST if "/manifests/" in self.path else "application/octet-stream"
        return (self.server.layout / "blobs/sha256" / name).read_bytes(), kind

    def send(self, data: bytes, kind: str = "application/json", status: int = 200, **headers: str) -> None:
        """A whole answer."""
        self.head(len(data), kind, status, **headers)
        self.wfile.write(data)

    def head(self, length: int, kind: str = "application/json", status: int = 200, **headers: str) -> None:
        """The head of an answer."""
        self.send_response(status)
        for name, value in {"Content-Type": kind, "Content-Length": str(length), **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Nothing."""


Hostile = Callable[[Handler], bool]
"""Answers a request itself, or says that it is to be answered as ever."""


@contextmanager
def hostile(layout: Image, act: Hostile) -> Iterator[Server]:
    """A server that answers as it should, where ``act`` does not."""
    with Server(("127.0.0.1", 0), Handler) as server:
        server.layout, server.hostile = layout.layout, act
        threading.Thread(target=server.serve_forever, args=[0.01], daemon=True).start()
        try:
            yield server
        finally:
            server.shutdown()


def denied(handler: Handler) -> bool:
    handler.send(b'{"errors": [{"code": "DENIED", "message": "requested access is denied"}]}', status=403)
    return True


def denied_by_its_token_server(handler: Handler) -> bool:
    """As ghcr.io does it."""
    if "/token" in handler.path:
        return denied(handler)
    realm = f'Bearer realm="http://{handler.server.host}/token",service="test",scope="repository:t/app:pull"'
    handler.send(b"{}", status=401, WWW_Authenticate=realm)
    return True


def silence(handler: Handler) -> bool:
    time.sleep(20)
    return True


def slow_head(handler: Handler) -> bool:
    """A byte at a time, so that no socket waits for long."""
    for each in b"HTTP/1.1 200 OK\r\n" + b"X-Filler: 1\r\n" * 100:
        handler.wfile.write(bytes([each]))
        time.sleep(0.1)
    return True


def slow_manifest(handler: Handler) -> bool:
    if "/manifests/" not in handler.path:
        return False
    data, kind = handler.found()
    handler.head(len(data), kind)
    for each in data:
        handler.wfile.write(bytes([each]))
        time.sleep(0.1)
    return True


def slow_layer(handler: Handler) -> bool:
    data, kind = handler.found()
    if len(data) < 1 << 20:
        return False
    handler.head(len(data), kind)
    handler.wfile.write(data[: 1 << 20])
    time.sleep(20)
    return True


def stopped_layer(handler: Handler) -> bool:
    data, kind = handler.found()
    if len(data) < 1 << 20:
        return False
    handler.head(len(data), kind)
    handler.wfile.write(data[: 1 << 10])
    handler.close_connection = True
    return True


def redirected_for_ever(handler: Handler) -> bool:
    handler.send(b"", status=307, Location=handler.path)
    return True


SERVERS: Mapping[str, tuple[Hostile, str]] = {
    "403": (denied, "{host} does not let this user read t/app (requested access is denied)"),
    "403 of the token server": (denied_by_its_token_server, "{host} does not let this user read {host}/t/app"),
    "silent": (silence, "{host} does not go on: nothing came in time"),
    "a head that never ends": (slow_head, "{host} does not go on: it took longer than 0.5 s"),
    "a manifest that never ends": (slow_manifest, "{host} does not go on: it took longer than 0.5 s"),
    "a layer that stops": (slow_layer, "{host} does not go on: nothing came in time"),
    "a layer that is always cut off": (stopped_layer, "the connection to {host} broke"),
    "redirects": (redirected_for_ever, "{host} redirects more than 5 times"),
}


@pytest.mark.parametrize(("act", "said"), SERVERS.values(), ids=SERVERS)
def test_a_server_that_misbehaves(place: Place, layout: Image, act: Hostile, said: str) -> None:
    with hostile(layout, act) as server:
        place.refused(f"{server.host}/t/app@{layout.digest}", said.format(host=server.host), quick=True)
