"""Tables for `lockstep top` of what works in a node: processes, agents, readers of the tape, rings, local clients."""

from collections.abc import Iterator, Mapping
from typing import Any, Final, NamedTuple

from cli import screen
from cli.operating.status import duration

Row = Mapping[str, Any]
_NONE: Final = "-"


class Table(NamedTuple):
    """A table: heads with True for a column of numbers, and rows of text."""

    heads: tuple[tuple[str, bool], ...]
    rows: list[list[str]]

    @property
    def lines(self) -> int:
        """Lines that it takes, with its heads and an empty line before them."""
        return len(self.rows) + 2


def tables(now: Row, before: Row | None = None, apart_s: float = 0.0) -> Iterator[Table]:
    """Tables of a report (``node.core.control.WORKINGS_KEYS``), those without rows left out.

    before: the report ``apart_s`` earlier, for the share of its time that an agent is busy; None: since the start.
    """
    for each in (_processes(now), _agents(now, before, apart_s), _readers(now), _rings(now), _lines(now)):
        if each.rows:
            yield each


def tape_line(report: Row) -> str:
    """The tape in a line."""
    tape = report["tape"]
    if tape is None:
        return "no tape"
    words = ", ".join(
        f"{name} {screen.count(tape[f'{name}_seq'])}" for name in ("applied", "journaled", "replicated", "released")
    )
    return f"tape {screen.size(tape['ring_bytes'])}, written {screen.size(tape['written_bytes'])}: {words}"


def summary(report: Row) -> str:
    """Processes in a few words, for a line of a log.

    >>> row = {"state": "running", "restarts": 0}
    >>> summary({"processes": [row, row]}), summary({"processes": [row, row | {"state": "waiting", "restarts": 2}]})
    ('2 processes', '2 processes, 1 NOT RUNNING, 2 restarts')
    >>> summary({"processes": [row, row | {"state": "not answering"}, row | {"state": "starting"}]})
    '3 processes, 1 STARTING, 1 NOT ANSWERING'
    """
    processes = report["processes"]
    restarts = sum(each["restarts"] for each in processes)
    words = [screen.counted(len(processes), "process", "processes")]
    for state, said in (("waiting", "NOT RUNNING"), ("starting", "STARTING"), ("not answering", "NOT ANSWERING")):
        count = sum(each["state"] == state for each in processes)
        words += [f"{count} {said}"] if count else []
    words += [screen.counted(restarts, "restart")] if restarts else []
    return ", ".join(words)


def process_words(process: Row) -> str:
    """A process of a node in words.

    >>> process_words({"pid": 7, "state": "running", "restarts": 1}), process_words({"pid": None, "state": "waiting",
    ...     "restarts": 3, "reason": "it ended with status 2"})
    ('pid 7, running, 1 restart', 'waiting, 3 restarts: it ended with status 2')
    """
    words = [f"pid {process['pid']}"] if process["pid"] else []
    words.append(process["state"])
    if process["restarts"]:
        words.append(screen.counted(process["restarts"], "restart"))
    return ", ".join(words) + (f": {process['reason']}" if process.get("reason") else "")


def _processes(now: Row) -> Table:
    heads = (
        ("process", False),
        ("pid", True),
        ("port", True),
        ("state", False),
        ("restarts", True),
        ("cpu", True),
        ("memory", True),
    )
    rows = [
        [
            str(each["process"]),
            str(each["pid"] or _NONE),
            str(each["port"] or _NONE),
            str(each["state"]),
            screen.count(each["restarts"]),
            duration(round(each["cpu_s"] * 1e9)),
            screen.size(each["memory_rss_bytes"]) if each["pid"] else _NONE,
        ]
        for each in now["processes"]
    ]
    return Table(heads, rows)


def _agents(now: Row, before: Row | None, apart_s: float) -> Table:
    heads = (("agent", False), ("of", False), ("turns", True), ("work", True), ("busy", True), ("share", True))
    earlier = {(each["process"], each["agent"]): each for each in before["agents"]} if before else {}
    up_s = {each["process"]: each["up_s"] for each in now["processes"]}
    rows = []
    for each in now["agents"]:
        busy_s, last = each["busy_s"], earlier.get((each["process"], each["agent"]))
        share = _NONE
        if busy_s is not None:
            over_s = apart_s if last is not None else up_s.get(each["process"], 0.0)
            spent_s = busy_s - (last["busy_s"] or 0.0 if last is not None else 0.0)
            share = f"{100 * max(spent_s, 0.0) / over_s:.1f} %" if over_s > 0 else _NONE
        busy = _NONE if busy_s is None else duration(round(busy_s * 1e9))
        counts = screen.count(each["turns"]), screen.count(each["worked"])
        rows.append([str(each["agent"]), str(each["process"]), *counts, busy, share])
    return Table(heads, rows)


def _readers(now: Row) -> Table:
    rows = [[str(each["reader"]), str(each["pid"] or _NONE), screen.size(each["lag_bytes"])] for each in now["readers"]]
    heads = (("reader of the tape", False), ("pid", True), ("behind", True))
    return Table(heads, rows)


def _rings(now: Row) -> Table:
    rows = [
        [
            str(each["ring"]),
            f"{screen.count(each['waiting_rows'])} of {screen.count(each['size_rows'])}",
            screen.count(each["messages"]),
            screen.count(each["refused"]),
            _NONE if each["waits"] is None else screen.count(each["waits"]),
        ]
        for each in now["rings"]
    ]
    heads = (("ring", False), ("rows waiting", True), ("messages", True), ("refused", True), ("times full", True))
    return Table(heads, rows)


def _lines(now: Row) -> Table:
    rows = [
        [
            str(each["line"]),
            str(each["user"] or _NONE),
            f"{screen.size(each['in_waiting_bytes'])} of {screen.size(each['ring_bytes'])}",
            screen.size(each["out_waiting_bytes"]),
        ]
        for each in now["lines"]
    ]
    return Table((("local line", False), ("user", False), ("in, waiting", True), ("out, waiting", True)), rows)
