"""Users by name, and the files in which the guest finds them."""

import re

import pytest

from imagebuilder.errors import InputError
from imagebuilder.platforms.users import User, group, passwd, resolve

KNOWN = {"www-data": (33, 33), "games": (5, 60)}


@pytest.mark.parametrize(
    ("words", "user"),
    [
        ("root", User("root", 0, 0)),
        ("www-data", User("www-data", 33, 33)),
        ("games", User("games", 5, 60)),
        ("33", User("www-data", 33, 33)),
        ("1000:100", User("user1000", 1000, 100)),
        ("0", User("root", 0, 0)),
        ("app:1234", User("app", 1234, 1234)),
        ("nonroot", User("nonroot", 65532, 65532)),
        ("65532", User("nonroot", 65532, 65532)),
    ],
)
def test_resolves(words: str, user: User) -> None:
    assert resolve(words, KNOWN, key="application.user") == user


@pytest.mark.parametrize(
    ("name", "known", "hints"),
    [
        ("memcached", {**KNOWN, "memcache": (110, 115)}, ["memcache", "memcached:999"]),
        ("www_data", KNOWN, ["www-data", "www_data:999"]),
        ("redis", {**KNOWN, "own": (999, 999)}, ["redis:998"]),
    ],
)
def test_a_name_that_no_package_knows_is_refused_and_each_hint_works(
    name: str, known: dict[str, tuple[int, int]], hints: list[str]
) -> None:
    with pytest.raises(
        InputError, match=f'files.owner of /srv: no package of the image knows a user "{name}"'
    ) as raised:
        resolve(name, known, key="files.owner of /srv")
    quoted = re.findall('"([^"]+)"', raised.value.hint or "")
    assert quoted == hints
    for hint in quoted:
        assert resolve(hint, known, key="files.owner of /srv").uid not in (0, None)


@pytest.mark.parametrize("words", ["nonroot:0", "root:5", "nonroot:1000", "app:0", "www-data:0"])
def test_nobody_becomes_root_under_another_name_and_each_hint_works(words: str) -> None:
    with pytest.raises(InputError, match=f'application.user: "{words}"') as raised:
        resolve(words, KNOWN, key="application.user")
    name, _, number = words.partition(":")
    own = 65532 if name == "nonroot" else 0
    hints = re.findall('"([^"]+)"', raised.value.hint or "")
    users = [resolve(hint, KNOWN, key="application.user") for hint in hints]
    assert [(each.uid, each.gid) for each in users] == [(own, own), (own, int(number))][: 1 + ("root" in name)]
    assert resolve("root:0", KNOWN, key="application.user") == User("root", 0, 0)
    assert resolve("nonroot:65532", KNOWN, key="application.user") == User("nonroot", 65532, 65532)


def test_the_files_name_each_user_once() -> None:
    users = [User("app", 7, 8), User("app", 7, 8), User("root", 0, 0)]
    assert passwd(users) == b"root:x:0:0::/:/usr/sbin/nologin\napp:x:7:8::/:/usr/sbin/nologin\n"
    assert group(users) == b"root:x:0:\napp:x:8:\n"


def test_the_lines_of_packages_stand_beside_those_of_the_recipe() -> None:
    known = {
        "root": "root:*:0:0:root:/root:/bin/bash",
        "www-data": "www-data:*:33:33::/var/www:/x",
        "app": "app:*:7:7::/:/x",
    }
    text = passwd([User("www-data", 33, 33), User("app", 500, 500)], known).decode()
    assert text.splitlines() == [
        "root:*:0:0:root:/root:/bin/bash",
        "www-data:*:33:33::/var/www:/x",
        "app:x:500:500::/:/usr/sbin/nologin",
    ]
    assert group([User("adm", 1, 4)], {"adm": "adm:*:4:app"}).decode() == "root:x:0:\nadm:*:4:app\n"
