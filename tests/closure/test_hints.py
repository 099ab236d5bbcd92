"""Each hint that the closure can give is followed, and works."""

import re
from collections.abc import Callable, Mapping
from dataclasses import replace

import pytest

from imagebuilder.errors import ClosureError
from imagebuilder.sources.hints import nearest_path
from imagebuilder.tree import Node, file, symlink

from .elves import AARCH64, elf, program
from .trees import added, executable, paths, slimmed

JAVA = "/usr/lib/jvm/java-17-openjdk-amd64/bin/java"


def hint_of(call: Callable[[], object]) -> str:
    with pytest.raises(ClosureError) as raised:
        call()
    assert raised.value.hint
    return raised.value.hint


@pytest.mark.parametrize(
    ("wanted", "meant"),
    [
        ("/usr/bin/java", JAVA),
        ("/bin/jav", JAVA),
        ("/usr/local/sbin/nginx", "/usr/sbin/nginx"),
        ("/nginx", "/usr/sbin/nginx"),
    ],
)
def test_the_command_that_was_meant(wanted: str, meant: str) -> None:
    others = ("/usr/bin/rev", "/usr/lib/very/deep/down/bin/java", "/usr/sbin/nginx", JAVA)
    nodes = {path: executable(elf()) for path in others}
    nodes |= {"/usr/share/java": file(b""), "/etc/java": symlink("nothing")}
    (found,) = re.findall('did you mean "([^"]+)"', hint_of(lambda: slimmed(nodes, wanted)))
    assert found == meant
    assert found in paths(slimmed(nodes, found))


def test_nothing_is_suggested_that_is_unlike() -> None:
    assert nearest_path("/usr/bin/java", ["/", "/usr/bin/rev", "/usr/bin/lava-lamp"]) is None


@pytest.mark.parametrize("name", ["liba.so", "/opt/x/liba.so", "$ORIGIN/liba.so"])
def test_a_link_to_a_library_elsewhere(name: str) -> None:
    nodes: Mapping[str, Node] = {
        "/usr/bin/app": executable(program(name)),
        "/opt/foreign/liba.so": file(elf(machine=AARCH64)),
        "/opt/own/liba.so": file(elf("libc.so.6")),
    }
    hint = hint_of(lambda: slimmed(nodes))
    (path, target), *_ = re.findall('path = "([^"]+)" and symlink = "([^"]+)"', hint)
    assert target in paths(slimmed(nodes, around=added({path: symlink(target)})))


def test_a_library_that_a_plug_in_needs() -> None:
    nodes = {"/usr/bin/app": executable(elf()), "/opt/plug.so": file(elf("liba.so")), "/opt/deep/liba.so": file(elf())}
    hint = hint_of(lambda: slimmed(nodes, include=["/opt/*.so"]))
    (glob,) = re.findall('^"([^"]+)"', hint)
    assert "/opt/deep/liba.so" in paths(slimmed(nodes, include=["/opt/*.so", glob]))


def test_a_library_that_does_not_fit_or_is_excluded_is_not_suggested_but_a_package_that_is_known() -> None:
    nodes = {"/usr/bin/app": executable(program("liba.so.1")), "/opt/liba.so.1": file(elf(machine=AARCH64))}
    around = replace(added({}), package_with={"liba.so.1": "the package liba1 of Debian bookworm"}.get)
    said = "liba.so.1 should be in the package liba1 of Debian bookworm"
    assert hint_of(lambda: slimmed(nodes, around=around)) == said
    nodes["/opt/liba.so.1"] = file(elf())
    assert hint_of(lambda: slimmed(nodes, exclude=["/opt/**"], around=around)) == said


@pytest.mark.parametrize("glob", ["/usr/lib/mod/a.so", "/usr/lib/mod/*.so", "/lib/mod/**", "/usr/lib/mods/b*"])
def test_a_glob_that_matches_nothing(glob: str) -> None:
    nodes = {"/usr/bin/app": executable(elf()), "/usr/lib/mods/a.so": file(elf())}
    (meant,) = re.findall('did you mean "([^"]+)"', hint_of(lambda: slimmed(nodes, include=[glob])))
    assert "/usr/lib/mods/a.so" in paths(slimmed(nodes, include=[meant]))


def test_a_command_that_may_not_be_executed() -> None:
    nodes = {"/usr/bin/bash": executable(elf()), "/bin": symlink("usr/bin")}
    text = b"#!/bin/bash\n"
    hint = hint_of(lambda: slimmed(nodes, "/srv/start", around=added({"/srv/start": file(text)})))
    (mode,) = re.findall('mode = "([0-7]+)"', hint)
    assert slimmed(nodes, "/srv/start", around=added({"/srv/start": file(text, mode=int(mode, 8))})).tree


def test_a_line_end_of_windows() -> None:
    nodes = {"/usr/bin/bash": executable(elf()), "/bin": symlink("usr/bin")}
    start = {"/srv/start": executable(b"#!/bin/bash\r\necho\r\n")}
    assert "with line ends of Linux" in hint_of(lambda: slimmed(nodes, "/srv/start", around=added(start)))
    (warning,) = slimmed({**nodes, "/usr/bin/app": executable(elf())}, around=added(start)).warnings
    assert "/srv/start needs '/bin/bash\\r' (a line end of Windows" in warning
