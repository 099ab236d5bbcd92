"""Libraries bound to themselves: made by the real compiler, read by readelf, loaded by the real dynamic linker."""

import re
from pathlib import Path

import pytest

from imagebuilder import process
from imagebuilder.build.walk import Build
from imagebuilder.closure.binding import bound
from imagebuilder.events import silent
from imagebuilder.recipe.load import load
from imagebuilder.store import Store
from imagebuilder.tree import Kind, Node, Tree, file

pytestmark = pytest.mark.skipif(process.find("gcc") is None, reason="gcc is not installed")

LIBRARY = r"""
#include <stdio.h>
int counter = 40;
int *address = &counter;
int one(void) { return 1; }
int two(void) { return 1 + one(); }
static int (*choose(void))(void) { return two; }
int chosen(void) __attribute__((ifunc("choose")));
__thread int mine = 7;
void count(void) { counter++; }
void say(const char *who) { printf("%s %d %d %d %d\n", who, two(), *address, chosen(), mine); }
"""
PROGRAM = r"""
extern int counter;
void say(const char *who), count(void);
MORE
int main(void) { say("library"); COUNT; say("program"); return 0; }
"""
RECIPE = """
name = "free"
version = "1"
summary = "a library that refers to itself"
source = { type = "build", inputs = ["*.c"], command = ["sh", "-c", "gcc -nostdlib -static -o app app.c && \
gcc -shared -fPIC -nostdlib -Wl,-z,now -o libx.so x.c"], outputs = { "app" = "/app", "libx.so" = "/libx.so" } }
application = { command = "/app" }
ready = { console = "never" }
"""
NOW = "-Wl,-z,now"
NAMES = ("one", "two", "counter", "address")


def made(
    folder: Path, *flags: str, more: str = "", count: str = "count()", program_flags: tuple[str, ...] = ()
) -> Tree:
    """A program and its library, at paths that exist only in the image."""
    (folder / "library.c").write_text(LIBRARY)
    (folder / "program.c").write_text(PROGRAM.replace("MORE", more).replace("COUNT", count))
    library, program = folder / "libx.so", folder / "program"
    process.run(["gcc", "-shared", "-fPIC", *flags, "-o", library, folder / "library.c"])
    process.run(["gcc", *program_flags, "-o", program, folder / "program.c", library])
    return Tree({"/lib/libx.so": binary(library), "/bin/program": binary(program)})


def binary(path: Path) -> Node:
    return file(path.read_bytes(), mode=0o755)


def laid(tree: Tree, folder: Path) -> Path:
    folder.mkdir()
    for path, node in ((path, node) for path, node in tree.items() if node.kind is Kind.FILE):
        where = folder / path.rsplit("/", 1)[-1]
        where.write_bytes(node.content.read())
        where.chmod(node.mode)
    return folder


def said(tree: Tree, folder: Path) -> list[str]:
    """What the program prints with this library."""
    where = laid(tree, folder)
    return process.run([where / "program"], env={"LD_LIBRARY_PATH": str(where)}).text.splitlines()


def looked_up(tree: Tree, folder: Path) -> set[str]:
    """The names that the linker must look up for the library, as readelf sees them."""
    text = process.run(["readelf", "--relocs", "--wide", laid(tree, folder) / "libx.so"]).text
    return set(re.findall(r"R_X86_64_(?:64|GLOB_DAT|JUMP_SLOT?)\s+\w+\s+(\w+)", text))


@pytest.mark.tools
def test_what_refers_to_itself_is_bound(tmp_path: Path) -> None:
    before = made(tmp_path, NOW)
    after = bound(before, {})
    assert {*NAMES} <= looked_up(before, tmp_path / "a")
    assert not looked_up(after, tmp_path / "b") & {*NAMES}
    assert "printf" in looked_up(after, tmp_path / "c"), "what is another's is still looked up"
    expected = ["library 2 40 2 7", "program 2 41 2 7"]
    assert said(before, tmp_path / "d") == said(after, tmp_path / "e") == expected
    assert after["/lib/libx.so"].size_bytes == before["/lib/libx.so"].size_bytes
    assert after["/bin/program"] == before["/bin/program"]
    assert bound(after, {}) == after


@pytest.mark.tools
def test_functions_that_are_bound_when_called_stay_so(tmp_path: Path) -> None:
    """The linker takes nothing else in that table."""
    before = made(tmp_path, "-Wl,-z,lazy")
    after = bound(before, {})
    names = looked_up(after, tmp_path / "a")
    assert "one" in names and "address" not in names
    assert said(after, tmp_path / "b") == said(before, tmp_path / "c")


@pytest.mark.tools
def test_what_another_defines_is_left_to_the_linker(tmp_path: Path) -> None:
    before = made(tmp_path, NOW, more="int one(void) { return 20; }", program_flags=("-rdynamic",))
    after = bound(before, {})
    names = looked_up(after, tmp_path / "a")
    assert "one" in names and "two" not in names
    assert said(after, tmp_path / "b")[0] == "library 21 40 21 7", "the program's own function took its place"


@pytest.mark.tools
def test_a_variable_that_a_program_has_copied_is_left_alone(tmp_path: Path) -> None:
    before = made(tmp_path, NOW, count="counter++", program_flags=("-no-pie", "-fno-pie"))
    after = bound(before, {})
    assert "counter" in looked_up(after, tmp_path / "a")
    assert said(after, tmp_path / "b") == ["library 2 40 2 7", "program 2 41 2 7"]


@pytest.mark.tools
def test_versions_of_a_name_are_left_alone(tmp_path: Path) -> None:
    (tmp_path / "map").write_text("A { global: *; };\nB { } A;\n")
    (tmp_path / "v.c").write_text(
        'int old(void) { return 1; } int new(void) { return 2; }\n__asm__(".symver old, one@A"); '
        '__asm__(".symver new, one@@B");\nextern int one(void); int call(void) { return one(); }\n'
    )
    library = tmp_path / "libx.so"
    script = f"-Wl,--version-script={tmp_path}/map"
    process.run(["gcc", "-shared", "-fPIC", NOW, script, "-o", library, tmp_path / "v.c"])
    before = Tree({"/lib/libx.so": binary(library)})
    assert bound(before, {}) == before


@pytest.mark.tools
@pytest.mark.parametrize("name", ["LD_PRELOAD", "LD_AUDIT"])
def test_an_environment_for_the_linker_forbids_it(tmp_path: Path, name: str) -> None:
    tree = made(tmp_path, NOW)
    assert bound(tree, {name: "x"}) == tree
    assert bound(tree, {"TZ": "UTC"}) != tree


@pytest.mark.tools
def test_a_preloaded_library_forbids_it(tmp_path: Path) -> None:
    tree = made(tmp_path, NOW).merge(Tree({"/etc/ld.so.preload": file(b"/lib/other.so\n")}))
    assert bound(tree, {}) == tree


@pytest.mark.tools
def test_a_recipe_can_turn_it_off(tmp_path: Path) -> None:
    recipe = tmp_path / "recipe"
    recipe.mkdir()
    (recipe / "app.c").write_text("void _start(void) { for (;;) ; }\n")
    (recipe / "x.c").write_text("int one(void) { return 1; }\nint two(void) { return 1 + one(); }\n")
    for root, found in (("", set()), ("[root]\nbind_libraries = false\n", {"one"})):
        (recipe / "recipe.toml").write_text(RECIPE + root)
        tree = Build(load(str(recipe)), Store(tmp_path / "cache"), silent).root
        assert looked_up(tree, tmp_path / f"laid{len(found)}") == found


@pytest.mark.parametrize("data", [b"", b"\x7fELF", b"\x7fELF" + b"\xff" * 200, b"#!/bin/x\n"])
def test_what_is_no_elf_file_is_left_alone(data: bytes) -> None:
    tree = Tree({"/x": file(data)})
    assert bound(tree, {}) == tree


@pytest.mark.tools
def test_damage_is_left_alone(tmp_path: Path) -> None:
    """A library whose tables point out of the file: whoever loads it may complain."""
    tree = made(tmp_path, NOW)
    data = tree["/lib/libx.so"].content.read()
    for at in range(64, 2048, 61):
        broken = Tree({"/lib/libx.so": file(data[:at] + b"\xff" * 16 + data[at + 16 :])})
        assert bound(broken, {})["/lib/libx.so"].size_bytes == len(data)
    for size in range(64, len(data), len(data) // 40):
        bound(Tree({"/lib/libx.so": file(data[:size])}), {})
