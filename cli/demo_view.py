"""Screen of `lockstep demo`: book, tape and counters, live on a terminal, a line a second elsewhere.

It shows the node's reports through its operator socket (``status``, ``book``) and its clients' reports of what they
received over TCP (``clients``).
"""

import time
from types import TracebackType
from typing import Any, Protocol

from rich import box
from rich.columns import Columns
from rich.console import Group, RenderableType
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from cli import screen
from notation.words import price as shown_price


class View(Protocol):
    """View of the reports of a node and its clients while they trade."""

    every_s: float

    def __enter__(self) -> "View":
        """Begin."""
        ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End the view; its last screen stays."""
        ...

    def show(self, report: dict[str, Any], seconds: float) -> None:
        """Show the newest report, after so many seconds."""
        ...


class PlainView:
    """View of one line a second."""

    every_s = 0.5  # each request is work for the node

    def __init__(self) -> None:
        self._said_s = 0.0

    def __enter__(self) -> "PlainView":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return None

    def show(self, report: dict[str, Any], seconds: float) -> None:
        """Print a line if a second has passed since the last."""
        if seconds - self._said_s < 1.0:
            return
        self._said_s = seconds
        clients, status, book = report["clients"], report["status"], report["book"]
        prices = "/".join(_level_price(book[side][0]) if book[side] else "none" for side in ("bids", "offers"))
        screen.print_line(
            f"{seconds:4.1f} s  {screen.count(clients['answers'])} answers, p50 {_ms(clients['p50_us'])}, "
            f"p99 {_ms(clients['p99_us'])}, {screen.count(clients['trades'])} trades, {book['symbol']} {prices}, "
            f"disk {_behind(status)} behind, digest {status['event_digest'][:12]}"
        )
        screen.flush()


class LiveView:
    """View of the whole screen, five times a second."""

    every_s = 0.2

    def __init__(self) -> None:
        self._live = screen.live_view()
        self._before = (time.monotonic(), 0, 0)
        self._rates = (0.0, 0.0)

    def __enter__(self) -> "LiveView":
        """Begin the view below earlier output."""
        self._live = screen.live_view()
        self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._live.stop()

    def show(self, report: dict[str, Any], seconds: float) -> None:
        """Draw the newest report."""
        now_s = time.monotonic()
        then_s, answers, trades = self._before
        clients = report["clients"]
        if now_s - then_s >= 0.5:
            passed_s = now_s - then_s
            self._rates = ((clients["answers"] - answers) / passed_s, (clients["trades"] - trades) / passed_s)
            self._before = (now_s, clients["answers"], clients["trades"])
        self._live.update(self.picture(report, seconds), refresh=True)

    def picture(self, report: dict[str, Any], seconds: float) -> RenderableType:
        """Screen of a report after so many seconds."""
        book, status, clients = report["book"], report["status"], report["clients"]
        ladder = Panel(_ladder(book), title=f"{book['symbol']}: the book", border_style="cyan")
        tape = Panel(_tape(clients["tape"]), title="trades, as the clients heard", border_style="cyan")
        counters = Table.grid(padding=(0, 2))
        answers, trades = (screen.count(round(rate)) for rate in self._rates)
        for name, value in (
            ("answers", f"{screen.count(clients['answers'])}, {answers}/s (paced), {clients['unanswered']} under way"),
            (
                "round trip",
                f"p50 {_ms(clients['p50_us'])}, p99 {_ms(clients['p99_us'])}, over TCP and through the disk",
            ),
            ("trades", f"{screen.count(clients['trades'])}, {trades}/s"),
            ("sessions", f"{status['logged_in']} logged in"),
            ("journal", f"command {screen.count(status['seq'])}, disk {_behind(status)} behind, {_size(status)}"),
            ("digest", str(status["event_digest"])),
        ):
            counters.add_row(Text(name, style="bold"), value)
        title = f"node {status['pid']} and its clients, {seconds:.0f} s"
        return Group(Columns([ladder, tape]), Panel(counters, title=title, border_style="cyan"))


def _level_price(level: dict[str, Any]) -> str:
    """Price of a level in words; a level of market orders has none."""
    return "market" if level["price_e4"] is None else shown_price(level["price_e4"])


def _behind(status: dict[str, Any]) -> str:
    return screen.count(max(status["seq"] - status["durable_seq"], 0))


def _size(status: dict[str, Any]) -> str:
    return screen.size(status["journal_bytes"])


def _ms(us: float) -> str:
    """Microseconds in milliseconds.

    >>> _ms(1234.5), _ms(0.0)
    ('1.2 ms', '0.0 ms')
    """
    return f"{us / 1_000:.1f} ms"


def _ladder(ladder: dict[str, Any]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for name, style in (("orders", "dim"), ("qty", "green"), ("price", "bold"), ("qty", "red"), ("orders", "dim")):
        table.add_column(name, justify="right", style=style, min_width=6)
    offers, bids = ladder["offers"][:6], ladder["bids"][:6]
    for level in reversed(offers):
        table.add_row("", "", f"[red]{_level_price(level)}[/]", screen.count(level["qty"]), str(level["orders"]))
    for level in bids:
        table.add_row(str(level["orders"]), screen.count(level["qty"]), f"[green]{_level_price(level)}[/]", "", "")
    for _ in range(12 - len(offers) - len(bids)):
        table.add_row("", "", "", "", "")
    return table


def _tape(report: list[Any]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("symbol", min_width=6)
    table.add_column("qty", justify="right", min_width=6)
    table.add_column("price", justify="right", min_width=9)
    trades = report[::-1][:12]
    for symbol, price, qty in trades:
        table.add_row(symbol, screen.count(qty), price)
    for _ in range(12 - len(trades)):
        table.add_row("", "", "")
    return table
