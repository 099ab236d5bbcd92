"""Files that others wrote or that we wrote before: machines, images, templates, lists of pages, reports, the cache."""

import json
from io import StringIO
from pathlib import Path

from rich.console import Console as Terminal

from imagebuilder import keep, lockfile, pages
from imagebuilder.bundle import Bundle
from imagebuilder.cache import verify
from imagebuilder.cli import figures
from imagebuilder.cli.bench import table as bench_table
from imagebuilder.cli.report import WRITERS
from imagebuilder.machine.command_line import argv
from imagebuilder.machine.ports import with_ports
from imagebuilder.machine.spec import Accelerator, spec_of
from imagebuilder.machine.template import Template, templates
from imagebuilder.measure import budget, reference, report, subject
from imagebuilder.measure.render import load_untrusted
from imagebuilder.pytest_plugin.exchange import Measured, figures_at
from imagebuilder.sources.kind import LOCKFILE
from imagebuilder.store import Store, canonical, key_of
from imagebuilder.tree import Tree, file
from tests.fuzz.doors.door import Door
from tests.measure.reports import BARE, FULL, HOST
from tests.test_documents import TEMPLATE

MACHINE = b"""\
name = "other"
version = "1"
machine = { type = "q35", memory_mib = 64, ports = [22], cpu_model = "max,-smap", properties = { pit = "off" } }
boot = { kernel = "kernel", cmdline = "console=ttyS0" }
disks = [{ file = "kernel", format = "qcow2" }]
ready = { console = "login:", timeout_s = 300 }
"""
PAGES = b'{"schema": "imagebuilder.pages/1", "files": [{"path": "/bin/app", "sha256": "%s", "pages": [[0, 2]]}]}' % (
    b"a" * 64
)
KEEP = b'{"schema": "imagebuilder.keep/1", "files": [{"path": "/usr/a\\\\xff", "by": ["/init"]}]}'
TRACE = b"imagebuilder.trace/1\n/usr/a\0/init\0/usr/b/__pycache__/c.d.pyc\0\0\0\0"
LOCK = b"""\
schema = "imagebuilder.lock/1"

[architecture.x86_64.init]
key = "%(digest)s"

[architecture.x86_64.kernel]
key = "%(digest)s"
name = "micro+smp"
sha256 = "%(digest)s"

[[architecture.x86_64.source]]
packages = [{ bytes = 3, name = "libgreet2", sha256 = "%(digest)s", version = "2:3.1-4+b1" }]
type = "debian"

[architecture.x86_64.source.asks]
packages = ["greeter=1.5", "base-passwd"]
release = "bookworm"
""" % {b"digest": b"a" * 64}
RECORD = canonical({"value": {"a": 1}, "sha256": key_of({"a": 1})})


def _image_json() -> bytes:
    document = {
        "schema": "imagebuilder.image/1",
        "name": "app",
        "version": "1",
        "kernel": {"name": "micro", "file": "vmlinux", "bytes": 6, "sha256": "a" * 64, "most_cpus": 1},
        "root": {"format": "erofs", "file": "root.erofs", "bytes": 4, "sha256": "b" * 64},
        "cmdline": "quiet ib.ip=dhcp",
        "boot": {"machine": "microvm", "acpi": False, "memory_mib": 32, "cpus": 1, "ports": [80],
                 "disks": [{"size_mib": 8}], "cmdline_tcg": "a", "cmdline_kvm": "b"},
        "ready": {"http": {"port": 80, "path": "/", "status": 200}, "timeout_s": 60},
        "budget": {"image_bytes": 1000, "startup_floors": 12},
        "recipe": {"name": "app", "template": {"warm": ["/"], "signal": "HUP"}, "bench": {"within_percent": 3}},
        "packages": [{"name": "a", "version": "1", "sha256": "c", "bytes": 1}],
        "contents": [{"name": "a: program", "files": 1, "bytes": 2, "kept": True, "why": "the command"}],
        "unmade": {"a": ["a user"]},
    }  # fmt: skip
    return json.dumps(document, indent=1).encode()


def _machine(data: bytes, folder: Path) -> None:
    (folder / "kernel").write_bytes(b"")
    (folder / "machine.toml").write_bytes(data)
    argv(with_ports(subject.of_file(folder / "machine.toml", Accelerator.TCG).spec), wiring=None)


def _image(data: bytes, folder: Path) -> None:
    (folder / "image.json").write_bytes(data)
    bundle = Bundle.open(folder, check=False)
    found = subject.of_bundle(bundle, Accelerator.TCG)
    argv(with_ports(spec_of(bundle, accelerator=Accelerator.KVM)), wiring=None)
    reference.within_of(found)
    budget.rows(bundle.image.budget, budget.Measured(image_bytes=1, startup_floors=1.5))
    assert all(path.parent == folder for path in bundle.files()), bundle.files()


def _template(data: bytes, folder: Path) -> None:
    store = Store(folder / "cache")
    (folder / "cache/templates/one").mkdir(parents=True)
    (folder / "cache/templates/one/template.json").write_bytes(data)
    list(templates(store))
    template = Template.read(folder / "cache/templates/one")
    argv(with_ports(template.spec()), template.launch(), wiring=None)
    json.dumps(template.describe())
    assert template.ready.timeout_s


def _pages(data: bytes, folder: Path) -> None:
    (folder / "pages.json").write_bytes(data)
    tree = Tree({"/bin/app": file(b"x")})
    pages.ahead(tree, ["/bin/app"], pages.read(folder / "pages.json", hint="learn them again"))


def _keep(data: bytes, folder: Path) -> None:
    (folder / "keep.json").write_bytes(data)
    found = keep.read(folder / "keep.json", hint="trace it again")
    assert all(path.startswith("/") for path in found.reasons)
    keep.write(found, folder / "again.json")


def _traced(data: bytes, folder: Path) -> None:
    opened = keep.opened(data)
    keep.write(keep.keep_list(opened, {path for path, _ in opened if path.startswith("/usr/")}), folder / "keep.json")
    keep.read(folder / "keep.json", hint="trace it again")


def _lock(data: bytes, folder: Path) -> None:
    (folder / LOCKFILE).write_bytes(data)
    lock = lockfile.read(folder, hint="lock it again")
    assert lock is not None
    lockfile.write(lock, folder)
    assert lockfile.read(folder, hint="lock it again") == lock
    for choices in lock.architecture.values():
        assert [change.text for change in lockfile.changes(None, choices)]
        assert lockfile.locked(choices.chosen) == lockfile.locked(choices.chosen[::-1])


def _report(data: bytes, folder: Path) -> None:
    (folder / "report.json").write_bytes(data)
    reports = load_untrusted.read([folder / "report.json"])
    for write in WRITERS.values():
        write(reports)
    for show in (figures.show, bench_table.show):
        show(Terminal(file=StringIO(), width=100), reports[0].report, why="x")
    reference.older(folder / "report.json", HOST, ["nginx"])


def _record(data: bytes, folder: Path) -> None:
    store = Store(folder / "cache")
    name = "ab" * 32
    for kind in ("records", "choices", "blobs"):
        place = folder / "cache" / kind / name[:2]
        place.mkdir(parents=True)
        (place / name).write_bytes(data)
    store.record(name)
    store.choice(name)
    verify(store)


def _measured(data: bytes, folder: Path) -> None:
    """As a file that a killed worker left, and as what came over the wire."""
    (folder / "figures.json").write_bytes(data)
    assert figures_at(folder / "figures.json", lambda: BARE).name
    assert Measured.of_text(data.decode(errors="surrogateescape")).order is not None


MEASURED = Measured(of=("/recipes/app", "micro", "Shape()"), order=3, accelerator="tcg", why="no KVM", image=FULL)
ROWS = (
    Door("machine", "--machine FILE", _machine, (MACHINE,)),
    Door("image", "image.json", _image, (_image_json(),)),
    Door("template", "template.json", _template, (json.dumps(TEMPLATE, indent=1).encode(),)),
    Door("pages", "the list of pages that learn writes", _pages, (PAGES,)),
    Door("keep", "the list of files that trace writes", _keep, (KEEP,)),
    Door("trace", "the disk of a machine that is traced", _traced, (TRACE,), refusals=(ValueError,)),
    Door("lock", "recipe.lock", _lock, (LOCK,)),
    Door("report", "a report: report, bench --vs", _report, (report.of(HOST, (FULL, BARE)).to_bytes(),)),
    Door("measured", "what the workers of boot tests exchange", _measured, (MEASURED.to_text().encode(),)),
    Door("record", "records of the store", _record, (RECORD,)),
)
