"""Values of options and names of any kind: taken, or refused in a sentence of click's."""

from collections.abc import Iterator

import click
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from imagebuilder.cli.cache import Size
from imagebuilder.cli.main import VERBS, cli
from imagebuilder.errors import ImagebuilderError
from tests.examples import examples

ODD = [
    "",
    "-",
    "--",
    "0",
    "-1",
    "99999999999999999999",
    "1e9",
    "nan",
    "1:2",
    "0:80",
    "65536:1",
    "²",
    "١",
    "a=b",
    "=",
    "\n",
]
VALUES = (
    st.sampled_from(ODD)
    | st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=20)
    | st.integers().map(str)
    | st.floats().map(str)
)


def commands() -> Iterator[tuple[str, click.Command]]:
    """Every verb, and the verbs of those that have some."""
    context = click.Context(cli)
    for verb in VERBS:
        command = cli.get_command(context, verb)
        assert command is not None
        yield verb, command
        if isinstance(command, click.Group):
            yield from ((f"{verb} {name}", each) for name, each in command.commands.items())


@pytest.mark.parametrize(
    ("verb", "command"), list(commands()), ids=lambda value: value if isinstance(value, str) else ""
)
@settings(max_examples=examples(30), deadline=None)
@given(value=VALUES, data=st.data())
def test_any_value_of_any_option(verb: str, command: click.Command, value: str, data: st.DataObject) -> None:
    options = [each for each in command.params if isinstance(each, click.Option) and not each.is_flag]
    words = [value]
    if options:
        words = ["x", data.draw(st.sampled_from(options)).opts[-1], value]
    try:
        with command.make_context(verb, words):
            pass
    except (click.ClickException, ImagebuilderError) as error:
        assert str(error).strip() or getattr(error, "message", "")


@pytest.mark.parametrize("value", ["none", "-1", "lots"])
def test_a_size_to_prune_to(value: str) -> None:
    """What it says is taken: there is no way to prune to no limit."""
    with pytest.raises(click.BadParameter, match="is no size such as 10G or 500M"):
        Size().convert(value, None, None)
    assert [Size().convert(each, None, None) for each in ("10G", "500M")] == [10**10, 5 * 10**8]
