"""Names of images in registries: what is accepted, in one spelling; what is refused, in a sentence without secrets."""

from contextlib import suppress
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imagebuilder import process
from imagebuilder.errors import InputError, ToolFailed
from imagebuilder.oci.reference import Reference, is_loopback, parse

DIGEST = f"sha256:{'0a' * 32}"
ACCEPTED = {
    "nginx": Reference("docker.io", "library/nginx"),
    "nginx:1.27": Reference("docker.io", "library/nginx", "1.27"),
    "team/app": Reference("docker.io", "team/app"),
    "docker.io/nginx": Reference("docker.io", "library/nginx"),
    "index.docker.io/library/nginx": Reference("docker.io", "library/nginx"),
    "library/nginx": Reference("docker.io", "library/nginx"),
    "localhost/app": Reference("localhost", "app"),
    "localhost:5000/app:v1": Reference("localhost:5000", "app", "v1"),
    "app:5000/x": Reference("app:5000", "x"),
    "Host/app": Reference("Host", "app"),
    "127.0.0.1:5000/t/app": Reference("127.0.0.1:5000", "t/app"),
    "[::1]:5000/app": Reference("[::1]:5000", "app"),
    "[2001:db8::1]/app": Reference("[2001:db8::1]", "app"),
    f"ghcr.io/a/b/c@{DIGEST}": Reference("ghcr.io", "a/b/c", None, DIGEST),
    f"ghcr.io/a/b:1.0@{DIGEST}": Reference("ghcr.io", "a/b", "1.0", DIGEST),
    "quay.io/a__b/c-d--e.f:_x": Reference("quay.io", "a__b/c-d--e.f", "_x"),
}
REFUSED = {
    "": "no name of a repository",
    "Nginx": 'did you mean "library/nginx"?',
    "ghcr.io/Team/app": 'did you mean "team/app"?',
    "https://ghcr.io/app": "without https://",
    "docker://nginx": "begins with no scheme",
    "ghcr.io/": "no name of a repository",
    "ghcr.io//app": "no name of a repository",
    "ghcr.io/a..b": "no name of a repository",
    "ghcr.io/a___b": "no name of a repository",
    "ghcr.io/-a": "no name of a repository",
    "ghcr.io/a/": "no name of a repository",
    "ghcr.io/ä": "no name of a repository",
    f"ghcr.io/{'a' * 256}": "no name of a repository",
    "ghcr.io:/app": "no host of a registry",
    "ghcr.io:0/app": "no host of a registry",
    "ghcr.io:65536/app": "no host of a registry",
    "ghcr..io/app": "no host of a registry",
    "-ghcr.io/app": "no host of a registry",
    "[::1/app": "no host of a registry",
    "nginx:": "no tag",
    "nginx:-1": "no tag",
    f"nginx:{'a' * 129}": "no tag",
    "nginx:a b": "no tag",
    "nginx@sha256:12": "no digest",
    f"nginx@md5:{'0' * 32}": "no digest",
    f"nginx@{DIGEST.upper()}": "no digest",
    "a" * 1025: "longer than 1,024 characters",
    "nginx\n": "no name of a repository",
}


@pytest.mark.parametrize("text", ACCEPTED)
def test_accepted(text: str) -> None:
    assert parse(text) == ACCEPTED[text]
    assert parse(str(ACCEPTED[text])) == ACCEPTED[text]


@pytest.mark.parametrize("text", REFUSED, ids=lambda text: text[:40])
def test_refused(text: str) -> None:
    with pytest.raises(InputError) as caught:
        parse(text)
    assert REFUSED[text] in str(caught.value) and "\n" not in str(caught.value)


def test_the_hints_of_a_name_are_followed() -> None:
    with pytest.raises(InputError) as caught:
        parse("ghcr.io/Team/App:v1")
    meant = str(caught.value).split('did you mean "')[1].split('"')[0]
    assert parse(f"ghcr.io/{meant}:v1") == Reference("ghcr.io", "team/app", "v1")
    with pytest.raises(InputError) as caught:
        parse("https://ghcr.io/app")
    shown = str(caught.value.hint)
    assert parse(shown.split('"')[1]) and parse(shown.split('"')[3].replace("…", "0" * 64))


def test_a_digest_comes_before_a_tag_and_latest_is_the_tag_of_none() -> None:
    assert [parse(text).asked for text in ("a", "a:b", f"a:b@{DIGEST}")] == ["latest", "b", DIGEST]


@pytest.mark.parametrize(
    "text",
    [
        "me:hunter2@ghcr.io/app",
        "https://me:hunter2@ghcr.io/app",
        "me:hunter2@ghcr.io",
        "me:hunter2@localhost:5000/app:v1",
    ],
)
def test_a_password_is_not_repeated(text: str) -> None:
    with pytest.raises(InputError) as caught:
        parse(text)
    assert "hunter2" not in str(caught.value)


def test_this_machine_itself() -> None:
    ours = ("127.0.0.1", "127.0.0.1:5000", "localhost", "LOCALHOST:5000", "[::1]:1", "[::1]")
    others = (
        "127.0.0.1.example.com",
        "localhost.example.com",
        "127.0.0.2",
        "[::2]",
        "::1",
        "0.0.0.0",
        "",
        "localhost:a",
    )
    assert all(map(is_loopback, ours)) and not any(map(is_loopback, others))


@given(st.text(st.sampled_from("ab/:.@-_A0[]sha256")) | st.text())
def test_whatever_is_accepted_has_one_spelling(text: str) -> None:
    try:
        found = parse(text)
    except InputError as error:
        assert error.message.isprintable()
    else:
        assert parse(str(found)) == found


SKOPEO = (
    "localhost:1/app:v1",
    f"localhost:1/a__b/c-d--e.f:_x@{DIGEST}",
    "[::1/app",
    "localhost:1/a___b",
    "localhost:1/-a",
    "localhost:1/app:",
    "localhost:1/app:-1",
    "localhost:1//app",
    "localhost:1/App",
    f"localhost:1/app@{DIGEST[:-1]}",
)


@pytest.mark.tools
@pytest.mark.parametrize("text", SKOPEO)
def test_skopeo_reads_the_same(text: str) -> None:
    """What it cannot parse it says before it asks anybody; nobody is there to be asked."""
    with suppress(InputError):
        text = str(replace(parse(text), tag=None))  # it takes no tag besides a digest
        assert text
    with pytest.raises(ToolFailed) as caught:
        process.run(["skopeo", "--insecure-policy", "inspect", f"docker://{text}"], timeout_s=300)
    assert ("pinging container registry" in caught.value.stderr) == is_accepted(text)


def is_accepted(text: str) -> bool:
    try:
        return bool(parse(text))
    except InputError:
        return False
