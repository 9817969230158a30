"""Rings of gateway processes in the turns of the core: fair beside sockets, checked, not waited for."""

import asyncio
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from engine.names import pack
from engine.records import COMMAND, EVENT, CommandKind, concatenate
from gateway.arrival_log import ArrivalFiles, ArrivalLog, read_arrivals
from gateway.fairness import messages_of, unfair
from gateway.ring_reading import RINGS_MAX
from gateway.server import ROWS_MAX
from node.gateways.protocols import commands_of
from replay.market_rows import MARKET_ROWS
from tape.form import ring_path
from tape.inbound import Inbound, Producer
from tape.ring import HEAD, NOTE, TAIL
from tests.rows import instrument
from tests.test_gateway_turns import JOURNAL_ID, Turns
from wire.ouch import PRICE_E4_MAX

SIZE = 1_024


class Ring:
    """Both ends of a ring that the turns of a gateway read."""

    def __init__(
        self, turns: Turns, folder: Path, name: str = "one", clients: int = 1, size: int = SIZE, protocol: int = 0
    ) -> None:
        self.turns = turns
        self.inbound = Inbound(ring_path(folder, name), JOURNAL_ID, MARKET_ROWS, size=size)
        self.producer = Producer(self.inbound.path, JOURNAL_ID, MARKET_ROWS)
        self.number = turns.gateway.rings.serve(self.inbound, protocol, commands_of(protocol))
        for user in (1, 2):
            turns.gateway.rings.allow(self.number, user, 1)
        turns.gateway.rings.stand_for(self.number, clients)

    def put(self, *rows: NDArray[Any], source: int = 1, tag: int = 77) -> bool:
        return self.producer.put(concatenate(rows), source=source, tag=tag)

    def close(self) -> None:
        self.producer.close()
        self.inbound.close()


def cancel_row(token: str, user: int = 1, participant: int = 1, **fields: int) -> NDArray[Any]:
    made = np.zeros(1, COMMAND)
    made["kind"], made["client_order_id"] = CommandKind.CANCEL, pack(token)
    made["participant"], made["context"] = participant, user
    for name, value in fields.items():
        made[name] = value
    return made


def extend() -> NDArray[Any]:
    made = np.zeros(1, COMMAND)
    made["kind"] = CommandKind.EXTEND
    return made


def with_rings(test: Callable[[Turns, Path], None]) -> Callable[[Path], None]:
    def run(tmp_path: Path) -> None:
        async def on_a_loop() -> None:
            turns = Turns(tmp_path / "node")
            turns.gateway.limit_rows(ROWS_MAX)
            test(turns, tmp_path)

        asyncio.run(on_a_loop())

    run.__name__ = test.__name__
    return run


def ids(turns: Turns, at: int = -1) -> list[int]:
    return [int(number) for number in turns.taken[at]["client_order_id"]]


@with_rings
def test_a_ring_has_its_turn_by_message_among_connections(turns: Turns, folder: Path) -> None:
    ring = Ring(turns, folder)
    for number in range(4):
        assert ring.put(cancel_row(f"R{number}"))
    for sender in range(3):
        turns.sends(sender, 4)
    turns.gateway.turn()
    taken = turns.senders(0)
    assert len(taken) == 16
    of_ring = [at for at, each in enumerate(ids(turns, 0)) if each >> 8 == ord("R")]
    assert [at // 4 for at in of_ring] == [0, 1, 2, 3], "one message in each round"
    assert ring.producer.untaken_rows() == 0
    ring.close()


@pytest.mark.parametrize("clients", [1, 4])
def test_messages_of_a_connection_do_not_wait_behind_a_flood_by_a_ring(tmp_path: Path, clients: int) -> None:
    """Of a ring a round takes one message of each of its clients, however many wait there."""

    @with_rings
    def run(turns: Turns, folder: Path) -> None:
        ring = Ring(turns, folder, clients=clients)
        for _ in range(900):
            assert ring.put(cancel_row("R"))
        turns.sends(0, 10)
        turns.gateway.turn()
        own = [at for at, each in enumerate(ids(turns, 0)) if each != pack("R")]
        assert len(own) == 10
        assert max(own) < 10 * (clients + 1)
        assert len(ids(turns, 0)) == 910, "the control: the flood was there"
        ring.close()

    run(tmp_path)


@pytest.mark.parametrize("clients", [1, 3])
def test_the_arrival_file_shows_that_rings_and_sockets_took_turns(tmp_path: Path, clients: int) -> None:
    chance = random.Random(clients)
    seqs = {"last": 1_000}  # a turn is noted before it is counted here
    log = ArrivalLog(ArrivalFiles(tmp_path / "arrivals", JOURNAL_ID), lambda: seqs["last"], pytest.fail)

    async def on_a_loop() -> int:
        turns = Turns(tmp_path / "node", arrival_log=log)
        rings = [Ring(turns, tmp_path, name, clients) for name in ("one", "two")]
        sent = 0
        for _ in range(60):
            for ring in rings:
                for _ in range(chance.choice([0, 1, 5, 40])):
                    rows = [cancel_row("T1", user=2)] if chance.random() < 0.5 else [extend(), cancel_row("T1")]
                    sent += ring.put(*rows, source=int(rows[-1]["context"][0]))
            for sender in range(3):
                sent += turns.sends(sender, chance.choice([0, 1, 5, 40]))
            before = len(turns.taken)
            turns.gateway.turn()
            seqs["last"] += len(turns.taken[-1]) if len(turns.taken) > before else 0
            while len(turns.taken) > before and (turns.gateway.waiting() or turns.gateway.rings.waits()):
                before = len(turns.taken)
                turns.gateway.turn()
                seqs["last"] += len(turns.taken[-1])
        turns.gateway.close()
        assert turns.gateway.orders == sent
        for ring in rings:
            ring.close()
        return sent

    sent = asyncio.run(on_a_loop())
    arrivals = np.concatenate(list(read_arrivals(tmp_path / "arrivals", JOURNAL_ID)))
    messages = messages_of(arrivals)
    assert len(messages) == sent
    assert len(set(messages["connection"].tolist())) == 3 + 2 * clients
    of_rings = messages[messages["connection"] < 0]
    assert set(of_rings["user"].tolist()) == {1, 2}
    assert set(of_rings["time_ns"].tolist()) == {77}
    assert unfair(messages).tolist() == []
    as_one = messages.copy()
    as_one["connection"] = np.minimum(
        as_one["connection"], 1
    )  # the control: as if all were of one connection or a ring
    as_one["connection"][messages["connection"] < 0] = -1
    assert unfair(as_one).tolist() != []


@with_rings
def test_what_is_no_order_of_a_user_of_the_ring_is_refused_and_the_next_is_taken(turns: Turns, folder: Path) -> None:
    ring = Ring(turns, folder)
    good = cancel_row("GOOD")
    bad = [
        ([cancel_row("B", user=3)], 3),  # a user who may not send here
        ([cancel_row("B", user=2)], 1),  # in the name of another user
        ([cancel_row("B", participant=2)], 1),
        ([cancel_row("B", participant=2**32 - 1)], 1),
        ([cancel_row("B", context=1 | (1 << 60))], 1),  # of another protocol
        ([cancel_row("B", kind=int(CommandKind.MASS_CANCEL))], 1),
        ([cancel_row("B", kind=int(CommandKind.CREDENTIAL))], 1),
        ([cancel_row("B", kind=0)], 1),
        ([cancel_row("B", kind=255)], 1),
        ([extend()], 1),
        ([extend(), extend()], 1),
        ([good, good], 1),
        ([extend(), extend(), good], 1),
        ([cancel_row("B")], 0),
        ([cancel_row("B")], -5),
        ([cancel_row("B")], 70_000),
        ([cancel_row("B", user=0xFFFF)], 0xFFFF),
    ]
    for rows, source in bad:
        assert ring.put(*rows, source=source)
    assert ring.put(good)
    turns.gateway.turn()
    assert ids(turns) == [pack("GOOD")]
    assert turns.gateway.rings.messages(ring.number) == (1, len(bad))
    assert turns.gateway.orders == 1
    assert ring.producer.untaken_rows() == 0
    assert not ring.inbound.broken
    ring.close()


@with_rings
def test_each_protocol_sends_its_own_commands_alone(turns: Turns, folder: Path) -> None:
    """A cross binds others than its user, and the gateway of FIX alone judges whom; one of copies sends marks."""
    taken, told = {}, {}
    for protocol in range(5):
        ring = Ring(turns, folder, f"ring{protocol}", protocol=protocol)
        context = 1 | protocol << 60
        sent = {
            "cross": enter_row("X", kind=int(CommandKind.CROSS), context=context),
            "enter": enter_row("E", context=context),
            "cancel": cancel_row("C", context=context),
            "mark": cancel_row("M", context=context, client_order_id=0),
        }
        replace = replace_row("R", 10_000)
        replace["new_context"] = context
        sent["replace"] = replace
        taken[protocol] = {word for word, row in sent.items() if _is_taken(turns, ring, row)}
        told[protocol] = turns.gateway.rings.messages(ring.number)
        ring.close()
    orders = {"enter", "cancel", "replace", "mark"}
    assert taken == {0: orders, 1: orders, 2: orders | {"cross"}, 3: orders, 4: {"mark"}}
    assert told == {0: (4, 1), 1: (4, 1), 2: (5, 0), 3: (4, 1), 4: (1, 4)}


def _is_taken(turns: Turns, ring: Ring, row: NDArray[Any]) -> bool:
    assert ring.put(row)
    before = len(turns.taken)
    turns.gateway.turn()
    return len(turns.taken) > before


def enter_row(token: str, **fields: int) -> NDArray[Any]:
    order = {"instrument": 1, "side": 1, "qty": 5, "price_e4": 10_000, "time_in_force": 1, "self_trade": 1}
    return cancel_row(token, **({"kind": int(CommandKind.ENTER)} | order | fields))


def replace_row(token: str, price_e4: int) -> NDArray[Any]:
    made = cancel_row(token, kind=int(CommandKind.REPLACE), context=0, price_e4=price_e4, qty=5)
    made["new_context"], made["new_client_order_id"] = 1, pack("NEW")
    return made


@with_rings
def test_a_ring_enters_no_order_that_ouch_cannot_tell(turns: Turns, folder: Path) -> None:
    far = instrument("FAR", reference_e4=PRICE_E4_MAX + 100)
    ring = Ring(turns, folder)
    assert ring.put(enter_row("EARLY", instrument=2)), "no instrument has this number yet, so the market refuses it"
    turns.gateway.turn()
    turns.outbox.observe(100, far, np.zeros(0, EVENT))
    good = [enter_row("G1"), enter_row("G2", price_e4=PRICE_E4_MAX), enter_row("G3", price_e4=-1)]
    good += [replace_row("G4", PRICE_E4_MAX), replace_row("G5", 0), enter_row("G6", instrument=0)]
    bad = [
        enter_row("B", price_e4=PRICE_E4_MAX + 1),
        enter_row("B", price_e4=9_000_000_000),
        enter_row("B", instrument=2),  # far, at whichever price
        enter_row("B", instrument=2, price_e4=0),
        enter_row("B", instrument=30_000),
        enter_row("B", instrument=2**32 - 1),
        replace_row("B", PRICE_E4_MAX + 1),
        replace_row("B", 2**63 - 1),
    ]
    for made in (*bad, *good):
        assert ring.put(made)
    turns.gateway.turn()
    assert ids(turns) == [pack(f"G{number}") for number in range(1, 7)]
    assert turns.gateway.rings.messages(ring.number) == (1 + len(good), len(bad))
    ring.close()


@with_rings
def test_a_user_whose_login_has_ended_sends_what_the_ring_had_then_and_no_more(turns: Turns, folder: Path) -> None:
    ring = Ring(turns, folder)
    assert ring.put(cancel_row("BEFORE"))
    turns.gateway.rings.end(ring.number, 1, ring.inbound.published_rows())
    assert ring.put(cancel_row("AFTER"))
    assert ring.put(cancel_row("OTHER", user=2), source=2)
    turns.gateway.turn()
    assert ids(turns) == [pack("BEFORE"), pack("OTHER")]
    assert turns.gateway.rings.messages(ring.number) == (2, 0), "it is late, and nothing that no gateway puts"
    turns.gateway.rings.allow(ring.number, 1, 1)
    assert ring.put(cancel_row("AGAIN"))
    turns.gateway.turn()
    assert ids(turns) == [pack("AGAIN")]
    ring.close()


@with_rings
def test_refused_messages_hold_no_turn(turns: Turns, folder: Path) -> None:
    ring = Ring(turns, folder, size=8_192)
    bad = cancel_row("B", user=3)
    while ring.put(bad):
        pass
    turns.sends(0, 2)
    turns.gateway.turn()
    assert turns.senders(0) == [0, 0]
    assert 0 < turns.gateway.rings.messages(ring.number)[1] < 8_192, "a turn takes so many, and then the next has them"
    ring.close()


@with_rings
def test_a_broken_ring_gives_nothing_more_and_the_others_go_on(turns: Turns, folder: Path) -> None:
    broken, sound = Ring(turns, folder, "broken"), Ring(turns, folder, "sound")
    assert broken.put(cancel_row("A"))
    broken.inbound.ring.arrays.words[TAIL] = 1 << 40
    assert sound.put(cancel_row("B"))
    turns.sends(0, 1)
    turns.gateway.turn()
    assert broken.inbound.broken
    assert pack("A") not in ids(turns, 0)
    assert pack("B") in ids(turns, 0)
    assert not turns.gateway.rings.waits(), "it is not looked at again"
    assert sound.put(cancel_row("C"))
    assert turns.gateway.rings.waits()
    turns.gateway.turn()
    assert ids(turns) == [pack("C")]
    for ring in (broken, sound):
        ring.close()


@with_rings
def test_a_note_that_says_what_cannot_be_breaks_the_ring(turns: Turns, folder: Path) -> None:
    ring = Ring(turns, folder)
    notes = np.zeros(1, NOTE)
    notes["rows"], notes["source"] = 9, 1
    assert ring.producer.put_all(cancel_row("A"), notes)
    turns.gateway.turn()
    assert not turns.taken
    assert ring.inbound.broken
    ring.close()


@with_rings
def test_a_full_ring_takes_nothing_more_until_a_turn_has_taken(turns: Turns, folder: Path) -> None:
    ring = Ring(turns, folder, size=4)
    for _ in range(4):
        assert ring.put(cancel_row("A"))
    assert not ring.put(cancel_row("A")), "it is full"
    turns.gateway.turn()
    assert ids(turns) == [pack("A")] * 4
    for _ in range(2):
        ring.put(cancel_row("B"))
    turns.gateway.turn()
    assert ids(turns) == [pack("B")] * 2
    assert int(ring.inbound.ring.arrays.words[HEAD]) == 6
    assert len(turns.taken) == 2
    ring.close()


@with_rings
def test_a_core_that_sleeps_is_woken_and_one_that_has_work_does_not_sleep(turns: Turns, folder: Path) -> None:
    rings = turns.gateway.rings
    assert rings.may_sleep(), "without rings nobody is asked"
    ring = Ring(turns, folder)
    assert not ring.producer.must_wake()
    assert rings.may_sleep()
    assert ring.put(cancel_row("A"))
    assert ring.producer.must_wake()
    rings.wake()
    assert not ring.producer.must_wake()
    assert not rings.may_sleep()
    assert not ring.producer.must_wake(), "it is awake again"
    turns.gateway.turn()
    assert rings.may_sleep()
    rings.stop(ring.number)
    ring.close()


@with_rings
def test_a_ring_that_is_given_up_makes_room_for_another_with_nothing_of_it(turns: Turns, folder: Path) -> None:
    rings = [Ring(turns, folder, f"r{n}") for n in range(RINGS_MAX)]
    another = Inbound(ring_path(folder, "another"), JOURNAL_ID, MARKET_ROWS, size=SIZE)
    assert turns.gateway.rings.serve(another, 0) == -1
    turns.gateway.rings.stop(rings[5].number)
    assert turns.gateway.rings.serve(another, 0) == rings[5].number
    producer = Producer(another.path, JOURNAL_ID, MARKET_ROWS)
    assert producer.put(cancel_row("A"), source=1)
    turns.gateway.turn()
    assert not turns.taken, "users of the ring before may not send by this one"
    producer.close()
    another.close()
    for ring in rings:
        ring.close()


@with_rings
def test_a_replace_names_its_user_where_replaces_do(turns: Turns, folder: Path) -> None:
    ring = Ring(turns, folder)
    for new_context in (2, 1):
        row = cancel_row("A", user=0, kind=int(CommandKind.REPLACE), new_context=new_context)
        assert ring.put(row, source=1)
    turns.gateway.turn()
    assert turns.taken[0]["new_context"].tolist() == [1]
    ring.close()
