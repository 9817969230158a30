"""Streams of native order entry: each report about a user's orders as one message, in the order of reports.

A day begins with the orders that outlast the one before. A message says nothing of the other side of a trade. A mass
cancel is told to all users of the participant, before the reports of the orders that it took; so is its refusal.
"""

from collections.abc import Iterator
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from engine.capacity import Capacity
from engine.records import COMMAND, CommandKind
from gateway.bounded_streams import BoundedStreams
from gateway.streams import Deliver, LoginEndCallback, NewSessionCallback
from reports.rows import ReportKind
from wire import native, soup
from wire.native import FromServer
from wire.ouch import PRICE_E4_MAX, SHARES_MAX
from wire.ouch_layout import TOKEN_CHARACTERS

#: Last kind of a report about an order.
_ORDERS_MAX: Final = 19
_MASS_CANCEL: Final = int(CommandKind.MASS_CANCEL)
_CROSS: Final = int(CommandKind.CROSS)


def _dtype() -> "np.dtype[Any]":
    """A report with the head of its packet: big-endian, without holes."""
    fields = [(name, f"S{form[:-1]}" if form.endswith("s") else f">{form}") for name, form in native.REPORT]
    return np.dtype([("bytes", ">H"), ("packet", "u1"), *fields])


#: A report as it is kept and sent, in its packet.
MESSAGE: Final = _dtype()
#: Places of a message that have the same name in a REPORT row, and those that have another.
_SAME: Final = (
    *("time_ns", "seq", "number", "order_number", "price_e4", "notional_e4", "offset_e4", "until_ns", "qty"),
    *("leaves_qty", "cum_qty", "canceled_qty", "original_qty", "displayed_qty", "min_qty", "display_qty"),
    *("instructions", "reason", "side", "time_in_force", "self_trade", "book", "in_book", "peg", "liquidity"),
)
_REFUSALS: Final = (ReportKind.REJECTED, ReportKind.CANCEL_REJECTED)
#: Places of what the client has asked for, with the bounds beyond which the gateway negates it (``packets``).
_NEGATED: Final = {"price_e4": PRICE_E4_MAX, "qty": SHARES_MAX}
_OTHERWISE: Final = {"report": "kind", "command": "command_kind", "stop_e4": "stop_price_e4"}
#: Places that share their bytes with another one, by the kinds that have them.
_BY_KIND: Final = {
    "last_price_e4": ("last_price_e4", (ReportKind.TRADE, ReportKind.REPRICED)),
    "trade_number": ("trade_number", (ReportKind.TRADE,)),
    "last_qty": ("last_qty", (ReportKind.TRADE,)),
    "decrement_qty": (
        "decrement_qty",
        (ReportKind.CANCELED, ReportKind.RESTATED, ReportKind.EXPIRED, ReportKind.DONE_FOR_DAY),
    ),
    "orders": ("orders", (ReportKind.MASS_CANCEL,)),
}
_NAMES: Final = (("symbol", "symbol", 8), ("participant", "participant_name", 8), ("user", "user_name", 6))


def _text(numbers: NDArray[Any], size: int) -> NDArray[np.bytes_]:
    """Packed names as text of ``size`` bytes, with spaces on the right.

    >>> _text(np.array([0x6131, 0]), 4).tolist()
    [b'a1  ', b'    ']
    """
    words = numbers.astype(np.int64).view(np.uint64)
    for bits in (32, 16, 8):
        words = np.where(words >> np.uint64(64 - bits) == 0, words << np.uint64(bits), words)
    return _padded(_octets(words), size)


def _octets(words: NDArray[Any]) -> NDArray[np.uint8]:
    """The bytes of numbers, big-endian: uint8[n, 8]."""
    return np.ascontiguousarray(words.astype(">u8")).view(np.uint8).reshape(-1, 8)


def _padded(octets: NDArray[np.uint8], size: int) -> NDArray[np.bytes_]:
    """Rows of bytes as text, with a space in place of each zero byte."""
    found = np.full((len(octets), size), ord(" "), np.uint8)
    found[:, : octets.shape[1]] = np.where(octets == 0, ord(" "), octets)[:, :size]
    return found.view(f"S{size}").reshape(-1)


def _tokens(reports: NDArray[Any], which: str = "") -> NDArray[np.bytes_]:
    """Order tokens: the client order id, or the longer one for which it stands."""
    ids = reports[f"{which}client_order_id"]
    tokens = _text(ids, TOKEN_CHARACTERS)
    long = np.flatnonzero(ids < 0)
    if len(long):
        head, tail = (_octets(reports[f"{which}{part}"][long].view(np.uint64)) for part in ("token_head", "token_tail"))
        tokens[long] = _padded(np.hstack([head, tail[:, :6]]), TOKEN_CHARACTERS)
    return tokens


def messages_of(reports: NDArray[Any]) -> NDArray[Any]:
    """A message for each report: MESSAGE rows."""
    made = np.zeros(len(reports), MESSAGE)
    made["bytes"], made["packet"] = MESSAGE.itemsize - 2, soup.PacketType.SEQUENCED
    made["kind"], made["version"] = FromServer.REPORT, native.VERSION
    kinds = reports["kind"]
    of_order = kinds <= _ORDERS_MAX
    for name in _SAME:
        made[name] = reports[name]
    refused = np.isin(kinds, _REFUSALS) & of_order
    for name, most in _NEGATED.items():
        # The market was given a number beyond the bounds negated, so that it refuses it (ADR 14).
        made[name] = np.where(refused & (made[name] < -most), -made[name], made[name])
    for name, place in _OTHERWISE.items():
        made[name] = reports[place]
    for name, (place, having) in _BY_KIND.items():
        made[name] = np.where(np.isin(kinds, having), reports[place], 0)
    for name, place, size in _NAMES:
        made[name] = _text(reports[place], size)
    made["firm"] = _text(reports["firm"].astype(np.int64), 4)
    made["order_token"] = np.where(of_order, _tokens(reports), b" " * TOKEN_CHARACTERS)
    made["previous_token"] = _text(np.zeros(len(reports), np.int64), TOKEN_CHARACTERS)
    replaced = np.flatnonzero(
        np.isin(kinds, (ReportKind.REPLACED, ReportKind.REJECTED, ReportKind.CANCEL_REJECTED)) & of_order
    )
    if len(replaced):
        made["previous_token"][replaced] = _tokens(reports[replaced], "previous_")
    return made


def day_message(event: int) -> bytes:
    """Begin or end of a day, in its packet."""
    return soup.packet(soup.PacketType.SEQUENCED, bytes([FromServer.DAY, native.VERSION, event]))


class NativeStreams(BoundedStreams):
    """Streams of the users."""

    highest_e4 = PRICE_E4_MAX

    def __init__(
        self,
        capacity: Capacity,
        deliver: Deliver,
        on_new_session: NewSessionCallback,
        on_login_end: LoginEndCallback,
    ) -> None:
        super().__init__(
            capacity,
            deliver,
            on_new_session,
            on_login_end,
            frame=self._frame_reports,
            day_begins=day_message(native.DAY_BEGINS),
            day_ends=day_message(native.DAY_ENDS),
        )
        self._first_seq, self._commands = 0, np.zeros(0, COMMAND)  # of the block that is taken

    def __call__(self, first_seq: int, commands: NDArray[Any], events: NDArray[Any], /) -> None:
        """Take a block: COMMAND rows from ``first_seq`` on, and the EVENT rows that they caused."""
        self._first_seq, self._commands = first_seq, commands
        super().__call__(first_seq, commands, events)

    def _frame_reports(self, reports: NDArray[Any]) -> Iterator[tuple[int, bytes]]:
        self._close_far(reports)
        kinds = reports["kind"]
        mass = (kinds == ReportKind.MASS_CANCEL) | (
            (kinds == ReportKind.REJECTED) & (reports["command_kind"] == _MASS_CANCEL)
        )
        # A cancel of no order is a mark of a FIX session (``gateway.fix.marks``), which is told to nobody.
        marks = (kinds == ReportKind.CANCEL_REJECTED) & (reports["client_order_id"] == 0)
        crosses = reports["command_kind"] == _CROSS  # of FIX: a cross is no order, and no other protocol reports one
        told = (kinds <= _ORDERS_MAX) & ~marks & ~crosses & ((reports["user"] != 0) | (reports["other_user"] != 0))
        concerned = mass | told
        chosen = reports[concerned]
        if not len(chosen):
            return
        data, size = messages_of(chosen).tobytes(), MESSAGE.itemsize
        for n, (report, is_mass) in enumerate(zip(chosen, mass[concerned].tolist(), strict=True)):
            message = data[n * size : (n + 1) * size]
            if is_mass:
                # A refusal has the name of what is unknown, the command that of the participant.
                name = int(self._commands[int(report["seq"]) - self._first_seq]["name"])
                yield from ((user, message) for user in self._users_of(name))
                continue
            user, other = int(report["user"]), int(report["other_user"])
            if user:
                yield user, message
            if other and other != user:
                yield other, message

    def _begin_day(self, time_ns: int, *, first: bool) -> None:
        super()._begin_day(time_ns, first=first)
        if first or not len(reports := self._fold.restated()):
            return
        data, size = messages_of(reports).tobytes(), MESSAGE.itemsize
        for n, user in enumerate(reports["user"].tolist()):
            self._add(user, data[n * size : (n + 1) * size])

    def _users_of(self, participant_name: int) -> list[int]:
        """Users of a participant, in order of definition."""
        return [user for user, row in self.users() if int(row["participant_name"]) == participant_name]
