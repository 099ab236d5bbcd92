"""Templates as values on the disk: what is written is what is read, what is none is refused, and which is found."""

import fcntl
import json
import os
from dataclasses import asdict, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from imagebuilder import process
from imagebuilder.arch import MachineType
from imagebuilder.bundle import RecipeView
from imagebuilder.cache import USED, held
from imagebuilder.errors import InputError
from imagebuilder.machine import circumstances
from imagebuilder.machine import template as templates
from imagebuilder.machine.circumstances import Circumstances, differences
from imagebuilder.machine.launch import Launch, MemoryFile
from imagebuilder.machine.spec import Accelerator, Disk, Forward, MachineSpec
from imagebuilder.machine.template import Template, TemplateStale, Wanted
from imagebuilder.recipe.model import Http, Ready
from imagebuilder.recipe.values import Egress
from imagebuilder.store import Store, key_of, sha256

HERE_AND_NOW = Circumstances("image", "machine", "words", "QEMU 7.2", "a processor", "warm")
WHOLE: dict[str, Any] = {
    "name": "web",
    "circumstances": HERE_AND_NOW,
    "guest_ns": 5,
    "unsure_ns": 6,
    "machine": MachineType.Q35,
    "accelerator": Accelerator.KVM,
    "memory_mib": 48,
    "cpus": 2,
    "acpi": True,
    "network": True,
    "ports": (80, 443),
    "disks": ("root", "scratch"),
    "ready": Ready(http=Http(port=80)),
    "hook": "/hook",
    "signal": 10,
    "egress": Egress.FULL,
    "made": "2026-01-01T00:00:00Z",
}
NOT_WORDS: tuple[Any, ...] = (None, 5, True, [], ["x"])
WRONG: dict[str, tuple[Any, ...]] = {
    **dict.fromkeys(("guest_ns", "unsure_ns", "memory_mib", "cpus", "signal"), (None, "x", 1.5, True, [5])),
    **dict.fromkeys(("name", "made"), NOT_WORDS),
    **{f"circumstances {key}": NOT_WORDS for key in asdict(HERE_AND_NOW)},
    **dict.fromkeys(("acpi", "network"), (None, 1, "x")),
    "ports": (None, 5, ["x"], [80, True], [None]),
    "disks": (None, 5, [5], ["root", None]),
    "ready": (None, 5, [], "x"),
    "hook": (5, True, []),
    "sha256": (None, [], "x", {"state": 5}),
    "sizes": (None, [], {"state": "x"}),
    "machine": (None, "x"),
    "accelerator": (None, "x"),
    "egress": (None, "x"),
    "schema": (None, "x"),
}
MAY_BE_MISSING = ("egress", "sha256", "sizes", "made", "hook", "signal")


def kept(folder: Path, **changed: Any) -> Template:
    """A template on the disk."""
    made = Template(**{"folder": folder, **WHOLE, "sha256": {"state": sha256(b"state")}, **changed})
    folder.mkdir(parents=True)
    (folder / "state").write_bytes(b"state")
    (folder / USED).touch()
    (folder / "template.json").write_text(json.dumps(made.describe()))
    return made


def wanted(name: str = "web", digest: str = "digest", **machine: Any) -> Wanted:
    """What an image would have."""
    recipe = RecipeView.model_validate({"template": {"warm": ["/"]}})
    image = SimpleNamespace(name=name, digest=digest, recipe=recipe)
    bundle: Any = SimpleNamespace(image=image)
    usual = {"kernel": Path("/k"), "disks": (Disk(Path("/d")), Disk(size_mib=7)), "memory_mib": 32, "cpus": 1}
    return Wanted(bundle, MachineSpec(MachineType.MICROVM, Accelerator.TCG, **{**usual, **machine}))


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "cache")


@pytest.fixture(autouse=True)
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A host whose words are known."""
    (tmp_path / "cpuinfo").write_text("processor : 0\nmodel name\t: One : of 2020 \nmodel name : Another\n")
    monkeypatch.setattr(circumstances, "CPUINFO", tmp_path / "cpuinfo")
    monkeypatch.setattr(circumstances, "qemu_says", lambda: "QEMU 7.2")


def test_what_is_written_is_what_is_read(tmp_path: Path) -> None:
    made = kept(tmp_path / "t")
    assert Template.read(tmp_path / "t") == made
    document = json.loads((tmp_path / "t/template.json").read_text())
    assert document["schema"] == "imagebuilder.template/1" and document["key"] == HERE_AND_NOW.key
    assert "folder" not in document and document["circumstances"] == asdict(HERE_AND_NOW)
    for older in MAY_BE_MISSING:
        del document[older]
    (tmp_path / "t/template.json").write_text(json.dumps(document))
    assert Template.read(tmp_path / "t") == replace(made, egress=Egress.NONE, sha256={}, made="", hook=None, signal=0)


@pytest.mark.parametrize(("key", "wrong"), WRONG.items())
def test_a_value_of_another_type_is_refused(tmp_path: Path, key: str, wrong: tuple[Any, ...]) -> None:
    kept(tmp_path / "t")
    path = tmp_path / "t/template.json"
    document = json.loads(path.read_text())
    part = document["circumstances"] if " " in key else document
    key = key.split()[-1]
    for value in wrong:
        part[key] = value
        path.write_text(json.dumps(document))
        with pytest.raises(InputError, match=r"t holds no template that can be used \("):
            Template.read(tmp_path / "t")
    del part[key]
    path.write_text(json.dumps(document))
    if key not in MAY_BE_MISSING:
        with pytest.raises(InputError, match="holds no template"):
            Template.read(tmp_path / "t")


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("[]", "(it is no table)"),
        ('{"schema": "imagebuilder.template/0"}', "(its schema is another one)"),
        (None, "No such file"),
    ],
)
def test_what_is_no_template(tmp_path: Path, text: str | None, why: str) -> None:
    if text is not None:
        (tmp_path / "template.json").write_text(text)
    with pytest.raises(InputError) as refused:
        Template.read(tmp_path)
    assert str(refused.value).startswith(f"{tmp_path} holds no template that can be used (")
    assert why in str(refused.value) and refused.value.hint == "imagebuilder template create NAME"


def test_why_what_is_read_cannot_be_used(tmp_path: Path) -> None:
    def why() -> str:
        with pytest.raises(InputError) as refused:
            Template.read(tmp_path / "t")
        return str(refused.value)

    kept(tmp_path / "t")
    document = json.loads((tmp_path / "t/template.json").read_text())
    assert document["ready"] == {"http": {"path": "/", "port": 80, "status": 200}, "timeout_s": 60}
    wrong = {"http": {"port": 80, "path": 5}}
    (tmp_path / "t/template.json").write_text(json.dumps({**document, "ready": wrong}))
    assert "(http.path: " in why() and "validation error" not in why()
    (tmp_path / "t/template.json").write_text(json.dumps({**document, "cpus": "x"}))
    assert "(cpus is of another type)" in why()
    for sizes, damaged in (({"state": 5}, None), ({"state": 6}, "state"), ({"memory": 5}, "memory")):
        (tmp_path / "t/template.json").write_text(json.dumps({**document, "sizes": sizes}))
        if damaged:
            assert f"(its {damaged} is damaged)" in why()
        else:
            assert Template.read(tmp_path / "t").sizes == sizes
    (tmp_path / "t/folder").mkdir()
    assert "(its folder is no file)" in why()


def test_a_state_that_is_not_what_was_kept(tmp_path: Path) -> None:
    made = kept(tmp_path / "t")
    assert made.state == replace(made, sha256={}).state == b"state"
    (tmp_path / "t/state").write_bytes(b"stat")
    with pytest.raises(InputError) as refused:
        _ = Template.read(tmp_path / "t").state
    assert str(refused.value) == (
        f"the template {tmp_path / 't'} is damaged: its state is not what was kept (imagebuilder template create web)"
    )


def test_the_machine_of_a_clone(tmp_path: Path) -> None:
    made = kept(tmp_path / "t")
    folder = tmp_path / "t"
    expected = MachineSpec(
        machine=MachineType.Q35,
        accelerator=Accelerator.KVM,
        kernel=folder / "kernel",
        memory_mib=48,
        cpus=2,
        disks=(Disk(path=folder / "disk0", snapshot=False), Disk(path=folder / "disk1", snapshot=True)),
        forwards=(Forward(None, 80), Forward(None, 443)),
        acpi=True,
        network=True,
        egress=Egress.FULL,
        name="web",
    )
    assert made.spec() == expected
    memory = MemoryFile(folder / "memory")
    assert made.launch(host_cpus=(1,)) == Launch(memory_file=memory, incoming=True, host_cpus=(1,))
    forwards = (Forward(7, 22), Forward(8, 443))
    assert made.spec(forwards).forwards == (Forward(None, 80), Forward(8, 443), Forward(7, 22))
    assert replace(made, network=False, ports=()).spec().network is False
    with pytest.raises(InputError, match="web"):
        replace(made, network=False).spec(forwards)


def test_what_it_takes_and_when_it_was_used(tmp_path: Path) -> None:
    made = kept(tmp_path / "t")
    assert made.bytes == sum(path.stat().st_blocks * 512 for path in (tmp_path / "t").iterdir()) > 0
    os.utime(tmp_path / "t" / USED, (1000, 1000))
    assert made.last_used_s == 1000
    with made.used() as same:
        assert same is made and made.last_used_s > 1000 and not templates.remove(made.folder)
    (tmp_path / "t" / USED).unlink()
    assert made.last_used_s == 0


def test_what_is_so_here_and_now() -> None:
    here = wanted()
    found = here.circumstances
    assert (found.image, found.machine, found.qemu) == ("digest", "microvm tcg 32M 1 CPU 7M", "QEMU 7.2")
    assert (found.cpu, found.warm) == ("One : of 2020", key_of({"warm": ["/"]})[:12])
    assert wanted(disks=()).circumstances.machine == "microvm tcg 32M 1 CPU"
    assert wanted(disks=(Disk(size_mib=1), Disk(size_mib=2))).circumstances.machine.endswith(" CPU 1M 2M")
    assert len(found.words) == 12 and found.key == key_of(["imagebuilder.template/1", asdict(found)])
    assert here.recipe.warm == ("/",)


def test_words_are_the_same_for_what_may_differ_between_clones() -> None:
    def words(**machine: Any) -> str:
        return wanted(**machine).circumstances.words

    alike = words()
    assert alike == words(kernel=Path("/other"), forwards=(Forward(5, 80),))
    assert alike == words(disks=(Disk(Path("/other")), Disk(size_mib=7)))
    initrd = words(disks=(), initrd=Path("/i"))
    assert initrd == words(disks=(), initrd=Path("/j")) != words(disks=())
    assert alike != words(cmdline="quiet") and alike != words(disks=(Disk(Path("/d")),))
    assert words(disks=(Disk(Path("/d")),)) != words(disks=(Disk(size_mib=7),))
    assert alike != words(acpi=True) and alike != words(kernel=None, cmdline="")


def test_a_processor_without_a_name(tmp_path: Path) -> None:
    (tmp_path / "cpuinfo").write_text("processor : 0\nfeatures : none\n")
    assert wanted().circumstances.cpu == "unknown"


def test_what_differs_in_words() -> None:
    new = Circumstances("i", "m", "w", "q", "c", "v")
    assert differences(HERE_AND_NOW, new) == {
        "image": "the image has changed since",
        "machine": "it is another machine (machine; now m)",
        "words": "the command line of QEMU or of the kernel differs",
        "qemu": "it was made by QEMU 7.2, and this is q",
        "cpu": "it was made on another processor (a processor; this is c)",
        "warm": "the recipe's [template] has changed since",
    }
    assert differences(new, new) == {}


def test_the_one_that_fits_is_found_and_used(store: Store) -> None:
    here = wanted()
    folder = store.root / "templates" / here.circumstances.key
    with pytest.raises(InputError) as refused:
        here.find(store)
    assert str(refused.value) == "there is no template of web (imagebuilder template create web)"
    made = kept(folder, circumstances=here.circumstances)
    os.utime(folder / USED, (1000, 1000))
    assert here.find(store) == made
    assert made.last_used_s > 1000


def test_of_those_that_do_not_fit_the_nearest_is_told(store: Store) -> None:
    here = wanted()
    far = replace(here.circumstances, image="x", cpu="y", warm="z")
    kept(store.root / "templates/a", circumstances=far)
    kept(store.root / "templates/b", circumstances=replace(here.circumstances, image="x", qemu="QEMU 5"))
    kept(store.root / "templates/c", circumstances=here.circumstances, name="another")
    with pytest.raises(TemplateStale) as stale:
        here.find(store)
    assert str(stale.value) == (
        "the template of web cannot be used: the image has changed since; it was made by QEMU 5, and this is QEMU 7.2 "
        "(imagebuilder template create web, or run with --refresh-template)"
    )


def test_all_in_the_order_of_names_and_times(store: Store) -> None:
    for place, name, made in (("a", "z", "1"), ("b", "y", "2"), ("c", "y", "1"), ("d", "x", "3")):
        kept(store.root / "templates" / place, name=name, made=made)
    (store.root / "templates/e").mkdir()
    (store.root / "templates/file").touch()
    assert [(each.name, each.made) for each in templates.templates(store)] == [
        *(("x", "3"), ("y", "1"), ("y", "2"), ("z", "1"))
    ]


def test_one_that_is_removed_is_gone_whole(store: Store) -> None:
    folder = store.root / "templates/a"
    made = kept(folder)
    with held(folder, fcntl.LOCK_SH):
        assert not templates.remove(folder) and (folder / "state").exists()
    assert templates.remove(folder) and not folder.exists() and not list((store.root / "scratch").iterdir())
    assert not (store.root.parent / "scratch").exists()
    assert templates.remove(folder), "somebody was faster"
    with pytest.raises(InputError) as gone, made.used():
        pass
    assert str(gone.value) == f"the template {folder} was removed meanwhile (imagebuilder template list)"


def test_the_machine_that_is_brought_to_its_first_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    def spec_of(*values: Any, **named: Any) -> Any:
        return values, named

    monkeypatch.setattr(templates, "spec_of", spec_of)
    bundle: Any = object()
    found = Wanted.of(bundle, Accelerator.TCG, memory_mib=7, cpus=3, egress=Egress.FULL)
    assert found.bundle is bundle
    given = {"accelerator": Accelerator.TCG, "memory_mib": 7, "cpus": 3, "egress": Egress.FULL}
    assert found.source == ((bundle,), given)  # type: ignore[comparison-overlap]
    assert Wanted.of(bundle, Accelerator.KVM).source[1]["memory_mib"] is None  # type: ignore[index]


def test_how_qemu_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []

    def run(*values: Any, **named: Any) -> process.Completed:
        asked.append((values, named))
        return process.Completed(b" QEMU emulator 9 (x) \nCopyright\n", b"")

    monkeypatch.undo()
    monkeypatch.setattr(process, "run", run)
    assert circumstances.qemu_says() == "QEMU emulator 9 (x)"
    assert asked == [((["qemu-system-x86_64", "--version"],), {"timeout_s": 60})]


@pytest.mark.tools
def test_what_qemu_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    program = tmp_path / "qemu-system-x86_64"
    program.write_text("#!/bin/sh\n[ $# = 1 ] && [ $1 = --version ] && printf ' QEMU emulator 9 (x) \\nCopyright\\n'\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    assert circumstances.qemu_says() == "QEMU emulator 9 (x)"
