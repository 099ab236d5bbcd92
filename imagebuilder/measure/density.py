"""How many clones of a template one host carries at the same time, what each takes, and which resource limits them.

They are started a few at a time, as many as there are processors: more would only wait for each other. When all have
answered, all are asked once more at the same moment. Nothing is ended in between, so that all were up together.
"""

import asyncio
import errno
import os
import resource
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import AsyncExitStack, contextmanager
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from imagebuilder.errors import ImagebuilderError, InputError, MachineError, NotReady
from imagebuilder.events import Note, Say, silent, step
from imagebuilder.machine.cloner import Cloner
from imagebuilder.machine.engines import Original
from imagebuilder.machine.failures import PortTaken
from imagebuilder.machine.instance import Instance
from imagebuilder.machine.template import Template
from imagebuilder.machine.usage import HostMemory
from imagebuilder.measure.statistics import Summary
from imagebuilder.recipe.model import Ready
from imagebuilder.words import counted

TIMEOUT_S = 60.0
LEAST_RESERVE_BYTES, RESERVE_SHARE = 512 << 20, 0.1  # of the host's memory, which stays free
MEMINFO = Path("/proc/meminfo")
CGROUP = Path("/sys/fs/cgroup")
EVERY = 25  # clones, and their number is reported


class Resource(StrEnum):
    """What limits how many there can be."""

    MEMORY = "memory"
    FILES = "files"
    PROCESSES = "processes"
    PORTS = "ports"
    TIME = "time"
    MACHINE = "machine"


ERRNOS: Mapping[int, tuple[Resource, str]] = {
    errno.EMFILE: (Resource.FILES, "this process may open no further files (ulimit -n)"),
    errno.ENFILE: (Resource.FILES, "this machine has no further open files (sysctl fs.file-max)"),
    errno.EAGAIN: (Resource.PROCESSES, "no further process may be started (ulimit -u, sysctl kernel.threads-max)"),
    errno.ENOMEM: (Resource.MEMORY, "the host's kernel has no memory for a further process"),
    errno.EADDRINUSE: (Resource.PORTS, "no port of 127.0.0.1 is free (sysctl net.ipv4.ip_local_port_range)"),
    errno.EADDRNOTAVAIL: (Resource.PORTS, "no port of 127.0.0.1 is free (sysctl net.ipv4.ip_local_port_range)"),
}


@dataclass(frozen=True, slots=True)
class Limit:
    """The limiting resource, and how one sees it, in a sentence."""

    resource: Resource
    why: str


@dataclass(frozen=True, slots=True)
class Density:
    """Clones of one template that were up together. Times are ms, None: nothing answered.

    ``answer_ms`` is from spawning a clone to its first answer, ``all_ms`` from spawning the first to the first answer
    of the last, ``again_ms`` the answers when all were asked at the same moment. ``own_bytes`` is what a clone has
    written itself and shares with no other, ``pss_bytes`` all of them together with what they are copies of, each
    shared page once; ``host_bytes`` these and the kernel's page tables for them. ``copied``: they are copies of one
    that was there before the first was spawned.
    """

    asked: int | None
    """None: as many as there can be."""
    answered: int
    at_a_time: int
    limited_by: Resource | None = None
    why: str | None = None
    answer_ms: Summary | None = None
    all_ms: float | None = None
    again_ms: Summary | None = None
    own_bytes: Summary | None = None
    pss_bytes: int | None = None
    host_bytes: int | None = None
    copied: bool = False

    @property
    def holds(self) -> bool:
        """Whether there were as many as asked for; of as many as there can be, whether there was one."""
        return self.answered >= (1 if self.asked is None else self.asked)


@dataclass(frozen=True, slots=True)
class DensityOptions:
    """How many clones, None for as many as there can be; ``reserve_bytes`` of the host's memory stay free. Without
    ``copies`` each is a new QEMU."""

    clones: int | None
    reserve_bytes: int
    at_a_time: int
    timeout_s: float = TIMEOUT_S
    copies: bool = True

    @classmethod
    def of(cls, clones: int | None) -> "DensityOptions":
        """As this host is."""
        reserve_bytes = max(LEAST_RESERVE_BYTES, int(RESERVE_SHARE * _total_bytes()))
        return cls(clones, reserve_bytes, len(os.sched_getaffinity(0)))


async def measure(template: Template, options: DensityOptions, *, say: Say = silent) -> Density:
    """Start clones until there are enough, or a resource of the host is used up. Raises InputError when its ready asks
    no port."""
    ready = template.ready
    if ready.port is None:
        raise InputError(f"{template.name} answers on no port: give its [ready] an http or a tcp question")
    what = "as many clones as there can be" if options.clones is None else counted(options.clones, "clone")
    with step(say, f"density {template.name}", f"{what} of {template.name} at once"), _all_files():
        async with Cloner(template, copies=options.copies, say=say) as cloner, AsyncExitStack() as stack:
            instances = _Instances(cloner, ready, options, stack, say)
            stack.callback(instances.kill)
            await instances.grow()
            return await instances.found()


class _Instances:
    """The clones that are up."""

    def __init__(self, cloner: Cloner, ready: Ready, options: DensityOptions, stack: AsyncExitStack, say: Say) -> None:
        self._cloner, self._ready, self._options = cloner, ready, options
        self._stack, self._say = stack, say
        self._instances: list[Instance] = []
        self._answers_ns: list[tuple[int, int]] = []
        self._begun = 0
        self._limit: Limit | None = None
        self._original: Original | None = None

    async def grow(self) -> None:
        """Until there are enough, or a resource of the host is used up."""
        try:
            self._original = await self._cloner.ready()
        except (ImagebuilderError, OSError) as error:
            self._give(limit_of(error))
        async with asyncio.TaskGroup() as group:
            for _ in range(self._options.at_a_time):
                group.create_task(self._add())

    async def _add(self) -> None:
        while self._limit is None and (self._options.clones is None or self._begun < self._options.clones):
            if available_bytes() < self._options.reserve_bytes:
                self._give(
                    Limit(Resource.MEMORY, f"a further clone would leave less than {_mb(self._options.reserve_bytes)}")
                )
                return
            self._begun += 1
            try:
                await self._one()
            except (ImagebuilderError, OSError) as error:
                self._give(limit_of(error))

    async def _one(self) -> None:
        instance = await self._stack.enter_async_context(self._cloner.clone())
        answered_ns = await instance.wait_ready(self._ready, self._options.timeout_s)
        self._instances.append(instance)
        self._answers_ns.append((instance.spawned_ns, answered_ns))
        if len(self._instances) % EVERY == 0:
            self._say(Note(f"{len(self._instances)} answered"))

    def _give(self, limit: Limit) -> None:
        self._limit = self._limit or limit

    async def found(self) -> Density:
        """What there is to say of them."""
        again = [each for each in await asyncio.gather(*map(self._again, self._instances)) if each is not None]
        memory = [each for each in map(_memory, self._instances) if each is not None]
        originals = [self._original.instance] if self._original else []
        shared = [each for each in map(_memory, originals) if each is not None]
        pss_bytes = sum(each.pss_bytes for each in (*memory, *shared))
        begins, ends = zip(*self._answers_ns, strict=True) if self._answers_ns else ((), ())
        limit = self._limit
        return Density(
            asked=self._options.clones,
            answered=len(self._instances),
            at_a_time=self._options.at_a_time,
            limited_by=None if limit is None else limit.resource,
            why=None if limit is None else limit.why,
            answer_ms=_summary((end - begin) / 1e6 for begin, end in self._answers_ns),
            all_ms=round((max(ends) - min(begins)) / 1e6, 3) if ends else None,
            again_ms=_summary(again),
            own_bytes=_summary(each.own_bytes for each in memory),
            pss_bytes=pss_bytes if memory else None,
            host_bytes=pss_bytes + sum(each.tables_bytes for each in (*memory, *shared)) if memory else None,
            copied=self._original is not None,
        )

    async def _again(self, instance: Instance) -> float | None:
        """Ask one that answered before; None, and the reason is kept, when it does not any more."""
        begun_ns = time.monotonic_ns()
        try:
            return (await instance.wait_ready(self._ready, self._options.timeout_s) - begun_ns) / 1e6
        except MachineError as error:
            self._give(limit_of(error))
            return None

    def kill(self) -> None:
        """All at once, and not one after the other."""
        for instance in self._instances:
            instance.kill()


def limit_of(error: ImagebuilderError | OSError) -> Limit:
    """What an error says of the host."""
    if isinstance(error, OSError):
        return Limit(*ERRNOS.get(error.errno or 0, (Resource.MACHINE, error.strerror or str(error))))
    if isinstance(error, NotReady):
        return Limit(Resource.TIME, error.message)
    return Limit(Resource.PORTS if isinstance(error, PortTaken) else Resource.MACHINE, error.message)


def available_bytes() -> int:
    """What may still be taken of the host's memory, or of what this process's group of processes may have."""
    found = [_meminfo("MemAvailable")]
    try:
        most, used = ((CGROUP / name).read_text().strip() for name in ("memory.max", "memory.current"))
        found += [int(most) - int(used)] if most != "max" else []
    except (OSError, ValueError):
        pass
    return min(found)


def _total_bytes() -> int:
    return _meminfo("MemTotal")


def _meminfo(key: str) -> int:
    rows = dict(line.split(":", 1) for line in MEMINFO.read_text().splitlines())
    return int(rows[key].split()[0]) * 1024


def _memory(instance: Instance) -> HostMemory | None:
    try:
        return instance.host_memory()
    except MachineError:
        return None


def _summary(samples: Iterable[float]) -> Summary | None:
    taken = list(samples)
    return Summary.of(taken) if taken else None


def _mb(size_bytes: int) -> str:
    return f"{size_bytes / 1e6:.0f} MB of the host's memory"


@contextmanager
def _all_files() -> Iterator[None]:
    """As many open files as this process may have: each clone takes about seven."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
