"""Times of the last bytes each way in `lockstep fix`: of the line, whatever the session counts as silence."""

from engine.row_bytes import ROW
from gateway.fix import marks, records
from tests.fix_sessions import NOW_NS, live_session
from tests.test_fix_messages import fix_streams
from wire.session_state import Due

SECOND_NS = 1_000_000_000


def test_times_are_those_of_the_bytes_on_the_line() -> None:
    now, streams = [NOW_NS], fix_streams()
    session, writer = live_session("FIX.4.4", clock=lambda: now[0])
    assert session.facts == {"version": "FIX.4.4", "in_number": 2, "heard_ns": NOW_NS, "sent_ns": NOW_NS}
    now[0] += 20 * SECOND_NS
    session.shorten_silence(15 * SECOND_NS, 0)  # this side was away, so the client has not been silent for as long
    assert session.facts["heard_ns"] == NOW_NS, "no byte came meanwhile"
    now[0] += 11 * SECOND_NS
    assert session.tick(0) is Due.NOTHING  # a heartbeat is due: its mark goes to the journal
    _, rows, _ = session.read(memoryview(b""), 256, streams, 1, 1)
    assert session.facts["sent_ns"] == NOW_NS, "the heartbeat has not gone"
    now[0] += SECOND_NS
    mark = records.OF_MARK.pack(ROW.unpack(rows[-1])[3], 2, marks.Mark.SESSION)
    _, frame = session.outgoing(records.record_of(2, records.MARK, mark))
    assert b"\x0135=0\x01" in frame
    assert session.facts == {
        "version": "FIX.4.4",
        "in_number": 2,
        "heard_ns": NOW_NS,
        "sent_ns": NOW_NS + 32 * SECOND_NS,
    }
    now[0] += SECOND_NS
    half = writer.frame(b"0", 2, now[0], b"")[:9]
    session.read(memoryview(half), 256, streams, 1, 1)
    assert session.facts["heard_ns"] == NOW_NS + 33 * SECOND_NS
