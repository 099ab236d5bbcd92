"""What a machine that prepares an image writes down: its disk, of which all may come from the command that it ran."""

import tarfile
from io import BytesIO
from pathlib import Path

from imagebuilder.closure.slimming import merge
from imagebuilder.platforms.linux.preparer import SKIPPED
from imagebuilder.preparation import HEAD_BYTES, Preparation, outcome
from imagebuilder.sources.layer import Layer
from imagebuilder.tarball import BUFFER_BYTES
from imagebuilder.transforms.prepare import changes, layer
from imagebuilder.tree import Blob, Tree, directory, file, symlink
from tests.fuzz.doors.door import Door
from tests.fuzz.doors.trees import archive, member, written

BASE = Tree(
    {
        "/a/b": file(b"b"),
        "/a/c": file(b"c", mode=0o755),
        "/bin": symlink("usr/bin"),
        "/usr/bin/x": file(b"x"),
        "/loop": symlink("loop"),
        "/tmp": directory(mode=0o1777),
    }
)
STREAM = archive(
    member("a", tarfile.DIRTYPE, pax_headers={"SCHILY.xattr.trusted.overlay.opaque": "y"}),
    member("a/c", content=b"new", pax_headers={"SCHILY.xattr.user.a": "value"}),
    member("usr", tarfile.DIRTYPE),
    member("usr/bin", tarfile.DIRTYPE),
    member("usr/bin/x", tarfile.CHRTYPE),
    member("usr/bin/y", tarfile.SYMTYPE, linkname="x"),
    member("n", tarfile.BLKTYPE, devmajor=8, devminor=1),
    member("f", tarfile.FIFOTYPE),
)
NAME = "prepare 1: app"


def disk(line: bytes, stream: bytes = STREAM) -> bytes:
    """A disk whose first block says this."""
    return line.ljust(HEAD_BYTES, b"\0") + stream


def _prepared(data: bytes, folder: Path) -> Tree:
    """As the step reads it: how it went, the changes, the tree with them, the file systems of that."""
    path = folder / "changes"
    path.write_bytes(data)
    wanted = Preparation("app", path, "", path, 1, path, 1, 1, 0)
    stream_bytes = outcome(wanted, ()).stream_bytes
    stream = BytesIO(data[HEAD_BYTES:])
    found = changes(stream, BASE, name=NAME, most_bytes=stream_bytes + BUFFER_BYTES, keep=Blob.of_content)
    changed = layer(found, title=NAME, without=SKIPPED)
    assert not any(path == each or path.startswith(f"{each}/") for path in changed.origins for each in SKIPPED)
    return written(merge([Layer(BASE, dict.fromkeys(BASE, "source")), changed]).tree)


ROWS = (
    Door(
        "changes",
        "what a machine says that a command changed",
        _prepared,
        (
            disk(b"imagebuilder.changes/1 exit 0 bytes %d members 8\n" % len(STREAM)),
            disk(b"imagebuilder.changes/1 exit 0 bytes 999999999999999 members 8\n"),
        ),
        (b"SCHILY.xattr.trusted.overlay.opaque=y", b"linkpath=", b"path=../", b"error why", b"GNU.sparse.", b"init"),
    ),
)
