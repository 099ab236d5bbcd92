"""Verdicts: what is the same is never called slower, what is slower is found, and where. All noise is seeded."""

import random
from dataclasses import replace

import pytest

from imagebuilder.errors import InputError
from imagebuilder.measure import compare
from imagebuilder.measure.change import Verdict
from imagebuilder.measure.compare import Comparison, apart, paired
from imagebuilder.measure.host import Host
from imagebuilder.measure.report import Startup
from imagebuilder.measure.statistics import Summary

ROUNDS = 10
PHASES_MS = {"qmp": 45.0, "kernel": 300.0, "init": 60.0, "application": 120.0}
HOST = Host("tcg", "7.2.22", "a processor", 2, "Linux 6.1", "0.1")


def started(
    generator: random.Random,
    weather: list[float],
    *,
    noise: float = 0.02,
    floor_ms: float = 40.0,
    instructions: float | None = None,
    **longer_ms: float,
) -> Startup:
    """Rounds of a start under the rounds' weather; ``longer_ms`` is added to phases, after their noise."""

    def taken(usual_ms: float, each: float) -> float:
        return usual_ms * each * generator.lognormvariate(0, noise)

    rounds = [{k: taken(ms, each) + longer_ms.get(k, 0) for k, ms in PHASES_MS.items()} for each in weather]
    floors = [taken(floor_ms, each) for each in weather]
    ready = [sum(each.values()) for each in rounds]
    count = None if instructions is None else Summary.of([instructions * (1 + part) for part in (-1e-3, 0.0, 1e-3)])
    return Startup(
        floor_ms=Summary.of(floors),
        ready_ms=Summary.of(ready),
        phases_ms={name: Summary.of([each[name] for each in rounds]) for name in PHASES_MS},
        floors=Summary.of([one / other for one, other in zip(ready, floors, strict=True)]),
        cpu_ms=Summary.of([taken(400, 1) for _ in weather]),
        instructions=count,
    )


def calm(rounds: int = ROUNDS) -> list[float]:
    """Rounds in which the host has nothing else to do."""
    return [1.0] * rounds


def stormy(generator: random.Random, rounds: int = ROUNDS) -> list[float]:
    """Rounds on a host that two compilers keep busy: each takes up to three times as long as the quickest."""
    return [1 + 2 * generator.random() for _ in range(rounds)]


def said(comparison: Comparison) -> dict[str, Verdict]:
    """The verdict of each change that is a difference."""
    return {change.what: change.verdict for change in comparison.changes if change.verdict.differs}


@pytest.mark.parametrize("noise", [0.01, 0.1, 0.3])
def test_the_same_image_in_one_run_is_never_slower_nor_faster(noise: float) -> None:
    generator = random.Random(7)
    for _ in range(15):
        weather = stormy(generator)
        these, those = (started(generator, weather, noise=noise) for _ in range(2))
        assert not paired(these, those, reference="itself").verdict.differs


@pytest.mark.parametrize("busy", [False, True])
def test_the_same_image_another_day_is_never_slower_nor_faster(busy: bool) -> None:
    generator = random.Random(8)
    for _ in range(15):
        this_day = stormy(generator) if busy else calm()
        these, those = started(generator, this_day), started(generator, stormy(generator))
        assert not apart(these, those, reference="itself").verdict.differs


def test_false_alarms_of_a_phase_are_rare() -> None:
    generator = random.Random(9)
    alarms = 0
    for _ in range(40):
        weather = stormy(generator)
        these, those = (started(generator, weather, noise=0.2) for _ in range(2))
        alarms += len(said(paired(these, those, reference="itself")))
    assert alarms <= 2  # of 240 changes that were looked at; 2 in 1000 are to be expected


@pytest.mark.parametrize("seed", range(10))
def test_a_sleep_of_50_ms_in_init_is_found_there(seed: int) -> None:
    generator = random.Random(seed)
    weather = calm()
    these, those = started(generator, weather, init=50), started(generator, weather)
    found = said(paired(these, those, reference="before"))
    assert found == {"ready": Verdict.SLOWER, "init": Verdict.SLOWER}
    assert said(paired(those, these, reference="after")) == {"ready": Verdict.FASTER, "init": Verdict.FASTER}


@pytest.mark.parametrize("seed", range(5))
def test_a_sleep_is_found_where_the_whole_scatters(seed: int) -> None:
    generator = random.Random(seed)
    weather = stormy(generator)
    these, those = (started(generator, weather, noise=0.1, init=more) for more in (150, 0))
    comparison = paired(these, those, reference="before")
    assert comparison.verdict is said(comparison)["init"] is Verdict.SLOWER


@pytest.mark.parametrize("seed", range(5))
def test_a_sleep_is_found_against_a_report_too(seed: int) -> None:
    generator = random.Random(seed)
    found = said(apart(started(generator, calm(), init=50), started(generator, calm()), reference="before"))
    assert found["init"] is found["ready"] is found["floors"] is Verdict.SLOWER
    assert "qmp" not in found and "floor" not in found


@pytest.mark.parametrize("seed", range(5))
def test_5_ms_in_the_hosts_start_path_are_found_there(seed: int) -> None:
    generator = random.Random(seed)
    these, those = started(generator, calm(), qmp=5, floor_ms=45), started(generator, calm())
    comparison = apart(these, those, reference="before")
    assert said(comparison).keys() >= {"qmp", "floor"}
    assert said(comparison)["qmp"] is Verdict.SLOWER
    assert "kernel" not in said(comparison)
    assert not comparison.verdict.differs  # 1 % of the whole is no practical difference
    beside = paired(started(generator, calm(), qmp=5), started(generator, calm()), reference="beside")
    assert said(beside)["qmp"] is Verdict.SLOWER


def test_what_is_slower_everywhere_is_the_weather() -> None:
    generator = random.Random(3)
    these, those = started(generator, [1.5] * ROUNDS), started(generator, calm())
    comparison = apart(these, those, reference="before")
    assert said(comparison) == {}
    assert comparison.verdict is Verdict.UNDECIDED
    assert "other work" in comparison.why


def test_phases_that_grew_with_the_floor_are_not_called_slower() -> None:
    generator = random.Random(11)
    for _ in range(10):
        busier = [1.3 + 0.2 * generator.random() for _ in range(ROUNDS)]
        found = said(apart(started(generator, busier), started(generator, calm()), reference="before"))
        assert found == {}


def test_a_difference_without_practical_use_is_none() -> None:
    generator = random.Random(4)
    weather = calm(40)
    these, those = (started(generator, weather, noise=0.001, kernel=more) for more in (5, 0))
    assert paired(these, those, reference="before").verdict is Verdict.SAME


def test_few_rounds_decide_nothing() -> None:
    generator = random.Random(5)
    these, those = (started(generator, calm(3), noise=0.001, kernel=more) for more in (300, 0))
    assert paired(these, those, reference="before").verdict is Verdict.UNDECIDED


def test_instructions_decide_where_the_clock_cannot() -> None:
    generator = random.Random(6)
    weather = stormy(generator)
    more, less, same = (started(generator, weather, noise=0.3, instructions=n * 1e6) for n in (102, 100, 100.2))
    assert paired(more, less, reference="x").verdict is Verdict.SLOWER
    assert paired(less, more, reference="x").verdict is Verdict.FASTER
    assert paired(same, less, reference="x").verdict is Verdict.UNDECIDED


@pytest.mark.parametrize(
    ("other", "word"),
    [
        (replace(HOST, accelerator="kvm"), "accelerator"),
        (replace(HOST, qemu="10.0.2"), "QEMU"),
        (replace(HOST, cpu="another"), "processor"),
        (replace(HOST, cores=64), "number of processors"),
    ],
)
def test_other_hosts_are_not_compared(other: Host, word: str) -> None:
    with pytest.raises(InputError, match=word):
        compare.check_comparable(HOST, other, reference="old.json")


def test_the_same_host_is_compared() -> None:
    compare.check_comparable(HOST, replace(HOST, kernel="Linux 6.2", imagebuilder="0.2"), reference="old.json")


@pytest.mark.parametrize("key", ["ready_ms", "floor_ms"])
def test_a_report_of_starts_that_took_no_time_is_refused(key: str) -> None:
    whole = started(random.Random(0), calm())
    compare.check_whole(whole, reference="old.json")
    for samples in ((), (0.0, 1.0)):
        broken = whole.model_copy(update={key: Summary(1, 1, 0, 1, samples)})
        with pytest.raises(InputError, match=r"old\.json"):
            compare.check_whole(broken, reference="old.json")


def hosted(startup: Startup, seed: int, *, host_ms: float, cpu_ms: float = 400) -> Startup:
    """The same starts, with what the host added, and another processor time."""
    generator = random.Random(seed)
    added = [host_ms * generator.lognormvariate(0, 0.08) for _ in startup.ready_ms.samples]
    worked = [cpu_ms * generator.lognormvariate(0, 0.02) for _ in startup.ready_ms.samples]
    return startup.model_copy(update={"host_ms": Summary.of(added), "cpu_ms": Summary.of(worked)})


@pytest.mark.parametrize("seed", range(5))
def test_what_the_host_adds_is_found_in_any_weather(seed: int) -> None:
    generator = random.Random(seed)
    before = hosted(started(generator, calm(20)), seed, host_ms=20)
    after = hosted(started(generator, stormy(generator, 20)), seed + 100, host_ms=26, cpu_ms=420)
    comparison = apart(after, before, reference="before")
    assert said(comparison) == {"host": Verdict.SLOWER}
    assert comparison.verdict is Verdict.UNDECIDED
    beside = hosted(started(generator, calm(20)), seed + 200, host_ms=26)
    assert said(paired(beside, before, reference="beside"))["host"] is Verdict.SLOWER


@pytest.mark.parametrize("seed", range(5))
def test_a_processor_that_is_shared_is_no_slower_host(seed: int) -> None:
    generator = random.Random(seed)
    before = hosted(started(generator, calm(20)), seed, host_ms=20)
    after = hosted(started(generator, stormy(generator, 20)), seed + 100, host_ms=26, cpu_ms=520)
    assert "host" not in said(apart(after, before, reference="before"))
