"""The way out: one kernel turns the EVENT rows of a block into OUCH messages, framed and put together user by user.

What a user is sent depends on the journal alone: on the events, on the commands that caused them (an ``Accepted``
repeats what its Enter Order said, which is in the command's memo), and on a table of the users' open orders, which says
whose an order is and how much of it is left. So a message of yesterday's crash is made again, byte for byte, by replay.

Kernels are cached by their own file, so these call nothing but each other and the instructions of ``engine.jit``.
"""

from typing import Any, Final, NamedTuple

import numpy as np

from engine.jit import called, inlined, lshr, wrapping_multiply
from engine.limits import DAY_NS
from engine.records import COMMAND, CommandKind, EventKind, Instruction, Phase, Reason, TimeInForce
from gateway import memo as _memo
from wire import ouch, ouch_codes
from wire.soup import PacketType

_ENTER: Final = int(CommandKind.ENTER)
_CANCEL: Final = int(CommandKind.CANCEL)
_REPLACE: Final = int(CommandKind.REPLACE)
_EXTEND: Final = int(CommandKind.EXTEND)
_CLOCK: Final = int(CommandKind.CLOCK)
_INSTRUMENT: Final = int(CommandKind.INSTRUMENT)
_PARTICIPANT: Final = int(CommandKind.PARTICIPANT)
_USER: Final = int(CommandKind.USER)
_CREDENTIAL: Final = int(CommandKind.CREDENTIAL)
_ACCEPTED: Final = int(EventKind.ACCEPTED)
_REJECTED: Final = int(EventKind.REJECTED)
_TRADE: Final = int(EventKind.TRADE)
_CANCELED: Final = int(EventKind.CANCELED)
_REPLACED: Final = int(EventKind.REPLACED)
_CANCEL_REJECTED: Final = int(EventKind.CANCEL_REJECTED)
_PHASE: Final = int(EventKind.PHASE)
_HALTED: Final = int(EventKind.HALTED)
_SELF_TRADE: Final = int(Reason.SELF_TRADE)
_CONTINUOUS: Final = int(Phase.CONTINUOUS)
_PHASE_HALTED: Final = int(Phase.HALTED)
_MIN_QTY: Final = int(Instruction.MIN_QTY)
_IOC: Final = int(TimeInForce.IOC)
_SYSTEM_HOURS: Final = _memo.SYSTEM_HOURS
_MODIFY: Final = _memo.MODIFY

_SEQUENCED: Final = int(PacketType.SEQUENCED)
_HEAD_BYTES: Final = 3
_MSG = ouch_codes.ServerMessage
_M_SYSTEM: Final = int(_MSG.SYSTEM_EVENT)
_M_ACCEPTED: Final = int(_MSG.ACCEPTED)
_M_REPLACED: Final = int(_MSG.REPLACED)
_M_CANCELED: Final = int(_MSG.CANCELED)
_M_AIQ: Final = int(_MSG.AIQ_CANCELED)
_M_EXECUTED: Final = int(_MSG.EXECUTED)
_M_REJECTED: Final = int(_MSG.REJECTED)
_M_CANCEL_REJECT: Final = int(_MSG.CANCEL_REJECT)
_M_MODIFIED: Final = int(_MSG.ORDER_MODIFIED)
_B_SYSTEM: Final = ouch.SYSTEM_EVENT.itemsize
_B_ACCEPTED: Final = ouch.ACCEPTED.itemsize
_B_REPLACED: Final = ouch.REPLACED.itemsize
_B_CANCELED: Final = ouch.CANCELED.itemsize
_B_AIQ: Final = ouch.AIQ_CANCELED.itemsize
_B_EXECUTED: Final = ouch.EXECUTED.itemsize
_B_REJECTED: Final = ouch.REJECTED.itemsize
_B_CANCEL_REJECT: Final = ouch.CANCEL_REJECT.itemsize
_B_MODIFIED: Final = ouch.ORDER_MODIFIED.itemsize

_TIF_MARKET_HOURS: Final = int(ouch_codes.TimeInForce.MARKET_HOURS)
_TIF_SYSTEM_HOURS: Final = int(ouch_codes.TimeInForce.SYSTEM_HOURS)
_PRICE_MARKET: Final = ouch.PRICE_E4_MARKET
_NO_CROSS: Final = int(ouch_codes.CrossType.NO_CROSS)
_LIVE: Final = int(ouch_codes.OrderState.LIVE)
_UNSPECIFIED: Final = int(ouch_codes.BboWeight.UNSPECIFIED)
_ADDED: Final = int(ouch_codes.Liquidity.ADDED)
_REMOVED: Final = int(ouch_codes.Liquidity.REMOVED)
_OPENING_CROSS: Final = int(ouch_codes.Liquidity.OPENING_CROSS)
_HALT_CROSS: Final = int(ouch_codes.Liquidity.HALT_OR_IPO_CROSS)
_SELF_MATCH: Final = int(ouch_codes.CancelReason.SELF_MATCH)

_REJECT: Final = ouch_codes.RejectReason
_CANCEL_REASON: Final = ouch_codes.CancelReason
#: How a refusal of the market reads in OUCH; any other is ``OTHER``.
REJECT_REASONS: Final = {
    Reason.KILLED: _REJECT.REJECT_ALL,
    Reason.HALTED: _REJECT.HALTED,
    Reason.CLOSED: _REJECT.CLOSED,
    Reason.NOT_CONTINUOUS: _REJECT.CLOSED,
    Reason.NOT_AUCTION: _REJECT.NOT_IN_THIS_CROSS,
    Reason.UNKNOWN_INSTRUMENT: _REJECT.INVALID_STOCK,
    Reason.INVALID_QTY: _REJECT.SAFETY_THRESHOLD,
    Reason.INVALID_LOT: _REJECT.SAFETY_THRESHOLD,
    Reason.INVALID_PRICE: _REJECT.INVALID_PRICE,
    Reason.INVALID_TICK: _REJECT.INVALID_PRICE,
    Reason.INVALID_INSTRUCTION: _REJECT.INVALID_DISPLAY,
    Reason.RESTRICTED: _REJECT.RESTRICTED_STOCK,
    Reason.MARKET_NOT_PERMITTED: _REJECT.INVALID_PRICE,
    Reason.PRICE_BAND: _REJECT.INVALID_PRICE,
    Reason.MAX_ORDER_QTY: _REJECT.SHARES_LIMIT,
    Reason.MAX_ORDER_VALUE: _REJECT.VALUE_LIMIT,
    Reason.ORDER_RATE: _REJECT.REJECT_ALL,
    Reason.ADV: _REJECT.SHARES_LIMIT,
    Reason.POSITION_LIMIT: _REJECT.SHARES_LIMIT,
    Reason.CREDIT: _REJECT.VALUE_LIMIT,
    Reason.WOULD_CROSS: _REJECT.INVALID_PRICE,
}
#: How the market's reason of a cancel reads in OUCH; any other is ``SYSTEM``.
CANCEL_REASONS: Final = {
    Reason.USER: _CANCEL_REASON.USER,
    Reason.REPLACED: _CANCEL_REASON.USER,
    Reason.MASS_CANCEL: _CANCEL_REASON.SUPERVISORY,
    Reason.IOC: _CANCEL_REASON.IMMEDIATE_OR_CANCEL,
    Reason.FOK: _CANCEL_REASON.IMMEDIATE_OR_CANCEL,
    Reason.MIN_QTY: _CANCEL_REASON.IMMEDIATE_OR_CANCEL,
    Reason.NO_LIQUIDITY: _CANCEL_REASON.IMMEDIATE_OR_CANCEL,
    Reason.SELF_TRADE: _CANCEL_REASON.SELF_MATCH,
    Reason.EXPIRED: _CANCEL_REASON.TIMEOUT,
    Reason.END_OF_DAY: _CANCEL_REASON.CLOSED,
    Reason.AUCTION: _CANCEL_REASON.CROSS,
    Reason.HALT: _CANCEL_REASON.HALTED,
    Reason.KILL: _CANCEL_REASON.SUPERVISORY,
    Reason.PRICE_BAND: _CANCEL_REASON.MARKET_COLLAR,
}


def _codes(table: "dict[Reason, Any]", other: int) -> "np.ndarray[Any, Any]":
    codes = np.full(256, other, np.uint8)
    for reason, code in table.items():
        codes[reason] = code
    return codes


#: A user; row 0 is of none. ``participant``: its number. ``next_seq``, ``bytes``: of its stream of the day.
USER: Final = np.dtype(
    [
        ("name", "<i8"),
        ("participant_name", "<i8"),
        ("participant", "<i8"),
        ("firm", "<i8"),
        ("permissions", "<i8"),
        ("next_seq", "<i8"),
        ("bytes", "<i8"),
        ("salt_0", "<i8"),
        ("salt_1", "<i8"),
        ("hash_0", "<i8"),
        ("hash_1", "<i8"),
        ("hash_2", "<i8"),
        ("cost", "<i8"),  # 0: no password yet
        ("reserved", "<i8", (3,)),
    ]
)
#: An open order of a user, found by participant and client order id (0: a free row), and the cold rest of it.
OPEN: Final = np.dtype([("client_order_id", "<i8"), ("participant", "<u2"), ("user", "<u2"), ("leaves_qty", "<u4")])
OPEN_REST: Final = np.dtype([("memo", "<i8"), ("token_head", "<i8"), ("token_tail", "<i8"), ("number", "<i8")])
#: An instrument; row 0 is of none. ``stock``: its symbol as eight characters, big-endian, padded on the right.
STOCK: Final = np.dtype([("symbol", "<i8"), ("stock", "<i8"), ("phase", "<i8"), ("cross", "<i8")])
#: A message that was written, and all of one user's together. ``begin``: of its bytes. ``position``: in its stream.
MESSAGE: Final = np.dtype([("user", "<i8"), ("begin", "<i8"), ("bytes", "<i8")])
SEGMENT: Final = np.dtype(
    [("user", "<i8"), ("first_seq", "<i8"), ("count", "<i8"), ("begin", "<i8"), ("bytes", "<i8"), ("position", "<i8")]
)

#: Bytes of messages that one event can cause at most, and how many messages.
EVENT_BYTES_MAX: Final = 2 * (_HEAD_BYTES + ouch.MESSAGE_BYTES_MAX)
EVENT_MESSAGES_MAX: Final = 2

_MIX: Final = np.int64(-7046029254386353131)
_MIX_PARTICIPANT: Final = np.int64(-4658895280553007687)
_SPACES: Final = 0x2020202020202020
_TAIL_SPACES: Final = 0x202020202020_0000


class Fold(NamedTuple):
    """What the messages of the next block depend on, and room to write them.

    ``carried``: two COMMAND rows: the EXTEND row that the block before ended with, else zeros; and always zeros.
    ``counts``: messages and bytes by user while a call lasts, zero between calls.
    """

    users: np.ndarray[Any, Any]  # USER[users_max + 1]
    stocks: np.ndarray[Any, Any]  # STOCK[instruments_max + 1]
    open: np.ndarray[Any, Any]  # OPEN[power of two]
    rest: np.ndarray[Any, Any]  # OPEN_REST[as many]
    carried: np.ndarray[Any, Any]  # COMMAND[2]
    reject_codes: np.ndarray[Any, Any]  # uint8[256]
    cancel_codes: np.ndarray[Any, Any]  # uint8[256]
    out: np.ndarray[Any, Any]  # uint8[n]: messages in the order of events
    grouped: np.ndarray[Any, Any]  # uint8[n]: the same, user by user
    messages: np.ndarray[Any, Any]  # MESSAGE[n]
    segments: np.ndarray[Any, Any]  # SEGMENT[users_max + 1]
    counts: np.ndarray[Any, Any]  # int64[users_max + 1, 2]
    tallies: np.ndarray[Any, Any]  # int64[2, 256]: events by kind, refusals by reason, since the process began


def new_fold(users_max: int, instruments_max: int, orders_max: int, out_bytes: int) -> Fold:
    """A fold before the first command. Memory is taken from the system as it is first written."""
    rows = 16
    while rows < 2 * orders_max:
        rows *= 2
    messages = out_bytes // (_HEAD_BYTES + _B_SYSTEM) + EVENT_MESSAGES_MAX
    return Fold(
        users=np.zeros(users_max + 1, USER),
        stocks=np.zeros(instruments_max + 1, STOCK),
        open=np.zeros(rows, OPEN),
        rest=np.zeros(rows, OPEN_REST),
        carried=np.zeros(2, COMMAND),
        reject_codes=_codes(REJECT_REASONS, _REJECT.OTHER),
        cancel_codes=_codes(CANCEL_REASONS, _CANCEL_REASON.SYSTEM),
        out=np.zeros(out_bytes, np.uint8),
        grouped=np.zeros(out_bytes, np.uint8),
        messages=np.zeros(messages, MESSAGE),
        segments=np.zeros(users_max + 1, SEGMENT),
        counts=np.zeros((users_max + 1, 2), np.int64),
        tallies=np.zeros((2, 256), np.int64),
    )


# The table of open orders: open addressing; neighbouring ids of a participant are neighbours in it.


@inlined
def _home(fold: Fold, participant, client_order_id):
    mixed = (client_order_id >> 6) ^ wrapping_multiply(participant, _MIX_PARTICIPANT)
    mixed = wrapping_multiply(mixed, _MIX)
    return (lshr(mixed, 20) + (client_order_id & 63)) & (len(fold.open) - 1)


@inlined
def _find(fold: Fold, participant, client_order_id):
    """Place of an open order, or -1."""
    place = _home(fold, participant, client_order_id)
    mask = len(fold.open) - 1
    for _ in range(len(fold.open)):
        row = fold.open[place]
        if np.int64(row["participant"]) == participant and row["client_order_id"] == client_order_id:
            return place
        if np.int64(row["participant"]) == 0:
            return np.int64(-1)
        place = (place + 1) & mask
    return np.int64(-1)


@inlined
def _insert(fold: Fold, participant, client_order_id):
    """Place of a new row; the table is at least twice as large as there can be open orders."""
    place = _home(fold, participant, client_order_id)
    mask = len(fold.open) - 1
    for _ in range(len(fold.open)):
        if np.int64(fold.open[place]["participant"]) == 0:
            break
        place = (place + 1) & mask
    row = fold.open[place]
    row["client_order_id"] = client_order_id
    row["participant"] = participant
    return place


@inlined
def _move(fold: Fold, source, target):
    there, row = fold.open[target], fold.open[source]
    there["client_order_id"] = row["client_order_id"]
    there["participant"] = row["participant"]
    there["user"] = row["user"]
    there["leaves_qty"] = row["leaves_qty"]
    there_rest, rest = fold.rest[target], fold.rest[source]
    there_rest["memo"] = rest["memo"]
    there_rest["token_head"] = rest["token_head"]
    there_rest["token_tail"] = rest["token_tail"]
    there_rest["number"] = rest["number"]


@inlined
def _remove(fold: Fold, place):
    """Takes a row out; those behind it that would no longer be found move up."""
    mask = len(fold.open) - 1
    free = place
    for step in range(1, len(fold.open)):
        at = (place + step) & mask
        row = fold.open[at]
        if np.int64(row["participant"]) == 0:
            break
        home = _home(fold, np.int64(row["participant"]), row["client_order_id"])
        if ((at - home) & mask) >= ((at - free) & mask):
            _move(fold, at, free)
            free = at
    row = fold.open[free]
    row["client_order_id"] = 0
    row["participant"] = 0
    row["user"] = 0
    row["leaves_qty"] = 0


# Writing messages.


@inlined
def _put_u32(out, at, value):
    out[at] = (value >> 24) & 255
    out[at + 1] = (value >> 16) & 255
    out[at + 2] = (value >> 8) & 255
    out[at + 3] = value & 255
    return at + 4


@inlined
def _put_u64(out, at, value):
    _put_u32(out, at, value >> 32)
    return _put_u32(out, at + 4, value)


@inlined
def _put_token(out, at, head, tail):
    _put_u64(out, at, head)
    _put_u32(out, at + 8, tail >> 32)
    out[at + 12] = (tail >> 24) & 255
    out[at + 13] = (tail >> 16) & 255
    return at + 14


@inlined
def _padded(word, characters):
    """A right-aligned name as so many characters, at the top of the word, padded with spaces on the right."""
    for _ in range(characters):
        if lshr(word, 8 * (characters - 1)) & 255 != 0:
            break
        word = (word << 8) | 32
    return word


@inlined
def _head_of(client_order_id, head):
    return head if client_order_id < 0 else _padded(client_order_id, 8)


@inlined
def _tail_of(client_order_id, tail):
    return tail if client_order_id < 0 else np.int64(_TAIL_SPACES)


@inlined
def _begin(out, at, payload_bytes, kind, time_ns):
    """Frame, kind and time; where the rest goes."""
    out[at] = (payload_bytes + 1) >> 8
    out[at + 1] = (payload_bytes + 1) & 255
    out[at + 2] = _SEQUENCED
    out[at + _HEAD_BYTES] = kind
    return _put_u64(out, at + _HEAD_BYTES + 1, time_ns)


@inlined
def _sent(fold: Fold, m, user, begin, end):
    """Notes message m for a user; m + 1."""
    message = fold.messages[m]
    message["user"] = user
    message["begin"] = begin
    message["bytes"] = end - begin
    fold.counts[user, 0] += 1
    fold.counts[user, 1] += end - begin
    return m + 1


@inlined
def _end(fold: Fold, m):
    """Where the next message goes."""
    return fold.messages[m - 1]["begin"] + fold.messages[m - 1]["bytes"] if m > 0 else np.int64(0)


@inlined
def _put_placed(fold: Fold, at, user, event, memo, tif_s, min_qty):
    """What an Accepted and a Replaced say alike, from the side on to the cross type and the order state."""
    out = fold.out
    out[at] = (memo >> 16) & 255
    at = _put_u32(out, at + 1, event["qty"])
    at = _put_u64(out, at, fold.stocks[np.int64(event["instrument"])]["stock"])
    price_e4 = event["price_e4"]
    at = _put_u32(out, at, price_e4 if price_e4 != 0 else np.int64(_PRICE_MARKET))
    at = _put_u32(out, at, tif_s)
    at = _put_u32(out, at, _padded(fold.users[user]["firm"], 4))
    out[at] = (memo >> 24) & 255
    at = _put_u64(out, at + 1, event["number"])
    out[at] = (memo >> 32) & 255
    out[at + 1] = (memo >> 40) & 255
    at = _put_u32(out, at + 2, min_qty)
    out[at] = _NO_CROSS
    out[at + 1] = _LIVE
    return at + 2


@inlined
def _hours(memo):
    """The time in force of an order that may rest, in OUCH's seconds."""
    return np.int64(_TIF_SYSTEM_HOURS) if (memo >> 56) & _SYSTEM_HOURS else np.int64(_TIF_MARKET_HOURS)


@inlined
def _accepted(fold: Fold, m, event, command, extend, time_ns):
    memo = command["memo"]
    user = memo & 0xFFFF
    if user == 0 or user >= len(fold.users) or fold.users[user]["name"] == 0:
        return m
    client_order_id = event["client_order_id"]
    place = _insert(fold, np.int64(event["participant"]), client_order_id)
    row, rest = fold.open[place], fold.rest[place]
    row["user"] = user
    row["leaves_qty"] = event["qty"]
    rest["memo"] = memo
    rest["token_head"] = extend["token_head"]
    rest["token_tail"] = extend["token_tail"]
    rest["number"] = event["number"]
    begin = _end(fold, m)
    at = _begin(fold.out, begin, _B_ACCEPTED, _M_ACCEPTED, time_ns)
    at = _put_token(
        fold.out, at, _head_of(client_order_id, rest["token_head"]), _tail_of(client_order_id, rest["token_tail"])
    )
    tif_s = np.int64(0) if np.int64(command["time_in_force"]) == _IOC else _hours(memo)
    min_qty = command["min_qty"] if np.int64(command["instructions"]) & _MIN_QTY else np.int64(0)
    at = _put_placed(fold, at, user, event, memo, tif_s, min_qty)
    fold.out[at] = _UNSPECIFIED
    return _sent(fold, m, user, begin, at + 1)


@called
def _replaced(fold: Fold, m, event, command, extend, time_ns):
    participant = np.int64(event["participant"])
    place = _find(fold, participant, event["client_order_id"])
    if place < 0:
        return m
    old_id, new_id = event["client_order_id"], event["contra_client_order_id"]
    was = fold.rest[place]
    number, memo, user = was["number"], was["memo"], np.int64(fold.open[place]["user"])
    old_head, old_tail = _head_of(old_id, was["token_head"]), _tail_of(old_id, was["token_tail"])
    _remove(fold, place)
    sender = command["new_memo"] & 0xFFFF
    owner = user
    if sender != 0 and sender < len(fold.users) and fold.users[sender]["name"] != 0:
        owner = sender
    memo = (memo & ~np.int64(0xFFFF)) | owner
    place = _insert(fold, participant, new_id)
    row, rest = fold.open[place], fold.rest[place]
    row["user"] = owner
    row["leaves_qty"] = event["qty"]
    rest["memo"] = memo
    rest["token_head"] = extend["new_token_head"]
    rest["token_tail"] = extend["new_token_tail"]
    rest["number"] = number
    for turn in range(2):
        to = owner if turn == 0 else user
        if turn == 1 and user == owner:
            break
        begin = _end(fold, m)
        at = _begin(fold.out, begin, _B_REPLACED, _M_REPLACED, time_ns)
        at = _put_token(fold.out, at, _head_of(new_id, rest["token_head"]), _tail_of(new_id, rest["token_tail"]))
        at = _put_placed(fold, at, to, event, memo, _hours(memo), np.int64(0))
        at = _put_token(fold.out, at, old_head, old_tail)
        fold.out[at] = _UNSPECIFIED
        m = _sent(fold, m, to, begin, at + 1)
    return m


@inlined
def _executed(fold: Fold, m, event, participant, client_order_id, liquidity, time_ns):
    """One side of a trade."""
    place = _find(fold, participant, client_order_id)
    if place < 0:
        return m
    row = fold.open[place]
    user = np.int64(row["user"])
    left = np.int64(row["leaves_qty"]) - event["qty"]
    head, tail = _head_of(client_order_id, np.int64(0)), np.int64(_TAIL_SPACES)
    if client_order_id < 0:
        head, tail = fold.rest[place]["token_head"], fold.rest[place]["token_tail"]
    begin = _end(fold, m)
    at = _begin(fold.out, begin, _B_EXECUTED, _M_EXECUTED, time_ns)
    at = _put_token(fold.out, at, head, tail)
    at = _put_u32(fold.out, at, event["qty"])
    at = _put_u32(fold.out, at, event["price_e4"])
    fold.out[at] = liquidity
    at = _put_u64(fold.out, at + 1, event["number"])
    row["leaves_qty"] = max(left, 0)
    if left <= 0:
        _remove(fold, place)
    return _sent(fold, m, user, begin, at)


@inlined
def _trade(fold: Fold, m, event, time_ns):
    resting, incoming = np.int64(_ADDED), np.int64(_REMOVED)
    if event["side"] == 0:
        resting = fold.stocks[np.int64(event["instrument"])]["cross"]
        incoming = resting
    m = _executed(fold, m, event, np.int64(event["participant"]), event["client_order_id"], resting, time_ns)
    return _executed(
        fold, m, event, np.int64(event["contra_participant"]), event["contra_client_order_id"], incoming, time_ns
    )


@inlined
def _write_canceled(fold: Fold, m, to, event, head, tail, kind, code, removes, side, left, time_ns):
    begin = _end(fold, m)
    if kind == _M_MODIFIED:
        at = _begin(fold.out, begin, _B_MODIFIED, _M_MODIFIED, time_ns)
        at = _put_token(fold.out, at, head, tail)
        fold.out[at] = side
        return _sent(fold, m, to, begin, _put_u32(fold.out, at + 1, left))
    at = _begin(fold.out, begin, _B_AIQ if kind == _M_AIQ else _B_CANCELED, kind, time_ns)
    at = _put_token(fold.out, at, head, tail)
    at = _put_u32(fold.out, at, event["qty"])
    fold.out[at] = code
    at += 1
    if kind == _M_AIQ:
        at = _put_u32(fold.out, at, event["qty"])
        at = _put_u32(fold.out, at, event["price_e4"])
        fold.out[at] = _REMOVED if removes else _ADDED
        at += 1
    return _sent(fold, m, to, begin, at)


@inlined
def _canceled(fold: Fold, m, event, command, time_ns):
    participant, client_order_id = np.int64(event["participant"]), event["client_order_id"]
    place = _find(fold, participant, client_order_id)
    if place < 0:
        return m
    row, rest = fold.open[place], fold.rest[place]
    user = np.int64(row["user"])
    left = max(np.int64(row["leaves_qty"]) - event["qty"], 0)
    head, tail = _head_of(client_order_id, rest["token_head"]), _tail_of(client_order_id, rest["token_tail"])
    memo = rest["memo"]
    by_cancel = np.int64(command["kind"]) == _CANCEL
    kind = np.int64(_M_CANCELED)
    if np.int64(event["reason"]) == _SELF_TRADE:
        kind = np.int64(_M_AIQ)
    elif by_cancel and (command["memo"] >> 56) & _MODIFY and left > 0:
        kind = np.int64(_M_MODIFIED)
        side = (command["memo"] >> 16) & 255
        if side != 0:
            memo = (memo & ~np.int64(0xFF0000)) | (side << 16)
            rest["memo"] = memo
    own = command["client_order_id"] if np.int64(command["kind"]) == _ENTER else command["new_client_order_id"]
    removes = own == client_order_id and np.int64(command["participant"]) == participant
    code = np.int64(fold.cancel_codes[np.int64(event["reason"])])
    row["leaves_qty"] = left
    if left == 0:
        _remove(fold, place)
    m = _write_canceled(fold, m, user, event, head, tail, kind, code, removes, (memo >> 16) & 255, left, time_ns)
    sender = command["memo"] & 0xFFFF if by_cancel else np.int64(0)
    if sender != 0 and sender != user and sender < len(fold.users) and fold.users[sender]["name"] != 0:
        m = _write_canceled(fold, m, sender, event, head, tail, kind, code, removes, (memo >> 16) & 255, left, time_ns)
    return m


@called
def _refused(fold: Fold, m, event, command, extend, time_ns):
    """A Rejected, or a Cancel Reject, to whoever sent the command."""
    kind = np.int64(command["kind"])
    cancel_reject = np.int64(event["kind"]) == _CANCEL_REJECTED
    if kind == _REPLACE:
        memo = command["new_memo"]
    elif kind == _ENTER or (kind == _CANCEL and cancel_reject):
        memo = command["memo"]
    else:
        return m
    user = memo & 0xFFFF
    if user == 0 or user >= len(fold.users) or fold.users[user]["name"] == 0:
        return m
    client_order_id, head, tail = command["client_order_id"], extend["token_head"], extend["token_tail"]
    if kind == _REPLACE and not cancel_reject:
        client_order_id = command["new_client_order_id"]
        head, tail = extend["new_token_head"], extend["new_token_tail"]
    begin = _end(fold, m)
    payload_bytes = _B_CANCEL_REJECT if cancel_reject else _B_REJECTED
    at = _begin(fold.out, begin, payload_bytes, _M_CANCEL_REJECT if cancel_reject else _M_REJECTED, time_ns)
    at = _put_token(fold.out, at, _head_of(client_order_id, head), _tail_of(client_order_id, tail))
    if not cancel_reject:
        fold.out[at] = fold.reject_codes[np.int64(event["reason"])]
        at += 1
    return _sent(fold, m, user, begin, at)


@called
def _phase(fold: Fold, event):
    """Remembers an instrument's phase, and of what kind the next uncross is."""
    row = fold.stocks[np.int64(event["instrument"])]
    phase = np.int64(event["phase"])
    if phase == _CONTINUOUS:
        row["cross"] = _HALT_CROSS if row["phase"] == _PHASE_HALTED else _OPENING_CROSS
    row["phase"] = phase


@called
def _group(fold: Fold, m):
    """Puts m messages together user by user; the number of segments. With one user they lie in ``out`` already."""
    count = np.int64(0)
    at = np.int64(0)
    for number in range(m):
        user = fold.messages[number]["user"]
        if fold.counts[user, 0] > 0:
            segment = fold.segments[count]
            count += 1
            segment["user"] = user
            segment["first_seq"] = fold.users[user]["next_seq"]
            segment["count"] = fold.counts[user, 0]
            segment["begin"] = at
            segment["bytes"] = fold.counts[user, 1]
            segment["position"] = fold.users[user]["bytes"]
            fold.users[user]["next_seq"] += fold.counts[user, 0]
            fold.users[user]["bytes"] += fold.counts[user, 1]
            at += fold.counts[user, 1]
            # From here on the counters say, negative, where the user's next message goes.
            fold.counts[user, 0] = -1
            fold.counts[user, 1] = segment["begin"]
    for number in range(m):
        message = fold.messages[number]
        user = message["user"]
        if count > 1:
            to = fold.counts[user, 1]
            begin = message["begin"]
            for byte in range(message["bytes"]):
                fold.grouped[to + byte] = fold.out[begin + byte]
            fold.counts[user, 1] = to + message["bytes"]
    for number in range(count):
        user = fold.segments[number]["user"]
        fold.counts[user, 0] = 0
        fold.counts[user, 1] = 0
    return count


@called
def answer_events(fold: Fold, first_seq, commands, events, start, clock_at, clock_ns, clocks, now_ns):
    """Messages for ``events`` from ``start`` on; gives (next event, segments).

    first_seq: of ``commands``, which are all that the events are of. clock_at, clock_ns: the first ``clocks`` are the
    CLOCK rows among them that were taken (``survey``), and ``now_ns`` is the time before the first. It stops when there
    may be no more room: call again. What is in ``out`` (one segment) or ``grouped`` (several) is to be taken first.
    """
    m = np.int64(0)
    clock = np.int64(0)
    time_ns = now_ns % DAY_NS
    number = start
    for number in range(start, len(events)):
        if _end(fold, m) + EVENT_BYTES_MAX > len(fold.out) or m + EVENT_MESSAGES_MAX > len(fold.messages):
            return number, _group(fold, m)
        event = events[number]
        at = event["seq"] - first_seq
        if at < 0 or at >= len(commands):
            continue
        while clock < clocks and clock_at[clock] <= at:
            time_ns = clock_ns[clock] % DAY_NS
            clock += 1
        kind = np.int64(event["kind"])
        command = commands[at]
        if kind == _TRADE:
            m = _trade(fold, m, event, time_ns)
        elif kind == _CANCELED:
            m = _canceled(fold, m, event, command, time_ns)
        elif kind == _PHASE or kind == _HALTED:
            _phase(fold, event)
        else:
            extend = fold.carried[0 if at == 0 else 1]
            if at > 0 and np.int64(commands[at - 1]["kind"]) == _EXTEND:
                extend = commands[at - 1]
            if kind == _ACCEPTED:
                m = _accepted(fold, m, event, command, extend, time_ns)
            elif kind == _REPLACED:
                m = _replaced(fold, m, event, command, extend, time_ns)
            elif kind == _REJECTED or kind == _CANCEL_REJECTED:
                m = _refused(fold, m, event, command, extend, time_ns)
    return len(events), _group(fold, m)


@called
def survey(commands, events, first_seq, clock_at, clock_ns, tallies):
    """What of a block the shell has to see: (CLOCK rows taken, rows that define, whether it ends with an EXTEND row).
    Counts its events.

    clock_at, clock_ns: where the CLOCK rows that were not refused stand, and their values; with room for each row.
    """
    clocks, definitions, e = np.int64(0), np.int64(0), np.int64(0)
    kind = np.int64(0)
    for at in range(len(commands)):
        kind = np.int64(commands[at]["kind"])
        if kind == _INSTRUMENT or kind == _PARTICIPANT or kind == _USER or kind == _CREDENTIAL:
            definitions += 1
        elif kind == _CLOCK:
            while e < len(events) and events[e]["seq"] < first_seq + at:
                e += 1
            refused = e < len(events) and events[e]["seq"] == first_seq + at
            if not refused:
                clock_at[clocks] = at
                clock_ns[clocks] = commands[at]["time_ns"]
                clocks += 1
    for e in range(len(events)):
        caused = np.int64(events[e]["kind"])
        tallies[0, caused] += 1
        if caused == _REJECTED or caused == _CANCEL_REJECTED:
            tallies[1, np.int64(events[e]["reason"])] += 1
    return clocks, definitions, kind == _EXTEND


@called
def system_event(fold: Fold, user, code, time_ns):
    """A System Event to one user alone; gives the number of segments, 1."""
    at = _begin(fold.out, 0, _B_SYSTEM, _M_SYSTEM, time_ns % DAY_NS)
    fold.out[at] = code
    return _group(fold, _sent(fold, 0, user, np.int64(0), at + 1))


@called
def orders_of(fold: Fold, user, numbers, client_order_ids):
    """The open orders of a user, by number in order of acceptance and client order id, in no order; how many."""
    count = np.int64(0)
    for place in range(len(fold.open)):
        row = fold.open[place]
        if np.int64(row["participant"]) != 0 and np.int64(row["user"]) == user and count < len(numbers):
            numbers[count] = fold.rest[place]["number"]
            client_order_ids[count] = row["client_order_id"]
            count += 1
    return count
