"""Screen of `lockstep demo`: both nodes side by side and what the traders see, live on a terminal; lines elsewhere.

The steps of the story are lines: above the live view, or between the lines of every second.
"""

import time
from types import TracebackType
from typing import Any, Final, NamedTuple, Protocol

from rich.console import Group, RenderableType
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from cli import screen
from cli.demo.market import SameDigest
from notation.words import price as shown_price

#: Digits of a digest that are shown.
_DIGITS = 16


class Look(NamedTuple):
    """State of the demo at one moment.

    ``nodes``: report of the pair by node A and by node B; None while one is down. ``digests``: of both, after the
    newest block that both have recorded. ``clients``: their newest report. ``book``: of the first instrument, best
    levels. ``seconds``: of trading so far. ``found``: the difference between the nodes in a few words, "" for none.
    """

    nodes: tuple[dict[str, Any] | None, dict[str, Any] | None]
    digests: SameDigest | None
    clients: dict[str, Any]
    book: dict[str, Any]
    seconds: float
    found: str


class View(Protocol):
    """View of the demo from its first order to its last."""

    every_s: float

    def __enter__(self) -> "View":
        """Begin."""
        ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End the view; its last screen stays."""
        ...

    def show(self, look: Look) -> None:
        """Show the newest state."""
        ...

    def say(self, line: str) -> None:
        """Show a step of the story."""
        ...

    def warn(self, line: str) -> None:
        """Show a step that breaks something."""
        ...


class SilentView:
    """View that shows nothing, for --json."""

    every_s = 0.5  # each look is work for the nodes

    def __enter__(self) -> "SilentView":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return None

    def show(self, look: Look) -> None:
        """Show nothing."""

    def say(self, line: str) -> None:
        """Show nothing."""

    def warn(self, line: str) -> None:
        """Show a step that breaks something."""
        self.say(line)


class PlainView(SilentView):
    """View of one line a second."""

    def __init__(self) -> None:
        self._said_s = 0.0

    def show(self, look: Look) -> None:
        """Print a line if a second has passed since the last."""
        if look.seconds - self._said_s < 1.0:
            return
        self._said_s = look.seconds
        clients = look.clients
        words = [_in_line(letter, node, look.digests) for letter, node in zip("AB", look.nodes, strict=True)]
        words.append(f"{screen.count(clients['answers'])} answers, p99 {_ms(clients['p99_us'])}")
        screen.print_line(f"{look.seconds:4.1f} s  {'; '.join(words)}")
        screen.flush()

    def say(self, line: str) -> None:
        """Print a step of the story."""
        screen.print_line(line)
        screen.flush()


class LiveView:
    """View of the lower part of the screen, five times a second; the story scrolls above it."""

    every_s = 0.2

    def __init__(self) -> None:
        self._live = screen.live_view()
        self._before = (time.monotonic(), 0, 0)
        self._rates = (0.0, 0.0)

    def __enter__(self) -> "LiveView":
        self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._live.stop()

    def show(self, look: Look) -> None:
        """Draw the newest state."""
        now_s = time.monotonic()
        then_s, answers, trades = self._before
        clients = look.clients
        if now_s - then_s >= 0.5:
            passed_s = now_s - then_s
            self._rates = ((clients["answers"] - answers) / passed_s, (clients["trades"] - trades) / passed_s)
            self._before = (now_s, clients["answers"], clients["trades"])
        self._live.update(self.picture(look), refresh=True)

    def say(self, line: str) -> None:
        """Print a step of the story above the view."""
        self._live.console.print(Text(line, style="bold"))

    def warn(self, line: str) -> None:
        """Print a step that breaks something in red."""
        self._live.console.print(Text(line, style="bold red"))

    def picture(self, look: Look) -> RenderableType:
        """Screen of a state: 15 lines of 60 columns."""
        return Group(
            Panel(_nodes(look), title="the pair", subtitle=_same(look), border_style="cyan", padding=(0, 1)),
            Panel(
                self._traders(look),
                title=f"five traders over TCP, {look.seconds:.0f} s",
                border_style="cyan",
                padding=(0, 1),
            ),
        )

    def _traders(self, look: Look) -> Table:
        clients = look.clients
        answers, trades = (screen.count(round(rate)) for rate in self._rates)
        percentiles = f"p50 {_ms(clients['p50_us'])}, p99 {_ms(clients['p99_us'])}"
        connected = f"{clients['connected']} connected"
        if clients["outage_s"]:
            connected += f"; {_ms(clients['outage_s'] * 1e6)} without a primary"
        table = Table.grid(padding=(0, 2))
        for name, value in (
            ("orders", f"{screen.count(clients['answers'])} answered, {answers}/s, {clients['unanswered']} under way"),
            ("round trip", percentiles),
            ("trades", f"{screen.count(clients['trades'])}, {trades}/s; {_best(look.book)}"),
            ("sessions", connected),
        ):
            table.add_row(Text(name, style="bold"), value)
        return table


def _nodes(look: Look) -> Table:
    """Both nodes side by side."""
    table = Table(box=None, pad_edge=False)
    table.add_column("node", style="bold", min_width=12)
    for letter in "AB":
        table.add_column(letter, min_width=18)
    for name, of in _ROWS.items():
        table.add_row(name, *(of(node, digest) for node, digest in zip(look.nodes, _digests(look), strict=True)))
    return table


def _same(look: Look) -> Text:
    """Sentence on the digests that both nodes have recorded."""
    same = look.digests
    if look.found:
        return Text(look.found, style="bold red")
    if same is None:
        return Text("")
    where = f"the block at {screen.count(same.first_seq)}"
    if same.a == same.b:
        return Text(f"event digests are equal up to {where}", style="green")
    return Text(f"event digests DIFFER from {where} on", style="bold red")


def _digests(look: Look) -> tuple[Text, Text]:
    """Event digest of each node, green where both are equal. States can differ beside them until an event tells it."""
    same = look.digests
    if same is None:
        return Text(""), Text("")
    style = "green" if same.a == same.b else "bold red"
    a, b = (
        Text(digest.hex()[:_DIGITS], style if node is not None else "dim")
        for digest, node in zip((same.a, same.b), look.nodes, strict=True)
    )
    return a, b


def _role(node: dict[str, Any] | None, _: Text) -> Text:
    if node is None:
        return Text("down", style="bold red")
    return Text(node["role"], style="bold green" if node["role"] == "primary" else "")


def _state(node: dict[str, Any] | None, _: Text) -> Text:
    if node is None:
        return Text("")
    return Text(node["state"], style="bold red" if node["state"] == "diverged" else "")


def _lag(node: dict[str, Any] | None, _: Text) -> Text:
    if node is None or node["role"] == "primary":
        return Text("")
    return Text(screen.counted(node["lag_commands"], "command"))


_ROWS: Final[dict[str, Any]] = {
    "role": _role,
    "state": _state,
    "epoch": lambda node, _: Text("" if node is None else str(node["epoch"])),
    "command": lambda node, _: Text("" if node is None else screen.count(node["seq"])),
    "event digest": lambda _, digest: digest,
    "lag": _lag,
}


def _in_line(letter: str, node: dict[str, Any] | None, same: SameDigest | None) -> str:
    """A node in a few words."""
    if node is None:
        return f"{letter} down"
    word = node["state"] if node["state"] == "diverged" else node["role"]
    digest = "" if same is None else f", {(same.a if letter == 'A' else same.b).hex()[:_DIGITS]}"
    return f"{letter} {word}, command {screen.count(node['seq'])}{digest}"


def _best(book: dict[str, Any]) -> str:
    """Best prices of a book."""
    prices = "/".join(_level_price(book[side][0]) if book[side] else "none" for side in ("bids", "offers"))
    return f"{book['symbol']} {prices}"


def _level_price(level: dict[str, Any]) -> str:
    """Price of a level in words; a level of market orders has none."""
    return "market" if level["price_e4"] is None else shown_price(level["price_e4"])


def _ms(us: float) -> str:
    """Microseconds in milliseconds.

    >>> _ms(1234.5), _ms(0.0), _ms(345_678.0)
    ('1.2 ms', '0.0 ms', '346 ms')
    """
    return f"{us / 1_000:.1f} ms" if us < 100_000 else f"{us / 1_000:,.0f} ms"
