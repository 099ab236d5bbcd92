"""What a machine is given, as words to init, and as files and options say it."""

from pathlib import Path

import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from imagebuilder.cli.run import command
from imagebuilder.errors import InputError
from imagebuilder.machine.given import Given, check_secrets, given_by, read_environment, read_secrets
from tests.examples import examples


def test_the_words_to_init() -> None:
    gift = Given({"A": "1 2", "B": ""}, b"x" * 300, {"key": b"\x00\n", "empty": b""})
    assert list(gift.words()) == [
        "file environment " + b"A=1 2\nB=\n".hex(),
        "file user-data " + "78" * 256,
        "file user-data " + "78" * 44,
        "secret key 000a",
        "secret empty ",
    ]
    assert all(len(word) < 1024 for word in gift.words()), "a line that init takes"
    assert not Given() and list(Given().words()) == []
    assert repr(gift) == "Given()"


@pytest.mark.parametrize(
    ("environment", "user_data", "secrets", "sentence"),
    [
        ({"A": "1\n2"}, b"", {}, "the variable 'A' cannot be given to a machine: NAME=VALUE in one line"),
        ({"A": "\udcff"}, b"", {}, "the variable 'A' cannot be given to a machine: it is no text in UTF-8"),
        (
            {"A": "x" * 65_536},
            b"",
            {},
            "the environment of a machine has 65,539 bytes, and at most 65,536",
        ),
        ({}, b"x" * 65_537, {}, "the user data of a machine has 65,537 bytes"),
        ({}, b"", {"key": b"x" * 65_537}, "the secret key of a machine has 65,537 bytes"),
        ({}, b"", {"../key": b""}, "'../key' is no name of a secret"),
        ({}, b"", {".key": b""}, "'.key' is no name of a secret"),
        ({}, b"", {f"k{number}": b"" for number in range(17)}, "17 secrets are too many: 16 can be given"),
    ],
)
def test_what_cannot_be_given(
    environment: dict[str, str], user_data: bytes, secrets: dict[str, bytes], sentence: str
) -> None:
    with pytest.raises(InputError) as caught:
        Given(environment, user_data, secrets)
    assert str(caught.value).startswith(sentence)


def test_a_missing_secret() -> None:
    check_secrets("app", (), None)
    check_secrets("app", ("key",), Given(secrets={"key": b"", "more": b""}))
    with pytest.raises(InputError, match="app needs the secret key, and it was not given"):
        check_secrets("app", ("key",), Given({"key": "1"}))


def test_a_file_of_variables(tmp_path: Path) -> None:
    path = tmp_path / "env"
    path.write_bytes(b"# ours\n\nA=1\r\nB=x=y z\nC=\nA=2")
    assert read_environment(path) == {"A": "2", "B": "x=y z", "C": ""}
    for content, sentence in (
        (b"A=1\nB", f"{path}, line 2, is not NAME=VALUE"),
        (b" A=1", f"{path}, line 1, is not NAME=VALUE"),
        (b"\xff", f"{path} is no text in UTF-8"),
        (b"A=" + b"x" * 65_536, f"the file {path} has more than 65,536 bytes"),
    ):
        path.write_bytes(content)
        with pytest.raises(InputError) as caught:
            read_environment(path)
        assert str(caught.value).startswith(sentence)
    with pytest.raises(InputError, match=r"cannot be read from .*: Is a directory"):
        read_environment(tmp_path)
    with pytest.raises(InputError, match=r"the secret key cannot be read from .*none: No such file or directory"):
        read_secrets({"key": tmp_path / "none"})


@settings(max_examples=examples(200), deadline=None)
@given(st.binary(max_size=60) | st.text("AB=#\n\r \0", max_size=30).map(str.encode))
def test_no_file_of_variables_harms_its_reader(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "any"
    path.write_bytes(content)
    try:
        Given(read_environment(path))
    except InputError as error:
        assert "\n" not in str(error)


def test_options_of_the_plugin(tmp_path: Path) -> None:
    (tmp_path / "env").write_text("A=1\nB=2\n")
    (tmp_path / "key").write_bytes(b"x")
    gift = given_by(["B=3"], "env", ["key=key"], tmp_path)
    assert (gift.environment, gift.secrets) == ({"A": "1", "B": "3"}, {"key": b"x"})
    with pytest.raises(InputError, match="the variable '1A' is not NAME=VALUE"):
        given_by(["1A=3"], None, [], tmp_path)


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("--env", "A"), "'A' is not NAME=VALUE in one line"),
        (("--secret", "hunter2"), "expected NAME=FILE, where FILE holds the secret"),
        (("--secret", "a/b=x"), "expected NAME=FILE, where FILE holds the secret"),
        (("--env", "A=1", "--dry-run"), "what a machine is given goes over a socket"),
    ],
)
def test_options_that_are_refused(words: tuple[str, ...], sentence: str) -> None:
    result = CliRunner().invoke(command, ["hello", *words])
    assert result.exit_code == 2 and sentence in result.output and "hunter2" not in result.output
