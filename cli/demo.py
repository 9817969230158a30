"""`lockstep demo`: a market under simulated traders, a real SIGKILL in the middle of it, a recovery, and the proof.

The market runs in a process of its own (``cli.demo_market``). This one shows what that one tells, kills it, and then
does what an operator would do: recover the directory, and verify it with both engines.
"""

import contextlib
import json
import os
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from cli import errors, screen
from cli.demo_market import COMMANDS_PER_S
from cli.demo_view import LiveView, PlainView, View
from cli.errors import Found, WrongUse
from cli.warmup import ready
from replay.rebuild import rebuild
from replay.recover import recover
from replay.verify import VerifyReport, verify


class Silent(PlainView):
    """No view: for --json."""

    def show(self, told: dict[str, Any], seconds: float) -> None:
        """Show nothing."""


def demo(seconds: float, seed: int, data: Path | None, *, as_json: bool) -> int:
    """Exit status 1 when anything that was reported durable is missing, or a digest differs."""
    ready()
    with _directory(data) as directory:
        _tell(as_json, f"a market of 3 instruments and 5 participants trades for {seconds:g} s in {directory}")
        told, trading_s = _trade(directory, seconds, seed, _view(as_json))
        _tell(
            as_json,
            f"\nkilled the market's process (SIGKILL); its last word was of command {screen.count(told['seq'])}",
        )
        facts = _recover(directory, told) | {"trading_seconds": round(trading_s, 3)}
        tail = screen.counted(facts["tail_commands"], "command")
        start = f"checkpoint {screen.count(facts['checkpoint_seq'])} and {tail}" if facts["checkpoint_seq"] else tail
        _tell(as_json, f"recovered in {facts['recovery_seconds']:.2f} s from {start}")
        _tell(as_json, _between(int(told["seq"]), int(facts["seq"])))
        reports = {}
        for engine in ("kernel", "reference"):
            with screen.Bar(f"verifying with the {engine} engine") as bar:
                reports[engine] = verify(directory, engine=engine, workers=1, progress=bar.to)
            _tell(as_json, _verified(engine, reports[engine]))
        verified = all(report.ok for report in reports.values())
        good = bool(verified and facts["nothing_lost"] and facts["restore_equals_replay"])
        if as_json:
            agrees = {engine: report.ok for engine, report in reports.items()}
            screen.say_json({"ok": good, "seed": seed} | facts | {"verified": agrees})
        else:
            _summary(facts, verified, good)
            if data is not None:
                screen.say(f"\nthe data is in {data}; go on with `lockstep book {data} ACME`, `lockstep events {data}`")
    return errors.FINE if good else errors.FOUND


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
        return Silent()
    if not sys.stdout.isatty():
        return PlainView()
    from rich.console import Console

    return LiveView(Console())


def _tell(as_json: bool, text: str) -> None:
    if not as_json:
        screen.say(text)
        screen.flush()


def _trade(directory: Path, seconds: float, seed: int, view: View) -> tuple[dict[str, Any], float]:
    """Run the market for some seconds and kill it. Returns its last account of itself, and how long it traded."""
    ids_max = max(1 << 20, 2 * int(seconds * COMMANDS_PER_S))
    command = [sys.executable, "-m", "cli.demo_market", str(directory), str(seed), str(ids_max)]
    path = os.pathsep.join([str(Path(__file__).parent.parent), *filter(None, [os.environ.get("PYTHONPATH")])])
    with tempfile.TemporaryFile("w+") as complaints:
        market = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=complaints, text=True, env={**os.environ, "PYTHONPATH": path}
        )
        try:
            told, trading_s = _watch(market, seconds, view)
        finally:
            market.send_signal(signal.SIGKILL)
            market.wait()
        if market.returncode != -signal.SIGKILL or not told:
            complaints.seek(0)
            last = (complaints.read().strip().splitlines() or ["it said nothing"])[-1]
            raise Found(f"the market's process ended by itself: {last}; run `lockstep doctor`")
        return told, trading_s


def _watch(market: "subprocess.Popen[str]", seconds: float, view: View) -> tuple[dict[str, Any], float]:
    told: dict[str, Any] = {}
    began_s = 0.0
    with view:
        for line in _lines(market.stdout, seconds):
            began_s = began_s or time.monotonic()
            told = json.loads(line)
            view.show(told, time.monotonic() - began_s)
    return told, time.monotonic() - began_s


def _lines(stream: IO[str] | None, seconds: float) -> Iterator[str]:
    """Lines of a stream until it ends, or for so many seconds after the first."""
    if stream is None:
        return
    until_s = float("inf")
    while time.monotonic() < until_s:
        if select.select([stream], [], [], 0.2)[0]:
            line = stream.readline()
            if not line.endswith("\n"):
                return
            until_s = min(until_s, time.monotonic() + seconds)
            yield line


def _recover(directory: Path, told: dict[str, Any]) -> dict[str, Any]:
    began_s = time.perf_counter()
    with screen.Bar("recovering") as bar:
        journal, engine, recovered = recover(directory, progress=bar.to)
    recovery_s = time.perf_counter() - began_s
    journal.close()
    engine.check()
    from_checkpoint: Any = engine
    with screen.Bar("replaying from command 1") as bar:
        from_beginning: Any = rebuild(directory, use_checkpoints=False, progress=bar.to).engine
    return {
        "seq": engine.seq,
        "durable_seq_reported": told["durable_seq"],
        "published_seq_reported": told["published_seq"],
        "nothing_lost": engine.seq >= max(told["durable_seq"], told["published_seq"]),
        "restore_equals_replay": from_checkpoint.state_digest() == from_beginning.state_digest(),
        "event_digest": engine.event_digest.hex(),
        "state_digest": from_checkpoint.state_digest().hex(),
        "events": told["events"],
        "trades": told["traded"],
        "recovery_seconds": round(recovery_s, 3),
        "checkpoint_seq": recovered.rebuilt.checkpoint_seq,
        "tail_commands": engine.seq - recovered.rebuilt.checkpoint_seq,
    }


def _between(told_seq: int, journaled_seq: int) -> str:
    """Why the journal does not end where the market was when it last told.

    >>> _between(1_000, 999)
    'the last 1 command was still on the way to the disk: nothing that it caused had been published'
    >>> _between(1_000, 1_024)
    'it had come to 1,024 since then, all of it on the disk'
    """
    if journaled_seq < told_seq:
        late = screen.counted(told_seq - journaled_seq, "command")
        were, they = ("was", "it") if told_seq - journaled_seq == 1 else ("were", "they")
        return f"the last {late} {were} still on the way to the disk: nothing that {they} caused had been published"
    if journaled_seq > told_seq:
        return f"it had come to {screen.count(journaled_seq)} since then, all of it on the disk"
    return "all of it had reached the disk"


def _verified(engine: str, report: VerifyReport) -> str:
    rate = f"{screen.count(report.commands)} commands, {screen.count(round(report.commands_per_second))}/s"
    return f"verified with the {engine} engine ({rate}): {'every digest agrees' if report.ok else 'DIFFERENT'}"


def _summary(facts: dict[str, Any], verified: bool, good: bool) -> None:
    screen.say("\nwhat was shown")
    commands, trades = screen.count(facts["seq"]), screen.count(facts["trades"])
    durable = screen.count(facts["durable_seq_reported"])
    for true, text in (
        (True, f"{commands} commands were journaled, {trades} trades published"),
        (facts["nothing_lost"], f"durable by its last word: {durable} commands; the journal holds {commands}"),
        (
            facts["restore_equals_replay"],
            f"checkpoint and tail give the state of a replay from 1, {facts['state_digest']}",
        ),
        (verified, "two independent engines give the recorded events, byte for byte"),
    ):
        screen.say(f"  {'yes' if true else 'NO '}  {text}")
    screen.verdict(good, "nothing was lost, and replay agrees" if good else "SOMETHING DIFFERS")
