"""Real machines: how they start, what one sees of them, how they end."""

import asyncio
import json
import re
import time
from pathlib import Path

import pytest

from imagebuilder import process
from imagebuilder.arch import MachineType
from imagebuilder.errors import GuestFailed, InputError, MachineError, NotReady
from imagebuilder.machine import artefacts
from imagebuilder.machine.command_line import argv
from imagebuilder.machine.ending import How
from imagebuilder.machine.failures import PortTaken
from imagebuilder.machine.floor import floor_ns
from imagebuilder.machine.instance import Instance
from imagebuilder.machine.launch import Launch
from imagebuilder.machine.ports import free_ports, with_ports
from imagebuilder.machine.ready import RING
from imagebuilder.machine.spec import Accelerator, Disk, Forward
from imagebuilder.machine.template_create import ask
from imagebuilder.recipe.model import Http, Ready, Tcp
from imagebuilder.tree import Tree, file

from .machines import Make, Makings, booting

pytestmark = pytest.mark.vm

WEB = Ready(http=Http(port=80, body="It works"), timeout_s=120)


# Ready


@pytest.mark.parametrize(
    ("words", "ready"),
    [
        (("http=80",), WEB),
        (("pong=80",), Ready(tcp=Tcp(port=80, send="PING\r\n", expect="+PONG"), timeout_s=120)),
        (("mute=80",), Ready(tcp=Tcp(port=80), timeout_s=120)),
        (("say=now listening", "wait"), Ready(console="^now .*ing$", timeout_s=120)),
        (("say=done", "exit=7"), Ready(exit=7, timeout_s=120)),
    ],
    ids=["http", "tcp", "tcp-accept", "console", "exit"],
)
async def test_each_way_to_be_ready(make: Make, words: tuple[str, ...], ready: Ready) -> None:
    spec = make(*words, forwards=(Forward(None, 80),))
    async with Instance.start(spec) as instance:
        ready_ns = await instance.wait_ready(ready)
        assert ready_ns <= time.monotonic_ns()
        moments = [instance.spawned_ns, instance.greeting_ns, *instance.phases_ns.values(), ready_ns]
        assert instance.greeting_ns < instance.running_ns
        listening_ns = instance.listening_ns
    listens = ["listening"] if ready.port is not None else []
    assert list(instance.phases_ns) == ["kernel", "init", "mounts", "network", "application", *listens]
    # A guest's moment is known to some milliseconds, a console line comes by another way: so the last stands apart.
    assert moments[:-1] == sorted(moments[:-1])
    assert instance.running_ns < ready_ns
    assert (listening_ns is None) == (ready.port is None)
    assert listening_ns is None or listening_ns <= ready_ns


@pytest.mark.parametrize("channel", [True, False], ids=["init tells", "nobody tells"])
async def test_a_server_that_takes_its_time_works_for_nobody_but_us(make: Make, channel: bool) -> None:
    """One request at a time, 1.5 s each. Where nobody can say that it listens, some connections more may reach it."""
    spec = make("slow=80,1500", forwards=(Forward(None, 80),), channel=channel)
    async with Instance.start(spec) as instance:
        await instance.wait_ready(WEB)
        await instance.wait_ready(WEB)  # after all that was left in its backlog
    served, nobody = re.findall(r"served (\d+), for nobody (\d+)", instance.console)[-1]
    if channel:
        assert (served, nobody) == ("2", "0")
    assert int(nobody) < 8 * RING  # so many on a very busy host, where the guest takes what was given up meanwhile


async def test_an_answer_that_never_ends(make: Make) -> None:
    async with Instance.start(make("stream=80", forwards=(Forward(None, 80),))) as instance:
        await instance.wait_ready(WEB)
        await instance.wait_ready(WEB, curious=True)
        assert instance.answer is not None and instance.answer.content.startswith(b"data: It works")
        with pytest.raises(GuestFailed, match=r"asked for '/events' to warm it up, it has not given a whole answer"):
            await ask(instance, WEB.model_copy(update={"timeout_s": 2}), "/events")


async def test_a_port_where_nobody_listens_is_never_ready(make: Make) -> None:
    spec = make("say=here", "wait", forwards=(Forward(None, 80),))
    async with Instance.start(spec) as instance:
        await instance.wait_ready(Ready(console="waiting", timeout_s=120))
        for ready in (Ready(tcp=Tcp(port=80)), WEB):
            with pytest.raises(NotReady, match=r"not ready within 1 s: nothing listens on port 80.* / waiting"):
                await instance.wait_ready(ready, timeout_s=1)


async def test_the_wrong_answer_is_told(make: Make) -> None:
    spec = make("http=80", forwards=(Forward(None, 80),))
    async with Instance.start(spec) as instance:
        await instance.wait_ready(WEB)
        with pytest.raises(NotReady, match="gave a body without 'It fails'"):
            await instance.wait_ready(Ready(http=Http(port=80, body="It fails")), timeout_s=3)


async def test_an_application_that_ends_is_not_waited_for(make: Make) -> None:
    spec = make("say=cannot bind", "exit=3", forwards=(Forward(None, 80),))
    async with Instance.start(spec) as instance:
        with pytest.raises(GuestFailed, match=r"status 3 before it was ready \(the console ends with: cannot bind\)"):
            await instance.wait_ready(WEB)
    assert "cannot bind" in instance.console


async def test_another_exit_status_than_expected(make: Make) -> None:
    async with Instance.start(make("exit=3")) as instance:
        with pytest.raises(GuestFailed, match="exited with status 3 where status 0 was expected"):
            await instance.wait_ready(Ready(exit=0, timeout_s=120))


async def test_without_a_channel_the_answer_still_counts(make: Make) -> None:
    spec = make("http=80", forwards=(Forward(None, 80),), channel=False)
    async with Instance.start(spec) as instance:
        assert await instance.wait_ready(WEB) > instance.greeting_ns
        assert instance.phases_ns == {}


# The end


@pytest.mark.parametrize(
    ("words", "how", "status", "signal", "why"),
    [
        (("exit=0",), How.APPLICATION, 0, None, "the application exited with status 0"),
        (("exit=3",), How.APPLICATION, 3, None, "the application exited with status 3"),
        (("raise=11",), How.APPLICATION, None, 11, "the application was ended by SIGSEGV"),
    ],
)
async def test_how_an_application_ends(
    make: Make, words: tuple[str, ...], how: How, status: int | None, signal: int | None, why: str
) -> None:
    async with Instance.start(make(*words)) as instance:
        found = await instance.wait_exit()
    assert (found.how, found.status, found.signal, found.why) == (how, status, signal, why)
    assert found.ok == (status == 0)


async def test_a_guest_that_panics(makings: Makings) -> None:
    tree = Tree({"/init": file(makings.application, mode=0o755)})  # a PID 1 that ends
    async with Instance.start(booting(makings, tree)) as instance:
        with pytest.raises(GuestFailed, match="the guest's kernel panicked: Attempted to kill init"):
            await instance.wait_ready(Ready(console="never", timeout_s=120))
        assert (await instance.wait_exit()).how is How.PANIC


async def test_an_init_that_cannot_do_its_work(makings: Makings, make: Make) -> None:
    files = {"/init": file(makings.init, mode=0o755), "/init.conf": file(b"nonsense 1\n")}
    async with Instance.start(booting(makings, Tree(files))) as instance:
        found = await instance.wait_exit()
    assert found.how is How.INIT and "nonsense" in found.why


async def test_without_a_channel_no_end_is_a_success(make: Make) -> None:
    async with Instance.start(make("exit=0", channel=False)) as instance:
        found = await instance.wait_exit()
    assert found.how is How.SILENT and not found.ok


async def test_it_is_asked_to_end(make: Make) -> None:
    async with Instance.start(make("wait")) as instance:
        await instance.wait_ready(Ready(console="waiting", timeout_s=120))
        found = await instance.terminate()
    assert (found.how, found.signal) == (How.APPLICATION, 15)


async def test_the_deaf_are_powered_off(make: Make) -> None:
    async with Instance.start(make("deaf", "wait")) as instance:
        await instance.wait_ready(Ready(console="waiting", timeout_s=120))
        found = await instance.terminate(grace_s=0.2)
    assert found.how is How.STOPPED


async def test_it_is_ended_before_it_ran(make: Make) -> None:
    async with Instance.start(make("wait"), Launch(paused=True)) as instance:
        assert (await instance.terminate()).how is How.STOPPED
    assert instance.console == ""


# What one sees


async def test_memory_and_time_on_both_sides(make: Make) -> None:
    async with Instance.start(make("wait")) as instance:
        await instance.wait_ready(Ready(console="waiting", timeout_s=120))
        guest, host = await instance.guest_memory(), instance.host_memory()
        assert 0 < guest.used_bytes < guest.total_bytes <= 32 << 20
        assert 0 < host.private_bytes <= host.pss_bytes <= host.rss_bytes
        assert host.pss_bytes > guest.used_bytes
        assert instance.cpu_s > 0
        assert re.fullmatch(r"\d+\.\d+\.\d+", instance.qemu_version)
        instance.kill()
        await instance.wait_exit()
        assert instance.cpu_s > 0
        with pytest.raises(MachineError, match="cannot be read"):
            instance.host_memory()
        with pytest.raises(MachineError, match="did not tell"):
            await instance.guest_memory()


async def test_a_flood_on_the_console_is_kept_in_bounds(make: Make) -> None:
    kib = 1024
    seen = bytearray()
    async with Instance.start(make("say=first", f"flood={kib}", "say=last"), on_console=seen.extend) as instance:
        assert (await instance.wait_exit()).ok
    assert len(seen) > kib << 10  # newlines grow on the way
    assert instance.console.startswith("first") and instance.console.rstrip().endswith("last")
    assert "bytes left out" in instance.console and len(instance.console) < len(seen)


async def test_one_types_into_the_console(make: Make) -> None:
    async with Instance.start(make("say=name?", "type")) as instance:
        await instance.wait_ready(Ready(console=r"^name\?$", timeout_s=120))
        instance.terminal.write(b"Ada\n")
        assert (await instance.wait_exit()).ok
    assert "typed: Ada" in instance.console


async def test_disks_in_order_and_what_may_be_written(make: Make, tmp_path: Path) -> None:
    root = tmp_path / "a root, with a comma.img"
    root.write_bytes(b"this is the root".ljust(1 << 20, b"\0"))
    disks = (Disk(path=root), Disk(size_mib=8), Disk(size_mib=3))
    async with Instance.start(make("disk=/dev/vda", "disk=/dev/vdb", "disk=/dev/vdc", disks=disks)) as instance:
        assert (await instance.wait_exit()).ok
    assert [line.strip() for line in instance.console.splitlines() if line.startswith("/dev")] == [
        "/dev/vda: 1048576 bytes, begins with 'this is the root', read-only 'this is the root'",
        "/dev/vdb: 8388608 bytes, begins with '', now 'written by guest'",
        "/dev/vdc: 3145728 bytes, begins with '', now 'written by guest'",
    ]
    assert root.read_bytes().startswith(b"this is the root\0")


async def test_what_is_written_down(make: Make, tmp_path: Path) -> None:
    spec = make("say=hello", "exit=3", forwards=(Forward(None, 80),))
    async with Instance.start(spec) as instance:
        await instance.wait_exit()
        artefacts.write(instance, tmp_path / "boot")
    files = {path.name: path.read_text() for path in (tmp_path / "boot").iterdir()}
    assert "hello" in files["console.log"]
    assert files["qemu-stderr.log"] == ""
    assert [event["name"] for event in json.loads(files["qmp-events.json"])][-1] == "SHUTDOWN"
    assert list(json.loads(files["phases.json"]))[:3] == ["spawned", "greeting", "kernel"]
    again = await asyncio.to_thread(process.run, ["sh", "-c", files["command.txt"]], timeout_s=120)
    assert "hello" in again.text


async def test_the_dry_run_works_in_a_shell(make: Make) -> None:
    disks = (Disk(size_mib=8),)
    spec = with_ports(make("disk=/dev/vda", "http=80", forwards=(Forward(None, 80),), disks=disks))
    port = spec.forwards[0].host_port
    line = process.shell_line(["timeout", "120", *argv(spec, wiring=None)])
    shell = await asyncio.create_subprocess_exec(
        "sh", "-c", f"exec {line}", stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE
    )
    assert shell.stdout is not None
    try:
        seen = await shell.stdout.readuntil(b"listening")
        assert b"now 'written by guest'" in seen
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"GET / HTTP/1.1\r\n\r\n")
        assert b"It works" in await reader.read()
        writer.close()
    finally:
        shell.terminate()  # timeout passes it on
        await shell.communicate()


# The start


async def test_the_floor_is_below_every_start(make: Make) -> None:
    floor = await floor_ns(Accelerator.TCG, MachineType.MICROVM)
    async with Instance.start(make("say=up")) as instance:
        ready_ns = await instance.wait_ready(Ready(console="up", timeout_s=120))
    assert 0 < floor < ready_ns - instance.spawned_ns


async def test_two_instances_beside_each_other(make: Make) -> None:
    spec = make("http=80", forwards=(Forward(None, 80),))
    async with Instance.start(spec) as one, Instance.start(spec) as other:
        await asyncio.gather(one.wait_ready(WEB), other.wait_ready(WEB))
        assert one.host_port(80) != other.host_port(80)


async def test_a_taken_port_that_was_asked_for(make: Make) -> None:
    spec = make("wait", forwards=(Forward(free_ports(1)[0], 80),))
    async with Instance.start(spec):
        with pytest.raises(PortTaken, match=r"port \d+ of this machine is taken: give another one"):
            async with Instance.start(spec):
                pytest.fail("it started")


async def test_a_taken_port_that_we_chose_is_chosen_anew(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    spec = make("wait", forwards=(Forward(None, 80),))
    async with Instance.start(spec) as first:
        taken = first.host_port(80)
        rows = iter([(taken,), (taken,), free_ports(1)])
        monkeypatch.setattr("imagebuilder.machine.ports.free_ports", lambda count: next(rows))
        async with Instance.start(spec) as second:
            assert second.host_port(80) != taken
            with pytest.raises(MachineError, match="port 81 of the guest is not forwarded"):
                second.host_port(81)


async def test_more_memory_than_there_is(make: Make) -> None:
    with pytest.raises(MachineError, match="not enough memory for a guest of 67108864 MiB"):
        async with Instance.start(make("wait", memory_mib=64 << 20)):
            pytest.fail("it started")


async def test_a_kernel_that_is_none(make: Make, tmp_path: Path) -> None:
    (tmp_path / "vmlinux").write_bytes(b"no kernel" * 1000)
    with pytest.raises(MachineError, match=r"QEMU cannot load the kernel .*/vmlinux: build the image again"):
        async with Instance.start(make("wait", kernel=tmp_path / "vmlinux")):
            pytest.fail("it started")


async def test_a_file_that_is_missing(make: Make, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"root.cpio is missing: build the image again"):
        async with Instance.start(make("wait", initrd=tmp_path / "root.cpio")):
            pytest.fail("it started")


async def test_the_other_machine_takes_all_its_devices(make: Make) -> None:
    """Whether it boots depends on a kernel with PCI; that QEMU accepts every word is seen without one."""
    spec = make("wait", disks=(Disk(size_mib=1),), forwards=(Forward(None, 80),), machine=MachineType.Q35, acpi=True)
    async with Instance.start(spec) as instance:
        assert instance.greeting_ns > instance.spawned_ns
