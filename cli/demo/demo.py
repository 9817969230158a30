"""`lockstep demo`: a pair of nodes under traders: auctions, breaker, kill, takeover, a flipped bit, and the proof.

Witness, nodes and traders are processes of their own (``cli.demo.market``, ``cli.demo.clients``). This process shows
their reports, kills the primary, starts it again as standby, has one bit of its memory flipped, and proves from the
directories what traders may rely on (``cli.demo.proof``).
"""

import contextlib
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from cli import errors, screen
from cli.demo.clients import Clients, Orders
from cli.demo.market import USERS, DemoPair, same_blocks
from cli.demo.nodes import environment
from cli.demo.proof import Facts, judged, replayed, sentences
from cli.demo.view import LiveView, Look, PlainView, SilentView, View
from cli.errors import CheckFailed, WrongUse
from cli.warmup import ready
from directory.divergence import read_mark
from load.traders import SYMBOLS
from notation.words import price, price_e4
from replay.verify import VerifyReport, verify

#: Requests a second of all traders together; more would slow the answers on two cores.
RATE: Final = 2_000.0
_LOOK_S: Final = 0.005
#: Time of a call, and of a halt, in seconds.
_CALL_S: Final = 0.6
_HALT_S: Final = 0.4
#: Time for the traders to begin, and to find the new primary.
_BACK_S: Final = 60.0


def demo(seconds: float, seed: int, data: Path | None, *, as_json: bool) -> int:
    """Run the demo. Exit status 1 if a message to a trader is missing or doubled, or a digest differs unseen."""
    ready(gateway=True)
    with _directory(data) as folder:
        clients, story, survivor = _trade(folder, seconds, seed, as_json)
        other = folder / ("a" if survivor.name == "b" else "b")
        with screen.Bar("replaying from command 1") as bar:
            replay = replayed(survivor, bar.to)
            same = same_blocks(survivor, other)
        facts = {"seed": seed, **judged(clients, story, replay, same, _verified(survivor, as_json))}
        if as_json:
            screen.print_json(facts)
        else:
            _summary(facts)
            if data is not None:
                screen.print_line(
                    f"\nthe data is in {data}; continue with `lockstep book {survivor} ACME`, "
                    f"`lockstep events {survivor}`"
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
        yield parent
    finally:
        shutil.rmtree(parent, ignore_errors=True)


def _trade(folder: Path, seconds: float, seed: int, as_json: bool) -> tuple[Facts, Facts, Path]:
    """Tell the story; the last report of the traders, facts of the story, and the directory of the last primary."""
    ids_max = max(1 << 20, 2 * int(seconds * RATE))
    with contextlib.ExitStack() as stack:
        complaints = stack.enter_context(tempfile.TemporaryFile("w+"))
        with screen.Bar("starting a witness and two nodes"):
            pair = stack.enter_context(DemoPair(folder, ids_max))
            users = pair.start()
        clients = stack.enter_context(Clients(Orders(pair.addresses, users, RATE, seed), environment(), complaints))
        view: View = SilentView() if as_json else LiveView() if screen.is_live(sys.stdout) else PlainView()
        story = _Story(pair, clients, view)
        with view:
            story.begin()
            story.watch(seconds / 6, halfway=pair.primary.checkpoint)
            story.halt()
            story.watch(seconds / 6)
            story.kill()
            story.bring_back()
            story.watch(seconds / 3)
            story.flip()
            story.watch(seconds / 3)
            story.end()
        return story.ended, story.facts, pair.primary.data


class _Story:
    """The steps of the demo. ``facts``: for the proof. ``ended``: last report of the traders."""

    def __init__(self, pair: DemoPair, clients: Clients, view: View) -> None:
        self._pair, self._clients, self._view = pair, clients, view
        self._began_s = time.monotonic()
        self._found = ""
        self.facts: Facts = {}
        self.ended: Facts = {}

    # Steps.

    def begin(self) -> None:
        """Wait for the traders' first orders."""
        pair = self._pair
        self._view.say(
            f"a witness on port {pair.witness_port} made node A primary; B began empty, fetched A's journal and follows"
        )
        self._view.say(f"{len(USERS)} traders send {RATE:,.0f} requests a second in {len(SYMBOLS)} instruments")
        self._clients.newest(_BACK_S)
        self._began_s = time.monotonic()
        self._uncross(tuple(name for name, _ in SYMBOLS), "the opening auction")

    def halt(self) -> None:
        """Let an order run away until a breaker halts its instrument, which then trades again by an auction."""
        ran = self._pair.run_away()
        name = ran.symbol
        self.facts["ran_away"] = ran._asdict()
        self._view.warn(
            f"an order ran away and bought {_amount(ran.qty, ran.far_e4)} at last, from {price(ran.before_e4)} on; "
            f"the volatility breaker halted {name}: cancels only"
        )
        self.watch(_HALT_S)
        self._pair.command(f"resume {name}")
        self._uncross((name,), "the auction after the halt")

    def _uncross(self, names: tuple[str, ...], which: str) -> None:
        """Watch a call until it would trade in each instrument, then have it uncross."""
        indicative: dict[str, Facts] = {}

        def would_trade() -> bool:
            for name in names:
                book = self._pair.primary.ask("books", symbol=name, depth=1)["book"]
                indicative[name] = book["indicative"] or {}
            return all(each.get("price_e4") for each in indicative.values())

        self.watch(_CALL_S)
        self._watch_until(would_trade, f"{which} found no price")
        told = ", ".join(f"{name} {_amount(each['paired_qty'], each['price_e4'])}" for name, each in indicative.items())
        self._view.say(f"{which} would trade {told}")
        done = [_traded(name, self._pair.command(f"phase {name} continuous")) for name in names]
        self.facts["auctions"] = [*self.facts.get("auctions", []), *done]
        count = screen.counted(sum(each["trades"] for each in done), "trade")
        told = ", ".join(f"{each['symbol']} {_amount(each['qty'], each['price_e4'])}" for each in done if each["qty"])
        self._view.say(f"it traded {told}, in {count}; continuous trading begins")

    def kill(self) -> None:
        """Kill the primary, and wait until the traders trade at the new one."""
        pair, old = self._pair, self._pair.primary
        before, connections = old.status(), self._clients.newest()["reconnects"] + len(USERS)
        last = f"{screen.count(before['seq'])} commands applied, {screen.count(before['published_seq'])} answered"
        self._view.warn(f"killed {old.letter} (SIGKILL); its last report: {last}")
        takeover_s = pair.kill_primary()
        new = pair.primary.pair()
        self._watch_until(lambda: self._clients.newest()["reconnects"] >= connections, "the traders did not come back")
        account = self._clients.newest()
        again = screen.counted(account["sent_again"], "request")
        self._view.say(
            f"{pair.primary.letter} took over after {_ms(takeover_s)}, in epoch {new['epoch']}; "
            f"the traders had no primary for {_ms(account['outage_s'])}, and sent {again} again"
        )
        self.facts |= {
            "durable_seq_reported": before["durable_seq"],
            "published_seq_reported": before["published_seq"],
            "session": before["session"],
            "taken_over_seq": new["seq"],
            "epoch": new["epoch"],
            "takeover_s": round(takeover_s, 3),
        }

    def bring_back(self) -> None:
        """Start the old primary again, and watch until it is a standby in sync."""
        pair, began_s = self._pair, time.monotonic()
        pair.copy.start()
        self._watch_until(pair.copy.has_begun, f"node {pair.copy.letter} did not start")
        self._watch_until(pair.is_in_sync, f"node {pair.copy.letter} did not come in sync")
        back_s = time.monotonic() - began_s
        aside = pair.set_aside(pair.copy)
        extra = f"{screen.counted(aside, 'command')} that nobody else had set aside, " if aside else ""
        self._view.say(f"{pair.copy.letter} is back as standby after {back_s:.1f} s: {extra}in sync, could take over")
        self.facts |= {"back_s": round(back_s, 3), "set_aside": aside}

    def flip(self) -> None:
        """Flip one bit of the standby's memory, and watch until the difference is found."""
        pair, began_s = self._pair, time.monotonic()
        letter, flipped = pair.copy.letter, pair.copy.flip()
        if not flipped:
            raise CheckFailed("nothing has traded, so there is no position to flip a bit of; give more --seconds")
        wrong = screen.counted(abs(flipped["flipped_qty"] - flipped["position_qty"]), "share")
        what = f"{flipped['participant']}'s position in {flipped['symbol']} is wrong by {wrong}"
        self._view.warn(f"flipped one bit in the memory of {letter}, which no event shows: {what}")
        self._watch_until(lambda: read_mark(pair.copy.data) is not None, "the flipped bit was not found")
        found_s, mark = time.monotonic() - began_s, read_mark(pair.copy.data)
        assert mark is not None, "a mark stays"
        last_seq = screen.count(mark.last_seq)
        block = f"block {screen.count(mark.first_seq)} to {last_seq}, first command {screen.count(mark.first_seq)}"
        place = block if mark.part == "events" else f"state after command {last_seq}"
        self._found = f"{letter} differs: part {mark.part}, {place}"
        self._view.warn(f"found after {_ms(found_s)}: part {mark.part}, {place}")
        self._view.say(f"{letter} stopped, cannot take over, and wrote {mark.bundle}; {pair.primary.letter} goes on")
        self.facts |= {
            "flipped_seq": flipped["seq"],
            "flipped_part": flipped["part"],
            "divergence": {
                "first_seq": mark.first_seq,
                "last_seq": mark.last_seq,
                "part": mark.part,
                "found_s": round(found_s, 3),
                "can_take_over": bool(pair.copy.pair()["can_take_over"]),
            },
        }

    def end(self) -> None:
        """End traders and nodes in order."""
        if self._pair.primary.status()["session"] != self.facts.pop("session"):
            raise CheckFailed("a day (UTC) ended meanwhile, and the users' streams with it; run the demo again")
        self.facts["trading_s"] = round(time.monotonic() - self._began_s, 3)
        self.ended = self._clients.end(self._pair.primary.data)
        self._pair.end()
        self._view.say("the traders asked for their streams from message 1 and left; both nodes ended (SIGTERM)")

    # Watching.

    def watch(self, seconds: float, halfway: Callable[[], object] | None = None) -> None:
        """Watch for so many seconds; run the given work halfway."""
        began_s = time.monotonic()
        while (passed_s := time.monotonic() - began_s) < seconds:
            self._show()
            if halfway is not None and passed_s > seconds / 2:
                halfway()
                halfway = None
            time.sleep(max(min(self._view.every_s, seconds - (time.monotonic() - began_s)), 0.0))

    def _watch_until(self, true: Callable[[], bool], why: str) -> None:
        """Watch until something holds. Raises CheckFailed."""
        until_s, shown_s = time.monotonic() + _BACK_S, 0.0
        while not true():
            now_s = time.monotonic()
            if now_s > until_s:
                raise CheckFailed(f"{why} within {_BACK_S:.0f} s; run `lockstep doctor`")
            if now_s - shown_s > self._view.every_s:
                shown_s = now_s
                self._show()
            time.sleep(_LOOK_S)

    def _show(self) -> None:
        pair = self._pair
        book = pair.primary.ask("books", symbol=SYMBOLS[0][0], depth=1)["book"]
        passed_s = time.monotonic() - self._began_s
        reports = pair.a.report(), pair.b.report()
        self._view.show(Look(reports, pair.digests(), self._clients.newest(), book, passed_s, self._found))


def _traded(symbol: str, events: list[str]) -> Facts:
    """Trades of an uncross, from the lines of its events.

    >>> _traded("XYZ", ["> phase XYZ continuous", "> trade XYZ 40 @ 10.00 buy=a1 sell=b1"])["qty"]
    40
    """
    trades = [event.split()[1:] for event in events if event.startswith("> trade ")]
    prices = {price_e4(words[4], "the price") for words in trades}
    return {
        "symbol": symbol,
        "price_e4": min(prices, default=None),
        "prices": len(prices),
        "qty": sum(int(words[2]) for words in trades),
        "trades": len(trades),
    }


def _amount(qty: int, price_e4: int) -> str:
    """Quantity at a price.

    >>> _amount(1200, 100500)
    '1,200 @ 10.05'
    """
    return f"{screen.count(qty)} @ {price(price_e4)}"


def _ms(seconds: float) -> str:
    """Seconds in milliseconds.

    >>> _ms(0.0689)
    '69 ms'
    """
    return f"{seconds * 1_000:,.0f} ms"


def _verified(directory: Path, as_json: bool) -> dict[str, VerifyReport]:
    reports = {}
    for engine in ("kernel", "reference"):
        with screen.Bar(f"verifying with the {engine} engine") as bar:
            report = reports[engine] = verify(directory, engine=engine, workers=1, progress=bar.to)
        rate = f"{screen.count(report.commands)} commands, {screen.count(round(report.commands_per_second))}/s"
        agrees = "every digest agrees" if report.ok else "DIFFERENT"
        if not as_json:
            screen.print_line(screen.fitted(f"verified with the {engine} engine ({rate}): {agrees}", sys.stdout, "  "))
            screen.flush()
    return reports


def _summary(facts: Facts) -> None:
    screen.print_line("what was shown")
    for true, text in sentences(facts):
        screen.print_line(screen.fitted(f"  {'yes' if true else 'NO '}  {text}", sys.stdout, " " * 7))
    good = bool(facts["ok"])
    verdict = "nothing was lost or doubled, and the flipped bit was found" if good else "SOMETHING DIFFERS"
    screen.verdict(good, verdict)
