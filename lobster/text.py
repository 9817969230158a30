"""The text of a LOBSTER file: unpacked, decoded, and without what is no row.

Vendors and tools pack files with gzip, begin them with a byte order mark or a line of column names, end lines with
carriage returns and files with blank lines, and add a seventh column (the participant, MPID) to messages.
"""

import gzip
import zlib
from typing import NamedTuple

_GZIP = b"\x1f\x8b"


class Unreadable(ValueError):
    """Bytes that are no text; the message says why."""


class Rows(NamedTuple):
    """The rows of a file, one a line, and the number of the file's line that the first of them stands on."""

    text: str
    first_line: int


def decoded(raw: bytes) -> str:
    """The text of a file's bytes, packed by gzip or not. Raises Unreadable."""
    if raw.startswith(_GZIP):
        try:
            raw = gzip.decompress(raw)
        except (EOFError, OSError, zlib.error) as error:
            raise Unreadable(f"it cannot be unpacked ({error}); get the file again") from error
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise Unreadable(f"it is no text: byte {error.start} is not UTF-8; give a LOBSTER file") from error


def rows_of(text: str) -> Rows:
    """The rows without a line of column names before them and blank lines behind them.

    >>> rows_of("Time,Type\\r\\n1,2\\r\\n\\r\\n")
    Rows(text='1,2\\n', first_line=2)
    """
    text = text.removeprefix("\ufeff").replace("\r\n", "\n").rstrip()
    head, _, rest = text.partition("\n")
    words = [word.strip().strip('"') for word in head.split(",")]
    if rest and len(words) > 1 and all(word[:1].isalpha() for word in words):
        return Rows(rest + "\n", 2)
    return Rows(text + "\n" if text else "", 1)
