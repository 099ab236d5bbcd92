"""From the recipe to the running application: what is below a mount, temporary files on a root that cannot be written,
the own name."""

from pathlib import Path

import pytest

from imagebuilder.build.walk import Build, build
from imagebuilder.errors import InputError
from imagebuilder.events import silent
from imagebuilder.machine.instance import Instance
from imagebuilder.machine.spec import Accelerator, spec_of
from imagebuilder.recipe.load import load
from imagebuilder.recipe.model import Recipe
from imagebuilder.store import Store

pytestmark = pytest.mark.tools

LOOKING = r"""
#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static void show(const char *path)
{
    char line[256];
    FILE *file = fopen(path, "r");
    while (file && fgets(line, sizeof line, file))
        printf("%s: %s", path, line);
    if (!file)
        printf("%s is not there\n", path);
}

static void keep(const char *path)
{
    FILE *file = fopen(path, "w");
    printf("%s %s\n", path, file && fputs("x", file) >= 0 && !fclose(file) ? "is written" : "cannot be written");
}

int main(void)
{
    char target[256] = "";
    setvbuf(stdout, NULL, _IOLBF, 0);
    show("/run/app/app.conf");
    show("/tmp/given");
    show("/etc/hosts");
    keep("/tmp/kept");
    keep("/var/tmp/kept");
    keep("/run/app/app.conf");
    keep("/etc/kept");
    if (readlink("/dev/log", target, sizeof target - 1) > 0)
        printf("/dev/log leads to %s\n", target);
    puts("end");
    return 0;
}
"""
RECIPE = """
name = "looking"
version = "1"
summary = "looks around"
source = { type = "build", inputs = ["looking.c"], command = ["gcc", "-static", "-o", "looking", "looking.c"], \
outputs = { "looking" = "/looking" } }
application = { command = "/looking", user = "1000" }
root = { format = "memory", writable = false, mounts = ["tmpfs /run mode=0755"] }
machine = { network = false, memory_mib = 32 }
ready = { console = "^end" }
files = [
    { path = "/run/app/app.conf", text = "an option\\n", owner = "1000" },
    { path = "/tmp/given", text = "of the image\\n" },
    { path = "/dev/log", symlink = "/run/log" },
]
"""


def recipe(folder: Path, text: str = RECIPE) -> Recipe:
    """The recipe, in a folder of its own."""
    (folder / "looking.c").write_text(LOOKING)
    (folder / "recipe.toml").write_text(text)
    return load(str(folder))


@pytest.mark.vm
async def test_what_an_application_finds(tmp_path: Path) -> None:
    image = build(recipe(tmp_path), tmp_path, store=Store(tmp_path / "cache"), say=silent)
    async with Instance.start(spec_of(image, accelerator=Accelerator.TCG)) as instance:
        await instance.wait_ready(image.ready)
        lines = instance.console.splitlines()
    assert lines[: lines.index("end")] == [
        "/run/app/app.conf: an option",
        "/tmp/given: of the image",
        "/etc/hosts: 127.0.0.1 localhost",
        "/etc/hosts: ::1 localhost",
        "/etc/hosts: 127.0.1.1 looking",
        "/tmp/kept is written",
        "/var/tmp/kept is written",
        "/run/app/app.conf is written",
        "/etc/kept cannot be written",
        "/dev/log leads to /run/log",
    ]


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ("/dev/log", "/proc/log", "/proc/log would be in the image and never be found: proc is mounted on /proc"),
        ("tmpfs /run mode=0755", "tmpfs /run ro", "would hide /run/app and 1 more of the image"),
        ("mode=0755", "size=1k", "is too small for /run/app"),
        ('mode=0755"', 'mode=0755", "tmpfs /run"', '"tmpfs /run" hides "tmpfs /run mode=0755"'),
        ("tmpfs /run mode=0755", "tmpfs /looking", "has no folder to be mounted on: /looking is a file"),
    ],
)
def test_what_nobody_would_find_is_refused(tmp_path: Path, old: str, new: str, sentence: str) -> None:
    given = recipe(tmp_path, RECIPE.replace(old, new))
    with pytest.raises(InputError) as caught:
        _ = Build(given, Store(tmp_path / "cache"), silent).root
    assert sentence in str(caught.value)
