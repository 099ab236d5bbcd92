"""Wheels: what pip makes of them, and nothing of those whose files are not what they say."""

import io
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from imagebuilder.errors import SourceError
from imagebuilder.sources.python import wheel as wheels
from imagebuilder.tree import Blob, Node
from tests.examples import examples

from .wheels import PYTHON, SITE, WHEEL, record_of, wheel

FULL = {
    "app/__init__.py": "def main(): print('hello')\n",
    "app/data.txt": "data",
    "app-1.0.dist-info/entry_points.txt": "[console_scripts]\napp = app:main\nApp.2 = app.sub:obj.run [extra]\n",
    "app-1.0.data/scripts/tool": "#!python -E\nprint(1)\n",
    "app-1.0.data/scripts/shell": "#!/bin/sh\n",
    "app-1.0.data/data/share/app/x": "x",
    "app-1.0.data/purelib/pure.py": "",
    "app-1.0.data/platlib/plat.py": "",
    "app-1.0.data/headers/app.h": "",
}


def read(data: bytes, name: str = "app", version: str = "1.0") -> dict[str, Node]:
    return wheels.unpack(io.BytesIO(data), "odd.whl", name, version, PYTHON, Blob.of_content)


def refusal(data: bytes) -> str:
    with pytest.raises(SourceError) as refused:
        read(data)
    assert "\n" not in refused.value.message
    return refused.value.message


def test_everything_stands_in_its_place() -> None:
    nodes = read(wheel(files=FULL))
    assert {path for path in nodes if ".dist-info/" not in path} == {
        *(f"{SITE}/{name}" for name in ("app/__init__.py", "app/data.txt", "pure.py", "plat.py")),
        *(f"/usr/local/bin/{name}" for name in ("app", "App.2", "tool", "shell")),
        "/usr/local/share/app/x",
        "/usr/local/include/python3.11/app/app.h",
    }
    script = nodes["/usr/local/bin/app"]
    assert script.mode == 0o755 and script.content.read().decode() == (
        '#!/usr/bin/python3.11\nimport sys\nfrom app import main\nif __name__ == "__main__":\n    sys.exit(main())\n'
    )
    assert b"from app.sub import obj\n" in nodes["/usr/local/bin/App.2"].content.read()
    assert b"sys.exit(obj.run())" in nodes["/usr/local/bin/App.2"].content.read()
    assert nodes["/usr/local/bin/tool"].content.read() == b"#!/usr/bin/python3.11 -E\nprint(1)\n"
    assert nodes["/usr/local/bin/shell"].content.read() == b"#!/bin/sh\n"
    assert nodes[f"{SITE}/app/data.txt"].mode == 0o644
    assert nodes[f"{SITE}/app-1.0.dist-info/INSTALLER"].content.read() == b"imagebuilder\n"
    record = nodes[f"{SITE}/app-1.0.dist-info/RECORD"].content.read().decode()
    assert "../../../bin/app,sha256=" in record and "app-1.0.dist-info/RECORD,,\n" in record


@pytest.mark.tools
def test_pip_installs_the_same_files(tmp_path: Path) -> None:
    """But for its scripts' texts, and the folder that ``--target`` has them in."""
    files = {path: text for path, text in FULL.items() if "/headers/" not in path}
    (tmp_path / "app-1.0-py3-none-any.whl").write_bytes(wheel(files=files))
    words: list[str | Path] = [
        "install",
        "--no-index",
        "--no-deps",
        "--no-compile",
        "--root",
        tmp_path / "root",
        "--prefix",
        "/usr/local",
    ]
    isolated = ["-m", "pip", "--isolated", "--disable-pip-version-check", "-q"]
    subprocess.run([sys.executable, *isolated, *words, tmp_path / "app-1.0-py3-none-any.whl"], check=True)
    (site,) = (tmp_path / "root").rglob("app-1.0.dist-info")
    root = tmp_path / "root"
    theirs = {path: path.read_bytes() for path in root.rglob("*") if path.is_file()}
    placed = {
        f"{SITE}/{path.relative_to(site.parent)}"
        if path.is_relative_to(site.parent)
        else f"/{path.relative_to(root)}": data
        for path, data in theirs.items()
    }
    ours = {path: node.content.read() for path, node in read(wheel(files=files)).items()}
    requested = f"{SITE}/app-1.0.dist-info/REQUESTED"
    urls = f"{SITE}/app-1.0.dist-info/direct_url.json"
    assert ours.keys() == placed.keys() - {requested, urls}
    own = [path for path in ours if "/bin/" in path or path.endswith(("/RECORD", "/INSTALLER"))]
    assert {path: ours[path] for path in ours if path not in own} == {
        path: data for path, data in placed.items() if path not in (*own, requested, urls)
    }


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"odd", "odd.whl is no zip archive, or a damaged one: File is not a zip file"),
        (wheel("other"), "odd.whl is refused: it has no one folder app-1.0.dist-info"),
        (wheel(version="2.0"), "odd.whl is refused: it has no one folder app-1.0.dist-info"),
        (wheel(wheel_file="Wheel-Version: 2.0\n"), "odd.whl is refused: it is a wheel of version 2.0, and known is 1"),
        (wheel(record=""), "odd.whl is refused: 'app-1.0.dist-info/METADATA' is not in its RECORD"),
        (
            wheel(record="app/other.py,sha256=x,1\n"),
            "odd.whl is refused: it lacks 'app/other.py', ",
        ),
        (
            wheel(record="app/__init__.py,sha256=x,1\n"),
            "odd.whl is refused: 'app/__init__.py' is not what ",
        ),
        (wheel(record="app/__init__.py,,\n"), "odd.whl is refused: 'app/__init__.py' is not what "),
        (wheel(record="app/__init__.py,md5=x,\n"), "odd.whl is refused: 'app/__init__.py' is not what "),
        (
            wheel(files={"app-1.0.data/etc/x": ""}),
            "odd.whl is refused: 'app-1.0.data/etc/x' is in a folder that wheels do not have",
        ),
        (
            wheel(files={"app-1.0.dist-info/entry_points.txt": "[console_scripts]\n../x = app:main\n"}),
            "odd.whl is refused: its script '../x' is not of the form module:function",
        ),
        (
            wheel(files={"app-1.0.dist-info/entry_points.txt": "[console_scripts]\nx = app:main()\n"}),
            "odd.whl is refused: its script 'x' is not of the form module:function",
        ),
        (
            wheel(files={"app-1.0.dist-info/entry_points.txt": "odd"}),
            "odd.whl is refused: its entry_points.txt is damaged",
        ),
        (wheel(files={"../up.py": ""}), "odd.whl is refused: its member '../up.py' would be written outside its place"),
    ],
)
def test_what_is_refused(data: bytes, said: str) -> None:
    assert refusal(data).startswith(said)


def test_names_and_versions_may_be_written_otherwise() -> None:
    assert read(wheel("My_App", "1.0"), "my-app", "1.0.0")
    assert WHEEL.startswith("Wheel-Version: 1") and record_of({}, "x") == "x/RECORD,,\n"


@settings(max_examples=examples(80), deadline=None)
@given(st.lists(st.tuples(st.integers(0, 4000), st.integers(0, 255)), min_size=1, max_size=4))
def test_whatever_is_damaged_is_read_or_refused(damage: list[tuple[int, int]]) -> None:
    changed = bytearray(wheel(files=FULL))
    for place, value in damage:
        changed[place % len(changed)] = value
    try:
        nodes = read(bytes(changed))
    except SourceError as error:
        assert "\n" not in error.message
    else:
        assert all(path.startswith("/usr/local/") and ".." not in path.split("/") for path in nodes)
