"""`lockstep serve` with faults that a test asks for: python -m tests.faulty_node FAULT,FAULT serve --data DIR ...

often        checkpoints follow each other without a pause
slow-disk    every commit of the journal takes 30 ms longer
tells-early  what happened is told before it is durable: the hole that the crash loop has to find
impatient    silence, and a reader that takes nothing, are borne for 2 seconds
small-room   a disk is full when less than 2 MiB are free, and 4 MiB are held in reserve
"""

import sys
import time
from collections.abc import Callable
from typing import Any, Final


def often() -> None:
    import node.images

    node.images.APART_S = 0.05  # type: ignore[misc]


def slow_disk() -> None:
    from journal.group import GroupWriter

    made = GroupWriter.__init__

    def slow(self: Any, commit: Callable[[Any], None], *arguments: Any, **named: Any) -> None:
        def late(group: Any) -> None:
            time.sleep(0.03)
            commit(group)

        made(self, late, *arguments, **named)

    GroupWriter.__init__ = slow  # type: ignore[method-assign]


def tells_early() -> None:
    from sequencer.pump import Release

    made = Release.__init__

    def early(self: Any, *arguments: Any) -> None:
        made(self, *arguments)
        self._waits = False

    Release.__init__ = early  # type: ignore[method-assign]


def impatient() -> None:
    import gateway.connection
    import wire.soup_session

    gateway.connection.SLOW_NS = gateway.connection.LOGIN_NS = 2_000_000_000  # type: ignore[misc]
    wire.soup_session.SILENCE_NS = 2_000_000_000  # type: ignore[misc]


def small_room() -> None:
    import node.node
    from sequencer.room import Bounds, RoomWatch

    def small(directory: Any, map_room: Any) -> RoomWatch:
        return RoomWatch(directory, map_room, bounds=Bounds(full_bytes=2 << 20), reserve_bytes=4 << 20)

    node.node.RoomWatch = small  # type: ignore[attr-defined]


FAULTS: Final = {
    "often": often,
    "slow-disk": slow_disk,
    "tells-early": tells_early,
    "impatient": impatient,
    "small-room": small_room,
}

if __name__ == "__main__":
    for name in sys.argv.pop(1).split(","):
        FAULTS[name]()
    from cli.main import main

    sys.exit(main())
