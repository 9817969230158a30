"""Reports of a node about itself: status, sessions and books at this moment."""

import os
import resource
import shutil
import time
from pathlib import Path
from typing import Any, Final, Protocol

from engine.interface import MarketEngine
from engine.names import unpack
from engine.records import CommandKind, EventKind, Phase, Reason
from gateway.ouch.outbox import OuchOutbox
from gateway.server import Gateway
from journal import Journal
from node.core.checkpointing import CheckpointSchedule
from node.core.clock_watch import ClockWatch
from node.core.control import OperationRefused, PairControl, Status
from node.core.market import Market
from node.core.rates import Rates
from node.core.scarcity import Scarcity
from node.core.stages import StageClock
from node.gateways.door import GatewayDoor
from node.operator import definitions
from node.operator.capacity import room_status
from node.programs.logs import Log
from notation.words import iso_time
from replay import accounts
from replay.ladder import book_object
from replay.scheduled import schedule_objects
from sequencer.clock import MarketClock

#: Prices of stops a side in one answer at most.
_STOPS_MAX: Final = 50


class Options(Protocol):
    """Options of a node that its status reports."""

    @property
    def data(self) -> Path: ...

    @property
    def durability(self) -> str: ...


class Node(Protocol):
    """The parts of a node that the reports read."""

    journal: Journal
    engine: MarketEngine
    outbox: OuchOutbox
    gateway: Gateway
    gateways: GatewayDoor | None
    market: Market
    checkpointing: CheckpointSchedule
    scarcity: Scarcity
    clock_watch: ClockWatch
    clock: MarketClock
    log: Log
    rates: Rates
    stages: StageClock
    pair: PairControl | None
    draining: bool
    began_s: float

    @property
    def options(self) -> Options: ...

    @property
    def durable_lag_s(self) -> float: ...

    @property
    def lost_records(self) -> int: ...

    @property
    def policy(self) -> str: ...

    def standing(self) -> tuple[str, str]:
        """State in a word or two, and its reason."""
        ...

    def warnings(self) -> list[str]:
        """Warnings for the operator."""
        ...


def sessions(node: Node) -> list[dict[str, int | str]]:
    """Connections of clients, one object each."""
    streams = node.outbox.streams
    now_ns, wall_ns = node.gateway.now_ns(), time.time_ns()
    report: list[dict[str, int | str]] = []
    for each in node.gateway.connections:
        next_seq, end = (each.spool or node.outbox.spool).end(each.user)
        row = streams.row(each.user)
        report.append(
            {
                "user": streams.name(each.user) if each.user else "",
                "participant": _name(int(row["participant_name"])),
                "address": each.address,
                "state": "ending" if each.closing else each.session.state.value,
                "next_seq": next_seq if each.user else 0,
                "lag_bytes": 0 if each.caught_up or not each.user else end - each.position,
                "since": iso_time(wall_ns - (now_ns - each.since_ns)) or "",
            }
        )
    for gateway, user, address in [] if node.gateways is None else node.gateways.sessions():
        row = streams.row(user)
        report.append(
            {
                "user": streams.name(user),
                "participant": _name(int(row["participant_name"])),
                "address": f"{address} at gateway {gateway}",
                "state": "live",
                "next_seq": node.outbox.spool.end(user)[0],
                "lag_bytes": 0,
                "since": "",
            }
        )
    return sorted(report, key=lambda one: (str(one["user"]), str(one["address"])))


def book(node: Node, symbol: str, depth: int) -> dict[str, Any]:
    """Ladder of one instrument. Raises OperationRefused for an unknown symbol."""
    symbols = node.engine.directory.symbols
    if symbol not in symbols:
        raise OperationRefused(f"there is no instrument {symbol}")
    return book_object(node.engine, symbols.index(symbol) + 1, depth, stops_max=_STOPS_MAX)


def schedules(node: Node, first: int, most: int) -> list[dict[str, Any]]:
    """Phases to come, ``most`` at most from number ``first`` on."""
    return schedule_objects(node.engine, first, most)


def account(node: Node, participant: str) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Account of a participant, in total and by instrument. Raises OperationRefused for an unknown participant."""
    try:
        return accounts.account(node.engine, participant)
    except KeyError:
        raise OperationRefused(f"there is no participant {participant}") from None


def definition(node: Node, kind: CommandKind, name: str) -> str:
    """Values of a definition in words; "" if there is none of that kind and name."""
    if kind == CommandKind.USER:
        streams = node.outbox.streams
        user = streams.user(name)
        return definitions.of_user(streams.row(user)) if user else ""
    of_kind = {CommandKind.INSTRUMENT: definitions.of_instrument, CommandKind.INDEX: definitions.of_index}
    return of_kind.get(kind, definitions.of_participant)(node.engine, name)


def single(node: Node) -> dict[str, Any]:
    """Report of a node that is not of a pair, under ``node.core.control.PAIR_KEYS``."""
    state, why = node.standing()
    return unpaired(
        state,
        why,
        node.options.durability,
        node.engine.seq,
        node.engine.event_digest.hex(),
        node.market.published_seq,
        speed_bump_ns=node.engine.speed_bump_ns,
    )


def unpaired(
    state: str,
    state_reason: str,
    policy: str,
    seq: int,
    event_digest: str,
    released_seq: int,
    *,
    speed_bump_ns: int = 0,
) -> dict[str, Any]:
    """Report of a node that is not of a pair, from its values."""
    words = dict.fromkeys(("node", "primary", "primary_address", "clients_address", "since", "forced", "arbiter"), "")
    numbers = dict.fromkeys(("epoch", "agreed_seq", "lag_commands", "can_take_over"), 0)
    return {
        **words,
        **numbers,
        "role": "single",
        "state": state,
        "state_reason": state_reason,
        "policy": policy,
        "in_sync": [],
        "seq": seq,
        "event_digest": event_digest,
        "speed_bump_ns": speed_bump_ns,
        "released_seq": released_seq,
        "lag_s": 0.0,
        "silence_s": 0.0,
        "cannot_take_over_reason": "this node is not of a pair: it was started without --arbiter",
        "copies": [],
        "diverged": [],
        "divergences": [],
        "processes": [],
        "warnings": [],
    }


def status(node: Node) -> Status:
    """Report of the node: values by ``node.core.control.STATUS_KEYS``."""
    engine, journal, gateway = node.engine, node.journal, node.gateway
    phases = engine.instruments()["phase"]
    tallies = node.outbox.streams.tallies
    state, why = node.standing()
    report: Status = {
        "pid": os.getpid(),
        "uptime_s": round(time.monotonic() - node.began_s, 1),
        "data": str(node.options.data),
        "journal_id": journal.journal_id.hex(),
        "durability": node.policy,
        "state": state,
        "state_reason": why,
        "diverged": int(node.pair is not None and bool(node.pair.divergences)),
        "warning": "; ".join(node.warnings()),
        "draining": int(node.draining),
        "room": "open" if node.scarcity.state == "fine" else f"disk {node.scarcity.state}",
        "checkpoint_seq": node.checkpointing.finished_seq,
        "clock_discipline": node.clock_watch.discipline.state,
        "clock_error_max_ns": node.clock_watch.discipline.error_max_ns,
        "clock_jumps": node.clock.jumps,
        "clock_ahead_ns": node.clock.ahead_ns,
        "clock_refused_ns": node.clock.refused_ns,
        "durable_lag_s": round(node.durable_lag_s, 3),
        "failed_logins": gateway.failed_logins,
        "refused_connections": gateway.refused_connections,
        "displaced_connections": gateway.displaced_connections,
        "lost_arrivals": node.lost_records,
        "slow_readers": gateway.slow_readers,
        "failed_checkpoints": node.checkpointing.failed,
        "lost_log_lines": node.log.lost,
        "seq": engine.seq,
        "durable_seq": journal.durable_seq,
        "published_seq": node.market.published_seq,
        "event_digest": engine.event_digest.hex(),
        "clock": iso_time(engine.now_ns) or "unset",
        "clock_ns": engine.now_ns,
        "speed_bump_ns": engine.speed_bump_ns,
        "held_rows": node.market.pipeline.held_rows,
        **room_status(engine, sum(1 for _ in node.outbox.streams.users())),
        "session": node.outbox.streams.session,
        **counts(node),
        "orders": gateway.orders,
        **dict.fromkeys((f"{name}_per_s" for name in ("commands", "orders", "events", "trades")), 0.0),
        **node.rates.per_s(),
        "connections": len(gateway.connections),
        "direct_connections": gateway.direct_connections,
        "logged_in": len(gateway.register),
        "bytes_in": gateway.bytes_in,
        "bytes_out": gateway.bytes_out,
        "journal_bytes": _size(node.journal.place.journal / "data.mdb"),
        "disk_free_bytes": shutil.disk_usage(node.options.data).free,
        "memory_rss_bytes": _resident_bytes(),
    }
    if node.clock_watch.discipline.state == "synchronized":  # the kernel gives 0 for a clock that is not synchronized
        report["clock_offset_ns"] = node.clock_watch.discipline.offset_ns
    report |= {f"phase_{phase.name.lower()}": int((phases == phase).sum()) for phase in Phase}
    refused = {reason: int(tallies[1, reason]) for reason in Reason}
    report |= {f"rejected_{reason.name.lower()}": count for reason, count in refused.items()}
    report |= {f"events_{kind.name.lower()}": int(tallies[0, kind]) for kind in EventKind}
    return report | node.stages.latencies()


def counts(node: Node) -> dict[str, int]:
    """Commands, events and trades since the start."""
    trades = int(node.outbox.streams.tallies[0, EventKind.TRADE])
    return {"commands": node.market.pipeline.commands, "events": node.market.pipeline.events, "trades": trades}


def _name(number: int) -> str:
    return unpack(number) if number else ""


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0


def _resident_bytes() -> int:
    """Resident memory of this process."""
    try:
        with open("/proc/self/statm", encoding="ascii") as file:
            return int(file.read().split()[1]) * resource.getpagesize()
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
