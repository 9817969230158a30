"""Commands that a difference touched: the same in two markets, and followed by other events in each.

Numbers of orders and trades count on from the difference, so they are left out: a command whose events differ in
nothing else was not touched.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from engine.records import EventKind
from replay.sides import Played

_STEP_COMMANDS: Final = 65_536
#: Touched commands that are named.
_NAMED_MAX: Final = 20


@dataclass(frozen=True)
class Consequences:
    """Commands after a difference: how many are the same in both, how many of them it touched, the first of these, the
    last one (0: none), and the numbers of the participants and instruments of their events."""

    commands: int = 0
    touched: int = 0
    first_seqs: tuple[int, ...] = ()
    last_seq: int = 0
    participants: tuple[int, ...] = ()
    instruments: tuple[int, ...] = ()


def consequences(
    play_a: Callable[[int], Played], play_b: Callable[[int], Played], from_seq: int, to_seq: int, shift: int = 0
) -> Consequences:
    """Play both on after command ``from_seq`` of the first, up to its ``to_seq``.

    ``shift``: how much higher the number of the same command is in the second. Sequence numbers are the first's.
    """
    commands = touched = last_seq = 0
    named: list[int] = []
    participants: set[int] = set()
    instruments: set[int] = set()
    for first in range(from_seq + 1, to_seq + 1, _STEP_COMMANDS):
        last = min(first + _STEP_COMMANDS - 1, to_seq)
        one, other = play_a(last), play_b(last + shift)
        n = min(len(one.commands), len(other.commands))
        same = _bytes(one.commands[:n]) == _bytes(other.commands[:n])
        commands += int(same.sum())
        unlike = same & _unlike(one.events, other.events, first, shift, n)
        places = np.flatnonzero(unlike)
        if len(places):
            touched += len(places)
            last_seq = first + int(places[-1])
            named += (first + places[: _NAMED_MAX - len(named)]).tolist()
            for events, begin in ((one.events, first), (other.events, first + shift)):
                at = events["seq"] - begin
                theirs = events[(at >= 0) & (at < n)]
                theirs = theirs[unlike[theirs["seq"] - begin]]
                participants |= {*theirs["participant"].tolist(), *theirs["contra_participant"].tolist()} - {0}
                instruments |= {*theirs["instrument"].tolist()} - {0}
    return Consequences(
        commands, touched, tuple(named), last_seq, tuple(sorted(participants)), tuple(sorted(instruments))
    )


def shift_of(rows_a: NDArray[Any], rows_b: NDArray[Any], longer: int) -> int:
    """Distance at which the commands of a go on in b after the first that differs: 0 or ``longer``, what fits more.

    ``rows_a``, ``rows_b``: the commands from there on. ``longer``: how many more commands b has.
    """

    def fits(shift: int) -> int:
        one, other = rows_a[max(0, -shift) :], rows_b[max(0, shift) :]
        n = min(len(one), len(other))
        return int((_bytes(one[:n]) == _bytes(other[:n])).sum())

    return longer if longer and fits(longer) > fits(0) else 0


def _bytes(rows: NDArray[Any]) -> NDArray[Any]:
    return np.ascontiguousarray(rows).view(f"S{rows.itemsize}") if len(rows) else np.zeros(0, "S1")


def _unlike(a: NDArray[Any], b: NDArray[Any], first_seq: int, shift: int, n: int) -> NDArray[np.bool_]:
    """For each of ``n`` commands: do its events differ in more than numbers?"""
    one, at_a = _numbers(a, first_seq, n)
    other, at_b = _numbers(b, first_seq + shift, n)
    counts_a, counts_b = np.bincount(at_a, minlength=n), np.bincount(at_b, minlength=n)
    unlike: NDArray[np.bool_] = counts_a != counts_b
    left_a, left_b = ~unlike[at_a], ~unlike[at_b]
    differ = (one[left_a] != other[left_b]).any(axis=1)
    unlike[at_a[left_a][differ]] = True
    return unlike


def _numbers(events: NDArray[Any], first_seq: int, n: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Events of ``n`` commands as eight numbers each, without those that count on, and the place of their command."""
    numbers = np.ascontiguousarray(events).view(np.int64).reshape(len(events), -1).copy()
    at = numbers[:, 0] - first_seq
    numbers[:, 0] = 0
    numbers[events["kind"] != EventKind.INDICATIVE, 5] = 0
    kept = (at >= 0) & (at < n)
    return numbers[kept], at[kept]
