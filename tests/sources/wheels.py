"""Wheels, made here."""

import base64
import hashlib
import io
import zipfile
from collections.abc import Mapping

from imagebuilder.sources.python.target import Python

PYTHON = Python(
    "3.11.2", "manylinux_2_36", "/usr/bin/python3.11", "/usr/local/lib/python3.11/dist-packages", "/usr/local"
)
WHEEL = "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
SITE = PYTHON.site


def digest_of(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def record_of(files: Mapping[str, bytes], info: str) -> str:
    rows = []
    for path, data in files.items():
        digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
        rows.append(f"{path},sha256={digest},{len(data)}\n")
    return "".join([*rows, f"{info}/RECORD,,\n"])


def wheel(
    name: str = "app",
    version: str = "1.0",
    files: Mapping[str, str] | None = None,
    *,
    wheel_file: str = WHEEL,
    record: str | None = None,
) -> bytes:
    """A wheel with these files besides its own; ``record`` instead of the right one."""
    info = f"{name}-{version}.dist-info"
    texts = files if files is not None else {f"{name}/__init__.py": "x = 1\n"}
    own = {
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n",
        f"{info}/WHEEL": wheel_file,
    }
    every = {path: text.encode() for path, text in {**own, **texts}.items()}
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as made:
        for path, data in every.items():
            entry = zipfile.ZipInfo(path, (2020, 1, 1, 0, 0, 0))
            entry.external_attr = 0o100644 << 16
            made.writestr(entry, data)
        entry = zipfile.ZipInfo(f"{info}/RECORD", (2020, 1, 1, 0, 0, 0))
        made.writestr(entry, record_of(every, info) if record is None else record)
    return stream.getvalue()
