"""Metrics of a node of a pair, from the report under ``node.core.control.PAIR_KEYS``; a single node has none. Pure."""

from collections.abc import Iterator, Mapping
from typing import Any, Final, NamedTuple

#: Gauges: (key of the report, name, help). ``seq`` and ``speed_bump_ns`` are gauges of every node.
PAIR_GAUGES: Final = (
    ("epoch", "lockstep_pair_epoch", "Epoch of the reign"),
    ("agreed_seq", "lockstep_pair_agreed_seq", "Last command with the same event digest on both nodes"),
    ("released_seq", "lockstep_pair_released_seq", "Last command of which clients may be told"),
    ("lag_commands", "lockstep_pair_lag_commands", "Commands that this copy lacks; of a primary: its copy in sync"),
    ("lag_s", "lockstep_pair_lag_seconds", "Time since this copy certainly had all that the primary had"),
    ("silence_s", "lockstep_pair_silence_seconds", "Age of the primary's last sign of life at this copy"),
    ("can_take_over", "lockstep_pair_can_take_over", "1 while this copy could take over"),
)
#: Words of the report that are labels of lockstep_pair_info.
INFO: Final = ("node", "role", "state", "primary", "policy")
_WORKING: Final = frozenset({"reigning", "following"})


class Gauge(NamedTuple):
    """A gauge: its help, and a value for each set of labels."""

    name: str
    text: str
    labels: tuple[str, ...]
    values: tuple[tuple[tuple[str, ...], float], ...]


def gauges(report: Mapping[str, Any]) -> Iterator[Gauge]:
    """Gauges of a report."""
    if report["role"] == "single":
        return
    for key, name, text in PAIR_GAUGES:
        yield _plain(name, text, report[key])
    yield _plain("lockstep_pair_primary", "1 on the primary, 0 on a copy", report["role"] == "primary")
    working = report["state"] in _WORKING
    yield _plain("lockstep_pair_working", "1 while a primary holds its lease, or a copy follows", working)
    yield _plain("lockstep_pair_in_sync", "Nodes that may take over, with the primary", len(report["in_sync"]))
    yield _plain("lockstep_pair_arbiter_answers", "1 while the arbiter answers this node", not report["arbiter"])
    yield _plain("lockstep_pair_forced", "1 while a reign lasts that an operator forced", bool(report["forced"]))
    yield _of_copies(report, "lag_commands", "lockstep_copy_lag_commands", "Commands that a connected copy lacks")
    yield _of_copies(report, "in_sync", "lockstep_copy_in_sync", "1 while a connected copy may take over")


def _plain(name: str, text: str, value: float) -> Gauge:
    return Gauge(name, text, (), (((), float(value)),))


def _of_copies(report: Mapping[str, Any], key: str, name: str, text: str) -> Gauge:
    values = (((str(copy["name"]), str(copy["role"])), float(copy[key])) for copy in report["copies"])
    return Gauge(name, text, ("copy", "role"), tuple(values))
