"""Owners and times in a package that no file can have."""

import io
import tarfile
from pathlib import Path

import pytest

from imagebuilder.errors import SourceError
from imagebuilder.sources.deb import read
from imagebuilder.tree import Blob


def _keep(content: bytes | Path) -> Blob:
    return Blob.at(content) if isinstance(content, Path) else Blob.of(content)


def _package(**headers: str) -> io.BytesIO:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT) as archive:
        member = tarfile.TarInfo("./usr")
        member.type = tarfile.DIRTYPE
        member.pax_headers = headers
        archive.addfile(member)
    data = packed.getvalue()
    header = f"{'data.tar':16}{0:<12}{0:<6}{0:<6}{'100644':8}{len(data):<10}`\n"
    return io.BytesIO(b"!<arch>\n" + header.encode() + data)


@pytest.mark.parametrize("headers", [{"uid": str(2**32)}, {"gid": str(2**40)}, {"mtime": "inf"}, {"mtime": "nan"}])
def test_a_number_that_no_file_can_have(headers: dict[str, str]) -> None:
    with pytest.raises(SourceError):
        read(_package(**headers), "a.deb", _keep)


def test_numbers_that_files_have() -> None:
    node = read(_package(uid=str(2**32 - 2), mtime="4294967296.5"), "a.deb", _keep)["/usr"]
    assert (node.uid, node.mtime_s) == (2**32 - 2, 2**32)
