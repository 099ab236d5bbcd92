"""Figures of what an image takes: memory, and bytes as shipped."""

from imagebuilder.measure.footprint import MEANING, TWICE, twice_bytes
from imagebuilder.measure.memory import MIB_BYTES
from imagebuilder.measure.render import words
from imagebuilder.measure.render.figure import Cells, Figure
from imagebuilder.measure.render.pictures import Piece, Row, bars, colour
from imagebuilder.measure.report import ImageReport, Memory


def memory(image: ImageReport) -> Figure:
    """Memory in the guest and of the host, beside what the machine has and the least that it needs."""
    title = "Memory"
    taken = image.memory
    if taken is None:
        return Figure("memory", title, f"Its memory was {words.NOT_MEASURED}.")
    given = image.machine.memory_mib * MIB_BYTES if image.machine else None
    rows = (
        _given("the machine has", given, "grey"),
        _given("least memory with which it answers", taken.minimum_bytes, "c2"),
        _parts("in the guest", taken.guest_used_bytes, guest_pieces(taken)),
        _parts("of the host, QEMU included", taken.host_pss_bytes, host_pieces(taken)),
    )
    picture = bars(rows, title=f"Memory of {image.name}", unit=words.size)
    cells = [cell for row in rows for cell in _with_pieces(row)]
    text = "When it is ready. Of the host counts QEMU's proportional set size."
    if twice := twice_bytes(taken.guest_bytes or {}):
        text += f" The kinds of the guest's memory come to {words.size(twice)} more: so much is counted twice."
    return Figure("memory", title, text, (("", picture),), ("", "bytes"), tuple(cells))


def guest_pieces(memory: Memory) -> tuple[Piece, ...]:
    """Where the guest's memory is; by kind where the report has that, else all that is used."""
    kinds = {kind: amount for kind, amount in (memory.guest_bytes or {}).items() if kind not in ("total", TWICE)}
    if kinds:
        return tuple(
            Piece(kind, max(amount, 0), _shade(kind, index)) for index, (kind, amount) in enumerate(kinds.items())
        )
    return () if memory.guest_used_bytes is None else (Piece("used", memory.guest_used_bytes, "c0"),)


def _shade(kind: str, index: int) -> str:
    return "free" if kind == "free" else colour(index)


def host_pieces(memory: Memory) -> tuple[Piece, ...]:
    """What QEMU takes: its own share, which an empty machine takes too, apart where the report has that."""
    whole = memory.host_pss_bytes
    if whole is None:
        return ()
    floor = (memory.host_bytes or {}).get("floor_pss")
    if floor is None or floor > whole:
        return (Piece("QEMU and the guest", whole, "c3"),)
    return (Piece("QEMU's own, as an empty machine takes", floor, "grey"), Piece("for this guest", whole - floor, "c3"))


def _given(label: str, amount: int | None, shade: str) -> Row:
    said = words.mib(None if amount is None else amount / MIB_BYTES)
    return Row(label, said, () if amount is None else (Piece(label, amount, shade),))


def _parts(label: str, amount: int | None, pieces: tuple[Piece, ...]) -> Row:
    return Row(label, words.size(amount), pieces)


def _with_pieces(row: Row) -> tuple[Cells, ...]:
    """A row of the picture in the table, and its pieces below it when it has several."""
    if len(row.pieces) < 2:
        return (Cells((row.label, row.said), row.pieces[0].colour if row.pieces else ""),)
    pieces = tuple(
        Cells((piece.name, words.size(piece.amount)), piece.colour, note=MEANING.get(piece.name, ""))
        for piece in row.pieces
    )
    return (Cells((row.label, row.said)), *pieces)


def size(image: ImageReport) -> Figure:
    """Bytes as shipped, beside what was promised."""
    title = "Size"
    if image.bytes is None:
        return Figure("size", title, f"Its size was {words.NOT_MEASURED}.")
    parts = image.parts
    amounts = {"kernel": parts.kernel, "root": parts.root, "rest": parts.rest} if parts else {"image": image.bytes}
    pieces = tuple(Piece(name, amount, colour(index)) for index, (name, amount) in enumerate(amounts.items()))
    promised = [row.limit for row in image.budget if row.key == "image_bytes"]
    limits = [Row("promised, at most", words.size(limit), (Piece("promised", limit, "grey"),)) for limit in promised]
    rows = (Row("as shipped", words.size(image.bytes), pieces), *limits)
    picture = bars(rows, title=f"Size of {image.name} as shipped: {words.size(image.bytes)}", unit=words.size)
    cells = [Cells((piece.name, words.size(piece.amount)), piece.colour) for piece in pieces]
    text = "Packed with tar and zstd -19. Each part is packed alone too, so that their sum is a little off the whole."
    last = Cells(("as shipped", words.size(image.bytes)), last=True)
    return Figure("size", title, text, (("", picture),), ("", "bytes"), (*cells, last))
