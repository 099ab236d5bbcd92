"""A distribution's kernel: its image and the modules asked for, each after what it needs."""

from pathlib import Path

import pytest

from imagebuilder import kernel, process
from imagebuilder.errors import KernelError
from imagebuilder.events import silent
from imagebuilder.kernel.packaged import depends, load_order
from imagebuilder.paths import cache_dir
from imagebuilder.store import Store


def module(folder: Path, name: str, needs: str) -> bytes:
    """An ELF file with the section that modules have."""
    source = folder / f"{name}.c"
    source.write_text(
        f'const char d[] __attribute__((section(".modinfo"))) = "depends={needs}";\n'
        f'const char l[] __attribute__((section(".modinfo"))) = "license=GPL";\n'
    )
    process.run(["gcc", "-c", "-o", source.with_suffix(".ko"), source])
    return source.with_suffix(".ko").read_bytes()


@pytest.mark.tools
def test_modules_come_after_what_they_need(tmp_path: Path) -> None:
    needs = {"net": "failover,virtio", "failover": "", "virtio": "ring-x", "ring_x": "", "other": ""}
    modules = {name: module(tmp_path, name, needed) for name, needed in needs.items()}
    assert list(depends(modules["net"])) == ["failover", "virtio"]
    assert load_order(modules, ("net", "virtio"), builtin=frozenset()) == ["failover", "ring_x", "virtio", "net"]
    assert load_order(modules, ("net",), builtin=frozenset({"virtio"})) == ["failover", "net"]


@pytest.mark.tools
def test_a_missing_module_is_named_with_who_needs_it(tmp_path: Path) -> None:
    modules = {"net": module(tmp_path, "net", "gone")}
    with pytest.raises(KernelError, match="no module gone, which net needs"):
        load_order(modules, ("net",), builtin=frozenset())
    with pytest.raises(KernelError, match="no module erofs, which its definition needs"):
        load_order(modules, ("erofs",), builtin=frozenset())


def test_what_is_no_module_is_named() -> None:
    with pytest.raises(KernelError, match="no ELF file"):
        list(depends(b"text"))


def test_it_takes_no_fragments(tmp_path: Path) -> None:
    fragment = tmp_path / "a.config"
    fragment.write_text("CONFIG_A=y\n")
    definition = kernel.load_definition("debian-cloud")
    store = Store(tmp_path / "store")
    with pytest.raises(KernelError, match="takes no fragments"):
        kernel.provide(definition, extra_fragments=(fragment,), store=store, say=silent)
    with pytest.raises(KernelError, match="nothing to compile"):
        kernel.verify(definition, store=store, say=silent)


@pytest.mark.tools
@pytest.mark.network
def test_the_shipped_one_is_there() -> None:
    given = kernel.provide(kernel.load_definition("debian-cloud"), store=Store(cache_dir()), say=silent)
    # The boot protocol of Linux on x86: "HdrS" at 0x202 (Documentation/arch/x86/boot.rst).
    assert given.image.read_bytes()[0x202:0x206] == b"HdrS"
    names = [Path(path).name for path in given.module_paths]
    assert names.index("virtio_ring.ko") < names.index("virtio_pci.ko") < names.index("virtio_blk.ko")
    assert set(given.module_paths) <= set(given.modules)
    assert "erofs.ko" in names
    again = kernel.provide(given.definition, store=Store(cache_dir()), say=silent)
    assert (again.digest, again.module_paths, again.modules.digest) == (
        given.digest,
        given.module_paths,
        given.modules.digest,
    )
