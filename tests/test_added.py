"""What a recipe adds is part of what its image is made of: a start script is the command, a module gets byte code."""

from pathlib import Path

import pytest

from imagebuilder.build.walk import Build
from imagebuilder.errors import ClosureError, InputError
from imagebuilder.events import Event, Warned, silent
from imagebuilder.recipe.load import load
from imagebuilder.store import Store
from imagebuilder.tree import Kind
from tests.closure.elves import program

RECIPE = """
name = "app"
version = "1"
summary = "A start script that the recipe adds"
source = { type = "files", files = ["app"], target = "/usr/lib" }
application = { command = "/srv/start" USER }
ready = { exit = 0 }
[[files]]
path = "/srv/start"
source = "start"
[[files]]
path = "/srv/page"
text = "PAGE"
[[files]]
path = "/usr/bin/shell"
symlink = "/usr/lib/app"
"""


@pytest.fixture
def folder(tmp_path: Path, application: Path) -> Path:
    """A recipe with a static program, called through a link of the recipe, by a script of the recipe."""
    (tmp_path / "app").write_bytes(application.read_bytes())
    (tmp_path / "app").chmod(0o755)
    (tmp_path / "start").write_text("#!/usr/bin/shell\n")
    (tmp_path / "start").chmod(0o755)
    return tmp_path


def build_of(folder: Path, *, user: str = "", page: str = "one", say: list[Event] | None = None) -> Build:
    """The recipe on its way, with another user or page."""
    (folder / "recipe.toml").write_text(RECIPE.replace("USER", user).replace("PAGE", page))
    return Build(load(folder), Store(folder / "cache"), silent if say is None else say.append)


def test_a_start_script_is_the_command(folder: Path) -> None:
    work = build_of(folder)
    assert {"/srv/start", "/srv/page", "/usr/bin/shell", "/usr/lib/app"} <= {*work.root}
    assert work.ahead_paths == ("/srv/start", "/usr/lib/app")


def test_a_page_of_the_recipe_has_nothing_slimmed_again_and_a_script_does(folder: Path) -> None:
    def slim_id(work: Build) -> str:
        return next(step.id for step in work.plan.steps() if step.kind == "slim")

    before = slim_id(build_of(folder))
    assert slim_id(build_of(folder, page="another")) == before
    (folder / "start").write_text("#!/usr/lib/app\n")
    assert slim_id(build_of(folder)) != before


def test_a_script_that_cannot_run_is_refused_as_the_command_and_told_as_a_helper(folder: Path) -> None:
    (folder / "start").write_text("#!/bin/bash\n")
    with pytest.raises(ClosureError, match="/bin/bash is not in the image: needed by /srv/start"):
        _ = build_of(folder).root
    (folder / "start").write_text("#!/usr/bin/shell\n")
    said: list[Event] = []
    work = build_of(folder, say=said)
    text = (folder / "recipe.toml").read_text().replace('text = "one"', 'text = "#!/bin/bash\\n"\nmode = "0755"')
    (folder / "recipe.toml").write_text(text)
    work = Build(load(folder), work.store, said.append)
    assert "/srv/page" in work.root
    (warning,) = [event.text for event in said if isinstance(event, Warned)]
    assert warning.endswith("/srv/page needs /bin/bash (Debian has it in the package bash)")


def test_a_user_that_nobody_knows_is_refused_and_the_hint_works(folder: Path) -> None:
    with pytest.raises(InputError, match=r'application\.user: no package of the image knows a user "app"') as raised:
        _ = build_of(folder, user=', user = "app"').root
    meant = (raised.value.hint or "").split('"')[1]
    root = build_of(folder, user=f', user = "{meant}"').root
    assert f"app:x:{meant.partition(':')[2]}:".encode() in root["/etc/passwd"].content.read()


@pytest.mark.parametrize(
    ("user", "uid", "name"), [("", 65532, b"nonroot"), (', user = "root"', None, b"root")], ids=["none", "root"]
)
def test_an_application_without_a_user_is_an_ordinary_one(
    folder: Path, user: str, uid: int | None, name: bytes
) -> None:
    root = build_of(folder, user=user).root
    conf, accounts = (root[path].content.read().splitlines() for path in ("/init.conf", "/etc/passwd"))
    assert [line for line in conf if line.startswith((b"uid", b"gid"))] == (
        [b"uid %d" % uid, b"gid %d" % uid] if uid else []
    )
    assert [line.partition(b":")[0] for line in accounts] == sorted({b"root", name}, reverse=True)


@pytest.mark.parametrize(
    ("user", "page", "writes"),
    [
        ("", "", False),
        (', user = "root"', "", True),
        ("", '"\nowner = "nonroot', True),
        ("", '"\nmode = "0666', True),
    ],
    ids=["nobody", "root", "its own", "everybody's"],
)
def test_a_root_that_its_user_cannot_write_to_is_read_only(folder: Path, user: str, page: str, writes: bool) -> None:
    """And one that says so, or that it is written, is what it says."""
    work = build_of(folder, user=user, page=page)
    for said, expected in (("", writes), ("writable = true", True), ("writable = false", False)):
        text = (folder / "recipe.toml").read_text() + f'\n[root]\nformat = "erofs"\n{said}\n'
        (folder / "other").mkdir(exist_ok=True)
        for name in ("app", "start"):
            (folder / "other" / name).write_bytes((folder / name).read_bytes())
            (folder / "other" / name).chmod(0o755)
        (folder / "other" / "recipe.toml").write_text(text)
        root = Build(load(folder / "other"), work.store, silent).root
        assert (b"overlay yes" in root["/init.conf"].content.read()) == expected
        assert (root["/tmp"].kind is Kind.SYMLINK) != expected


def test_a_dynamic_program_without_a_c_library_is_told_what_has_it(folder: Path) -> None:
    (folder / "app").write_bytes(program("libc.so.6"))
    with pytest.raises(ClosureError, match=r"libc\.so\.6 is not in the image: needed by /usr/lib/app") as raised:
        _ = build_of(folder).root
    assert 'libc.so.6 should be in the package libc6, which a [[source]] of type "debian" brings' in str(raised.value)
