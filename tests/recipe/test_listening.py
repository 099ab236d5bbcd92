"""A recipe that says that its application listens on IPv6, in each of the places where it can."""

from pathlib import Path
from typing import Any

import pytest

from imagebuilder.recipe.listening import ipv6_listener
from imagebuilder.recipe.model import Recipe

from .test_model import good
from .toml import write_recipe


def listener(tmp_path: Path, **changes: Any) -> str | None:
    return ipv6_listener(Recipe.model_validate(good(**changes), context=write_recipe(tmp_path)))


def application(**more: Any) -> dict[str, Any]:
    return {"application": {"command": "/usr/bin/app", **more}}


@pytest.mark.parametrize(
    ("words", "found"),
    [
        (["--bind", "[::]:80"], "[::]:80"),
        (["--bind=[::1]:80"], "[::1]:80"),
        (["-b", "tcp://[2001:db8::1]:8080"], "[2001:db8::1]:8080"),
        (["--host", "::"], "::"),
        (["--host=::1"], "::1"),
        (["0.0.0.0:80"], None),
        (["::no", "std::string", "12:30:45", "[abc]", "a:b", "-::1"], None),
    ],
)
def test_arguments(words: list[str], found: str | None, tmp_path: Path) -> None:
    said = listener(tmp_path, **application(arguments=words))
    assert said == (f'application.arguments: "{found}"' if found else None)


@pytest.mark.parametrize(
    ("name", "value", "found"),
    [
        ("HOST", "::", "::"),
        ("LISTEN_ADDR", "[::]:80", "[::]:80"),
        ("GUNICORN_CMD_ARGS", "--workers 1 --bind [::]:80", "[::]:80"),
        ("NO_PROXY", "localhost,127.0.0.1,::1", None),
        ("HOST", "0.0.0.0", None),
    ],
)
def test_the_environment(name: str, value: str, found: str | None, tmp_path: Path) -> None:
    said = listener(tmp_path, **application(environment={name: value}))
    assert said == (f'application.environment: "{found}"' if found else None)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("server {\n  listen [::]:80 default_server;\n}\n", "[::]:80"),
        ("Listen [::]:80\n", "[::]:80"),
        ("listen_addresses = '::'\n", "::"),
        ('server.bind = "[::]"\n', "[::]"),
        ("bind 127.0.0.1 -::1\n", None),  # redis: if there is one
        ("# listen [::]:80;\n", None),
        ("allow ::1;\n", None),
        ("listen 80;\n", None),
    ],
)
def test_files(text: str, found: str | None, tmp_path: Path) -> None:
    said = listener(tmp_path, files=[{"path": "/etc/app.conf", "text": text}])
    assert said == (f'/etc/app.conf: "{found}"' if found else None)


def test_what_is_no_text_is_no_configuration(tmp_path: Path) -> None:
    (tmp_path / "data").write_bytes(b"listen [::]:80\n\xff")
    assert listener(tmp_path, files=[{"path": "/data", "source": "data"}]) is None


def test_nobody_listens_without_a_network(tmp_path: Path) -> None:
    words = application(arguments=["--bind", "[::]:80"])
    assert listener(tmp_path, **words, machine={"network": False}, ready={"exit": 0}) is None
