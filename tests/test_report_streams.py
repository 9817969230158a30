"""Streams that are framed from reports: the same bytes whatever the blocks, and after a restore at any command."""

from collections.abc import Iterable

import numpy as np
import pytest

from engine import Capacity
from engine.digest import part_digest
from engine.records import CommandKind
from gateway.report_streams import ReportStreams
from gateway.streams import Segment
from tests.line_protocol import frame
from tests.report_streams import CAPACITY, USERS, Block, blocks, user_stream


class Told:
    """Streams with all that they told, by session and user."""

    def __init__(self, capacity: Capacity = CAPACITY) -> None:
        self.told: dict[tuple[str, int], bytes] = {}
        self.ended: list[int] = []
        self.sessions: list[str] = []
        self.streams = ReportStreams(
            capacity,
            self._deliver,
            self.sessions.append,
            lambda user, _why: self.ended.append(user),
            frame=frame,
            day_begins=b"DAY\n",
            day_ends=b"NIGHT\n",
            users_max=USERS + 2,
        )

    def _deliver(self, segment: Segment) -> None:
        key = (self.sessions[-1] if self.sessions else "", segment.user)
        before = self.told.get(key, b"")
        assert (segment.position, segment.first_seq) == (len(before), 1 + before.count(b"\n"))
        assert segment.messages == segment.data.count(b"\n")
        self.told[key] = before + segment.data

    def take(self, given: Iterable[Block]) -> "Told":
        for block in given:
            self.streams(*block)
        return self


@pytest.mark.slow_after(1)
@pytest.mark.parametrize("seed", range(5))
def test_streams_do_not_depend_on_blocks(seed: int) -> None:
    rows = user_stream(seed, 1_500)
    made = [Told().take(blocks(rows, seed, largest=largest)) for largest in (0, 1, 40)]
    assert made[0].told == made[1].told == made[2].told
    digests = {part_digest(each.streams.image()) for each in made}
    assert len(digests) == 1
    assert sum(map(len, made[0].told.values())) > 10_000
    assert len(made[0].sessions) >= 1
    other = Told().take(blocks(user_stream(seed + 5, 1_500), seed))
    assert part_digest(other.streams.image()) not in digests


def test_restored_streams_go_on_with_the_same_bytes_also_with_another_capacity() -> None:
    rows = user_stream(2, 1_200)
    given = list(blocks(rows, 2, largest=60))
    through = Told().take(given)
    larger = Capacity(orders_max=3_000, ids_max=20_000, instruments_max=9, participants_max=20)
    for at, capacity in ((3, CAPACITY), (len(given) // 2, larger), (len(given) - 1, CAPACITY)):
        before = Told().take(given[:at])
        after = Told(capacity)
        last_seq = given[at].first_seq - 1
        after.streams.restore(before.streams.image(), last_seq)
        after.told, after.sessions = dict(before.told), list(before.sessions)
        assert after.take(given[at:]).told == through.told
        assert part_digest(after.streams.image()) == part_digest(through.streams.image())


def test_an_image_that_lacks_a_table_or_is_of_another_command_is_refused() -> None:
    rows = user_stream(1, 400)
    image = Told().take(blocks(rows, 1)).streams.image()
    for name in image:
        if name != "reports layout":
            with pytest.raises(ValueError, match="is missing"):
                Told().streams.restore({key: array for key, array in image.items() if key != name}, len(rows))
    with pytest.raises(ValueError, match="not of 399"):
        Told().streams.restore(image, 399)
    Told().streams.restore(image, len(rows))


def test_a_user_defined_again_elsewhere_or_with_a_new_password_loses_its_login() -> None:
    rows = user_stream(1, 400)
    told = Told().take(blocks(rows, 1))
    assert told.ended
    without = rows[~np.isin(rows["kind"], (CommandKind.CREDENTIAL,))]
    again = np.flatnonzero(without["kind"] == CommandKind.USER)
    first = np.unique(without["name"][again], return_index=True)[1]
    once = np.delete(without, np.setdiff1d(again, again[first]))
    assert Told().take(blocks(once, 1)).ended == []
