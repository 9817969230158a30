"""Outbound streams of FIX: records, which become messages as they are sent."""

from gateway.fix.records import record_bytes
from gateway.fix.streams import FixStreams
from gateway.outbox import Outbox


class FixOutbox(Outbox[FixStreams]):
    """Users' streams of records and their spools, as one projection."""

    name = "fix streams"
    #: Rises with the layout of records, and with the arrays of ``image``.
    version = 3
    folder = "fix-streams"

    @staticmethod
    def message_bytes(data: bytes, at: int = 0, /) -> int:
        """Bytes of the record at ``at`` in a stream; 0 where not all of it is there."""
        return record_bytes(data, at)

    def _new_streams(self) -> FixStreams:
        return FixStreams(self._capacity, self._deliver, self._new_session, self._on_login_end)
