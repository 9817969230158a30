"""Snapshots of the screen of `lockstep inspect`: pictures, as textual draws them, that a person has looked at.

They are the files of tests/screens, which a browser shows. LOCKSTEP_SCREENS=write draws them anew; look at each before
it is committed.
"""

import html
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import pytest

pytest.importorskip("textual", reason="the extra inspect is not installed")

from cli.inspect.inspect import _difference
from cli.inspect.panes import text_of
from cli.inspect.terminal import Inspector, TextPage
from cli.main import run_line
from tests.test_inspect_screen import STORY, settled, shown

SCREENS: Final = Path(__file__).parent / "screens"
Use = Callable[[Inspector, Any], Any]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the story, and as `other` the story with another quantity. Read only."""
    made = tmp_path_factory.mktemp("snapshots")
    for name, text in (("story", STORY), ("other", STORY.replace("buy 120 XYZ", "buy 130 XYZ"))):
        (made / f"{name}.txt").write_text(text)
        assert run_line(["run", str(made / f"{name}.txt"), "--data", str(made / name)]) == 0
    return made


async def nothing(_app: Inspector, _pilot: Any) -> None:
    """The screen as it begins."""


def page(key: str) -> Use:
    """A page of text above the screen."""

    async def use(app: Inspector, pilot: Any) -> None:
        await pilot.press(key)
        await settled(app, pilot, lambda: isinstance(app.screen, TextPage))

    return use


async def search(app: Inspector, pilot: Any) -> None:
    """A search that is being written."""
    app._entry.cursor_blink = False
    await pilot.press("slash", *"BETA kind=trade")
    await settled(app, pilot)


async def unmatched(app: Inspector, pilot: Any) -> None:
    """A search for an order that is not there."""
    await pilot.press("slash", *"nobody", "enter")
    await settled(app, pilot, lambda: "no order" in app._status.text)


async def marked(app: Inspector, pilot: Any) -> None:
    """The first mark behind the trade: a halt."""
    await pilot.press("m")
    await settled(app, pilot, lambda: app._status.text.startswith("H: halted XYZ"))


async def other_book(app: Inspector, pilot: Any) -> None:
    """The book of another instrument."""
    await pilot.press("i")
    await settled(app, pilot, lambda: "ABC  continuous" in text_of(app.rows()))


async def resized(app: Inspector, pilot: Any) -> None:
    """A window that became larger and narrow again."""
    for size in ((120, 30), (60, 18)):
        await pilot.resize_terminal(*size)
        await settled(app, pilot, lambda size=size: app._page.size == size)


#: By name: directories, command, size of the window, with colors, use.
CASES: Final[dict[str, tuple[tuple[str, ...], int, tuple[int, int], bool, Use]]] = {
    "trade": (("story",), 12, (80, 24), True, nothing),
    "trade-without-colors": (("story",), 12, (80, 24), False, nothing),
    "trade-in-a-small-window": (("story",), 12, (60, 18), True, nothing),
    "trade-in-a-wide-window": (("story",), 12, (140, 40), True, nothing),
    "first-command": (("story",), 1, (80, 24), True, nothing),
    "kill": (("story",), 16, (80, 24), True, nothing),
    "halt": (("story",), 12, (80, 24), True, marked),
    "other-book": (("story",), 12, (80, 24), True, other_book),
    "search": (("story",), 12, (80, 24), True, search),
    "no-match": (("story",), 12, (80, 24), True, unmatched),
    "help": (("story",), 12, (80, 30), True, page("question_mark")),
    "events": (("story",), 12, (80, 24), True, page("e")),
    "why": (("story",), 12, (100, 30), True, page("w")),
    "difference": (("story", "other"), 12, (120, 30), True, nothing),
    "difference-in-a-small-window": (("story", "other"), 12, (80, 24), True, nothing),
}


def drawn(app: Inspector) -> str:
    """The picture, without fonts of other machines."""
    return re.sub(r"\s*@font-face \{.*?\}", "", app.export_screenshot(title="lockstep inspect"), flags=re.DOTALL)


def text_in(picture: str) -> str:
    """The words of a picture."""
    return " ".join(re.sub(r"<[^>]+>", " ", re.sub(r"<style>.*?</style>", "", picture, flags=re.DOTALL)).split())


def is_drawn(app: Inspector) -> bool:
    """True once the picture has what the screen is to show, but for the last row, where a search is written.

    The last part of the day is drawn a moment after it is read.
    """
    words = "".join(html.unescape(text_in(drawn(app))).split())
    return isinstance(app.screen, TextPage) or "".join(text_of(app.rows()[:-1]).split()) in words


def taken(folder: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """The picture of a case."""
    monkeypatch.chdir(folder)  # so that no path of this machine is in it
    names, seq, size, colored, use = CASES[name]
    paths = [Path(each) for each in names]
    difference = _difference(*paths) if len(paths) > 1 else None
    app = Inspector(paths, seq, colored=colored, difference=difference)
    pictures: list[str] = []

    async def run(pilot: Any) -> None:
        await use(app, pilot)
        await settled(app, pilot, lambda: is_drawn(app))
        pictures.append(drawn(app))

    shown(app, run, size)
    return pictures[0]


@pytest.mark.parametrize("name", CASES)
def test_the_screen_is_drawn_as_in_its_snapshot(name: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    picture, kept = taken(folder, name, monkeypatch), SCREENS / f"{name}.svg"
    if os.environ.get("LOCKSTEP_SCREENS") == "write":
        kept.write_text(picture)
    assert kept.exists(), "draw it with LOCKSTEP_SCREENS=write, and look at it"
    assert text_in(picture) == text_in(kept.read_text())
    assert picture == kept.read_text(), "its words are those of the snapshot; places, colors or styles are not"


def test_a_window_that_was_resized_has_the_picture_of_one_of_its_size(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = (SCREENS / "trade-in-a-small-window.svg").read_text()
    monkeypatch.setitem(CASES, "resized", (("story",), 12, (80, 24), True, resized))
    assert (text_in(picture := taken(folder, "resized", monkeypatch)), picture) == (text_in(kept), kept)


def test_another_color_or_word_is_another_picture(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The control of the tests above."""
    kept = (SCREENS / "trade.svg").read_text()
    assert (SCREENS / "trade-without-colors.svg").read_text() != kept
    monkeypatch.setitem(CASES, "before", (("story",), 11, (80, 24), True, nothing))
    assert text_in(taken(folder, "before", monkeypatch)) != text_in(kept)


def test_every_snapshot_has_its_case() -> None:
    assert {each.stem for each in SCREENS.iterdir()} == set(CASES)
