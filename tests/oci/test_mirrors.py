"""registries.conf: where an image is asked for, in order."""

from pathlib import Path

import pytest

from imagebuilder.errors import ImagebuilderError
from imagebuilder.oci.mirrors import Place, places
from imagebuilder.oci.reference import parse

DIGEST = f"sha256:{'0' * 64}"
CONF = """
unqualified-search-registries = ["docker.io"]

[[registry]]
prefix = "docker.io"
location = "registry-1.docker.io"
[[registry.mirror]]
location = "mirror.example.com/hub"
[[registry.mirror]]
location = "localhost:5000"
insecure = true

[[registry]]
prefix = "docker.io/library/nginx"
location = "own.example.com/web/nginx"

[[registry]]
location = "quay.io"
mirror-by-digest-only = true
[[registry.mirror]]
location = "digests.example.com"

[[registry]]
location = "ghcr.io"
insecure = true
[[registry.mirror]]
location = "tags.example.com"
pull-from-mirror = "tag-only"

[[registry]]
prefix = "*.blocked.example.com"
blocked = true
"""
EXPECTED = {
    "redis": [
        Place("mirror.example.com", "hub/library/redis"),
        Place("localhost:5000", "library/redis"),
        Place("registry-1.docker.io", "library/redis"),
    ],
    "nginx:1": [Place("own.example.com", "web/nginx")],
    "docker.io/library/nginx-extra": [
        Place("mirror.example.com", "hub/library/nginx-extra"),
        Place("localhost:5000", "library/nginx-extra"),
        Place("registry-1.docker.io", "library/nginx-extra"),
    ],
    "quay.io/a": [Place("quay.io", "a")],
    f"quay.io/a@{DIGEST}": [Place("digests.example.com", "a"), Place("quay.io", "a")],
    "ghcr.io/a": [Place("tags.example.com", "a"), Place("ghcr.io", "a", insecure=True)],
    f"ghcr.io/a@{DIGEST}": [Place("ghcr.io", "a", insecure=True)],
    "quay.io.example.com/a": [Place("quay.io.example.com", "a")],
    "blocked.example.com/a": [Place("blocked.example.com", "a")],
}


@pytest.fixture
def conf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("CONTAINERS_REGISTRIES_CONF", str(tmp_path / "registries.conf"))
    (tmp_path / "registries.conf").write_text(CONF)
    return tmp_path / "registries.conf"


@pytest.mark.parametrize("name", EXPECTED)
def test_in_order(conf: Path, name: str) -> None:
    assert list(places(parse(name))) == EXPECTED[name]


def test_blocked(conf: Path) -> None:
    with pytest.raises(ImagebuilderError, match=r"blocks \*.blocked.example.com, and so a.blocked.example.com/x"):
        places(parse("a.blocked.example.com/x"))


def test_the_users_file_and_what_lies_beside_it(home: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("imagebuilder.oci.mirrors.SYSTEM", tmp_path / "etc")

    def write(path: Path, host: str) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f'[[registry]]\nlocation = "quay.io"\n[[registry.mirror]]\nlocation = "{host}"\n')

    def first() -> str:
        return places(parse("quay.io/a"))[0].host

    assert first() == "quay.io"
    write(tmp_path / "etc/registries.conf", "system.example.com")
    assert first() == "system.example.com"
    write(home / ".config/containers/registries.conf", "user.example.com")
    assert first() == "user.example.com"
    write(tmp_path / "etc/registries.conf.d/a.conf", "beside.example.com")
    assert first() == "beside.example.com"
    write(home / ".config/containers/registries.conf.d/a.conf", "closest.example.com")
    assert first() == "closest.example.com"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[[registry", "registries.conf:1: "),
        ("registry = 3", "is to be a list of tables"),
        ("[[registry]]\nblocked = true", "has neither prefix nor location"),
        ('[[registry]]\nprefix = "quay.io"\nlocation = "a b"', "is no location of a registry"),
        ('[[registry]]\nlocation = "quay.io"\n[[registry.mirror]]\nlocation = "https://x"', "is no location"),
        ('[[registry]]\nlocation = "quay.io"\n[[registry.mirror]]\ninsecure = true', "is no location"),
    ],
)
def test_a_file_that_is_wrong(conf: Path, text: str, said: str) -> None:
    conf.write_text(text)
    with pytest.raises(ImagebuilderError) as caught:
        places(parse("quay.io/a"))
    assert said in str(caught.value) and "\n" not in str(caught.value)


def test_a_file_that_is_named_and_missing(conf: Path) -> None:
    conf.unlink()
    with pytest.raises(ImagebuilderError, match="cannot be read: No such file"):
        places(parse("quay.io/a"))
