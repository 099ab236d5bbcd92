"""Boots init in QEMU and holds the other ends of its console and channel. Every wait has an end; nothing is left."""

import shutil
import socket
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from imagebuilder import process
from imagebuilder.errors import ToolFailed
from imagebuilder.filesystems import cpio
from imagebuilder.tree import Tree

NEEDS = [
    pytest.mark.vm,
    pytest.mark.skipif(process.find("musl-gcc") is None, reason="musl-gcc is not installed"),
    pytest.mark.skipif(process.find("qemu-system-x86_64") is None, reason="QEMU is not installed"),
]
PATIENCE_S = 120.0
TICK_NS = 10_000_000  # CONFIG_HZ_100
MACHINE = (
    "-M", "microvm,acpi=off",
    "-global", "virtio-mmio.force-legacy=off",
    "-accel", "tcg",
    "-m", "64",
    "-nodefaults", "-no-user-config", "-no-reboot",
    "-display", "none",
)  # fmt: skip
PORT = "virtserialport,chardev=channel,name=imagebuilder.0"


class Wire:
    """One end of a socket to QEMU: all that came, and what we say. It reads while ``reading`` is set."""

    def __init__(self, folder: Path, name: str) -> None:
        self.path = folder / name
        self.reading = threading.Event()
        self.reading.set()
        self._server = socket.socket(socket.AF_UNIX)
        self._server.bind(str(self.path))
        self._server.listen(1)
        self._changed = threading.Condition()
        self._came = bytearray()
        self._ended = False
        self._peer: socket.socket | None = None
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    @property
    def text(self) -> str:
        """All that came, line ends made plain."""
        with self._changed:
            return self._came.decode(errors="replace").replace("\r\n", "\n")

    def until(self, text: str) -> None:
        """Wait until this text came; AssertionError when the other side ends or is silent for too long."""
        with self._changed:
            end_s = time.monotonic() + PATIENCE_S
            while text not in self._came.decode(errors="replace"):
                assert not self._ended and time.monotonic() < end_s, f"{text!r} did not come: {self._came!r}"
                self._changed.wait(1.0)

    def say(self, data: bytes) -> None:
        """Send to the guest."""
        assert self._peer is not None
        self._peer.sendall(data)

    def close(self) -> None:
        """End both ends."""
        for end in (self._server, self._peer):
            if end is not None:
                with suppress(OSError):
                    end.shutdown(socket.SHUT_RDWR)
        self._thread.join(PATIENCE_S)
        self._server.close()

    def _read(self) -> None:
        with suppress(OSError):
            self._peer, _ = self._server.accept()
            while data := self._peer.recv(65_536):
                with self._changed:
                    self._came += data
                    self._changed.notify_all()
                self.reading.wait(PATIENCE_S)
        with self._changed:
            self._ended = True
            self._changed.notify_all()
        if self._peer is not None:
            self._peer.close()


@dataclass
class Guest:
    """A guest that runs, or ran."""

    console: Wire
    channel: Wire
    monitor: Wire
    failures: list[ToolFailed] = field(default_factory=list)

    @property
    def reports(self) -> list[str]:
        """The lines of the channel without their moment of sending."""
        return [line.split(" ", 1)[1] for line in self.channel.text.splitlines()]

    @property
    def phases_ns(self) -> dict[str, int]:
        """The guest's clock at each phase."""
        phases = (line.split() for line in self.reports if line.startswith("phase "))
        return {name: int(at_ns) for _, name, at_ns in phases}


@contextmanager
def running(kernel: Path, tree: Tree, cmdline: str, *, more: Sequence[str] = (), port: bool = True) -> Iterator[Guest]:
    """Boot a tree as initramfs (one without /init: none); at the end of the block wait for its power-off."""
    folder = Path(tempfile.mkdtemp(prefix="ib-"))
    guest = Guest(Wire(folder, "console"), Wire(folder, "channel"), Wire(folder, "monitor"))
    chardevs = [
        word
        for name, wire in (("console", guest.console), ("channel", guest.channel), ("monitor", guest.monitor))
        for word in ("-chardev", f"socket,id={name},path={wire.path}")
    ]
    initrd = ["-initrd", str(folder / "root.cpio")] if "/init" in tree else []
    with (folder / "root.cpio").open("wb") as stream:
        cpio.write(tree, stream, epoch_s=0)
    argv = [
        "qemu-system-x86_64", *MACHINE, *chardevs,
        "-serial", "chardev:console",
        "-mon", "chardev=monitor,mode=readline",
        "-device", "virtio-serial-device",
        *more,
        *(("-device", PORT) if port else ()),
        "-kernel", str(kernel), *initrd,
        "-append", f"console=ttyS0 quiet panic=-1 reboot=t {cmdline}",
    ]  # fmt: skip
    thread = threading.Thread(target=_run, args=(argv, guest.failures))
    thread.start()
    try:
        yield guest
    finally:
        thread.join()
        for wire in (guest.console, guest.channel, guest.monitor):
            wire.close()
        shutil.rmtree(folder)
    assert not guest.failures, f"{guest.failures[0]}; console: {guest.console.text}"


def _run(argv: list[str], failures: list[ToolFailed]) -> None:
    try:
        process.run(argv, timeout_s=PATIENCE_S)
    except ToolFailed as error:
        failures.append(error)


def boot(
    kernel: Path, tree: Tree, cmdline: str = "ib.channel=1", *, more: Sequence[str] = (), port: bool = True
) -> Guest:
    """Boot and wait for the end."""
    with running(kernel, tree, cmdline, more=more, port=port) as guest:
        pass
    return guest


def assert_failed(guest: Guest, sentence: str) -> None:
    """Init said why on both wires, and nothing that could be taken for success."""
    assert guest.console.text.splitlines()[-1] == f"init: {sentence}"
    assert guest.reports[-1] == f"error {sentence}"
    assert not any(line.startswith(("exit", "phase application")) for line in guest.reports)
