"""What the command's arguments name is in the image."""

from collections.abc import Sequence
from dataclasses import replace

import pytest

from imagebuilder.closure.arguments import paths
from imagebuilder.closure.slimming import Around, Slimmed
from imagebuilder.tree import Tree, file, symlink

from .elves import elf, program
from .trees import executable, slimmed
from .trees import paths as files_of

NODES = {
    "/usr/bin/app": executable(program("libc.so.6")),
    "/etc/app/app.conf": file(b""),
    "/etc/app/other.conf": file(b""),
    "/etc/alternatives/conf": symlink("/etc/app/other.conf"),
    "/usr/share/java/a.jar": file(b""),
    "/usr/share/java/b.jar": file(b""),
    "/usr/lib/app/plug.so": file(elf("libextra.so")),
    "/usr/lib/x86_64-linux-gnu/libextra.so": file(elf()),
}


def given(*arguments: str, exclude: Sequence[str] = (), include: Sequence[str] = ()) -> Slimmed:
    """What is kept for these arguments."""
    return slimmed(NODES, around=replace(Around(), arguments=arguments), exclude=exclude, include=include)


@pytest.mark.parametrize(
    ("arguments", "there"),
    [
        (["-c", "/etc/app/app.conf"], ["/etc/app/app.conf"]),
        (["-c/etc/app/app.conf"], ["/etc/app/app.conf"]),
        (["--config=/etc/app/app.conf"], ["/etc/app/app.conf"]),
        (["config=/etc/app/app.conf"], ["/etc/app/app.conf"]),
        (["-o", "log=x,conf=/etc/app/app.conf,y=z"], ["/etc/app/app.conf"]),
        (["-cp", "/usr/share/java/a.jar:/usr/share/java/b.jar"], ["/usr/share/java/a.jar", "/usr/share/java/b.jar"]),
        (["/etc/alternatives/conf"], ["/etc/alternatives/conf", "/etc/app/other.conf"]),
        (["--load=/usr/lib/app/plug.so"], ["/usr/lib/app/plug.so", "/usr/lib/x86_64-linux-gnu/libextra.so"]),
        (["/lib/app/plug.so"], ["/lib", "/usr/lib/app/plug.so", "/usr/lib/x86_64-linux-gnu/libextra.so"]),
        (["/etc/gone.conf", "etc/app/app.conf", "/", "//", "=", "x=/", "/etc/app/app.conf and more", ""], []),
    ],
)
def test_files_that_arguments_name_are_kept(arguments: Sequence[str], there: Sequence[str]) -> None:
    result = given(*arguments)
    assert {*files_of(result)} == {*files_of(given()), *there}
    assert result.warnings == ()


def test_what_is_excluded_stays_out() -> None:
    assert files_of(given("/etc/app/app.conf", exclude=["/etc/**"])) == files_of(given())


def test_a_folder_is_not_taken_along_but_named() -> None:
    (warning,) = given("--dir", "/usr/share/java").warnings
    assert warning == (
        'the command is given "/usr/share/java", a folder of pkg of which the image has no file:'
        ' add "/usr/share/java" to include under [source]'
    )
    followed = given("--dir", "/usr/share/java", include=["/usr/share/java"])
    assert "/usr/share/java/a.jar" in files_of(followed) and followed.warnings == ()
    assert given("--dir", "/usr/lib").warnings == ()  # some of it is there


def test_a_folder_that_the_recipe_fills_is_there() -> None:
    above = Tree({"/srv/page": file(b""), "/usr/share/java/c.jar": file(b"")})
    around = replace(Around(), arguments=["-h", "/srv", "/usr/share/java"], above=above)
    assert slimmed(NODES, around=around).warnings == ()


def test_an_argument_of_any_kind() -> None:
    assert paths(["/a:/b", "-x/c", "x=/d", "/e f", "\udcff/x", "/" * 9000])[:5] == ["/a:/b", "/a", "/b", "/c", "/d"]
