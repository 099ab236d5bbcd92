import http.client
import shutil
import socket
import subprocess
from pathlib import Path

import pytest

from imagebuilder.errors import InputError, OutputError
from imagebuilder.recipe.load import load
from imagebuilder.recipe.lookup import find
from imagebuilder.recipe.new import new_recipe, replaced
from imagebuilder.recipe.render import rendered
from imagebuilder.sources.build import BuildSource


def test_it_loads_without_a_mistake(tmp_path: Path) -> None:
    written = new_recipe("my-page", tmp_path / "recipes")
    assert [path.name for path in written] == ["recipe.toml", "page.html.j2", "server.c"]
    recipe = load(tmp_path / "recipes" / "my-page")
    assert recipe.name == "my-page"
    assert recipe.ready.http is not None and recipe.ready.http.body is not None
    assert recipe.ready.http.body.encode() in rendered(recipe.files[0], recipe)
    assert not any("@NAME@" in path.read_text() for path in written)


@pytest.mark.tools
@pytest.mark.skipif(not shutil.which("gcc"), reason="needs gcc")
def test_its_program_compiles_and_answers_as_the_recipe_says(tmp_path: Path) -> None:
    new_recipe("page", tmp_path)
    recipe = load(tmp_path / "page")
    (source,) = recipe.source
    assert isinstance(source, BuildSource) and recipe.ready.http is not None and recipe.ready.http.body is not None
    command = [source.command[0], "-Wall", "-Wextra", "-Werror", *source.command[1:]]
    subprocess.run(command, cwd=recipe.folder, check=True)
    page = tmp_path / "page.html"
    page.write_bytes(rendered(recipe.files[0], recipe))
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    server = subprocess.Popen([recipe.folder / "server", str(port), page], stdout=subprocess.PIPE, text=True)
    try:
        assert server.stdout is not None and server.stdout.readline() == f"listening on port {port}\n"
        for _ in range(2):
            status, body = ask(port)
            assert status == recipe.ready.http.status
            assert recipe.ready.http.body in body
    finally:
        server.terminate()
        server.communicate()


def ask(port: int) -> tuple[int, str]:
    """What the server answers."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    connection.request("GET", "/")
    answer = connection.getresponse()
    body = answer.read().decode()
    connection.close()
    return answer.status, body


@pytest.mark.parametrize(
    ("name", "hint"),
    [("My Page", "'my-page' would do"), ("../x", "'x' would do"), ("", None), ("a" * 64, f"'{'a' * 63}' would do")],
)
def test_names_that_cannot_be(name: str, hint: str | None, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be a recipe's name") as caught:
        new_recipe(name, tmp_path / "recipes")
    assert caught.value.hint == hint
    assert list(tmp_path.iterdir()) == []


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    (tmp_path / "page").mkdir()
    (tmp_path / "link").symlink_to("nowhere")
    for name in ("page", "link"):
        with pytest.raises(InputError, match="is there already"):
            new_recipe(name, tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["link", "page"]
    assert list((tmp_path / "page").iterdir()) == []


def test_nothing_is_left_when_it_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "recipes").write_text("a file")
    for parent in (tmp_path / "recipes", tmp_path / "recipes" / "below"):
        with pytest.raises(OutputError) as caught:
            new_recipe("page", parent)
        assert str(caught.value) == f"{parent / 'page'} cannot be written: {tmp_path / 'recipes'} is no folder"
    assert (tmp_path / "recipes").read_text() == "a file"


def test_one_that_takes_the_place_of_a_recipe_that_ships(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    ships = find("hello")
    for parent in (Path("recipes"), Path("elsewhere")):
        new_recipe("hello", parent)
        new_recipe("mine", parent)
        assert replaced("mine", parent) is None
    assert replaced("hello", Path("recipes")) == ships and replaced("hello", Path("elsewhere")) is None
    assert find("hello") == tmp_path / "recipes" / "hello" != ships


def test_its_files_can_be_read_by_others(tmp_path: Path) -> None:
    usual = tmp_path / "usual"
    usual.mkdir()
    new_recipe("page", tmp_path)
    assert (tmp_path / "page").stat().st_mode == usual.stat().st_mode
