"""Messages of native order entry as COMMAND rows: the kernels that explain them, and the reading of all connections.

A row has what the message says, place by place: the market accepts or rejects it, and the reject is in the journal and
answered like any other. What would fit no OUCH message of the same user is made a row that the market rejects: a
number beyond its bounds is negated, and an instrument with such prices is one that nobody knows (ADR 14).
"""

from typing import Any, Final, NamedTuple

import numpy as np

from engine.jit import called, inlined, unpack_pointers
from engine.records import CommandKind, Side
from gateway.arrivals import FOR_SESSION, MESSAGE, UNREADABLE, read_all, unpack_arrivals
from gateway.packets import cut_packet
from gateway.symbols import SYMBOL, symbol_place
from gateway.tokens import clear, extend, is_text, order_id, token_tail, u64, unpadded
from reports.contexts import with_protocol
from wire import native, ouch
from wire.native import FROM_CLIENT, FromClient
from wire.ouch_layout import offsets
from wire.soup import HEAD_BYTES

#: Number of the protocol in contexts, which have nothing else of it.
NUMBER: Final = 1

_OF_ENTER: Final = offsets(FROM_CLIENT[FromClient.ENTER])
_OF_CANCEL: Final = offsets(FROM_CLIENT[FromClient.CANCEL])
_OF_REPLACE: Final = offsets(FROM_CLIENT[FromClient.REPLACE])
_ENTER, _CANCEL = int(FromClient.ENTER), int(FromClient.CANCEL)
_REPLACE, _MASS_CANCEL = int(FromClient.REPLACE), int(FromClient.MASS_CANCEL)
_TOKEN: Final = _OF_ENTER.order_token
_VERSION: Final = native.VERSION
_NUMBER: Final = np.int64(NUMBER)
_PRICE_MAX: Final = ouch.PRICE_E4_MAX
_QTY_MAX: Final = ouch.SHARES_MAX


class Known(NamedTuple):
    """Instruments, with which a message is explained."""

    symbols: np.ndarray[Any, Any]  # SYMBOL[power of two]
    price_max_e4: np.ndarray[Any, Any]  # int64[instruments + 1], as of ``gateway.streams``


_unpack_known = unpack_pointers(Known(np.zeros(1, SYMBOL), np.zeros(1, np.int64)))


@inlined
def cut(buffer, at, end):
    """Size and kind of the packet at ``at``. A mass cancel is for the session: it names no order."""
    size, kind = cut_packet(buffer, at, end)
    if kind == MESSAGE and size > HEAD_BYTES and np.int64(buffer[at + HEAD_BYTES]) == _MASS_CANCEL:
        kind = np.int64(FOR_SESSION)
    return size, kind


@inlined
def _u16(buffer, at):
    return (np.int64(buffer[at]) << 8) | np.int64(buffer[at + 1])


@inlined
def _signed(octet):
    value = np.int64(octet)
    return value - 256 if value > 127 else value


@inlined
def _within(number, most):
    """A number, negated where it is more than ``most``."""
    return number if number <= most else -number


@inlined
def _explain_enter(buffer, at, stream, known, commands, n):
    head, tail = u64(buffer, at + _TOKEN), token_tail(buffer, at + _TOKEN + 8)
    client_order_id = order_id(head, tail)
    symbol = unpadded(u64(buffer, at + _OF_ENTER.symbol))
    place = symbol_place(known.symbols, symbol) if symbol != 0 else np.int64(-1)
    instrument = known.symbols[place]["instrument"] if place >= 0 else np.int64(0)
    if instrument >= len(known.price_max_e4) or known.price_max_e4[instrument] == 0:
        instrument = np.int64(0)
    if client_order_id < 0 or instrument == 0:
        unknown = symbol if instrument == 0 else np.int64(0)
        long_head = head if client_order_id < 0 else np.int64(0)
        long_tail = tail if client_order_id < 0 else np.int64(0)
        n = extend(commands, n, unknown, long_head, long_tail, np.int64(0), np.int64(0))
    row = commands[n]
    clear(row)
    row["kind"] = CommandKind.ENTER
    row["client_order_id"] = client_order_id
    row["context"] = with_protocol(np.int64(stream["user"]), _NUMBER)
    row["price_e4"] = _within(u64(buffer, at + _OF_ENTER.price_e4), _PRICE_MAX)
    row["qty"] = _within(u64(buffer, at + _OF_ENTER.qty), _QTY_MAX)
    row["min_qty"] = u64(buffer, at + _OF_ENTER.minimum)
    row["display_qty"] = u64(buffer, at + _OF_ENTER.shown)
    row["participant"] = stream["participant"]
    row["instrument"] = instrument
    if client_order_id > 0 or is_text(buffer, at + _TOKEN):
        row["side"] = _signed(buffer[at + _OF_ENTER.side])
    row["time_in_force"] = buffer[at + _OF_ENTER.time_in_force]
    row["self_trade"] = buffer[at + _OF_ENTER.self_trade]
    row["instructions"] = _u16(buffer, at + _OF_ENTER.instructions)
    row["book"] = buffer[at + _OF_ENTER.book]
    row["phase"] = buffer[at + _OF_ENTER.further]
    return n + 1


@inlined
def _explain_cancel(buffer, at, stream, commands, n):
    head, tail = u64(buffer, at + _TOKEN), token_tail(buffer, at + _TOKEN + 8)
    client_order_id = order_id(head, tail)
    if client_order_id < 0:
        n = extend(commands, n, np.int64(0), head, tail, np.int64(0), np.int64(0))
    row = commands[n]
    clear(row)
    row["kind"] = CommandKind.CANCEL
    row["client_order_id"] = client_order_id
    row["context"] = with_protocol(np.int64(stream["user"]), _NUMBER)
    row["qty"] = u64(buffer, at + _OF_CANCEL.qty)
    row["participant"] = stream["participant"]
    return n + 1


@inlined
def _explain_replace(buffer, at, stream, commands, n):
    new_at = at + _OF_REPLACE.replacement_token
    head, tail = u64(buffer, at + _TOKEN), token_tail(buffer, at + _TOKEN + 8)
    new_head, new_tail = u64(buffer, new_at), token_tail(buffer, new_at + 8)
    client_order_id, new_client_order_id = order_id(head, tail), order_id(new_head, new_tail)
    if client_order_id < 0 or new_client_order_id < 0:
        if client_order_id > 0:
            head, tail = np.int64(0), np.int64(0)
        if new_client_order_id > 0:
            new_head, new_tail = np.int64(0), np.int64(0)
        n = extend(commands, n, np.int64(0), head, tail, new_head, new_tail)
    row = commands[n]
    clear(row)
    row["kind"] = CommandKind.REPLACE
    row["client_order_id"] = client_order_id
    row["new_client_order_id"] = new_client_order_id
    row["price_e4"] = _within(u64(buffer, at + _OF_REPLACE.price_e4), _PRICE_MAX)
    row["qty"] = _within(u64(buffer, at + _OF_REPLACE.qty), _QTY_MAX)
    row["new_context"] = with_protocol(np.int64(stream["user"]), _NUMBER)
    row["display_qty"] = u64(buffer, at + _OF_REPLACE.shown)
    row["participant"] = stream["participant"]
    row["instructions"] = _u16(buffer, at + _OF_REPLACE.instructions)
    if new_client_order_id < 0 and not is_text(buffer, new_at):
        row["side"] = Side.BUY  # a place that a replace does not use
    return n + 1


@inlined
def explain(buffer, at, size, stream, known, commands, n):
    """Rows of the message in the packet at ``at``."""
    at += HEAD_BYTES
    size -= HEAD_BYTES
    if size < 2 or np.int64(buffer[at + 1]) != _VERSION:
        return np.int64(UNREADABLE)
    kind = np.int64(buffer[at])
    if kind == _ENTER and size == _OF_ENTER.end:
        return _explain_enter(buffer, at, stream, known, commands, n)
    if kind == _CANCEL and size == _OF_CANCEL.end:
        return _explain_cancel(buffer, at, stream, commands, n)
    if kind == _REPLACE and size == _OF_REPLACE.end:
        return _explain_replace(buffer, at, stream, commands, n)
    return np.int64(UNREADABLE)


@called
def read_streams(arrivals_pointers, known_pointers, count, rows_max, first, record_at):
    """Read streams into rows (``read_all``). Pointers: of the packed ``Arrivals`` and ``Known``."""
    arrays, known = unpack_arrivals(arrivals_pointers), _unpack_known(known_pointers)
    return read_all(arrays, known, count, rows_max, first, record_at, cut, explain)
