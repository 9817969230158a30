"""What `lockstep demo` looks like: a live ladder with tape and counters on a terminal, a line a second elsewhere."""

import time
from types import TracebackType
from typing import Any, Protocol

from rich import box
from rich.columns import Columns
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from cli import screen


class View(Protocol):
    """Something that shows the market's own account of itself while it trades."""

    def __enter__(self) -> "View":
        """Begin."""
        ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End; what was shown last stays."""
        ...

    def show(self, told: dict[str, Any], seconds: float) -> None:
        """The newest account, after so many seconds."""
        ...


class PlainView:
    """One line a second."""

    def __init__(self) -> None:
        self._said_s = -1.0

    def __enter__(self) -> "PlainView":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return None

    def show(self, told: dict[str, Any], seconds: float) -> None:
        """A line, when a second has passed since the last."""
        if seconds - self._said_s < 1.0:
            return
        self._said_s = seconds
        bid = f"{told['bids'][0][1]} @ {told['bids'][0][0]}" if told["bids"] else "none"
        offer = f"{told['offers'][0][1]} @ {told['offers'][0][0]}" if told["offers"] else "none"
        counts = f"{screen.count(told['seq'])} commands, {screen.count(told['traded'])} trades"
        behind = f"disk {told['seq'] - told['durable_seq']} behind, digest {told['digest'][:12]}"
        screen.say(f"{seconds:4.1f} s  {counts}, {told['symbol']} bid {bid}, offer {offer}, {behind}")


class LiveView:
    """The whole screen, ten times a second."""

    def __init__(self, console: Console) -> None:
        self._live = Live(console=console, refresh_per_second=10, transient=False)
        self._before = (time.monotonic(), 0)
        self._rate = 0.0

    def __enter__(self) -> "LiveView":
        self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._live.stop()

    def show(self, told: dict[str, Any], seconds: float) -> None:
        """Draw the newest account."""
        now_s = time.monotonic()
        then_s, seq = self._before
        if now_s - then_s >= 0.5:
            self._rate = (told["seq"] - seq) / (now_s - then_s)
            self._before = (now_s, told["seq"])
        self._live.update(self._drawn(told, seconds))

    def _drawn(self, told: dict[str, Any], seconds: float) -> RenderableType:
        ladder = Panel(_ladder(told), title=f"{told['symbol']}: the book", border_style="cyan")
        tape = Panel(_tape(told), title="trades, durable", border_style="cyan")
        counters = Table.grid(padding=(0, 2))
        for name, value in (
            ("commands", screen.count(told["seq"])),
            ("rate", f"{screen.count(round(self._rate))} commands/s (paced)"),
            ("events", screen.count(told["events"])),
            ("trades", screen.count(told["traded"])),
            ("refused", screen.count(told["refused"])),
            ("durable", f"{screen.count(told['durable_seq'])}, {told['seq'] - told['durable_seq']} behind"),
            ("event digest", told["digest"]),
        ):
            counters.add_row(Text(name, style="bold"), value)
        return Group(
            Columns([ladder, tape]), Panel(counters, title=f"the market, {seconds:.0f} s", border_style="cyan")
        )


def _ladder(told: dict[str, Any]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for name, style in (("orders", "dim"), ("qty", "green"), ("price", "bold"), ("qty", "red"), ("orders", "dim")):
        table.add_column(name, justify="right", style=style, min_width=6)
    offers, bids = told["offers"][:6], told["bids"][:6]
    for price, qty, orders in reversed(offers):
        table.add_row("", "", f"[red]{price}[/]", screen.count(qty), str(orders))
    for price, qty, orders in bids:
        table.add_row(str(orders), screen.count(qty), f"[green]{price}[/]", "", "")
    for _ in range(12 - len(offers) - len(bids)):
        table.add_row("", "", "", "", "")
    return table


def _tape(told: dict[str, Any]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("symbol", min_width=6)
    table.add_column("qty", justify="right", min_width=6)
    table.add_column("price", justify="right", min_width=9)
    trades = told["trades"][::-1][:12]
    for symbol, price, qty in trades:
        table.add_row(symbol, screen.count(qty), price)
    for _ in range(12 - len(trades)):
        table.add_row("", "", "")
    return table
