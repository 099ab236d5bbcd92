"""``sign``, ``verify`` and ``test --attest`` as a user has them."""

import json
import os
import pty
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from tests import ORDINARY
from tests.app import lay_down, recipe_text
from tests.attestation.conftest import openssl
from tests.cli.conftest import Cli, Ran

pytestmark = pytest.mark.tools


@pytest.fixture
def keys(tmp_path: Path) -> Path:
    """A key in both halves: ``key.pem`` and ``key.pub``."""
    openssl("genpkey", "-algorithm", "ed25519", "-out", tmp_path / "key.pem")
    openssl("pkey", "-in", tmp_path / "key.pem", "-pubout", "-out", tmp_path / "key.pub")
    return tmp_path


def words_of(ran: Ran) -> list[str]:
    """The command in a hint, made whole."""
    hint = ran.err.partition("hint: ")[2].splitlines()[0].removesuffix(" writes it")
    return shlex.split(hint.replace("NAME", "app").replace("FILE", "key.pem"))[1:]


def test_what_is_missing_is_said_and_each_hint_works(cli: Cli, recipe: Path, keys: Path) -> None:
    verify = ("verify", "app", "--key", "key.pub")
    ran = cli(*verify)
    assert ran.status == 2 and "there is no image of app in out" in ran.err
    assert cli(*words_of(ran)).status == 0
    ran = cli(*verify)
    assert ran.status == 2 and "app.intoto.jsonl cannot be read" in ran.err
    assert cli(*words_of(ran)).status == 0
    ran = cli(*verify, "--json")
    assert [each["kind"] for each in json.loads(ran.out)["claims"]] == ["provenance", "cyclonedx", "spdx"]
    (keys / "out/app/app.intoto.jsonl").write_text("\n")
    ran = cli(*verify)
    assert ran.status == 2 and "app.intoto.jsonl is empty" in ran.err and words_of(ran)[0] == "sign"


def test_an_image_is_taken_from_a_folder_of_its_own(cli: Cli, recipe: Path, keys: Path) -> None:
    """As where it came from elsewhere, without its recipe."""
    assert cli("build", "app").status == 0
    (keys / "out/app").rename(keys / "received")
    assert cli("sign", "received", "--key", "key.pem").status == 0
    assert cli("verify", "received", "--key", "key.pub").status == 0
    with (keys / "received/cmdline").open("a") as stream:
        stream.write("x")
    ran = cli("verify", "received", "--key", "key.pub")
    assert ran.status == 1 and "its cmdline differs" in ran.err and ran.out == ""


def test_a_key_with_a_passphrase(cli: Cli, recipe: Path, keys: Path) -> None:
    assert cli("build", "app").status == 0
    openssl("pkey", "-in", keys / "key.pem", "-aes256", "-passout", "pass:secret", "-out", keys / "closed.pem")
    sign = ("sign", "app", "--key", "closed.pem")
    ran = cli(*sign)
    assert ran.status == 2 and "closed.pem is encrypted" in ran.err
    name = ran.err.rpartition("$")[2].strip()
    assert cli(*sign, env={name: "secret"}).status == 0
    assert cli("verify", "app", "--key", "key.pub").status == 0
    ran = cli(*sign, env={name: "wrong"})
    assert ran.status == 2 and "closed.pem cannot be decrypted with this passphrase" in ran.err


def test_a_passphrase_is_asked_for_at_a_terminal(cli: Cli, recipe: Path, keys: Path) -> None:
    assert cli("build", "app").status == 0
    openssl("pkey", "-in", keys / "key.pem", "-aes256", "-passout", "pass:secret", "-out", keys / "closed.pem")
    ours, theirs = pty.openpty()
    try:
        argv = [sys.executable, "-m", "imagebuilder", "sign", "app", "--key", "closed.pem"]
        done = subprocess.Popen(argv, cwd=keys, stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True)
        asked = b""
        while not asked.rstrip().endswith(b"closed.pem:"):  # what is typed before that is thrown away
            asked += os.read(ours, 1000)
        os.write(ours, b"secret\n")
        assert done.wait(120) == 0
    finally:
        os.close(ours)
        os.close(theirs)


def test_the_libraries_are_an_extra(cli: Cli, recipe: Path, keys: Path) -> None:
    assert cli("build", "app").status == 0
    (keys / "empty").mkdir()
    (keys / "empty/securesystemslib.py").write_text("raise ImportError")
    ran = cli("sign", "app", "--key", "key.pem", env={"PYTHONPATH": str(keys / "empty")})
    assert ran.status == 3 and "hint: pip install 'imagebuilder[sign]'" in ran.err
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]
    assert {name.partition(">")[0] for name in project["optional-dependencies"]["sign"]} == {
        "cryptography",
        "securesystemslib",
    }


def test_a_folder_that_cannot_be_written(cli: Cli, recipe: Path, keys: Path) -> None:
    assert cli("build", "app").status == 0
    (keys / "out/app").chmod(0o555)
    (keys / "key.pem").chmod(0o644)
    ran = cli("sign", "app", "--key", "key.pem", ordinary=bool(ORDINARY))
    (keys / "out/app").chmod(0o755)
    assert ran.status == 2 and "app.intoto.jsonl cannot be written: Permission denied" in ran.err


@pytest.mark.vm
def test_what_was_tested_is_signed(cli: Cli, application: Path, keys: Path) -> None:
    lay_down(keys / "app", application, recipe_text("say=hello", ready='console = "hello"'))
    test = ("test", "app", "--runs", "1", "--accel", "tcg", "--attest", "result.json")
    assert cli(*test).status == 0
    made = json.loads((keys / "result.json").read_text())
    assert made["predicate"]["result"] == "PASSED"
    assert {"builds", "boots", "gets_ready", "same_bytes_twice"} <= {*made["predicate"]["passedTests"]}
    assert cli("sign", "app", "--key", "key.pem", "--attestation", "result.json").status == 0
    ran = cli("verify", "app", "--key", "key.pub", "--require", "test", "--require", "provenance")
    assert ran.status == 0 and "test (the result of its boot tests): PASSED" in ran.out
    (keys / "app/recipe.toml").write_text(recipe_text("say=other", ready='console = "hello"'))
    ran = cli(*test)
    assert ran.status == 1
    made = json.loads((keys / "result.json").read_text())["predicate"]
    assert made["result"] == "FAILED" and "gets_ready" in made["failedTests"]
    assert cli("sign", "app", "--key", "key.pem", "--attestation", "result.json").status == 0
    ran = cli("verify", "app", "--key", "key.pub")
    assert ran.status == 1 and "the boot tests of this image have the result FAILED" in ran.err


def test_a_result_is_of_one_image(cli: Cli, recipe: Path) -> None:
    ran = cli("test", "app", "app", "--attest", "result.json")
    assert ran.status == 2 and "--attest is about one image" in ran.err
