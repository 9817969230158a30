"""Latency of commands, from the moment their bytes were received: `lockstep latency`, and `lockstep order --latency`.

A node records the moments of each turn in DIR/latencies (``gateway.latency_log``) and when bytes were received in
DIR/arrivals. Where the arrival of a command is not known any more, the moment at which its turn began to read counts.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from cli import errors, screen
from cli.errors import WrongUse
from cli.questions.reading import check_name, check_whole, rebuilt_at
from engine.records import COMMAND, CommandKind
from gateway.latency_log import COMMAND_TIMES, Latencies
from journal import Journal
from journal.history import History
from notation.fix_marks import is_mark
from notation.moments import plain_time
from notation.words import iso_time, there_are
from replay.past import names_at_end
from replay.reigns import Reign, counted_by_reign, reigns

_ORDERS: Final = (CommandKind.ENTER, CommandKind.CANCEL, CommandKind.REPLACE)
#: Each stage with the moments at which it begins and ends.
STAGES: Final = (
    ("read", "received_ns", "read_ns"),
    ("sequenced", "read_ns", "sequenced_ns"),
    ("applied", "sequenced_ns", "applied_ns"),
    ("journaled", "sequenced_ns", "journaled_ns"),
    ("answered", "applied_ns", "answered_ns"),
    ("in all", "received_ns", "answered_ns"),
)
_MOMENTS: Final = ("read_ns", "sequenced_ns", "applied_ns", "journaled_ns", "answered_ns")
_PERCENTILES: Final = (("p50", 500), ("p90", 900), ("p99", 990), ("p999", 999))
#: Lines of a table at most; further ones are counted, and JSON has them.
_LINES_MAX: Final = 50
_NS_A_S: Final = 10**9

Facts = dict[str, Any]
#: Times of commands: COMMAND_TIMES, and when their bytes were received.
TIMES: Final = np.dtype([*COMMAND_TIMES.descr, ("received_ns", "<i8")])


@dataclass(frozen=True)
class Records:
    """Records of a directory that say when commands were received and what became of them when."""

    latencies: Latencies
    arrivals: NDArray[Any] = field(repr=False)

    @classmethod
    def read(cls, directory: Path) -> "Records":
        """Read all records. Raises WrongUse where there are none of latencies, SideFileError for a damaged file."""
        with Journal.open(directory, readonly=True) as journal:
            journal_id = journal.journal_id
        folder = directory / "latencies"
        if not folder.is_dir():
            raise WrongUse(f"there is no {folder}; a node writes it while it runs, unless it has --no-arrivals")
        from gateway.arrival_log import read_arrivals  # it loads the compiler

        arrived = [rows[["seq", "time_ns"]].copy() for rows in read_arrivals(directory / "arrivals", journal_id)]
        empty = np.zeros(0, [("seq", "<i8"), ("time_ns", "<i8")])
        return cls(Latencies.read(folder, journal_id), np.concatenate([empty, *arrived]))

    def of(self, seqs: NDArray[np.int64]) -> NDArray[Any]:
        """TIMES of commands; all are 0 where a command was not recorded."""
        found = np.zeros(len(seqs), TIMES)
        known = self.latencies.of(seqs)
        for name in COMMAND_TIMES.names or ():
            found[name] = known[name]
        found["received_ns"] = known["read_ns"]
        if len(self.arrivals):
            at = np.minimum(np.searchsorted(self.arrivals["seq"], seqs), len(self.arrivals) - 1)
            there = (self.arrivals["seq"][at] == seqs) & (known["read_ns"] > 0)
            # A clock that was set back between the two moments must not make a latency negative.
            found["received_ns"][there] = np.minimum(self.arrivals["time_ns"][at], known["read_ns"])[there]
        return found


def latency(
    directory: Path,
    span: tuple[int | None, int | None],
    participant: str | None,
    every_s: int | None,
    *,
    as_json: bool,
) -> int:
    """`lockstep latency`: print percentiles by stage, by participant, and with ``every_s`` by time."""
    check_name(participant, "participant")
    records = Records.read(directory)
    turns = records.latencies.turns
    if not len(turns):
        raise WrongUse(f"no command is recorded in {directory / 'latencies'} yet{_elsewhere(directory, *span)}")
    first_seq = max(span[0] or 1, int(turns["last_seq"][0] - turns["rows"][0]) + 1)
    last_seq = int(turns["last_seq"][-1]) if span[1] is None else span[1]
    names = _participants(directory)
    if participant is not None and participant not in names:
        raise WrongUse(f"there is no participant {participant} in {directory}; {there_are(names)}")
    seqs, owners = _orders(directory, first_seq, last_seq, 0 if participant is None else names.index(participant) + 1)
    times = records.of(seqs)
    known = times["read_ns"] > 0
    if not known.any():
        elsewhere = _elsewhere(directory, first_seq, last_seq)
        raise WrongUse(f"no order, cancel or replace of this range is recorded; give another range{elsewhere}")
    others = seqs[~known]
    times, owners = times[known], owners[known]

    def whose(number: int) -> str:
        return names[number - 1] if 0 < number <= len(names) else "nobody known"

    facts: Facts = {
        "from_seq": int(times["seq"][0]),
        "to_seq": int(times["seq"][-1]),
        "commands": len(times),
        "not_recorded": len(others),
        "not_recorded_under": [
            {"node": reign.node, "from_seq": reign.first_seq, "to_seq": reign.last_seq, "commands": count}
            for reign, count in counted_by_reign(_reigns(directory, first_seq, last_seq), others)
        ],
        "stages": [{"stage": stage} | _summary(_between(times, begin, end)) for stage, begin, end in STAGES],
        "participants": _groups(times, owners, "participant", whose),
        "times": None,
    }
    if every_s is not None:
        width_ns = every_s * _NS_A_S
        begins = times["received_ns"] // width_ns
        facts["times"] = _groups(times, begins, "from", lambda number: str(iso_time(number * width_ns)))
    if as_json:
        screen.print_json(facts)
    else:
        _show(facts)
    return errors.FINE


def _reigns(directory: Path, from_seq: int, to_seq: int) -> list[Reign]:
    with History.open(directory) as history:
        return reigns(history, from_seq, to_seq)


def _elsewhere(directory: Path, from_seq: int | None, to_seq: int | None) -> str:
    """Words behind a complaint on the nodes of a pair that were primary in a range; "" for a node without a pair."""
    with History.open(directory) as history:
        found = reigns(history, from_seq or 1, history.last_seq if to_seq is None else to_seq)
    nodes = sorted({each.node for each in found if each.node is not None})
    names = " and ".join(nodes)
    return (
        f"; {names} {'was' if len(nodes) == 1 else 'were'} primary then, whose directory has the times" if nodes else ""
    )


def _participants(directory: Path) -> tuple[str, ...]:
    """Names of the participants, in order of definition."""
    check_whole(directory)
    with History.open(directory) as history:
        names = names_at_end(history)
    return (names or rebuilt_at(directory, None).engine.directory).participants


def _orders(directory: Path, first_seq: int, last_seq: int, owner: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Numbers of the orders, cancels and replaces of a range, and the participant of each. ``owner``: 0 for all."""
    seqs, owners = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)]
    with History.open(directory) as history:
        last_seq = min(last_seq, history.last_seq)
        if first_seq > last_seq:
            return seqs[0], owners[0]
        history.check_there(first_seq, last_seq)
        for block in history.blocks(first_seq, last_seq):
            rows = np.frombuffer(block.rows, COMMAND)
            chosen = np.isin(rows["kind"], _ORDERS) & ~is_mark(rows)
            if owner:
                chosen &= rows["participant"] == owner
            at = np.flatnonzero(chosen)
            seqs.append(block.first_seq + at)
            owners.append(rows["participant"][at].astype(np.int64))
    found, of = np.concatenate(seqs), np.concatenate(owners)
    inside = (found >= first_seq) & (found <= last_seq)
    return found[inside], of[inside]


def _between(times: NDArray[Any], begin: str, end: str) -> NDArray[np.int64]:
    """Time from one moment to another of the commands that have both, ns."""
    both = (times[begin] > 0) & (times[end] > 0)
    found: NDArray[np.int64] = np.maximum(times[end][both] - times[begin][both], 0)
    return found


def _summary(ns: NDArray[np.int64]) -> Facts:
    """Number, percentiles and the highest of values; None where there are none."""
    ordered = np.sort(ns)
    count = len(ordered)
    found: Facts = {"commands": count}
    for word, thousandths in _PERCENTILES:  # the least value that so many do not exceed
        found[f"{word}_ns"] = int(ordered[max(-(-count * thousandths // 1_000) - 1, 0)]) if count else None
    return found | {"max_ns": int(ordered[-1]) if count else None}


def _groups(times: NDArray[Any], keys: NDArray[np.int64], word: str, told: Callable[[int], str]) -> list[Facts]:
    """Summary of the time from receipt to answer by key, rising, with the command that took longest."""
    order = np.argsort(keys, kind="stable")
    ordered = keys[order]
    cuts = np.flatnonzero(np.diff(ordered)) + 1
    found = []
    for at in np.split(order, cuts):
        ns = _between(times[at], "received_ns", "answered_ns")
        longest = int(np.argmax(times["answered_ns"][at] - times["received_ns"][at]))
        found.append({word: told(int(keys[at[0]]))} | _summary(ns) | {"longest_seq": int(times["seq"][at[longest]])})
    return found


def _show(facts: Facts) -> None:
    not_recorded = f", {screen.count(facts['not_recorded'])} others not recorded" if facts["not_recorded"] else ""
    counted = screen.counted(facts["commands"], "order, cancel or replace", "orders, cancels and replaces")
    span = f"commands {screen.count(facts['from_seq'])} to {screen.count(facts['to_seq'])}"
    screen.print_line(f"{counted} of {span}{not_recorded}; microseconds")
    for each in facts["not_recorded_under"]:
        reign = f"commands {screen.count(each['from_seq'])} to {screen.count(each['to_seq'])}"
        screen.print_line(
            f"of those not recorded {screen.count(each['commands'])} are of {reign}, when {_primary(each['node'])} was "
            "primary: its directory has their times"
        )
    columns = ["p50", "p90", "p99", "p99.9", "longest"]
    rows = [[each["stage"], *_cells(each)] for each in facts["stages"]]
    screen.table(["stage", *columns], rows, right=columns)
    for group, word in (("participants", "participant"), ("times", "from")):
        lines = facts[group] or []
        heads = [word, "commands", *columns, "command"]
        rows = [
            [plain_time(each[word]), screen.count(each["commands"]), *_cells(each), screen.count(each["longest_seq"])]
            for each in lines[:_LINES_MAX]
        ]
        if rows:
            screen.table(heads, rows, right=heads[1:])
        if len(lines) > _LINES_MAX:
            screen.print_line(f"and {screen.count(len(lines) - _LINES_MAX)} more; --json has all")


def _primary(node: str | None) -> str:
    return "another node" if node is None else f"node {node}"


def _cells(summary: Facts) -> list[str]:
    return [microseconds(summary[f"{word}_ns"]) for word in (*(word for word, _ in _PERCENTILES), "max")]


def microseconds(ns: int | None) -> str:
    """A time in microseconds for people.

    >>> microseconds(41_234), microseconds(1_500_000_000), microseconds(None)
    ('41.2', '1,500,000.0', '-')
    """
    return "-" if ns is None else f"{ns / 1_000:,.1f}"


def times_of(directory: Path, seqs: list[int]) -> dict[int, "np.void"]:
    """TIMES of commands by number, of those that are recorded. Raises WrongUse where nothing is."""
    found = Records.read(directory).of(np.array(seqs, np.int64))
    return {int(row["seq"]): row for row in found if row["read_ns"]}


def latency_object(row: "np.void | None") -> Facts | None:
    """Moments of a command as a JSON object: ns after its receipt; None where one is not known."""
    if row is None:
        return None
    received_ns = int(row["received_ns"])
    after = {name: int(row[name]) - received_ns if row[name] else None for name in _MOMENTS}
    return {"received": iso_time(received_ns)} | after


def primaries_of(directory: Path, seqs: list[int]) -> dict[int, str]:
    """Names of the nodes of a pair that were primary at commands, by number; of a node without a pair none."""
    found = _reigns(directory, min(seqs), max(seqs)) if seqs else []
    return {
        seq: reign.node
        for seq in seqs
        for reign in found
        if reign.node is not None and reign.first_seq <= seq <= reign.last_seq
    }


def latency_words(row: "np.void | None", primary: str | None = None) -> str:
    """Moments of a command in microseconds after its receipt, such as ``read 0.4, sequenced 2.1, answered 14.0``.

    ``primary``: the node of a pair that took it, which has what is not recorded here.
    """
    facts = latency_object(row)
    if facts is None:
        return f"not recorded here; {primary} was primary" if primary else "not recorded"
    told = [name for name in _MOMENTS if facts[name] is not None]
    told.sort(key=lambda name: facts[name])
    return ", ".join(f"{name.removesuffix('_ns')} {microseconds(facts[name])}" for name in told)
