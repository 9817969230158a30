"""The follower of a tape: every block once into the projection, and no image of one that a fault has left half done."""

import asyncio
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from checkpoints import Projection
from node.feeds.tape_follower import NoNode, TapeFollower, market_of
from node.gateways import image as gateway_image
from node.gateways import image_schedule
from replay.market_rows import MARKET_ROWS, tape_of
from replay.past import PlayedRows
from tape.errors import TapeError
from tape.places import BELL_ARMED, RELEASE_BELLS_MAX, Place
from tape.reader import TapeReader
from tape.writer import release_bell
from tests.ouch_messages import enter
from tests.running import Client, started

WAIT_S = 120.0


class Counted(Projection):
    """Places of all blocks so far. ``fails``: the fault in the next block, half done."""

    name = "counted"
    version = 1

    def __init__(self) -> None:
        self.seen: list[tuple[int, int]] = []
        self.fails: Exception | None = None

    @property
    def seq(self) -> int:
        return self.seen[-1][1] if self.seen else 0

    def observe(self, first_seq: int, commands: Any, _events: Any, /) -> None:
        assert first_seq == self.seq + 1
        self.seen.append((first_seq, first_seq + len(commands) - 1))
        if self.fails is not None:
            raise self.fails

    def image(self) -> dict[str, Any]:
        return {"seen": np.array(self.seen, np.int64)}

    def digest(self) -> bytes:
        return bytes(16)

    def restore(self, arrays: Any, _seq: int, /) -> None:
        self.seen = [(int(first), int(last)) for first, last in arrays["seen"]]

    def clear(self) -> None:
        self.seen = []


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(WAIT_S):
        while not condition():
            await asyncio.sleep(0.01)


@pytest.mark.slow
def test_a_follower_sleeps_on_a_bell_of_its_own_while_there_is_one(tmp_path: Path) -> None:
    """The bell for all that is published would wake it before anything is released, at the cost of the core."""
    node = started(tmp_path)

    async def sleeping(follower: TapeFollower) -> set[str]:
        """Names of bells on which it was found asleep, until it is on one."""
        found = set[str]()
        words = follower.tape.tape.arrays.words
        bells = {"shared": int(Place.READERS_BELL)} | {
            f"own {number}": release_bell(number) for number in range(RELEASE_BELLS_MAX)
        }
        await follower.catch_up()
        before = {name for name, place in bells.items() if words[place + BELL_ARMED]}
        follower.start()

        def is_asleep() -> bool:
            found.update(name for name, place in bells.items() if words[place + BELL_ARMED] and name not in before)
            return bool(found)

        await until(is_asleep)
        return found

    async def follow() -> None:
        market = market_of(node.data)
        follower = TapeFollower(market, tmp_path / "one", "one", Counted(), lambda _fault: None)
        (own,) = await sleeping(follower)
        assert own.startswith("own")
        client = Client(node.port, "UA")
        client.socket.sendall(enter("A1", "B", 1, 90_000))
        await until(lambda: follower.seq == node.status()["seq"] > 0)

        # Where all of them have an owner it sleeps on the bell for all that is published, and follows as well.
        readers = [TapeReader(tape_of(node.data), market.journal_id, MARKET_ROWS) for _ in range(RELEASE_BELLS_MAX)]
        with suppress(TapeError):
            for reader in readers:
                assert reader.release_place
        late = TapeFollower(market_of(node.data), tmp_path / "two", "two", Counted(), lambda _fault: None)
        assert await sleeping(late) == {"shared"}
        client.socket.sendall(enter("A2", "B", 1, 90_000))
        await until(lambda: late.seq == follower.seq == node.status()["seq"])
        for each in (follower, late):
            await each.stop()
        for reader in readers:
            reader.close()

    try:
        asyncio.run(follow())
    finally:
        node.stop()


@pytest.mark.slow
def test_blocks_come_once_and_an_image_is_of_whole_blocks_alone(tmp_path: Path) -> None:
    node = started(tmp_path)
    folder, faults = tmp_path / "program", list[BaseException]()

    async def follow() -> None:
        first = Counted()
        follower = TapeFollower(market_of(node.data), folder, "counted", first, faults.append)
        assert follower.why
        await follower.catch_up()
        follower.start()
        client = Client(node.port, "UA")
        for n in range(5):
            client.socket.sendall(enter(f"A{n}", "B", 1, 90_000))
        seq = 0

        def has_all() -> bool:
            nonlocal seq
            seq = node.status()["seq"]
            return first.seq == seq

        await until(lambda: first.seq > 15 and has_all())
        await follower.stop()

        second = Counted()
        follower = TapeFollower(market_of(node.data), folder, "counted", second, faults.append)
        assert (follower.why, follower.seq) == ("", first.seq)
        assert second.seen == first.seen
        await follower.catch_up()
        follower.start()
        second.fails = RuntimeError("a defect")
        client.socket.sendall(enter("B1", "B", 1, 90_000))
        await until(lambda: faults)
        await follower.stop()
        assert [str(each) for each in faults] == ["a defect"]

        # What the defect has left is in no image: the next start is before it.
        third = Counted()
        follower = TapeFollower(market_of(node.data), folder, "counted", third, faults.append)
        assert (follower.why, third.seen) == ("", first.seen)
        await follower.catch_up()
        assert third.seq > first.seq
        whole = list(third.seen)

        # Nor is what a full disk has left of the last blocks before an orderly end.
        third.fails = OSError("no space left on device")
        client.socket.sendall(enter("B2", "B", 1, 90_000))
        await until(lambda: node.status()["published_seq"] > whole[-1][1])
        follower.take_last()
        assert third.seen != whole
        await follower.stop()
        fourth = Counted()
        follower = TapeFollower(market_of(node.data), folder, "counted", fourth, faults.append)
        assert fourth.seen in (first.seen, whole)
        await follower.stop()

    try:
        asyncio.run(follow())
    finally:
        node.stop()
    with pytest.raises(NoNode, match="no node writes a tape"):
        market_of(node.data)


class Stepped(Counted):
    """Places of all blocks, each taken in 20 steps, longer than a turn; the place is noted at the last."""

    name = "stepped"

    def __init__(self) -> None:
        super().__init__()
        self.steps = 0

    def in_steps(self, rows: PlayedRows) -> Iterator[None]:
        for _ in range(20):
            time.sleep(0.005)
            self.steps += 1
            yield
        self.observe(rows.first_seq, rows.commands, rows.events)


def test_a_block_in_steps_leaves_turns_to_the_loop_and_is_whole_at_the_end(tmp_path: Path) -> None:
    node = started(tmp_path)

    async def follow() -> None:
        stepped, faults = Stepped(), list[BaseException]()
        follower = TapeFollower(
            *(market_of(node.data), tmp_path / "program", "stepped", stepped, faults.append), in_steps=stepped.in_steps
        )
        await follower.catch_up()
        assert stepped.steps == 20 * len(stepped.seen)
        follower.start()
        Client(node.port, "UA").socket.sendall(enter("A1", "B", 1, 90_000))
        async with asyncio.timeout(WAIT_S):
            while stepped.steps % 20 == 0:  # control: a block in one step would never be seen half done
                await asyncio.sleep(0)
        taken = len(stepped.seen)
        await follower.stop()
        assert stepped.steps == 20 * len(stepped.seen)
        assert len(stepped.seen) == taken + 1, "the rest of that block, and no other one"
        assert not faults
        again = Stepped()
        follower = TapeFollower(market_of(node.data), tmp_path / "program", "stepped", again, faults.append)
        assert again.seen == stepped.seen, "the image is of the whole block"
        await follower.stop()

    try:
        asyncio.run(follow())
    finally:
        node.stop()


@pytest.mark.slow
def test_a_single_command_is_in_an_image_10_minutes_later(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """So a slice that has ended can be archived beside a market where little happens."""
    monkeypatch.setattr(image_schedule, "INTERVAL_S", 0.2)
    monkeypatch.setattr(image_schedule, "OLD_S", 1.0)
    node = started(tmp_path)
    folder, faults = tmp_path / "program", list[BaseException]()

    async def follow() -> None:
        follower = TapeFollower(market_of(node.data), folder, "counted", Counted(), faults.append)
        await follower.catch_up()
        follower.start()
        await until(lambda: gateway_image.seq_in(folder, Counted.version) >= follower.seq > 0)
        client = Client(node.port, "UA")
        client.socket.sendall(enter("A1", "B", 1, 90_000))
        client.log_out()
        seq = follower.seq
        await until(lambda: follower.seq > seq)
        await until(lambda: gateway_image.seq_in(folder, Counted.version) >= follower.seq)
        await follower.stop()

    try:
        asyncio.run(follow())
        assert not faults
    finally:
        node.stop()


@pytest.mark.slow
def test_blocks_go_on_while_an_image_is_written_and_where_it_cannot_be(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An image takes until a block has come here, and then fails; the next one is there."""
    monkeypatch.setattr(image_schedule, "INTERVAL_S", 0.2)
    monkeypatch.setattr(image_schedule, "COMMANDS", 1)
    node = started(tmp_path)
    folder, faults, without = tmp_path / "program", list[BaseException](), list[str]()
    came = tmp_path / "came"

    class Failing(Counted):
        fails_to = True

        def image(self) -> dict[str, Any]:
            until_s = time.monotonic() + WAIT_S
            while self.seen and self.fails_to and time.monotonic() < until_s:
                if not came.exists():
                    time.sleep(0.01)
                    continue
                raise OSError("No space left on device")
            return super().image()

    async def follow() -> None:
        counted = Failing()
        follower = TapeFollower(
            *(market_of(node.data), folder, "counted", counted, faults.append), on_no_image=without.append
        )
        await follower.catch_up()
        follower.start()
        client = Client(node.port, "UA")
        await until(lambda: follower._images.saving is not None)
        seq, saving = follower.seq, follower._images.saving
        client.socket.sendall(enter("A1", "B", 1, 90_000))
        await until(lambda: follower.seq > seq)
        assert saving is follower._images.saving, "the block came while the image was being taken"
        came.touch()
        await until(lambda: without)
        counted.fails_to = False
        client.socket.sendall(enter("A2", "B", 1, 90_000))
        await until(lambda: gateway_image.seq_in(folder, Counted.version) > seq)
        client.log_out()
        await follower.stop()
        assert gateway_image.seq_in(folder, Counted.version) == follower.seq

    try:
        asyncio.run(follow())
        assert set(without) == {"No space left on device"}
        assert not faults
    finally:
        node.stop()
