"""What the figures of two images come to together: which are compared, by which rule, and which part decides."""

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from typing import Any

import pytest

from imagebuilder.errors import InputError
from imagebuilder.measure import bootstrap
from imagebuilder.measure.change import Change, Rule, Verdict, in_turn
from imagebuilder.measure.change import apart as change_apart
from imagebuilder.measure.compare import PHASE_EFFECT_MS, Comparison, apart, check_comparable, check_whole, paired
from imagebuilder.measure.report import Startup
from imagebuilder.measure.statistics import Summary

from .test_change import FASTER, ROUNDS, SAME, SLOWER, UNDECIDED, around, turned
from .test_compare import HOST

WIDE = Rule(0.6, 3)  # under it all that scatters is the same, and by none other
PHASES_MS = {"qmp": 45.0, "kernel": 300.0, "init": 60.0, "application": 120.0}
Compare = Callable[..., Comparison]


def figures(*, spread: float = 0.001, count: float | None = None, **given: Any) -> Startup:
    """Starts without chance; what is given replaces a figure or, by its name, a phase (ms)."""
    phases = {name: given.pop(name, ms) for name, ms in PHASES_MS.items()}
    usual = {"ready": sum(filter(None, phases.values())), "floor": 40.0, "cpu": 400.0, "host": 20.0}
    summed = {name: ms and around(ms, spread) for name, ms in {**usual, **given}.items() if name != "floors"}
    ready, floor = summed["ready"], summed["floor"]
    floors = Summary.of([one / other for one, other in zip(ready.samples, floor.samples, strict=True)])
    return Startup(
        floor_ms=floor,
        ready_ms=ready,
        phases_ms={name: ms and around(ms, spread) for name, ms in phases.items()},
        floors=given.get("floors", floors),
        cpu_ms=summed["cpu"],
        host_ms=summed["host"],
        instructions=None if count is None else around(count, 0.001),
    )


def mixed(startup: Startup) -> Startup:
    """The same, its rounds in another order."""
    phases = {name: summary and turned(summary) for name, summary in startup.phases_ms.items()}
    others = {name: turned(getattr(startup, name)) for name in ("floor_ms", "ready_ms", "floors", "cpu_ms", "host_ms")}
    return startup.model_copy(update={"phases_ms": phases, **others})


def of(comparison: Comparison, what: str) -> Change:
    """One change of it."""
    return {change.what: change for change in comparison.changes}[what]


def verdicts(comparison: Comparison) -> dict[str, Verdict]:
    """Those that are differences."""
    return {change.what: change.verdict for change in comparison.changes if change.verdict.differs}


@pytest.mark.parametrize("compare", [paired, apart])
def test_each_figure_is_compared_by_the_rule_that_is_asked_for(compare: Compare) -> None:
    # A phase of few ms: what is a large part of it is of no practical use.
    little: dict[str, Any] = {"init": 2.0, "host": 2.0, "floor": 2.0, "floors": around(250, 0.2)}
    these, those = mixed(figures(spread=0.2, **little)), figures(spread=0.2, **little)
    found = compare(these, those, reference="that", rule=WIDE)
    assert list(found.changes) == expected(compare, these, those, WIDE)
    assert {change.verdict for change in found.changes} == {SAME}
    usual = compare(these, those, reference="that").changes
    assert list(usual) == expected(compare, these, those, Rule())
    assert {change.what for change in usual if change.verdict is SAME} == {"init", "floor", "host"} & {
        change.what for change in usual
    }, "what is little is the same by any rule"
    assert {change.verdict for change in usual} == {SAME, UNDECIDED}
    assert (found.reference, found.paired, found.rule) == ("that", compare is paired, WIDE)
    assert found.why == {paired: "the rounds of one run", apart: "another run on this host"}[compare]
    assert found.said == WIDE.said(found.verdict)


def expected(compare: Compare, these: Startup, those: Startup, rule: Rule) -> list[Change]:
    """Each figure by itself, where there is no weather and nothing differs."""
    judge: Any = {paired: in_turn, apart: change_apart}[compare]
    least = PHASE_EFFECT_MS
    changes = [judge("ready", these.ready_ms, those.ready_ms, rule=rule)]
    if compare is apart:
        changes.append(judge("floors", these.floors, those.floors, rule=rule))
    for name in PHASES_MS:
        changes.append(judge(name, these.phases_ms[name], those.phases_ms[name], least=least, rule=rule))
    if compare is apart:
        changes.append(judge("floor", these.floor_ms, those.floor_ms, least=least, rule=rule))
    changes.append(judge("cpu", these.cpu_ms, those.cpu_ms, rule=rule))
    changes.append(judge("host", these.host_ms, those.host_ms, least=least, rule=rule))
    return changes


@pytest.mark.parametrize("compare", [paired, apart])
@pytest.mark.parametrize("rule", [WIDE, Rule()])
def test_what_takes_long_is_judged_by_the_rule_alone(compare: Compare, rule: Rule) -> None:
    these, those = mixed(figures(spread=0.2)), figures(spread=0.2)
    found = compare(these, those, reference="that", rule=rule).changes
    assert list(found) == expected(compare, these, those, rule)
    undecided = {change.what for change in found if change.verdict is UNDECIDED}
    assert undecided == (set() if rule is WIDE else {each.what for each in found} - {"floors"})


@pytest.mark.parametrize("compare", [paired, apart])
@pytest.mark.parametrize("what", ["cpu", "host", "init", "count", "floors"])
def test_what_one_of_them_lacks_is_not_compared(compare: Compare, what: str) -> None:
    whole, part = figures(count=1e6), figures(**{"count": 1e6, what: None})  # type: ignore[arg-type]
    name = "instructions" if what == "count" else what
    for these, those in ((whole, part), (part, whole), (part, part)):
        assert name not in [change.what for change in compare(these, those, reference="x").changes]
    if compare is apart or what != "floors":
        assert name in [change.what for change in compare(whole, whole, reference="x").changes]


def test_a_difference_of_the_whole_is_told_by_the_whole() -> None:
    found = paired(figures(ready=700.0, init=70.0), figures(), reference="x")
    assert (found.verdict, found.why) == (SLOWER, "the rounds of one run")


@pytest.mark.parametrize(
    ("qmp", "those_qmp", "rest", "stands"),
    [
        (50.0, 45.0, 1.04, True),  # twice the guest's 4 % are less than 11 %
        (50.0, 45.0, 1.07, False),
        (45.0, 50.0, 1 / 1.04, True),
        (45.0, 50.0, 1 / 1.07, False),
        (45.0, 50.0, 1.07, False),
    ],
)
@pytest.mark.parametrize("what", ["qmp", "floor"])
def test_what_the_host_does_must_differ_more_than_the_guest(
    what: str, qmp: float, those_qmp: float, rest: float, stands: bool
) -> None:
    """Time that passes before the guest runs is none of the guest's."""

    def given(host_ms: float, guest_ms: float) -> Startup:
        phases: dict[str, Any] = {"qmp": 45.0, what: host_ms, "init": None, "application": guest_ms - 300}
        return figures(**phases, ready=guest_ms + (phases["qmp"] or 0.0))

    found = of(apart(given(qmp, 400.0 * rest), given(those_qmp, 400.0), reference="x"), what)
    assert found.verdict is ((SLOWER if qmp > those_qmp else FASTER) if stands else UNDECIDED)


@pytest.mark.parametrize(("these_guest", "those_guest"), [(0.0, 0.0), (0.0, 0.5), (0.5, 0.0)])
def test_a_guest_that_takes_no_time_moves_nothing(these_guest: float, those_guest: float) -> None:
    these, those = figures(qmp=90.0, ready=90.0 + these_guest), figures(qmp=45.0, ready=45.0 + those_guest)
    assert of(apart(these, those, reference="x"), "qmp").verdict is SLOWER
    short, shorter = figures(qmp=90.0, ready=98.0), figures(qmp=45.0, ready=45.9)
    assert of(apart(short, shorter, reference="x"), "qmp").verdict is UNDECIDED


def test_a_ratio_that_rounds_to_nothing_is_undecided() -> None:
    found = of(apart(figures(qmp=0.001), figures(), reference="x"), "qmp")
    assert (found.ratio, found.verdict) == (0.0, UNDECIDED)


def test_where_qmp_is_not_told_all_is_the_guests() -> None:
    these, those = (figures(qmp=None, floor=floor, ready=1.6) for floor in (45.0, 40.0))
    assert of(apart(these, those, reference="x"), "floor").verdict is SLOWER
    a_little = figures(qmp=None, floor=45.0, ready=1.65)  # 3 % of all of it
    assert of(apart(a_little, those, reference="x"), "floor").verdict is SLOWER
    assert of(apart(figures(qmp=None, floor=45.0, ready=1.7), those, reference="x"), "floor").verdict is UNDECIDED


def test_a_phase_must_differ_in_floors_too() -> None:
    """Init and the empty machine took 5 % longer, the kernel did not: that was the weather of init's moment."""
    before = figures()
    moved = apart(figures(init=66.0, floor=44.0), before, reference="x")
    assert of(moved, "init").verdict is UNDECIDED and of(moved, "init").ratio == 1.1
    assert of(apart(figures(init=66.0), before, reference="x"), "init").verdict is SLOWER
    assert of(apart(figures(init=66.0, floor=41.0), before, reference="x"), "init").verdict is SLOWER
    fewer = before.model_copy(update={"floor_ms": around(40.0, 0.001, 9)})
    assert of(apart(figures(init=66.0), fewer, reference="x"), "init").verdict is SLOWER
    slow = figures(init=66.0).model_copy(update={"floor_ms": around(44.0, 0.001, 9)})
    assert of(apart(slow, before, reference="x"), "init").verdict is UNDECIDED


def test_what_differs_in_floors_too_says_the_rule() -> None:
    """In ms no two samples touch; in floors a few do, and that is too little where one is often asked."""
    before, rule = figures(), Rule(looks=1000)
    this = figures(init=66.0).model_copy(update={"floor_ms": Summary.of([*[40.0] * (ROUNDS - 2), 44.2, 44.2])})
    assert change_apart("init", around(66.0), around(60.0), rule=rule).verdict is SLOWER
    assert of(apart(this, before, reference="x"), "init").verdict is SLOWER
    assert of(apart(this, before, reference="x", rule=rule), "init").verdict is UNDECIDED


@pytest.mark.parametrize(
    ("host", "cpu", "verdict"),
    [
        (25.0, 400.0, SLOWER),
        (25.0, 440.0, SLOWER),  # twice 10 % are less than 25 %
        (25.0, 460.0, UNDECIDED),
        (16.0, 360.0, FASTER),
        (16.0, 340.0, UNDECIDED),
        (25.0, None, SLOWER),
    ],
)
def test_the_host_must_move_twice_as_far_as_the_processor_time(host: float, cpu: float, verdict: Verdict) -> None:
    assert of(apart(figures(host=host, cpu=cpu), figures(), reference="x"), "host").verdict is verdict
    if cpu is None:
        assert of(apart(figures(host=host), figures(cpu=None), reference="x"), "host").verdict is verdict


def test_a_host_that_adds_no_time_is_undecided() -> None:
    none = figures().model_copy(update={"host_ms": Summary.of([0.0] * ROUNDS)})
    assert of(apart(none, figures(), reference="x"), "host").verdict is UNDECIDED
    idle = figures().model_copy(update={"cpu_ms": Summary.of([0.0] * ROUNDS)})
    assert of(apart(figures(host=25.0), idle, reference="x"), "host").verdict is SLOWER
    assert of(apart(idle.model_copy(update={"host_ms": around(25.0)}), figures(), reference="x"), "host").verdict is (
        UNDECIDED
    )


@pytest.mark.parametrize(
    ("init", "application", "verdict"),
    [
        (75.0, 120.0, SLOWER),  # 15 of 525 ms: 3 %
        (45.0, 120.0, FASTER),
        (68.0, 120.0, SAME),  # it differs, and the whole would not by so little
        (75.0, 100.0, SAME),  # another one objects
        (60 + 0.02 * 525.0, 120.0, SLOWER),
    ],
)
def test_a_phase_speaks_for_a_whole_that_cannot(init: float, application: float, verdict: Verdict) -> None:
    these, those = figures(init=init, application=application, ready=525.0), figures()
    found = paired(these, those, reference="x")
    assert found.verdict is verdict
    assert found.why == (
        "by its phase init; the whole scatters too much to show it" if verdict.differs else "the rounds of one run"
    )


@pytest.mark.parametrize(
    ("ratio", "verdict"),
    [(1.013, SLOWER), (1 / 1.013, FASTER), (1.009, SAME), (1.0, SAME)],
)
def test_counts_that_do_not_touch_differ(ratio: float, verdict: Verdict) -> None:
    these, those = figures(count=ratio * 1e6), figures(count=1e6)
    for compare in (paired, apart):
        found = compare(these, those, reference="x")
        change = of(found, "instructions")
        this, that = these.instructions, those.instructions
        assert this is not None and that is not None
        assert change == Change(
            *("instructions", verdict, round(this.median / that.median, 4), round(this.min / that.max, 4)),
            *(round(this.max / that.min, 4), this.median - that.median),
        )
        assert found.verdict is (verdict if verdict.differs else SAME)
        assert ("by the count" in found.why) == verdict.differs


def test_counts_that_scatter() -> None:
    def compared(this: Summary, that: Summary, rule: Rule) -> Verdict:
        these, those = (figures().model_copy(update={"instructions": each}) for each in (this, that))
        return of(paired(these, those, reference="x", rule=rule), "instructions").verdict

    wide = around(1e6, 0.1)
    assert compared(wide, wide, Rule(0.1)) is UNDECIDED and compared(wide, wide, Rule(0.3)) is SAME
    assert compared(around(1.08e6, 0.1), wide, Rule(0.3)) is UNDECIDED, "beyond one end"
    assert compared(around(1e6 / 1.08, 0.1), wide, Rule(0.3)) is UNDECIDED, "and the other"
    assert compared(around(1.08e6, 0.1), wide, Rule(0.5)) is SAME
    touching = Summary.of([1.1e6, 1.3e6])
    for this, that in ((Summary.of([0.9e6, 1.1e6]), touching), (touching, Summary.of([0.9e6, 1.1e6]))):
        assert compared(this, that, Rule()) is UNDECIDED
    for this, that in ((wide, Summary.of([0.0, 1.0])), (Summary.of([0.0, 1.0]), wide)):
        these, those = (figures().model_copy(update={"instructions": each}) for each in (this, that))
        assert "instructions" not in [each.what for each in paired(these, those, reference="x").changes]
    once = [figures().model_copy(update={"instructions": Summary.of([each])}) for each in (1.0, 3.0)]
    assert of(paired(*once, reference="x"), "instructions").verdict is FASTER


def test_what_the_clock_says_the_count_does_not_change() -> None:
    found = paired(figures(init=120.0, count=1e6), figures(count=2e6), reference="x")
    assert (found.verdict, of(found, "instructions").verdict) == (SLOWER, FASTER)
    assert found.why == "the rounds of one run"
    decided = paired(figures(count=2e6), figures(count=1e6), reference="x")
    assert (decided.verdict, decided.why) == (SLOWER, "by the count of instructions; the clock could not tell")


@pytest.mark.parametrize(
    ("given", "verdict"),
    [
        ({}, SAME),
        ({"floors": around(13.125, 0.4)}, SAME),  # two of three, and the third is near
        ({"floors": around(13.125 * 1.12, 0.4)}, UNDECIDED),
        ({"floors": around(13.125 / 1.12, 0.4)}, UNDECIDED),
        ({"floors": around(13.125 * 1.05)}, UNDECIDED),  # it differs
        ({"floors": around(13.125, 0.4), "cpu": None}, UNDECIDED),
        ({"floors": None}, SAME),
        ({"ready": 600.0}, SLOWER),
        ({"ready": 600.0, "cpu": 420.0}, SLOWER),
        ({"ready": 600.0, "cpu": 380.0}, UNDECIDED),
        ({"ready": 600.0, "cpu": None}, SLOWER),
        ({"ready": 600.0, "floors": None}, UNDECIDED),
        ({"ready": 600.0, "floors": around(13.125)}, UNDECIDED),
        ({"ready": 450.0}, FASTER),
        ({"ready": 450.0, "cpu": 420.0}, UNDECIDED),
    ],
)
def test_time_multiples_and_processor_time_agree(given: dict[str, Any], verdict: Verdict) -> None:
    assert apart(figures(**given), figures(), reference="x").verdict is verdict


def test_how_near_the_third_must_be_says_the_rule() -> None:
    far = figures(floors=around(13.125 * 1.12, 0.4))
    assert apart(far, figures(), reference="x", rule=Rule(0.2)).verdict is SAME


@pytest.mark.parametrize("factor", [1.2, 1 / 1.2])
def test_what_moved_with_floor_and_kernel_is_the_weather(factor: float) -> None:
    moved = figures(floor=40 * factor, kernel=300 * factor, ready=525 * factor, init=90.0)
    found = apart(moved, figures(), reference="x")
    assert found.verdict is UNDECIDED and not verdicts(found)
    assert found.why == "everything moved, the empty machine too: the host had other work; bench both in one run"
    assert apart(figures(kernel=360.0), figures(), reference="x").verdict is SLOWER, "the kernel alone is the image's"
    other_way = figures(floor=40 * factor, kernel=300 / factor, ready=525 / factor)
    assert apart(other_way, figures(), reference="x").why == "another run on this host"
    unsaid = figures(floor=40 * factor, kernel=None, ready=225 * factor)
    assert apart(unsaid, figures(kernel=None), reference="x").why == found.why, "without a kernel the whole tells"


def test_why_others_cannot_be_compared() -> None:
    with pytest.raises(InputError) as refused:
        check_comparable(HOST, replace(HOST, cores=64), reference="old.json")
    assert str(refused.value) == (
        "old.json cannot be compared: its number of processors is 64, and this one is 2 "
        "(bench both in one run: imagebuilder bench NAME --vs OTHER)"
    )
    for field, word in (("accelerator", "accelerator"), ("cpu", "processor"), ("qemu", "QEMU")):
        with pytest.raises(InputError, match=f"compared: its {word} is x, and"):
            check_comparable(HOST, replace(HOST, **{field: "x"}), reference="old.json")  # type: ignore[arg-type]


@pytest.mark.parametrize("key", ["ready_ms", "floor_ms"])
def test_a_start_without_time_is_refused(key: str) -> None:
    whole = figures()
    for least_ms, refused in ((0.001, False), (0.0, True), (-1.0, True)):
        report = whole.model_copy(update={key: Summary.of([least_ms, 300.0])})
        with pytest.raises(InputError, match="starts without time") if refused else nullcontext():
            check_whole(report, reference="old.json")


@pytest.mark.parametrize("key", ["ready_ms", "floor_ms", "floors", "cpu_ms", "instructions", "init"])
def test_a_report_without_samples_is_refused(key: str) -> None:
    whole = figures(count=1e6)
    check_whole(whole, reference="old.json")
    check_whole(figures(floor=0.5, cpu=None, init=None), reference="old.json")
    empty = Summary(1, 1, 0, 1, ())
    update = {"phases_ms": {**whole.phases_ms, "init": empty}} if key == "init" else {key: empty}
    with pytest.raises(InputError, match=r"old\.json has starts without time or samples: make the report again"):
        check_whole(whole.model_copy(update=update), reference="old.json")


def test_the_chance_of_a_phase_is_shared_among_them(monkeypatch: pytest.MonkeyPatch) -> None:
    these, those = figures(init=75.0, ready=525.0), figures()
    asked: list[tuple[object, ...]] = []
    few = Rule(looks=4).chance / 4

    def chance(*series: object, **_: object) -> float:
        asked.append(series)
        return few

    monkeypatch.setattr(bootstrap, "chance_apart", chance)
    assert paired(these, those, reference="x", rule=Rule(looks=4)).verdict is SLOWER
    phases = [each.phases_ms["init"] for each in (these, those)]
    assert asked == [tuple(each.samples for each in phases if each)]
    few *= 1.01
    assert paired(these, those, reference="x", rule=Rule(looks=4)).verdict is SAME
