"""Interpreters of scripts: of the command, of what is included, kept whole and added; and what cannot run."""

import pytest

from imagebuilder.closure.scripts import cannot_run, interpreters, programs_named
from imagebuilder.errors import ClosureError
from imagebuilder.tree import Node, Tree, file, symlink

from .elves import elf, program
from .trees import MULTIARCH, added, executable, paths, slimmed

SHELL: dict[str, Node] = {
    "/bin": symlink("usr/bin"),
    "/usr/bin/app": executable(elf()),
    "/usr/bin/bash": executable(program("libc.so.6")),
    "/usr/bin/env": executable(elf()),
    "/usr/bin/python3": symlink("python3.11"),
    "/usr/bin/python3.11": executable(program("libc.so.6")),
}


@pytest.mark.parametrize(
    ("line", "interpreter"),
    [
        (b"#!/bin/bash -e", "/usr/bin/bash"),
        (b"#!/usr/bin/env python3", "/usr/bin/python3.11"),
        (b"#!/usr/bin/env -S -u HOME A=1 python3 -I", "/usr/bin/python3.11"),
        (b"#!/opt/chain -x", "/usr/bin/bash"),
    ],
)
@pytest.mark.parametrize("way", ["include", "pattern", "whole", "added"])
def test_an_interpreter_comes_with_its_script(way: str, line: bytes, interpreter: str) -> None:
    helper = {"/opt/helper": executable(line + b"\necho hello\n"), "/opt/chain": executable(b"#!/bin/bash\n")}
    globs = {"include": ["/opt/helper"], "pattern": ["/opt/h*"]}
    result = slimmed(
        {**SHELL, **(helper if way in globs else {"/opt/chain": helper["/opt/chain"]})},
        include=globs.get(way, []),
        whole=helper if way == "whole" else None,
        around=added(helper if way == "added" else {}),
    )
    assert {interpreter, "/usr/bin/app", f"{MULTIARCH}/libc.so.6"} <= {*paths(result)}
    assert result.warnings == ()


@pytest.mark.parametrize(
    "node", [file(b"#!/bin/bash\n"), executable(b"#!\n"), executable(b"text"), executable(b"")], ids=str
)
def test_what_is_no_script_that_may_be_executed_brings_none(node: Node) -> None:
    assert "/usr/bin/bash" not in paths(slimmed(SHELL, whole={"/opt/helper": node}))


def test_a_languages_library_brings_none_but_what_the_recipe_names_does() -> None:
    module = "/usr/lib/python3.11/pdb.py"
    nodes = {**SHELL, module: executable(b"#!/usr/bin/env bash\n")}
    assert "/usr/bin/bash" not in paths(slimmed(nodes, include=["/usr/lib/python3.11/**"]))
    assert "/usr/bin/bash" in paths(slimmed(nodes, include=[module]))


def test_a_script_that_the_recipe_names_must_be_able_to_run_and_the_hint_is_a_package() -> None:
    nodes = {"/usr/bin/app": executable(elf()), "/opt/helper": executable(b"#!/usr/bin/env perl\n")}
    with pytest.raises(ClosureError, match="/usr/bin/env is not in the image: needed by /opt/helper") as raised:
        slimmed(nodes, include=["/opt/helper"])
    assert raised.value.hint == "Debian has it in the package coreutils"


@pytest.mark.parametrize("way", ["pattern", "whole", "added"])
def test_other_scripts_that_cannot_run_are_named_in_one_warning(way: str) -> None:
    helpers = {f"/opt/h{number}": executable(b"#!/usr/bin/perl\n") for number in range(7)}
    helpers["/opt/z"] = executable(b"#!/bin/zsh\n")
    result = slimmed(
        {"/usr/bin/app": executable(elf()), **(helpers if way == "pattern" else {})},
        include=["/opt/**"] if way == "pattern" else [],
        whole=helpers if way == "whole" else None,
        around=added(helpers if way == "added" else {}),
    )
    (warning,) = result.warnings
    assert warning == (
        "scripts that are kept cannot run in the image: /opt/z needs /bin/zsh; /opt/h0, /opt/h1, /opt/h2, /opt/h3, "
        "/opt/h4 and 2 more need /usr/bin/perl (Debian has it in the package perl-base)"
    )


def test_what_a_script_of_the_recipe_calls_by_its_path_comes_with_it() -> None:
    nodes = {**SHELL, "/usr/sbin/server": executable(program("libc.so.6")), "/usr/sbin/other": executable(elf())}
    nodes |= {"/usr/bin/tool": executable(b"#!/bin/bash\n/usr/sbin/other\n"), "/etc/x": file(b"")}
    text = (
        b'#!/bin/bash\n# /usr/sbin/other\nmkdir $X/usr/sbin/other\nA=$(/bin/tool)\nexec "/usr/sbin/server" -c /etc/x\n'
    )
    start = {"/srv/start": executable(text)}
    for result in (
        slimmed(nodes, "/srv/start", around=added(start)),
        slimmed(nodes, around=added(start)),
        slimmed(nodes, whole=start),
        slimmed({**nodes, **start}, "/srv/start"),
    ):
        assert {"/usr/sbin/server", "/usr/bin/tool", "/usr/bin/bash"} <= {*paths(result)}
        assert not {"/usr/sbin/other", "/etc/x"} & {*paths(result)}
        assert "called by /srv/start" in {group.why for group in result.groups}
    left = slimmed(nodes, exclude=["/usr/sbin/server"], around=added(start))
    assert "/usr/sbin/server" not in paths(left)


def test_a_loop_of_scripts_ends() -> None:
    nodes = {**SHELL, "/opt/a": executable(b"#!/opt/b\n"), "/opt/b": executable(b"#!/opt/a\n")}
    assert {"/opt/a", "/opt/b"} <= {*paths(slimmed(nodes, include=["/opt/a"]))}


@pytest.mark.parametrize(
    ("line", "path", "expected"),
    [
        ("/bin/bash python3", (), []),
        ("/usr/bin/env python3", (), ["/bin/python3"]),
        ("/bin/env python3", ("/opt/none/", "/usr/bin/"), ["/usr/bin/python3"]),
        ("/usr/bin/env /opt/own", (), ["/opt/own"]),
        ("/usr/bin/env opt/own", (), ["opt/own"]),
        ("/usr/bin/env ruby", ("/opt/bin", "/usr/bin/"), ["/usr/bin/ruby"]),  # where it was looked for last
        ("/usr/bin/env -i", (), []),
        ("/usr/bin/env", (), []),
        ("/usr/bin/env -i --unset PATH -C / A=1 B= python3 other", (), ["/bin/python3"]),
    ],
)
def test_what_a_first_line_names(line: str, path: tuple[str, ...], expected: list[str]) -> None:
    words = line.split()
    assert list(interpreters(words, Tree(SHELL), path)) == [words[0], *expected]


def test_what_a_script_calls_stands_at_the_beginning_of_a_line_too() -> None:
    text = (
        b"#!/bin/bash\necho \xff\n/usr/bin/env a\n/usr/bin/bash\n /usr/bin/python3\n \t# /usr/bin/app\n/usr/bin/none\n"
    )
    named = [*programs_named(executable(text), Tree(SHELL))]
    assert named == ["/usr/bin/env", "/usr/bin/bash", "/usr/bin/python3"]


@pytest.mark.parametrize(
    ("count", "said"),
    [
        (1, "/a0 needs /x"),
        (2, "/a0, /a1 need /x"),
        (5, "/a0, /a1, /a2, /a3, /a4 need /x"),
        (6, "/a0, /a1, /a2, /a3, /a4 and 1 more need /x"),
    ],
)
def test_so_many_scripts_that_cannot_run_are_named(count: int, said: str) -> None:
    lacking = {"/x": [f"/a{number}" for number in reversed(range(count))]}
    assert list(cannot_run(lacking)) == [f"scripts that are kept cannot run in the image: {said}"]
    assert list(cannot_run({})) == []
