"""Primary's side of replication: blocks to the copies, their positions, and who may take over.

Bytes and time in, bytes and wishes out; nothing here reads a clock, a socket or a disk. The shell calls ``add_block``
and ``add_digest`` for each block, ``on_journaled`` when it is on the disk, ``receive`` for each copy, and ``tick``;
then it sends what ``Copy.take_out`` gives, asks the arbiter for ``wish``, and releases answers up to ``released_seq``.

**The rule that makes a takeover safe.** A node may take over only while the arbiter's record names it as in sync. So an
answer leaves only when each node that the record names, or may name while a request is under way, has acknowledged its
command. A standby that is gone therefore holds the answers back until the record is without it. A standby that joins is
waited for first, and recorded once it has acknowledged all that was ever told.
"""

from collections import OrderedDict
from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import Any, Final, Literal, NamedTuple

from replication import link
from replication.arbiter import member_of, name_of
from replication.backlog import Backlog, SliceBegin
from replication.comparison import Comparison, Divergence
from replication.copy_connection import Copy
from replication.ends_by_time import EndsByTime
from replication.link import Frame, Identity, Kind, LinkError, Position, Scrub
from replication.own_pause import OwnPauses
from replication.standstill import Standstill
from sequencer.release import REPLICATED, ReleasePolicy, Replicated, released_seq

Role = Literal["standby", "follower", "auditor"]
ROLES: Final = ("standby", "follower", "auditor")
#: Part of ``silence_ns`` that a standby may lag behind in memory when answers begin to wait for it; on its disk it may
#: lag by all of it, or by ``copy_stall_ns`` where answers do not wait for its disk.
_JOIN_PART: Final = 4
#: Blocks that are put on a connection in one turn at most: clients wait meanwhile. The next tick goes on.
BLOCKS_PER_TURN_MAX: Final = 256


class Settings(NamedTuple):
    """Times and bounds of a primary. ``alone``: without a standby answer on, after recording it, or stop answering.

    ``copy_stall_ns``, ``own_stall_ns``: standstill of the disk of a standby, and of the primary, that is a fault.
    """

    policy: ReleasePolicy = "both"
    alone: Literal["continue", "stop"] = "continue"
    beat_ns: int = 50_000_000
    silence_ns: int = 500_000_000
    copy_stall_ns: int = 2_000_000_000
    own_stall_ns: int = 5_000_000_000
    backlog_bytes: int = 64 << 20
    out_bytes_max: int = 8 << 20

    @property
    def takes_over(self) -> bool:
        """True if a standby may take over by itself under this policy."""
        return self.policy in REPLICATED


class Primary:
    """Replication of a primary during its reign. ``superseded``: a higher epoch that was seen; 0: none. Stop then.

    ``gives_up``: sentence on the reason for which a standby is to take over, "" for none. Release the reign then.

    ``identity``, ``epoch``: of this node and its reign. ``checksum_at``: checksum of the chain after a command by the
    journal, None if no block ends there. ``last_seq``, ``checksum``: end of the journal, all of which is on the disk.
    ``recorded``: nodes that the arbiter's record names as in sync (``replication.arbiter.member_of``), this one among
    them, with the id of its ``directory``. ``backlog``: the newest blocks
    before the reign, if they are at hand.
    """

    def __init__(
        self,
        identity: Identity,
        epoch: int,
        secret: bytes,
        settings: Settings,
        *,
        last_seq: int,
        checksum: bytes,
        event_digest: bytes,
        recorded: frozenset[str],
        directory: bytes = b"",
        backlog: Backlog | None = None,
        checksum_at: Callable[[int], bytes | None] = lambda _: None,
    ) -> None:
        self.identity, self.epoch, self.settings = identity, epoch, settings
        self._secret = secret
        self._checksum_at = checksum_at
        self.backlog = backlog or Backlog(last_seq, checksum, settings.backlog_bytes)
        self.copies: list[Copy] = []
        self.applied_seq = self.journaled_seq = last_seq
        self._applied_digest = event_digest
        #: First command and event digest of each block of the backlog, by its last command.
        self._digests = OrderedDict({last_seq: (last_seq, event_digest)})
        self._released_seq = last_seq
        self.superseded = 0
        self.gives_up = ""
        self._disk = Standstill()
        self.recorded = recorded
        #: Nodes in a request to the arbiter whose outcome is not known.
        self.asked: frozenset[str] = frozenset()
        self.member = member_of(identity.name, directory)
        self._alone = frozenset({self.member})
        #: Number of changes of the connections, and nodes that answers wait for as they were found in a state.
        self._changes = 0
        self._waited: tuple[Copy | Replicated, ...] = ()
        self._waited_in: tuple[int, frozenset[str], frozenset[str]] | None = None
        #: Acknowledged positions of nodes that may take over and are not connected.
        self._last_acks: dict[str, Replicated] = {}
        #: First difference with a copy, by its name.
        self.divergences: dict[str, Divergence] = {}
        #: Port of this node's history, for copies that need older blocks; 0 while it is not served.
        self.history_port = 0
        #: Ids of the data directories of those copies.
        self._diverged_directories: dict[str, bytes] = {}
        self._pauses = OwnPauses()
        self._ends = EndsByTime(last_seq, max(settings.silence_ns, settings.copy_stall_ns))
        #: Standby that is to take over by command; "" for none.
        self.handover_to = ""

    # Blocks of this node.

    def add_block(self, first_seq: int, last_seq: int, sealed: bytes) -> None:
        """Take a sealed block, before it is applied or on the disk, and put it on the connections.

        ``tick`` feeds those that are behind.
        """
        self.backlog.add(first_seq, last_seq, sealed)
        for copy in self.copies:
            if copy.state != "live" or copy.sent_seq != first_seq - 1:
                continue
            if copy.waiting_bytes <= self.settings.out_bytes_max:
                copy.put(link.head(Kind.BLOCK, self.epoch, len(sealed)), sealed)
                copy.sent_seq = last_seq

    def ahead_copy(self) -> Copy | None:
        """Standby to which rows may be sent ahead of their block; None if there is none now.

        While the lease holds, its acknowledgement of them alone decides on the answers. It has been sent all blocks,
        and nothing else waits for its connection.
        """
        if self.settings.policy != "replica" or self.superseded or self.gives_up or self.handover_to:
            return None
        waited_for = self._waited_for()
        copy = waited_for[0] if len(waited_for) == 1 else None
        if not isinstance(copy, Copy) or copy.state != "live" or self._may_be_named_alone or not copy.takes_rows:
            return None
        current = copy.sent_seq == self.backlog.last_seq == self.applied_seq
        return copy if current and not copy.waiting_bytes and copy.reader.is_between_frames else None

    def on_rows_sent(self, copy: Copy, last_seq: int) -> None:
        """Note that rows up to ``last_seq`` were sent to a copy ahead of their block, which comes next."""
        copy.ahead_seq = max(copy.ahead_seq, last_seq)

    def on_told(self, seq: int) -> None:
        """Note that clients were told of all up to ``seq``, which the only standby that may take over has in memory."""
        self._released_seq = max(self._released_seq, seq)

    def add_digest(self, first_seq: int, last_seq: int, digest: bytes) -> None:
        """Take the event digest at the end of a block that is applied."""
        self.applied_seq, self._applied_digest = last_seq, digest
        self._digests[last_seq] = (first_seq, digest)
        while next(iter(self._digests)) < self.backlog.start.seq:
            self._digests.popitem(last=False)
        for copy in tuple(self.copies):  # one that differs leaves
            # Others get it with the block.
            if copy.state == "live" and copy.sent_seq >= last_seq:
                self._put_digest(copy, first_seq, last_seq, digest)

    def add_scrub(self, scrub: Scrub) -> None:
        """Take the digest of a piece of the state after the last block; copies that are up to date compare it."""
        frame = link.encode(Kind.SCRUB, self.epoch, link.pack_scrub(scrub))
        self._put_if_at(scrub.seq, frame)

    def ask_parts(self, seq: int) -> bool:
        """Ask copies to compute the digests of all parts of the state after the last block, ``seq``; True if a standby
        that is in sync was asked.
        """
        asked = [copy for copy in self._live() if copy.sent_seq == seq]
        self._put_if_at(seq, link.encode(Kind.PARTS, self.epoch, link.pack_map({"seq": seq, "parts": {}})))
        return any(copy.role == "standby" and copy.member in self.recorded for copy in asked)

    def add_parts(self, seq: int, parts: dict[str, bytes]) -> None:
        """Take the digests of all parts of the state after command ``seq``, for copies that compute theirs there."""
        frame = link.encode(Kind.PARTS, self.epoch, link.pack_map({"seq": seq, "parts": parts}))
        for copy in self._live():
            if copy.sent_seq >= seq:
                copy.put(frame)

    def add_slice(self, begun: SliceBegin) -> None:
        """Take the slice that this node has begun after the last block.

        Each copy is told of it between the same two blocks, however far behind it is.
        """
        self.backlog.add_slice(begun)
        self.identity = self.identity._replace(slice_number=begun.number)
        for copy in list(self._live()):
            self._feed(copy)

    def _put_if_at(self, seq: int, frame: bytes) -> None:
        for copy in self._live():
            if copy.sent_seq == seq:
                copy.put(frame)

    def on_journaled(self, seq: int) -> None:
        """Note that all up to ``seq`` is on this node's disk."""
        self.journaled_seq = max(self.journaled_seq, seq)

    def _live(self) -> Iterator[Copy]:
        return (copy for copy in self.copies if copy.state == "live")

    # Release.

    @property
    def replicated(self) -> Replicated | None:
        """Position that each node that may take over has reached; None if there is none but this one."""
        waited_for = self._waited_for()
        if not waited_for:
            return None
        if len(waited_for) == 1:
            return Replicated(waited_for[0].received_seq, waited_for[0].journaled_seq)
        return Replicated(min(ack.received_seq for ack in waited_for), min(ack.journaled_seq for ack in waited_for))

    def _waited_for(self) -> "tuple[Copy | Replicated, ...]":
        """Nodes that may take over: their connections, or what they had acknowledged when these ended.

        This is asked for each block, and changes with the record and the connections alone.
        """
        state = (self._changes, self.recorded, self.asked)
        if state != self._waited_in:
            self._waited_in, self._waited = state, tuple(self._ack_of(each) for each in self._members_waited_for())
        return self._waited

    def waits_for(self) -> list[str]:
        """Names of the nodes whose acknowledgement answers wait for now."""
        members = sorted(self._members_waited_for())
        return [name_of(each) for each in members if self._acknowledged_by(self._ack_of(each)) < self.applied_seq]

    def _members_waited_for(self) -> frozenset[str]:
        joining = {copy.member for copy in self._live() if self._joins(copy)}
        return (self.recorded | self.asked | joining) - self._alone

    @property
    def waits_for_memory_alone(self) -> bool:
        """True while answers wait for the memory of a standby, so that no client waits for the disk here."""
        return self.settings.policy == "replica" and bool(self._waited_for())

    def _ack_of(self, member: str) -> "Copy | Replicated":
        for copy in self._live():
            if copy.member == member and copy.role == "standby":
                return copy
        return self._last_acks.get(member, Replicated(0, 0))

    def released_seq(self, *, lease_holds: bool) -> int:
        """Last command whose events may leave now; it never goes back. Without a sure lease it stands still."""
        if lease_holds and not self.superseded:
            now = released_seq(self.settings.policy, self.applied_seq, self.journaled_seq, self.replicated)
            if self.settings.policy == "replica" and self._may_be_named_alone:
                now = min(now, self.journaled_seq)
            self._released_seq = max(self._released_seq, now)
        return self._released_seq

    # The arbiter's record.

    @property
    def _may_be_named_alone(self) -> bool:
        """True unless the record certainly names another node too. A node that is named alone may reign again after a
        restart, so its own disk must have all that was told.
        """
        return self._alone in (self.recorded, self.asked)

    @property
    def acknowledged_seq(self) -> int:
        """Newest command that clients may have been told of and that is on this disk; 0 under `none`.

        Each node that the record names has it, so one that ends before it has lost it since.
        """
        return 0 if self.settings.policy == "none" else min(self._released_seq, self.journaled_seq)

    @property
    def wish(self) -> frozenset[str] | None:
        """Names that the arbiter is to record as in sync now; None: nothing to record, or a request is under way."""
        if self.asked or self.superseded:
            return None
        wanted = self._wanted()
        return wanted if wanted != self.recorded else None

    def _wanted(self) -> frozenset[str]:
        if not self.settings.takes_over:
            return self._alone
        standbys = {copy.member for copy in self._live() if self._joins(copy) and self._has_what_was_told(copy)}
        if not standbys and (self.settings.alone == "stop" or self._memory_alone_has_what_was_told()):
            return self.recorded
        return self._alone | standbys

    def _joins(self, copy: Copy) -> bool:
        """True if answers wait for a copy, so that the arbiter may record it."""
        return copy.role == "standby" and copy.caught_up and self.settings.takes_over

    def _has_what_was_told(self, copy: Copy) -> bool:
        """True if a copy has acknowledged all that clients were told."""
        return self._acknowledged_by(copy) >= self._released_seq

    def _acknowledged_by(self, copy: "Copy | Replicated") -> int:
        """Last command that a node has as far as the policy asks: in memory or on its disk."""
        return copy.received_seq if self.settings.policy == "replica" else copy.journaled_seq

    def _memory_alone_has_what_was_told(self) -> bool:
        """True under `replica` while clients were told what this disk lacks: a restart would lose it, and a node that
        the record names alone may reign after a restart.
        """
        return self.settings.policy == "replica" and self.journaled_seq < self._released_seq

    def on_record_asked(self, names: frozenset[str]) -> None:
        """Note that a request is about to be sent: from now on it may be in force."""
        self.asked = names

    def on_record_answered(self, recorded: frozenset[str]) -> None:
        """Take the record as the arbiter has it now."""
        self.recorded, self.asked = recorded, frozenset()
        self._last_acks = {member: ack for member, ack in self._last_acks.items() if member in recorded}
        self._changes += 1
        for copy in self._live():
            self._tell_sync(copy)

    def on_record_refused(self, epoch: int) -> None:
        """Note that another reign has begun."""
        self.superseded = max(self.superseded, epoch, self.epoch + 1)

    def _tell_sync(self, copy: Copy) -> None:
        # A standby that restarted may lack what it had acknowledged: it is told once it has that again.
        synced = copy.member in self.recorded and (bool(copy.synced) or self._has_what_was_told(copy))
        if copy.synced != synced:
            copy.synced = synced
            copy.put(link.encode(Kind.SYNC, self.epoch, b"1" if synced else b"0"))

    # Connections of copies.

    def connect(self, nonce: bytes, now_ns: int) -> Copy:
        """Take a new connection; ``nonce``: 16 random bytes."""
        copy = Copy(nonce, self.epoch, now_ns)
        copy.put(link.encode(Kind.CHALLENGE, self.epoch, link.pack_challenge(nonce, self.history_port)))
        self.copies.append(copy)
        return copy

    def disconnect(self, copy: Copy, why: str = "the connection ended") -> None:
        """Note that a connection is gone. May be repeated."""
        if copy not in self.copies:
            return
        self.copies.remove(copy)
        self._changes += 1
        if copy.state == "live" and copy.role == "standby":
            self._last_acks[copy.member] = Replicated(copy.received_seq, copy.journaled_seq)
        copy.state = "closed"
        copy.why = copy.why or why

    def _refuse(self, copy: Copy, why: str, *, is_place_taken: bool = False) -> None:
        fields = {"why": why, link.PLACE_TAKEN: is_place_taken}
        copy.put(link.encode(Kind.REFUSAL, self.epoch, link.pack_map(fields)))
        copy.is_refused = True
        self.disconnect(copy, why)

    def _answer(self, copy: Copy, kind: Kind, fields: dict[str, Any]) -> None:
        """Answer a HELLO, with the proof of the secret."""
        answer = link.pack_answer(self._secret, kind, copy.nonce, copy.peer_nonce, fields)
        copy.put(link.encode(kind, self.epoch, answer))

    def receive(self, copy: Copy, data: "bytes | bytearray | memoryview", now_ns: int) -> None:
        """Take bytes of a connection; one that breaks the rules is closed with the reason."""
        try:
            if copy.state == "live":
                acknowledgement = copy.reader.sole_payload(data, Kind.ACK, self.epoch)
                if acknowledgement is not None:
                    copy.heard_ns = now_ns
                    self._acknowledged(copy, *link.unpack_ack(acknowledgement))
                    return
            for frame in copy.reader.feed(data):
                copy.heard_ns = now_ns
                self._take(copy, frame)
                if copy.state == "closed":
                    return
        except LinkError as error:
            self._refuse(copy, str(error))

    def _take(self, copy: Copy, frame: Frame) -> None:
        if copy.state == "greeting":
            if frame.kind != Kind.HELLO:
                raise LinkError(f"{frame.kind.name} came before the greeting")
            self._greet(copy, frame.payload)
        elif frame.epoch > self.epoch:
            self._on_newer_epoch(copy, frame.epoch)
        elif frame.kind == Kind.ACK:
            self._acknowledged(copy, *link.unpack_ack(frame.payload))
        elif frame.kind == Kind.DIVERGENCE:
            self._on_divergence_reported(copy, frame.payload)
        elif frame.kind == Kind.READY:
            positions = link.unpack_positions(frame.payload)
            copy.ready = positions[0] if len(positions) == 1 else None
        else:
            raise LinkError(f"a copy may not send {frame.kind.name}")

    def _on_newer_epoch(self, copy: Copy, epoch: int) -> None:
        self.superseded = max(self.superseded, epoch)
        self._refuse(copy, f"epoch {epoch} has begun, and this node reigned in epoch {self.epoch}")

    def _greet(self, copy: Copy, payload: bytes) -> None:
        copy.has_greeted = True
        outer = link.unpack_map(payload, {"claims": bytes, "nonce": bytes, "proof": bytes})
        expected = link.proof(self._secret, "copy", copy.nonce, outer["nonce"], outer["claims"])
        if len(outer["nonce"]) != link.NONCE_BYTES or not link.is_proof(outer["proof"], expected):
            self._refuse(copy, "the peer does not know the secret of this pair; give both nodes the same --secret-file")
            return
        copy.peer_nonce = outer["nonce"]
        kinds = link.IDENTITY_KINDS | {"role": str, "epoch": int, "tail": bytes, "directory": bytes}
        claims = link.unpack_map(outer["claims"], kinds)
        identity = Identity(*(claims[name] for name in Identity._fields))
        copy.name, copy.role, copy.directory = identity.name, claims["role"], claims["directory"]
        copy.member = member_of(copy.name, copy.directory)
        copy.takes_rows = link.unpack_flag(outer["claims"], "takes_rows")
        copy.gathers_ids = link.unpack_flag(outer["claims"], "gathers_ids")
        if claims["epoch"] > self.epoch:
            self._on_newer_epoch(copy, claims["epoch"])
            return
        if why := self._reason_against(copy):
            self._refuse(copy, why, is_place_taken=True)
            return
        told = link.unpack_bytes(outer["claims"], "divergence")
        if told and identity.journal_id == self.identity.journal_id:  # a node of another market is refused below
            copy.is_refused = copy.name not in self.divergences
            self._on_divergence_reported(copy, told)
            return
        if not identity.journal_id:  # it has only asked, see ``replication.inquiry``
            self._send_elsewhere(copy, 0)
            return
        if why := self._divergence_of(copy) or link.difference(self.identity, identity):
            self._answer(copy, Kind.REFUSAL, {"why": why})
            copy.is_refused = True
            self.disconnect(copy, why)
            return
        self._place(copy, identity, link.unpack_positions(claims["tail"])[: link.TAIL_MAX])

    def _divergence_of(self, copy: Copy) -> str:
        """Sentence on the divergence of a copy, which may not have heard of it: it must not take over."""
        if copy.name in self.divergences and copy.directory == self._diverged_directories[copy.name]:
            return f"{copy.name} has diverged; rebuild it in an empty directory before it follows again"
        return ""

    def _reason_against(self, copy: Copy) -> str:
        if copy.role not in ROLES:
            return f"the role {copy.role!r} is unknown"
        if copy.role != "auditor" and copy.name == self.identity.name:
            return f"the primary is named {copy.name} too; give each directory a name of its own (--node)"
        if copy.role != "auditor" and any(
            other.name == copy.name and other.directory != copy.directory for other in self._live()
        ):
            return (
                f"a node {copy.name} with another data directory follows {self.identity.name} already; "
                "give each directory a name of its own (--node)"
            )
        others = (other.name for other in self._live() if other.role == "standby" and other.name != copy.name)
        other = next(others, "")
        if copy.role == "standby" and other:
            return f"{self.identity.name} has a standby, {other}; a second copy follows with --follower"
        return ""

    def _place(self, copy: Copy, identity: Identity, tail: list[Position]) -> None:
        """Find the newest position that both journals have, and go on from there."""
        if not tail or any(newer.seq <= older.seq for newer, older in pairwise(tail)):
            raise LinkError("the positions of the copy's journal are not in order, the newest first")
        common = next((place for place in tail if self._has(place)), None)
        copy.slice_number = number = identity.slice_number
        if number < self.identity.slice_number and not self.backlog.has_slices_after(
            number, self.identity.slice_number
        ):
            self._send_elsewhere(copy, number)
        elif common is None and self.history_port:
            # Perhaps only the copy has begun its slice: its history is compared slice by slice.
            self._send_elsewhere(copy, number)
        elif common is None:
            self._refuse(copy, f"the journals of {self.identity.name} and {copy.name} have no block in common")
        elif common != tail[0]:
            self._answer(copy, Kind.COMMON, {"common": link.pack_positions([common])})
            self.disconnect(
                copy, f"{copy.name} has blocks that are not of this history, after command {common.seq} or later"
            )
        elif common.seq < self.backlog.start.seq:
            self._send_elsewhere(copy, number)
        else:
            self._welcome(copy, common.seq)

    def _has(self, place: Position) -> bool:
        if place.seq >= self.backlog.start.seq:
            return self.backlog.has(place)
        return self._checksum_at(place.seq) == place.digest

    def _send_elsewhere(self, copy: Copy, slice_number: int) -> None:
        fields = {"last_seq": self.backlog.last_seq, "slice_number": self.identity.slice_number}
        if copy.state == "greeting":
            self._answer(copy, Kind.CATCH_UP, fields)
        else:
            copy.put(link.encode(Kind.CATCH_UP, self.epoch, link.pack_map(fields)))
        where = f"slice {slice_number}" if slice_number else "no journal yet"
        self.disconnect(copy, f"{copy.name} ({where}) first fetches older blocks")

    def _welcome(self, copy: Copy, seq: int) -> None:
        fields = {**self.identity._asdict(), "from_seq": seq + 1, "last_seq": self.backlog.last_seq}
        self._answer(copy, Kind.WELCOME, fields)
        for older in [each for each in self._live() if each.name == copy.name]:
            self.disconnect(older, f"{copy.name} connected again")
        # It has another directory than the one that diverged, so it was rebuilt.
        self.divergences.pop(copy.name, None)
        copy.reader.payload_bytes_max = link.PAYLOAD_BYTES_MAX
        copy.state, copy.was_live = "live", True
        self._changes += 1
        copy.sent_seq = copy.received_seq = seq
        copy.journaled_seq = 0
        copy.comparison = Comparison(seq)
        self._tell_sync(copy)
        # The states are compared where they stand, also if nothing follows.
        self._put_digests(copy, [seq])
        self._feed(copy)

    def _feed(self, copy: Copy) -> None:
        """Put on the connection what it has room for."""
        if copy.sent_seq < self.backlog.start.seq:
            self._send_elsewhere(copy, self.identity.slice_number)
            return
        self._put_slice(copy)
        if copy.sent_seq == self.backlog.last_seq or copy.waiting_bytes > self.settings.out_bytes_max:
            return
        sent: list[int] = []
        for block in self.backlog.blocks_from(copy.sent_seq + 1):
            if copy.waiting_bytes > self.settings.out_bytes_max or len(sent) == BLOCKS_PER_TURN_MAX:
                break
            copy.put(link.head(Kind.BLOCK, self.epoch, len(block.sealed)), block.sealed)
            copy.sent_seq = block.last_seq
            sent.append(block.last_seq)
            self._put_slice(copy)
        self._put_digests(copy, sent)

    def _put_slice(self, copy: Copy) -> None:
        """Announce the slice that begins where the connection stands, if one does."""
        begun = self.backlog.slices.get(copy.sent_seq)
        if begun is not None and begun.number > copy.slice_number:
            copy.slice_number = begun.number
            copy.put(link.encode(Kind.SLICE, self.epoch, begun.genesis))

    def _put_digests(self, copy: Copy, seqs: list[int]) -> None:
        """Have event digests sent, of those blocks that are applied; the others follow."""
        for seq in seqs:
            if seq in self._digests:
                self._put_digest(copy, self._digests[seq][0], seq, self._digests[seq][1])

    def _put_digest(self, copy: Copy, first_seq: int, last_seq: int, digest: bytes) -> None:
        """Have the event digest of a block sent, and compare it with the copy's."""
        copy.digests.append(Position(last_seq, digest))
        copy.comparison.own(first_seq, last_seq, digest)
        self._judge(copy)

    def _acknowledged(self, copy: Copy, received_seq: int, journaled_seq: int, digests: list[Position]) -> None:
        sent_seq = max(copy.sent_seq, copy.ahead_seq)
        if not (copy.received_seq <= received_seq <= sent_seq and journaled_seq <= received_seq):
            raise LinkError(
                f"{copy.name} acknowledges {received_seq} in memory and {journaled_seq} on disk, and was sent up to "
                f"{sent_seq}"
            )
        if journaled_seq < copy.journaled_seq:
            raise LinkError(f"{copy.name} had {copy.journaled_seq} on its disk, and now has {journaled_seq}")
        copy.received_seq, copy.journaled_seq = received_seq, journaled_seq
        if digests:
            for position in digests:
                copy.comparison.other(position)
            self._judge(copy)
        if not copy.caught_up and self._has_caught_up(copy):
            copy.caught_up, copy.stalled = True, ""
            self._changes += 1
        if not copy.synced:
            self._tell_sync(copy)

    def _has_caught_up(self, copy: Copy) -> bool:
        """True if a copy is so little behind that answers may wait for it: in time, whatever the size of blocks."""
        silence_ns = self.settings.silence_ns
        if copy.received_seq < self._ends.at(copy.heard_ns - silence_ns // _JOIN_PART):
            return False
        disk_ns = self.settings.copy_stall_ns if self.settings.policy == "replica" else silence_ns
        return copy.journaled_seq >= self._ends.at(copy.heard_ns - disk_ns)

    def _judge(self, copy: Copy) -> None:
        if copy.comparison.divergence is not None and copy.name not in self.divergences:
            self._on_divergence(copy, copy.comparison.divergence)

    def _on_divergence_reported(self, copy: Copy, payload: bytes) -> None:
        kinds = {"first_seq": int, "last_seq": int, "part": str, "own": bytes, "other": bytes}
        told = link.unpack_map(payload, kinds)
        # What is its own is the other's here.
        divergence = Divergence(told["first_seq"], told["last_seq"], told["part"], told["other"], told["own"])
        if self._divergence_of(copy):
            divergence = self.divergences[copy.name]
        self._on_divergence(copy, divergence)

    def _on_divergence(self, copy: Copy, divergence: Divergence) -> None:
        self.divergences[copy.name] = divergence
        self._diverged_directories[copy.name] = copy.directory
        copy.put(link.encode(Kind.DIVERGENCE, self.epoch, link.pack_map(divergence._asdict())))
        self.disconnect(copy, divergence.sentence(self.identity.name, copy.name))

    # Time, and a takeover by command.

    def tick(self, now_ns: int, time_ns: int) -> None:
        """Beat, and give up silent copies. ``now_ns``: monotonic; ``time_ns``: wall clock, for reports."""
        pause_ns = self._pauses.look(now_ns)
        self._ends.note(now_ns, self.backlog.last_seq)
        self._look_at_disks(now_ns, pause_ns)
        for copy in list(self.copies):
            copy.heard_ns = min(copy.heard_ns + pause_ns, now_ns)
            if now_ns - copy.heard_ns > self.settings.silence_ns:
                who = copy.name or "the peer"
                silence_ms = self.settings.silence_ns // 1_000_000
                self._refuse(copy, f"{self.identity.name} heard nothing from {who} for {silence_ms} ms")
            elif copy.state == "live":
                self._feed(copy)
                if copy.state == "live" and now_ns - copy.beaten_ns >= self.settings.beat_ns:
                    copy.beaten_ns = now_ns
                    beat = link.pack_beat(self.backlog.last_seq, self._released_seq, time_ns)
                    copy.put(link.encode(Kind.BEAT, self.epoch, beat))

    def _look_at_disks(self, now_ns: int, pause_ns: int) -> None:
        """Wait no longer for a standby whose disk hangs; and where the own one does, let a standby take over."""
        for copy in self._live():
            copy.disk_still_ns = still_ns = copy.disk.look(now_ns, copy.journaled_seq, copy.sent_seq, pause_ns)
            if self._joins(copy) and still_ns > self.settings.copy_stall_ns:
                copy.caught_up = False
                copy.stalled = f"the disk of {copy.name} has written nothing for {_seconds(still_ns)} s; check it"
                self._changes += 1
        still_ns = self._disk.look(now_ns, self.journaled_seq, self.applied_seq, pause_ns)
        if still_ns > self.settings.own_stall_ns and any(
            self._joins(copy) and copy.member in self.recorded for copy in self._live()
        ):
            name = self.identity.name
            self.gives_up = f"the disk of {name} has written nothing for {_seconds(still_ns)} s; check it"

    def _heir(self) -> tuple[Copy | None, str]:
        """The standby that could take over by command; else None and the reason."""
        standby = next((copy for copy in self._live() if copy.role == "standby"), None)
        if standby is None:
            return None, "there is no standby"
        if standby.member not in self.recorded:
            return None, f"{standby.name} is not in sync"
        return standby, ""

    def why_not_hand_over(self, now_ns: int) -> str:
        """Reason for which a handover would not be quick now; "" for none. ``now_ns``: monotonic.

        Ask it while orders are taken: a standby that is silent, behind, or whose disk hangs would only hold them up.
        """
        standby, why = self._heir()
        if standby is None:
            return why
        near_ns = now_ns - self.settings.silence_ns // _JOIN_PART
        if standby.heard_ns < near_ns:
            return f"{standby.name} has said nothing for {(now_ns - standby.heard_ns) // 1_000_000} ms"
        if standby.received_seq < self._ends.at(near_ns):
            return f"{standby.name} is {self.backlog.last_seq - standby.received_seq} commands behind"
        if standby.disk_still_ns > self.settings.silence_ns:
            return f"the disk of {standby.name} has written nothing for {standby.disk_still_ns // 1_000_000} ms"
        return ""

    @property
    def why_no_heir(self) -> str:
        """Reason for which no standby could take over by command at all; "" for none."""
        return self._heir()[1]

    def hand_over(self) -> str:
        """Ask the standby to be ready to take over where this node stands; "" if asked, else why it cannot.

        Call it once nothing is taken any more and all is released. ``is_ready`` tells when it is.
        """
        standby, why = self._heir()
        if standby is None:
            return why
        self.handover_to = standby.name
        standby.ready = None
        standby.put(link.encode(Kind.HANDOVER, self.epoch, link.pack_positions([self._end])))
        return ""

    @property
    def _end(self) -> Position:
        return Position(self.applied_seq, self._applied_digest)

    @property
    def is_ready(self) -> bool:
        """True if the standby stands where this node does, with the same digest."""
        return any(copy.name == self.handover_to and copy.ready == self._end for copy in self._live())

    def status(self) -> list[dict[str, Any]]:
        """The connected copies, for reports: name, role, positions, lag in commands, in sync or not."""
        return [
            {
                "name": copy.name,
                "role": copy.role,
                "sent_seq": copy.sent_seq,
                "received_seq": copy.received_seq,
                "journaled_seq": copy.journaled_seq,
                "agreed_seq": copy.comparison.agreed_seq,
                "lag_commands": self.backlog.last_seq - copy.received_seq,
                "in_sync": copy.member in self.recorded,
            }
            for copy in self._live()
        ]


def _seconds(duration_ns: int) -> int:
    return round(duration_ns / 1e9)
