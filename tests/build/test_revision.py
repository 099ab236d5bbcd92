"""A step's own revision: the code that it is made of counts, what is only said does not."""

import ast
import os
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from imagebuilder.build import revision
from imagebuilder.build.essence import essences
from imagebuilder.build.revision import Code, Source, code_of
from imagebuilder.build.steps import MODULES, STEPS, StepKind
from imagebuilder.paths import PACKAGE
from imagebuilder.store import Store

STEP_MODULES = {kind: STEPS[kind].run.__module__ for kind in StepKind}
DEBIAN = "imagebuilder.sources.debian"
NEEDED_BY = {"prepare", "slim", "root", "pack", "bundle", "sbom"}


@pytest.fixture(scope="module")
def before() -> Code:
    return Source(PACKAGE).code(MODULES)


@pytest.fixture
def package(tmp_path: Path) -> Path:
    """The package, to be changed."""
    copy = tmp_path / "imagebuilder"
    shutil.copytree(PACKAGE, copy, ignore=lambda _, names: [name for name in names if "__pycache__" in name])
    return copy


def changed(before: Code, package: Path) -> set[str]:
    """The steps of which the revision is another (those that need them have another key); a source's is Debian's."""
    after = Source(package).code(MODULES)
    modules: dict[str, tuple[str, ...]] = {kind.value: (module,) for kind, module in STEP_MODULES.items()}
    modules["source"] = (*modules["source"], DEBIAN)
    modules["slim"] = (*modules["slim"], "imagebuilder.transforms.slim", "imagebuilder.transforms.bytecode")
    modules["root"] = (*modules["root"], "imagebuilder.transforms.bind")
    return {kind for kind, names in modules.items() if before.revision(names) != after.revision(names)}


MESSAGES = [
    ("errors.py", '"""', '"""Other words. '),
    ("closure/walk.py", 'the command "{path}" is not in the image', "there is no {path}"),
    ("closure/walk.py", "with chmod +x beside", "by chmod +x, beside"),  # a constant
    ("closure/walk.py", "should be in {package}", "comes with {package}"),  # what a method gives
    ("closure/bytecode.py", "byte code is made by", "byte code comes from"),
    ("build/steps/slim.py", "not done here is", "left out is"),
    ("sources/build.py", "the command ended well but did not make", "nobody made"),
    ("platforms/users.py", "adds a user of this name", "makes one"),
    ("kernel/__init__.py", "the kernel is then compiled", "it is compiled"),
    ("recipe/fields.py", "is behind a link that leads out of", "leads out of"),
    *((f"{path.relative_to(PACKAGE)}", '"""', '"""Other. ') for path in (PACKAGE / "closure").glob("*.py")),
]


def test_a_message_rebuilds_nothing(before: Code, package: Path) -> None:
    for file, old, new in MESSAGES:
        text = (package / file).read_text()
        assert old in text, file
        (package / file).write_text(text.replace(old, new, 1))
    assert changed(before, package) == set()


@pytest.mark.parametrize("room", ["cli", "fleet", "machine", "measure", "pytest_plugin", "lacking", "errors", "events"])
def test_no_step_is_made_of_what_starts_measures_and_talks(before: Code, room: str) -> None:
    assert not [name for name in before.essence if name.split(".")[1] == room]


@pytest.mark.parametrize(
    ("file", "old", "new", "kinds"),
    [
        ("closure/walk.py", "is_named=path == glob", "is_named=path != glob", NEEDED_BY),
        ("closure/binding.py", "DF_BIND_NOW, DF_1_NOW = 8, 1", "DF_BIND_NOW, DF_1_NOW = 8, 2", {"root"}),
        ("closure/bytecode.py", "optimize=0", "optimize=1", {"slim"}),
        ("filesystems/erofs.py", "\n\n\ndef ", "\n\nOTHER = 1\n\n\ndef ", {"prepare", "pack", "bundle", "sbom"}),
        ("build/steps/bundle.py", "offer.link in", "offer.link not in", {"bundle", "sbom"}),
        ("build/steps/root.py", "2 << 20", "3 << 20", {"root", "pack", "bundle", "sbom"}),
        (
            "sources/maintainer/reader.py",
            "it is too long",
            "it is long",
            {"source", "image", *NEEDED_BY},
        ),  # in image.json
    ],
)
def test_a_line_of_code_rebuilds_what_is_made_of_it(
    before: Code, package: Path, file: str, old: str, new: str, kinds: set[str]
) -> None:
    text = (package / file).read_text()
    assert old in text
    (package / file).write_text(text.replace(old, new, 1))
    assert changed(before, package) == kinds


def test_sources_are_made_of_their_own_kind_alone(before: Code) -> None:
    for kind in ("files", "build"):
        reached = before.reached([f"imagebuilder.sources.{kind}"])
        assert not reached & {"imagebuilder.sources.debian", "imagebuilder.sources.apt", "imagebuilder.closure"}


def test_it_is_read_once(before: Code, package: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = Store(tmp_path / "store")
    first = code_of(MODULES, store, package)
    monkeypatch.setattr(revision, "_read", None)
    assert code_of(MODULES, store, package) == first == replace(before, key=first.key)


MODULE = '''
"""A module."""
from imagebuilder.errors import InputError
from imagebuilder.words import some as several

HINT = "a hint"
KEPT = "kept"

def tell(names, say):
    """What it does."""
    message = f"there are {_words(names)}"
    if names:
        message = "there is one"
    raise InputError(message, hint=HINT)

def _words(names):
    return "none" if not names else ", ".join(names)

def check(holds, text):
    if not holds:
        raise InputError(f"{text} is wrong")

def work(tree):
    check(tree, "the tree")
    title = "title"
    print(title)
    return tree[KEPT] + f"{tree}/x"
'''


def essence(text: str) -> str:
    """The hash of one module."""
    return essences({"m": ast.parse(text)})["m"]


@pytest.mark.parametrize(
    "old",
    ["A module", "a hint", "there are", "there is one", "What it does", "none", " is wrong", "the tree"],
)
def test_texts_that_are_only_said(old: str) -> None:
    assert essence(MODULE.replace(old, "other words")) == essence(MODULE)
    assert essence(MODULE + "\n# a comment\n") == essence(MODULE)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('"kept"', '"other"'),
        ('"title"', '"other"'),
        ("/x", "/y"),
        ("raise InputError(message", "raise InputError(names"),
        ("if names:", "if not names:"),
        ("print(title)", "print(title, HINT)\n    print(_words(tree))"),
        ('check(tree, "the tree")', "check(tree, print(1))"),
        ("def work", "async def work"),
    ],
)
def test_all_else_counts(old: str, new: str) -> None:
    assert essence(MODULE.replace(old, new)) != essence(MODULE)


@pytest.mark.parametrize(
    ("words", "leak"),
    [
        ("a hint", "print(HINT)"),
        ("a hint", "from m import HINT as other"),
        ("none", "print(m._words(()))"),
        ("the tree", "def check(a, text):\n    return text"),
    ],
)
def test_a_text_that_also_goes_elsewhere_counts(words: str, leak: str) -> None:
    assert essence(f"{MODULE}\n{leak}\n") != essence(f"{MODULE.replace(words, 'other')}\n{leak}\n")


def test_files_with_old_times_are_not_read_again(
    package: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def code() -> Code:
        for known in (revision._times, revision._files, revision._read):
            known.cache_clear()
        return code_of(MODULES, store, package)

    store = Store(tmp_path / "store")
    monkeypatch.setattr(revision, "SETTLED_NS", 0)
    first = code()
    # The same size and time of change, which anybody may set; the inode has a time of its own.
    file = package / "closure/walk.py"
    state, text = file.stat(), file.read_text()
    file.write_text(text.replace("is_named=path == glob", "is_named=path != glob", 1))
    os.utime(file, ns=(state.st_atime_ns, state.st_mtime_ns))
    assert file.stat().st_size == state.st_size
    second = code()
    assert second.key != first.key and second.essence != first.essence
    monkeypatch.setattr(revision, "sha256_file", lambda _: pytest.fail("a file was read"))
    assert code() == second
