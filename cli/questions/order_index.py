"""Events of an order out of the event index: what `lockstep order` would replay from its first mention on.

An order has several client order ids in its life, and an event names one or two of them. So the ids are followed
through the replaces, forward and back, and all events that name any of them are taken; whose they are is told by the
histories that take them.
"""

from collections.abc import Iterator
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from engine.records import EVENT, EventKind, concatenate
from replay.event_index import EventIndex, Piece

_GIVES_ID: Final = np.array([EventKind.ACCEPTED, EventKind.REPLACED])
#: Ids and events above which a replay is as good.
_IDS_MAX: Final = 1_000
_EVENTS_MAX: Final = 200_000


class Timed(NamedTuple):
    """EVENT rows, and the clock at each (ns)."""

    events: NDArray[Any]
    clock_ns: NDArray[np.int64]


class OrderEvents:
    """Events of an index by the orders that they are about. Its methods raise JournalDamaged."""

    def __init__(self, index: EventIndex) -> None:
        self._index = index

    def ids_of(self, wanted: set[int]) -> NDArray[np.int64] | None:
        """The ids and all that replaces gave in their place, or gave them in place of; None for too many."""
        known = np.array(sorted(wanted), np.int64)
        old, new = self._replaces()
        while len(known) <= _IDS_MAX:
            linked = np.isin(old, known) | np.isin(new, known)
            more = np.unique(np.concatenate((known, old[linked], new[linked])))
            if len(more) == len(known):
                return known
            known = more
        return None

    def about(self, ids: NDArray[np.int64]) -> list[Timed] | None:
        """The events that name one of the ids, in order, some at a time; None for too many."""
        found: list[Timed] = []
        count = 0
        for part in self._index.parts:
            rows = [piece.events(_with(piece, ids)) for piece in part.pieces]
            count += sum(map(len, rows))
            if count > _EVENTS_MAX:
                return None
            events = concatenate(rows, EVENT)
            found.append(Timed(events, part.clock_at(events["seq"])))
        return found

    def numbered(self, number: int) -> set[int]:
        """The ids that an order with a number had; none if there is no such order."""
        ids: set[int] = set()
        for piece in self._pieces():
            at = np.flatnonzero(piece.column("order_number").among(np.array([number])))
            if len(at):
                rows = piece.events(at)
                for kind, place in (
                    (EventKind.ACCEPTED, "client_order_id"),
                    (EventKind.REPLACED, "client_order_id"),
                    (EventKind.REPLACED, "contra_client_order_id"),
                ):
                    ids.update(rows[place][rows["kind"] == kind].tolist())
        return ids

    def traded(self, trade: int) -> list[int] | None:
        """Order numbers of both sides of a trade, rising; none if there is no such trade, None where one is not
        known."""
        for piece in self._pieces():
            at = np.flatnonzero(piece.column("order_number").among(np.array([trade])))
            rows = piece.events(at)
            for row in rows[rows["kind"] == EventKind.TRADE]:
                numbers = [
                    self._bearer(int(row["seq"]), int(row[f"{side}participant"]), int(row[f"{side}client_order_id"]))
                    for side in ("", "contra_")
                ]
                return None if None in numbers else sorted({each for each in numbers if each is not None})
        return []

    def _bearer(self, seq: int, participant: int, order_id: int) -> int | None:
        """Number of the order that had an id when a command traded it: the newest one that got it."""
        number = None
        for piece in self._pieces():
            if piece.first_seq > seq:
                break
            given = piece.events(_with(piece, np.array([order_id])))
            given = given[(given["participant"] == participant) & np.isin(given["kind"], _GIVES_ID)]
            new = np.where(
                given["kind"] == EventKind.REPLACED, given["contra_client_order_id"], given["client_order_id"]
            )
            its = given["order_number"][(new == order_id) & (given["seq"] <= seq)]
            number = int(its[-1]) if len(its) else number
        return number

    def _replaces(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Old and new id of each replace that was accepted."""
        old, new = [np.empty(0, np.int64)], [np.empty(0, np.int64)]
        for piece in self._pieces():
            at = np.flatnonzero(piece.column("kind").among(np.array([EventKind.REPLACED])))
            old.append(piece.column("client_order_id").at(at))
            new.append(piece.column("contra_client_order_id").at(at))
        return np.concatenate(old), np.concatenate(new)

    def _pieces(self) -> Iterator[Piece]:
        for part in self._index.parts:
            yield from part.pieces


def _with(piece: Piece, ids: NDArray[np.int64]) -> NDArray[np.intp]:
    """Indices of the events of a piece that name one of the ids."""
    found = piece.column("client_order_id").among(ids)
    found |= piece.column("contra_client_order_id").among(ids)
    return np.flatnonzero(found)
