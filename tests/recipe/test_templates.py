import resource
import time
from pathlib import Path

import pytest

from imagebuilder.errors import Problem, RecipeError
from imagebuilder.recipe.load import load
from imagebuilder.recipe.sandbox import is_plain
from imagebuilder.recipe.templates import render

from .toml import GOOD, write_recipe

pytestmark = pytest.mark.tools


def rendered(folder: Path, page: str) -> str:
    """A template rendered for the good recipe."""
    return render(load(write_recipe(folder / "page", page=page)), "page.html.j2")


def problems(folder: Path, page: str) -> list[Problem]:
    """What loading says about a template."""
    with pytest.raises(RecipeError) as caught:
        load(write_recipe(folder / "page", page=page))
    return list(caught.value.problems)


def test_variables_and_the_recipe_are_seen(tmp_path: Path) -> None:
    page = "{{ title }} {{ recipe.name }} {{ recipe.version }} {{ recipe.machine.ports[0] }}\n\n"
    assert rendered(tmp_path, page) == "Hello page 1.0 80\n\n"


def test_another_template_beside_the_recipe_is_seen(tmp_path: Path) -> None:
    write_recipe(tmp_path / "page")
    (tmp_path / "page" / "part.j2").write_text("<i>{{ title }}</i>")
    assert rendered(tmp_path, '{% include "part.j2" %}') == "<i>Hello</i>"


def test_text_is_left_as_it_is(tmp_path: Path) -> None:
    assert rendered(tmp_path, "é <b> & \" '") == "é <b> & \" '"


def test_every_undefined_variable_with_its_line(tmp_path: Path) -> None:
    page = "{{ title }}\n{{ titel }}\n{% if other %}{% endif %}\n{{ titel }}{{ deep.er }}\n"
    found = [(problem.file.name, problem.line, problem.key) for problem in problems(tmp_path, page)]
    assert found == [("page.html.j2", 2, "titel"), ("page.html.j2", 3, "other"), ("page.html.j2", 4, "deep")]


def test_an_undefined_variable_in_an_included_template(tmp_path: Path) -> None:
    write_recipe(tmp_path / "page")
    (tmp_path / "page" / "part.j2").write_text("\n\n{{ titel }}")
    (problem,) = problems(tmp_path, '{% include "part.j2" %}')
    assert (problem.file.name, problem.line) == ("part.j2", 3)


def test_what_only_follows_from_an_undefined_variable_is_not_said(tmp_path: Path) -> None:
    for page in ("{{ titel + 1 }}", "{{ titel() + 1 }}{{ titel.x }}", "{% for i in range(titel) %}{% endfor %}"):
        assert [problem.key for problem in problems(tmp_path, page)] == ["titel"]


def test_a_recipe_with_mistakes_of_its_own_gives_none_in_templates(tmp_path: Path) -> None:
    folder = write_recipe(tmp_path / "page", GOOD.replace("32", "0"), page="{{ recipe.machine.cpus + 1 }}{{ titel }}")
    with pytest.raises(RecipeError) as caught:
        load(folder)
    assert [problem.key for problem in caught.value.problems] == ["machine.memory_mib"]


def test_the_nearest_name_or_where_to_define_one(tmp_path: Path) -> None:
    near, far = problems(tmp_path, "{{ titel }}{{ zzz }}")
    assert near.hint == "did you mean 'title'?"
    assert far.hint == "give it a value under [variables]: zzz = …"


def test_undefined_is_fine_where_the_template_asks_for_it(tmp_path: Path) -> None:
    assert rendered(tmp_path, "{{ titel is defined }}{{ titel | default('x') }}") == "Falsex"


@pytest.mark.parametrize(
    ("page", "line", "said"),
    [
        ("\n{{ title", 2, "unexpected end of template"),
        ("\n\n{% fi %}", 3, "unknown tag 'fi'"),
        ("{{ recipe.nam }}", 1, "has no attribute 'nam'"),
        ("\n{{ title + 1 }}", 2, "can only concatenate str"),
        ("\n{{ 1 / 0 }}", 2, "division by zero"),
        ("{{ title | random }}", 1, "No filter named 'random'"),
        ("\n{{ lipsum() }}", 2, "not defined"),
        ('{% include "../secret" %}', 1, "used: '../secret' leads out of the recipe's folder"),
        ('{% include "page.html.j2" %}', 1, "it includes or calls itself without end"),
        ('{% extends "page.html.j2" %}', 1, "it includes or calls itself without end"),
        ('{% include "/etc/passwd" %}', 1, "passwd"),
        ("{{ ''.__class__.__mro__ }}", 1, "unsafe"),
        ("{{ recipe.update({}) }}", 1, "unsafe"),
        ("{% for i in range(10 ** 9) %}{% endfor %}", 1, "too big"),
    ],
)
def test_what_a_template_must_not_do(tmp_path: Path, page: str, line: int, said: str) -> None:
    (tmp_path / "secret").write_text("secret")
    (problem,) = problems(tmp_path, page)
    assert (problem.file.name, problem.line) == ("page.html.j2", line)
    assert said in problem.message


LIMITS = "it takes more than 5 s of a processor and 512 MiB of memory"
BOMBS = {
    "{{ 10 ** (10 ** 9) }}": LIMITS,
    "{{ 'a' * 10 ** 10 }}": "it takes more than 512 MiB of memory",
    "{{ 'a' | center(10 ** 10) }}": "it takes more than 512 MiB of memory",
    "{{ '%10000000000d' % 1 }}": "it takes more than 512 MiB of memory",
    "{% set n = namespace(x='ab') %}{% for i in range(99) %}{% set n.x = n.x ~ n.x %}{% endfor %}": "512 MiB of memory",
    "{% for i in range(90000) %}{% for i in range(90000) %}{% endfor %}{% endfor %}": LIMITS,
    "{% for i in range(90000) %}{% for i in range(90000) %}a long line{% endfor %}{% endfor %}": "more than 8 MiB",
    "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}": "it includes or calls itself without end",
    "{{ " + "(" * 5000 + "1" + ")" * 5000 + " }}": "the template cannot be used",
    "{{ title }}" * 4_000: "its text has more than 8 MiB",
    "{{ title }}{{ title }}" * 45_000: "of memory",
    "x" * (2 << 20): "has more than 1 MiB",
}


@pytest.mark.parametrize("page", BOMBS, ids=range(len(BOMBS)))
def test_endless_work_or_text_has_an_end(tmp_path: Path, page: str) -> None:
    text = GOOD.replace('"Hello"', f'"{"Hello" * 1000}"') if "}}{{" in page else GOOD
    folder = write_recipe(tmp_path / "page", text, page=page)
    before_s, before_kib = time.process_time(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(RecipeError, match=r"page\.html\.j2") as caught:
        load(folder)
    assert BOMBS[page] in str(caught.value) and len(str(caught.value)) < 400
    assert time.process_time() - before_s < 10
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before_kib < 200 << 10


@pytest.mark.parametrize(
    ("page", "plain"),
    [
        (
            "{{ title | upper }}{% if recipe.machine.ports[0] == 80 %}x{% else %}{{ 2 if title }}{% endif %}",
            True,
        ),
        ("{{ titel", True),
        ("{{ 2 * 3 }}", False),
        ("{% for port in recipe.machine.ports %}{{ port }}{% endfor %}", False),
        ("{{ title | join(title) | join(title) }}", False),
        ("{{ title.upper() }}", False),
        ('{% include "page.j2" %}', False),
        ("{{ title }}" * 50_000, False),
    ],
)
def test_what_needs_no_process_of_its_own(tmp_path: Path, page: str, plain: bool) -> None:
    (tmp_path / "page.j2").write_text(page)
    assert is_plain(tmp_path, "page.j2", {"title": "Hello" * 1000}) == plain


def test_the_process_gives_what_we_would_give(tmp_path: Path) -> None:
    page = "{{ title }} é \r\n\u2028 {{ recipe.machine.ports }} {{ recipe.name }}\n"
    assert rendered(tmp_path, page + "{{ 'a' ~ 1 }}") == rendered(tmp_path, page + "a1")


def test_a_template_that_is_no_text(tmp_path: Path) -> None:
    folder = write_recipe(tmp_path / "page")
    (folder / "page.html.j2").write_bytes(b"\xff\xfe")
    with pytest.raises(RecipeError, match=r"page\.html\.j2: the template cannot be used"):
        load(folder)


def test_an_include_through_a_link_reads_nothing_outside(tmp_path: Path) -> None:
    folder = write_recipe(tmp_path / "page")
    (tmp_path / "secret").write_text("secret")
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere/secret").write_text("secret")
    (folder / "link").symlink_to("../secret")
    (folder / "way").symlink_to(tmp_path / "elsewhere")
    (folder / "page.txt").write_text("within")
    (folder / "good").symlink_to("page.txt")
    for name in ("link", "way/secret"):
        for words in ("include", "import", "extends"):
            as_name = " as x" if words == "import" else ""
            (problem,) = problems(tmp_path, f'{{% {words} "{name}"{as_name} %}}')
            assert "out of the recipe's folder" in problem.message and "secret" not in problem.message.replace(name, "")
    assert rendered(tmp_path, '{% include "good" %}') == "within"
