"""Bytes of clients become rows, and events the bytes of answers: the kernels of the gateway, without a socket."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from engine import Capacity, Engine
from engine.jit import Packed
from engine.names import pack
from engine.records import COMMAND, CommandKind, EventKind, Permission, Phase, Reason, UserPermission, concatenate
from gateway.arrivals import BROKEN, FINE, OTHER, STREAM, new_arrivals
from gateway.connection import REGION_BYTES
from gateway.ouch import context
from gateway.ouch.packets import Known, read_streams
from gateway.ouch.streams import OuchStreams
from gateway.streams import Segment
from tests.ouch_messages import IOC, cancel, enter, messages, modify, replace
from wire import soup

CAPACITY = Capacity(orders_max=256, ids_max=4_096, instruments_max=4, participants_max=8)
DAY_NS = 86_400 * 1_000_000_000
BEGIN_NS = 1_705_311_000 * 1_000_000_000
HEARTBEAT = soup.packet(soup.PacketType.CLIENT_HEARTBEAT)


def row(kind: CommandKind, **fields: int) -> NDArray[Any]:
    made = np.zeros(1, COMMAND)
    made["kind"] = kind
    for name, value in fields.items():
        made[name] = value
    return made


class Venue:
    """An engine between the gateway's two kernels. User 1 is of participant 1, users 2 and 3 are of participant 2."""

    def __init__(self) -> None:
        self.engine = Engine(CAPACITY)
        self.sent: dict[int, bytes] = {}
        self.ends: dict[int, int] = {}
        self.sessions: list[str] = []
        self.streams = OuchStreams(CAPACITY, self._deliver, self.sessions.append, users_max=8)
        self.buffer = np.zeros(4 * REGION_BYTES, np.uint8)
        self.rows = np.zeros(8_192, COMMAND)
        self.journal: list[NDArray[Any]] = []
        users = (("UA", "ALPHA"), ("UB", "BETA"), ("UC", "BETA"))
        self.take(
            concatenate(
                [
                    row(CommandKind.CLOCK, time_ns=BEGIN_NS),
                    row(CommandKind.INSTRUMENT, name=pack("XYZ"), tick_e4=100, lot=1, reference_e4=100_000),
                    *(
                        row(CommandKind.PARTICIPANT, name=pack(name), permissions=int(Permission.MARKET))
                        for name in ("ALPHA", "BETA")
                    ),
                    *(
                        row(
                            CommandKind.USER,
                            name=pack(name),
                            participant_name=pack(participant),
                            firm=pack("FIRM"),
                            permissions=int(UserPermission.ENABLED),
                        )
                        for name, participant in users
                    ),
                    row(CommandKind.PHASE, name=pack("XYZ"), phase=int(Phase.CONTINUOUS)),
                ]
            )
        )

    def _deliver(self, segment: Segment) -> None:
        assert segment.position in (0, self.ends.get(segment.user, 0))
        self.ends[segment.user] = segment.position + len(segment.data)
        self.sent[segment.user] = self.sent.get(segment.user, b"") + segment.data

    def take(self, rows: NDArray[Any]) -> None:
        first_seq = self.engine.seq + 1
        self.journal.append(rows)
        self.streams(first_seq, rows, self.engine.apply(rows))

    def read(self, *sent: tuple[int, bytes], rows_max: int = 8_191) -> tuple[NDArray[Any], NDArray[Any]]:
        """Rows and STREAM rows for bytes of users."""
        streams = np.zeros(len(sent), STREAM)
        for at, (user, data) in enumerate(sent):
            begin = at * REGION_BYTES
            self.buffer[begin : begin + len(data)] = np.frombuffer(data, np.uint8)
            streams[at]["region"] = streams[at]["begin"] = begin
            streams[at]["end"] = begin + len(data)
            streams[at]["user"], streams[at]["participant"] = user, self.streams.row(user)["participant"]
            streams[at]["connection"] = at + 1
        arrivals = Packed(new_arrivals(self.buffer, streams, self.rows))
        tables = self.streams.tables
        known = Packed(Known(self.streams.symbols, tables.open, tables.rest, self.streams.recent))
        count = read_streams(arrivals.pointers, known.pointers, len(sent), rows_max, 0, 0)
        return self.rows[:count].view("V64").copy().view(COMMAND), streams

    def send(self, *sent: tuple[int, bytes]) -> None:
        self.sent.clear()
        self.take(self.read(*sent)[0])

    def told(self, user: int) -> list[tuple[str, dict[str, Any]]]:
        return messages(self.sent.get(user, b""))

    def short(self, user: int) -> list[str]:
        """Messages as name, token and whatever number matters."""
        shown = (
            "order_token", "replacement_order_token", "shares", "executed_shares", "decrement_shares", "reject_reason",
            "cancel_reason",
        )  # fmt: skip
        return [
            " ".join([kind, *(str(fields[name]) for name in shown if name in fields)])
            for kind, fields in self.told(user)
        ]


def test_each_stream_begins_with_the_start_of_the_day() -> None:
    venue = Venue()
    assert venue.sessions == ["20240115"]
    for user in (1, 2, 3):
        assert venue.told(user) == [("SYSTEM_EVENT", {"kind": "S", "time_ns": BEGIN_NS % DAY_NS, "event_code": "S"})]


def test_an_event_is_counted_once_also_in_the_block_in_which_a_day_begins() -> None:
    venue = Venue()
    assert int(venue.streams.tallies[0, EventKind.PHASE]) == 1
    random_traffic(venue, 9, 50)
    venue.take(
        concatenate(
            [
                row(CommandKind.CANCEL, client_order_id=pack("none"), participant=1),
                row(CommandKind.CLOCK, time_ns=BEGIN_NS + DAY_NS),
                row(CommandKind.CANCEL, client_order_id=pack("none"), participant=1),
            ]
        )
    )
    engine = Engine(CAPACITY)
    kinds = np.concatenate([engine.apply(rows)["kind"] for rows in venue.journal])
    assert venue.streams.tallies[0].tolist() == np.bincount(kinds, minlength=256).tolist()
    assert int(venue.streams.tallies[1].sum()) == int(
        np.isin(kinds, (EventKind.REJECTED, EventKind.CANCEL_REJECTED)).sum()
    )


def test_the_refusal_of_a_mark_of_a_fix_session_is_no_reject_of_an_order() -> None:
    """Else the rate of rejects would rise with the heartbeats of sessions."""
    venue = Venue()
    cancels = [row(CommandKind.CANCEL, client_order_id=order_id, participant=1) for order_id in (0, pack("none"), 0)]
    venue.take(concatenate(cancels))
    assert int(venue.streams.tallies[0, EventKind.CANCEL_REJECTED]) == 3
    assert int(venue.streams.tallies[1, Reason.UNKNOWN_ORDER]) == 1


def test_an_accepted_order_repeats_what_was_entered() -> None:
    venue = Venue()
    venue.send((1, enter("a1", "T", 300, 100_500, display="A")))
    ((kind, fields),) = venue.told(1)
    assert kind == "ACCEPTED"
    assert fields == {
        "kind": "A", "time_ns": BEGIN_NS % DAY_NS, "order_token": "a1", "buy_sell": "T", "shares": 300, "stock": "XYZ",
        "price_e4": 100_500, "time_in_force_s": 99_998, "firm": "FIRM", "display": "A", "order_reference_number": 1,
        "capacity": "A", "intermarket_sweep": "N", "minimum_quantity": 0, "cross_type": "N", "order_state": "L",
        "bbo_weight": " ",
    }  # fmt: skip


def test_every_answer_goes_to_the_user_whose_order_it_is() -> None:
    venue = Venue()
    venue.send((1, enter("a1", "S", 300, 100_500) + enter("LONGTOKEN00001", "S", 200, 100_300)))
    assert venue.short(1) == ["ACCEPTED a1 300", "ACCEPTED LONGTOKEN00001 200"]
    venue.send((2, enter("b1", "B", 250, 100_500)), (3, enter("c1", "B", 10, 90_000)))
    assert venue.short(1) == ["EXECUTED LONGTOKEN00001 200", "EXECUTED a1 50"]
    assert venue.short(2) == ["ACCEPTED b1 250", "EXECUTED b1 200", "EXECUTED b1 50"]
    assert venue.short(3) == ["ACCEPTED c1 10"]
    venue.send((1, replace("a1", "LONGTOKEN00002", 250, 100_500) + cancel("LONGTOKEN00002", 150)))
    assert venue.short(1) == ["REPLACED LONGTOKEN00002 200", "CANCELED LONGTOKEN00002 100 U"]
    assert venue.told(1)[0][1]["previous_order_token"] == "a1"
    venue.send((1, modify("LONGTOKEN00002", "E", 100)), (2, enter("b2", "B", 60, 100_500, tif_s=IOC)))
    assert venue.short(1) == ["ORDER_MODIFIED LONGTOKEN00002 50", "EXECUTED LONGTOKEN00002 50"]
    assert venue.short(2) == ["ACCEPTED b2 60", "EXECUTED b2 50", "CANCELED b2 10 I"]
    venue.send((2, cancel("c1")))  # another user of the same participant
    assert venue.short(2) == venue.short(3) == ["CANCELED c1 10 U"]


def test_what_the_market_refuses_is_answered_with_the_token_and_a_reason() -> None:
    venue = Venue()
    venue.send((1, enter("a1", "B", 5, 90_000)))
    venue.send(
        (
            1,
            enter("a1", "B", 5, 90_000)
            + enter("a2", "B", 0, 90_000)
            + enter("a3", "B", 5, 90_001)
            + enter("a4", "B", 5, 90_000, display="W")
            + enter("UNKNOWNTOKEN", "?", 5, 90_000)
            + replace("a1", "a2", 0, 90_000)
            + replace("none", "a5", 5, 90_000)
            + cancel("NOSUCHTOKEN")
            + cancel("a1", 9),
        )
    )
    assert venue.short(1) == [
        "REJECTED a1 U", "REJECTED a2 Z", "REJECTED a3 X", "REJECTED a4 D", "REJECTED UNKNOWNTOKEN O", "REJECTED a2 Z",
        "CANCEL_REJECT none", "CANCEL_REJECT NOSUCHTOKEN", "CANCEL_REJECT a1",
    ]  # fmt: skip


def test_a_self_trade_is_told_as_prevented() -> None:
    venue = Venue()
    venue.send((2, enter("b1", "S", 5, 90_000)))
    venue.send((3, enter("c1", "B", 7, 90_100)))
    assert venue.short(3) == ["ACCEPTED c1 7", "AIQ_CANCELED c1 7 Q"]
    assert venue.told(2) == []


def test_another_day_ends_each_stream_and_begins_a_new_one() -> None:
    venue = Venue()
    venue.sent.clear()
    venue.take(row(CommandKind.CLOCK, time_ns=BEGIN_NS + DAY_NS))
    assert venue.sessions == ["20240115", "20240116"]
    codes = [fields["event_code"] for _, fields in venue.told(1)]
    assert codes == ["E", "S"]
    assert int(venue.streams.row(1)["next_seq"]) == 2


@pytest.mark.parametrize(
    "token",
    [
        b"a1            ",
        b"ABCDEFGHIJKLMN",
        b" " * 14,
        b"a b           ",
        b"abcdefgh      ",
        b"abcdefghi     ",
        b"\xff" * 14,
    ],
)
def test_a_token_is_the_id_itself_or_stands_in_a_row_before(token: bytes) -> None:
    venue = Venue()
    rows, _ = venue.read((1, cancel(token)))
    assert rows[-1]["client_order_id"] == context.order_id(token)
    assert len(rows) == (1 if context.is_short(token) else 2)
    if len(rows) == 2:
        assert context.token_of(int(rows[0]["token_head"]), int(rows[0]["token_tail"])) == token
    else:
        assert context.token_of_id(int(rows[0]["client_order_id"])) == token


_BYTES = st.one_of(st.sampled_from([0, 0x1F, 0x20, 0x21, 0x7E, 0x7F, 0x80, 0xFF]), st.integers(0x21, 0x7E))


@pytest.mark.slow
@settings(max_examples=25, deadline=None)
@given(st.lists(st.lists(_BYTES, max_size=9).map(bytes), min_size=40, max_size=40))
def test_a_token_has_the_id_that_gateway_context_says_whatever_its_bytes(tokens: list[bytes]) -> None:
    padded = [token.ljust(14) for token in tokens] + [token.rjust(8, b"\0").ljust(14) for token in tokens]
    venue = Venue()
    rows, _ = venue.read((1, b"".join(map(cancel, padded))))
    ids = rows["client_order_id"][rows["kind"] == CommandKind.CANCEL].tolist()
    assert ids == [context.order_id(token) for token in padded]


def test_packets_cut_at_any_byte_give_the_same_rows() -> None:
    venue = Venue()
    data = enter("a1", "B", 5, 90_000) + HEARTBEAT + cancel("LONGTOKEN00001") + replace("a1", "a2", 4, 90_000)
    whole, streams = venue.read((1, data + b"\0"))
    assert (int(streams[0]["messages"]), int(streams[0]["stop"])) == (3, FINE)
    assert int(streams[0]["end"] - streams[0]["begin"]) == 1, "the byte that is over stays"
    for cut in range(len(data)):
        first, streams = venue.read((1, data[:cut]))
        left = venue.buffer[int(streams[0]["begin"]) : int(streams[0]["end"])].tobytes()
        second, _ = venue.read((1, left + data[cut:]))
        assert concatenate([first, second]).tobytes() == whole.tobytes(), cut


@pytest.mark.parametrize(
    ("data", "stop"),
    [
        (b"\0\0", BROKEN),
        (b"\xff\xff", BROKEN),
        (soup.packet(soup.PacketType.UNSEQUENCED, b""), BROKEN),
        (soup.packet(soup.PacketType.UNSEQUENCED, b"Q123"), BROKEN),
        (enter("a1", "B", 5, 90_000)[:2] + b"U" + b"X" + bytes(48), BROKEN),
        (soup.packet(soup.PacketType.LOGOUT), OTHER),
        (soup.packet(soup.PacketType.DEBUG, b"hello"), OTHER),
        (soup.packet(soup.PacketType.SEQUENCED, b"x"), OTHER),
    ],
)
def test_a_stream_stops_at_what_is_no_order_and_others_go_on(data: bytes, stop: int) -> None:
    venue = Venue()
    good = enter("a1", "B", 5, 90_000)
    rows, streams = venue.read((1, good + data + good), (2, good))
    assert len(rows) == 2
    assert streams["stop"].tolist() == [stop, FINE]
    begin = int(streams[0]["begin"])
    assert venue.buffer[begin : begin + len(data)].tobytes() == data


def test_random_bytes_never_write_beyond_the_room() -> None:
    venue = Venue()
    random = np.random.default_rng(7)
    good = enter("a1", "B", 5, 90_000)
    for turn in range(300):
        data = bytearray(good * 20)
        for at in random.integers(0, len(data), 12):
            data[at] = int(random.integers(0, 256))
        rows, streams = venue.read((1, bytes(data)), (2, good), rows_max=8)
        assert len(rows) <= 8
        assert int(streams[0]["stop"]) in (FINE, OTHER, BROKEN)
        venue.take(rows)
        if turn % 20 == 0:
            venue.engine.check()
    venue.engine.check()


def random_traffic(venue: Venue, seed: int, turns: int) -> None:
    """Orders of all three users at random, many of them refused."""
    random = np.random.default_rng(seed)
    names = [f"t{n}" if n % 3 else f"LONGTOKEN{n:05d}" for n in range(60)]
    for turn in range(turns):
        sent = {1: b"", 2: b"", 3: b""}
        for _ in range(int(random.integers(1, 12))):
            user, name, other = int(random.integers(1, 4)), *random.choice(names, 2)
            price_e4, shares = 100_000 + 100 * int(random.integers(-3, 4)), int(random.integers(1, 30))
            match int(random.integers(0, 8)):
                case 0:
                    sent[user] += cancel(str(name), shares if shares & 1 else 0)
                case 1:
                    sent[user] += replace(str(name), str(other), shares, price_e4)
                case 2:
                    sent[user] += modify(str(name), "S", shares)
                case _:
                    tif_s = IOC if shares % 5 == 0 else 99_998
                    sent[user] += enter(str(name), "BS"[shares & 1], shares, price_e4, tif_s=tif_s)
        rows, _ = venue.read(*sent.items())
        if turn % 7 == 0:
            time_ns = BEGIN_NS + turn * 1_000_000
            rows = concatenate([row(CommandKind.CLOCK, time_ns=time_ns), rows])
        if len(rows):
            venue.take(rows)


def test_streams_are_a_function_of_the_journal_whatever_its_blocks() -> None:
    venue = Venue()
    random_traffic(venue, 3, 300)
    rows = concatenate(venue.journal)
    engine, sent = Engine(CAPACITY), dict[int, bytes]()

    def deliver(segment: Segment) -> None:
        sent[segment.user] = sent.get(segment.user, b"") + segment.data

    streams = OuchStreams(CAPACITY, deliver, lambda _: None, users_max=8)
    step = 37
    for start in range(0, len(rows), step):
        part = rows[start : start + step].view("V64").copy().view(COMMAND)
        streams(start + 1, part, engine.apply(part))
    assert sent == venue.sent
    assert {len(messages(data)) for data in sent.values()} != {1}


def test_a_restored_image_goes_on_with_the_same_bytes() -> None:
    venue = Venue()
    random_traffic(venue, 5, 100)
    image = {name: np.array(array) for name, array in venue.streams.image().items()}
    done = len(venue.journal)
    venue.sent.clear()
    random_traffic(venue, 6, 100)
    engine, sent = Engine(CAPACITY), dict[int, bytes]()
    before = concatenate(venue.journal[:done])
    engine.apply(before)

    def deliver(segment: Segment) -> None:
        sent[segment.user] = sent.get(segment.user, b"") + segment.data

    streams = OuchStreams(CAPACITY, deliver, lambda _: None, users_max=8)
    streams.restore(image)
    for rows in venue.journal[done:]:
        streams(engine.seq + 1, rows, engine.apply(rows))
    assert sent == venue.sent


def test_the_table_holds_the_open_orders_of_the_engine_and_no_others() -> None:
    venue = Venue()
    for seed in range(5):
        random_traffic(venue, seed, 60)
        orders = venue.engine.open_orders()
        rows = venue.streams.tables.open
        held = rows[rows["participant"] != 0]
        assert sorted(zip(held["client_order_id"].tolist(), held["leaves_qty"].tolist(), strict=True)) == sorted(
            zip(orders["client_order_id"].tolist(), orders["leaves_qty"].tolist(), strict=True)
        )
