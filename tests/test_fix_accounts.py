"""Terms of users of FIX: throttles, hours of sessions, signed logons, and the file that says them."""

import base64
import os
import signal
import time
from collections.abc import Callable
from contextlib import closing
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from engine.row_bytes import ROW
from gateway.fix import marks, records
from gateway.fix.accounts import Account, Accounts, AccountsError, read_accounts
from gateway.fix.hours import Hours
from gateway.fix.marks import Mark
from gateway.fix.session import COMP_ID, FixSession
from gateway.fix.signed_logon import is_signed, signed_content
from gateway.fix.streams import FixStreams
from gateway.fix.throttle import Throttle
from tests.conftest import Lockstep
from tests.fix_client import FixClient, one_write
from tests.gateways import gateway
from tests.pair_processes import pair
from tests.running import started, until
from tests.test_fix_gateway import back, client
from tests.test_fix_messages import ORDER, Market, fix_streams, rejects, rows_in
from tests.test_node_gateways import port_of
from tests.test_node_programs import processes
from wire.fix_codec import FrameWriter, Message, Times, body
from wire.session_state import State

HOUR_NS = 3_600 * 10**9


def written(path: Path, text: str) -> Path:
    """A file of accounts; each has another time than the one before."""
    before = path.stat().st_mtime_ns if path.exists() else 0
    path.write_text(text)
    if before:
        os.utime(path, ns=(before + 10**9, before + 10**9))
    return path


def test_a_user_has_its_own_terms_or_those_of_all(tmp_path: Path) -> None:
    path = written(
        tmp_path / "accounts.toml",
        '[default]\nmessages_per_second = 100\nburst = 150\nhours = "07:30-18:00"\n'
        '[user.UA]\nwhen_over = "delay"\nburst = 7\n[user.ub]\nmessages_per_second = "off"\nhours = "off"\n'
        "[user.UC]\nmessages_per_second = 20\n[user.UD]\n",
    )
    accounts = Accounts(path)
    hours = Hours(7 * HOUR_NS + HOUR_NS // 2, 18 * HOUR_NS)
    assert accounts.of("UZ") == accounts.of("UD") == Account(100, 150, "reject", hours)
    assert accounts.of("ua") == Account(100, 7, "delay", hours)
    assert accounts.of("UB") == Account()
    assert accounts.of("UC") == Account(20, 20, "reject", hours)
    faults: list[str] = []
    accounts.on_fault = faults.append
    written(path, "[default]\nmessages_per_second = 0\n")
    assert accounts.of("UZ").rate == 100, "a file that is wrong changes nothing"
    assert len(faults) == 1
    assert accounts.of("UZ").rate == 100
    assert len(faults) == 1, "it is said once"
    written(path, "[default]\nmessages_per_second = 5\n")
    assert accounts.of("UZ").rate == 5
    path.unlink()
    assert accounts.of("UZ").rate == 5
    assert "cannot be read" in faults[-1]


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("[default", "is no TOML"),
        ("[other]\n", "has 'other'; it takes [default] and [user.NAME]"),
        ("user = 3\n", "user is no table"),
        ("default = 3\n", "[default] is no table"),
        ("[user.TOOLONGANAME]\n", "[user.TOOLONGANAME] is no user"),
        ("[default]\nrate = 3\n", "[default] has 'rate'; it takes messages_per_second"),
        ("[default]\nmessages_per_second = 1.5\n", "messages_per_second in [default] is 1.5; give a whole number"),
        ("[default]\nburst = true\n", "burst in [default] is True"),
        ('[user.UA]\nwhen_over = "drop"\n', "when_over in [user.UA] is 'drop'; give reject or delay"),
        ('[user.UA]\nhours = "25:00"\n', "hours in [user.UA] is '25:00'; give HH:MM-HH:MM"),
        ("[user.UA]\nhours = 22\n", "hours in [user.UA] is 22"),
        ('[user.UA]\npublic_key = "AAAA"\n', "public_key in [user.UA] is no Ed25519 key"),
        ("[user.UA]\npublic_key = 5\n", "public_key in [user.UA] is no Ed25519 key"),
    ],
)
def test_a_file_that_is_wrong_is_named_with_the_place(tmp_path: Path, lockstep: Lockstep, text: str, why: str) -> None:
    path = written(tmp_path / "accounts.toml", text)
    with pytest.raises(AccountsError) as error:
        read_accounts(path)
    assert why in str(error.value)
    assert str(path) in str(error.value)
    if text == "[default":
        words = ("serve", "--data", tmp_path / "node", "--fix-accounts", path)
        assert "give --gateway fix:PORT too" in " ".join(lockstep(*words)[2].split())
        status, _, err = lockstep(*words, "--gateway", "fix:0")
        assert (status, "is no TOML" in " ".join(err.split())) == (2, True), err
    with pytest.raises(AccountsError, match="cannot be read"):
        read_accounts(tmp_path / "nothing")


# Throttles.


class Clock:
    """A clock that the test moves."""

    def __init__(self) -> None:
        self.now_ns = time.time_ns()

    def __call__(self) -> int:
        return self.now_ns


class Terms(Accounts):
    """Terms that are the same for all."""

    def __init__(self, account: Account) -> None:
        super().__init__()
        self.account = account

    def of(self, user: str) -> Account:
        del user
        return self.account


def logon(writer: FrameWriter, clock: Clock, seq: int = 1, *more: tuple[int, Any]) -> bytes:
    return writer.frame(b"A", seq, clock.now_ns, body(sorted([(98, "0"), (108, 30), (554, "x"), *more])))


def live(
    streams: FixStreams, account: Account, clock: Clock, version: str = "FIX.4.4"
) -> tuple[FixSession, FrameWriter]:
    """A session that is logged on as user 1."""
    writer = FrameWriter(version, "UA", COMP_ID, Times())
    made = FixSession(0, clock, Terms(account))
    made.ask(logon(writer, clock, 1, *([(1137, "9")] if version == "FIXT.1.1" else [])), 0)
    made.accept_login("", 1, 0, 0)
    _, rows, _ = made.read(memoryview(b""), 256, streams, 1, 1)
    number = ROW.unpack(rows[-1])[3]
    made.outgoing(records.record_of(1, records.MARK, records.OF_MARK.pack(number, 1, 1)))
    assert made.state is State.LIVE
    return made, writer


def orders_from(writer: FrameWriter, clock: Clock, begin: int, count: int, odd: bool = False) -> bytes:
    """Orders, one behind the other. odd: with a field that no kernel takes."""
    more = {100: "MIDPOINT"} if odd else {}
    return b"".join(
        writer.frame(b"D", seq, clock.now_ns, body(sorted({**ORDER, 11: f"o{seq}", **more}.items())))
        for seq in range(begin, begin + count)
    )


def test_messages_beyond_the_throttle_are_rejected_and_numbers_go_on() -> None:
    clock, streams = Clock(), Market().streams
    for version, reason in (("FIX.4.4", 0), ("FIXT.1.1", 8)):
        made, writer = live(streams, Account(10, 10), clock, version)
        for again in range(2):  # a second later it has as many again
            seq = made._core.store.in_seq if made._core else 0
            data = orders_from(writer, clock, seq, 15)
            taken, rows, messages = made.read(memoryview(data), 256, streams, 1, 1)
            assert (taken, messages) == (len(data), 15 if again else 16), "the sentence comes first, once"
            assert len(rejects(rows)) == 5
            said = [ROW.unpack(row)[0] for row, behind in pairwise(rows) if rejects([behind])]
            assert {records.refusal_of(word) for word in said} == {records.Refusal(b"D", b"j", reason, b"1")}
            assert made._core is not None
            assert made._core.store.in_seq == seq + 15
            clock.now_ns += 10**9


@pytest.mark.parametrize("odd", [False, True])
@pytest.mark.parametrize("account", [Account(1_000, 5, "delay"), Account(1_000, 700, "delay")])
def test_messages_beyond_the_throttle_wait_and_none_is_lost(odd: bool, account: Account) -> None:
    clock, streams = Clock(), Market().streams
    made, writer = live(streams, account, clock)
    data = orders_from(writer, clock, 2, 2_000, odd)
    begun_ns, count, at, turns, went = clock.now_ns, 0, 0, 0, []
    while count < 2_000:
        taken, rows, messages = made.read(memoryview(data[at : at + 65_536]), 256, streams, 1, 1)
        at += taken
        count += messages
        turns += 1
        went += [int(row["context"]) >> 16 & 0xFFFFFFFF for row in rows_in(rows)] if rows else []
        seconds = (clock.now_ns - begun_ns) / 1e9
        assert count <= account.burst + account.rate * seconds + 1e-6
        if made.pause_ns:
            assert not made.asks, "a session that waits asks for no turn"
            clock.now_ns += made.pause_ns
        assert turns < 5_000
    assert at == len(data)
    assert went == list(range(3, 2_003)), "in their order, each once"
    assert (clock.now_ns - begun_ns) / 1e9 == pytest.approx((2_000 - account.burst) / account.rate, rel=0.01)


def test_what_the_session_says_is_not_held_up_by_a_throttle_and_a_clock_that_goes_back_gives_nothing() -> None:
    clock, streams = Clock(), Market().streams
    made, writer = live(streams, Account(1, 1, "delay"), clock)
    data = orders_from(writer, clock, 2, 1) + writer.frame(b"1", 3, clock.now_ns, body([(112, "there?")]))
    _, rows, _ = made.read(memoryview(data), 256, streams, 1, 1)
    contexts = [int(row["context"]) for row in rows_in(rows)]
    assert [marks.mark_of(each) for each in contexts] == [Mark.ORDER, Mark.SESSION]
    clock.now_ns -= 10 * 10**9
    _, rows, messages = made.read(memoryview(orders_from(writer, clock, 4, 1)), 256, streams, 1, 1)
    assert (rows, messages) == ([], 0)
    assert made.pause_ns == 10**9


def test_a_throttle_holds_no_more_than_its_burst_however_long_its_user_is_silent() -> None:
    throttle = Throttle(10, 12, 0)
    assert throttle.left(3_600 * 10**9) == 12
    throttle.take(12)
    assert (throttle.left(3_600 * 10**9), throttle.wait_ns()) == (0, 100_000_000)
    assert throttle.left(7_200 * 10**9) == 12


# Hours.


def test_hours_go_over_midnight_and_last_a_day_without_an_end() -> None:
    day, night = Hours.read("07:30-18:00"), Hours.read("22:00")
    assert day is not None
    assert night is not None
    moment = 20_000 * 24 * HOUR_NS
    assert [day.are_open(moment + hour * HOUR_NS) for hour in (7, 8, 17, 18, 23)] == [False, True, True, False, False]
    assert all(night.are_open(moment + hour * HOUR_NS) for hour in range(24))
    assert night.begun_ns(moment + 22 * HOUR_NS) == moment + 22 * HOUR_NS
    assert night.begun_ns(moment + 22 * HOUR_NS - 1) == moment - 2 * HOUR_NS
    for text in ("24:00", "7:30", "07:30-", "07:30-18", "", "07:30:60"):
        assert Hours.read(text) is None


class Day:
    """A market with one user of FIX, whose session has hours."""

    def __init__(self, hours: str) -> None:
        self.market, self.clock = Market(), Clock()
        self.clock.now_ns = self.market.streams.now_ns
        self.account = Account(hours=Hours.read(hours))
        self.told: list[bytes] = []
        self.market.streams._deliver = lambda segment: self.told.append(segment.data)
        self.session = FixSession(0)

    def log_on(self, seq: int, *more: tuple[int, Any]) -> Message:
        """Log on in a new connection; the answer."""
        writer = FrameWriter("FIX.4.4", "UA", COMP_ID, Times())
        self.session = FixSession(0, self.clock, Terms(self.account))
        self.session.ask(logon(writer, self.clock, seq, *more), 0)
        self.session.accept_login("", int(self.market.streams.row(1)["next_seq"]), 0, 0)
        told = self.turn()
        return (told or self.turn())[-1]  # the first logon of a session has two marks

    def turn(self) -> list[Message]:
        """Messages that the session sends for what it asks."""
        _, rows, _ = self.session.read(memoryview(b""), 256, self.market.streams, 1, 1)
        if rows:
            self.market.take(rows_in(rows))
        data, self.told = b"".join(self.told), []
        frames = self.session.outgoing(data)[1]
        return [Message(b"8=" + each) for each in frames.split(b"8=FIX.4.4")[1:] for each in [b"FIX.4.4" + each]]


def test_numbers_begin_again_with_the_first_logon_of_a_session_and_with_no_other() -> None:
    day = Day("08:00-18:00")
    assert day.log_on(1).get(b"34") == b"1"
    assert day.log_on(2).get(b"34") == b"2"
    day.market.read("at 2026-01-06T07:59:59\n")
    early = day.log_on(3)
    assert (early.msg_type, early.get(b"34")) == (b"5", b"3")
    assert early.get(b"58") == b"the session's hours are 08:00-18:00 UTC"
    assert day.session.over
    day.market.read("at 2026-01-06T08:00:00\n")
    old = day.log_on(4)
    assert (old.msg_type, old.get(b"34")) == (b"5", b"4")
    assert old.get(b"58") == b"the numbers begin again: log on with MsgSeqNum 1"
    first = day.log_on(1)
    assert (first.msg_type, first.get(b"34"), first.get(b"141")) == (b"A", b"1", None)
    assert day.log_on(2).get(b"34") == b"2", "the second goes on"
    day.market.read("at 2026-01-06T18:00:00\n")
    assert day.log_on(1, (141, "Y")).msg_type == b"5"


def test_a_session_is_logged_out_where_its_hours_end_or_begin_again() -> None:
    for hours, before, moment in (("08:00-18:00", "17:59:59", "18:00:00"), ("22:00", "21:59:59", "22:00:00")):
        day = Day(hours)
        day.market.read(f"at 2026-01-05T{before}\n")
        day.clock.now_ns = day.market.streams.now_ns
        day.log_on(1)
        day.session.tick(0)
        assert day.turn() == []
        day.clock.now_ns += 2 * 10**9
        for _ in range(2):
            day.session.tick(0)
        (asked,) = day.turn()
        assert (asked.msg_type, asked.get(b"112")) == (b"1", b"TIME"), "the market's clock stands until something comes"
        day.market.read(f"at 2026-01-05T{moment}\n")
        for _ in range(2):
            day.session.tick(0)
        (said,) = day.turn()
        assert said.msg_type == b"5"
        assert said.fields[b"58"].startswith(b"the session has ended")


def test_hours_are_in_the_image_of_streams_and_an_image_without_them_begins_nothing_again() -> None:
    day = Day("08:00-18:00")
    day.log_on(1)
    image = {name: array.copy() for name, array in day.market.streams.image().items()}
    assert image["begun"][1] == day.market.streams.now_ns
    again = fix_streams()
    again.restore(dict(image), day.market.seq - 1)
    assert again.begun_ns.tolist() == day.market.streams.begun_ns.tolist()
    del image["begun"]
    before = fix_streams()
    before.restore(image, day.market.seq - 1)
    assert before.begun_ns[1] == before.now_ns
    assert before.begun_ns[0] == 0


def soon(seconds: int) -> tuple[str, Callable[[], bool]]:
    """Hours that begin again so many seconds from now, and whether they have."""
    at_s = int(time.time()) + seconds
    return time.strftime("%H:%M:%S", time.gmtime(at_s)), lambda: time.time() > at_s + 0.5


@pytest.mark.slow
@pytest.mark.parametrize("victim", ["gateway", "core", "nobody"])
def test_a_session_begins_again_at_its_time_also_after_a_kill(tmp_path: Path, victim: str) -> None:
    accounts = written(tmp_path / "accounts.toml", "")
    node = started(tmp_path, "--gateway", "fix=fix:0", "--fix-accounts", str(accounts))
    try:
        with closing(client(node)) as one:
            one.log_on()
            one.order("before")
            one.report("before")
            numbers = one.in_seq, one.out_seq
        hours, has_begun = soon(4)
        written(accounts, f'[user.UA]\nhours = "{hours}"\n')
        with closing(back(node, in_seq=numbers[0], out_seq=numbers[1])) as one:
            assert one.in_seq == numbers[0] + 1, "until then the numbers go on"
            said = one.until(lambda each: each.msg_type == b"5")
            assert said.fields[b"58"].startswith(b"the session has ended")
            one.send(b"5", [])
        until(has_begun)
        if victim == "core":
            node.end(signal.SIGKILL)
            node.start()
        elif victim == "gateway":
            os.kill(processes(node)["fix"]["pid"], signal.SIGKILL)
        with closing(back(node)) as again:
            assert [each.number(b"34") for each in map(Message, again.frames)] == [1]
            again.order("behind")
            assert again.report("behind").number(b"34") == 2
            numbers = again.in_seq, again.out_seq
        os.kill(processes(node)["fix"]["pid"], signal.SIGKILL)
        with closing(back(node, in_seq=numbers[0], out_seq=numbers[1])) as goes_on:
            assert goes_on.in_seq == numbers[0] + 1
    finally:
        node.stop()


@pytest.mark.slow
def test_a_session_begins_again_at_its_time_at_the_node_that_takes_over(tmp_path: Path) -> None:
    """Whichever node makes the mark, the other has the same numbers behind it."""
    accounts = written(tmp_path / "accounts.toml", "")
    words = ("--protocol", "fix", "--fix-accounts", str(accounts))
    with pair(tmp_path) as (_, a, b), gateway(a, "fix", *words) as of_a, gateway(b, "fix", *words) as of_b:
        one = FixClient(of_a.port)
        one.log_on()
        one.order("before")
        one.report("before")
        hours, has_begun = soon(2)
        written(accounts, f'[user.UA]\nhours = "{hours}"\n')
        one.send(b"5", [])
        one.close()
        until(has_begun)
        first = FixClient(of_a.port)
        assert first.log_on().get(b"34") == b"1"
        first.order("behind")
        assert first.report("behind").get(b"34") == b"2"
        a.end(signal.SIGKILL)
        assert of_a.wait() == 75
        first.close()
        b.awaits(state="reigning")
        found: list[FixClient] = []

        def logs_on() -> bool:
            again = FixClient(of_b.port, in_seq=first.in_seq, out_seq=first.out_seq)
            try:
                found.append(again) if again.log_on().msg_type == b"A" else again.close()
            except (AssertionError, OSError):
                again.close()
            return bool(found)

        until(logs_on)
        (again,) = found
        assert Message(again.frames[0]).number(b"34") == 3, "its numbers began again once, and go on"
        again.order("at-the-other")
        again.report("at-the-other")
        again.close()


@pytest.mark.slow
def test_delayed_orders_all_come_and_a_user_without_a_throttle_is_not_held_up(tmp_path: Path) -> None:
    text = '[user.UA]\nmessages_per_second = 20\nburst = 5\nwhen_over = "delay"\n[user.UB]\nmessages_per_second = 1\n'
    accounts = written(tmp_path / "accounts.toml", text)
    node = started(tmp_path, "--gateway", "fix=fix:0", "--fix-accounts", str(accounts))
    try:
        with (
            closing(client(node)) as slow,
            closing(client(node, "UB")) as rejected,
            closing(client(node, "UC")) as free,
        ):
            for each in (slow, rejected, free):
                each.log_on()
            begun_s = time.monotonic()
            for number in range(30):
                slow.order(f"s{number}")
            for number in range(6):
                rejected.order(f"r{number}")
                free.order(f"f{number}")
            for number in range(6):
                free.report(f"f{number}")
            said = [rejected.until(lambda each: each.msg_type in (b"8", b"j")) for _ in range(6)]
            assert [each.msg_type for each in said].count(b"j") >= 2
            assert {each.get(b"58") for each in said if each.msg_type == b"j"} == {b"too many messages a second"}
            for number in range(30):
                slow.report(f"s{number}")
            assert time.monotonic() - begun_s >= 25 / 20 * 0.9
    finally:
        node.stop()


@pytest.mark.slow
def test_messages_beyond_a_throttle_are_rejected_on_the_wire_also_when_they_are_sent_again(tmp_path: Path) -> None:
    text = "".join(f"[user.{name}]\nmessages_per_second = 1\nburst = 3\n" for name in ("UA", "UB"))
    node = started(tmp_path, "--gateway", "fix=fix:0", "--fix-accounts", str(written(tmp_path / "accounts.toml", text)))
    versions = {"UA": ("FIX.4.2", b"0"), "UB": ("FIXT.1.1", b"8")}
    try:
        for name, (version, reason) in versions.items():
            with closing(client(node, name, version=version)) as one:
                one.log_on()
                with one_write(one):
                    for number in range(6):
                        one.order(f"o{number}", f59="1")
                said = [one.until(lambda each: each.msg_type in (b"8", b"j")) for _ in range(6)]
                assert [each.number(b"34") for each in said] == [2, 3, 4, 5, 6, 7], "in the order of the messages"
                assert [each.get(b"11") for each in said[:3]] == [b"o0", b"o1", b"o2"]
                for number, each in enumerate(said[3:], 3):
                    told = [each.get(tag) for tag in (b"35", b"45", b"372", b"379", b"380", b"58")]
                    of_message = [b"%d" % (number + 2), b"D", b"o%d" % number]
                    assert told == [b"j", *of_message, reason, b"too many messages a second"]
                one.send(b"1", [(112, "no message of the application")])
                one.until(lambda each: each.msg_type == b"0")
                time.sleep(1.1)
                one.order("later", f59="1")
                assert one.report("later").get(b"39") == b"0", "the next second has room again"
                os.kill(pid := processes(node)["fix"]["pid"], signal.SIGKILL)
            until(lambda pid=pid: processes(node)["fix"]["pid"] not in (0, pid))
            with closing(back(node, name, version=version, in_seq=one.in_seq, out_seq=one.out_seq)) as again:
                again.send(b"2", [(7, 5), (16, 7)])
                rejects = [again.until(lambda each: each.msg_type == b"j") for _ in range(3)]
                assert [each.get(b"379") for each in rejects] == [b"o3", b"o4", b"o5"]
                assert {each.get(b"43") for each in rejects} == {b"Y"}
        assert node.status()["orders_open"] == 8, "of each the first three and the last"
    finally:
        node.stop()


# Signatures.

ed25519 = pytest.importorskip(
    "cryptography.hazmat.primitives.asymmetric.ed25519", reason="the extra attest is not installed"
)


def signed(frame: bytes, key: Any) -> bytes:
    """The signature of a logon in base64."""
    return base64.b64encode(key.sign(signed_content(Message(frame))))


def test_a_signed_logon_is_newer_than_all_that_this_gateway_and_the_journal_have() -> None:
    accounts = Accounts()
    assert [accounts.is_new("ua", time_ns) for time_ns in (5, 5, 4, 6)] == [True, False, False, True]
    assert not accounts.is_new("UA", 6), "names are the same in small letters"
    accounts.journaled_ns = {"UA": 8, "UB": 3}.__getitem__
    assert [accounts.is_new("UA", time_ns) for time_ns in (7, 8, 9)] == [False, False, True]
    assert [accounts.is_new("UB", time_ns) for time_ns in (3, 4)] == [False, True]


def test_a_signature_is_of_each_field_that_is_signed() -> None:
    key = ed25519.Ed25519PrivateKey.generate()
    public = key.public_key().public_bytes_raw()
    parts = {35: "A", 34: "1", 49: "UA", 52: "20260105-09:30:00.000", 56: "LOCKSTEP", 98: "0", 108: "30"}

    def made(**changes: Any) -> Message:
        fields = {**parts, **{int(tag[1:]): value for tag, value in changes.items()}}
        return Message(b"8=FIX.4.4\x019=1\x01" + body(fields.items()) + b"10=000\x01")

    signature = base64.b64encode(key.sign(b"A\x01UA\x01LOCKSTEP\x011\x0120260105-09:30:00.000"))
    assert is_signed(made(f96=signature), public)
    assert not is_signed(made(), public)
    assert not is_signed(made(f96=b"no base64"), public)
    assert not is_signed(made(f96=base64.b64encode(b"short")), public)
    for changes in ({"f34": "2"}, {"f49": "UB"}, {"f52": "20260105-09:30:00.001"}, {"f56": "OTHER"}, {"f141": "Y"}):
        assert not is_signed(made(f96=signature, **changes), public), changes
    other = ed25519.Ed25519PrivateKey.generate().public_key().public_bytes_raw()
    assert not is_signed(made(f96=signature), other)
    with_reset = base64.b64encode(key.sign(b"A\x01UA\x01LOCKSTEP\x011\x0120260105-09:30:00.000\x01Y"))
    assert is_signed(made(f96=with_reset, f141="Y"), public)


@pytest.mark.slow
def test_a_signed_logon_is_taken_once_and_no_password_is(tmp_path: Path) -> None:
    from cryptography.hazmat.primitives import serialization

    key = ed25519.Ed25519PrivateKey.generate()
    pem = key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    line = pem.decode().splitlines()[1]
    accounts = written(tmp_path / "accounts.toml", f'[user.UA]\npublic_key = "{line}"\n')
    node = started(tmp_path, "--gateway", "fix=fix:0", "--fix-accounts", str(accounts))
    try:
        port = port_of(node, "fix")
        sent = b""
        with closing(FixClient(port)) as one:
            sent = logon_frame(one, key)
            one.socket.sendall(sent)
            one.out_seq += 1
            assert one.until(lambda each: each.msg_type == b"A").get(b"34") == b"1"
            one.order("o1")
            one.report("o1")
            numbers = one.in_seq, one.out_seq
        refused = [sent, logon_frame(FixClient(port, out_seq=numbers[1]), ed25519.Ed25519PrivateKey.generate())]
        for frame in refused:
            with closing(FixClient(port)) as other:
                other.socket.sendall(frame)
                assert other.next() is None
        with closing(FixClient(port, in_seq=numbers[0], out_seq=numbers[1])) as by_password:
            by_password.send(b"A", [(98, 0), (108, 30), (554, "secret")])
            assert by_password.next() is None
        until(lambda: "user or signature is wrong" in node.logged())
        assert "96=" not in node.logged()
        with closing(FixClient(port, in_seq=numbers[0], out_seq=numbers[1])) as again:
            again.socket.sendall(logon_frame(again, key))
            again.out_seq += 1
            assert again.until(lambda each: each.msg_type == b"A").number(b"34") == numbers[0]
        with closing(client(node, "UB")) as with_password:
            assert with_password.log_on().msg_type == b"A"
    finally:
        node.stop()


def logon_frame(client: FixClient, key: Any, *, resets: bool = False) -> bytes:
    """A signed logon with the client's next number."""
    now_ns = time.time_ns()
    asked: list[tuple[int, Any]] = [(98, 0), (108, 30), *([(141, "Y")] if resets else [])]
    plain = client.writer.frame(b"A", client.out_seq, now_ns, body(asked))
    signature = signed(plain, key)
    fields = [(95, len(signature)), (96, signature), *asked]
    return client.writer.frame(b"A", client.out_seq, now_ns, body(fields))


def signs(tmp_path: Path) -> tuple[Any, Path]:
    """A key, and an accounts file by which UA signs its logons with it."""
    key = ed25519.Ed25519PrivateKey.generate()
    line = base64.b64encode(key.public_key().public_bytes_raw()).decode()
    return key, written(tmp_path / "accounts.toml", f'[user.UA]\npublic_key = "{line}"\n')


def logged_on(port: int, key: Any, *, in_seq: int = 1, out_seq: int = 1, resets: bool = False) -> bytes:
    """The bytes of a signed logon that was answered; its session has ended."""
    with closing(FixClient(port, in_seq=in_seq, out_seq=out_seq)) as one:
        sent = logon_frame(one, key, resets=resets)
        one.socket.sendall(sent)
        assert one.until(lambda each: each.msg_type == b"A").get(b"34") == str(in_seq).encode()
    return sent


def is_answered(port: int, sent: bytes) -> bool:
    """True if somebody else's bytes are answered with a logon; once there is somebody to answer."""
    found: list[bool] = []

    def asked() -> bool:
        try:
            with closing(FixClient(port)) as other:
                other.socket.sendall(sent)
                said = other.next()
                found.append(said is not None and said.msg_type == b"A")
        except OSError:
            return False
        return True

    until(asked)
    return found[0]


@pytest.mark.slow
@pytest.mark.parametrize("victim", ["gateway", "node"])
def test_a_signed_logon_is_not_good_again_behind_the_end_of_a_gateway_or_node(tmp_path: Path, victim: str) -> None:
    """Nor at the other gateway of the node. A new one is."""
    key, accounts = signs(tmp_path)
    gateways = ["--gateway", "fix=fix:0", "--gateway", "copies=fixdrop:0"]
    node = started(tmp_path, *gateways, "--fix-accounts", str(accounts))
    try:
        first = logged_on(port_of(node, "fix"), key)
        resets = logged_on(port_of(node, "fix"), key, resets=True)
        copies = logged_on(port_of(node, "copies"), key)
        assert not is_answered(port_of(node, "copies"), resets)
        if victim == "node":
            node.end(signal.SIGKILL)
            node.start()
            until(lambda: processes(node)["fix"]["port"] and processes(node)["copies"]["port"])
        else:
            before = processes(node)["fix"]["pid"]
            os.kill(before, signal.SIGKILL)
            until(lambda: processes(node)["fix"]["pid"] not in (0, None, before) and processes(node)["fix"]["port"])
        for sent in (first, resets, copies):
            assert not is_answered(port_of(node, "fix"), sent)
            assert not is_answered(port_of(node, "copies"), sent)
        assert node.logged().count("user or signature is wrong") >= 7
        with closing(FixClient(port_of(node, "fix"), in_seq=2)) as again:
            again.socket.sendall(logon_frame(again, key))
            assert again.until(lambda each: each.msg_type == b"A").number(b"34") == 2, "no number of it was used"
    finally:
        node.stop()


@pytest.mark.slow
def test_a_signed_logon_is_not_good_again_at_the_node_that_takes_over(tmp_path: Path) -> None:
    key, accounts = signs(tmp_path)
    options = ("fix", "--protocol", "fix", "--fix-accounts", str(accounts))
    with pair(tmp_path) as (_, a, b), gateway(a, *options) as of_a, gateway(b, *options) as of_b:
        sent = logged_on(of_a.port, key)
        a.end(signal.SIGKILL)
        assert of_a.wait() == 75
        b.awaits(state="reigning")

        def is_refused() -> bool:
            """True once the gateway knows that its node reigns, and refuses the copy for what it is."""
            assert not is_answered(of_b.port, sent)
            return "user or signature is wrong" in of_b.logged()

        until(is_refused, what=of_b.logged)
        logged_on(of_b.port, key, in_seq=2)


def test_of_two_marks_of_a_signed_logon_the_second_begins_nothing_and_is_known_as_a_copy() -> None:
    """As where one was still on its way from an earlier life of the gateway."""
    market = Market()
    streams = market.streams
    market.mark(Mark.RESET, 11, [5, 0, 0, 0, 0, 0])
    assert (streams.signed_ns("UA"), streams.is_newest_logon(1, 11)) == (5, True)
    market.mark(Mark.SESSION, 12, [])
    assert int(streams.next_out[1]) == 3
    for number, sent_ns in ((13, 5), (14, 4)):
        market.mark(Mark.RESET, number, [sent_ns, 0, 0, 0, 0, 0])
        assert not streams.is_newest_logon(1, number)
    assert int(streams.next_out[1]) == 5, "the control: numbers go on"
    again = fix_streams()
    again.restore({name: array.copy() for name, array in streams.image().items()}, market.seq - 1)
    assert (again.signed_ns("UA"), again.is_newest_logon(1, 11)) == (5, True)
    extend, mark = marks.mark_rows(marks.context_of(1, 0, Mark.RESET, marks.COPIES_NUMBER), 1, 15, [6, 0, 0, 0, 0, 0])
    for row in (extend, mark):  # in two blocks
        market.take(rows_in([row]))
    assert (streams.signed_ns("UA"), streams.is_newest_logon(1, 15)) == (6, True)
    market.mark(Mark.RESET, 16, [])
    assert int(streams.next_out[1]) == 2, "one without a signature begins again"
    old = {name: array.copy() for name, array in streams.image().items() if name != "signed"}
    fix_streams().restore(old, market.seq - 1)


def test_a_session_whose_signed_logon_is_a_copy_ends_without_an_answer() -> None:
    """Also one whose copy comes where this gateway cannot know: the mark tells. Hours take a second mark, and go on."""
    key, day = ed25519.Ed25519PrivateKey.generate(), Day("08:00-18:00")
    day.account = day.account._replace(public_key=key.public_key().public_bytes_raw())
    writer = FrameWriter("FIX.4.4", "UA", COMP_ID, Times())

    def log_on(seq: int, *more: tuple[int, Any], sent_ns: int) -> list[Message]:
        day.clock.now_ns += 5_000_000
        plain = writer.frame(b"A", seq, sent_ns, body([(98, 0), (108, 30), *more]))
        fields = sorted([(96, signed(plain, key)), (98, 0), (108, 30), *more])
        day.session = FixSession(0, day.clock, Terms(day.account))
        (login,) = day.session.ask(writer.frame(b"A", seq, sent_ns, body(fields)), 0)
        assert getattr(login, "proved", False), "this life of the gateway has seen no other"
        day.session.accept_login("", int(day.market.streams.row(1)["next_seq"]), 0, 0)
        return day.turn() or day.turn()

    sent_ns = day.clock.now_ns
    assert [each.get(b"34") for each in log_on(1, sent_ns=sent_ns)] == [b"1"], "the first of its hours"
    for more in ((), ((141, "Y"),)):
        assert log_on(1, *more, sent_ns=sent_ns) == []
        assert day.session.over == "a logon with the same SendingTime, or a later one, came before"
    (answer,) = log_on(2, sent_ns=day.clock.now_ns)
    assert (answer.msg_type, answer.get(b"34")) == (b"A", b"4"), "the copies have used numbers, which are filled"
    assert not day.session.over
