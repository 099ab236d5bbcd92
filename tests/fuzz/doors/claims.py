"""What is claimed of images: envelopes, the statements in them, bills of materials."""

import json
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from securesystemslib.signer import CryptoSigner

from imagebuilder import documents
from imagebuilder.attestation.envelope import opened, sign
from imagebuilder.sbom import reading
from imagebuilder.sbom.statement import Statement
from tests.fuzz.doors.door import Door

STATEMENT = Statement({"vmlinux": "a" * 64, "cmdline": "b" * 64}, "https://slsa.dev/provenance/v1", {"a": [1, None]})
KEY = CryptoSigner(Ed25519PrivateKey.from_private_bytes(b"k" * 32))
BILL = {
    "components": [
        {"bom-ref": "kernel", "version": "6.12", "properties": [{"name": "imagebuilder:kernel:config", "value": "a"}]},
        {
            "bom-ref": "material:libc6",
            "name": "libc6",
            "version": "2.36",
            "components": [
                {
                    "name": "/lib/libc.so.6",
                    "hashes": [{"alg": "SHA-256", "content": "a" * 64}],
                    "properties": [{"name": "imagebuilder:bytes", "value": "12"}],
                }
            ],
        },
    ]
}


def _bill(data: bytes, folder: Path) -> object:
    (folder / reading.FILE).write_bytes(data)
    return reading.read(folder)


def _envelope(data: bytes, _folder: Path) -> object:
    payload = opened(data, [KEY.public_key])
    return None if payload is None else Statement.of_bytes(payload)


ROWS = (
    Door(
        "envelope",
        "signed envelopes",
        _envelope,
        (sign(STATEMENT.to_bytes(), KEY),),
        (b'"sig":"AA=="', b'"payload":"', b"===", b'"keyid":""', b"-_"),
        (documents.Damaged,),
    ),
    Door(
        "statement",
        "in-toto statements",
        lambda data, _folder: Statement.of_bytes(data),
        (STATEMENT.to_bytes(),),
        (b'"digest": {}', b'"subject": [', b'"name": null', b"sha512"),
        (documents.Damaged,),
    ),
    Door(
        "bill",
        "bills of materials beside images",
        _bill,
        (json.dumps(BILL).encode(),),
        (b'"components": {}', b'"value": "1e9"', b'"bom-ref": "kernel"', b'"hashes": null'),
    ),
)
