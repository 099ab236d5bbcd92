"""What is kept of an application that was traced: the files that it opened, and the links that lead to them."""

from dataclasses import replace

from imagebuilder.closure.slimming import Around, slim
from imagebuilder.tree import file, symlink

from .elves import elf, program
from .trees import BASE, MULTIARCH, executable, layer, paths

PLUGIN = f"{MULTIARCH}/libplugin.so.1.2"
NODES = {
    "/usr/bin/python3": symlink("python3.11"),
    "/usr/bin/python3.11": executable(program("libc.so.6")),
    "/usr/lib/python3.11/os.py": file(b"os"),
    "/usr/lib/python3.11/unused.py": file(b"unused"),
    PLUGIN: file(elf("libmore.so.1")),
    f"{MULTIARCH}/libplugin.so.1": symlink("libplugin.so.1.2"),
    f"{MULTIARCH}/libmore.so.1": file(elf("libc.so.6")),
    f"{MULTIARCH}/libother.so.1": symlink("libc.so.6"),
    "/srv/current": symlink("one"),
    "/srv/one/page": file(b"page"),
}
OPENED = ("/usr/lib/python3.11/os.py", PLUGIN, "/srv/one/page", "/gone", "/srv/not")
TRACED = dict.fromkeys(OPENED, "opened by /usr/bin/python3.11")


def test_what_was_opened_stands_for_what_is_known_of_a_language() -> None:
    around = replace(Around(), traced=TRACED)
    layers = [layer({**BASE, **NODES})]
    made = slim(layers, roots=["/usr/bin/python3"], include=[], exclude=["/srv/not"], around=around)
    kept = paths(made)
    wanted = {*TRACED, f"{MULTIARCH}/libplugin.so.1", f"{MULTIARCH}/libmore.so.1", "/srv/current"}
    assert wanted - {"/gone", "/srv/not"} <= {*kept}
    assert "/usr/lib/python3.11/unused.py" not in kept and f"{MULTIARCH}/libother.so.1" not in kept
    (warning,) = made.warnings
    assert "/gone" in warning and "trace it again" in warning
    guessed = slim(layers, roots=["/usr/bin/python3"], include=[], exclude=[])
    assert "/usr/lib/python3.11/unused.py" in paths(guessed) and PLUGIN not in paths(guessed)
