"""Several LOBSTER files of one day in one venue: merged by time, matched with their books, checked one by one."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cli.main import run_line
from directory.recover import create
from engine.capacity import Capacity
from engine.names import Directory, unpack
from engine.records import CommandKind
from engine.reference import ReferenceEngine
from lobster.check import Check
from lobster.merge import merged, participants_of, with_flow
from lobster.read import file_name, read_book, read_messages
from lobster.translate import Flow, translate
from sequencer.pump import pump
from sequencer.stamp import FileStamp
from tests.test_lobster import PublishedMarket, ThinMarket, published

SYMBOLS = ("ALPHA", "BETA", "GAMMA")
DAY = "2012-06-21"


def markets() -> list[PublishedMarket]:
    """A market for each symbol; order ids are the same numbers in all, and so are many times."""
    return [published(seed, 3, 120 + 40 * seed, ThinMarket) for seed in range(len(SYMBOLS))]


def flows_of(made: list[PublishedMarket]) -> list[Flow]:
    """The flows of the markets, each for the venue that those before have set up; not merged."""
    known, flows = Directory(), []
    read = [read_messages("".join(m.messages), s, date=DAY) for s, m in zip(SYMBOLS, made, strict=True)]
    begin_ns = min(int(messages.time_ns[0]) for messages in read)
    for number, (symbol, market, messages) in enumerate(zip(SYMBOLS, made, read, strict=True), 1):
        book = read_book("".join(market.book), symbol)
        names = participants_of(number)
        flows.append(translate(messages, book, symbol=symbol, directory=known, participants=names, begin_ns=begin_ns))
        known = with_flow(known, symbol, number)
    return flows


class Files:
    """The files of the markets in a directory, and runs of them: (exit status, standard output, standard error)."""

    def __init__(self, directory: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.directory = directory
        self._capsys = capsys
        self.markets = markets()
        for symbol, market in zip(SYMBOLS, self.markets, strict=True):
            self.messages(symbol).write_text("".join(market.messages))
            self.book(symbol).write_text("".join(market.book))

    def messages(self, symbol: str) -> Path:
        return self.directory / f"{symbol}_{DAY}_34200000_57600000_message_3.csv"

    def book(self, symbol: str) -> Path:
        return self.directory / f"{symbol}_{DAY}_34200000_57600000_orderbook_3.csv"

    def whole(self) -> list[Any]:
        """A line with all files, and the books and checks in another order than the messages."""
        line: list[Any] = [self.messages(symbol) for symbol in SYMBOLS]
        for symbol in reversed(SYMBOLS):
            line += ["--book", self.book(symbol)]
        for symbol in ("BETA", "GAMMA", "ALPHA"):
            line += ["--check", self.book(symbol)]
        return line

    def run(self, *line: Any, node: str = "node") -> tuple[int, str, str]:
        self._capsys.readouterr()
        place = ["--data", self.directory / node, "--engine", "reference", "--format", "lobster"]
        status = run_line([str(word) for word in ("run", *line, *place)])
        said = self._capsys.readouterr()
        return status, said.out, said.err


@pytest.fixture
def files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Files:
    return Files(tmp_path, capsys)


def test_flows_are_merged_by_time_and_then_in_the_order_of_the_files() -> None:
    alone = flows_of(markets())
    together = merged(alone, 0)
    rows = together[0].rows
    assert all(flow.rows is rows for flow in together)
    clocks = rows["kind"] == CommandKind.CLOCK
    times = rows["time_ns"][clocks]
    assert (np.diff(times) > 0).all()
    now = times[np.cumsum(clocks) - 1][~clocks]
    kept = [flow.rows[flow.rows["kind"] != CommandKind.CLOCK] for flow in alone]
    assert sum(map(len, kept)) == len(now)
    # Each message ends at the time that it has in its own file.
    for flow, apart, market in zip(together, alone, markets(), strict=True):
        stamps = read_messages("".join(market.messages), "m", date=DAY).time_ns
        moves = np.diff(apart.rows_after, prepend=apart.rows_after[:1]) > 0
        assert (times[np.cumsum(clocks)[flow.rows_after - 1] - 1][moves] == stamps[moves]).all()
        assert rows[flow.rows_after - 1].tobytes() == apart.rows[apart.rows_after - 1].tobytes()
    assert merged(alone[:1], 0)[0].rows is alone[0].rows


def test_each_instrument_of_a_merged_day_has_the_book_and_the_trades_of_its_own_file() -> None:
    made = markets()
    together = merged(flows_of(made), 0)
    checks = [Check(flow, read_book("".join(m.book), "b")) for flow, m in zip(together, made, strict=True)]
    engine = ReferenceEngine()
    for rows in together[0].batches(100):
        events = engine.apply(rows)
        for check in checks:
            check.see(events, engine.seq)
    engine.check()
    assert engine.directory.symbols == SYMBOLS
    assert engine.directory.participants == ("MAKER", "TAKER", "MAKER2", "TAKER2", "MAKER3", "TAKER3")
    for check, market in zip(checks, made, strict=True):
        report = check.report
        assert (report.equal, report.fills_wrong) == (len(market.messages), [])
        assert report.fills > 0
    # The files use the same order ids.
    given = [set(flow.rows["client_order_id"].tolist()) for flow in flows_of(made)]
    assert len([number for number in given[0] & given[1] if number and unpack(number).startswith("L")]) > 3


@pytest.mark.slow
def test_books_and_checks_go_to_the_file_of_their_symbol(files: Files) -> None:
    status, said, complaint = files.run(*files.whole(), "--json")
    facts = json.loads(said)
    assert (status, complaint) == (0, "")
    assert [(each["symbol"], each["messages"], each["check"]["equal"]) for each in facts["lobster"]] == [
        (symbol, len(market.messages), len(market.messages))
        for symbol, market in zip(SYMBOLS, files.markets, strict=True)
    ]
    assert facts["rejects"] == []

    status, said, _ = files.run(*files.whole(), node="again")
    assert status == 0
    assert [line for line in said.splitlines() if line.endswith("equal on every row")] == [
        f"{symbol}: equal on every row" for symbol in SYMBOLS
    ]
    assert said.splitlines()[-1] == "checks passed: 3 of 3"


def test_files_whose_names_tell_no_symbol_are_matched_in_order(files: Files) -> None:
    line: list[Any] = []
    for number, symbol in enumerate(SYMBOLS[:2]):
        (files.directory / f"messages{number}.csv").write_bytes(files.messages(symbol).read_bytes())
        (files.directory / f"levels{number}.csv").write_bytes(files.book(symbol).read_bytes())
        line += [files.directory / f"messages{number}.csv", "--symbol", symbol]
        line += ["--book", files.directory / f"levels{number}.csv", "--check", files.directory / f"levels{number}.csv"]
    status, said, complaint = files.run(*line, "--date", DAY)
    assert (status, said.splitlines()[-1]) == (0, "checks passed: 2 of 2"), complaint
    assert file_name("ALPHA_message.csv") == ("ALPHA", "", 0)


def test_a_check_that_fails_is_told_with_its_symbol(files: Files) -> None:
    rows = files.book("BETA").read_text().splitlines(keepends=True)
    numbers = rows[50].split(",")
    numbers[1] = str(int(numbers[1]) + 1)
    (files.directory / f"BETA_{DAY}_top.csv").write_text("".join([*rows[:50], ",".join(numbers), *rows[51:]]))
    line = [*files.whole()[:9], "--check", files.book("ALPHA"), "--check", files.directory / f"BETA_{DAY}_top.csv"]
    status, said, _ = files.run(*line)
    lines = said.splitlines()
    assert (status, lines[-1]) == (1, "checks passed: 1 of 2; failed: BETA; 1 file without --check")
    assert "ALPHA: equal on every row" in lines
    assert "BETA: DIFFERENT where the data determines the book" in lines
    assert any(line.startswith("BETA: first difference: message 51, level 1: ") for line in lines)


def test_files_that_do_not_go_together_are_refused_before_anything_is_made(files: Files) -> None:
    alpha, beta = files.messages("ALPHA"), files.messages("BETA")
    books = ["--book", files.book("ALPHA"), "--book", files.book("BETA")]
    other_day = files.directory / "BETA_2012-06-22_message.csv"
    other_day.write_bytes(beta.read_bytes())
    twice = files.directory / f"ALPHA_{DAY}_later_message.csv"
    twice.write_bytes(alpha.read_bytes())
    for line, says in (
        ([alpha, other_day, *books], "are of different days"),
        ([alpha, twice, *books], "are both of ALPHA; give one file a symbol"),
        ([alpha, beta, "--book", files.book("ALPHA")], "has no order book to seed the opening from"),
        ([alpha, beta, *books, "--book", files.book("GAMMA")], "is of GAMMA, and no message file is"),
        ([alpha, beta, *books, "--book", files.book("BETA")], "are both of BETA; give one"),
        ([alpha, beta, *books, "--check", twice, "--check", files.book("ALPHA")], "are both of ALPHA; give one"),
        ([alpha, beta, *books, "--symbol", "ALPHA"], "give --symbol once for each file"),
        ([alpha, *books[:2], "--book", other_day], "goes with no message file"),
        (
            [alpha, beta, *books, "--participants-max", 3],
            "the files need 4 participants, and ",
        ),
        ([alpha, beta, *books, "--instruments-max", 1], "room for 1; give --instruments-max 2 or more"),
        ([alpha, *books[:2], "--orders-max", 64, "--ids-max", 64], "client order ids, and "),
    ):
        status, said, complaint = files.run(*line)
        assert (status, said, complaint.count("\n")) == (2, "", 1)
        assert says in complaint
        assert not (files.directory / "node").exists()


@pytest.mark.slow
@pytest.mark.parametrize("cut", [1, 5, 17, 300, -1])
def test_a_run_of_several_files_that_broke_off_is_resumed_by_the_same_command(cut: int, files: Files) -> None:
    _, said, _ = files.run(*files.whole(), "--json")
    whole = json.loads(said)
    rows = merged(flows_of(files.markets), 0)[0].rows[:cut]
    journal, engine = create(files.directory / "cut", Capacity(), engine="reference")
    with journal:
        pump(iter([rows[at : at + 7] for at in range(0, len(rows), 7)]), FileStamp(), journal, engine)
    status, said, complaint = files.run(*files.whole(), "--json", node="cut")
    resumed = json.loads(said)
    assert (status, resumed["continued_after_seq"], resumed["seq"]) == (0, len(rows), whole["seq"])
    assert resumed["event_digest"] == whole["event_digest"]
    assert resumed["lobster"] == whole["lobster"]
    assert f"continued after command {len(rows):,}" in complaint
    status, said, complaint = files.run(*files.whole(), "--json", node="cut")
    assert (status, json.loads(said)["commands"], json.loads(said)["lobster"]) == (0, 0, whole["lobster"])
    assert "nothing was added" in complaint
    shorter = [files.messages("ALPHA"), files.messages("GAMMA"), "--book", files.book("ALPHA")]
    status, said, complaint = files.run(*shorter, "--book", files.book("GAMMA"), node="cut")
    assert (status, said) == (2, "")
    assert "does not begin with the commands of" in complaint
