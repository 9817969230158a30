"""The kernels of an export against the same in plain Python: compiled, with bounds checks, and interpreted."""

import re
from typing import Any

import numpy as np
import pytest

from engine.names import pack, unpack
from engine.records import Book, CommandKind, Peg, TimeInForce
from exports.reported import Orders, ReportColumns, trade_columns
from exports.tables import ORDERS, REPORTS
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
            order |= {name: said[name] for name in ("participant", "symbol", "side")}
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
