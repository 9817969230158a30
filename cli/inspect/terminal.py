"""The screen of `lockstep inspect` on a terminal, by textual: its only importer.

Keys set the command that is wanted; a thread replays up to it and hands back facts, and what came in between is not
shown. A second thread reads the timeline, a third order tokens. None is waited for when the screen ends. What stands
where is decided in ``cli.inspect.panes``.
"""

import asyncio
import contextlib
import io
import queue
import signal
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar, Final

from rich.text import Text
from textual.app import App, ComposeResult
from textual.binding import Binding
from textual.containers import VerticalScroll
from textual.screen import ModalScreen
from textual.widgets import Input, Static

from cli import errors
from cli.inspect.panes import HELP, Facts, Line, Side, page
from cli.inspect.search import Search, unseen
from cli.inspect.view import texts_of, view, with_words
from cli.questions.tokens import TokensBeside
from cli.warmup import ready
from engine.bounds import DAY_NS
from engine.names import Directory
from replay.timeline import Timeline
from replay.walk import Stopped, Walk

#: Look of each style of a line, where colors are wanted.
_LOOKS: Final = {
    "head": "bold",
    "note": "dim",
    "bad": "bold red",
    "own": "bold cyan",
    "bar": "green",
}
_LOOK_S: Final = 1.0


class TextPage(ModalScreen[None]):
    """A page of text over the screen; the keys with arrows scroll it."""

    AUTO_FOCUS = "VerticalScroll"
    BINDINGS: ClassVar = [("escape,q,question_mark", "dismiss", "Close")]
    CSS = "TextPage { align: center middle; } TextPage > VerticalScroll { width: 96%; height: 92%; border: solid; }"

    def __init__(self, text: str) -> None:
        super().__init__()
        self.text = text

    def compose(self) -> ComposeResult:
        """The page."""
        with VerticalScroll():
            yield Static(Text(self.text))


class Inspector(App[None]):
    """The screen. ``directories``: one, or two to be seen beside each other. ``difference``: where the two first
    differ, and a sentence about it. ``ended_by``: the signal that ended it, 0 for none."""

    ENABLE_COMMAND_PALETTE = False
    AUTO_FOCUS = None
    CSS = """
    Screen { background: ansi_default; color: ansi_default; overflow: hidden; }
    #page { width: 100%; height: 100%; background: ansi_default; color: ansi_default; }
    #entry { dock: bottom; height: 1; border: none; padding: 0; display: none; background: ansi_default;
             color: ansi_default; }
    #entry:focus { border: none; }
    #entry.open { display: block; }
    VerticalScroll { background: ansi_default; color: ansi_default; }
    """
    BINDINGS: ClassVar = [
        Binding("ctrl+c", "quit", priority=True),
        Binding("ctrl+z", "suspend_process", priority=True),
        Binding("q", "quit"),
        Binding("right,l", "step(1)"),
        Binding("left,h", "step(-1)"),
        Binding("pagedown", "step(100)"),
        Binding("pageup", "step(-100)"),
        Binding("right_square_bracket", "step(10000)"),
        Binding("left_square_bracket", "step(-10000)"),
        Binding("home", "first"),
        Binding("end", "last"),
        Binding("g", "type('go to')"),
        Binding("slash", "type('find')"),
        Binding("n", "match(1)"),
        Binding("N", "match(-1)"),
        Binding("m", "mark(1)"),
        Binding("M", "mark(-1)"),
        Binding("i", "instrument"),
        Binding("I", "own_instrument"),
        Binding("e", "events"),
        Binding("w", "why"),
        Binding("f", "follow"),
        Binding("d", "difference"),
        Binding("question_mark", "help"),
        Binding("escape", "close"),
    ]

    def __init__(
        self, directories: list[Path], seq: int, *, difference: tuple[int, str] | None = None, colored: bool = True
    ) -> None:
        super().__init__(ansi_color=True)
        self._walks = [Walk(each, ready) for each in directories]
        self._tokens = [TokensBeside(each, what="") for each in directories]
        self._directories, self._colored, self._difference = directories, colored, difference
        self._wanted = seq
        self._last_seqs = [walk.last_seq() for walk in self._walks]
        self._first_seq = max(walk.first_seq() for walk in self._walks)
        self._facts: list[Facts | None] = [None for _ in directories]
        self._faults = ["" for _ in directories]
        self._status = Line(difference[1] if difference else "", "head")
        self._symbol: str | None = None
        self._follows = False
        self._typed = ""
        self._search: Search | None = None
        self._day: Timeline | None = None
        self._jobs: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._undone = 0
        self._events_loop: asyncio.AbstractEventLoop | None = None
        self._ended = threading.Event()
        self._day_due = threading.Event()
        self._tokens_due = threading.Event()
        self.ended_by = 0
        self._page, self._entry = Static(id="page"), Input(id="entry")

    def compose(self) -> ComposeResult:
        """One page, and a line to type in."""
        yield self._page
        yield self._entry

    def on_mount(self) -> None:
        """Start the threads."""
        self.set_focus(None)
        self._events_loop = asyncio.get_running_loop()
        if threading.current_thread() is threading.main_thread() and not self.is_headless:
            for each in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
                self._events_loop.add_signal_handler(each, self._end_by, int(each))
        for work in (self._work, self._read_days, self._read_tokens):
            threading.Thread(target=work, daemon=True).start()
        self.set_interval(_LOOK_S, lambda: self._ask(self._look))
        self._go(self._wanted)

    def _end_by(self, number: int) -> None:
        self.ended_by = number
        self.exit()

    def on_unmount(self) -> None:
        """Tell the threads."""
        self._ended.set()
        self._day_due.set()
        self._tokens_due.set()

    # In the threads.

    def _ask(self, job: Callable[[], None]) -> None:
        self._undone += 1
        self._jobs.put(job)

    def _done(self) -> None:
        self._undone -= 1

    @property
    def settled(self) -> bool:
        """True while nothing is asked for that was not done."""
        return self._undone == 0

    def _work(self) -> None:
        while not self._ended.is_set():
            job = self._jobs.get()
            try:
                job()
            except Stopped:
                pass
            except Exception as error:  # any sentence belongs on the screen, and a defect too
                self._tell(self._say, errors.sentence(error)[0], "bad")
            finally:
                self._tell(self._done)

    def _tell(self, call: Callable[..., Any], *values: Any) -> None:
        """Have something called in the thread of the screen, if that is still there."""
        if self._events_loop is not None and not self._ended.is_set():
            with contextlib.suppress(RuntimeError):  # the loop was closed a moment ago
                self._events_loop.call_soon_threadsafe(self.call_later, call, *values)

    def _replay(self) -> None:
        """Bring all directories to the command that is wanted."""
        wanted, symbol = self._wanted, self._symbol
        facts: list[Facts | None] = []
        faults: list[str] = []

        def stopped() -> bool:
            return self._wanted != wanted or self._ended.is_set()

        for walk, before, tokens in zip(self._walks, self._facts, self._tokens, strict=True):
            try:
                moment = walk.at(wanted, stopped)
                seen = view(moment, symbol, before["symbol"] if before else None)
                facts.append(with_words(seen, tokens.shown))
                if tokens.lacks(texts_of(seen), moment.seq):
                    self._tokens_due.set()  # shown once more when they are known
                faults.append(walk.divergence)
            except Stopped:
                raise
            except Exception as error:  # shown in the place of what it kept from being shown
                facts.append(None)
                faults.append(errors.sentence(error)[0])
        self._tell(self._shown, facts, faults)

    def _look(self) -> None:
        """Look for commands that came since."""
        self._tell(self._grown, [walk.last_seq() for walk in self._walks])

    def _read_days(self) -> None:
        while not self._ended.is_set():
            self._day_due.wait()
            self._day_due.clear()
            day = self._day
            if day is None:
                continue
            try:
                day.read(lambda day=day: self._ended.is_set() or self._progress(day))  # type: ignore[misc]
            except Stopped:
                continue
            except Exception as error:  # shown below what the timeline has so far
                day.fault = errors.sentence(error)[0]
            self._tell(self._draw)

    def _read_tokens(self) -> None:
        """Read the order tokens of the journals where the screen shows an id whose token is not known."""
        while not self._ended.is_set():
            self._tokens_due.wait()
            self._tokens_due.clear()
            try:
                for tokens in self._tokens:
                    tokens.read()
            except Exception as error:  # the ids stay as they are
                self._tell(self._say, errors.sentence(error)[0], "bad")
                return
            self._tell(self._ask, self._replay)

    def _progress(self, day: Timeline) -> bool:
        """Show a day that is read in part; True if another is wanted by now."""
        self._tell(self._draw)
        return self._day is not day

    # On the screen.

    def _shown(self, facts: list[Facts | None], faults: list[str]) -> None:
        self._facts = [new or None for new in facts]
        self._faults = faults
        first = facts[0]
        if first is not None:
            if len(facts) == 1 and self._wanted == first["first_seq"]:
                self._wanted = first["seq"]
            day_ns = first["time_ns"] - first["time_ns"] % DAY_NS
            if self._day is None or (self._day.day_ns != day_ns and first["time_ns"]):
                self._day = Timeline(self._directories[0], first["time_ns"], ready)
                self._day_due.set()
        self._draw()

    def _grown(self, last_seqs: list[int]) -> None:
        if last_seqs == self._last_seqs:
            return
        self._last_seqs = last_seqs
        self._day_due.set()
        if self._follows:
            self._go(self._top)
        self._draw()

    def _say(self, text: str, style: str = "note") -> None:
        self._status = Line(text, style)
        self._draw()

    @property
    def _top(self) -> int:
        """The last command that may be shown."""
        return max(self._last_seqs)

    def rows(self) -> list[list[Line]]:
        """Content of the screen, row by row."""
        names = [str(each) for each in self._directories]
        sides = [
            Side(name, facts, last_seq, fault)
            for name, facts, last_seq, fault in zip(names, self._facts, self._last_seqs, self._faults, strict=True)
        ]
        fault = next((each for each in self._faults if each), "")
        status = self._status if self._status.text or not fault else Line(fault, "bad")
        state = "following" if self._follows else ""
        return page(sides, self._day, status, state, self.size.width, self.size.height)

    def _draw(self) -> None:
        text = Text(no_wrap=True, end="")
        for number, row in enumerate(self.rows()):
            text.append("\n" if number else "")
            for piece in row:
                text.append(piece.text, _LOOKS.get(piece.style, "") if self._colored else "")
        if self._page.is_attached:  # it is gone at the end
            self._page.update(text)

    def on_resize(self) -> None:
        """Draw anew, once the window has its new size: textual takes it over behind this call."""
        self.call_later(self._draw)

    def _go(self, seq: int) -> None:
        seq = max(self._first_seq, min(seq, self._top))
        self._wanted = seq
        self._ask(self._replay)

    # Keys.

    def action_step(self, commands: int) -> None:
        """Step forward or back."""
        self._follows, self._status = False, Line("")
        at = self._wanted
        facts = self._facts[0]
        if commands == -1 and facts is not None and facts["seq"] == at:
            at = facts["first_seq"]  # an EXTEND row is no step of its own
        self._go(at + commands)

    def action_first(self) -> None:
        """Go to the first command."""
        self._follows, self._status = False, Line("")
        self._go(self._first_seq)

    def action_last(self) -> None:
        """Go to the last command."""
        self._status = Line("")
        self._go(self._top)

    def action_follow(self) -> None:
        """Stay at the newest command, or not any more."""
        self._follows = not self._follows
        self._status = Line("")
        if self._follows:
            self._go(self._top)
        self._draw()

    def action_difference(self) -> None:
        """Go to the first difference."""
        if self._difference is None:
            self._say("one directory is on the screen: `lockstep inspect A B` shows where two differ")
            return
        self._follows, self._status = False, Line(self._difference[1], "head")
        self._go(self._difference[0])

    def action_instrument(self) -> None:
        """Show the book of the next instrument, and keep it."""
        facts = self._facts[0]
        if facts is None or not facts["symbols"]:
            return
        symbols = facts["symbols"]
        at = symbols.index(facts["symbol"]) + 1 if facts["symbol"] in symbols else 0
        self._symbol = symbols[at % len(symbols)]
        self._say(f"the book of {self._symbol} is kept; I shows that of the command again")
        self._go(self._wanted)

    def action_own_instrument(self) -> None:
        """Show the book of the command's instrument again."""
        self._symbol, self._status = None, Line("")
        self._go(self._wanted)

    def action_mark(self, way: int) -> None:
        """Go to the next or previous mark of the timeline."""
        marks = self._day.marks if self._day is not None else []
        beyond = [mark for mark in list(marks) if (mark.seq - self._wanted) * way > 0]
        if not beyond:
            self._say(f"no {'later' if way > 0 else 'earlier'} mark in this day")
            return
        mark = beyond[0] if way > 0 else beyond[-1]
        self._follows, self._status = False, Line(f"{mark.letter}: {mark.text}", "head")
        self._go(mark.seq)

    def action_type(self, what: str) -> None:
        """Open the line to type in."""
        self._typed = what
        entry = self._entry
        entry.value = ""
        entry.placeholder = (
            "go to a sequence number or a time, then Enter" if what == "go to" else "order, participant, symbol, time"
        )
        entry.add_class("open")
        entry.focus()

    def action_close(self) -> None:
        """Close the line to type in."""
        self._entry.remove_class("open")
        self.set_focus(None)

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Search for what was typed."""
        self.action_close()
        text = event.value.strip()
        if not text:
            return
        if self._typed == "go to" and "=" not in text:
            text = f"{'seq' if text.isdigit() else 'time'}={text}"
        self._say(f"looking for {text}")
        names = self._names()
        self._ask(lambda: self._begin_search(text, names))

    def _names(self) -> Directory:
        facts = self._facts[0]
        return facts["names"] if facts is not None else Directory()

    def _begin_search(self, text: str, names: Directory) -> None:
        search = Search(self._directories[0], text, names)
        if search.place is not None:
            self._tell(self._found, search.place, "")
            return
        self._search = search
        self._match(1, or_before=True)

    def action_match(self, way: int) -> None:
        """Go to the next or previous match of the search."""
        if self._search is None:
            self._say("nothing was searched for: / does")
            return
        self._say(f"looking for {self._search.text}")
        self._ask(lambda: self._match(way))

    def _match(self, way: int, *, or_before: bool = False) -> None:
        search = self._search
        assert search is not None, "it was searched for"
        seq = self._wanted
        found = search.after(seq) if way > 0 else search.before(seq, self._first_seq)
        note = ""
        if found is None and or_before:
            found, note = search.before(seq + 1, self._first_seq), "; none is later"
        if found is None:
            where = "later" if way > 0 else "earlier"
            self._tell(self._say, f"{search.text}: no {where} command")
        else:
            self._tell(self._found, found, f"{search.text}{note}; n and N for the next and the one before")

    def _found(self, seq: int, text: str) -> None:
        self._follows = False
        self._status = Line(text, "note")
        self._go(seq)

    def action_events(self) -> None:
        """Show all events of the command."""
        for number, facts in enumerate(self._facts):
            if facts is not None and number == 0:
                self.push_screen(TextPage("\n".join([*facts["command"], "", *facts["event_lines"]])))

    def action_why(self) -> None:
        """Explain the command."""
        self._say("explaining the command")
        self._ask(self._explain)

    def _explain(self) -> None:
        from cli.questions.why import why

        said = io.StringIO()
        with unseen(), contextlib.redirect_stdout(said):
            why(self._directories[0], self._wanted, None, None)
        self._tell(self._say, "")
        self._tell(self.push_screen, TextPage(said.getvalue()))

    def action_help(self) -> None:
        """Show the keys."""
        self.push_screen(TextPage(HELP))
