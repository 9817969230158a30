"""Places for connections: bounded, and the longest idle one makes room."""

from node.operator.seats import Seats


def test_the_longest_idle_makes_room_and_busy_ones_stay() -> None:
    ended: list[str] = []
    seats = Seats(3)
    first, second, third = (seats.take("p", lambda name=name: ended.append(name)) for name in "abc")  # type: ignore[misc]
    assert first is not None
    assert second is not None
    assert third is not None
    seats.work(first)
    assert seats.take("p", lambda: ended.append("d")) is not None
    assert ended == ["b"]
    seats.rest(first)  # idle again, and the youngest
    assert seats.take("p", lambda: ended.append("e")) is not None
    assert ended == ["b", "c"]
    seats.leave(third)
    assert len(seats) == 3


def test_nobody_makes_room_where_all_are_busy() -> None:
    seats = Seats(2)
    for _ in range(2):
        seat = seats.take("p", lambda: None)
        assert seat is not None
        seats.work(seat)
    assert seats.take("p", lambda: None) is None
    seats.leave(seat)
    assert seats.take("p", lambda: None) is not None


def test_a_peer_that_has_its_share_makes_room_for_itself_only() -> None:
    ended: list[str] = []
    seats = Seats(4, peer_most=2)
    seats.take("quiet", lambda: ended.append("quiet"))
    for name in ("n1", "n2", "n3"):
        seats.take("noisy", lambda name=name: ended.append(name))  # type: ignore[misc]
    assert ended == ["n1"]
    seats.take("other", lambda: ended.append("other"))
    seats.take("another", lambda: ended.append("another"))
    assert ended == ["n1", "quiet"], "with all places taken the longest idle of all makes room"
