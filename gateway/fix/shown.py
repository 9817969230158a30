"""Records of a stream for people: the message that each is, with the names of its fields."""

from typing import Any, Final

from gateway.fix import records
from gateway.fix.copy_answers import CopyAnswers
from gateway.fix.records import Record
from gateway.fix.session import COMP_ID
from wire.fix_codec import FrameWriter, Message, Times
from wire.fix_table import own
from wire.fix_text import TYPE_NAMES, fields_of

#: Version in which records are shown where that of the session is not known.
VERSION: Final = "FIX.4.4"
#: Types of records that are no message of the application: one of the session, and one that the version does not have.
_SESSION, _FILLED = "session", "filled"
_NAMES: Final = TYPE_NAMES | {_SESSION: "a message of the session", _FILLED: "a number without a message"}


def type_name(msg_type: str) -> str:
    """Name of a type of messages; an unknown one as it is."""
    return _NAMES.get(msg_type, msg_type)


class Shown:
    """Messages to a user in one version. Raises KeyError for a version that is not spoken."""

    def __init__(self, version: str, user: str) -> None:
        self._answers, self._dictionary = CopyAnswers(version), own(version)
        self._writer = FrameWriter(version, COMP_ID, user, Times())

    def message(self, record: Record) -> dict[str, Any]:
        """Number, type, name and fields (name, value) of a record's message."""
        kind, fields = _FILLED if record.kind == records.CAPTURE else _SESSION, []
        if self._answers.is_told(record):
            msg_type, text, time_ns = self._answers.message(record)
            kind = msg_type.decode("ascii")
            frame = self._writer.frame(msg_type, record.number, time_ns, text)
            fields = fields_of(Message(frame), self._dictionary)
        return {"number": record.number, "type": kind, "name": type_name(kind), "fields": fields}
