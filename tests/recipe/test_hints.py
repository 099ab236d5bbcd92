"""Each hint for a mistake in a recipe that names something to write is followed, and the mistake is gone."""

import re
from pathlib import Path

import pytest

from imagebuilder.errors import Problem, RecipeError
from imagebuilder.recipe.load import load

from .test_load import BAD, Bad, kernels  # noqa: F401 (the kernel that these recipes name)
from .toml import GOOD, write_recipe

QUESTION = re.compile(r"did you mean '(?P<meant>[^']+)'\?")
ORDER = re.compile(r"write (?P<meant>'[^']*'|\"[^\"]*\"|\[.*\]|\S+(?= without quotes))")
QUOTED = re.compile(r"'([^']+)'")


def problem_of(text: str, key: str, folder: Path) -> Problem | None:
    """What is wrong with one key, if anything is."""
    try:
        load(write_recipe(folder, text))
    except RecipeError as error:
        return next((each for each in error.problems if each.key == key), None)
    return None


def followed(bad: Bad, problem: Problem) -> str | None:
    """What was written, with the hint followed; None where the hint names nothing to write."""
    hint = problem.hint or ""
    if match := QUESTION.fullmatch(hint):
        word = problem.key.rpartition(".")[2] if "key is not known" in problem.message else last_quoted(problem.message)
        assert word in bad.new
        return bad.new.replace(word, match["meant"], 1)
    if match := ORDER.search(hint):
        found = re.search(r"found (?:the )?(?:text|number|boolean)? ?'?([^']+?)'?$", problem.message)
        word = found[1] if found else last_quoted(problem.message)
        spelled = next(each for each in (f'"{word}"', f"'{word}'", word) if each in bad.new)
        return bad.new.replace(spelled, match["meant"], 1)
    return None


def last_quoted(message: str) -> str:
    """The wrong word, which messages name last."""
    words: list[str] = QUOTED.findall(message)
    return words[-1]


HINTED = {name: bad for name, bad in BAD.items() if bad.hint and re.search("did you mean|write ", bad.hint)}


@pytest.mark.parametrize("bad", HINTED.values(), ids=HINTED)
def test_a_hint_works(bad: Bad, tmp_path: Path) -> None:
    problem = problem_of(GOOD.replace(bad.old, bad.new, 1), bad.key, tmp_path / "page")
    assert problem is not None
    text = followed(bad, problem)
    assert text is not None and text != bad.new
    left = problem_of(GOOD.replace(bad.old, text, 1), bad.key, tmp_path / "page")
    assert left is None
