"""The end of a day and the days before: what a client is told that was away, with raw packets and with the library.

The gateway stands between transports of the test and an engine; a clock row begins each day.
"""

import asyncio
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from numpy.typing import NDArray

from checkpoints import Projections
from cli import errors
from client import Event, NewOrder, NewSession, Order, OrderEntry, OrderState, Phase, RequestState, Side
from client.events import Canceled, Executed, SessionEnded
from directory.checkpoint_fork import CheckpointFork
from directory.recover import create, recover
from engine import Capacity, Engine
from engine.names import pack
from engine.records import COMMAND, CommandKind, TimeInForce, UserPermission, concatenate
from engine.records import Phase as MarketPhase
from gateway.connection import Connection
from gateway.ouch.outbox import OuchOutbox
from gateway.ouch.protocol import OUCH
from gateway.protocol import Entrance, Login
from gateway.server import Gateway
from gateway.sign_on import _password_of
from gateway.spool import SpoolError
from sequencer.pump import pump
from sequencer.stamp import FileStamp
from tests.gateways import read_at_once
from tests.ouch_messages import cancel, enter, messages
from tests.rows import DAY_NS, NANOSECONDS_2024_01_15_0930, clock, instrument, participant, phase, row
from tests.test_checkpoint_fork import until
from tests.test_silence import Wire
from wire import soup
from wire.soup import LoginRequest, PacketType

CAPACITY = Capacity(orders_max=64, ids_max=256, instruments_max=2, participants_max=4)
JOURNAL_ID = bytes(range(16))
END = soup.packet(PacketType.END_OF_SESSION)


class Days:
    """A market with users UA and UB, of ALPHA and BETA, and a gateway in front of it."""

    def __init__(self, directory: Path, past_days: int = 5, begun: bool = True) -> None:
        directory.mkdir(exist_ok=True)
        self.directory, self.past_days = directory, past_days
        self.outbox = OuchOutbox(directory, CAPACITY, JOURNAL_ID, past_days=past_days)
        self.engine = Engine(CAPACITY)
        self.blocks: list[tuple[int, NDArray[Any], NDArray[Any]]] = []
        self.day = 0
        self.connections: list[Connection] = []
        self.listen()
        if not begun:
            return
        users = [
            row(CommandKind.USER, name=pack(name), participant_name=pack(owner), permissions=int(allowed))
            for name, owner, allowed in (
                ("UA", "ALPHA", UserPermission.ENABLED),
                ("UB", "BETA", UserPermission.ENABLED | UserPermission.CANCEL_ON_DISCONNECT),
            )
        ]
        market = [clock(), instrument("XYZ"), participant("ALPHA"), participant("BETA")]
        self.take(concatenate([*market, *users, phase("XYZ", MarketPhase.CONTINUOUS)]))

    def listen(self) -> None:
        """A gateway before what the outbox holds."""
        self.disconnected: list[int] = []
        self.absent: list[int] = []
        self.warned: list[str] = []
        self.gateway = Gateway(
            [Entrance(OUCH, self.outbox)],
            take=lambda rows, _: self.take(rows.view("V64").copy().view(COMMAND)),
            has_room=lambda: True,
            on_user_disconnect=self.disconnected.append,
            on_users_absent=self.absent.extend,
            report=lambda *_, **__: None,
            warn=lambda event, **fields: self.warned.append(f"{event} {fields['session']}: {fields['why']}"),
        )

        read_at_once(self.gateway)

        def known(connection: Connection, request: Login) -> None:
            user = self.outbox.streams.user(request.user)
            stored = _password_of(self.outbox.streams, user)
            self.gateway._sign_on._log_in(connection, request, user, stored)

        self.gateway.on_login_request = known  # type: ignore[method-assign]

    def take(self, rows: NDArray[Any]) -> None:
        first_seq = self.engine.seq + 1
        self.blocks.append((first_seq, rows, self.engine.apply(rows)))
        self.outbox.observe(*self.blocks[-1])

    def next_day(self, days: int = 1) -> None:
        """A clock value of a later day, first of its block."""
        self.day += days
        self.take(clock(NANOSECONDS_2024_01_15_0930 + self.day * DAY_NS))

    def connected(self) -> tuple[Connection, Wire]:
        connection, wire = self.gateway.connection(self.gateway.entrances[0]), Wire()
        connection.connection_made(wire)
        self.connections.append(connection)
        return connection, wire

    def login(self, user: str, session: str = "", seq: int = 1) -> tuple[Connection, Wire]:
        connection, wire = self.connected()
        self.hears(connection, LoginRequest(user, "any", session, seq).packet())
        return connection, wire

    def hears(self, connection: Connection, data: bytes) -> None:
        """Bytes of a client are read, and the gateway has its turn."""
        buffer = connection.get_buffer(0)
        buffer[: len(data)] = data
        connection.buffer_updated(len(data))
        self.gateway.turn()

    def gone(self, connection: Connection) -> None:
        connection.connection_lost(None)


def told(wire: Wire) -> list[str]:
    """The messages of a stream as words: kind, token or event code, and what was canceled or executed."""
    numbers = ("decrement_shares", "executed_shares", "cancel_reason")
    shown = []
    for kind, fields in messages(wire.sent):
        about = fields.get("order_token", fields.get("event_code", ""))
        shown.append(" ".join([kind.lower(), str(about), *(str(fields[name]) for name in numbers if name in fields)]))
    return shown


@pytest.fixture
def run(tmp_path: Path) -> Callable[[Callable[[Days], None]], None]:
    """Run a test inside an event loop, which a gateway needs."""

    def running(test: Callable[[Days], None]) -> None:
        async def inside() -> None:
            days = Days(tmp_path / "node")
            try:
                test(days)
            finally:
                days.gateway.close()
                days.outbox.close()

        asyncio.run(inside())

    return running


def test_orders_good_for_the_day_are_told_as_canceled_before_the_end_of_their_day(run: Any) -> None:
    def test(days: Days) -> None:
        one, wire = days.login("UA")
        days.hears(one, enter("a1", "B", 100, 99_000) + enter("a2", "B", 50, 98_000) + cancel("a2"))
        days.next_day()
        assert told(wire) == [
            "system_event S",
            "accepted a1",
            "accepted a2",
            "canceled a2 50 U",
            "canceled a1 100 E",
            "system_event E",
        ]
        assert wire.sent.endswith(END)
        assert len(days.engine.open_orders()) == 0
        _, wire = days.login("UA")
        assert told(wire) == ["system_event S"]

    run(test)


def test_a_login_to_a_past_session_is_told_the_rest_of_it_and_its_end(run: Any) -> None:
    def test(days: Days) -> None:
        one, _ = days.login("UA")
        days.hears(one, enter("a1", "B", 100, 99_000))
        days.gone(one)
        other, _ = days.login("UB")
        days.hears(other, enter("b1", "S", 30, 99_000))
        days.next_day()
        back, wire = days.login("UA", "20240115", 3)
        assert wire.sent.startswith(soup.LoginAccepted("20240115", 3).packet())
        assert told(wire) == ["executed a1 30", "canceled a1 70 E", "system_event E"]
        assert wire.sent.endswith(END)
        assert back.closing == "the session has ended"
        _, wire = days.login("UA", "20240115", 0)
        assert told(wire) == []
        assert wire.sent.endswith(END)
        _, wire = days.login("UA", "20240115", 7)
        assert wire.sent == soup.packet(PacketType.LOGIN_REJECTED, b"S")

    run(test)


def test_an_order_sent_to_a_past_session_is_not_taken_and_ends_nobody_elses_login(run: Any) -> None:
    def test(days: Days) -> None:
        days.next_day()
        live, live_wire = days.login("UA")
        before = days.engine.seq
        connection, wire = days.connected()
        request = LoginRequest("UA", "any", "20240115", 1).packet()
        connection.pause_writing()
        days.hears(connection, request + enter("a1", "B", 100, 99_000))
        days.hears(connection, enter("a2", "B", 100, 99_000))
        assert (days.engine.seq, wire.sent.endswith(END), connection.closing) == (before, False, "")
        connection.resume_writing()
        assert told(wire) == ["system_event S", "system_event E"]
        assert wire.sent.endswith(END)
        assert days.engine.seq == before
        assert live.live
        days.hears(live, enter("a1", "B", 100, 99_000))
        assert told(live_wire) == ["system_event S", "accepted a1"]

    run(test)


def test_a_reader_that_is_behind_when_its_day_ends_is_told_the_rest_first(run: Any) -> None:
    def test(days: Days) -> None:
        slow, wire = days.login("UB")
        slow.pause_writing()
        days.hears(slow, enter("b1", "B", 100, 99_000))
        days.next_day()
        assert told(wire) == ["system_event S"]
        assert days.disconnected == [], "its orders ended with the day"
        again, _ = days.login("UB")
        assert again.live, "the end of a day is a disconnect: the user may log in anew at once"
        slow.resume_writing()
        assert told(wire) == ["system_event S", "accepted b1", "canceled b1 100 E", "system_event E"]
        assert wire.sent.endswith(END)

    run(test)


def test_a_past_day_whose_file_was_cut_is_not_served_any_more_and_nobody_else_is_hindered(run: Any) -> None:
    def test(days: Days) -> None:
        slow, slow_wire = days.login("UB")
        slow.pause_writing()
        days.hears(slow, enter("b1", "B", 100, 99_000))
        days.next_day()
        live, live_wire = days.login("UB")
        path = days.directory / "streams" / "20240115.spool"
        days.outbox.flush()
        os.truncate(path, 0)
        for seq in (1, 2, 0):
            connection, wire = days.login("UA", "20240115", seq)
            assert (wire.sent, connection.live) == (soup.packet(PacketType.LOGIN_REJECTED, b"S"), False)
        assert days.warned == [f"past session dropped 20240115: {path} is shorter than what was written to it"]
        slow.resume_writing()
        assert b"the session is not kept any longer" in slow_wire.sent
        days.hears(live, enter("b2", "B", 100, 99_000))
        assert told(live_wire) == ["system_event S", "accepted b2"]
        assert {name.split()[0] for name in days.outbox.image()} == {"streams", days.outbox.spool.session}

    run(test)


def test_a_past_day_whose_file_is_cut_while_it_is_read_ends_that_connection_alone(run: Any) -> None:
    def test(days: Days) -> None:
        days.next_day()
        live, live_wire = days.login("UB")
        behind, _ = days.login("UB")
        slow = days.connected()[0]
        slow.pause_writing()
        days.hears(slow, LoginRequest("UA", "any", "20240115", 1).packet())
        os.truncate(days.directory / "streams" / "20240115.spool", 0)
        slow.resume_writing()
        assert (slow.closing, len(days.warned), live.closing) == ("the session is not kept any longer", 1, "")
        days.hears(live, enter("b2", "B", 100, 99_000))
        assert told(live_wire)[-1] == "accepted b2"
        assert not behind.live

    run(test)


def test_the_present_day_cannot_go_on_without_its_file_and_the_sentence_says_what_helps(run: Any) -> None:
    def test(days: Days) -> None:
        days.outbox.flush()
        os.truncate(days.outbox.spool.path, 0)
        with pytest.raises(SpoolError, match="shorter than what was written to it; start the node again") as error:
            days.login("UA")
        sentence, status = errors.sentence(error.value)
        assert ("defect" in sentence, status) == (False, errors.LATER)

    run(test)


def test_so_many_past_days_are_kept_and_older_ones_refused(run: Any) -> None:
    def test(days: Days) -> None:
        for _ in range(7):
            days.next_day()
        names = [f"202401{day}" for day in range(15, 23)]
        assert list(days.outbox.past) == names[2:7]
        for session in names[:2]:
            _, wire = days.login("UA", session)
            assert wire.sent == soup.packet(PacketType.LOGIN_REJECTED, b"S")
        for session in names[2:7]:
            _, wire = days.login("UA", session)
            assert told(wire) == ["system_event S", "system_event E"]
        # One file more, for a checkpoint of the day before.
        assert sorted(path.stem for path in (days.directory / "streams").iterdir()) == names[1:]

    run(test)


def test_past_days_are_made_again_by_replay_and_go_on_from_a_checkpoint(run: Any) -> None:
    def test(days: Days) -> None:
        one, _ = days.login("UA")
        days.hears(one, enter("a1", "B", 100, 99_000))
        days.next_day()
        one, _ = days.login("UA")
        days.hears(one, enter("a1", "B", 10, 99_000))
        days.outbox.flush()
        image = {name: array.copy() for name, array in days.outbox.image().items()}
        at = len(days.blocks)
        days.next_day(3)
        wanted = [told(days.login("UA", session)[1]) for session in ("20240115", "20240116")]
        assert wanted[0] == ["system_event S", "accepted a1", "canceled a1 100 E", "system_event E"]
        assert wanted[1] == ["system_event S", "accepted a1", "canceled a1 10 E", "system_event E"]

        def after_restart(image: Any, blocks: Any) -> list[list[str]]:
            again = Days(days.directory, begun=False)
            if image is not None:
                again.outbox.restore(image, 0)
            for block in blocks:
                again.outbox.observe(*block)
            again.listen()
            told_again = [told(again.login("UA", session)[1]) for session in ("20240115", "20240116")]
            again.gateway.close()
            again.outbox.close()
            return told_again

        days.outbox.close()
        assert after_restart(image, days.blocks[at:]) == wanted
        assert after_restart(None, days.blocks) == wanted
        (days.directory / "streams" / "20240115.spool").unlink()
        assert after_restart(image, days.blocks[at:]) == [[], wanted[1]], "a file that is gone is not believed"

    run(test)


def test_an_order_that_stays_over_the_day_is_told_in_the_new_stream_under_its_token(run: Any) -> None:
    """No OUCH user can enter one; it may come from a journal that was written otherwise."""

    def test(days: Days) -> None:
        one, _ = days.login("UA")
        days.hears(one, enter("a1", "B", 100, 99_000))
        rows = days.blocks[-1][1].view("V64").copy().view(COMMAND)
        rows["client_order_id"], rows["time_in_force"] = pack("a2"), TimeInForce.GTC
        days.take(rows)
        days.next_day()
        one, wire = days.login("UA")
        other, _ = days.login("UB")
        days.hears(other, enter("b1", "S", 40, 99_000))
        days.hears(one, cancel("a2"))
        assert told(wire) == ["system_event S", "executed a2 40", "canceled a2 60 U"]

    run(test)


class Library:
    """A client's heart, connection after connection, to the gateway of ``Days``."""

    def __init__(self, days: Days, user: str) -> None:
        self.days = days
        self.core = OrderEntry(user, "any", Order)
        self.events: list[Event] = []
        self.connect()

    def connect(self) -> None:
        self.connection, self.wire = self.days.connected()
        self.read = 0
        self.core.connected(0)
        self.run()

    def run(self) -> None:
        while True:
            sent = self.core.take()
            if sent:
                self.days.hears(self.connection, sent)
            came, self.read = self.wire.sent[self.read :], len(self.wire.sent)
            self.events += self.core.receive(came, 0)
            if not came and not sent:
                break
        if self.core.over:
            self.lose()

    def lose(self) -> None:
        """The connection breaks."""
        if self.connection.slot >= 0:
            self.days.gone(self.connection)
        self.events += self.core.lost()


def test_the_library_gets_the_fills_of_a_day_that_ended_while_it_was_away_and_goes_on(run: Any) -> None:
    def test(days: Days) -> None:
        library = Library(days, "UA")
        order, _ = library.core.enter(NewOrder("XYZ", Side.BUY, 100, "9.90"))
        library.run()
        unanswered, _ = library.core.enter(NewOrder("XYZ", Side.BUY, 7, "9.80"))
        days.hears(library.connection, library.core.take())  # the answer to this one is lost
        library.lose()
        other, _ = days.login("UB")
        days.hears(other, enter("b1", "S", 30, 99_000))
        days.next_day()
        library.events.clear()
        library.connect()
        assert (order.cum_qty, order.state) == (30, OrderState.CANCELED)
        assert unanswered.state is OrderState.CANCELED
        kinds = [type(event) for event in library.events]
        assert [kinds.count(kind) for kind in (Executed, Canceled, SessionEnded)] == [1, 2, 1]
        assert library.core.at_once
        library.connect()
        assert NewSession("20240116", "20240115") in library.events
        assert library.core.phase is Phase.LIVE
        again, request = library.core.enter(NewOrder("XYZ", Side.BUY, 100, "9.90"))
        library.run()
        assert (again.state, request.state) == (OrderState.LIVE, RequestState.DONE)
        assert list(library.core.day.orders) == [again.token]

    run(test)


def test_the_library_that_is_there_when_its_day_ends_goes_on_with_the_next(run: Any) -> None:
    def test(days: Days) -> None:
        library = Library(days, "UA")
        order, _ = library.core.enter(NewOrder("XYZ", Side.BUY, 100, "9.90"))
        library.run()
        days.next_day()
        library.run()
        assert order.state is OrderState.CANCELED
        assert library.core.phase is Phase.DOWN
        library.connect()
        assert (library.core.phase, library.core.session) == (Phase.LIVE, "20240116")

    run(test)


def test_the_library_away_for_longer_than_is_kept_begins_with_the_present_day(run: Any) -> None:
    def test(days: Days) -> None:
        library = Library(days, "UA")
        library.lose()
        for _ in range(7):
            days.next_day()
        library.connect()
        assert library.core.at_once
        library.lose()
        library.connect()
        assert (library.core.phase, library.core.session) == (Phase.LIVE, "20240122")

    run(test)


def test_a_node_that_recovers_has_the_past_days_from_a_checkpoint_and_without_one(run: Any, tmp_path: Path) -> None:
    """Journal, checkpoint file and recovery as a node has them, with two days over when the checkpoint is taken."""

    def test(days: Days) -> None:
        one, _ = days.login("UA")
        days.hears(one, enter("a1", "B", 100, 99_000))
        days.next_day()
        one, _ = days.login("UA")
        days.hears(one, enter("a1", "B", 10, 99_000))
        days.next_day()
        wanted = [told(days.login("UA", session)[1]) for session in ("20240115", "20240116", "")]
        directory = tmp_path / "recovered"
        journal, engine = create(directory, CAPACITY)
        with journal:
            outbox = OuchOutbox(directory, CAPACITY, journal.journal_id)
            aside = CheckpointFork(journal, 10**9, projections=Projections([outbox]))
            pump((rows for _, rows, _ in days.blocks), FileStamp(), journal, engine, publishers=[outbox.observe])
            with aside:
                assert aside.now(engine)
                until(lambda: aside.tend() or not aside.busy)
            outbox.close()
        for checkpoint in (True, False):
            outbox = OuchOutbox(directory, CAPACITY, journal.journal_id)
            if not checkpoint:
                shutil.rmtree(directory / "checkpoints")
            journal, _, recovered = recover(directory, projections=Projections([outbox]))
            journal.close()
            assert recovered.notes == ()
            days.outbox.close()
            days.outbox = outbox
            days.listen()
            assert [told(days.login("UA", session)[1]) for session in ("20240115", "20240116", "")] == wanted

    run(test)


@pytest.mark.parametrize("session", ["20240115", "20240116"])
def test_a_flipped_bit_in_a_stream_is_told_to_nobody_after_a_restart(session: str, run: Any) -> None:
    def test(days: Days) -> None:
        one, _ = days.login("UA")
        days.hears(one, enter("a1", "B", 100, 99_000))
        days.next_day()
        one, _ = days.login("UA")
        days.hears(one, enter("a1", "B", 10, 99_000))
        days.outbox.flush()
        image = days.outbox.image()
        wanted = [told(days.login("UA", "20240115")[1]), ["system_event S", "accepted a1"]]
        days.outbox.close()
        path = days.directory / "streams" / f"{session}.spool"
        raw = bytearray(path.read_bytes())
        raw[raw.rfind(b"a1 ")] ^= 2  # a token
        path.write_bytes(raw)
        again = Days(days.directory, begun=False)
        if session == "20240116":  # of the present day: nothing of the checkpoint is used, and replay makes it again
            with pytest.raises(ValueError, match=r"20240116\.spool was changed"):
                again.outbox.restore(image, 0)
            again = Days(days.directory, begun=False)
            for block in days.blocks:
                again.outbox.observe(*block)
        else:
            again.outbox.restore(image, 0)
            wanted[0] = []
            (note,) = again.outbox.notes
            assert "the streams of session 20240115 are not kept any longer: " in note
        again.listen()
        assert [told(again.login("UA", each)[1]) for each in ("20240115", "")] == wanted
        again.gateway.close()
        again.outbox.close()

    run(test)


def test_a_reader_of_a_past_session_makes_room_for_no_stranger(run: Any) -> None:
    def test(days: Days) -> None:
        one, _ = days.login("UA")
        days.hears(one, enter("a1", "B", 100, 99_000))
        session = days.outbox.spool.session
        days.next_day()
        reader, wire = days.connected()
        reader.pause_writing()  # it takes nothing for now, so that the end of its stream is not reached
        days.hears(reader, LoginRequest("UA", "any", session, 1).packet())
        for _ in range(2_000):
            days.connected()
        assert not reader.closing
        reader.resume_writing()
        assert "accepted a1" in " / ".join(told(wire))
        assert wire.sent.endswith(END)

    run(test)


def test_the_roll_of_a_day_is_no_disconnect_and_spares_the_orders_of_the_new_day(run: Any) -> None:
    def test(days: Days) -> None:
        one, wire = days.login("UB")
        days.hears(one, enter("b1", "B", 10, 90_000))
        days.next_day()
        assert wire.sent.endswith(END)
        days.gone(one)
        assert days.disconnected == []
        assert days.absent == [days.outbox.streams.user("UB")]
        two, _ = days.login("UB")
        days.hears(two, enter("b2", "B", 10, 90_000))
        days.gone(two)
        assert days.disconnected == [days.outbox.streams.user("UB")]

    run(test)
