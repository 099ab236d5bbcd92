"""Recipes, what lies beside them, and the environment."""

from contextlib import suppress
from pathlib import Path

import pytest

from imagebuilder.cache import limit_bytes
from imagebuilder.cli.drawing import stdout
from imagebuilder.errors import InputError, RecipeError
from imagebuilder.measure import report
from imagebuilder.paths import source_date_epoch_s
from imagebuilder.recipe import local_files, sandbox
from imagebuilder.recipe.describe import describe
from imagebuilder.recipe.load import load
from imagebuilder.recipe.render import rendered
from imagebuilder.store import key_of
from tests.fuzz.doors.door import Door
from tests.measure.reports import HOST

RECIPE = b"""\
name = "app"
version = "1.2"
summary = "x"
variables = { who = "you", many = [1, 2.5, true] }

[[source]]
type = "files"
files = ["app", "sub/**", "*.{c,h}"]
target = "/usr/bin"
mode = "0755"
owner = "name:77"

[[source]]
type = "build"
inputs = ["app.c"]
command = ["gcc", "app.c", "-o", "app"]
outputs = { app = "/usr/bin/other" }
environment = { CFLAGS = "-O2" }

[[source]]
type = "debian"
release = "bookworm"
packages = ["nginx-light", "libc6=2.36-9"]
include = ["/usr/lib/**/*.so"]
exclude = ["/usr/share/doc/**"]

[application]
command = "/usr/bin/app"
arguments = ["-f"]
environment = { A = "b" }
user = "www-data"
stop_signal = "QUIT"
limits = { nofile = "1024:unlimited", core = 0 }

[[files]]
path = "/etc/a"
template = "page.j2"

[[files]]
path = "/etc/b"
text = "b"
owner = "1:2"

[[files]]
path = "/etc/c"
symlink = "../b"

[root]
format = "erofs"
mounts = ["tmpfs /run mode=0755,size=8m"]

[machine]
memory_mib = 64
ports = [80, 443]
disks = [{ size_mib = 16 }]

[ready]
http = { port = 80, path = "/", status = 200, body = "hello" }
timeout_s = 60

[template]
warm = ["/"]
signal = "HUP"

[budget]
image_bytes = 5_000_000

[bench]
within_percent = 5
"""
SMALL = b'''name = "app"
version = "1"
summary = """a
b"""
source = { type = "files", files = ["app"] }
application = { command = "/app" }
ready = { console = "^hel+o" }
'''.replace(b"a\nb", b"a b")
PAGE = b"""{% if who and many|length > 2 or not recipe.name %}{{ who | upper }}{% elif who is defined %}x{% endif %}
{{ recipe["ready"].http.port }} {{ many[0] if many else none }}{# c #}{{ gone | default("y") }}
{% raw %}{{ }}{% endraw %}
"""


def _app(folder: Path, recipe: bytes = RECIPE, page: bytes = PAGE) -> Path:
    app = folder / "app"
    (app / "sub").mkdir(parents=True)
    for name, data in {"app": b"x", "app.c": b"", "sub/x.j2": b"x", "page.j2": page, "recipe.toml": recipe}.items():
        (app / name).write_bytes(data)
    return app


def _recipe(data: bytes, folder: Path) -> None:
    recipe = load(_app(folder, recipe=data))
    key_of(describe(recipe))
    for entry in recipe.files:
        rendered(entry, recipe)


def _page(data: bytes, folder: Path) -> None:
    names = {"who": "you", "many": [1, 2.5, True], "recipe": {"name": "app", "ready": {"http": {"port": 80}}}}
    app = _app(folder, page=data)
    if sandbox.is_plain(app, "page.j2", names):  # others have a process with limits, which takes its time to start
        wrong, _ = sandbox.attempt(app, "page.j2", names)
        if wrong:
            raise RecipeError(tuple(wrong))


def _patterns(data: bytes, folder: Path) -> None:
    app = _app(folder)
    (app / "loop").symlink_to("loop")
    (app / "up").symlink_to("..")
    (app / "\udcff").write_bytes(b"")
    for pattern in data.decode(errors="surrogateescape").split("\n")[:4]:
        with suppress(ValueError):
            local_files.expand(app, pattern)


def _environment(data: bytes, _folder: Path) -> None:
    value = data.replace(b"\0", b"").decode(errors="surrogateescape")[:4096]
    with pytest.MonkeyPatch.context() as patch:
        for name in ("SOURCE_DATE_EPOCH", "IMAGEBUILDER_CACHE_LIMIT", "COLUMNS"):
            patch.setenv(name, value)
        report.of(HOST, ()).to_bytes()
        stdout()
        with suppress(InputError):
            source_date_epoch_s()
        limit_bytes()


ROWS = (
    Door("recipe", "recipe.toml", _recipe, (RECIPE, SMALL)),
    Door("environment", "variables of the environment", _environment, (b"0", b"86400", b"10G")),
    Door("page", "a template beside a recipe", _page, (PAGE,), (b"{{", b"}}", b"{%", b"%}", b"'\\ud800'", b"|")),
    Door("patterns", "patterns of files", _patterns, (b"**/*\nsub/**\n*.{c,h}\n[a-z]*", b"**\n**/**/x\n../a\n/b")),
)
