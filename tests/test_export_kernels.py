"""The kernels of an export against the same in plain Python: compiled, with bounds checks, and interpreted."""

import re
from typing import Any

import numpy as np
import pytest

from engine.names import pack, unpack
from engine.records import Book, CommandKind, EventKind, Peg, TimeInForce
from exports.once import EVENTS_ONCE, Facts, events_once, reports_once, trade_rows
from exports.once_rows import ENTRY_FACTS, TRADE_FACTS
from exports.reported import IN_ARRAY, Orders, ReportColumns, trade_columns
from exports.tables import EVENTS, ORDERS, REPORTS, TRADES
from exports.words import Text, id_keys_of, id_text, name_keys, name_numbers
from reports.rows import REPORT, REPORT_BYTES, REPORT_FIELDS, InBook, ReportKind

KINDS = [int(kind) for kind in REPORT_FIELDS]
NAMES = {"participant": "participant_name", "user": "user_name", "contra_participant": "contra_name"}
CODES = {"command": CommandKind, "time_in_force": TimeInForce, "peg": Peg}


def hostile(rows: int, seed: int) -> np.ndarray[Any, Any]:
    """REPORT rows of random bytes, of all kinds."""
    numbers = np.random.default_rng(seed)
    found = numbers.integers(0, 256, rows * REPORT.itemsize, np.uint8).view(REPORT_BYTES).view(REPORT)
    found["kind"] = numbers.choice(KINDS, rows)
    found["command_kind"][::2] = int(CommandKind.ENTER)
    found["book"][::2] = int(Book.MIDPOINT)
    return found


def expected(row: Any, column: str) -> int:
    """Value of a column of ``reports`` for a row."""
    kind = int(row["kind"])
    if column == "kind":
        return kind
    if column == "book":
        return (2 if row["book"] == Book.MIDPOINT else 1) if kind < ReportKind.PHASE else 0
    place = {"command": "command_kind", "rests": "in_book", **NAMES}.get(column, column)
    if place not in REPORT_FIELDS[ReportKind(kind)]:
        return 0
    number = int(row[place])
    if column == "rests":
        return int(number & InBook.AFTER != 0)
    if column in CODES:
        return number if number in set(CODES[column]) else 0
    return number


@pytest.mark.parametrize("room", [1, 7, 1000])
def test_columns_of_reports_are_the_places_that_their_kinds_use(room: int) -> None:
    rows, found = hostile(300, 5), ReportColumns(room)
    batches = [columns for at in range(0, 300, 41) for columns in found.take(rows[at : at + 41])]
    batches += list(found.rest())
    assert {len(each["seq"]) for each in batches[:-1]} <= {room}
    for column in REPORTS.columns:
        got = np.concatenate([each[column] for each in batches]).tolist()
        assert got == [expected(row, column) for row in rows], column
    assert len(np.unique(rows["kind"])) == len(KINDS), "the control: every kind"


def test_orders_are_as_their_newest_reports_leave_them() -> None:
    numbers = np.random.default_rng(11)
    rows = hostile(3000, 12)
    rows["order_number"] = numbers.integers(1, 200, len(rows))
    rows["leaves_qty"] = numbers.integers(0, 3, len(rows))
    rows["kind"] = numbers.integers(1, 30, len(rows))
    rows = rows.view(REPORT_BYTES)[np.isin(rows["kind"], KINDS)].view(REPORT)
    found, orders = ReportColumns(64), Orders()
    for columns in (*found.take(rows), *found.rest()):
        orders.take(columns)
    plain: dict[int, dict[str, int]] = {}
    for row in rows:
        kind = int(row["kind"])
        if kind >= ReportKind.PHASE or kind in (ReportKind.REJECTED, ReportKind.CANCEL_REJECTED):
            continue
        order = plain.setdefault(int(row["order_number"]), {})
        said = {name: expected(row, name) for name in REPORTS.columns}
        if kind == ReportKind.NEW:
            order |= {name: said[name] for name in ("participant", "symbol", "side", "user", "book", "time_in_force")}
            order |= {"entry_price_e4": said["price_e4"], "entry_qty": said["qty"]}
            order |= {"entry_client_order_id": said["client_order_id"]}
            order |= {"entry_seq": said["seq"], "entry_time_ns": said["time_ns"]}
        newest = ("client_order_id", "price_e4", "qty", "leaves_qty", "cum_qty", "canceled_qty", "notional_e4")
        order |= {name: said[name] for name in newest}
        if not said["leaves_qty"]:
            reason = 0 if kind == ReportKind.TRADE else said["reason"]
            order |= {"end_seq": said["seq"], "end_time_ns": said["time_ns"], "end_reason": reason}
    (table,) = orders.batches()
    for column in ORDERS.columns[1:]:
        got = dict(zip(table["order_number"].tolist(), table[column].tolist(), strict=True))
        assert {n: got[n] for n in plain} == {n: order.get(column, 0) for n, order in plain.items()}, column
    assert 100 < len(plain) < 200


def test_trades_are_the_reports_of_their_buys() -> None:
    rows = hostile(400, 3)
    rows["kind"], rows["side"] = ReportKind.TRADE, np.resize([1, -1], 400)
    (columns,) = ReportColumns(400).take(rows)
    trades = trade_columns(columns)
    assert trades["sell_order_number"].tolist() == rows["contra_order_number"][::2].tolist()
    assert trades["qty"].tolist() == rows["last_qty"][::2].tolist()


def test_words_of_ids_are_those_that_people_see() -> None:
    numbers = np.random.default_rng(2).integers(-(2**63), 2**63 - 1, 400)
    numbers = np.concatenate((numbers, numbers >> 40, [0, 42, -1, 0x6131, 0x613100, 0x0061_0031, 2**63 - 1, -(2**63)]))
    lengths, octets = id_text(numbers)
    ends = np.cumsum(lengths).tolist()
    words = [octets[end - length : end].tobytes().decode() for end, length in zip(ends, lengths.tolist(), strict=True)]
    assert words == [{0: "", 42: "*"}.get(number, unpack(number)) for number in numbers.tolist()]
    assert id_keys_of(Text(lengths, octets)).tolist() == numbers.tolist()


@pytest.mark.parametrize("count", [0, 1, 2, 3, 1000])
def test_names_have_the_numbers_of_their_definitions(count: int) -> None:
    names = tuple(f"N{number}" for number in range(count))
    numbers = np.random.default_rng(9).integers(0, count + 1, 500)
    keys = name_keys(numbers, names)
    assert name_numbers(keys, names).tolist() == numbers.tolist()
    assert name_numbers(keys[:0], names).tolist() == []
    for other in ("N", "M1", f"N{count}", "*"):
        with pytest.raises(KeyError, match=f"^'{re.escape(other)}'$"):
            name_numbers(np.append(keys, pack(other)), names)


def test_words_that_are_read_are_those_that_their_numbers_have() -> None:
    """Random words, most of them none: what is read is what would be written."""
    numbers = np.random.default_rng(4)
    any_word, raw = np.frombuffer(b"~0a9fAz*. \x00\xff~", np.uint8), np.frombuffer(8 * b"0a9f" + b"A", np.uint8)
    read = 0
    for _ in range(2000):
        length = int(numbers.choice([1, 2, 3, 8, 9, 16, 17, 17, 18]))
        octets = numbers.choice(raw if length == 17 else any_word, length)
        octets[0] = ord("~") if length == 17 else octets[0]
        text = Text(np.array([length]), octets)
        try:
            again = id_text(id_keys_of(text))
        except ValueError:
            continue
        read += 1
        assert again.octets.tobytes() == octets.tobytes()
    assert 300 < read < 1700


def alike(numbers: np.random.Generator, n: int) -> np.ndarray[Any, Any]:
    """Values that are mostly 1, else 0 or -1."""
    return numbers.choice([1, 0, -1], n, p=[0.9, 0.05, 0.05])


def entries(numbers: np.random.Generator, orders: int) -> dict[str, np.ndarray[Any, Any]]:
    """Entries of orders with few values; some are entered with others by one command."""
    found = {name: alike(numbers, orders) for name in ENTRY_FACTS}
    found["entry_seq"] = np.sort(numbers.integers(1, 2 * orders, orders))
    found["order_number"] = np.arange(1, orders + 1)
    return found


def test_events_that_say_each_fact_once_say_all_again() -> None:
    numbers = np.random.default_rng(21)
    orders, n = entries(numbers, 40), 4_000
    trades = {name: alike(numbers, 60) for name in TRADE_FACTS}
    trades["trade_number"] = np.arange(7, 67)
    events = {name: alike(numbers, n) for name in EVENTS.columns}
    events["seq"] = np.sort(numbers.integers(1, 120, n))
    events["kind"] = numbers.choice([EventKind.ACCEPTED, EventKind.CANCELED, EventKind.TRADE, EventKind.REJECTED], n)
    events["number"] = numbers.choice([0, -1, 2**63 - 1, *range(1, 45), *range(7, 70)], n)
    first_of = np.stack([np.concatenate(([0], orders[name], [0])) for name in ENTRY_FACTS], axis=1)
    once = events_once([events], first_of, trade_rows([trades]))
    trade = events["kind"] == EventKind.TRADE
    for kind in (trade, ~trade):
        share = np.ma.getmaskarray(once["participant"])[kind].mean()
        assert 0.005 < share < 0.9, "the control: some rows of each are said by others, and some are not"
    facts = Facts({"orders": 40}, 80)
    facts.add(ORDERS, orders)
    facts.add(TRADES, trades)
    whole = facts.events(once)
    for name in EVENTS.columns:
        assert whole[name].tolist() == events[name].tolist(), name
    shared = {seq for seq, count in zip(*np.unique(orders["entry_seq"], return_counts=True), strict=True) if count > 1}
    told = np.ma.asarray(once["seq"] - once["entered_ago"])
    assert shared
    assert not shared & set(told.compressed().tolist()), "no row refers to orders that came together"


def test_events_that_refer_to_nothing_are_refused() -> None:
    for kind, missing in ((EventKind.CANCELED, False), (EventKind.TRADE, True)):
        row: dict[str, np.ndarray[Any, Any]] = {
            name: np.ma.array([1], mask=[name in EVENTS_ONCE.partial]) for name in EVENTS_ONCE.columns
        }
        row |= {"kind": np.array([int(kind)]), "entered_ago": np.ma.array([0], mask=[missing])}
        with pytest.raises(ValueError, match="refers to nothing"):
            Facts({}, 5).events(row)
    facts = Facts({"orders": 2}, 5)
    good = {name: np.ones(2, np.int64) for name in ENTRY_FACTS} | {"order_number": np.array([1, 2])}
    for wrong in (
        {"order_number": np.array([1, 3])},
        {"entry_seq": np.array([1, 6])},
        {"entry_seq": np.array([-1, 1])},
    ):
        with pytest.raises(ValueError, match="other orders than were written"):
            facts.add(ORDERS, good | wrong)


def test_reports_of_random_bytes_leave_out_only_what_their_rules_give() -> None:
    numbers = np.random.default_rng(5)
    rows = hostile(600, 8)
    rows["order_number"], rows["seq"] = numbers.integers(0, 50, 600), np.arange(1, 601)
    rows["kind"][::3] = ReportKind.NEW
    found, orders = ReportColumns(600), Orders()
    (columns,) = found.take(rows)
    before = {name: values.copy() for name, values in columns.items()}
    orders.take(columns)
    trades = trade_rows([trade_columns(columns)])
    once = reports_once(columns, IN_ARRAY, orders.first_of, trades)
    for name in REPORTS.columns:
        values, missing = np.ma.getdata(once[name]), np.ma.getmaskarray(once[name])
        assert (values[~missing] == before[name][~missing]).all(), name
        assert not values[missing].any()
    entry = {name: at for at, name in enumerate(ENTRY_FACTS)}
    plain = ~np.ma.getmaskarray(once["entered_ago"])
    for row in np.flatnonzero(plain):
        order = orders.first_of[before["order_number"][row]]
        assert order[entry["entry_seq"]] == before["seq"][row] - once["entered_ago"][row]
        assert all(order[entry[name]] == before[name][row] for name in ("participant", "symbol", "side", "user"))
    assert 10 < plain.sum() < 600
