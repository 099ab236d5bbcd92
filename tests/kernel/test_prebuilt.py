"""The prebuilt kernel: what ships fits its definition, and nothing tampered with is ever used."""

import json
import lzma
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from imagebuilder import kernel, paths
from imagebuilder.build.planner import Planner
from imagebuilder.errors import KernelError
from imagebuilder.events import silent
from imagebuilder.kernel import prebuilt
from imagebuilder.kernel.definition import KernelDefinition, load_definition
from imagebuilder.recipe.load import load
from imagebuilder.sources import Context
from imagebuilder.store import Store, sha256_file

KERNELS = paths.shipped("kernels")


@pytest.fixture
def definition(tmp_path: Path) -> KernelDefinition:
    """A copy of micro that a test may spoil."""
    shutil.copytree(KERNELS, tmp_path / "kernels")
    return load_definition(tmp_path / "kernels/micro")


def rewrite(definition: KernelDefinition, **fields: Any) -> None:
    path = prebuilt.folder_of(definition) / "record.json"
    path.write_text(json.dumps(json.loads(path.read_bytes()) | fields))


@pytest.mark.parametrize(
    "variant", load_definition("micro").variants, ids=lambda paths: "+".join(p.stem for p in paths)
)
def test_what_ships_fits_its_definition(variant: tuple[Path, ...]) -> None:
    definition = load_definition("micro")
    assert prebuilt.check_record(definition, variant) == ()
    record = prebuilt.read_record(definition, variant)
    assert record is not None
    names = prebuilt.symbols_of(record.digest)
    assert names is not None and " virtio_mmio_init\n" in names


def test_a_variant_is_taken_where_it_is_wished_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    definition, requirements = load_definition("micro"), {"SMP": "machine.cpus = 2", "SQUASHFS": "root"}
    assert kernel.completed(definition, (), {}) == ()
    (smp,) = kernel.completed(definition, (), requirements)  # squashfs is not kept prebuilt: its absence stays an error
    assert smp.name == "smp.config"
    assert kernel.completed(definition, (smp,), requirements) == (smp,)
    given = kernel.provide(definition, extra_fragments=(smp,), store=Store(tmp_path / "store"), say=silent)
    assert prebuilt.name_of(definition, (smp,)) == "micro+smp"
    assert given.digest != kernel.provide(definition, store=Store(tmp_path / "store"), say=silent).digest


@pytest.mark.parametrize(("cpus", "variant"), [(1, ()), (2, load_definition("micro").variants[1])])
def test_a_recipe_of_micro_gets_the_kernel_for_its_processors(
    cpus: int, variant: tuple[Path, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))  # nothing to compile with
    hello = load("hello")
    named = {"machine": {"cpus": cpus}, "kernel": {"name": "micro"}}
    recipe = hello.model_copy(
        update={table: getattr(hello, table).model_copy(update=values) for table, values in named.items()}
    )
    store = Store(tmp_path / "store")
    planner = Planner(recipe, Context(recipe.folder, store, silent))
    given = kernel.provide(planner.definition, extra_fragments=planner.fragments, store=store, say=silent)
    record = prebuilt.read_record(load_definition("micro"), variant)
    assert record is not None and given.digest == record.digest


def test_other_kernels_have_no_symbols() -> None:
    assert prebuilt.symbols_of("0" * 64) is None


def test_it_is_given_without_a_compiler(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    given = kernel.provide(load_definition("micro"), store=Store(tmp_path / "store"), say=silent)
    record = prebuilt.read_record(given.definition)
    assert record is not None
    assert given.digest == sha256_file(given.image) == record.digest
    assert given.image.stat().st_size == record.bytes
    assert given.image.read_bytes()[:4] == b"\x7fELF"


def test_its_configuration_has_all_that_is_asked_for() -> None:
    from imagebuilder.kernel import config

    definition = load_definition("micro")
    requested = config.merge(definition.fragments)
    config.check(requested, (prebuilt.folder_of(definition) / "config").read_text())


def test_how_it_is_started_may_change(definition: KernelDefinition) -> None:
    file = definition.folder / "kernel.toml"
    file.write_text(file.read_text().replace("ttyS0 quiet", "ttyS0 debug"))
    assert prebuilt.check_record(load_definition(definition.folder)) == ()


@pytest.mark.parametrize("spoil", ["fragment", "patch", "flags", "profile", "source"])
def test_a_changed_definition_is_noticed(definition: KernelDefinition, spoil: str, tmp_path: Path) -> None:
    file = definition.folder / "kernel.toml"
    if spoil == "fragment":
        definition.fragments[0].write_text(definition.fragments[0].read_text() + "CONFIG_UNIX_DIAG=y\n")
    elif spoil == "patch":
        definition.patches[0].write_text(definition.patches[0].read_text() + "\n")
    elif spoil == "flags":
        file.write_text(file.read_text().replace("compiler_flags = [", 'compiler_flags = ["-O1", '))
    elif spoil == "profile":
        assert definition.profile is not None
        definition.profile.write_bytes(definition.profile.read_bytes() + b"\0")
    else:
        file.write_text(file.read_text().replace('sha256 = "585a', 'sha256 = "685a'))
    changed = load_definition(definition.folder)
    assert prebuilt.check_record(changed) == (
        "the prebuilt micro was made from another source, configuration, patch or flag",
    )
    assert prebuilt.unpacked(changed, Store(tmp_path / "store")) is None


def test_what_fragments_and_patches_say_of_themselves_may_change(definition: KernelDefinition) -> None:
    fragment, patch = definition.fragments[0], definition.patches[0]
    fragment.write_text(f"# another comment\n{fragment.read_text()}")
    patch.write_text(f"another subject\n\n{patch.read_text()}")
    assert prebuilt.check_record(load_definition(definition.folder)) == ()
    patch.write_text("a patch without changes\n")
    with pytest.raises(KernelError, match="is no patch: it changes nothing"):
        prebuilt.check_record(load_definition(definition.folder))


def test_a_tampered_image_is_refused(definition: KernelDefinition, tmp_path: Path) -> None:
    path = prebuilt.folder_of(definition) / "vmlinux.xz"
    image = bytearray(lzma.decompress(path.read_bytes()))
    image[len(image) // 2] ^= 1
    path.write_bytes(lzma.compress(image, preset=0))
    assert prebuilt.check_record(definition) == ("the prebuilt micro is not the one of its record",)
    with pytest.raises(KernelError, match="the prebuilt kernel micro is damaged"):
        prebuilt.unpacked(definition, Store(tmp_path / "store"))


def test_a_truncated_image_is_refused(definition: KernelDefinition, tmp_path: Path) -> None:
    path = prebuilt.folder_of(definition) / "vmlinux.xz"
    path.write_bytes(path.read_bytes()[:1000])
    assert "missing or damaged" in prebuilt.check_record(definition)[0]
    with pytest.raises(KernelError, match="missing or damaged"):
        prebuilt.unpacked(definition, Store(tmp_path / "store"))


SMALL_PROGRAM = """
import re, sys
from pathlib import Path
from imagebuilder.kernel import prebuilt
from imagebuilder.kernel.definition import load_definition
print(prebuilt.check_record(load_definition(Path(sys.argv[1]))))
print(int(re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1]) >> 10)
"""


@pytest.mark.tools
@pytest.mark.parametrize("name", ["vmlinux.xz", "symbols.xz"])
def test_what_unpacks_to_gigabytes_is_refused(definition: KernelDefinition, name: str) -> None:
    rewrite(definition, bytes=1 << 40)
    packer = lzma.LZMACompressor(preset=0)
    block = bytes(1 << 20)
    packed = b"".join(packer.compress(block) for _ in range(1500)) + packer.flush()
    (prebuilt.folder_of(definition) / name).write_bytes(packed)
    argv = [sys.executable, "-c", SMALL_PROGRAM, str(definition.folder)]
    said, most_mib = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=True).stdout.splitlines()
    assert f"{name} is refused: it unpacks to more than" in said
    assert int(most_mib) < 300


def test_symbols_of_another_kernel_are_not_taken(definition: KernelDefinition, monkeypatch: pytest.MonkeyPatch) -> None:
    (prebuilt.folder_of(definition) / "symbols.xz").write_bytes(lzma.compress(b"\xff"))
    monkeypatch.setattr(prebuilt, "list_definitions", lambda: [definition])
    record = prebuilt.read_record(definition)
    assert record is not None
    with pytest.raises(KernelError, match=r"symbols\.xz are damaged"):
        prebuilt.symbols_of(record.digest)


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"digest": "0" * 64}, "is not the one of its record"),
        ({"bytes": 1}, "vmlinux.xz is refused: it unpacks to more than 1 bytes"),
        ({"bytes": 99_999_999}, "is not the one of its record"),
        ({"bytes": "many"}, "no prebuilt image"),
        ({"bytes": -1}, "no prebuilt image"),
        ({"inputs": "0" * 64}, "made from another source"),
        ({"config": "0" * 64}, "the configuration beside"),
        ({"symbols": "0" * 64}, "the symbols beside"),
        ({"schema": "imagebuilder.kernel/0"}, "no prebuilt image"),
        ({"more": 1}, "no prebuilt image"),
    ],
)
def test_a_tampered_record_is_noticed(definition: KernelDefinition, fields: dict[str, Any], sentence: str) -> None:
    rewrite(definition, **fields)
    assert any(sentence in said for said in prebuilt.check_record(definition))


def test_a_kernel_without_one_says_so(definition: KernelDefinition, tmp_path: Path) -> None:
    shutil.rmtree(prebuilt.folder_of(definition))
    assert "has no prebuilt image" in prebuilt.check_record(definition)[0]
    assert prebuilt.unpacked(definition, Store(tmp_path / "store")) is None


def test_verifying_a_tampered_one_fails_before_anything_is_compiled(
    definition: KernelDefinition, tmp_path: Path
) -> None:
    rewrite(definition, inputs="0" * 64)
    with pytest.raises(KernelError, match=r"made from another source.*python3 -m imagebuilder\.kernel"):
        kernel.verify(definition, store=Store(tmp_path / "store"), say=silent)


def test_what_the_prebuilt_kernel_has_anyway_needs_no_compiler(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    micro, store = load_definition("micro"), Store(tmp_path / "store")
    network, smp = (kernel.fragment(name, beside=tmp_path) for name in ("network", "smp"))
    own = tmp_path / "own.config"
    own.write_text("CONFIG_INET=y\n# CONFIG_IPV6 is not set\nCONFIG_NETDEVICES=y\n")
    plain = kernel.provide(micro, store=store, say=silent).digest
    for extra in ((network,), (own,), (network, own)):
        assert kernel.provide(micro, extra_fragments=extra, store=store, say=silent).digest == plain
    wide = kernel.provide(micro, extra_fragments=(smp,), store=store, say=silent).digest
    assert kernel.provide(micro, extra_fragments=(network, smp), store=store, say=silent).digest == wide != plain
    for text in ("CONFIG_IPV6=y\n", "# CONFIG_INET is not set\n", "CONFIG_NR_CPUS=4\nCONFIG_SMP=y\n"):
        own.write_text(text)
        assert prebuilt.equal_variant(micro, (own,)) is None


def test_an_image_depends_on_the_prebuilt_kernel_that_it_gets(definition: KernelDefinition) -> None:
    before = kernel.key(definition)
    rewrite(definition, digest="0" * 64)
    assert kernel.key(definition) != before


def test_whether_it_is_up_to_date(definition: KernelDefinition) -> None:
    assert kernel.prebuilt_images(definition) == {"micro": [], "micro+smp": []}
    rewrite(definition, inputs="0" * 64)
    found = kernel.prebuilt_images(definition)
    assert "another source, configuration, patch or flag" in found["micro"][0] and found["micro+smp"] == []
    assert kernel.prebuilt_images(load_definition("debian-cloud")) == {}
