"""Half a character, which a template can write and no file can hold."""

from pathlib import Path

from imagebuilder.recipe.templates import problems


def test_half_a_character_is_a_problem_of_the_template(tmp_path: Path) -> None:
    (tmp_path / "page.j2").write_text('{{ "\\ud800" }}')
    (problem,) = problems(tmp_path, "page.j2", {})
    assert "the template cannot be used" in problem.message
