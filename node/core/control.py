"""The node as the operator's side (admin server, metrics) sees it.

All of it is called on the node's event loop. Methods that are no coroutines return at once.
"""

from dataclasses import dataclass
from typing import Any, Final, Protocol

from numpy.typing import NDArray

from engine.names import Directory
from engine.records import CommandKind, Phase
from node.core.stages import StageClock

#: Values of ``status``: flat, numbers and words only. A key that a node does not have is left out everywhere.
Status = dict[str, int | float | str]

#: Keys of ``status``. Besides them: ``phase_continuous`` and so on, instruments in each phase; ``rejected_`` and a
#: reason, refusals by reason since the start; and ``StageClock.latencies``.
STATUS_KEYS: Final = (
    "pid",
    "uptime_s",
    "data",  # the data directory
    "journal_id",  # in hexadecimal: the same in a node and its copies, and in no other
    "durability",  # what an answer waits for: fsync or none; in a pair also replica or both
    "state",  # open, stopped, stalled, ending, draining, diverged, standby, unsure, disk low, full or gone, clock
    "state_reason",  # the reason in a sentence; empty if open
    "diverged",  # 0 or 1: this node, or a copy of it, has another state than the other node
    "warning",  # warnings in sentences while orders are taken, such as a refused clock; empty if none
    "draining",  # 0 or 1
    "room",  # open, or the room on the disk: disk low, disk full, disk gone
    "seq",  # of the last command applied
    "durable_seq",
    "published_seq",
    "event_digest",  # after seq, hexadecimal
    "clock",  # of the market, as 2026-03-02T14:30:00.000000001
    "clock_ns",
    "speed_bump_ns",  # entry delay of the venue; 0: none
    "clock_discipline",  # synchronization of the machine's clock, in a word
    "clock_offset_ns",  # offset of the clock; absent if it is not synchronized
    "clock_error_max_ns",  # largest error of the clock, which grows without corrections
    "clock_jumps",  # since the start
    "clock_ahead_ns",  # lead of market time over a wall clock that was set back
    "clock_refused_ns",  # lead of a refused wall clock over market time
    "durable_lag_s",  # age of the oldest command that is not durable
    "failed_logins",  # since the start, as are the next six
    "refused_connections",
    "displaced_connections",  # without a login, ended to make room for others
    "lost_arrivals",  # records of arrivals, latencies and logins that were not written
    "slow_readers",
    "failed_checkpoints",
    "lost_log_lines",
    "checkpoint_seq",  # of the newest checkpoint
    "held_rows",  # rows that wait to be durable
    "instruments",
    "instruments_max",  # room, as are the next maxima
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
    "direct_connections",  # served by the compiled turn at this moment
    "logged_in",
    "bytes_in",
    "bytes_out",
    "journal_bytes",
    "disk_free_bytes",
    "memory_rss_bytes",
)
#: Keys of ``status`` for the number of instruments by phase.
PHASE_KEYS: Final = tuple(f"phase_{phase.name.lower()}" for phase in Phase)


#: Keys of the report of what works in a node: lists of objects, but for the tape, which is one, or None.
WORKINGS_KEYS: Final = ("processes", "agents", "tape", "readers", "rings", "lines")


class OperationRefused(ValueError):
    """A request that cannot be carried out now; the message is one sentence for the operator."""


class RefusedForNow(OperationRefused):
    """A request of which nothing was done, and that may be carried out a little later as it is."""


class OperationUnfinished(OperationRefused):
    """A request that was begun, and whose end is not the one asked for; the message says what is so now."""


@dataclass(frozen=True)
class SubmissionResult:
    """Outcome of submitted rows.

    first_seq: sequence number of ``commands[0]``. commands: COMMAND rows as sequenced, with CLOCK rows of the
    sequencer. events: their EVENT rows.
    """

    first_seq: int
    commands: NDArray[Any]
    events: NDArray[Any]

    @property
    def last_seq(self) -> int:
        """Sequence number of the last command."""
        return self.first_seq + len(self.commands) - 1


class PairControl(Protocol):
    """Replication of a node of a pair (``node.pair.member``), as the node and its operator's side see it."""

    def status(self) -> dict[str, Any]:
        """Report of the pair by this node: values by ``PAIR_KEYS``."""
        ...

    async def switch_over(self) -> str:
        """Hand the reign to the standby; gives its name. Raises OperationRefused."""
        ...

    @property
    def policy(self) -> str:
        """Release policy: what an answer waits for."""
        ...

    @property
    def watch_pid(self) -> int:
        """Number of the process that ends the lease when this one is dead; 0: there is none."""
        ...

    def warnings(self) -> list[str]:
        """Sentences of a primary for the operator while no node could take over."""
        ...

    def unsure(self) -> str:
        """Reason for which this primary may not answer now, "" if it may or is a copy."""
        ...

    def lapsed(self) -> str:
        """The same where it lasts, so that nothing is taken either; else ""."""
        ...

    @property
    def age_s(self) -> float:
        """Time since this node certainly knew all of the market, in seconds: on a primary, since it might answer; on a
        copy, since it had all that its primary had."""
        ...

    @property
    def disk_lag_s(self) -> float:
        """Time for which this node's journal has stood still on the disk while there was more to write, in seconds."""
        ...

    def waits_for(self) -> str:
        """Name of the node whose acknowledgement answers wait for now; "" if they wait for none."""
        ...

    async def survey_promotion(self) -> dict[str, Any]:
        """Consequences of a promotion of this copy: values by ``PROMOTION_KEYS``. Raises OperationRefused."""
        ...

    async def promote(self, reason: str) -> dict[str, Any]:
        """Make this copy primary by the operator's word; gives the survey, with ``epoch`` as won and ``forced``.

        Raises OperationRefused.
        """
        ...

    async def leave(self) -> bool:
        """Hand the reign over, if a standby is in sync, because this node ends; True if it was."""
        ...

    @property
    def divergences(self) -> list[str]:
        """Sentences on this node, or on its copies, where they have diverged."""
        ...

    def on_slice(self) -> None:
        """Note that this node has begun a new slice of its journal."""
        ...

    def on_progress(self) -> None:
        """Note that blocks became durable."""
        ...

    def close(self) -> None:
        """End all connections."""
        ...


#: Keys of the report of a pair.
PAIR_KEYS: Final = (
    "node",  # name of this node
    "role",  # primary, standby or follower; single: a node that is not of a pair, whose other values say nothing
    "state",  # of a copy: following, disconnected, refused, diverged and so on; of a primary: reigning or unsure
    "state_reason",
    "epoch",
    "primary",  # name of the primary by the arbiter's record, "" if unknown
    "primary_address",  # of its link
    "clients_address",  # of its order entry
    "since",  # start of the reign, as 2026-03-02T14:30:00.000000001, "" if unknown
    "forced",  # reason of the operator who forced this reign, "" if nobody did
    "policy",  # release policy of this node
    "in_sync",  # nodes that may take over, by the arbiter's record
    "seq",  # last command applied here
    "event_digest",  # after seq, hexadecimal
    "speed_bump_ns",  # entry delay of the venue after seq; 0: none
    "agreed_seq",  # last command with the same digest on both nodes
    "released_seq",  # last command that clients may be told of
    "lag_commands",  # of this copy, or of the furthest copy in sync
    "lag_s",  # time since this copy certainly had all that the primary had; 0 on a primary
    "silence_s",  # age of the primary's last sign of life at a copy; 0 on a primary
    "can_take_over",  # 0 or 1: this node could take over now
    "cannot_take_over_reason",  # "" if it could, or reigns
    "arbiter",  # "" if it answers, else the reason
    "copies",  # of a primary: objects with name, role, positions, lag_commands, in_sync
    "diverged",  # names of nodes that have diverged
    "divergences",  # a sentence on each of them
    "processes",  # of this node: objects with process, pid (None: it does not run now), state, restarts, reason, named
    "warnings",  # sentences on this node alone: its disk, its clock, what keeps it from taking orders
)


#: Keys of the survey before a promotion.
PROMOTION_KEYS: Final = (
    "node",  # name of this node
    "role",
    "primary",  # by the arbiter's record, "" if there was none
    "epoch",  # of the last reign, 0 if there was none
    "seq",  # last command here
    "clock",  # market time after it, "" if unset
    "primary_seq",  # last command of the primary, as last heard
    "released_seq",  # last command that clients were told of, as last heard
    "lag_commands",
    "lag_s",
    "silence_s",
    "may_take_over",  # other nodes that have all acknowledged orders by the arbiter's record
    "refused",  # reason for which this node cannot be forced now, "" if it can
    "losses",  # sentences on what may be lost
)


class NodeControl(Protocol):
    """Interface of a node for its operator's side."""

    @property
    def stages(self) -> StageClock:
        """Latency histograms of the node."""
        ...

    async def submit(self, rows: NDArray[Any]) -> SubmissionResult:
        """Submit COMMAND rows (no CLOCK) to sequencer, journal and engine; done when they are durable.

        Raises OperationRefused if the node takes no more.
        """
        ...

    def directory(self) -> Directory:
        """Symbols and participants defined so far."""
        ...

    def market_time_ns(self) -> int:
        """Market time now, in ns since 1970: the clock of a market that stands still has an older one."""
        ...

    def has_user(self, user: str) -> bool:
        """True if a USER row has defined the user."""
        ...

    def definition(self, kind: CommandKind, name: str) -> str:
        """Values that an instrument, a participant or a user was defined with; "" where there is none of that name."""
        ...

    def status(self) -> Status:
        """Report of the node: values by ``STATUS_KEYS``."""
        ...

    def workings(self) -> dict[str, Any]:
        """Report of what works in the node: values by ``WORKINGS_KEYS`` (``node.operator.workings``)."""
        ...

    def unhealthy(self) -> list[str]:
        """A sentence for each fault that only a restart ends; none if the node works."""
        ...

    def unready(self) -> list[str]:
        """A sentence for each reason why the node takes no orders now; none if it does."""
        ...

    def sessions(self) -> list[dict[str, int | str]]:
        """Connections: user, participant, address, state, next_seq, lag_bytes, since (UTC)."""
        ...

    def book(self, symbol: str, depth: int) -> dict[str, Any]:
        """Book: symbol, seq, time, phase, last (a price or None), bids and offers: lists of {price, qty, orders}, best
        first.

        Raises OperationRefused for an unknown symbol.
        """
        ...

    def schedules(self, first: int, most: int) -> list[dict[str, Any]]:
        """Phases to come (``replay.scheduled.schedule_objects``), ``most`` at most from number ``first`` on."""
        ...

    def account(self, participant: str) -> tuple[dict[str, Any], list[dict[str, Any]]]:
        """Open orders, positions and limits of a participant (``replay.accounts.account``): in all, and by instrument.

        Raises OperationRefused for an unknown participant.
        """
        ...

    async def checkpoint(self) -> dict[str, Any]:
        """Write a checkpoint; gives seq, path, bytes and seconds once it is on the disk. Raises OperationRefused."""
        ...

    async def roll(self) -> dict[str, Any]:
        """Begin a new slice of the journal; gives slice, seq, path, size_bytes and elapsed_s once the image that it
        starts from is on the disk. Raises OperationRefused."""
        ...

    def warnings(self) -> list[str]:
        """Warnings for the operator while orders are taken and answered."""
        ...

    def accept_clock(self) -> None:
        """Accept the time of a refused wall clock. Raises OperationRefused if none was refused."""
        ...

    def pair_status(self) -> dict[str, Any]:
        """Report of the pair by this node; of a node that is not of a pair: role ``single``."""
        ...

    async def survey_promotion(self) -> dict[str, Any]:
        """Consequences of a promotion of this copy: values by ``PROMOTION_KEYS``. Raises OperationRefused."""
        ...

    async def promote(self, reason: str) -> dict[str, Any]:
        """Make this copy primary by the operator's word; gives the survey with the epoch. Raises OperationRefused."""
        ...

    async def switch_over(self) -> str:
        """Hand the reign to the standby; gives its name. Raises OperationRefused."""
        ...

    async def drain(self) -> None:
        """Refuse logins and halt the market: new orders are rejected, cancels work. May be repeated.

        Raises OperationRefused if the halt does not become durable in time.
        """
        ...

    async def shutdown(self) -> None:
        """Begin an orderly end and return; the node ends when all commands are durable and answered."""
        ...

    def disconnect(self, user: str, why: str) -> bool:
        """End the connection of a user; False if there is none."""
        ...
