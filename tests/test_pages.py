"""The list of pages that a start uses: what is written is what is read, and what init is told because of it."""

from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imagebuilder import pages
from imagebuilder.build.walk import Build
from imagebuilder.errors import InputError, OutputError
from imagebuilder.events import Event, Warned
from imagebuilder.pages import GAP_PAGES, REQUEST_PAGES, PageList, Range, joined, learned
from imagebuilder.platforms.linux.config import MOST_LINES, MOST_PARTS
from imagebuilder.platforms.table import PLATFORMS, USUAL
from imagebuilder.platforms.values import Ahead
from imagebuilder.recipe.load import load
from imagebuilder.store import Store
from imagebuilder.tree import Tree, file
from tests.app import lay_down, recipe_text

PAGE = 4096
LARGE, SMALL = file(b"\1" * PAGE * 400), file(b"\2" * (PAGE + 1))
TREE = Tree({"/bin/large": LARGE, "/bin/small": SMALL, "/empty": file(b"")})
MOST = PLATFORMS[USUAL].most_ahead
PATHS = ("/bin/small", "/bin/large")
HINT = "`imagebuilder learn app` writes it again"

ranges = st.lists(st.tuples(st.integers(0, 2000), st.integers(1, 50)), max_size=60)


def covered(parts: tuple[Range, ...] | list[Range]) -> set[int]:
    """The pages of ranges."""
    return {page for first, count in parts for page in range(first, first + count)}


@given(ranges)
def test_small_gaps_are_closed_and_nothing_else_is_added(found: list[Range]) -> None:
    made = joined(found, GAP_PAGES)
    assert covered(made) >= covered(found)
    for before, after in pairwise(made):
        assert after[0] - sum(before) > GAP_PAGES
    for page in covered(made) - covered(found):
        near = range(page - GAP_PAGES, page), range(page + 1, page + GAP_PAGES + 1)
        assert all(set(side) & covered(found) for side in near)


@given(ranges, ranges)
def test_what_is_written_is_read_again(
    tmp_path_factory: pytest.TempPathFactory, one: list[Range], two: list[Range]
) -> None:
    path = tmp_path_factory.mktemp("list") / "pages.json"
    made = learned(TREE, PATHS, {0: one, 1: two}, MOST)
    pages.write(made, path)
    assert pages.read(path, hint=HINT) == made
    assert [each.name for each in path.parent.iterdir()] == ["pages.json"]


def test_the_text_has_a_line_for_each_file_in_the_order_of_their_paths(tmp_path: Path) -> None:
    made = learned(TREE, PATHS, {1: [(60, 2), (0, 3), (9, 1)]}, MOST)
    assert made.text == (
        '{"schema": "imagebuilder.pages/1", "files": [\n'
        f'  {{"path": "/bin/large", "sha256": "{LARGE.content.digest}", "pages": [[0, 10], [60, 2]]}},\n'
        f'  {{"path": "/bin/small", "sha256": "{SMALL.content.digest}", "pages": []}}\n'
        "]}\n"
    )
    assert (made.page_count, made.range_count) == (12, 2)


def test_more_ranges_than_init_has_room_for_are_joined() -> None:
    made = learned(TREE, PATHS, {0: [(page, 1) for page in range(0, 16_000, 8)], 1: [(70_000, 1), (3, 1)]}, MOST)
    told = pages.ahead(TREE, PATHS, made)
    assert sum(len(each.parts) for each in told) <= MOST_PARTS - MOST_LINES
    assert covered(told[0].parts) >= set(range(0, 16_000, 8))
    assert told[1].parts == ((3, 1),), "a page that init cannot name is left to the application"


def test_what_the_disk_gives_at_once_is_one_part() -> None:
    made = learned(TREE, PATHS, {1: [(0, 400)]}, MOST)
    assert pages.ahead(TREE, PATHS, made)[1] == Ahead("/bin/large", ((0, REQUEST_PAGES), (REQUEST_PAGES, 80)))


def test_without_a_list_the_beginning_is_read() -> None:
    told = pages.ahead(TREE, (*PATHS, "/empty"), None)
    assert told == (Ahead("/bin/small", ((0, 2),)), Ahead("/bin/large", ((0, REQUEST_PAGES),)), Ahead("/empty"))


def test_a_file_of_another_content_is_read_from_its_beginning() -> None:
    made = learned(TREE, PATHS, {0: [(1, 1)], 1: [(5, 7)]}, MOST)
    newer = TREE.put("/bin/large", file(b"\3" * PAGE))
    assert pages.unknown(TREE, PATHS, made) == []
    assert pages.unknown(newer, PATHS, made) == ["/bin/large"]
    assert pages.ahead(newer, PATHS, made) == (Ahead("/bin/small", ((1, 1),)), Ahead("/bin/large", ((0, 1),)))


GOOD = learned(TREE, PATHS, {1: [(0, 3), (60, 2)]}, MOST).text


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        (GOOD, "", "is no list of pages: Expecting"),
        (GOOD, GOOD[: len(GOOD) // 2], "is no list of pages: Expecting"),
        (GOOD, "[]", "is no list of pages: "),
        ("pages/1", "pages/2", "is no list of pages: schema: "),
        ("[60, 2]", "[2, 2]", "files.0.pages: [2, 2] is no range of pages behind those before it"),
        ("[60, 2]", "[60, 0]", "[60, 0] is no range of pages"),
        ("[60, 2]", "[60, 65536]", "[60, 65536] is no range of pages"),
        ("[60, 2]", "[60]", "is no list of pages: files.0.pages.1"),
        ("[60, 2]", '["60", 2]', "is no list of pages: files.0.pages.1.0"),
        ('"/bin/large"', '"bin/large"', "is no list of pages: files.0.path"),
        (LARGE.content.digest, "x", "is no list of pages: files.0.sha256"),
    ],
)
def test_a_damaged_list_is_refused_in_one_sentence(tmp_path: Path, old: str, new: str, says: str) -> None:
    path = tmp_path / "pages.json"
    path.write_text(GOOD.replace(old, new))
    with pytest.raises(InputError) as caught:
        pages.read(path, hint=HINT)
    assert caught.value.message.startswith(str(path)) and says in caught.value.message
    assert "\n" not in caught.value.message and caught.value.hint == HINT


def test_a_list_that_cannot_be_written_leaves_the_old_one(tmp_path: Path) -> None:
    (tmp_path / "pages.json").mkdir()
    with pytest.raises(OutputError, match=r"pages\.json cannot be written"):
        pages.write(PageList(files=()), tmp_path / "pages.json")
    assert [each.name for each in tmp_path.iterdir()] == ["pages.json"]


ON_DISK = '[root]\nformat = "erofs"\n'
PROGRAM = "/usr/bin/app"


def built(folder: Path, cache: Path) -> tuple[Build, list[str], list[Event]]:
    """A recipe's root, the lines of its /init.conf about reading ahead, and what was said."""
    said: list[Event] = []
    build = Build(load(folder), Store(cache), said.append)
    lines = build.root["/init.conf"].content.read().decode().splitlines()
    return build, [line for line in lines if line.startswith(("ahead ", "part "))], said


@pytest.mark.tools
def test_what_init_is_told_for_a_list(application: Path, tmp_path: Path) -> None:
    cache, whole = tmp_path / "cache", -(-application.stat().st_size // PAGE)
    folder = lay_down(tmp_path / "app", application, recipe_text("wait", more=ON_DISK))
    plain, lines, _ = built(folder, cache)
    assert lines == [f"ahead {PROGRAM}", f"part 0 {whole}"]

    (folder / "recipe.toml").write_text(recipe_text("wait", more=ON_DISK + 'pages = "pages.json"\n'))
    pages.write(learned(plain.root, plain.ahead_paths, {0: [(0, 2), (60, 3)]}, MOST), folder / "pages.json")
    listed, lines, said = built(folder, cache)
    assert lines == [f"ahead {PROGRAM}", "part 0 2", "part 60 3"]
    assert not [event for event in said if isinstance(event, Warned)]
    assert listed.plan.bundle.id != plain.plan.bundle.id

    pages.write(learned(plain.root, plain.ahead_paths, {0: [(0, 9)]}, MOST), folder / "pages.json")
    assert built(folder, cache)[1] == [f"ahead {PROGRAM}", "part 0 9"], "another list, another image"


def test_a_list_for_another_program_is_told_and_left_aside(application: Path, tmp_path: Path) -> None:
    text = recipe_text("wait", more=ON_DISK + 'pages = "pages.json"\n')
    folder = lay_down(tmp_path / "app", application, text)
    other = Tree({PROGRAM: file(b"an older one")})
    pages.write(learned(other, (PROGRAM,), {0: [(0, 1)]}, MOST), folder / "pages.json")
    _, lines, said = built(folder, tmp_path / "cache")
    assert lines == [f"ahead {PROGRAM}", f"part 0 {-(-application.stat().st_size // PAGE)}"]
    (warning,) = (event for event in said if isinstance(event, Warned))
    assert warning.text == f"pages.json is of another {PROGRAM}: `imagebuilder learn app` writes it again"


def test_a_root_in_memory_has_nothing_read(application: Path, tmp_path: Path) -> None:
    folder = lay_down(tmp_path / "app", application, recipe_text("wait", more='[root]\nformat = "initramfs"\n'))
    assert built(folder, tmp_path / "cache")[1] == []
