"""The closure sees the tree that the image will have, with [[files]] and what every image has."""

import pytest

from imagebuilder.closure.seen import as_seen
from imagebuilder.closure.slimming import Around, needed
from imagebuilder.errors import ClosureError
from imagebuilder.tree import Node, Tree, directory, file, symlink

from .elves import elf, program
from .trees import BASE, MULTIARCH, added, executable, paths, slimmed

APP = {"/usr/bin/app": executable(program("libc.so.6"))}
JVM = "/usr/lib/jvm/java-17/lib"


def test_a_start_script_of_the_recipe_is_the_command() -> None:
    nodes = {
        "/usr/bin/dash": executable(program("libc.so.6")),
        "/usr/bin/sh": symlink("dash"),
        "/bin": symlink("usr/bin"),
    }
    start = {"/srv/start": executable(b"#!/bin/sh\nexec true\n")}
    result = slimmed(nodes, "/srv/start", around=added(start))
    assert {"/bin", "/usr/bin/sh", "/usr/bin/dash", f"{MULTIARCH}/libc.so.6"} <= set(paths(result))
    assert "/srv/start" not in result.tree


def test_an_application_behind_a_start_script_is_read_ahead_as_well() -> None:
    nodes = {**BASE, "/srv/start": executable(b"#!/usr/bin/dash\nexec /usr/sbin/server\n")}
    nodes |= {
        path: executable(program("libc.so.6")) for path in ("/usr/bin/dash", "/usr/sbin/server", "/usr/bin/other")
    }
    linker, libc = f"{MULTIARCH}/ld-linux-x86-64.so.2", f"{MULTIARCH}/libc.so.6"
    assert needed(Tree(nodes), "/srv/start") == ("/srv/start", "/usr/bin/dash", linker, libc, "/usr/sbin/server")


def test_a_link_of_the_recipe_to_an_alternative_is_the_command_and_followed() -> None:
    nodes = {"/usr/bin/mawk": executable(program("libc.so.6"))}
    for links in (
        {"/usr/bin/awk": symlink("mawk")},
        {"/usr/bin/awk": symlink("/etc/alternatives/awk"), "/etc/alternatives/awk": symlink("/usr/bin/mawk")},
    ):
        result = slimmed(nodes, "/usr/bin/awk", around=added(links))
        assert {"/usr/bin/mawk", f"{MULTIARCH}/libc.so.6"} <= set(paths(result))
        assert {"/usr/bin/mawk"} <= set(paths(slimmed({**nodes, **APP}, around=added(links))))


def test_a_library_a_linkers_folder_and_an_interpreter_may_come_from_the_recipe() -> None:
    nodes = {"/usr/bin/app": executable(program("liba.so", "libb.so")), "/opt/own/libb.so": file(elf("libc.so.6"))}
    files = {"/lib/x86_64-linux-gnu/liba.so": file(elf()), "/etc/ld.so.conf.d/own.conf": file(b"/opt/own\n")}
    result = slimmed(nodes, around=added(files))
    assert {"/opt/own/libb.so", "/lib"} <= set(paths(result))
    assert result.tree[f"{MULTIARCH}/libb.so"] == symlink("/opt/own/libb.so")
    assert f"{MULTIARCH}/liba.so" not in result.tree


def test_what_the_recipe_replaces_is_neither_kept_nor_needed_and_is_told() -> None:
    nodes = {**APP, "/etc/app.conf": file(b"old"), f"{MULTIARCH}/liba.so": file(elf("libnowhere.so"))}
    files = {"/etc/app.conf": file(b"new"), f"{MULTIARCH}/liba.so": file(elf())}
    result = slimmed(nodes, include=["/etc/**"], exclude=["/etc/app.conf"], around=added(files))
    assert not {*files} & {*result.tree}
    assert {group.why for group in result.groups if group.name in ("pkg: configuration", "pkg: library")} >= {
        "replaced by [[files]]"
    }


def test_a_link_of_a_package_into_what_every_image_has_leads_somewhere() -> None:
    below = Around(below=Tree({"/run": directory()}), above={"/var/run/app/conf": file(b"")})
    result = slimmed({**APP, "/var/run": symlink("/run")}, around=below)
    assert "/var/run" in paths(result) and "/run" not in result.tree


@pytest.mark.parametrize("name", ["LD_LIBRARY_PATH", "LD_PRELOAD"])
def test_the_environment_says_where_libraries_are(name: str) -> None:
    nodes = {**APP, "/opt/liba.so": file(elf("libc.so.6"))}
    environment = {"LD_LIBRARY_PATH": "/none:$ORIGIN/../../opt"}
    if name == "LD_LIBRARY_PATH":
        nodes["/usr/bin/app"] = executable(program("liba.so"))
    else:
        environment["LD_PRELOAD"] = "liba.so"
    assert any(path.endswith("/opt/liba.so") for path in paths(slimmed(nodes, around=added({}, **environment))))


def test_env_looks_along_the_applications_path() -> None:
    nodes = {"/usr/bin/app": executable(b"#!/usr/bin/env run\n"), "/usr/bin/env": executable(elf())}
    nodes |= {"/opt/bin/run": executable(elf())}
    assert "/opt/bin/run" in paths(slimmed(nodes, around=added({}, PATH="/usr/bin:/opt/bin/")))
    with pytest.raises(ClosureError, match="/usr/bin/run is not in the image: needed by /usr/bin/app"):
        slimmed(nodes)


# Plug-ins


def test_a_plug_ins_library_that_its_program_loads_first() -> None:
    """Java's libraries need libjvm.so, which is in a folder that none of them names."""
    nodes = {
        **APP,
        f"{JVM}/libjava.so": file(elf("libjvm.so", runpath="$ORIGIN")),
        f"{JVM}/server/libjvm.so": file(elf("libc.so.6")),
    }
    assert {*nodes} <= {*paths(slimmed(nodes, include=[f"{JVM}/**"]))}
    with pytest.raises(ClosureError, match=r"libjvm\.so is not in the image: needed by .*libjava\.so"):
        slimmed(nodes, include=[f"{JVM}/libjava.so"])
    link = added({f"{JVM}/libjvm.so": symlink("server/libjvm.so")})
    assert f"{JVM}/server/libjvm.so" in paths(slimmed(nodes, include=[f"{JVM}/libjava.so"], around=link))


def test_a_program_finds_no_library_that_is_merely_kept() -> None:
    nodes = {"/usr/bin/app": executable(program("liba.so")), "/opt/liba.so": file(elf())}
    with pytest.raises(ClosureError, match=r"liba\.so is not in the image"):
        slimmed(nodes, include=["/opt/**"])


# ldconfig's files and the words of a path


@pytest.mark.parametrize(
    ("conf", "found"),
    [
        ({"ld.so.conf": b"/opt/own # here\n"}, True),
        ({"ld.so.conf": b"include ld.so.conf.d/*.conf\n", "ld.so.conf.d/a.conf": b"/opt/own/\n"}, True),
        ({"ld.so.conf": b"include /etc/more/*\n", "more/a": b"include /etc/ld.so.conf\n/opt/own\n"}, True),
        ({"ld.so.conf": b"", "ld.so.conf.d/a.conf": b"/opt/own\n"}, False),
        ({"ld.so.conf.d/a.conf": b"#/opt/own\nhwcap 0 x\n"}, False),
    ],
)
def test_folders_of_ldconfig(conf: dict[str, bytes], found: bool) -> None:
    nodes: dict[str, Node] = {f"/etc/{name}": file(text) for name, text in conf.items()}
    nodes |= {"/usr/bin/app": executable(program("liba.so")), "/opt/own/liba.so": file(elf())}
    if found:
        assert "/opt/own/liba.so" in paths(slimmed(nodes))
    else:
        with pytest.raises(ClosureError, match=r"liba\.so is not in the image"):
            slimmed(nodes)


@pytest.mark.parametrize("word", ["$ORIGIN/own", "${ORIGIN}/own", "/opt/$PLATFORM", "/usr/$LIB/own"])
def test_words_in_a_runpath(word: str) -> None:
    places = {"$ORIGIN/own": "/usr/bin/own", "${ORIGIN}/own": "/usr/bin/own", "/opt/$PLATFORM": "/opt/x86_64"}
    path = f"{places.get(word, f'{MULTIARCH}/own')}/liba.so"
    assert path in paths(slimmed({"/usr/bin/app": executable(program("liba.so", runpath=word)), path: file(elf())}))


def test_a_name_that_only_begins_as_a_word_is_none() -> None:
    nodes = {
        "/usr/bin/app": executable(program("liba.so", runpath="/opt/$LIBRARY")),
        "/opt/$LIBRARY/liba.so": file(elf()),
    }
    assert "/opt/$LIBRARY/liba.so" in paths(slimmed(nodes))


# The key of the step


def test_an_added_files_content_counts_where_it_is_read() -> None:
    def differs(path: str, one: bytes, other: bytes) -> bool:
        return bool(as_seen(path, file(one)) != as_seen(path, file(other)))

    assert not differs("/srv/page.html", b"one", b"other")
    assert differs("/srv/start", b"#!/bin/sh", b"#!/bin/bash")
    assert differs("/srv/lib.so", elf(), elf("liba.so"))
    assert differs("/srv/lib.so", elf(), b"")
    assert differs("/srv/app.py", b"x = 1", b"x = 2")
    assert differs("/etc/ld.so.conf", b"/a", b"/b")
    assert as_seen("/srv/x", file(b"")) != as_seen("/srv/x", executable(b""))
    assert as_seen("/srv/x", symlink("a")) != as_seen("/srv/x", symlink("b"))
