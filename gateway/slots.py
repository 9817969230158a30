"""Connection slots: admission of connections, and eviction to make room. Pure: no socket and no clock.

A connection *waits* until its user is logged in. A stranger can open many connections without logging in, so each
address may have only so many of them; one more takes the place of the address's oldest. When all slots are taken, the
oldest of the address that has most of them makes room. An address from which a user has logged in is *known*: its
connections never make room for those of an unknown address, and may take the place of any unknown one. A connection
whose user is logged in never makes room. Of the connections of an address, those without a login request make room
first.
"""

from collections.abc import Iterator
from typing import Final, Generic, NamedTuple, TypeVar

#: Known addresses at most; the least recently used one is forgotten.
KNOWN_MAX: Final = 10_000

Key = TypeVar("Key")


def waiting_of(slots_max: int, waiting_per_address_max: int | None) -> int:
    """Connections of an address that may wait; by default a quarter of the slots."""
    return max(slots_max // 4, 1) if waiting_per_address_max is None else waiting_per_address_max


class Place(NamedTuple, Generic[Key]):
    """Slot for a connection. ``slot``: -1 if there is none, with the reason in ``refused``. ``displaces``: the
    connection that had this slot and must end now.
    """

    slot: int
    refused: str = ""
    displaces: Key | None = None


class _Address(Generic[Key]):
    """Connections of one address, oldest first."""

    def __init__(self) -> None:
        self.silent: dict[Key, None] = {}
        self.asked: dict[Key, None] = {}
        self.users: dict[Key, None] = {}

    @property
    def waiting(self) -> int:
        return len(self.silent) + len(self.asked)

    def __len__(self) -> int:
        return self.waiting + len(self.users)

    def oldest(self) -> Key | None:
        """First connection to make room; None if none waits."""
        return next(iter(self.silent or self.asked), None)

    def discard(self, key: Key) -> None:
        for keys in (self.silent, self.asked, self.users):
            keys.pop(key, None)


class Slots(Generic[Key]):
    """Slots, ``slots_max`` in total. A key is a connection: any hashable object."""

    def __init__(self, slots_max: int, *, per_address_max: int | None = None, waiting_per_address_max: int) -> None:
        """per_address_max: connections of an address at most; None: no bound but the slots."""
        self._free = list(range(slots_max - 1, -1, -1))
        self._per_address_max = slots_max if per_address_max is None else per_address_max
        self._waiting_max = waiting_per_address_max
        self._addresses: dict[str, _Address[Key]] = {}
        self._places: dict[Key, tuple[str, int]] = {}
        self._known: dict[str, None] = {}

    def __len__(self) -> int:
        return len(self._places)

    def __iter__(self) -> Iterator[Key]:
        return iter(self._places)

    def open(self, key: Key, address: str) -> Place[Key]:
        """Find a slot for a new connection of an address."""
        own = self._addresses.get(address, _Address())
        if len(own) >= self._per_address_max:
            victim, refused = own.oldest(), "too many connections from this address"
        elif own.waiting >= self._waiting_max:
            victim, refused = own.oldest(), "too many connections from this address are not logged in"
        elif self._free:
            self._enter(key, address, self._free.pop())
            return Place(self._places[key][1])
        else:
            victim, refused = self._victim(address), "all connections are taken"
        if victim is None:
            return Place(-1, refused)
        slot = self._leave(victim)
        self._enter(key, address, slot)
        return Place(slot, displaces=victim)

    def _victim(self, address: str) -> Key | None:
        """Oldest waiting connection of the address that has most, unknown addresses first."""
        best: tuple[bool, int] | None = None
        victim = None
        for other, connections in self._addresses.items():
            known = other in self._known
            if not connections.waiting or (known and address not in self._known):
                continue
            rank = (not known, connections.waiting)
            if best is None or rank > best:
                best, victim = rank, connections.oldest()
        return victim

    def _enter(self, key: Key, address: str, slot: int) -> None:
        self._places[key] = (address, slot)
        self._addresses.setdefault(address, _Address()).silent[key] = None

    def _leave(self, key: Key) -> int:
        address, slot = self._places.pop(key)
        connections = self._addresses[address]
        connections.discard(key)
        if not len(connections):
            del self._addresses[address]
        return slot

    def on_login_request(self, key: Key) -> None:
        """Note that the connection requests a login."""
        if key in self._places:
            connections = self._addresses[self._places[key][0]]
            connections.discard(key)
            connections.asked[key] = None

    def on_login(self, key: Key) -> None:
        """Note a login; the address is known from now on."""
        if key not in self._places:
            return
        address = self._places[key][0]
        connections = self._addresses[address]
        connections.discard(key)
        connections.users[key] = None
        self._known.pop(address, None)
        self._known[address] = None
        if len(self._known) > KNOWN_MAX:
            del self._known[next(iter(self._known))]

    def on_disconnect(self, key: Key) -> None:
        """Free the slot of a connection that is gone. May be repeated."""
        if key in self._places:
            self._free.append(self._leave(key))
