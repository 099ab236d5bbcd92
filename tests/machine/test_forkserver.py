"""Fork servers: what is copied of a QEMU that runs, what is not, and that each copy is a machine of its own."""

import asyncio
import errno
import itertools
import os
import re
import signal
import socket
import subprocess
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from imagebuilder.build.walk import Build
from imagebuilder.errors import MachineError
from imagebuilder.events import Event, Note, silent
from imagebuilder.machine import template as templates
from imagebuilder.machine.child import Child
from imagebuilder.machine.clone import Identity, clone
from imagebuilder.machine.cloner import Cloner
from imagebuilder.machine.failures import PortTaken
from imagebuilder.machine.forkserver import ForkServer, files, library, refused, started
from imagebuilder.machine.forkserver.control import Control
from imagebuilder.machine.instance import Instance
from imagebuilder.machine.spec import Accelerator, Forward, spec_of
from imagebuilder.machine.template import Template, Wanted
from imagebuilder.machine.template_create import create
from imagebuilder.machine.transport import Transport
from imagebuilder.recipe.load import load
from imagebuilder.store import Store

from .clones import PATIENCE_S, ask, strangers

ONE_AFTER_THE_OTHER = 1000


@pytest.mark.tools
def test_a_machine_of_kvms_is_not_copied(template: Template) -> None:
    assert refused(template) is None
    assert refused(replace(template, accelerator=Accelerator.KVM)) == "only machines under tcg can be copied"


@pytest.mark.tools
def test_a_library_that_is_not_of_its_sources_is_not_used(
    template: Template, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(library, "LIBRARY", library.LIBRARY.elsewhere(prebuilt=tmp_path))
    assert "is not of these sources: python -m imagebuilder.machine.forkserver build" in str(refused(template))


def test_what_qemu_is_started_with() -> None:
    with Control() as control:
        (number,) = control.fds
        assert control.environment == {"LD_PRELOAD": str(library.LIBRARY.file), "IMAGEBUILDER_FORK_SERVER": str(number)}


def test_files_without_a_name_are_copied_with_their_holes(tmp_path: Path) -> None:
    path = tmp_path / "disk"
    with path.open("w+b") as stream, (tmp_path / "named").open("wb"), os.fdopen(os.memfd_create("memory"), "wb"):
        stream.truncate(64 << 20)
        stream.seek(48 << 20)
        stream.write(b"written")
        stream.flush()
        path.unlink()
        found = files.written_by(os.getpid())
        ours = [each for each in found if each.name == str(stream.fileno())]
        assert ours, "one that can be written and has no name"
        assert all("named" not in str(each.readlink()) and "memfd" not in str(each.readlink()) for each in found)
        with ExitStack() as stack:
            copy = files.copied(ours, stack)[stream.fileno()]
            stream.seek(48 << 20)
            stream.write(b"changed")
            stream.flush()
            assert os.fstat(copy).st_size == 64 << 20
            assert os.pread(copy, 7, 48 << 20) == b"written"
            assert os.fstat(copy).st_blocks * 512 < 1 << 20, "what is empty takes no room"


def test_a_disk_is_copied_to_its_end_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The system may write less than it was asked to."""
    write = os.pwrite
    monkeypatch.setattr(os, "pwrite", lambda fd, content, at: write(fd, content[:1000], at))
    content = os.urandom(3 << 10)
    with (tmp_path / "disk").open("w+b") as stream, ExitStack() as stack:
        stream.write(content)
        stream.flush()
        link = Path(f"/proc/self/fd/{stream.fileno()}")
        assert os.pread(files.copied([link], stack)[stream.fileno()], 4 << 10, 0) == content
        monkeypatch.setattr(os, "pwrite", full)
        with pytest.raises(MachineError, match=r"cannot be copied .*No space left"):
            files.copied([link], stack)


def full(*words: object) -> int:
    """No room is left."""
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.mark.tools
def test_a_process_that_nobody_can_look_after_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "pidfd_open", full)
    asleep = subprocess.Popen(["sleep", "60"])
    with pytest.raises(OSError, match="No space left"):
        Child(asleep.pid, spawned_ns=0, output_fd=-1)
    assert not Path(f"/proc/{asleep.pid}").exists()
    asleep.returncode = 0


# In QEMU


@pytest.mark.vm
def test_every_copy_is_a_machine_of_its_own(template: Template) -> None:
    async def three() -> tuple[int, list[dict[str, str]]]:
        async with started(template) as server, server.clone() as one, server.clone() as two, server.clone() as three:
            return server.parked.guest_ns, [await ask(each) for each in (one, two, three)]

    stood_ns, told = asyncio.run(three())
    strangers(told)
    for each in told:
        assert each["told"] == "2", "the application got its signal once as the fork server's, and once as its own"
        assert int(each["saw_other_ns"]) <= stood_ns, "no program ran before the copy had its name"


@pytest.mark.vm
def test_what_the_host_gives_and_what_a_copy_writes_is_its_own(template: Template) -> None:
    async def two() -> list[dict[str, str]]:
        identity = Identity.of(template, environment={"A": "1"}, user_data=b"#!")
        async with started(template) as server, server.clone(identity) as one, server.clone() as other:
            await ask(one, b"ONE")
            return [await ask(one, b"-"), await ask(other, b"OTHER")]

    one, other = asyncio.run(two())
    assert (one["environment"], one["user_data"]) == ("A=1|", "#!")
    assert other["environment"] == other["user_data"] == ""
    assert one["disk"].startswith("hello") and other["disk"].startswith("hello"), "the disk begins as it was"
    assert "ONE" in one["disk"]
    assert "ONE" not in other["disk"]


async def blocks(instance: Instance) -> int:
    """How many blocks of the guest's code QEMU has translated and kept."""
    told = str(await instance.monitor.ask("info jit"))
    found = re.search(r"TB count\s+(\d+)", told)
    assert found is not None, told
    return int(found[1])


@pytest.mark.vm
def test_a_copy_has_what_was_translated_and_shares_its_memory(template: Template) -> None:
    async def beside() -> tuple[Instance, ...]:
        async with started(template) as server, server.clone() as copy, clone(template) as new:
            for each in (copy, new):
                await ask(each)
            assert await blocks(copy) - await blocks(server.instance) < await blocks(new) / 5
            assert copy.host_memory().own_bytes < new.host_memory().own_bytes / 3
            return copy, new

    copy, new = asyncio.run(beside())
    assert copy.qemu_version == new.qemu_version


@pytest.mark.vm
def test_copies_outlive_their_fork_server_and_another_one_is_started(template: Template) -> None:
    async def outlived() -> tuple[list[dict[str, str]], bool]:
        async with Cloner(template) as cloner, cloner.clone() as one:
            first = await cloner.ready()
            assert first is not None
            first.instance.kill()
            await first.instance.wait_exit()
            async with cloner.clone() as two:
                second = await cloner.ready()
                return [await ask(one), await ask(two)], second is not None and second is not first

    told, again = asyncio.run(outlived())
    strangers(told)
    assert again


@pytest.mark.vm
def test_where_no_fork_server_can_be_started_every_clone_is_a_new_qemu(
    template: Template, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Such as where QEMU is linked statically, so that no library can be loaded into it."""
    said: list[Event] = []
    monkeypatch.setattr(Control, "environment", property(lambda control: {}))

    async def told() -> dict[str, str]:
        async with Cloner(template, say=said.append) as cloner, cloner.clone() as one:
            assert await cloner.ready() is None
            return await ask(one)

    assert asyncio.run(told())["told"] == "1"
    (note,) = [each.text for each in said if isinstance(each, Note)]
    assert "every clone is a new QEMU" in note


@pytest.mark.vm
def test_a_port_that_is_taken(template: Template) -> None:
    async def taken(port: int) -> None:
        async with started(template) as server:
            with pytest.raises(PortTaken, match=str(port)):
                async with server.clone(forwards=(Forward(port, 7000),)):
                    pass
            async with server.clone() as one:
                await ask(one)

    with socket.create_server(("127.0.0.1", 0)) as server:
        asyncio.run(taken(server.getsockname()[1]))


@pytest.mark.vm
def test_a_fork_server_that_ended_says_so(template: Template) -> None:
    async def ended() -> None:
        async with started(template) as server:
            os.kill(server.instance.pid, signal.SIGKILL)
            with pytest.raises(MachineError, match="fork server"):
                async with server.clone():
                    pass

    asyncio.run(ended())


def qemus_of(server: ForkServer) -> set[int]:
    """The children of this process that are QEMUs, but for the fork server."""
    children = Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()
    return {int(each) for each in children} - {server.instance.pid}


@pytest.mark.vm
@pytest.mark.parametrize("moment_s", [0.0, 0.001, 0.002, 0.005, 0.01, 0.02])
def test_a_copy_that_nobody_wants_any_more_is_ended(template: Template, moment_s: float) -> None:
    async def given_up() -> None:
        async with started(template) as server:
            before = qemus_of(server)
            machines = [server.clone() for _ in range(4)]
            copying = [asyncio.ensure_future(each.__aenter__()) for each in machines]
            await asyncio.sleep(moment_s)
            for each in copying:
                each.cancel()
            await asyncio.wait(copying, timeout=PATIENCE_S)
            assert not [each for each in copying if not each.done()]
            # One that was there already belongs to who asked for it.
            made = [not each.cancelled() and each.exception() is None for each in copying]
            assert len(qemus_of(server) - before) == sum(made)
            for machine in itertools.compress(machines, made):
                await machine.__aexit__(None, None, None)
            assert qemus_of(server) == before
            async with server.clone() as one:
                await ask(one)

    asyncio.run(given_up())


@pytest.mark.vm
def test_a_copy_that_nobody_learns_of_ends(template: Template) -> None:
    """The fork server may end before it has told of it: but then its connections are closed."""

    async def ended() -> int:
        async with started(template) as server:
            with Transport(template.spec()) as transport:
                child = await server.copied(transport)
                transport.hand_over()
                assert child.wait_for(0.2) is None
            try:
                return await asyncio.wait_for(child.wait(), PATIENCE_S)
            finally:
                child.close()

    assert asyncio.run(ended()) == 1


@pytest.mark.vm
def test_more_files_than_can_be_replaced(template: Template) -> None:
    async def too_many() -> None:
        async with started(template) as server:
            with pytest.raises(MachineError, match="Too many open files"), socket.socket() as nothing:
                await server._control.copy(dict.fromkeys(range(100, 140), nothing.fileno()))
            async with server.clone() as one:
                await ask(one)

    asyncio.run(too_many())


@pytest.mark.vm
def test_a_connection_of_the_server_is_none_of_its_copies(template: Template, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that is open when the fork server comes to stand still."""

    async def beside() -> tuple[set[str], set[str]]:
        with socket.socket() as client:

            async def connect(instance: Instance, **words: Any) -> None:
                client.connect(("127.0.0.1", instance.host_port(7000)))
                await instance.probed.accepted_ns(instance.host_port(7000))

            monkeypatch.setattr("imagebuilder.machine.forkserver.rest", connect)
            async with started(template) as server, server.clone() as one:
                return sockets(server.instance.pid), sockets(one.pid)

    of_server, of_copy = asyncio.run(beside())
    assert of_server and of_copy and not of_server & of_copy


def sockets(pid: int) -> set[str]:
    """All that a process has open."""
    found = {str(each.readlink()) for each in Path(f"/proc/{pid}/fd").iterdir()}
    return {each for each in found if each.startswith("socket:")}


@pytest.mark.vm
def test_copies_keep_to_the_processors_of_their_fork_server(template: Template) -> None:
    last = max(os.sched_getaffinity(0))

    async def kept() -> list[set[int]]:
        async with started(template, host_cpus=(last,)) as server, server.clone() as one:
            return [os.sched_getaffinity(int(each.name)) for each in Path(f"/proc/{one.pid}/task").iterdir()]

    assert all(each == {last} for each in asyncio.run(kept()))


@pytest.mark.vm
def test_a_machine_with_two_processors(store: Store, tmp_path: Path) -> None:
    bundle = Build(load(str(Path(__file__).parent / "who")), store, silent).able(2).run(tmp_path)
    made = asyncio.run(create(Wanted(bundle, spec_of(bundle, accelerator=Accelerator.TCG, cpus=2)), store))

    async def two() -> list[dict[str, str]]:
        async with started(made) as server, server.clone() as one, server.clone() as other:
            return [await ask(one), await ask(other)]

    strangers(asyncio.run(two()))
    assert templates.remove(made.folder)


@pytest.mark.vm
@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_a_thousand_one_after_the_other(template: Template) -> None:
    async def one_after_the_other() -> list[dict[str, str]]:
        told = []
        async with started(template) as server:
            for _ in range(ONE_AFTER_THE_OTHER):
                async with server.clone() as one:
                    told.append(await ask(one))
            assert not qemus_of(server)
        return told

    told = asyncio.run(one_after_the_other())
    for key in ("hostname", "random", "rdrand", "mac"):
        assert len({each[key] for each in told}) == len(told), key
