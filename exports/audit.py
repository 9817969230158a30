"""Rows of an audit trail beside each report: the phase, the way by which its command came, how long that took.

Some of it is no part of the journal: a node's side files say when a user logged in and how long a command took. Where
they do not, as in a replay, the columns are 0. No protocol of the exchange carries the number of an algorithm.
"""

from collections.abc import Callable
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from engine.capacity import Capacity
from engine.records import CommandKind, Phase
from exports.tables import AUDIT, Came, Columns
from reports.rows import REPORT_FIELDS, ReportKind

#: Protocols by their number in contexts (``reports.contexts``), 0 for one that sends no orders.
_CAME: Final = np.array([Came.OUCH, Came.NATIVE, Came.FIX, *[0] * 13], np.int64)
_OUCH: Final = 0
#: Columns of ``audit`` that side files say, and no journal.
OF_SIDE_FILES: Final = ("login_time_ns", "latency_ns")
_ORDERS: Final = (CommandKind.ENTER, CommandKind.CANCEL, CommandKind.REPLACE)


def _kinds_with(field: str) -> NDArray[np.bool_]:
    """True for each kind of report that uses a place."""
    return np.isin(np.arange(256), [int(kind) for kind, fields in REPORT_FIELDS.items() if field in fields])


_WITH_SENDER: Final = _kinds_with("command_context")
_OF_ORDERS: Final = _kinds_with("context")
_OF_INSTRUMENTS: Final = _kinds_with("instrument")


class SideFacts(NamedTuple):
    """Facts of side files: times from the arrival of commands to their answers (ns), by their numbers, and when users
    logged in (ns since 1970), by numbers of commands and of users; each 0 where it is not known."""

    latency_ns: Callable[[NDArray[np.int64]], NDArray[np.int64]]
    login_ns: Callable[[NDArray[np.int64], NDArray[np.int64]], NDArray[np.int64]]


def no_side_facts() -> SideFacts:
    """Nothing is known from side files."""
    return SideFacts(np.zeros_like, lambda seqs, _: np.zeros_like(seqs))


class Audit:
    """Rows of the table ``audit``: one a report, in order."""

    def __init__(self, capacity: Capacity, facts: SideFacts) -> None:
        self._facts = facts
        self._phases = np.full(capacity.instruments_max + 1, Phase.CLOSED, np.int64)
        self._phases[0] = 0  # of no instrument

    def take(self, reports: NDArray[Any]) -> Columns:
        """Columns of REPORT rows, all from the first on, in order."""
        seqs, kinds = reports["seq"].astype(np.int64), reports["kind"]
        sender = np.where(_WITH_SENDER[kinds], reports["command_context"], 0)
        users = sender & 0xFFFF
        sent = users != 0
        ordered = np.isin(reports["command_kind"], _ORDERS)
        found: Columns = {
            "seq": seqs,
            "number": reports["number"].astype(np.int64),
            "time_ns": reports["time_ns"].astype(np.int64),
            "phase": self._phases_of(reports),
            "came_by": np.where(sent, _CAME[sender >> 60 & 15], 0),
            "login_time_ns": self._of(sent, self._facts.login_ns, seqs, users),
            "capacity": self._capacities(reports),
            "latency_ns": self._of(ordered, self._facts.latency_ns, seqs),
        }
        return {name: found[name] for name in AUDIT.columns}

    def _phases_of(self, reports: NDArray[Any]) -> NDArray[np.int64]:
        """Phase of the instrument of each report, after it."""
        instruments = np.where(_OF_INSTRUMENTS[reports["kind"]], reports["instrument"], 0).astype(np.int64)
        instruments[instruments >= len(self._phases)] = 0  # of a hostile row that was refused
        found = np.empty(len(reports), np.int64)
        begin = 0
        for at in np.flatnonzero(np.isin(reports["kind"], (ReportKind.PHASE, ReportKind.HALTED))).tolist():
            found[begin:at] = self._phases[instruments[begin:at]]
            self._phases[instruments[at]] = int(reports["phase"][at])
            begin = at
        found[begin:] = self._phases[instruments[begin:]]
        return found

    @staticmethod
    def _capacities(reports: NDArray[Any]) -> NDArray[np.int64]:
        """Capacity of an order as its message of OUCH said it, a character; 0 where there was none."""
        context = np.where(_OF_ORDERS[reports["kind"]], reports["context"], 0)
        said = ((context & 0xFFFF) != 0) & (context >> 60 & 15 == _OUCH)
        return np.where(said, context >> 32 & 255, 0)

    @staticmethod
    def _of(chosen: NDArray[np.bool_], facts: Callable[..., Any], *places: NDArray[np.int64]) -> NDArray[np.int64]:
        found = np.zeros(len(chosen), np.int64)
        if chosen.any():
            found[chosen] = facts(*(each[chosen] for each in places))
        return found
