"""A signature around a statement: DSSE, version 1 (https://github.com/secure-systems-lab/dsse), with an ordinary key.

Keys are PEM files: Ed25519, ECDSA on P-256, P-384 or P-521, RSA; in the last case as RSASSA-PSS with SHA-256.
"""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from imagebuilder import documents
from imagebuilder.errors import ImagebuilderError, InputError, ToolMissing
from imagebuilder.sbom.statement import MOST_BYTES, PAYLOAD_TYPE

if TYPE_CHECKING:
    from securesystemslib.signer import CryptoSigner, SSlibKey

MOST_KEY_BYTES = 64 << 10
MOST_SIGNATURES = 16
LEAST_RSA_BITS = 2048
KINDS = "an Ed25519, ECDSA or RSA key"

T = TypeVar("T")
Passphrase = Callable[[Path], str]


def sign(payload: bytes, key: "CryptoSigner") -> bytes:
    """An envelope around a statement, in one line of JSON."""
    from securesystemslib.dsse import Envelope

    envelope = Envelope(payload, PAYLOAD_TYPE, {})
    envelope.sign(key)
    return json.dumps(envelope.to_dict(), separators=(",", ":")).encode() + b"\n"


def opened(line: bytes, keys: Sequence["SSlibKey"]) -> bytes | None:
    """The statement in an envelope, when one of these keys has signed it; None when none has. Raises
    ``documents.Damaged`` when it is no envelope.

    The identifier of a key in a signature is a hint alone (DSSE 1.0.2), and other tools write others than ours or
    none: each key is tried.
    """
    from securesystemslib.dsse import Envelope
    from securesystemslib.exceptions import UnverifiedSignatureError
    from securesystemslib.signer import Signature

    document = documents.json_of(line, most_bytes=2 * MOST_BYTES)
    match document:
        case {"payload": str(payload), "payloadType": str(kind), "signatures": [*entries]}:
            signatures = [_signature(entry) for entry in entries]
        case _:
            raise documents.Damaged("it is no DSSE envelope")
    if len(signatures) > MOST_SIGNATURES:
        raise documents.Damaged(f"it has more than {MOST_SIGNATURES} signatures")
    envelope = Envelope(_decoded(payload), kind, {})
    for key in keys:
        for signature in signatures:
            try:
                key.verify_signature(Signature(key.keyid, signature), envelope.pae())
            except UnverifiedSignatureError:
                continue
            if kind != PAYLOAD_TYPE:
                raise documents.Damaged(f"its payload is of type {kind}, and not {PAYLOAD_TYPE}")
            return envelope.payload
    return None


def private_key(path: Path, passphrase: Passphrase) -> "CryptoSigner":
    """The key in a PEM file; one that is encrypted is opened with the passphrase that ``passphrase`` returns for it.
    Raises InputError, ToolMissing."""
    serialization, signer = _libraries()
    data = _read(path)

    def load() -> Any:
        try:
            return serialization.load_pem_private_key(data, None)
        except TypeError:  # it is encrypted
            return _decrypted(serialization, data, path, passphrase(path))

    key = _parsed(path, "private", load)
    _check_strength(path, key)
    made: CryptoSigner = _parsed(path, "private", lambda: signer.CryptoSigner(key))
    return made


def public_key(path: Path) -> "SSlibKey":
    """The public key in a PEM file: alone, or in an X.509 certificate, of which nothing but its key is looked at.
    Raises InputError, ToolMissing."""
    serialization, signer = _libraries()
    data = _read(path)

    def load() -> Any:
        if b"-----BEGIN CERTIFICATE-----" in data:
            from cryptography.x509 import load_pem_x509_certificate

            return load_pem_x509_certificate(data).public_key()
        return serialization.load_pem_public_key(data)

    key = _parsed(path, "public", load)
    _check_strength(path, key)
    made: SSlibKey = _parsed(path, "public", lambda: signer.SSlibKey.from_crypto(key))
    return made


def _decrypted(serialization: Any, data: bytes, path: Path, passphrase: str) -> Any:
    try:
        return serialization.load_pem_private_key(data, passphrase.encode())
    except (TypeError, ValueError) as error:  # an empty one, a wrong one
        raise InputError(f"{path} cannot be decrypted with this passphrase") from error


def _parsed(path: Path, half: str, load: Callable[[], T]) -> T:
    """What ``load`` makes of a key's file, or the sentence that says that it is none."""
    try:
        return load()
    except ImagebuilderError:
        raise
    except Exception as error:  # ValueError, TypeError, UnsupportedAlgorithm and more, by what is wrong with it
        command = "openssl genpkey -algorithm ed25519 -out key.pem"
        hint = command if half == "private" else "openssl pkey -in key.pem -pubout -out key.pub"
        message = f"{path} holds no {half} key that can be used here: expected {KINDS} in PEM"
        raise InputError(message, hint=f"{hint} writes one") from error


def _check_strength(path: Path, key: Any) -> None:
    from cryptography.hazmat.primitives.asymmetric import rsa

    if isinstance(key, rsa.RSAPublicKey | rsa.RSAPrivateKey) and key.key_size < LEAST_RSA_BITS:
        raise InputError(f"{path} is an RSA key of {key.key_size} bits: at least {LEAST_RSA_BITS} are needed")


def _libraries() -> tuple[Any, Any]:
    try:
        from cryptography.hazmat.primitives import serialization
        from securesystemslib import signer
    except ImportError as error:
        raise ToolMissing(
            "signatures need the libraries securesystemslib and cryptography", hint="pip install 'imagebuilder[sign]'"
        ) from error
    return serialization, signer


def _read(path: Path) -> bytes:
    try:
        data = documents.read(path, MOST_KEY_BYTES)
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}") from error
    if len(data) > MOST_KEY_BYTES:
        raise InputError(f"{path} is longer than {MOST_KEY_BYTES >> 10} KiB: that is no key")
    return data


def _signature(entry: Any) -> str:
    """A signature in hexadecimal digits, as the library has them."""
    match entry:
        case {"sig": str(text)}:
            return _decoded(text).hex()
    raise documents.Damaged("one of its signatures has no 'sig'")


def _decoded(text: str) -> bytes:
    """Base64, of either alphabet, as DSSE wants it to be read."""
    import base64
    import binascii

    try:
        return base64.b64decode(text.translate({ord("-"): "+", ord("_"): "/"}), validate=True)
    except (binascii.Error, ValueError) as error:
        raise documents.Damaged("it has a part that is no base64") from error
