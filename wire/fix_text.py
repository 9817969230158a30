"""FIX messages for people: fields by their names, and without what nobody may read.

Passwords never show: 554, 925, 1402, 1404 and the bytes of 96 and 89 (a signature or a password) are three stars, in
every message and however the tag is written.
"""

from typing import Final

from wire.fix_codec import Garbled, Message
from wire.fix_dictionary import Dictionary

#: Fields whose values are secret.
SECRET_TAGS: Final = frozenset((b"554", b"925", b"1402", b"1404", b"96", b"91", b"89"))
MASK: Final = "***"
#: Of these, the fields of bytes, in which separators may stand.
_DATA_TAGS: Final = frozenset((b"96", b"91", b"89"))
#: Names of the types of messages that a session has.
TYPE_NAMES: Final = {
    "0": "Heartbeat",
    "1": "TestRequest",
    "2": "ResendRequest",
    "3": "Reject",
    "4": "SequenceReset",
    "5": "Logout",
    "8": "ExecutionReport",
    "9": "OrderCancelReject",
    "A": "Logon",
    "AE": "TradeCaptureReport",
    "D": "NewOrderSingle",
    "F": "OrderCancelRequest",
    "G": "OrderCancelReplaceRequest",
    "H": "OrderStatusRequest",
    "j": "BusinessMessageReject",
    "q": "OrderMassCancelRequest",
    "r": "OrderMassCancelReport",
    "s": "NewOrderCross",
}
_AROUND: Final = frozenset((b"8", b"9", b"10"))


def fields_of(message: Message, dictionary: Dictionary) -> list[tuple[str, str]]:
    """Names and values of the fields, in order, without those that frame it; a field without a name has its tag."""
    found = []
    for tag, value in message.in_order():
        if tag in _AROUND:
            continue
        known = dictionary.fields.get(int(tag)) if tag.isdigit() and len(tag) < 9 else None
        name = tag.decode("ascii", "replace") if known is None else known.name
        found.append((name, _shown(tag, value)))
    return found


def _shown(tag: bytes, value: bytes) -> str:
    """A value as text, or stars; a tag with zeros before it is the same field."""
    return MASK if tag.lstrip(b"0") in SECRET_TAGS else shown(value)


def shown(value: bytes) -> str:
    """A value as text of one line."""
    return "".join(chr(each) if 0x20 <= each < 0x7F else f"\\x{each:02x}" for each in value)


def masked(data: bytes) -> tuple[str, bool]:
    """Bytes as they were on the line, whole frames or not, with ``|`` between fields; True if something secret is in
    them. Behind a secret field that may hold a separator nothing is shown.

    >>> masked(b"35=D|554=a|9=".replace(b"|", b"\\x01")), masked(b"8=FIX.4.4|96=a|554".replace(b"|", b"\\x01"))
    (('35=D|554=***|9=', True), ('8=FIX.4.4|96=***', True))
    """
    shown_fields: list[str] = []
    secret = False
    for field in data.split(b"\x01"):
        tag, equals, value = field.partition(b"=")
        # The end of the bytes may have cut a tag, or stand within a value: what has no tag of its own is not shown.
        if not equals and field:
            shown_fields.append(f"{len(field)} bytes")
            continue
        if tag.strip().lstrip(b"0") in SECRET_TAGS:
            secret = True
            shown_fields.append(f"{shown(tag)}={MASK}")
            if tag.strip().lstrip(b"0") in _DATA_TAGS:
                break
            continue
        shown_fields.append(f"{shown(tag)}{equals.decode()}{shown(value)}")
    return "|".join(shown_fields), secret


def plain(frame: bytes) -> str:
    """A frame as it was on the line, with ``|`` between fields; of one that cannot be taken apart the size alone.

    >>> from wire.fix_codec import FrameWriter, Times, body
    >>> logon = FrameWriter("FIX.4.4", "UA", "LOCKSTEP", Times()).frame(b"A", 1, 0, body([(108, 30), (554, "secret")]))
    >>> plain(logon)
    '8=FIX.4.4|9=71|35=A|34=1|49=UA|52=19700101-00:00:00.000|56=LOCKSTEP|108=30|554=***|10=095|'
    """
    try:
        message = Message(frame)
    except Garbled:
        return f"garbled, {len(frame)} bytes"
    return "".join(f"{tag.decode('ascii', 'replace')}={_shown(tag, value)}|" for tag, value in message.in_order())
