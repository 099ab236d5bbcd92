"""A disk: what is where on it, what its boot sector loads, which words its kernel gets, and what is refused."""

import gzip
import hashlib
import json
import struct
import subprocess
from pathlib import Path
from typing import Any

import pytest

from imagebuilder.bundle import Bundle, Image, KernelFile, RootFile, write
from imagebuilder.errors import InputError, OutputError
from imagebuilder.images import IMAGES, bios, uefi, vmdk
from imagebuilder.images.disk import Layout
from imagebuilder.images.gpt import SECTOR_BYTES
from imagebuilder.store import Store
from tests.test_bundle import image_of

SETUP_SECTORS = 5  # with the boot sector
WORDS = "quiet root=/dev/vda ro rootfstype=erofs init=/init"


def kernel_of(size: int = 20_000, *, version: int = 0x20F, flags: int = 1) -> bytes:
    """What begins as a bzImage."""
    kernel = bytearray(hashlib.shake_128(b"kernel").digest(size))
    kernel[497] = SETUP_SECTORS - 1
    kernel[514:518] = b"HdrS"
    struct.pack_into("<H", kernel, 518, version)
    kernel[529] = flags
    struct.pack_into("<I", kernel, 568, 2047)
    struct.pack_into("<QI", kernel, 600, 0x200000, 0x1234567)
    return bytes(kernel)


def bundle_of(
    folder: Path, *, kernel: bytes | None = None, root: bytes = b"root" * 5000, form: str = "erofs", words: str = WORDS
) -> Bundle:
    """A bundle with such parts."""
    folder.mkdir(exist_ok=True, parents=True)
    store = Store(folder / "cache")
    content = kernel_of() if kernel is None else kernel
    image: Image = image_of(store, root=root, cmdline=words)
    parts = {
        "kernel": KernelFile(name="cloud", file="vmlinuz", bytes=len(content), sha256=store.put(content)),
        "root": RootFile(format=form, file="root.img", bytes=len(root), sha256=store.put(root)),
    }
    return write(image.model_copy(update=parts).sealed(), folder / "out/app", store)


def loaded(disk: bytes) -> dict[int, bytes]:
    """What its boot sector puts into memory, by address, as it says itself."""
    memory: dict[int, bytes] = {}
    for number in range(bios.MOST_PIECES):
        first, address, sectors = bios.PIECE.unpack_from(disk, 440 - (bios.MOST_PIECES - number) * bios.PIECE.size)
        if sectors:
            memory[address] = disk[first * SECTOR_BYTES : (first + sectors) * SECTOR_BYTES]
    return memory


def test_a_root_on_a_partition(tmp_path: Path) -> None:
    bundle = bundle_of(tmp_path)
    made = IMAGES["disk"].write(bundle, tmp_path / "app.raw", epoch_s=7)
    disk, layout = (tmp_path / "app.raw").read_bytes(), Layout.of(bundle)
    words = f"quiet root=PARTUUID={layout.guid} rootwait ro rootfstype=erofs init=/init"
    kernel = kernel_of()
    memory = loaded(disk)
    assert memory[0x10000] == kernel[: SETUP_SECTORS * 512]
    assert memory[0x1E000].rstrip(b"\0") == words.encode() and memory[0x1E000].endswith(b"\0")
    assert memory[0x100000].startswith(kernel[SETUP_SECTORS * 512 :]) and len(memory) == 4
    assert layout.root is not None and disk[layout.root * 512 :].startswith(b"root" * 5000) and layout.root % 8 == 0
    assert len(disk) == made.bytes == layout.end * 512 and layout.end % 8 == 0
    assert (made.minimum_disk_mib, made.format, [*made.firmware]) == (3, "disk", ["bios", "uefi"])


@pytest.mark.tools
@pytest.mark.parametrize("form", ["erofs", "initramfs"])
def test_what_uefi_starts_is_one_program_of_all_parts(tmp_path: Path, form: str) -> None:
    bundle = bundle_of(tmp_path, form=form, words="quiet" if form == "initramfs" else WORDS)
    IMAGES["disk"].write(bundle, tmp_path / "app.raw", epoch_s=0)
    volume, program = tmp_path / "volume", tmp_path / "BOOTX64.EFI"
    layout = Layout.of(bundle)
    boot = json.loads(told("sfdisk", "--json", tmp_path / "app.raw"))["partitiontable"]["partitions"][0]
    assert boot["type"] == "C12A7328-F81F-11D2-BA4B-00A0C93EC93B" and boot["start"] % 8 == 0
    disk = (tmp_path / "app.raw").read_bytes()
    volume.write_bytes(disk[boot["start"] * 512 : (boot["start"] + boot["size"]) * 512])
    told("fsck.vfat", "-n", volume)
    told("mcopy", "-i", volume, "::/EFI/BOOT/BOOTX64.EFI", program)
    parts = {".text": uefi.stub(), ".linux": kernel_of(), ".cmdline": layout.cmdline.encode()}
    if form == "initramfs":
        parts[".initrd"] = b"root" * 5000
    listed = [line.split() for line in told("objdump", "--section-headers", program).splitlines() if " ." in line]
    assert [line[1] for line in listed] == [*parts]
    content = program.read_bytes()
    for (_, name, size, address, _, offset, _), part in zip(listed, parts.values(), strict=True):
        assert int(size, 16) == len(part) and int(address, 16) % 4096 == 0, name
        assert content[int(offset, 16) :].startswith(part), name


@pytest.mark.parametrize("size", [20_000, 4_000_000])
@pytest.mark.parametrize("form", ["erofs", "initramfs"])
def test_how_much_it_has_over_kernel_and_root(tmp_path: Path, form: str, size: int) -> None:
    """Where the kernel is not so small that the volume for UEFI is filled up."""
    kernel, root = kernel_of(3_400_000), hashlib.shake_128(b"root").digest(size)
    bundle = bundle_of(tmp_path, kernel=kernel, root=root, form=form, words="quiet")
    made = IMAGES["disk"].write(bundle, tmp_path / "app.raw", epoch_s=0)
    assert made.bytes - len(kernel) - len(root) < 160 << 10


def test_the_header_says_what_a_boot_loader_says(tmp_path: Path) -> None:
    IMAGES["disk"].write(bundle_of(tmp_path, form="initramfs", words="quiet"), tmp_path / "app.raw", epoch_s=0)
    memory, kernel = loaded((tmp_path / "app.raw").read_bytes()), kernel_of()
    header = memory[0x10200]
    assert len(header) == 512 and header[16] == 0xFF and header[17] == 0x81
    initrd, size = struct.unpack_from("<II", header, 0x218 - 0x200)
    # Behind what the kernel needs to unpack itself, 0x1434567.
    assert (initrd, size) == (0x1500000, 20_000)
    assert struct.unpack_from("<H", header, 0x224 - 0x200) == (0xDE00,)
    assert struct.unpack_from("<I", header, 0x228 - 0x200) == (0x1E000,)
    same = [place for place in range(512) if header[place] == kernel[512 + place]]
    assert {*range(512)} - {*same} <= {16, 17, *range(24, 32), 36, 37, *range(40, 44)}
    assert memory[0x1500000].startswith(b"root" * 5000)


@pytest.mark.parametrize(
    ("form", "words", "expected"),
    [
        ("initramfs", "quiet a=b", "quiet a=b"),
        ("memory", "quiet root=memory ro init=/init x", "quiet root={} rootwait ro init=/init x rootfstype=erofs"),
        ("squashfs", "root=/dev/vda ro rootfstype=squashfs", "root={} rootwait ro rootfstype=squashfs"),
    ],
)
def test_where_the_root_is(tmp_path: Path, form: str, words: str, expected: str) -> None:
    layout = Layout.of(bundle_of(tmp_path, form=form, words=words))
    assert layout.cmdline == expected.format(f"PARTUUID={layout.guid}")
    assert (uefi.INITRD in layout.unified.sections, layout.root is None) == ((form == "initramfs",) * 2)


@pytest.mark.tools
def test_the_same_image_gives_the_same_bytes_and_another_root_other_numbers(tmp_path: Path) -> None:
    for name, row in IMAGES.items():
        bundles = [bundle_of(tmp_path / name / str(number)) for number in (1, 2)] if row.suffix else []
        made = [row.write(each, each.folder.parent / f"app{row.suffix}", epoch_s=10**9) for each in bundles]
        assert len({each.sha256 for each in made}) <= 1, name
    other = Layout.of(bundle_of(tmp_path / "3", root=b"other"))
    assert other.guid != Layout.of(bundle_of(tmp_path / "4")).guid


def told(*words: str | Path) -> str:
    """What another program says."""
    return subprocess.run([*words], capture_output=True, text=True, check=True).stdout


def shape(path: Path) -> dict[str, Any]:
    """What qemu-img knows of a disk."""
    found: dict[str, Any] = json.loads(told("qemu-img", "info", "--output=json", path))
    return found


@pytest.mark.tools
def test_other_tools_find_no_fault(tmp_path: Path) -> None:
    bundle = bundle_of(tmp_path)
    raw = tmp_path / "app.raw"
    IMAGES["disk"].write(bundle, raw, epoch_s=0)
    assert "No problems found" in told("sgdisk", "--verify", raw)
    found = json.loads(told("sfdisk", "--json", raw))["partitiontable"]["partitions"]
    assert [each["name"] for each in found] == ["boot", "root"]
    assert found[1]["uuid"].lower() == str(Layout.of(bundle).guid)
    for name, form in (("qcow2", "qcow2"), ("vmdk", "vmdk")):
        row = IMAGES[name]
        path = tmp_path / f"app{row.suffix}"
        made = row.write(bundle, path, epoch_s=0)
        assert "No errors" in told("qemu-img", "check", path)
        assert "identical" in told("qemu-img", "compare", "-f", "raw", "-F", form, raw, path)
        assert shape(path)["virtual-size"] == raw.stat().st_size
        assert row.media(made).disks[0].format == form
    assert shape(tmp_path / "app.vmdk")["format-specific"]["data"]["create-type"] == "streamOptimized"
    assert shape(tmp_path / "app.vmdk")["format-specific"]["data"]["cid"] == int(bundle.image.digest[:8], 16)


@pytest.mark.parametrize("made_up", ["7", "0123abc", "ffffffff"])
def test_a_vmdk_gets_a_number_of_its_content(tmp_path: Path, made_up: str) -> None:
    """qemu-img writes as many digits as its own number has."""
    path = tmp_path / "app.vmdk"
    text = f"# Disk DescriptorFile\nversion=1\nCID={made_up}\nparentCID=ffffffff\n"
    path.write_bytes(struct.pack("<28xQQ", 1, 2).ljust(512, b"h") + text.encode().ljust(1024, b"\0") + b"data")
    vmdk.settle(path, "0a1b2c3d4e5f")
    settled = text.replace(made_up, "0a1b2c3d", 1).encode().ljust(1024, b"\0")
    assert path.read_bytes()[512:] == settled + b"data"
    path.write_bytes(struct.pack("<28xQQ", 1, 2).ljust(2000, b"\0"))
    with pytest.raises(OutputError, match="without a CID"):
        vmdk.settle(path, "0a1b2c3d4e5f")


@pytest.mark.tools
def test_a_vhd_has_whole_mebibytes_a_footer_and_no_time_of_now(tmp_path: Path) -> None:
    bundle, path, raw = bundle_of(tmp_path), tmp_path / "app.vhd", tmp_path / "raw"
    made = IMAGES["vhd"].write(bundle, path, epoch_s=1_000_000_000)
    content = path.read_bytes()
    footer = content[-512:]
    assert (len(content) - 512) % (1 << 20) == 0 and made.minimum_disk_mib == (len(content) - 512) >> 20
    assert footer.startswith(b"conectix") and int.from_bytes(footer[24:28], "big") == 1_000_000_000 - 946_684_800
    zeroed = footer[:64] + bytes(4) + footer[68:]
    assert ~sum(zeroed) & 0xFFFF_FFFF == int.from_bytes(footer[64:68], "big")
    assert int.from_bytes(footer[48:56], "big") == len(content) - 512 and footer[60:64] == b"\0\0\0\2"
    raw.write_bytes(content[:-512])
    assert "No problems found" in told("sgdisk", "--verify", raw)
    assert "identical" in told("qemu-img", "compare", "-f", "raw", "-F", "vpc", raw, path)


@pytest.mark.tools
def test_what_google_imports_is_a_sparse_disk_of_a_gibibyte(tmp_path: Path) -> None:
    bundle, path = bundle_of(tmp_path), tmp_path / "app.tar.gz"
    made = IMAGES["gcp"].write(bundle, path, epoch_s=1_000_000_000)
    assert made.minimum_disk_mib == 1024 and made.bytes < 200_000 and not made.file.with_name("disk.raw").exists()
    assert told("tar", "--list", "--verbose", "--utc", "--file", path).split() == [
        *("-rw-r--r--", "0/0", str(1 << 30), "2001-09-09", "01:46", "disk.raw")
    ]
    assert gzip.decompress(path.read_bytes())[257:265] == b"ustar  \0"
    subprocess.run(["tar", "--extract", "--file", path], cwd=tmp_path, check=True)
    disk = tmp_path / "disk.raw"
    assert disk.stat().st_size == 1 << 30 and disk.stat().st_blocks * 512 < 4 << 20
    assert "No problems found" in told("sgdisk", "--verify", disk)
    small = tmp_path / "app.raw"
    IMAGES["disk"].write(bundle, small, epoch_s=0)
    same = Layout.of(bundle).used * 512
    with disk.open("rb") as stream:
        assert stream.read(same)[34 * 512 :] == small.read_bytes()[34 * 512 : same]


@pytest.mark.parametrize(
    "kernel",
    [b"", b"\x7fELF" + bytes(5000), kernel_of(1023), kernel_of(version=0x20B), kernel_of(flags=0)],
    ids=["empty", "ELF", "short", "old", "low"],
)
def test_a_kernel_that_no_bios_starts_is_refused(tmp_path: Path, kernel: bytes) -> None:
    with pytest.raises(InputError, match="the kernel cloud is no bzImage") as caught:
        IMAGES["disk"].write(bundle_of(tmp_path, kernel=kernel), tmp_path / "app.raw", epoch_s=0)
    assert caught.value.hint == "--kernel cloud"
    assert not [*tmp_path.glob("*app.raw*")]


def test_a_command_line_that_uefi_would_read_otherwise_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="app: its command line has 'é', and a disk takes ASCII") as caught:
        IMAGES["disk"].write(bundle_of(tmp_path, words="quiet a=é"), tmp_path / "app.raw", epoch_s=0)
    assert caught.value.hint == "change cmdline under [kernel]" and not (tmp_path / "app.raw").exists()


def test_a_command_line_that_is_too_long_is_refused(tmp_path: Path) -> None:
    for number, fits in ((2047, True), (2048, False)):
        bundle = bundle_of(tmp_path / str(number), form="initramfs", words="x" * number)
        path = tmp_path / f"{number}.raw"
        if fits:
            IMAGES["disk"].write(bundle, path, epoch_s=0)
            continue
        with pytest.raises(InputError, match=r"app: its command line has 2048 bytes, and a disk takes 2047"):
            IMAGES["disk"].write(bundle, path, epoch_s=0)
        assert not path.exists()
