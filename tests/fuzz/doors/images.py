"""What registries, OCI layouts and archives say of their images."""

import gzip
import hashlib
import io
import json
import tarfile
from collections.abc import Iterable
from pathlib import Path

import zstandard

from imagebuilder import tarball
from imagebuilder.arch import TARGET
from imagebuilder.events import silent
from imagebuilder.oci import execution, layers
from imagebuilder.oci.archive import Archive
from imagebuilder.oci.layers import LayerFile
from imagebuilder.oci.layout import Layout
from imagebuilder.oci.manifest import image_of, manifest_of
from imagebuilder.oci.overlaid import Overlaid
from imagebuilder.store import Store
from imagebuilder.tree import Blob, Tree, directory, file
from tests.fuzz.doors.door import Door
from tests.fuzz.doors.trees import archive, member, written

OCI = "application/vnd.oci.image"
EMPTY = {"digest": f"sha256:{hashlib.sha256(b'').hexdigest()}", "size": 0}
# The documents of an image in their order: each a line, named from the one above by its digest, which is filled in.
DOCUMENTS = (
    {"manifests": [{"mediaType": f"{OCI}.index.v1+json", "annotations": {"org.opencontainers.image.ref.name": "v1"}}]},
    {"manifests": [{"mediaType": f"{OCI}.manifest.v1+json", "platform": {"os": "linux", "architecture": TARGET.oci}}]},
    {"config": {"mediaType": f"{OCI}.config.v1+json"}, "layers": [{"mediaType": f"{OCI}.layer.v1.tar", **EMPTY}]},
    {
        "os": "linux",
        "architecture": TARGET.oci,
        "rootfs": {"diff_ids": [EMPTY["digest"]]},
        "config": {
            "Entrypoint": ["app", "-v"],
            "Cmd": ["x"],
            "Env": ["PATH=/usr/bin", "A=b"],
            "User": "web:web",
            "WorkingDir": "/srv",
            "ExposedPorts": {"80/tcp": {}, "53/udp": {}},
            "StopSignal": "SIGQUIT",
            "Volumes": {"/data": {}},
        },
    },
)
LAYER = (
    member("d", tarfile.DIRTYPE),
    member("d/a", content=b"a", pax_headers={"SCHILY.xattr.user.a": "value"}),
    member("d/.wh.b"),
    member("l", tarfile.SYMTYPE, linkname="d"),
    member("l/h", tarfile.LNKTYPE, linkname="d/a"),
    member("n", tarfile.CHRTYPE, devmajor=1, devminor=3),
    member("e/.wh..wh..opq"),
)
IMAGE = b"\n".join(json.dumps(each).encode() for each in DOCUMENTS)
TREE = Tree(
    {
        "/": directory(),
        "/usr": directory(),
        "/usr/bin": directory(),
        "/usr/bin/app": file(Blob.of(b"x"), mode=0o755),
        "/etc": directory(),
        "/etc/passwd": file(Blob.of(b"web:x:33:33::/srv:/bin/sh\n")),
        "/etc/group": file(Blob.of(b"web:x:33:\n")),
    }
)


def _image(data: bytes, folder: Path) -> object:
    """The lines as the documents of a layout, from the last to the index; a line that is no JSON stays as it is."""
    blobs = folder / "blobs/sha256"
    blobs.mkdir(parents=True)
    (blobs / str(EMPTY["digest"]).removeprefix("sha256:")).touch()
    below: dict[str, object] = {}
    document = b""
    for line in data.split(b"\n")[:4][::-1]:
        document = _naming(line, below)
        digest = hashlib.sha256(document).hexdigest()
        (blobs / digest).write_bytes(document)
        below = {"digest": f"sha256:{digest}", "size": len(document)}
    (folder / "index.json").write_bytes(document)
    return _read(Layout(folder), folder)


def _archive(data: bytes, folder: Path) -> object:
    path = folder / "image.tar"
    path.write_bytes(data)
    return _read(Archive(path), folder)


def _read(layout: Layout, folder: Path) -> object:
    image = image_of(layout, manifest_of(layout, layout.resolve(None), "app"), "app")
    layout.blobs(image.layers, Store(folder / "store"), silent)
    return execution.defaults(image.configuration.config, TREE, "app", silent)


def _layers(data: bytes, _folder: Path) -> object:
    """A layer over a lower one of the same, then over both what is left of it."""
    files, layer = Overlaid(), LayerFile(Path("layer"), _diff_id(data), "the layer")
    for files.layer in (1, 2):
        layers.apply(io.BytesIO(data), layer, files, _whole, packed_bytes=len(data))
    return written(files.tree())


def _diff_id(data: bytes) -> str:
    """The digest of what a layer unpacks to; where it is damaged, or too much, of nothing."""
    found = hashlib.sha256()
    try:
        unpacked = layers.Unpacked(io.BytesIO(data), str(EMPTY["digest"]))
        while (part := unpacked.read(1 << 20)) and unpacked.size_bytes < 1 << 28:
            found.update(part)
    except tarball.DAMAGED:
        return str(EMPTY["digest"])
    return f"sha256:{found.hexdigest()}"


def _whole(chunks: Iterable[bytes], _size_bytes: int) -> Blob:
    return Blob.of(b"".join(chunks))


def _saved() -> bytes:
    """An archive of ``docker save``."""
    row = {"Config": "c.json", "RepoTags": ["app:v1"], "Layers": ["l/layer.tar"]}
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for name, content in (
            ("l/layer.tar", b""),
            ("c.json", json.dumps(DOCUMENTS[3]).encode()),
            ("manifest.json", json.dumps([row]).encode()),
        ):
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return out.getvalue()


def _naming(line: bytes, below: dict[str, object]) -> bytes:
    """A document with the digest of the next one, where it has a place for it."""
    try:
        document = json.loads(line)
    except (ValueError, RecursionError):
        return line
    if isinstance(document, dict):
        named = document.get("manifests", document.get("config"))
        first = named[0] if isinstance(named, list) and named else named
        if below and isinstance(first, dict):
            for key, value in below.items():
                first.setdefault(key, value)
            return json.dumps(document).encode()
    return line


ROWS = (
    Door(
        "layer",
        "layers of container images",
        _layers,
        tuple(pack(archive(*LAYER)) for pack in (bytes, gzip.compress, zstandard.compress)),
        (b".wh.", b".wh..wh..opq", b"../", b"SCHILY.xattr.user.", b"GNU.sparse.", b"linkpath="),
    ),
    Door(
        "saved",
        "archives of container images",
        _archive,
        (_saved(),),
        (b"index.json", b"../", b"c.json", b"\x1f\x8b"),
    ),
    Door(
        "container",
        "documents of a container image",
        _image,
        (IMAGE,),
        (
            b'"os":"windows",',
            b'"architecture"',
            b'"config":null,',
            b'"urls":["x"],',
            b'"size":1,',
            b'"digest":"md5:1",',
        ),
    ),
)
