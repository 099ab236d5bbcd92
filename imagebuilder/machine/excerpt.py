"""What a guest said, as part of one of our sentences: short, in one line, and without anything a terminal acts on."""

LINE_CHARACTERS = 200


def quoted(said: str | bytes, most: int = 80) -> str:
    """It in quotes, escaped as in Python; of much the beginning."""
    text = said.decode(errors="surrogateescape") if isinstance(said, bytes) else said
    return f"'{_plain(text[:most])}'" + ("…" if len(text) > most else "")


def excerpt(said: str, most: int = LINE_CHARACTERS) -> str:
    """It in one line; of much the beginning and the end."""
    text = " ".join(_plain(said[: 4 * most] + said[4 * most :][-4 * most :], keep=" \n\r\t").split())
    if len(text) <= most:
        return text
    end = most // 3
    return f"{text[: most - end - 3]} … {text[-end:]}"


def _plain(text: str, keep: str = " ") -> str:
    return "".join(each if each.isprintable() or each in keep else _escaped(each) for each in text)


def _escaped(character: str) -> str:
    number = ord(character)
    if 0xDC80 <= number <= 0xDCFF:  # a byte that is no UTF-8
        return f"\\x{number - 0xDC00:02x}"
    return character.encode("unicode_escape", "surrogatepass").decode("ascii")
