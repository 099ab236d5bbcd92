"""Is it faster or slower? Said only when ranks, interval and size of the effect agree; else it is undecided.

Two runs of the same image side by side (*paired*) are compared round by round. Against an older report (*apart*) the
weather of two days stands between the series: then the time in ms and in multiples of the floor must agree, and what
moved everywhere at once, in the empty machine and in the guest's kernel, is the weather and not the image.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from math import log
from statistics import median
from typing import Protocol

from imagebuilder.errors import InputError
from imagebuilder.measure import bootstrap, power
from imagebuilder.measure.host import Host
from imagebuilder.measure.statistics import Summary

CONFIDENCE = 0.99
CHANCE = 0.002  # of a verdict where there is no difference: ten rounds that all agree come to 2/1024
EFFECT = 0.02  # a smaller difference is of no practical use
PHASE_EFFECT_MS = 1.0  # nor is one of a phase of few ms
COUNT_EFFECT = 0.01  # instruction counts repeat to half of that
READY, FLOORS, FLOOR, CPU, INSTRUCTIONS = "ready", "floors", "floor", "cpu", "instructions"
HOST = "host"  # what the host adds: the phase qmp, less its waiting for a processor
QMP, KERNEL = "qmp", "kernel"  # phases


class Verdict(StrEnum):
    """What a comparison comes to."""

    FASTER = "faster"
    SLOWER = "slower"
    UNDECIDED = "undecided"


@dataclass(frozen=True, slots=True)
class Change:
    """One figure beside its reference: the ratio, its interval of 99 %, the difference of the medians in the figure's
    own unit (ms, multiples or instructions). ``seen_from`` is the ratio that nine of ten such runs would have shown."""

    what: str
    verdict: Verdict
    ratio: float
    low: float
    high: float
    difference: float
    seen_from: float | None = None


@dataclass(frozen=True, slots=True)
class Comparison:
    """An image beside ``reference``: the time to ready first, then what it is made of. ``paired`` says that both were
    measured in the same run."""

    reference: str
    paired: bool
    verdict: Verdict
    why: str
    changes: tuple[Change, ...]


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


def paired(these: Figures, those: Figures, *, reference: str) -> Comparison:
    """Compare two images that were measured in turn, round by round."""
    changes = [_paired(READY, these.ready_ms, those.ready_ms)]
    changes += [
        _paired(name, this, that, least=PHASE_EFFECT_MS)
        for name, this, that in _common(these.phases_ms, those.phases_ms)
    ]
    if these.cpu_ms and those.cpu_ms:
        changes.append(_paired(CPU, these.cpu_ms, those.cpu_ms))
    if these.host_ms and those.host_ms:
        changes.append(_paired(HOST, these.host_ms, those.host_ms, least=PHASE_EFFECT_MS))
    changes += _counted(these, those)
    verdict, why = changes[0].verdict, "the rounds of one run"
    if verdict is Verdict.UNDECIDED:
        verdict, why = _by_part(these, those, changes) or (verdict, why)
    return _concluded(reference, True, verdict, why, changes)


def apart(these: Figures, those: Figures, *, reference: str) -> Comparison:
    """Compare with figures of another run on the same host."""
    changes = [_apart(READY, these.ready_ms, those.ready_ms)]
    if these.floors and those.floors:
        changes.append(_apart(FLOORS, these.floors, those.floors))
    changes += [
        _apart(name, this, that, least=PHASE_EFFECT_MS)
        for name, this, that in _common(these.phases_ms, those.phases_ms)
    ]
    changes.append(_apart(FLOOR, these.floor_ms, those.floor_ms, least=PHASE_EFFECT_MS))
    if these.cpu_ms and those.cpu_ms:
        changes.append(_apart(CPU, these.cpu_ms, those.cpu_ms))
    if _weather(changes):
        changes = [replace(change, verdict=Verdict.UNDECIDED) for change in changes]
        verdict, why = (
            Verdict.UNDECIDED,
            "everything moved, the empty machine too: the host had other work; bench both in one run",
        )
    else:
        verdict, why = _agreed(changes), "another run on this host"
        changes = [_steadied(change, these, those) for change in changes]
    return _concluded(reference, False, verdict, why, [*changes, *_hosts(these, those), *_counted(these, those)])


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


def in_turn(what: str, this: Summary, that: Summary) -> Change:
    """One figure beside another that was taken in the same rounds."""
    return _paired(what, this, that)


def _paired(what: str, this: Summary, that: Summary, *, least: float = 0.0) -> Change:
    if len(this.samples) != len(that.samples) or min(*this.samples, *that.samples) <= 0:
        return _apart(what, this, that, least=least)
    pairs = list(zip(this.samples, that.samples, strict=True))
    ratio = median(one / other for one, other in pairs)
    interval = bootstrap.of_paired_ratio(this.samples, that.samples, confidence=CONFIDENCE)
    # Ratios, not differences: a round in which the host was slow weighs no more than others.
    chance = bootstrap.chance_paired([one / other - 1 for one, other in pairs])
    change = _judged(what, ratio, interval, chance, this.median - that.median, least)
    return replace(change, seen_from=power.seen_from([one / other for one, other in pairs], chance=CHANCE))


def _apart(what: str, this: Summary, that: Summary, *, least: float = 0.0) -> Change:
    if min(*this.samples, *that.samples) <= 0:
        return Change(what, Verdict.UNDECIDED, 1.0, 1.0, 1.0, round(this.median - that.median, 3))
    interval = bootstrap.of_ratio(this.samples, that.samples, confidence=CONFIDENCE)
    chance = bootstrap.chance_apart(this.samples, that.samples)
    return _judged(what, this.median / that.median, interval, chance, this.median - that.median, least)


def _steadied(change: Change, these: Figures, those: Figures) -> Change:
    """The change, undecided when the weather may have made it. A phase of the guest must differ in multiples of the
    floor too; what the host does before the guest runs must differ more than the guest does, by twice."""
    this, that = (each.phases_ms.get(change.what) for each in (these, those))
    if change.what in (QMP, FLOOR):
        guest = _guest_ms(these) / _guest_ms(those) if _guest_ms(those) > 0 < _guest_ms(these) else 1.0
        stands = change.ratio > 0 and 2 * abs(log(guest)) < abs(log(change.ratio))
    elif this is None or that is None:
        return change
    else:
        beside = _apart(change.what, _in_floors(this, these.floor_ms), _in_floors(that, those.floor_ms))
        stands = beside.verdict is change.verdict
    return change if stands else replace(change, verdict=Verdict.UNDECIDED)


def _hosts(these: Figures, those: Figures) -> Iterator[Change]:
    """What the host adds, whatever the weather: waiting for a processor is left out already. A processor that is shared
    is a slower one too, which shows in the processor time of the whole: it must move twice as far as that."""
    if not these.host_ms or not those.host_ms:
        return
    change = _apart(HOST, these.host_ms, those.host_ms, least=PHASE_EFFECT_MS)
    slower = these.cpu_ms.median / those.cpu_ms.median if these.cpu_ms and those.cpu_ms and those.cpu_ms.median else 1.0
    stands = slower > 0 < change.ratio and 2 * abs(log(slower)) < abs(log(change.ratio))
    yield change if stands else replace(change, verdict=Verdict.UNDECIDED)


def _guest_ms(figures: Figures) -> float:
    qmp = figures.phases_ms.get(QMP)
    return figures.ready_ms.median - (qmp.median if qmp else 0.0)


def _in_floors(phase: Summary, floor: Summary) -> Summary:
    """A phase in multiples of the floor of its round; of the median when the rounds do not fit."""
    if len(phase.samples) != len(floor.samples):
        return Summary.of(sample / floor.median for sample in phase.samples)
    return Summary.of(sample / beside for sample, beside in zip(phase.samples, floor.samples, strict=True))


def _by_part(these: Figures, those: Figures, changes: Sequence[Change]) -> tuple[Verdict, str] | None:
    """What one phase says of the whole, which scatters with all the others: when the phase differs by what matters to
    the whole, so clearly that it would not happen by chance in any of them, and no other one objects."""
    phases = {name: (this, that) for name, this, that in _common(these.phases_ms, those.phases_ms)}
    decided = [change for change in changes if change.what in phases and change.verdict is not Verdict.UNDECIDED]
    clear = [
        change
        for change in decided
        if abs(change.difference) >= EFFECT * those.ready_ms.median
        and bootstrap.chance_apart(*(each.samples for each in phases[change.what])) <= CHANCE / len(phases)
    ]
    if not clear or len({change.verdict for change in decided}) > 1:
        return None
    return clear[0].verdict, f"by its phase {clear[0].what}; the whole scatters too much to show it"


def _judged(
    what: str, ratio: float, interval: bootstrap.Interval, chance: float, difference: float, least: float
) -> Change:
    low, high = interval
    matters = abs(difference) >= least and (ratio >= 1 + EFFECT or ratio <= 1 / (1 + EFFECT))
    sure = chance <= CHANCE and not low <= 1 <= high
    verdict = _direction(ratio) if matters and sure else Verdict.UNDECIDED
    return Change(what, verdict, round(ratio, 4), round(low, 4), round(high, 4), round(difference, 3))


def _counted(these: Figures, those: Figures) -> Iterator[Change]:
    """Counts repeat: a difference is one when it is large enough and the series do not touch."""
    this, that = these.instructions, those.instructions
    if this is None or that is None or that.median <= 0:
        return
    ratio = this.median / that.median
    touching = this.min <= that.max and that.min <= this.max
    small = 1 / (1 + COUNT_EFFECT) < ratio < 1 + COUNT_EFFECT
    verdict = Verdict.UNDECIDED if touching or small else _direction(ratio)
    low, high = round(this.min / that.max, 4), round(this.max / that.min, 4)
    yield Change(INSTRUCTIONS, verdict, round(ratio, 4), low, high, this.median - that.median)


def _concluded(reference: str, same_run: bool, verdict: Verdict, why: str, changes: Sequence[Change]) -> Comparison:
    """Where the clock cannot tell, the instructions may."""
    count = next((change for change in changes if change.what == INSTRUCTIONS), None)
    if verdict is Verdict.UNDECIDED and count is not None and count.verdict is not Verdict.UNDECIDED:
        verdict, why = count.verdict, "by the count of instructions; the clock could not tell"
    return Comparison(reference, same_run, verdict, why, tuple(changes))


def _agreed(changes: Sequence[Change]) -> Verdict:
    """The verdict on the time when its multiples of the floor say the same and the processor time does not object."""
    said = {change.what: change.verdict for change in changes}
    first = said[READY]
    objects = said.get(CPU, Verdict.UNDECIDED) not in (first, Verdict.UNDECIDED)
    return first if said.get(FLOORS) is first and not objects else Verdict.UNDECIDED


def _weather(changes: Sequence[Change]) -> bool:
    said = {change.what: change.verdict for change in changes}
    floor = said[FLOOR]
    return floor is not Verdict.UNDECIDED and said.get(KERNEL, said[READY]) is floor


def _direction(ratio: float) -> Verdict:
    return Verdict.SLOWER if ratio > 1 else Verdict.FASTER


def _common(
    these: Mapping[str, Summary | None], those: Mapping[str, Summary | None]
) -> Iterator[tuple[str, Summary, Summary]]:
    for name, this in these.items():
        that = those.get(name)
        if this is not None and that is not None:
            yield name, this, that
