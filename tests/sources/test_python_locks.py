"""Locks of Python projects: which wheels they mean for the image's Python, and why there is none."""

from typing import Any

import pytest

from imagebuilder.arch import TARGET
from imagebuilder.errors import SourceError
from imagebuilder.events import Event, Warned, silent
from imagebuilder.sources.kind import Package
from imagebuilder.sources.python import locks, target
from imagebuilder.sources.python.locks import Pin

from .wheels import PYTHON

A, B = "a" * 64, "b" * 64
HEAD = 'lock-version = "1.0"\ncreated-by = "test"\n'


def packages(*rows: str) -> str:
    return HEAD + "".join(f"[[packages]]\n{row}\n" for row in rows)


def listed(name: str, filename: str, more: str = "", digest: str = A) -> str:
    wheel = f'{{ name = "{filename}", url = "https://a.example/{filename}", hashes = {{ sha256 = "{digest}" }} }}'
    return f'name = "{name}"\nversion = "1.0"\nwheels = [{wheel}]\n{more}'


def of_pylock(text: str, **more: Any) -> tuple[Pin, ...]:
    return locks.of_pylock(text, "pylock.toml", PYTHON, **more)


def of_requirements(text: str, events: list[Event] | None = None) -> tuple[Pin, ...]:
    return locks.of_requirements(text, "r.txt", PYTHON, silent if events is None else events.append)


# The image's Python


def test_debians_python_is_what_its_packages_say() -> None:
    found = [("python3", "3.11.2-1+b1"), ("python3.11", "3.11.2-6+deb12u6"), ("libc6", "2.36-9+deb12u13")]
    python = target.of_debian([Package(name, version, A, 1) for name, version in found])
    assert python == PYTHON
    assert python.markers["python_full_version"] == "3.11.2" and python.markers["platform_machine"] == TARGET.name
    assert python.title == f"Python 3.11 on manylinux_2_36_{TARGET.name}"
    with pytest.raises(SourceError, match="is of no version that is known here"):
        target.of_debian([Package("python3", "2.7.1-1", A, 1)])


def test_a_python_of_another_source() -> None:
    python = target.brought("3.12", "musllinux_1_2", None)
    assert python.version == "3.12.0" and python.program == "/usr/local/bin/python3.12"
    assert python.site == "/usr/local/lib/python3.12/site-packages"
    assert (
        target.brought("3.12.4", "manylinux_2_28", "/opt/py/bin/python3").site == "/opt/py/lib/python3.12/site-packages"
    )
    assert python.rank(f"a-1-cp312-cp312-musllinux_1_1_{TARGET.name}.whl") is not None
    assert python.rank(f"a-1-cp312-cp312-manylinux_2_17_{TARGET.name}.whl") is None


def test_the_best_wheel_comes_first() -> None:
    own, abi3 = f"a-1-cp311-cp311-manylinux_2_28_{TARGET.name}.whl", f"a-1-cp38-abi3-manylinux2014_{TARGET.name}.whl"
    ranks = [PYTHON.rank(name) for name in (own, abi3, "a-1-py3-none-any.whl")]
    assert None not in ranks and ranks == sorted(ranks, key=lambda rank: rank or 0)
    for strange in (
        f"a-1-cp312-cp312-manylinux_2_28_{TARGET.name}.whl",
        f"a-1-cp311-cp311-manylinux_2_39_{TARGET.name}.whl",
        "a-1-cp311-cp311-win_amd64.whl",
        "a-1-cp311-cp311-manylinux_2_28_s390x.whl",
        "a-1.tar.gz",
    ):
        assert PYTHON.rank(strange) is None, strange


# pylock.toml


def test_a_newer_format_is_read_with_a_warning_of_ours(events: list[Event], capfd: pytest.CaptureFixture[str]) -> None:
    text = packages(listed("a", "a-1.0-py3-none-any.whl")).replace('lock-version = "1.0"', 'lock-version = "1.9"')
    assert [pin.name for pin in of_pylock(text, say=events.append)] == ["a"]
    assert [each.text for each in events if isinstance(each, Warned)] == [
        "pylock.toml has the format 1.9: of it is read what 1.0 has too"
    ]
    assert capfd.readouterr().err == ""


def test_a_lock_means_wheels_for_this_python() -> None:
    text = packages(
        listed("zoo", "zoo-1.0-py3-none-any.whl"),
        listed("app", f"app-1.0-cp311-cp311-manylinux_2_28_{TARGET.name}.whl", digest=B),
        listed("win", "win-1.0-py3-none-any.whl", "marker = \"sys_platform == 'win32'\""),
        listed("more", "more-1.0-py3-none-any.whl", "marker = \"'dev' in dependency_groups\""),
        'name = "self"\ndirectory = { path = ".", editable = true }',
    )
    pins = of_pylock(text.replace("created-by", 'default-groups = []\ndependency-groups = ["dev"]\ncreated-by'))
    assert [(pin.name, pin.version, pin.hashes) for pin in pins] == [
        ("app", "1.0", frozenset([B])),
        ("zoo", "1.0", frozenset([A])),
    ]
    assert pins[1].url == "https://a.example/zoo-1.0-py3-none-any.whl"
    text = text.replace("created-by", 'dependency-groups = ["dev"]\ncreated-by')
    assert "more" in [pin.name for pin in of_pylock(text, groups=("dev",))]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("odd", "pylock.toml:1: this is not TOML"),
        ("", "pylock.toml is no pylock.toml (PEP 751), or a damaged one: "),
        (HEAD.replace("1.0", "3.0") + "packages = []", "pylock.toml is no pylock.toml (PEP 751), or a damaged one: "),
        (packages('name = "a"\nwheels = 3'), "pylock.toml is no pylock.toml (PEP 751), or a damaged one: "),
        (packages(listed("a", "a-1.0-cp312-cp312-win32.whl")), "pylock.toml has no wheels for Python 3.11 on "),
        (
            'requires-python = ">=3.12"\n' + packages(listed("a", "a-1.0-py3-none-any.whl")),
            "pylock.toml has no wheels for Python 3.11 on manylinux_2_36",
        ),
        (
            packages(f'name = "a"\nversion = "1"\nsdist = {{ path = "a-1.tar.gz", hashes = {{ sha256 = "{A}" }} }}'),
            "pylock.toml has a 1 as a source distribution only, a-1.tar.gz, and no wheel",
        ),
        (
            packages('name = "a"\nvcs = { type = "git", url = "https://a.example/a", commit-id = "1" }'),
            "pylock.toml has a from a repository, a folder or an archive: build a wheel of it",
        ),
        (packages(listed("a", "a-1.0-py3-none-any.whl").replace("sha256", "sha512")), "pylock.toml has no sha256 of "),
        (
            packages(listed("a", "a-1.0-py3-none-any.whl").replace('url = "https://a.example/', 'path = "../')),
            "pylock.toml has a at ../a-1.0-py3-none-any.whl: expected a path beside the recipe",
        ),
    ],
)  # fmt: skip
def test_a_lock_that_is_refused(text: str, said: str) -> None:
    with pytest.raises(SourceError) as refused:
        of_pylock(text)
    assert refused.value.message.startswith(said) and "\n" not in refused.value.message


# requirements.txt


def test_requirements_with_hashes(events: list[Event]) -> None:
    text = f"""\
--index-url https://a.example/simple
# a comment
Zoo==1.0 \\
    --hash=sha256:{A} \\
    --hash=sha256:{B}
    # via app
app[extra]==2.0 ; python_version >= "3.8" --hash=sha256:{B}  # here
win==1 ; sys_platform == "win32" --hash=sha256:{A}
"""
    assert of_requirements(text, events) == (Pin("app", "2.0", frozenset([B])), Pin("zoo", "1.0", frozenset([A, B])))
    assert [event.text for event in events if isinstance(event, Warned)] == [
        "r.txt:1: --index-url has no effect: packages come from where pip is configured to"
    ]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("app==1.0", "r.txt:1: app has no --hash=sha256:… of its wheels"),
        (f"\napp>=1.0 --hash=sha256:{A}", "r.txt:2: app is not locked to one version of an index"),
        (f"app==1.* --hash=sha256:{A}", "r.txt:1: app is not locked to one version of an index"),
        (f"app @ https://a.example/a.whl --hash=sha256:{A}", "r.txt:1: app is not locked to one version of an index"),
        ("app==1 --hash=sha256:abc", "r.txt:1: app has no --hash=sha256:… of its wheels"),
        (f"a==1 ; \"\\u001b[31m\" > '3' --hash=sha256:{A}", "r.txt:1: expected name==version --hash=sha256:…: "),
        ("./app", "r.txt:1: expected name==version --hash=sha256:…: "),
        ("-r other.txt", "r.txt:1: -r is not followed: write all requirements into this file"),
        ("-e .", "r.txt:1: -e is not followed: write all requirements into this file"),
        (f"a==1 --hash=sha256:{A}\nA==2 --hash=sha256:{A}", "r.txt has a twice for one Python"),
        ("a==1 --hash='sha", "r.txt:1: expected name==version --hash=sha256:…: "),
    ],
)
def test_requirements_that_are_refused(text: str, said: str) -> None:
    with pytest.raises(SourceError) as refused:
        of_requirements(text)
    assert refused.value.message.startswith(said) and "\n" not in refused.value.message
