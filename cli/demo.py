"""`lockstep demo`: a node under simulated clients, a real SIGKILL, a restart, and the proof.

Node and clients are processes of their own (``cli.demo_node``, ``cli.demo_clients``). This process shows their reports,
kills the node, starts it again, and proves from the directory what clients may rely on (``cli.demo_proof``).
"""

import contextlib
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

from cli import errors, screen
from cli.demo_clients import Clients, Orders
from cli.demo_node import USERS, DemoNode, environment
from cli.demo_proof import Facts, judged, replayed, sentences
from cli.demo_view import LiveView, PlainView, View
from cli.errors import CheckFailed, WrongUse
from cli.warmup import ready
from load.traders import SYMBOLS
from replay.verify import VerifyReport, verify

#: Requests a second of all clients together; more would slow the answers on two cores.
RATE: Final = 3_000.0
_LOOK_S: Final = 0.1
#: Time for the clients to reconnect after the restart of the node.
_BACK_S: Final = 30.0


class SilentView(PlainView):
    """View that shows nothing, for --json."""

    def show(self, report: dict[str, Any], seconds: float) -> None:
        """Show nothing."""


def demo(seconds: float, seed: int, data: Path | None, *, as_json: bool) -> int:
    """Run the demo. Exit status 1 if a message to a client is missing or doubled, or a digest differs."""
    ready(gateway=True)
    with _directory(data) as directory:
        clients, restart = _trade(directory, seconds, seed, as_json)
        with screen.Bar("replaying from command 1") as bar:
            replay = replayed(directory, bar.to)
        facts = {"seed": seed, **judged(clients, restart, replay, _verified(directory, as_json))}
        if as_json:
            screen.print_json(facts)
        else:
            _summary(facts)
            if data is not None:
                screen.print_line(
                    f"\nthe data is in {data}; continue with `lockstep book {data} ACME`, `lockstep events {data}`"
                )
    return errors.FINE if facts["ok"] else errors.FOUND


@contextlib.contextmanager
def _directory(data: Path | None) -> Iterator[Path]:
    if data is not None:
        if data.exists() and (not data.is_dir() or any(data.iterdir())):
            raise WrongUse(f"{data} exists and is not empty; name a new directory, or leave out --data")
        yield data
        return
    parent = Path(tempfile.mkdtemp(prefix="lockstep-demo-"))
    try:
        yield parent / "node"
    finally:
        shutil.rmtree(parent, ignore_errors=True)


def _view(as_json: bool) -> View:
    if as_json:
        return SilentView()
    return LiveView() if screen.is_live(sys.stdout) else PlainView()


def _print_unless_json(as_json: bool, text: str) -> None:
    if not as_json:
        screen.print_line(text)
        screen.flush()


def _trade(directory: Path, seconds: float, seed: int, as_json: bool) -> tuple[Facts, Facts]:
    """Trade for half of the time, kill and restart the node, trade for the rest; the last reports of clients and
    restart.
    """
    ids_max = max(1 << 20, 2 * int(seconds * RATE))
    with contextlib.ExitStack() as stack:
        log, complaints = (stack.enter_context(tempfile.TemporaryFile("w+")) for _ in range(2))
        node = stack.enter_context(DemoNode(directory, ids_max, environment(), log))
        node.start()
        users = node.set_up()
        where = f"a node listens on 127.0.0.1 port {node.port}, its data in {directory}"
        _print_unless_json(
            as_json, f"{where};\n{len(SYMBOLS)} instruments, {len(USERS)} clients, {RATE:,.0f} requests a second"
        )
        orders = Orders(str(directory), node.port, users, RATE, seed)
        clients = stack.enter_context(Clients(orders, environment(), complaints))
        shown = _DemoRun(node, clients, as_json)
        shown.watch(seconds / 2, halfway=node.checkpoint)
        before = shown.status
        restart = _kill_and_start(node, clients, before, as_json)
        shown.watch(seconds / 2)
        if shown.status["session"] != before["session"]:
            raise CheckFailed("a day (UTC) ended meanwhile, and the users' streams with it; run the demo again")
        ended = clients.end()
        node.end()
        streams = "stopped the clients, who then asked for their streams from message 1; ended the node (SIGTERM)"
        _print_unless_json(as_json, f"\n{streams}")
        return ended, restart | {"trading_s": round(shown.seconds, 3)}


class _DemoRun:
    """Node and clients under watch. status: the newest of the node. seconds: time of watching so far."""

    def __init__(self, node: DemoNode, clients: Clients, as_json: bool) -> None:
        self._node, self._clients = node, clients
        self._as_json = as_json
        self.status: dict[str, Any] = {}
        self.seconds = 0.0
        self._view = _view(as_json)

    def watch(self, seconds: float, halfway: Callable[[], None] | None = None) -> None:
        """Watch for so many seconds from the clients' first report on; run the given work halfway."""
        self._clients.newest(_BACK_S)
        began_s = time.monotonic()
        with self._view as view:
            while (passed_s := time.monotonic() - began_s) < seconds:
                view.show({**self._look(), "clients": self._clients.newest()}, self.seconds + passed_s)
                if halfway is not None and passed_s > seconds / 2:
                    halfway()
                    halfway = None
                time.sleep(max(min(view.every_s, seconds - (time.monotonic() - began_s)), 0.0))
        self._look()
        self.seconds += time.monotonic() - began_s

    def _look(self) -> dict[str, Any]:
        report = self._node.report()
        self.status = report["status"]
        return report


def _kill_and_start(node: DemoNode, clients: Clients, before: dict[str, Any], as_json: bool) -> Facts:
    """Kill the node, start it again, and wait for its clients; gives the facts of the restart."""
    connections = clients.newest()["reconnects"] + len(USERS)
    node.kill()
    killed_s = time.monotonic()
    last = f"last report: command {screen.count(before['seq'])} applied, {screen.count(before['durable_seq'])} durable"
    _print_unless_json(as_json, f"\nkilled the node (SIGKILL); {last}")
    with screen.Bar("starting the node again"):
        recovered_seq = node.start()
    start_s = time.monotonic() - killed_s
    checkpoint_seq = before["checkpoint_seq"]
    tail = screen.counted(recovered_seq - checkpoint_seq, "command")
    start = f"checkpoint {screen.count(checkpoint_seq)} and {tail}" if checkpoint_seq else tail
    _print_unless_json(as_json, f"it listens again after {start_s:.2f} s, recovered from {start}")
    until_s = time.monotonic() + _BACK_S
    while (account := clients.newest(_LOOK_S))["reconnects"] < connections:
        if time.monotonic() > until_s:
            raise CheckFailed(f"{connections - account['reconnects']} clients did not reconnect within {_BACK_S:.0f} s")
    away_s, again = account["outage_s"], screen.counted(account["sent_again"], "request")
    _print_unless_json(
        as_json, f"its clients reconnected by themselves after {away_s:.1f} s; they sent {again} again\n"
    )
    return {
        "durable_seq_reported": before["durable_seq"],
        "published_seq_reported": before["published_seq"],
        "recovered_seq": recovered_seq,
        "checkpoint_seq": checkpoint_seq,
        "tail_commands": recovered_seq - checkpoint_seq,
        "recovery_s": round(start_s, 3),
    }


def _verified(directory: Path, as_json: bool) -> dict[str, VerifyReport]:
    reports = {}
    for engine in ("kernel", "reference"):
        with screen.Bar(f"verifying with the {engine} engine") as bar:
            report = reports[engine] = verify(directory, engine=engine, workers=1, progress=bar.to)
        rate = f"{screen.count(report.commands)} commands, {screen.count(round(report.commands_per_second))}/s"
        agrees = "every digest agrees" if report.ok else "DIFFERENT"
        _print_unless_json(as_json, f"verified with the {engine} engine ({rate}): {agrees}")
    return reports


def _summary(facts: Facts) -> None:
    screen.print_line("\nwhat was shown")
    for true, text in sentences(facts):
        screen.print_line(f"  {'yes' if true else 'NO '}  {text}")
    good = bool(facts["ok"])
    screen.verdict(good, "nothing was lost or doubled, and replay agrees" if good else "SOMETHING DIFFERS")
