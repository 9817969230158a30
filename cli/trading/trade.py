"""`lockstep trade`: order entry by hand, or by lines of a file. Lines come from standard input, events go out as lines.

A request is answered before the next line is read, so a file of lines is a script. Other events are printed as they
arrive.
"""

import asyncio
import contextlib
import os
import shutil
import ssl
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

from cli import errors, screen
from cli.confirmation import hidden
from cli.errors import WrongUse
from cli.printer import Printer
from cli.trading import trade_words
from cli.trading.trade_words import Cancel, Enter, Line, MassCancel, Replace, Show
from client import (
    AsyncClient,
    AsyncNativeClient,
    CaughtUp,
    ClientError,
    Connected,
    ConnectionLost,
    Event,
    EventsLost,
    Executed,
    NewSession,
    Phase,
    RequestRejected,
)
from client.prices import shown

PASSWORD_VARIABLE: Final = "LOCKSTEP_PASSWORD"
#: Wait after the last line of a file for the events of trades, in seconds.
_LAST_EVENTS_S: Final = 0.2
_READ_BYTES: Final = 65_536
#: Longest wait of a typed line for the lines before it, in seconds; then it is refused, since the market has moved.
_LINE_AGE_MAX_S: Final = 10.0
#: Time without an answer, or without a node that takes orders, after which a note says so, in seconds.
_PATIENCE_S: Final = 1.0
#: Time between two notes on an outage, in seconds.
_OUTAGE_AGAIN_S: Final = 10.0
_LOOK_S: Final = 0.05


@dataclass(frozen=True)
class TradeOptions:
    """Options of the command line."""

    host: str
    port: int
    user: str
    password_file: Path | None
    resend: bool
    tls: ssl.SSLContext | None = None
    protocol: str = "ouch"


def trade(options: TradeOptions, *, as_json: bool) -> int:
    """Trade until `quit`, the end of the lines, or the end of the connection."""
    clients: dict[str, type[AsyncClient]] = {"ouch": AsyncClient, "native": AsyncNativeClient}
    if options.protocol not in clients:
        raise WrongUse(f"there is no protocol {options.protocol}; --protocol takes {' or '.join(clients)}")
    by_hand = sys.stdin is not None and sys.stdin.isatty()
    password = _password(options, by_hand=by_hand)
    try:
        client = clients[options.protocol](
            options.host, options.port, options.user, password, resend=options.resend, tls=options.tls
        )
    except ValueError as error:
        raise WrongUse(str(error)) from error
    return asyncio.run(_Desk(client, by_hand=by_hand, as_json=as_json).trade())


def _password(options: TradeOptions, *, by_hand: bool) -> str:
    if options.password_file is not None:
        lines = options.password_file.read_text("utf-8", "backslashreplace").splitlines()
        if not lines:
            raise WrongUse(f"{options.password_file} is empty; it should have the password in its first line")
        return lines[0].strip()
    if (password := os.environ.get(PASSWORD_VARIABLE)) is not None:
        return password
    if not by_hand:
        raise WrongUse(f"there is no password: give --password-file, or set {PASSWORD_VARIABLE}")
    return hidden(f"password of {options.user}: ")


class _Desk:
    """Desk of a trader: reads lines, prints events."""

    def __init__(self, client: AsyncClient, *, by_hand: bool, as_json: bool) -> None:
        self._client = client
        self._by_hand = by_hand
        self._as_json = as_json
        self._native = client.core.protocol == "native"
        self._fills: list[Executed] = []
        self._session = ""
        self._status = errors.FINE
        self._past = True
        self._lines: asyncio.Queue[tuple[str | None, float]] = asyncio.Queue()
        #: Line without an answer for ``_PATIENCE_S``; "" if there is none.
        self._unanswered = ""
        self._printer = Printer(self._not_shown)

    async def trade(self) -> int:
        """Trade, and return the exit status: 2 if a line was wrong, 1 if a request was not done."""
        outage = asyncio.create_task(self._tell_outages())
        try:
            async with self._client:
                self._show_events()
                if not self._as_json:
                    self._printer.print_line(self._greeting())
                self._read_aside()
                listening = asyncio.create_task(self._listen())
                try:
                    await self._work(listening)
                finally:
                    listening.cancel()
        finally:
            outage.cancel()
            self._printer.close()
        self._printer.check()
        return errors.FINE if self._by_hand else self._status

    def _greeting(self) -> str:
        core = self._client.core
        there = screen.counted(len(self._client.open_orders()), "open order")
        return f"{core.user} is logged in to session {core.session}: {there}; `help` lists the commands"

    async def _listen(self) -> None:
        """Print events that arrive without a request."""
        async for event in self._client.events():
            self._show(event)

    async def _tell_outages(self) -> None:
        """Say that no node takes orders, again and again while that is so. The event `caught up` says that one does."""
        while True:
            await self._until(live=False)
            began_s = time.monotonic()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._until(live=True), _PATIENCE_S)
            while not self._client.is_live:
                lasted = f"{time.monotonic() - began_s:.0f} s"
                if self._client.core.phase is Phase.CATCHING_UP:
                    why = "what was missed, or an entry delay of the venue, is waited for"
                    self._printer.notice(f"lockstep: logged in, and not up to date for {lasted} now: {why}")
                else:
                    why = self._client.outage or "no login is answered"
                    text = f"lockstep: nothing takes orders for {lasted} now: {why}; the client tries again"
                    self._printer.notice(text)
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._until(live=True), _OUTAGE_AGAIN_S)

    async def _until(self, *, live: bool) -> None:
        while self._client.is_live is not live:
            await asyncio.sleep(_LOOK_S)

    async def _work(self, listening: "asyncio.Task[None]") -> None:
        failed: asyncio.Future[None] = asyncio.wrap_future(self._printer.failed)
        while True:
            reading = asyncio.create_task(self._lines.get())
            waited: set[asyncio.Future[Any]] = {reading, listening, failed}
            await asyncio.wait(waited, return_when=asyncio.FIRST_COMPLETED)
            if failed.done():
                reading.cancel()
                return
            if listening.done():
                reading.cancel()
                listening.result()
                return
            line, read_s = reading.result()
            if line is None:
                await asyncio.sleep(_LAST_EVENTS_S)
                self._show_events()
                return
            if not await self._line(line, time.monotonic() - read_s):
                return

    async def _line(self, line: str, age_s: float) -> bool:
        """Carry out a line that was read ``age_s`` ago; False to end."""
        try:
            asked = trade_words.parse(line, native=self._native)
            if asked is Show.QUIT:
                return False
            if isinstance(asked, Show):
                self._look(asked)
            elif asked is not None:
                if self._by_hand:
                    self._check_now(line, age_s)
                await self._ask_patiently(line, asked)
        except (WrongUse, ValueError) as error:
            self._complain(str(error), errors.WRONG)
        except ConnectionLost:
            raise
        except ClientError as error:
            # A reject is an event, and is printed as one.
            self._complain("" if isinstance(error, RequestRejected) else str(error), errors.FOUND)
        self._show_events()
        return True

    def _check_now(self, line: str, age_s: float) -> None:
        """Raise WrongUse for a typed line that could be sent only later, when the market has moved."""
        if age_s > _LINE_AGE_MAX_S:
            raise WrongUse(f"{_quoted(line)} waited {age_s:.0f} s, nothing was sent; repeat it if you want it")
        if not self._client.is_live:
            raise WrongUse(
                f"{_quoted(line)} was not sent: there is no connection to the exchange; the client reconnects, "
                "so repeat the line in a moment"
            )

    async def _ask_patiently(self, line: str, asked: Line) -> None:
        """Send a request, with a note while no answer comes: the next lines wait for it (``_LINE_AGE_MAX_S``)."""
        late = asyncio.get_running_loop().call_later(_PATIENCE_S, self._answer_late, line) if self._by_hand else None
        try:
            await self._ask(asked)
        finally:
            self._unanswered = ""
            if late is not None:
                late.cancel()

    def _answer_late(self, line: str) -> None:
        self._unanswered = line
        behind = self._lines.qsize()
        wait = (
            f"; {screen.counted(behind, 'line')} behind it {'waits' if behind == 1 else 'wait'} too" if behind else ""
        )
        self._printer.notice(f"lockstep: no answer to {_quoted(line)} yet; it may take some seconds{wait}")

    def _line_read(self, line: str | None, read_s: float) -> None:
        if self._unanswered and line and line.strip():
            self._printer.notice(f"lockstep: {_quoted(line)} waits until {_quoted(self._unanswered)} is answered")
        self._lines.put_nowait((line, read_s))

    async def _ask(self, asked: Line) -> None:
        match asked:
            case Enter(new, token):
                await self._client.submit(new, token)
            case Cancel(token, qty):
                await self._client.cancel(self._client.core.find(token), qty)
            case Replace(token, qty, price, terms):
                await self._client.replace(self._client.core.find(token), qty, price, terms=terms)
            case MassCancel(symbol, side):
                if not await self._client.mass_cancel(symbol, side):
                    raise WrongUse("the mass cancel has no answer; look at `orders`, and repeat it: twice does no harm")

    def _complain(self, text: str, status: int) -> None:
        self._status = max(self._status, status)
        self._show_events()
        if text:
            self._printer.notice(f"lockstep: {text}")

    # What is shown

    def _show_events(self) -> None:
        for event in self._client.events_now():
            self._show(event)

    def _show(self, event: Event) -> None:
        if isinstance(event, Executed):
            self._fills.append(event)
        elif isinstance(event, (Connected, NewSession)):
            self._session = event.session
        if self._as_json:
            self._printer.print_line(screen.json_line(trade_words.as_json(event, self._session)))
        elif not self._past:
            self._printer.print_line(trade_words.text(event, self._client.orders))
        self._past = self._past and not isinstance(event, CaughtUp)

    def _look(self, what: Show) -> None:
        self._show_events()
        if what is Show.HELP:
            columns = shutil.get_terminal_size((200, 24)).columns
            self._printer.notice(trade_words.help_text(native=self._native, columns=columns))
        elif what in (Show.ORDERS, Show.ALL_ORDERS):
            self._look_at_orders(dead=what is Show.ALL_ORDERS)
        else:
            self._look_at_fills()

    def _look_at_orders(self, *, dead: bool) -> None:
        """Show the open orders of the day; with ``dead`` also closed ones."""
        listed = [o for token, o in self._client.orders.items() if token == o.token and (dead or o.is_open)]
        rows = [(o.token, trade_words.order_text(o), o.leaves_qty, o.cum_qty, o.state.value) for o in listed]
        self._show_rows(
            ("token", "order", "open", "executed", "state"),
            rows,
            [trade_words.order_json(order) for order in listed],
            none="no orders today" if dead else "no open orders; `orders all` lists every order of the day",
        )

    def _look_at_fills(self) -> None:
        self._show_rows(
            ("token", "executed", "price", "match"),
            [(fill.token, fill.qty, shown(fill.price_e4), fill.match_number) for fill in self._fills],
            [trade_words.as_json(fill, self._session) | {"event": "fill"} for fill in self._fills],
            none="no fills today",
        )

    def _show_rows(
        self, columns: tuple[str, ...], rows: Sequence[Sequence[object]], objects: Sequence[object], *, none: str
    ) -> None:
        if self._as_json:
            for each in objects:
                self._printer.print_line(screen.json_line(each))
        elif rows:
            right = ("open", "executed", "price", "match")
            self._printer.put(partial(screen.table, columns, rows, right=right), len(rows) + 1)
        else:
            self._printer.print_line(none)

    def _not_shown(self, count: int) -> str:
        """Line in place of dropped lines."""
        if self._as_json:
            return screen.json_line(trade_words.as_json(EventsLost(count), self._session))
        return f"… {screen.counted(count, 'line was', 'lines were')} not shown; `fills` and `orders` show the state"

    # Where lines come from

    def _read_aside(self) -> None:
        """Read standard input in a thread: a terminal, pipe or file, of which the event loop cannot wait for all."""
        loop = asyncio.get_running_loop()

        def put(line: str | None) -> None:
            loop.call_soon_threadsafe(self._line_read, line, time.monotonic())

        def read() -> None:
            held = b""
            with contextlib.suppress(RuntimeError):  # the loop has ended
                while data := _read():
                    *lines, held = (held + data).split(b"\n")
                    for line in lines:
                        put(line.decode("utf-8", "backslashreplace"))
                for last in (held.decode("utf-8", "backslashreplace"), None):
                    put(last)

        threading.Thread(target=read, name="standard input", daemon=True).start()


def _quoted(line: str) -> str:
    """A line of input, quoted and shortened for a message."""
    return repr(line.strip()[:200])


def _read() -> bytes:
    """Read standard input; no bytes at its end. Not through ``sys.stdin``, whose lock would be held at the exit."""
    try:
        return os.read(0, _READ_BYTES)
    except OSError:
        return b""
