"""Toy state machine: rows of 12 bytes, a state in parts, a dedup of command ids, and a chained event digest."""

import hashlib
import struct
from typing import Final, NamedTuple

ROW: Final = struct.Struct("<BBHIi")
ROW_BYTES: Final = ROW.size
EPOCH_ROW: Final = 1
COMMAND_ROW: Final = 2
CLOCK_ROW: Final = 3
CELLS: Final = 8
PARTS: Final = ("books", "accounts", "risk", "timers", "ids")


def command_row(client: int, number: int, amount: int) -> bytes:
    """Row of a command."""
    return ROW.pack(COMMAND_ROW, client, 0, number, amount)


def epoch_row(epoch: int) -> bytes:
    """First row of a reign."""
    return ROW.pack(EPOCH_ROW, 0, 0, epoch, 0)


def clock_row() -> bytes:
    """Row of the time of day."""
    return ROW.pack(CLOCK_ROW, 0, 0, 0, 0)


def place_of(client: int, number: int) -> tuple[int, int]:
    """Part and cell that a command changes."""
    return (client * 7 + number) % 4, (client + number // 4) % CELLS


def digest_of(*pieces: bytes) -> bytes:
    """Digest of 16 bytes."""
    return hashlib.blake2b(b"".join(pieces), digest_size=16).digest()


class Slice(NamedTuple):
    """Begin of a slice of the journal after the first: the last command before it, the checksum of the chain there, and
    its genesis record, to which its first block is linked."""

    seq: int
    before: bytes
    genesis: bytes

    @property
    def link(self) -> bytes:
        """Checksum of the genesis record."""
        return digest_of(self.genesis)


class Flip(NamedTuple):
    """A bit that a fault has flipped in a state after command ``seq``."""

    seq: int
    part: int
    cell: int


class Machine:
    """State: four parts of cells, and the place of each command by its id."""

    def __init__(self) -> None:
        self.seq = 0
        self.digest = bytes(16)
        self.cells = [[0] * CELLS for _ in range(4)]
        self.ids: dict[tuple[int, int], int] = {}

    def apply(self, rows: memoryview) -> bytes:
        """Apply rows; gives the event digest after them, however they are cut into blocks."""
        for kind, client, _, number, amount in ROW.iter_unpack(rows):
            self.seq += 1
            if kind == COMMAND_ROW:
                part, cell = place_of(client, number)
                value = (self.cells[part][cell] * 31 + amount) & 0xFFFFFFFF
                self.cells[part][cell] = value
                self.ids[client, number] = self.seq
                event = value.to_bytes(4, "little")
            else:
                event = number.to_bytes(8, "little")
            self.digest = digest_of(self.digest, event)
        return self.digest

    def part_digest(self, turn: int) -> bytes:
        """Digest of a part."""
        if turn == 4:
            return digest_of(repr(sorted(self.ids.items())).encode())
        return digest_of(repr(self.cells[turn]).encode())

    def flip(self, part: int, cell: int, bit: int) -> None:
        """Flip one bit of the state, as a fault of the memory does."""
        self.cells[part][cell] ^= 1 << bit

    def dump(self) -> bytes:
        """The state as bytes."""
        return repr((self.seq, self.digest, self.cells, sorted(self.ids.items()))).encode()

    def copy(self) -> "Machine":
        """A second machine in the same state."""
        other = Machine()
        other.seq, other.digest = self.seq, self.digest
        other.cells = [list(part) for part in self.cells]
        other.ids = dict(self.ids)
        return other
