"""What a build with nothing changed costs: it neither imports what only a first one needs, nor reads things twice."""

import json
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from imagebuilder.kernel import config, load_definition
from imagebuilder.kernel.choice import choose

# Not needed to see that nothing changed: bars, what an application needs, ELF files, scripts of packages, the compiler
# of kernels, machines.
HEAVY = (
    "concurrent.futures",
    "elftools",
    "imagebuilder.closure.binding",
    "imagebuilder.closure.bytecode",
    "imagebuilder.closure.linker",
    "imagebuilder.closure.slimming",
    "imagebuilder.closure.walk",
    "imagebuilder.kernel.compile",
    "imagebuilder.machine",
    "imagebuilder.measure",
    "imagebuilder.recipe.schema",
    "imagebuilder.sources.apt",
    "imagebuilder.sources.deb",
    "imagebuilder.sources.maintainer.reader",
    "imagebuilder.sources.maintainer.shell",
    "imagebuilder.sources.maintainer.system",
    "imagebuilder.sources.sonames",
    "requests",
    "rich.progress",
)
RECIPE = """
name = "app"
version = "1"
summary = "A test."
[[source]]
type = "build"
inputs = ["app.c"]
command = ["cc", "-static", "-o", "app", "app.c"]
outputs = { app = "/app" }
[application]
command = "/app"
[ready]
exit = 0
"""
SECOND = """
import json, sys
from imagebuilder.__main__ import main
sys.argv = ["imagebuilder", "build", "{folder}", "--out", "{out}"]
try:
    main()
except SystemExit as error:
    status = error.code
print(json.dumps([status, sorted(sys.modules)]))
"""


@pytest.mark.tools
def test_a_second_build_imports_nothing_heavy(tmp_path: Path) -> None:
    folder, out = tmp_path / "app", tmp_path / "out"
    folder.mkdir()
    (folder / "recipe.toml").write_text(RECIPE)
    (folder / "app.c").write_text("int main(void) { return 0; }")
    program = SECOND.format(folder=folder, out=out)
    environment = {"PATH": "/usr/bin:/bin", "HOME": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path / "cache")}
    first, second = (
        subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, timeout=120)
        for _ in range(2)
    )
    for each in (first, second):
        assert each.returncode == 0, each.stderr
    status, modules = json.loads(second.stdout.splitlines()[-1])
    assert status == 0 and "imagebuilder.build.walk" in modules
    assert [each for each in modules if f"{each}.".startswith(tuple(f"{heavy}." for heavy in HEAVY))] == []


def test_a_configuration_is_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    lines: Counter[str] = Counter()
    known = config._known

    def counted(line: str) -> list[tuple[str, str]]:
        lines[line] += 1
        return known(line)

    monkeypatch.setattr(config, "_known", counted)
    config._found.cache_clear()
    config._parsed.cache_clear()
    for _ in range(3):
        choose(None, (), {"SMP": "the test"}, by="the test")
        config.merge(load_definition("micro").fragments)
    assert 0 < lines["CONFIG_SMP=y"] <= 3, "once in each configuration and fragment, however often one asks"
    first = sum(lines.values())
    choose(None, (), {"SMP": "the test"}, by="the test")
    assert sum(lines.values()) == first
