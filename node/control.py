"""The node as the operator's side (admin server, metrics) sees it.

All of it is called on the node's event loop. What is no coroutine answers at once from what the node knows.
"""

from dataclasses import dataclass
from typing import Any, Final, Protocol

from numpy.typing import NDArray

from engine.names import Directory
from engine.records import CommandKind, Phase
from node.stages import StageClock

#: Values of ``status``: flat, numbers and words only. A key that a node does not have is left out everywhere.
Status = dict[str, int | float | str]

#: The keys of ``status`` that a reader may look for. Besides: ``phase_continuous`` and so on, instruments in each
#: phase; ``rejected_`` and a reason, refusals by reason since the start; and ``StageClock.latencies``.
STATUS_KEYS: Final = (
    "pid",
    "uptime_s",
    "data",  # the data directory
    "journal_id",  # in hexadecimal: the same in a node and its copies, and in no other
    "durability",  # fsync or none
    "state",  # open; or why no new order is taken or answered: stopped, stalled, ending, draining, disk low …, clock
    "state_reason",  # that in a sentence; empty where it is open
    "warning",  # a sentence on what to mend while orders are taken, such as a refused clock; empty where there is none
    "draining",  # 0 or 1
    "room",  # open, or how the room is: disk low, disk full, disk gone
    "seq",  # of the last command applied
    "durable_seq",
    "published_seq",
    "event_digest",  # after seq, hexadecimal
    "clock",  # of the market, as 2026-03-02T14:30:00.000000001
    "clock_ns",
    "clock_discipline",  # whether the machine's clock is kept right, in a word
    "clock_offset_ns",  # how far it is off, as far as known; left out where nobody keeps it
    "clock_error_max_ns",  # the most that it can be off, which grows while nobody corrects it
    "clock_jumps",  # since the start
    "clock_ahead_ns",  # how far market time is ahead of the wall clock, which was set back
    "clock_refused_ns",  # how far the wall clock is ahead of market time and not believed
    "durable_lag_s",  # age of the oldest command that is not durable
    "failed_logins",  # since the start, as are the next six
    "refused_connections",
    "displaced_connections",  # without a login, ended to make room for others
    "lost_arrivals",  # records that the arrival log did not write
    "slow_readers",
    "failed_checkpoints",
    "lost_log_lines",
    "checkpoint_seq",  # of the newest checkpoint
    "held_rows",  # rows that wait to be durable
    "instruments",
    "instruments_max",  # how many there is room for, as are the next maxima
    "participants",
    "participants_max",
    "users",
    "users_max",
    "orders_open",
    "orders_max",
    "ids_used",  # client order ids of the trading day, and those of open orders
    "ids_max",
    "commands",  # since the start, as are the next three
    "orders",
    "events",
    "trades",
    "commands_per_s",  # over the last seconds, as are the next three
    "orders_per_s",
    "events_per_s",
    "trades_per_s",
    "connections",
    "logged_in",
    "bytes_in",
    "bytes_out",
    "journal_bytes",
    "disk_free_bytes",
    "memory_rss_bytes",
)
#: The keys with which ``status`` counts instruments by phase.
PHASE_KEYS: Final = tuple(f"phase_{phase.name.lower()}" for phase in Phase)


class OperationRefused(ValueError):
    """A request that cannot be carried out now; the message is one sentence for the operator."""


@dataclass(frozen=True)
class SubmissionResult:
    """Outcome of submitted rows.

    first_seq: the sequence number of ``commands[0]``. commands: the COMMAND rows as sequenced; CLOCK rows of the
    sequencer may be among them. events: the EVENT rows that they caused, and no others.
    """

    first_seq: int
    commands: NDArray[Any]
    events: NDArray[Any]

    @property
    def last_seq(self) -> int:
        """The sequence number of the last of them."""
        return self.first_seq + len(self.commands) - 1


class NodeControl(Protocol):
    """A node, as its operator's side sees it."""

    @property
    def stages(self) -> StageClock:
        """The latency histograms that the node adds to."""
        ...

    async def submit(self, rows: NDArray[Any]) -> SubmissionResult:
        """Take COMMAND rows (none of them CLOCK) through sequencer, journal and engine; done when they are durable.

        Raises OperationRefused when the node takes none any more.
        """
        ...

    def directory(self) -> Directory:
        """Symbols and participants defined so far."""
        ...

    def has_user(self, user: str) -> bool:
        """True if a USER row has defined the user."""
        ...

    def definition(self, kind: CommandKind, name: str) -> str:
        """Values that an instrument, a participant or a user was defined with; "" where there is none of that name."""
        ...

    def status(self) -> Status:
        """The node's own account of itself (``STATUS_KEYS``)."""
        ...

    def unhealthy(self) -> list[str]:
        """A sentence for each thing that only a restart mends; none where the node works."""
        ...

    def unready(self) -> list[str]:
        """A sentence for each reason why the node takes no orders now; none where it does."""
        ...

    def sessions(self) -> list[dict[str, int | str]]:
        """One a connection: user, participant, address, state, next_seq, lag_bytes, since (UTC)."""
        ...

    def book(self, symbol: str, depth: int) -> dict[str, Any]:
        """symbol, seq, time, phase, last (a price or None), bids and offers: lists of {price, qty, orders}, best first.

        Raises OperationRefused for an unknown symbol.
        """
        ...

    def account(self, participant: str) -> tuple[dict[str, Any], list[dict[str, Any]]]:
        """Open orders, positions and limits of a participant (``replay.accounts.account``): in all, and by instrument.

        Raises OperationRefused for an unknown participant.
        """
        ...

    async def checkpoint(self) -> dict[str, Any]:
        """Write a checkpoint; gives seq, path, bytes and seconds once it is on the disk. Raises OperationRefused."""
        ...

    def warnings(self) -> list[str]:
        """Sentences on what an operator should mend while orders are taken and answered."""
        ...

    def accept_clock(self) -> None:
        """Let market time take the time of a wall clock that was refused. Raises OperationRefused where none was."""
        ...

    async def drain(self) -> None:
        """Take no new logins, and halt the market: new orders are refused, cancels work. May be repeated.

        Raises OperationRefused when the halt does not become durable in time.
        """
        ...

    async def shutdown(self) -> None:
        """Begin an orderly end and return; the node ends when all that is held is durable and answered."""
        ...

    def disconnect(self, user: str, why: str) -> bool:
        """End the connection of a user; False when there is none."""
        ...
