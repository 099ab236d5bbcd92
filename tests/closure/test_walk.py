"""The walk, path by path and reason by reason; its sentences word by word; where the linker looks, in its order."""

from typing import Any

import pytest

from imagebuilder.arch import TARGET
from imagebuilder.closure.elf import DamagedElf, parse
from imagebuilder.closure.linker import Found, Linker, Loaded
from imagebuilder.closure.selection import matching, other_glob, selected
from imagebuilder.closure.slimming import Merged, merge, slim
from imagebuilder.closure.walk import SHOWN, Walk
from imagebuilder.errors import ClosureError
from imagebuilder.sources.layer import Layer
from imagebuilder.tree import Node, Tree, directory, file, symlink

from .elves import AARCH64, LINKER, elf, program
from .trees import BASE, MULTIARCH, executable, layer, slimmed

APP = "/usr/bin/app"
MUSL = "/lib/ld-musl-x86_64.so.1"


def walked(nodes: dict[str, Node], *roots: str, **more: Any) -> Walk:
    """A walk from programs."""
    walk = Walk(Tree(nodes), more.pop("dropped", {}), **more)
    for root in roots:
        walk.command(root)
    return walk


def refusal(nodes: dict[str, Node], *roots: str, **more: Any) -> tuple[str, str | None]:
    """The sentence and the hint of a walk that cannot be."""
    with pytest.raises(ClosureError) as refused:
        walked(nodes, *roots, **more).check()
    return refused.value.message, refused.value.hint


def loaded(path: str, data: bytes, by: Loaded | None = None) -> Loaded:
    """An ELF file that was loaded."""
    return Loaded(path, parse(data), by)


# Reasons


def test_each_path_is_kept_for_the_first_reason() -> None:
    nodes = {
        **BASE,
        APP: executable(program("liba.so", "libc.so.6")),
        f"{MULTIARCH}/liba.so": symlink("liba.so.1"),
        f"{MULTIARCH}/liba.so.1": file(elf("libb.so", "libc.so.6")),
        "/usr/lib/libb.so": file(elf()),
    }
    walk = walked(nodes, APP)
    walk.check()
    assert walk.kept == {
        APP: "the command",
        "/lib64": f"linked by {APP}",
        "/usr/lib64/ld-linux-x86-64.so.2": f"linked by {APP}",
        "/lib": f"linked by {APP}",
        f"{MULTIARCH}/ld-linux-x86-64.so.2": f"linked by {APP}",
        f"{MULTIARCH}/liba.so": f"linked by {APP}",
        f"{MULTIARCH}/liba.so.1": f"linked by {APP}",
        f"{MULTIARCH}/libc.so.6": f"linked by {APP}",
        "/usr/lib/libb.so": "linked by /lib/x86_64-linux-gnu/liba.so",
    }
    assert walk.links == {} and walk.idle == {} and walk.missing == []


def test_scripts_and_what_they_call() -> None:
    start = b"#!/usr/bin/env run\n/usr/bin/tool x\n/usr/bin/gone\n# /usr/bin/never\n/usr/bin/data\n/usr/bin/out\n"
    nodes = {
        "/start": executable(start),
        "/usr/bin/env": executable(elf()),
        "/opt/run": executable(b"#!/opt/real -x\n"),
        "/opt/real": executable(elf()),
        "/usr/bin/data": file(b"no program"),
        **{f"/usr/bin/{name}": executable(elf()) for name in ("tool", "never", "out")},
    }
    walk = walked(nodes, "/start", environment={"PATH": "/nowhere:/opt"}, dropped={"/usr/bin/out": "excluded"})
    walk.calls("/start")
    walk.calls("/usr/bin/data")
    walk.calls("/gone")
    assert walk.kept == {
        "/start": "the command",
        "/usr/bin/env": "interprets /start",
        "/opt/run": "interprets /start",
        "/opt/real": "interprets /opt/run",
        "/usr/bin/tool": "called by /start",
    }


def test_what_is_included_is_kept_with_links_and_needs() -> None:
    nodes = {
        **BASE,
        "/etc/a": symlink("b"),
        "/etc/b": file(elf("libc.so.6")),
        "/etc/c": symlink("gone"),
        "/etc/d": symlink("/out"),
        "/etc/e": file(b""),
        "/out": file(b""),
    }
    walk = walked(nodes, dropped={"/out": "excluded", "/etc/e": "excluded"})
    for name in "acde":
        walk.include(f"/etc/{name}", "/etc/*")
    walk.on_the_way("/lib/x/*")
    walk.on_the_way("/lib64/**")
    assert walk.kept == {
        "/etc/a": "included by /etc/*",
        "/etc/b": "included by /etc/*",
        "/etc/c": "included by /etc/*",
        "/lib": "linked by /etc/b",
        f"{MULTIARCH}/libc.so.6": "linked by /etc/b",
        f"{MULTIARCH}/ld-linux-x86-64.so.2": "linked by /lib/x86_64-linux-gnu/libc.so.6",
        "/lib64": "included by /lib64/**",
    }
    walk = walked(nodes, dropped={"/lib": "excluded"})
    walk.on_the_way("/lib/*")
    assert walk.kept == {}


def test_scripts_that_cannot_run_are_idle_unless_they_are_named() -> None:
    nodes = {
        "/srv/a": executable(b"#!/bin/gone\n"),
        "/srv/b": executable(b"#!/bin/gone\n"),
        "/srv/c": executable(b"#!/bin/else\n"),
        "/srv/good": executable(b"#!/bin/run\n"),
        "/srv/text": executable(b"text"),
        "/srv/data": file(b"#!/bin/gone\n"),
        "/bin/run": executable(elf()),
    }
    walk = walked(nodes)
    for path in nodes:
        walk.include(path, "/srv/**")
    assert walk.idle == {"/bin/gone": ["/srv/a", "/srv/b"], "/bin/else": ["/srv/c"]}
    assert walk.kept["/bin/run"] == "interprets /srv/good" and walk.kept["/srv/good"] == "included by /srv/**"
    with pytest.raises(ClosureError, match=r"^/bin/gone is not in the image: needed by /srv/a, "):
        walked(nodes).include("/srv/a", "/srv/a")


def test_a_preloaded_library() -> None:
    nodes = {
        **BASE,
        APP: executable(program()),
        "/usr/lib/pre.so": file(elf()),
        "/opt/two.so": file(elf()),
        "/script": executable(b"#!/usr/bin/app\n"),
    }
    for words in ("pre.so /opt/two.so", "pre.so:/opt/two.so", "pre.so: /opt/two.so "):
        walk = walked(nodes, APP, environment={"LD_PRELOAD": words})
        assert {walk.kept[path] for path in ("/usr/lib/pre.so", "/opt/two.so")} == {f"linked by {APP}"}
    assert "/usr/lib/pre.so" not in walked(nodes, "/script", environment={"LD_PRELOAD": "pre.so"}).kept
    sentence = f"gone.so is not in the image: needed by {APP}"
    assert refusal(nodes, APP, environment={"LD_PRELOAD": "gone.so"}) == (sentence, None)


def test_a_library_that_only_ldconfig_knows_gets_a_link() -> None:
    nodes = {
        **BASE,
        APP: executable(program("liba.so")),
        "/etc/ld.so.conf": file(b"/opt/a\n"),
        "/opt/a/liba.so": file(elf()),
    }
    walk = walked(nodes, APP)
    assert walk.links == {f"{MULTIARCH}/liba.so": symlink("/opt/a/liba.so")}
    assert walk.kept["/opt/a/liba.so"] == f"linked by {APP}"


# Sentences


SENTENCES: list[tuple[dict[str, Node], str, str | None]] = [
    ({"/opt/x/app": executable(elf())}, f'the command "{APP}" is not in the image', 'did you mean "/opt/x/app"?'),
    ({"/opt/x/app": file(elf())}, f'the command "{APP}" is not in the image', None),
    (
        {APP: file(elf())},
        f'the command "{APP}" is no file that may be executed',
        'with mode = "0755" it is, under [[files]]; or with chmod +x beside the recipe',
    ),
    ({APP: directory()}, f'the command "{APP}" is no file that may be executed', None),
    (
        {APP: executable(b"text")},
        f'{APP} cannot run: it is neither an ELF file nor a script that begins with "#!"',
        None,
    ),
    ({APP: executable(b"#! \n")}, f"{APP} cannot run: its first line names no interpreter", None),
    (
        {APP: executable(b"#!/bin/sh\n")},
        f"/bin/sh is not in the image: needed by {APP}, whose first line names it",
        "Debian has it in the package dash",
    ),
    (
        {APP: executable(b"#!/bin/run\n"), "/bin/run": file(elf())},
        f"/bin/run is no file that may be executed: needed by {APP}, whose first line names it",
        None,
    ),
    (
        {APP: executable(elf(machine=AARCH64))},
        f"{APP} is built for another machine (EM_AARCH64, 64 bits)",
        None,
    ),
    (
        {APP: executable(program("liba.so")), LINKER: file(elf())},
        f"liba.so is not in the image: needed by {APP}",
        None,
    ),
]


@pytest.mark.parametrize(("nodes", "message", "hint"), SENTENCES)
def test_why_a_command_cannot_be(nodes: dict[str, Node], message: str, hint: str | None) -> None:
    assert refusal(nodes, APP) == (message, hint)


def test_a_command_that_has_a_package() -> None:
    assert refusal({}, "/bin/bash") == (
        'the command "/bin/bash" is not in the image',
        "Debian has it in the package bash",
    )


def test_what_is_damaged_is_named() -> None:
    with pytest.raises(DamagedElf) as damaged:
        parse(b"\x7fELFx")
    assert refusal({APP: executable(b"\x7fELFx")}, APP) == (f"{APP} is a damaged ELF file: {damaged.value}", None)
    nodes = {**BASE, APP: executable(program("liba.so")), "/usr/lib/liba.so": file(b"\x7fELFx")}
    assert refusal(nodes, APP) == (f"liba.so is damaged ({damaged.value}): needed by {APP}", None)


def test_all_that_is_missing_is_told_up_to_a_bound() -> None:
    names = [f"lib{number:02}.so" for number in range(SHOWN + 2)]

    def told(count: int) -> tuple[str, str | None]:
        nodes = {**BASE, APP: executable(program(*names[:count]))}
        return refusal(nodes, APP, package_with=lambda name: f"package-of-{name}")

    lines = [f"{name} is not in the image: needed by {APP}" for name in names]
    hints = [f"{name} should be in package-of-{name}" for name in names]
    assert told(1) == (lines[0], hints[0])
    assert told(2) == ("\n".join(lines[:2]), "; ".join(hints[:2]))
    assert told(SHOWN) == ("\n".join(lines[:SHOWN]), "; ".join(hints[:3]))
    assert told(SHOWN + 2) == ("\n".join([*lines[:SHOWN], "and 2 more"]), "; ".join(hints[:3]))


def test_what_is_needed_and_excluded() -> None:
    nodes = {**BASE, APP: executable(program("liba.so")), "/usr/lib/liba.so": file(elf("libb.so"))}
    nodes |= {"/usr/lib/libb.so": file(elf())}
    dropped = {"/usr/lib/libb.so": "excluded by /usr/lib/libb*"}
    assert refusal(nodes, APP, dropped=dropped) == (
        f"/usr/lib/libb.so is excluded by /usr/lib/libb*: needed by /lib/liba.so, needed by {APP}",
        None,
    )


def test_a_library_elsewhere() -> None:
    nodes = {**BASE, APP: executable(program("liba.so")), "/opt/liba.so": file(elf())}
    link = '/opt/liba.so is there: [[files]] with path = "{}/liba.so" and symlink = "/opt/liba.so" has it found'
    assert refusal(nodes, APP) == (f"liba.so is not in the image: needed by {APP}", link.format(MULTIARCH))
    for unfit in (file(elf(machine=AARCH64)), file(b"\x7fELFx"), file(b""), directory()):
        assert refusal({**nodes, "/opt/liba.so": unfit}, APP)[1] is None
    assert refusal(nodes, APP, dropped={"/opt/liba.so": "excluded"})[1] is None
    plug_in = {**BASE, "/p.so": file(elf("liba.so")), "/opt/liba.so": file(elf())}
    walk = walked(plug_in)
    walk.include("/p.so", "/p.so")
    with pytest.raises(ClosureError) as refused:
        walk.check()
    assert refused.value.hint == '"/opt/liba.so" is there: under include it is kept, for a program that loads it first'
    walk.include("/opt/liba.so", "/opt/*")
    walk.check()


# The linker


def test_the_order_of_folders() -> None:
    """DT_RPATH, LD_LIBRARY_PATH, DT_RUNPATH, the linker's own, those of ldconfig (ld.so(8))."""
    places = ["/rpath", "/env", "/runpath", *TARGET.glibc_folders, "/conf"]
    nodes = {f"{folder}/liba.so": file(elf()) for folder in places} | {"/etc/ld.so.conf": file(b"/conf\n")}
    by_rpath = loaded(APP, program("liba.so", rpath="/rpath"))
    by_runpath = loaded(APP, program("liba.so", rpath="/rpath", runpath="/runpath"))
    for who, order in (
        (by_rpath, ["/rpath", "/env", *TARGET.glibc_folders, "/conf"]),
        (by_runpath, ["/env", "/runpath", *TARGET.glibc_folders, "/conf"]),
    ):
        left = dict(nodes)
        for folder in order:
            found = Linker(Tree(left), ["/env"]).find("liba.so", who)
            link = f"{'/usr/lib'}/liba.so" if folder == "/conf" else None
            assert found is not None and found.path == f"{folder}/liba.so" and (found.link is None) == (link is None)
            del left[f"{folder}/liba.so"]
        assert Linker(Tree(left), ["/env"]).find("liba.so", who) is None


@pytest.mark.parametrize(
    ("interpreter", "folders"),
    [
        (LINKER, TARGET.glibc_folders),
        (MUSL, ("/lib/x86_64-linux-musl", "/lib", "/usr/local/lib", "/usr/lib")),
        (None, TARGET.glibc_folders),
        ("/lib/ld-other.so", TARGET.glibc_folders),
    ],
)
def test_the_folders_are_those_of_the_programs_linker(interpreter: str | None, folders: tuple[str, ...]) -> None:
    first = loaded(APP, elf(interpreter=interpreter))
    second = loaded("/usr/lib/libb.so", elf(interpreter="/lib/ld-of-a-library.so"), first)
    left = {f"{folder}/liba.so": file(elf()) for folder in folders}
    for folder in folders:
        for who in (first, second):
            linker = Linker(Tree(left))
            assert linker.find("liba.so", who) == Found(f"{folder}/liba.so")
            assert linker.place("liba.so", who) == f"{folder}/liba.so"
        del left[f"{folder}/liba.so"]
    assert Linker(Tree({})).place("liba.so", first) == "/usr/lib/liba.so"


@pytest.mark.parametrize(
    ("written", "folder"),
    [
        ("$ORIGIN/x", "/opt/app/x"),
        ("${ORIGIN}/x/", "/opt/app/x"),
        ("$ORIGINAL/x", "$ORIGINAL/x"),
        ("/a/$LIB", "/a/lib/x86_64-linux-gnu"),
        ("/a/${PLATFORM}/b", "/a/x86_64/b"),
        ("/a/$PLATFORM", "/a/x86_64"),
    ],
)
def test_words_in_folders(written: str, folder: str) -> None:
    who = loaded("/opt/app/app", program(runpath=written))
    assert Linker(Tree({f"{folder}/liba.so": file(elf())} if folder[0] == "/" else {})).find("liba.so", who) == (
        Found(f"{folder}/liba.so") if folder[0] == "/" else None
    )


def test_origin_is_that_of_the_file_or_of_the_program() -> None:
    first = loaded("/opt/app/app", program(rpath="$ORIGIN/r"))
    second = loaded("/usr/lib/libb.so", elf(), first)
    nodes = {"/opt/app/r/liba.so": file(elf()), "/opt/app/e/libe.so": file(elf())}
    linker = Linker(Tree(nodes), ["$ORIGIN/e"])
    assert linker.find("liba.so", second) == Found("/opt/app/r/liba.so")
    assert linker.find("libe.so", second) == Found("/opt/app/e/libe.so")
    own = loaded("/usr/lib/libb.so", elf(runpath="$ORIGIN/x"), first)
    assert linker.find("liba.so", own) is None, "its DT_RUNPATH counts alone"
    assert linker.find("$ORIGIN/r/liba.so", first) == Found("/opt/app/r/liba.so")
    assert linker.find("/opt/app/none.so", first) is None
    assert linker.place("$ORIGIN/none.so", first) == "/opt/app/none.so"
    above = loaded("/usr/lib/libc.so", elf(), own)
    assert linker.find("liba.so", above) == Found("/opt/app/r/liba.so"), "DT_RPATH above one with DT_RUNPATH"


CONF = b"""
/opt/a/   # a comment
include /etc/more/*.conf other.conf # /etc/ld.so.conf.d/*.conf
relative
hwcap 0 x
/opt/b /opt/never
"""


def test_the_files_of_ldconfig() -> None:
    nodes = {
        "/etc/ld.so.conf": file(CONF),
        "/etc/more/1.conf": file(b"/opt/1\ninclude /etc/ld.so.conf\n"),
        "/etc/more/2.conf": symlink("1.conf"),
        "/etc/more/3.conf": directory(),
        "/etc/other.conf": file(b"/opt/\xff\n"),
        "/etc/ld.so.conf.d/x.conf": file(b"/opt/x\n"),
        "/etc/ld.so.conf.d/x.txt": file(b"/opt/t\n"),
    }
    assert Linker(Tree(nodes))._configured == ["/opt/a", "/opt/1", "/opt/\ufffd", "/opt/b"]
    del nodes["/etc/ld.so.conf"]
    assert Linker(Tree(nodes))._configured == ["/opt/x"]
    assert Linker(Tree({}))._configured == []


def test_each_file_is_read_once() -> None:
    linker = Linker(Tree({"/a": file(elf("x")), "/b": file(b"text"), "/c": directory()}))
    one = linker.elf("/a")
    assert one is not None and one.needed == ("x",) and linker.elf("/a") is one
    assert linker.elf("/b") is linker.elf("/c") is None
    assert [each.path for each in loaded("c", elf(), loaded("b", elf(), loaded("a", elf()))).chain()] == ["c", "b", "a"]


# Layers and globs


def test_layers_over_each_other() -> None:
    first = layer({"/a": file(b"1"), "/b": file(b"1"), "/c": file(b"1")}, slim=False, origin="one")
    second = Layer(Tree({"/b": file(b"2"), "/d": file(b"2")}), {"/b": "two"}, slim=True)
    third = layer({"/d": file(b"3")}, slim=False, origin="three")
    merged = merge([first, second, third])
    assert {path: merged.tree[path].content.read() for path in ["/a", "/b", "/c", "/d"]} == {
        "/a": b"1",
        "/b": b"2",
        "/c": b"1",
        "/d": b"3",
    }
    assert merged.origins == {"/a": "one", "/b": "two", "/c": "one", "/d": "three"}
    assert merged.whole == {"/a", "/c", "/d"}
    assert merge([]) == Merged(Tree(), {}, frozenset())


def test_a_kept_layer_without_what_is_excluded() -> None:
    result = slimmed(
        {}, "/own/app", whole={"/own/app": executable(elf()), "/own/x": file(b"")}, exclude=["/own/x", "/own/*"]
    )
    groups = {(group.name, group.kept, group.why) for group in result.groups}
    assert ("own: data", False, "excluded by /own/x") in groups, "the first glob that takes it"
    assert ("own: data", True, "the command") in groups and result.warnings == ()
    nothing = slim([layer({"/a": file(b"")})], roots=[], include=[], exclude=[])
    assert [(group.kept, group.why) for group in nothing.groups] == [(False, "not needed")]
    two = slim(
        [layer({"/a": executable(elf()), "/b": executable(elf()), "/c": file(b"")})],
        roots=["/a", "/b"],
        include=[],
        exclude=[],
    )
    assert [group.why for group in two.groups] == ["the command", "not needed by /a, /b"]


def test_globs_select() -> None:
    tree = Tree({"/lib": symlink("usr/lib"), "/usr/lib/a/x": file(b""), "/usr/lib/ab": file(b""), "/top": file(b"")})
    assert matching("/lib/a*", tree) == ["/usr/lib/a", "/usr/lib/ab"]
    assert matching("/lib", tree) == ["/lib"]
    assert matching("/usr/lib/a", tree) == ["/usr/lib/a"] and matching("/t*", tree) == ["/top"]
    assert selected("/lib/a", tree) == ["/usr/lib/a", "/usr/lib/a/x"]
    assert selected("/usr/lib/**", tree) == ["/usr/lib", "/usr/lib/a", "/usr/lib/a/x", "/usr/lib/ab"]
    assert selected("/none", tree) == []
    assert other_glob("/opt/ab", tree) == 'did you mean "/usr/lib/ab"?' and other_glob("/zzzzzz", tree) is None
    assert other_glob("/usr/lob/a*", tree) == 'did you mean "/usr/lib/a*"?'
    assert other_glob("/usr/lob/q*", tree) == 'did you mean "/usr/lib"?'
    assert other_glob("/qqqqqqqqqq/zzzz/*", tree) is None
    with pytest.raises(ClosureError) as refused:
        slim([layer({"/a": file(b"")})], roots=[], include=["/opt/a"], exclude=[])
    assert (refused.value.message, refused.value.hint) == (
        'include: "/opt/a" matches nothing',
        'did you mean "/a"?',
    )
