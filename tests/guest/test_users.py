"""Users by name, and the files in which the guest finds them."""

import pytest

from imagebuilder.guest.users import UNKNOWN, User, group, passwd, resolve

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
        ("redis", User("redis", *UNKNOWN)),
    ],
)
def test_resolves(words: str, user: User) -> None:
    assert resolve(words, KNOWN) == user


def test_the_files_name_each_user_once() -> None:
    users = [User("app", 7, 8), User("app", 7, 8), User("root", 0, 0)]
    assert passwd(users) == b"root:x:0:0::/:/usr/sbin/nologin\napp:x:7:8::/:/usr/sbin/nologin\n"
    assert group(users) == b"root:x:0:\napp:x:8:\n"
