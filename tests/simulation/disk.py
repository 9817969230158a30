"""Virtual disk of a node: sealed blocks in slots, marks beside them, a checkpoint, and what was set aside."""

from journal import frame
from journal.errors import JournalDamaged
from tests.simulation.toy import ROW_BYTES, Flip, Machine, Slice, digest_of
from tests.simulation.world import MS, World

GENESIS = b"g" * 16


class DiskFailure(Exception):
    """A write failed; the process must end."""


class Checkpoint:
    """State of a machine with its digest as it was written."""

    def __init__(self, machine: Machine, link: bytes, flips: list[Flip]) -> None:
        self.machine, self.link, self.flips = machine.copy(), link, list(flips)
        self._written = digest_of(machine.dump(), link)
        self.flipped = False

    def is_whole(self) -> bool:
        """True unless a bit of it has flipped."""
        return not self.flipped and self._written == digest_of(self.machine.dump(), self.link)


class Disk:
    """Durable things of a node. ``marks``: small files beside the journal."""

    def __init__(self, world: World, *, incomplete: str) -> None:
        self._world = world
        self.slots: list[bytes] = []
        self.slices: list[Slice] = []
        #: Slices that lay behind damage, or were set aside.
        self.slices_aside: list[Slice] = []
        self.marks: dict[str, object] = {"incomplete": incomplete} if incomplete else {}
        #: Id of the data directory; another one once an operator has rebuilt the node.
        self.directory = world.draw.randbytes(16)
        self.checkpoint: Checkpoint | None = None
        self.quarantine: list[bytes] = []
        #: Checksum of each block that was ever written here, and those whose bytes a fault has damaged.
        self.ever: set[bytes] = set()
        self.damaged: set[bytes] = set()
        self.is_full = self.fails_next = False
        self.misdirects_next = False
        self.slow = 1
        #: Time for which the next write hangs, in nanoseconds.
        self.hang_ns = 0
        self.settled_damage = False

    def copied(self) -> "Disk":
        """A copy of the whole directory, with its id."""
        copy = Disk(self._world, incomplete="")
        copy.slots, copy.slices, copy.slices_aside = list(self.slots), list(self.slices), list(self.slices_aside)
        copy.marks, copy.directory, copy.checkpoint = dict(self.marks), self.directory, None
        copy.quarantine, copy.ever, copy.damaged = list(self.quarantine), set(self.ever), set(self.damaged)
        copy.settled_damage = self.settled_damage
        return copy

    @property
    def last_seq(self) -> int:
        """Last command before the first damage."""
        blocks, _ = self.read()
        return blocks[-1].last_seq if blocks else 0

    def delay_ns(self) -> int:
        """Time of one write."""
        delay_ns = self._world.draw.randrange(100_000, 3 * MS) * self.slow
        if self.slow > 1:
            self._world.strike("slow disk")
        if self.hang_ns:
            self._world.strike("hung disk")
        hang_ns, self.hang_ns = self.hang_ns, 0
        return delay_ns + hang_ns

    def write(self, batch: list[bytes]) -> None:
        """Write blocks durably. Raises DiskFailure."""
        if self.is_full:
            self._world.strike("full disk")
            raise DiskFailure("no space is left on the disk")
        if self.fails_next:
            self.fails_next = False
            self._world.strike("failed write")
            raise DiskFailure("the disk failed")
        for block in batch:
            self.slots.append(block)
            self.ever.add(frame.stored_checksum(block))
        if self.misdirects_next and len(self.slots) > 2:
            self.misdirects_next = False
            self._misdirect(self._world.draw.randrange(len(self.slots) - 1))

    def _misdirect(self, place: int) -> None:
        """Let the last write have gone over an older block: its own place has nothing."""
        self._world.strike("misdirected write")
        self._world.say("a write went over the block in slot {}", place)
        last = self.slots[-1]
        self.damaged |= {frame.stored_checksum(self.slots[place]), frame.stored_checksum(last)}
        self.slots[place] = last
        self.slots[-1] = bytes(len(last))
        self.settled_damage = True

    def flip_block(self, place: int, bit: int) -> None:
        """Flip a bit of a stored block."""
        self.damaged.add(frame.stored_checksum(self.slots[place]))
        block = bytearray(self.slots[place])
        block[bit // 8 % len(block)] ^= 1 << bit % 8
        self.slots[place] = bytes(block)
        self.settled_damage = True

    def crash_while_writing(self, batch: list[bytes]) -> None:
        """Decide on a write that was under way when the process died."""
        fate = self._world.draw.random()
        if fate < 0.3 and not (self.is_full or self.fails_next):
            self.write(batch)
        elif fate < 0.8:
            # What is beyond the last commit is not read again.
            self._world.strike("torn write")

    def write_slice(self, begun: Slice) -> None:
        """Write the begin of a slice. Raises DiskFailure, and the disk is as before."""
        if self.is_full:
            self._world.strike("no room for a slice")
            raise DiskFailure("no space is left on the disk")
        self.slices.append(begun)

    def keep_slices(self, kept: list[Slice]) -> None:
        """Set aside all other slices."""
        self.slices_aside += [each for each in self.slices if each not in kept]
        self.slices = kept

    def read(self) -> tuple[list[frame.Block], list[bytes]]:
        """Blocks up to the first damage, and what lies behind it."""
        blocks: list[frame.Block] = []
        link, next_seq = GENESIS, 1
        begins = {each.seq: each.link for each in self.slices}
        for place, sealed in enumerate(self.slots):
            link = begins.get(next_seq - 1, link)
            try:
                block = frame.decode(sealed, next_seq, ROW_BYTES)
                frame.check_link(block, next_seq, link)
            except JournalDamaged:
                return blocks, self.slots[place:]
            blocks.append(block)
            link, next_seq = block.checksum, block.last_seq + 1
        return blocks, []
