"""What is signed, by OpenSSL's verdict; what is verified, and everything that is not taken for the signed image."""

import base64
import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from imagebuilder.attestation.boot_tests import PREDICATE
from imagebuilder.attestation.envelope import private_key, public_key
from imagebuilder.attestation.signing import file_of, sign, subjects
from imagebuilder.attestation.verifying import verify
from imagebuilder.bundle import Bundle
from imagebuilder.errors import InputError, Refused
from imagebuilder.sbom.statement import PAYLOAD_TYPE, Statement
from tests.attestation.conftest import Pair, openssl

pytestmark = pytest.mark.tools
Keys = Callable[..., Pair]


def refuse(path: Path) -> str:
    raise AssertionError(f"{path} is not encrypted")


def signed(bundle: Bundle, key: Pair, *attestations: Path) -> list[dict[str, Any]]:
    """Sign the image, and return the envelopes."""
    made = sign(bundle, key.private, passphrase=refuse, attestations=attestations)
    file_of(bundle).write_bytes(made)
    return [json.loads(line) for line in made.splitlines()]


def result(bundle: Bundle, folder: Path, outcome: str = "PASSED") -> Path:
    """The statement of a test of the image."""
    path = folder / "result.json"
    path.write_bytes(Statement(subjects(bundle), PREDICATE, {"result": outcome, "configuration": []}).to_bytes())
    return path


def test_openssl_finds_the_signature_good(bundle: Bundle, pair: Keys, tmp_path: Path) -> None:
    key = pair("p256")
    for each in signed(bundle, key):
        payload = base64.b64decode(each["payload"])
        assert each["payloadType"] == PAYLOAD_TYPE
        # https://github.com/secure-systems-lab/dsse/blob/master/protocol.md: what is signed
        pae = b"DSSEv1 %d %s %d %s" % (len(PAYLOAD_TYPE), PAYLOAD_TYPE.encode(), len(payload), payload)
        (tmp_path / "pae").write_bytes(pae)
        (tmp_path / "sig").write_bytes(base64.b64decode(each["signatures"][0]["sig"]))
        openssl("dgst", "-sha256", "-verify", key.public, "-signature", tmp_path / "sig", tmp_path / "pae")
        (tmp_path / "pae").write_bytes(pae + b" ")
        with pytest.raises(subprocess.CalledProcessError):
            openssl("dgst", "-sha256", "-verify", key.public, "-signature", tmp_path / "sig", tmp_path / "pae")


@pytest.mark.parametrize("kind", ["ed25519", "p256", "p384", "p521", "rsa"])
def test_each_kind_of_key(bundle: Bundle, pair: Keys, kind: str) -> None:
    key = pair(kind)
    signed(bundle, key)
    assert [claim.kind for claim in verify(bundle.folder, [key.public])] == ["provenance", "cyclonedx", "spdx"]
    with pytest.raises(Refused, match=r"nothing of .*app.intoto.jsonl is signed by .*other.pub"):
        verify(bundle.folder, [pair(kind, "other").public])


def test_the_key_of_a_certificate(bundle: Bundle, pair: Keys, tmp_path: Path) -> None:
    key, certificate = pair("p256"), tmp_path / "cert.pem"
    openssl("req", "-x509", "-new", "-key", key.private, "-subj", "/CN=builder", "-days", "1", "-out", certificate)
    signed(bundle, key)
    assert verify(bundle.folder, [certificate])


@pytest.mark.parametrize("identifier", ["", "another"])
def test_a_key_is_found_whatever_the_signature_calls_it(bundle: Bundle, pair: Keys, identifier: str) -> None:
    """Cosign writes no identifier."""
    key = pair()
    envelopes = signed(bundle, key)
    for each in envelopes:
        each["signatures"][0]["keyid"] = identifier
    file_of(bundle).write_text("\n".join(map(json.dumps, envelopes)))
    assert len(verify(bundle.folder, [key.public])) == 3


@pytest.mark.parametrize(
    "name", ["cmdline", "image.json", "vmlinux", "root.erofs", "sbom.cdx.json", "sbom.spdx.json", "provenance.json"]
)
def test_a_file_that_was_changed(bundle: Bundle, pair: Keys, name: str) -> None:
    key = pair()
    signed(bundle, key)
    path = bundle.folder / name
    content = path.read_text()
    path.write_text(content.replace('"app"', '"apq"', 1) if name.startswith("sbom") else f"{content} ")
    with pytest.raises(Refused, match=name):
        verify(bundle.folder, [key.public])


def test_another_image_beside_the_same_envelopes(bundle: Bundle, pair: Keys, tmp_path: Path) -> None:
    key = pair()
    signed(bundle, key)
    other = shutil.copytree(bundle.folder, tmp_path / "other")
    image = json.loads((other / "image.json").read_text())
    (other / "vmlinux").write_bytes(b"evil")
    image["kernel"]["sha256"] = Bundle(other, bundle.image).image.root.sha256
    shutil.copy(other / "root.erofs", other / "vmlinux")
    (other / "image.json").write_text(json.dumps(image))
    with pytest.raises(Refused, match=r"image.json differs"):
        verify(other, [key.public])


def test_what_others_have_signed_does_not_count(bundle: Bundle, pair: Keys, tmp_path: Path) -> None:
    key, other = pair(), pair(name="other")
    ours = signed(bundle, key)
    theirs = signed(bundle, other, result(bundle, tmp_path))
    file_of(bundle).write_text("\n".join(map(json.dumps, [*ours, *theirs])))
    claims = verify(bundle.folder, [key.public])
    assert [claim.kind for claim in claims] == ["provenance", "cyclonedx", "spdx", *["unknown"] * 4]
    with pytest.raises(Refused, match=r"has no 'test' that is signed by .*key.pub"):
        verify(bundle.folder, [key.public], required=["test"])
    assert verify(bundle.folder, [key.public, other.public], required=["test"])[4].result == "PASSED"


@pytest.mark.parametrize("change", ["payload", "sig", "payloadType"])
def test_an_envelope_that_was_changed(bundle: Bundle, pair: Keys, change: str) -> None:
    key = pair()
    envelopes = signed(bundle, key)
    place = envelopes[0]["signatures"][0] if change == "sig" else envelopes[0]
    place[change] = "text/plain" if change == "payloadType" else place[change][:-8] + "AAAAAAA="
    file_of(bundle).write_text("\n".join(map(json.dumps, envelopes)))
    with pytest.raises(Refused, match="no 'provenance' that is signed by"):
        verify(bundle.folder, [key.public])


def test_a_test_that_failed_is_no_reason_to_trust(bundle: Bundle, pair: Keys, tmp_path: Path) -> None:
    key = pair()
    signed(bundle, key, result(bundle, tmp_path, "FAILED"))
    with pytest.raises(Refused, match="the boot tests of this image have the result FAILED"):
        verify(bundle.folder, [key.public])


def test_a_statement_about_another_image_is_not_signed(bundle: Bundle, pair: Keys, tmp_path: Path) -> None:
    path = tmp_path / "result.json"
    path.write_bytes(Statement({**subjects(bundle), "cmdline": "0" * 64}, PREDICATE, {}).to_bytes())
    with pytest.raises(InputError, match=r"result.json is about another image .* its cmdline differs"):
        signed(bundle, pair(), path)
    path.write_bytes(Statement({"vmlinux": subjects(bundle)["vmlinux"]}, PREDICATE, {}).to_bytes())
    with pytest.raises(InputError, match="says nothing of cmdline"):
        signed(bundle, pair(), path)
    path.write_text("{}")
    with pytest.raises(InputError, match=r"result.json is no in-toto statement: it is no statement of type"):
        signed(bundle, pair(), path)


def test_keys_that_are_none(pair: Keys, tmp_path: Path) -> None:
    key, broken = pair(), tmp_path / "broken"
    broken.write_text("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n")
    for path in (key.public, broken, tmp_path / "cache"):
        path.touch()
        with pytest.raises(InputError, match=r"holds no private key that can be used here: expected an Ed25519"):
            private_key(path, refuse)
    for path in (key.private, broken):
        with pytest.raises(InputError, match=r"holds no public key that can be used here: expected an Ed25519"):
            public_key(path)
    for read in (public_key, lambda path: private_key(path, refuse)):
        with pytest.raises(InputError, match="an RSA key of 1024 bits: at least 2048 are needed"):
            read(pair("short").public if read is public_key else pair("short").private)
        with pytest.raises(InputError, match="missing cannot be read: No such file"):
            read(tmp_path / "missing")
        with pytest.raises(InputError, match="longer than 64 KiB"):
            read(Path("/dev/zero"))


def test_an_encrypted_key(bundle: Bundle, pair: Keys, tmp_path: Path) -> None:
    key, closed = pair(), tmp_path / "closed.pem"
    openssl("pkey", "-in", key.private, "-aes256", "-passout", "pass:secret", "-out", closed)
    file_of(bundle).write_bytes(sign(bundle, closed, passphrase=lambda _: "secret"))
    assert verify(bundle.folder, [key.public])
    for wrong in ("wrong", ""):
        passphrase = {closed: wrong}.__getitem__
        with pytest.raises(InputError, match=r"closed.pem cannot be decrypted with this passphrase"):
            sign(bundle, closed, passphrase=passphrase)
