"""The forms in which LOBSTER files come; files whose rows the venue would refuse are refused before anything runs."""

import gzip
import os
import re
import threading
from pathlib import Path

import pytest

from cli.main import run_line
from lobster.read import LobsterError, midnight_ns, read_book, read_messages

MESSAGES = """\
34200.000000001,1,11,100,100000,1
34200.5,1,12,50,100200,-1
34201,2,11,40,100000,1
34201,4,12,20,100200,-1
34202,3,11,60,100000,1
"""
BOOK = """\
100300,10,100000,100,9999999999,0,99900,30
100200,50,100000,100,100300,10,99900,30
100200,50,100000,60,100300,10,99900,30
100200,30,100000,60,100300,10,99900,30
100200,30,99900,30,100300,10,-9999999999,0
"""
NAMES = "Time,Type,OrderID,Size,Price,Direction\n"
LEVELS = "AskPrice1,AskSize1,BidPrice1,BidSize1,AskPrice2,AskSize2,BidPrice2,BidSize2\n"
MPID = MESSAGES.replace("\n", ",null\n")
PENNIES = "34200.1,1,11,100,5123,1\n34200.2,1,12,50,5150,-1\n34200.3,4,11,100,5123,1\n"
#: Case files of the project's owner, which may be missing.
CASES = Path(__file__).resolve().parents[2] / "shared" / "cases" / "lobster"


class Run:
    """Run of a message file beside its book: (exit status, standard output, standard error)."""

    def __init__(self, directory: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.directory = directory
        self._capsys = capsys

    def __call__(self, messages: bytes, book: bytes, *more: str, date: str = "2012-06-21") -> tuple[int, str, str]:
        (self.directory / "m.csv").write_bytes(messages)
        (self.directory / "b.csv").write_bytes(book)
        return self.of(self.directory / "m.csv", self.directory / "b.csv", *more, date=date)

    def of(self, messages: Path, book: Path, *more: str, date: str = "2012-06-21") -> tuple[int, str, str]:
        """Run the files as they are."""
        line = ["run", str(messages), "--format", "lobster", "--book", str(book), "--engine", "reference"]
        line += ["--symbol", "XYZ", "--date", date, "--data", str(self.directory / "node"), *more]
        self._capsys.readouterr()
        status = run_line(line)
        said = self._capsys.readouterr()
        return status, said.out, said.err


@pytest.fixture
def run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Run:
    return Run(tmp_path, capsys)


@pytest.mark.parametrize(
    ("messages", "book"),
    [
        pytest.param(gzip.compress(MESSAGES.encode()), gzip.compress(BOOK.encode()), id="gzip"),
        pytest.param(b"\xef\xbb\xbf" + MESSAGES.encode(), b"\xef\xbb\xbf" + BOOK.encode(), id="byte order mark"),
        pytest.param(MESSAGES.replace("\n", "\r\n").encode(), BOOK.replace("\n", "\r\n").encode(), id="CRLF"),
        pytest.param((NAMES + MESSAGES).encode(), (LEVELS + BOOK).encode(), id="column names"),
        pytest.param(MPID.encode(), BOOK.encode(), id="MPID"),
        pytest.param((MESSAGES + "\n\n").encode(), (BOOK + "\n").encode(), id="blank lines at the end"),
    ],
)
def test_a_file_in_another_form_is_the_same_flow(messages: bytes, book: bytes, run: Run) -> None:
    status, said, complaint = run(messages, book, "--check", str(run.directory / "b.csv"))
    assert (status, said.splitlines()[-1]) == (0, "equal on every row"), complaint


def test_lines_are_counted_in_the_file_whatever_stands_before_its_rows() -> None:
    with pytest.raises(LobsterError, match=r"^m:7: the time is before the one above"):
        read_messages(f"{NAMES}{MESSAGES}34201,1,13,5,100300,-1\n", "m", date="2012-06-21")
    with pytest.raises(LobsterError, match=r"^b:3: a price is not from 1"):
        read_book(LEVELS + BOOK.splitlines()[0] + "\n" + BOOK.replace("100200,50", "100200,0").splitlines()[1], "b")
    with pytest.raises(LobsterError, match=r"^m:6: the row has 6 columns and the first has 7"):
        read_messages(f"{MPID}34203,1,13,5,100300,-1\n", "m", date="2012-06-21")


def test_prices_below_a_cent_want_a_tick(run: Run) -> None:
    status, _, complaint = run(PENNIES.encode(), b"5160,10,5123,100\n")
    assert status == 2
    assert "m.csv:1: the price 5123 is off the tick of 100; all prices of the file fit --tick 0.0001." in complaint
    assert not (run.directory / "node").exists()
    status, said, complaint = run(PENNIES.encode(), b"5160,10,5123,100\n", "--tick", "0.0001")
    assert (status, complaint) == (0, "")
    assert "trades         1 of 100 shares" in " ".join(said.split("\n"))
    assert run(PENNIES.encode(), b"5160,10,5123,100\n", "--tick", "0")[0] == 2
    assert run(PENNIES.encode(), b"5160,10,5123,100\n", "--tick", "fine")[0] == 2


REFUSED = [
    pytest.param(
        "34200.1,1,11,100,100000,1\n",
        "100300,100000000,100000,100\n",
        "b.csv:1: before the first message 100,000,000 shares are at the price 100300",
        id="a level of more shares than an order may have",
    ),
    pytest.param(
        "34200.1,4,9,100,100300,-1\n",
        "100300,99999999,100000,100\n",
        "b.csv:1: before the first message 100,000,099 shares are at the price 100300",
        id="a level that is too large once the first message is undone",
    ),
    pytest.param(
        "34200.1,5,0,10,99999999999,1\n",
        "9999999999,0,-9999999999,0\n",
        "m.csv: the opening book is empty and no message is about a displayed order",
        id="no price to begin with",
    ),
]


@pytest.mark.parametrize(("messages", "book", "says"), REFUSED)
def test_what_the_venue_would_refuse_is_an_error_of_the_file_and_nothing_is_made(
    messages: str, book: str, says: str, run: Run
) -> None:
    status, said, complaint = run(messages.encode(), book.encode())
    assert (status, said, complaint.count("\n")) == (2, "", 1)
    assert says in complaint
    assert not (run.directory / "node").exists()


@pytest.mark.parametrize("date", ["1969-12-31", "0001-01-01", "2116-02-20", "9999-12-31"])
def test_a_date_that_no_clock_of_ours_shows_is_an_error_of_the_file(date: str, run: Run) -> None:
    status, said, complaint = run(MESSAGES.encode(), BOOK.encode(), date=date)
    assert (status, said) == (2, "")
    assert f"m.csv: the date is {date}; give one from 1970-01-01 to 2116-02-19" in complaint
    assert midnight_ns("2116-02-19", "m") > midnight_ns("1970-01-01", "m") == 0


def test_a_hidden_execution_away_from_any_price_of_the_venue_is_skipped(run: Run) -> None:
    messages = "34200.1,5,0,10,99999999999,1\n34200.2,1,12,50,100200,-1\n"
    status, said, _ = run(messages.encode(), b"9999999999,0,-9999999999,0\n")
    assert status == 0
    assert "50 @ 10.02" in said


def test_a_packed_file_may_come_through_a_pipe(run: Run) -> None:
    packed, pipe = gzip.compress(MESSAGES.encode()), run.directory / "pipe.csv"
    os.mkfifo(pipe)
    (run.directory / "b.csv").write_bytes(BOOK.encode())
    writer = threading.Thread(target=pipe.write_bytes, args=(packed,), daemon=True)
    writer.start()
    status, said, complaint = run.of(pipe, run.directory / "b.csv")
    assert status == 0, complaint
    assert re.search(r"messages +5\b", said)


def test_a_file_that_cannot_be_unpacked_is_said_to_be_so(run: Run) -> None:
    status, _, complaint = run(gzip.compress(MESSAGES.encode())[:-12], BOOK.encode())
    assert status == 2
    assert "m.csv: it cannot be unpacked" in complaint


@pytest.mark.skipif(not CASES.is_dir(), reason="the case files are not here")
@pytest.mark.parametrize(
    ("name", "book", "more", "status"),
    [
        ("base.csv.gz", "base_book.csv.gz", [], 0),
        ("blankend.csv", "blankend_book.csv", [], 0),
        ("bom.csv", "blankend_book.csv", [], 0),
        ("crlf.csv", "crlf_book.csv", [], 0),
        ("header.csv", "header_book.csv", [], 0),
        ("mpid.csv", "blankend_book.csv", [], 0),
        ("dup.csv", "dup_book.csv", [], 0),
        ("halftick.csv", "halftick_book.csv", [], 0),
        ("far.csv", "far_book.csv", [], 0),
        ("subpenny.csv", "subpenny_book.csv", [], 2),
        ("subpenny.csv", "subpenny_book.csv", ["--tick", "0.0001"], 0),
        ("bigsize.csv", "bigsize_book.csv", [], 2),
        ("bigsum.csv", "bigsum_book.csv", [], 2),
        ("ooo.csv", "halftick_book.csv", [], 2),
    ],
)
def test_each_case_file_ends_as_it_must(name: str, book: str, more: list[str], status: int, run: Run) -> None:
    ended, said, complaint = run.of(CASES / name, CASES / book, *more)
    assert ended == status, complaint
    assert "refused" not in said or "refused        none" in said
