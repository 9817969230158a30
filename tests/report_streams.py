"""Streams of commands for tests of reports: orders of users, with the contexts that a gateway of OUCH writes."""

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from engine import Capacity, Engine
from engine.names import pack
from engine.records import COMMAND, CommandKind, EventKind, Instruction, Reason
from reports import InBook, ReportKind
from reports.contexts import OF_DISCONNECT
from reports.rows import USED_OCTETS
from tests.streams import call_stream, random_stream

CAPACITY = Capacity(orders_max=2_000, ids_max=20_000, instruments_max=6, participants_max=16)
USERS = 6

#: (participant, client order id), and numbers of an open order: qty, leaves_qty, cum_qty, notional_e4, original_qty,
#: and 1 if it is in the book.
Open = dict[tuple[int, int], list[int]]


_DELAYED = (CommandKind.ENTER, CommandKind.CANCEL, CommandKind.REPLACE)


class Block(NamedTuple):
    """A block: COMMAND rows from ``first_seq`` on, and the EVENT rows that they caused."""

    first_seq: int
    commands: NDArray[Any]
    events: NDArray[Any]


def user_rows() -> NDArray[Any]:
    """USER and CREDENTIAL rows; the last user is defined twice, and one of another name is refused."""
    rows = np.zeros(USERS + 3, COMMAND)
    for number, row in enumerate(rows[: USERS + 1]):
        row["kind"], row["name"] = CommandKind.USER, pack(f"U{min(number, USERS - 1)}")
        row["participant_name"], row["firm"] = pack(f"P{1 + number % 4}"), pack(f"F{number}") if number % 2 else 0
        row["permissions"] = number % 8
    rows[-2]["kind"], rows[-2]["name"], rows[-2]["cost"] = CommandKind.CREDENTIAL, pack("U1"), 14
    rows[-1]["kind"], rows[-1]["name"], rows[-1]["participant_name"] = CommandKind.USER, pack("V"), pack("NOBODY")
    return rows


def user_stream(seed: int, count: int) -> NDArray[Any]:
    """COMMAND rows of traders whose commands mostly have a user; in seeds 3 and 4 of 5 in calls, or hostile ones."""
    kind = seed % 5
    if kind == 3:
        rows = call_stream(seed, count, delayed=seed % 2 == 0)
    else:
        rows = random_stream(
            seed,
            count,
            hostile=0.2 * (kind == 4),
            garbage=0.1 * (kind == 4),
            control=(0.002, 0.02)[kind % 2],
            delayed=seed % 2 == 1,
        )
    rng = np.random.default_rng(seed)
    opening = int(np.flatnonzero(rows["kind"] == CommandKind.PHASE)[0]) + 1
    for name, kinds in (("context", (CommandKind.ENTER, CommandKind.CANCEL)), ("new_context", (CommandKind.REPLACE,))):
        at = np.flatnonzero(np.isin(rows["kind"], kinds) & (rng.random(len(rows)) < 0.9))
        rows[name][at] = contexts(rng, len(at), rows["side"][at])
    for at in range(opening + 97, len(rows), 331):
        rows[at : at + 1].view(np.uint8)[:] = 0
        row = rows[at]
        row["kind"], row["name"], row["reason"] = CommandKind.MASS_CANCEL, pack(f"P{at % 6}"), Reason.MASS_CANCEL
        row["symbol"], row["side"] = (0, pack("I1"), pack("I9"))[at % 3], at % 4 - 1
    _remark(rows, opening)
    parts = (rows[:opening], user_rows(), rows[opening:])
    return np.frombuffer(b"".join(part.tobytes() for part in parts), COMMAND)


def _remark(rows: NDArray[Any], opening: int) -> None:
    """Behind some sales, in place of other rows, a Modify Order that changes only the mark of the sale."""
    sales = np.flatnonzero((rows["kind"] == CommandKind.ENTER) & (rows["side"] == -1))
    for at in sales[(sales > opening) & (sales + 1 < len(rows))][::11].tolist():
        sold = rows[at]
        rows[at + 1 : at + 2].view(np.uint8)[:] = 0
        row = rows[at + 1]
        row["kind"], row["participant"] = CommandKind.CANCEL, sold["participant"]
        row["client_order_id"], row["qty"] = sold["client_order_id"], sold["qty"]
        row["context"] = int(at % USERS + 1) | ord("STE"[at % 3]) << 16 | 2 << 56


def contexts(rng: np.random.Generator, count: int, sides: NDArray[Any]) -> NDArray[np.int64]:
    """Contexts as of OUCH: mostly of defined users, the side that of the order (any code where it has none)."""
    octets = np.zeros((count, 8), np.uint8)
    octets[:, 0] = rng.integers(0, USERS + 2, count)
    sale = rng.choice(list(b"STE"), count)
    octets[:, 2] = np.where(sides > 0, ord("B"), np.where(sides < 0, sale, rng.choice(list(b"BSTEX"), count)))
    octets[:, 3] = rng.choice(list(b"YAPQN"), count, p=[0.4, 0.3, 0.1, 0.1, 0.1])
    octets[:, 4] = rng.choice(list(b"APRO"), count)
    octets[:, 5] = rng.choice(list(b"YN"), count)
    octets[:, 6] = rng.choice(list(b"RN "), count)
    octets[:, 7] = rng.integers(0, 8, count)
    elsewhere = rng.random(count) < 0.2  # by two other protocols, whose bytes may be any
    octets[elsewhere, 7] |= rng.choice([0x10, 0xF0], int(elsewhere.sum())).astype(np.uint8)
    found = octets.reshape(-1).view("<i8")
    found[rng.random(count) < 0.02] = OF_DISCONNECT
    return found


def blocks(rows: NDArray[Any], seed: int, *, largest: int = 120, capacity: Capacity = CAPACITY) -> Iterator[Block]:
    """The rows in blocks of random size, with the events of the compiled engine. largest 0: all in one block."""
    engine = Engine(capacity)
    rng = np.random.default_rng(seed)
    at = 0
    while at < len(rows):
        size = int(rng.integers(1, largest + 1)) if largest else len(rows)
        commands = rows[at : at + size]
        yield Block(at + 1, commands, engine.apply(commands))
        at += size


def faults(reports: NDArray[Any], block: Block, orders: Open) -> list[str]:
    """Faults of the reports of a block, as sentences; ``orders`` is kept from block to block."""
    found = [f"row {at}: a place that the kind does not use is not zero" for at in np.flatnonzero(_strays(reports))]
    found += _unreported(reports, block)
    for report in reports:
        found += [f"report {report['seq']}.{report['number']}: {why}" for why in _order_faults(report, orders)]
    trades = reports[reports["kind"] == ReportKind.TRADE]
    for one, other in zip(trades[::2], trades[1::2], strict=True):
        found += [f"trade {one['trade_number']}: {why}" for why in _mirror_faults(one, other)]
    return found


def _strays(reports: NDArray[Any]) -> NDArray[np.bool_]:
    octets = reports.view(np.uint8).reshape(-1, reports.dtype.itemsize)
    strays: NDArray[np.bool_] = (octets & ~USED_OCTETS[reports["kind"]]).any(axis=1)
    return strays


def _unreported(reports: NDArray[Any], block: Block) -> list[str]:
    """Events without a report, by kind; commands without one; numbers that are not dense."""
    found = []
    ends = (ReportKind.CANCELED, ReportKind.RESTATED, ReportKind.EXPIRED, ReportKind.DONE_FOR_DAY)
    for kind in EventKind:
        kinds = (
            ends
            if kind == EventKind.CANCELED
            else (ReportKind.NEW if kind == EventKind.ACCEPTED else ReportKind[kind.name],)
        )
        expected = block.events["seq"][block.events["kind"] == kind]
        reported = reports["seq"][np.isin(reports["kind"], kinds)]
        if kind == EventKind.TRADE:
            expected = np.repeat(expected, 2)
        if not np.array_equal(expected, reported):
            found.append(f"{len(expected)} events {kind.name} have {len(reported)} reports, or those of other commands")
    seqs = block.first_seq + np.arange(len(block.commands))
    silent = (CommandKind.CLOCK, CommandKind.EXTEND)
    # Of all instruments or participants, of which there may be none to tell of.
    silent_all = (CommandKind.PHASE, CommandKind.HALT, CommandKind.RESUME, CommandKind.KILL, CommandKind.UNKILL)
    told = np.isin(seqs, reports["seq"]) | np.isin(block.commands["kind"], silent)
    told |= np.isin(block.commands["kind"], silent_all) & (block.commands["name"] == ord("*"))
    told |= block.commands["kind"] == CommandKind.EMERGENCY_CLOSE
    # One that waits for its effect is told of then.
    told |= np.isin(block.commands["kind"], _DELAYED) & ~np.isin(seqs, block.events["seq"])
    found += [f"command {seq} has no report" for seq in seqs[~told]]
    starts = np.concatenate(([True], reports["seq"][1:] != reports["seq"][:-1]))[: len(reports)]
    dense = np.arange(len(reports)) - np.maximum.accumulate(np.where(starts, np.arange(len(reports)), 0)) + 1
    if not np.array_equal(dense, reports["number"]):
        found.append("the numbers of the reports of a command are not 1, 2, 3 …")
    return found


_ABOUT_ORDERS = (
    *(ReportKind.NEW, ReportKind.TRADE, ReportKind.CANCELED, ReportKind.REPLACED, ReportKind.RESTATED),
    *(ReportKind.EXPIRED, ReportKind.DONE_FOR_DAY, ReportKind.TRIGGERED, ReportKind.REPLENISHED, ReportKind.REPRICED),
)
_GIVE_PRIORITY = (ReportKind.REPLACED, ReportKind.REPLENISHED, ReportKind.REPRICED)
_DARK = Instruction.HIDDEN | Instruction.PEG
#: Kinds that take nothing off the quantity.
_TAKE_NOTHING = (
    *(ReportKind.NEW, ReportKind.REPLACED, ReportKind.TRIGGERED, ReportKind.REPLENISHED, ReportKind.REPRICED),
)


def _order_faults(report: Any, orders: Open) -> Iterator[str]:
    """Check quantities and sums of one order against those of its reports before."""
    kind = ReportKind(int(report["kind"]))
    if kind not in _ABOUT_ORDERS:
        return
    if report["command_kind"] == CommandKind.CROSS:
        traded = [int(report[name]) for name in ("qty", "cum_qty", "original_qty")]
        said = [int(report[name]) for name in ("leaves_qty", "canceled_qty", "displayed_qty", "in_book")]
        if len(set(traded)) != 1 or any(said) or report["notional_e4"] != report["price_e4"] * report["qty"]:
            yield "a cross is not executed at once"
        return
    qty, leaves_qty, cum_qty = (int(report[name]) for name in ("qty", "leaves_qty", "cum_qty"))
    if qty != leaves_qty + cum_qty + int(report["canceled_qty"]):
        yield "qty is not leaves_qty + cum_qty + canceled_qty"
    participant, key_id = int(report["participant"]), int(report["client_order_id"])
    if kind == ReportKind.NEW:
        orders[participant, key_id] = [qty, qty, 0, 0, qty, 0]
    elif kind == ReportKind.REPLACED:
        orders[participant, key_id] = was = orders.pop((participant, int(report["previous_client_order_id"])))
        was[:2] = qty, qty - was[2]
    was = orders[participant, key_id]
    if kind == ReportKind.TRADE:
        was[1] -= int(report["last_qty"])
        was[2] += int(report["last_qty"])
        was[3] += int(report["last_qty"]) * int(report["last_price_e4"])
    elif kind not in _TAKE_NOTHING:
        was[1] -= int(report["decrement_qty"])
        if (kind == ReportKind.RESTATED) != (leaves_qty > 0):
            yield "a restated order is closed, or an ended one is open"
    in_book = InBook(int(report["in_book"]))
    if bool(in_book & InBook.BEFORE) != bool(was[5]):
        yield "it is in the book before the report, and was not after the one before, or the reverse"
    was[5] = int(bool(in_book & InBook.AFTER))
    now = [qty, leaves_qty, cum_qty, int(report["notional_e4"]), int(report["original_qty"]), was[5]]
    if now != was:
        yield f"its quantities and notional are {now}, and its reports come to {was}"
    most = leaves_qty if in_book & InBook.AFTER and not report["instructions"] & _DARK else 0
    most = 0 if report["book"] else most
    if report["instructions"] & Instruction.DISPLAY:
        most = min(most, int(report["display_qty"]))
        # The part that was shown may be used up, and the next one is shown by the next report.
        fits = int(report["displayed_qty"]) <= most and (
            kind == ReportKind.TRADE or most == 0 or report["displayed_qty"]
        )
    else:
        fits = int(report["displayed_qty"]) == most
    if not fits:
        yield "displayed_qty is not what the book shows"
    if in_book & InBook.AFTER and leaves_qty == 0:
        yield "an order without an open quantity rests"
    if in_book & InBook.NEW_PRIORITY and kind not in _GIVE_PRIORITY:
        yield "only a replace, a replenishment or a new price gives another priority at once"
    if leaves_qty == 0:
        del orders[participant, key_id]
    if report["reason"] == Reason.SELF_TRADE and not report["liquidity"]:
        yield "self-trade prevention names no role"


_SAME = ("seq", "time_ns", "last_price_e4", "last_qty", "trade_number", "instrument", "symbol", "command_kind")
_MIRRORED = (
    *(("participant", "contra_participant"), ("participant_name", "contra_name")),
    *(("client_order_id", "contra_client_order_id"), ("order_number", "contra_order_number")),
)


def _mirror_faults(one: Any, other: Any) -> Iterator[str]:
    """Check that the two reports of a trade are of the same trade, each the other's contra side."""
    for name in _SAME:
        if one[name] != other[name]:
            yield f"its sides differ in {name}"
    for own, contra in _MIRRORED:
        if one[own] != other[contra] or one[contra] != other[own]:
            yield f"{own} is not the other side's {contra}"
    if one["side"] * other["side"] != -1 or other["number"] - one["number"] != 1:
        yield "it has not a buy and a sell, one after the other"
