"""Report of a node about what works in it: processes, agents, the tape and its readers, rings, lines of local clients.

Values are read where they are, at each request: nothing here is on the path of an order. Text is for people and labels
of metrics; numbers carry their unit.
"""

import os
import time
from collections.abc import Iterator, Mapping
from typing import Any, Final, Protocol

from gateway.server import Gateway
from node.core.control import PairControl
from node.core.market_tape import MarketTape
from node.gateways.door import GatewayDoor
from node.programs.process_names import CORE
from node.programs.report import agent_values
from node.programs.supervisor import Supervisor, process_figures
from tape.agents import Measured
from tape.lines import MarketLines

Row = dict[str, Any]


class Node(Protocol):
    """The parts of a node that the report reads."""

    gateway: Gateway
    supervisor: Supervisor
    tape: MarketTape | None
    lines: MarketLines | None
    gateways: GatewayDoor | None
    pair: PairControl | None
    agents: tuple[Measured, ...]
    began_s: float

    def children(self) -> Mapping[str, int]:
        """Numbers of the processes that have another owner than the supervisor, by name."""
        ...


def workings(node: Node) -> dict[str, Any]:
    """Report of a node: lists by ``node.core.control.WORKINGS_KEYS``, and the tape, None where there is none."""
    return {
        "processes": list(_processes(node)),
        "agents": list(_agents(node)),
        "tape": None if node.tape is None else node.tape.status(),
        "readers": [] if node.tape is None else list(_readers(node, node.tape)),
        "rings": list(_rings(node)),
        "lines": [] if node.lines is None else list(_lines(node.lines, node.gateway)),
    }


def _processes(node: Node) -> Iterator[Row]:
    now_s = time.monotonic()
    yield _process(CORE, os.getpid(), "running", 0, now_s - node.began_s, "", {})
    for each in node.supervisor:
        up_s = now_s - each.since_s if each.pid else 0.0
        why = each.why if each.is_failing else ""
        yield _process(each.program.name, each.pid, each.state.value, each.restarts, up_s, why, each.report)
    for name, pid in node.children().items():
        yield _process(name, pid, "running", 0, 0.0, "", {})


def _readers(node: Node, tape: MarketTape) -> Iterator[Row]:
    """Readers of the tape. It has room for 8 characters of a name: a process of the node has its whole one."""
    names = {each.pid: each.program.name for each in node.supervisor if each.pid}
    for reader in tape.readers():
        name = names.get(reader["pid"], "")
        yield {**reader, "reader": name} if name.startswith(reader["reader"]) else reader


def process_states(node: Node) -> list[Row]:
    """Processes of a node in a few values each, for the report of a pair."""
    keys = ("process", "pid", "state", "restarts", "reason")
    named = {each.program.name for each in node.supervisor if each.program.named}
    return [{key: each[key] for key in keys} | {"named": each["process"] in named} for each in _processes(node)]


def _process(name: str, pid: int, state: str, restarts: int, up_s: float, why: str, report: Mapping[str, Any]) -> Row:
    figures = process_figures(pid) if pid else {}
    listening = report.get("listening")
    port = listening.get("port") if isinstance(listening, dict) else None
    return {
        "process": name,
        "pid": pid or None,
        "state": state,
        "restarts": restarts,
        "up_s": round(up_s, 1),
        "cpu_s": round(figures.get("cpu_s", 0.0), 2),
        "memory_rss_bytes": int(figures.get("memory_rss_bytes", 0)),
        "port": port if type(port) is int else None,
        "reason": why or None,
        "figures": _numbers(report.get("figures")),
    }


def _numbers(found: object) -> dict[str, float]:
    """Figures that a program reported, so far as they are numbers."""
    if not isinstance(found, dict):
        return {}
    numbers = {name: value for name, value in found.items() if isinstance(value, int | float)}
    return dict(list(numbers.items())[:_REPORTED_MAX])


def _agents(node: Node) -> Iterator[Row]:
    gateway = node.gateway
    yield {"process": CORE, "agent": "orders", "turns": gateway.turns, "worked": gateway.orders, "busy_s": None}
    yield from ({"process": CORE, **each} for each in agent_values(node.agents))
    for each in node.supervisor:
        yield from _rows(each.report, "agents", each.program.name)


#: Rows of one kind, and figures, of one program at most: an answer to the operator has a bound.
_REPORTED_MAX: Final = 32
#: Keys of what a program reports, with their types; the first is the name.
_REPORTED: Final[dict[str, dict[str, type | tuple[type, ...]]]] = {
    "agents": {"agent": str, "turns": int, "worked": int, "busy_s": (int, float, type(None))},
    "rings": {"ring": str, "size_rows": int, "waiting_rows": int, "waits": int},
}


def _rows(report: Mapping[str, Any], key: str, process: str) -> Iterator[Row]:
    """Rows that a program reported, so far as they have the form: one for each name, and a bounded number."""
    wanted, (name, *_) = _REPORTED[key], _REPORTED[key]
    found, rows = report.get(key), dict[str, Row]()
    for row in found[:_REPORTED_MAX] if isinstance(found, list) else []:
        if isinstance(row, dict) and all(isinstance(row.get(each), kind) for each, kind in wanted.items()):
            rows[row[name]] = {"process": process, **{each: row[each] for each in wanted}}
    yield from rows.values()


def _rings(node: Node) -> Iterator[Row]:
    """Rings of gateway processes as the core has them, with the times that each was full, as its gateway reports."""
    told = [ring for each in node.supervisor for ring in _rows(each.report, "rings", each.program.name)]
    waits = {(ring["process"], ring["ring"]): ring["waits"] for ring in told}
    for each in [] if node.gateways is None else node.gateways.status():
        name = each["gateway"]
        yield {
            "process": name,
            "ring": name,
            "size_rows": each["ring_rows"],
            "waiting_rows": each["ring_waiting"],
            "messages": each["messages"],
            "refused": each["refused"],
            "waits": waits.get((name, name)),
        }


def _lines(lines: MarketLines, gateway: Gateway) -> Iterator[Row]:
    users = gateway.local_users()
    for standing in lines.standings():
        yield {
            "line": standing.line,
            "user": users.get(standing.line) or None,
            "in_waiting_bytes": standing.in_waiting_bytes,
            "out_waiting_bytes": standing.out_waiting_bytes,
            "ring_bytes": standing.ring_bytes,
        }
