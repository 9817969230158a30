"""Options of a node of a pair, and the plan from which its replication is made once the directory is open."""

from collections.abc import Callable
from dataclasses import dataclass

from replication.arbiter import Arbiter, Candidate
from replication.death_watch import DeathWatch
from replication.primary import Settings


@dataclass(frozen=True)
class PairOptions:
    """Options of a node of a pair.

    ``candidate``: name and release policy. ``secret``: of the pair. ``host``, ``port``: where copies connect. ``peer``:
    address of the other node's link; None: only what the arbiter's record names. ``clients_host``: of order entry, as
    that record shows it. ``follower``: a copy that never takes over by itself.
    """

    candidate: Candidate
    secret: bytes
    host: str
    port: int
    peer: tuple[str, int] | None
    settings: Settings
    clients_host: str = "127.0.0.1"
    follower: bool = False


@dataclass(frozen=True)
class PairPlan:
    """Plan of a node of a pair, before its directory is open: ``options`` as above, and the driver of the arbiter.

    ``make_arbiter``: driver for the id of a journal (16 bytes). ``make_watch``: starts the watch beside this process.
    """

    options: PairOptions
    make_arbiter: Callable[[bytes], Arbiter]
    make_watch: Callable[[bytes], DeathWatch]
