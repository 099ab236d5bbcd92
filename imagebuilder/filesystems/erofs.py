"""An uncompressed EROFS disk, written by us: nothing to install, and nothing that could put a time or a seed into it.

The layout follows Documentation/filesystems/erofs.rst and the structures of fs/erofs/erofs_fs.h of Linux 6.12::

    block 0                superblock at byte 1024; inodes from byte 1152
    further blocks         inodes, each followed by its extended attributes, and by its content when all of it fits
                           into the same block
    data blocks            folders, links and files that do not fit, block by block; equal contents once

An inode takes 32 bytes (compact) when its time is the image's own and its numbers are small, else 64 (extended).
Only whole contents are packed beside their inode, where they save a read. The tail of a larger file is not: it would
need a read more than the blocks before it, and the zeros that fill its block compress to nothing.
"""

import struct
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import BinaryIO

from imagebuilder.errors import OutputError
from imagebuilder.filesystems.common import copy_blob, time_s
from imagebuilder.store import key_of
from imagebuilder.tree import Blob, Kind, Node, Tree, Xattrs, encoded
from imagebuilder.words import shortened

BLOCK_BYTES = 4096
BLOCK_BITS = 12
SLOT_BYTES = 32
MAGIC = 0xE0F5E1E2
SUPER_OFFSET = 1024
SUPER = struct.Struct("<IIIBBHQQIIII16s16sIHHHBBIQ24x")
COMPACT = struct.Struct("<HHHHIIIIHHI")
EXTENDED = struct.Struct("<HHHHQIIIIQII16x")
DIRENT = struct.Struct("<QHBB")
COMPAT_CHECKSUM, COMPAT_MTIME = 1, 2
FLAT_PLAIN, FLAT_INLINE = 0 << 1, 2 << 1  # the data layout, as it stands in i_format
LONGEST_NAME_BYTES = 255
LARGEST_16, LARGEST_32 = 0xFFFF, 0xFFFF_FFFF
UUIDS = uuid.UUID("6f0c6c4e-6a5d-5d0b-9b0e-0d8f6d2f7a11")  # our own namespace for version 5
XATTR_HEAD = struct.Struct("<IB7x")  # a filter that is not used, and how many attributes are shared: none
XATTR_ENTRY = struct.Struct("<BBH")  # bytes of the name, which prefix it lacks, bytes of the value
XATTR_UNIT_BYTES = 4
PREFIXES: Mapping[str, int] = {"user.": 1, "trusted.": 4, "security.": 6}
OPEN_BLOCKS = 8  # how many blocks of inodes are looked at for room: a gap that is left is small

TYPES: Mapping[Kind, int] = {  # as in a directory entry of Linux (FT_*)
    Kind.FILE: 1,
    Kind.DIRECTORY: 2,
    Kind.CHARACTER: 3,
    Kind.BLOCK: 4,
    Kind.FIFO: 5,
    Kind.SYMLINK: 7,
}


def write(tree: Tree, stream: BinaryIO, *, epoch_s: int) -> None:
    """Write the disk. Raises OutputError for a name of more than 255 bytes."""
    volume = Volume(tree, epoch_s)
    stream.write(volume.metadata())
    for content in volume.contents():
        copy_blob(content, stream)
        stream.write(b"\0" * (-content.size_bytes % BLOCK_BYTES))


@dataclass(frozen=True, slots=True)
class Folder:
    """The entries of a folder by the blocks in which they stand; names are in order, ``.`` and ``..`` among them."""

    blocks: tuple[tuple[bytes, ...], ...]

    @classmethod
    def of(cls, names: Iterable[str]) -> "Folder":
        """Fill block after block: an entry costs 12 bytes and its name."""
        blocks: list[list[bytes]] = [[]]
        room = BLOCK_BYTES
        for name in sorted([b".", b"..", *(_name(name) for name in names)]):
            need = DIRENT.size + len(name)
            if need > room:
                blocks.append([])
                room = BLOCK_BYTES
            blocks[-1].append(name)
            room -= need
        return cls(tuple(tuple(block) for block in blocks))

    @property
    def size_bytes(self) -> int:
        """The bytes of all blocks; the last is only as long as its entries."""
        last = sum(DIRENT.size + len(name) for name in self.blocks[-1])
        return (len(self.blocks) - 1) * BLOCK_BYTES + last

    def encode(self, entries: Mapping[bytes, tuple[int, int]]) -> bytes:
        """The content: each name with its (inode number, file type)."""
        blocks = [_encode_block(block, entries) for block in self.blocks]
        return b"".join(block.ljust(BLOCK_BYTES, b"\0") for block in blocks[:-1]) + blocks[-1]


@dataclass(frozen=True)
class Inode:
    """One node, and where it and its content stand. ``offset`` and ``block`` are counted from the disk's begin."""

    number: int
    node: Node
    size_bytes: int
    links: int
    time_s: int
    compact: bool
    offset: int = 0
    block: int = 0

    @property
    def nid(self) -> int:
        """The number by which folders call it: its slot."""
        return self.offset // SLOT_BYTES

    @property
    def head_bytes(self) -> int:
        """The bytes of the inode itself and of its attributes."""
        return (COMPACT.size if self.compact else EXTENDED.size) + len(self.attributes)

    @cached_property
    def attributes(self) -> bytes:
        """The extended attributes as they stand behind the inode."""
        return _attributes(self.node.xattrs)

    @property
    def beside_bytes(self) -> int:
        """The room for the content beside the inode. Linux reads the last name of a folder on to a NUL or to the end of
        a block: without a NUL behind it the name is not found."""
        return self.size_bytes + (1 if self.node.kind is Kind.DIRECTORY else 0)

    @property
    def inline(self) -> bool:
        """Whether the whole content stands beside the inode."""
        return self.size_bytes > 0 and self.beside_bytes <= BLOCK_BYTES - self.head_bytes

    def encode(self) -> bytes:
        """The inode with its attributes, without the content beside it."""
        attributes, units = self.attributes, 0
        if attributes:
            units = 1 + (len(attributes) - XATTR_HEAD.size) // XATTR_UNIT_BYTES
        form = (FLAT_INLINE if self.inline else FLAT_PLAIN) | (0 if self.compact else 1)
        node, place = self.node, _device(self.node) if _is_device(self.node) else self.block
        if self.compact:
            owner = (node.uid, node.gid)
            small = (node.st_mode, self.links, self.size_bytes, 0, place, self.number, *owner, 0)
            return COMPACT.pack(form, units, *small) + attributes
        rest = (self.number, node.uid, node.gid, self.time_s, 0, self.links)
        return EXTENDED.pack(form, units, node.st_mode, 0, self.size_bytes, place, *rest) + attributes


class Room:
    """Where inodes are put: nothing crosses a block, and a small one goes into the room that a large one left."""

    def __init__(self) -> None:
        self._used = [SUPER_OFFSET + SUPER.size]

    @property
    def blocks(self) -> int:
        """How many blocks there are."""
        return len(self._used)

    def take(self, size_bytes: int) -> int:
        """The offset of so many bytes, at most a block of them."""
        need = -(-size_bytes // SLOT_BYTES) * SLOT_BYTES
        first = max(0, len(self._used) - OPEN_BLOCKS)
        fits = (index for index in range(first, len(self._used)) if self._used[index] + need <= BLOCK_BYTES)
        index = next(fits, len(self._used))
        if index == len(self._used):
            self._used.append(0)
        offset = index * BLOCK_BYTES + self._used[index]
        self._used[index] += need
        return offset


class Volume:
    """A tree laid out: every inode has its place before a byte is written."""

    def __init__(self, tree: Tree, epoch_s: int) -> None:
        self._tree, self._epoch_s = tree, epoch_s
        self._names: dict[str, list[str]] = {path: [] for path, node in tree.items() if node.kind is Kind.DIRECTORY}
        for path in tree:
            if path != "/":
                parent, _, name = path.rpartition("/")
                self._names[parent or "/"].append(name)
        self._folders = {path: Folder.of(names) for path, names in self._names.items()}
        room = Room()
        inodes = {path: self._inode(path, number) for number, path in enumerate(tree, start=1)}
        placed = {path: _placed(inode, room) for path, inode in inodes.items()}
        self._metadata_blocks = room.blocks
        self._stored, self._inodes = _with_blocks(placed, first=room.blocks)

    @property
    def blocks(self) -> int:
        """The size of the disk in blocks."""
        return self._metadata_blocks + sum(_blocks(self._inodes[path].size_bytes) for path in self._stored)

    def metadata(self) -> bytes:
        """The superblock, and all inodes with what stands beside them."""
        image = bytearray(self._metadata_blocks * BLOCK_BYTES)
        for path, inode in self._inodes.items():
            beside = self._content(path).read() if inode.inline else b""
            _put(image, inode.offset, inode.encode() + beside)
        _put(image, SUPER_OFFSET, self._super(0))
        _put(image, SUPER_OFFSET, self._super(crc32c(bytes(image[SUPER_OFFSET:BLOCK_BYTES]))))
        return bytes(image)

    def contents(self) -> Iterator[Blob]:
        """What stands in the data blocks, in their order."""
        return (self._content(path) for path in self._stored)

    def _inode(self, path: str, number: int) -> Inode:
        node = self._tree[path]
        own_time_s = time_s(node, self._epoch_s)
        size_bytes, links = node.size_bytes, 1
        if node.kind is Kind.DIRECTORY:
            size_bytes = self._folders[path].size_bytes
            links = 2 + sum(f"{path.rstrip('/')}/{name}" in self._folders for name in self._names[path])
        small = max(node.uid, node.gid, links) <= LARGEST_16 and size_bytes <= LARGEST_32
        return Inode(number, node, size_bytes, links, own_time_s, compact=small and own_time_s == self._epoch_s)

    def _content(self, path: str) -> Blob:
        node = self._tree[path]
        if node.kind is Kind.DIRECTORY:
            return Blob.of(self._folders[path].encode(self._entries(path)))
        return Blob.of(encoded(node.target)) if node.kind is Kind.SYMLINK else node.content

    def _entries(self, path: str) -> dict[bytes, tuple[int, int]]:
        here, above = self._inodes[path], self._inodes[path.rpartition("/")[0] or "/"]
        children = {name: self._inodes[f"{path.rstrip('/')}/{name}"] for name in self._names[path]}
        inodes = {".": here, "..": above, **children}
        return {encoded(name): (inode.nid, TYPES[inode.node.kind]) for name, inode in inodes.items()}

    def _super(self, checksum: int) -> bytes:
        compat = COMPAT_CHECKSUM | COMPAT_MTIME
        head = (MAGIC, checksum, compat, BLOCK_BITS, 0, self._inodes["/"].nid, len(self._inodes))
        where = (self._epoch_s, 0, self.blocks, 0, 0, self._uuid.bytes, b"")
        return SUPER.pack(*head, *where, 0, 0, 0, 0, 0, 0, 0, 0)

    @cached_property
    def _uuid(self) -> uuid.UUID:
        """From what is written and nothing else: times as they are clamped, contents by their hash."""
        written = {path: replace(i.node, mtime_s=i.time_s).describe() for path, i in self._inodes.items()}
        return uuid.uuid5(UUIDS, key_of([written, self._epoch_s]))


def crc32c(data: bytes) -> int:
    """The CRC-32C (Castagnoli) as the superblock holds it: begun with all ones, not inverted at the end."""
    value = LARGEST_32
    for byte in data:
        value ^= byte
        for _ in range(8):
            value = (value >> 1) ^ (0x82F63B78 if value & 1 else 0)
    return value


def _placed(inode: Inode, room: Room) -> Inode:
    return replace(inode, offset=room.take(inode.head_bytes + (inode.beside_bytes if inode.inline else 0)))


def _with_blocks(inodes: Mapping[str, Inode], *, first: int) -> tuple[list[str], dict[str, Inode]]:
    """Give data blocks, from ``first`` on, to the contents that need them: folders before files, equal ones the same.

    Returns the paths whose contents are to be written, in order, and all inodes.
    """
    outside = [path for path, inode in inodes.items() if inode.size_bytes and not inode.inline]
    outside.sort(key=lambda path: inodes[path].node.kind is Kind.FILE)
    places: dict[str, int] = {}
    stored: list[str] = []
    result = dict(inodes)
    for path in outside:
        inode = inodes[path]
        content = inode.node.content.digest if inode.node.kind is Kind.FILE else path
        if content not in places:
            places[content] = first
            first += _blocks(inode.size_bytes)
            stored.append(path)
        result[path] = replace(inode, block=places[content])
    return stored, result


def _attributes(xattrs: Xattrs) -> bytes:
    if not xattrs:
        return b""
    values_bytes = sum(len(value) for _, value in xattrs)
    body = XATTR_HEAD.pack(0, 0) + b"".join(_attribute(name, value[:BLOCK_BYTES]) for name, value in xattrs)
    if max(values_bytes, len(body)) > BLOCK_BYTES - EXTENDED.size:
        names = shortened(", ".join(name for name, _ in xattrs))
        raise OutputError(f"the extended attributes {names} are too large for EROFS")
    return body


def _attribute(name: str, value: bytes) -> bytes:
    prefix = next((prefix for prefix in PREFIXES if name.startswith(prefix)), None)
    rest = encoded(name.removeprefix(prefix or ""))
    if prefix is None or not 0 < len(rest) <= LONGEST_NAME_BYTES:
        raise OutputError(f"the extended attribute {name!a} cannot stand in EROFS: {', '.join(PREFIXES)} can")
    entry = XATTR_ENTRY.pack(len(rest), PREFIXES[prefix], len(value)) + rest + value
    return entry + b"\0" * (-len(entry) % XATTR_UNIT_BYTES)


def _encode_block(names: Sequence[bytes], entries: Mapping[bytes, tuple[int, int]]) -> bytes:
    heads, offset = [], len(names) * DIRENT.size
    for name in names:
        nid, kind = entries[name]
        heads.append(DIRENT.pack(nid, offset, kind, 0))
        offset += len(name)
    return b"".join([*heads, *names])


def _name(name: str) -> bytes:
    written = encoded(name)
    if len(written) > LONGEST_NAME_BYTES:
        raise OutputError(f"the name {name[:40]}… is longer than 255 bytes: give the file a shorter one")
    return written


def _is_device(node: Node) -> bool:
    return node.kind in (Kind.CHARACTER, Kind.BLOCK)


def _device(node: Node) -> int:
    """A device's number as Linux has it on disks: 12 bits of the major between 8 and 12 bits of the minor."""
    major, minor = node.device
    return (minor & 0xFF) | (major << 8) | ((minor & ~0xFF) << 12)


def _blocks(size_bytes: int) -> int:
    return -(-size_bytes // BLOCK_BYTES)


def _put(image: bytearray, offset: int, data: bytes) -> None:
    image[offset : offset + len(data)] = data
