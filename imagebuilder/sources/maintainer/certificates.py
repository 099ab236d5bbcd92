"""The bundle of certificate authorities as ``update-ca-certificates(8)`` makes it, with the names that OpenSSL wants.

The name of a certificate's link is a hash of its subject (X509_NAME_hash of OpenSSL 1.0.0 and later): the first 32 bits
of the SHA-1 of the names in it, each text as lower-case UTF-8 without needless spaces.
"""

import base64
import binascii
import hashlib
import re
from collections.abc import Iterator, Mapping

from imagebuilder.tree import Kind, Node, Tree, file, symlink

FOLDERS = ("/usr/share/ca-certificates/", "/usr/local/share/ca-certificates/")
CONFIGURATION = "/etc/ca-certificates.conf"
CERTS = "/etc/ssl/certs"
BUNDLE = f"{CERTS}/ca-certificates.crt"
PEM = re.compile(rb"-----BEGIN CERTIFICATE-----\s(.*?)-----END CERTIFICATE-----", re.DOTALL)
SEQUENCE, SET = 0x30, 0x31
UTF8, PRINTABLE, TELETEX, IA5, UNIVERSAL, BMP = 0x0C, 0x13, 0x14, 0x16, 0x1C, 0x1E
CODECS: Mapping[int, str] = {
    UTF8: "utf-8", PRINTABLE: "ascii", TELETEX: "latin-1", IA5: "ascii", UNIVERSAL: "utf-32-be", BMP: "utf-16-be"
}  # fmt: skip


def made(tree: Tree) -> dict[str, Node]:
    """The bundle and its links for the certificates of a tree; nothing where there are none, or a bundle already."""
    paths = list(_trusted(tree))
    if not paths or BUNDLE in tree:
        return {}
    nodes: dict[str, Node] = {}
    bundle: list[bytes] = []
    hashed: set[str] = set()
    for path in paths:
        text = tree[path].content.read()
        name = path.rpartition("/")[2].removesuffix(".crt").replace(" ", "_").replace("(", "=").replace(")", "=")
        nodes[f"{CERTS}/{name}.pem"] = symlink(path)
        bundle.append(text if text.endswith(b"\n") else text + b"\n")
        found = subject_hash(text)
        if found is not None:
            number = next(number for number in range(len(paths)) if f"{found}.{number}" not in hashed)
            hashed.add(f"{found}.{number}")
            nodes[f"{CERTS}/{found}.{number}"] = symlink(f"{name}.pem")
    return {**nodes, BUNDLE: file(b"".join(bundle))}


def subject_hash(pem: bytes) -> str | None:
    """The hash of the subject of a certificate in PEM; None for what is none."""
    match = PEM.search(pem)
    try:
        return _hash(base64.b64decode(match[1])) if match else None
    except (ValueError, IndexError, binascii.Error):
        return None


def _trusted(tree: Tree) -> Iterator[str]:
    """The certificates but those that the configuration has switched off (``!name``)."""
    node = tree.get(CONFIGURATION)
    lines = node.content.read().decode(errors="replace").splitlines() if node and node.kind is Kind.FILE else []
    off = {FOLDERS[0] + line[1:].strip() for line in lines if line.startswith("!")}
    found = (path for path, each in tree.items() if path.startswith(FOLDERS) and each.kind is Kind.FILE)
    return (path for path in found if path.endswith(".crt") and path not in off)


def _hash(der: bytes) -> str:
    certificate, _ = _element(der, 0)[1:]
    fields = list(_elements(_element(certificate, 0)[1]))
    first = 1 if fields[0][0] == 0xA0 else 0  # the version may be left out
    names = b"".join(_canonical_set(value) for _, value in _elements(fields[first + 4][1]))
    return f"{int.from_bytes(hashlib.sha1(names, usedforsecurity=False).digest()[:4], 'little'):08x}"


def _canonical_set(value: bytes) -> bytes:
    pairs = b"".join(_encode(SEQUENCE, _canonical_pair(pair)) for _, pair in _elements(value))
    return _encode(SET, pairs)


def _canonical_pair(pair: bytes) -> bytes:
    (kind, name), (text_kind, text) = list(_elements(pair))[:2]
    if text_kind not in CODECS:
        return _encode(kind, name) + _encode(text_kind, text)
    words = " ".join(word for word in re.split(r"[ \t\n\v\f\r]+", text.decode(CODECS[text_kind])) if word)
    lowered = "".join(letter.lower() if letter.isascii() else letter for letter in words)
    return _encode(kind, name) + _encode(UTF8, lowered.encode())


def _elements(data: bytes) -> Iterator[tuple[int, bytes]]:
    at = 0
    while at < len(data):
        kind, value, at = _element(data, at)
        yield kind, value


def _element(data: bytes, at: int) -> tuple[int, bytes, int]:
    """Type, value and end of the DER element at an offset."""
    kind, length = data[at], data[at + 1]
    at += 2
    if length & 0x80:
        count = length & 0x7F
        length, at = int.from_bytes(data[at : at + count], "big"), at + count
    if at + length > len(data):
        raise ValueError("the certificate is cut off")
    return kind, data[at : at + length], at + length


def _encode(kind: int, value: bytes) -> bytes:
    size = len(value)
    if size < 0x80:
        return bytes([kind, size]) + value
    length = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes([kind, 0x80 | len(length)]) + length + value
