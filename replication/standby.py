"""Copy's side of replication: blocks of the primary, own positions, comparison of states, and the right to take over.

Bytes and time in, bytes and blocks out; nothing here reads a clock, a socket or a disk. The shell connects, calls
``receive``, appends and applies what ``take_blocks`` gives, and reports with ``on_taken``, ``on_applied`` and
``on_journaled``; then it sends what ``take_out`` gives. ``reason_not_to_take_over`` is the whole decision on a
takeover, but for the arbiter's.

A standby acknowledges a block only once the journal has taken it (in memory) or has it on the disk. The primary may
send rows ahead of their block: they are kept (``ahead``) and acknowledged as in memory. If the block never comes, since
the primary is gone, this node puts them into a block of its own before it asks for the reign.

A standby refuses frames of an epoch below the highest that it has seen, its own included: that keeps an old primary
from having anything acknowledged.
"""

from collections import deque
from typing import Any, Final, Literal, NamedTuple

from replication import link
from replication.arbiter import Reign, Standing, member_of
from replication.comparison import Comparison, Divergence
from replication.link import TAIL_MAX, Frame, FrameReader, Identity, Kind, LinkError, Position, Rows, Scrub
from replication.own_pause import OwnPauses

#: No acknowledgement was sent on this connection.
_NOTHING_TOLD: Final = (-1, -1)

State = Literal["disconnected", "greeting", "following", "refused", "diverged", "elsewhere", "apart"]


class CatchUp(NamedTuple):
    """Position of the primary, for a copy that has to fetch older blocks first."""

    last_seq: int
    slice_number: int


class Settings(NamedTuple):
    """Times of a copy. ``acknowledge_ns``: longest time between two acknowledgements."""

    acknowledge_ns: int = 50_000_000
    silence_ns: int = 500_000_000


class Standby:
    """A copy of a primary.

    ``state``: disconnected; greeting; following; refused (``why``); diverged (``divergence``); elsewhere: fetch older
    blocks first (``catch_up``); apart: this journal has blocks after ``common`` that are not of the primary's history,
    set them aside. After each of the last four the connection is to be closed.

    ``epoch``: the highest seen. ``seq``, ``event_digest``: of the last command in the journal, all of which is on the
    disk and applied. ``in_sync``: the primary says that the arbiter's record names this node, which has all that was
    told. ``memory_kept``: nothing that this node has acknowledged was lost from memory; so after an own reign, once it
    is in sync by the record too, and after an orderly stop of a node of which this was true. ``incomplete``: reason for
    which its disk may lack what it has acknowledged (it is new, or damage was cut off), until it is in sync; keep it
    beside the journal. ``ahead``: rows that come after the last block, in order, sent in ``ahead_epoch``. ``unlike``:
    reason for which the primary refused this node as no pair. ``primary``: its name.
    """

    def __init__(
        self,
        identity: Identity,
        role: str,
        secret: bytes,
        settings: Settings,
        *,
        epoch: int,
        seq: int,
        event_digest: bytes,
        memory_kept: bool = False,
        incomplete: str = "",
        directory: bytes = b"",
    ) -> None:
        self.identity, self.role, self.settings = identity, role, settings
        self._secret, self._directory = secret, directory
        #: This node as the arbiter's record names it.
        self.member = member_of(identity.name, directory)
        self.epoch = epoch
        self.state: State = "disconnected"
        self.why = ""
        self.divergence: Divergence | None = None
        self.catch_up: CatchUp | None = None
        self.common: Position | None = None
        self.in_sync = False
        self.memory_kept, self.incomplete = memory_kept, incomplete
        #: Epoch in which a primary said last that this node is in sync, since the process has started.
        self.synced_epoch = 0
        self.unlike = ""
        self.primary = ""
        self.taken_seq = self.applied_seq = self.journaled_seq = seq
        self.primary_seq = self.released_seq = seq
        self.primary_time_ns = 0
        #: Position of a takeover by command, until it is answered.
        self.handover: Position | None = None
        #: Port of the primary's history, beside its link; 0 if it serves none.
        self.history_port = 0
        self.heard_ns = self._acknowledged_ns = 0
        #: When bytes of a primary came last, 0 for none yet. ``heard_ns`` also has what is no silence of the primary.
        self.last_sign_ns = 0
        self._applied_digest = event_digest
        self._comparison = Comparison(seq)
        self._reader = FrameReader()
        self._nonce = self._challenge = b""
        self._tail: list[Position] = []
        self._blocks: deque[bytes | Rows] = deque()
        self.ahead: deque[Rows] = deque()
        self.ahead_epoch = 0
        #: Frames of rows that were taken ahead of their block since the start.
        self.rows_taken = 0
        self._checks: deque[tuple[int, Frame]] = deque()
        self._digests: list[Position] = []
        #: Last command of blocks whose recorded digest is to come, by their first one, while blocks are fetched.
        self._fetched: dict[int, int] = {}
        self._told = _NOTHING_TOLD
        self._pauses = OwnPauses()
        #: The primary is known to have heard of the divergence.
        self._divergence_told = self._is_reporting = False
        self._out: list[bytes] = []

    # The connection.

    def connect(self, nonce: bytes, tail: list[Position], now_ns: int) -> None:
        """Begin a greeting on a new connection.

        ``nonce``: 16 random bytes. ``tail``: positions at the ends of blocks of the own journal with the checksum of
        the chain there, the newest first and complete, older ones further and further apart, the start of the slice
        last; ``TAIL_MAX`` at most. Blocks that were not taken are dropped.
        """
        if self.state == "diverged":
            raise ValueError("a node that has diverged must be rebuilt before it connects again")
        if len(tail) > TAIL_MAX or not tail or tail[0].seq != self.taken_seq:
            raise ValueError(f"the tail has {len(tail)} positions, or does not begin at command {self.taken_seq}")
        self.state, self.why = "greeting", ""
        self.catch_up = self.common = self.handover = None
        self.in_sync = False
        self._reader = FrameReader()
        self._nonce, self._tail = nonce, tail
        self._blocks.clear()
        self._checks.clear()
        self._out.clear()
        self._digests.clear()
        self._told = _NOTHING_TOLD
        self.heard_ns = self._acknowledged_ns = now_ns

    @property
    def has_divergence_to_report(self) -> bool:
        """True while this node has diverged, and the primary may not know: it was found while no link was open."""
        return self.divergence is not None and not self._divergence_told

    def connect_to_report(self, nonce: bytes, now_ns: int) -> None:
        """Begin a greeting on a new connection that reports the divergence, and nothing else."""
        self._reader, self._nonce, self._challenge = FrameReader(), nonce, b""
        self._is_reporting, self.heard_ns = True, now_ns
        self._out.clear()

    def _take_diverged(self, frame: Frame) -> None:
        """Report the divergence in a greeting, and note that the primary has answered: then it knows."""
        if self._is_reporting and not self._challenge and frame.kind == Kind.CHALLENGE and self.divergence is not None:
            self._put_hello(frame, {"divergence": link.pack_map(self.divergence._asdict()), "tail": b""})
        elif self._is_reporting or frame.kind in (Kind.DIVERGENCE, Kind.REFUSAL):
            self._divergence_told = True

    def is_connection_over(self, now_ns: int) -> bool:
        """True once the connection that is still open is of no use: give it up, whether its end is reported or not.

        In no state is it waited for longer than ``silence_ns``, from the last byte: not for an answer, and not for the
        end of one that was closed.
        """
        return self.state == "disconnected" or now_ns - self.heard_ns > self.settings.silence_ns

    def disconnect(self) -> None:
        """Note that the connection is gone; blocks that arrived stay to be taken. May be repeated."""
        if self.state in ("greeting", "following"):
            self.state = "disconnected"
        self.in_sync = False
        self._out.clear()

    def receive(self, data: "bytes | bytearray | memoryview", now_ns: int) -> None:
        """Take bytes of the connection. A primary that breaks the rules is refused, with the reason."""
        self.heard_ns = self.last_sign_ns = now_ns
        if self.state == "following":
            sealed = self._reader.sole_payload(data, Kind.BLOCK, self.epoch)
            if sealed is not None:
                self._on_block(sealed)
                return
        try:
            for frame in self._reader.feed(data):
                if self.state == "diverged":
                    self._take_diverged(frame)
                    continue
                if self.state not in ("greeting", "following"):
                    return
                self._take(frame)
        except LinkError as error:
            self._refuse(str(error))

    def _refuse(self, why: str) -> None:
        self.state, self.why, self.in_sync = "refused", why, False

    def _take(self, frame: Frame) -> None:
        # A primary of an earlier epoch is answered once, so that it hears of this one.
        if frame.epoch < self.epoch and frame.kind not in (Kind.CHALLENGE, Kind.REFUSAL):
            raise LinkError(f"the peer is of epoch {frame.epoch}, and epoch {self.epoch} has begun")
        if self.state == "greeting":
            self._greet(frame)
            return
        if frame.epoch != self.epoch:
            raise LinkError(f"the epoch changed from {self.epoch} to {frame.epoch} within a connection")
        if frame.kind == Kind.BLOCK:
            self._on_block(frame.payload)
        elif frame.kind == Kind.ROWS:
            self._blocks.append(link.unpack_rows(frame.payload))
        elif frame.kind == Kind.DIGESTS:
            for position in link.unpack_positions(frame.payload):
                self._comparison.other(position)
            self._judge()
        elif frame.kind in (Kind.SCRUB, Kind.PARTS, Kind.SLICE):
            # They belong to the position after the blocks that came before them.
            self._checks.append((len(self._blocks), frame))
        elif frame.kind == Kind.BEAT:
            self.primary_seq, self.released_seq, self.primary_time_ns = link.unpack_beat(frame.payload)
        elif frame.kind == Kind.SYNC:
            self.in_sync = frame.payload == b"1"
            if self.in_sync:
                self.synced_epoch = self.epoch
        elif frame.kind == Kind.HANDOVER:
            positions = link.unpack_positions(frame.payload)
            self.handover = positions[0] if len(positions) == 1 else None
        elif frame.kind == Kind.DIVERGENCE:
            self._on_divergence_reported(frame.payload)
        elif frame.kind == Kind.CATCH_UP:
            self._go_elsewhere(frame.payload)
        elif frame.kind == Kind.REFUSAL:
            self._on_refusal(frame.payload)
        else:
            raise LinkError(f"a primary may not send {frame.kind.name} now")

    def _on_block(self, sealed: bytes) -> None:
        self._blocks.append(sealed)

    def _on_refusal(self, payload: bytes) -> None:
        why = str(link.unpack_map(payload, {"why": str})["why"])
        if self.state == "following" and (pause_ns := self._pauses.recent_ns(self.heard_ns, self.settings.silence_ns)):
            why = f"{self.identity.name} itself stood still for {pause_ns / 1e9:.1f} s, and {why}"
        self._refuse(why)

    def _on_greeting_refused(self, frame: Frame) -> None:
        """Note a refusal. One with a proof says that this node is no pair of the primary; others change nothing."""
        try:
            claims = self._proved(frame)
        except LinkError:
            self._on_refusal(frame.payload)
            return
        self._on_refusal(claims)
        self.unlike = self.why

    def _proved(self, frame: Frame) -> bytes:
        """Claims of the primary's answer. Raises LinkError without its proof."""
        return link.unpack_answer(self._secret, frame, self._challenge, self._nonce)

    def _go_elsewhere(self, payload: bytes) -> None:
        told = link.unpack_map(payload, {"last_seq": int, "slice_number": int})
        self.catch_up, self.state = CatchUp(told["last_seq"], told["slice_number"]), "elsewhere"
        # What was said of blocks that were dropped is not true of those that are fetched in their place.
        self._comparison = Comparison(self.taken_seq)

    def _greet(self, frame: Frame) -> None:
        if frame.kind == Kind.CHALLENGE and not self._challenge_answered:
            takes = {"takes_rows": True, "gathers_ids": True}
            self._put_hello(frame, {**takes, "tail": link.pack_positions(self._tail)})
        elif frame.kind == Kind.WELCOME:
            self._welcomed(frame)
        elif frame.kind == Kind.COMMON:
            told = link.unpack_map(self._proved(frame), {"common": bytes})
            positions = link.unpack_positions(told["common"])
            if len(positions) != 1 or positions[0] not in self._tail:
                raise LinkError("the primary named a common position that this journal does not have")
            self.common, self.state = positions[0], "apart"
        elif frame.kind == Kind.CATCH_UP:
            self._go_elsewhere(self._proved(frame))
        elif frame.kind == Kind.REFUSAL:
            self._on_greeting_refused(frame)
        else:
            raise LinkError(f"a primary may not send {frame.kind.name} in a greeting")

    def _put_hello(self, challenge: Frame, more: dict[str, Any]) -> None:
        """Answer a challenge with the claims of this node and ``more``."""
        self._challenge, self.history_port = link.unpack_challenge(challenge.payload)
        own = {"role": self.role, "epoch": self.epoch, "directory": self._directory}
        claims = link.pack_map({**self.identity._asdict(), **own, **more})
        proof = link.proof(self._secret, "copy", self._challenge, self._nonce, claims)
        hello = link.pack_map({"claims": claims, "nonce": self._nonce, "proof": proof})
        self._out.append(link.encode(Kind.HELLO, self.epoch, hello))

    @property
    def _challenge_answered(self) -> bool:
        return bool(self._out) or self._told != _NOTHING_TOLD

    def _welcomed(self, frame: Frame) -> None:
        claims = link.unpack_map(self._proved(frame), link.IDENTITY_KINDS | {"from_seq": int, "last_seq": int})
        why = link.difference(self.identity, Identity(*(claims[name] for name in Identity._fields)))
        if why:
            raise LinkError(why)
        if claims["from_seq"] != self.taken_seq + 1:
            raise LinkError(f"the primary goes on at {claims['from_seq']}, and this journal ends at {self.taken_seq}")
        self.primary, self.primary_seq = claims["name"], claims["last_seq"]
        self.epoch = frame.epoch
        if self.ahead_epoch != self.epoch:
            self.drop_ahead()  # a later primary has all that clients were told
        self._reader.payload_bytes_max = link.PAYLOAD_BYTES_MAX
        self.unlike = ""
        self._comparison = Comparison(self.taken_seq)
        if self.applied_seq == self.taken_seq:
            # The states are compared where they stand, also if nothing follows.
            self._comparison.own(self.applied_seq, self.applied_seq, self._applied_digest)
            self._digests.append(Position(self.applied_seq, self._applied_digest))
        self.state = "following"

    # Blocks.

    def take_blocks(self) -> list[bytes | Rows]:
        """Sealed blocks that arrived, in order, up to the next check of the state; append and apply each.

        The journal checks the chain; report each with ``on_taken``, or ``on_block_refused``. Rows ahead of their block
        go to ``take_rows``, in their place.
        """
        if not self._checks:
            blocks = list(self._blocks)
            self._blocks.clear()
            return blocks
        count = self._checks[0][0]
        blocks = [self._blocks.popleft() for _ in range(count)]
        self._checks = deque((place - count, frame) for place, frame in self._checks)
        return blocks

    def take_checks(self) -> list[Scrub | tuple[int, dict[str, bytes]] | bytes]:
        """Checks that belong to the present position, once ``take_blocks`` has given all blocks before them and they
        are applied: a Scrub, (seq, digest of each part), or the genesis record of a slice that the primary has begun
        there. Begin the same slice before any further block, and report it with ``on_slice_begun``.

        Without digests the parts are to be computed here. With digests they may be of an earlier position, where this
        node was asked to compute its own. Raises LinkError for any other check of another position.
        """
        checks: list[Scrub | tuple[int, dict[str, bytes]] | bytes] = []
        while self._checks and self._checks[0][0] == 0:
            _, frame = self._checks.popleft()
            if frame.kind == Kind.SCRUB:
                scrub = link.unpack_scrub(frame.payload)
                if scrub.seq != self.taken_seq:
                    raise LinkError(
                        f"the primary compares its state after {scrub.seq}, and sent up to {self.taken_seq}"
                    )
                checks.append(scrub)
            elif frame.kind == Kind.SLICE:
                checks.append(frame.payload)
            else:
                checks.append(self._parts(frame))
        return checks

    def _parts(self, frame: Frame) -> tuple[int, dict[str, bytes]]:
        told = link.unpack_map(frame.payload, {"seq": int, "parts": dict})
        if told["seq"] > self.taken_seq or (not told["parts"] and told["seq"] != self.taken_seq):
            raise LinkError(f"the primary compares its state after {told['seq']}, and sent up to {self.taken_seq}")
        return told["seq"], told["parts"]

    @property
    def is_between_blocks(self) -> bool:
        """True if all that came was taken, so that rows ahead of their block may be acknowledged as they come."""
        return self.state == "following" and not self._blocks and not self._checks and self._reader.is_between_frames

    @property
    def received_seq(self) -> int:
        """Last command that this node has in memory, in a block or ahead of its block."""
        return self.ahead[-1].last_seq if self.ahead else self.taken_seq

    def take_rows(self, rows: Rows) -> None:
        """Keep rows ahead of their block. Rows that do not come next are refused, with the connection."""
        if rows.first_seq != self.received_seq + 1:
            self.on_block_refused(
                f"the primary sent rows from {rows.first_seq} on, and {self.received_seq + 1} is next"
            )
            return
        self.ahead.append(rows)
        self.ahead_epoch = self.epoch
        self.rows_taken += 1

    def rows_without_block(self, standing: Standing | None, *, won: bool = False) -> Rows | None:
        """Rows that this node must put into a block of its own before it asks for the reign; None: there are none, or
        their block may still come. ``standing``: the register as last read. ``won``: this node has won the reign.

        The block is of ``ahead_epoch``. Rows of an earlier epoch than the last are of no history, and are dropped.
        """
        if not self.ahead or self._blocks or standing is None:
            return None
        if not won and (standing.held or self.state in ("greeting", "following")):
            return None
        if standing.reign is None or standing.reign.epoch != self.ahead_epoch:
            self.drop_ahead()
            return None
        first, last = self.ahead[0], self.ahead[-1]
        data = b"".join(rows.data for rows in self.ahead)
        return Rows(first.first_seq, last.last_seq - first.first_seq + 1, last.time_ns, data)

    def drop_ahead(self) -> None:
        """Forget the rows ahead of their block: they are in one, or not of the history."""
        self.ahead.clear()

    def _cover(self, last_seq: int, block_rows: "bytes | memoryview") -> None:
        """Forget rows that are in the block up to ``last_seq``, which has to have the same there."""
        first_seq = self.taken_seq + 1
        row_bytes = len(block_rows) // (last_seq - self.taken_seq)
        while self.ahead and self.ahead[0].first_seq <= last_seq:
            rows = self.ahead.popleft()
            at = (rows.first_seq - first_seq) * row_bytes
            part = min(len(rows.data), len(block_rows) - at)
            if rows.row_bytes != row_bytes or rows.data[:part] != block_rows[at : at + part]:
                self.on_block_refused(f"the block up to {last_seq} has other rows than the primary sent ahead of it")
            elif rows.last_seq > last_seq:
                count = rows.last_seq - last_seq
                self.ahead.appendleft(Rows(last_seq + 1, count, rows.time_ns, rows.data[part:]))

    def on_taken(self, last_seq: int, epoch: int, rows: "bytes | memoryview") -> None:
        """Note that the journal has taken the block that ends at ``last_seq``, with its ``rows``."""
        if self.state == "elsewhere":
            self._fetched[self.taken_seq + 1] = last_seq
        if self.ahead:
            self._cover(last_seq, rows)
        self.taken_seq = last_seq
        self.primary_seq = max(self.primary_seq, last_seq)
        self.epoch = max(self.epoch, epoch)

    def on_fetch_begun(self) -> None:
        """Note that older blocks are fetched while this node runs; blocks that were not taken are dropped."""
        self._blocks.clear()
        self._checks.clear()
        self._fetched.clear()

    def on_recorded(self, positions: list[Position]) -> None:
        """Compare event digests that the primary has recorded, each at the first command of a fetched block."""
        for first_seq, digest in positions:
            last_seq = self._fetched.pop(first_seq, None)
            if last_seq is not None:
                self._comparison.other(Position(last_seq, digest))
        self._judge()

    def on_caught_up(self) -> None:
        """Note that the fetch has ended: connect again."""
        if self.state == "elsewhere":
            self.state, self.catch_up = "disconnected", None
        self._fetched.clear()

    def on_slice_begun(self, number: int) -> None:
        """Note that the journal goes on in slice ``number``, as the primary's does."""
        self.identity = self.identity._replace(slice_number=number)

    def on_block_refused(self, why: str) -> None:
        """Note that the journal refused a block, or a slice: the link is of no use any more."""
        self._blocks.clear()
        self._checks.clear()
        self._refuse(why)

    def on_applied(self, first_seq: int, last_seq: int, digest: bytes) -> None:
        """Take the event digest at the end of a block that is applied."""
        self.applied_seq, self._applied_digest = last_seq, digest
        if self.state != "elsewhere":  # there is nobody to tell, and the primary's digest comes with its history
            self._digests.append(Position(last_seq, digest))
        self._comparison.own(first_seq, last_seq, digest)
        self._judge()

    def on_journaled(self, seq: int) -> None:
        """Note that all up to ``seq`` is on this node's disk."""
        self.journaled_seq = max(self.journaled_seq, seq)

    # Comparison.

    def _judge(self) -> None:
        if self._comparison.divergence is not None:
            self.diverge(self._comparison.divergence)

    def diverge(self, divergence: Divergence) -> None:
        """Stop for a difference between the states: report it, take nothing more."""
        if self.divergence is None:
            self.divergence = divergence
            if self.state == "following":
                frame = link.encode(Kind.DIVERGENCE, self.epoch, link.pack_map(divergence._asdict()))
                self._out.append(frame)
        self.state, self.in_sync = "diverged", False
        self.why = self.divergence.sentence(self.identity.name, self.primary)
        self._blocks.clear()
        self._checks.clear()

    def _on_divergence_reported(self, payload: bytes) -> None:
        told = link.unpack_map(payload, {"first_seq": int, "last_seq": int, "part": str, "own": bytes, "other": bytes})
        self._divergence_told = True
        # What is its own is the other's here.
        self.diverge(Divergence(told["first_seq"], told["last_seq"], told["part"], told["other"], told["own"]))

    def compare_part(self, seq: int, part: str, own: bytes, other: bytes) -> None:
        """Compare digests of a part of the state, or of a piece of it, after command ``seq``."""
        if own != other:
            self.diverge(Divergence(seq, seq, part, own, other))

    # Time and output.

    def tick(self, now_ns: int) -> None:
        """Acknowledge what is due, and give up a silent primary. ``now_ns``: monotonic."""
        self.heard_ns = min(self.heard_ns + self._pauses.look(now_ns), now_ns)
        if self.state in ("greeting", "following") and now_ns - self.heard_ns > self.settings.silence_ns:
            self.disconnect()
            self.why = f"nothing was heard from the primary for {self.settings.silence_ns // 1_000_000} ms"
        elif self.state == "following" and now_ns - self._acknowledged_ns >= self.settings.acknowledge_ns:
            self._told = _NOTHING_TOLD
            self.acknowledge(now_ns)

    def acknowledge_taken(self, now_ns: int) -> None:
        """Put the positions alone into the output, if they are new: clients may wait for them. Digests follow later."""
        told = (self.received_seq, min(self.journaled_seq, self.taken_seq))
        if self.state == "following" and told != self._told:
            self._told, self._acknowledged_ns = told, now_ns
            self._out.append(link.encode(Kind.ACK, self.epoch, link.pack_ack(*told, ())))

    def on_told(self, received_seq: int, journaled_seq: int, now_ns: int) -> None:
        """Note that these positions were acknowledged already, as bytes that did not go through here."""
        self._told, self._acknowledged_ns = (received_seq, journaled_seq), now_ns

    def acknowledge(self, now_ns: int) -> None:
        """Put an acknowledgement into the output, if there is anything new in it."""
        told = (self.received_seq, min(self.journaled_seq, self.taken_seq))
        if self.state == "following" and (told != self._told or self._digests):
            self._told, self._acknowledged_ns = told, now_ns
            self._out.append(link.encode(Kind.ACK, self.epoch, link.pack_ack(*told, self._digests)))
            self._digests = []
        self._answer_handover()

    def _answer_handover(self) -> None:
        """Answer a takeover by command once this node stands where the primary does; forget one that was given up."""
        if self.handover is not None and self.applied_seq > self.handover.seq:
            self.handover = None
        end = Position(self.applied_seq, self._applied_digest)
        if self.state == "following" and self.handover == end and self.journaled_seq >= end.seq:
            self.handover = None
            self._out.append(link.encode(Kind.READY, self.epoch, link.pack_positions([end])))

    def take_out(self) -> list[bytes]:
        """Bytes to send now, in order."""
        out, self._out = self._out, []
        return out

    # The right to take over.

    @property
    def lag_commands(self) -> int:
        """Commands that the primary was known to have and this node has not applied."""
        return max(self.primary_seq - self.applied_seq, 0)

    def reason_not_to_take_over(self, reign: Reign | None) -> str:
        """Sentence on what keeps this node from taking over after a reign (None: the first); "" if nothing does.

        The record of the reign decides on the blocks: a node that it names has acknowledged all that a client was told.
        Under `replica` it may have done so from memory, and a restart loses that: then the node must have been in sync
        since, or be named alone, which it is only once its own disk has all that was told. For the same reason all that
        it has received must be on its disk before it asks: from then on it is named alone.
        """
        name = self.identity.name
        if self.role != "standby":
            return f"{name} is a {self.role}: it takes over only by `lockstep promote --force`"
        if why := self.reason_not_to_begin(forced=False, acknowledged_seq=0) or self._reason_by_record(reign):
            return why
        if self._blocks or self.applied_seq < self.taken_seq:
            return f"{name} has not applied all that it has received"
        if self.ahead:
            return f"{name} has rows up to {self.received_seq} that are in no block yet"
        if self.journaled_seq < self.taken_seq:
            return f"{name} has not written all that it has received to its disk"
        return ""

    def reason_not_to_begin(self, *, forced: bool, acknowledged_seq: int) -> str:
        """Reason to give back a reign that was won; "" if there is none. Ask it once all that was taken is applied.

        It may have come up while the request was under way. forced: an operator has asked for the reign, by whose word
        only a divergence counts. acknowledged_seq: of the arbiter's record.
        """
        name = self.identity.name
        if self.divergence is not None:
            return f"{name} has diverged: {self.why}; rebuild it"
        if forced:
            return ""
        if self.state == "apart":
            return f"{name} has blocks that are not of the primary's history; they must be set aside first"
        if self.unlike:
            return f"{name} is no pair of the primary: {self.unlike}"
        return self._reason_by_position(acknowledged_seq)

    def _reason_by_position(self, acknowledged_seq: int) -> str:
        """Reason of a node that lacks what each node in the record has acknowledged; "" for none."""
        if self.taken_seq >= acknowledged_seq:
            return ""
        return (
            f"{self.identity.name} ends at command {self.taken_seq}, and clients were told of commands up to "
            f"{acknowledged_seq}: its directory is an older copy of itself; start the other node, from which this one "
            "gets what it lacks"
        )

    def _reason_by_record(self, reign: Reign | None) -> str:
        name = self.identity.name
        # A primary may say "in sync" though its reign is over: what counts is the reign of the record.
        synced = reign is not None and self.synced_epoch == reign.epoch
        if self.incomplete and not synced:
            return f"{name} may lack acknowledged orders: {self.incomplete}"
        if reign is None:
            return ""
        if name in reign.names_in_sync and not reign.has_in_sync(self.member):
            return (
                f"the arbiter's record names another data directory of {name}, so answers may be missing in this one; "
                "start that one, and give each directory a name of its own"
            )
        if name not in reign.names_in_sync:
            return f"{name} is not in sync by the arbiter's record, so answers may be missing here"
        if self.taken_seq == 0:
            return f"{name} has an empty journal, and epoch {reign.epoch} has begun; its disk was lost or replaced"
        if reign.policy == "replica" and not (self.memory_kept or synced) and len(reign.in_sync) > 1:
            return f"{name} has restarted, and may lack what it had in memory alone"
        return self._reason_by_position(reign.acknowledged_seq)

    def on_record_read(self, reign: Reign | None) -> None:
        """Take the arbiter's record, each time that it is read: of its last reign, and which nodes are in sync.

        Nothing older is taken from then on. If the primary of that reign said that this node is in sync, nothing is
        missing here, and every later record that names this node does so for what it has acknowledged since its start.
        """
        if reign is None:
            return
        if not self.primary and reign.primary != self.identity.name:
            self.primary = reign.primary
        if reign.epoch > self.epoch and self.state in ("greeting", "following"):
            self.disconnect()
        self.epoch = max(self.epoch, reign.epoch)
        if self.synced_epoch == reign.epoch and reign.has_in_sync(self.member):
            self.memory_kept, self.incomplete = True, ""

    def reign(self, epoch: int) -> None:
        """Note that this node has won ``epoch``: from now on nothing older is taken. Raises ValueError."""
        if epoch <= self.epoch:
            raise ValueError(f"epoch {epoch} is not above {self.epoch}")
        if self.ahead:
            raise ValueError(f"rows up to {self.received_seq} are in no block")
        self.epoch = epoch
        self.disconnect()
        self._blocks.clear()
        self._checks.clear()

    def status(self) -> dict[str, Any]:
        """State of this copy, for reports."""
        return {
            "state": self.state,
            "why": self.why,
            "primary": self.primary,
            "applied_seq": self.applied_seq,
            "journaled_seq": self.journaled_seq,
            "agreed_seq": self._comparison.agreed_seq,
            "lag_commands": self.lag_commands,
            "in_sync": self.in_sync,
            "epoch": self.epoch,
        }


def sparse_tail(newest: list[Position], dense: int = 64) -> list[Position]:
    """Positions for ``Standby.connect`` out of all at hand, the newest first: the first ``dense``, then each twice as
    far back as the one before, then the last.

    >>> [place.seq for place in sparse_tail([Position(seq, b"") for seq in range(9, -1, -1)], 2)]
    [9, 8, 7, 5, 1, 0]
    """
    found = newest[:dense]
    step = 1
    at = dense
    while at < len(newest) - 1 and len(found) < TAIL_MAX - 1:
        found.append(newest[at])
        step *= 2
        at += step
    if len(newest) > dense:
        found.append(newest[-1])
    return found
