"""Credentials: which of several count, what a helper is asked, and that no message has a word of them."""

import base64
import json
from collections.abc import Mapping
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from imagebuilder.errors import ImagebuilderError, InputError, MachineLacks, SourceError
from imagebuilder.oci.credentials import Credentials, files, find
from tests.examples import examples

SECRET = "hunter2-hunter2"


def basic(user: str, password: str = SECRET) -> dict[str, str]:
    return {"auth": base64.b64encode(f"{user}:{password}".encode()).decode()}


def write(path: Path, document: Mapping[str, object]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(document))
    return path


def user(host: str, name: str = "team/app") -> str | None:
    found = find(host, name)
    return found.user if found else None


def test_nothing_is_there() -> None:
    assert find("ghcr.io", "a") is None


def test_the_files_in_their_order(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    docker = write(home / ".docker/config.json", {"auths": {"ghcr.io": basic("docker")}})
    assert user("ghcr.io") == "docker"
    containers = write(home / ".config/containers/auth.json", {"auths": {"ghcr.io": basic("containers")}})
    assert user("ghcr.io") == "containers"
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "run"))
    runtime = write(tmp_path / "run/containers/auth.json", {"auths": {"ghcr.io": basic("runtime")}})
    assert user("ghcr.io") == "runtime" and list(files()) == [runtime, containers, docker]
    monkeypatch.setenv("REGISTRY_AUTH_FILE", str(write(tmp_path / "own.json", {"auths": {"quay.io": basic("own")}})))
    assert user("ghcr.io") is None and user("quay.io") == "own"
    monkeypatch.delenv("REGISTRY_AUTH_FILE")
    runtime.unlink()
    containers.unlink()
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path / "other"))
    write(tmp_path / "other/config.json", {"auths": {"ghcr.io": basic("other")}})
    assert user("ghcr.io") == "other"


@pytest.mark.parametrize(
    ("host", "name", "expected"),
    [
        ("ghcr.io", "team/app", "team/app"),
        ("ghcr.io", "team/other", "team"),
        ("ghcr.io", "teams/other", "host"),
        ("ghcr.io", "x", "host"),
        ("docker.io", "library/nginx", "hub"),
        ("old.example.com", "x", "old"),
        ("localhost:5000", "x", "port"),
        ("localhost", "x", None),
        ("example.com", "x", None),
    ],
)
def test_the_closest_entry(home: Path, host: str, name: str, expected: str | None) -> None:
    entries = {
        "ghcr.io": "host",
        "ghcr.io/team": "team",
        "ghcr.io/team/app": "team/app",
        "https://index.docker.io/v1/": "hub",
        "https://old.example.com/v2/": "old",
        "localhost:5000": "port",
    }
    write(home / ".docker/config.json", {"auths": {key: basic(value) for key, value in entries.items()}})
    assert user(host, name) == expected


def test_tokens_and_plain_names(home: Path) -> None:
    entries = {"a.io": {"identitytoken": SECRET}, "b.io": {"registrytoken": SECRET}}
    entries |= {"c.io": {"username": "me", "password": SECRET}, "d.io": {}}
    path = write(home / ".docker/config.json", {"auths": entries})
    assert find("a.io", "x") == Credentials(identity_token=SECRET, file=path)
    assert find("b.io", "x") == Credentials(registry_token=SECRET, file=path)
    assert find("c.io", "x") == Credentials("me", SECRET, file=path)
    assert find("d.io", "x") is None


def helper(folder: Path, name: str, script: str) -> None:
    folder.mkdir(exist_ok=True)
    (folder / f"docker-credential-{name}").write_text(f"#!/bin/sh\n{script}\n")
    (folder / f"docker-credential-{name}").chmod(0o755)


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:/usr/bin:/bin")
    return tmp_path / "bin"


@pytest.mark.tools
def test_helpers(home: Path, programs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    says = (
        'read host; printf \'{"ServerURL":"%s","Username":"%s","Secret":"' + SECRET + '"}\' "$host" "$1-$host-$OF_MINE"'
    )
    helper(programs, "one", says)
    helper(programs, "all", says)
    monkeypatch.setenv("OF_MINE", "passed")
    told = {"auths": {"a.io": {}, "b.io": basic("file")}, "credHelpers": {"one.io": "one"}, "credsStore": "all"}
    write(home / ".docker/config.json", told)
    assert user("one.io") == "get-one.io-passed"
    assert user("b.io") == "file"
    assert user("a.io") == "get-a.io-passed"
    assert user("docker.io") == "get-https://index.docker.io/v1/-passed"
    helper(programs, "one", f'cat > /dev/null; printf \'{{"Username":"<token>","Secret":"{SECRET}"}}\'')
    assert find("one.io", "x") == Credentials(identity_token=SECRET, file=home / ".docker/config.json")
    helper(programs, "one", "echo credentials not found in native keychain; exit 1")
    assert find("one.io", "x") is None


@pytest.mark.tools
@pytest.mark.parametrize(
    ("script", "said"),
    [
        (f"echo {SECRET}; exit 1", "it failed with status 1"),
        (f"echo {SECRET} >&2; exit 3", "it failed with status 3"),
        (f"echo {SECRET}", "it printed something else"),
        ("echo '[]'", "it printed something else"),
        ('echo \'{"Username": "me"}\'', "it printed something else"),
        ("yes", "it printed more than 64 MiB and was ended"),
        ("sleep 60", "it did not end within 0.5 s"),
    ],
)
def test_a_helper_that_does_not_help(
    home: Path, programs: Path, monkeypatch: pytest.MonkeyPatch, script: str, said: str
) -> None:
    monkeypatch.setattr("imagebuilder.oci.credentials.HELPER_S", 30.0 if "sleep" not in script else 0.5)
    helper(programs, "odd", script)
    write(home / ".docker/config.json", {"credHelpers": {"a.io": "odd"}})
    with pytest.raises(SourceError) as caught:
        find("a.io", "x")
    assert str(caught.value).endswith(said) and SECRET not in str(caught.value)


def test_a_helper_that_is_missing_or_has_no_name(home: Path, programs: Path) -> None:
    write(home / ".docker/config.json", {"credHelpers": {"a.io": "lost", "b.io": "../../bin/sh", "c.io": 3}})
    with pytest.raises(MachineLacks, match="docker-credential-lost is needed and not installed"):
        find("a.io", "x")
    for host in ("b.io", "c.io"):
        with pytest.raises(InputError, match="has no name that a program has"):
            find(host, "x")


@pytest.mark.parametrize(
    "text",
    [
        f'{{"auths": {SECRET}',
        "[]",
        "3",
        "\xff",
        '{"auths": {"a.io": {"auth": "!!!"}}}',
        '{"auths": {"a.io": {"auth": "eA=="}}}',
    ],
)
def test_a_file_that_is_none(home: Path, text: str) -> None:
    write(home / ".docker/config.json", {})
    (home / ".docker/config.json").write_bytes(text.encode("latin-1"))
    with pytest.raises(InputError) as caught:
        find("a.io", "x")
    assert str(home / ".docker/config.json") in str(caught.value) and "writes it again" in str(caught.value)
    assert SECRET not in str(caught.value)


def test_one_shows_nothing(home: Path) -> None:
    shown = repr(Credentials("me", SECRET, SECRET, SECRET))
    assert SECRET not in shown and base64.b64encode(SECRET.encode()).decode() not in shown


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["a.io", "auth", "username", "x"]), inner)
    ),
    max_leaves=8,
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=examples(200))
@given(st.dictionaries(st.sampled_from(["auths", "credHelpers", "HttpHeaders"]), JSON))
def test_whatever_a_file_has(home: Path, document: Mapping[str, object]) -> None:
    write(home / ".docker/config.json", document)
    try:
        found = find("a.io", "x")
    except ImagebuilderError as error:
        assert error.message.isprintable()
    else:
        assert found is None or found.basic.startswith("Basic ")
