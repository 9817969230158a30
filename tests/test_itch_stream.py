"""The feed of a running market: its spool, its restarts, and what a re-request server gives again."""

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from engine import Engine
from engine.names import pack
from engine.records import COMMAND, CommandKind
from marketdata.itch import ItchFeed, session_name
from marketdata.itch.snapshot import Snapshot, end_of_snapshot, packets
from marketdata.itch.spool import SessionSpool, Standing
from marketdata.itch.stream import ItchStream
from tests.report_streams import CAPACITY, Block, blocks, user_stream
from tests.test_itch_feed import Market, with_days
from wire import itch
from wire.soup import packet


def framed(first: int, count: int) -> bytes:
    rows = itch.rows(itch.ItchMessage.DELETE, count)
    rows["reference"] = np.arange(first, first + count)
    return itch.framed(rows)


def digests(folder: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(folder.glob("*.itch"))}


@pytest.fixture(scope="module")
def every() -> list[Block]:
    return list(blocks(with_days(user_stream(2, 2_500), 2), 2, largest=60))


def test_the_spool_has_the_messages_of_each_day(every: list[Block], tmp_path: Path) -> None:
    market, stream = Market(), ItchStream(tmp_path, CAPACITY)
    for block in every:
        market.take(block)
        stream.observe(*block)
    assert {path.stem: path.read_bytes() for path in tmp_path.glob("*.itch")} == {
        session_name(day): octets for day, octets in market.sink.sessions.items()
    }


def test_a_stream_goes_on_from_every_image_with_the_same_files(every: list[Block], tmp_path: Path) -> None:
    straight = ItchStream(tmp_path / "straight", CAPACITY)
    for block in every:
        straight.observe(*block)
    for cut in (1, 2, len(every) // 2, len(every) - 1):
        folder = tmp_path / str(cut)
        first = ItchStream(folder, CAPACITY)
        for block in every[:cut]:
            first.observe(*block)
        image, seq = {name: np.array(rows) for name, rows in first.image().items()}, first.reports.seq
        for block in every[cut : cut + 9]:  # what the process did after its image, before it was killed
            first.observe(*block)
        first.close()
        after = ItchStream(folder, CAPACITY)
        after.restore(image, seq)
        numbers: list[int] = []
        after.on_messages = lambda _day, number, _count, _framed, numbers=numbers: numbers.append(number)  # type: ignore[misc]
        for block in every[cut:]:
            after.observe(*block)
        assert digests(folder) == digests(tmp_path / "straight")
        assert after.digest() == straight.digest()
        assert numbers or cut == len(every) - 1  # the last block may show nothing


def test_an_image_whose_spool_is_gone_short_or_damaged_is_refused(every: list[Block], tmp_path: Path) -> None:
    stream = ItchStream(tmp_path, CAPACITY)
    for block in every:
        stream.observe(*block)
    image, seq = {name: np.array(rows) for name, rows in stream.image().items()}, stream.reports.seq
    stream.close()
    newest = max(tmp_path.glob("*.itch"))
    whole = newest.read_bytes()
    for changed, sentence in (
        (whole[:-1], "less than its image says"),
        (whole[: len(whole) // 2] + bytes(len(whole) - len(whole) // 2), "messages"),  # what a power cut may leave
        (None, "less than its image says"),
    ):
        newest.unlink() if changed is None else newest.write_bytes(changed)
        again = ItchStream(tmp_path, CAPACITY)
        with pytest.raises(ValueError, match=sentence):
            again.restore(image, seq)
        again.clear()
        for block in every:
            again.observe(*block)
        again.close()
        assert newest.read_bytes() == whole


def test_any_range_of_a_session_is_read_again(tmp_path: Path) -> None:
    spool = SessionSpool(tmp_path)
    spool.append(19_737, 1, memoryview(framed(1, 100)))
    spool.append(19_737, 101, memoryview(framed(101, 129)))
    size = len(framed(1, 1))
    for number in (1, 2, 63, 64, 65, 66, 128, 129, 229):
        for count in (1, 2, 64, 200):
            expected = framed(number, min(count, 230 - number))
            assert spool.read("20240115", number, count, 1 << 20) == expected
            assert spool.read("20240115", number, count, 3 * size + 5) == expected[: 3 * size]
    assert spool.read("20240115", 230, 1, 1_000) == b""
    assert spool.read("20240115", 0, 1, 1_000) == b""
    assert spool.read("20240116", 1, 1, 1_000) == b""
    assert spool.read("../20240115", 1, 1, 1_000) == b""
    assert spool.messages("20240115") == 229
    with pytest.raises(ValueError, match="does not follow"):
        spool.append(19_737, 231, memoryview(framed(231, 1)))


def test_past_sessions_are_read_after_a_restart_and_old_ones_go(tmp_path: Path) -> None:
    spool = SessionSpool(tmp_path, sessions_max=3)
    for day in range(19_737, 19_742):
        spool.append(day, 1, memoryview(framed(1, day - 19_700)))
    spool.close()
    assert [path.stem for path in sorted(tmp_path.glob("*.itch"))] == ["20240117", "20240118", "20240119"]
    again = SessionSpool(tmp_path, sessions_max=3)
    assert again.messages("20240118") == 40
    assert again.read("20240118", 40, 9, 1_000) == framed(40, 1)
    again.go_back(19_740, Standing(40, len(framed(1, 40))))
    assert [path.stem for path in sorted(tmp_path.glob("*.itch"))] == ["20240117", "20240118"]
    again.append(19_740, 41, memoryview(framed(41, 2)))
    assert again.read("20240118", 40, 9, 1_000) == framed(40, 3)


def test_the_stream_knows_who_reigns(tmp_path: Path) -> None:
    engine, stream = Engine(CAPACITY), ItchStream(tmp_path, CAPACITY)
    rows = np.zeros(4, COMMAND)
    rows["kind"] = CommandKind.EPOCH
    for row, name, epoch in zip(rows, ("A", "B", "A", "C"), (1, 2, 1, 3), strict=True):
        row["name"], row["epoch"] = pack(name), epoch
    for n, reigns in enumerate(("A", "B", "B", "C")):  # the third is refused: its epoch is an old one
        one: Any = rows[n : n + 1]
        stream.observe(n + 1, one, engine.apply(one))
        assert stream.reign == pack(reigns)


def test_packets_of_a_snapshot_are_those_of_soupbintcp(every: list[Block]) -> None:
    market = Market()
    for block in every[: len(every) // 2]:
        market.take(block)
    snapshot = Snapshot(market.feed)
    made = b"".join(snapshot.framed(1))
    assert snapshot.next_number == market.feed.messages + 1
    assert packets(made) == b"".join(packet(ord("S"), message) for _, message in itch.cut(made))  # type: ignore[arg-type]
    assert packets(b"") == b""
    assert end_of_snapshot(17) == b"G" + b" " * 18 + b"17"
    assert Snapshot(ItchFeed(CAPACITY)).next_number == 1
