"""Drop copies by FIX: who sees whom, numbers of their own, and that they are what the journal says after any end."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from engine import Capacity, Engine
from engine.records import COMMAND
from gateway.fix import marks, orders, records
from gateway.fix.copies import CopyStreams
from gateway.fix.copy_answers import CopyAnswers
from gateway.fix.marks import Mark
from gateway.fix.session import COMP_ID
from notation.parse import parse
from notation.translate import Translator
from reports.rows import REPORT, ReportKind
from tests.fix_client import FixClient
from tests.fix_judge import judge_dictionary, needs_quickfix
from tests.gateways import gateway
from tests.ouch_messages import enter
from tests.pair_processes import pair
from tests.running import ROOT, Running, started, until
from tests.running import Client as SoupClient
from tests.test_fix_gateway import back, plain
from tests.test_node_gateways import port_of
from tests.test_node_programs import processes
from wire.fix_codec import FrameWriter, Message, Times, body
from wire.fix_table import VERSIONS, own
from wire.fix_validation import Validator

#: Users of copies: of the participant BETA, and of the firm FIRM, which UA and UB trade for and UC does not.
READERS = """participant FIRM
user DB participant=BETA
user DF participant=FIRM"""
#: ExecType of kinds of reports.
EXEC_TYPES = {"new": "0", "trade": "F", "canceled": "4", "replaced": "5", "rejected": "8"}
OF_ORDERS = ("enter", "replace", "cancel")


def define_readers(node: Running) -> None:
    with node.link() as link:
        assert link.ask("commands", text=READERS)["rejected"] == 0
        for user in ("DB", "DF"):
            link.ask("password", user=user, password="secret")


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Running]:
    running = started(tmp_path, "--gateway", "fix=fix:0", "--gateway", "drop=fixdrop:0")
    try:
        define_readers(running)
        yield running
    finally:
        running.stop()


def reader(node: Running, user: str = "DF", **options: Any) -> FixClient:
    return FixClient(port_of(node, "drop"), user, **options)


def in_journal(data: Path, from_seq: int, wanted: str) -> dict[str, dict[str, Any]]:
    """Reports of orders by their ExecID, as the command line tells them. wanted: "firm" or "participant" and a name."""
    line = [sys.executable, "-m", "cli.main", "events", str(data), "--reports", "--json", "--from", str(from_seq)]
    said = subprocess.run(line, cwd=ROOT, capture_output=True, text=True, timeout=120, check=True).stdout
    key, _, name = wanted.partition("=")
    found = {}
    for text in said.splitlines():
        report = json.loads(text)
        if report["kind"] in EXEC_TYPES and report["command"] in OF_ORDERS and report[key] == name:
            found[f"{report['seq']}-{report['number']}"] = report
    return found


def copies_in(frames: list[bytes]) -> dict[str, Message]:
    """Copies by ExecID, each once: those sent again have the same fields."""
    found: dict[str, Message] = {}
    for frame in frames:
        message = Message(frame)
        if message.msg_type == b"8":
            before = found.setdefault(message.fields[b"17"].decode(), message)
            assert before.fields[b"11"] == message.fields[b"11"]
    return found


def captures_in(frames: list[bytes]) -> dict[str, Message]:
    found = {}
    for frame in frames:
        message = Message(frame)
        if message.msg_type == b"AE":
            found[message.fields[b"571"].decode()] = message
    return found


def assert_equal(frames: list[bytes], expected: dict[str, dict[str, Any]]) -> None:
    """Copies and captures in frames are the reports of the journal, each once, and nothing else."""
    copies, captures = copies_in(frames), captures_in(frames)
    assert copies.keys() == expected.keys()
    for exec_id, report in expected.items():
        said = {tag: value.decode() for tag, value in copies[exec_id].fields.items()}
        assert said[b"150"] == EXEC_TYPES[report["kind"]], (exec_id, report)
        assert (said[b"797"], said[b"54"]) == ("Y", "1" if report["side"] == "buy" else "2")
        assert int(said[b"14"]) == report["cum_qty"]
        if report["kind"] == "trade":
            assert (int(said[b"32"]), float(said[b"31"])) == (report["last_qty"], report["last_price_e4"] / 10_000)
    assert captures.keys() == {each for each, report in expected.items() if report["kind"] == "trade"}
    for report_id, capture in captures.items():
        copy = copies[report_id]
        assert [capture.get(tag) for tag in (b"32", b"31", b"55", b"54", b"37", b"11")] == [
            copy.get(tag) for tag in (b"32", b"31", b"55", b"54", b"37", b"11")
        ]


def until_told(client: FixClient, exec_ids: set[str]) -> None:
    """Read until the copies came, and the captures behind them."""
    while not exec_ids <= copies_in(client.frames).keys():
        client.until(lambda each: each.msg_type == b"8")
    client.send(b"1", [(112, "all of it")])
    client.until(lambda each: each.get(b"112") == b"all of it")


@pytest.mark.slow
def test_both_copies_of_a_trade_between_fix_and_ouch_agree_with_the_journal(node: Running) -> None:
    """UA by FIX and UB by OUCH are of one firm and of two participants; UC is of no firm."""
    first = node.status()["seq"] + 1
    with closing(reader(node)) as of_firm, closing(reader(node, "DB", version="FIXT.1.1")) as of_beta:
        assert of_firm.log_on().fields[b"34"] == b"1"
        of_beta.log_on()
        by_ouch, alone = SoupClient(node.port, "UB"), SoupClient(node.port, "UC")
        with closing(FixClient(port_of(node, "fix"), "UA")) as by_fix:
            by_fix.log_on()
            by_fix.order("an-order-with-a-long-name", qty=10, price="10.00")
            by_fix.report("an-order-with-a-long-name")
            by_ouch.socket.sendall(enter("token-of-ouch", "S", 4, 100_000))
            by_fix.report("an-order-with-a-long-name", "F")
            alone.socket.sendall(enter("c1", "S", 3, 100_000))
            by_fix.report("an-order-with-a-long-name", "F")
            by_fix.change(b"G", "r1", "an-order-with-a-long-name", f38=9, f44="9.99")
            by_fix.report("r1")
            by_fix.change(b"F", "x1", "r1")
            by_fix.report("x1", "4")
            by_fix.change(b"F", "x2", "r1")
            by_fix.until(lambda each: each.msg_type == b"9")
            by_fix.order("refused", price="10.001")
            by_fix.report("refused", "8")
        firm = in_journal(node.data, first, "firm=FIRM")
        beta = in_journal(node.data, first, "participant=BETA")
        assert {report["user"] for report in firm.values()} == {"UA", "UB"}
        assert {report["user"] for report in beta.values()} == {"UB", "UC"}
        until_told(of_firm, set(firm))
        until_told(of_beta, set(beta))
        assert_equal(of_firm.frames, firm)
        assert_equal(of_beta.frames, beta)
        told = list(copies_in(of_firm.frames).values())
        assert next(each.get(b"11") for each in told) == b"an-order-with-a-long-name"
        assert any(each.get(b"11") == b"token-of-ouch" for each in told)
        parties = [value for tag, value in told[0].in_order() if tag == b"448"]
        assert parties == [b"ALPHA", b"FIRM", b"UA"]
        # Orders are entered elsewhere.
        of_firm.order("no-order")
        refused = of_firm.until(lambda each: each.msg_type == b"j")
        assert (refused.get(b"380"), refused.get(b"58")) == (b"6", b"this session has copies alone")
        by_ouch.log_out()
        alone.log_out()


def test_who_has_no_stream_costs_nothing_and_who_is_locked_out_gets_none(node: Running) -> None:
    with closing(FixClient(port_of(node, "fix"), "UA")) as trader:
        trader.log_on()
        trader.order("before", f59="1")
        trader.report("before")
        with closing(reader(node)) as of_firm:
            assert of_firm.log_on().fields[b"34"] == b"1", "the stream begins with the first logon"
            trader.order("seen", f59="1")
            trader.report("seen")
            of_firm.report("seen")
            with node.link() as link:
                link.ask("commands", text="user DF participant=FIRM allow=none")
            trader.order("unseen", f59="1")
            trader.report("unseen")
            while of_firm.next() is not None:
                pass
            assert [each.get(b"11") for each in copies_in(of_firm.frames).values()] == [b"seen"]
        with node.link() as link:
            link.ask("commands", text="user DF participant=FIRM")
        with closing(reader(node, in_seq=of_firm.in_seq, out_seq=of_firm.out_seq)) as again:
            again.log_on()
            trader.order("seen-again", f59="1")
            again.report("seen-again")
            assert [each.get(b"11") for each in copies_in(again.frames).values()] == [b"seen-again"]


@pytest.mark.slow
def test_fix_4_2_has_copies_and_fills_the_numbers_of_captures(node: Running) -> None:
    with closing(reader(node, version="FIX.4.2")) as of_firm, closing(FixClient(port_of(node, "fix"), "UA")) as buyer:
        of_firm.log_on()
        buyer.log_on()
        seller = SoupClient(node.port, "UB")
        buyer.order("a1", qty=2, price="10.00")
        buyer.report("a1")
        seller.socket.sendall(enter("b1", "S", 2, 100_000))
        of_firm.until(lambda each: each.get(b"11") == b"b1" and each.get(b"39") == b"2")
        of_firm.send(b"1", [(112, "t")])
        of_firm.until(lambda each: each.get(b"112") == b"t")
        kinds = [Message(each).msg_type for each in of_firm.frames]
        assert kinds.count(b"8") == 4
        assert kinds.count(b"4") == 2, "a capture of each side"
        (copy, *_) = copies_in(of_firm.frames).values()
        assert [copy.get(tag) for tag in (b"76", b"439", b"109", b"797")] == [b"ALPHA", b"FIRM", b"UA", None]
        numbers = [Message(each).number(b"34") for each in of_firm.frames]
        assert numbers == list(range(1, len(numbers) + 1))
        seller.log_out()


@pytest.mark.slow
@pytest.mark.parametrize("victim", ["gateway", "core"])
def test_copies_go_on_with_their_numbers_after_kills_and_miss_nothing(node: Running, victim: str) -> None:
    first = node.status()["seq"] + 1
    frames: list[bytes] = []
    of_firm = reader(node)
    of_firm.log_on()
    numbers = of_firm.in_seq, of_firm.out_seq
    for kill in range(3):
        seller = SoupClient(node.port, "UB", seq=0)
        for n in range(20):
            seller.socket.sendall(enter(f"s-{kill}-{n}", "S", 1, 101_000 + 100 * n))
        if victim == "gateway":
            pid = processes(node)["drop"]["pid"]
            os.kill(pid, signal.SIGKILL)
            seller.take(20)
            until(lambda pid=pid: processes(node)["drop"]["pid"] not in (0, None, pid))
        else:
            seller.take(20)  # a core that is killed keeps what it has answered; what it has not may be in no journal
            node.end(signal.SIGKILL)
            node.start()
        seller.socket.close()
        of_firm.socket.settimeout(5)
        while of_firm.next() is not None:
            pass
        for frame in of_firm.frames:
            numbers = max(numbers[0], (Message(frame).number(b"34") or 0) + 1), numbers[1]
        frames += of_firm.frames
        of_firm.close()
        sent = of_firm.sent
        of_firm = logged_on(node, numbers)
        # It has missed what came before the answer, and asks for it below; what it sent is asked for again.
        of_firm.in_seq = (Message(of_firm.frames[0]).number(b"34") or 0) + 1
        of_firm.sent = [*sent, *of_firm.sent]
        numbers = of_firm.in_seq, of_firm.out_seq
    until(lambda: node.status()["orders_open"] == 60)
    of_firm.send(b"2", [(7, 1), (16, 0)])
    expected = in_journal(node.data, first, "firm=FIRM")
    assert len(expected) == 60
    until_told(of_firm, set(expected))
    assert_equal(frames + of_firm.frames, expected)
    by_number: dict[int, bytes] = {}
    for frame in frames + of_firm.frames:
        message = Message(frame)
        if message.msg_type == b"8":
            number = message.number(b"34") or 0
            assert by_number.setdefault(number, message.fields[b"17"]) == message.fields[b"17"]
    assert len(by_number) == 60, "each copy has one number"
    of_firm.close()


def logged_on(node: Running, numbers: tuple[int, int]) -> FixClient:
    """The reader, logged on again as often as it takes."""
    deadline_s = time.monotonic() + 60
    while True:
        again = None
        try:
            again = reader(node, in_seq=numbers[0], out_seq=numbers[1])
            if again.log_on().msg_type == b"A":
                return again
        except (AssertionError, OSError, TypeError):  # it ends between two questions for its port
            assert time.monotonic() < deadline_s
        if again is not None:
            again.close()
        time.sleep(0.1)


@pytest.mark.slow
def test_copies_go_on_at_the_node_that_takes_over(tmp_path: Path) -> None:
    with (
        pair(tmp_path) as (_, a, b),
        gateway(a, "drop", "--protocol", "fixdrop") as of_a,
        gateway(b, "drop", "--protocol", "fixdrop") as of_b,
    ):
        define_readers(a)
        first = FixClient(of_a.port, "DF")
        first.log_on()
        trader = SoupClient(a.port, "UA")
        trader.socket.sendall(b"".join(enter(f"o{n}", "B", 1, 90_000) for n in range(30)))
        other = SoupClient(a.port, "UB")
        other.socket.sendall(enter("s", "S", 7, 89_000))
        until(lambda: read_some(first, b"s", 7))
        before, numbers = copies_in(first.frames), (first.in_seq, first.out_seq)
        a.end(signal.SIGKILL)
        assert of_a.wait() == 75
        first.close()
        b.awaits(state="reigning")
        found: list[FixClient] = []

        def logs_on() -> bool:
            try:
                again = FixClient(of_b.port, "DF", in_seq=numbers[0], out_seq=numbers[1])
            except ConnectionError:
                return False
            try:
                again.log_on()
            except (AssertionError, OSError):
                again.close()
                return False
            found.append(again)
            return True

        until(logs_on)
        (again,) = found
        assert Message(again.frames[0]).number(b"34") == numbers[0]
        again.sent = [*first.sent, *again.sent]  # a logon is in no journal, and is asked for again
        again.send(b"2", [(7, 1), (16, 0)])
        again.send(b"1", [(112, "done")])
        again.until(lambda each: each.get(b"112") == b"done")
        after = copies_in(again.frames)
        assert {key: each.fields[b"34"] for key, each in before.items()} == {
            key: after[key].fields[b"34"] for key in before
        }
        again.close()


def read_some(client: FixClient, name: bytes, trades: int) -> bool:
    """Read a message; True once an order has so many trades, whose captures are the last messages of all."""
    client.until(lambda each: each.msg_type in (b"8", b"AE"))
    told = [each for each in captures_in(client.frames).values() if each.get(b"11") == name]
    return len(told) >= trades


# Without a node.

CAPACITY = Capacity(orders_max=200, ids_max=2_000, instruments_max=4, participants_max=8)
DEFINED = """at 2026-01-05T09:30:00
instrument XYZ tick=0.01 lot=1 reference=10.00
participant ALPHA
participant FIRM
user UA participant=ALPHA firm=FIRM
user DF participant=FIRM
phase XYZ continuous
"""


class Market:
    """An engine whose blocks copy streams take."""

    def __init__(self) -> None:
        self.engine, self.streams, self.seq = Engine(CAPACITY), copy_streams(self), 1
        self.told: list[records.Record] = []
        self.read(DEFINED)

    def read(self, text: str) -> None:
        """Take a scenario."""
        translator = Translator(parse(text, "market"), self.engine.directory)
        while (found := translator.next_batch(self.engine.directory)) is not None:
            self.take(found.rows)

    def take(self, rows: "np.ndarray[Any, Any]") -> None:
        """Take COMMAND rows as one block."""
        self.streams(self.seq, rows, self.engine.apply(rows))
        self.seq += len(rows)

    def mark(self, next_in: int) -> None:
        """Take a mark of the reader's session."""
        context = marks.context_of(2, next_in, Mark.SESSION, marks.COPIES_NUMBER)
        self.take(np.frombuffer(b"".join(marks.mark_rows(context, 2, next_in)), COMMAND).copy())

    def order(self, name: str, next_in: int, flags: int = 0) -> None:
        """Take an order of UA that came by FIX. flags: of its context, as ``marks.RESENT``."""
        fields = {11: name, 38: "1", 40: "2", 44: "10.05", 54: "1", 55: "XYZ", 59: "1"}
        frame = FrameWriter("FIX.4.4", "UA", COMP_ID, Times()).frame(b"D", 2, 10**18, body(sorted(fields.items())))
        rows = [row for each in marks.name_rows(1, 1, name.encode()) for row in each] if len(name) > 14 else []
        rows += marks.with_flags(orders.enter_rows(Message(frame), 1, 1, next_in, 1), flags)
        self.take(np.frombuffer(b"".join(rows), COMMAND).copy())

    def cancel(self, name: str, next_in: int) -> None:
        """Take a cancel by UA of an order that there is not."""
        fields = {11: "x", 41: name, 54: "1", 55: "XYZ"}
        frame = FrameWriter("FIX.4.4", "UA", COMP_ID, Times()).frame(b"F", 2, 10**18, body(sorted(fields.items())))
        self.take(np.frombuffer(b"".join(orders.cancel_rows(Message(frame), 1, 1, next_in)), COMMAND).copy())


def copy_streams(market: "Market | None" = None) -> CopyStreams:
    def deliver(segment: Any) -> None:
        if market is not None:
            market.told += records.records_in(segment.data)

    return CopyStreams(CAPACITY, deliver, lambda *_, **__: None, lambda *_, **__: None)


LONG = "an-order-with-a-long-name"


def test_an_image_of_copy_streams_goes_on_as_they_do() -> None:
    market = Market()
    market.order(LONG, 2)
    market.mark(2)
    market.order("short", 3)
    image = {name: array.copy() for name, array in market.streams.image().items()}
    again = copy_streams()
    again.restore(image, market.seq - 1)
    for name, array in again.image().items():
        assert array.tobytes() == image[name].tobytes(), name
    assert again.reads(2)
    assert not again.reads(1)


def test_the_text_of_a_long_id_is_known_though_nobody_read_its_order_when_it_came() -> None:
    market = Market()
    market.order(LONG, 2)
    market.read("at 2026-01-06T09:30:00\nphase XYZ continuous\n")
    market.mark(2)
    market.read("emergency_close\n")
    copies = [each for each in market.told if each.kind == records.COPY]
    assert [each.cl_ord_id for each in copies] in ([LONG.encode()], []), "its end is told with its text"
    market.read("mass_cancel ALPHA\n")
    copies = [each for each in market.told if each.kind == records.COPY]
    assert [each.cl_ord_id for each in copies][-1:] == [LONG.encode()]


def captured(version: str, kind: int, report: ReportKind) -> Message | None:
    row = np.zeros(1, REPORT)
    row["kind"], row["command_kind"], row["seq"], row["number"] = report, 8, 77, 2
    row["side"], row["symbol"], row["qty"], row["time_in_force"] = 1, int.from_bytes(b"XYZ", "big"), 10, 1
    row["cum_qty"], row["notional_e4"], row["order_number"], row["leaves_qty"] = 3, 300_003, 9, 7
    row["last_qty"], row["last_price_e4"], row["trade_number"], row["price_e4"] = 3, 100_001, 5, 100_500
    row["time_ns"] = Times().nanoseconds(b"20260105-14:30:00.25")
    for name, text in (("participant_name", b"ALPHA"), ("user_name", b"UA"), ("firm", b"FIRM")):
        row[name] = int.from_bytes(text, "big")
    (record,) = records.records_in(records.record_of(5, kind, row.tobytes(), b"name", b"before"))
    answers = CopyAnswers(version)
    if not answers.is_told(record):
        return None
    msg_type, fields, time_ns = answers.message(record)
    return Message(FrameWriter(version, COMP_ID, "DF", Times()).frame(msg_type, 5, time_ns, fields))


@needs_quickfix
@pytest.mark.parametrize("version", VERSIONS)
def test_the_dictionaries_of_quickfix_take_copies_and_captures(version: str) -> None:
    for dictionary in (own(version), judge_dictionary(version)):
        validator = Validator(dictionary)
        for kind, report in ((records.COPY, ReportKind.NEW), (records.COPY, ReportKind.TRADE)):
            said = captured(version, kind, report)
            assert said is not None
            assert validator.fault(said) is None, said.frame
        capture = captured(version, records.CAPTURE, ReportKind.TRADE)
        assert (capture is None) == (version == "FIX.4.2")
        if capture is not None:
            assert validator.fault(capture) is None, (validator.fault(capture), capture.frame)


@pytest.mark.parametrize("version", ["FIX.4.4", "FIXT.1.1"])
def test_a_capture_says_all_of_its_trade(version: str) -> None:
    said = captured(version, records.CAPTURE, ReportKind.TRADE)
    assert said is not None
    fields = {
        int(tag): value.decode() for tag, value in said.fields.items() if tag not in b"8 9 10 34 49 52 56".split()
    }
    assert {tag: fields[tag] for tag in fields if tag not in (448, 447, 452)} == {
        **{35: "AE", 571: "77-2", 17: "77-2", 487: "0", 856: "0", 150: "F", 570: "N", 797: "Y", 880: "5"},
        **{31: "10.0001", 32: "3", 55: "XYZ", 60: "20260105-14:30:00.250", 75: "20260105"},
        **{552: "1", 54: "1", 37: "9", 11: "name", 453: "3"},
    }
    assert roles_in(said) == [("1", "ALPHA"), ("4", "FIRM"), ("36", "UA")]
    copy = captured(version, records.COPY, ReportKind.TRADE)
    assert copy is not None
    assert roles_in(copy) == roles_in(said)
    assert [copy.get(tag) for tag in (b"17", b"31", b"32", b"44", b"797")] == [
        b"77-2",
        b"10.0001",
        b"3",
        b"10.05",
        b"Y",
    ]


def roles_in(message: Message) -> list[tuple[str, str]]:
    """PartyRole and PartyID of each party of a message."""
    of_group = [value.decode() for tag, value in message.in_order() if tag in (b"448", b"452")]
    return list(zip(of_group[1::2], of_group[::2], strict=True))


def test_an_order_that_comes_again_and_a_change_that_is_refused_have_no_copy() -> None:
    market = Market()
    market.mark(2)

    def copies() -> list[tuple[bytes, int]]:
        told = [each for each in market.told if each.kind == records.COPY]
        return [(each.cl_ord_id, records.PLACES.unpack(each.data)[records.PLACE["kind"]]) for each in told]

    market.order("one", 2)
    assert copies() == [(b"one", ReportKind.NEW)]
    market.order("one", 3, marks.RESENT)
    market.cancel("none", 4)
    assert copies() == [(b"one", ReportKind.NEW)], "nothing has happened to an order"
    market.order("one", 5)
    market.order("two", 6, marks.RESENT)
    assert copies()[1:] == [(b"one", ReportKind.REJECTED), (b"two", ReportKind.NEW)]


def cross(client: FixClient, name: str, qty: int, price: str, **sides: str) -> None:
    """Send a NewOrderCross. sides: participants of ``buyer`` and ``seller``."""
    fields: list[tuple[int, Any]] = [(548, name), (549, 1), (550, 0), (55, "XYZ"), (40, 2), (44, price)]
    fields += [(60, Times().text(time.time_ns())), (552, 2)]
    for side, role in ((1, "buyer"), (2, "seller")):
        fields += [(54, side), (11, f"{name}-{role}"), (453, 1), (448, sides[role]), (447, "D"), (452, 1), (38, qty)]
    client.send(b"s", fields)


@pytest.mark.slow
@pytest.mark.parametrize("victim", ["gateways", "core"])
def test_a_firm_crosses_for_its_participants_and_both_are_told_again_after_a_kill(tmp_path: Path, victim: str) -> None:
    node = started(tmp_path, "--gateway", "fix=fix:0", "--gateway", "drop=fixdrop:0")
    try:
        define_readers(node)
        with node.link() as link:
            link.ask("commands", text="user UC participant=BETA firm=FIRM\nuser DB participant=BETA firm=FIRM")
            link.ask("commands", text="participant GAMMA\nuser UF participant=FIRM\nuser UG participant=GAMMA")
            link.ask("password", user="UF", password="secret")
        with (
            closing(FixClient(port_of(node, "fix"), "UF")) as firm,
            closing(reader(node, "DB")) as of_beta,
            closing(reader(node)) as of_firm,
        ):
            for each in (firm, of_beta, of_firm):
                each.log_on()
            cross(firm, "a-cross-with-a-long-name", 7, "10.01", buyer="ALPHA", seller="BETA")
            told = [firm.until(lambda each: each.msg_type == b"8") for _ in range(4)]
            assert [each.get(b"150") for each in told] == [b"0", b"0", b"F", b"F"]
            assert [each.get(b"448") for each in told] == [b"ALPHA", b"BETA"] * 2
            assert told[3].get(b"11") == b"a-cross-with-a-long-name-seller"
            assert {each.get(b"548") for each in told} == {b"a-cross-with-a-long-name"}
            cross(firm, "twice", 7, "10.01", buyer="ALPHA", seller="ALPHA")
            refused = [firm.until(lambda each: each.msg_type == b"8") for _ in range(2)]
            assert {each.get(b"58") for each in refused} == {b"invalid_instruction"}
            cross(firm, "not-its-own", 7, "10.01", buyer="ALPHA", seller="GAMMA")
            assert firm.until(lambda each: each.msg_type == b"j").get(b"380") == b"6"
            # BETA sees its own side, the firm both of them, and nobody that there were refusals.
            for copies, sides in ((of_beta, [b"2"]), (of_firm, [b"1", b"2"])):
                copies.send(b"1", [(112, "all of it")])
                copies.until(lambda each: each.get(b"112") == b"all of it")
                seen = list(copies_in(copies.frames).values())
                assert [each.get(b"54") for each in seen] == sides
                assert {each.get(b"150") for each in seen} == {b"F"}
                assert len(captures_in(copies.frames)) == len(sides)
                assert seen[-1].get(b"11") == b"a-cross-with-a-long-name-seller"
            numbers = firm.in_seq, firm.out_seq
        if victim == "core":
            node.end(signal.SIGKILL)
            node.start()
        else:
            for name in ("fix", "drop"):
                os.kill(processes(node)[name]["pid"], signal.SIGKILL)
        again = back(node, "UF", in_seq=numbers[0], out_seq=numbers[1])
        with closing(again):
            again.send(b"2", [(7, 1), (16, 0)])
            again.send(b"1", [(112, "sent")])
            again.until(lambda each: each.get(b"112") == b"sent")
            before = {Message(each).number(b"34"): plain(each) for each in firm.frames if b"\x0135=8\x01" in each}
            after = {Message(each).number(b"34"): plain(each) for each in again.frames if b"\x0135=8\x01" in each}
            assert before == after
            assert len(before) == 6
    finally:
        node.stop()
