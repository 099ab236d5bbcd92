"""A small Debian archive on 127.0.0.1, signed with a key of its own: packages built by dpkg-deb, served over HTTP."""

import hashlib
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

from imagebuilder import process

TOOLS = ("apt-get", "dpkg-deb", "gpg", "gpgconf")
RELEASE = "bookworm"


def missing_tools() -> list[str]:
    """What this machine lacks to have an archive."""
    return [tool for tool in TOOLS if process.find(tool) is None]


@dataclass
class Repository:
    """An archive in a folder; ``port`` is where it is served."""

    folder: Path
    keys: Path
    port: int = 0
    origin: str = "Debian"
    _debs: dict[str, Path] = field(default_factory=dict)

    @property
    def keyring(self) -> Path:
        """The public key, as apt wants it."""
        return self.folder / "debian-archive-test.gpg"

    @property
    def etc_apt(self) -> Path:
        """A machine's configuration that knows this archive."""
        return self.folder / "etc-apt"

    def make_key(self) -> None:
        """Make the key that signs."""
        self.keys.mkdir(mode=0o700)
        self._gpg("--passphrase", "", "--quick-generate-key", "archive@test.example", "rsa2048", "sign", "never")
        self.keyring.write_bytes(self._gpg("--export").stdout)

    def armored_key(self) -> str:
        """The public key as text."""
        return self._gpg("--armor", "--export").text

    def add(
        self,
        name: str,
        version: str = "1.0",
        *,
        depends: str = "",
        files: Mapping[str, bytes] | None = None,
        control: Mapping[str, str] | None = None,
        modes: Mapping[str, int] | None = None,
    ) -> Path:
        """Build a package with these files and scripts."""
        root = self.folder / "work" / name
        shutil.rmtree(root, ignore_errors=True)
        for path, data in {f"usr/share/{name}/about": name.encode(), **(files or {})}.items():
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            (root / path).write_bytes(data)
        for path, mode in (modes or {}).items():
            (root / path).chmod(mode)
        fields = {
            "Package": name,
            "Version": version,
            "Architecture": "amd64",
            "Maintainer": "Test <test@test.example>",
        }
        fields |= {"Description": "test", **({"Depends": depends} if depends else {})}
        (root / "DEBIAN").mkdir(exist_ok=True)
        (root / "DEBIAN" / "control").write_text("".join(f"{key}: {value}\n" for key, value in fields.items()))
        for script, text in (control or {}).items():
            (root / "DEBIAN" / script).write_text(text)
            (root / "DEBIAN" / script).chmod(0o755)
        deb = self.folder / "pool" / f"{name}_{version.rpartition(':')[2]}_amd64.deb"
        deb.parent.mkdir(exist_ok=True)
        process.run(["dpkg-deb", "--root-owner-group", "--build", root, deb])
        self._debs[name] = deb
        return deb

    def publish(self, release: str = RELEASE, *, filler: str = "") -> None:
        """Write the signed index of all packages, and ``filler`` behind them."""
        index = "\n".join((*map(self._stanza, self._debs.values()), filler)).encode()
        dist = self.folder / "dists" / release
        (dist / "main/binary-amd64").mkdir(parents=True, exist_ok=True)
        (dist / "main/binary-amd64/Packages").write_bytes(index)
        digest = hashlib.sha256(index).hexdigest()
        text = f"Origin: {self.origin}\nSuite: {release}\nCodename: {release}\nDate: Thu, 01 Jan 2026 00:00:00 UTC\n"
        text += f"Architectures: amd64\nComponents: main\nSHA256:\n {digest} {len(index)} main/binary-amd64/Packages\n"
        in_release = dist / "InRelease"
        before_s = in_release.stat().st_mtime if in_release.exists() else 0
        in_release.write_bytes(self._gpg("--clearsign", stdin=text.encode()).stdout)
        if in_release.stat().st_mtime < before_s + 1:  # HTTP tells times in seconds, by which apt sees what is new
            os.utime(in_release, (before_s + 1, before_s + 1))

    def configure(self, *, signed_by: Path | None = None) -> Path:
        """Write the machine's configuration; returns its folder."""
        lists = self.etc_apt / "sources.list.d"
        lists.mkdir(parents=True, exist_ok=True)
        text = f"{self.stanza()}Signed-By: {signed_by or self.keyring}\n"
        lists.joinpath("debian.sources").write_text(text)
        return self.etc_apt

    def stanza(self) -> str:
        """The archive in a list of sources, without its key."""
        return f"Types: deb\nURIs: http://127.0.0.1:{self.port}/debian\nSuites: {RELEASE}\nComponents: main\n"

    def _stanza(self, deb: Path) -> str:
        control = process.run(["dpkg-deb", "--field", deb]).text
        data = deb.read_bytes()
        where = f"Filename: pool/{deb.name}\nSize: {len(data)}\n"
        return f"{control}{where}SHA256: {hashlib.sha256(data).hexdigest()}\n"

    def _gpg(self, *words: str, stdin: bytes = b"") -> process.Completed:
        return process.run(["gpg", "--batch", "--quiet", *words], env={"GNUPGHOME": str(self.keys)}, stdin=stdin)


class _Handler(SimpleHTTPRequestHandler):
    """Serves ``/debian/…`` out of a folder and keeps quiet."""

    def translate_path(self, path: str) -> str:
        return super().translate_path(path.replace("/debian", "", 1))

    def log_message(self, *_args: object) -> None:
        pass


@contextmanager
def served(folder: Path, keys: Path, *, origin: str = "Debian") -> Iterator[Repository]:
    """An archive with a key, served until the end."""
    repository = Repository(folder, keys, origin=origin)
    repository.make_key()
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Handler, directory=str(folder)))
    thread = Thread(target=server.serve_forever, daemon=True)
    thread.start()
    repository.port = server.server_port
    try:
        yield repository
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
        process.run(["gpgconf", "--kill", "all"], env={"GNUPGHOME": str(keys)})
