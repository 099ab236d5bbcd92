"""The build source: a real compiler over copies of the declared inputs."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from imagebuilder import process
from imagebuilder.errors import SourceError, ToolMissing
from imagebuilder.events import Event, Note
from imagebuilder.sources import SOURCES, Context
from imagebuilder.sources.build import BuildSource, environment
from imagebuilder.sources.layer import Layer
from imagebuilder.store import Store, canonical
from imagebuilder.tree import Kind
from tests.sources.provided import provided

BUILD = SOURCES["build"]
HELLO = '#include <stdio.h>\nint main(void) { puts("hello from " __FILE__); return 0; }\n'


def source(
    command: list[str],
    outputs: Mapping[str, str],
    *,
    inputs: tuple[str, ...] = ("*",),
    env: Mapping[str, str] | None = None,
) -> BuildSource:
    return BuildSource(type="build", inputs=inputs, command=tuple(command), outputs=outputs, environment=env or {})


def shell(script: str, outputs: Mapping[str, str], **more: Any) -> BuildSource:
    return source(["sh", "-euc", script], outputs, **more)


@pytest.fixture
def folder(context: Context) -> Path:
    """A recipe's folder with a C program."""
    (context.folder / "hello.c").write_text(HELLO)
    return context.folder


# Accepts


@pytest.mark.tools
def test_a_program_is_compiled_and_runs(folder: Path, context: Context, tmp_path: Path) -> None:
    layer = provided(source(["cc", "-o", "hello", "hello.c"], {"hello": "/usr/bin/hello"}), context)
    node = layer.tree["/usr/bin/hello"]
    assert (node.mode, node.uid, node.mtime_s) == (0o755, 0, None)
    (tmp_path / "hello").write_bytes(node.content.read())
    (tmp_path / "hello").chmod(0o755)
    assert process.run([tmp_path / "hello"]).text == "hello from hello.c\n"
    assert layer.origins["/usr/bin/hello"] == "build" and not layer.slim
    assert not list((context.store.root / "scratch").iterdir())


@pytest.mark.tools
def test_debug_information_does_not_name_the_folder(folder: Path, context: Context, tmp_path: Path) -> None:
    built = [_debug_program(Context(folder, Store(tmp_path / name), context.say)) for name in ("one", "another")]
    assert built[0].tree == built[1].tree
    assert str(tmp_path).encode() not in built[0].tree["/hello"].content.read()


def _debug_program(context: Context) -> Layer:
    return provided(shell("cc $CFLAGS -g -o hello hello.c", {"hello": "/hello"}), context)


@pytest.mark.tools
def test_folders_and_links_as_outputs(folder: Path, context: Context) -> None:
    script = "mkdir -p site/deep; echo 1 > site/deep/a; ln -s deep/a site/b; ln -s site/b top; chmod 600 site/deep/a"
    tree = provided(shell(script, {"site": "/srv", "top": "/top"}), context).tree
    assert [path for path, node in tree.items() if node.kind is not Kind.DIRECTORY] == ["/srv/b", "/srv/deep/a", "/top"]
    assert (tree["/srv/b"].target, tree["/top"].target, tree["/srv/deep/a"].mode) == ("deep/a", "site/b", 0o600)


@pytest.mark.tools
def test_a_script_among_the_inputs(folder: Path, context: Context) -> None:
    (folder / "make.sh").write_text("#!/bin/sh\ntouch made\n")
    (folder / "make.sh").chmod(0o755)
    assert "/made" in provided(source(["./make.sh"], {"made": "/made"}), context).tree


@pytest.mark.tools
def test_only_what_is_declared_is_there(folder: Path, context: Context, events: list[Event]) -> None:
    (folder / "secret").write_text("secret")
    (folder / "sub").mkdir()
    (folder / "sub/hello.h").write_text("")
    provided(shell("find . -type f; touch x", {"x": "/x"}, inputs=("*.c", "sub")), context)
    assert sorted(event.text for event in events if isinstance(event, Note)) == ["./hello.c", "./sub/hello.h"]


@pytest.mark.tools
def test_the_environment_is_ours(
    folder: Path, context: Context, events: list[Event], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SECRET", "1")
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "86400")
    script = "env; umask; date -r hello.c +at-%s; touch x"
    provided(shell(script, {"x": "/x"}, env={"MINE": "yes", "CFLAGS": "-O1"}), context)
    lines = {event.text for event in events if isinstance(event, Note)}
    assert {"MINE=yes", "CFLAGS=-O1", "SOURCE_DATE_EPOCH=86400", "TZ=UTC", "0022", "at-86400"} <= lines
    assert not [line for line in lines if "SECRET" in line]
    homes = {
        line.partition("=")[2] for line in lines if line.startswith(("HOME=", "GOCACHE=", "TMPDIR=", "CARGO_HOME="))
    }
    assert all(home.startswith(str(context.store.root / "scratch")) for home in homes) and len(homes) == 4


def test_the_exact_environment(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1")
    monkeypatch.setenv("RUSTUP_HOME", str(folder))
    made = environment(source(["cc"], {"a": "/a"}, env={"HOME": "/elsewhere"}), Path("/w"), Path("/h"))
    assert made.pop("RUSTUP_HOME") == str(folder)
    assert made == {
        "CARGO_HOME": "/h/cargo",
        "CFLAGS": "-O2 -ffile-prefix-map=/w=.",
        "CGO_ENABLED": "0",
        "CXXFLAGS": "-O2 -ffile-prefix-map=/w=.",
        "GOCACHE": "/h/go-build",
        "GOFLAGS": "-trimpath -buildvcs=false -modcacherw",
        "GOPATH": "/h/go",
        "HOME": "/elsewhere",
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONHASHSEED": "0",
        "RUSTFLAGS": "--remap-path-prefix=/w=.",
        "SOURCE_DATE_EPOCH": "1",
        "TMPDIR": "/h/tmp",
        "XDG_CACHE_HOME": "/h/cache",
    }


# The key


def test_the_description_changes_with_all_that_counts(folder: Path, context: Context) -> None:
    outputs = {"hello": "/hello"}

    def key(command: list[str], **more: Any) -> bytes:
        return canonical(BUILD.resolve(source(command, more.pop("outputs", outputs), **more), context).key)

    before = key(["cc", "-o", "hello", "hello.c"])
    assert key(["cc", "-o", "hello", "hello.c"]) == before
    others = [
        key(["cc", "-O3", "-o", "hello", "hello.c"]),
        key(["ld", "-o", "hello", "hello.c"]),
        key(["cc", "-o", "hello", "hello.c"], env={"A": "1"}),
        key(["cc", "-o", "hello", "hello.c"], outputs={"hello": "/bin/hello"}),
    ]
    (folder / "hello.c").write_text("int main(void) { return 1; }\n")
    assert len({before, *others, key(["cc", "-o", "hello", "hello.c"])}) == 6


def test_the_program_is_known_by_its_content(folder: Path, context: Context, monkeypatch: pytest.MonkeyPatch) -> None:
    tool = context.store.root / "tool"
    tool.write_text("#!/bin/sh\n")
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", str(tool.parent))
    before = BUILD.resolve(source(["tool"], {"a": "/a"}), context).key
    assert before["tool"][0] == str(tool)
    tool.write_text("#!/bin/sh\n# another version\n")
    assert BUILD.resolve(source(["tool"], {"a": "/a"}), context).key != before


# Refuses


@pytest.mark.tools
def test_a_compiler_error_is_shown_as_the_compiler_said_it(folder: Path, context: Context) -> None:
    (folder / "hello.c").write_text("int main(void) { return oops; }\n")
    with pytest.raises(SourceError) as caught:
        provided(source(["cc", "-o", "hello", "hello.c"], {"hello": "/hello"}), context)
    lines = str(caught.value).splitlines()
    assert lines[0] == 'source.command: "cc" failed with status 1:'
    assert any(line.startswith("    hello.c:1:25: error: ‘oops’ undeclared") for line in lines)
    assert not list((context.store.root / "scratch").iterdir())


@pytest.mark.tools
@pytest.mark.parametrize(
    ("script", "message"),
    [
        ("true", 'source.outputs: the command ended well but did not make "out/app"$'),
        ("mkdir out; touch out/ap", 'did not make "out/app" .did you mean "out/ap"'),
        ("exit 3", 'source.command: "sh" failed with status 3, and said nothing'),
        ("kill -9 $$", 'source.command: "sh" was ended by SIGKILL'),
        ("kill -40 $$", 'source.command: "sh" was ended by signal 40'),
        ("yes", 'source.command: "sh" printed more than 1,000,000 lines and was ended:\n    y'),
        ("tr '\\0' x < /dev/zero", 'source.command: "sh" printed more than 64 MiB and was ended:\n    x{500}…$'),
        ("mkdir -p out; ln -s /etc/passwd out/app", "out/app is a link to /etc/passwd, out of the folder"),
        ("mkdir -p out", 'did not make "out/app"'),
        ("mkdir out; ln -s nowhere out/app", 'did not make "out/app"'),
    ],
)
def test_a_command_that_does_not_do_its_work(folder: Path, context: Context, script: str, message: str) -> None:
    with pytest.raises(SourceError, match=message):
        provided(shell(script, {"out/app": "/app"}), context)


def test_a_program_that_is_not_installed(folder: Path, context: Context) -> None:
    with pytest.raises(ToolMissing, match=r"no-such-compiler is needed"):
        BUILD.resolve(source(["no-such-compiler"], {"a": "/a"}), context)


def test_a_program_beside_the_recipe_that_is_no_input(folder: Path, context: Context) -> None:
    with pytest.raises(SourceError, match=r'"./make.sh" is not among the inputs'):
        BUILD.resolve(source(["./make.sh"], {"a": "/a"}), context)


def test_an_input_that_is_not_there(folder: Path, context: Context) -> None:
    with pytest.raises(SourceError, match=r'source.inputs: "hallo.c" matches no file .did you mean "hello.c"'):
        BUILD.resolve(source(["cc"], {"a": "/a"}, inputs=("hallo.c",)), context)


# What of our environment it gets

SECRET = "http://user:secret@proxy.example:3128"


def given(context: Context, monkeypatch: pytest.MonkeyPatch, *names: str) -> set[str]:
    """The names of the variables that a command gets where proxies and a token are set."""
    for name in (*process.PROXIES, "GITHUB_TOKEN", "SSH_AUTH_SOCK"):
        monkeypatch.setenv(name, SECRET)
    asked = shell("env | cut -d= -f1 | sort > names", {"names": "/names"}).model_copy(
        update={"pass_environment": names}
    )
    return {*provided(asked, context).tree["/names"].content.read().decode().split()}


@pytest.mark.tools
def test_a_command_gets_a_short_list_of_variables(
    folder: Path, context: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = {*environment(shell("true", {"a": "/a"}), folder, folder), "PATH", "HOME", "TMPDIR", "LC_ALL", "TZ"}
    assert given(context, monkeypatch) - {"PWD", "OLDPWD", "SHLVL", "_"} <= own
    assert given(context, monkeypatch, "https_proxy", "SSH_AUTH_SOCK", "NOT_SET") - given(context, monkeypatch) == {
        "https_proxy",
        "SSH_AUTH_SOCK",
    }


def test_the_values_of_passed_variables_make_no_other_image(
    folder: Path, context: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = shell("true", {"a": "/a"})
    passing = asked.model_copy(update={"pass_environment": ("https_proxy",)})
    before = BUILD.resolve(passing, context).key
    monkeypatch.setenv("https_proxy", SECRET)
    assert BUILD.resolve(passing, context).key == before != BUILD.resolve(asked, context).key
    assert "secret" not in canonical(before).decode()


@pytest.mark.tools
def test_a_failure_names_the_proxies_that_were_not_passed(
    folder: Path, context: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in process.PROXIES:
        monkeypatch.delenv(name, raising=False)
    failing = shell("exit 1", {"a": "/a"})
    with pytest.raises(SourceError) as caught:
        provided(failing, context)
    assert caught.value.hint is None
    monkeypatch.setenv("https_proxy", SECRET)
    with pytest.raises(SourceError) as caught:
        provided(failing, context)
    assert 'pass_environment = ["https_proxy"]' in str(caught.value) and "secret" not in str(caught.value)
    with pytest.raises(SourceError) as caught:
        provided(failing.model_copy(update={"pass_environment": ("https_proxy",)}), context)
    assert caught.value.hint is None


# Time


@pytest.mark.tools
def test_a_command_that_says_nothing_and_never_ends_is_ended(folder: Path, context: Context, tmp_path: Path) -> None:
    script = f"setsid sleep 300 & echo $! > {tmp_path}/pid; sleep 300"
    endless = shell(script, {"a": "/a"}).model_copy(update={"timeout_s": 1})
    with pytest.raises(SourceError, match=r'source.command: "sh" did not end within 1 s, and said nothing') as caught:
        provided(endless, context)
    assert caught.value.hint == "if it needs longer, give it more with timeout_s under [source]"
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "pid").read_text()), 0)


@pytest.mark.tools
def test_a_command_that_needs_longer_gets_it_by_the_hint(folder: Path, context: Context) -> None:
    slow = shell("sleep 1.5; touch a", {"a": "/a"})
    with pytest.raises(SourceError, match="did not end within 1 s"):
        provided(slow.model_copy(update={"timeout_s": 1}), context)
    longer = slow.model_copy(update={"timeout_s": 60})
    assert provided(longer, context).tree["/a"].kind is Kind.FILE
    # The same result, whatever it may take.
    assert BUILD.resolve(longer, context).key == BUILD.resolve(slow, context).key
