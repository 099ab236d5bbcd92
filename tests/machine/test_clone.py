"""Templates and clones: what makes a template another one, and, in QEMU, that each clone is a machine of its own."""

import asyncio
import json
import os
import re
import shutil
import signal
from dataclasses import replace
from pathlib import Path

import pytest

from imagebuilder import cache, process
from imagebuilder.arch import MachineType
from imagebuilder.build.walk import build
from imagebuilder.bundle import Bundle
from imagebuilder.cache import USED
from imagebuilder.errors import GuestFailed, InputError, MachineError
from imagebuilder.events import Event, Note, silent
from imagebuilder.machine import circumstances
from imagebuilder.machine import template as templates
from imagebuilder.machine.circumstances import Circumstances, differences
from imagebuilder.machine.clone import Identity, begin, clone, held
from imagebuilder.machine.command_line import Wiring, argv
from imagebuilder.machine.launch import Launch
from imagebuilder.machine.network import address_words
from imagebuilder.machine.spec import Accelerator, Disk, Forward, MachineSpec
from imagebuilder.machine.suspend import go_on, park
from imagebuilder.machine.template import Template, TemplateStale, Wanted
from imagebuilder.machine.template_create import _prepared, create
from imagebuilder.recipe.load import load
from imagebuilder.recipe.values import Egress
from imagebuilder.store import Store

from .clones import PATIENCE_S, ask, check_clock, strangers

HERE = Path(__file__).parent
TCG = Accelerator.TCG
ALONE = r"""
#include <signal.h>
#include <stdio.h>
#include <unistd.h>
int main(void)
{
    char name[65] = "";
    int number;
    sigset_t told;
    sigemptyset(&told);
    sigaddset(&told, SIGUSR1);
    sigprocmask(SIG_BLOCK, &told, NULL);  /* so that none is lost before one waits for it */
    puts("here");
    fflush(stdout);
    for (;;) {
        sigwait(&told, &number);
        gethostname(name, sizeof name);
        printf("name %s\n", name);
        fflush(stdout);
    }
}
"""
ALONE_RECIPE = """
name = "alone"
version = "1"
summary = "has no network"
source = { type = "build", inputs = ["alone.c"], command = ["gcc", "-static", "-o", "alone", "alone.c"], \
outputs = { "alone" = "/alone" } }
application = { command = "/alone" }
machine = { network = false, memory_mib = 32 }
ready = { console = "here" }
template = { signal = "USR1" }
"""
SPEC = MachineSpec(
    MachineType.MICROVM,
    Accelerator.TCG,
    kernel=Path("/t/kernel"),
    forwards=(Forward(40000, 80),),
    disks=(Disk(path=Path("/t/disk0"), snapshot=True),),
)
MEMORY = Path("/t/memory")
CLONED = Launch.cloned(MEMORY)
HERE_AND_NOW = Circumstances("image", "machine", "words", "QEMU 7.2", "a processor", "warm")


def test_the_command_line_of_a_clone() -> None:
    line = " ".join(argv(SPEC, CLONED, wiring=Wiring(3, 4, 5, state_fd=6)))
    assert "-M microvm,acpi=off,memory-backend=ram" in line
    assert "-object memory-backend-file,id=ram,size=64M,share=off,mem-path=/t/memory" in line
    assert "-S -incoming defer" in line
    assert (
        "restrict=on,ipv6=off,net=100.64.0.0/10,host=100.64.0.2,dns=100.64.0.3,hostfwd=tcp:127.0.0.1:40000-100.103.16.15:80"
        in line
    )
    assert "snapshot=on,file=/t/disk0" in line
    assert "-append" not in line


def test_the_command_line_of_a_template() -> None:
    source = replace(SPEC, disks=(Disk(Path("/d"), writable=True),))
    line = " ".join(argv(source, Launch.kept(MEMORY), wiring=Wiring(3, 4, 5)))
    assert "share=on,mem-path=/t/memory" in line
    assert "-incoming" not in line
    assert "format=raw,cache=unsafe,file=/d" in line
    assert "ib.ip=100.64.0.15/10,100.64.0.2 " in line + " "
    opened = argv(replace(source, egress=Egress.FULL), Launch.kept(MEMORY), wiring=Wiring(3, 4, 5))
    assert "ib.ip=100.64.0.15/10,100.64.0.2,100.64.0.3" in " ".join(opened)
    assert "hostfwd=tcp:127.0.0.1:40000-100.64.0.15:80" in line


def test_no_two_host_ports_give_one_address() -> None:
    found = {address_words(replace(SPEC, forwards=(Forward(port, 80),)), CLONED) for port in range(1, 65536)}
    assert len(found) == 65535
    assert not any(words.startswith("100.64.0.15/") for words in found), "that one is the template's"


@pytest.mark.parametrize("key", ["image", "machine", "words", "qemu", "cpu", "warm"])
def test_whatever_differs_makes_another_template(key: str) -> None:
    other = replace(HERE_AND_NOW, **{key: "another"})
    assert other.key != HERE_AND_NOW.key
    assert list(differences(HERE_AND_NOW, other)) == [key]


@pytest.mark.tools
def test_other_words_and_another_processor_make_a_template_stale(
    bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cpuinfo = tmp_path / "cpuinfo"
    cpuinfo.write_text("processor : 0\nmodel name : One of 2020\n")
    monkeypatch.setattr(circumstances, "CPUINFO", cpuinfo)
    source = Wanted.of(bundle, Accelerator.TCG).source
    before = Wanted(bundle, source).circumstances
    told = Wanted(bundle, replace(source, cmdline=f"{source.cmdline} quiet")).circumstances
    assert list(differences(before, told)) == ["words"]
    cpuinfo.write_text("processor : 0\nmodel name : One of 2026\n")
    elsewhere = Wanted(bundle, source).circumstances
    assert list(differences(before, elsewhere).items()) == [
        ("cpu", "it was made on another processor (One of 2020; this is One of 2026)")
    ]


@pytest.mark.parametrize("hostname", ["", "a b", "x" * 65])
def test_names_that_no_guest_can_have(hostname: str) -> None:
    with pytest.raises(InputError, match="no host name"):
        Identity(hostname)


@pytest.mark.parametrize("name, value", [("", "1"), ("A=B", "1"), ("A", "1\n2")])
def test_variables_that_cannot_be_given(name: str, value: str) -> None:
    with pytest.raises(InputError, match="cannot be given"):
        Identity("a", environment={name: value})


def test_more_than_can_be_given() -> None:
    with pytest.raises(InputError, match="the user data of a machine has 65,537 bytes, and at most 65,536"):
        Identity("a", user_data=b"x" * 65537)


def test_what_init_is_told() -> None:
    identity = Identity("a-1", seed=b"\1\2", mac=b"\2\0\0\0\0\1", environment={"A": "1"}, user_data=b"x" * 300)
    assert list(identity.words("100.64.1.15/10,100.64.0.2")) == [
        "seed 0102",
        "hostname a-1",
        "network 020000000001 100.64.1.15/10,100.64.0.2",
        f"file environment {b'A=1'.hex()}0a",
        f"file user-data {'78' * 256}",
        f"file user-data {'78' * 44}",
    ]


def test_a_further_attempt_begins_with_nothing(tmp_path: Path) -> None:
    root, work = tmp_path / "root", tmp_path / "work"
    root.write_bytes(b"root")
    work.mkdir()
    source = replace(SPEC, disks=(Disk(path=root), Disk(size_mib=1)))
    for _ in range(2):
        prepared = _prepared(source, work)
        kept = [path for path in (each.path for each in prepared.disks) if path is not None]
        assert [path.read_bytes() for path in kept] == [b"root", bytes(1 << 20)]
        assert not any((work / "memory").read_bytes()[:64])
        kept[1].write_bytes(b"written by the guest")
        (work / "memory").write_bytes(b"memory of the first attempt")


# In QEMU


@pytest.mark.vm
def test_every_clone_is_a_machine_of_its_own(template: Template) -> None:
    async def three() -> list[dict[str, str]]:
        async with clone(template) as one, clone(template) as two, clone(template) as three:
            return [await ask(each) for each in (one, two, three)]

    told = asyncio.run(three())
    strangers(told)
    for each in told:
        assert each["told"] == "1", "the application got its signal once"
        assert int(each["saw_other_ns"]) <= template.guest_ns, "no program ran before the clone had its name"


@pytest.mark.vm
def test_what_the_host_gives_and_what_a_clone_writes_is_its_own(template: Template) -> None:
    async def two() -> list[dict[str, str]]:
        identity = Identity.of(template, environment={"A": "1", "B": "two words"}, user_data=b"#!" + b"y" * 65534)
        async with clone(template, identity) as one, clone(template) as other:
            await ask(one, b"ONE")
            return [await ask(one, b"-"), await ask(other, b"OTHER")]

    one, other = asyncio.run(two())
    assert one["environment"] == "A=1|B=two words|"
    assert one["user_data"] == ("#!" + "y" * 65534)[:2047]
    assert other["environment"] == other["user_data"] == ""
    assert one["disk"].rstrip("\0").startswith("hello"), "the disk begins as it was in the template"
    assert "ONE" in one["disk"]
    assert "ONE" not in other["disk"]


@pytest.mark.vm
def test_a_clone_that_stands_still_knows_the_time_when_it_goes_on(template: Template) -> None:
    async def parked() -> tuple[dict[str, str], dict[str, str]]:
        async with held(template) as instance:
            await asyncio.sleep(0.3)
            await begin(instance, template, Identity.of(template))
            first = await ask(instance)
            still = await park(instance)
            await asyncio.sleep(0.5)
            thawed = instance.channel.done("thaw")
            await go_on(instance, still)
            await asyncio.wait_for(thawed, PATIENCE_S)
            return first, await ask(instance)

    first, second = asyncio.run(parked())
    check_clock(first)
    check_clock(second)
    assert first["hostname"] == second["hostname"]


@pytest.mark.vm
def test_a_clone_shares_its_memory_and_ends_in_order(template: Template) -> None:
    async def ended() -> tuple[str, int | None]:
        async with clone(template) as instance:
            await ask(instance)
            maps = Path(f"/proc/{instance.pid}/smaps").read_text()
            return maps, (await instance.terminate()).signal

    before = template_bytes(template)
    maps, by_signal = asyncio.run(ended())
    memory = maps[maps.index(str(template.folder / "memory")) :]
    anonymous = re.search(r"^Anonymous:\s+(\d+) kB", memory, re.MULTILINE)
    assert anonymous is not None
    assert int(anonymous[1]) * 1024 < (template.memory_mib << 20) / 4, "only what it wrote is its own"
    assert by_signal == signal.SIGTERM, "init ended the application as it was asked to"
    assert template_bytes(template) == before, "a clone never writes to its template"


def template_bytes(template: Template) -> bytes:
    """The template's memory and disks."""
    return b"".join((template.folder / name).read_bytes() for name in ("memory", "disk0", "state"))


@pytest.mark.vm
def test_a_stale_template_is_refused_in_words(
    store: Store, bundle: Bundle, template: Template, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = process.require("qemu-system-x86_64")
    other = tmp_path / "qemu-system-x86_64"
    other.write_text(
        f'#!/bin/sh\n[ "$1" = --version ] && echo "QEMU emulator version 99.1" && exit\nexec {real} "$@"\n'
    )
    other.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    with pytest.raises(TemplateStale, match=r"it was made by QEMU emulator version .* and this is .*99\.1"):
        Wanted.of(bundle, Accelerator.TCG).find(store)
    monkeypatch.undo()
    with pytest.raises(TemplateStale, match=r"another machine \(microvm tcg 32M .*; now .* 48M"):
        Wanted.of(bundle, Accelerator.TCG, memory_mib=48).find(store)
    changed = Bundle(bundle.folder, bundle.image.model_copy(update={"digest": "0" * 64}))
    with pytest.raises(TemplateStale, match="the image has changed"):
        Wanted.of(changed, Accelerator.TCG).find(store)
    renamed = Bundle(bundle.folder, changed.image.model_copy(update={"name": "nobody"}))
    with pytest.raises(InputError, match="there is no template of nobody"):
        Wanted.of(renamed, Accelerator.TCG).find(store)


@pytest.mark.vm
def test_a_damaged_template_is_refused(template: Template, store: Store, tmp_path: Path) -> None:
    document = json.loads((template.folder / "template.json").read_text())
    copy = tmp_path / "copy"
    shutil.copytree(template.folder, copy)
    for damage in ("{", json.dumps({**document, "schema": "imagebuilder.template/0"}), json.dumps({"schema": 1})):
        (copy / "template.json").write_text(damage)
        with pytest.raises(InputError, match="holds no template that can be used"):
            Template.read(copy)
    (copy / "template.json").write_text(json.dumps(document))
    (copy / "state").write_bytes(template.state[:-1])
    with pytest.raises(InputError, match=r"holds no template that can be used \(its state is damaged\)"):
        Template.read(copy)
    (copy / "state").write_bytes(template.state[:-1] + bytes([template.state[-1] ^ 1]))
    with pytest.raises(InputError, match="is damaged: its state is not what was kept"):
        _ = Template.read(copy).state
    assert cache.verify(store)[1] == []


@pytest.mark.vm
def test_a_state_that_qemu_does_not_understand(template: Template) -> None:
    async def broken() -> None:
        torn = replace(template)
        torn.__dict__["state"] = template.state[: len(template.state) // 2]
        async with clone(torn):
            pass

    with pytest.raises(MachineError):
        asyncio.run(broken())


@pytest.mark.vm
def test_an_application_that_ends_cannot_be_kept(store: Store, tmp_path: Path) -> None:
    hello = build(load("hello"), tmp_path, store=store, say=silent)
    before = {each.folder for each in templates.templates(store)}
    with pytest.raises(GuestFailed, match="only an application that goes on can be kept"):
        asyncio.run(create(Wanted.of(hello, Accelerator.TCG), store))
    assert {each.folder for each in templates.templates(store)} == before


@pytest.mark.vm
def test_a_template_that_cannot_be_made_leaves_what_there_is_to_see(
    store: Store, bundle: Bundle, tmp_path: Path
) -> None:
    """Whether QEMU was gone before it greeted, or the guest after."""
    with pytest.raises(GuestFailed, match="memory"):
        asyncio.run(create(Wanted.of(bundle, Accelerator.TCG, memory_mib=5), store, artefacts=tmp_path / "left"))
    assert "-m 5M" in (tmp_path / "left" / "command.txt").read_text()


@pytest.mark.vm
def test_a_new_template_takes_the_place_of_abandoned_ones(store: Store, template: Template, tmp_path: Path) -> None:
    other = build(load(str(HERE / "who")), tmp_path, store=store, say=silent)
    abandoned = template.folder.with_name("abandoned")
    shutil.copytree(template.folder, abandoned)
    os.utime(abandoned / USED, (0, 0))
    said: list[Event] = []
    made = asyncio.run(create(Wanted.of(other, TCG, memory_mib=40), store, say=said.append))
    assert template.folder.is_dir() and made.folder.is_dir() and not abandoned.exists()
    assert "templates of who that were not used lately are removed: 1" in [
        each.text for each in said if isinstance(each, Note)
    ]
    assert templates.remove(made.folder)


@pytest.mark.vm
def test_a_machine_without_a_network(store: Store, tmp_path: Path) -> None:
    folder = tmp_path / "recipe"
    shutil.copytree(HERE / "who", folder)
    (folder / "alone.c").write_text(ALONE)
    (folder / "recipe.toml").write_text(ALONE_RECIPE)
    made = asyncio.run(create(Wanted.of(build(load(str(folder)), tmp_path, store=store, say=silent), TCG), store))

    async def names() -> set[str]:
        async with clone(made) as one, clone(made) as other:
            seen = [
                asyncio.wait_for(each.probed.watch_console(r"name alone-[0-9a-f]{12}"), PATIENCE_S)
                for each in (one, other)
            ]
            await asyncio.gather(*seen)
            return {line for each in (one, other) for line in each.console.split() if line.startswith("alone-")}

    assert len(asyncio.run(names())) == 2
    assert templates.remove(made.folder)


@pytest.mark.vm
def test_a_template_in_use_is_not_removed(template: Template) -> None:
    async def using() -> bool:
        async with held(template):
            return templates.remove(template.folder)

    assert not asyncio.run(using())
    assert template.folder.is_dir()
