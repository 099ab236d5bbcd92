"""package-lock.json: what of it production needs, and each thing that is not taken in a sentence of its own."""

import base64
import json
from collections.abc import Mapping
from typing import Any

import pytest

from imagebuilder.errors import SourceError
from imagebuilder.sources.npm.lock import Chosen, Described, chosen

SRI = "sha512-" + base64.b64encode(bytes(64)).decode()


def entry(version: str = "1.0.0", **values: Any) -> dict[str, Any]:
    return {"version": version, "integrity": SRI, **values}


def lock(packages: Mapping[str, Any], *, version: Any = 3, **root: Any) -> bytes:
    whole = {"": {"name": "app", **root}, **packages}
    return json.dumps({"name": "app", "lockfileVersion": version, "packages": whole}).encode()


def read(packages: Mapping[str, Any], **asked: Any) -> Chosen:
    """What is chosen of a lock that fits a project which asks for this."""
    return chosen(lock(packages, **asked), Described.model_validate({"name": "app", **asked}), "package-lock.json")


def refusal(packages: Mapping[str, Any], **asked: Any) -> str:
    with pytest.raises(SourceError) as refused:
        read(packages, **asked)
    assert refused.value.message.isprintable()
    return refused.value.message


A = {"dependencies": {"a": "^1"}}


def test_production_alone() -> None:
    packages = {
        "node_modules/a": entry(dependencies={"b": "^2"}, bin={"a": "cli.js"}),
        "node_modules/b": entry("1.9.0", dev=True),
        "node_modules/a/node_modules/b": entry("2.0.0", hasInstallScript=True),
        "node_modules/a/node_modules/c": {"version": "1.0.0", "inBundle": True},
        "node_modules/left": entry(extraneous=True),
        "node_modules/both": entry(devOptional=True),
        "node_modules/@s/d": entry(name="other"),
    }
    found = read(packages, **A, devDependencies={"b": "^1"})
    assert [(each.place, each.name, each.version) for each in found.packages] == [
        ("node_modules/@s/d", "other", "1.0.0"),
        ("node_modules/a", "a", "1.0.0"),
        ("node_modules/a/node_modules/b", "b", "2.0.0"),
        ("node_modules/both", "both", "1.0.0"),
    ]
    assert [each.name for each in found.packages if each.has_script] == ["b"]
    assert found.packages[1].bins == {"a": "cli.js"}
    assert (found.packages[0].algorithm, found.packages[0].digest) == ("sha512", "00" * 64)


@pytest.mark.parametrize(
    ("system", "is_left_out"),
    [
        ({"os": ["darwin"]}, True),
        ({"os": ["linux"], "cpu": ["arm64"]}, True),
        ({"os": ["linux"], "cpu": ["x64"], "libc": ["musl"]}, True),
        ({"os": ["!linux"]}, True),
        ({"os": "win32"}, True),
        ({"os": ["linux"], "cpu": ["x64"], "libc": ["glibc"]}, False),
        ({"os": ["!win32"]}, False),
        ({"os": ["any"]}, False),
    ],
)
def test_an_optional_package_for_another_system_is_left_out(system: Mapping[str, Any], is_left_out: bool) -> None:
    packages = {
        "node_modules/a": entry(),
        "node_modules/b": entry(optional=True, **system),
    }
    found = read(packages, **A)
    assert (found.elsewhere == ("node_modules/b",)) is is_left_out
    assert ("node_modules/b" in [each.place for each in found.packages]) is not is_left_out


def test_the_strongest_digest_counts() -> None:
    weak = "sha1-" + base64.b64encode(bytes(20)).decode()
    (found,) = read({"node_modules/a": entry(integrity=f"{weak} {SRI}?opt")}, **A).packages
    assert found.algorithm == "sha512"


@pytest.mark.parametrize(
    ("packages", "asked", "said"),
    [
        ({"node_modules/a": entry(os=["darwin"])}, A, "node_modules/a is not for linux, which the image is (os)"),
        ({"node_modules/a": entry(integrity="sha1-x")}, A, "must have an integrity by sha512, and has only 'sha1'"),
        ({"node_modules/a": entry(integrity="")}, A, "must have an integrity by sha512, and has none"),
        ({"node_modules/a": entry(integrity="sha512-AAAA")}, A, "has an integrity that is no sha512"),
        ({"node_modules/a": {"link": True, "resolved": "lib"}}, A, "is a link to a folder, which is not taken"),
        ({"lib": entry()}, {}, "is a link to a folder, which is not taken"),
        ({"node_modules/a": entry(resolved="git+ssh://git@host/a.git#1")}, A, "comes from a git repository"),
        ({"node_modules/a": entry(resolved="file:a.tgz")}, A, "comes from no registry"),
        ({"node_modules/../a": entry()}, {}, "is no place of a package"),
        ({"node_modules/.": entry()}, {}, "is no place of a package"),
        ({"node_modules/a": entry("")}, A, "has no name or version of a package"),
        ({"node_modules/a": entry("../../x")}, A, "has no name or version of a package"),
        ({}, A, "lacks 'a', on which the project depends"),
        ({"node_modules/a": entry(dependencies={"b": "1"})}, A, "lacks 'b', on which a depends"),
        ({}, {"workspaces": ["x"]}, "has workspaces, which are not taken"),
    ],
)
def test_what_is_not_taken(packages: Mapping[str, Any], asked: Mapping[str, Any], said: str) -> None:
    assert said in refusal(packages, **asked)


@pytest.mark.parametrize(
    ("locked", "asked", "said"),
    [
        ({"dependencies": {"a": "^1"}}, {"dependencies": {"a": "^2"}}, "'a' is '^1' there and '^2' in package.json"),
        ({"dependencies": {"a": "^1"}}, {}, "'a' is '^1' there and not in package.json"),
        ({}, {"devDependencies": {"a": "^1"}}, "'a' is missing there and '^1' in package.json"),
    ],
)
def test_a_lock_that_does_not_fit_its_project(locked: Any, asked: Any, said: str) -> None:
    data = lock({"node_modules/a": entry()}, **locked)
    with pytest.raises(SourceError, match="does not fit its project") as refused:
        chosen(data, Described.model_validate(asked), "package-lock.json")
    assert said in refused.value.message
    assert refused.value.hint == "npm install --package-lock-only"


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (lock({}, version=1), "has lockfileVersion 1, and 2 or 3 is taken"),
        (b"{}", "has no lockfileVersion"),
        (b"[]", "is no lock of npm"),
        (b"{", "package-lock.json: "),
        (lock({"node_modules/a": 7}), "package-lock.json: "),
    ],
)
def test_what_is_no_lock(data: bytes, said: str) -> None:
    with pytest.raises(SourceError) as refused:
        chosen(data, Described.model_validate({}), "package-lock.json")
    assert said in refused.value.message
