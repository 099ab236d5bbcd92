"""What a build would make, and why: each step beside what the cache remembers of the last build of the same recipe."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from imagebuilder.build.described import described
from imagebuilder.build.plan import Plan, Step
from imagebuilder.build.revision import Code, known_code
from imagebuilder.build.steps import STEPS
from imagebuilder.errors import OutputError
from imagebuilder.store import Store, key_of

MOST_NAMED = 4


@dataclass(frozen=True)
class Outlook:
    """A step, whether its result is there (``cached``) or not asked for, and else why it would be made."""

    step: Step
    cached: bool
    reasons: tuple[str, ...] = ()

    def describe(self) -> dict[str, Any]:
        """As JSON."""
        return {**self.step.describe(), "cached": self.cached, "why": [*self.reasons]}


def remember(plan: Plan, code: Code, store: Store, *, name: str) -> None:
    """Keep what the steps of this build, of that ``name``, depended on, where the cache can be written."""
    ends = [each.id for each in plan.ends]
    if (store.record(key(name)) or {}).get("ends") != ends:
        steps = {step.title: _traits(step) for step in plan.steps()}
        with suppress(OutputError):
            store.keep(key(name), {"ends": ends, "code": code.key, "steps": steps})


def outlooks(plan: Plan, code: Code, store: Store, *, name: str) -> list[Outlook]:
    """What building it would do, step by step. Needs no network, and makes nothing."""
    last = store.record(key(name))
    before = known_code(last["code"], store) if last else None
    asked = {key: there for end in plan.ends for key, there in _asked_for(end, store).items()}
    return [
        Outlook(step, False, tuple(_reasons(step, last["steps"] if last else {}, code, before)))
        if asked.get(step.id) is False
        else Outlook(step, True)
        for step in plan.steps()
    ]


def _asked_for(step: Step, store: Store) -> dict[str, bool]:
    """The steps that a build asks for, by their id: whether the result of each is there."""
    document = store.record(step.id, touch=False)
    there = document is not None and all(store.place(each).exists() for each in STEPS[step.kind].contents(document))
    below = {} if there else {key: each for need in step.needs for key, each in _asked_for(need, store).items()}
    return {**below, step.id: there}


def key(name: str) -> str:
    """The key of the record of the last build of that name."""
    return key_of(["the last build", name])


def _traits(step: Step) -> dict[str, Any]:
    needs = {need.title: need.id for need in step.needs}
    return {"id": step.id, "revision": step.revision, "inputs": dict(_parts(described(step.inputs))), "needs": needs}


def _parts(document: Any, prefix: str = "", depth: int = 2) -> Iterator[tuple[str, str]]:
    """The parts of an input by their name, each by its hash."""
    if isinstance(document, Mapping) and depth:
        for key, value in document.items():
            yield from _parts(value, f"{prefix}.{key}" if prefix else str(key), depth - 1)
    else:
        yield prefix, key_of(document)


def _reasons(step: Step, last: Mapping[str, Any], code: Code, before: Code | None) -> Iterator[str]:
    old = last.get(step.title)
    if old is None:
        yield "it was not built here yet"
        return
    new = _traits(step)
    parts = {**old["inputs"], **new["inputs"]}
    if names := [name for name in parts if old["inputs"].get(name) != new["inputs"].get(name)]:
        yield f"changed: {_listed([name or 'its definition' for name in names])}"
    if old["revision"] != new["revision"]:
        modules = code.changed(STEPS[step.kind].modules(step.inputs), before) if before else []
        yield f"other code: {_listed(modules)}" if modules else "other code"
    if others := [title for title, digest in new["needs"].items() if old["needs"].get(title) != digest]:
        yield f"made of another: {_listed(others)}"
    if old["id"] == step.id:
        yield "the cache no longer has it"


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - MOST_NAMED} more" if len(names) > MOST_NAMED else ""
    return ", ".join(names[:MOST_NAMED]) + more
