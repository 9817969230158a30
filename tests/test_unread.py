"""Answers that wait for clients of the web process that do not read: their bound, and their end, by a given clock."""

from node.web.unread import LARGE_BYTES, REQUEST_S, UNREAD_S, WAITING_BYTES_MAX, Unread


class Transport:
    """A transport with so many bytes that wait."""

    def __init__(self, waiting: int) -> None:
        self.waiting, self.is_aborted = waiting, False

    def get_write_buffer_size(self) -> int:
        return self.waiting

    def get_extra_info(self, name: str) -> tuple[str, int]:
        assert name == "peername"
        return ("127.0.0.1", 9)

    def abort(self) -> None:
        self.is_aborted = True


class Connection:
    def __init__(self, waiting: int) -> None:
        self.transport = Transport(waiting)


def test_who_takes_nothing_is_ended_and_who_takes_a_little_is_not() -> None:
    still, slow, idle = Connection(1_000), Connection(1_000), Connection(0)
    unread = Unread()
    unread.connections = {still, slow, idle}
    ended = []
    for second in range(int(UNREAD_S) + 2):
        slow.transport.waiting -= 1
        still.transport.waiting += second % 2  # more is sent to it: that is no sign of life
        ended += unread.look(float(second))
    assert [(each.address, each.waiting_bytes) for each in ended] == [("127.0.0.1", still.transport.waiting)]
    assert [each.transport.is_aborted for each in (still, slow, idle)] == [True, False, False]
    # Who has read all, and then nothing of the next answer, has the whole time again.
    slow.transport.waiting = 0
    assert not unread.look(UNREAD_S + 2)
    slow.transport.waiting = 10
    unread.connections = {slow}
    assert not unread.look(UNREAD_S + 3)
    assert not unread.look(2 * UNREAD_S + 3)
    assert unread.look(2 * UNREAD_S + 4)


class Http(Connection):
    """A connection by HTTP that has had an answer, and whose next request has not come."""

    has_begun, client = False, ("127.0.0.1", 9)

    def __init__(self, waiting: int) -> None:
        super().__init__(waiting)
        self.asked_s: float | None = 0.0


def test_the_time_of_a_request_begins_once_the_answer_before_it_is_taken() -> None:
    """A long answer that was taken slowly was cut off after the time of a request, and no line said so."""
    slow, still, idle = Http(1_000), Http(1_000), Http(0)
    unread = Unread()
    unread.connections = [slow, still, idle]
    ended = []
    for second in range(int(UNREAD_S) + 2):
        slow.transport.waiting -= 1
        ended += unread.look(float(second))
    assert [each.waiting_bytes for each in ended] == [1_000]
    assert [each.transport.is_aborted for each in (slow, still, idle)] == [False, True, True]
    unread.connections = [slow]
    slow.transport.waiting = 0
    unread.look(UNREAD_S + 1 + REQUEST_S)
    assert not slow.transport.is_aborted
    unread.look(UNREAD_S + 2 + REQUEST_S)
    assert slow.transport.is_aborted


def test_a_long_answer_has_no_room_while_too_much_waits_and_a_short_one_always_has() -> None:
    unread = Unread()
    unread.connections = [Connection(WAITING_BYTES_MAX // 2), Connection(WAITING_BYTES_MAX // 2 - LARGE_BYTES - 1)]
    assert unread.has_room(LARGE_BYTES + 1)
    assert not unread.has_room(LARGE_BYTES + 2)
    assert unread.has_room(LARGE_BYTES)
