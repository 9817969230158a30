"""Directories of earlier releases are upgraded and go on: same orders, positions, numbers, users and streams.

The golden directories and what each held are in ``tests.golden``. Whatever goes wrong before the new slice is there
leaves the directory as the release before left it.
"""

import asyncio
import random
import shutil
import zlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from checkpoints import CheckpointStore, load_checkpoint
from directory.image_comparison import differences
from directory.roll import roll
from directory.rules_changes import CHANGES, changes_between
from engine import Capacity, Engine
from engine.names import pack
from engine.records import COMMAND, RULES_VERSION, CommandKind, Phase
from engine.reference import ReferenceEngine
from gateway.connection import Connection
from gateway.ouch.earlier_streams import EarlierStreams, tables_without_users
from gateway.ouch.protocol import OUCH
from gateway.ouch.streams import OuchStreams
from gateway.protocol import Entrance, Login
from gateway.server import Gateway
from gateway.sign_on import _password_of
from journal import Journal
from journal.slices import places
from node.core.opening import OpenDirectory, open_directory
from node.core.upgrade import _defines_users, upgrade
from replay.difference import unlike
from replay.errors import ReplayError
from replay.rebuild import rebuild
from sequencer.pump import Pipeline
from sequencer.stamp import FileStamp
from tests.gateways import read_at_once
from tests.golden import write_release as written
from tests.golden.releases import RELEASES, release_content, release_copy
from tests.rows import row
from tests.test_silence import Wire
from tests.upgrades import (
    CAPACITY,
    LARGER,
    close,
    engine_of,
    image_of,
    is_upgraded,
    upgraded,
    written_again,
)
from wire import soup
from wire.ouch import PRICE_E4_MAX
from wire.soup import LoginRequest


@pytest.fixture(params=sorted(RELEASES))
def release(request: pytest.FixtureRequest) -> str:
    """Name of the directory of a release."""
    return str(request.param)


@pytest.fixture
def directory(release: str, tmp_path: Path) -> Path:
    """A writable copy of it."""
    return release_copy(release, tmp_path / "node")


@pytest.fixture
def old(tmp_path: Path) -> Path:
    """A copy of the directory of the release before this one."""
    return release_copy("release-0.1", tmp_path / "node")


@pytest.mark.parametrize("capacity", [CAPACITY, LARGER], ids=["same capacity", "larger"])
def test_a_directory_of_an_earlier_release_has_the_same_market_and_streams_after_its_upgrade(
    directory: Path, release: str, capacity: Capacity
) -> None:
    content = release_content(release)
    plan = upgraded(directory, None if capacity == CAPACITY else capacity)
    assert (plan.rules_before, plan.rules, plan.last_seq) == (content["rules_version"], RULES_VERSION, 111)
    assert (plan.open_orders, plan.users, plan.trades) == (len(content["open_orders"]), 2, content["trades"])
    assert is_upgraded(directory, release, capacity)


def test_the_identity_and_chain_of_a_journal_go_on_and_its_old_slice_is_read_only(
    directory: Path, release: str
) -> None:
    has_own_id = RELEASES[release] >= 5
    with Journal.open(directory, readonly=True) as journal:
        before = journal.journal_id
    upgraded(directory)
    with Journal.open(directory, readonly=True) as journal:
        assert (journal.journal_id, journal.has_own_id, journal.place.number) == (before, has_own_id, 2)
        assert journal.meta["rules_version"] == RULES_VERSION
        assert journal.check().ok
    (old, _) = places(directory)
    assert old.is_marked_closed
    assert not (old.journal / "data.mdb").stat().st_mode & 0o222
    with Journal.open(directory, readonly=True, slice_number=1) as journal:
        assert journal.check().ok
        assert journal.last_seq == 111


def test_a_second_upgrade_has_nothing_to_do_and_one_to_another_capacity_has(directory: Path) -> None:
    upgraded(directory)
    with upgrade(directory) as prepared:
        assert prepared.plan is None
        with pytest.raises(ReplayError, match="nothing to upgrade"):
            prepared.begin()
    assert len(places(directory)) == 2


def test_a_directory_of_this_release_needs_an_upgrade_only_for_another_capacity(tmp_path: Path) -> None:
    node = open_directory(tmp_path, CAPACITY, "fsync")
    append(node, [*written.clock(0), *written.definitions()])
    close(node)
    for capacity in (None, CAPACITY):
        with upgrade(tmp_path, capacity) as prepared:
            assert prepared.plan is None
    plan = upgraded(tmp_path, LARGER)
    assert (plan.capacity_before, plan.capacity, plan.re_executed, plan.has_own_id) == (CAPACITY, LARGER, True, True)
    node = open_directory(tmp_path, CAPACITY, "fsync")
    assert node.outbox.streams.user("UA") == 1
    close(node)


# After it.


def later_rows() -> list[NDArray[Any]]:
    """Commands of the rest of the day and of the next one: of old orders and new ones."""
    chance = random.Random(1)
    rows = [*written.clock(2, 10)]
    rows += written.enter(2, "ORDER-2024-888", -1, 500, 90_000)  # through all buys
    rows += written.cancel(1, "a-last")
    rows += [row(CommandKind.CANCEL, participant=3, client_order_id=int(written.extended("g3")[1][0]))]
    rows += [written.phase("CALL", Phase.CONTINUOUS), *written.clock(2, 3_700)]  # the uncross; the halt ends
    for turn in range(3):
        for n in range(60):
            participant, side = chance.choice([1, 2, 3]), chance.choice([1, -1])
            price = 98_000 + 100 * chance.randrange(40)
            rows += written.enter(
                participant, f"n{turn}-{n}", side, 10 * chance.randrange(1, 9), price, chance.choice([1, 2, 3])
            )
            if n % 3 == 0:
                rows += written.cancel(participant, f"n{turn}-{chance.randrange(n + 1)}")
        rows += written.clock(3 + turn)
    return rows


def append(node: OpenDirectory, rows: list[NDArray[Any]]) -> list[NDArray[Any]]:
    """Take rows as a node does; the events of each block."""
    events: list[NDArray[Any]] = []
    publishers = [node.projections.observe, lambda _first_seq, _commands, caused: events.append(caused)]
    pipeline = Pipeline(FileStamp(node.engine.now_ns), node.journal, node.engine, publishers=publishers)
    for start in range(0, len(rows), 8):
        pipeline.take(np.frombuffer(b"".join(each.tobytes() for each in rows[start : start + 8]), COMMAND))
        pipeline.all()
    return events


@pytest.mark.slow_after(2)
@pytest.mark.parametrize("capacity", [CAPACITY, LARGER], ids=["same capacity", "larger"])
def test_both_engines_give_the_same_events_after_an_upgrade(directory: Path, capacity: Capacity) -> None:
    upgraded(directory, capacity)
    node = open_directory(directory, CAPACITY, "fsync")
    image = load_checkpoint(node.journal.place.start_image)
    reference = ReferenceEngine.restore(capacity, image.seq, image.event_digest, image.parts)
    events = append(node, later_rows())
    for block, caused in zip(node.journal.blocks(), events, strict=True):
        again = reference.apply(np.frombuffer(block.rows, np.uint8).copy().view(COMMAND))
        assert again.tobytes() == caused.tobytes()
    assert unlike(node.engine, reference) == ()
    assert node.engine.event_digest == reference.event_digest
    kinds = {int(kind) for each in events for kind in each["kind"]}
    assert len(kinds) > 5, "or little happened"
    node.engine.check()
    close(node)
    assert rebuild(directory).engine.event_digest == reference.event_digest


def test_order_and_trade_numbers_continue_after_an_upgrade(directory: Path, release: str) -> None:
    content = release_content(release)
    upgraded(directory)
    node = open_directory(directory, CAPACITY, "fsync")
    (events,) = append(node, [*written.clock(2, 10), *written.enter(2, "ORDER-2024-888", -1, 500, 90_000)])
    close(node)
    numbers = [int(event["order_number"]) for event in events]
    assert numbers[0] == content["orders_accepted"] + 1
    trades = sum(int(event["kind"]) == int(events[1]["kind"]) for event in events)
    assert numbers[1 : trades + 1] == list(range(content["trades"] + 1, content["trades"] + 1 + trades))


def test_the_day_goes_on_in_the_streams_of_its_users_and_ends_in_them(directory: Path, release: str) -> None:
    content = release_content(release)
    upgraded(directory)
    node = open_directory(directory, CAPACITY, "fsync")
    before = {user: node.outbox.spool.end(user) for user in (1, 2)}
    append(node, later_rows())
    assert content["sessions_kept"][-1] in node.outbox.past
    past = node.outbox.past[content["sessions_kept"][-1]]
    for user, (next_seq, end) in before.items():
        data = past.read(user, 0, 1 << 30)
        assert zlib.crc32(data[:end]) == content["streams"][past.session][str(user)]["crc32"]
        assert past.end(user)[0] > next_seq
    streams = {(s.session, user): s.read(user, 0, 1 << 30) for s in node.outbox.spools() for user in (1, 2)}
    close(node)
    again = open_directory(directory, CAPACITY, "fsync")
    assert streams == {(s.session, u): s.read(u, 0, 1 << 30) for s in again.outbox.spools() for u in (1, 2)}
    close(again)


def test_a_client_that_resumes_after_an_upgrade_gets_its_messages_from_the_first_on(
    directory: Path, release: str
) -> None:
    content = release_content(release)
    upgraded(directory)
    node = open_directory(directory, CAPACITY, "fsync")

    async def inside() -> None:
        gateway = Gateway(
            [Entrance(OUCH, node.outbox)],
            take=lambda *_: None,
            has_room=lambda: True,
            on_user_disconnect=lambda _user: None,
            on_users_absent=lambda _users: None,
            report=lambda *_, **__: None,
            warn=lambda *_, **__: None,
        )

        read_at_once(gateway)

        def known(connection: Connection, request: Login) -> None:
            user = node.outbox.streams.user(request.user)  # passwords are another test's
            gateway._sign_on._log_in(connection, request, user, _password_of(node.outbox.streams, user))

        gateway.on_login_request = known  # type: ignore[method-assign]
        for session in content["sessions_kept"]:
            for name, password in content["passwords"].items():
                user = node.outbox.streams.user(name)
                connection, wire = gateway.connection(gateway.entrances[0]), Wire()
                connection.connection_made(wire)
                request = LoginRequest(name, password, session, 1).packet()
                connection.get_buffer(0)[: len(request)] = request
                connection.buffer_updated(len(request))
                gateway.turn()
                accepted = soup.LoginAccepted(session, 1).packet()
                assert wire.sent.startswith(accepted)
                stream = content["streams"][session][str(user)]
                sent = wire.sent[len(accepted) :][: stream["bytes"]]
                assert zlib.crc32(sent) == stream["crc32"]
                connection.connection_lost(None)
        gateway.close()

    asyncio.run(inside())
    close(node)


# Tables.


def test_tables_that_are_carried_over_are_those_that_a_replay_gives(tmp_path: Path) -> None:
    """Of the rules before, whose events are those of this release where no epoch begins."""
    old = release_copy("release-rules-4", tmp_path / "node")
    image = image_of(old)
    engine = engine_of(image)
    carried = EarlierStreams(old, image.projections).tables(engine)
    node = open_directory(written_again("release-rules-4", tmp_path / "again"), CAPACITY, "fsync")
    assert node.engine.event_digest == image.event_digest
    replayed = node.outbox.streams.image()
    close(node)
    assert replayed.keys() == carried.keys()
    for name in ("layout", "users", "stocks", "participants", "carried", "now_ns"):
        assert replayed[name].tobytes() == carried[name].tobytes(), name
    order = [np.lexsort((rows["client_order_id"], rows["participant"])) for rows in (replayed["open"], carried["open"])]
    for name in ("open", "rest"):
        assert replayed[name][order[0]].tobytes() == carried[name][order[1]].tobytes(), name


@pytest.mark.parametrize(
    ("part", "array", "field", "named"),
    [
        ("venue", "venue", "trades", "last_trade_number"),
        ("venue", "venue", "orders_accepted", "last_order_number"),
        ("venue", "venue", "now_ns", "now_ns"),
        ("orders", "orders", "leaves_qty", "open orders"),
        ("orders", "orders", "price_e4", "open orders"),
        ("orders", "orders", "client_order_id", "open orders"),
        ("reference", "instruments", "last_trade_e4", "instruments"),
        ("reference", "participants", "open_notional_e4", "participants"),
        ("risk", "exposures_pages", None, "positions"),
        ("risk", "limits_pages", None, "limits"),
    ],
)
def test_an_engine_that_has_something_else_than_the_image_is_found_out(
    old: Path, part: str, array: str, field: str | None, named: str
) -> None:
    image = image_of(old)
    engine = engine_of(image)
    assert differences(image.parts, 3, 0, CAPACITY, engine) == ()
    rows = image.parts[part][array]
    if field is None:
        page, place = (int(found[-1]) for found in np.nonzero(rows))
        rows[page, place] += 1
    else:
        used = rows["participant"] != 0 if array == "orders" else np.ones(len(rows), bool)
        rows[field][np.flatnonzero(used)[0]] += 1
    assert differences(image.parts, 3, 0, CAPACITY, engine) == (named,)


def test_each_rules_version_says_what_it_changes() -> None:
    assert sorted(CHANGES) == list(range(2, RULES_VERSION + 1))
    assert changes_between(RULES_VERSION, RULES_VERSION) == ()
    assert [sentence.partition(":")[0] for sentence in changes_between(2, 4)] == ["rules version 3", "rules version 4"]


def test_tables_of_a_market_without_users_are_those_that_a_replay_gives() -> None:
    streams, engine = OuchStreams(CAPACITY, lambda _segment: None, lambda _session: None), Engine(CAPACITY)
    defined = [
        each for each in written.definitions() if each["kind"][0] not in (CommandKind.USER, CommandKind.CREDENTIAL)
    ]
    opened = [written.phase("XYZ", Phase.CONTINUOUS), written.phase("CALL", Phase.OPENING_AUCTION)]
    far = row(CommandKind.INSTRUMENT, name=pack("FAR"), tick_e4=100, lot=1, reference_e4=PRICE_E4_MAX + 100)
    orders = [*written.enter(3, "g1", -1, 40, 99_500), *written.enter(3, "g2", 1, 40, 99_400, 3)]
    for rows in ([*written.clock(0), *defined, far], opened, orders):
        commands = np.frombuffer(b"".join(each.tobytes() for each in rows), COMMAND).copy()
        streams(engine.seq + 1, commands, engine.apply(commands))
    tables, replayed = tables_without_users(engine), streams.image()
    assert tables.keys() == replayed.keys()
    for name in tables.keys() - {"room", "stocks"}:
        assert tables[name].tobytes() == replayed[name].tobytes(), name
    for field in ("symbol", "stock", "far"):
        assert tables["stocks"][field].tolist() == replayed["stocks"][field].tolist(), field
    called = replayed["stocks"]["phase"] != 0  # before its first change of phase an instrument has none in the streams
    assert tables["stocks"]["phase"][called].tolist() == replayed["stocks"]["phase"][called].tolist()
    OuchStreams(LARGER, lambda _segment: None, lambda _session: None).restore(tables)


def test_a_directory_that_no_node_served_is_upgraded_and_served_then(
    old: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its checkpoint has no streams, and no user was defined; the golden one's users count as none here."""
    image = image_of(old)
    (path,) = (old / "checkpoints").iterdir()
    path.unlink()
    CheckpointStore(old).write(replace(image, projections={}))
    shutil.rmtree(old / "streams")
    monkeypatch.setattr("node.core.upgrade._defines_users", lambda _journal: False)
    assert upgraded(old).users == 0
    node = open_directory(old, CAPACITY, "fsync")
    assert (len(node.engine.open_orders()), node.outbox.streams.session) == (32, "20240117")
    append(node, [*written.clock(2, 10), *written.definitions()[7:9], *written.clock(3)])
    assert (node.outbox.streams.user("UA"), node.outbox.spool.end(1)[0]) == (1, 2)
    close(node)
    node = open_directory(old, CAPACITY, "fsync")
    assert node.outbox.spool.end(1)[0] == 2
    close(node)


def test_users_that_an_earlier_slice_defines_are_not_taken_for_none(tmp_path: Path) -> None:
    node = open_directory(tmp_path, CAPACITY, "fsync")
    append(node, [*written.clock(2), *written.definitions()[7:9]])
    close(node)
    roll(tmp_path)
    with Journal.open(tmp_path) as journal:
        assert journal.start_seq > 0
        assert _defines_users(journal)
