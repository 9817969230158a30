"""Third copy of a market that follows the primary, applies its blocks with either engine, and compares digests.

It starts from a data directory, which it only reads, and keeps no journal. It compares the events and the pieces and
parts of the state that the primary sends (``replication.pieces``), and the rows of the reference engine where that is
its engine (``node.pair.audited_state``). After a difference it writes a forensic bundle.
"""

import os
import select
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final, NamedTuple

from checkpoints import CheckpointError
from engine.interface import EngineKind
from engine.records import COMMAND
from journal import BlockRefused, Journal, JournalDamaged
from journal.frame import check_continues, decode_sealed
from journal.marks import decode_genesis
from node.pair.audit_bundle import AuditBundle
from node.pair.audited_state import AuditedState
from node.pair.state_comparison import found_by
from replay.rebuild import Progress, capacity_of, journal_of, owned_rows
from replication.comparison import Divergence
from replication.identity import identity_of
from replication.lease import lease_clock_ns
from replication.link import LinkError, Position, Rows, Scrub
from replication.standby import Settings, Standby

#: Longest waits: for the connection, and for a primary that is gone, in seconds.
CONNECT_S: Final = 5.0
LOST_S: Final = 10.0
#: Interval of looks at time while nothing arrives, in seconds.
_LOOK_S: Final = 0.02
_ATTEMPTS: Final = 5


class AuditForbidden(Exception):
    """The primary and this auditor are no pair: another attempt changes nothing. The message says why."""


class AuditRefused(Exception):
    """The audit cannot begin or go on; the message says why."""


class AuditState(NamedTuple):
    """Progress of an audit: last command applied, last one with equal digests, pieces and parts compared.

    ``rows_seq``: last command after which the rows of the reference engine were compared; 0 for none.
    """

    primary: str
    seq: int
    agreed_seq: int
    primary_seq: int
    pieces: int
    parts_seq: int
    rows_seq: int


class Auditor:
    """Audit of the primary at ``address`` by a copy of the state of a data directory.

    ``bundles``: folder of the bundle of a difference.
    Raises AuditRefused, and what ``rebuild_from`` raises. Close it.
    """

    def __init__(
        self,
        directory: Path,
        address: tuple[str, int],
        secret: bytes,
        *,
        bundles: Path,
        engine: EngineKind = "kernel",
        progress: Progress | None = None,
    ) -> None:
        self._directory, self._address, self._secret = directory, address, secret
        self._journal: Journal = journal_of(directory)
        self._kind: EngineKind = engine
        self._bundles = bundles
        self._replay(progress)
        self._socket: socket.socket | None = None
        self._own_parts: dict[int, dict[str, bytes]] = {}
        self._parts_seq = 0
        #: Start of the slice that it is in.
        self._start = Position(0, b"")
        self._link, self._epoch, self._time_ns = self._end()
        self.standby = self._new_standby()

    def _replay(self, progress: Progress | None) -> None:
        """Come to the end of the journal in the directory, whatever digests are recorded there."""
        self._copy = AuditedState(self._journal, self._directory, self._kind, progress)
        self._bundle = AuditBundle(self._bundles, self._journal)

    def close(self) -> None:
        """End the connection and the reading."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None
        self._bundle.close()
        self._journal.close()

    @property
    def divergence(self) -> Divergence | None:
        """First difference from the primary."""
        return self.standby.divergence

    @property
    def state(self) -> AuditState:
        """Progress."""
        standby = self.standby
        return AuditState(
            standby.primary,
            standby.applied_seq,
            int(standby.status()["agreed_seq"]),
            standby.primary_seq,
            self._copy.pieces.compared,
            self._parts_seq,
            self._copy.rows_seq,
        )

    def follow(self, is_over: Callable[[AuditState], bool]) -> AuditState:
        """Follow the primary until ``is_over``, or until a difference is found. Raises AuditRefused."""
        attempts, lost_ns = 0, lease_clock_ns()
        while self.divergence is None and not is_over(self.state):
            if self._socket is None and not self._connect(lost_ns):
                continue
            self._turn()
            if self.standby.state == "following":
                attempts, lost_ns = 0, lease_clock_ns()
            elif self.standby.state not in ("greeting", "diverged"):
                self._drop()
                attempts += self.standby.state in ("elsewhere", "refused")
                if self.standby.state == "elsewhere" and attempts < _ATTEMPTS:
                    self._read_on()
                elif self.standby.state != "disconnected":
                    raise (AuditForbidden if self._is_for_good else AuditRefused)(self._reason())
        return self.state

    @property
    def _is_for_good(self) -> bool:
        """True if the secret or the market is another one."""
        return bool(self.standby.unlike) or "secret" in self.standby.why

    def _reason(self) -> str:
        standby = self.standby
        if standby.state == "elsewhere":
            return (
                f"{self._directory} ends at command {standby.taken_seq}, before the blocks that the primary has at "
                "hand; name a newer copy, or the directory of a running node"
            )
        if standby.state == "apart" and standby.common is not None:
            seq = standby.common.seq
            return f"{self._directory} has blocks that the primary does not have, after command {seq} or later"
        return f"the primary refuses the audit: {standby.why}"

    def _end(self) -> tuple[bytes, int, int]:
        """Checksum, epoch and time at the end of what was replayed; the engine stands at the end of a block."""
        seq = self._copy.engine.seq
        self._start = Position(self._journal.start_seq, self._journal.start_link)
        if seq == self._journal.start_seq:
            return self._journal.start_link, 0, 0
        block = next(self._journal.blocks(seq, seq))
        return block.checksum, block.epoch, block.time_ns

    def _new_standby(self) -> Standby:
        capacity = capacity_of(self._journal)
        return Standby(
            identity_of(self._journal, capacity, f"auditor-{socket.gethostname()}-{os.getpid()}"),
            "auditor",
            self._secret,
            Settings(silence_ns=2_000_000_000),
            epoch=self._epoch,
            seq=self._copy.engine.seq,
            event_digest=self._copy.engine.event_digest,
            directory=os.urandom(16),
        )

    def _read_on(self) -> None:
        """Replay what a running node has journaled in the directory meanwhile."""
        self._journal.close()
        self._journal = journal_of(self._directory)
        if self._copy.engine.seq < self._journal.start_seq:
            self._bundle.close()
            self._replay(None)
        self._copy.play(self._journal, self._journal.last_seq)
        self._bundle.close()
        self._bundle = AuditBundle(self._bundles, self._journal)
        self._link, self._epoch, self._time_ns = self._end()
        self.standby = self._new_standby()

    def _connect(self, lost_ns: int) -> bool:
        """Connect and begin the greeting; False where it failed and may be repeated. Raises AuditRefused."""
        try:
            self._socket = socket.create_connection(self._address, CONNECT_S)
        except OSError as error:
            if lease_clock_ns() - lost_ns > LOST_S * 1e9:
                host, port = self._address
                raise AuditRefused(f"no primary answers at {host}:{port}: {error.strerror or error}") from None
            select.select([], [], [], _LOOK_S)
            return False
        self._socket.setblocking(False)
        start = self._start
        end = Position(self.standby.taken_seq, self._link)
        self.standby.connect(os.urandom(16), [end] if end.seq == start.seq else [end, start], lease_clock_ns())
        return True

    def _drop(self) -> None:
        if self._socket is not None:
            self._socket.close()
        self._socket = None

    def _turn(self) -> None:
        """Take what has arrived, and answer."""
        assert self._socket is not None, "a turn has a connection"
        readable, _, _ = select.select([self._socket], [], [], _LOOK_S)
        now_ns = lease_clock_ns()
        if readable:
            try:
                data = self._socket.recv(1 << 20)
            except OSError:
                data = b""
            if not data:
                self.standby.disconnect()
                self._drop()
                return
            self.standby.receive(data, now_ns)
            self._take()
        self.standby.tick(now_ns)
        self.standby.acknowledge(now_ns)
        self._send(b"".join(self.standby.take_out()))

    def _go_on_in_slice(self, genesis: bytes) -> None:
        begun = decode_genesis(genesis)
        if begun.start is None or (begun.start.last_seq, begun.start.link) != (self.standby.taken_seq, self._link):
            raise LinkError(f"the primary begins slice {begun.slice_number} at another command than it sent up to")
        self._start = Position(begun.start.last_seq, begun.checksum)
        self._link = begun.checksum
        self.standby.on_slice_begun(begun.slice_number)
        self._bundle.on_slice_begun(self._copy.compiled)

    def _send(self, data: bytes) -> None:
        if not data or self._socket is None:
            return
        self._socket.settimeout(CONNECT_S)
        try:
            self._socket.sendall(data)
        except OSError:
            self.standby.disconnect()
        self._socket.setblocking(False)

    def _take(self) -> None:
        """Apply the blocks that arrived, and compare what the primary sent between them."""
        standby = self.standby
        while standby.state == "following":
            blocks = standby.take_blocks()
            for sealed in blocks:
                if isinstance(sealed, Rows):
                    standby.take_rows(sealed)
                    continue
                try:
                    block = decode_sealed(sealed, COMMAND.itemsize)
                    check_continues(block, standby.taken_seq, self._link, self._epoch, self._time_ns, self._start.seq)
                except (BlockRefused, JournalDamaged) as error:
                    standby.on_block_refused(str(error))
                    return
                self._copy.apply(owned_rows(block.rows))
                self._bundle.on_applied(block.last_seq, bytes(sealed), self._copy.compiled)
                self._link, self._epoch, self._time_ns = block.checksum, block.epoch, block.time_ns
                standby.on_taken(block.last_seq, block.epoch, block.rows)
                standby.on_applied(block.first_seq, block.last_seq, self._copy.engine.event_digest)
            try:
                checks = standby.take_checks()
                for check in checks:
                    self._check(check)
            except (LinkError, JournalDamaged) as error:
                standby.on_block_refused(str(error))
                return
            if not blocks and not checks:
                break
        if standby.state == "following":
            self._copy.compare_rows_when_due(lease_clock_ns, self._compare_rows)

    def _compare_rows(self, part: str, own: bytes, other: bytes) -> None:
        self.standby.compare_part(self._copy.engine.seq, part, own, other)

    def compare_rows(self) -> None:
        """Compare the rows of the reference engine at the end of an audit, where it is the engine."""
        if self.divergence is None:
            self._copy.compare_rows(self._compare_rows)

    def write_bundle(self) -> Path:
        """Write the bundle of the difference; gives its path. Raises AuditRefused where that fails."""
        divergence, standby = self.divergence, self.standby
        assert divergence is not None, "a bundle is of a difference"
        found = found_by(standby.identity.name, "auditor", standby.primary, standby.epoch, divergence)
        try:
            return self._bundle.write(found, self._copy.compiled, self._kind, time.time_ns())
        except (OSError, CheckpointError) as error:
            raise AuditRefused(f"no bundle was written into {self._bundles}: {error}") from error

    def _check(self, check: "Scrub | tuple[int, dict[str, bytes]] | bytes") -> None:
        """Compare what the primary sent, or go on in the slice that it has begun. Raises LinkError."""
        if isinstance(check, bytes):
            self._go_on_in_slice(check)
            return
        if isinstance(check, Scrub):
            part, own = self._copy.pieces.own(check)
            self.standby.compare_part(check.seq, part, own, check.digest)
            return
        seq, parts = check
        if not parts:
            self._own_parts = {seq: dict(self._copy.compiled.part_digests())}
        elif (own_parts := self._own_parts.pop(seq, None)) is not None:
            for part in sorted(own_parts.keys() & parts.keys()):
                self.standby.compare_part(seq, part, own_parts[part], parts[part])
            self._parts_seq = seq
