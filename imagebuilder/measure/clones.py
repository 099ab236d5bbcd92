"""Clones of images as further things to measure: each from its template, and as copies of a fork server."""

from collections.abc import Sequence
from dataclasses import dataclass

from imagebuilder.events import Say, silent
from imagebuilder.machine.engines import chosen, note
from imagebuilder.machine.template import Template, Wanted
from imagebuilder.machine.template_create import found_or_made
from imagebuilder.measure import subject
from imagebuilder.measure.subject import Subject
from imagebuilder.store import Store

CLONE, COPY = " clone", " copy"


@dataclass(frozen=True, slots=True)
class Clones:
    """That clones are measured too; without ``copies`` each is a new QEMU."""

    copies: bool = True


async def of_images(images: Sequence[Subject], request: Clones, store: Store, *, say: Say = silent) -> list[Subject]:
    """The clones of images. A template that is missing or stale is made: raises what that raises."""
    found = []
    for each in images:
        template = await template_of(each, store, say=say)
        found.append(subject.of_template(template, f"{each.name}{CLONE}"))
        engine = chosen(template) if request.copies else None
        if isinstance(engine, str):
            say(note(engine))
        elif engine is not None:
            found.append(subject.of_template(template, f"{each.name}{COPY}", copied=True))
    return found


async def template_of(image: Subject, store: Store, *, say: Say = silent) -> Template:
    """The template of an image of ours, made when it is missing or stale."""
    assert image.bundle is not None
    return await found_or_made(Wanted(image.bundle, image.spec), store, say=say)
