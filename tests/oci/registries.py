"""Real registries on the loopback (Debian's docker-registry), and images that skopeo pushed."""

import gzip
import hashlib
import io
import json
import socket
import tarfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPSConnection
from pathlib import Path
from ssl import _create_unverified_context
from subprocess import DEVNULL, Popen

import yaml

from imagebuilder import process
from imagebuilder.store import sha256

TOOLS = ("docker-registry", "skopeo", "htpasswd", "openssl")
USER, PASSWORD = "somebody", "correct-horse-battery"
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"


def missing_tools() -> list[str]:
    """What this machine lacks to have a registry."""
    return [tool for tool in TOOLS if process.find(tool) is None]


def free_port() -> int:
    """A port of 127.0.0.1 at which nobody listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@dataclass(frozen=True)
class Running:
    """A registry that listens on the loopback, and its folder."""

    port: int
    folder: Path

    @property
    def host(self) -> str:
        """As the name of an image has it."""
        return f"127.0.0.1:{self.port}"

    def push(self, layout: Path, name: str, *words: str, tag: str = "v1") -> None:
        """Push an image of an OCI layout."""
        argv = ["skopeo", "--insecure-policy", "copy", "-q", "--all", "--dest-tls-verify=false", *words]
        process.run([*argv, f"oci:{layout}:{tag}", f"docker://{self.host}/{name}"], timeout_s=300)

    def put(self, name: str, reference: str, document: bytes, kind: str) -> None:
        """Put a manifest or an index as it is, whose contents are there."""
        asked = HTTPConnection("127.0.0.1", self.port, timeout=60)
        asked.request("PUT", f"/v2/{name}/manifests/{reference}", document, {"Content-Type": kind})
        answer = asked.getresponse()
        assert answer.status == 201, answer.read()
        asked.close()


@contextmanager
def registry(
    folder: Path, *, auth: Mapping[str, object] | None = None, tls: tuple[Path, Path] | None = None
) -> Iterator[Running]:
    """A registry whose contents lie in a folder; ``auth`` as its configuration has it, ``tls``: certificate and key."""
    folder.mkdir(parents=True, exist_ok=True)
    port = free_port()
    http: dict[str, object] = {"addr": f"127.0.0.1:{port}"}
    if tls:
        http["tls"] = {"certificate": str(tls[0]), "key": str(tls[1])}
    told = {
        "version": 0.1,
        "log": {"level": "error"},
        "storage": {"filesystem": {"rootdirectory": str(folder / "data")}, "delete": {"enabled": True}},
        "http": http,
        **({"auth": auth} if auth else {}),
    }
    (folder / "config.yml").write_text(yaml.safe_dump(told))
    child = Popen(["docker-registry", "serve", folder / "config.yml"], stdout=DEVNULL, stderr=DEVNULL, stdin=DEVNULL)
    try:
        _wait(child, port, tls=tls is not None)
        yield Running(port, folder)
    finally:
        child.kill()
        child.wait()


def _wait(child: "Popen[bytes]", port: int, *, tls: bool) -> None:
    end_s = time.monotonic() + 300
    while time.monotonic() < end_s and child.poll() is None:
        try:
            asked = (
                HTTPSConnection("127.0.0.1", port, timeout=60, context=_create_unverified_context())
                if tls
                else HTTPConnection("127.0.0.1", port, timeout=60)
            )
            asked.request("GET", "/v2/")
            asked.getresponse().read()
            asked.close()
            return
        except OSError:
            time.sleep(0.02)
    raise AssertionError("docker-registry does not start")


def htpasswd(folder: Path) -> Mapping[str, object]:
    """Basic authentication for USER with PASSWORD."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "htpasswd").write_bytes(process.run(["htpasswd", "-Bbn", "-C", "4", USER, PASSWORD]).stdout)
    return {"htpasswd": {"realm": "test", "path": str(folder / "htpasswd")}}


def packed(files: Mapping[str, bytes]) -> bytes:
    """A layer: a tar archive, by gzip."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size, info.mode = len(data), 0o755
            archive.addfile(info, io.BytesIO(data))
    return gzip.compress(out.getvalue(), 1, mtime=0)


@dataclass(frozen=True)
class Image:
    """An image in an OCI layout."""

    layout: Path
    digest: str
    layers: tuple[str, ...]
    sizes: tuple[int, ...]


def image(layout: Path, layers: Sequence[bytes], told: Mapping[str, object] | None = None) -> Image:
    """Write an OCI layout with an image ``v1`` of these layers, started as ``told``."""
    blobs = layout / "blobs" / "sha256"
    blobs.mkdir(parents=True)
    (layout / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')

    def put(data: bytes, kind: str) -> dict[str, object]:
        (blobs / sha256(data)).write_bytes(data)
        return {"mediaType": kind, "digest": f"sha256:{sha256(data)}", "size": len(data)}

    ids = [f"sha256:{hashlib.sha256(gzip.decompress(each)).hexdigest()}" for each in layers]
    config = {"architecture": "amd64", "os": "linux", "config": told or {"Cmd": ["/app"]}}
    config |= {"rootfs": {"type": "layers", "diff_ids": ids}}
    manifest = {
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": put(json.dumps(config).encode(), CONFIG),
        "layers": [put(each, LAYER) for each in layers],
    }
    row = put(json.dumps(manifest).encode(), MANIFEST)
    index = {"schemaVersion": 2, "manifests": [{**row, "annotations": {"org.opencontainers.image.ref.name": "v1"}}]}
    (layout / "index.json").write_text(json.dumps(index))
    return Image(
        layout, str(row["digest"]), tuple(f"sha256:{sha256(each)}" for each in layers), tuple(map(len, layers))
    )
