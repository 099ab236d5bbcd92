"""The same within so many percent: claimed where the scatter allows it, and hardly ever of what is slower by as much.
All noise is seeded, and rounds are taken as the gate of docs/ci.md takes them: more while it is undecided."""

import random
from collections import Counter
from dataclasses import replace

import pytest

from imagebuilder.measure import bootstrap, detectable_effect
from imagebuilder.measure.change import Change, Rule, Verdict, apart, in_turn
from imagebuilder.measure.compare import apart as apart_whole
from imagebuilder.measure.compare import paired
from imagebuilder.measure.report import Startup
from imagebuilder.measure.rounds import FURTHER, RUNS, Schedule
from imagebuilder.measure.statistics import Summary

from .test_compare import calm, started

LOOKS = Schedule(runs=RUNS, most=FURTHER * RUNS).looks


@pytest.fixture
def verdicts_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """What would have been seen is no part of a verdict, and takes most of the time."""
    monkeypatch.setattr(detectable_effect, "seen_from", lambda *_args, **_words: None)


def gate(generator: random.Random, *, noise: float, slower: float, within: float = 0.1) -> Change:
    """One run of the gate, on a host that is at times half as fast as at others."""
    rule = Rule(within, len(LOOKS))
    rounds: list[tuple[float, float]] = []
    found = None
    for look in LOOKS:
        while len(rounds) < look:
            weather = 300 * (1 + generator.random())
            one, other = (weather * generator.lognormvariate(0, noise) for _ in range(2))
            rounds.append((one * slower, other))
        found = in_turn("ready", *map(Summary.of, zip(*rounds, strict=True)), rule=rule)
        if found.verdict is not Verdict.UNDECIDED:
            break
    assert found is not None
    return found


def test_looks_double_up_to_the_most() -> None:
    assert LOOKS == (10, 20, 40, 80, 160)
    assert Schedule(runs=10).looks == (10,)
    assert Schedule(runs=10, most=25).looks == (10, 20, 25)


@pytest.mark.usefixtures("verdicts_only")
@pytest.mark.parametrize("noise", [0.02, 0.05, 0.1])
def test_the_gate_passes_what_is_the_same_and_finds_what_is_slower_by_a_tenth(noise: float) -> None:
    generator = random.Random(21)
    same = Counter(gate(generator, noise=noise, slower=1).verdict for _ in range(20))
    slower = Counter(gate(generator, noise=noise, slower=1.1).verdict for _ in range(20))
    assert same == {Verdict.SAME: 20}
    assert slower[Verdict.SLOWER] >= 19


@pytest.mark.usefixtures("verdicts_only")
def test_what_is_slower_by_the_limit_is_hardly_ever_called_the_same() -> None:
    """2 in 100 are allowed, over all looks together."""
    generator = random.Random(22)
    said = Counter(gate(generator, noise=0.1, slower=1.05, within=0.05).verdict for _ in range(20))
    assert said[Verdict.SAME] <= 1, said


@pytest.mark.usefixtures("verdicts_only")
def test_what_is_the_same_is_hardly_ever_called_slower_however_often_one_looks() -> None:
    generator = random.Random(23)
    said = Counter(gate(generator, noise=0.25, slower=1, within=0.01).verdict for _ in range(20))
    assert said == {Verdict.UNDECIDED: 20}  # 2 in 1000 are allowed


def test_a_narrower_limit_needs_more_rounds() -> None:
    generator = random.Random(24)
    ratios = [generator.lognormvariate(0, 0.05) for _ in range(10)]
    this, that = Summary.of([300 * each for each in ratios]), Summary.of([300.0] * 10)
    assert in_turn("ready", this, that, rule=Rule(0.1)).verdict is Verdict.SAME
    assert in_turn("ready", this, that, rule=Rule(0.01)).verdict is Verdict.UNDECIDED


def test_few_rounds_are_not_the_same_either() -> None:
    this, that = Summary.of([300.0, 301.0, 299.0]), Summary.of([300.0, 300.5, 300.2])
    assert in_turn("ready", this, that).verdict is Verdict.UNDECIDED
    assert apart("ready", this, that).verdict is Verdict.UNDECIDED


def test_more_looks_ask_for_more() -> None:
    """Ten rounds that agree show a difference when it is asked once, and not when it may be asked five times."""
    that = Summary.of([300.0 + each for each in range(10)])
    this = Summary.of([330.0 + each for each in range(10)])
    assert in_turn("ready", this, that, rule=Rule(looks=1)).verdict is Verdict.SLOWER
    assert in_turn("ready", this, that, rule=Rule(0.05, looks=5)).verdict is Verdict.UNDECIDED


def test_a_phase_of_few_ms_is_the_same_within_one() -> None:
    that, this = Summary.of([2.0] * 10), Summary.of([2.5 + each / 100 for each in range(10)])
    assert in_turn("init", this, that, least=1.0).verdict is Verdict.SAME
    assert in_turn("ready", this, that).verdict is Verdict.SLOWER


def test_the_interval_must_leave_out_1(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ranks alone do not make a difference: here they say that there is one, and the interval holds 1."""
    this, that = Summary.of([330.0] * 12), Summary.of([300.0] * 12)
    for name in ("of_median", "of_ratio"):
        monkeypatch.setattr(bootstrap, name, lambda *_args, **_words: (0.99, 1.2))
    assert bootstrap.chance_paired([0.1] * 12) < 0.001
    for judge in (in_turn, apart):
        assert judge("ready", this, that).verdict is Verdict.UNDECIDED


def test_ranks_must_agree_too(monkeypatch: pytest.MonkeyPatch) -> None:
    this, that, same = (Summary.of([each] * 12) for each in (330.0, 300.0, 301.0))
    for name in ("chance_paired", "chance_apart"):
        monkeypatch.setattr(bootstrap, name, lambda *_args, **_words: 0.5)
    for judge in (in_turn, apart):
        assert judge("ready", this, that).verdict is judge("ready", same, that).verdict is Verdict.UNDECIDED


def test_the_interval_must_lie_inside(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ranks alone do not make two figures the same either."""
    this, that = Summary.of([301.0] * 12), Summary.of([300.0] * 12)
    for interval in ((0.8, 1.05), (0.95, 1.2)):
        for name in ("of_median", "of_ratio"):
            monkeypatch.setattr(bootstrap, name, lambda *_args, found=interval, **_words: found)
        for judge in (in_turn, apart):
            assert judge("ready", this, that).verdict is Verdict.UNDECIDED


@pytest.mark.parametrize("seed", range(5))
def test_the_processor_time_may_object(seed: int) -> None:
    """Against a report: slower by the clock in ms and in floors, and quicker by the processor time, is undecided."""
    generator = random.Random(seed)
    before, after = started(generator, calm()), started(generator, calm(), application=100)
    assert apart_whole(after, before, reference="before").verdict is Verdict.SLOWER
    worked = Summary.of([each * 0.7 for each in before.cpu_ms.samples]) if before.cpu_ms else None
    found = apart_whole(after.model_copy(update={"cpu_ms": worked}), before, reference="before")
    said = {change.what: change.verdict for change in found.changes}
    assert (said["ready"], said["floors"], said["cpu"]) == (Verdict.SLOWER, Verdict.SLOWER, Verdict.FASTER)
    assert found.verdict is Verdict.UNDECIDED


@pytest.mark.parametrize("seed", range(5))
def test_the_same_image_another_day_is_the_same(seed: int) -> None:
    generator = random.Random(seed)
    these, those = started(generator, calm(20)), started(generator, calm(20))
    assert apart_whole(these, those, reference="before").verdict is Verdict.SAME


def test_what_the_weather_hides_is_not_the_same() -> None:
    """The host became quicker by as much as the image became slower: time and processor time are the same, and its
    multiples of the floor, which scatter too much to say it, are not."""
    generator = random.Random(2)
    these, those = started(generator, calm(20)), started(generator, calm(20))
    assert apart_whole(these, those, reference="before").verdict is Verdict.SAME
    floors = Summary.of([each * generator.lognormvariate(0.3, 0.5) for each in those.floors.samples])  # type: ignore[union-attr]
    found = apart_whole(these.model_copy(update={"floors": floors}), those, reference="before")
    said = {change.what: change for change in found.changes}
    assert said["ready"].verdict is said["cpu"].verdict is Verdict.SAME
    assert said["floors"].verdict is Verdict.UNDECIDED and said["floors"].ratio > 1.1
    assert found.verdict is Verdict.UNDECIDED


def phase_apart() -> tuple[Startup, Startup]:
    """Two images of which the whole is the same, and a phase longer by 3 % of the whole."""
    generator = random.Random(3)
    these, those = (started(generator, calm(20), noise=0.005, init=more) for more in (15, 0))
    return these.model_copy(update={"ready_ms": those.ready_ms}), those


def test_a_phase_may_speak_where_the_whole_is_the_same() -> None:
    found = paired(*phase_apart(), reference="before")
    assert found.changes[0].verdict is Verdict.SAME
    assert found.verdict is Verdict.SLOWER and "init" in found.why


def test_a_phase_that_speaks_is_clearer_than_any_would_be_by_chance(monkeypatch: pytest.MonkeyPatch) -> None:
    """There are four phases, and each has a chance to deceive: they share that of the whole."""
    these, those = phase_apart()
    for chance, verdict in ((0.002 / 4, Verdict.SLOWER), (0.002 / 3, Verdict.SAME)):
        monkeypatch.setattr(bootstrap, "chance_apart", lambda *_args, found=chance, **_words: found)
        assert paired(these, those, reference="before").verdict is verdict


def test_instructions_that_are_the_same_do_not_speak_for_the_clock() -> None:
    generator = random.Random(6)
    weather = [1 + 2 * generator.random() for _ in range(10)]
    these, those = (started(generator, weather, noise=0.4, instructions=1e8) for _ in range(2))
    found = paired(these, those, reference="x")
    assert found.changes[-1].what == "instructions" and found.changes[-1].verdict is Verdict.SAME
    assert found.verdict is Verdict.UNDECIDED
    alike = replace(found, rule=Rule(0.05), verdict=Verdict.SAME)
    assert alike.said == "the same within 5 %"
