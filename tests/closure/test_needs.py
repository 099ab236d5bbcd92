"""What interpreters need besides their libraries: by which row it is kept, and what goes before the rows."""

from collections.abc import Mapping, Sequence

import pytest

from imagebuilder.closure.busybox import applets
from imagebuilder.closure.languages import ROWS
from imagebuilder.closure.php import enabled
from imagebuilder.closure.slimming import Around, Slimmed, slim
from imagebuilder.recipe.values import Runtime
from imagebuilder.tree import Kind, Node, Tree, file, symlink

from .elves import elf, program
from .trees import BASE, MULTIARCH, executable, layer, paths

PYTHON = "/usr/lib/python3.11"
JAVA = "/usr/lib/jvm/java-17-openjdk-amd64"
TEXT = file(b"text")
BUSYBOX = executable(elf() + b"\0[\0[[\0awk\0mkdir\0sh\0\0")
# By row: the command, what packages bring, and what of that must not be kept. All else must.
CASES: Mapping[Runtime, tuple[str, Mapping[str, Node], Sequence[str]]] = {
    Runtime.PYTHON: (
        "/usr/bin/python3",
        {
            "/usr/bin/python3": symlink("python3.11"),
            "/usr/bin/python3.11": executable(program("libc.so.6")),
            f"{PYTHON}/encodings/utf_8.py": TEXT,
            f"{PYTHON}/test/test_os.py": TEXT,
            "/usr/lib/python3/dist-packages/flask/app.py": TEXT,
            f"{MULTIARCH}/libgcc_s.so.1": file(elf("libc.so.6")),
            "/etc/ssl/certs/ca-certificates.crt": TEXT,
            "/usr/share/zoneinfo/Europe/Berlin": TEXT,
        },
        [f"{PYTHON}/test/test_os.py", "/usr/share/zoneinfo/Europe/Berlin"],
    ),
    Runtime.NODE: (
        "/usr/bin/node",
        {
            "/usr/bin/node": executable(program("libc.so.6")),
            "/usr/share/nodejs/undici/index.js": TEXT,
            "/usr/share/nodejs/undici/index.d.ts": TEXT,
        },
        ["/usr/share/nodejs/undici/index.d.ts"],
    ),
    Runtime.JAVA: (
        "/usr/bin/java",
        {
            "/usr/bin/java": symlink(f"{JAVA}/bin/java"),
            f"{JAVA}/bin/java": executable(program("libc.so.6")),
            f"{JAVA}/lib/server/libjvm.so": file(elf("libc.so.6")),
            f"{JAVA}/lib/libawt_xawt.so": file(elf("libX11.so.6")),
            f"{JAVA}/conf/security": symlink("/etc/java-17-openjdk/security"),
            "/etc/java-17-openjdk/security/java.security": TEXT,
        },
        [f"{JAVA}/lib/libawt_xawt.so"],
    ),
    Runtime.PHP: (
        "/usr/bin/php8.2",
        {
            "/usr/bin/php8.2": executable(program("libc.so.6")),
            "/usr/lib/php/20220829/mbstring.so": file(elf("libc.so.6")),
            "/etc/php/8.2/mods-available/mbstring.ini": TEXT,
            "/etc/php/8.3/mods-available/other.ini": TEXT,
            "/usr/share/php/tests/x.php": TEXT,
        },
        ["/etc/php/8.3/mods-available/other.ini", "/usr/share/php/tests/x.php"],
    ),
    Runtime.PERL: (
        "/srv/script",
        {
            "/srv/script": executable(b"#!/usr/bin/perl\n"),
            "/usr/bin/perl": executable(program("libc.so.6")),
            f"{MULTIARCH}/perl-base/strict.pm": TEXT,
            "/usr/share/perl5/HTTP/Daemon.pm": TEXT,
            "/usr/share/perl5/HTTP/Daemon.pod": TEXT,
        },
        ["/usr/share/perl5/HTTP/Daemon.pod"],
    ),
    Runtime.RUBY: (
        "/usr/bin/ruby3.1",
        {
            "/usr/bin/ruby3.1": executable(program("libc.so.6")),
            f"{MULTIARCH}/ruby/3.1.0/enc/encdb.so": file(elf("libc.so.6")),
            "/usr/lib/ruby/vendor_ruby/rack.rb": TEXT,
            "/usr/lib/ruby/3.1.0/rdoc/rdoc.rb": TEXT,
            "/usr/lib/locale/C.utf8/LC_CTYPE": TEXT,
        },
        ["/usr/lib/ruby/3.1.0/rdoc/rdoc.rb", "/usr/lib/locale/C.utf8/LC_CTYPE"],
    ),
}


def slimmed(
    nodes: Mapping[str, Node],
    command: str,
    *,
    include: Sequence[str] = (),
    exclude: Sequence[str] = (),
    off: Sequence[Runtime] = (),
    packages: Sequence[str] = (),
    environment: Mapping[str, str] | None = None,
) -> Slimmed:
    around = Around(environment=environment or {}, packages=packages)
    layers = [layer({**BASE, **nodes})]
    return slim(layers, roots=[command], include=include, exclude=exclude, off=off, around=around)


@pytest.mark.parametrize("runtime", CASES)
def test_a_row_keeps_what_its_interpreter_opens_by_itself(runtime: Runtime) -> None:
    command, nodes, unneeded = CASES[runtime]
    result = slimmed(nodes, command)
    assert {path for path in nodes if path not in result.tree} == set(unneeded)
    assert any(group.why.startswith(f"{runtime.value}, ") for group in result.groups if group.kept)


@pytest.mark.parametrize("runtime", CASES)
def test_a_row_that_is_off_keeps_nothing(runtime: Runtime) -> None:
    command, nodes, _ = CASES[runtime]
    result = slimmed(nodes, command, off=[runtime])
    assert not [group for group in result.groups if group.kept and group.why.startswith(f"{runtime.value}, ")]


def test_every_row_has_a_case_and_a_reason_for_each_need() -> None:
    assert set(ROWS) == set(Runtime)
    assert set(CASES) | {Runtime.BUSYBOX, Runtime.CERTIFICATES, Runtime.TIME_ZONES} == set(Runtime)
    assert all(need.why and (need.globs or need.links) for row in ROWS.values() for need in row.needs)


def test_what_the_recipe_includes_of_a_need_is_all_that_is_kept_of_it() -> None:
    command, nodes, _ = CASES[Runtime.PYTHON]
    more = {f"{PYTHON}/json.py": TEXT, f"{PYTHON}/http.py": TEXT}
    result = slimmed({**nodes, **more}, command, include=[f"{PYTHON}/json.py"])
    assert f"{PYTHON}/json.py" in result.tree
    assert f"{PYTHON}/http.py" not in result.tree
    assert "/usr/lib/python3/dist-packages/flask/app.py" in result.tree  # another need of the same row
    why = "left out: of what python needs (library), the recipe includes what it wants"
    assert [group.files for group in result.groups if group.why == why] == [2]


def test_what_is_excluded_is_no_need() -> None:
    command, nodes, _ = CASES[Runtime.PYTHON]
    assert f"{PYTHON}/encodings/utf_8.py" not in slimmed(nodes, command, exclude=[f"{PYTHON}/**"]).tree


def test_nothing_is_kept_of_an_interpreter_that_does_not_run() -> None:
    _, nodes, _ = CASES[Runtime.PYTHON]
    assert paths(slimmed({**nodes, "/usr/bin/app": executable(elf())}, "/usr/bin/app")) == ["/usr/bin/app"]


@pytest.mark.parametrize(
    ("packages", "environment", "kept"),
    [
        ([], {}, []),
        (["tzdata"], {}, ["/usr/share/zoneinfo/UTC"]),
        ([], {"TZ": "UTC"}, ["/usr/share/zoneinfo/UTC"]),
        (["ca-certificates"], {}, ["/etc/ssl/certs/a.pem"]),
    ],
)
def test_zones_and_authorities_of_any_program_are_kept_where_the_recipe_asks(
    packages: Sequence[str], environment: Mapping[str, str], kept: Sequence[str]
) -> None:
    nodes = {
        "/usr/bin/app": executable(elf()),
        "/usr/share/zoneinfo/UTC": TEXT,
        "/usr/share/zoneinfo/right/UTC": TEXT,
        "/etc/ssl/certs/a.pem": TEXT,
    }
    result = slimmed(nodes, "/usr/bin/app", packages=packages, environment=environment)
    assert paths(result) == sorted(["/usr/bin/app", *kept])


def test_a_locale_that_the_environment_names() -> None:
    command, nodes, _ = CASES[Runtime.RUBY]
    assert "/usr/lib/locale/C.utf8/LC_CTYPE" in slimmed(nodes, command, environment={"LANG": "C.UTF-8"}).tree


def test_a_script_of_busybox_has_its_programs_as_links() -> None:
    nodes = {"/usr/bin/busybox": BUSYBOX, "/bin": symlink("usr/bin"), "/srv/run": executable(b"#!/bin/sh\n")}
    tree = slimmed(nodes, "/srv/run").tree
    links = {path: node.target for path, node in tree.items() if node.kind is Kind.SYMLINK and path != "/bin"}
    assert links == {f"/usr/bin/{name}": "busybox" for name in ("[", "[[", "awk", "mkdir", "sh")}


def test_another_program_stands_before_one_of_busybox() -> None:
    nodes = {
        "/usr/bin/busybox": BUSYBOX,
        "/usr/bin/awk": executable(elf()),
        "/srv/run": executable(b"#!/usr/bin/awk\n"),
    }
    assert slimmed(nodes, "/srv/run").tree["/usr/bin/awk"].kind is Kind.FILE


@pytest.mark.parametrize("content", [b"", b"\0[\0[[\0", b"\0[\0[[\0UP\0", elf()])
def test_what_is_no_busybox_has_no_programs(content: bytes) -> None:
    assert not set(applets(Tree({"/bin/busybox": executable(content)}), "/bin/busybox")) - {"/bin/[", "/bin/[["}


def test_extensions_of_php_are_enabled_in_their_order() -> None:
    folder = "/etc/php/8.2"
    tree = Tree({
        f"{folder}/mods-available/pdo.ini": file(b"; priority=10\nextension=pdo.so\n"),
        f"{folder}/mods-available/ctype.ini": file(b"extension=ctype.so\n"),
    })  # fmt: skip
    assert set(enabled(tree, "/usr/bin/php8.2")) == {f"{folder}/cli/conf.d/{n}.ini" for n in ("10-pdo", "20-ctype")}
    assert f"{folder}/fpm/conf.d/10-pdo.ini" in enabled(tree, "/usr/sbin/php-fpm8.2")
    assert enabled(tree, "/usr/bin/php8.3") == {}
