"""Kernel that makes records of many reports at once, as ``FixStreams`` makes them one by one.

It takes reports at the front of what the fold gave as far as they are usual: of orders whose ids are short or tokens,
caused by a command of the block that had its effect at once, and marks of no session. It stops before the first that is
anything else, which Python takes, and says where the next usual one is. The records of a user come out side by side.
"""

from typing import Any, Final, NamedTuple

import numpy as np

from engine.jit import Packed, called, inlined, lshr, unpack_pointers
from engine.records import COMMAND, EVENT, CommandKind, Reason
from gateway.fix import records
from gateway.fix.kept_orders import (
    CLOSED,
    OPEN,
    ROW_BYTES,
    KeptOrders,
    drop_open,
    has_room,
    keep_row,
    state_of,
    unpack_kept,
)
from gateway.fix.marks import NUMBER, RESENT, ROUTED, SEQ_MAX, Mark
from gateway.fix.names import LONG
from gateway.tokens import order_id
from reports.projection import read_only
from reports.rows import REPORT, ReportKind
from wire.ouch_layout import TOKEN_CHARACTERS

#: Last kind of a report about an order.
ORDERS_MAX: Final = 19
#: Outcomes: all is taken, or the next is for Python; there is no room for records; none for orders that are kept.
DONE, OUT_FULL, KEPT_FULL = range(3)

_ENTER, _CANCEL = int(CommandKind.ENTER), int(CommandKind.CANCEL)
_REPLACE, _EXTEND = int(CommandKind.REPLACE), int(CommandKind.EXTEND)
_CROSS: Final = int(CommandKind.CROSS)
_NEW, _REPLACED = int(ReportKind.NEW), int(ReportKind.REPLACED)
_CANCELED: Final = int(ReportKind.CANCELED)
_REJECTED, _CANCEL_REJECTED = int(ReportKind.REJECTED), int(ReportKind.CANCEL_REJECTED)
_BY_REPLACE, _UNKNOWN = int(Reason.REPLACED), int(Reason.UNKNOWN_ORDER)
_OPEN, _CLOSED = OPEN, CLOSED
_HEAD: Final = records.HEAD.size
_RECORD: Final = records.REPORT
_PROTOCOL: Final = NUMBER
_SESSION, _RESET = int(Mark.SESSION), int(Mark.RESET)
_SEQ_MAX: Final = SEQ_MAX
_FLAGS: Final = ROUTED | RESENT
_LONG: Final = LONG
_TOKEN: Final = TOKEN_CHARACTERS
_ORDERS_MAX: Final = ORDERS_MAX
#: Acts on a kind of report: nothing, a record, or Python's turn.
_NOTHING, _ORDER, _PYTHON = range(3)
_TO_PYTHON: Final = (
    *(ReportKind.INSTRUMENT, ReportKind.PARTICIPANT, ReportKind.USER, ReportKind.CREDENTIAL),
    *(ReportKind.TRADING_DAY, ReportKind.MASS_CANCEL),
)
_KINDS: Final = 256
#: Bytes of a record with two tokens, and of the records of one call.
_RECORD_BYTES: Final = _HEAD + ROW_BYTES + 2 * TOKEN_CHARACTERS
OUT_BYTES: Final = 1 << 19
_RECORDS: Final = OUT_BYTES // (_HEAD + ROW_BYTES) + 2
_SPACE: Final = 32


class Telling(NamedTuple):
    """Tables of the kernel, and its memory. One of the streams of a gateway."""

    reports: np.ndarray[Any, Any]  # REPORT[n]: the room of the fold
    report_bytes: np.ndarray[Any, Any]  # uint8[256 * n]: its memory
    acts: np.ndarray[Any, Any]  # int64[256]: what becomes of each kind
    carried: np.ndarray[Any, Any]  # COMMAND[1]: last row of the block before
    uses_fix: np.ndarray[Any, Any]  # bool[users]
    next_out: np.ndarray[Any, Any]  # int64[users]
    next_in: np.ndarray[Any, Any]  # int64[users]
    texts: np.ndarray[Any, Any]  # uint8[2 * 16]: ClOrdID and OrigClOrdID of a report
    made: np.ndarray[Any, Any]  # uint8[n]: records in their order
    made_at: np.ndarray[Any, Any]  # int64[records + 1]: begin of each
    owners: np.ndarray[Any, Any]  # int64[records]: user of each
    behind: np.ndarray[Any, Any]  # int64[records]: the next record of the same user, + 1
    first: np.ndarray[Any, Any]  # int64[users]: first and last record of a user, + 1; 0: none
    last: np.ndarray[Any, Any]
    out: np.ndarray[Any, Any]  # uint8[n]: records by user
    groups: np.ndarray[Any, Any]  # int64[users, 3]: user, records, end of their bytes


def new_telling(
    reports: "np.ndarray[Any, Any]",
    uses_fix: "np.ndarray[Any, Any]",
    next_out: "np.ndarray[Any, Any]",
    next_in: "np.ndarray[Any, Any]",
) -> Telling:
    """Tables beside those that the streams have."""
    acts = np.zeros(_KINDS, np.int64)
    acts[: ORDERS_MAX + 1] = _ORDER
    acts[[int(kind) for kind in _TO_PYTHON]] = _PYTHON
    users = len(uses_fix)
    return Telling(
        reports,
        reports.view(f"V{ROW_BYTES}").view(np.uint8),
        acts,
        np.zeros(1, COMMAND),
        uses_fix,
        next_out,
        next_in,
        np.zeros(32, np.uint8),
        np.zeros(OUT_BYTES, np.uint8),
        np.zeros(_RECORDS + 1, np.int64),
        np.zeros(_RECORDS, np.int64),
        np.zeros(_RECORDS, np.int64),
        np.zeros(users, np.int64),
        np.zeros(users, np.int64),
        np.zeros(OUT_BYTES, np.uint8),
        np.zeros((users, 3), np.int64),
    )


def example_of_telling() -> Telling:
    """Tables of no users, for the types of their arrays."""
    users = np.zeros(2, np.int64)
    return new_telling(np.zeros(1, REPORT), np.zeros(2, np.bool_), users, users)


_unpack = unpack_pointers(example_of_telling())


@called
def _put_token(texts, begin, head, tail):
    """Write the 14 characters of a token without what pads it; gives their number."""
    size = np.int64(0)
    for place in range(_TOKEN):
        word, shift = (head, 56 - 8 * place) if place < 8 else (tail, 120 - 8 * place)
        character = lshr(word, shift) & 255
        texts[begin + place] = character
        if character not in (0, _SPACE):
            size = np.int64(place + 1)
    return size


@called
def _put_id(texts, begin, client_order_id, head, tail):
    """Write the text of an id (``names.shown``); gives its size, -1 where Python has to say it."""
    if client_order_id < 0:
        if order_id(head, tail) != client_order_id:  # it is that of a longer text, which only begins with the token
            return np.int64(-1)
        return _put_token(texts, begin, head, tail)
    if client_order_id == 0:
        return np.int64(-1)
    size = np.int64(0)
    for place in range(8):
        character = lshr(client_order_id, 56 - 8 * place) & 255
        if size > 0 or character != 0:
            texts[begin + size] = character
            size += 1
    return size


@inlined
def _asks(kind):
    return kind in (_ENTER, _CANCEL, _REPLACE)


@inlined
def _is_silent(tables: Telling, report):
    """True for a report that concerns only users who have never spoken FIX."""
    return not (
        lshr(report["command_context"], 60) == _PROTOCOL
        or tables.uses_fix[report["user"]]
        or tables.uses_fix[report["other_user"]]
    )


@inlined
def _new_token(commands, place):
    """The second token of an EXTEND row; (0, 0) of any other."""
    row = commands[place]
    if row["kind"] != _EXTEND:
        return np.int64(0), np.int64(0)
    return np.int64(row["new_token_head"]), np.int64(row["new_token_tail"])


@inlined
def _is_taken(kept, sender, client_order_id, report):
    """True if the ClOrdID of a cancel that was carried out is that of another order, which is open."""
    return (
        np.int64(report["kind"]) != _CANCEL_REJECTED
        and client_order_id != report["client_order_id"]
        and state_of(kept, sender, client_order_id) == _OPEN
    )


@inlined
def _is_late(kept, report):
    """True for the refusal of a cancel or replace of an order whose last report is kept."""
    if np.int64(report["kind"]) != _CANCEL_REJECTED or np.int64(report["reason"]) != _UNKNOWN:
        return False
    asked = report["client_order_id"]
    if report["command_kind"] == _REPLACE:
        asked = report["previous_client_order_id"]
    return state_of(kept, np.int64(report["user"]), asked) == _CLOSED


@called
def _sizes_of(tables: Telling, kept, commands, first_seq, at):
    """Write the texts of a report of an order; gives their sizes, the first -1 where the report is for Python."""
    report, texts = tables.reports[at], tables.texts
    kind, command_kind = np.int64(report["kind"]), np.int64(report["command_kind"])
    context, place = report["command_context"], report["seq"] - first_seq
    by_fix = lshr(context, 60) == _PROTOCOL
    head, tail = np.int64(0), np.int64(0)
    if by_fix:
        if place < 0 or place >= len(commands) or not _asks(np.int64(commands[place]["kind"])):
            return np.int64(-1), np.int64(0)
        if lshr(context, 48) & _FLAGS:  # its answer goes to a third party, or may be another
            return np.int64(-1), np.int64(0)
        if command_kind == _CANCEL:
            if report["client_order_id"] == 0:
                return np.int64(-1), np.int64(0)
            head, tail = _new_token(commands, place - 1) if place > 0 else _new_token(tables.carried, np.int64(0))
            if tail == _LONG:
                return np.int64(-1), np.int64(0)
    own = _put_id(texts, 0, report["client_order_id"], report["token_head"], report["token_tail"])
    orig = np.int64(0)
    if kind == _REPLACED or (command_kind == _REPLACE and kind in (_REJECTED, _CANCEL_REJECTED)):
        old_id = report["previous_client_order_id"]
        orig = _put_id(texts, 16, old_id, report["previous_token_head"], report["previous_token_tail"])
        if orig < 0:
            own = np.int64(-1)
    elif by_fix and command_kind == _CANCEL and own >= 0:
        for n in range(own):
            texts[16 + n] = texts[n]
        orig = own
        if head != 0 and not _is_taken(kept, context & 0xFFFF, order_id(head, tail), report):
            size = _put_token(texts, 0, head, tail)
            if size > 0:
                own = size
    return own, orig


@called
def _act_of(tables: Telling, kept, commands, first_seq, at, highest_e4):
    """The act on a report: nothing, a record, or Python's turn; and the sizes of its texts."""
    report = tables.reports[at]
    kind = np.int64(report["kind"])
    act = tables.acts[kind]
    if act != _ORDER:
        return act, np.int64(0), np.int64(0)
    if report["command_kind"] == _CROSS or (kind in (_NEW, _REPLACED) and report["price_e4"] > highest_e4):
        return np.int64(_PYTHON), np.int64(0), np.int64(0)
    if kind == _CANCELED and report["command_kind"] == _REPLACE and np.int64(report["reason"]) == _BY_REPLACE:
        return np.int64(_PYTHON), np.int64(0), np.int64(0)
    if report["user"] == 0 and report["other_user"] == 0:
        return np.int64(_NOTHING), np.int64(0), np.int64(0)
    if max(np.int64(report["user"]), np.int64(report["other_user"])) >= len(tables.uses_fix):
        return np.int64(_PYTHON), np.int64(0), np.int64(0)
    of_no_order = report["command_kind"] == _CANCEL and report["client_order_id"] == 0
    if of_no_order and lshr(report["command_context"], 60) != _PROTOCOL:
        return np.int64(_NOTHING), np.int64(0), np.int64(0)
    if _is_silent(tables, report):
        return np.int64(_ORDER), np.int64(0), np.int64(0)
    if _is_late(kept, report):
        return np.int64(_PYTHON), np.int64(0), np.int64(0)
    own, orig = _sizes_of(tables, kept, commands, first_seq, at)
    return np.int64(_ORDER if own >= 0 else _PYTHON), own, orig


@inlined
def _put_word(out, at, word, size):
    for place in range(size):
        out[at + place] = lshr(word, 8 * place) & 255


@called
def _put_record(tables: Telling, user, at, own, orig, n, end):
    """Write a record of a report; gives the place behind it."""
    out, number = tables.made, tables.next_out[user]
    tables.next_out[user] = number + 1
    size = _HEAD + ROW_BYTES + own + orig
    _put_word(out, end, size, 4)
    _put_word(out, end + 4, number, 4)
    out[end + 8], out[end + 9], out[end + 10], out[end + 11] = _RECORD, own, orig, 0
    place, row = end + _HEAD, at * ROW_BYTES
    for byte in range(ROW_BYTES):
        out[place + byte] = tables.report_bytes[row + byte]
    place += ROW_BYTES
    for byte in range(own):
        out[place + byte] = tables.texts[byte]
    for byte in range(orig):
        out[place + own + byte] = tables.texts[16 + byte]
    tables.made_at[n], tables.made_at[n + 1] = end, end + size
    tables.owners[n], tables.behind[n] = user, 0
    if tables.last[user] == 0:
        tables.first[user] = n + 1
    else:
        tables.behind[tables.last[user] - 1] = n + 1
    tables.last[user] = n + 1
    return end + size


@called
def _keep(tables: Telling, kept, at, silent):
    """Keep the report as the last one of its order."""
    report = tables.reports[at]
    user, kind = np.int64(report["user"]), np.int64(report["kind"])
    if user == 0 or kind in (_REJECTED, _CANCEL_REJECTED):
        return
    if kind == _REPLACED and report["previous_client_order_id"] != 0:
        drop_open(kept, user, report["previous_client_order_id"])
        drop_open(kept, np.int64(report["other_user"]), report["previous_client_order_id"])
    own_id = report["client_order_id"]
    if report["leaves_qty"] > 0:
        keep_row(kept, user, own_id, False, tables.report_bytes, at * ROW_BYTES)
    elif silent:
        drop_open(kept, user, own_id)
    else:
        keep_row(kept, user, own_id, True, tables.report_bytes, at * ROW_BYTES)


@called
def _gather(tables: Telling, count):
    """Put the records of each user side by side, in the order of their first ones; gives the number of users."""
    groups, end = np.int64(0), np.int64(0)
    for n in range(count):
        user = tables.owners[n]
        if tables.first[user] != n + 1:
            continue
        each, of_user = np.int64(n + 1), np.int64(0)
        while each > 0:
            for byte in range(tables.made_at[each - 1], tables.made_at[each]):
                tables.out[end] = tables.made[byte]
                end += 1
            of_user += 1
            each = tables.behind[each - 1]
        tables.first[user] = tables.last[user] = 0
        tables.groups[groups, 0], tables.groups[groups, 1], tables.groups[groups, 2] = user, of_user, end
        groups += 1
    return groups


@inlined
def _consume(tables: Telling, context):
    """Take the number of a message of FIX that has become a command."""
    sender, next_in = context & 0xFFFF, (context >> 16) & _SEQ_MAX
    if lshr(context, 60) == _PROTOCOL and sender < len(tables.next_in) and next_in > tables.next_in[sender]:
        tables.next_in[sender] = next_in


@called
def tell_reports(pointers, kept_pointers, commands, first_seq, at, end, highest_e4):
    """Make the records of the reports from ``at`` on. commands: of the block, from ``first_seq`` on.

    Gives the place of the first report that was not taken, the next one behind it that is not Python's, the groups of
    records in ``Telling.out``, and DONE, OUT_FULL or KEPT_FULL.
    """
    tables, kept = _unpack(pointers), unpack_kept(kept_pointers)
    count, bytes_end, why = np.int64(0), np.int64(0), np.int64(DONE)
    while at < end:
        act, own, orig = _act_of(tables, kept, commands, first_seq, at, highest_e4)
        if act == _PYTHON:
            break
        if act == _ORDER:
            if not has_room(kept):
                why = np.int64(KEPT_FULL)
                break
            if bytes_end + 2 * _RECORD_BYTES > OUT_BYTES or count + 2 > _RECORDS:
                why = np.int64(OUT_FULL)
                break
            report = tables.reports[at]
            user, other = np.int64(report["user"]), np.int64(report["other_user"])
            silent = _is_silent(tables, report)
            if not silent:
                _consume(tables, report["command_context"])
            _keep(tables, kept, at, silent)
            for n in range(2 if other not in (0, user) else 1):
                each = user if n == 0 else other
                if tables.uses_fix[each]:
                    bytes_end = _put_record(tables, each, at, own, orig, count, bytes_end)
                    count += 1
                elif each != 0:
                    tables.next_out[each] += 1
        at += 1
    until = at
    if why == DONE:
        while until < end and _act_of(tables, kept, commands, first_seq, until, highest_e4)[0] == _PYTHON:
            until += 1
    return at, until, _gather(tables, count), why


@called
def survey(commands, carried, events, first_seq, answered):
    """Number of order commands of a block without an event, and of marks of signed logons. answered: uint8[commands],
    zeros; 1 for those with an event. carried: the row before the block."""
    for n in range(len(events)):
        place = events[n]["seq"] - first_seq
        if 0 <= place < len(answered):
            answered[place] = 1
    count, signed = np.int64(0), np.int64(0)
    for n in range(len(commands)):
        kind = np.int64(commands[n]["kind"])
        if answered[n] == 0 and _asks(kind):
            count += 1
        if kind == _CANCEL and commands[n]["client_order_id"] == 0:
            before = commands[n - 1] if n else carried[0]
            of_logon = lshr(commands[n]["context"], 48) & 255 in (_SESSION, _RESET)
            signed += of_logon and before["kind"] == _EXTEND and before["name"] != 0
    return count, signed


def compile_telling() -> None:
    """Compile or load the kernels: they tell nothing."""
    kept = KeptOrders()
    kept.drop_open(0, 0)
    kept.keep(0, 0, bytes(ROW_BYTES))
    kept.is_open((0, 0))
    nothing = read_only(np.zeros(0, COMMAND))
    tell_reports(Packed(example_of_telling()).pointers, kept.pointers, nothing, 1, 0, 0, 0)
    survey(nothing, np.zeros(1, COMMAND), read_only(np.zeros(0, EVENT)), 1, np.zeros(0, np.uint8))
