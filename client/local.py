"""The client for a program on the machine of the node, of the same user: no socket, a line in shared memory.

It logs in, sends and is answered as a client by TCP (``client.order_entry``): the same checks, sessions and limits, the
same stream, which another connection of the user can read from the beginning. It has no thread: what has come is read
in ``poll``, which each method that waits calls. A program that computes for long calls it now and then.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Final

import numpy as np

from client import outcome
from client.errors import CannotConnect, ConnectionLost, NotConnected
from client.event_queue import EVENTS_MAX, EventQueue
from client.events import Event, Side
from client.order_entry import OrderEntry, Phase
from client.orders import NewOrder, Order, Request
from client.prices import KEEP, Keep, Price
from journal import Journal, JournalError
from tape.errors import TapeError
from tape.form import memory_folder
from tape.lines import ClientLine, lines_path
from wire.ouch_codes import Display, TimeInForce

#: Looks without a pause before a wait pauses, and the pause, in seconds.
_SPINS: Final = 2_000
_PAUSE_S: Final = 0.000_2
_READ_BYTES: Final = 65_536


@dataclass(slots=True, eq=False)
class LocalOrder(Order):
    """An order with methods that act on it, which raise as those of ``LocalClient``."""

    client: "LocalClient" = field(kw_only=True, repr=False)

    def cancel(self, qty: int = 0) -> None:
        """Cancel the open quantity; or reduce the order to a total of ``qty``, the executed included."""
        self.client.cancel(self, qty)

    def replace(
        self, qty: int | None = None, price: Price | Keep = KEEP, token: str | None = None, terms: str = ""
    ) -> None:
        """Replace the order: another total quantity (the executed included), or price, or both; and another token."""
        self.client.replace(self, qty, price, token, terms)


class LocalClient:
    """A user's order entry beside the node of a data directory. Use it as ``with``, from one thread.

    from_seq: 1 for the day's orders from the beginning, 0 for nothing of the past. spins: True to wait without a
    pause, at the price of a core.
    """

    def __init__(
        self,
        directory: Path | str,
        user: str,
        password: str,
        *,
        from_seq: int = 1,
        timeout_s: float = 10.0,
        spins: bool = False,
        events_max: int = EVENTS_MAX,
    ) -> None:
        self._directory = Path(directory)
        self.core = OrderEntry(user, password, partial(LocalOrder, client=self), next_seq=from_seq, resend=False)
        self._timeout_s, self._spins = timeout_s, spins
        self._queue = EventQueue(events_max)
        self._line: ClientLine | None = None
        self._unsent = bytearray()
        self._room = np.zeros(_READ_BYTES, np.uint8)
        self._why = ""

    def __enter__(self) -> "LocalClient":
        self.connect()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def connect(self) -> None:
        """Log in, and read the stream so far. Raises CannotConnect, LoginRefused, ConnectionLost."""
        try:
            with Journal.open(self._directory, readonly=True) as journal:
                journal_id = journal.journal_id
            path = lines_path(memory_folder(self._directory))
            if not path.exists():
                raise CannotConnect(f"no node runs on {self._directory}, or one without --tape-mb; start it there")
            self._line = ClientLine(path, journal_id)
        except (TapeError, JournalError, OSError) as error:
            raise CannotConnect(f"no line to the node on {self._directory}: {error}") from error
        line = self._line
        if not self._wait(line.served):
            self._lose("the node did not serve this client in time")
            raise CannotConnect(f"the node on {self._directory} has not answered within {self._timeout_s:g} s")
        self.core.connected(time.monotonic_ns(), str(self._directory))
        self._wait(lambda: self.core.phase is Phase.LIVE or self._line is None)
        if self.core.phase is not Phase.LIVE:
            refused = self.core.refused
            self.close()
            raise refused or ConnectionLost(f"{self._directory}: {self._why or 'no answer to the login came in time'}")

    def close(self) -> None:
        """Log out. Requests without an answer end as unknown."""
        if self._line is not None:
            self.core.logout(time.monotonic_ns())
            self._send()
            self._lose("this client was closed")

    @property
    def orders(self) -> dict[str, LocalOrder]:
        """Orders of the day, by each token that they have had."""
        return self.core.day.orders

    def open_orders(self) -> list[LocalOrder]:
        """Open orders, in order of their tokens."""
        return self.core.open_orders()

    @property
    def is_live(self) -> bool:
        """True while there is a line that has caught up with the stream."""
        return self.core.phase is Phase.LIVE

    def poll(self) -> None:
        """Read what has come, and send what waits. Never waits."""
        line = self._line
        if line is None or not line.served():  # what an earlier client was sent may still be there
            return
        over = line.is_over()
        try:
            count = line.take(self._room)
            now_ns = time.monotonic_ns()
            if count:
                self._queue.put(self.core.receive(self._room[:count].tobytes(), now_ns))
            self.core.tick(now_ns)
            self._send()
        except TapeError as error:
            self._lose(str(error))
            return
        self.core.day.requests.take_settled()
        if over and not count:
            self._lose("the node has ended the connection")
        elif self.core.over:
            self._lose(self.core.why or "the session is over")

    def next_event(self, timeout_s: float = 0.0) -> Event | None:
        """The next event; None if none comes in time."""
        self._wait(lambda: len(self._queue) > 0 or self._line is None, timeout_s)
        return self._queue.take()

    def send(self, new: NewOrder, token: str | None = None) -> tuple[LocalOrder, Request]:
        """Enter an order without waiting for the answer: for that there is ``outcome``. Raises NotConnected."""
        self._check()
        order, request = self.core.enter(new, token)
        self._send()
        return order, request

    def submit(self, new: NewOrder, token: str | None = None) -> LocalOrder:
        """``enter`` for an order with all its terms."""
        order, request = self.send(new, token)
        self.outcome(request)
        return order

    def enter(
        self,
        symbol: str,
        side: Side,
        qty: int,
        price: Price,
        *,
        time_in_force_s: int = TimeInForce.MARKET_HOURS,
        display: Display = Display.ANONYMOUS,
        min_qty: int = 0,
        terms: str = "",
        token: str | None = None,
    ) -> LocalOrder:
        """Enter an order, and return it when it is accepted.

        Raises NotConnected, RequestRejected, RequestNotReceived, OutcomeUnknown.
        """
        return self.submit(NewOrder(symbol, side, qty, price, time_in_force_s, display, min_qty, terms=terms), token)

    def cancel(self, order: Order, qty: int = 0) -> None:
        """Cancel an order, or reduce it to a total of ``qty``. Raises as ``enter``."""
        self._ask(lambda: self.core.cancel(order, qty))

    def replace(
        self,
        order: Order,
        qty: int | None = None,
        price: Price | Keep = KEEP,
        token: str | None = None,
        terms: str = "",
    ) -> None:
        """Replace an order. Raises as ``enter``."""
        self._ask(lambda: self.core.replace(order, qty, price, token, terms))

    def outcome(self, request: Request) -> None:
        """Wait for the outcome of a request. Raises as ``enter``."""
        if not self._wait(lambda: request.settled):
            raise outcome.too_late(request, self._timeout_s)
        outcome.check(request, self.orders.get(request.token))

    def _ask(self, make: Callable[[], Request]) -> None:
        self._check()
        request = make()
        self._send()
        self.outcome(request)

    def _check(self) -> None:
        if self.core.phase is not Phase.LIVE:
            raise NotConnected(f"nothing was sent: {self._why or 'this client is not connected; use `with`'}")

    def _send(self) -> None:
        self._unsent += self.core.take()
        if self._unsent and self._line is not None:
            del self._unsent[: self._line.put(bytes(self._unsent))]

    def _wait(self, until: Callable[[], bool], timeout_s: float | None = None) -> bool:
        """Poll until something is true; False if it is not in time."""
        deadline_s = time.monotonic() + (self._timeout_s if timeout_s is None else timeout_s)
        looks = 0
        while not until():
            self.poll()
            looks += 1
            if until():
                break
            if time.monotonic() > deadline_s:
                return False
            if not self._spins and looks > _SPINS:
                time.sleep(_PAUSE_S)
        return True

    def _lose(self, why: str) -> None:
        line, self._line = self._line, None
        if line is not None:
            self._why = self.core.why or why
            line.close()
            self._unsent.clear()
            self._queue.put(self.core.lost(self._why))
            self._queue.put(self.core.give_up())
            self.core.day.requests.take_settled()
