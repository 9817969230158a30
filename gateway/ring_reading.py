"""Kernels that read the rings of gateway processes into rows, between the messages of connections (``arrivals``).

A gateway process reads its clients itself and puts their commands into a ring (``tape.ring``). It stands for as many
sources as it has clients logged in: each of these has a message in a round, as a connection has, so nobody is better
off here or there.

What a ring has is checked before it is taken. A message is an order command, with an EXTEND row before it or without;
its note names the user, who is logged in at that gateway; context and participant are that user's, the protocol is that
of the gateway, and it sends commands of this kind. The price is one that users may enter, in an instrument in which
they may (``price_max_e4``). What is otherwise is counted and not taken. A ring with impossible numbers is broken, and
gives nothing more. All else that the row says is the user's order as the gateway has read it: the market accepts or
rejects it as one from a socket, and nobody can tell here whether the user has sent it.
"""

from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from engine.jit import INTERPRETED, called, inlined, shl, unpack_pointers
from engine.records import CommandKind
from gateway.streams import USERS_MAX
from reports.contexts import protocol_in, user_in
from tape.machine import fence_full
from tape.ring import (
    HEAD,
    NOTE_WORDS,
    OWN,
    Ring,
    give_room,
    has_message,
    say_asleep,
    take_message,
    unpack_ring,
    waiting,
)

#: Rings of a node, and sources for which all of them stand in a round.
RINGS_MAX: Final = 16
SOURCES_MAX: Final = 1_024
#: Sources of one ring at most, so that all have room.
SOURCES_OF_RING_MAX: Final = SOURCES_MAX // RINGS_MAX

#: A ring as the core knows it.
SERVED: Final = np.dtype(
    [
        ("serves", "<i8"),  # 1: it is read
        ("clients", "<i8"),  # sources for which it stands
        ("protocol", "<i8"),  # number of the gateway's protocol
        ("sends", "<i8"),  # what its gateway may send, as bits
        ("messages", "<i8"),  # taken since it is served
        ("refused", "<i8"),  # messages that no gateway of this release puts
        ("late", "<i8"),  # messages of users that were put after the end of their login
    ]
)
#: Places of ``Rings.words``: rings that are served; sources and messages of the last turn; rounds so far.
RINGS: Final = 0
SOURCES: Final = 1
MESSAGES: Final = 2
ROUNDS: Final = 3
#: Longest message: a command, and an EXTEND row before it.
_ROWS_MAX: Final = 2

_ENTER, _CANCEL, _REPLACE = int(CommandKind.ENTER), int(CommandKind.CANCEL), int(CommandKind.REPLACE)
_CROSS: Final = int(CommandKind.CROSS)
_EXTEND: Final = int(CommandKind.EXTEND)
#: Bits of what a ring may have: cancels of no order, crosses, order commands.
NO_ORDERS: Final = 1
CROSSES: Final = 1 << _CROSS
ORDERS: Final = 1 << _ENTER | 1 << _CANCEL | 1 << _REPLACE | NO_ORDERS


class Rings(NamedTuple):
    """The rings of a node, for the kernels that read."""

    words: np.ndarray[Any, Any]  # int64[4]
    pointers: np.ndarray[
        Any, Any
    ]  # int64[RINGS_MAX, fields of a ring, 2]: a list of rings where kernels are interpreted
    served: np.ndarray[Any, Any]  # SERVED[RINGS_MAX]
    participants: np.ndarray[Any, Any]  # int64[RINGS_MAX, USERS_MAX + 1]: of a user who may send by a ring; 0: may not
    ends: np.ndarray[Any, Any]  # int64[RINGS_MAX, USERS_MAX + 1]: rows of a ring after which a user may send no more
    price_max_e4: np.ndarray[Any, Any]  # int64[instruments + 1]: of orders in each instrument; at 0: in whichever
    ring_of: np.ndarray[Any, Any]  # int64[SOURCES_MAX]: ring of each source of the turn


def new_rings(price_max_e4: NDArray[np.int64] | None = None) -> Rings:
    """Room for rings, none of which is served. price_max_e4: as in ``gateway.streams``; None: no orders are taken."""
    pointers: Any = [None] * RINGS_MAX if INTERPRETED else np.zeros((RINGS_MAX, len(Ring._fields), 2), np.int64)
    return Rings(
        np.zeros(4, np.int64),
        pointers,
        np.zeros(RINGS_MAX, SERVED),
        np.zeros((RINGS_MAX, USERS_MAX + 1), np.int64),
        np.zeros((RINGS_MAX, USERS_MAX + 1), np.int64),
        np.zeros(1, np.int64) if price_max_e4 is None else price_max_e4,
        np.zeros(SOURCES_MAX, np.int64),
    )


#: Unpack the rings in a kernel, from the pointers of a ``Packed``.
unpack_rings = unpack_pointers(new_rings())


@inlined
def any_waits(rings):
    """True if a ring has a message."""
    if rings.words[RINGS] == 0:
        return False
    for number in range(RINGS_MAX):
        if rings.served[number]["serves"] != 0 and has_message(unpack_ring(rings.pointers[number])):
            return True
    return False


@inlined
def list_sources(rings):
    """List the sources of a turn: of each ring that has a message as many as it has clients, the first of each ring
    before the second of any; gives their number."""
    sources = np.int64(0)
    if rings.words[RINGS] != 0:
        most = np.int64(0)
        for number in range(RINGS_MAX):
            served = rings.served[number]
            if served["serves"] != 0 and has_message(unpack_ring(rings.pointers[number])):
                most = max(most, min(served["clients"], SOURCES_OF_RING_MAX))
        for place in range(most):
            for number in range(RINGS_MAX):
                served = rings.served[number]
                if served["serves"] == 0 or place >= min(served["clients"], SOURCES_OF_RING_MAX):
                    continue
                if has_message(unpack_ring(rings.pointers[number])):
                    rings.ring_of[sources] = number
                    sources += 1
    rings.words[SOURCES] = sources
    rings.words[MESSAGES] = 0
    return sources


@inlined
def _is_order(rings, number, row, user, count, commands, n):
    """True if the ``count`` rows from ``n`` on are an order command of a user who may send by the ring."""
    if count > _ROWS_MAX or user <= 0 or user > USERS_MAX:
        return False
    if count == _ROWS_MAX and np.int64(commands[n]["kind"]) != _EXTEND:
        return False
    command = commands[n + count - 1]
    kind = np.int64(command["kind"])
    names_instrument = kind == _ENTER or kind == _CROSS  # noqa: PLR1714  numba has no fast set of numbers
    if not names_instrument and kind != _CANCEL and kind != _REPLACE:  # noqa: PLR1714
        return False
    instrument = np.int64(command["instrument"]) if names_instrument else np.int64(0)
    if instrument < 0 or instrument >= len(rings.price_max_e4):
        return False
    if kind != _CANCEL and (
        rings.price_max_e4[instrument] == 0 or command["price_e4"] > rings.price_max_e4[instrument]
    ):
        return False
    of_no_order = kind == _CANCEL and command["client_order_id"] == 0
    if row["sends"] & (NO_ORDERS if of_no_order else shl(np.int64(1), kind)) == 0:
        return False
    participant = rings.participants[number, user]
    context = np.int64(command["new_context"] if kind == _REPLACE else command["context"])
    return (
        participant != 0
        and np.int64(command["participant"]) == participant
        and user_in(context) == user
        and protocol_in(context) == row["protocol"]
    )


@inlined
def take_from(rings, source, commands, rows, notes, n, rows_max):
    """Take the next message of a source to row ``n``; gives its rows, 0 where none was taken, time in ns and user of
    its note, and True if the source may have more.

    rows: int64, the same memory as commands. notes: int64, for two notes.
    """
    number = rings.ring_of[source]
    ring = unpack_ring(rings.pointers[number])
    served = rings.served[number]
    count = take_message(ring, rows, notes, n, rows_max)
    if count <= 0:
        return np.int64(0), np.int64(0), np.int64(0), False
    at = n * NOTE_WORDS
    user = notes[at + 1] & 0xFFFFFFFF
    if not _is_order(rings, number, served, user, count, commands, n):
        served["refused"] += 1
        return np.int64(0), np.int64(0), np.int64(0), waiting(ring) > 0
    if ring.mine[OWN] > rings.ends[number, user]:
        served["late"] += 1
        return np.int64(0), np.int64(0), np.int64(0), waiting(ring) > 0
    served["messages"] += 1
    rings.words[MESSAGES] += 1
    return count, notes[at], user, waiting(ring) > 0


@inlined
def give_rooms(rings):
    """Give the gateways the room of all that was taken."""
    for number in range(RINGS_MAX):
        if rings.served[number]["serves"] != 0:
            ring = unpack_ring(rings.pointers[number])
            if ring.mine[OWN] != ring.words[HEAD]:
                give_room(ring)


@inlined
def rings_may_sleep(rings):
    """Say that the core is about to sleep; gives False if it must not, since a gateway has put something."""
    if rings.words[RINGS] == 0:
        return True
    for number in range(RINGS_MAX):
        if rings.served[number]["serves"] != 0:
            say_asleep(unpack_ring(rings.pointers[number]), 1)
    fence_full()
    if any_waits(rings):
        rings_wake(rings)
        return False
    return True


@inlined
def rings_wake(rings):
    """Say that the core is awake."""
    if rings.words[RINGS] != 0:
        for number in range(RINGS_MAX):
            if rings.served[number]["serves"] != 0:
                say_asleep(unpack_ring(rings.pointers[number]), 0)


@called
def waits_in_rings(pointers):
    """``any_waits`` from Python."""
    return any_waits(unpack_rings(pointers))


@called
def sleeps_beside_rings(pointers):
    """``rings_may_sleep`` from Python."""
    return rings_may_sleep(unpack_rings(pointers))


@called
def wakes_beside_rings(pointers):
    """``rings_wake`` from Python."""
    rings_wake(unpack_rings(pointers))
