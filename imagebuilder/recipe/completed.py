"""A recipe with what its sources say of its application, where it says nothing itself."""

from collections.abc import Iterable, Mapping
from typing import Any

from pydantic import ValidationError

from imagebuilder import documents
from imagebuilder.errors import InputError, SourceError
from imagebuilder.recipe.model import Application, Machine, Ready, Recipe, Tcp
from imagebuilder.sources.kind import Defaults


def completed(recipe: Recipe, said: Iterable[Defaults]) -> Recipe:
    """The recipe whose application is complete: of several sources the later counts, and the recipe before all; tables,
    as the environment, are joined. Raises InputError where neither says which program is to run, SourceError where a
    source says what cannot be."""
    given = [each for each in said if each != Defaults()]
    if recipe.application.command and recipe.ready.is_told and not given:
        return recipe
    own = recipe.application.model_dump(exclude_unset=True)
    document: dict[str, Any] = {}
    for words in (*(each.application for each in given), own):
        document |= {key: _joined(document.get(key), value) for key, value in words.items()}
    if not document.get("command"):
        raise InputError(
            f"neither the recipe {recipe.name} nor its sources say which program is to run",
            hint='write its path under [application], as command = "/usr/bin/NAME"',
        )
    try:
        application = Application.model_validate(document)
    except ValidationError as error:
        raise SourceError(f"a source says what cannot be of its application: {documents.mistake_in(error)}") from error
    machine = _with_ports(recipe, given)
    ready = recipe.ready if recipe.ready.is_told else _asked(recipe.name, machine)
    return recipe.model_copy(update={"application": application, "machine": machine, "ready": ready})


def _joined(before: Any, value: Any) -> Any:
    return {**before, **value} if isinstance(before, Mapping) and isinstance(value, Mapping) else value


def _asked(name: str, machine: Machine) -> Ready:
    """Ready when the only port accepts a connection. Raises InputError where there is none, or more than one."""
    if machine.network and len(machine.ports) == 1:
        return Ready(tcp=Tcp(port=machine.ports[0]))
    ports = ", ".join(map(str, machine.ports)) if machine.network else ""
    raise InputError(
        f"the recipe {name} does not say when it is ready, and not one port does: it has {ports or 'none'}",
        hint="write it, as ready = { tcp = { port = 80 } }, or ready = { exit = 0 } for a program that ends",
    )


def _with_ports(recipe: Recipe, given: Iterable[Defaults]) -> Machine:
    """The machine with the ports of the sources, unless the recipe names some, or has no network."""
    machine = recipe.machine
    ports = dict.fromkeys((*machine.ports, *(port for each in given for port in each.ports)))
    names_some = set(machine.ports) - {recipe.ready.port}
    return machine if names_some or not machine.network else machine.model_copy(update={"ports": (*ports,)})
