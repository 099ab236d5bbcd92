"""The same templates and clones under Debian 13's QEMU 10, unpacked from its packages into a scratch folder."""

import asyncio
import os
from pathlib import Path

import pytest

from imagebuilder.build.walk import build
from imagebuilder.events import silent
from imagebuilder.machine import template as templates
from imagebuilder.machine.clone import clone
from imagebuilder.machine.forkserver import started
from imagebuilder.machine.spec import Accelerator
from imagebuilder.machine.template import TemplateStale, Wanted
from imagebuilder.machine.template_create import create
from imagebuilder.paths import cache_dir
from imagebuilder.recipe.load import load
from imagebuilder.sources import apt, deb
from imagebuilder.store import Store
from imagebuilder.tree import Blob, Kind

from .clones import ask, strangers

pytestmark = [pytest.mark.vm, pytest.mark.slow, pytest.mark.network]
WRAPPER = """#!/bin/sh
libraries={root}/usr/lib/x86_64-linux-gnu
QEMU_MODULE_DIR=$libraries/qemu exec $libraries/ld-linux-x86-64.so.2 --library-path $libraries:$libraries/pulseaudio \
{root}/usr/bin/qemu-system-x86_64 -L {root}/usr/share/qemu -L {root}/usr/share/seabios "$@"
"""


def unpacked(root: Path, store: Store) -> None:
    """QEMU of Debian 13 and all that it needs, in a folder."""
    packages = apt.resolve(apt.PackageRequest("trixie", ("qemu-system-x86",)), store=store, say=silent)
    for package in apt.fetch("trixie", packages, store=store, say=silent).values():
        for path, node in deb.unpack(package, Blob.of_content).items():
            target = root / path.lstrip("/")
            target.parent.mkdir(parents=True, exist_ok=True)
            if node.kind is Kind.SYMLINK:
                target.symlink_to(node.target)
            elif node.kind is Kind.FILE:
                target.write_bytes(node.content.read())
                target.chmod(node.mode)


def test_templates_and_clones_under_qemu_10(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bundle = build(load(str(Path(__file__).parent / "who")), tmp_path / "out", store=store, say=silent)
    older = asyncio.run(create(Wanted.of(bundle, Accelerator.TCG), store))
    root, programs = tmp_path / "root", tmp_path / "bin"
    unpacked(root, Store(cache_dir()))
    programs.mkdir()
    wrapper = programs / "qemu-system-x86_64"
    wrapper.write_text(WRAPPER.format(root=root))
    wrapper.chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}{os.pathsep}{os.environ['PATH']}")
    wanted = Wanted.of(bundle, Accelerator.TCG)
    assert "version 10." in wanted.circumstances.qemu
    with pytest.raises(TemplateStale, match="it was made by QEMU emulator version"):
        wanted.find(store)
    made = asyncio.run(create(wanted, store))

    async def several() -> list[dict[str, str]]:
        async with clone(made) as one, clone(made) as two, started(made) as server:
            assert one.qemu_version.startswith("10.")
            async with server.clone() as three, server.clone() as four:
                return [await ask(each) for each in (one, two, three, four)]

    told = asyncio.run(several())
    strangers(told)
    assert templates.remove(made.folder)
    assert templates.remove(older.folder)
