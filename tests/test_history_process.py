"""The process that serves the history of a primary: it is started again where it dies, and a copy waits for it."""

import asyncio
import os
import shutil
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from node.pair import member as pair
from node.programs import supervisor
from replication.register import Register
from tests.test_catch_up import Trading, primary_of
from tests.test_node_pair import Member, until, with_pair


@pytest.mark.slow
def test_a_history_process_that_dies_is_started_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervisor, "FIRST_PAUSE_S", 0.01)

    async def story(_: Register, a: Member, _b: Member) -> None:
        primary, history = a.pair.primary, a.pair._history
        assert primary is not None
        assert history is not None
        for _ in range(2):
            await until(lambda: primary.history_port > 0)
            died = history.program.pid
            os.kill(died, signal.SIGKILL)
            await until(lambda died=died: history.program.pid not in {0, died})
        await until(lambda: primary.history_port > 0)

    with_pair(tmp_path, story)


class Watch:
    """A watch that is dead until it is revived. ``fails``: how often that fails."""

    def __init__(self, fails: int = 0) -> None:
        self.is_alive, self.revived, self.fails, self.epochs = False, 0, fails, list[int]()

    def revive(self) -> bool:
        self.revived += 1
        if self.revived <= self.fails:
            raise OSError("no process could be started")
        self.is_alive = True
        return True

    def reign(self, epoch: int) -> None:
        self.epochs.append(epoch)

    def close(self) -> None:
        pass


def test_a_watch_that_dies_is_started_again_and_one_that_lives_is_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pair, "WATCH_AGAIN_NS", 10_000_000)

    async def story(_: Register, a: Member, b: Member) -> None:
        died, alive = Watch(fails=2), Watch()
        alive.is_alive = True
        a.pair._watch, b.pair._watch = died, alive  # type: ignore[assignment]
        await until(lambda: died.is_alive)
        await asyncio.sleep(0.2)
        assert (died.revived, alive.revived) == (3, 0)

    with_pair(tmp_path, story)


@pytest.mark.slow
def test_signals_to_the_whole_group_of_a_node_leave_its_history_process_to_the_node(tmp_path: Path) -> None:
    async def story(_: Register, a: Member, _b: Member) -> None:
        primary, history = a.pair.primary, a.pair._history
        assert primary is not None
        assert history is not None
        await until(lambda: primary.history_port > 0)
        for number in (signal.SIGINT, signal.SIGTERM):
            os.kill(history.program.pid, number)
        reader, writer = await asyncio.open_connection("127.0.0.1", primary.history_port)
        assert await reader.read(1), "it ended"
        writer.close()
        assert history.program.restarts == 0

    with_pair(tmp_path, story)


@pytest.mark.slow
def test_a_history_process_that_cannot_start_is_tried_again_and_reported_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervisor, "FIRST_PAUSE_S", 0.01)
    broken = [False]
    real = subprocess.Popen

    def popen(words: list[str], **more: Any) -> Any:
        mine = broken[0] and "replication.history_server" in words
        return real([*words[:6], "/bin/false"] if mine else words, **more)

    monkeypatch.setattr(supervisor.subprocess, "Popen", popen)

    async def story(_: Register, a: Member, _b: Member) -> None:
        primary, history = a.pair.primary, a.pair._history
        assert primary is not None
        assert history is not None
        await until(lambda: primary.history_port > 0)
        warned: list[str] = []
        monkeypatch.setattr(history.program._log, "warning", lambda what, **_: warned.append(what))
        broken[0] = True
        os.kill(history.program.pid, signal.SIGKILL)
        await until(lambda: history.program.restarts > 3)
        assert primary.history_port == 0
        assert warned.count("a program ended") == 1
        assert "the program history has ended and is started again" in a.node.warnings()[-1]
        broken[0] = False
        await until(lambda: primary.history_port > 0)

    with_pair(tmp_path, story)


@pytest.mark.slow
def test_a_copy_far_behind_waits_for_the_history_of_the_primary_and_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def run() -> None:
        register = Register()
        a = await primary_of(tmp_path / "a", register, backlog_bytes=2_000)
        shutil.copytree(tmp_path / "a", tmp_path / "b")
        try:
            trading = Trading(a)
            seen = a.node.engine.seq
            await until(lambda: a.node.engine.seq > seen + 200)
            await trading.end()
            primary = a.pair.primary
            assert primary is not None
            port, primary.history_port = primary.history_port, 0
            monkeypatch.setattr(pair, "REFUSED_S", 3_600.0)
            b = Member("B", tmp_path / "b", register, a, "both")
            await b.start()
            await until(lambda: b.pair.standby.state == "elsewhere" and b.pair._to_primary is None)
            assert b.pair._next_attempt_s > time.monotonic() + 1_000
            assert "history" in b.pair.status()["state_reason"]
            assert b.pair.outcome is None
            primary.history_port = port
            b.pair._next_attempt_s = 0.0
            await until(lambda: b.pair.standby.in_sync)
            assert b.pair.outcome is None
            b.close()
        finally:
            a.close()

    asyncio.run(run())
