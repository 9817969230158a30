"""Order entry by FIX on a node: orders, their reports, and sessions that go on with their numbers after any end."""

import contextlib
import importlib.util
import os
import random
import signal
import socket
import struct
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, suppress
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from node.operator.link import LinkError
from tests.conftest import Lockstep
from tests.fix_client import FixClient
from tests.fix_trader import LOGGED_ON, Trader
from tests.gateways import gateway
from tests.pair_processes import Member, nodes, pair
from tests.running import Client as SoupClient
from tests.running import Running, started, until
from tests.test_node_gateways import port_of
from tests.test_node_programs import processes
from wire.fix_codec import Message, Times
from wire.native import FromServer

MIDPOINT = "instrument MID tick=0.01 lot=1 reference=10.00 books=lit,midpoint\nphase MID continuous"


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Running]:
    running = started(tmp_path, "--gateway", "fix=fix:0")
    try:
        yield running
    finally:
        running.stop()


def client(node: Running, user: str = "UA", **options: Any) -> FixClient:
    return FixClient(port_of(node, "fix"), user, **options)


@pytest.mark.slow
@pytest.mark.parametrize("version", ["FIX.4.2", "FIX.4.4", "FIXT.1.1"])
def test_an_order_is_entered_replaced_traded_and_canceled(node: Running, version: str) -> None:
    with closing(client(node, version=version)) as buyer, closing(client(node, "UB", version=version)) as seller:
        assert buyer.log_on().fields[b"34"] == b"1"
        seller.log_on()
        buyer.order("order-1", qty=10, price="10.00")
        new = buyer.report("order-1")
        assert [new.get(tag) for tag in (b"150", b"39", b"38", b"151", b"14", b"6", b"44", b"54", b"55")] == [
            *(b"0", b"0", b"10", b"10", b"0", b"0", b"10", b"1", b"XYZ"),
        ]
        buyer.change(b"G", "a name that is longer than a token".replace(" ", "-"), "order-1", f38=12, f44="10.01")
        replaced = buyer.report("a-name-that-is-longer-than-a-token")
        assert (replaced.get(b"41"), replaced.get(b"150")) == (b"order-1", b"5")
        assert replaced.get(b"39") == (b"5" if version == "FIX.4.2" else b"0")
        seller.order("s1", "2", 3, "10.00")
        traded = buyer.report("a-name-that-is-longer-than-a-token")
        assert traded.get(b"150") == (b"1" if version == "FIX.4.2" else b"F")
        assert [traded.get(tag) for tag in (b"31", b"32", b"6", b"14", b"151", b"39")] == [
            *(b"10.01", b"3", b"10.01", b"3", b"9", b"1"),
        ]
        assert seller.report("s1", None).get(b"150") == b"0"
        assert seller.report("s1", None).get(b"39") == b"2"
        buyer.change(b"F", "c1", "a-name-that-is-longer-than-a-token")
        canceled = buyer.report("c1")
        assert (canceled.get(b"41"), canceled.get(b"39")) == (b"a-name-that-is-longer-than-a-token", b"4")
        buyer.change(b"F", "c2", "a-name-that-is-longer-than-a-token")
        refused = buyer.until(lambda each: each.msg_type == b"9")
        assert [refused.get(tag) for tag in (b"11", b"41", b"102", b"434", b"39")] == [
            *(b"c2", b"a-name-that-is-longer-than-a-token", b"0", b"1", b"4"),
        ]
        assert refused.get(b"37") == canceled.get(b"37")
        assert len(set(buyer.frames)) == len(buyer.frames)


@pytest.mark.slow
def test_a_generated_password_logs_on_by_fix(node: Running) -> None:
    with node.link() as link:
        password = link.ask("generated_password", user="UA")["password"]
    for wrong in ("secret", password[:10], password.upper()):
        with closing(client(node)) as refused, pytest.raises(AssertionError, match="the connection ended"):
            refused.log_on(password=wrong)
    with closing(client(node)) as trader:
        assert trader.log_on(password=password).msg_type == b"A"


@pytest.mark.slow
@pytest.mark.parametrize("version", ["FIX.4.2", "FIX.4.4", "FIXT.1.1"])
def test_a_kill_switch_is_told_to_its_client_who_stays_and_others_trade_on(node: Running, version: str) -> None:
    """Orders that are killed are told as canceled, in order of acceptance; entries are refused until it is released."""
    with closing(client(node, version=version)) as trader, closing(client(node, "UB", version=version)) as other:
        trader.log_on()
        other.log_on()
        for name in ("first", "second-with-a-name-of-its-own"):
            trader.order(name, qty=10, price="9.00")
            trader.report(name)
        other.order("b1", qty=5, price="8.00")
        other.report("b1")
        with node.link() as link:
            link.ask("commands", text="kill ALPHA")
        for name in (b"first", b"second-with-a-name-of-its-own"):
            canceled = trader.until(lambda each: each.msg_type == b"8")
            assert [canceled.get(tag) for tag in (b"11", b"150", b"39", b"151", b"58")] == [
                *(name, b"4", b"4", b"0", b"kill"),
            ]
        trader.order("refused")
        refused = trader.report("refused")
        assert [refused.get(tag) for tag in (b"150", b"39", b"58")] == [b"8", b"8", b"killed"]
        trader.change(b"F", "c1", "first")
        late = trader.until(lambda each: each.msg_type == b"9")
        assert [late.get(tag) for tag in (b"11", b"102", b"39")] == [b"c1", b"0", b"4"]
        other.order("b2", "2", 5, "8.00")
        assert other.report("b2").get(b"39") == b"0", "a kill is of one participant"
        with node.link() as link:
            link.ask("commands", text="unkill ALPHA")
        trader.order("again")
        assert trader.report("again").get(b"39") == b"0"
        trader.frames.clear()
        resent = [field for fields in asked_again(trader, 1).values() for field in fields if field[:3] == b"58="]
        assert resent == [b"58=kill", b"58=kill", b"58=killed", b"58=too_late"], "all of it is in the journal"


def killed(node: Running, before: int = 0) -> int:
    """Kill the gateway once it serves; its process. before: one that was killed already."""
    found: list[int] = []

    def kills() -> bool:
        pid = processes(node)["fix"]["pid"]
        if not pid or pid == before or not processes(node)["fix"]["port"]:
            return False
        found[:] = [pid]
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            return False
        return True

    until(kills)
    return found[0]


def reigning(*members: Member) -> Member | None:
    """The primary; None while there is none."""
    return next((each for each in members if each.is_(role="primary", state="reigning")), None)


def killed_where_it_reigns(a: Member, b: Member, before: int) -> int:
    """Kill the gateway of the primary, whichever that is; its process."""
    found: list[int] = []

    def kills() -> bool:
        with suppress(LinkError, ProcessLookupError):  # the primary may end as it is asked
            if (primary := reigning(a, b)) is not None:
                of_gateway = processes(primary)["fix"]
                if of_gateway["pid"] and of_gateway["pid"] != before and of_gateway["port"]:
                    os.kill(of_gateway["pid"], signal.SIGKILL)
                    found.append(of_gateway["pid"])
        return bool(found)

    until(kills)
    return found[0]


def back(node: Running, user: str = "UA", **options: Any) -> FixClient:
    """A client that is logged on again, as often as it takes."""
    found: list[FixClient] = []

    def logs_on() -> bool:
        again = client(node, user, **options)
        try:
            again.log_on()
        except (AssertionError, OSError):
            again.close()
            return False
        found.append(again)
        return True

    until(logs_on)
    return found[0]


def plain(frame: bytes) -> list[bytes]:
    """Fields of a frame that are the same when it is sent again."""
    return [each for each in frame.split(b"\x01") if each.split(b"=")[0] not in (b"9", b"10", b"43", b"52", b"122")]


def of_application(frames: list[bytes]) -> dict[int, list[bytes]]:
    """Messages of the application by number."""
    found: dict[int, list[bytes]] = {}
    for frame in frames:
        message = Message(frame)
        if message.msg_type in (b"8", b"9", b"j", b"r"):
            fields = plain(frame)
            assert found.setdefault(message.number(b"34") or 0, fields) == fields
    return found


@pytest.mark.slow
@pytest.mark.parametrize("victim", ["gateway", "core"])
def test_a_resend_after_a_kill_has_the_messages_that_were_sent(tmp_path: Path, victim: str) -> None:
    node = started(tmp_path, "--gateway", "fix=fix:0")
    try:
        first, other = client(node), client(node, "UB")
        first.log_on()
        other.log_on()
        first.order("a1", qty=5, price="10.00")
        first.order("an-order-with-a-long-name", qty=7, price="9.99", f59="1")
        first.send(b"1", [(112, "are you there")])
        first.until(lambda each: each.msg_type == b"0")
        first.send(b"B", [(33, 1), (148, "news")])
        rejected = first.until(lambda each: each.msg_type == b"j")
        assert (rejected.get(b"372"), rejected.get(b"380")) == (b"B", b"3")
        first.send(b"H", [(11, "an-order-with-a-long-name"), (54, "1"), (55, "XYZ")])
        assert first.report("an-order-with-a-long-name", "I").get(b"39") == b"0"
        other.order("b1", "2", 6, "9.99")
        first.report("a1", "F")
        first.report("an-order-with-a-long-name", "F")
        first.change(b"F", "cx", "an-order-with-a-long-name")
        first.report("cx", "4")
        told, numbers = of_application(first.frames), (first.in_seq, first.out_seq)
        first.close()
        other.close()
        until(lambda: node.status()["logged_in"] == 0)
        if victim == "gateway":
            killed(node)
        else:
            node.end(signal.SIGKILL)
            node.start()
        again = back(node, in_seq=numbers[0], out_seq=numbers[1])
        assert Message(again.frames[0]).number(b"34") == numbers[0], "the numbers go on"
        again.order("a2")
        assert again.report("a2").get(b"39") == b"0"
        again.frames.clear()
        again.send(b"2", [(7, 1), (16, 0)])
        again.send(b"1", [(112, "done")])
        again.until(lambda each: each.get(b"112") == b"done")
        resent = [Message(each) for each in again.frames if b"\x0143=Y\x01" in each]
        assert {number: fields for number, fields in of_application(again.frames).items() if number in told} == told
        assert all(each.get(b"122") for each in resent)
        numbers_of = [each.number(b"34") for each in resent]
        assert numbers_of[0] == 1
        for each, following in pairwise(resent):
            begins = each.number(b"36") if each.msg_type == b"4" else (each.number(b"34") or 0) + 1
            assert following.number(b"34") == begins, "no number is left out"
        again.close()
    finally:
        node.stop()


@pytest.mark.slow
def test_a_resend_goes_back_over_the_days_that_are_kept(tmp_path: Path) -> None:
    node = started(tmp_path, "--gateway", "fix=fix:0")
    try:
        first, other = client(node), client(node, "UB")
        first.log_on()
        other.log_on()
        first.order("good-till-cancel", qty=10, price="10.00", f59="1")
        first.order("good-for-the-day", qty=5, price="9.90")
        first.report("good-for-the-day")
        told, numbers = of_application(first.frames), (first.in_seq, first.out_seq)
        first.close()
        other.order("b1", "2", 4, "10.00")
        other.report("b1", "F")
        with node.link() as link:
            ends = time.strftime("%H:%M", time.gmtime(time.time() + 62))
            link.ask("commands", text=f"venue day_start={ends}")  # another trading day begins within 62 s
        assert farewell_of(other)[0] == b"a new trading day begins; log on again"
        back(node, "UB", in_seq=other.in_seq, out_seq=other.out_seq).close()
        again = back(node, in_seq=numbers[0], out_seq=numbers[1])
        answer = Message(again.frames[0]).number(b"34") or 0
        assert answer == numbers[0] + 2, "a trade, and the end of the day order"
        again.frames.clear()
        resent = asked_again(again, numbers[0])
        trade, end = (Message(each) for each in again.frames[:2])
        assert [trade.get(tag) for tag in (b"34", b"11", b"150", b"32", b"14", b"151")] == [
            *(b"%d" % numbers[0], b"good-till-cancel", b"F", b"4", b"4", b"6"),
        ]
        assert [end.get(tag) for tag in (b"11", b"150", b"39", b"151")] == [b"good-for-the-day", b"C", b"C", b"0"]
        again.order("today", price="9.80")
        assert (again.report("today").number(b"34") or 0) > answer, "what is new goes on behind it"
        again.frames.clear()
        every = asked_again(again, 1)
        assert {number: every[number] for number in told | resent} == told | resent
        again.order("today-2", price="9.80")
        numbers = (again.report("today-2").number(b"34") or 0, again.out_seq)
        again.close()
        until(lambda: node.status()["logged_in"] == 0)
        killed(node)
        last = back(node, in_seq=numbers[0] + 1, out_seq=numbers[1])
        last.frames.clear()
        after = asked_again(last, 1)
        assert {number: after[number] for number in every} == every
        last.close()
    finally:
        node.stop()


def asked_again(session: FixClient, begin: int) -> dict[int, Any]:
    """Messages of the application, of all that are sent again from a number on, none of which is left out."""
    session.send(b"2", [(7, begin), (16, 0)])
    session.send(b"1", [(112, "done")])
    session.until(lambda each: each.get(b"112") == b"done")
    resent = [Message(each) for each in session.frames if b"\x0143=Y\x01" in each]
    assert resent[0].number(b"34") == begin
    for each, following in pairwise(resent):
        begins = each.number(b"36") if each.msg_type == b"4" else (each.number(b"34") or 0) + 1
        assert following.number(b"34") == begins, "no number is left out"
    return of_application([each for each in session.frames if b"\x0143=Y\x01" in each])


def lasting_port(beside: int = 0) -> int:
    """A port that no connection gets by itself: a client that tries it again while nobody listens there could meet
    itself on one of those, and hold it. beside: another that is in use soon."""
    first, _ = Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()
    for port in random.Random(os.getpid()).sample(range(10_000, int(first)), 200):
        with contextlib.suppress(OSError), socket.create_server(("127.0.0.1", port)):
            if port != beside:
                return port
    raise AssertionError("200 ports below those of connections are in use")


@pytest.mark.slow
@pytest.mark.parametrize(
    "kills", [2, pytest.param(20, marks=pytest.mark.slow), pytest.param(100, marks=pytest.mark.long)]
)
@pytest.mark.parametrize("victim", ["gateway", "core"])
def test_kills_lose_no_order_of_quickfix_and_double_none(tmp_path: Path, kills: int, victim: str) -> None:
    if importlib.util.find_spec("quickfix") is None:
        pytest.skip("quickfix-tls is not installed: make .venv/.extras")
    port = lasting_port()
    node, chance = started(tmp_path, "--gateway", f"fix=fix:{port}"), random.Random(kills)
    trader, pid = None, 0
    try:
        port_of(node, "fix")
        trader = Trader(port, tmp_path / "quickfix")
        until(lambda: LOGGED_ON in trader.lines)
        order_names: list[str] = []
        for kill in range(kills):
            for n in range(chance.randrange(5, 40)):
                order_names.append(f"kill-{kill}-{n}" + ("-with-a-long-name" if n % 3 == 0 else ""))
                trader.enter(order_names[-1])
            time.sleep(chance.random() * 0.03)
            seen = len(trader.lines)  # before the kill: a client may be back before this test looks again
            if victim == "gateway":
                pid = killed(node, pid)
            else:
                node.end(signal.SIGKILL)
                node.start()
            if chance.random() < 0.5:
                until(lambda seen=seen: LOGGED_ON in trader.lines[seen:])
        until(lambda: {name for kind, name in trader.told() if kind == "0"} >= set(order_names))
        assert trader.told() == Counter({("0", name): 1 for name in order_names}), "each order once"
        assert node.status()["orders_open"] == len(order_names)
    finally:
        if trader is not None:
            trader.stop()
        node.stop()


@pytest.mark.slow
@pytest.mark.parametrize("kills", [4, pytest.param(100, marks=pytest.mark.long)])
def test_a_takeover_amid_kills_loses_no_order_of_quickfix_and_doubles_none(tmp_path: Path, kills: int) -> None:
    if importlib.util.find_spec("quickfix") is None:
        pytest.skip("quickfix-tls is not installed: make .venv/.extras")
    chance, order_names, seen = random.Random(kills), list[str](), 0
    trader = None
    with nodes(tmp_path) as members:
        try:
            a_port = lasting_port()
            b_port = lasting_port(a_port)
            a = members.add("A", "--gateway", f"fix=fix:{a_port}")
            a.start()
            a.awaits(role="primary", state="reigning")
            b = members.add("B", "--gateway", f"fix=fix:{b_port}", peer=a)
            b.start()
            a.set_up()
            b.awaits(state="following", seq=a.pair()["seq"], can_take_over=1)
            pid = 0
            trader = Trader(f"{a_port},{b_port}", tmp_path / "quickfix")
            until(lambda: LOGGED_ON in trader.lines)
            for kill in range(kills):
                for n in range(chance.randrange(5, 40)):
                    order_names.append(f"kill-{kill}-{n}" + ("-with-a-long-name" if n % 3 == 0 else ""))
                    trader.enter(order_names[-1])
                time.sleep(chance.random() * 0.03)
                if kill == kills // 2:
                    # A machine under load may have made the other one primary before; that is a takeover too.
                    until(lambda: reigning(a, b) is not None and any(each.is_(can_take_over=1) for each in (a, b)))
                    seen, first = len(trader.lines), reigning(a, b)
                    assert first is not None
                    first.end(signal.SIGKILL)
                    survivor = b if first is a else a
                    survivor.awaits(state="reigning")
                    until(lambda seen=seen: LOGGED_ON in trader.lines[seen:])
                else:
                    seen = len(trader.lines)
                    pid = killed_where_it_reigns(a, b, pid)
                    if chance.random() < 0.5:
                        until(lambda seen=seen: LOGGED_ON in trader.lines[seen:])
            until(lambda: {name for kind, name in trader.told() if kind == "0"} >= set(order_names))
            assert trader.told() == Counter({("0", name): 1 for name in order_names}), "each order once"
            assert survivor.status()["orders_open"] == len(order_names)
            came = [int(each["34"]) for each in trader.messages("8")]
            assert came == sorted(set(came)), "each number once, in order"
        finally:
            if trader is not None:
                trader.stop()


@pytest.mark.slow
def test_a_session_goes_on_with_its_numbers_at_the_node_that_takes_over(tmp_path: Path) -> None:
    with (
        pair(tmp_path) as (_, a, b),
        gateway(a, "fix", "--protocol", "fix") as of_a,
        gateway(b, "fix", "--protocol", "fix") as of_b,
    ):
        first = FixClient(of_a.port)
        first.log_on()
        for n in range(5):
            first.order(f"order-{n}-with-a-long-name", f59="1")
            first.send(b"1", [(112, f"t{n}")])
            first.until(lambda each, n=n: each.get(b"112") == f"t{n}".encode())
        told, numbers = of_application(first.frames), (first.in_seq, first.out_seq)
        a.end(signal.SIGKILL)
        assert of_a.wait() == 75
        first.close()
        b.awaits(state="reigning")
        found: list[FixClient] = []

        def logs_on() -> bool:
            again = FixClient(of_b.port, in_seq=numbers[0], out_seq=numbers[1])
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
        again.order("a2")
        again.report("a2")
        again.send(b"2", [(7, 1), (16, 0)])
        again.send(b"1", [(112, "done")])
        again.until(lambda each: each.get(b"112") == b"done")
        assert told.items() <= of_application(again.frames).items()
        again.close()


def farewell_of(session: FixClient) -> tuple[bytes | None, int]:
    """Reason and number of the Logout with which the other side ends; nothing comes behind it."""
    said = session.until(lambda each: each.msg_type == b"5")
    assert session.next() is None
    session.close()
    return said.get(b"58"), said.number(b"34") or 0


@pytest.mark.slow
def test_a_session_that_the_exchange_ends_has_a_logout_with_the_reason_and_its_numbers_go_on(tmp_path: Path) -> None:
    node = started(tmp_path, "--gateway", "fix=fix:0")
    try:
        user = client(node)
        user.log_on()
        ends = [
            ("disconnect", {"user": "UA"}, b"the operator ended the connection"),
            ("password", {"user": "UA", "password": "secret"}, b"the user has a new password; log in with it"),
            ("commands", {"text": "user UA participant=BETA"}, b"the user belongs to another participant now"),
            ("", {}, b"the node stops"),
            ("commands", {"text": "user UA participant=BETA allow=none"}, b"the user may not log in any more"),
        ]
        for turn, (operation, words, why) in enumerate(ends):
            user.order(f"before-{turn}", f59="1")
            user.report(f"before-{turn}")
            if operation:
                with node.link() as link:
                    link.ask(operation, **words)
                assert farewell_of(user)[0].startswith(why)
                until(lambda: node.status()["logged_in"] == 0)
            else:
                node.end(signal.SIGTERM)
                assert farewell_of(user)[0] == why
                node.start()
            if turn + 1 < len(ends):
                user = back(node, in_seq=user.in_seq, out_seq=user.out_seq)
                assert Message(user.frames[0]).number(b"34") == user.in_seq - 1
    finally:
        node.stop()


@pytest.mark.slow
def test_a_session_whose_user_logs_on_again_is_told_so_and_its_numbers_go_on(node: Running) -> None:
    """The newest wins. It is no disconnect, so no order is canceled."""
    with node.link() as link:
        text = "user UD participant=BETA allow=login,newest_wins,cancel_on_disconnect"
        assert link.ask("commands", text=text)["rejected"] == 0
        link.ask("password", user="UD", password="secret")
    user = client(node, "UD")
    user.log_on()
    user.order("stays", f59="1")
    user.report("stays")
    for turn in range(3):
        number = user.in_seq
        again = client(node, "UD", in_seq=number + 1, out_seq=user.out_seq)
        assert again.log_on().number(b"34") == number + 1
        assert farewell_of(user) == (b"the same user logged in again", number)
        again.order(f"at-{turn}", f59="1")
        again.report(f"at-{turn}")
        user = again
    assert node.status()["orders_open"] == 4
    assert "orders canceled on disconnect" not in node.logged()
    # Of two that come while the first is told, the newest has the login; the other has no answer.
    two = [client(node, "UD", in_seq=user.in_seq + 1, out_seq=user.out_seq) for _ in range(2)]
    os.kill(pid := processes(node)["fix"]["pid"], signal.SIGSTOP)
    for each in two:
        each.send(b"A", [(98, 0), (108, 30), (554, "secret")])
    os.kill(pid, signal.SIGCONT)
    assert farewell_of(user)[0] == b"the same user logged in again"
    answers = [each.next() for each in two]
    assert [each is None for each in answers].count(True) == 1
    with node.link() as link:
        assert [each["user"] for each in link.ask("sessions")["sessions"] if each["user"]] == ["UD"]
    assert node.status()["orders_open"] == 4
    for each in two:
        each.close()


@pytest.mark.slow
def test_a_gateway_that_ends_alone_logs_its_clients_out_and_they_have_time_to_come_back(node: Running) -> None:
    with node.link() as link:
        assert link.ask("commands", text="user UD participant=BETA allow=login,cancel_on_disconnect")["rejected"] == 0
        link.ask("password", user="UD", password="secret")
    users = [client(node, name) for name in ("UA", "UD")]
    for each in users:
        each.log_on()
        each.order(f"of-{each.user}", f59="1")
        each.report(f"of-{each.user}")
    os.kill(processes(node)["fix"]["pid"], signal.SIGTERM)
    for each in users:
        assert farewell_of(each) == (b"the gateway ends", each.in_seq - 1)
    again = [back(node, each.user, in_seq=each.in_seq, out_seq=each.out_seq) for each in users]
    for each in again:
        assert Message(each.frames[0]).number(b"34") == each.in_seq - 1, "the number of the Logout is not used again"
    assert "orders canceled on disconnect" not in node.logged()
    assert node.status()["orders_open"] == 2
    for each in again:  # which is a disconnect
        each.close()


@pytest.mark.slow
def test_a_primary_that_hands_over_and_ends_logs_its_clients_out(tmp_path: Path) -> None:
    with (
        pair(tmp_path) as (_, a, b),
        gateway(a, "fix", "--protocol", "fix") as of_a,
        gateway(b, "fix", "--protocol", "fix") as of_b,
    ):
        first = FixClient(of_a.port)
        first.log_on()
        first.order("a1", f59="1")
        first.report("a1")
        a.end(signal.SIGTERM)
        why, number = farewell_of(first)
        assert why == b"the node stops"
        of_a.wait()
        b.awaits(state="reigning")
        found: list[FixClient] = []

        def logs_on() -> bool:
            again = FixClient(of_b.port, in_seq=first.in_seq, out_seq=first.out_seq)
            try:
                again.log_on()
            except (AssertionError, OSError):
                again.close()
                return False
            found.append(again)
            return True

        until(logs_on)
        assert Message(found[0].frames[0]).number(b"34") == number + 1
        found[0].close()


def test_orders_behind_a_logout_of_the_exchange_use_no_number_and_come_with_the_next_logon(node: Running) -> None:
    user = client(node)
    user.log_on()
    user.order("a1", f59="1")
    user.report("a1")
    with node.link() as link:
        link.ask("disconnect", user="UA")
    with suppress(OSError):
        for n in range(20):
            user.order(f"late-{n}", f59="1")
            time.sleep(0.002)
    farewell_of(user)
    again = back(node, in_seq=user.in_seq, out_seq=user.out_seq)
    again.sent[:0] = user.sent
    for n in range(20):
        assert again.report(f"late-{n}").get(b"39") == b"0"
    again.close()


@pytest.mark.slow
def test_terms_of_orders_do_what_the_rulebook_says(node: Running) -> None:
    with node.link() as link:
        assert link.ask("commands", text=MIDPOINT)["rejected"] == 0
    with closing(client(node, version="FIXT.1.1")) as buyer, closing(client(node, "UB")) as seller:
        buyer.log_on()
        seller.log_on()
        buyer.order("stop", qty=5, price="10.20", f40="4", f99="10.10", f59="1")
        stop = buyer.report("stop")
        assert [stop.get(tag) for tag in (b"40", b"99", b"44", b"59", b"39")] == [b"4", b"10.1", b"10.2", b"1", b"0"]
        seller.order("ice", "2", 30, "10.10", f111=10)
        assert seller.report("ice").get(b"111") == b"10"
        buyer.order("hidden", qty=7, price="9.90", f1138=0, f59="6", f126="20990101-00:00:00")
        hidden = buyer.report("hidden")
        assert [hidden.get(tag) for tag in (b"1138", b"59", b"126")] == [b"0", b"6", b"20990101-00:00:00.000"]
        buyer.order("fok", qty=12, price="10.10", f59="4")
        # The trade elects the stop, which meets the iceberg's next part.
        assert buyer.report("stop", "L").get(b"151") == b"5"
        assert buyer.report("stop", "F").get(b"39") == b"2"
        buyer.order("post", price="10.10", f18="6")
        post = buyer.report("post")
        assert [post.get(tag) for tag in (b"39", b"103", b"58")] == [b"8", b"99", b"would_cross"]
        buyer.order("bid", qty=10, price="10.00")
        buyer.report("bid")
        buyer.order("peg", qty=5, price=None, f40="P", f18="R", f211="-0.02", f59="1")
        peg = buyer.report("peg")
        assert (peg.get(b"40"), peg.get(b"18")) == (b"P", b"R")
        assert buyer.report("peg", "D").get(b"58") == b"price 9.98"
        buyer.order("least", qty=10, price="10.10", f59="3", f110=100)
        assert buyer.report("least").get(b"39") == b"8"
        buyer.order("ioc", qty=2, price="1.00", f59="3")
        buyer.report("ioc", "0")
        assert buyer.report("ioc", "4").get(b"58") == b"ioc"
        buyer.order("middle", qty=4, price=None, f100="MIDPOINT", f55="MID")
        assert buyer.report("middle").get(b"40") == b"1"
        buyer.order("unknown", f55="NONE")
        unknown = buyer.report("unknown")
        assert [unknown.get(tag) for tag in (b"103", b"55", b"58")] == [b"1", b"NONE", b"unknown_instrument"]
        buyer.order("bid", price="10.00")
        assert buyer.report("bid", "8").get(b"103") == b"6"
        for tag, value in ((b"59", "5"), (b"40", "D"), (b"18", "h"), (b"54", "5"), (b"44", "10.00001"), (b"38", "1.5")):
            buyer.order("refused", **{f"f{tag.decode()}": value})
            assert buyer.report("refused", "8").get(b"37") == b"NONE"
        buyer.order("x" * 65)
        buyer.until(lambda each: each.msg_type == b"j")
        buyer.order("x" * 64)
        buyer.report("x" * 64, "0")


@pytest.mark.slow
def test_a_status_is_that_of_the_last_report(node: Running) -> None:
    with closing(client(node)) as buyer:
        buyer.log_on()
        buyer.order("a1", qty=3)
        buyer.report("a1")
        buyer.change(b"F", "c1", "a1")
        buyer.report("c1")
        buyer.order("a2")
        buyer.report("a2")
        found = []
        for name in ("a1", "a2", "none"):
            buyer.send(b"H", [(11, name), (54, "1"), (55, "XYZ")])
            found.append(buyer.report(name, "I"))
        assert [each.get(b"39") for each in found] == [b"4", b"0", b"8"]
        assert found[2].get(b"37") == b"NONE"
        assert node.status()["orders_open"] == 1


@pytest.mark.slow
def test_a_mass_cancel_takes_the_orders_and_is_answered(node: Running) -> None:
    with closing(client(node)) as buyer, closing(client(node, version="FIX.4.2", user="UB")) as old:
        buyer.log_on()
        for n in range(3):
            buyer.order(f"a{n}")
            buyer.report(f"a{n}")
        buyer.send(b"q", [(11, "all-of-them-at-once"), (530, "7"), (60, "20260101-00:00:00")])
        answer = buyer.until(lambda each: each.msg_type == b"r")
        assert [answer.get(tag) for tag in (b"11", b"530", b"531")] == [b"all-of-them-at-once", b"7", b"7"]
        assert {buyer.report(f"a{n}", "4").get(b"58") for n in range(3)} == {b"mass_cancel"}
        buyer.send(b"i", [(117, "quote")])
        assert buyer.until(lambda each: each.msg_type == b"j").get(b"372") == b"i"
        # FIX 4.2 has no mass cancel.
        old.log_on()
        old.send(b"q", [(11, "x"), (530, "7"), (60, "20260101-00:00:00")])
        old.until(lambda each: each.msg_type in (b"j", b"3"))


@pytest.mark.slow
def test_numbers_begin_again_when_the_client_says_so(node: Running) -> None:
    first = client(node)
    first.log_on()
    first.order("a1", f59="1")
    first.report("a1")
    first.in_seq = first.out_seq = 1
    reset = first.log_on("secret", 30, (141, "Y"))
    assert [reset.get(tag) for tag in (b"34", b"141")] == [b"1", b"Y"]
    first.order("a2", f59="1")
    assert first.report("a2").get(b"34") == b"2"
    first.close()
    until(lambda: node.status()["logged_in"] == 0)
    again = client(node, in_seq=1, out_seq=1)
    assert again.log_on("secret", 30, (141, "Y")).get(b"34") == b"1"
    again.order("a3")
    assert again.report("a3").get(b"34") == b"2"
    again.send(b"5", [])
    assert again.until(lambda each: each.msg_type == b"5").get(b"34") == b"3"
    assert again.next() is None
    again.close()
    until(lambda: node.status()["logged_in"] == 0)
    # A number that was used before ends the session, with the reason; it uses one itself.
    low = client(node, in_seq=4, out_seq=1)
    assert b"MsgSeqNum too low, expecting 4 but received 1" in low.log_on().fields[b"58"]
    assert low.next() is None
    low.close()
    until(lambda: node.status()["logged_in"] == 0)
    last = client(node, in_seq=5, out_seq=4)
    assert last.log_on().get(b"34") == b"5"
    last.close()


@pytest.mark.slow
def test_what_is_no_logon_ends_the_connection(node: Running) -> None:
    with closing(client(node)) as bystander:
        bystander.log_on()
        for first in (
            b"GET / HTTP/1.1\r\n\r\n",
            b"8=FIX.4.4\x019=5\x0135=0\x0110=000\x01",
            b"8=" + b"9" * 20_000,
            b"8",
        ):
            hostile = socket.create_connection(("127.0.0.1", port_of(node, "fix")))
            hostile.settimeout(120)
            hostile.sendall(first)
            with suppress(ConnectionError):
                assert hostile.recv(100) == b""
            hostile.close()
        bystander.order("a1")
        bystander.report("a1")


@pytest.mark.slow
def test_faults_of_a_client_disturb_nobody(node: Running) -> None:
    with closing(client(node)) as bystander:
        bystander.log_on()
        for password, user in (("wrong", "UB"), ("secret", "NOBODY"), ("secret", "x" * 300), ("", "UB")):
            refused = client(node, user)
            refused.send(b"A", [(98, 0), (108, 30), (554, password)] if password else [(98, 0), (108, 30)])
            assert refused.next() is None, "a wrong password gets no number of the session"
            refused.close()
        for user in ("UB", "NOBODY"):
            refused = client(node, user)
            said = refused.log_on("wrong", 30, (141, "Y"))
            assert (said.msg_type, said.number(b"34")) == (b"5", 1), "numbers begin again anyway"
            assert said.fields[b"58"] == b"user or password is wrong, or the user may not log in"
            refused.close()
        second = client(node)
        second.send(b"A", [(98, 0), (108, 30), (554, "secret")])
        assert second.next() is None
        second.close()
        hostile = client(node, "UB")
        hostile.log_on()
        hostile.order("b1", f59="1")
        hostile.report("b1")
        for raw in (b"\x00" * 100, b"8=FIX.4.4\x019=zz\x01", b"8=FIX.4.4\x019=5\x0135=0\x0110=000\x01"):
            hostile.socket.sendall(raw)
        hostile.send(b"D", [(11, "b2")])
        assert hostile.until(lambda each: each.msg_type == b"3").get(b"373") == b"1"
        hostile.send(b"ZZ", [(11, "b2")])
        assert hostile.until(lambda each: each.msg_type == b"3").get(b"373") == b"11"
        hostile.send(b"D", [(11, "b2"), (9999, "x")])
        hostile.until(lambda each: each.msg_type == b"3")
        frame = hostile.writer.frame(b"1", hostile.out_seq, time.time_ns(), b"112=bytes\x01")
        hostile.out_seq += 1
        for at in range(len(frame)):
            hostile.socket.sendall(frame[at : at + 1])
        hostile.until(lambda each: each.get(b"112") == b"bytes")
        hostile.out_seq = 1
        hostile.send(b"1", [(112, "low")])
        assert b"MsgSeqNum too low" in hostile.until(lambda each: each.msg_type == b"5").fields[b"58"]
        assert hostile.next() is None
        hostile.close()
        bystander.order("a1")
        bystander.report("a1")
        assert bystander.out_seq == 3
        assert node.status()["orders_open"] == 2
        assert processes(node)["fix"]["restarts"] == 0


@pytest.mark.slow
def test_numbers_that_no_row_has_room_for_end_no_gateway(node: Running) -> None:
    """A reset to such a number, and the next message, ended the gateway for all."""
    with closing(client(node)) as bystander, closing(client(node, "UB")) as hostile:
        for each in (bystander, hostile):
            each.log_on()
        for number in (2**32, 2**47, 10**18 - 1):
            hostile.out_seq = hostile.send(b"4", [(36, number)])  # a refused reset uses no number
            refused = hostile.until(lambda each: each.msg_type == b"3")
            assert (refused.get(b"371"), refused.get(b"373")) == (b"36", b"5")
        hostile.send(b"4", [(36, 2**32 - 1)])
        hostile.out_seq = 2**32 - 1
        hostile.order("b1")
        assert b"used up" in hostile.until(lambda each: each.msg_type == b"5").fields[b"58"]
        bystander.order("a1")
        bystander.report("a1")
        assert processes(node)["fix"]["restarts"] == 0
    again = client(node, "UB")
    assert again.log_on("secret", 30, (141, "Y")).msg_type == b"A"
    again.order("b2")
    again.report("b2")
    again.close()


@pytest.mark.slow
def test_marks_are_told_to_no_client(tmp_path: Path) -> None:
    node = started(tmp_path, "--gateway", "fix=fix:0", "--gateway", "native=native:0")
    try:
        with closing(client(node)) as one:
            one.log_on()
            one.send(b"1", [(112, "t")])
            one.until(lambda each: each.get(b"112") == b"t")
            one.order("an-order-with-a-long-name")
            one.report("an-order-with-a-long-name")
        until(lambda: node.status()["logged_in"] == 0)
        for port, about_orders in ((node.port, b"A"), (port_of(node, "native"), bytes([FromServer.REPORT]))):
            reader = SoupClient(port, "UA")
            reader.log_out()
            sizes = struct.Struct(">H")
            kinds, at, stream = [], 0, reader.stream
            while at < len(stream):
                kinds.append(stream[at + 3 : at + 4])
                at += 2 + sizes.unpack_from(stream, at)[0]
            day = b"S" if port == node.port else bytes([FromServer.DAY])
            assert [each for each in kinds if each != day] == [about_orders], "of the order, and of no mark"
            until(lambda: node.status()["logged_in"] == 0)
    finally:
        node.stop()


@pytest.mark.slow
def test_a_client_of_simplefix_may_fill_each_field_with_anything(node: Running) -> None:
    simplefix = pytest.importorskip("simplefix", reason="simplefix is not installed: make .venv/.extras")
    chance, values = random.Random(5), ("", "-1", "0", "x" * 100, "9" * 30, "1e9", "\x02", "N", "2", "\xff")
    with closing(client(node)) as bystander, closing(client(node, "UB")) as hostile:
        bystander.log_on()
        hostile.log_on()
        answered = 0
        for tag in (
            *(1, 11, 18, 21, 22, 34, 38, 40, 41, 43, 44, 48, 52, 54, 55, 59, 60, 99, 100, 110, 111, 122),
            *(126, 453),
        ):
            for kind in "DGF":
                made = simplefix.FixMessage()
                fields = {11: f"h{tag}{kind}", 21: "1", 38: "1", 40: "2", 41: "h", 44: "9", 54: "1", 55: "XYZ"}
                fields |= {60: "20260101-00:00:00", tag: chance.choice(values)}
                made.append_pair(8, "FIX.4.4")
                made.append_pair(35, kind)
                made.append_pair(34, hostile.out_seq)
                made.append_pair(49, "UB")
                made.append_pair(52, Times().text(time.time_ns()))
                made.append_pair(56, "LOCKSTEP")
                for each, value in sorted(fields.items()):
                    if each not in (34, 52):
                        made.append_pair(each, value)
                hostile.out_seq += 1
                hostile.socket.sendall(made.encode())
                answer = hostile.until(lambda each: each.msg_type in (b"3", b"8", b"9", b"j"))
                answered += answer.msg_type in (b"3", b"j")
        assert answered > 20
        bystander.order("a1")
        bystander.report("a1")
        hostile.order("still-here")
        hostile.report("still-here")
    assert processes(node)["fix"]["restarts"] == 0


@pytest.mark.slow
def test_a_silent_client_is_asked_and_then_gone_and_orders_go_with_a_connection_where_that_is_wanted(
    node: Running,
) -> None:
    goes, stays = client(node, "UC"), client(node)
    goes.log_on("secret", 1)
    stays.log_on("secret", 0)
    for each in (goes, stays):
        each.order("c1", f59="1")
        each.report("c1")
    assert node.status()["orders_open"] == 2
    kinds = []
    while (message := goes.next()) is not None:
        kinds.append(message.msg_type)
    assert kinds.count(b"1") >= 1, "it was asked"
    assert set(kinds) <= {b"0", b"1"}
    until(lambda: node.status()["orders_open"] == 1)
    goes.close()
    stays.order("c2", f59="1")
    stays.report("c2")
    stays.close()
    until(lambda: node.status()["logged_in"] == 0)
    assert node.status()["orders_open"] == 2


@pytest.mark.slow
@pytest.mark.parametrize("second", [(2, 3), (590, 600), (1, 0)])
def test_a_resend_that_is_asked_for_during_another_leaves_nothing_of_the_first_out(
    node: Running, second: tuple[int, int]
) -> None:
    count = 600
    with closing(client(node)) as one:
        one.log_on()
        for n in range(count):
            one.order(f"resend-{n}")
        one.report(f"resend-{count - 1}")
        one.frames.clear()
        one.send(b"2", [(7, 1), (16, 550)])
        one.send(b"2", [(7, second[0]), (16, second[1])])
        last = second[1] or count + 1
        wanted = {*range(1, 551), *range(second[0], last + 1)}
        again: set[int | None] = set()
        one.socket.settimeout(20)
        while not wanted <= again:
            message = one.next()
            assert message is not None, f"no resend of {sorted(wanted - again)[:5]}"
            if message.get(b"43") == b"Y":
                again.add(message.number(b"34"))


def test_a_bounded_resend_has_what_was_asked_for_and_nothing_else(node: Running) -> None:
    with closing(client(node)) as one:
        one.log_on()
        for n in range(6):
            one.order(f"a{n}")
            one.report(f"a{n}")
        one.frames.clear()
        one.send(b"2", [(7, 3), (16, 5)])
        one.send(b"1", [(112, "t")])
        one.until(lambda each: each.get(b"112") == b"t")
        again = [Message(each) for each in one.frames]
        assert [each.number(b"34") for each in again[:-1]] == [3, 4, 5]
        assert {each.get(b"43") for each in again[:-1]} == {b"Y"}
        # With the number that it expects, a client gets what it has missed behind the answer to its logon.
    until(lambda: node.status()["logged_in"] == 0)
    with closing(client(node, in_seq=one.in_seq, out_seq=one.out_seq)) as back_again:
        back_again.log_on("secret", 30, (789, 6))
        back_again.send(b"1", [(112, "u")])
        back_again.until(lambda each: each.get(b"112") == b"u")
        missed = [Message(each) for each in back_again.frames if b"\x0143=Y\x01" in each]
        assert [each.number(b"34") for each in missed][:2] == [6, 7]


@pytest.mark.slow
def test_sessions_go_on_in_a_venue_with_an_entry_delay(node: Running) -> None:
    with node.link() as link:
        assert link.ask("commands", text="venue speed_bump=2ms")["rejected"] == 0
    first = client(node)
    first.log_on()
    for n in range(4):
        first.order(f"order-{n}-with-a-long-name", f59="1")
    first.change(b"F", "a-cancel-with-a-long-name", "order-1-with-a-long-name")
    first.change(b"F", "c2", "order-2-with-a-long-name")
    first.change(b"G", "r3", "order-3-with-a-long-name", f38=5, f44="9.01")
    first.send(b"1", [(112, "t")])
    assert first.report("a-cancel-with-a-long-name").get(b"41") == b"order-1-with-a-long-name"
    assert first.report("c2").get(b"41") == b"order-2-with-a-long-name"
    assert first.report("r3").get(b"41") == b"order-3-with-a-long-name"
    first.until(lambda each: each.get(b"112") == b"t")
    told, numbers = of_application(first.frames), (first.in_seq, first.out_seq)
    first.order("on-its-way-when-the-gateway-dies", f59="1")
    killed(node)
    first.close()
    again = back(node, in_seq=numbers[0], out_seq=numbers[1] + 1)
    again.sent = [*first.sent, *again.sent]
    again.send(b"1", [(112, "it has come by now")])
    again.until(lambda each: each.get(b"112") == b"it has come by now")
    again.frames.clear()
    again.send(b"2", [(7, 1), (16, 0)])
    again.send(b"1", [(112, "done")])
    again.until(lambda each: each.get(b"112") == b"done")
    found = of_application(again.frames)
    assert told.items() <= found.items()
    assert any(b"11=on-its-way-when-the-gateway-dies" in each for each in found.values())
    again.close()
    assert node.status()["orders_open"] == 3


@pytest.mark.slow
def test_a_long_resend_is_whole_and_in_order_though_it_goes_in_pieces(node: Running) -> None:
    count = 600  # records of three pieces
    with closing(client(node)) as one:
        one.log_on()
        for n in range(count):
            one.order(f"long-resend-{n}")
        one.report(f"long-resend-{count - 1}")
        one.frames.clear()
        one.send(b"2", [(7, 1), (16, 0)])
        one.send(b"1", [(112, "t")])
        one.until(lambda each: each.get(b"112") == b"t")
        while len(one.frames) < count + 2:
            assert one.next() is not None
        again = [Message(each) for each in one.frames if b"\x0143=Y\x01" in each]
        assert [each.number(b"34") for each in again] == list(range(1, count + 2))


@pytest.mark.slow
def test_gateways_go_on_though_the_day_before_is_archived_right_behind_its_roll(
    tmp_path: Path, lockstep: Lockstep
) -> None:
    """Their images are brought forward; beside a running node the slice stays, which is said."""
    node = started(tmp_path, "--gateway", "fix=fix:0", "--gateway", "own=native:0")
    try:

        def archived(*more: str) -> tuple[int, str]:
            words = ("archive", "--to", tmp_path / "archive", "--older-than", "0s", *more, node.data)
            status, out, error = lockstep(*words)
            return status, out + error

        with closing(client(node)) as one:
            one.log_on()
            one.order("an-order-with-a-long-name", f59="1")
            one.report("an-order-with-a-long-name")
            numbers, before = (one.in_seq, one.out_seq), of_application(one.frames)
        with closing(SoupClient(port_of(node, "own"), "UB").socket):
            pass
        assert node.end(signal.SIGTERM) == 0
        for words in (("roll",), ("journal", "keep-events")):
            assert lockstep(*words, node.data)[0] == 0
        status, said = archived()
        assert status == 0, said
        node.start()
        with closing(back(node, in_seq=numbers[0], out_seq=numbers[1])) as again:
            again.send(b"2", [(7, 1), (16, 0)])
            again.change(b"F", "c2", "an-order-with-a-long-name")
            assert again.report("c2").get(b"41") == b"an-order-with-a-long-name"
            after = of_application(again.frames)
            assert {number: after[number] for number in before} == before
        with closing(SoupClient(port_of(node, "own"), "UB").socket):
            pass
        assert node.logged().count("streams made from") == 2, "at the first start, of both"
        assert lockstep("admin", "roll", node.data)[0] == 0
        until((node.data / "slices" / "000003").exists)
        status, said = archived("--without-events")
        assert status == 2
        assert f"slice 2 of {node.data} is needed by the gateway fix" in said.replace("\n", " ")
        assert (node.data / "slices" / "000002").exists()
    finally:
        node.stop()


@pytest.mark.slow
def test_a_session_goes_on_from_its_image_though_the_first_commands_are_in_an_archive(
    tmp_path: Path, lockstep: Lockstep
) -> None:
    """And without the image the gateway says what it needs, and the market goes on."""
    node = started(tmp_path, "--gateway", "fix=fix:0")
    try:
        with closing(client(node)) as one:
            one.log_on()
            for number in range(5):
                one.order(f"an-order-with-a-long-name-{number}", f59="1")
                one.report(f"an-order-with-a-long-name-{number}")
            one.change(b"F", "c1", "an-order-with-a-long-name-0")
            one.report("c1")
            numbers, before = (one.in_seq, one.out_seq), of_application(one.frames)
        image = node.data / "gateways" / "fix" / "streams.image"

        def does(*words: object) -> None:
            status, _, error = lockstep(*words, node.data)
            assert status == 0, error

        assert node.end(signal.SIGTERM) == 0
        does("roll")
        node.start()
        with closing(back(node, in_seq=numbers[0], out_seq=numbers[1])) as between:
            between.order("in-the-next-slice")
            between.report("in-the-next-slice")
            numbers = between.in_seq, between.out_seq
        assert node.end(signal.SIGTERM) == 0
        does("journal", "keep-events")
        does("archive", "--to", tmp_path / "archive", "--older-than", "0s")
        assert not (node.data / "slices" / "000001").exists()
        node.start()
        with closing(back(node, in_seq=numbers[0], out_seq=numbers[1])) as again:
            assert Message(again.frames[0]).number(b"34") == numbers[0]
            again.send(b"2", [(7, 1), (16, 0)])
            again.change(b"F", "c2", "an-order-with-a-long-name-1")
            canceled = again.report("c2")
            assert canceled.get(b"41") == b"an-order-with-a-long-name-1", "the text of an id of before"
            after = of_application(again.frames)
            assert {number: after[number] for number in before} == before
        assert node.end(signal.SIGTERM) == 0
        image.unlink()
        node.start()
        until(lambda: "command 1 is needed, and slice 1 of the journal was archived" in node.logged(), 60, node.logged)
        assert node.status()["seq"] > 0
    finally:
        node.stop()
