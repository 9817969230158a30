"""Images of a program beside the node: when one is due, what follows a failure, and the last one."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import numpy as np
import pytest

from node.gateways import image as gateway_image
from node.gateways import image_fork, image_schedule
from node.gateways.image_schedule import ImageSchedule
from node.programs.child_work import WorkFailed
from tests.test_image_fork import Slow, new_slow, restored


class Program:
    """A program that follows: where it stands, what it was told, and its schedule."""

    def __init__(self, folder: Path, projection: Slow) -> None:
        self.projection = projection
        self.is_whole = True
        self.said: list[str] = []
        self.faults: list[BaseException] = []
        self.images = ImageSchedule(folder, folder, projection, self.standing, self.said.append, self.faults.append)

    def standing(self) -> int | None:
        return self.projection.seq if self.is_whole else None

    def goes_on(self) -> None:
        self.projection.observe(self.projection.seq + 1, np.zeros(1), None)


@pytest.fixture
def slow(monkeypatch: pytest.MonkeyPatch) -> Slow:
    return new_slow(monkeypatch)


@pytest.fixture
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    """Images that are due at once, for any command."""
    monkeypatch.setattr(image_schedule, "INTERVAL_S", 0.0)
    monkeypatch.setattr(image_schedule, "COMMANDS", 1)


def run(slow: Slow, folder: Path, then: Callable[[Program], Awaitable[None]]) -> Program:
    """A program, and what is done on its loop."""

    async def follow() -> Program:
        program = Program(folder, slow)
        await then(program)
        return program

    return asyncio.run(follow())


@pytest.mark.usefixtures("often")
def test_the_program_goes_on_while_its_image_is_taken(slow: Slow, tmp_path: Path) -> None:
    async def follow(program: Program) -> None:
        slow.until_there = there = tmp_path / "there"
        program.images.look()
        saving = program.images.saving
        assert saving is not None
        for _ in range(5):
            await asyncio.sleep(0.001)
            program.goes_on()
        there.touch()
        await asyncio.wait([saving])
        await asyncio.sleep(0)
        assert program.images.saving is None
        assert program.images.seq == 5 < program.projection.seq

    program = run(slow, tmp_path, follow)
    assert not program.said
    assert not program.faults
    assert restored(tmp_path)[:2] == (5, 5)


@pytest.mark.usefixtures("often")
def test_an_image_has_the_command_behind_which_the_program_stands_when_it_is_taken(slow: Slow, tmp_path: Path) -> None:
    """Blocks may come between the look and the first step of the task; taken once more they would count twice."""

    async def follow(program: Program) -> None:
        for is_whole in (True, False):
            program.goes_on()
            program.images.look()
            assert program.images.saving is not None
            program.goes_on()
            program.is_whole = is_whole
            await asyncio.wait([program.images.saving])
            await asyncio.sleep(0)
        assert program.images.seq == 7

    program = run(slow, tmp_path, follow)
    assert not program.faults
    assert restored(tmp_path) == (7, 7, 7, "")


def test_an_image_is_due_by_time_and_commands_or_by_its_age(
    slow: Slow, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def look(program: Program) -> bool:
        program.images.look()
        began = program.images.saving is not None
        if program.images.saving is not None:
            program.images.saving.cancel()
            await asyncio.wait([program.images.saving])
        return began

    async def follow(program: Program) -> None:
        assert not await look(program), "30 s have not passed"
        monkeypatch.setattr(image_schedule, "INTERVAL_S", 0.0)
        program = Program(tmp_path, slow)
        assert not await look(program), "five commands are too few"
        monkeypatch.setattr(image_schedule, "COMMANDS", 5)
        program.is_whole = False
        assert not await look(program), "it stands within a block"
        program.is_whole = True
        assert await look(program)
        program.images.begin_behind(5)
        assert not await look(program), "there is no news"
        monkeypatch.setattr(image_schedule, "COMMANDS", 100)
        monkeypatch.setattr(image_schedule, "OLD_S", 0.0)
        assert not await look(program), "there is no news, however old the image is"
        program.goes_on()
        assert await look(program), "one command is enough behind an old image"

    run(slow, tmp_path, follow)


@pytest.mark.usefixtures("often")
def test_an_image_that_cannot_be_written_is_told_and_tried_again(slow: Slow, tmp_path: Path) -> None:
    async def follow(program: Program) -> None:
        for fault in (OSError("No space left on device"), None):
            slow.fault = fault
            program.images.look()
            assert program.images.saving is not None
            await asyncio.wait([program.images.saving])

    program = run(slow, tmp_path, follow)
    assert program.said == ["No space left on device"]
    assert not program.faults
    assert restored(tmp_path)[0] == 5


@pytest.mark.usefixtures("often")
def test_any_other_error_is_a_fault_of_the_program(slow: Slow, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def follow(program: Program) -> None:
        def no_journal(_directory: Path, _seq: int) -> bytes:
            raise ValueError("the journal is damaged")

        monkeypatch.setattr(image_fork, "block_at", no_journal)
        program.images.look()
        assert program.images.saving is not None
        await asyncio.wait([program.images.saving])

    program = run(slow, tmp_path, follow)
    assert not program.said
    assert [str(each) for each in program.faults] == ["the journal is damaged"]
    assert not isinstance(program.faults[0], WorkFailed)


@pytest.mark.usefixtures("often")
def test_the_last_image_takes_the_place_of_one_that_is_being_written(slow: Slow, tmp_path: Path) -> None:
    async def follow(program: Program) -> None:
        slow.until_there = there = tmp_path / "there"
        program.images.look()
        await asyncio.sleep(0.1)
        program.goes_on()
        there.touch()
        await program.images.save_last()

    program = run(slow, tmp_path, follow)
    assert not program.said
    assert not program.faults
    assert restored(tmp_path)[:2] == (6, 6)


def test_there_is_no_last_image_without_news_or_within_a_block(slow: Slow, tmp_path: Path) -> None:
    async def follow(program: Program) -> None:
        program.images.begin_behind(5)
        await program.images.save_last()
        program.goes_on()
        program.is_whole = False
        await program.images.save_last()

    run(slow, tmp_path, follow)
    assert not list(tmp_path.glob(gateway_image._NAME))
