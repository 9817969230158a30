"""FIX marks among commands and events: rows that number the messages of a session and are no orders.

A mark is a CANCEL of no order, which the market refuses (ADR 53). Its refusal says nothing of the participant: counts
of cancels and refusals leave it out, and prints say what it stands for.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.records import CommandKind, EventKind
from wire.fix_marks import MEANINGS, NUMBERS, Mark, mark_of, protocol_of


def is_mark(commands: NDArray[Any]) -> NDArray[np.bool_]:
    """Mask of the COMMAND rows that are marks."""
    return _marks(commands["kind"], commands["client_order_id"], commands["context"])


def is_of_mark(reports: NDArray[Any]) -> NDArray[np.bool_]:
    """Mask of the REPORT rows that refuse a mark."""
    return _marks(reports["command_kind"], reports["client_order_id"], reports["command_context"])


def _marks(kinds: NDArray[Any], order_ids: NDArray[Any], contexts: Any) -> NDArray[np.bool_]:
    found: NDArray[np.bool_] = (kinds == CommandKind.CANCEL) & (order_ids == 0)
    at = np.flatnonzero(found)
    found[at] = np.isin(protocol_of(contexts[at]), NUMBERS) & (mark_of(contexts[at]) != Mark.ORDER)
    return found


def refuses_mark(events: NDArray[Any], commands: NDArray[Any], first_seq: int) -> NDArray[np.bool_]:
    """Mask of the EVENT rows that refuse a mark. ``commands``: from ``first_seq`` on; of others nothing is known."""
    found: NDArray[np.bool_] = (events["kind"] == EventKind.CANCEL_REJECTED) & (events["client_order_id"] == 0)
    at = np.flatnonzero(found)
    places = events["seq"][at] - first_seq
    there = (places >= 0) & (places < len(commands))
    found[at[~there]] = False
    found[at[there]] = is_mark(commands[places[there]])
    return found


def meanings(commands: NDArray[Any], seqs: NDArray[np.int64]) -> dict[int, str]:
    """Meanings of the marks among COMMAND rows, by their numbers."""
    at = np.flatnonzero(is_mark(commands))
    return dict(zip(seqs[at].tolist(), map(meaning, commands["context"][at].tolist()), strict=True))


def meaning(context: int) -> str:
    """Words for people: the message that a mark with this context stands for.

    >>> meaning(0x2001000000070003)
    'FIX session message, no order'
    """
    kind = mark_of(context)
    known = MEANINGS.get(Mark(kind)) if kind in Mark._value2member_map_ else None
    return f"FIX {known or f'mark {kind}'}, no order"
