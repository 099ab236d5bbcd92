"""Making a template: an instance is brought to its first answer, warmed up, stopped, and kept (``template.py``)."""

import asyncio
import json
import os
import shutil
import time
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from imagebuilder import private
from imagebuilder.cache import USED
from imagebuilder.errors import GuestFailed, InputError, MachineError, OutputError
from imagebuilder.events import Note, Say, silent, step
from imagebuilder.machine.answers import Unanswered, ask_tcp, fetch
from imagebuilder.machine.artefacts import watched
from imagebuilder.machine.excerpt import quoted
from imagebuilder.machine.instance import Instance
from imagebuilder.machine.launch import Launch
from imagebuilder.machine.probe_guest import probe_guest
from imagebuilder.machine.spec import MachineSpec
from imagebuilder.machine.suspend import Parked, park, rest, save
from imagebuilder.machine.template import FOLDER, KERNEL, MEMORY, STATE, TEMPLATE_JSON, Template, Wanted, remove
from imagebuilder.machine.template_gc import sweep
from imagebuilder.recipe.model import Ready, Tcp
from imagebuilder.store import Store, sha256_file

ATTEMPTS = 3
COARSE_NS = 1_000_000  # a guest's clock of larger steps could not be set right in its clones
SETTLED_S = 2.0  # after so long a kernel has measured its clock a second time
FULL_BYTES = 1 << 20
MORE_ROOM = "free some disk space, or set IMAGEBUILDER_CACHE to a folder with more of it"
LOOKS, LOOK_S, MOST_LOOKS = 5, 0.02, 250  # at rest: so many looks in a row, at most so many in all


async def create(wanted: Wanted, store: Store, *, say: Say = silent, artefacts: Path | None = None) -> Template:
    """Make the template, in the place of one that is there, and remove abandoned ones of its name. Raises NotReady,
    GuestFailed, MachineError, OutputError; what there is to see of a failed start is then written to ``artefacts``."""
    circumstances = wanted.circumstances
    name = wanted.bundle.image.name
    target = store.root / FOLDER / circumstances.key
    with step(say, f"template {name}", f"bring {name} to its first answer, and keep it"), store.scratch() as work:
        room = _Room(name, store.root, wanted.source)
        room.check()
        try:
            template = await _made(wanted, work, artefacts, say)
        except MachineError as error:
            room.check_left(error)
            raise
        try:
            with store.lock(circumstances.key):
                if target.exists() and not remove(target):
                    raise OutputError(f"the template of {name} is in use: end its clones first")
                work.rename(target)
        except OSError as error:
            raise OutputError(f"{target} cannot be written: {error.strerror}", hint="free some disk space") from error
    made = replace(template, folder=target)
    if swept := sweep(store, made):
        say(Note(f"templates of {name} that were not used lately are removed: {len(swept)}"))
    return made


@dataclass(frozen=True, slots=True)
class _Room:
    """The disk that a template is made on. A guest that uses memory for which there is no room ends with SIGBUS."""

    name: str
    root: Path
    source: MachineSpec

    @property
    def needed_bytes(self) -> int:
        """What it may take: all of its memory and scratch disks. It takes what the guest writes to."""
        return (self.source.memory_mib << 20) + sum(disk.size_bytes for disk in self.source.scratch)

    @property
    def free_bytes(self) -> int | None:
        """What there is; None where the file system does not tell."""
        found = os.statvfs(self.root)
        return found.f_bavail * found.f_frsize if found.f_blocks else None

    def check(self) -> None:
        """Raises OutputError when it might not fit."""
        free_bytes = self.free_bytes
        if free_bytes is not None and free_bytes < self.needed_bytes:
            need, have = self.needed_bytes / 1e6, free_bytes / 1e6
            raise OutputError(
                f"the template of {self.name} may take {need:.1f} MB, and {self.root} has {have:.1f} MB free",
                hint=MORE_ROOM,
            )

    def check_left(self, error: MachineError) -> None:
        """Raises OutputError when the disk has become full meanwhile, of which QEMU knows nothing."""
        free_bytes = self.free_bytes
        if free_bytes is not None and free_bytes < FULL_BYTES:
            raise OutputError(
                f"{self.root} became full while the template of {self.name} was made", hint=MORE_ROOM
            ) from error


async def found_or_made(wanted: Wanted, store: Store, *, say: Say = silent) -> Template:
    """The template of an image on this machine; made when it is missing or stale. Raises what ``create`` raises.

    Of several who want it at the same time one makes it, and the others wait for that.
    """
    with store.lock(f"{wanted.circumstances.key}-made"):
        try:
            return wanted.find(store)
        except InputError as error:
            say(Note(f"{error.message}: it is made"))
        return await create(wanted, store, say=say)


async def _made(wanted: Wanted, work: Path, artefacts: Path | None, say: Say) -> Template:
    for attempt in range(1, ATTEMPTS + 1):
        spec = _prepared(wanted.source, work)
        async with watched(Instance.start(spec, Launch.kept(work / MEMORY)), artefacts) as instance:
            parked = await _warmed(instance, wanted)
            if parked is not None:
                private.write(work / STATE, await save(instance))
                await instance.monitor.execute("quit")
                await instance.wait_exit()
                return _described(wanted, work, parked)
        say(Note(f"the guest's clock is coarse (attempt {attempt} of {ATTEMPTS}): started again"))
    raise MachineError(
        f"{wanted.source.name}: its kernel finds no clock finer than its timer on this host: try again on a quieter one"
    )


def _prepared(source: MachineSpec, work: Path) -> MachineSpec:
    """The image's machine with its memory, and all that it may write, in new files that are kept."""
    for left in work.iterdir():  # of an attempt before
        left.unlink()
    disks = []
    for number, disk in enumerate(source.disks):
        path = work / f"disk{number}"
        if disk.path is None:
            _allot(path, disk.size_bytes)
            disks.append(replace(disk, path=path, writable=True))
        else:
            _share(disk.path, path)
            disks.append(replace(disk, path=path))
    _allot(work / MEMORY, source.memory_mib << 20)
    return replace(source, disks=tuple(disks))


def _allot(path: Path, size_bytes: int) -> None:
    """A file for QEMU, which would make one that others can read."""
    with open(path, "wb", opener=private.opener) as stream:
        stream.truncate(size_bytes)


def _share(source: Path, target: Path) -> None:
    """The same content under a second name; neither is written to."""
    try:
        os.link(source, target)
    except OSError:  # another file system
        shutil.copyfile(source, target)


async def _warmed(instance: Instance, wanted: Wanted) -> Parked | None:
    """Bring it to its first answer and stop it there; None when its clock is too coarse."""
    ready = wanted.bundle.ready
    await instance.wait_ready(ready)
    try:
        for words in wanted.recipe.warm:
            await ask(instance, ready, words)
        await _settle(instance)
        return None if (instance.clock_step_ns or 0) >= COARSE_NS else await park(instance, detach=True)
    except MachineError as error:
        if instance.channel.reports.end is None:
            raise
        found = await instance.wait_exit()
        only = "only an application that goes on can be kept as a template"
        raise GuestFailed(f"{instance.spec.name}: {found.why}: {only}") from error


async def ask(instance: Instance, ready: Ready, words: str) -> None:
    """Ask once for what ``[template]`` names: a path over HTTP, else what is sent. Raises GuestFailed when it is not
    answered."""
    port = instance.host_port(ready.port) if ready.port else 0
    asked = f"{instance.spec.name}: asked for {quoted(words)} to warm it up, it"
    try:
        async with asyncio.timeout(ready.timeout_s):
            if ready.http is not None:
                await fetch(port, words)
            elif ready.tcp is not None:
                await ask_tcp(port, Tcp(port=ready.tcp.port, send=words))
    except Unanswered as error:
        raise GuestFailed(f"{asked} {error}") from error
    except TimeoutError as error:
        endless = f"{asked} has not given a whole answer within {ready.timeout_s:g} s"
        raise GuestFailed(
            endless, hint="take what never ends, such as a stream of events, out of what is asked"
        ) from error


async def _settle(instance: Instance) -> None:
    """Wait until its kernel has done what it puts off at its start, and until the last connection is put away."""
    up_ns = instance.channel.reports.clock.guest_ns(time.monotonic_ns()) or 0
    await asyncio.sleep(max(0.0, SETTLED_S - up_ns / 1e9))
    await rest(instance, looks=LOOKS, look_s=LOOK_S, most_looks=MOST_LOOKS)


def _described(wanted: Wanted, work: Path, parked: Parked) -> Template:
    source, recipe = wanted.source, wanted.recipe
    private.write(work / KERNEL, probe_guest(1))
    private.write(work / USED, b"")
    files = [path for path in sorted(work.iterdir()) if path.name != USED]
    template = Template(
        folder=work,
        name=wanted.bundle.image.name,
        circumstances=wanted.circumstances,
        guest_ns=parked.guest_ns,
        unsure_ns=parked.unsure_ns,
        machine=source.machine,
        accelerator=source.accelerator,
        memory_mib=source.memory_mib,
        cpus=source.cpus,
        acpi=source.acpi,
        network=source.network,
        egress=source.egress,
        ports=tuple(forward.guest_port for forward in source.forwards),
        disks=tuple("scratch" if disk.path is None else "root" for disk in source.disks),
        ready=wanted.bundle.image.ready,
        hook=recipe.hook,
        signal=recipe.signal.number if recipe.signal else 0,
        made=datetime.now(UTC).isoformat(timespec="seconds"),
        sha256={path.name: sha256_file(path) for path in files},
        sizes={path.name: path.stat().st_size for path in files},
    )
    private.write(work / TEMPLATE_JSON, json.dumps(template.describe(), indent=1).encode() + b"\n")
    return template
