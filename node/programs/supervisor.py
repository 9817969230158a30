"""Supervisor of the programs of a node: it starts each, starts again one that ends, and ends them with the node.

It is the Python side of the core's own process, beside the compiled loop (ADR 37). So the process that systemd, the
death watch and the operator know is that of the market, and the dependence goes one way: the system kills a program as
soon as the core is dead (``node.programs.launch``), and no end of a program ends the core.

A program reports about itself by JSON objects on its standard output, one a line, and logs to its standard error. Both
are pipes to here: a line of the log becomes one of the node's, with the program's name; text that is no JSON is taken
for a complaint. Its standard input is a pipe that closes when the node ends it; then comes SIGTERM.

One that ends by itself is started again after ``FIRST_PAUSE_S``, twice that the next time and so on; one that has run
for ``STEADY_S`` begins anew. The log says so once, until it serves again; of what the program logs meanwhile it has all
but lines that an earlier life has logged already. A program that reports where it listens serves from then on, another
one once it has run for ``STEADY_S``. One that serves and has reported nothing for ``SILENT_S`` does not answer: it is
stopped, or hangs.
"""

import asyncio
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any, Final

from node.programs.child_lines import ChildLines, object_of_line
from node.programs.logs import Log
from replay.forking import PROCESSORS

#: Pause before the first start after an end, and the longest, in seconds; each is twice the one before.
FIRST_PAUSE_S: Final = 0.1
PAUSE_MAX_S: Final = 10.0
#: Time after which a program counts as one that runs, in seconds.
STEADY_S: Final = 5.0
#: Time after which a program that reports each second and is silent counts as one that does not answer, in seconds.
SILENT_S: Final = 5.0
#: Longest time between two looks at the programs that is no pause of the node itself, in seconds.
_LOOK_S_MAX: Final = 2.0
#: Time for a program to end in order, and for one that was killed to be gone, in seconds.
END_S: Final = 5.0
GONE_S: Final = 1.0
ROOT: Final = Path(__file__).resolve().parent.parent.parent
#: Keys of what a program reports about itself; others are left out.
REPORTED: Final = ("listening", "figures", "agents", "rings")
_COMPLAINT_CHARACTERS_MAX: Final = 400
#: Lines of the lives of a program that are known again at most, and what one has of its moment and not of its sense.
_SAID_MAX: Final = 256
_MOMENT: Final = frozenset({"time", "pid"})


class State(StrEnum):
    """State of a supervised program."""

    RUNNING = "running"
    #: It runs, and does not serve yet.
    STARTING = "starting"
    #: It runs, and has reported nothing for a while.
    SILENT = "not answering"
    #: It has ended and is started again after a pause.
    WAITING = "waiting"
    #: It has done its work, or was ended.
    ENDED = "ended"


@dataclass(frozen=True)
class Program:
    """A program of a node.

    command: as for exec, with absolute paths. given: first bytes on its standard input. lends: descriptors that it has
    under the same numbers. restarts: it is started again whenever it ends by itself; else ``on_end`` is called with its
    exit status (below zero: a signal) and its last complaint. without: what the market's users lack while it does not
    run, for the operator. order: programs of a higher one end before those of a lower. patience_s: time for it to end
    by itself once its input has closed, before SIGTERM. named: the operator has asked for it. reports: it reports where
    it listens, and then about itself each second (``node.programs.report``). environment: variables beside those of the
    node. on_start: called at each start. on_line:
    takes lines of its standard output that are no JSON objects.
    """

    name: str
    command: tuple[str, ...]
    without: str = ""
    restarts: bool = True
    given: bytes = b""
    lends: tuple[int, ...] = ()
    nice: int = 0
    cpus: frozenset[int] = frozenset()
    order: int = 0
    patience_s: float = 0.0
    named: bool = False
    reports: bool = False
    environment: tuple[tuple[str, str], ...] = ()
    on_start: Callable[[], None] = lambda: None
    on_line: Callable[[bytes], None] = lambda _: None
    on_end: Callable[[int, str], None] = lambda _status, _complaint: None


@dataclass
class Supervised:
    """A program of the table, with what became of it. ``report``: what it said about itself last, by key."""

    program: Program
    _log: Log
    state: State = State.WAITING
    starts: int = 0
    why: str = ""  # of its last end
    report: dict[str, Any] = field(default_factory=dict)
    since_s: float = 0.0  # of its last start, monotonic
    heard_s: float = 0.0  # of its last report

    def __post_init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._process: subprocess.Popen[bytes] | None = None
        self._pidfd = -1
        self._lines: list[ChildLines] = []
        self._complaint = ""
        self._early = 0  # ends before it ran steadily, one after the other
        self._told_end = False  # the log has its end, and not that it serves again
        self._ending = False
        self._ends_for = ""  # reason for which it is not started again; "": it is
        self._said: dict[str, None] = {}  # lines of this life, the last of them, without what is of their moment
        self._said_before: dict[str, None] = {}  # those of earlier lives, since it ran steadily
        self._timer: asyncio.TimerHandle | None = None
        self.gone = asyncio.Event()

    @property
    def pid(self) -> int:
        """Number of its process; 0 while there is none."""
        return 0 if self._process is None else self._process.pid

    @property
    def restarts(self) -> int:
        """Times that it was started again."""
        return max(self.starts - 1, 0)

    @property
    def is_failing(self) -> bool:
        """True from an end until it serves again."""
        return self._told_end or self.state is State.WAITING

    def start(self) -> None:
        """Start its process. One that cannot be made counts as one that ended at once."""
        self._timer = None
        if self._ending or self._ends_for:
            return
        self.starts += 1
        self.since_s = time.monotonic()
        self._complaint, self.report = "", {}
        self._said_before, self._said = _last(self._said_before | self._said), {}
        own = self.program
        cpus = ",".join(map(str, sorted(own.cpus or PROCESSORS)))
        first = [sys.executable, "-m", "node.programs.launch", str(os.getpid()), str(own.nice), cpus]
        try:
            # From this thread: the system's order to kill it is bound to the thread that made it.
            process = subprocess.Popen(
                [*first, *own.command],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                cwd=ROOT,
                start_new_session=True,  # Ctrl-C is the node's
                pass_fds=own.lends,
                env=os.environ | dict(own.environment),
            )
        except OSError as error:
            self._on_end(f"no process could be started: {(error.strerror or str(error)).lower()}")
            return
        self._process, self.state = process, State.STARTING if own.reports else State.RUNNING
        self.gone.clear()
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        with suppress(OSError):  # it may have ended
            process.stdin.write(own.given)
            process.stdin.flush()
        self._lines = [ChildLines(process.stdout, self._on_report), ChildLines(process.stderr, self._on_log)]
        self._pidfd = os.pidfd_open(process.pid)
        self._loop.add_reader(self._pidfd, self._on_exit)
        if own.restarts:
            self._timer = self._loop.call_later(STEADY_S, self._on_steady)
        own.on_start()

    def _on_report(self, line: bytes) -> None:
        said = object_of_line(line)
        if said is None:
            self.program.on_line(line)
        else:
            self.report |= {key: value for key, value in said.items() if key in REPORTED}
            self._on_heard()

    def _on_log(self, line: bytes) -> None:
        said = object_of_line(line)
        if said is None:
            text = line.decode(errors="replace").strip()
            self._complaint = text[:_COMPLAINT_CHARACTERS_MAX] or self._complaint
            if text and self.program.restarts and self._is_news(text):
                say = self._log.warning if self.program.named else self._log.info
                say("a program said", process=self.program.name, text=text)
        elif self._is_news(json.dumps({key: value for key, value in said.items() if key not in _MOMENT})):
            self._log.pass_on(self.program.name, said)

    def _is_news(self, line: str) -> bool:
        """False for a line that an earlier life has logged, where the program ends again and again."""
        line = line[:_COMPLAINT_CHARACTERS_MAX]
        self._said.pop(line, None)
        self._said[line] = None
        if len(self._said) > _SAID_MAX:
            del self._said[next(iter(self._said))]
        return not self._early or line not in self._said_before

    def _on_heard(self) -> None:
        """Note that the program has reported."""
        self.heard_s = time.monotonic()
        if self.state is State.STARTING and "listening" in self.report:
            self.state = State.RUNNING
            self._on_serving()
        elif self.state is State.SILENT:
            self.state = State.RUNNING
            self._log.info("a program answers again", process=self.program.name, pid=self.pid)

    def _on_serving(self) -> None:
        if self._told_end:
            self._told_end = False
            self._log.info("a program runs again", process=self.program.name, pid=self.pid, restarts=self.restarts)

    def _on_steady(self) -> None:
        self._timer = None
        if self.state is State.STARTING:  # it may take long, or fail yet
            self._timer = self._loop.call_later(STEADY_S, self._on_steady)
            return
        self._said_before, self._early = {}, 0
        self._on_serving()

    def look(self, away_s: float) -> None:
        """Find whether it has been silent for too long. away_s: time for which the node itself stood still."""
        self.heard_s += away_s
        if self.program.reports and self.state is State.RUNNING and time.monotonic() - self.heard_s > SILENT_S:
            self.state = State.SILENT
            then = f"{self.program.without or 'it is waited for'}; if it goes on so, end process {self.pid}"
            self._log.warning("a program does not answer", process=self.program.name, pid=self.pid, then=then)

    def _on_exit(self) -> None:
        """Note that the process has ended."""
        process = self._process
        if process is None or process.poll() is None:
            return
        self._leave()
        own, complaint = self.program, self._complaint
        if not own.restarts or self._ending or self._ends_for:
            self.state = State.ENDED
            self.why = _why(process.returncode, complaint)
            self.gone.set()
            self._told_end = False
            if self._ends_for and not self._ending:
                self._early = 0
                then = f"it is not started again: {self._ends_for}"
                self._log.warning("a program ended", process=own.name, why=self.why, then=then)
            if not self._ending:
                own.on_end(process.returncode, complaint)
            return
        self._on_end(_why(process.returncode, complaint))

    def _on_end(self, why: str) -> None:
        """Start it again after a pause, and say so once."""
        self.state, self.why = State.WAITING, why
        self.gone.set()
        own = self.program
        if not own.restarts:
            self.state = State.ENDED
            own.on_end(1, why)
            return
        if not self._told_end:
            self._told_end = True
            then = f"it is started again{f'; {own.without} until then' if own.without else ''}"
            self._log.warning("a program ended", process=own.name, why=why, then=then)
        pause_s = min(FIRST_PAUSE_S * 2 ** min(self._early, 30), PAUSE_MAX_S)
        self._early += 1
        own.on_end(0, why)
        self._timer = self._loop.call_later(pause_s, self.start)

    def _leave(self) -> None:
        """Give up what belongs to a process that has ended."""
        process, self._process = self._process, None
        if process is None:
            return
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
            if self.state is not State.STARTING and time.monotonic() - self.since_s >= STEADY_S:
                self._early = 0
        self._loop.remove_reader(self._pidfd)
        os.close(self._pidfd)
        for each in self._lines:
            each.close()
        if process.stdin is not None:
            with suppress(OSError):
                process.stdin.close()

    def start_no_more(self, why: str) -> None:
        """Let it run, and do not start it again once it ends, for a reason in words. May be repeated."""
        self._ends_for = why
        if self.state is State.WAITING:
            if self._timer is not None:
                self._timer.cancel()
                self._timer = None
            self._early, self._told_end = 0, False
            self.state = State.ENDED

    def close_input(self) -> None:
        """Have it end by itself, and not be started again. May be repeated."""
        self._ending = True
        if self._process is None:
            if self._timer is not None:
                self._timer.cancel()
            self.state = State.ENDED
            self.gone.set()
        elif self._process.stdin is not None:
            with suppress(OSError):
                self._process.stdin.close()

    def ask_to_end(self) -> None:
        """Have it end in order, and not be started again. May be repeated."""
        self.close_input()
        if self._process is not None:
            self._process.terminate()

    def kill(self) -> None:
        """End it at once, and wait until it is gone, ``GONE_S`` at most. May be repeated."""
        self.ask_to_end()
        process = self._process
        if process is None:
            return
        process.kill()
        with suppress(subprocess.TimeoutExpired):  # a process in a call to a disk that hangs ends when that does
            process.wait(GONE_S)
        self._leave()
        self.state = State.ENDED
        self.gone.set()


class Supervisor:
    """Table of the programs of a node. Make it on a running event loop, in the main thread."""

    def __init__(self, log: Log) -> None:
        self._log = log
        self._table: dict[str, Supervised] = {}
        self._closed = False
        self._looked_s = time.monotonic()

    def start(self, program: Program) -> Supervised:
        """Start a program, in the place of an earlier one of its name that has ended."""
        before = self._table.get(program.name)
        if before is not None and before.pid:
            raise ValueError(f"the program {program.name} runs already")
        made = Supervised(program, self._log)
        if before is not None:
            before.ask_to_end()
            if not program.restarts:
                made.starts = before.starts
        self._table[program.name] = made
        if not self._closed:
            made.start()
        return made

    def __iter__(self) -> Iterator[Supervised]:
        return iter(self._table.values())

    def look(self) -> None:
        """Look for programs that do not answer; call it about once a second."""
        before_s, self._looked_s = self._looked_s, time.monotonic()
        passed_s = self._looked_s - before_s
        for each in self:
            each.look(passed_s if passed_s > _LOOK_S_MAX else 0.0)

    def warnings(self) -> list[str]:
        """A sentence for each program that ends again and again, or does not run, or does not answer."""
        return [*filter(None, map(_warning, self))]

    async def stop(self) -> None:
        """End all programs in order, those of the highest ``order`` first; one that does not end in time is killed."""
        self._closed = True
        for order in sorted({each.program.order for each in self}, reverse=True):
            ending = [each for each in self if each.program.order == order]
            for each in ending:
                each.close_input()
            await _all_gone(ending, max(each.program.patience_s for each in ending))
            for each in ending:
                each.ask_to_end()
            await _all_gone(ending, END_S)
            for each in ending:
                if each.pid:
                    self._log.warning("a program did not end in time and was killed", process=each.program.name)
                    each.kill()

    def close(self) -> None:
        """End all programs at once. May be repeated."""
        self._closed = True
        for each in self:
            each.kill()


def _warning(each: Supervised) -> str:
    """Sentence on a program for its operator; "": there is nothing to say."""
    own = each.program
    if each.state is State.SILENT:
        then = f"; {own.without} meanwhile" if own.without else ""
        return f"the program {own.name} does not answer{then}: end process {each.pid}, and it is started again"
    if each.is_failing and each.why:
        then = f"; {own.without} until then" if own.without else ""
        return f"the program {own.name} has ended and is started again: {each.why}{then}"
    return ""


async def _all_gone(ending: list[Supervised], seconds: float) -> None:
    """Wait until all have ended, so long at most."""
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            for each in ending:
                await each.gone.wait()


def _last(lines: dict[str, None]) -> dict[str, None]:
    """The last ``_SAID_MAX`` of them."""
    return dict.fromkeys(list(lines)[-_SAID_MAX:])


def _why(status: int, complaint: str) -> str:
    """The end of a process in words.

    >>> _why(-9, ""), _why(2, "there is no tape")
    ('signal 9 ended it', 'it ended with status 2: there is no tape')
    """
    how = f"signal {-status} ended it" if status < 0 else f"it ended with status {status}"
    return f"{how}: {complaint}" if complaint else how


def process_figures(pid: int) -> Mapping[str, float]:
    """CPU time in seconds and resident memory in bytes of a process; none of one that is gone."""
    try:
        words = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
    except OSError:
        return {}
    ticks, pages = int(words[11]) + int(words[12]), int(words[21])
    return {"cpu_s": ticks / os.sysconf("SC_CLK_TCK"), "memory_rss_bytes": pages * os.sysconf("SC_PAGE_SIZE")}
