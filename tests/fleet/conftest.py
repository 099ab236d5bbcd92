"""A template of ``teller``, and what it tells."""

import asyncio
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from imagebuilder.build.walk import build
from imagebuilder.bundle import Bundle
from imagebuilder.events import silent
from imagebuilder.machine import template as templates
from imagebuilder.machine.answers import fetch
from imagebuilder.machine.spec import Accelerator
from imagebuilder.machine.template import Template, Wanted
from imagebuilder.machine.template_create import create
from imagebuilder.recipe.load import load
from imagebuilder.store import Store

TELLER = Path(__file__).parent / "teller"
CLOCK_ERROR_NS = 10_000_000
ASKED_AGAIN = 8


@dataclass(frozen=True, slots=True)
class Told:
    """Who a clone says it is. ``begin_ns`` and ``end_ns`` are the host's wall clock before and after it was asked."""

    hostname: str
    address: str
    random: str
    realtime_ns: int
    begin_ns: int
    end_ns: int

    @property
    def clock_error_ns(self) -> int:
        """How far its clock is off at least: by that much it lies outside of what question and answer allow."""
        return max(self.begin_ns - self.realtime_ns, self.realtime_ns - self.end_ns, 0)


async def tell(port: int) -> Told:
    """Ask a clone who it is. The clock is known as well as the answer was quick; a busy host gets further chances."""
    for _ in range(ASKED_AGAIN):
        begin_ns = time.time_ns()
        _, body = await asyncio.wait_for(fetch(port, "/"), 120)
        end_ns = time.time_ns()
        said = dict(line.split(" ", 1) for line in body.decode().splitlines())
        realtime_ns = int(said.pop("realtime_ns"))
        told = Told(**said, realtime_ns=realtime_ns, begin_ns=begin_ns, end_ns=end_ns)
        if end_ns - begin_ns < CLOCK_ERROR_NS:
            break
    return told


def none_shares(told: list[Told], *, at_once: bool = True) -> None:
    """Each is another machine, whose clock is right. An address is given again when its machine is gone."""
    for key in ("hostname", "random", *(["address"] if at_once else [])):
        assert len({getattr(each, key) for each in told}) == len(told), key
    assert max(each.clock_error_ns for each in told) < CLOCK_ERROR_NS


@pytest.fixture(scope="session")
def teller(cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """The image of ``teller``."""
    return build(load(str(TELLER)), tmp_path_factory.mktemp("out"), store=Store(cache), say=silent)


@pytest.fixture(scope="session")
def template(teller: Bundle, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Template]:
    """A template of it, in a place of its own: tests that run beside these may have theirs."""
    store = Store(tmp_path_factory.mktemp("templates"))
    wanted = Wanted.of(teller, Accelerator.TCG)
    asyncio.run(create(wanted, store))
    made = wanted.find(store)
    yield made
    assert templates.remove(made.folder), "no clone uses it any more"
