"""`lockstep replay`: the feed of past days out of a journal, the same bytes whenever and wherever it is made."""

import csv
import datetime as dt
import hashlib
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cli.questions.reading import plays as chosen_plays
from engine import Engine
from engine.capacity import Capacity
from lobster.read import read_book, read_messages
from lobster.translate import translate
from marketdata.itch.files import FORMS, SessionFiles
from notation.parse import parse
from notation.translate import Translator
from tests.captures import needs_tshark
from tests.conftest import Lockstep
from tests.json_schemas import checked
from tests.report_streams import Block
from tests.test_itch_feed import Market
from tests.test_lobster import AAPL, DATA, needs_data
from wire import itch, itch_layout, mold

FIRST = """
instrument XYZ tick=0.01 lot=1 reference=10.00
participant ALPHA
participant BETA
phase XYZ continuous
enter ALPHA a1 sell 100 XYZ @ 10.00 tif=gtc
enter BETA b1 buy 50 XYZ @ 10.10
at 2024-01-16T08:00:00
"""
SECOND = """
at 2024-01-16T08:00:01
enter BETA b2 buy 20 XYZ @ 10.10
enter BETA b3 buy 20 XYZ @ 9.90 tif=gtc
at 2024-01-18T00:00:00
"""
#: A day that begins with a call.
CALL = """phase XYZ opening_auction
enter ALPHA c1 sell 30 XYZ @ 10.00
enter BETA c2 buy 50 XYZ @ 10.10
replace BETA c2 c3 40 @ 10.20
phase XYZ continuous
replace BETA c3 c4 10 @ 9.50"""


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data directory of two slices and three days."""
    from cli.main import run_line

    folder = tmp_path_factory.mktemp("past")
    for number, text in enumerate((FIRST, SECOND)):
        (folder / f"{number}.txt").write_text(text)
        files = [str(folder / f"{each}.txt") for each in range(number + 1)]
        assert run_line(["run", *files, "--data", str(folder / "node"), "--block-rows", "2"]) == 0
        if not number:
            assert run_line(["roll", str(folder / "node")]) == 0
    return folder / "node"


def sessions() -> dict[str, bytes]:
    """The messages of the same commands, made in this process."""
    engine, market = Engine(Capacity()), Market(Capacity())
    for text in (FIRST, SECOND):
        translator = Translator(parse(text, "text"), engine.directory, "text")
        while (batch := translator.next_batch(engine.directory)) is not None:
            market.take(Block(engine.seq + 1, batch.rows, engine.apply(batch.rows)))
    names = {19_737: "20240115", 19_738: "20240116", 19_740: "20240118"}
    return {names[day]: octets for day, octets in market.sink.sessions.items()}


def told(lockstep: Lockstep, *words: Any) -> dict[str, Any]:
    status, said, _ = lockstep("replay", *words, "--json")
    assert status == 0
    (facts,) = checked(["replay"], said)
    return facts


@pytest.mark.parametrize(("feed", "kernels"), [("itch", {"feed": True}), ("ws", {"web": True})])
def test_replay_to_files_compiles_its_kernels_with_the_progress_display(
    feed: str, kernels: dict[str, bool], node: Path, lockstep: Lockstep, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[dict[str, bool]] = []
    monkeypatch.setattr("cli.servers.replay_files.ready", lambda **sets: asked.append(sets))
    assert lockstep("replay", node, "--feed", feed, "--out", tmp_path / "out")[0] == 0
    assert asked == [kernels]


def test_replay_writes_a_file_a_day_with_the_messages_of_the_market(
    node: Path, lockstep: Lockstep, tmp_path: Path
) -> None:
    facts = told(lockstep, node, "--out", tmp_path / "all")
    expected = sessions()
    assert [each["session"] for each in facts["sessions"]] == list(expected)
    assert {path.stem: path.read_bytes() for path in (tmp_path / "all").iterdir()} == expected
    assert [each["messages"] for each in facts["sessions"]] == [
        len(list(itch.cut(octets))) for octets in expected.values()
    ]
    one = told(lockstep, node, "--out", tmp_path / "one", "--day", "2024-01-16")
    assert one["sessions"][0]["digest"] == facts["sessions"][1]["digest"]
    assert [path.name for path in (tmp_path / "one").iterdir()] == ["20240116.itch"]
    status, said, _ = lockstep("replay", node, "--out", tmp_path / "lines", "--format", "text")
    assert status == 0
    assert "20240116" in said
    lines = (tmp_path / "lines" / "20240116.text").read_text().splitlines()
    assert lines == [itch.text_of(message) for _, message in itch.cut(expected["20240116"])]


@needs_tshark
def test_a_capture_holds_the_packets_of_the_day(node: Path, lockstep: Lockstep, tmp_path: Path) -> None:
    told(lockstep, node, "--out", tmp_path, "--format", "pcap")
    command = ["tshark", "-r", str(tmp_path / "20240116.pcap"), "-d", "udp.port==26400,moldudp64", "-T", "fields"]
    command += ["-e", "frame.time_epoch", "-e", "moldudp64.session", "-e", "moldudp64.sequence", "-e", "udp.payload"]
    done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=600)
    packets, messages = [], []
    for line in done.stdout.splitlines():
        time, session, sequence, payload = line.split("\t")
        packet = mold.read(bytes.fromhex(payload))
        assert session.strip() == packet.session == "20240116"
        assert int(sequence.split(",")[0]) == packet.sequence == len(messages) + 1
        messages += packet.messages
        packets.append(float(time))
    assert messages == [message for _, message in itch.cut(sessions()["20240116"])]
    assert packets[0] == dt.datetime(2024, 1, 16, 8, tzinfo=dt.UTC).timestamp()


@pytest.mark.parametrize(
    ("words", "what"),
    [
        (["--day", "2024-01-17"], "no trading day 2024-01-17"),
        (["--day", "2024-13-01"], "write a date"),
        (["--day", "monday"], "write a date"),
    ],
)
def test_a_day_that_is_none_is_refused_with_a_sentence(
    node: Path, lockstep: Lockstep, tmp_path: Path, words: list[str], what: str
) -> None:
    status, said, complaint = lockstep("replay", node, "--out", tmp_path / "out", *words)
    assert (status, said) == (2, "")
    assert what in complaint
    assert "Traceback" not in complaint
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("day", ["2024-01-14", "2024-01-17", "2024-01-19"])
def test_a_day_that_is_none_is_told_before_the_fold(
    node: Path, lockstep: Lockstep, tmp_path: Path, day: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    folds: list[Any] = []

    def plays(*words: Any, **named: Any) -> Any:
        folds.append(words)
        return chosen_plays(*words, **named)

    monkeypatch.setattr("cli.servers.replay_files.plays", plays)
    status, _, complaint = lockstep("replay", node, "--out", tmp_path / "out", "--day", day)
    assert (status, f"no trading day {day}" in complaint, folds) == (2, True, []), complaint
    assert list(tmp_path.iterdir()) == []
    assert lockstep("replay", node, "--out", tmp_path / "out", "--day", "2024-01-16")[0] == 0
    assert len(folds) == 1  # the control: a day that there is


@pytest.mark.parametrize("day", ["2024-01-15", "2024-01-16", "2024-01-18"])
def test_each_day_is_written_alone(node: Path, lockstep: Lockstep, tmp_path: Path, day: str) -> None:
    facts = told(lockstep, node, "--out", tmp_path / "out", "--day", day)
    name = day.replace("-", "")
    assert [each["path"] for each in facts["sessions"]] == [str(tmp_path / "out" / f"{name}.itch")]
    assert (tmp_path / "out" / f"{name}.itch").read_bytes() == sessions()[name]


@pytest.mark.parametrize("writes", [0, 1])
def test_a_replay_that_finds_no_room_leaves_nothing_and_can_be_repeated(
    node: Path, lockstep: Lockstep, tmp_path: Path, writes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """``writes``: sessions that are whole before the disk is full."""
    close = SessionFiles.close

    def full(files: SessionFiles) -> None:
        if len(files.written) > writes:
            raise OSError(28, "No space left on device")
        close(files)

    with monkeypatch.context() as patched:
        patched.setattr(SessionFiles, "close", full)
        status, _, complaint = lockstep("replay", node, "--out", tmp_path / "out")
    assert (status, "make room" in complaint) == (75, True), complaint
    assert list(tmp_path.iterdir()) == []
    told(lockstep, node, "--out", tmp_path / "out")
    assert {path.stem: path.read_bytes() for path in (tmp_path / "out").iterdir()} == sessions()


def test_what_a_killed_replay_left_is_named(node: Path, lockstep: Lockstep, tmp_path: Path) -> None:
    (tmp_path / "out.new").mkdir()
    (tmp_path / "out.new" / "20240115.itch.new").touch()
    status, _, complaint = lockstep("replay", node, "--out", tmp_path / "out")
    assert (status, "out.new is left of a replay that broke off" in complaint) == (2, True), complaint
    assert not (tmp_path / "out").exists()


def test_a_folder_with_files_is_left_alone(node: Path, lockstep: Lockstep, tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("mine")
    status, _, complaint = lockstep("replay", node, "--out", tmp_path)
    assert status == 2
    assert "name a new folder" in complaint
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]
    status, _, complaint = lockstep("replay", node, "--out", tmp_path / "mine")
    assert status == 2
    assert "cannot be made" in complaint


@pytest.mark.slow
def test_a_file_has_its_name_only_when_it_is_whole(tmp_path: Path) -> None:
    for form in FORMS:
        files = SessionFiles(tmp_path, form)
        files(19_737, 1, 3, memoryview(itch.framed(itch.rows(itch.ItchMessage.DELETE, 3))))
        assert not (tmp_path / f"20240115.{form}").exists()
        files.close()
        assert (tmp_path / f"20240115.{form}").stat().st_size == files.written[0].size_bytes
        assert files.written[0].messages == 3


@needs_data
def test_itch_book_finds_the_published_best_prices_of_apple_in_our_feed(tmp_path: Path) -> None:
    """LOBSTER's data in, ITCH out, rebuilt by a program of others: the best prices are those that LOBSTER gives."""
    itch_book = pytest.importorskip("itch_book", reason="itch-book is not installed")
    messages = read_messages((DATA / f"{AAPL}message.csv").read_text(), "messages", date="2012-06-21")
    opening = read_book((DATA / f"{AAPL}book50_first672.csv").read_text(), "book50")
    top = read_book((DATA / f"{AAPL}top1.csv").read_text(), "top1")
    engine, market = Engine(Capacity()), Market(Capacity())
    for rows in translate(messages, opening, symbol="AAPL").batches(8_192):
        market.take(Block(engine.seq + 1, rows, engine.apply(rows)))
    path = tmp_path / "06212012.NASDAQ_ITCH50"
    path.write_bytes(market.sink.sessions[max(market.sink.sessions)])
    feed = itch_book.open(str(path), price_type="fixed")
    found: list[tuple[int, ...]] = []
    for batch in feed.batches(tables=("bbo",)):
        columns = [batch.bbo[name].tolist() for name in ("ts_event", "ask_px", "ask_sz", "bid_px", "bid_sz")]
        found += zip(*columns, strict=True)
    assert (feed.stats["missing_ref"], feed.stats["dup_ref"], feed.stats["malformed"]) == (0, 0, 0)
    got = np.array(found, np.int64)
    # It takes times to be of New York, four hours behind in June; a message tells of all that came at its time.
    times_ns = got[:, 0] - 4 * 3_600 * 10**9
    last = np.append(messages.time_ns[1:] != messages.time_ns[:-1], True)
    at = np.searchsorted(times_ns, messages.time_ns[last], side="right") - 1
    assert (at >= 0).all()
    assert last.sum() > 30_000
    assert np.array_equal(got[at, 1:], top[last][:, :4])


def test_a_session_that_ended_its_evening_before_its_date_is_found(lockstep: Lockstep, tmp_path: Path) -> None:
    """It is of the date of its last moment, in which nothing came."""
    (tmp_path / "day.txt").write_text(
        "at 2024-01-14T18:00\nvenue day_start=17:00\ninstrument XYZ tick=0.01 lot=1 reference=10.00\n"
        "at 2024-01-15T18:00\nphase XYZ continuous\n"
    )
    assert lockstep("run", tmp_path / "day.txt", "--data", tmp_path / "node")[0] == 0
    assert lockstep("replay", tmp_path / "node", "--out", tmp_path / "out", "--day", "2024-01-16")[0] == 0
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["20240116.itch"]
    status, _, complaint = lockstep("replay", tmp_path / "node", "--out", tmp_path / "none", "--day", "2024-01-17")
    assert (status, "no trading day 2024-01-17" in complaint) == (2, True)


def shown_by(framed: bytes) -> dict[int, tuple[int, ...]]:
    """Orders that messages leave shown, by reference: what each has, and its price."""
    found: dict[int, tuple[int, ...]] = {}
    for _, message in itch.cut(framed):
        said = itch.fields(message)
        match itch.ItchMessage(message[0]):
            case itch.ItchMessage.ADD:
                found[int(said["reference"])] = (int(said["shares"]), int(said["price_e4"]))
            case itch.ItchMessage.EXECUTED | itch.ItchMessage.CANCEL:
                qty, price_e4 = found.pop(int(said["reference"]))
                if qty > int(said["shares"]):
                    found[int(said["reference"])] = (qty - int(said["shares"]), price_e4)
            case itch.ItchMessage.DELETE:
                del found[int(said["reference"])]
    return found


def test_a_part_of_a_day_begins_with_what_was_shown_then_and_goes_on_with_the_same_messages(
    node: Path, lockstep: Lockstep, tmp_path: Path
) -> None:
    whole = sessions()
    for number, begin in enumerate(["6", "7", "2024-01-16T08:00:01", "10"]):
        out = tmp_path / str(number)
        facts = told(lockstep, node, "--out", out, "--from", begin)
        files = sorted(out.iterdir())
        assert [path.stem for path in files] == list(whole)[-len(files) :]
        for path in files[1:]:
            assert path.read_bytes() == whole[path.stem]
        part, day = files[0].read_bytes(), whole[files[0].stem]
        assert shown_by(part) == shown_by(day)  # a part without its orders would have an execution of none
        assert facts["sessions"][0]["messages"] == len(list(itch.cut(part)))
        tail = [message for _, message in itch.cut(part)][-2:]
        assert tail == [message for _, message in itch.cut(day)][-2:]
        assert part != day


def test_a_part_of_a_day_ends_after_its_last_command(node: Path, lockstep: Lockstep, tmp_path: Path) -> None:
    whole = sessions()["20240115"]
    told(lockstep, node, "--out", tmp_path / "five", "--to", "5")
    told(lockstep, node, "--out", tmp_path / "all", "--from", "1", "--to", "6")
    five, six = (tmp_path / name / "20240115.itch" for name in ("five", "all"))
    assert [path.name for path in (tmp_path / "five").iterdir()] == ["20240115.itch"]
    assert whole.startswith(six.read_bytes())
    assert six.read_bytes().startswith(five.read_bytes())
    assert len(five.read_bytes()) < len(six.read_bytes()) < len(whole)


def test_a_range_without_a_command_writes_nothing_and_one_that_cannot_be_is_refused(
    node: Path, lockstep: Lockstep, tmp_path: Path
) -> None:
    status, _, complaint = lockstep(
        "replay", node, "--out", tmp_path / "out", "--from", "2024-01-17T09:00", "--to", "2024-01-17T10:00"
    )
    assert (status, "has no command" in complaint) == (0, True), complaint
    for words, what in ((["--from", "9", "--to", "3"], "no range"), (["--from", "1000"], "1,000")):
        status, _, complaint = lockstep("replay", node, "--out", tmp_path / "out", *words)
        assert (status, what in complaint, "Traceback" in complaint) == (2, True, False), complaint
    assert list(tmp_path.iterdir()) == []


def table_rows(message: bytes, number: int, symbols: dict[int, str], day_ns: int) -> dict[str, Any]:
    """The row of a table for a message, as its fields have it."""
    said = itch.fields(message)
    kind = itch.ItchMessage(message[0])
    if kind is itch.ItchMessage.STOCK_DIRECTORY:
        symbols[int(said["stock_locate"])] = str(said["stock"])
    words: dict[str, Any] = {
        "number": number,
        "time_ns": day_ns + int(said["time_ns"]),
        "kind": kind.name.lower(),
        "symbol": symbols.get(int(said["stock_locate"]), ""),
        "side": {"B": "buy", "S": "sell"}.get(str(said.get("side")), ""),
        "event": itch_layout.SystemEvent(ord(str(said["event"]))).name.lower() if "event" in said else "",
        "state": itch_layout.TradingState(ord(str(said["state"]))).name.lower() if "state" in said else "",
        "reason": said.get("reason", ""),
        "cross": itch_layout.ItchCross(ord(str(said["cross"]))).name.lower() if "cross" in said else "",
        "imbalance": itch_layout.Imbalance(ord(str(said["direction"]))).name.lower() if "direction" in said else "",
    }
    numbers = ("reference", "new_reference", "shares", "price_e4", "match_number", "paired_shares", "near_e4")
    levels = {name: said.get(name) for name in ("level_1_e8", "level_2_e8", "level_3_e8")}
    levels["level"] = int(str(said["level"])) if "level" in said else None
    return words | levels | {name: said.get(name) for name in (*numbers, "imbalance_shares", "round_lot")}


@pytest.mark.parametrize("form", ["csv", "parquet"])
def test_a_table_has_a_row_for_each_message(lockstep: Lockstep, tmp_path: Path, form: str) -> None:
    index = "index IDX members=XYZ:2 levels=0.5%/15m,90%/close\n"
    fall = "enter ALPHA a9 sell 20 XYZ @ 9.90\nat 2024-01-18"
    text = FIRST.replace("phase XYZ continuous", index + CALL) + SECOND.replace("at 2024-01-18", fall)
    (tmp_path / "day.txt").write_text(text)
    assert lockstep("run", tmp_path / "day.txt", "--data", tmp_path / "node")[0] == 0
    assert lockstep("replay", tmp_path / "node", "--out", tmp_path / "itch")[0] == 0
    if form == "parquet":
        parquet = pytest.importorskip("pyarrow.parquet", reason="pyarrow is not installed")
    facts = told(lockstep, tmp_path / "node", "--out", tmp_path / "out", "--format", form)
    kinds: set[str] = set()
    for about in facts["sessions"]:
        path = Path(about["path"])
        assert about["digest"] == hashlib.sha256(path.read_bytes()).hexdigest()
        assert about["size_bytes"] == path.stat().st_size
        if form == "csv":
            with path.open(newline="") as file:
                got: list[dict[str, Any]] = list(csv.DictReader(file))
        else:
            got = parquet.ParquetFile(path).read().to_pylist()
        octets = (tmp_path / "itch" / f"{about['session']}.itch").read_bytes()
        day = dt.datetime.strptime(about["session"], "%Y%m%d").replace(tzinfo=dt.UTC)
        symbols: dict[int, str] = {}
        expected = [
            table_rows(message, number, symbols, int(day.timestamp()) * 10**9)
            for number, (_, message) in enumerate(itch.cut(octets), 1)
        ]
        if form == "csv":
            expected = [{name: "" if value is None else str(value) for name, value in row.items()} for row in expected]
        assert got == [{name: row[name] for name in got[0]} for row in expected]
        assert set(got[0]) == set(expected[0])
        kinds |= {row["kind"] for row in got}
    assert kinds >= {"system_event", "stock_directory", "trading_action", "add", "executed", "delete", "noii"}
    assert kinds >= {"executed_with_price", "cross_trade", "replace", "mwcb_levels", "mwcb_status"}
