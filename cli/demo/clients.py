"""The clients of `lockstep demo`: a process of their own, in which simulated users trade over TCP with a real node.

    python -m cli.demo.clients      reads one JSON object (``Orders``), then ``end DIRECTORY``, from standard input

Ten times a second it reports, as a JSON line on standard output, the counts and round trips of its users. The primary
may be killed at any time; the desks follow to the other address by themselves (``load.desk``). At ``end`` the users
wait for open requests and for the ends of their streams, which the node on that directory knows. Then they log out, and
request their whole streams again, from message 1. If standard input ends without that word, the parent has died, and
this process ends too.
"""

import hashlib
import json
import os
import select
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any, Final, NamedTuple

from cli.errors import CheckFailed
from cli.trading.simulate import note
from load.desk import Desk
from load.lines import LoadError, User
from load.simulation import SimulateOptions, Simulation, settle
from load.traders import SYMBOLS
from node.operator.link import Link, LinkError, RequestRefused

_TELL_S: Final = 0.1
_PERCENTILES_S: Final = 0.5
#: Time for the node to notice a logout.
_AGAIN_S: Final = 30.0
#: Time for published messages to arrive.
_SOON_S: Final = 5.0
#: Time for the clients to end.
_END_S: Final = 60.0


class Orders(NamedTuple):
    """Task of the process. ``addresses``: of both nodes, with a comma between them."""

    addresses: str
    users: Sequence[tuple[str, str]]
    rate: float
    seed: int


class Stream:
    """Stream of one user: number of messages, digest of their bytes, and True if each number came once."""

    def __init__(self) -> None:
        self.messages = 0
        self.in_order = True
        self._digest = hashlib.sha256()

    def __call__(self, seq: int, payload: bytes) -> None:
        """Add a message by its number."""
        self.in_order = self.in_order and seq == self.messages + 1
        self.messages += 1
        self._digest.update(len(payload).to_bytes(2, "big") + payload)

    def facts(self) -> dict[str, Any]:
        """Facts of the stream; two streams are equal if their facts are."""
        return {"messages": self.messages, "in_order": self.in_order, "sha256": self._digest.hexdigest()}


class Clients:
    """Process of the clients, for its parent. A context manager, which kills a process that still runs."""

    def __init__(self, orders: Orders, environment: dict[str, str], complaints: IO[str]) -> None:
        self._complaints = complaints
        self._child = subprocess.Popen(
            [sys.executable, "-m", "cli.demo.clients"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=complaints,
            text=True,
            env=environment,
            start_new_session=True,
        )
        self._rest = b""
        self._report: dict[str, Any] = {}
        self._send_line(json.dumps(orders._asdict()))

    def __enter__(self) -> "Clients":
        return self

    def __exit__(self, *_: object) -> None:
        self._child.kill()
        self._child.wait()
        for pipe in (self._child.stdin, self._child.stdout):
            if pipe is not None:
                try:
                    pipe.close()
                except BrokenPipeError:
                    continue

    def newest(self, wait_s: float = 0.0) -> dict[str, Any]:
        """The newest report; the one before if none comes within ``wait_s``. Raises CheckFailed."""
        pipe = self._child.stdout
        while pipe is not None and select.select([pipe], [], [], wait_s)[0]:
            data = os.read(pipe.fileno(), 1 << 16)
            if not data:
                self._child.wait()
                raise CheckFailed(
                    f"the clients ended by themselves: {last_line(self._complaints)}; run `lockstep doctor`"
                )
            *lines, self._rest = (self._rest + data).split(b"\n")
            if lines:
                wait_s = 0.0
                self._report = json.loads(lines[-1])
        if "failed" in self._report:
            raise CheckFailed(f"the clients gave up: {self._report['failed']}; run `lockstep doctor`")
        if not self._report:
            raise CheckFailed(f"the clients did nothing within {wait_s:.0f} s; run `lockstep doctor`")
        return self._report

    def end(self, data: Path) -> dict[str, Any]:
        """End the clients; gives their last report, with each user's stream as received and as resent.

        ``data``: directory of the primary.
        """
        self._send_line(f"end {data}")
        until_s = time.monotonic() + _END_S
        while time.monotonic() < until_s:
            report = self.newest(0.2)
            if "streams" in report:
                return report
        raise CheckFailed(f"the clients did not end within {_END_S:.0f} s; run `lockstep doctor`")

    def _send_line(self, line: str) -> None:
        try:
            if self._child.stdin is not None:
                self._child.stdin.write(line + "\n")
                self._child.stdin.flush()
        except BrokenPipeError:
            raise CheckFailed(f"the clients ended by themselves: {last_line(self._complaints)}") from None


def last_line(complaints: IO[str]) -> str:
    """Last line of a file that another process may still write; the file offset stays."""
    size = os.fstat(complaints.fileno()).st_size
    data = os.pread(complaints.fileno(), 4_096, max(size - 4_096, 0))
    return (data.decode("utf-8", "replace").strip().splitlines() or ["it wrote nothing"])[-1]


class _TradingProcess:
    """Desks of the users, and their reports."""

    def __init__(self, orders: Orders) -> None:
        self._orders = orders
        self._users = [User(*user) for user in orders.users]
        self._streams = {user.name: Stream() for user in self._users}
        desks = [
            Desk(orders.addresses, None, user, from_seq=1, on_message=self._streams[user.name]) for user in self._users
        ]
        options = SimulateOptions(orders.addresses, 0, self._users, SYMBOLS, 0.0, orders.rate, orders.seed)
        self._simulation = Simulation(options, note, desks)
        self._recent: dict[str, float] = {"p50_us": 0.0, "p99_us": 0.0}
        self._told_s = self._recent_s = time.monotonic()

    def run(self) -> None:
        """Trade until told to end."""
        self._simulation.open()
        while not (word := _word()):
            self._simulation.turn(trading=True)
            now_s = time.monotonic()
            if now_s - self._told_s >= _TELL_S:
                self._told_s = now_s
                self._report_now(now_s)
        if not word.startswith(b"end "):
            return
        settle(self._simulation)
        self._hear_out(Path(os.fsdecode(word.removeprefix(b"end ").removesuffix(b"\n"))))
        self._simulation.take_second()
        self._simulation.close()
        streams = {
            user.name: _asked_again(self._orders.addresses, user, self._streams[user.name].facts())
            for user in self._users
        }
        of_all = self._simulation.latencies.summary()
        _send_line(self._account() | {"streams": streams, "p50_us": of_all["p50_us"], "p99_us": of_all["p99_us"]})

    def _hear_out(self, data: Path) -> None:
        """Wait until each user has its stream to the end: executions of resting orders arrive unrequested."""
        with Link(data) as link:
            ends = {session["user"]: session["next_seq"] - 1 for session in link.ask("sessions")["sessions"]}
        until_s = time.monotonic() + _SOON_S
        while any(stream.messages < ends.get(name, 0) for name, stream in self._streams.items()):
            if time.monotonic() > until_s:
                return  # the judge sees what is missing
            self._simulation.turn(trading=False)

    def _report_now(self, now_s: float) -> None:
        if now_s - self._recent_s >= _PERCENTILES_S:
            self._recent_s = now_s
            recent = self._simulation.take_second()
            if recent.count:
                self._recent = {name: recent.summary()[name] for name in self._recent}
        _send_line(self._account() | self._recent)

    def _account(self) -> dict[str, Any]:
        simulation = self._simulation
        counts: Counter[str] = simulation.counts()
        names = ("orders", "answers", "trades", "rejects", "messages", "sent_again", "answered_again", "unexpected")
        return {name: counts[name] for name in names} | {
            "unanswered": simulation.unanswered,
            "connected": len(simulation.desks) - simulation.lost,
            "reconnects": simulation.reconnects,
            "outage_s": round(simulation.outage_s, 3),
        }


def _asked_again(addresses: str, user: User, came: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Facts of a user's stream: as it came, as it came again from message 1 up to there, and as it is now.

    It has one message more now: the answer to the login's marker, which says that all of it has come.
    """
    stream, again = Stream(), dict[str, Any]()

    def take(seq: int, payload: bytes) -> None:
        stream(seq, payload)
        if stream.messages == came["messages"]:
            again.update(stream.facts())

    until_s = time.monotonic() + _AGAIN_S
    desk = Desk(addresses, None, user, from_seq=1, on_message=take)
    desk.await_marker()
    while True:
        try:
            desk.login()
            break
        except LoadError:  # for a moment, until the node has noticed the logout
            if time.monotonic() > until_s:
                raise
            time.sleep(0.02)
    desk.logout()
    return {"came": came, "again": again, "now": stream.facts()}


def _word() -> bytes:
    """Input so far: a line, b"" if there is none yet, or b"gone" at its end."""
    if not select.select([0], [], [], 0)[0]:
        return b""
    return os.read(0, 8_192) or b"gone"


def _send_line(report: dict[str, Any]) -> None:
    os.write(1, json.dumps(report).encode("ascii") + b"\n")


def main() -> None:
    """One run of the clients."""
    with open(0, "rb", buffering=0, closefd=False) as words:  # unbuffered: select looks for the next input
        orders = Orders(**json.loads(words.readline()))
    try:
        _TradingProcess(orders).run()
    except (LoadError, LinkError, RequestRefused) as error:
        _send_line({"failed": str(error)})


if __name__ == "__main__":
    try:
        main()
    except (BrokenPipeError, KeyboardInterrupt):
        sys.exit(0)
