"""Orders that go with a connection, of many users at once: one batch, also where the disk is slow or has no room."""

import asyncio
import io
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest

import node.node
from engine import compile_kernels, is_compiled
from engine.records import CommandKind, UserPermission
from gateway.server import BEAT_S
from node.core.control import OperationRefused
from node.core.disconnects import AbsentUsers, DisconnectCancels
from node.core.opening import OpenDirectory, open_directory
from node.node import Node, NodeOptions
from node.programs.logs import Log
from reports.contexts import OF_DISCONNECT
from tests.operated import SMALL
from tests.rows import batch, enter, instrument, participant, phase, user

CANCELS = int(UserPermission.ENABLED | UserPermission.CANCEL_ON_DISCONNECT)
USERS = 6


class Venue:
    """A node in this process, of users that cancel on disconnect, each with an order; the last two share an account."""

    def __init__(self, opened: OpenDirectory, directory: Path) -> None:
        self.said = io.StringIO()
        self.log = Log(self.said)
        self.node = Node(opened, NodeOptions(directory, arrivals=False), self.log)

    async def set_up(self) -> None:
        await self.node.start()
        names = [f"P{n}" for n in range(1, USERS)]
        await self.node.submit(
            batch(
                instrument("XYZ"),
                *(participant(name) for name in names),
                *(user(f"U{n}", name, permissions=CANCELS) for n, name in enumerate([*names, names[-1]], 1)),
                phase("XYZ", 3),
            )
        )
        users = {name: number for number, name in ((n, self.name(n)) for n, _ in self.node.outbox.streams.users())}
        for n in range(1, USERS + 1):
            rows = enter(min(n, USERS - 1), f"a{n}", 1, 5, 90_000, context=users[f"U{n}"] | 1 << 16)
            await self.node.submit(rows)

    def name(self, number: int) -> str:
        return self.node.outbox.streams.name(number)

    def lines(self, event: str) -> list[dict[str, Any]]:
        assert self.log.flush(10)
        return [line for line in map(json.loads, self.said.getvalue().splitlines()) if line["event"] == event]

    @property
    def open_orders(self) -> int:
        return int(self.node.outbox.streams.open_counts().sum())


@pytest.fixture
def opened(tmp_path: Path) -> Iterator[Callable[[], OpenDirectory]]:
    if not is_compiled():
        compile_kernels()
    taken: list[OpenDirectory] = []

    def open_it() -> OpenDirectory:
        for each in taken:
            each.journal.close()
        taken.clear()
        taken.append(open_directory(tmp_path / "node", SMALL, "fsync"))
        return taken[-1]

    yield open_it
    for each in taken:
        each.journal.close()


def test_an_end_cancels_the_orders_of_all_users_in_one_batch(
    opened: Callable[[], OpenDirectory], tmp_path: Path
) -> None:
    async def run() -> None:
        venue = Venue(opened(), tmp_path / "node")
        await venue.set_up()
        assert venue.open_orders == USERS
        batches: list[list[int]] = []
        written: dict[int, set[int]] = {}
        mass, single = int(CommandKind.MASS_CANCEL), int(CommandKind.CANCEL)
        submit = venue.node.market.submit

        def counted(rows: Any) -> Any:
            batches.append(rows["kind"].tolist())
            for kind, context in zip(rows["kind"].tolist(), rows["context"].tolist(), strict=True):
                if kind == single:
                    written.setdefault(kind, set()).add(context)
            return submit(rows)

        venue.node.market.submit = counted  # type: ignore[method-assign]
        await venue.node.shutdown()
        await asyncio.wait_for(venue.node.run(), 300)
        assert venue.open_orders == 0
        assert [mass] * (USERS - 2) + [single] * 2 in batches
        assert len([kinds for kinds in batches if mass in kinds]) == 1
        assert written == {single: {int(OF_DISCONNECT)}}, "single cancels say that their user left"
        assert {line["user"] for line in venue.lines("orders canceled on disconnect")} == {f"U{n}" for n in range(1, 7)}

    asyncio.run(run())


def test_an_end_whose_cancels_do_not_become_durable_in_time_is_orderly_all_the_same(
    opened: Callable[[], OpenDirectory], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def run() -> None:
        venue = Venue(opened(), tmp_path / "node")
        await venue.set_up()

        async def never(_: object) -> None:
            monkeypatch.setattr(node.node, "END_S", 60.0)
            await asyncio.get_running_loop().create_future()

        drain = venue.node.drain

        async def then_short() -> None:
            await drain()
            monkeypatch.setattr(node.node, "END_S", 0.01)

        venue.node.drain = then_short  # type: ignore[method-assign]
        venue.node.disconnects.cancel = never  # type: ignore[method-assign]
        ended: list[bool] = []
        end_sessions = venue.node.gateway.end_sessions
        venue.node.gateway.end_sessions = lambda: (ended.append(True), end_sessions())[1]  # type: ignore[method-assign]
        await venue.node.shutdown()
        await asyncio.wait_for(venue.node.run(), 300)
        assert ended == [True]
        left = venue.lines("orders of users that cancel on disconnect are left to the next start")
        assert [line["level"] for line in left] == ["warning"]
        assert venue.lines("the node stops") == venue.lines("no checkpoint at the end") == []

    asyncio.run(run())
    again = opened()
    assert int(again.outbox.streams.open_counts().sum()) == USERS, "the next start has them to cancel"


def test_without_room_for_cancels_none_is_written(opened: Callable[[], OpenDirectory], tmp_path: Path) -> None:
    async def run() -> None:
        venue = Venue(opened(), tmp_path / "node")
        await venue.set_up()
        venue.node.scarcity._watch.state = "gone"
        seq = venue.node.engine.seq
        await venue.node._cancel_at_end()
        assert (venue.node.engine.seq, venue.open_orders) == (seq, USERS)
        assert len(venue.lines("orders of users that cancel on disconnect are left to the next start")) == 1

    asyncio.run(run())


def test_a_flood_of_cancels_goes_in_bounded_pieces_all_under_way_at_once(
    opened: Callable[[], OpenDirectory], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("node.core.disconnects.PIECE_ROWS_MAX", 2)

    async def run() -> None:
        venue = Venue(opened(), tmp_path / "node")
        await venue.set_up()
        taken: list[int] = []
        all_taken = asyncio.Event()

        async def submit(rows: Any) -> Any:
            taken.append(len(rows))
            if len(taken) == USERS // 2:
                all_taken.set()
            await all_taken.wait()  # no piece waits for the one before
            return await venue.node.command_entry.submit(rows)

        cancels = DisconnectCancels(venue.node.outbox.streams, submit, lambda: True, lambda *_, **__: None)
        await asyncio.wait_for(cancels.cancel(cancels.users()), 300)
        assert (taken, venue.open_orders) == ([2, 2, 2], 0)
        refused = DisconnectCancels(venue.node.outbox.streams, submit, lambda: False, lambda *_, **__: None)
        await refused.cancel(refused.users())  # nothing is open, so that nothing is to be refused
        await venue.node.submit(enter(1, "b1", 1, 5, 90_000, context=1 | 1 << 16))
        with pytest.raises(OperationRefused, match="10 s after the next start"):
            await refused.cancel([1])
        assert np.array_equal(np.flatnonzero(venue.node.outbox.streams.open_counts()), [1])

    asyncio.run(run())


class _Absences:
    """A gateway as absent users see it: time for reading goes on by ``pass_ns``."""

    def __init__(self) -> None:
        self.elsewhere, self.present_ns = "", 0
        self.register: set[int] = set()
        self.canceled: list[list[int]] = []
        self.attention = self

    async def cancel(self, users: list[int]) -> None:
        self.canceled.append(users)

    async def pass_ns(self, time_ns: int) -> None:
        await asyncio.sleep(0)  # those who wait begin
        self.present_ns += time_ns
        await asyncio.sleep(4 * BEAT_S)


@pytest.mark.slow
def test_an_absent_user_is_waited_for_once_and_anew_after_it_was_back() -> None:
    async def run() -> None:
        gateway = _Absences()
        absent = AbsentUsers(cast(Any, gateway), 1.0, gateway.cancel)
        waits = [asyncio.create_task(absent.wait([1, 2, 3]))]
        await gateway.pass_ns(600_000_000)
        waits.append(asyncio.create_task(absent.wait([1])))  # again, as after each login that is refused
        gateway.register.update((2, 3))
        await gateway.pass_ns(0)
        gateway.register.remove(3)
        waits.append(asyncio.create_task(absent.wait([3])))  # it was back, so it has all its time again
        await gateway.pass_ns(500_000_000)
        assert gateway.canceled == [[1]]
        await gateway.pass_ns(500_000_000)
        assert gateway.canceled == [[1], [3]]
        await asyncio.gather(*waits)

    asyncio.run(run())
