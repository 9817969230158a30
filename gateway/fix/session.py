"""Session of a client that speaks FIX: its messages on their way to the market, and records of its stream as messages.

Both directions pass through the journal. What the client sends becomes rows (``gateway.fix.entering``); what this side
wants to say by itself (the answer to a logon, a heartbeat, a reject) becomes a mark. Each comes back in the client's
stream with the number that it has, and only then a message goes out. So nothing here is kept that the next life of the
gateway would miss:

    bytes -- Session of wire --> orders, marks --> ring ... journal ... released --> records --> messages

Messages are sent when they come for the first time; those before, after a ResendRequest, as possible duplicates with
the time of the first sending, which is that of the market. A mark whose message is not known any more is a gap.
"""

import time
from collections import deque
from collections.abc import Callable
from typing import Any, Final, NamedTuple

import numpy as np

from engine.records import CommandKind
from engine.row_bytes import ROW
from gateway.fix import marks, records
from gateway.fix.accounts import Account, Accounts
from gateway.fix.alone import Client, Stay, Stays
from gateway.fix.answers import Answers
from gateway.fix.entering import Entering
from gateway.fix.hours import Hours
from gateway.fix.journaled_core import JournaledCore, validator_of
from gateway.fix.marks import Mark
from gateway.fix.reading import FULL, NOT_WHOLE, expected_of, form, read_orders
from gateway.fix.records import Record
from gateway.fix.short_way import ROWS_MAX as SHORT_ROWS_MAX
from gateway.fix.short_way import ShortWay, ends_of
from gateway.fix.signed_logon import is_signed
from gateway.fix.streams import FixStreams
from gateway.fix.throttle import Throttle
from gateway.fix.writing import desk, head_of, write_reports
from gateway.protocol import Login, MassCancel, Refusal, RowSession, Taken
from gateway.session_faults import READ_BYTES_MAX, SessionFault
from wire.errors import ProtocolError
from wire.fix_codec import Cutter, FrameWriter, Garbled, Message, Times, body
from wire.fix_events import Event, LoggedOut, LogonAsked, Received, Restarted, Terms, begins_again, identity
from wire.fix_table import VERSIONS
from wire.fix_text import masked, plain
from wire.session_state import Due, State

#: Text of the Logout for a fault of this side.
FAULT: Final = "a fault of the exchange"
#: CompID of the exchange.
COMP_ID: Final = "LOCKSTEP"
_NO_ACCOUNTS: Final = Accounts()
#: Version of the messages in a session of FIXT.1.1: FIX 5.0 SP2.
_APPLICATION_VERSION: Final = "9"
#: Bytes that a session takes at once, so that the rows of a turn stay within its room.
_PIECE_BYTES: Final = 4_096
#: The same where a kernel reads, which stops where rows have no more room: more than the longest message.
_PLAIN_BYTES: Final = 32_768
#: Time for the last messages to come back before the connection is closed.
_LAST_NS: Final = 2_000_000_000
_SEQUENCE_RESET: Final = b"4"
_LOGOUT: Final = b"5"
#: BusinessRejectReason of messages beyond a throttle in FIX 5.0 SP2.
_THROTTLED: Final = 8
_REPLACE_ROW: Final = int(CommandKind.REPLACE)


class FixLogin(NamedTuple):
    """Login of a Logon message: SenderCompID and Password. proved: whether a signature is right that stands for the
    password; None: there is none."""

    user: str
    password: str
    session: str = ""
    requested_seq: int = 0
    proved: bool | None = None


class _Owed(NamedTuple):
    """A message of the session that waits for its mark."""

    number: int
    msg_type: bytes
    fields: bytes
    header: tuple[tuple[int, bytes], ...]


class Sent(NamedTuple):
    """Outcome of an answer by kernels. taken: as of ``take_block``. written: bytes of messages; rest: those of them
    that the socket has not taken; last: number of the last message."""

    taken: int
    written: int
    rest: bytes
    last: int


class FixSession(RowSession):
    """Server's side of a connection (``gateway.protocol.RowSession``)."""

    #: Makers of rows out of messages, and of messages out of records.
    enters: type[Entering] = Entering
    answers: type[Answers] = Answers

    def __init__(self, now_ns: int, clock: Callable[[], int] = time.time_ns, accounts: Accounts | None = None) -> None:
        """``clock``: time since 1970 in ns, as messages have it; the times of the gateway count from elsewhere."""
        self._clock = clock
        self._accounts = accounts or _NO_ACCOUNTS
        self._account = Account()
        self._throttle: Throttle | None = None
        self._refused = ""  # reason for which a logon with the right password is refused
        self._ends_with_hours = self._asks_clock = False
        self.next_seq = 1  # of the stream
        self.heard_ns = self.sent_ns = now_ns
        self._first = b""
        self._core: JournaledCore | None = None
        self._version = VERSIONS[0]
        self._answers = self.answers(self._version)
        self._times = Times()
        self._writer = FrameWriter(self._version, COMP_ID, "", self._times)
        self._head = head_of(self._version, COMP_ID, "")
        self._expected = expected_of(self._version, "", COMP_ID)
        self._packed_ends = ends_of(self._expected, self._head)
        self._logged_in = False
        self._entering = self.enters(clock())  # no other life of the gateway has the numbers of its marks
        self._owed: deque[_Owed] = deque()
        self._logon_mark: Mark | None = None  # that is to be made for a logon
        self._logon_number = 0  # of the mark that a logon waits for
        self._signed_ns = 0  # SendingTime of a signed logon, until its mark has come back
        # When the last bytes came and went. Times of the core are moved: by time that this side was away, and as soon
        # as a message is due, which goes when its mark has come back.
        self._came_ns = self._went_ns = 0
        self._high = 0  # number of the last message that came
        self._place_offset = 0  # place in the stream = number + offset
        self._asked_from = 0  # of a resend that is asked for
        self._resend_end = 0
        self._fills_from = 0
        self._mass_cancel: MassCancel | None = None
        self._ends = ""
        self._ends_ns = 0
        #: Called with "in" or "out" and the text of each whole frame that goes that way, while the session is watched.
        self.on_frame: Callable[[str, str], None] | None = None
        self._seen = Cutter()  # of what comes in, for ``on_frame``
        self._fault: SessionFault | None = None
        self._begun = 0, 0, 0  # rows, rows of which nothing is told, and owed messages, before the message in turn

    # What the gateway asks.

    @property
    def facts(self) -> dict[str, str | int]:
        """Facts that the journal does not have: version, number of the next message that is expected, and times of the
        last bytes each way, in ns since 1970."""
        expected = 0 if self._core is None else self._core.store.in_seq
        return {"version": self._version, "in_number": expected, "heard_ns": self._came_ns, "sent_ns": self._went_ns}

    def _show_arrived(self, piece: bytes) -> None:
        if self.on_frame is not None:
            self._seen.feed(piece)
            while (cut := self._seen.next()) is not None:
                self.on_frame("in", plain(cut[0]))

    @property
    def state(self) -> State:
        """State of the session."""
        return State.LOGIN if self._core is None else self._core.state

    @property
    def asks(self) -> bool:
        """True if rows wait for the next turn."""
        return bool(self._entering.queue and not self.pause_ns) or self._logon_mark is not None

    @property
    def pause_ns(self) -> int:
        """Time for which no message is taken, since the user has sent too many; 0: none."""
        throttle = self._throttle
        return throttle.wait_ns() if throttle is not None and self._account.when_over == "delay" else 0

    @property
    def over(self) -> str:
        """Reason for which the connection is to be closed now; "": it goes on, or has more to say."""
        return self._ends if self._ends and not self._owed else ""

    def ask(self, data: bytes, now_ns: int) -> list[Login | ProtocolError]:
        """The login of a Logon message, or what is wrong with it. Before the password is right only a logon that begins
        the numbers again has an answer: for others it would use up a number of the user's session."""
        del now_ns
        self._came_ns = self._clock()
        if self._core is not None:
            self._first += data
            if len(self._first) > _PIECE_BYTES:
                return [ProtocolError("more came before the logon was answered than a client sends")]
            return []
        self._first += data
        try:
            found = identity(self._first)
        except Garbled as error:
            return [ProtocolError(str(error))]
        if found is None:
            return []
        if found.version not in VERSIONS:
            return [ProtocolError(f"a logon of another version than {', '.join(VERSIONS)} came")]
        if found.target != COMP_ID:
            return [ProtocolError(f"the TargetCompID of a logon is not {COMP_ID}")]
        version = _APPLICATION_VERSION if found.version == VERSIONS[-1] else None
        terms = Terms(found.version, COMP_ID, found.sender, version)
        core = self._core = JournaledCore(terms, validator_of(found.version), self)
        self._version, self._answers = found.version, self.answers(found.version)
        self._writer = FrameWriter(found.version, COMP_ID, found.sender, self._times)
        self._head = head_of(found.version, COMP_ID, found.sender)
        self._expected = expected_of(found.version, found.sender, COMP_ID)
        self._packed_ends = ends_of(self._expected, self._head)
        wall_ns = self._clock()
        core.connected(wall_ns)
        events = core.receive(self._first, wall_ns)
        self._first = b""
        for event in events:
            if isinstance(event, LogonAsked):
                self._account = account = self._accounts.of(found.sender)
                if account.rate:
                    self._throttle = Throttle(account.rate, account.burst, wall_ns)
                if account.public_key:
                    return [FixLogin(found.sender, "", proved=self._is_signed(event.message, found.sender))]
                password = event.message.fields.get(b"554", b"").decode("latin-1")
                return [FixLogin(found.sender, password)]
            if isinstance(event, LoggedOut):
                refused = ProtocolError(event.reason)
                if event.logon is not None and begins_again(event.logon):
                    refused.answer = self._logout_of_logon(event.reason)
                return [refused]
        return [ProtocolError("the logon is not valid")]

    def _is_signed(self, logon: Message, user: str) -> bool:
        """True if a logon has the signature of its user's key, and is no copy of an earlier one."""
        self._signed_ns = self._times.nanoseconds(logon.fields.get(b"52", b"")) or 0
        return is_signed(logon, self._account.public_key) and self._accounts.is_new(user, self._signed_ns)

    def accept_login(self, session: str, end_seq: int, epoch: int, now_ns: int) -> bytes:
        """Have the logon answered: the answer is sent when its mark has come back."""
        del session, epoch, now_ns
        self.next_seq = end_seq
        self._logged_in = True
        self.ask_logon()
        return b""

    def tell_end(self, end_seq: int) -> bytes:
        """Nothing: the numbers of FIX tell it."""
        del end_seq
        return b""

    def refuse(self, refusal: Refusal, why: str) -> bytes:
        """A Logout with the reason to a logon that begins the numbers again; nothing to another.

        A Logout uses a number, of a user who may be somebody else, and the specification asks for none. Only
        where both sides begin at 1 it disturbs nobody. It says nothing that an unknown user would not be told: why it
        cannot be now is the same for everybody, or is said behind the right password.
        """
        core = self._core
        if core is None or core.logon is None or not begins_again(core.logon):
            return b""
        return self._logout_of_logon(why if refusal is Refusal.NOT_AVAILABLE else refusal.value)

    def _logout_of_logon(self, text: str) -> bytes:
        """Logout with number 1: the answer to a logon that begins the numbers again and is refused."""
        return self._writer.frame(_LOGOUT, 1, self._clock(), body([(58, text)]))

    def release(self) -> bytes:
        """Bytes that came behind the login."""
        rest, self._first = self._first, b""
        return rest

    def take(self, region: memoryview, stop: int, now_ns: int) -> Taken:
        """Take nothing: ``read`` does."""
        del region, stop, now_ns
        return Taken(0)

    def survey(self, region: memoryview) -> tuple[int, bool]:
        """(0, False): while the ring is full all messages wait, as each has its number."""
        del region
        return 0, False

    def sent(self, messages: int, now_ns: int) -> None:
        """Nothing to count: records have their numbers."""

    def shorten_silence(self, away_ns: int, now_ns: int) -> None:
        """Subtract time from the client's silence: this side was not reading."""
        del now_ns
        if self._core is not None:
            self._core.heard_ns = min(self._core.heard_ns + away_ns, self._clock())

    def tick(self, now_ns: int, read_ns: int | None = None) -> Due:
        """Have heartbeats and questions marked; a client that is silent for too long is gone."""
        del read_ns
        core = self._core
        if core is None:
            return Due.NOTHING
        if self._ends:
            self._ends_ns = self._ends_ns or now_ns
            if now_ns - self._ends_ns > _LAST_NS:
                self._owed.clear()
            return Due.NOTHING
        self._end_with_hours(core)
        for event in core.tick(self._clock()):
            if isinstance(event, LoggedOut):
                return Due.TIMED_OUT
        return Due.NOTHING

    def _end_with_hours(self, core: JournaledCore) -> None:
        """Log the user out where its session ends, or begins again, by the clock of the market. On a quiet market that
        stands: the client is asked something first, since a new clock comes with each command."""
        hours, streams = self._account.hours, self._entering.streams
        if hours is None or streams is None or core.state is not State.LIVE or self._ends_with_hours:
            return
        begun_ns, wall_ns = int(streams.begun_ns[self._entering.user]), self._clock()
        if _are_over(hours, begun_ns, streams.now_ns):
            self._ends_with_hours = True
            core.logout(f"the session has ended, its hours are {hours} UTC", wall_ns)
        elif not self._asks_clock and _are_over(hours, begun_ns, wall_ns):
            self._asks_clock = True
            core.ask("TIME", wall_ns)

    def leave(self, why: str) -> bool:
        """Have a Logout with a reason sent, and take no message any more; False where that is under way.

        What the client sends from now on uses no number: it is asked for at the next logon. The session is over when
        the Logout has gone, or has not come back in time.
        """
        core = self._core
        if core is None or core.state is not State.LIVE:
            self._ends = self._ends or why
            return True
        if self._ends:
            return False
        core.logout(why, self._clock())
        self._ends = why
        return True

    def heartbeat(self, now_ns: int) -> bytes:
        """Nothing: ``tick`` marks heartbeats."""
        del now_ns
        return b""

    def notice(self, why: str) -> bytes:
        """Nothing: a Logout has a number, and numbers come from the journal."""
        del why
        return b""

    def farewell(self) -> bytes:
        """Nothing, as ``notice``."""
        return b""

    def shown(self, data: bytes) -> tuple[str, bool]:
        """Bytes of the client as text for the log, without passwords; True if there was one."""
        return masked(data)

    # Faults of this side.

    def take_fault(self) -> SessionFault | None:
        """Fault at which the session ends, once; None: there is none."""
        fault, self._fault = self._fault, None
        return fault

    def begin(self) -> None:
        """Note what waits for the market, before a message is acted upon."""
        self._begun = *self._entering.place(), len(self._owed)

    def undo(self) -> None:
        """Leave out all that the message has come to that was begun last."""
        *rows, owed = self._begun
        self._entering.cut_back((rows[0], rows[1]))
        while len(self._owed) > owed:
            self._owed.pop()

    def give_up(self, error: Exception, read: bytes, expected: int, now_ns: int) -> None:
        """End the session with a Logout, and take no message from number ``expected`` on."""
        self._fault = SessionFault(error, *self.shown(read[:READ_BYTES_MAX]))
        core = self._core
        assert core is not None, "it has a fault"
        core.logout(f"{FAULT} in message {expected}, which is not taken", now_ns)
        self._ends = self._ends or str(self._fault.why)

    # From the client to the market.

    def read(
        self, region: memoryview, rows_max: int, streams: Any, user: int, participant: int
    ) -> tuple[int, list[bytes], int]:
        """Take messages: bytes taken, COMMAND rows, and messages among these. A message that finds no room waits."""
        entering = self._entering
        entering.streams, entering.user, entering.participant = streams, user, participant
        queue = entering.queue
        if self._logon_mark is not None:
            words = [self._signed_ns, 0, 0, 0, 0, 0] if self._signed_ns else []
            self._logon_number = entering.mark(self._logon_mark, 0, words)
            self._logon_mark = None
        taken, count, made = 0, 0, 0
        rows: list[bytes] = []
        while True:
            while queue and made + len(queue[0]) <= rows_max and self._may_go(queue[0]):
                made += len(queue[0])
                rows += queue.popleft()
                count += 1
            core = self._core
            if queue or core is None or taken >= len(region) or core.state is State.ASKED:
                return taken, rows, count
            if self._ends:  # what comes now is not for the market, and uses no number
                return len(region), rows, count
            self._came_ns = self._clock()
            if self._reads_plain(core, rows_max):
                size, of_plain, messages, full = self._read_plain(core, region[taken:], rows_max - made)
                taken += size
                count += messages
                made += sum(map(len, of_plain)) // ROW.size
                rows += of_plain
                if full:
                    return taken, rows, count
                continue
            piece = bytes(region[taken : taken + _PIECE_BYTES])
            taken += len(piece)
            self._show_arrived(piece)
            if core.state is State.LIVE:
                core.feed(piece, self._clock())

    def _hours_allow(self, logon: Message) -> bool:
        """True if a logon, whose mark has come back, is answered now: with that mark came a new clock of the market.

        The first logon of a session has another mark first, with which the numbers begin again; one outside of its
        hours, and one that goes on with old numbers, is refused.
        """
        hours, streams = self._account.hours, self._entering.streams
        if hours is None or streams is None:
            return True
        if not hours.are_open(streams.now_ns):
            self._refused = f"the session's hours are {hours} UTC"
        elif hours.begun_ns(streams.now_ns) > streams.begun_ns[self._entering.user]:
            if logon.number(b"34") == 1:
                self._logon_mark = Mark.RESET
                return False
            self._refused = "the numbers begin again: log on with MsgSeqNum 1"
        return True

    def _reads_plain(self, core: JournaledCore, messages_max: int) -> bool:
        """True if a kernel may read: the session is one of orders, nobody watches its messages, and so many of them
        are within what its user may send."""
        if self._throttle is not None and self._throttle.left(self._clock()) < messages_max:
            return False
        return core.takes_plain and self.answers.has_kernel and self.on_frame is None

    def _read_plain(self, core: JournaledCore, region: memoryview, room: int) -> tuple[int, list[bytes], int, bool]:
        """Take messages, the plain ones by a kernel, up to one that makes rows by itself: bytes taken, rows, messages
        among these, and True if rows have no more room."""
        held = core.take_held()
        data = held + bytes(region[:_PLAIN_BYTES])
        octets = np.frombuffer(data, np.uint8)
        entering, expected = self._entering, self._expected
        streams = entering.streams
        assert streams is not None, "a turn reads"
        at, made, count, stop = 0, 0, 0, NOT_WHOLE
        rows: list[bytes] = []
        while self._reads_plain(core, room - made) and not entering.queue:
            now_ns, untold = self._clock(), entering.put_untold()
            behind, size, messages, stop = read_orders(
                *(form().pointers, streams.kept_pointers, expected.data, expected.sizes, octets, at),
                *(streams.symbols, streams.price_max_e4),
                *(entering.user, entering.participant, core.store.in_seq, now_ns, room - made, untold),
            )
            if messages:
                rows.append(form().arrays.rows[untold : untold + size].tobytes())
                self._took_plain(core, rows[-1], int(messages), now_ns)
            at, made, count = int(behind), made + int(size), count + int(messages)
            if stop == FULL or (stop == NOT_WHOLE and len(held) + len(region) > len(data) and at > 0):
                break
            if at == len(data):
                break
            end = int(stop) if stop > 0 else len(data)
            core.feed(data[at:end], now_ns)
            at = end
            if stop <= 0:
                break
        if at < len(held):  # it finds no room: nothing of it is taken
            core.hold(held)
            return 0, rows, count, True
        return at - len(held), rows, count, stop == FULL

    def put(
        self, way: ShortWay, begin: int, end: int, received_ns: int, streams: FixStreams, user: int, participant: int
    ) -> int:
        """Have kernels put all messages of a client, from ``begin`` to ``end`` of the buffer, into the ring, where
        these are plain and nothing of the session waits; gives their number. 0: nothing was taken, ``read`` does."""
        core, entering = self._core, self._entering
        if core is None or entering.queue or self._ends or self._logon_mark is not None:
            return 0
        if not self._reads_plain(core, SHORT_ROWS_MAX) or core.holds:
            return 0
        entering.streams, entering.user, entering.participant = streams, user, participant
        now_ns = self._clock()
        rows, messages = way.put(
            *(self._packed_ends, streams.kept_pointers, begin, end, user, participant, core.store.in_seq, now_ns),
            *(received_ns, entering.put_untold()),
        )
        if messages:
            self._came_ns = now_ns
            self._took_plain(core, rows, messages, now_ns)
        return messages

    def _took_plain(self, core: JournaledCore, rows: bytes, messages: int, now_ns: int) -> None:
        """Count messages that a kernel has taken."""
        core.took(messages, now_ns)
        self._entering.untold.append((core.store.in_seq, rows))
        if self._throttle is not None:
            self._throttle.take(messages)

    def answer(
        self, way: ShortWay, pointers: tuple[Any, ...], seq: int, highest_e4: int, fd: int, look_ns: int
    ) -> Sent:
        """Have a kernel wait a moment for the block behind command ``seq``, take it, and send what it tells this user,
        where the reports are usual and the client has all before them. fd: of its socket."""
        core, after = self._core, self._high
        resends = self._asked_from or 0 < self._fills_from <= min(self._resend_end, after)
        if core is None or resends or self.on_frame is not None or not self.answers.has_kernel:
            fd = -1
        result, written, sent, last = way.answer(
            self._packed_ends, pointers, seq, highest_e4, self._entering.user, after, fd, look_ns
        )
        return Sent(result, written, way.written(sent, written) if sent < written else b"", last)

    def note_answer(self, sent: Sent) -> None:
        """Note what an answer by kernels has come to."""
        if sent.written and self._core is not None:
            self._sent_upto(self._core, sent.last, self._clock())

    def may_stay(self, streams: FixStreams, user: int, participant: int) -> bool:
        """True if a kernel may stay with this session (``gateway.fix.alone``): its next message may be plain, all that
        it has sent is answered, and nothing of it waits, nor is sent again."""
        core, entering = self._core, self._entering
        if core is None or entering.queue or self._ends or self._logon_mark is not None or core.holds:
            return False
        entering.streams, entering.user, entering.participant = streams, user, participant
        resends = self._asked_from or 0 < self._fills_from <= min(self._resend_end, self._high)
        return (
            self._throttle is None
            and not resends
            and self._reads_plain(core, SHORT_ROWS_MAX)
            and entering.put_untold() == 0
            and int(streams.next_in[user]) == core.store.in_seq
        )

    def stay(
        self, stays: Stays, client: Client, pointers: tuple[Any, ...], seq: int, highest_e4: int, look_ns: int,
        disk_ns: int, sleep_ms: int, until_ns: int,
    ) -> Stay:  # fmt: skip
        """Have a kernel stay with this session, which may have that (``may_stay``); ``note_stay`` follows. The
        arguments are those of ``Stays.stay``."""
        core = self._core
        assert core is not None, "a session that may have a kernel stay is live"
        numbers = core.store.in_seq, self._high
        waits = look_ns, disk_ns, sleep_ms, until_ns
        return stays.stay(client, self._packed_ends, pointers, numbers, seq, highest_e4, *waits)

    def note_stay(self, stay: Stay) -> None:
        """Note what has come and gone in a stay."""
        core = self._core
        assert core is not None, "a kernel stayed with it"
        if stay.messages:
            self._came_ns = stay.came_ns
            core.took(stay.messages, stay.came_ns)
        if stay.untold:
            self._entering.untold.append((core.store.in_seq, stay.untold))
        if stay.told:
            self._sent_upto(core, stay.out_seq, stay.went_ns)

    def _sent_upto(self, core: JournaledCore, number: int, now_ns: int) -> None:
        """Note that kernels have sent the messages up to a number."""
        self.next_seq += number - self._high
        self._high = number
        core.store.out_seq = number + 1
        core.sent_ns = self._went_ns = now_ns

    def act(self, event: Event) -> None:
        """Act upon an event of the core."""
        match event:
            case Received(seq, message) if not self._is_within_rate():
                old = self._version != VERSIONS[-1]
                self._entering.mark_business_reject(
                    message, 0 if old else _THROTTLED, "too many messages a second", seq + 1
                )
            case Received(seq, message):
                self._entering.take(message, seq + 1)
            case LoggedOut(reason):
                self._ends = self._ends or reason
            case LogonAsked() | Restarted():
                pass

    def _is_within_rate(self) -> bool:
        """True for a message that may be taken, which is counted; one that is to wait is counted as it goes."""
        throttle = self._throttle
        if throttle is None or self._account.when_over == "delay":
            return True
        if not throttle.left(self._clock()):
            return False
        throttle.take(1)
        return True

    def _may_go(self, rows: list[bytes]) -> bool:
        """True for rows that need not wait. Those of a message of the application count."""
        throttle = self._throttle
        if throttle is None or self._account.when_over != "delay":
            return True
        command = ROW.unpack(rows[-1])
        context = command[4] if command[8] == _REPLACE_ROW else command[1]
        if marks.mark_of(context) in (Mark.SESSION, Mark.RESET, Mark.NAME) and not command[0]:
            return True
        if not throttle.left(self._clock()):
            return False
        throttle.take(1)
        return True

    def mark_business_reject(self, message: Message, reason: int, text: str, next_in: int) -> None:
        """Have a business reject of the message before ``next_in`` sent."""
        self._entering.mark_business_reject(message, reason, text, next_in)

    def owe(self, msg_type: bytes, fields: bytes, header: tuple[tuple[int, bytes], ...], next_in: int) -> None:
        """Have a message of the session sent, once its mark comes back."""
        number = self._entering.mark(Mark.SESSION, next_in, [])
        self._owed.append(_Owed(number, msg_type, fields, header))

    def ask_logon(self) -> None:
        """Have a logon marked, in the next turn: before, the session does not know its user."""
        core = self._core
        assert core is not None, "a logon came"
        logon = core.logon
        resets = logon is not None and logon.get(b"141") == b"Y" and not core.fault_of(logon)
        self._logon_number = 0
        self._logon_mark = Mark.RESET if resets else Mark.SESSION

    def resend(self, begin: int, end: int) -> None:
        """Have messages sent again; those that this session has not reached yet come anyway. What is left of a resend
        under way goes out with them: the client counts on it, and asks no second time."""
        if begin > end:
            return
        end = min(end, self._high)
        left_from = self._asked_from or self._fills_from
        if 0 < left_from <= self._resend_end:
            begin, end = min(begin, left_from), max(end, self._resend_end)
        self._asked_from, self._resend_end = begin, end

    def take_resend(self) -> int | None:
        """Place in the stream from which messages are to be sent again, once; None: none is asked for.

        The day before ends with place 0: numbers go on from day to day.
        """
        if not self._asked_from:
            return None
        begin, self._asked_from = self._asked_from, 0
        self._fills_from = begin
        return begin + self._place_offset

    def take_mass_cancel(self) -> MassCancel | None:
        """Mass cancel that is to be carried out, once."""
        asked, self._mass_cancel = self._mass_cancel, None
        return asked

    # From the stream to the client.

    def outgoing(self, stored: bytes) -> tuple[int, bytes]:
        """Messages of whole records: how many of the stored bytes these are, and what goes on the line.

        A kernel writes reports of the usual kinds, as many as stand side by side; the others are written one by one.
        """
        frames: list[bytes] = []
        now_ns, at = self._clock(), 0
        octets = np.frombuffer(stored, np.uint8)
        while (size := records.record_bytes(stored, at)) > 0:
            behind = self._write_usual(octets, at, now_ns, frames)
            if behind > at:
                at = behind
                continue
            self._next(records.record_at(stored, at, size), frames, now_ns)
            self.next_seq += 1
            at += size
        if frames and self._core is not None:
            self._core.sent_ns = self._went_ns = now_ns
        if self.on_frame is not None:
            for frame in frames:
                self.on_frame("out", plain(frame))
        return at, b"".join(frames)

    def _write_usual(self, octets: "np.ndarray[Any, Any]", at: int, now_ns: int, frames: list[bytes]) -> int:
        """Write the usual reports from a place on at once; gives the place behind them."""
        core = self._core
        if self.on_frame is not None or core is None or core.state is State.ASKED or not self.answers.has_kernel:
            return at  # a watched session has each frame by itself
        again = 0 < self._fills_from <= min(self._resend_end, self._high)
        after, upto = (
            (self._fills_from - 1, min(self._resend_end, self._high)) if again else (self._high, marks.SEQ_MAX)
        )
        head = self._head
        behind, size, last = write_reports(
            desk().pointers, head.data, head.sizes, octets, at, after, upto, now_ns if again else 0
        )
        if last == after:
            return at
        frames.append(desk().arrays.out[:size].tobytes())
        self.next_seq += int(last - after)
        if again:
            self._fills_from = int(last) + 1
        else:
            self._high = int(last)
            core.store.out_seq = self._high + 1
        return int(behind)

    def _next(self, record: Record, frames: list[bytes], now_ns: int) -> None:
        core = self._core
        assert core is not None, "it is logged in"
        number = record.number
        if record.kind == records.MARK and self._logon_number:
            own, next_in, mark = records.OF_MARK.unpack(record.data)
            if own == self._logon_number:
                self._logon_number = 0
                if self._is_copy(own):
                    self._ends = "a logon with the same SendingTime, or a later one, came before"
                    return
                resets = mark == Mark.RESET and core.logon is not None and core.logon.get(b"141") == b"Y"
                self._on_logon_mark(number, next_in, resets, frames, now_ns)
                return
        if number <= self._high:
            self._again(record, frames, now_ns)
            return
        self._high = number
        core.store.out_seq = number + 1
        if core.state is State.ASKED:  # it is asked for when the client sees the number of the answer
            return
        if self._answers.is_told(record):
            msg_type, fields, time_ns = self._answers.message(record)
            if record.route:
                frames.append(self._writer.routed(msg_type, number, time_ns, fields, header=_header_in(record.route)))
            else:
                frames.append(self._writer.frame(msg_type, number, time_ns, fields))
            if record.kind == records.MASS:
                self._carry_out(record)
            return
        own = records.OF_MARK.unpack(record.data)[0] if record.kind == records.MARK else 0
        while self._owed and self._owed[0].number < own:
            self._owed.popleft()
        if self._owed and self._owed[0].number == own:
            owed = self._owed.popleft()
            frames.append(self._writer.routed(owed.msg_type, number, now_ns, owed.fields, header=owed.header))
        else:
            frames.append(self._gap_fill(number, number + 1, now_ns))

    def _is_copy(self, number: int) -> bool:
        """True for a signed logon that was used before, as the journal has it: by the number of its mark. It is not
        answered, as its sender may be anybody."""
        signed, self._signed_ns = self._signed_ns, 0
        streams, user = self._entering.streams, self._entering.user
        return bool(signed) and streams is not None and not streams.is_newest_logon(user, number)

    def _on_logon_mark(self, number: int, next_in: int, resets: bool, frames: list[bytes], now_ns: int) -> None:
        core = self._core
        assert core is not None, "it is logged in"
        store, message = core.store, core.logon
        self._entering.untold.clear()  # all that was sent before has come back
        self._place_offset = self.next_seq - number
        self._high = number
        self._resend_end = self._fills_from = 0
        if message is None:
            return
        if not self._hours_allow(message):
            return
        if not resets:
            store.in_seq = next_in
        store.out_seq = core.granted = number
        seq = message.number(b"34") or 0
        low = not resets and seq < store.in_seq and message.get(b"43") != b"Y"
        refused = low or self._refused
        events = core.refuse_logon(now_ns, self._refused) if refused else core.accept(now_ns)
        core.granted = 0
        frames += core.take()
        for event in events:
            self.act(event)
        streams, user = self._entering.streams, self._entering.user
        unmet = streams.unmet_mass_cancel(user) if streams is not None else None
        if unmet is not None:
            self._mass_cancel = _mass_cancel_of(*unmet)

    def _carry_out(self, record: Record) -> None:
        _, _, symbol, side = records.OF_MASS.unpack(record.data)
        self._mass_cancel = _mass_cancel_of(symbol, side)

    def _again(self, record: Record, frames: list[bytes], now_ns: int) -> None:
        """Send a message again, as far as it is asked for; what is no message of the application is a gap."""
        number = record.number
        if number > self._resend_end:
            if 0 < self._fills_from <= self._resend_end:  # all of it was before what is kept
                frames.append(self._gap_fill(self._fills_from, self._resend_end + 1, now_ns, again=True))
            self._fills_from = 0
            return
        if number < self._fills_from:
            return
        if self._answers.is_told(record):
            if self._fills_from < number:
                frames.append(self._gap_fill(self._fills_from, number, now_ns, again=True))
            msg_type, fields, time_ns = self._answers.message(record)
            header = _header_in(record.route)
            frames.append(self._writer.routed(msg_type, number, now_ns, fields, first_sent_ns=time_ns, header=header))
            self._fills_from = number + 1
        elif number == self._resend_end:
            frames.append(self._gap_fill(self._fills_from, number + 1, now_ns, again=True))
            self._fills_from = number + 1

    def _gap_fill(self, number: int, upto: int, now_ns: int, *, again: bool = False) -> bytes:
        fields = body([(36, upto), (123, b"Y")])
        return self._writer.routed(_SEQUENCE_RESET, number, now_ns, fields, first_sent_ns=now_ns if again else None)


def _are_over(hours: Hours, begun_ns: int, time_ns: int) -> bool:
    """True if the hours of a session that began then are over, or have begun again."""
    return not hours.are_open(time_ns) or hours.begun_ns(time_ns) > begun_ns


def _header_in(route: bytes) -> list[tuple[int, bytes]]:
    """Fields of a header, as they stand in a message."""
    pairs = (each.partition(b"=") for each in route.split(b"\x01") if each)
    return [(int(tag), value) for tag, _, value in pairs]


def _mass_cancel_of(symbol: int, side: int) -> MassCancel:
    return MassCancel(symbol.to_bytes(8, "big").lstrip(b"\0").decode("ascii"), side)
