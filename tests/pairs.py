"""A primary and its copies without processes: the cores of replication over a queue of bytes, with toy journals."""

import hashlib
from dataclasses import dataclass, field

from journal import frame
from replication import standby as copy_side
from replication.arbiter import Reign
from replication.backlog import SliceBegin
from replication.copy_connection import Copy
from replication.link import Identity, Position, Rows
from replication.primary import Primary, Settings
from replication.standby import Standby, sparse_tail

SECRET = b"a secret of the pair"
FORM = b"f" * 16
GENESIS = b"g" * 16
MS = 1_000_000
DEFAULTS = Settings()


def identity(name: str, **changes: object) -> Identity:
    """Identity of a node of the same journal."""
    return Identity(name, bytes(16), 5, FORM, "build", 1)._replace(**changes)  # type: ignore[arg-type]


def reign_of(*in_sync: str, policy: str = "both", epoch: int = 1) -> Reign:
    """Reign of the first of the nodes in sync."""
    return Reign(epoch, epoch, in_sync[0], "", "", in_sync, 0, "", policy)


@dataclass
class Log:
    """Toy journal and state: sealed blocks with a chain, and an event digest after each block."""

    blocks: list[bytes] = field(default_factory=list)
    ends: list[Position] = field(default_factory=lambda: [Position(0, GENESIS)])
    digest: bytes = bytes(16)
    slices: list[bytes] = field(default_factory=list)

    @property
    def seq(self) -> int:
        """Last command."""
        return self.ends[-1].seq

    def write(self, rows: bytes, epoch: int) -> tuple[int, int, bytes]:
        """Append a block of rows of one byte: first and last command, sealed."""
        first = self.seq + 1
        encoded = frame.encode(
            rows, first_seq=first, count=len(rows), time_ns=0, epoch=epoch, source_digest="", rules_version=6
        )
        frame.seal(encoded, self.ends[-1].digest)
        self.append(bytes(encoded))
        return first, self.seq, bytes(encoded)

    def append(self, sealed: bytes) -> frame.Block:
        """Append a sealed block that must come next. Raises JournalError."""
        announced = frame.peek(sealed)
        block = frame.decode(sealed, announced[0] if announced else 0, 1)
        frame.check_continues(block, self.seq, self.ends[-1].digest, 0, 0)
        self.blocks.append(sealed)
        self.ends.append(Position(block.last_seq, block.checksum))
        return block

    def apply(self, block: frame.Block) -> bytes:
        """Event digest after a block."""
        self.digest = hashlib.md5(self.digest + bytes(block.rows), usedforsecurity=False).digest()
        return self.digest

    def begin_slice(self, genesis: bytes) -> SliceBegin:
        """Begin a slice: its first block is linked to the genesis record, and older positions are out of reach."""
        begun = SliceBegin(len(self.slices) + 2, genesis, hashlib.md5(genesis, usedforsecurity=False).digest())
        self.slices.append(genesis)
        self.ends = [Position(self.seq, begun.link)]
        return begun

    @classmethod
    def of(cls, blocks: list[bytes]) -> "Log":
        """Log of sealed blocks, applied."""
        log = cls()
        for sealed in blocks:
            log.apply(log.append(sealed))
        return log

    def tail(self) -> list[Position]:
        """Positions for a greeting."""
        return sparse_tail(self.ends[::-1])

    def checksum_at(self, seq: int) -> bytes | None:
        """Checksum of the chain after a command."""
        return next((end.digest for end in self.ends if end.seq == seq), None)


class PrimaryNode:
    """A primary with its log."""

    def __init__(self, name: str = "A", epoch: int = 1, settings: Settings = DEFAULTS, log: Log | None = None) -> None:
        self.log = log or Log()
        end = self.log.ends[-1]
        self.core = Primary(
            identity(name),
            epoch,
            SECRET,
            settings,
            last_seq=end.seq,
            checksum=end.digest,
            event_digest=self.log.digest,
            recorded=frozenset({name}),
            checksum_at=self.log.checksum_at,
        )

    def write(self, rows: bytes, *, journaled: bool = True) -> None:
        """Sequence a block."""
        first, last, sealed = self.log.write(rows, self.core.epoch)
        self.core.add_block(first, last, sealed)
        self.core.add_digest(first, last, self.log.apply(frame.decode(sealed, first, 1)))
        if journaled:
            self.core.on_journaled(last)

    def roll(self, genesis: bytes) -> None:
        """Begin a slice."""
        self.core.add_slice(self.log.begin_slice(genesis))

    def record(self) -> None:
        """Answer a wish as the arbiter would."""
        wish = self.core.wish
        if wish is not None:
            self.core.on_record_asked(wish)
            self.core.on_record_answered(wish)

    @property
    def released(self) -> int:
        """Last command that clients may be told of."""
        return self.core.released_seq(lease_holds=True)


class CopyNode:
    """A copy with its log."""

    def __init__(
        self,
        name: str = "B",
        role: str = "standby",
        epoch: int = 0,
        log: Log | None = None,
        incomplete: str = "",
        directory: bytes = b"",
        **changes: object,
    ) -> None:
        self.log = log or Log()
        self.journals = True
        self.core = Standby(
            identity(name, **changes),
            role,
            SECRET,
            copy_side.Settings(),
            epoch=epoch,
            seq=self.log.seq,
            event_digest=self.log.digest,
            incomplete=incomplete,
            directory=directory,
        )

    def work(self, now_ns: int) -> None:
        """Append and apply what arrived, begin slices, and acknowledge."""
        moved = True
        while moved:
            blocks = self.core.take_blocks()
            for sealed in blocks:
                if isinstance(sealed, Rows):
                    self.core.take_rows(sealed)
                    continue
                block = self.log.append(sealed)
                self.core.on_taken(block.last_seq, block.epoch, block.rows)
                self.core.on_applied(block.first_seq, block.last_seq, self.log.apply(block))
            slices = [check for check in self.core.take_checks() if isinstance(check, bytes)]
            for genesis in slices:
                self.core.on_slice_begun(self.log.begin_slice(genesis).number)
            moved = bool(blocks or slices)
        if self.journals:
            self.core.on_journaled(self.log.seq)
        self.core.acknowledge(now_ns)


class Wire:
    """A connection between the two, which delivers whole when asked."""

    def __init__(self, primary: PrimaryNode, copy: CopyNode, now_ns: int = 0) -> None:
        self.primary, self.copy = primary, copy
        self.end: Copy = primary.core.connect(b"n" * 16, now_ns)
        copy.core.connect(b"m" * 16, copy.log.tail(), now_ns)

    def turn(self, now_ns: int = 0) -> bool:
        """Deliver both ways once; False if nothing moved."""
        down = b"".join(self.end.take_out())
        if down:
            self.copy.core.receive(down, now_ns)
        self.copy.work(now_ns)
        up = b"".join(self.copy.core.take_out())
        if up and self.end.state != "closed":
            self.primary.core.receive(self.end, up, now_ns)
        return bool(down or up)

    def settle(self, now_ns: int = 0) -> None:
        """Deliver until nothing moves."""
        for _ in range(1_000):
            if not self.turn(now_ns):
                return
        raise AssertionError("the link does not settle")
