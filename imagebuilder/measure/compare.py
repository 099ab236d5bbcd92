"""Is an image faster or slower than another, or the same? What its figures (``change``) come to together.

Two runs of the same image side by side (*paired*) are compared round by round. Against an older report (*apart*) the
load of the host may have been another: then the time in ms and in multiples of the floor must agree, and what moved
everywhere at once, in the empty machine and in the guest's kernel, is the load and not the image.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from math import log
from typing import Protocol

from imagebuilder.errors import InputError
from imagebuilder.measure import bootstrap
from imagebuilder.measure.change import DEFAULT, EFFECT, Change, Rule, Verdict, direction, in_turn
from imagebuilder.measure.change import apart as change_apart
from imagebuilder.measure.host import Host
from imagebuilder.measure.statistics import Summary

PHASE_EFFECT_MS = 1.0  # a smaller difference of a phase of few ms is of no practical use
COUNT_EFFECT = 0.01  # instruction counts repeat to half of that
READY, FLOORS, FLOOR, CPU, INSTRUCTIONS = "ready", "floors", "floor", "cpu", "instructions"
HOST = "host"  # what the host adds: the phase qmp, less its waiting for a processor
QMP, KERNEL = "qmp", "kernel"  # phases


@dataclass(frozen=True, slots=True)
class Comparison:
    """An image beside ``reference``: the time to ready first, then what it is made of. ``paired`` says that both were
    measured in the same run, ``rule`` what counts as the same, and how often that was asked."""

    reference: str
    paired: bool
    verdict: Verdict
    why: str
    changes: tuple[Change, ...]
    rule: Rule | None = None

    @property
    def said(self) -> str:
        """The verdict in words."""
        return (self.rule or DEFAULT).said(self.verdict)


class Figures(Protocol):
    """What is compared; a report's ``Startup`` has it."""

    @property
    def floor_ms(self) -> Summary:
        """The empty machine."""

    @property
    def ready_ms(self) -> Summary:
        """The time to ready."""

    @property
    def phases_ms(self) -> Mapping[str, Summary | None]:
        """Its parts."""

    @property
    def floors(self) -> Summary | None:
        """It in multiples of the floor."""

    @property
    def cpu_ms(self) -> Summary | None:
        """QEMU's processor time."""

    @property
    def host_ms(self) -> Summary | None:
        """What the host adds to it."""

    @property
    def instructions(self) -> Summary | None:
        """The guest's instructions."""


def paired(these: Figures, those: Figures, *, reference: str, rule: Rule = DEFAULT) -> Comparison:
    """Compare two images that were measured in turn, round by round."""
    changes = [in_turn(READY, these.ready_ms, those.ready_ms, rule=rule)]
    changes += [
        in_turn(name, this, that, least=PHASE_EFFECT_MS, rule=rule)
        for name, this, that in _common(these.phases_ms, those.phases_ms)
    ]
    if these.cpu_ms and those.cpu_ms:
        changes.append(in_turn(CPU, these.cpu_ms, those.cpu_ms, rule=rule))
    if these.host_ms and those.host_ms:
        changes.append(in_turn(HOST, these.host_ms, those.host_ms, least=PHASE_EFFECT_MS, rule=rule))
    changes += _counted(these, those, rule)
    verdict, why = changes[0].verdict, "the rounds of one run"
    if not verdict.differs:
        verdict, why = _by_part(these, those, changes, rule) or (verdict, why)
    return _concluded(Comparison(reference, True, verdict, why, tuple(changes), rule))


def apart(these: Figures, those: Figures, *, reference: str, rule: Rule = DEFAULT) -> Comparison:
    """Compare with figures of another run on the same host."""
    changes = [change_apart(READY, these.ready_ms, those.ready_ms, rule=rule)]
    if these.floors and those.floors:
        changes.append(change_apart(FLOORS, these.floors, those.floors, rule=rule))
    changes += [
        change_apart(name, this, that, least=PHASE_EFFECT_MS, rule=rule)
        for name, this, that in _common(these.phases_ms, those.phases_ms)
    ]
    changes.append(change_apart(FLOOR, these.floor_ms, those.floor_ms, least=PHASE_EFFECT_MS, rule=rule))
    if these.cpu_ms and those.cpu_ms:
        changes.append(change_apart(CPU, these.cpu_ms, those.cpu_ms, rule=rule))
    if _load_changed(changes):
        changes = [replace(change, verdict=Verdict.UNDECIDED) for change in changes]
        verdict, why = (
            Verdict.UNDECIDED,
            "everything moved, the empty machine too: the host had other work; bench both in one run",
        )
    else:
        verdict, why = _agreed(changes, rule), "another run on this host"
        changes = [_steadied(change, these, those, rule) for change in changes]
    changes += [*_hosts(these, those, rule), *_counted(these, those, rule)]
    return _concluded(Comparison(reference, False, verdict, why, tuple(changes), rule))


def check_comparable(this: Host, that: Host, *, reference: str) -> None:
    """Raises InputError for figures of another accelerator, processor or QEMU: a ratio of them would mean nothing."""
    words = {"accelerator": "accelerator", "cpu": "processor", "cores": "number of processors", "qemu": "QEMU"}
    for field, word in words.items():
        here, there = getattr(this, field), getattr(that, field)
        if here != there:
            raise InputError(
                f"{reference} cannot be compared: its {word} is {there}, and this one is {here}",
                hint="bench both in one run: imagebuilder bench NAME --vs OTHER",
            )


def check_whole(figures: Figures, *, reference: str) -> None:
    """Raises InputError for a report whose times are not those of any start."""
    given = (figures.floor_ms, figures.ready_ms, *figures.phases_ms.values(), figures.floors, figures.cpu_ms)
    known = [summary for summary in (*given, figures.instructions) if summary is not None]
    times = (figures.floor_ms, figures.ready_ms)
    if not all(summary.samples for summary in known) or min(min(each.samples) for each in times) <= 0:
        raise InputError(f"{reference} has starts without time or samples: make the report again")


def _steadied(change: Change, these: Figures, those: Figures, rule: Rule) -> Change:
    """The change, undecided when the load may have made it. A phase of the guest must differ in multiples of the
    floor too; what the host does before the guest runs must differ more than the guest does, by twice."""
    if not change.verdict.differs:
        return change
    this, that = (each.phases_ms.get(change.what) for each in (these, those))
    if change.what in (QMP, FLOOR):
        guest = _guest_ms(these) / _guest_ms(those) if _guest_ms(those) > 0 < _guest_ms(these) else 1.0
        stands = change.ratio > 0 and 2 * abs(log(guest)) < abs(log(change.ratio))
    elif this is None or that is None:
        return change
    else:
        floors = _in_floors(this, these.floor_ms), _in_floors(that, those.floor_ms)
        stands = change_apart(change.what, *floors, rule=rule).verdict is change.verdict
    return change if stands else replace(change, verdict=Verdict.UNDECIDED)


def _hosts(these: Figures, those: Figures, rule: Rule) -> Iterator[Change]:
    """What the host adds, whatever the load: waiting for a processor is left out already. A processor that is shared
    is a slower one too, which shows in the processor time of the whole: it must move twice as far as that."""
    if not these.host_ms or not those.host_ms:
        return
    change = change_apart(HOST, these.host_ms, those.host_ms, least=PHASE_EFFECT_MS, rule=rule)
    slower = these.cpu_ms.median / those.cpu_ms.median if these.cpu_ms and those.cpu_ms and those.cpu_ms.median else 1.0
    stands = slower > 0 < change.ratio and 2 * abs(log(slower)) < abs(log(change.ratio))
    yield change if stands or not change.verdict.differs else replace(change, verdict=Verdict.UNDECIDED)


def _guest_ms(figures: Figures) -> float:
    qmp = figures.phases_ms.get(QMP)
    return figures.ready_ms.median - (qmp.median if qmp else 0.0)


def _in_floors(phase: Summary, floor: Summary) -> Summary:
    """A phase in multiples of the floor of its round; of the median when the rounds do not fit."""
    if len(phase.samples) != len(floor.samples):
        return Summary.of(sample / floor.median for sample in phase.samples)
    return Summary.of(sample / beside for sample, beside in zip(phase.samples, floor.samples, strict=True))


def _by_part(these: Figures, those: Figures, changes: Sequence[Change], rule: Rule) -> tuple[Verdict, str] | None:
    """What one phase says of the whole, which scatters with all the others: when the phase differs by what matters to
    the whole, so clearly that it would not happen by chance in any of them, and no other one objects."""
    phases = {name: (this, that) for name, this, that in _common(these.phases_ms, those.phases_ms)}
    decided = [change for change in changes if change.what in phases and change.verdict.differs]
    clear = [
        change
        for change in decided
        if abs(change.difference) >= EFFECT * those.ready_ms.median
        and bootstrap.chance_apart(*(each.samples for each in phases[change.what])) <= rule.chance / len(phases)
    ]
    if not clear or len({change.verdict for change in decided}) > 1:
        return None
    return clear[0].verdict, f"by its phase {clear[0].what}; the whole scatters too much to show it"


def _counted(these: Figures, those: Figures, rule: Rule) -> Iterator[Change]:
    """Counts repeat: a difference is one when it is large enough and the series do not touch."""
    this, that = these.instructions, those.instructions
    if this is None or that is None or that.min <= 0 or this.min <= 0:
        return
    ratio, low, high = this.median / that.median, this.min / that.max, this.max / that.min
    touching = this.min <= that.max and that.min <= this.max
    small = 1 / (1 + COUNT_EFFECT) < ratio < 1 + COUNT_EFFECT
    inside = 1 / (1 + rule.within) < low and high < 1 + rule.within
    alike = Verdict.SAME if inside else Verdict.UNDECIDED
    verdict = alike if touching or small else direction(ratio)
    yield Change(INSTRUCTIONS, verdict, round(ratio, 4), round(low, 4), round(high, 4), this.median - that.median)


def _concluded(found: Comparison) -> Comparison:
    """Where the clock sees no difference, the instructions may. That they are the same says nothing of the clock: one
    that waits counts none."""
    count = next((change for change in found.changes if change.what == INSTRUCTIONS), None)
    if found.verdict.differs or count is None or not count.verdict.differs:
        return found
    return replace(found, verdict=count.verdict, why="by the count of instructions; the clock could not tell")


def _agreed(changes: Sequence[Change], rule: Rule) -> Verdict:
    """The verdict on the time. A difference, when its multiples of the floor say the same and the processor time does
    not object. The same, when two of the three say so and the third, which may scatter more, is not outside either: a
    host that was busier by as much as the image became quicker moves one of them away."""
    said = {change.what: change for change in changes}
    first = said[READY].verdict
    whole = [said[what] for what in (READY, FLOORS, CPU) if what in said]
    if first.differs:
        objects = CPU in said and said[CPU].verdict.differs and said[CPU].verdict is not first
        return first if FLOORS in said and said[FLOORS].verdict is first and not objects else Verdict.UNDECIDED
    sure = sum(change.verdict is Verdict.SAME for change in whole)
    near = all(1 / (1 + rule.within) < change.ratio < 1 + rule.within for change in whole)
    unsaid = all(not change.verdict.differs for change in whole)
    return Verdict.SAME if sure >= 2 and near and unsaid else Verdict.UNDECIDED


def _load_changed(changes: Sequence[Change]) -> bool:
    said = {change.what: change.verdict for change in changes}
    floor = said[FLOOR]
    return floor.differs and said.get(KERNEL, said[READY]) is floor


def _common(
    these: Mapping[str, Summary | None], those: Mapping[str, Summary | None]
) -> Iterator[tuple[str, Summary, Summary]]:
    for name, this in these.items():
        that = those.get(name)
        if this is not None and that is not None:
            yield name, this, that
