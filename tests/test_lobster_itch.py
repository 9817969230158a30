"""ITCH files as input: a day that was told by ITCH is traded again, and told again."""

import gzip
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from engine import Capacity, Engine
from engine.names import Directory
from engine.records import COMMAND, CommandKind
from lobster.itch import date_of, read_itch
from lobster.read import CROSS, DELETE, ENTER, EXECUTE, EXECUTE_HIDDEN, REDUCE, LobsterError
from lobster.run import input_of
from tests.conftest import Lockstep
from tests.itch_reader import Reader
from tests.report_streams import Block
from tests.streams import definitions, orders
from tests.test_itch_feed import Market
from tests.test_lobster import AAPL, DATA, needs_data
from wire import itch
from wire.itch_layout import ItchMessage

CAPACITY = Capacity(orders_max=20_000, ids_max=100_000, instruments_max=8, participants_max=64)


def plain_day(seed: int, count: int) -> bytes:
    """Messages of a day of limit orders in continuous trading, of two stocks."""
    rng = np.random.default_rng(seed)
    rows = orders(rng, count, 2, 5)
    kept = np.isin(rows["kind"], [CommandKind.ENTER, CommandKind.CANCEL, CommandKind.REPLACE])
    kept &= (rows["instructions"] == 0) & (rows["book"] == 0)
    opening = definitions(2, 5)
    raw = opening.tobytes() + rows[kept].tobytes()
    commands = np.frombuffer(raw, COMMAND)
    engine, market = Engine(CAPACITY), Market(CAPACITY)
    market.take(Block(1, commands, engine.apply(commands)))
    return market.sink.sessions[max(market.sink.sessions)]


def told_again(path: Path, **options: Any) -> bytes:
    """Messages of the market in which the file is traded again."""
    chosen = {"symbols": (), "date": None, "tick_e4": 1} | options
    given = input_of(read_itch(path, **chosen), Directory(), 1, tick_e4=chosen["tick_e4"])
    engine, market = Engine(CAPACITY), Market(CAPACITY)
    for rows in given.flow.batches(4_096):
        market.take(Block(engine.seq + 1, rows, engine.apply(rows)))
    return market.sink.sessions[max(market.sink.sessions)]


def reader_of(session: bytes) -> Reader:
    reader = Reader()
    for _, message in itch.cut(session):
        reader.take(message)
    return reader


def levels(reader: Reader, symbol: str, side: int) -> dict[int, int]:
    """Shares by price."""
    (stock,) = (number for number, name in reader.symbols.items() if name == symbol)
    sums: Counter[int] = Counter()
    for price_e4, shares in reader.side(stock, side):
        sums[price_e4] += shares
    return dict(sums)


def executed(session: bytes) -> Counter[str]:
    """Shares executed at their orders' prices, by symbol."""
    symbols: dict[int, str] = {}
    shares: Counter[str] = Counter()
    for _, message in itch.cut(session):
        stock = int.from_bytes(message[1:3], "big")
        if message[0] == ItchMessage.STOCK_DIRECTORY:
            symbols[stock] = message[11:19].decode().rstrip()
        elif message[0] == ItchMessage.EXECUTED:
            shares[symbols[stock]] += int.from_bytes(message[19:23], "big")
    return shares


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_day_that_is_traded_again_has_the_same_books_and_executions(seed: int, tmp_path: Path) -> None:
    session = plain_day(seed, 3_000)
    path = tmp_path / "20240115.itch"
    path.write_bytes(session)
    again = told_again(path)
    before, after = reader_of(session), reader_of(again)
    assert before.kinds["E"] > 100
    assert executed(again) == executed(session)
    for symbol in ("I1", "I2"):
        for side in (1, -1):
            assert levels(after, symbol, side) == levels(before, symbol, side)
    one = told_again(path, symbols=("I2",))
    assert executed(one) == Counter({"I2": executed(session)["I2"]})


def test_a_packed_file_and_the_empty_message_at_its_end_are_read(tmp_path: Path) -> None:
    session = plain_day(1, 300)
    packed = tmp_path / "01152024.NASDAQ_ITCH50"
    packed.write_bytes(gzip.compress(session + b"\0\0"))
    plain = tmp_path / "20240115.itch"
    plain.write_bytes(session)
    assert told_again(packed) == told_again(plain)


def test_names_tell_the_date() -> None:
    assert date_of("01152024.NASDAQ_ITCH50.gz") == date_of("20240115.itch") == "2024-01-15"
    assert date_of("day.itch") == ""


def message(kind: str, **values: Any) -> bytes:
    made = itch.message_of(ItchMessage(ord(kind)), {"stock_locate": 1, **values})
    return len(made).to_bytes(2, "big") + made


STOCK = message("R", stock="XYZ")
ADD = message("A", reference=1, side="B", shares=10, stock="XYZ", price_e4=100_000)


def test_each_kind_of_message_is_what_it_says_of_its_order(tmp_path: Path) -> None:
    """Orders with a name too; an execution with a price is a trade where it counts, else the end of its shares."""
    path = tmp_path / "20240115.itch"
    path.write_bytes(
        STOCK
        + ADD
        + message("F", reference=2, side="S", shares=9, stock="XYZ", price_e4=101_000, attribution="NSDQ")
        + message("C", reference=1, shares=2, match_number=1, printable="Y", price_e4=100_000)
        + message("C", reference=1, shares=3, match_number=2, printable="N", price_e4=100_000)
        + message("E", reference=2, shares=4, match_number=3)
        + message("Q", shares=3, stock="XYZ", price_e4=100_000, match_number=2, cross="O")
        + message("P", side="B", shares=1, stock="XYZ", price_e4=100_500, match_number=4)
        + message("C", reference=1, shares=5, match_number=5, printable="N", price_e4=100_000)
        + message("U", reference=2, new_reference=3, shares=6, price_e4=102_000)
        + message("X", reference=3, shares=2)
    )
    (file,) = read_itch(path, symbols=(), date=None, tick_e4=100)
    columns = (
        file.messages.type,
        file.messages.order_id,
        file.messages.qty,
        file.messages.price_e4,
        file.messages.side,
    )
    assert list(zip(*(column.tolist() for column in columns), strict=True)) == [
        (ENTER, 1, 10, 100_000, 1),
        (ENTER, 2, 9, 101_000, -1),
        (EXECUTE, 1, 2, 100_000, 1),
        (REDUCE, 1, 3, 100_000, 1),
        (EXECUTE, 2, 4, 101_000, -1),
        (CROSS, 0, 0, 0, 0),
        (EXECUTE_HIDDEN, 0, 0, 0, 0),
        (DELETE, 1, 5, 100_000, 1),
        (DELETE, 2, 5, 101_000, -1),
        (ENTER, 3, 6, 102_000, -1),
        (REDUCE, 3, 2, 102_000, -1),
    ]


@pytest.mark.parametrize(
    ("data", "what"),
    [
        (b"", "no order"),
        (STOCK, "no order"),
        (b"hello, this is a text file", "ends within message 1"),
        (STOCK + ADD[:-1], "ends within message 2"),
        (STOCK + b"\0\x03xyz", "message 2: a message of unknown type 0x78"),
        (STOCK + ADD + ADD, "message 3: the order 1 comes twice"),
        (STOCK + message("D", reference=9), "message 2: the order 9 was not added"),
        (STOCK + ADD + message("X", reference=1, shares=11), "message 3: the order 1 has 10 shares, and loses 11"),
        (STOCK + message("A", reference=1, side="B", shares=10, price_e4=100_001), "off the tick of 100"),
        (STOCK + message("A", reference=1, side="B", shares=0, price_e4=100_000), "out of bounds"),
        (message("R", stock="XYZ", time_ns=5) + ADD, "message 2: its time is before"),
        (message("R", stock="xyz") + ADD, "the symbol is 'xyz'"),
    ],
)
def test_a_file_that_cannot_be_used_is_refused_with_its_message(data: bytes, what: str, tmp_path: Path) -> None:
    path = tmp_path / "20240115.itch"
    path.write_bytes(data)
    with pytest.raises(LobsterError, match=what):
        read_itch(path, symbols=(), date=None, tick_e4=100)


@pytest.mark.slow
def test_what_is_no_itch_file_is_told_before_its_name_is_read(tmp_path: Path) -> None:
    (tmp_path / "days").mkdir()
    (tmp_path / "day.pcap").write_bytes(bytes.fromhex("d4c3b2a1") + bytes(20))
    (tmp_path / "day.parquet").write_bytes(b"PAR1" + bytes(20))
    (tmp_path / "day.itch").write_bytes(bytes(2))
    for name, what in (
        ("days", "is a folder; name one file in it"),
        ("none", "cannot be read: No such file"),
        ("day.pcap", "is a capture or a table; give a file of ITCH 5.0"),
        ("day.parquet", "is a capture or a table"),
        ("day.itch", "tells no date; give --date"),
    ):
        with pytest.raises(LobsterError, match=what):
            read_itch(tmp_path / name, symbols=(), date=None, tick_e4=100)


def test_run_takes_an_itch_file_and_replay_gives_one(tmp_path: Path, lockstep: Lockstep) -> None:
    path = tmp_path / "20240115.itch"
    path.write_bytes(plain_day(1, 1_000))
    line = ["run", path, "--format", "itch", "--data", tmp_path / "node"]
    status, said, _ = lockstep(*line)
    assert status == 0
    assert "event digest" in said
    assert lockstep(*line)[0] == 0  # goes on where it ended
    assert lockstep("replay", tmp_path / "node", "--out", tmp_path / "out")[0] == 0
    assert executed((tmp_path / "out" / "20240115.itch").read_bytes()) == executed(path.read_bytes())
    for words, what in (
        (["--book", path], "has its whole book itself"),
        (["--symbol", "NONE"], "has no stock NONE"),
        (["--date", "x"], "give one such as"),
        ([path], "give one ITCH file"),
    ):
        status, _, complaint = lockstep(*line, *words)
        assert status == 2
        assert what in complaint
        assert "Traceback" not in complaint
    status, _, complaint = lockstep("run", tmp_path / "none.itch", "--format", "itch", "--data", tmp_path / "b")
    assert status == 2
    assert "Traceback" not in complaint


@needs_data
def test_apple_goes_round_through_itch(tmp_path: Path) -> None:
    """LOBSTER in, ITCH out, ITCH in, ITCH out: the executions are the same."""
    from lobster.read import read_book, read_messages
    from lobster.translate import translate

    messages = read_messages((DATA / f"{AAPL}message.csv").read_text(), "messages", date="2012-06-21")
    opening = read_book((DATA / f"{AAPL}book50_first672.csv").read_text(), "book50")
    engine, market = Engine(Capacity()), Market(Capacity())
    for rows in translate(messages, opening, symbol="AAPL").batches(8_192):
        market.take(Block(engine.seq + 1, rows, engine.apply(rows)))
    path = tmp_path / "20120621.itch"
    path.write_bytes(market.sink.sessions[max(market.sink.sessions)])
    assert executed(told_again(path)) == executed(path.read_bytes())
