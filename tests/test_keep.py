"""``keep.json``: what a traced machine wrote down, the list that is made of it, and damaged ones."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imagebuilder import keep
from imagebuilder.errors import InputError
from imagebuilder.keep import HEAD, KeepList, keep_list, opened

HINT = "`imagebuilder trace app` writes it again"
NAMES = st.binary(min_size=1, max_size=9).filter(lambda name: not {0, ord("/")} & {*name} and name not in (b".", b".."))
PATHS = st.lists(NAMES, min_size=1, max_size=3).map(
    lambda names: (b"/" + b"/".join(names)).decode(errors="surrogateescape")
)


@given(st.lists(st.tuples(PATHS, PATHS), max_size=9))
def test_paths_of_any_bytes_come_back(tmp_path_factory: pytest.TempPathFactory, found: list[tuple[str, str]]) -> None:
    disk = HEAD + b"".join(f"{a}\0{b}\0".encode(errors="surrogateescape") for a, b in found)
    assert opened(disk + bytes(4096)) == found
    made = keep_list(found, {path for path, _ in found})
    path = tmp_path_factory.mktemp("list") / "keep.json"
    keep.write(made, path)
    assert keep.read(path, hint=HINT) == made
    assert {*made.reasons} >= {path for path, _ in found}
    assert keep_list(found[::-1], {path for path, _ in found}).text == made.text, "in whichever order"


@given(st.binary(max_size=300))
def test_whatever_a_guest_writes_is_a_list_or_refused(data: bytes) -> None:
    for path, _ in opened(HEAD + data):
        assert path
    if not data.startswith(HEAD):
        with pytest.raises(ValueError, match="there is no trace"):
            opened(data)


def test_what_is_listed() -> None:
    code = "/usr/lib/python3/__pycache__/a.cpython-311.pyc"
    found = [
        (code, "/usr/bin/python3"),
        ("/usr/bin/b", ""),
        ("/usr/bin/b", "/init"),
        ("/usr/bin/b", "/a/../b"),
        ("/tmp/x", "/init"),
        ("/", "/x"),
    ]
    made = keep_list(found, {code, "/usr/lib/python3/a.py", "/usr/bin/b", "/", "/never"})
    assert [(each.path, each.by) for each in made.files] == [
        ("/usr/bin/b", ("/init",)),
        (code, ("/usr/bin/python3",)),
        ("/usr/lib/python3/a.py", ("/usr/bin/python3",)),
    ]
    assert made.reasons["/usr/bin/b"] == "opened by /init"


GOOD = keep_list([("/a/b", "/bin/app"), ("/a\\", "")], {"/a/b", "/a\\"}).text


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        (GOOD, GOOD[: len(GOOD) // 2], "is no list of files: "),
        ("keep/1", "keep/2", "is no list of files: schema: "),
        ('"/a/b"', '"a/b"', "is no list of files: files.0.path"),
        ('"/a/b"', '"/a/../b"', "is no list of files: files.0.path"),
        ('"/a/b"', '"/"', "is no list of files: files.0.path"),
        ('"/a/b"', '"/a\\\\b"', "a backslash stands for itself only when it is doubled"),
        ('"/a/b"', '"/a\\\\x00"', "no absolute path"),
        ('"/bin/app"', '"bin/app"', "files.0.by.0"),
    ],
)
def test_a_damaged_list_is_refused_in_one_sentence(tmp_path: Path, old: str, new: str, says: str) -> None:
    path = tmp_path / "keep.json"
    path.write_text(GOOD.replace(old, new))
    with pytest.raises(InputError) as caught:
        keep.read(path, hint=HINT)
    assert caught.value.message.startswith(str(path)) and says in caught.value.message
    assert "\n" not in caught.value.message and caught.value.hint == HINT


def test_a_list_too_long_to_be_read_is_not_written(tmp_path: Path) -> None:
    paths = [f"/{'x' * 200}/{number}" for number in range(10_000)]
    with pytest.raises(InputError, match="more than 2 MiB: opened were 10,000 files"):
        keep.write(keep_list([(path, "") for path in paths], {*paths}), tmp_path / "keep.json")
    assert not [*tmp_path.iterdir()]
    assert isinstance(keep_list([], ()), KeepList)
