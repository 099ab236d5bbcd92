"""What an application complains of, and what to include then: each hint is followed, and brings what was missing."""

import io
import re
import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path

import pytest

from imagebuilder import lacking
from imagebuilder.build.walk import build
from imagebuilder.errors import GuestFailed
from imagebuilder.events import silent
from imagebuilder.lacking import Contents, advice
from imagebuilder.machine.diagnosis import Seen, late
from imagebuilder.machine.instance import Instance
from imagebuilder.machine.messages import Listens
from imagebuilder.machine.spec import Accelerator, spec_of
from imagebuilder.paths import cache_dir
from imagebuilder.recipe.load import load
from imagebuilder.store import Store
from imagebuilder.tree import Node, Tree, directory, file, symlink

from .closure.elves import elf, program
from .closure.trees import BASE, executable, slimmed


def jar(*members: str) -> bytes:
    """An archive of Java."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for member in members:
            archive.writestr(member, b"")
    return stream.getvalue()


NODES: Mapping[str, Node] = {
    **BASE,
    "/bin": symlink("usr/bin"),
    "/usr/bin/app": executable(program("libc.so.6")),
    "/usr/bin/dash": executable(elf()),
    "/usr/bin/sh": symlink("dash"),
    "/usr/bin/curl": executable(elf()),
    "/usr/lib/app/plug.so": file(elf()),
    "/usr/lib/x86_64-linux-gnu/libextra.so.1": symlink("libextra.so.1.2"),
    "/usr/lib/x86_64-linux-gnu/libextra.so.1.2": file(elf()),
    "/usr/lib/python3.11/json/__init__.py": file(b""),
    "/usr/lib/python3.11/json/decoder.py": file(b"#"),
    "/usr/lib/python3.11/wave.py": file(b""),
    "/usr/lib/python3.11/lib-dynload/_ssl.cpython-311-x86_64-linux-gnu.so": file(elf()),
    "/usr/lib/python3/dist-packages/flask/__init__.py": file(b""),
    "/usr/lib/python3/dist-packages/flask/json/__init__.py": file(b""),
    "/usr/share/nodejs/a/node_modules/express/index.js": file(b""),
    "/usr/share/nodejs/express/index.js": file(b""),
    "/usr/share/nodejs/@babel/core/package.json": file(b""),
    "/usr/share/java/log.jar": file(jar("org/log/Logger.class")),
    "/usr/share/java/broken.jar": file(b"PK"),
    "/usr/share/perl/5.36.0/B/LWP/Simple.pm": file(b""),
    "/usr/share/perl5/LWP/Simple.pm": file(b""),
    "/usr/lib/x86_64-linux-gnu/perl-base/POSIX.pm": file(b""),
    "/usr/lib/ruby/3.1.0/bundler/plugin/installer/rubygems.rb": file(b""),
    "/usr/lib/ruby/vendor_ruby/rubygems.rb": file(b""),
    "/usr/lib/ruby/vendor_ruby/rubygems/errors.rb": file(b""),
    "/usr/lib/x86_64-linux-gnu/ruby/3.1.0/date_core.so": file(elf()),
    "/usr/share/rubygems-integration/all/gems/rack-2.2/lib/rack.rb": file(b""),
    "/usr/lib/ruby/vendor_ruby/sinatra.rb": file(b""),
    "/usr/share/app/pages/index.html": file(b""),
    "/etc/app/app.conf": file(b""),
    "/etc/alternatives/conf": symlink("/etc/app/app.conf"),
    "/var/log/app": directory(),
    "/usr/share/zoneinfo/Europe/Berlin": file(b""),
}
# Of the folders of languages the image has something already.
PRESENT = {
    "/usr/lib/python3.11/os.py": file(b""),
    "/usr/lib/python3.11/lib-dynload/_json.so": file(elf()),
    "/usr/lib/python3/dist-packages/click.py": file(b""),
    "/usr/share/perl5/URI.pm": file(b""),
    "/usr/lib/x86_64-linux-gnu/perl-base/Errno.pm": file(b""),
    "/usr/lib/ruby/vendor_ruby/tilt.rb": file(b""),
    "/usr/lib/x86_64-linux-gnu/ruby/3.1.0/etc.so": file(elf()),
    "/usr/share/rubygems-integration/all/gems/rack-2.2/lib/rackup.rb": file(b""),
}
# What an application says -> what is to be included.
SAYS = {
    'app: open() "/etc/app/app.conf" failed (2: No such file or directory)': "/etc/app/app.conf",
    "FileNotFoundError: [Errno 2] No such file or directory: '/etc/app/app.conf'": "/etc/app/app.conf",
    "Error: ENOENT: no such file or directory, open '/etc/app/app.conf'": "/etc/app/app.conf",
    "open /etc/app/app.conf: no such file or directory": "/etc/app/app.conf",
    "Cannot open /etc/app/app.conf.": "/etc/app/app.conf",
    "no such file: /etc/alternatives/conf": "/etc/alternatives/conf",
    "java.io.FileNotFoundException: /etc/app/app.conf (No such file or directory)": "/etc/app/app.conf",
    "could not find the folder /usr/share/app/pages": "/usr/share/app/pages",
    "failed to read /usr/share/zoneinfo/Europe/Berlin": "/usr/share/zoneinfo/Europe/Berlin",
    'open() "/var/log/app/error.log" failed (2: No such file or directory)': "/var/log/app",
    "FileNotFoundError: [Errno 2] No such file or directory: '/bin/sh'": "/bin/sh",
    "sh: 1: curl: not found": "/usr/bin/curl",
    "bash: line 1: curl: command not found": "/usr/bin/curl",
    "env: 'curl': No such file or directory": "/usr/bin/curl",
    "error while loading shared libraries: libextra.so.1: cannot open shared object file: No such file or directory":
        "/usr/lib/x86_64-linux-gnu/libextra.so.1",
    "ModuleNotFoundError: No module named 'json'": "/usr/lib/python3.11/json",
    "ModuleNotFoundError: No module named 'json.decoder'": "/usr/lib/python3.11/json/decoder.py",
    "ModuleNotFoundError: No module named 'wave'": "/usr/lib/python3.11/wave.py",
    "ModuleNotFoundError: No module named '_ssl'":
        "/usr/lib/python3.11/lib-dynload/_ssl.cpython-311-x86_64-linux-gnu.so",
    "/usr/bin/python3: No module named flask": "/usr/lib/python3/dist-packages/flask",
    "ModuleNotFoundError: No module named 'flask.json'": "/usr/lib/python3/dist-packages/flask/json",
    "Error: Cannot find module 'express'": "/usr/share/nodejs/express",
    "Error: Cannot find module 'express/lib/router'": "/usr/share/nodejs/express",
    "Error [ERR_MODULE_NOT_FOUND]: Cannot find package '@babel/core' imported from /srv/a.mjs":
        "/usr/share/nodejs/@babel/core",
    "Error: Cannot find module '/usr/share/nodejs/express/index'": "/usr/share/nodejs/express/index.js",
    "Caused by: java.lang.ClassNotFoundException: org.log.Logger": "/usr/share/java/log.jar",
    "java.lang.NoClassDefFoundError: org/log/Logger": "/usr/share/java/log.jar",
    "Error: Unable to access jarfile /usr/share/java/log.jar": "/usr/share/java/log.jar",
    "Can't locate LWP/Simple.pm in @INC (you may need to install the LWP::Simple module)":
        "/usr/share/perl5/LWP/Simple.pm",
    "Can't locate POSIX.pm in @INC": "/usr/lib/x86_64-linux-gnu/perl-base/POSIX.pm",
    "cannot load such file -- sinatra (LoadError)": "/usr/lib/ruby/vendor_ruby/sinatra.rb",
    "cannot load such file -- rubygems (LoadError)": "/usr/lib/ruby/vendor_ruby/rubygems.rb",
    "cannot load such file -- rubygems/errors (LoadError)": "/usr/lib/ruby/vendor_ruby/rubygems/errors.rb",
    "cannot load such file -- date_core (LoadError)": "/usr/lib/x86_64-linux-gnu/ruby/3.1.0/date_core.so",
    "cannot load such file -- rack (LoadError)": "/usr/share/rubygems-integration/all/gems/rack-2.2/lib/rack.rb",
}  # fmt: skip


def contents(*include: str, exclude: tuple[str, ...] = (), present: Iterable[str] = PRESENT) -> Contents:
    """Of the image of the nodes above that includes what is asked for."""
    nodes = {**NODES, **PRESENT}
    image = slimmed(nodes, include=(*include, *present), exclude=exclude).tree
    return Contents(image, Tree(nodes), dict.fromkeys(nodes, "the-package"), exclude)


@pytest.mark.parametrize("line", SAYS)
def test_what_is_missing_is_named_and_included_it_is_there(line: str) -> None:
    (hint,) = advice(["starting", line], contents())
    assert lacking.complains([line])
    assert hint == f'the-package has what the image lacks: add "{SAYS[line]}" to include under [source]'
    (path,) = re.findall('add "([^"]+)" to include', hint)
    with_it = contents(path)
    assert with_it.image.resolve(path), "the hint followed brings nothing"
    assert list(advice([line], with_it)) == []


@pytest.mark.parametrize(
    "line",
    [
        "No such file or directory",
        "open /etc/other.conf: no such file or directory",
        "open /etc/app/other.conf: no such file or directory",
        "reading /etc/app/app.conf",
        "cannot open /usr/bin/app",
        "No module named 'nobody.has.it'",
        "Cannot find module './local'",
        "Can't locate Simple.pm in @INC",
        "cannot load such file -- errors (LoadError)",
        "java.lang.ClassNotFoundException: org.log.Other",
        "libnobody.so.1: cannot open shared object file",
        "//// not found /../.. /",
    ],
)
def test_nothing_is_hinted_where_no_source_has_it(line: str) -> None:
    assert list(advice([line], contents())) == []


# The first word of an interpreter that has nothing yet -> the folder of all that it will ask for next.
FIRST_WORDS = {
    "ModuleNotFoundError: No module named 'json'": "/usr/lib/python3.11",
    "ModuleNotFoundError: No module named 'json.decoder'": "/usr/lib/python3.11",
    "/usr/bin/python3: No module named flask": "/usr/lib/python3/dist-packages",
    "Can't locate LWP/Simple.pm in @INC": "/usr/share/perl5",
    "cannot load such file -- rubygems (LoadError)": "/usr/lib/ruby/vendor_ruby",
    "cannot load such file -- rubygems/errors (LoadError)": "/usr/lib/ruby/vendor_ruby",
}


@pytest.mark.parametrize("line", FIRST_WORDS)
def test_of_a_language_without_any_module_all_are_named(line: str) -> None:
    (hint,) = advice([line], contents(present=()))
    folder = FIRST_WORDS[line]
    assert f'add "{folder}" to include' in hint
    image = contents(folder, present=()).image
    assert [path for path in {**NODES, **PRESENT} if path.startswith(f"{folder}/") and path not in image] == []


def test_several_are_named_at_once() -> None:
    lines = ["cannot open /etc/app/app.conf", "No module named 'wave'", "cannot open /etc/app/app.conf again"]
    (hint,) = advice(lines, contents())
    assert 'add "/etc/app/app.conf", "/usr/lib/python3.11/wave.py" to include' in hint


def test_what_the_recipe_excludes() -> None:
    """To include it would be of no use."""
    (hint,) = advice(["cannot open /etc/app/app.conf"], contents("/etc/app", exclude=("/etc/app/*.conf",)))
    assert hint == 'exclude = ["/etc/app/*.conf"] under [source] keeps /etc/app/app.conf out of the image'


@pytest.mark.parametrize(
    ("first_line", "told"),
    [
        ("#!/bin/sh", '/bin/sh, which its first line names: add "/bin/sh" to include under [source]'),
        ("#!/usr/bin/perl", "/usr/bin/perl, which its first line names: Debian has it in the package perl-base"),
        ("#!/opt/lua", "/opt/lua, which its first line names"),
    ],
)
def test_a_script_that_is_there_and_is_not_found(first_line: str, told: str) -> None:
    given = contents()
    image = given.image.put("/srv/hook", executable(first_line.encode() + b"\n"))
    (hint,) = advice(["exec: /srv/hook: No such file or directory"], Contents(image, given.sources))
    assert hint == f"/srv/hook is there, but not {told}"


def test_a_program_that_no_source_has() -> None:
    line = "FileNotFoundError: [Errno 2] No such file or directory: '/bin/bash'"
    assert list(advice([line], contents())) == ["the image has no /bin/bash: Debian has it in the package bash"]


def test_what_was_kept_is_loaded(tmp_path: Path) -> None:
    store, given = Store(tmp_path), contents()
    layer = {"tree": Tree(NODES).save(store), "origins": {"/etc/app/app.conf": "app"}}
    for key, value in {"a" * 64: layer, "b" * 64: {"tree": given.image.save(store)}}.items():
        store.keep(key, value)
    assert lacking.load(store, "digest") is None
    lacking.keep(store, "digest", sources=["a" * 64], root="b" * 64, exclude=["/x"])
    found = lacking.load(store, "digest")
    assert found is not None and list(found.exclude) == ["/x"]
    (hint,) = advice(["cannot open /etc/app/app.conf", "ClassNotFoundException: org.log.Logger"], found)
    assert hint.startswith("app and a source has") or "log.jar" in hint
    store.forget("a" * 64)
    assert lacking.load(store, "digest") is None


CONFIGURATION = b"""
http { include /etc/app/sites/*; include /etc/app/none/*.conf;
    include /etc/app/sites/*;
  # include /etc/app/off/*;
    include /etc/app/one.conf;
    include "/etc/app/mods/*.so"
"""
SITES = {
    "/etc/app/sites/default": symlink("/etc/app/available/default"),
    "/etc/app/available/default": file(b"listen 80;"),
    "/etc/app/off/x": file(b""),
    "/etc/app/mods/a.so": file(b""),
    "/etc/app/app.conf": file(CONFIGURATION),
}


def test_a_configuration_that_reads_all_files_of_a_folder_of_which_the_image_has_none() -> None:
    """No line complains: whoever reads by a pattern is content with nothing."""
    nodes = {**NODES, **SITES}

    def of(*include: str) -> Contents:
        image = slimmed(nodes, include=("/etc/app/app.conf", *include)).tree
        return Contents(image, Tree(nodes), dict.fromkeys(nodes, "the-package"))

    (hint,) = lacking.unread(of())
    assert hint == (
        "/etc/app/app.conf reads /etc/app/sites/* and /etc/app/mods/*.so, of which the-package has some, and the "
        'image none: add "/etc/app/sites/*", "/etc/app/mods/*.so" to include under [source]'
    )
    followed = of(*re.findall('"([^"]+)"', hint))
    assert followed.image.resolve("/etc/app/sites/default") == "/etc/app/available/default"
    assert list(lacking.unread(followed)) == []
    _, told = late(Seen("app", 32, listens=(), unread=lambda: [hint]), 5, "port 80 says no", 80)
    assert told == hint
    _, told = late(Seen("app", 32, listens=(Listens("0.0.0.0", 81),), unread=lambda: [hint]), 5, "no", 80)
    assert told is not None and hint not in told


def test_no_line_takes_long() -> None:
    given = contents()
    for line in ("/" * 60_000, "/a" * 30_000 + " not found", "No module named 'x' " * 3000, "'/x' not found " * 5000):
        assert list(advice([line] * 20, given)) == []


RECIPE = """
name = "reader"
version = "1"
summary = "a shell that reads a file"
source = { type = "debian", release = "bookworm", packages = ["dash", "base-files"], include = [INCLUDE] }
ready = { console = "^Copyright", timeout_s = 120 }
[application]
command = "/usr/bin/dash"
arguments = ["-c", "read line < /usr/share/common-licenses/BSD; echo $line"]
"""


@pytest.mark.vm
@pytest.mark.network
async def test_in_a_guest_the_hint_is_given_and_followed_it_works(tmp_path: Path) -> None:
    async def start(include: str) -> None:
        (tmp_path / "recipe.toml").write_text(RECIPE.replace("INCLUDE", include))
        recipe = load(tmp_path)
        image = build(recipe, tmp_path / "out", store=Store(cache_dir()), say=silent)
        async with Instance.start(spec_of(image, accelerator=Accelerator.TCG)) as instance:
            await instance.wait_ready(recipe.ready)

    with pytest.raises(GuestFailed) as caught:
        await start("")
    assert "the console ends with: /usr/bin/dash: 1: cannot open /usr/share/common-licenses/BSD: No such file" in str(
        caught.value
    )
    (paths,) = re.findall(r"base-files has what the image lacks: add (.*) to include under", str(caught.value))
    await start(paths)
