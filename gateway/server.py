"""The gateway: all connections of a node, read together in turns of the event loop.

It owns no socket and no thread: ``connection`` makes the protocol object for each connection that an event loop
accepts. Received messages become one batch of COMMAND rows a turn, given to ``take``; messages to users come back
through ``deliver`` when their block is released. A turn waits while ``has_room`` is false, and connections with a full
region are not read meanwhile, so that the senders wait.

A node has one or more entrances, each a protocol of its own (``gateway.protocol``). A turn reads the connections of one
of them, the next turn those of another. A user has one login, by whichever protocol.
"""

import asyncio
import mmap
import struct
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from operator import itemgetter
from typing import Any, Final, Protocol

import numpy as np
from numpy.typing import NDArray

from engine.bounds import COMMANDS_PER_CALL_MAX
from engine.engine import Engine
from engine.jit import Packed
from engine.records import COMMAND, UserPermission
from gateway.arrival_log import ArrivalLog
from gateway.arrivals import FINE, STREAM, new_arrivals, turn_words_max
from gateway.attention import Attention
from gateway.connection import REGION_PITCH, Connection
from gateway.direct import DirectLines, DirectMarket, StandbyLine
from gateway.local import LocalDoor
from gateway.protocol import Entrance, Login, MassCancel, Refusal
from gateway.register import Claims, OwnClaims, UserRegister
from gateway.ring_reading import MESSAGES, SOURCES, waits_in_rings
from gateway.rings import ServedRings
from gateway.session_faults import SessionFault
from gateway.sign_on import SignOn
from gateway.slices import Slices
from gateway.slots import Slots, waiting_of
from gateway.spool import Spool, SpoolError
from gateway.streams import Segment
from sequencer.clock import MarketClock
from tape.blocks import Tape
from tape.lines import MarketLines
from wire.session_state import State


def _offset(field: str) -> int:
    """Offset of a field in a STREAM row."""
    return int(STREAM.fields[field][1]) if STREAM.fields else 0


#: Rows of a turn at most: a block, with room for the clock in front.
ROWS_MAX: Final = COMMANDS_PER_CALL_MAX - 1
#: Fields of a STREAM row that are written for each turn, that are read after it, and that a login writes.
_ARRIVED: Final = struct.Struct("<qqq")  # time_ns, begin, end
_TAKEN: Final = struct.Struct("<qqqi")  # begin, end, messages, stop
_OWNER: Final = struct.Struct("<iii")  # connection, user, participant
_ARRIVED_AT: Final = _offset("time_ns")
_TAKEN_AT: Final = _offset("begin")
_OWNER_AT: Final = _offset("connection")
_STREAM_BYTES: Final = STREAM.itemsize
#: Rows of one session in a turn at most, where sessions make them.
ROWS_OF_SESSION: Final = 256
#: Bytes of a connection that are tried alone at most: a few messages. Many share what a turn costs.
ALONE_BYTES_MAX: Final = 2_048
#: Turns are counted modulo this and one, in arrivals.
TURN_MASK: Final = (1 << 31) - 1
#: A turn that took longer is followed by one of half the rows, down to ``ROWS_LEAST``; one that took less than a tenth,
#: by one of twice as many. Where commands are slow (a call over a deep book), others still get their turn.
TURN_NS_MAX: Final = 50_000_000
ROWS_LEAST: Final = 64
#: Wait of a turn that found no room, in seconds.
NO_ROOM_S: Final = 0.001
#: Interval of ``Gateway.beat``, in seconds.
BEAT_S: Final = 0.25
#: Outcome of a session's reading that has failed: no bytes taken, no rows, no messages.
_NONE: Final[tuple[int, list[bytes], int]] = 0, [], 0
#: Key of a pair: messages taken in a turn.
_messages: Final = itemgetter(0)
#: Reason given to a connection that makes room for another.
DISPLACED: Final = "no login came, and another connection needs the room"


class Report(Protocol):
    """Log of session events (``node.programs.logs``)."""

    def __call__(self, event: str, /, **fields: object) -> None:
        """Write one event with its fields."""
        ...


class Gateway:
    """All connections of a node. One thread, that of the event loop."""

    #: As a holder of logins: the core's own gateway has no name.
    name = ""
    #: Function that takes the messages of a connection by kernels, and answers them, where nobody else has sent any:
    #: gives their number; 0: they are for a turn. None: there are no such kernels.
    take_alone: Callable[[Connection], int] | None = None
    #: Log of faults of this side.
    alarm: Report

    def __init__(
        self,
        entrances: Sequence[Entrance],
        *,
        take: Callable[[NDArray[Any], int], None],
        has_room: Callable[[], bool],
        on_user_disconnect: Callable[[int], None],
        on_users_absent: Callable[[list[int]], None],
        report: Report,
        warn: Report | None = None,
        connections_max: int = 1_024,
        per_address_max: int | None = None,
        waiting_per_address_max: int | None = None,
        busy_poll_ns: int = 0,
        arrival_log: ArrivalLog | None = None,
    ) -> None:
        self.entrances = tuple(entrances)
        for entrance in self.entrances:
            entrance.outbox.on_segment = partial(self.deliver, entrance)
            entrance.outbox.on_new_session = partial(self._begin_day, entrance)
            entrance.outbox.on_login_end = partial(self._end_logins, entrance)
        self._take, self._has_room = take, has_room
        self._on_user_disconnect = on_user_disconnect
        self.on_users_absent = on_users_absent
        self._report = report
        self._warn = self.alarm = warn or report
        self._arena = _small_pages(connections_max * REGION_PITCH)
        self.buffer = self._arena.data
        self._slots: Slots[Connection] = Slots(
            connections_max,
            per_address_max=per_address_max,
            waiting_per_address_max=waiting_of(connections_max, waiting_per_address_max),
        )
        self.connections: set[Connection] = set()
        self.logged_in: dict[int, Connection] = {}
        self.register = UserRegister(self._no_logins, self._epoch_now)
        #: Claims of logins: in the register here, or, of a gateway in a process of its own, in the core's.
        self.claims: Claims = OwnClaims(self.register, self)
        #: Called with the reason where all connections are sent away.
        self.on_send_away: Callable[[str], None] = lambda _why: None
        #: Called with each connection of a user that has ended.
        self.on_session_end: Callable[[Connection], None] = lambda _connection: None
        #: Callback for a wrong password, with address and user: it counts at all gateways of the node.
        self.on_failed_login: Callable[[str, str], None] = lambda _address, _user: None
        #: Called with a user and the mass cancel that it asks for, once all that it sent before is on its way.
        self.on_mass_cancel_asked: Callable[[int, MassCancel], None] = lambda _user, _asked: None
        #: Rings of gateway processes, which the turns read beside the connections.
        self.rings = ServedRings(self.entrances[0].outbox.streams.price_max_e4)
        table = np.zeros(connections_max, STREAM)  # a row a slot
        table["region"] = np.arange(connections_max) * REGION_PITCH
        self._table = table.view(np.uint8).data
        self._rows = np.zeros(ROWS_MAX + 1, COMMAND)
        self._row_bytes = self._rows.view(np.uint8)
        turn_words = turn_words_max(connections_max, len(self._rows))
        record = np.zeros(turn_words, np.int32) if arrival_log is None else arrival_log.room(turn_words)
        self._arrivals = Packed(
            new_arrivals(
                self._arena,
                table,
                self._rows,
                record,
                self.rings.packed,
            )
        )
        self._reading = self._arrivals.arrays.read.data
        self._arrival_log = arrival_log
        self._rows_max = ROWS_MAX
        self._rows_limit = ROWS_MAX
        self._waiting: list[Connection] = []
        self._direct: DirectLines | None = None
        self._resuming: set[Entrance] = set()  # those whose round of messages was cut short for lack of room
        self._local: LocalDoor | None = None
        self._scheduled = False
        self._busy_poll_ns = busy_poll_ns
        self._busy_until_ns = 0
        self._polling = False
        self._loop = asyncio.get_running_loop()
        self._sign_on, self._strangers = SignOn(self, self._slots, report), Slices()
        self.open_for_logins = True
        #: Reason for which every login is rejected as for a session that is not here; "": logins are taken.
        self.elsewhere = ""
        #: Reason for which this node may not be primary any more, "" if it certainly is; asked at each login.
        self.unsure: Callable[[], str] = lambda: ""
        #: Epoch of the reign, which each login answer is followed by; 0: a node that is not of a pair.
        self.epoch: int = 0
        self.attention = Attention(self.now_ns(), int(BEAT_S * 1e9))
        self.bytes_in = self.bytes_out = self.turns = self.orders = 0
        self.refused_connections = self.displaced_connections = self.slow_readers = self._made = 0

    #: A clock that does not go back, for heartbeats and patience. The function itself: it is called for each answer.
    now_ns = staticmethod(time.monotonic_ns)

    def connection(self, entrance: Entrance) -> Connection:
        """A protocol object for a new connection to an entrance."""
        self._made += 1
        return Connection(self, entrance, self._made)

    # Begin and end of connections.

    def on_connect(self, connection: Connection) -> bool:
        """Give a new connection a slot; False if there is no room for it."""
        if not self.open_for_logins:
            return self._refuse_connection(connection, "the node takes no logins now")
        place = self._slots.open(connection, connection.network)
        if place.slot < 0:
            return self._refuse_connection(connection, place.refused)
        if place.displaces is not None:
            self._displace(place.displaces)
        connection.slot = place.slot
        self.connections.add(connection)
        return True

    def _refuse_connection(self, connection: Connection, why: str) -> bool:
        self.refused_connections += 1
        if _is_logged(self.refused_connections):
            self._report("connection refused", address=connection.address, why=why, refused=self.refused_connections)
        return False

    def _displace(self, connection: Connection) -> None:
        """End a connection that is not logged in; its slot has a new owner."""
        self.displaced_connections += 1
        connection.slot = -1
        self.connections.discard(connection)
        if connection.session.state is State.ASKED:
            self.on_login_timeout(connection)
        else:
            connection.close(DISPLACED)
        if _is_logged(self.displaced_connections):
            count = self.displaced_connections
            self._report("connection ended", address=connection.address, why=connection.closing, displaced=count)

    def on_closing(self, connection: Connection) -> None:
        """End the login of a connection that closes; the user's orders may be canceled then. May be repeated."""
        self._sign_on.withdraw(connection)
        if self._sign_on.succeed(connection):
            return
        streams = connection.entrance.outbox.streams
        if self.end_login(connection) and streams.may(connection.user, UserPermission.CANCEL_ON_DISCONNECT):
            self._on_user_disconnect(connection.user)

    def on_mass_cancel(self, connection: Connection, asked: MassCancel) -> None:
        """Pass a mass cancel on behind the rows of the present turn, which are not given to ``take`` yet."""
        if connection.user and not connection.past:
            self._loop.call_soon(self._ask_mass_cancel, connection.user, asked)

    def _ask_mass_cancel(self, user: int, asked: MassCancel) -> None:
        self.on_mass_cancel_asked(user, asked)

    def end_login(self, connection: Connection) -> bool:
        """End the login of a connection; True if it had one. The end of a session is no disconnect: the user's
        orders ended with the day, or the node has canceled them before."""
        user = connection.user
        if not user or self.logged_in.get(user) is not connection:
            return False
        del self.logged_in[user]
        self.claims.give_back(user)
        return True

    def displace(self, user: int, why: str) -> None:
        """End a user's login, which another gateway has from now on. It is no disconnect."""
        connection = self.logged_in.pop(user, None)
        if connection is not None:
            connection.close(why)

    def send_away(self, why: str, *, tells: bool = False) -> None:
        """End all connections, here and at gateway processes; without a word, unless ``tells``: then with the reason,
        which is the answer of a login that has none yet."""
        self.on_send_away(why)
        for connection in list(self.connections):
            if tells and connection.session.state is State.ASKED:
                connection.close(why, tells=False, last=connection.refusal(Refusal.NOT_AVAILABLE, why))
            else:
                connection.close(why, tells=tells)

    def leave(self, why: str) -> None:
        """End all sessions that tell their ends by the journal, while it takes commands, and take no more logins."""
        self.open_for_logins = False
        for each in list(self.connections):
            if each.row_session is not None:
                each.leave(why)

    def _epoch_now(self) -> int:
        return self.epoch

    def _no_logins(self) -> str:
        """Reason for which no gateway of this node takes logins; "": they are taken."""
        return self.elsewhere or self.unsure() or ("" if self.open_for_logins else "the node takes no logins now")

    def on_disconnect(self, connection: Connection) -> None:
        """Free the slot of a connection that is gone."""
        if connection.slot < 0:
            return
        self.end_direct(connection)
        self._slots.on_disconnect(connection)
        connection.slot = -1
        self.connections.discard(connection)
        if connection.user:
            name = connection.entrance.outbox.streams.name(connection.user)
            self._report("session ended", user=name, address=connection.address, why=connection.closing)
            self.on_session_end(connection)
        elif not connection.closing.startswith("the client"):
            self._report("connection ended", address=connection.address, why=connection.closing)
        self.on_closing(connection)

    def on_fault(self, connection: Connection, fault: SessionFault) -> None:
        """Tell the log of a fault of this side that ends a connection, and no other."""
        user = connection.entrance.outbox.streams.name(connection.user) if connection.user else ""
        self.alarm(
            "a fault of ours ends a session",
            user=user,
            address=connection.address,
            why=fault.why,
            read=fault.read,
            traceback=fault.traceback,
        )

    def disconnect(self, user: int, why: str) -> bool:
        """End a user's connection; True if there was one."""
        connection = self.logged_in.get(user)
        if connection is not None:
            connection.leave(why)
        self.end_past(user, why)
        return connection is not None

    def end_past(self, user: int, why: str) -> None:
        """End a user's connection to a session that is over, if there is one."""
        for each in list(self.connections):
            if each.past and each.user == user:
                each.close(why)

    def _end_logins(self, entrance: Entrance, user: int, why: str) -> None:
        """End what a user has at an entrance: its login and its connection to a past session."""
        for each in list(self.connections):
            if each.user == user and each.entrance is entrance:
                each.leave(why)

    # Logins.

    @property
    def failed_logins(self) -> int:
        """Wrong users and passwords since the start."""
        return self._sign_on.failures

    def note_failed_login(self, address: str, user: str) -> None:
        """Count a wrong password that another gateway of the node was given."""
        self._sign_on.note_failure(address, user)

    @property
    def lost_arrivals(self) -> int:
        """Records of arrivals that were not written since the start."""
        return self._arrival_log.lost if self._arrival_log is not None else 0

    def on_strange_bytes(self, connection: Connection) -> None:
        """Have the bytes read that came before a login; of many connections at once in slices, for the sake of those
        that are logged in."""
        self._strangers.do(connection.ask)

    def on_login_request(self, connection: Connection, login: Login) -> None:
        """Check the password of a login request, and log its user in."""
        self._sign_on.ask(connection, login)

    def on_login_timeout(self, connection: Connection) -> None:
        """Refuse a login request that has waited too long for its check."""
        self._sign_on.time_out(connection)

    def on_login(self, connection: Connection) -> None:
        """Enter the user of a connection in its STREAM row, for the bytes that it sends from now on."""
        at = _STREAM_BYTES * connection.slot + _OWNER_AT
        _OWNER.pack_into(self._table, at, connection.number, connection.user, connection.participant)

    def on_spool_error(self, connection: Connection, spool: Spool, error: SpoolError) -> None:
        """Drop a past session whose stream cannot be read; without the present one the node must end.

        Raises SpoolError for the present one.
        """
        outbox = connection.entrance.outbox
        if spool is outbox.spool:
            raise SpoolError(f"{error}; start the node again, which rebuilds a file that is too short") from error
        outbox.drop_past(spool)
        self._warn("past session dropped", session=spool.session, why=str(error))

    # Direct connections.

    def serve_directly(
        self,
        engine: Engine,
        market: DirectMarket,
        clock: MarketClock,
        tape: Packed[Tape] | None = None,
        lines: MarketLines | None = None,
    ) -> None:
        """Serve connections directly from now on, where they may be; once, before the first connection.

        tape: that to which the blocks of direct connections are written; None: there is none. lines: those that
        ``serve_lines`` serves. All are of the first entrance.
        """
        self._direct = DirectLines(
            self,
            engine,
            market,
            clock,
            self.entrances[0],
            self._arrivals,
            self._arrival_log,
            rows_max=ROWS_MAX,
            busy_poll_ns=self._busy_poll_ns,
            tape=tape,
            lines=lines,
        )

    def serve_lines(self, lines: MarketLines) -> None:
        """Serve programs beside the node from now on, by their lines."""
        self._local = LocalDoor(lines, partial(self.connection, self.entrances[0]))

    def local_users(self) -> dict[int, str]:
        """Name of the user of each line with a program beside the node; "" before the login."""
        streams = self.entrances[0].outbox.streams
        users = {} if self._local is None else self._local.users()
        return {line: streams.name(user) if user else "" for line, user in users.items()}

    def lead(self, line: StandbyLine) -> None:
        """Send rows of direct connections ahead of their block on the link to the standby, where that is enough."""
        if self._direct is not None:
            self._direct.lead(line)

    @property
    def direct_connections(self) -> int:
        """Number of connections that are served directly now."""
        return 0 if self._direct is None else len(self._direct)

    def has_room(self) -> bool:
        """True if a turn may be taken."""
        return self._has_room()

    def reads_others(self) -> bool:
        """True if connections that are not direct wait for a turn."""
        return bool(self._waiting)

    def waiting(self) -> list[Connection]:
        """Connections whose bytes wait for a turn."""
        return list(self._waiting)

    def has_rings(self) -> bool:
        """True if gateway processes send commands by rings."""
        return len(self.rings) > 0

    def on_rings(self) -> None:
        """Read the rings: a gateway process has woken this one, or a ring is served from now on."""
        if self._direct is None or not self._direct.wake():
            self._schedule()

    def _schedule(self) -> None:
        if not self._scheduled:
            self._scheduled = True
            self._loop.call_soon(self.turn)

    def on_caught_up(self, connection: Connection) -> None:
        """Serve a connection directly once the loop has sent what was written."""
        if self._direct is not None:
            self._loop.call_soon(self._direct.begin, connection)

    def end_direct(self, connection: Connection) -> None:
        """Let the event loop read and write a connection again."""
        if connection.is_direct and self._direct is not None:
            self._direct.end(connection)
            if connection.end > connection.begin and connection.live:
                self.on_bytes(connection)

    def send_direct(self, connection: Connection, data: bytes) -> bytes:
        """Send bytes to a direct connection; gives those that it did not take, after which it is not direct."""
        rest = data if self._direct is None else self._direct.send(connection, data)
        if rest:
            self.end_direct(connection)
        return rest

    def keep_told(self) -> None:
        """Have the spool take the messages that turns have sent, for those who come back."""
        self.entrances[0].outbox.spool.accept_told()

    def write_some(self) -> None:
        """Have the spool write some of what it has taken."""
        self.entrances[0].outbox.spool.write_some()

    def on_unsent(self, segment: Segment, sent: int) -> None:
        """Send what is kept: all but the first ``sent`` bytes; -1: the user has no direct connection."""
        if sent < 0:
            self.deliver(self.entrances[0], segment)
        elif (connection := self.logged_in.get(segment.user)) is not None:
            connection.deliver_rest(segment.data[sent:])

    def on_line_stop(self, connection: Connection, stop: int) -> None:
        """Read a connection that was direct: a packet that is not for the kernel, a broken one, or its end."""
        if stop != FINE:
            self._on_stop(connection, stop, self.now_ns())
        elif connection.end > connection.begin and connection.live:
            self.on_bytes(connection)

    # The turn.

    def on_bytes(self, connection: Connection) -> None:
        """Have the bytes of a live connection read in the next turn."""
        if not connection.dirty:
            connection.dirty = True
            self._waiting.append(connection)
        self._schedule()

    def turn(self) -> None:
        """Read all received messages, as far as there is room, and pass them on as one batch."""
        self._scheduled = False
        self.rings.wake()
        if not self._waiting and not self.rings.waits():
            self._rest()
            return
        if not self._has_room():
            # ``resume`` is called when there is room again; this covers room that appears without a call.
            self._loop.call_later(NO_ROOM_S, self.resume)
            return
        if self.take_alone is not None and len(self._waiting) == 1 and self._takes_alone(self.take_alone):
            self._go_on()
            return
        began_ns = time.perf_counter_ns()
        orders = self.orders
        entrance, reading = self._next_to_read()
        if reading and reading[0].row_session is not None:
            streams, rows = self._read_sessions(entrance, reading, self.now_ns())
        else:
            streams, rows = self._read(entrance, reading, self.now_ns())
        self.turns += 1
        if rows:
            self._take(self._rows[:rows], began_ns)
            if self._arrival_log is not None:
                self._arrival_log.add((self.turns - 1) & TURN_MASK, rows, streams, self.orders - orders)
            ended_ns = time.perf_counter_ns()
            self._fit(ended_ns - began_ns)
            if self._busy_poll_ns:
                self._busy_until_ns = ended_ns + self._busy_poll_ns
                if not self._polling:
                    self._polling = True
                    self._loop.call_soon(self._poll)
        self._go_on()

    def _takes_alone(self, take: Callable[[Connection], int]) -> bool:
        """Have kernels take the few messages of the only connection that waits; False where a turn has to."""
        (connection,) = waiting = self._waiting
        size = connection.end - connection.begin
        if not connection.live or not 0 < size <= ALONE_BYTES_MAX:
            return False
        self._waiting = []
        connection.dirty = False
        messages = take(connection)
        if not messages:
            self._waiting, connection.dirty = waiting, True
            return False
        self.turns += 1
        self.orders += messages
        self.bytes_in += size
        connection.drop(size, self.now_ns())
        connection.follow()
        return True

    def _go_on(self) -> None:
        """Have the next turn, or rest."""
        if self._waiting:
            self._schedule()
        else:
            self._rest()

    def _rest(self) -> None:
        """Have gateway processes wake the event loop, unless the compiled turn reads the rings and says so itself."""
        if (self._direct is None or not self._direct.wake()) and not self.rings.may_sleep():
            self._schedule()

    def _next_to_read(self) -> tuple[Entrance, list[Connection]]:
        """The entrance whose turn it is, and its connections that wait; those of others go on waiting."""
        waiting, self._waiting = self._waiting, []
        entrance = waiting[0].entrance if waiting else self.entrances[0]
        if len(self.entrances) > 1 and waiting:
            begin = self.turns % len(self.entrances)
            asking = {each.entrance for each in waiting}
            turns = self.entrances[begin:] + self.entrances[:begin]
            entrance = next(each for each in turns if each in asking)
            self._waiting = [each for each in waiting if each.entrance is not entrance]
            waiting = [each for each in waiting if each.entrance is entrance]
        return entrance, waiting

    def _read(self, entrance: Entrance, waiting: list[Connection], now_ns: int) -> tuple[int, int]:
        """Read messages of connections and rings into rows; gives the number of connections and sources, and of rows.

        Those with more come first in the next turn. A connection that may not send any more is not read: its slot can
        have a new owner.
        """
        table, numbers = self._table, self._reading
        reading: list[Connection] = []
        for each in waiting:
            each.dirty = False
            if each.live:
                slot = each.slot
                numbers[len(reading)] = slot
                reading.append(each)
                _ARRIVED.pack_into(table, _STREAM_BYTES * slot + _ARRIVED_AT, each.received_ns, each.begin, each.end)
        count = len(reading)
        if not count and not len(self.rings):
            return 0, 0
        first = 0 if entrance in self._resuming or not count else self.turns % count
        record_at = 0 if self._arrival_log is None else self._arrival_log.at
        rows: int = entrance.protocol.read_streams(
            self._arrivals.pointers, entrance.known.pointers, count, self._rows_max, first, record_at
        )
        full = rows + 2 > self._rows_max
        rest: list[tuple[int, Connection]] = []
        for each in reading:
            begin, end, messages, stop = _TAKEN.unpack_from(table, _STREAM_BYTES * each.slot + _TAKEN_AT)
            taken = each.end - each.begin - (end - begin)
            each.begin, each.end = begin, end
            if taken:  # whole packets
                self.bytes_in += taken
                self.orders += messages
                each.session.heard_ns = now_ns
            if each.holding:
                each.resume_reading()
            if stop != FINE:
                self._on_stop(each, stop, now_ns)
            elif full and end - begin > 2:
                each.dirty = True
                rest.append((messages, each))
        self._resuming.discard(entrance)
        if rest:
            self._resuming.add(entrance)
            # The interrupted round is finished first: connections that had no turn in it come before the others.
            rest.sort(key=_messages)
            self._waiting[:0] = [each for _, each in rest]
        of_rings = self.rings.packed.arrays.words
        self.orders += int(of_rings[MESSAGES])
        return count + int(of_rings[SOURCES]), rows

    def _read_sessions(self, entrance: Entrance, waiting: list[Connection], now_ns: int) -> tuple[int, int]:
        """Read messages of connections whose sessions make rows; gives the number of connections, and of rows.

        Each has a part of the turn; those with more have their turn again behind the others.
        """
        streams = entrance.outbox.streams
        made: list[bytes] = []
        count = 0
        for each in waiting:
            each.dirty = False
        for each in waiting:
            session = each.row_session
            if session is None or not each.live:
                continue
            rows_max = min(ROWS_OF_SESSION, self._rows_max - count)
            region = self.buffer[each.begin : each.end]
            taken, rows, messages = each.of_session(
                *(session.read, region, rows_max, streams, each.user, each.participant), otherwise=_NONE, read=region
            )
            made += rows
            count += sum(map(len, rows)) // COMMAND.itemsize
            self.orders += messages
            if taken:
                self.bytes_in += taken
                each.drop(taken, now_ns)
            each.follow()
        if made:
            # As bytes: NumPy copies rows of named places one place after the other.
            self._row_bytes[: COMMAND.itemsize * count] = np.frombuffer(b"".join(made), np.uint8)
        return len(waiting), count

    def received_ns(self, users: list[int]) -> list[int]:
        """When the bytes of each of these users were received last, in ns since 1970; now, of one that has left."""
        now_ns = time.time_ns()
        if len(users) == 1:
            connection = self.logged_in.get(users[0])
            return [now_ns if connection is None else connection.received_ns]
        connections = {user: self.logged_in.get(user) for user in set(users)}
        times = {user: now_ns if each is None else each.received_ns for user, each in connections.items()}
        return [times[user] for user in users]

    def _fit(self, took_ns: int) -> None:
        """Set the rows of the next turn by the time of the last one."""
        if took_ns > TURN_NS_MAX:
            self._rows_max = max(self._rows_max // 2, ROWS_LEAST)
        elif self._rows_max < self._rows_limit and took_ns < TURN_NS_MAX // 10:
            self._rows_max = min(2 * self._rows_max, self._rows_limit)

    def limit_rows(self, rows_max: int) -> None:
        """Bound the rows of a turn, for a node that reads slowly on purpose; ``ROWS_MAX`` removes the bound."""
        self._rows_limit = rows_max
        self._rows_max = min(self._rows_max, rows_max)
        if self._direct is not None:
            self._direct.limit_rows(rows_max)

    def _poll(self) -> None:
        """Keep the loop polling for a while after an order: more orders are likely, and waking up costs more than the
        whole work for an order."""
        if time.perf_counter_ns() < self._busy_until_ns:
            self._loop.call_soon(self._poll)
        else:
            self._polling = False

    def resume(self) -> None:
        """Run a turn that had to wait for room."""
        if self._waiting or self.rings.waits():
            self._schedule()

    def _on_stop(self, connection: Connection, stop: int, now_ns: int) -> None:
        """Have the session take the first packet in the region, which is not one for the kernel."""
        connection.take(stop, now_ns)
        if connection.end > connection.begin and connection.live:
            self.on_bytes(connection)

    def load_kernels(self) -> None:
        """Load the kernels that read, before the first client waits for them: no connection and no ring is read."""
        for entrance in self.entrances:
            entrance.protocol.read_streams(self._arrivals.pointers, entrance.known.pointers, 0, 0, 0, 0)
        waits_in_rings(self.rings.packed.pointers)

    # Messages to clients.

    def deliver(self, entrance: Entrance, segment: Segment) -> None:
        """Send messages that are in the spool of an entrance to their user, if logged in there."""
        connection = self.logged_in.get(segment.user)
        if connection is not None and connection.entrance is entrance:
            connection.deliver(segment.data, segment.messages, self.now_ns())

    def beat(self) -> None:
        """Send heartbeats and end silent connections; call it every ``BEAT_S``."""
        beat = self.attention.beat(self.now_ns())
        if self._local is not None:
            self._local.beat()
        if self._arrival_log is not None:
            self._arrival_log.flush()
        direct = self._direct
        if not self._has_room():
            for connection in [] if direct is None else direct.end_all():
                self.on_bytes(connection)
            for connection in list(self._waiting):
                connection.take_waiting(beat.now_ns)
        if direct is not None:
            direct.beat(beat)
        for connection in list(self.connections):
            if not connection.is_direct:
                connection.beat(beat)
                if direct is not None and connection.live:
                    direct.begin(connection)

    def _begin_day(self, entrance: Entrance) -> None:
        """End the sessions of the day before. An order that was on its way may be of the new day, so users whose orders
        go with their connection are absent until they log in again."""
        streams = entrance.outbox.streams
        absent = [
            user
            for user, connection in self.logged_in.items()
            if connection.entrance is entrance and streams.may(user, UserPermission.CANCEL_ON_DISCONNECT)
        ]
        self._end_sessions(entrance)
        if absent:
            self.on_users_absent(absent)

    def end_sessions(self) -> None:
        """End every session: the stream is complete."""
        for entrance in self.entrances:
            self._end_sessions(entrance)

    def _end_sessions(self, entrance: Entrance) -> None:
        for connection in list(self.connections):
            if connection.entrance is not entrance:
                continue
            if connection.live:
                connection.end_session()
            elif not connection.past:
                connection.close("the session has ended", tells=False)

    def close(self) -> None:
        """Refuse all further connections and logins."""
        self.open_for_logins = False
        self._sign_on.close()
        if self._local is not None:
            self._local.close()
        if self._direct is not None:
            self._direct.close()
        if self._arrival_log is not None:
            self._arrival_log.close()


def _is_logged(count: int) -> bool:
    """True if the log gets the count-th of its kind: the 1st, 2nd, 4th, 8th … since it may be a flood."""
    return count & (count - 1) == 0


def _small_pages(size: int) -> NDArray[np.uint8]:
    """Zero bytes of which only the pages that are used take memory. NumPy asks the system for huge pages, of which one
    would hold the regions of 16 connections, and each of these uses its first bytes."""
    memory = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    if hasattr(mmap, "MADV_NOHUGEPAGE"):
        with suppress(OSError):  # a system without huge pages
            memory.madvise(mmap.MADV_NOHUGEPAGE)
    return np.frombuffer(memory, np.uint8)
