"""FIX sessions without a socket and without a node."""

from collections.abc import Callable

from engine.row_bytes import ROW
from gateway.fix import records
from gateway.fix.session import COMP_ID, FixSession
from gateway.fix.streams import FixStreams
from wire.fix_codec import FrameWriter, Times, body

#: Time of the sessions, since 1970.
NOW_NS = 1_790_000_000_123_000_000


def live_session(
    version: str, streams: FixStreams | None = None, clock: Callable[[], int] = lambda: NOW_NS
) -> tuple[FixSession, FrameWriter]:
    """A session that is logged on as user 1, and what frames its messages."""
    writer = FrameWriter(version, "UA", COMP_ID, Times())
    made = FixSession(0, clock)
    fields = [(98, "0"), (108, 30), (554, "x"), *([(1137, "9")] if version == "FIXT.1.1" else [])]
    assert made.ask(writer.frame(b"A", 1, NOW_NS, body(fields)), 0)
    made.accept_login("", 1, 0, 0)
    _, rows, _ = made.read(memoryview(b""), 256, streams, 1, 1)
    number = ROW.unpack(rows[-1])[3]
    _, answer = made.outgoing(records.record_of(1, records.MARK, records.OF_MARK.pack(number, 1, 1)))
    assert b"\x0135=A\x01" in answer
    return made, writer
