"""A registry of npm on the loopback, and projects that take packages from it."""

import base64
import gzip
import hashlib
import io
import json
import tarfile
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any


def packed(
    members: Mapping[str, str], *, executable: Sequence[str] = (), links: Mapping[str, str] | None = None
) -> bytes:
    """A tarball as npm packs it."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        for name, text in members.items():
            info = tarfile.TarInfo(name)
            info.size, info.mode = len(text.encode()), 0o755 if name in executable else 0o644
            info.uid, info.uname = 1000, "somebody"
            archive.addfile(info, io.BytesIO(text.encode()))
        for name, target in (links or {}).items():
            info = tarfile.TarInfo(name)
            info.type, info.linkname = tarfile.SYMTYPE, target
            archive.addfile(info)
    return gzip.compress(stream.getvalue(), mtime=0)


def package(name: str, version: str = "1.0.0", **files: str) -> bytes:
    """A package with a module, and files by name."""
    described = json.dumps({"name": name, "version": version})
    more = {f"package/{path}": text for path, text in files.items()}
    return packed({"package/package.json": described, "package/index.js": f"module.exports = '{name}'\n", **more})


@dataclass
class NpmRegistry:
    """What it has by path, whom it answers (``token``), and what it was asked for."""

    url: str = ""
    files: dict[str, bytes] = field(default_factory=dict)
    token: str | None = None
    asked: list[str] = field(default_factory=list)

    def add(self, name: str, version: str, tarball: bytes) -> dict[str, Any]:
        """Have a package; returns its entry of a lock."""
        self.files[f"/npm/{name}/-/{name.rpartition('/')[2]}-{version}.tgz"] = tarball
        digest = base64.b64encode(hashlib.sha512(tarball).digest()).decode()
        return {"version": version, "integrity": f"sha512-{digest}"}


@contextmanager
def serving() -> Iterator[NpmRegistry]:
    """A registry that runs."""
    registry = NpmRegistry()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            registry.asked.append(self.path)
            data = registry.files.get(self.path)
            allowed = registry.token is None or self.headers.get("Authorization") == f"Bearer {registry.token}"
            self.send_response(200 if data is not None and allowed else 404 if allowed else 401)
            self.send_header("Content-Length", str(len(data or b"") if allowed else 0))
            self.end_headers()
            self.wfile.write(data if data and allowed else b"")

        def log_message(self, *_: Any) -> None:
            """Nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    registry.url = f"http://127.0.0.1:{server.server_port}/npm/"
    try:
        yield registry
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def project(folder: Path, registry: NpmRegistry, packages: Mapping[str, Any], **described: Any) -> Path:
    """A project in a folder, whose lock has these packages."""
    asked = {
        "dependencies": {
            each.partition("node_modules/")[2]: "*" for each in packages if each.count("node_modules/") == 1
        }
    }
    whole = {"name": "app", **asked, **described}
    folder.mkdir(exist_ok=True)
    lock = {"name": "app", "lockfileVersion": 3, "packages": {"": {"name": "app", **asked}, **packages}}
    (folder / "package.json").write_text(json.dumps(whole))
    (folder / "package-lock.json").write_text(json.dumps(lock))
    (folder / ".npmrc").write_text(f"; a comment\nregistry={registry.url}\n")
    (folder / "server.js").write_text("require('a')\n")
    return folder
