"""Somebody else's machine: what its file may say, what is wrong with it, and the machine that it becomes."""

from pathlib import Path

import pytest

from imagebuilder.arch import MachineType
from imagebuilder.errors import RecipeError
from imagebuilder.machine.command_line import Wiring, argv
from imagebuilder.machine.spec import Accelerator, Forward
from imagebuilder.measure import subject

WHOLE = """\
name = "cloud"
version = "12"

[machine]
type = "q35"
memory_mib = 512
cpus = 2
ports = [22]

[boot]
kernel = "vmlinuz"
initrd = "initrd.img"
cmdline = "console=ttyS0 root=/dev/vda1"
firmware = "bios.bin"

[[disks]]
file = "disk.qcow2"
format = "qcow2"

[ready]
http = { port = 80, status = 404 }
timeout_s = 300
"""
WIRING = Wiring(qmp_fd=7, console_fd=8, channel_fd=9)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The files that the description names."""
    for name in ("vmlinuz", "initrd.img", "bios.bin", "disk.qcow2"):
        (tmp_path / name).touch()
    return tmp_path


def written(folder: Path, text: str) -> Path:
    """The description in a file."""
    path = folder / "machine.toml"
    path.write_text(text)
    return path


def test_a_whole_description(folder: Path) -> None:
    found = subject.of_file(written(folder, WHOLE), Accelerator.TCG)
    spec = found.spec
    assert (found.name, found.version, found.bundle, found.ready.timeout_s) == ("cloud", "12", None, 300)
    assert (spec.machine, spec.memory_mib, spec.cpus) == (MachineType.Q35, 512, 2)
    assert spec.forwards == (Forward(None, 22), Forward(None, 80))
    assert (spec.kernel, spec.firmware) == (folder / "vmlinuz", folder / "bios.bin")
    assert spec.foreign and spec.acpi and not spec.channel


def test_its_disks_are_never_written_and_its_words_are_its_own(folder: Path) -> None:
    text = WHOLE.replace("ports = [22]", "network = false")
    words = argv(subject.of_file(written(folder, text), Accelerator.TCG).spec, wiring=WIRING)
    assert f"if=none,id=disk0,format=qcow2,snapshot=on,file={folder}/disk.qcow2" in words
    assert words[words.index("-append") + 1] == "console=ttyS0 root=/dev/vda1"


def test_properties_of_the_machine_the_processor_and_devices(folder: Path) -> None:
    more = """
cpu_model = "qemu64,+ssse3"
properties = { pit = "off", ioapic2 = false, "smbios-entry-point-type" = 64 }
global_properties = { "virtio-blk-pci.scsi" = true }
"""
    text = WHOLE.replace("cpus = 2", more).replace("ports = [22]", "network = false")
    for accelerator in Accelerator:
        line = " ".join(argv(subject.of_file(written(folder, text), accelerator).spec, wiring=WIRING))
        assert "-M q35,usb=off,acpi=on,pit=off,ioapic2=off,smbios-entry-point-type=64 " in line
        assert "-cpu qemu64,+ssse3 " in line and line.count("-cpu ") == 1
        assert "-global virtio-blk-pci.scsi=on " in line


def test_a_disk_alone_is_enough(folder: Path) -> None:
    text = 'name = "nanos"\ndisks = [{ file = "disk.qcow2" }]\nready = { console = "ready" }\n'
    assert subject.of_file(written(folder, text), Accelerator.TCG).spec.kernel is None


@pytest.mark.parametrize(
    ("old", "new", "line", "key", "says"),
    [
        ('file = "disk.qcow2"', 'file = "disk.img"', 17, "disks.file", "there is no file 'disk.img'"),
        ('kernel = "vmlinuz"', 'kernel = "bzImage"', 11, "boot.kernel", "there is no file 'bzImage'"),
        ('type = "q35"', 'type = "pc"', 5, "machine.type", "expected 'microvm' or 'q35'"),
        ("memory_mib = 512", 'memory_mib = "512"', 6, "machine.memory_mib", "expected a whole number"),
        ("cpus = 2", "cpu = 2", 7, "machine.cpu", "did you mean 'cpus'"),
        ('name = "cloud"', "", 1, "name", "this key is missing"),
        ("http = { port = 80, status = 404 }", "exit = 0", 21, "ready.exit", "only our own init"),
        ("http = { port = 80, status = 404 }", "", 20, "ready", "exactly one"),
        ("cpus = 2", 'cpu_model = "max smap"', 7, "machine.cpu_model", "'max smap' is no model of a processor"),
        ("cpus = 2", 'properties = { acpi = "off" }', 7, "machine.properties.acpi", "use machine.acpi"),
        (
            "cpus = 2",
            'properties = { "pit,x" = "off" }',
            7,
            "machine.properties.pit,x",
            "no name of a machine's property",
        ),
        (
            "cpus = 2",
            "properties = { pit = 1.5 }",
            7,
            "machine.properties.pit",
            "a text, a whole number, true or false",
        ),
        ("cpus = 2", "global_properties = { mq = true }", 7, "machine.global_properties.mq", "no DRIVER.PROPERTY"),
        ('format = "qcow2"', 'format = "vmdk"', 18, "disks.format", "expected 'raw' or 'qcow2'"),
    ],
)
def test_mistakes_are_told_with_their_place(folder: Path, old: str, new: str, line: int, key: str, says: str) -> None:
    with pytest.raises(RecipeError) as raised:
        subject.load(written(folder, WHOLE.replace(old, new)))
    (problem,) = raised.value.problems
    assert (problem.line, problem.key) == (line, key)
    assert says in str(problem)


def test_all_mistakes_at_once(folder: Path) -> None:
    text = WHOLE.replace("cpus = 2", "cpus = 0").replace('"vmlinuz"', '"missing"').replace("404", "4040")
    with pytest.raises(RecipeError) as raised:
        subject.load(written(folder, text))
    assert [problem.key for problem in raised.value.problems] == ["machine.cpus", "boot.kernel", "ready.http.status"]


@pytest.mark.parametrize("text", ["", 'name = "x"\nready = { console = "y" }\n', "name = ", "\0"])
def test_nothing_to_start_or_no_toml(folder: Path, text: str) -> None:
    with pytest.raises(RecipeError):
        subject.load(written(folder, text))


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="cannot be read"):
        subject.load(tmp_path / "none.toml")
