"""Pools: each clone is handed out once, is a machine of its own, and leaves nothing behind."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path

import pytest

from imagebuilder.errors import ImagebuilderError, InputError, MachineError
from imagebuilder.fleet.pool import Pool
from imagebuilder.fleet.spare import filled
from imagebuilder.machine.child import empty_file
from imagebuilder.machine.cloner import Cloner
from imagebuilder.machine.network import CLONES_NETWORK
from imagebuilder.machine.suspend import go_on
from imagebuilder.machine.template import Template
from imagebuilder.machine.waiting import all_of

from .conftest import CLOCK_ERROR_NS, Told, none_shares, tell

PATIENCE_S = 120.0
WRONG_NS = 80_000_000
MANY, ONE_AFTER_THE_OTHER = 50, 1000


def descriptors() -> int:
    """How many files we have open."""
    return len(list(Path("/proc/self/fd").iterdir()))


def children(of: int | None = None) -> list[int]:
    """The children of a process."""
    lists = Path(f"/proc/{of or os.getpid()}/task").glob("*/children")
    return [int(word) for each in lists for word in each.read_text().split()]


@pytest.fixture
def tidy() -> Iterator[None]:
    """Nothing is left behind."""
    empty_file()  # the one that all machines share stays open
    files, processes = descriptors(), set(children())
    yield
    assert set(children()) <= processes
    assert descriptors() <= files


@pytest.mark.parametrize("numbers", [{"ready": 0}, {"ready": 1, "fillers": 0}])
def test_a_pool_of_none_is_refused(numbers: dict[str, int]) -> None:
    with pytest.raises(InputError, match="1 or more"):
        Pool(None, **numbers)  # type: ignore[arg-type]


@pytest.mark.vm
def test_every_hand_out_is_another_machine(template: Template, tidy: None) -> None:
    async def three() -> list[Told]:
        told = []
        async with Pool(template, ready=2) as pool:
            for _ in range(3):
                async with pool.spare() as spare:
                    told.append(await tell(spare.instance.host_port(80)))
                    assert told[-1].hostname == spare.identity.hostname
            assert pool.counts.handed_out == 3
        return told

    told = asyncio.run(three())
    none_shares(told, at_once=False)
    for each in told:
        assert each.address.startswith(str(CLONES_NETWORK.network_address).split(".")[0] + ".")


@pytest.mark.vm
def test_a_clock_that_may_be_wrong_is_looked_at_before_the_programs_see_it(template: Template, tidy: None) -> None:
    async def told() -> Told:
        async with Cloner(template) as cloner, filled(cloner) as spare:
            wrong = replace(spare.parked, guest_ns=spare.parked.guest_ns + WRONG_NS, unsure_ns=WRONG_NS)
            await go_on(spare.instance, wrong)
            return await tell(spare.instance.host_port(80))

    assert asyncio.run(told()).clock_error_ns < CLOCK_ERROR_NS


@pytest.mark.vm
def test_one_that_dies_while_it_waits_is_replaced(template: Template, tidy: None) -> None:
    async def replaced() -> tuple[int, int]:
        async with Pool(template, ready=1) as pool:
            await pool.full()
            first = pool._spares[0].instance
            first.kill()
            await first.wait_exit()
            while not pool.counts.died:
                await pool._change()
            async with pool.instance() as instance:
                assert instance is not first
                await tell(instance.host_port(80))
            return pool.counts.died, pool.counts.filled

    assert asyncio.run(asyncio.wait_for(replaced(), PATIENCE_S)) == (1, 2)


@pytest.mark.vm
def test_one_that_died_unseen_is_not_handed_out(template: Template, tidy: None) -> None:
    async def handed_out() -> None:
        async with Pool(template, ready=1) as pool:
            await pool.full()
            first = pool._spares[0].instance
            os.kill(first.pid, signal.SIGKILL)  # and nobody had time to notice
            async with pool.instance() as instance:
                assert instance is not first
                await tell(instance.host_port(80))

    asyncio.run(asyncio.wait_for(handed_out(), PATIENCE_S))


@pytest.mark.vm
def test_one_that_dies_in_use_does_not_harm_the_next(template: Template, tidy: None) -> None:
    async def next_one() -> Told:
        async with Pool(template, ready=1) as pool:
            async with pool.instance() as instance:
                os.kill(instance.pid, signal.SIGKILL)
                assert not (await instance.wait_exit()).ok
            async with pool.instance() as instance:
                return await tell(instance.host_port(80))

    assert asyncio.run(asyncio.wait_for(next_one(), PATIENCE_S)).hostname


@pytest.mark.vm
def test_who_gives_up_takes_nothing_along(template: Template, tidy: None) -> None:
    async def given_up() -> int:
        async with Pool(template, ready=1) as pool:
            impatient = [asyncio.ensure_future(pool.instance().__aenter__()) for _ in range(2)]
            await asyncio.sleep(0.05)
            for each in impatient:
                each.cancel()
            await all_of(*impatient)
            async with pool.instance() as instance:
                await tell(instance.host_port(80))
            return pool.counts.handed_out

    assert asyncio.run(asyncio.wait_for(given_up(), PATIENCE_S)) == 1


@pytest.mark.vm
def test_a_pool_that_cannot_make_clones_says_why(template: Template, tidy: None) -> None:
    torn = replace(template)
    torn.__dict__["state"] = template.state[: len(template.state) // 2]

    async def hopeless() -> None:
        async with Pool(torn, ready=2) as pool, pool.instance():
            pass

    with pytest.raises(MachineError, match="teller"):
        asyncio.run(asyncio.wait_for(hopeless(), PATIENCE_S))


@pytest.mark.vm
@pytest.mark.parametrize("moment_s", [0.0, 0.02, 0.15, 0.4])
def test_a_pool_that_is_left_at_any_moment_leaves_nothing(template: Template, tidy: None, moment_s: float) -> None:
    async def left() -> None:
        async with Pool(template, ready=3, fillers=3):
            await asyncio.sleep(moment_s)

    asyncio.run(left())


KEEPER = """
import asyncio, sys
from pathlib import Path
from imagebuilder.fleet.pool import Pool
from imagebuilder.machine.template import Template

async def main():
    async with Pool(Template.read(Path(sys.argv[1])), ready=2) as pool:
        await pool.full()
        async with pool.instance():
            print("full", flush=True)
            await asyncio.sleep(60)

asyncio.run(main())
"""


@pytest.mark.vm
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_nothing_is_left_when_the_pools_process_ends(template: Template, number: int) -> None:
    words = [sys.executable, "-c", KEEPER, str(template.folder)]
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "full\n"
        machines = children(process.pid)
        assert len(machines) >= 2
        process.send_signal(number)
        process.wait(PATIENCE_S)
    until = time.monotonic() + PATIENCE_S
    while any(Path(f"/proc/{pid}").exists() and not ended(pid) for pid in machines):
        assert time.monotonic() < until
        time.sleep(0.01)


def ended(pid: int) -> bool:
    """Whether nothing of a process is left but its status, which whoever adopted it may not have asked for."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


@pytest.mark.vm
@pytest.mark.slow
def test_fifty_at_once_share_nothing(template: Template, tidy: None) -> None:
    async def all_at_once() -> list[Told]:
        async with Pool(template, ready=MANY) as pool, AsyncExitStack() as stack:
            await pool.full()
            entering = [stack.enter_async_context(pool.instance()) for _ in range(MANY)]
            instances = await asyncio.gather(*entering)
            return list(await asyncio.gather(*(tell(each.host_port(80)) for each in instances)))

    none_shares(asyncio.run(all_at_once()))


@pytest.mark.vm
@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_a_thousand_one_after_the_other(template: Template, tidy: None) -> None:
    async def one_after_the_other() -> list[Told]:
        told, failed = [], []
        async with Pool(template, ready=4) as pool:
            for _ in range(ONE_AFTER_THE_OTHER):
                try:
                    async with pool.instance() as instance:
                        told.append(await tell(instance.host_port(80)))
                except ImagebuilderError as error:
                    failed.append(error.message)
            assert not failed
            assert pool.counts.died == pool.counts.failed == 0
        return told

    none_shares(asyncio.run(one_after_the_other()), at_once=False)
