"""An image with its documents, and keys that OpenSSL made."""

import subprocess
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from imagebuilder.bundle import Bundle, write
from imagebuilder.sbom import DOCUMENTS
from imagebuilder.store import Store
from tests.sbom.test_documents import INVENTORY
from tests.test_bundle import image_of

KINDS = {
    "ed25519": ("-algorithm", "ed25519"),
    "p256": ("-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"),
    "p384": ("-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-384"),
    "p521": ("-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-521"),
    "rsa": ("-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048"),
    "short": ("-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:1024"),
}


@dataclass(frozen=True)
class Pair:
    """The files of a key: both halves."""

    private: Path
    public: Path


def openssl(*words: str | Path) -> None:
    """Run it."""
    subprocess.run(["openssl", *words], check=True, capture_output=True, timeout=60)


@pytest.fixture
def pair(tmp_path: Path) -> Callable[[str], Pair]:
    """A new key of a kind."""

    def make(kind: str = "ed25519", name: str = "key") -> Pair:
        made = Pair(tmp_path / f"{name}.pem", tmp_path / f"{name}.pub")
        openssl("genpkey", *KINDS[kind], "-out", made.private)
        openssl("pkey", "-in", made.private, "-pubout", "-out", made.public)
        return made

    return make


@pytest.fixture
def bundle(tmp_path: Path) -> Bundle:
    """An image with its documents, as a build lays it down."""
    store = Store(tmp_path / "cache")
    image = image_of(store)
    inventory = replace(INVENTORY, subjects=image.digests())
    return write(image, tmp_path / "app", store, {name: store.put(made(inventory)) for name, made in DOCUMENTS.items()})
