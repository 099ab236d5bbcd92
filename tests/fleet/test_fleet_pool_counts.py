"""What a pool does with its clones, told by stand-ins for them: ``test_fleet_pool.py`` has real ones."""

import asyncio
import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from imagebuilder.errors import InputError, MachineError
from imagebuilder.events import silent
from imagebuilder.fleet import pool as pools
from imagebuilder.fleet.pool import FAILURES, HAND_OUTS, Counts, Pool

PATIENCE_S = 5.0


class StandIn:
    """A clone that is no machine."""

    def __init__(self) -> None:
        self.instance = self
        self.exited, self.thrown_away = asyncio.Event(), asyncio.Event()
        self.went_on = False
        self.error: BaseException | None = None

    async def wait_exit(self) -> None:
        """As an instance's."""
        await self.exited.wait()

    async def go_on(self) -> None:
        """As a spare's."""
        if self.error is not None:
            raise self.error
        self.went_on = True

    def throw_away(self) -> None:
        """As a spare's; that it exits takes a while."""
        self.thrown_away.set()


class CloneSource:
    """Makes stand-ins, or fails as often as ``failures`` says; counts how many are made at once."""

    def __init__(self) -> None:
        self.made: list[StandIn] = []
        self.living: set[StandIn] = set()
        self.failures: list[BaseException] = []
        self.prepare: Callable[[StandIn], None] = lambda _: None
        self.warm: list[tuple[str, ...]] = []
        self.asked: tuple[Any, ...] = ()
        self.at_once = self.most_at_once = 0
        self.ended = False
        self.why: tuple[object, ...] = ()

    @asynccontextmanager
    async def filled(self, cloner: Any, warm: tuple[str, ...], *, turn: asyncio.Semaphore) -> AsyncIterator[StandIn]:
        """In the place of ``spare.filled``."""
        assert cloner is self
        self.warm.append(warm)
        async with turn:
            self.at_once += 1
            self.most_at_once = max(self.most_at_once, self.at_once)
            await asyncio.sleep(0)
            self.at_once -= 1
            if self.failures:
                raise self.failures.pop(0)
        spare = StandIn()
        self.prepare(spare)
        self.made.append(spare)
        self.living.add(spare)
        try:
            yield spare
        finally:
            self.living.discard(spare)

    async def __aexit__(self, *why: object) -> None:
        """In the place of a cloner's: after the last clone."""
        assert not self.living
        self.ended, self.why = True, why


@pytest.fixture
def source(monkeypatch: pytest.MonkeyPatch) -> CloneSource:
    """Whence a pool has its clones."""
    source = CloneSource()
    monkeypatch.setattr(pools, "filled", source.filled)

    def cloner(*values: Any, **named: Any) -> CloneSource:
        source.asked = (values, named)
        return source

    monkeypatch.setattr(pools, "Cloner", cloner)
    monkeypatch.setattr(pools, "ASIDE_S", 0.001)
    monkeypatch.setattr(pools, "BACK_OFF_S", 0.001)
    return source


def pool_of(ready: int, **more: Any) -> Pool:
    """A pool of stand-ins."""
    return Pool(None, ready=ready, **more)  # type: ignore[arg-type]


async def settled(pool: Pool) -> None:
    """Wait until it is full, and some turns of the loop more."""
    await asyncio.wait_for(pool.full(), PATIENCE_S)
    for _ in range(10):
        await asyncio.sleep(0)


async def until(condition: Callable[[], bool]) -> None:
    """Wait until it is so."""
    for _ in range(5000):
        if condition():
            return
        await asyncio.sleep(0.001)
    pytest.fail("it never is")


async def test_one_that_died_while_it_stood_ready_is_replaced_and_never_handed_out(source: CloneSource) -> None:
    async with pool_of(2) as pool:
        await settled(pool)
        dead = source.made[0]
        dead.exited.set()
        await until(lambda: len(source.made) == 3)
        await settled(pool)
        assert (pool.standing, pool.counts.died, pool.counts.filled) == (2, 1, 3)
        for _ in range(3):
            async with pool.spare():
                assert not dead.went_on
        assert dead not in source.living
        await settled(pool)
        source.made[-1].exited.set()
        await until(lambda: pool.counts.died == 2)


@pytest.mark.parametrize("numbers", [{"ready": 0}, {"ready": 1, "fillers": 0}])
def test_a_pool_of_none(source: CloneSource, numbers: dict[str, int]) -> None:
    fillers = {"fillers": max(1, len(os.sched_getaffinity(0)) - 1), **numbers}["fillers"]
    with pytest.raises(InputError) as refused:
        pool_of(**numbers)
    sentence = f"a pool of {numbers['ready']} clones, {fillers} made at a time, is none: give 1 or more"
    assert str(refused.value) == sentence


@pytest.mark.parametrize(("processors", "at_once"), [(1, 1), (2, 1), (4, 3)])
async def test_one_processor_is_left(
    source: CloneSource, monkeypatch: pytest.MonkeyPatch, processors: int, at_once: int
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(processors)))
    async with pool_of(5) as pool:
        await settled(pool)
    assert source.most_at_once == at_once


async def test_it_is_filled_as_asked_and_empty_in_the_end(source: CloneSource) -> None:
    template: Any = object()
    pool = Pool(template, warm=["/a", "/b"], copies=False, fillers=2)
    assert pool.template is template and pool.ready == 2 and pool.counts == Counts(0, 0, 0, 0, 0)
    assert source.asked == ((template,), {"warm": ["/a", "/b"], "copies": False, "say": silent})
    async with pool as entered:
        assert entered is pool and pool.standing == 0, "it does not wait"
        await settled(pool)
        assert pool.standing == len(source.living) == source.most_at_once == 2 and not source.ended
        assert source.warm == [("/a", "/b")] * 2
    assert source.ended and not source.living
    Pool(template)
    assert source.asked == ((template,), {"warm": (), "copies": True, "say": silent})


async def test_each_is_handed_out_once_in_the_order_in_which_it_was_made(source: CloneSource) -> None:
    async with pool_of(2, fillers=2) as pool:
        await settled(pool)
        for number in range(3):
            async with pool.instance() as instance:
                taken: Any = instance
                assert taken is source.made[number] and taken.went_on and not taken.thrown_away.is_set()
            assert taken.thrown_away.is_set()
            await until(lambda: pool.standing == 2)
        assert pool.counts == Counts(filled=5, handed_out=3)
        await until(lambda: len(source.living) == 2)


async def test_who_finds_none_ready_waits(source: CloneSource) -> None:
    async with pool_of(1) as pool:
        async with pool.spare(), pool.spare():
            assert (pool.counts.waited, pool.counts.handed_out) == (2, 2)
        await settled(pool)
        async with pool.spare():
            assert pool.counts.waited == 2


async def test_the_next_is_begun_after_a_while(source: CloneSource, monkeypatch: pytest.MonkeyPatch) -> None:
    """What follows a hand-out is for who got it."""
    monkeypatch.setattr(pools, "ASIDE_S", 0.05)
    async with pool_of(1) as pool:
        await settled(pool)
        async with pool.spare():
            await asyncio.sleep(0.01)
            assert len(source.made) == 1
            await until(lambda: len(source.made) == 2)


async def test_one_that_dies_in_use_is_looked_after_until_it_is_given_back(source: CloneSource) -> None:
    async with pool_of(1) as pool:
        await settled(pool)
        async with pool.spare():
            source.made[0].exited.set()
            await until(lambda: pool.standing == 1)
            assert source.made[0] in source.living and pool.counts.died == 0
        await until(lambda: source.made[0] not in source.living)
        assert pool.counts.died == 0


@pytest.mark.parametrize(("dead", "raised"), [(HAND_OUTS - 1, None), (HAND_OUTS, MachineError)])
async def test_some_may_be_dead_when_they_are_handed_out(
    source: CloneSource, dead: int, raised: type[Exception] | None
) -> None:
    def prepare(spare: StandIn) -> None:
        spare.error = MachineError("dead") if len(source.made) < dead else None

    source.prepare = prepare
    async with pool_of(1) as pool:
        if raised:
            with pytest.raises(raised, match="dead"):
                await pool.spare().__aenter__()
        else:
            async with pool.spare():
                assert source.made[-1].went_on and pool.counts.handed_out == 1
        assert all(spare.thrown_away.is_set() for spare in source.made[:dead])


async def test_what_is_no_death_is_raised_at_once(source: CloneSource) -> None:
    def prepare(spare: StandIn) -> None:
        spare.error = KeyError("x")

    source.prepare = prepare
    async with pool_of(1) as pool:
        with pytest.raises(KeyError):
            await pool.spare().__aenter__()
        assert source.made[0].thrown_away.is_set() and pool.counts.handed_out == 0


@pytest.mark.parametrize("kind", [MachineError, OSError])
async def test_failures_in_a_row_are_told_to_who_waits(source: CloneSource, kind: type[Exception]) -> None:
    source.failures = [kind(f"number {number}") for number in range(FAILURES)]
    async with pool_of(1) as pool:
        with pytest.raises(kind, match=f"number {FAILURES - 1}"):
            async with pool.spare():
                pass
        assert pool.counts.failed == FAILURES and pool.counts.filled == 0
        await until(lambda: pool.standing == 1)
        source.failures = [kind("again")] * (FAILURES - 1)
        async with pool.spare(), pool.spare():
            assert pool.counts.failed == 2 * FAILURES - 1, "those before the last success do not count"


async def test_it_waits_longer_after_each_failure(source: CloneSource, monkeypatch: pytest.MonkeyPatch) -> None:
    slept: list[float] = []
    real = asyncio.sleep

    async def sleep(delay_s: float) -> None:
        slept.extend([delay_s] if delay_s else [])
        await real(0)

    monkeypatch.setattr(pools, "BACK_OFF_S", 0.1)
    monkeypatch.setattr(pools, "MOST_BACK_OFF_S", 1.5)
    monkeypatch.setattr(asyncio, "sleep", sleep)
    source.failures = [OSError("x")] * 5
    async with pool_of(1) as pool:
        for _ in range(200):
            await real(0)
        assert pool.standing == 1
    assert slept == [0.2, 0.4, 0.8, 1.5, 1.5]


async def test_what_is_no_failure_of_a_clone_ends_its_keeper_only(source: CloneSource) -> None:
    async with pool_of(1) as pool:
        await settled(pool)
        assert pool._coming == 0 and len(pool._keepers) == 1
        source.failures = [OSError("x")]
        async with pool.spare():
            await until(lambda: pool.counts.failed == 1)
        await settled(pool)
        assert pool._coming == 0
        await until(lambda: len(pool._keepers) == 1)


async def test_who_waits_at_a_pool_that_is_closed_is_told(source: CloneSource) -> None:
    pool = pool_of(1)
    with pytest.raises(MachineError, match=r"^the pool is closed"):
        await pool.full()
    source.failures = [OSError("x")] * FAILURES
    async with pool:
        waiting = asyncio.ensure_future(pool.full())
        await asyncio.sleep(0)
    with pytest.raises(MachineError, match="the pool is closed"):
        await waiting
    assert pool.standing == 0 and not source.living


async def test_why_it_is_left_is_passed_on(source: CloneSource) -> None:
    error = KeyError("x")
    with pytest.raises(KeyError):
        async with pool_of(1):
            raise error
    assert source.why == (KeyError, error, error.__traceback__)
