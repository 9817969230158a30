"""`lockstep serve` with faults that a test asks for: python -m tests.faulty_node FAULT,FAULT serve --data DIR ...

often        checkpoints follow each other without a pause
slow-disk    every commit of the journal takes 30 ms longer
stalls       one commit in 200 stands still for 3 seconds, longer than an ``impatient`` node bears silence
clock-steps  the wall clock is up to 30 minutes off and steps every second, on the same UTC day
tells-early  what happened is told before it is durable: the hole that the crash loop has to find
impatient    silence, and a reader that takes nothing, are borne for 2 seconds
patient      they are borne for an hour
small-room   a disk is full when less than 2 MiB are free, and 4 MiB are held in reserve
"""

import os
import random
import sys
import time
from collections.abc import Callable
from typing import Any, Final


def often() -> None:
    import node.checkpointing

    node.checkpointing.APART_S = 0.05  # type: ignore[misc]


def slow_disk() -> None:
    from journal.group import GroupWriter

    made = GroupWriter.__init__

    def slow(self: Any, commit: Callable[[Any], None], *arguments: Any, **named: Any) -> None:
        def late(group: Any) -> None:
            time.sleep(0.03)
            commit(group)

        made(self, late, *arguments, **named)

    GroupWriter.__init__ = slow  # type: ignore[method-assign]


def stalls() -> None:
    from journal.group import GroupWriter

    made = GroupWriter.__init__
    chance = random.Random(os.getpid())

    def stalling(self: Any, commit: Callable[[Any], None], *arguments: Any, **named: Any) -> None:
        def late(group: Any) -> None:
            if chance.random() < 1 / 200:
                time.sleep(3)
            commit(group)

        made(self, late, *arguments, **named)

    GroupWriter.__init__ = stalling  # type: ignore[method-assign]


def clock_steps() -> None:
    from sequencer.clock import MarketClock

    made = MarketClock.__init__
    day_ns = 86_400_000_000_000

    def wall() -> int:
        now_ns = time.time_ns()
        stepped_ns = now_ns + random.Random(now_ns // 1_000_000_000).randrange(-1_800, 1_800) * 1_000_000_000
        return stepped_ns if stepped_ns // day_ns == now_ns // day_ns else now_ns

    def stepping(self: Any, *arguments: Any, **named: Any) -> None:
        made(self, *arguments, **{**named, "wall": wall})

    MarketClock.__init__ = stepping  # type: ignore[method-assign]


def tells_early() -> None:
    from sequencer.pump import ReleaseQueue

    made = ReleaseQueue.__init__

    def early(self: Any, *arguments: Any) -> None:
        made(self, *arguments)
        self._waits = False

    ReleaseQueue.__init__ = early  # type: ignore[method-assign]


def impatient(patience_ns: int = 2_000_000_000) -> None:
    import gateway.connection
    import gateway.tls
    import wire.soup_session

    gateway.connection.SLOW_NS = gateway.connection.LOGIN_NS = patience_ns  # type: ignore[misc]
    gateway.tls.LOGIN_NS = patience_ns  # type: ignore[attr-defined]
    wire.soup_session.SILENCE_NS = patience_ns  # type: ignore[misc]


def patient() -> None:
    impatient(3_600 * 10**9)


def small_room() -> None:
    import node.node
    from sequencer.room import Bounds, RoomWatch

    def small(directory: Any, map_room: Any) -> RoomWatch:
        return RoomWatch(directory, map_room, bounds=Bounds(full_bytes=2 << 20), reserve_bytes=4 << 20)

    node.node.RoomWatch = small  # type: ignore[attr-defined]


FAULTS: Final = {
    "often": often,
    "slow-disk": slow_disk,
    "stalls": stalls,
    "clock-steps": clock_steps,
    "tells-early": tells_early,
    "impatient": impatient,
    "patient": patient,
    "small-room": small_room,
}

if __name__ == "__main__":
    for name in sys.argv.pop(1).split(","):
        FAULTS[name]()
    from cli.main import main

    sys.exit(main())
