"""The lockfile: one spelling, read as it was written, and everything else refused in a sentence; changes in words."""

import re
import tomllib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imagebuilder import lockfile
from imagebuilder.build.walk import Build
from imagebuilder.errors import InputError, OutputError
from imagebuilder.events import silent
from imagebuilder.lockfile import Choices, Lock, LockedInit, LockedKernel, changes, locked
from imagebuilder.paths import shipped
from imagebuilder.recipe.load import load
from imagebuilder.sources.kind import LOCKFILE, Choice, Package
from imagebuilder.store import Store

A, B = "a" * 64, "b" * 64
HINT = "`imagebuilder lock app` writes it again"
GREETER, LIBRARY = Package("greeter", "1.5", A, 3), Package("libgreet2", "2:3.1-4+b1", B, 4)
ASKS = {"release": "bookworm", "packages": ["greeter"]}

LETTERS = "abcxyz019.+_-"
names = st.builds(str.__add__, st.sampled_from("ab9"), st.text(LETTERS, max_size=8))
keys = st.builds(str.__add__, st.sampled_from("abz"), st.text("ab9_-", max_size=4))
packages = st.builds(
    Package,
    name=names,
    version=st.builds(str.__add__, st.sampled_from("aZ9"), st.text(f"{LETTERS}Z:~", max_size=8)),
    sha256=st.binary(min_size=32, max_size=32).map(bytes.hex),
    bytes=st.integers(1, 2**53),
)
sources = st.builds(
    Choice,
    type=keys,
    asks=st.dictionaries(keys, names | st.lists(names, max_size=3), max_size=3),
    packages=st.lists(packages, max_size=4, unique_by=lambda package: package.name).map(tuple),
)


def choices(*chosen: Choice, kernel: str = A, init: str = A) -> Choices:
    """What was chosen for one architecture."""
    return Choices(
        init=LockedInit(key=init, sha256=init),
        kernel=LockedKernel(name="micro", key=kernel, sha256=kernel),
        source=locked(chosen),
    )


def debian(*found: Package, **asks: str | list[str]) -> Choice:
    """A source of packages."""
    return Choice("debian", {**ASKS, **asks}, found)


@given(st.lists(sources, max_size=3))
def test_what_is_written_is_read_again_whatever_the_order(
    tmp_path_factory: pytest.TempPathFactory, chosen: list[Choice]
) -> None:
    folder = tmp_path_factory.mktemp("app")
    lock = Lock(architecture={"x86_64": choices(*chosen), "other": choices()})
    lockfile.write(lock, folder)
    assert lockfile.read(folder, hint=HINT) == lock
    text = (folder / LOCKFILE).read_text()
    assert text == Lock(architecture={"other": choices(), "x86_64": choices(*chosen)}).text
    turned = [
        Choice(each.type, each.asks, each.packages[::-1]) for each in {str(each.asks): each for each in chosen}.values()
    ]
    assert locked(turned) == locked(turned[::-1])
    assert tomllib.loads(text)["schema"] == "imagebuilder.lock/1"
    assert [path.name for path in folder.iterdir()] == [LOCKFILE]


def test_the_text() -> None:
    lock = Lock(architecture={"x86_64": choices(debian(LIBRARY, GREETER))})
    assert (
        lock.text
        == f"""\
# What was chosen for this recipe: `imagebuilder lock` writes it. Keep it with the recipe.
schema = "imagebuilder.lock/1"

[architecture.x86_64.init]
key = "{A}"
sha256 = "{A}"

[architecture.x86_64.kernel]
key = "{A}"
name = "micro"
sha256 = "{A}"

[[architecture.x86_64.source]]
packages = [
    {{ bytes = 3, name = "greeter", sha256 = "{A}", version = "1.5" }},
    {{ bytes = 4, name = "libgreet2", sha256 = "{B}", version = "2:3.1-4+b1" }},
]
type = "debian"

[architecture.x86_64.source.asks]
packages = ["greeter"]
release = "bookworm"
"""
    )


def test_what_is_in_it_for_another_architecture_stays() -> None:
    other = choices(debian(GREETER))
    lock = Lock(architecture={"other": other}).with_choices("x86_64", choices())
    assert lock.architecture == {"other": other, "x86_64": choices()}


GOOD = Lock(architecture={"x86_64": choices(debian(GREETER, LIBRARY))}).text


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("[[archi", "[[[archi", "this is not TOML"),
        ("lock/1", "lock/2", "schema: Input should be 'imagebuilder.lock/1'"),
        ('"greeter", s', '"--reinstall", s', "name: String should match pattern"),
        ('"1.5"', '"1.5 libc6"', "version: String should match pattern"),
        ('"1.5"', '"http://127.0.0.1/x.deb"', "version: String should match pattern"),
        ("bytes = 3", "bytes = 0", "bytes: Input should be greater than or equal to 1"),
        ("bytes = 3", "bytes = 3.0", "bytes: Input should be a valid integer"),
        (A, A[1:], "String should match pattern"),
        ('"libgreet2"', '"greeter"', "greeter is there twice"),
        ("bytes = 3,", "bytes = 3, url = 1,", "url: Extra inputs are not permitted"),
        ("[architecture.x86_64.init]", "[architecture.x86_64.inits]", "init: Field required"),
    ],
)
def test_what_is_wrong_is_told_in_a_sentence(tmp_path: Path, old: str, new: str, message: str) -> None:
    assert old in GOOD
    (tmp_path / LOCKFILE).write_text(GOOD.replace(old, new))
    with pytest.raises(InputError, match=re.escape(message)) as caught:
        lockfile.read(tmp_path, hint=HINT)
    assert caught.value.hint == HINT and "\n" not in caught.value.message
    assert caught.value.message.startswith(str(tmp_path / LOCKFILE))


def test_one_without_an_end_is_refused(tmp_path: Path) -> None:
    (tmp_path / LOCKFILE).write_text("#" * (2 << 20))
    with pytest.raises(InputError, match="it is longer than 1 MiB"):
        lockfile.read(tmp_path, hint=HINT)


def test_there_need_not_be_one(tmp_path: Path) -> None:
    assert lockfile.read(tmp_path, hint=HINT) is None
    (tmp_path / LOCKFILE).mkdir()
    with pytest.raises(InputError, match=r"recipe\.lock cannot be read: Is a directory"):
        lockfile.read(tmp_path, hint=HINT)


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match=r"recipe\.lock cannot be written: No such file or directory"):
        lockfile.write(Lock(), tmp_path / "gone")


@pytest.mark.parametrize(
    ("before", "after", "words"),
    [
        (choices(debian(GREETER)), choices(debian(GREETER)), []),
        (
            choices(debian(GREETER)),
            choices(debian(Package("greeter", "1.6", B, 3))),
            ["package greeter 1.5 → 1.6"],
        ),
        (choices(debian(GREETER)), choices(debian(GREETER, LIBRARY)), ["package libgreet2 2:3.1-4+b1: new"]),
        (choices(debian(GREETER, LIBRARY)), choices(debian(GREETER)), ["package libgreet2 2:3.1-4+b1: gone"]),
        (
            choices(debian(GREETER)),
            choices(debian(Package("greeter", "1.5", B, 3))),
            ["package greeter 1.5: another build of it"],
        ),
        (choices(), choices(kernel=B), ["kernel micro: another build of it"]),
        (choices(), choices(init=B), [f"init {A[:12]} → {B[:12]}"]),
        (
            choices(debian(GREETER)),
            choices(debian(GREETER), debian(LIBRARY, release="trixie")),
            ["package libgreet2 2:3.1-4+b1: new"],
        ),
        (None, choices(debian(GREETER)), ["kernel micro: new", f"init {A[:12]}: new", "package greeter 1.5: new"]),
    ],
)
def test_changes_in_words(before: Choices | None, after: Choices, words: list[str]) -> None:
    assert [change.text for change in changes(before, after)] == words


@pytest.mark.parametrize("recipe", sorted(path.parent.name for path in shipped("recipes").glob("*/recipe.toml")))
def test_the_lockfile_of_a_shipped_recipe_is_of_this_imagebuilder(recipe: str, tmp_path: Path) -> None:
    """Where it is not: `imagebuilder lock NAME`. It names no archive."""
    assert Build(load(shipped("recipes") / recipe), Store(tmp_path / "cache"), silent, frozen=True).plan
    text = (shipped("recipes") / recipe / LOCKFILE).read_text()
    assert not [word for word in ("://", "www.", "pool/", "localhost", "127.0.0.1") if word in text]
