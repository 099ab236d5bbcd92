"""A kernel's patches: each says why, git takes them as they are, and a tree goes from one series to another."""

import re
from pathlib import Path

import pytest

from imagebuilder import paths, process
from imagebuilder.errors import KernelError
from imagebuilder.events import silent
from imagebuilder.kernel import bumping, list_definitions, series
from imagebuilder.kernel.definition import KernelDefinition, Source, load_definition
from imagebuilder.kernel.source import tarball
from imagebuilder.store import Store

PATCHES = sorted(paths.shipped("kernels").glob("patches/*.patch"))
OURS = [definition for definition in list_definitions() if definition.patches]
IDENTITY = {f"GIT_{who}_{what}": "test" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}


def patch(path: Path, old: str, new: str, *, more: str = "", file: str = "a.c") -> Path:
    path.write_text(f"Why.\n\n--- a/{file}\n+++ b/{file}\n@@ -1 +1 @@\n-{old}\n+{new}\n{more}")
    return path


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A tarball that is taken for a kernel's source."""
    (tmp_path / "linux").mkdir()
    for name in ("Kconfig", "a.c", "b.c"):
        (tmp_path / "linux" / name).write_text("one\n")
    process.run(["tar", "--create", "--file", tmp_path / "source.tar", "--directory", tmp_path, "linux"])
    return tmp_path / "source.tar"


@pytest.mark.parametrize("path", PATCHES, ids=lambda path: path.stem)
def test_each_says_what_it_is_for(path: Path) -> None:
    head = path.read_text().split("\ndiff --git", 1)[0]
    for line in ("From: imagebuilder <", "Subject: [PATCH] ", "Upstream: ", "Gives: ", "Under KVM: "):
        assert f"\n{line}" in head, f"{path.name} has no line {line!r}"
    assert re.search(r"\n\n\S[^\n]{20,}\n", head), "it does not say why"


@pytest.mark.parametrize("definition", OURS, ids=lambda definition: definition.name)
def test_every_patch_is_of_a_kernel(definition: KernelDefinition) -> None:
    used = {path.stem for each in OURS for path in each.patches} | {"count-arcs"}
    assert {path.stem for path in PATCHES} == used


@pytest.mark.slow
@pytest.mark.tools
@pytest.mark.parametrize("definition", OURS, ids=lambda definition: definition.name)
def test_git_takes_them_and_makes_the_same_of_the_source(definition: KernelDefinition, tmp_path: Path) -> None:
    store = Store(paths.cache_dir())
    changed, added = series.touched(definition.patches)
    by_git, by_us = tmp_path / "git", tmp_path / "us"
    for folder in (by_git, by_us):
        folder.mkdir()
        series.unpack_files(tarball(definition, store=store, say=silent), folder, changed)
    series.apply(by_us, definition.patches)
    for words in (["init", "-q"], ["add", "-A"], ["commit", "-qm", "source"], ["am", "-q", *definition.patches]):
        process.run(["git", *words], cwd=by_git, env=IDENTITY)
    assert all((by_git / name).read_bytes() == (by_us / name).read_bytes() for name in changed | added)


@pytest.mark.tools
def test_a_tree_goes_from_one_series_to_another(source: Path, tmp_path: Path) -> None:
    first = patch(tmp_path / "first.patch", "one", "two")
    second = patch(tmp_path / "second.patch", "one", "two", file="b.c")
    second.write_text(second.read_text() + "--- /dev/null\n+++ b/new.c\n@@ -0,0 +1 @@\n+new\n")
    both = [first, second]
    assert series.touched(both) == ({"a.c", "b.c"}, {"new.c"})
    process.run(["tar", "--extract", "--file", source, "--directory", tmp_path])
    work = series.Workspace.of(tmp_path / "linux", source, both)
    for number, (wanted, different) in enumerate(
        [(both, ["a.c", "b.c", "new.c"]), ([first], ["b.c", "new.c"]), ([first], []), ([], ["a.c"])]
    ):
        (tmp_path / str(number)).mkdir()
        assert work.become(wanted, tmp_path / str(number), both) == different
    wrong = patch(tmp_path / "wrong.patch", "zero", "two")
    (tmp_path / "last").mkdir()
    with pytest.raises(KernelError, match=r"wrong\.patch does not fit the kernel's source \(patch 2 of 2\)"):
        work.become([second, wrong], tmp_path / "last", [*both, wrong])
    assert (tmp_path / "linux/b.c").read_text() == "one\n" and not (tmp_path / "linux/new.c").exists()


def test_the_options_that_a_patch_brings(tmp_path: Path) -> None:
    more = "--- a/Kconfig\n+++ b/Kconfig\n@@ -1 +1,3 @@\n one\n+config MINE\n+\tbool\n"
    assert series.options(patch(tmp_path / "a.patch", "one", "two", more=more)) == {"MINE"}


@pytest.mark.tools
def test_a_bump_names_every_patch_that_does_not_fit_and_changes_nothing(source: Path, tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    digest = store.put_file(source)
    folder = tmp_path / "kernels/micro"
    folder.mkdir(parents=True)
    text = (paths.shipped("kernels") / "micro/kernel.toml").read_text()
    names = ["good", "bad", "worse"]
    for name, old in zip(names, ("one", "zero", "none"), strict=True):
        patch(folder / f"{name}.patch", old, "two")
    listed = "patches = [" + ", ".join(f'"{name}"' for name in names) + "]"
    (folder / "kernel.toml").write_text(re.sub(r"patches = \[.*?\]", listed, text, flags=re.DOTALL))
    definition = load_definition(folder)
    assert definition.source is not None
    moved = bumping.Bump(definition, definition.source.model_copy(update={"version": "9.9-1", "sha256": digest}))
    before = (folder / "kernel.toml").read_bytes()
    with pytest.raises(KernelError, match=r"of 3 patches 2 do not fit linux-source-6\.12 9\.9-1: bad, worse"):
        bumping.check_series(moved, store=store, say=silent)
    assert (folder / "kernel.toml").read_bytes() == before


def test_a_pin_moves_and_nothing_else() -> None:
    file = paths.shipped("kernels") / "micro/kernel.toml"
    to = Source(release="trixie", package="linux-source-9", version="9.9-1", file="/usr/src/x.tar.xz", sha256="a" * 64)
    before, after = file.read_text().splitlines(), bumping.repinned(file.read_text(), to).splitlines()
    changed = [new for old, new in zip(before, after, strict=True) if old != new]
    assert changed == [
        'release = "trixie"',
        'package = "linux-source-9"',
        'version = "9.9-1"',
        'file = "/usr/src/x.tar.xz"',
        f'sha256 = "{"a" * 64}"',
    ]


def test_a_kernel_without_a_source_package_has_no_pin(tmp_path: Path) -> None:
    with pytest.raises(KernelError, match="debian-cloud is not compiled from a source package"):
        bumping.newest(
            load_definition("debian-cloud"),
            version=None,
            package=None,
            release=None,
            store=Store(tmp_path),
            say=silent,
        )


@pytest.mark.tools
def test_a_bump_names_the_boot_tests_that_fail_as_pytest_does(tmp_path: Path) -> None:
    for name, body in zip(bumping.TESTS, ("assert 1 == 2, 'no low ports'", "pass"), strict=True):
        (tmp_path / name).parent.mkdir(parents=True)
        (tmp_path / name).write_text(f"def test_boots():\n    {body}\n")
    with pytest.raises(KernelError, match="the boot tests failed with status 1; the pin was not moved") as error:
        bumping._boot(tmp_path, tmp_path, silent)
    assert re.search(r"\nFAILED \S*test_kernel_boot\.py::test_boots - .*no low ports", error.value.message)


@pytest.mark.tools
def test_boot_tests_find_what_a_bump_finds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "libraries").mkdir()
    (tmp_path / "libraries/found_by_path_alone.py").touch()
    monkeypatch.syspath_prepend(tmp_path / "libraries")  # as PYTHONPATH does at start
    for name in bumping.TESTS:
        (tmp_path / name).parent.mkdir(parents=True)
        (tmp_path / name).write_text("import found_by_path_alone\n\ndef test_boots():\n    pass\n")
    bumping._boot(tmp_path, tmp_path, silent)
