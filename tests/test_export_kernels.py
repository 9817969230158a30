"""The kernels of an export against the same in plain Python: compiled, with bounds checks, and interpreted."""

import re
import struct
from collections import Counter
from enum import IntEnum
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from engine.names import pack, unpack
from engine.records import Book, CommandKind, EventKind, Peg, Reason, Side, TimeInForce
from exports import postgres
from exports.once import EVENTS_ONCE, Facts, events_once, reports_once, said_rows, trade_rows, trades_once
from exports.once_rows import ENTRY_FACTS, SAID_FACTS, TRADE_FACTS
from exports.postgres import SqlForm, copy_rows
from exports.reported import Orders, ReportColumns, trade_columns
from exports.tables import EVENTS, ORDERS, REPORTS, TRADES, Columns
from exports.words import Text, code_keys_of, code_text, id_keys_of, id_text, name_keys, name_numbers
from reports.rows import REPORT, REPORT_BYTES, REPORT_FIELDS, InBook, ReportKind

KINDS = [int(kind) for kind in REPORT_FIELDS]
NAMES = {"participant": "participant_name", "user": "user_name", "contra_participant": "contra_name"}
CODES = {"side": Side, "command": CommandKind, "time_in_force": TimeInForce, "peg": Peg}


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
    behind = 0
    for row in rows:
        kind = int(row["kind"])
        if kind >= ReportKind.PHASE or kind in (ReportKind.REJECTED, ReportKind.CANCEL_REJECTED):
            continue
        order = plain.setdefault(int(row["order_number"]), {})
        if "end_seq" in order or (kind == ReportKind.NEW and "entry_seq" in order):
            behind += 1
            continue
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
    assert behind > 100, "the control: reports behind an end or a second entry, which change no row"


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


class Day:
    """Random commands with events, their orders and trades: most fit to each other, some have one value changed."""

    def __init__(self, seed: int, commands: int) -> None:
        self._random = np.random.default_rng(seed)
        self.orders, self.events = Orders(), []
        self._first: list[list[int]] = []
        self.newest, self.last, self.trades = {}, {}, []
        for seq in range(1, commands + 1):
            for number in range(1, int(self._random.integers(0, 5)) + 1):
                self._events_of(seq, number)
        n = len(self._first)
        self.orders.first_of = np.zeros((n + 2, len(ENTRY_FACTS)), np.int64)
        self.orders.first_of[1 : n + 1] = self._first
        self.orders.newest_of, self.orders.last_of = np.zeros((n + 2, 7), np.int64), np.zeros((n + 2, 3), np.int64)
        self.orders.numbers_of = np.zeros((n + 2, 2), np.int32)
        seqs = np.array([facts[9] for facts in self._first])
        is_alone = (np.diff(seqs, prepend=0) != 0) & (np.diff(seqs, append=commands + 1) != 0)
        self.orders.numbers_of[1 : n + 1, 0] = np.where(is_alone, self._random.choice([-1, 0], n, p=[0.9, 0.1]), 0)
        for order, event in self.last.items():
            self.orders.newest_of[order] = [*self._first[order - 1][6:9], 0, 0, event["qty"], 0]
            self.orders.last_of[order] = [event[name] for name in ("seq", "time_ns", "reason")]
            reports = 1 if event["event_number"] == 1 else 2 * event["event_number"] - 2
            self.orders.numbers_of[order, 1] = -self._random.choice([reports, reports + 1], p=[0.9, 0.1])
        for event in self.events:
            if self._random.random() < 0.2:
                name = self._random.choice([name for name in EVENTS.columns if name not in ("seq", "event_number")])
                event[name] = int(self._random.choice([0, 1, -1, 2**63 - 1]))

    def _events_of(self, seq: int, number: int) -> None:
        word = {name: int(self._random.choice([1, 2, -1])) for name in EVENTS.columns}
        event = word | {"seq": seq, "event_number": number, "time_ns": 10 * seq, "phase": 0}
        event |= dict.fromkeys(("contra_participant", "contra_client_order_id"), 0)
        kind, orders = int(self._random.integers(4)), len(self._first)
        if kind == 0 and number < 3:
            event |= {"kind": int(EventKind.ACCEPTED), "number": orders + 1, "reason": 0}
            names = ("participant", "symbol", "user", "side", "book", "time_in_force", "client_order_id")
            facts = [event.get(name, 0) for name in (*names, "price_e4", "qty", "seq", "time_ns")]
            self._first.append(facts)
        elif kind == 1 and orders:
            order = int(self._random.integers(1, orders + 1))
            of_entry = dict(zip(ENTRY_FACTS, self._first[order - 1], strict=True))
            event |= {name: of_entry[name] for name in ("participant", "symbol", "side")}
            event |= {"client_order_id": of_entry["entry_client_order_id"], "price_e4": of_entry["entry_price_e4"]}
            event |= {"kind": int(EventKind.CANCELED), "number": order}
            self.last[order] = event
        elif kind == 2:
            trade = {name: int(self._random.choice([1, 2])) for name in TRADE_FACTS}
            trade |= {"trade_number": 7 + len(self.trades), "seq": seq, "time_ns": 10 * seq, "event_number": 0}
            trade["aggressor_side"] = int(self._random.choice([-1, 0, 1]))
            own, contra = ("sell", "buy") if trade["aggressor_side"] == 1 else ("buy", "sell")
            event |= {name: trade[name] for name in ("symbol", "price_e4", "qty")}
            for name in ("participant", "client_order_id"):
                event |= {name: trade[f"{own}_{name}"], f"contra_{name}": trade[f"{contra}_{name}"]}
            event |= {"kind": int(EventKind.TRADE), "number": trade["trade_number"], "reason": 0}
            event["side"] = trade["aggressor_side"]
            self.trades.append(trade)
        else:
            event["kind"] = int(EventKind.REJECTED)
        self.events.append(event)

    def columns_of_events(self) -> Columns:
        return {name: np.array([each[name] for each in self.events]) for name in EVENTS.columns}

    def columns_of_orders(self) -> Columns:
        n = len(self._first)
        found = {name: self.orders.first_of[1 : n + 1, at] for at, name in enumerate(ENTRY_FACTS)}
        found |= {"order_number": np.arange(1, n + 1), "leaves_qty": np.zeros(n, np.int64), "cum_qty": np.zeros(n, int)}
        found |= {"end_seq": self.orders.last_of[1 : n + 1, 0], "end_reason": self.orders.last_of[1 : n + 1, 2]}
        found |= {"canceled_qty": self.orders.newest_of[1 : n + 1, 5], "qty": found["entry_qty"]}
        numbers = self.orders.numbers_of[1 : n + 1]
        assert not (numbers < 0).any()
        return found | {"entry_number": numbers[:, 0], "end_number": numbers[:, 1]}

    def settle(self) -> None:
        """Take back what was offered and did not fit, as ``leave_reports`` does."""
        self.orders.numbers_of[self.orders.numbers_of < 0] = 0


def test_events_that_rows_of_orders_and_trades_say_come_again_in_their_order() -> None:
    day = Day(21, 3_000)
    events, trades = day.columns_of_events(), {name: np.array([t[name] for t in day.trades]) for name in TRADE_FACTS}
    rows = trade_rows([trades])
    left = events_once([events], day.orders, rows)
    day.settle()
    said = {int(kind): 0 for kind in np.unique(events["kind"])}
    for kind in (EventKind.ACCEPTED, EventKind.CANCELED, EventKind.TRADE):
        of_kind = int((events["kind"] == kind).sum())
        said[int(kind)] = of_kind - int((left["kind"] == kind).sum())
        assert 0.2 * of_kind < said[int(kind)] < 0.95 * of_kind, "the control: some are said by others, some are not"
    assert np.ma.getmaskarray(left["participant"]).sum() > 20, "the control: rows that refer to their order"
    told = np.ma.asarray(left["seq"] - left["entered_ago"]).compressed().tolist()
    seqs, counts = np.unique(day.orders.first_of[1:-1, ENTRY_FACTS.index("entry_seq")], return_counts=True)
    assert (counts > 1).any()
    assert not set(seqs[counts > 1].tolist()) & set(told), "no row refers to orders that came together"
    orders, of_trades = day.columns_of_orders(), trades_once(trades, rows)
    rows_said = Counter(said_rows(ORDERS, orders)) + Counter(said_rows(TRADES, of_trades))
    assert rows_said["events"] == sum(said.values()) == len(events["seq"]) - len(left["seq"])
    for pieces in (1, 2, 50):
        facts = Facts({"orders": len(orders["qty"])}, 3_000)
        facts.add(ORDERS, orders)
        facts.add(TRADES, of_trades)
        cuts = np.linspace(0, len(left["seq"]), pieces + 1).astype(int).tolist()
        parts = [{name: values[a:b] for name, values in left.items()} for a, b in pairwise(cuts)]
        again = list(facts.events(parts))
        for name in EVENTS.columns:
            if name != "time_ns":
                assert np.concatenate([each[name] for each in again]).tolist() == events[name].tolist(), name


def test_events_whose_numbers_have_a_gap_are_refused() -> None:
    row = {name: np.zeros(2, np.int64) for name in EVENTS_ONCE.columns}
    row |= {"seq": np.array([4, 4]), "event_number": np.array([1, 2])}
    assert sum(len(each["seq"]) for each in Facts({}, 5).events([row])) == 2, "the control"
    for wrong in ({"event_number": np.array([1, 3])}, {"seq": np.array([4, 3])}, {"seq": np.array([4, 6])}):
        with pytest.raises(ValueError, match="not in the order of their numbers"):
            list(Facts({}, 5).events([row | wrong]))


def test_a_report_behind_the_end_or_entry_of_an_order_changes_no_row() -> None:
    rows = np.zeros(4, REPORT)
    rows["kind"] = [ReportKind.NEW, ReportKind.NEW, ReportKind.CANCELED, ReportKind.REPLACED]
    rows["order_number"], rows["seq"], rows["command_kind"] = 1, [5, 6, 7, 8], int(CommandKind.ENTER)
    rows["leaves_qty"], rows["qty"], rows["price_e4"] = [8, 8, 0, 8], 8, [10, 20, 10, 30]
    for pieces in (1, 4):  # in one piece, and each by itself
        found, orders = ReportColumns(4 // pieces), Orders()
        for columns in (*found.take(rows), *found.rest()):
            orders.take(columns)
        (table,) = orders.batches()
        got = {
            name: table[name].tolist() for name in ("entry_seq", "end_seq", "entry_price_e4", "price_e4", "leaves_qty")
        }
        assert got == {"entry_seq": [5], "end_seq": [7], "entry_price_e4": [10], "price_e4": [10], "leaves_qty": [0]}


def test_events_that_refer_to_nothing_are_refused() -> None:
    for kind, missing in ((EventKind.CANCELED, False), (EventKind.TRADE, True)):
        row: dict[str, np.ndarray[Any, Any]] = {
            name: np.ma.array([1], mask=[name in EVENTS_ONCE.partial]) for name in EVENTS_ONCE.columns
        }
        row |= {"kind": np.array([int(kind)]), "entered_ago": np.ma.array([0], mask=[missing])}
        with pytest.raises(ValueError, match="refers to nothing"):
            list(Facts({}, 5).events([row]))
    facts = Facts({"orders": 2}, 5)
    names = (*ENTRY_FACTS, *SAID_FACTS, "qty", "leaves_qty", "cum_qty", "end_seq", "entry_number", "end_number")
    good = {name: np.ones(2, np.int64) for name in names} | {"order_number": np.array([1, 2])}
    for wrong in (
        {"order_number": np.array([1, 3])},
        {"entry_seq": np.array([1, 6])},
        {"entry_seq": np.array([-1, 1])},
        {"end_seq": np.array([1, 6])},
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
    once = reports_once(columns, orders, trades)
    assert len(once["seq"]) == len(rows), "no row says a report that was not offered"
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


def copied(rows: int) -> tuple[Columns, bytes]:
    """Columns of ``reports`` of random numbers and words, and the same rows in the format of COPY by plain Python."""
    numbers = np.random.default_rng(21)
    columns: Columns = {}
    fields: dict[str, list[bytes]] = {}
    for name in REPORTS.columns:
        if name in REPORTS.text:
            vocabulary = REPORTS.text[name]
            codes = getattr(vocabulary, "codes", None)
            known = [0, 42, -1, 0x6131, -(2**63)] if codes is None else [0, *map(int, codes)]
            columns[name] = numbers.choice(np.array(known), rows)
            fields[name] = [str(word).encode() for word in vocabulary.words(columns[name])]
        else:
            columns[name] = numbers.integers(-(2**63), 2**63 - 1, rows)
            fields[name] = [struct.pack(">q", value) for value in columns[name].tolist()]
    raw = b""
    for row in range(rows):
        raw += struct.pack(">h", len(REPORTS.columns))
        for name in REPORTS.columns:
            raw += struct.pack(">i", len(fields[name][row])) + fields[name][row]
    return columns, raw


def test_rows_of_copy_are_those_of_plain_python_and_are_read_back_in_pieces_of_any_size(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    columns, raw = copied(60)
    assert copy_rows(REPORTS, columns) == raw
    path = tmp_path / "reports-000001-all.copy"
    whole = postgres._HEADER + raw + postgres._TRAILER
    path.write_bytes(whole)
    for piece in (37, 4_096, 1 << 22):
        for rows in (7, 1_000):
            monkeypatch.setattr(postgres, "_PIECE_BYTES", piece)
            monkeypatch.setattr(postgres, "_ROWS_AT_ONCE", rows)
            found = list(SqlForm(tmp_path, (REPORTS,)).read(REPORTS))
            assert all(len(each["seq"]) <= rows for each in found)
            for name in REPORTS.columns:
                assert np.concatenate([each[name] for each in found]).tolist() == columns[name].tolist(), (piece, name)
    for spoilt, why in (
        (whole[:-1], "is cut short"),
        (whole[:-2], "is cut short"),
        (whole[:700], "is cut short"),
        (whole + b"x", "goes on after its end"),
        (whole[1:], "does not begin"),
        (whole[:20] + b"x" + whole[21:], "another number of fields"),
        (whole[:21] + b"\x7f" + whole[22:], "a field of another length"),
        (whole[:24] + b"\xff" + whole[25:], "a field of another length"),
    ):
        path.write_bytes(spoilt)
        with pytest.raises(ValueError, match=why):
            list(SqlForm(tmp_path, (REPORTS,)).read(REPORTS))


@pytest.mark.parametrize("codes", [Side, Reason, EventKind])
def test_words_of_codes_one_behind_the_other_are_their_names(codes: type[IntEnum]) -> None:
    numbers = np.random.default_rng(3).choice(np.array([0, *map(int, codes)]), 300)
    text = code_text(numbers, codes)
    expected = ["" if number == 0 else codes(number).name.lower() for number in numbers.tolist()]
    assert (text.octets.tobytes().decode(), text.lengths.tolist()) == ("".join(expected), list(map(len, expected)))
    assert code_keys_of(text, codes).tolist() == numbers.tolist()
    for none in (max(codes) + 1, min(codes) - 1, 2**63 - 1, -(2**63)):
        if none != 0:
            with pytest.raises(KeyError):
                code_text(np.append(numbers, none), codes)
    for word in (b"bu", b"buyx", b"zz", expected[0].encode() + b"\0"):
        with pytest.raises(ValueError, match="is no"):
            code_keys_of(Text(np.array([len(word)]), np.frombuffer(word, np.uint8)), codes)
