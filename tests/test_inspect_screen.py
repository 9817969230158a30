"""The screen of `lockstep inspect`: its keys, its text, and the terminal that it leaves."""

import asyncio
import contextlib
import fcntl
import os
import pty
import re
import select
import shutil
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Final

import pytest

pytest.importorskip("textual", reason="the extra inspect is not installed")

from textual.containers import VerticalScroll

from cli.inspect.inspect import _difference
from cli.inspect.panes import text_of
from cli.inspect.terminal import Inspector, TextPage
from cli.main import run_line
from engine.names import unpack
from gateway.ouch.context import order_id
from tests.question_day import write_day

LIMIT_S: Final = 120.0
STORY: Final = """\
at 2024-01-15T09:30:00
instrument XYZ tick=0.01 lot=1 reference=10.00
instrument ABC tick=0.01 lot=1 reference=20.00
participant ALPHA
participant BETA
phase XYZ continuous
phase ABC continuous
at 2024-01-15T09:30:10
enter ALPHA a1 sell 100 XYZ @ 10.00
enter ALPHA a0 sell 40 XYZ @ 10.00
enter ALPHA a2 sell 70 XYZ @ 10.01
enter BETA b1 buy 120 XYZ @ 10.00
at 2024-01-15T09:30:20
halt XYZ
enter BETA b2 buy 10 ABC @ 20.00
kill ALPHA
"""
#: The screen after the trade of the story, 80 by 24, without its first line, which has the path.
TRADED: Final = """\
█                                      ▆                                       ▅
P                                                                              K
09:30:00───────────────────────────────▲────────────────────────────────09:30:20
peak 28 commands/s; here 20/s, 8 trades/s; 1 halt, 1 alert
enter BETA b1 buy 120 XYZ @ 10.00
────────────────────────────────────────────────────────────────────────────────
XYZ  continuous  last 10.00            │ queue  sell @ 10.00: 1 order, 20
       qty    bid │ offer  qty         │    1        20  ALPHA a0
                  │ 10.00* 20/1        │
                  │ 10.01  70/1        │
                                       │
                                       │
                                       │
                                       │ events  3
                                       │ > accepted b1  (BETA)
                                       │ > trade XYZ 100 @ 10.00 resting=a1
                                       │   incoming=b1  (ALPHA, BETA)
                                       │ > trade XYZ 20 @ 10.00 resting=a0
                                       │   incoming=b1  (ALPHA, BETA)
                                       │
                                       │

←→ step  g go to  / find  n N match  m M mark  i book  f follow  ? help  q quit
"""


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data directory with the story. Read only."""
    folder = tmp_path_factory.mktemp("screen")
    (folder / "story.txt").write_text(STORY)
    if run_line(["run", str(folder / "story.txt"), "--data", str(folder / "story")]) != 0:
        raise RuntimeError("the story could not be run")
    return folder / "story"


@pytest.fixture(scope="module")
def day(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A generated day. Read only."""
    directory = tmp_path_factory.mktemp("screen") / "day"
    write_day(directory, checkpoint_every=1_000)
    return directory


async def settled(app: Inspector, pilot: Any, is_so: Callable[[], bool] = lambda: True) -> None:
    """Wait until nothing is asked for any more, the day is read, and something is so."""
    until_s = time.monotonic() + LIMIT_S
    while time.monotonic() < until_s:
        await pilot.pause(0.02)
        day = app._day
        read = any(app._faults) or (day is not None and (bool(day.fault) or 0 < day.to_seq <= day.read_seq))
        if app.settled and read and is_so():
            return
    raise AssertionError(f"the screen did not settle:\n{text_of(app.rows())}")


def shown(app: Inspector, use: Callable[[Any], Awaitable[None]], size: tuple[int, int] = (80, 24)) -> None:
    """Run the screen without a terminal, and use it."""

    async def run() -> None:
        async with app.run_test(size=size) as pilot:
            await settled(app, pilot)
            await use(pilot)

    asyncio.run(run())


def seq_of(app: Inspector) -> int:
    """The command on the screen."""
    facts = app._facts[0]
    assert facts is not None
    return int(facts["seq"])


@pytest.mark.slow
def test_keys_step_forward_and_back_and_to_both_ends(day: Path) -> None:
    app = Inspector([day], 1_500)

    async def use(pilot: Any) -> None:
        for keys, seq in [
            (("right",), 1_501), (("left", "left"), 1_499), (("l",), 1_500), (("h",), 1_499), (("pagedown",), 1_599),
            (("pageup",), 1_499), (("home",), 1), (("left",), 1), (("end",), 3_000), (("right",), 3_000),
            (("left_square_bracket",), 1), (("right_square_bracket",), 3_000),
            (("g", *"1200", "enter"), 1_200), (("slash", *"seq=78", "enter"), 78),
        ]:  # fmt: skip
            await pilot.press(*keys)
            await settled(app, pilot, lambda seq=seq: seq_of(app) == seq)

    shown(app, use)


def test_the_screen_has_the_trade_with_its_book_queue_and_events(story: Path) -> None:
    app = Inspector([story], 12)

    async def use(_pilot: Any) -> None:
        first, *others = text_of(app.rows()).splitlines()
        assert first.endswith("12 of 16  2024-01-15T09:30:10")
        assert others == TRADED.splitlines()

    shown(app, use)


def test_what_is_drawn_is_the_page_and_without_colors_it_has_no_style(story: Path) -> None:
    for colored in (True, False):
        app = Inspector([story], 12, colored=colored)

        async def use(_pilot: Any, app: Inspector = app, colored: bool = colored) -> None:
            text = app._page.visual
            assert str(app._page.render()).rstrip() == text_of(app.rows()).rstrip() or text is not None
            strips = [app._page.render_line(at) for at in range(24)]
            drawn = "\n".join("".join(segment.text for segment in strip).rstrip() for strip in strips)
            assert drawn.rstrip() == text_of(app.rows()).rstrip()
            styles = {
                (segment.style.bold or segment.style.dim or segment.style.italic, segment.style.color is not None
                 and not segment.style.color.is_default)
                for strip in strips for segment in strip if segment.style is not None and segment.text.strip()
            }  # fmt: skip
            assert any(bold or color for bold, color in styles) == colored, styles

        shown(app, use)


@pytest.mark.slow
def test_a_search_goes_to_matches_and_says_where_there_is_none(story: Path) -> None:
    app = Inspector([story], 1)

    async def use(pilot: Any) -> None:
        await pilot.press("n")
        await settled(app, pilot, lambda: "nothing was searched for" in app._status.text)
        await pilot.press("slash", *"b1", "enter")
        await settled(app, pilot, lambda: seq_of(app) == 12)
        await pilot.press("n")
        await settled(app, pilot, lambda: "no later command" in app._status.text)
        await pilot.press("slash", *"BETA", "enter")
        await settled(app, pilot, lambda: seq_of(app) == 15)
        await pilot.press("N")
        await settled(app, pilot, lambda: seq_of(app) == 12)
        await pilot.press("g", *"09:30:05", "enter")
        await settled(app, pilot, lambda: seq_of(app) == 7)
        await pilot.press("slash", *"nobody", "enter")
        await settled(app, pilot, lambda: "no order" in app._status.text)
        assert seq_of(app) == 7
        await pilot.press("slash", "x", "escape", "right")
        await settled(app, pilot, lambda: seq_of(app) == 8)

    shown(app, use)


def test_marks_of_the_timeline_are_places_to_go_to(story: Path) -> None:
    app = Inspector([story], 8)

    async def use(pilot: Any) -> None:
        await pilot.press("m")
        await settled(app, pilot, lambda: app._status.text.startswith("H: halted XYZ"))
        assert seq_of(app) == 14
        await pilot.press("m")
        await settled(app, pilot, lambda: app._status.text.startswith("K: killed ALPHA"))
        await pilot.press("M", "M")
        await settled(app, pilot, lambda: app._status.text.startswith("P: phase ABC"))

    shown(app, use)


@pytest.mark.slow
def test_another_book_can_be_kept_and_given_back(story: Path) -> None:
    app = Inspector([story], 12)

    def symbol() -> str:
        facts = app._facts[0]
        return "" if facts is None else str(facts["symbol"])

    async def use(pilot: Any) -> None:
        assert symbol() == "XYZ"
        await pilot.press("i")
        await settled(app, pilot, lambda: symbol() == "ABC")
        await pilot.press("left")
        await settled(app, pilot, lambda: seq_of(app) == 11 and symbol() == "ABC")
        await pilot.press("I")
        await settled(app, pilot, lambda: symbol() == "XYZ")

    shown(app, use)


@pytest.mark.slow
def test_pages_of_help_events_and_why_come_and_go(story: Path) -> None:
    app = Inspector([story], 12)

    async def use(pilot: Any) -> None:
        for key, says in (
            ("question_mark", "previous match"), ("e", "> trade XYZ 100"), ("w", "participant is known"),
        ):  # fmt: skip
            await pilot.press(key)
            await settled(app, pilot, lambda: isinstance(app.screen, TextPage))
            assert isinstance(app.screen, TextPage)
            assert says in app.screen.text
            await pilot.press("escape")
            await settled(app, pilot, lambda: not isinstance(app.screen, TextPage))
        await pilot.press("question_mark")
        await settled(app, pilot, lambda: isinstance(app.screen, TextPage))
        await pilot.press("end")
        await settled(app, pilot, lambda: app.screen.query_one(VerticalScroll).scroll_y > 0)

    shown(app, use)


def test_two_directories_stand_beside_each_other_at_their_difference(story: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    (tmp_path / "other.txt").write_text(STORY.replace("buy 120 XYZ", "buy 130 XYZ"))
    assert run_line(["run", str(tmp_path / "other.txt"), "--data", str(other)]) == 0
    app = Inspector([story, other], 12, difference=_difference(story, other))

    async def use(pilot: Any) -> None:
        text = text_of(app.rows())
        assert "the first command that differs is 12" in text
        assert "enter BETA b1 buy 120 XYZ @ 10.00 ≠ enter BETA b1 buy 130 XYZ @ 10.00" in re.sub(" +", " ", text)
        await pilot.press("home")
        await settled(app, pilot, lambda: seq_of(app) == 1)
        assert "≠" not in text_of(app.rows())
        await pilot.press("d")
        await settled(app, pilot, lambda: seq_of(app) == 12 and "≠" in text_of(app.rows()))
        for facts in app._facts:
            assert facts is not None
            assert facts["seq"] == 12

    shown(app, use, (120, 30))


def test_it_follows_a_journal_that_grows_and_the_timeline_goes_on(day: Path, tmp_path: Path) -> None:
    directory = tmp_path / "growing"
    shutil.copytree(day, directory)
    app = Inspector([directory], 3_000)

    async def use(pilot: Any) -> None:
        before = app._day
        assert before is not None
        await asyncio.to_thread(_grow, directory)
        await settled(app, pilot, lambda: app._last_seqs[0] > 3_000)
        assert seq_of(app) == 3_000
        await pilot.press("f")
        await settled(app, pilot, lambda: seq_of(app) == app._last_seqs[0] and "following" in text_of(app.rows()))
        await settled(app, pilot, lambda: app._day is not before or before.read_seq == app._last_seqs[0])
        await pilot.press("left")
        await settled(app, pilot, lambda: "following" not in text_of(app.rows()))

    shown(app, use, (120, 30))


def _grow(directory: Path) -> None:
    """Add commands to a directory, as a node does."""
    more = directory.with_suffix(".txt")
    more.write_text("at 2024-01-15T18:00:00\nhalt I1\nat 2024-01-15T18:00:01\nresume I1\n")
    assert run_line(["run", str(more), "--data", str(directory), "--append"]) == 0


@pytest.mark.slow
def test_a_command_that_cannot_be_read_has_its_sentence_on_the_screen(day: Path, tmp_path: Path) -> None:
    directory = tmp_path / "damaged"
    shutil.copytree(day, directory)
    file = directory / "journal" / "data.mdb"
    raw = bytearray(file.read_bytes())
    at = next(at for at in range(len(raw) // 2, len(raw)) if raw[at]) + 100
    raw[at] ^= 0xFF
    file.write_bytes(raw)
    app = Inspector([directory], 3_000)

    async def use(pilot: Any) -> None:
        found = []
        for seq in range(100, 3_001, 100):
            app._go(seq)
            await settled(app, pilot, lambda seq=seq: app._wanted == seq)
            if app._faults[0]:
                found.append(app._faults[0])
                assert app._faults[0][:30] in text_of(app.rows())
        assert found, "the byte was in no block"
        assert "checksum" in found[0]
        await pilot.press("home")
        await settled(app, pilot, lambda: not app._faults[0])
        assert seq_of(app) == 1

    shown(app, use)


@pytest.mark.slow_after(1)
@pytest.mark.parametrize("end", ["q", "\x03", "SIGTERM", "SIGINT"])
def test_it_ends_and_leaves_the_terminal_as_it_was(end: str, story: Path) -> None:
    mine, its = pty.openpty()
    fcntl.ioctl(its, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    before = termios.tcgetattr(its)
    process = subprocess.Popen(
        [sys.executable, "-c", "import cli.start; cli.start.main()", "inspect", str(story)],
        stdin=its, stdout=its, stderr=its, cwd=Path(__file__).parent.parent, start_new_session=True,
        env={**os.environ, "TERM": "xterm"},
    )  # fmt: skip
    try:
        said = _until(mine, b"q quit")
        if end.startswith("SIG"):
            process.send_signal(signal.Signals[end])
        else:
            os.write(mine, end.encode())
        said += _drained(mine, process)
        assert process.returncode == (-signal.SIGTERM if end == "SIGTERM" else 0), said[-600:]
        assert b"\x1b[?1049h" in said, "the other screen"
        assert b"\x1b[?1049l" in said, "back again"
        assert b"Traceback" not in said
        assert termios.tcgetattr(its) == before
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        process.wait()
        os.close(its)
        os.close(mine)


def _until(terminal: int, wanted: bytes) -> bytes:
    """Bytes that a terminal gets until some wanted ones come."""
    said, until_s = b"", time.monotonic() + LIMIT_S
    while wanted not in said and time.monotonic() < until_s:
        if select.select([terminal], [], [], 0.1)[0]:
            said += os.read(terminal, 65_536)
    assert wanted in said, said[-2_000:]
    return said


def _drained(terminal: int, process: "subprocess.Popen[bytes]") -> bytes:
    """Bytes that a terminal gets until a process has ended."""
    said, until_s = b"", time.monotonic() + LIMIT_S
    while time.monotonic() < until_s:
        ended = process.poll() is not None
        if select.select([terminal], [], [], 0.1)[0]:
            said += os.read(terminal, 65_536)
        elif ended:
            break
    return said


def test_order_tokens_stand_in_place_of_ids_once_the_journal_was_read(tmp_path: Path) -> None:
    first, second = "alice-00000017", "USER2-0001"
    raw = [unpack(order_id(token.encode().ljust(14))) for token in (first, second)]
    lines = STORY.replace("a1 sell 100 XYZ @ 10.00", f"{raw[0]} sell 100 XYZ @ 10.00 token={first}").splitlines()
    trade = f"enter BETA {raw[1]} buy 10 XYZ @ 10.00 token={second}"
    (tmp_path / "day.txt").write_text("\n".join([*lines[:10], trade]) + "\n")
    assert run_line(["run", str(tmp_path / "day.txt"), "--data", str(tmp_path / "node")]) == 0
    app = Inspector([tmp_path / "node"], 15)

    async def use(pilot: Any) -> None:
        await settled(app, pilot, lambda: "~" not in text_of(app.rows()))
        text = " ".join(text_of(app.rows()).split())
        assert f"resting={first}" in text
        assert f"ALPHA {first}" in text, "the queue"
        assert f"enter BETA {second} buy 10" in text

    shown(app, use, (120, 30))
