"""A node for tests of its operator's side: a real engine, small, behind a real admin server; no sockets for traders."""

import asyncio
import gc
import io
import json
import os
import pty
import socket
import sys
import threading
import time
from collections import Counter
from collections.abc import Coroutine
from concurrent.futures import Future
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import uvloop
from numpy.typing import NDArray

from engine import Capacity, Engine, compile_kernels, is_compiled
from engine.names import Directory, unpack
from engine.records import EVENT, CommandKind, EventKind, Phase, Reason, concatenate
from node.core import stages
from node.core.control import OperationRefused, Status, SubmissionResult
from node.core.stages import StageClock
from node.operator import definitions
from node.operator.account import unpaired
from node.operator.admin import AdminServer
from node.operator.link import read_place
from node.operator.metrics import Metrics, metrics_server
from node.operator.operations import Operations
from node.programs.logs import Log
from node.programs.operator_socket import connect, open_directory
from notation.words import time as clock_text
from replay import accounts
from replay.ladder import book_object
from replay.scheduled import schedule_objects
from sequencer.stamp import LiveStamp

SMALL = Capacity(orders_max=256, ids_max=4_096, instruments_max=8, participants_max=16)
#: A market to operate, in scenario notation.
MARKET = """\
instrument XYZ tick=0.01 lot=1 reference=10.00
participant ALPHA
participant BETA
phase XYZ continuous
enter ALPHA a1 sell 100 XYZ @ 10.00
enter BETA b1 buy 30 XYZ @ 10.00
enter BETA b2 buy 70 XYZ @ 9.90
"""

_T = TypeVar("_T")


class FakeNode:
    """A ``NodeControl`` over an engine. ``users`` are known beside those whom USER rows define."""

    def __init__(self) -> None:
        if not is_compiled():
            compile_kernels()  # here, and not within the first request, which would time out
        self.engine = Engine(SMALL)
        self.stages = StageClock()
        self.users = {"TRADER"}
        self.user_rows: dict[str, Any] = {}
        self.rows: list[NDArray[Any]] = []
        self.disconnected: list[str] = []
        self.listed: list[dict[str, int | str]] = [session("TRADER", "ALPHA", 7), session("OTHER", "BETA", 1)]
        self.unhealthy_because: list[str] = []
        self.draining = self.ended = self.broken = self.clock_accepted = self.clock_refused = False
        #: Report of a pair, where a test gives one; None: a single node.
        self.pair: dict[str, Any] | None = None
        self.counts: Counter[str] = Counter()
        self._stamp = LiveStamp()
        self._began_s = time.monotonic()

    async def submit(self, rows: NDArray[Any]) -> SubmissionResult:
        if self.draining:
            raise OperationRefused("the node is draining and takes no commands")
        if self.broken:
            raise RuntimeError("a defect, with a secret in its text: hunter2")
        first_seq = self.engine.seq + 1
        began_ns = time.perf_counter_ns()
        blocks = [block.commands for block in self._stamp(rows)]
        events = concatenate([self.engine.apply(block) for block in blocks], EVENT)
        self.stages.add(stages.APPLY, (time.perf_counter_ns() - began_ns) // len(rows), len(rows))
        commands = concatenate(blocks)
        self.rows.append(commands)
        for row in commands[commands["kind"] == CommandKind.USER]:
            self.users.add(unpack(int(row["name"])))
            self.user_rows[unpack(int(row["name"]))] = row.copy()
        self.counts["orders"] += int((commands["kind"] == CommandKind.ENTER).sum())
        self.counts["trades"] += int((events["kind"] == EventKind.TRADE).sum())
        self.counts["events"] += len(events)
        for reason in events["reason"][events["kind"] == EventKind.REJECTED]:
            self.counts[f"rejected_{Reason(int(reason)).name.lower()}"] += 1
        await asyncio.sleep(0)
        return SubmissionResult(first_seq, commands, events)

    def directory(self) -> Directory:
        return self.engine.directory

    def market_time_ns(self) -> int:
        return time.time_ns()

    def has_user(self, user: str) -> bool:
        return user in self.users

    def definition(self, kind: CommandKind, name: str) -> str:
        if kind == CommandKind.USER:
            return definitions.of_user(self.user_rows[name]) if name in self.user_rows else ""
        of_kind = {CommandKind.INSTRUMENT: definitions.of_instrument, CommandKind.INDEX: definitions.of_index}
        return of_kind.get(kind, definitions.of_participant)(self.engine, name)

    def workings(self) -> dict[str, Any]:
        process = {"process": "core", "pid": 1234, "state": "running", "restarts": 0, "up_s": 10.0, "cpu_s": 2.5}
        process |= {"memory_rss_bytes": 123_000_000, "port": None, "reason": None, "figures": {}}
        other = process | {"process": "second", "pid": 1235, "restarts": 2, "port": 9101, "figures": {"orders": 5}}
        words = ("ring_bytes", "written_bytes", "applied_seq", "journaled_seq", "replicated_seq", "released_seq")
        return {
            "processes": [process, other],
            "agents": [
                {"process": "core", "agent": "beat", "turns": 40, "worked": 40, "busy_s": 0.25},
                {"process": "second", "agent": "orders", "turns": 9, "worked": 5, "busy_s": None},
            ],
            "tape": dict.fromkeys(words, 4_096),
            "readers": [{"reader": "tail", "pid": 77, "lag_bytes": 640}],
            "rings": [
                {"process": "second", "ring": "second", "size_rows": 64, "waiting_rows": 3}
                | {"messages": 900, "refused": 2, "waits": 1}
            ],
            "lines": [
                {"line": 0, "user": "UL", "in_waiting_bytes": 7, "out_waiting_bytes": 0, "ring_bytes": 65_536},
            ],
        }

    def status(self) -> Status:
        phases = Counter(Phase(int(row["phase"])).name.lower() for row in self.engine.instruments())
        return {
            "pid": 1234,
            "uptime_s": round(time.monotonic() - self._began_s, 3),
            "data": "/srv/node1",
            "journal_id": "0f" * 16,
            "durability": "fsync",
            "state": "draining" if self.draining else "open",
            "state_reason": "the node is draining" if self.draining else "",
            "warning": "",
            "diverged": 0,
            "draining": int(self.draining),
            "room": "open",
            "seq": self.engine.seq,
            "durable_seq": self.engine.seq,
            "event_digest": self.engine.event_digest.hex(),
            "clock": clock_text(self.engine.now_ns),
            "clock_ns": self.engine.now_ns,
            "clock_offset_ns": -1_500,
            "commands": self.engine.seq,
            "orders": self.counts["orders"],
            "events": self.counts["events"],
            "trades": self.counts["trades"],
            "orders_per_s": 12.5,
            "trades_per_s": 2.0,
            "logged_in": len(self.listed),
            "bytes_in": 4_900,
            "memory_rss_bytes": 123_000_000,
            **{f"phase_{phase}": count for phase, count in phases.items()},
            **{key: count for key, count in self.counts.items() if key.startswith("rejected_")},
            **self.stages.latencies(),
        }

    def unhealthy(self) -> list[str]:
        return self.unhealthy_because

    def unready(self) -> list[str]:
        return ["the node is draining"] if self.draining else []

    def warnings(self) -> list[str]:
        return ["the clock is refused"] if self.clock_refused else []

    def sessions(self) -> list[dict[str, int | str]]:
        return self.listed

    def book(self, symbol: str, depth: int) -> dict[str, Any]:
        return book_object(self.engine, self.engine.directory.symbols.index(symbol) + 1, depth)

    def schedules(self, first: int, most: int) -> list[dict[str, Any]]:
        return schedule_objects(self.engine, first, most)

    def account(self, participant: str) -> tuple[dict[str, Any], list[dict[str, Any]]]:
        return accounts.account(self.engine, participant)

    async def checkpoint(self) -> dict[str, Any]:
        if self.draining:
            raise OperationRefused("a checkpoint is being written already")
        return {"seq": self.engine.seq, "path": "checkpoints/1", "size_bytes": np.int64(70_000), "elapsed_s": 0.01}

    async def roll(self) -> dict[str, Any]:
        place = {"slice": 2, "seq": self.engine.seq, "path": "slices/000002"}
        return place | {"size_bytes": np.int64(70_000), "elapsed_s": 0.01}

    def accept_clock(self) -> None:
        self.clock_accepted = True

    def pair_status(self) -> dict[str, Any]:
        if self.pair is not None:
            return self.pair
        return unpaired("open", "", "fsync", self.engine.seq, self.engine.event_digest.hex(), self.engine.seq)

    async def survey_promotion(self) -> dict[str, Any]:
        raise OperationRefused("this node is not of a pair; start it with --arbiter")

    async def promote(self, reason: str) -> dict[str, Any]:
        raise OperationRefused(f"this node is not of a pair ({reason})")

    async def switch_over(self) -> str:
        raise OperationRefused("this node is not of a pair; start it with --arbiter")

    async def drain(self) -> None:
        self.draining = True

    async def shutdown(self) -> None:
        self.ended = True

    def disconnect(self, user: str, why: str) -> bool:
        self.disconnected.append(f"{user}: {why}")
        return any(each["user"] == user for each in self.listed)


COPY = {"name": "B", "role": "standby", "sent_seq": 9, "received_seq": 9, "journaled_seq": 9, "agreed_seq": 9}
COPY |= {"lag_commands": 0, "in_sync": True}


def paired(**changes: Any) -> dict[str, Any]:
    """Report of a primary with a standby in sync."""
    values = unpaired("reigning", "", "both", 9, "ab" * 16, 9)
    values |= {"node": "A", "role": "primary", "epoch": 3, "primary": "A", "in_sync": ["A", "B"], "copies": [COPY]}
    return values | changes


def paired_standby(**changes: Any) -> dict[str, Any]:
    """Report of a standby that could take over."""
    values = paired(node="B", role="standby", state="following", copies=[], can_take_over=1, lag_s=0.03, silence_s=0.03)
    return values | {"cannot_take_over_reason": ""} | changes


def session(user: str, participant: str, next_seq: int) -> dict[str, int | str]:
    """A connection as ``sessions`` tells it."""
    return {
        "user": user,
        "participant": participant,
        "address": "127.0.0.1:40000",
        "state": "open",
        "next_seq": next_seq,
        "lag_bytes": 0,
        "since": "2026-03-02T14:30:00.000000001Z",
    }


class Operated:
    """A fake node with its admin and metrics servers, on an event loop in a thread of its own."""

    def __init__(self, directory: Path, *, tcp: bool = True, **bounds: float) -> None:
        self.directory = directory
        self.node = FakeNode()
        self._said = io.StringIO()
        self._log = log = Log(self._said)
        metrics = Metrics(self.node)
        self.admin = AdminServer(
            self.node,
            Operations(self.node, log, metrics=metrics.text, password_cost=4),
            directory,
            log,
            port=0 if tcp else None,
            login_s=bounds.get("login_s", 5.0),
            write_s=bounds.get("write_s", 5.0),
        )
        self.monitor = metrics_server(self.node, metrics)
        self._loop = uvloop.new_event_loop()
        self._loop.set_exception_handler(lambda _, context: self.unforeseen.append(context))
        #: Errors that nobody caught on the loop, which would end a node.
        self.unforeseen: list[dict[str, Any]] = []
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)

    def __enter__(self) -> "Operated":
        self._thread.start()
        self.run(self.admin.start())
        self.run(self.monitor.start())
        return self

    def __exit__(self, *_: object) -> None:
        self.run(self.monitor.close())
        self.run(self.admin.close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()
        gc.collect()  # an error that nobody asked a task for is told when the task goes
        assert self.unforeseen == []

    def said(self) -> str:
        """Log of the node."""
        assert self._log.flush(10)
        return self._said.getvalue()

    def run(self, work: Coroutine[Any, Any, _T]) -> _T:
        """Do something on the node's loop."""
        done: Future[_T] = asyncio.run_coroutine_threadsafe(work, self._loop)
        return done.result(20)

    def peer(self, *, token: bool = True) -> "Peer":
        """A TCP connection to the admin server; with its token shown and answered, unless told otherwise."""
        peer = Peer(socket.create_connection(("127.0.0.1", self.admin.port or 0), timeout=120))
        if token:
            assert peer.ask({"token": read_place(self.directory).token})["ok"] is True
        return peer

    def local(self) -> "Peer":
        """A connection to the operator's socket, before its greeting is read."""
        fd = open_directory(self.directory)
        try:
            return Peer(connect(fd, 10))
        finally:
            os.close(fd)


class Peer:
    """A raw connection that speaks lines."""

    def __init__(self, connected: socket.socket) -> None:
        self.socket = connected
        self._lines = self.socket.makefile("rb")

    def __enter__(self) -> "Peer":
        return self

    def __exit__(self, *_: object) -> None:
        self._lines.close()
        self.socket.close()

    def send(self, raw: bytes) -> None:
        """Send bytes."""
        self.socket.sendall(raw)

    def answer(self) -> dict[str, Any] | None:
        """The next answer; None at the end of the connection."""
        line = self._lines.readline()
        if not line:
            return None
        assert len(line) <= 64 * 1024
        told = json.loads(line)
        assert isinstance(told, dict)
        return told

    def ask(self, request: object) -> dict[str, Any]:
        """The answer to a request."""
        self.send(json.dumps(request).encode() + b"\n")
        told = self.answer()
        assert told is not None
        return told

    def error(self, raw: bytes) -> str:
        """The sentence with which bytes are refused."""
        if raw:
            self.send(raw)
        told = self.answer()
        assert told is not None
        assert told["ok"] is False
        sentence: str = told["error"]
        assert sentence.endswith(".")
        assert sentence.isprintable()
        assert len(sentence) < 900
        return sentence


def on_terminal(words: list[str], answers: list[tuple[bytes, bytes]]) -> tuple[int, bytes]:
    """Run a command line on a terminal, giving each answer when its prompt is seen: (exit status, all that is seen)."""
    pid, terminal = pty.fork()
    if pid == 0:
        os.environ.update(TERM="xterm", COLUMNS="80", LINES="24")
        os.execv(sys.executable, [sys.executable, "-m", "cli.main", *words])
    seen = b""
    waiting = list(answers)
    deadline_s = time.monotonic() + 30
    while time.monotonic() < deadline_s:
        try:
            piece = os.read(terminal, 4_096)
        except OSError:
            break
        if not piece:
            break
        seen += piece
        if waiting and waiting[0][0] in seen:
            os.write(terminal, waiting.pop(0)[1] + b"\n")
    os.close(terminal)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), seen
