"""What is kept of layers, what is dropped, and what is an error."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from imagebuilder import process
from imagebuilder.arch import TARGET
from imagebuilder.closure.groups import Group
from imagebuilder.closure.slimming import Around, merge, slim
from imagebuilder.errors import ClosureError, ImagebuilderError, InputError
from imagebuilder.sources.layer import Layer
from imagebuilder.sources.overlay import overlay
from imagebuilder.tree import Kind, Node, Tree, directory, file, symlink
from tests.examples import examples

from .elves import AARCH64, LINKER, elf, program
from .trees import BASE, MULTIARCH, executable, layer, paths, slimmed

KEPT_OF_BASE = [
    "/lib",
    "/lib64",
    "/usr/lib/x86_64-linux-gnu/ld-linux-x86-64.so.2",
    "/usr/lib/x86_64-linux-gnu/libc.so.6",
    "/usr/lib64/ld-linux-x86-64.so.2",
]


# What is kept


def test_a_program_with_its_linker_libraries_and_the_links_on_the_way() -> None:
    nodes = {
        "/usr/bin/app": executable(program("liba.so.1", "libc.so.6")),
        f"{MULTIARCH}/liba.so.1": symlink("liba.so.1.2.3"),
        f"{MULTIARCH}/liba.so.1.2.3": file(elf("libb.so", "libc.so.6")),
        "/usr/lib/libb.so": file(elf()),
        "/usr/lib/libunused.so": file(elf()),
    }
    kept = ["/usr/bin/app", "/usr/lib/libb.so", f"{MULTIARCH}/liba.so.1", f"{MULTIARCH}/liba.so.1.2.3"]
    assert paths(slimmed(nodes)) == sorted([*KEPT_OF_BASE, *kept])


def test_a_static_program_alone() -> None:
    assert paths(slimmed({"/usr/bin/app": executable(elf())})) == ["/usr/bin/app"]


def test_a_command_that_is_a_link() -> None:
    nodes = {"/usr/bin/app": symlink("../lib/app/real"), "/usr/lib/app/real": executable(elf())}
    assert paths(slimmed(nodes)) == ["/usr/bin/app", "/usr/lib/app/real"]


@pytest.mark.parametrize("line", ["#!/usr/bin/run -x", "#! /usr/bin/env run", "#!/usr/bin/env -S A=1 run -x"])
def test_a_script_with_its_interpreter(line: str) -> None:
    nodes = {
        "/usr/bin/app": executable(f"{line}\nsay hello\n".encode()),
        "/usr/bin/run": executable(program("libc.so.6")),
        "/usr/bin/env": executable(elf()),
    }
    env = ["/usr/bin/env"] if "env" in line else []
    assert paths(slimmed(nodes)) == sorted([*KEPT_OF_BASE, "/usr/bin/app", "/usr/bin/run", *env])


def test_includes_with_their_libraries_and_without_what_is_excluded() -> None:
    nodes = {
        "/usr/bin/app": executable(elf()),
        "/usr/lib/app/a.so": file(elf("libplug.so")),
        "/usr/lib/app/bad.so": file(elf("libnowhere.so")),
        "/usr/lib/app/deep/data": file(b"data"),
        "/usr/lib/app/empty": directory(mode=0o700),
        "/usr/lib/app/script": executable(b"#!/bin/sh\n"),
        "/usr/lib/libplug.so": file(elf()),
    }
    result = slimmed(nodes, include=["/lib/app"], exclude=["/usr/lib/app/b*"])
    kept = ["/usr/bin/app", "/usr/lib/app/a.so", "/usr/lib/app/deep/data", "/usr/lib/app/script", "/usr/lib/libplug.so"]
    assert paths(result) == sorted(["/lib", *kept])
    assert result.tree["/usr/lib/app/empty"].mode == 0o700


def test_an_included_link_with_what_it_leads_to() -> None:
    nodes = {
        "/usr/bin/app": executable(elf()),
        "/etc/a": symlink("/etc/b"),
        "/etc/b": symlink("/usr/lib/c"),
        "/usr/lib/c": file(b""),
        "/etc/dangling": symlink("nothing"),
    }
    assert paths(slimmed(nodes, include=["/etc/a"])) == ["/etc/a", "/etc/b", "/usr/bin/app", "/usr/lib/c"]
    assert paths(slimmed(nodes, include=["/etc/d*"])) == ["/etc/dangling", "/usr/bin/app"]


def test_layers_that_are_not_to_be_slimmed_stay_whole_and_their_libraries_come() -> None:
    own = layer(
        {"/srv/app": executable(program("libc.so.6")), "/srv/page": file(b"page"), "/srv/x": file(b"")}, slim=False
    )
    result = slim([layer(BASE), own], roots=["/srv/app"], include=[], exclude=["/srv/x"])
    assert paths(result) == sorted([*KEPT_OF_BASE, "/srv/app", "/srv/page"])


def test_a_later_layer_stands_over_an_earlier_one_through_its_links() -> None:
    stub = layer({"/lib/x86_64-linux-gnu/libc.so.6": file(elf())}, slim=False, origin="own")
    merged = merge([layer(BASE), stub])
    assert merged.tree[f"{MULTIARCH}/libc.so.6"] == file(elf())
    assert merged.origins[f"{MULTIARCH}/libc.so.6"] == "own"
    assert merged.whole == {f"{MULTIARCH}/libc.so.6"}


# Where libraries are looked for


@pytest.mark.parametrize(
    ("earlier", "later", "said"),
    [
        ({"/a": file(b"x")}, {"/a/b": file(b"y")}, "/a is a folder in app.tar, and a file in nginx"),
        ({"/a/b": file(b"x")}, {"/a": file(b"y")}, "/a is a file in app.tar, and a folder in nginx"),
        ({"/a/b": file(b"x")}, {"/a": symlink("/c")}, "/a is a symlink in app.tar, and a folder in nginx"),
        ({"/a": file(b"x"), "/l": symlink("/a")}, {"/l": directory(mode=0o700)},
         "/l is a folder in app.tar, and a file in nginx"),
    ],
)  # fmt: skip
def test_two_sources_at_odds_are_told_with_both_names(
    earlier: dict[str, Node], later: dict[str, Node], said: str
) -> None:
    one = Layer(Tree(earlier), dict.fromkeys(earlier, "nginx"))
    with pytest.raises(InputError) as raised:
        merge([one, Layer(Tree(later), dict.fromkeys(later, "app.tar"))])
    assert raised.value.message == said


def test_an_empty_folder_makes_place_and_what_is_removed_is_not_at_odds() -> None:
    empty = Layer(Tree({"/a": directory()}), {"/a": "nginx"})
    over = Layer(Tree({"/a": symlink("/c")}), {"/a": "app.tar"})
    assert merge([empty, over]).tree["/a"].kind is Kind.SYMLINK
    full = Layer(Tree({"/a/b": file(b"x")}), {"/a/b": "nginx"})
    changed = Layer(Tree({"/a": file(b"y")}), {"/a": "prepare"}, removed=("/a",))
    assert {*merge([full, changed]).tree} == {"/", "/a"}


@pytest.mark.parametrize(
    "options",
    [
        {"runpath": "$ORIGIN/../lib/private"},
        {"rpath": "${ORIGIN}/../lib/private"},
        {"runpath": "/nowhere:/usr/lib/private"},
        {"runpath": "/usr/$LIB/../private"},
    ],
)
def test_a_path_of_the_programs_own(options: dict[str, str]) -> None:
    nodes = {
        "/usr/bin/app": executable(program("liba.so", **options)),
        "/usr/lib/private/liba.so": file(elf()),
        "/usr/lib/liba.so": file(elf()),
    }
    assert "/usr/lib/private/liba.so" in paths(slimmed(nodes))
    assert "/usr/lib/liba.so" not in paths(slimmed(nodes))


@pytest.mark.parametrize(("option", "found"), [("rpath", True), ("runpath", False)])
def test_rpath_counts_for_the_libraries_of_libraries_and_runpath_does_not(option: str, found: bool) -> None:
    nodes = {
        "/usr/bin/app": executable(program("liba.so", **{option: "/opt"})),
        "/opt/liba.so": file(elf("libb.so")),
        "/opt/libb.so": file(elf()),
    }
    if found:
        assert "/opt/libb.so" in paths(slimmed(nodes))
    else:
        with pytest.raises(
            ClosureError, match=r"libb\.so is not in the image: needed by /opt/liba\.so, needed by /usr/bin"
        ):
            slimmed(nodes)


def test_a_library_for_another_machine_is_passed_by() -> None:
    nodes = {
        "/usr/bin/app": executable(program("liba.so")),
        f"{MULTIARCH}/liba.so": file(elf(machine=AARCH64)),
        "/usr/lib/liba.so": file(elf()),
    }
    assert "/usr/lib/liba.so" in paths(slimmed(nodes))
    assert f"{MULTIARCH}/liba.so" not in paths(slimmed(nodes))


def test_a_folder_that_only_ldconfig_knows_gets_a_link() -> None:
    nodes = {
        "/usr/bin/app": executable(program("liba.so")),
        "/etc/ld.so.conf.d/own.conf": file(b"# comment\n/opt/own/\n"),
        "/opt/own/liba.so": file(elf()),
    }
    result = slimmed(nodes)
    assert result.tree[f"{MULTIARCH}/liba.so"] == symlink("/opt/own/liba.so")
    assert "/opt/own/liba.so" in paths(result)


@pytest.mark.tools
def test_the_linkers_own_folders_are_those_that_it_says() -> None:
    linker = Path(LINKER)
    if not linker.exists():
        pytest.skip("no glibc for x86-64 here")
    shown = process.run([linker, "--list-diagnostics"]).text.splitlines()
    assert [line.split('"')[1] for line in shown if line.startswith("path.system_dirs")] == [
        f"{each}/" for each in TARGET.glibc_folders
    ]


# What is refused


@pytest.mark.parametrize(
    ("nodes", "message"),
    [
        ({}, 'the command "/usr/bin/app" is not in the image$'),
        ({"/usr/sbin/app": executable(elf())}, 'is not in the image .did you mean "/usr/sbin/app"'),
        ({"/usr/bin/app": file(elf())}, "is no file that may be executed"),
        ({"/usr/bin/app": directory()}, "is no file that may be executed"),
        ({"/usr/bin/app": symlink("app")}, "is not in the image"),
        ({"/usr/bin/app": executable(b"text")}, "cannot run: it is neither an ELF file nor a script"),
        ({"/usr/bin/app": executable(b"#!\n")}, "cannot run: its first line names no interpreter"),
        ({"/usr/bin/app": executable(b"#!/bin/sh\n")}, "/bin/sh is not in the image: needed by /usr/bin/app"),
        ({"/usr/bin/app": executable(b"\x7fELFodd")}, "/usr/bin/app is a damaged ELF file"),
        ({"/usr/bin/app": executable(elf(machine=AARCH64))}, "is built for another machine .EM_AARCH64, 64 bits"),
        (
            {"/usr/bin/app": executable(program("liba.so.1"))},
            r"liba\.so\.1 is not in the image: needed by /usr/bin/app$",
        ),
        (
            {"/usr/bin/app": executable(program("liba.so")), f"{MULTIARCH}/own/liba.so": file(elf())},
            f"{MULTIARCH}/own/liba.so is there: ",
        ),
        (
            {"/usr/bin/app": executable(program("liba.so")), "/usr/lib/liba.so": file(b"\x7fELFodd")},
            r"liba\.so is damaged .*needed by /usr/bin/app",
        ),
    ],
)
def test_commands_that_cannot_run(nodes: dict[str, Node], message: str) -> None:
    with pytest.raises(ClosureError, match=message):
        slimmed(nodes)


def test_everything_that_is_missing_is_said_at_once() -> None:
    nodes = {"/usr/bin/app": executable(program("liba.so", "libb.so", "libc.so.6"))}
    with pytest.raises(ClosureError, match=r"liba\.so is not.*\nlibb\.so is not"):
        slimmed(nodes)


def test_a_needed_library_that_is_excluded() -> None:
    nodes = {"/usr/bin/app": executable(program("libc.so.6"))}
    with pytest.raises(ClosureError, match=r"libc\.so\.6 is excluded by /usr/\*\*/libc\.\*: needed by /usr/bin/app"):
        slimmed(nodes, exclude=["/usr/**/libc.*"])


def test_a_glob_that_matches_nothing() -> None:
    nodes = {"/usr/bin/app": executable(elf()), "/usr/lib/mods/a.so": file(elf())}
    with pytest.raises(ClosureError, match=r'include: "/usr/lib/mod/a\.so" matches nothing .did you mean'):
        slimmed(nodes, include=["/usr/lib/mod/a.so"])


# The groups


def test_a_line_for_each_package_kind_and_reason() -> None:
    nodes = {
        "/usr/bin/app": executable(program("libc.so.6")),
        "/usr/share/doc/app/a": file(b"12345"),
        "/usr/share/doc/app/b": file(b"123"),
        "/usr/share/locale/de/app.mo": file(b"1"),
    }
    app = layer(nodes, origin="app")
    result = slim(
        [layer(BASE, origin="libc6"), app], roots=["/usr/bin/app"], include=[], exclude=["/usr/share/locale/**"]
    )
    why = "not needed by /usr/bin/app"
    size = result.tree["/usr/bin/app"].size_bytes
    assert Group("app: program", 1, size, True, "the command") in result.groups
    assert Group("app: documentation", 2, 8, False, why) in result.groups
    assert Group("app: locale", 1, 1, False, "excluded by /usr/share/locale/**") in result.groups
    assert [group.kept for group in result.groups] == sorted((group.kept for group in result.groups), reverse=True)


def test_the_groups_add_up_to_all_that_there_was() -> None:
    merged = merge([layer(BASE)]).tree
    result = slim([layer(BASE)], roots=[], include=["/usr/share/**"], exclude=[])
    files = [node for node in merged.values() if node.kind is not Kind.DIRECTORY]
    assert sum(group.files for group in result.groups) == len(files)
    assert sum(group.bytes for group in result.groups) == sum(
        node.size_bytes for node in files if node.kind is Kind.FILE
    )
    assert sum(group.bytes for group in result.groups if group.kept) == len(b"text")


# Never a traceback

PLACES = [
    "/usr/bin/app",
    "/usr/lib/liba.so",
    f"{MULTIARCH}/liba.so",
    "/lib64",
    "/lib",
    "/usr/lib64/ld-linux-x86-64.so.2",
]
CONTENTS = st.one_of(
    st.sampled_from([program("liba.so"), elf("liba.so", "libc.so.6"), b"#!/usr/bin/app\n", b"#!/usr/bin/env app", b""]),
    st.builds(
        lambda data, at, byte: data[: at % len(data)] + byte + data[at % len(data) + 1 :],
        st.just(program("liba.so", "../x", runpath="$ORIGIN:")),
        st.integers(4, 400),
        st.binary(min_size=1, max_size=1),
    ),
)
NODES = st.one_of(CONTENTS.map(executable), st.sampled_from(PLACES).map(symlink), st.just(directory()))


@settings(max_examples=examples(300), deadline=None)
@given(
    st.dictionaries(st.sampled_from(PLACES), NODES),
    st.lists(st.sampled_from(["/usr/**", "/lib/*", "/{lib,usr}/**/*.so"])),
    st.dictionaries(st.sampled_from(PLACES), NODES, max_size=2),
)
def test_any_tree_is_slimmed_or_refused_with_a_sentence(
    nodes: dict[str, Node], globs: list[str], above: dict[str, Node]
) -> None:
    try:
        tree = Tree({**BASE, **nodes})
    except ImagebuilderError:
        return
    try:
        asked = {"roots": ["/usr/bin/app"], "around": Around(above=above)}
        result = slim([Layer(tree, slim=True)], include=globs[:1], exclude=globs[1:], **asked)  # type: ignore[arg-type]
    except InputError as error:
        assert str(error)
        return
    assert set(result.tree) <= set(tree)
    assert overlay(result.tree, above)[0].resolve("/usr/bin/app")
    assert slim([Layer(result.tree, slim=True)], include=[], exclude=[], **asked)  # type: ignore[arg-type]


# A real result, by the real linker


@pytest.mark.tools
def test_a_real_program_runs_out_of_what_was_kept(tmp_path: Path) -> None:
    """This Python's own closure, taken from the machine, is all that the linker asks for."""
    if not Path(LINKER).exists():
        pytest.skip("no glibc for x86-64 here")
    real = Path("/usr/bin/env").resolve()
    folders = [Path("/lib/x86_64-linux-gnu").resolve(), Path("/lib64").resolve()]
    found = {str(path) for folder in folders for path in folder.glob("*.so*")} | {str(real)}
    nodes = {path: _node(Path(path)) for path in found}
    links = {path: symlink(str(Path(path).readlink())) for path in ("/lib", "/lib64") if Path(path).is_symlink()}
    result = slim([layer({**nodes, **links})], roots=[str(real)], include=[], exclude=[])
    shown = process.run([LINKER, "--list", real]).text
    wanted = {line.split("=>")[-1].split("(")[0].strip() for line in shown.splitlines() if "/" in line}
    assert wanted and all(result.tree.resolve(path) for path in wanted)
    libraries = {path for path in paths(result) if ".so" in path and result.tree[path].kind is Kind.FILE}
    assert libraries == {result.tree.resolve(path) for path in wanted}


def _node(path: Path) -> Node:
    if path.is_symlink():
        return symlink(str(Path(path).readlink()))
    return file(path.read_bytes(), mode=path.stat().st_mode & 0o777)
