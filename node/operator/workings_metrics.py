"""Metrics of what works in a node (``node.operator.workings``), without the library that prints them."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final, NamedTuple

Row = Mapping[str, Any]


class _Table(NamedTuple):
    """Metrics of the rows of one list. columns: (key, name, help, True for a count since the start)."""

    rows: str
    labels: tuple[str, ...]
    columns: tuple[tuple[str, str, str, bool], ...]


_TABLES: Final = (
    _Table(
        "processes",
        ("process",),
        (
            ("pid", "lockstep_process_up", "1 while the process of the node runs", False),
            ("restarts", "lockstep_process_restarts", "Times that the process was started again", True),
            ("cpu_s", "lockstep_process_cpu_seconds", "Processor time of the process", True),
            ("memory_rss_bytes", "lockstep_process_memory_rss_bytes", "Resident memory of the process", False),
        ),
    ),
    _Table(
        "agents",
        ("process", "agent"),
        (
            ("turns", "lockstep_agent_turns", "Times that the agent looked for work", True),
            ("worked", "lockstep_agent_work", "What the agent did, in its own unit", True),
            ("busy_s", "lockstep_agent_busy_seconds", "Time of the agent in turns with work", True),
        ),
    ),
    _Table(
        "readers",
        ("reader", "pid"),
        (("lag_bytes", "lockstep_tape_reader_lag_bytes", "Bytes of the tape that the reader has not read", False),),
    ),
    _Table(
        "rings",
        ("process", "ring"),
        (
            ("waiting_rows", "lockstep_ring_waiting_rows", "Rows in the ring that were not taken", False),
            ("size_rows", "lockstep_ring_size_rows", "Room of the ring", False),
            ("messages", "lockstep_ring_messages", "Messages taken from the ring", True),
            ("refused", "lockstep_ring_refused_messages", "Messages of the ring that were no orders", True),
            ("waits", "lockstep_ring_waits", "Times that the ring was full", True),
        ),
    ),
    _Table(
        "lines",
        ("line",),
        (
            ("in_waiting_bytes", "lockstep_line_in_waiting_bytes", "Bytes of a local client not taken yet", False),
            ("out_waiting_bytes", "lockstep_line_out_waiting_bytes", "Bytes that a local client has not taken", False),
        ),
    ),
)
_TAPE: Final = (
    ("ring_bytes", "lockstep_tape_bytes", "Size of the tape", False),
    ("written_bytes", "lockstep_tape_written_bytes", "Bytes written to the tape since the start", True),
)
#: Values that are no numbers in the report.
_VALUES: Final[dict[str, Callable[[Any], float | None]]] = {"pid": lambda pid: float(pid is not None)}

Family = tuple[str, str, tuple[str, ...], bool, list[tuple[list[str], float]]]


def families(report: Row) -> Iterator[Family]:
    """Metrics of a report: name, help, labels, True for a counter, and (values of the labels, value) of each sample."""
    for table in _TABLES:
        for key, name, text, counts in table.columns:
            samples = []
            for row in report[table.rows]:
                value = _VALUES.get(key, _number)(row[key])
                if value is not None:
                    samples.append(([str(row[label]) for label in table.labels], value))
            if samples:
                yield name, text, table.labels, counts, samples
    if report["tape"] is not None:
        for key, name, text, counts in _TAPE:
            yield name, text, (), counts, [([], float(report["tape"][key]))]


def _number(value: Any) -> float | None:
    return None if value is None else float(value)
