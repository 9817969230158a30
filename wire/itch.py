"""Nasdaq TotalView-ITCH 5.0, the messages: one big-endian structured dtype each, byte for byte as on the wire.

``wire/itch_layout.py`` has the fields, and all here comes from that one table: rows for many messages at once, reading,
and a line of text for a person. Bytes of a feed are *framed*: each message has its length in two bytes before it. So
they stand in an ``.itch`` file, and so in a packet of MoldUDP64 (``wire/mold.py``).
"""

from collections.abc import Iterator, Mapping
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from wire.errors import ProtocolError
from wire.itch_layout import FRAME_BYTES, LAYOUTS, ItchMessage, Layout, size_of

_FORMS: Final[Mapping[str, Any]] = {"B": "u1", "H": ">u2", "I": ">u4", "Q": ">u8"}


def _dtype(layout: Layout) -> np.dtype[Any]:
    # No number of NumPy has six bytes: a time is three of two.
    forms = {"T": (">u2", (3,))}
    return np.dtype([(name, forms.get(form) or _FORMS.get(form) or f"S{size_of(form)}") for name, form in layout])


#: The message of each first byte. A time has the shape (3,): ``times_ns`` reads it, ``put_times`` writes it.
DTYPES: Final[Mapping[int, np.dtype[Any]]] = {kind: _dtype(layout) for kind, layout in LAYOUTS.items()}
_FRAMED: Final[Mapping[int, np.dtype[Any]]] = {
    kind: np.dtype([("length", ">u2"), ("message", dtype)]) for kind, dtype in DTYPES.items()
}


def rows(kind: ItchMessage, count: int = 1) -> NDArray[Any]:
    """``count`` messages of a kind: the first byte set, text blank, all else zero. ``tobytes()`` is what is sent."""
    made = np.zeros(count, DTYPES[kind])
    made["kind"] = kind
    for name, form in LAYOUTS[kind]:
        if form.endswith("s"):
            made[name] = b" " * size_of(form)
    return made


def put_times(messages: NDArray[Any], times_ns: Any) -> None:
    """Write times, in nanoseconds since midnight, below 2^48."""
    numbers = np.broadcast_to(np.asarray(times_ns, np.int64), messages.shape)
    messages["time_ns"] = np.stack([numbers >> 32, numbers >> 16 & 0xFFFF, numbers & 0xFFFF], axis=-1)


def times_ns(messages: NDArray[Any]) -> NDArray[np.int64]:
    """Times of messages, in nanoseconds since midnight."""
    words = messages["time_ns"].astype(np.int64)
    read: NDArray[np.int64] = words[..., 0] << 32 | words[..., 1] << 16 | words[..., 2]
    return read


def framed(messages: NDArray[Any]) -> bytes:
    """Messages of one kind, each with its length before it."""
    made = np.zeros(len(messages), _FRAMED[int(messages["kind"][0])]) if len(messages) else np.zeros(0, "V1")
    if len(messages):
        made["length"] = messages.dtype.itemsize
        made["message"] = messages
    return made.tobytes()


def alpha(text: str, characters: int) -> bytes:
    """A text field: ASCII, padded on the right with spaces. Raises ValueError for what does not fit.

    >>> alpha("XYZ", 8)
    b'XYZ     '
    """
    if len(text) > characters or not (text.isascii() and text.isprintable()):
        raise ValueError(f"{text!r} is no text of at most {characters} printable ASCII characters")
    return text.encode("ascii").ljust(characters)


def read(message: bytes) -> NDArray[Any]:
    """A message as an array of one row. Raises ProtocolError for a type or length that is none.

    What the fields hold is not judged.
    """
    if not message:
        raise ProtocolError("an empty message came; a message of ITCH has at least 12 bytes")
    dtype = DTYPES.get(message[0])
    if dtype is None:
        raise ProtocolError(f"a message of unknown type 0x{message[0]:02x} came; ITCH 5.0 has none such")
    if len(message) != dtype.itemsize:
        name = ItchMessage(message[0]).name.lower().replace("_", " ")
        raise ProtocolError(f"a message {name} of {len(message)} bytes came; it has {dtype.itemsize}")
    return np.frombuffer(message, dtype)


def cut(stream: bytes | memoryview, at: int = 0) -> Iterator[tuple[int, bytes]]:
    """Offset behind each framed message that is whole, and the message. Bytes of one that is not whole are left."""
    end = len(stream)
    while end - at >= FRAME_BYTES:
        length = stream[at] << 8 | stream[at + 1]
        behind = at + FRAME_BYTES + length
        if behind > end:
            return
        yield behind, bytes(stream[at + FRAME_BYTES : behind])
        at = behind


def fields(message: bytes) -> dict[str, int | str]:
    """A message by field: numbers as such, one-byte codes and text as text, ``time_ns`` since midnight."""
    row = read(message)
    found: dict[str, int | str] = {}
    for name, form in LAYOUTS[ItchMessage(message[0])]:
        if form == "T":
            found[name] = int(times_ns(row)[0])
        elif form == "B":
            found[name] = chr(int(row[name][0]))
        elif form.endswith("s"):
            found[name] = bytes(row[name][0]).decode("ascii", "backslashreplace").rstrip(" ")
        else:
            found[name] = int(row[name][0])
    return found


def message_of(kind: ItchMessage, values: Mapping[str, int | str]) -> bytes:
    """The message whose ``fields`` have these values; what is not named is zero, of text blank."""
    row = rows(kind)
    for name, form in LAYOUTS[kind]:
        value = values.get(name)
        if value is None or name == "kind":
            continue
        if form == "T":
            put_times(row, value)
        elif isinstance(value, int):
            row[name] = value
        else:
            row[name] = ord(value) if form == "B" else alpha(value, size_of(form))
    return row.tobytes()


def text_of(message: bytes) -> str:
    """A message as one line: its name, then its fields that are not blank or zero.

    >>> text_of(message_of(ItchMessage.DELETE, {"stock_locate": 1, "time_ns": 34_200_000_000_000, "reference": 7}))
    'DELETE stock_locate=1 time_ns=34200000000000 reference=7'
    """
    read_fields = fields(message)
    kind = ItchMessage(message[0])
    del read_fields["kind"]
    said = [f"{name}={value}" for name, value in read_fields.items() if value not in (0, "", " ", "\0")]
    return " ".join([kind.name, *said])
