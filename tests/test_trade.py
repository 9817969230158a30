"""`lockstep trade` by pipe and on a terminal, and the example bot, before a small exchange in this process."""

import asyncio
import contextlib
import os
import pty
import re
import select
import shutil
import socket
import subprocess
import sys
import termios
import threading
import time
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from benchmarks.ports import free_port
from cli.errors import WrongUse
from cli.printer import Printer
from cli.trading import trade as trade_command
from cli.trading import trade_words
from cli.trading.trade_words import KEYS, Cancel, Enter, Replace, Show, parse, text
from client import (
    AsyncClient,
    Canceled,
    CancelReason,
    CancelRejected,
    Client,
    ConnectionLost,
    CrossType,
    Display,
    NewOrder,
    Order,
    OrderState,
    SelfTradePrevented,
    Side,
    TimeInForce,
    messages,
)
from engine.records import Reason
from examples import market_maker
from gateway.ouch.tables import CANCEL_REASONS
from tests import nursery
from tests.conftest import Lockstep
from tests.fake_exchange import PASSWORD, USER, Aside, Fault, Market, after, faults_of, serve, serve_aside
from tests.json_schemas import checked
from tests.running import started, until
from wire.soup import RejectCode

ROOT = Path(__file__).parent.parent
PROGRAM = (sys.executable, "-m", "cli.main")


def command(port: int, *arguments: object, user: str = USER) -> list[str]:
    return ["trade", "--user", user, "--port", str(port), *map(str, arguments)]


def environment(password: str | None = PASSWORD) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if name != "LOCKSTEP_PASSWORD"}
    return {**kept, **({"LOCKSTEP_PASSWORD": password} if password is not None else {})}


def trade(port: int, lines: str, *arguments: object, **options: Any) -> tuple[int, str, str]:
    """Run of the program over lines from a pipe: exit status, standard output, standard error."""
    password, user = options.get("password", PASSWORD), options.get("user", USER)
    done = nursery.run(command(port, *arguments, user=user), typed=lines, environment=environment(password))
    return done.returncode, done.stdout, done.stderr


@pytest.mark.slow
def test_lines_of_a_pipe_are_a_script() -> None:
    with serve_aside(Market()) as aside:
        lines = """\
# a day
buy 300 XYZ @ 10.05 token=mine
orders
sell 100 XYZ @ 10 ioc token=s1
cancel mine 250
replace mine 400 @ 10.06

orders
orders all
fills
help
"""
        status, said, complained = trade(aside.port, lines)
    replaced = re.findall(r"replaced mine by (\w+)", said)
    assert (status, len(replaced)) == (0, 1)
    assert said.replace(replaced[0], "ALICEMINE2---").splitlines() == [
        "ALICE is logged in to session 20260302: 0 open orders; `help` lists the commands",
        "accepted mine: buy 300 XYZ @ 10.05",
        "token  order                open  executed  state",
        "mine   buy 300 XYZ @ 10.05   300         0  live",
        "accepted s1: sell 100 XYZ @ 10.00 ioc",
        "executed mine: 100 @ 10.05, added liquidity",
        "executed s1: 100 @ 10.05, removed liquidity",
        "canceled mine: 50, user",
        "replaced mine by ALICEMINE2---: 300 open @ 10.06",
        "token          order                open  executed  state",
        "ALICEMINE2---  buy 400 XYZ @ 10.06   300       100  live",
        "token          order                     open  executed  state",
        "s1             sell 100 XYZ @ 10.00 ioc     0       100  filled",
        "ALICEMINE2---  buy 400 XYZ @ 10.06        300       100  live",
        "token  executed  price  match",
        "mine        100  10.05      1",
        "s1          100  10.05      1",
    ]
    assert complained == trade_words.help_text(native=False, columns=shutil.get_terminal_size((200, 24)).columns) + "\n"


@pytest.mark.slow
def test_programs_get_one_event_a_line() -> None:
    with serve_aside(Market()) as aside:
        trade(aside.port, "buy 10 XYZ @ 10.05 token=early\n")
        status, said, complained = trade(
            aside.port, "buy 5 XYZ @ 10 token=a1\ncancel a1\norders\norders all\nfills\n", "--json"
        )
    events = checked(["trade"], said)
    assert (status, complained) == (0, "")
    assert [event["event"] for event in events] == [
        "connected", "system_event", "accepted", "caught_up", "accepted", "canceled", "order", "order", "order",
    ]  # fmt: skip
    assert all(tuple(event) == KEYS for event in events)
    accepted = next(event for event in events if event["token"] == "a1")
    assert (accepted["price_e4"], accepted["side"], accepted["qty"], accepted["live"]) == (100_000, "buy", 5, True)
    assert {key: value for key, value in events[-1].items() if value is not None} == {
        "event": "order", "token": "a1", "side": "buy", "qty": 5, "symbol": "XYZ", "price_e4": 100_000,
        "leaves_qty": 0, "cum_qty": 0, "state": "canceled", "terms": "",
    }  # fmt: skip


def test_a_cancel_that_leaves_no_fewer_shares_is_told_so() -> None:
    order = Order("Z1", "XYZ", Side.BUY, 30, 99_900, 99_998, ord("A"), ord("N"), 0)
    order.state, order.leaves_qty = OrderState.LIVE, 10
    assert trade_words.text(CancelRejected(9, 0, "Z1"), {"Z1": order}) == (
        "refused Z1: the order stays as it is, 10 open of its total of 30: a new total, with what was executed, "
        "has to be less than 30"
    )


def test_no_price_is_told_of_an_order_of_ones_own_that_was_met() -> None:
    """AIQ Canceled has the price of the order that it cancels."""
    said = trade_words.text(SelfTradePrevented(9, 0, "Z2", 10, 10, 99_900), {})
    assert said == "canceled Z2: 10, it would have traded with an order of your own participant or group"


@pytest.mark.slow
def test_an_order_that_ends_with_the_day_is_told_so_by_ouch_as_by_native_order_entry() -> None:
    by_ouch, native = (text(Canceled(1, 0, "a1", 5, each), {}) for each in (CancelReason.CLOSED, Reason.END_OF_DAY))
    assert by_ouch == native == "canceled a1: 5, end of day"
    assert text(Canceled(1, 0, "a1", 5, CancelReason.USER), {}) == "canceled a1: 5, user"
    for reason, code in CANCEL_REASONS.items():  # as of the gateway: a word of the rulebook is told where one is known
        told = text(Canceled(1, 0, "a1", 5, CancelReason(code)), {})
        if code in (CancelReason.CLOSED, CancelReason.TIMEOUT, CancelReason.CROSS, CancelReason.HALTED):
            assert told == text(Canceled(1, 0, "a1", 5, reason), {})


def test_what_was_not_done_is_exit_status_1_and_what_is_not_understood_is_2() -> None:
    with serve_aside(Market()) as aside:
        status, said, complained = trade(aside.port, "buy 5 XYZ @ 10 token=a1\ncancel a1\ncancel a1\n")
        assert (status, said.splitlines()[-1], complained) == (1, "refused a1: the order is canceled", "")
        status, said, complained = trade(aside.port, "hold 5 XYZ\ncancel nobody\nbuy 5 XYZ @ 10 token=a2\ncancel a2\n")
        assert (status, said.splitlines()[-1]) == (2, "canceled a2: 5, user")
        assert complained.splitlines() == [
            "lockstep: 'hold 5 XYZ' is not understood; `help` lists the commands, such as buy 100 XYZ @ 10.05",
            "lockstep: there is no order 'nobody' today",
        ]


@pytest.mark.slow
def test_a_connection_that_breaks_is_told_and_the_lines_go_on() -> None:
    with serve_aside(Market(faults=faults_of("NB"))) as aside:
        status, said, _ = trade(aside.port, "buy 5 XYZ @ 10 token=a1\ncancel a1\n")
        assert status == 0
        said = re.sub(r"outage of [0-9.]+ s", "outage", said)
        assert [line.split(":")[0] for line in said.splitlines()[1:]] == [
            "disconnected",
            "outcome unknown",
            "logged in to session 20260302, from message 3",
            "caught up at message 3, after an outage; requests sent again",
            "accepted a1",
            "canceled a1",
        ]
        aside.market.faults = after(1, Fault.BEFORE)
        status, said, complained = trade(aside.port, "buy 5 XYZ @ 10 token=a2\n", "--no-resend")
        assert (status, said.splitlines()[-1]) == (1, "not received: enter a2; nothing was done")
        assert complained == "lockstep: the enter of order a2 was lost with its connection: nothing was done\n"


def test_a_login_that_cannot_be_is_one_sentence_and_exit_status_2(lockstep: Lockstep, monkeypatch: Any) -> None:
    monkeypatch.setenv("LOCKSTEP_PASSWORD", "wrong")
    with serve_aside(Market()) as aside:
        for arguments, sentence in [
            (("--port", free_port()), "nothing listens on 127.0.0.1:"),
            (
                ("--port", aside.port),
                "the exchange refused the login of 'ALICE': user or password is wrong, or the user",
            ),
            (("--host", "no-such-host.invalid"), "the host 'no-such-host.invalid' is unknown; check its name"),
            (("--user", "SEVENCH"), "the user 'SEVENCH' has 7 characters; SoupBinTCP has room for 6"),
            (("--password-file", "no-such-file"), "there is no no-such-file; check the path"),
            (("--password-file", os.devnull), "/dev/null is empty; it should have the password in its first line"),
        ]:
            status, said, complained = lockstep("trade", "--user", USER, *arguments)
            assert (status, said) == (2, "")
            assert complained.startswith(f"lockstep: {sentence}")
            assert complained.count("\n") == 1
            assert "wrong:" not in complained
        assert trade(aside.port, "", password=None) == (
            2, "", "lockstep: there is no password: give --password-file, or set LOCKSTEP_PASSWORD\n",
        )  # fmt: skip


def test_the_password_may_be_in_a_file(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text(f"{PASSWORD}\nmore\n")
    with serve_aside(Market()) as aside:
        status, said, _ = trade(
            aside.port, "quit\nbuy 5 XYZ @ 10\n", "--password-file", tmp_path / "secret", password=None
        )
        assert (status, len(said.splitlines())) == (0, 1)
        assert aside.market.orders == {}


class Terminal:
    """The program on a terminal of its own, as a person has it."""

    def __init__(self, port: int, *arguments: object) -> None:
        self.master, slave = pty.openpty()
        self.shown = ""
        self.program = subprocess.Popen(
            [*PROGRAM, *command(port, *arguments)],
            stdin=slave,
            stdout=slave,
            stderr=slave,
            env=environment(None),
            cwd=ROOT,
            start_new_session=True,
        )
        self.slave = slave

    def until(self, text: str) -> str:
        """Wait for a text on the screen, which breaks its sentences between words; what was shown until then."""
        end_s = time.monotonic() + 60
        while text not in self.shown and text not in self.shown.replace("\r\n", " "):
            assert time.monotonic() < end_s, f"{text!r} does not come: {self.shown!r}"
            if select.select([self.master], [], [], 0.1)[0]:
                self.shown += os.read(self.master, 65_536).decode()
        return self.shown

    def types(self, text: str) -> None:
        os.write(self.master, text.encode())

    def echoes(self) -> bool:
        return bool(termios.tcgetattr(self.slave)[3] & termios.ECHO)

    def close(self) -> int:
        try:
            return self.program.wait(120)
        finally:
            if self.program.poll() is None:
                self.program.kill()
            os.close(self.master)
            os.close(self.slave)


@contextlib.contextmanager
def terminal(aside: Aside, *arguments: object) -> Any:
    made = Terminal(aside.port, *arguments)
    try:
        yield made
    finally:
        if made.program.poll() is None:
            made.program.kill()
            made.program.wait(120)


@pytest.mark.slow
def test_on_a_terminal_the_password_is_asked_for_unseen_and_events_come_as_they_happen() -> None:
    with serve_aside(Market()) as aside, terminal(aside) as screen:
        screen.until("password of ALICE: ")
        end_s = time.monotonic() + 5
        while screen.echoes() and time.monotonic() < end_s:
            time.sleep(0.01)
        assert not screen.echoes()
        screen.types(PASSWORD + "\n")
        screen.until("ALICE is logged in to session 20260302: 0 open orders")
        assert screen.echoes()
        screen.types("buy 100 XYZ @ 10.05 token=a1\n")
        screen.until("accepted a1: buy 100 XYZ @ 10.05")
        aside.do(lambda: aside.market.take("BOB", messages.enter(NewOrder("XYZ", Side.SELL, 100, "10"), "b1")))
        screen.until("executed a1: 100 @ 10.05, added liquidity")
        screen.types("nonsense\n")
        screen.until("lockstep: 'nonsense' is not understood")
        screen.types("orders\n")
        screen.until("no open orders")
        screen.types("orders all\n")
        screen.until("filled")
        assert PASSWORD not in screen.shown
        screen.types("quit\n")
        assert screen.close() == 0


@pytest.mark.slow
def test_a_person_is_told_at_once_of_an_answer_that_does_not_come_and_of_lines_that_wait_for_it() -> None:
    with serve_aside(Market()) as aside, terminal(aside) as screen:
        screen.until("password")
        screen.types(PASSWORD + "\n")
        screen.until("logged in")
        aside.market.silent = True
        screen.types("buy 100 XYZ @ 10.05 token=a1\n")
        screen.until("lockstep: no answer to 'buy 100 XYZ @ 10.05 token=a1' yet; it may take some seconds")
        screen.types("cancel a1\n")
        screen.until("lockstep: 'cancel a1' waits until 'buy 100 XYZ @ 10.05 token=a1' is answered")
        assert "was not answered within" not in screen.shown
        aside.market.silent = False
        aside.do(lambda: None)  # which lets out what is to be said
        screen.until("accepted a1: buy 100 XYZ @ 10.05")
        screen.until("canceled a1: 100, user")
        screen.types("quit\n")
        assert screen.close() == 0


@pytest.mark.slow
def test_a_line_typed_while_there_is_no_connection_is_refused_at_once_and_never_sent() -> None:
    with serve_aside(Market()) as aside, terminal(aside) as screen:
        screen.until("password")
        screen.types(PASSWORD + "\n")
        screen.until("logged in")
        aside.loop.call_soon_threadsafe(aside.done.set)  # the exchange goes away
        screen.until("disconnected")
        screen.types("buy 100 XYZ @ 10.05 token=a1\n")
        screen.until("lockstep: 'buy 100 XYZ @ 10.05 token=a1' was not sent: there is no connection to the exchange")
        assert aside.market.orders == {}


@pytest.mark.slow
def test_a_person_is_told_while_nothing_takes_orders_why_and_when_it_goes_on() -> None:
    with serve_aside(Market()) as aside, terminal(aside) as screen:
        screen.until("password")
        screen.types(PASSWORD + "\n")
        screen.until("logged in")
        assert "nothing takes orders" not in screen.shown
        aside.market.refuse_logins = 1_000_000
        aside.market.faults = after(0, Fault.BEFORE)
        screen.types("buy 100 XYZ @ 10.05 token=a1\n")
        screen.until("lockstep: nothing takes orders for 1 s now: ")
        screen.until("the client tries again")
        assert "refused" in screen.shown
        assert "caught up" not in screen.shown
        aside.market.refuse_logins = 0
        screen.until("caught up at message")
        screen.until("after an outage of")


@pytest.mark.slow
def test_a_person_is_told_while_no_node_of_a_pair_is_primary_yet() -> None:
    market = Market(refuse_logins=1_000_000, refuse_code=RejectCode.SESSION_NOT_AVAILABLE)
    with contextlib.ExitStack() as stack:
        aside = stack.enter_context(serve_aside(market))
        both = f"127.0.0.1:{aside.port},127.0.0.1:{free_port()}"
        screen = stack.enter_context(terminal(aside, "--host", both))
        screen.until("password")
        screen.types(PASSWORD + "\n")
        screen.until("lockstep: nothing takes orders for 1 s now: ")
        screen.until("nothing listens on")
        screen.until("the client tries again")
        assert "ALICE is logged in to" not in screen.shown
        market.refuse_logins = 0
        screen.until("ALICE is logged in to")


@pytest.mark.slow
def test_an_interrupt_logs_out_and_ends() -> None:
    with serve_aside(Market()) as aside, terminal(aside) as screen:
        screen.until("password")
        screen.types(PASSWORD + "\n")
        screen.until("logged in")
        screen.program.send_signal(2)
        assert screen.until("lockstep: interrupted")
        assert screen.close() == 130


@pytest.mark.slow
def test_an_exchange_that_goes_away_for_good_ends_it(monkeypatch: Any, lockstep: Lockstep) -> None:
    from client import async_client

    real = async_client.AsyncClient
    monkeypatch.setattr("cli.trading.trade.AsyncClient", lambda *a, **o: real(*a, **o, reconnect_for_s=0.2))
    monkeypatch.setenv("LOCKSTEP_PASSWORD", PASSWORD)
    reading, writing = os.pipe()
    kept = os.dup(0)
    os.dup2(reading, 0)
    try:
        with serve_aside(Market()) as aside:
            aside.loop.call_soon_threadsafe(aside.loop.call_later, 0.3, aside.done.set)
            status, _, complained = lockstep("trade", "--user", USER, "--port", aside.port)
    finally:
        os.dup2(kept, 0)
        for each in (reading, writing, kept):
            os.close(each)
    assert status == 1
    assert complained.startswith("lockstep: the connection was lost and did not come back within 0.2 s: ")


@pytest.mark.parametrize(
    ("line", "asked"),
    [
        ("", None),
        ("  # later", None),
        ("BUY 100 XYZ @ 10.05 ioc", Enter(NewOrder("XYZ", Side.BUY, 100, "10.05", 0), None)),
        ("buy 100 XYZ @ 10.05 IOC", Enter(NewOrder("XYZ", Side.BUY, 100, "10.05", 0), None)),
        ("short 1 A @ market token=mine", Enter(NewOrder("A", Side.SELL_SHORT, 1, None), "mine")),
        ("Short 1 A @ Market Token=FOK", Enter(NewOrder("A", Side.SELL_SHORT, 1, None), "FOK")),
        ("cancel a1 50", Cancel("a1", 50)),
        ("replace a1 50 @ market", Replace("a1", 50, None)),
        ("exit", Show.QUIT),
    ],
)
def test_a_line_is_read(line: str, asked: object) -> None:
    assert parse(line) == asked


@pytest.mark.parametrize(
    "line",
    ["buy", "buy 100 XYZ 10", "buy 1.5 XYZ @ 10", "buy 0 XYZ @ 10", "buy 5 XYZ @ x", "buy 5 TOOLONGXY @ 1",
     "buy 5 XYZ @ 1 one two", "cancel", "cancel a -1", "replace a 5 10", "orders now", "\x1b[2J",
     "buy 5 XYZ @ 1e1", "buy 5 XYZ @ 1_0", "buy 5 XYZ @ +1", "buy 5 XYZ @ ５", "buy ５ XYZ @ 1", "buy 1e3 XYZ @ 1",
     "buy 5 XYZ @ NaN", "buy 5 XYZ @ 1,5", "cancel a ５", "cancel a 1e3", "cancel a 1000000",
     "cancel a 5 ioc", "replace a 5 @ x", "replace a 5 @ 1e1", "replace a 1000000 @ 1", "replace a 5 @ 1 ioc",
     "buy 5 XYZ @ 1 ioc ioc", "buy 5 XYZ @ 1 hidden post_only", "buy 5 XYZ @ 1 token=", "buy 5 XYZ @ 1 token=a token=a",
     "buy 5 XYZ @ 1 token=FIFTEEN-LETTERS"],
)  # fmt: skip
def test_a_line_that_is_wrong_is_refused_with_a_sentence(line: str) -> None:
    with pytest.raises(WrongUse) as caught:
        parse(line)
    assert repr(line)[1:-1] in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_number_of_thousands_of_digits_is_refused_in_a_short_sentence() -> None:
    with pytest.raises(WrongUse) as caught:
        parse(f"cancel a {'9' * 5_000}")
    assert len(str(caught.value)) < 400


@pytest.mark.parametrize("native", [False, True])
def test_the_help_of_a_narrow_terminal_cuts_no_word_and_says_the_same(native: bool) -> None:
    wide, narrow = (trade_words.help_text(native=native, columns=columns) for columns in (1_000, 60))
    assert max(map(len, narrow.splitlines())) < 60
    assert narrow.split() == wide.split()
    assert len(wide.splitlines()) < len(narrow.splitlines())


@pytest.mark.parametrize("term", ["iok", "day", "mine", "post-only", "#", "5", "min_qty"])
def test_a_mistyped_instruction_enters_no_order_and_the_words_are_listed(term: str) -> None:
    with pytest.raises(WrongUse) as caught:
        parse(f"buy 5 XYZ @ 9.43 {term}")
    assert f"{term!r} is no instruction; give ioc, min_qty=N, post_only, hidden, peg=midpoint, opening" in str(
        caught.value
    )


@pytest.mark.parametrize(
    "term",
    [
        "FOK",
        "gtc",
        "gtd",
        "tif=ioc",
        "stop=9.50",
        "display=10",
        "until=17:00",
        "book=midpoint",
        "peg=primary",
        "stp=none",
    ],
)
def test_a_term_without_a_field_in_ouch_is_refused_with_what_takes_it(term: str) -> None:
    with pytest.raises(
        WrongUse, match=r"OUCH 4.2 has no field for it; ask the operator .* give --protocol native"
    ) as caught:
        parse(f"buy 5 XYZ @ 9.43 {term}")
    assert repr(term) in str(caught.value)


def test_terms_become_the_fields_that_ouch_has_for_them() -> None:
    def new(line: str) -> NewOrder:
        asked = parse(line)
        assert isinstance(asked, Enter)
        return asked.new

    least = new("buy 500 XYZ @ 10.05 ioc min_qty=100")
    assert (least.min_qty, least.time_in_force_s) == (100, TimeInForce.IMMEDIATE_OR_CANCEL)
    assert new("sell 5 XYZ @ 10 hidden").display is Display.NON_DISPLAY
    assert new("sell 5 XYZ @ market Peg=Midpoint").display is Display.MIDPOINT_PEG
    assert new("sell 5 XYZ @ market opening").cross_type is CrossType.OPENING
    assert new("sell 5 XYZ @ 10 CLOSING post_only").cross_type is CrossType.CLOSING
    assert new("sell 5 XYZ @ 10").cross_type is CrossType.NO_CROSS


@pytest.mark.parametrize(
    ("terms", "says"),
    [
        ("min_qty=2", "min_qty goes with ioc"),
        ("ioc min_qty=6", "min_qty is 6 and the order has 5; give at most that"),
        ("ioc min_qty=0", "no whole number of shares from 1"),
        ("ioc opening", "ioc, opening and closing exclude each other"),
        ("hidden peg=midpoint", "post_only, hidden and peg=midpoint exclude each other"),
        ("peg=midpoint ioc", "a peg waits for its price in the book"),
        ("peg=midpoint peg=midpoint", "peg=midpoint stands twice"),
        ("closing opening", "ioc, opening and closing exclude each other"),
        ("ioc min_qty=2 min_qty=3", "min_qty= stands twice"),
    ],
)
def test_terms_that_do_not_fit_together_send_nothing(terms: str, says: str) -> None:
    with pytest.raises(WrongUse, match=says):
        parse(f"buy 5 XYZ @ 9.43 {terms}")


@pytest.mark.parametrize(
    ("line", "least"),
    [("sell -5 X @ 1", 1), ("sell 0 X @ 1", 1), ("replace a 0 @ 1", 1), ("replace a -5 @ 1", 1), ("cancel a -5", 0)],
)
def test_a_refused_quantity_names_the_least_that_is_taken(line: str, least: int) -> None:
    with pytest.raises(WrongUse, match=f"no whole number of shares from {least} to 999999"):
        parse(line)


@pytest.mark.slow
def test_output_that_nobody_reads_stops_no_heartbeats() -> None:
    with serve_aside(Market()) as aside:
        lines = "".join(f"buy 1 XYZ @ 10.05 token=t{n}\n" for n in range(1_500))
        program = nursery.spawn(command(aside.port, "--json"), stdin=subprocess.PIPE, environment=environment())
        try:
            assert program.stdin is not None
            program.stdin.write(lines)
            program.stdin.flush()
            # Far more than a pipe holds is accepted, and each order needed the turn of the client before it.
            until(lambda: len(aside.market.orders) == 1_500, 120, what="all orders are entered")
            beats = aside.market.beats
            until(lambda: aside.market.beats >= beats + 2, 120, what="heartbeats go on")
            program.stdin.close()
            assert program.wait(120) == 0
            assert program.stderr is not None
            assert re.fullmatch(
                r"lockstep: [\d,]+ lines were not shown: nothing reads the output\n",
                program.stderr.read(),
            )
        finally:
            program.kill()
            program.wait(120)
            for stream in (program.stdin, program.stdout, program.stderr):
                assert stream is not None
                with contextlib.suppress(OSError):
                    stream.close()


def test_lines_that_find_no_room_are_counted_and_told(capsys: Any) -> None:
    reading, shown = threading.Event(), []
    printer = Printer(lambda count: f"{count} not shown", lines_max=3)
    printer.put(lambda: shown.append(reading.wait(120)))
    for n in range(10):
        printer.print_line(f"line {n}")
    reading.set()
    printer.close()
    printer.check()
    assert (capsys.readouterr().out, shown) == ("line 0\nline 1\n8 not shown\n", [True])


def test_a_typed_line_that_waited_too_long_enters_nothing(capsys: Any) -> None:
    async def run() -> None:
        async with serve(market) as port, AsyncClient("127.0.0.1", port, USER, PASSWORD) as client:
            desk = trade_command._Desk(client, by_hand=True, as_json=False)
            assert await desk._line("buy 5 XYZ @ 10 token=old", 85.0)
            assert await desk._line("buy 5 XYZ @ 10 token=new", 0.1)
            desk._printer.close()

    market = Market()
    asyncio.run(run())
    assert [token.strip() for _, token in market.orders] == [b"new"]
    assert "'buy 5 XYZ @ 10 token=old' waited 85 s, nothing was sent" in capsys.readouterr().err


def test_a_connection_that_closes_before_the_login_answer_suggests_tls() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def hang_up() -> None:
            for _ in range(2):
                connection = listening.accept()[0]
                connection.recv(1)
                connection.close()

        thread = threading.Thread(target=hang_up, daemon=True)
        thread.start()
        port = listening.getsockname()[1]
        with pytest.raises(
            ConnectionLost, match=r"; perhaps it expects TLS \(give --tls\), or another protocol: check the port$"
        ):
            Client("127.0.0.1", port, USER, PASSWORD).connect()
        with pytest.raises(
            ConnectionLost, match=r"; perhaps it expects TLS \(give --tls\), or another protocol: check the port$"
        ):
            asyncio.run(AsyncClient("127.0.0.1", port, USER, PASSWORD).connect())
        thread.join(10)


# The example


def test_the_example_bot_is_short() -> None:
    source = (ROOT / "examples/market_maker.py").read_text().split('"""', 2)[2]
    lines = [line for line in source.splitlines() if line.strip() and not line.startswith(("import", "from"))]
    assert 20 < len(lines) < 40


@pytest.mark.slow
@pytest.mark.parametrize(
    ("given", "why"),
    [
        (["127.0.0.1", "UA", "XYZ", "10.00"], r"the address is '127.0.0.1'; give HOST:PORT"),
        (["127.0.0.1:1", "UA", "XYZ", "10.00"], r"nothing listens on 127.0.0.1:1; check the port"),
        (["127.0.0.1:1", "UA", "XYZ", "ten"], r"'ten' is no price; write it as 10.00"),
    ],
    ids=["address", "nobody", "price"],
)
def test_the_example_bot_says_in_a_sentence_why_it_cannot_trade(given: list[str], why: str) -> None:
    ran = subprocess.run(
        [sys.executable, "examples/market_maker.py", *given],
        cwd=ROOT,
        env=os.environ | {"LOCKSTEP_PASSWORD": PASSWORD, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (ran.returncode, ran.stdout) == (1, "")
    assert re.match(f"market_maker: {why}", ran.stderr)
    assert len(ran.stderr.splitlines()) == 1


@pytest.mark.parametrize("several", [False, True], ids=["one address", "two addresses"])
def test_the_example_bot_quotes_around_its_middle_and_moves_with_what_trades(several: bool, monkeypatch: Any) -> None:
    monkeypatch.setenv("LOCKSTEP_PASSWORD", PASSWORD)

    async def run() -> list[list[str]]:
        market, seen = Market(), []

        async def quotes() -> list[str]:
            for _ in range(500):
                await asyncio.sleep(0.01)
                there = [o for (user, _), o in market.orders.items() if user == USER and o.open]
                shown = sorted(
                    f"{'buy' if o.side == Side.BUY else 'sell'} {Decimal(o.price_e4) / 10_000}" for o in there
                )
                if len(there) == 2 and (not seen or seen[-1] != shown):
                    return shown
            return ["nothing more came"]

        async with serve(market) as port:
            addresses = f"127.0.0.1:{free_port()},127.0.0.1:{port}" if several else f"127.0.0.1:{port}"
            bot = asyncio.create_task(market_maker.main(addresses, USER, "XYZ", "10.00"))
            for n, (side, price) in enumerate([(Side.BUY, "11"), (Side.BUY, "11"), (Side.SELL, "9"), (Side.SELL, "9")]):
                seen.append(await quotes())
                market.take("BOB", messages.enter(NewOrder("XYZ", side, 40, price), f"b{n}"))
                market.flush()
            seen.append(await quotes())
            bot.cancel()
            await asyncio.wait({bot})
            assert not [order for order in market.orders.values() if order.open]
        return seen

    assert asyncio.run(run()) == [
        ["buy 9.99", "sell 10.01"],
        ["buy 10", "sell 10.02"],
        ["buy 10.01", "sell 10.03"],
        ["buy 10", "sell 10.02"],
        ["buy 9.99", "sell 10.01"],
    ]


def test_a_person_is_up_to_date_at_once_whatever_the_entry_delay_and_a_login_asks_for_nothing(tmp_path: Path) -> None:
    node = started(tmp_path)
    try:
        with node.link() as link:
            assert link.ask("commands", text="venue speed_bump=30s")["rejected"] == 0
            before = link.ask("status")["status"]["commands"]
        process = subprocess.Popen(
            [sys.executable, "-m", "cli.main", "trade", "--port", str(node.port), "--user", "UA"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "LOCKSTEP_PASSWORD": "secret"},
        )
        assert process.stdout is not None
        first = process.stdout.readline()
        _, said = process.communicate("", timeout=120)
        with node.link() as link:
            status = link.ask("status")["status"]
    finally:
        node.stop()
    assert "UA is logged in to session" in first
    assert (said, process.returncode) == ("", 0)
    assert status["commands"] - before < 2, "the login put nothing into the journal"
