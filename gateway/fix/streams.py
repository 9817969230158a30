"""Streams of FIX: each report about a user's orders, and each mark of its session, as records with their numbers.

Records begin with a user's first logon by FIX: what came before has numbers alone, and an open order its last report,
so that users of other protocols cost little.

So both numbers of a session, and all that a resend needs, are a function of the journal, and are the same after the end
of a gateway or a node, at whichever node. Numbers go on from day to day, until the client begins them again.
"""

from collections.abc import Iterator
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from engine.capacity import Capacity
from engine.jit import Packed
from engine.records import COMMAND, EVENT, CommandKind, Reason
from engine.row_bytes import ROW
from gateway.bounded_streams import BoundedStreams
from gateway.fix import marks, names, records
from gateway.fix.answers import CANCEL_REJECT, FIX_4_2, Answers
from gateway.fix.commands import Commands, context_in
from gateway.fix.kept_names import KeptNames, packed, unpacked
from gateway.fix.kept_orders import ROW_BYTES, KeptOrders, Key, Orders
from gateway.fix.marks import Mark
from gateway.fix.orders import UNKNOWN_ORDER
from gateway.fix.taking import (
    BLOCK_COMMANDS,
    BLOCK_EVENTS,
    GROUPS,
    LAST_KIND,
    MADE,
    MADE_AT,
    MADE_N,
    OTHER,
    PART,
    TOLD,
    Taking,
    new_taking,
    take_block,
)
from gateway.fix.telling import DONE, KEPT_FULL, ORDERS_MAX, Telling, new_telling, survey, tell_reports
from gateway.streams import Deliver, LoginEndCallback, NewSessionCallback
from reports.projection import read_only
from reports.rows import REPORT_BYTES, ReportFlag, ReportKind
from tape.blocks import Tape
from wire.ouch import PRICE_E4_MAX

_CANCEL, _REPLACE = int(CommandKind.CANCEL), int(CommandKind.REPLACE)
_EXTEND: Final = int(CommandKind.EXTEND)
_ENTER: Final = int(CommandKind.ENTER)
_CROSS: Final = int(CommandKind.CROSS)
_ORDER_COMMANDS: Final = (_ENTER, _CANCEL, _REPLACE)
_REFUSALS: Final = (int(ReportKind.REJECTED), int(ReportKind.CANCEL_REJECTED))
_COLUMNS: Final = (
    *("seq", "kind", "command_kind", "user", "other_user", "client_order_id", "token_head", "token_tail"),
    *("previous_client_order_id", "previous_token_head", "previous_token_tail", "leaves_qty", "command_context"),
    "reason",
)
_BY_REPLACE, _UNKNOWN_ORDER = int(Reason.REPLACED), int(Reason.UNKNOWN_ORDER)
_REPLACED, _CANCEL_REJECTED = int(ReportKind.REPLACED), int(ReportKind.CANCEL_REJECTED)
_KIND, _SIDE, _ORDER_NUMBER = records.PLACE["kind"], records.PLACE["side"], records.PLACE["order_number"]
_PARTICIPANT_NAME, _PRICE = records.PLACE["participant_name"], records.PLACE["price_e4"]
_QTY, _LEAVES, _CUM = records.PLACE["qty"], records.PLACE["leaves_qty"], records.PLACE["cum_qty"]
_NOTIONAL: Final = records.PLACE["notional_e4"]
_WORDS: Final = 6
_NOBODY: Final = (0, b"")
#: Says OrdStatus in the version that has all of them.
_STATES: Final = Answers(FIX_4_2)


class FixStreams(BoundedStreams):
    """Streams of the users."""

    highest_e4 = PRICE_E4_MAX
    #: Protocol of the sessions of these streams, and those whose commands are read for the texts of ids.
    protocol = marks.NUMBER
    protocols: tuple[int, ...] = (marks.NUMBER,)
    #: True where the kernel of ``telling`` makes the records of usual reports.
    has_kernel = True

    def __init__(
        self,
        capacity: Capacity,
        deliver: Deliver,
        on_new_session: NewSessionCallback,
        on_login_end: LoginEndCallback,
    ) -> None:
        super().__init__(capacity, deliver, on_new_session, on_login_end, frame=self._frame_reports)
        users = len(self._user_rows)
        #: int64[users]: number of the next message to each user, and of the next that is expected of it.
        self.next_out = np.ones(users, np.int64)
        self.next_in = np.ones(users, np.int64)
        #: bool[users]: users who have spoken FIX, of whom alone records are made.
        self._speaks = np.zeros(users, np.bool_)
        #: int64[users]: when the numbers of each user began, by the clock of the market; 0: they have not.
        self.begun_ns = np.zeros(users, np.int64)
        #: int64[users, 2]: SendingTime of the newest signed logon of each user, in ns since 1970; its mark's number.
        self._signed = np.zeros((users, 2), np.int64)
        self._names = KeptNames()
        self._orders = KeptOrders()
        self._mass: dict[int, tuple[int, int]] = {}  # symbol and side of a mass cancel that a user waits for
        self._instruments: dict[int, int] = {}
        self._telling = Packed(new_telling(self._fold.room, self._speaks, self.next_out, self.next_in))
        self._commands = Commands(self._telling.arrays.carried)
        self._taking: Packed[Taking] | None = None  # once blocks come from a tape
        self._asked: tuple[int, bytes] = _NOBODY  # who has sent the command whose reports are taken, and their route
        self._crossed_number = 0  # order number of the cross whose reports are taken

    def __call__(self, first_seq: int, commands: NDArray[Any], events: NDArray[Any], /) -> None:
        """Take a block: COMMAND rows from ``first_seq`` on, and the EVENT rows that they caused."""
        commands, events = read_only(np.ascontiguousarray(commands)), read_only(np.ascontiguousarray(events))
        self._commands.begin(first_seq, commands)
        answered = np.zeros(len(commands), np.uint8)
        unanswered, signed = survey(commands, self._commands.carried, events, first_seq, answered)
        if unanswered:
            self._note_waiting(answered)
        if signed:
            self._note_signed()
        super().__call__(first_seq, commands, events)
        self._commands.end()

    def take_taped(self, tape: Packed[Tape], seq: int) -> int:
        """Take the next block by a kernel, from a tape whose reader stands behind command ``seq``.

        Gives the number of its commands; 0 where the block is for ``__call__``, or none is released.
        """
        pointers = self.taking_pointers(tape)
        return 0 if pointers is None else self.took_taped(take_block(*pointers, seq, self.highest_e4), seq)

    def taking_pointers(self, tape: Packed[Tape]) -> tuple[Any, ...] | None:
        """The first arguments of ``take_block``, all pointers; None where the next block is for ``__call__``."""
        if self._mass or not self.has_kernel:  # a mass cancel that somebody waits for ends with the next new order
            return None
        return self.taking.pointers, tape.pointers, *self._fold.pointers, self._telling.pointers, self._orders.pointers

    @property
    def taking(self) -> Packed[Taking]:
        """Memory of the kernel that takes blocks from a tape."""
        if self._taking is None:
            self._taking = Packed(new_taking(self._fold, self._telling.arrays))
        return self._taking

    @property
    def telling(self) -> Packed[Telling]:
        """Memory of the kernel that makes records."""
        return self._telling

    def took_taped(self, result: int, seq: int) -> int:
        """Go on with a block that ``take_block`` has taken behind command ``seq``, with the result that it gave: gives
        the number of its commands; 0: none was taken."""
        if result == OTHER:
            return 0
        taking = self.taking
        words = taking.arrays.words.tolist()
        self._add_told(words[GROUPS])
        if result == PART:
            self._go_on(taking.arrays, seq + 1, words)
        self.now_ns = self._fold.now_ns
        self._send()
        if self._revoked:
            self._end_revoked()
        self.ends_extended = words[LAST_KIND] == _EXTEND
        commands: int = words[BLOCK_COMMANDS]
        return commands

    def told_alone(self, user: int, stored: bytes, messages: int, last_kind: int) -> None:
        """Take records of a user, which kernels have made of whole blocks, and sent. last_kind: of the last command."""
        self._add(user, stored, messages)
        self.now_ns = self._fold.now_ns
        self._send()
        self.ends_extended = last_kind == _EXTEND

    def _go_on(self, taking: Taking, first_seq: int, words: list[int]) -> None:
        """Go on with a block of which a kernel has made some reports, and told some of these."""
        commands = np.frombuffer(taking.command_words.tobytes(), COMMAND)[: words[BLOCK_COMMANDS]]
        events = np.frombuffer(taking.event_words.tobytes(), EVENT)[: words[BLOCK_EVENTS]]
        self._commands.begin(first_seq, commands)
        self._take_from(words[TOLD], self._fold.room[: words[MADE]], first_seq, commands)
        at, n = words[MADE_AT], words[MADE_N]
        for reports in self._fold.batches(first_seq, commands, events, by_day=True, at=at, n=n):
            self._take(reports, first_seq, commands)

    def _note_signed(self) -> None:
        """Keep the newest signed logon of each user, of order entry or copies; of two that were sent at the same time,
        the first."""
        rows = self._commands.rows
        marked = (rows["kind"] == _CANCEL) & (rows["client_order_id"] == 0)
        for at in np.flatnonzero(marked).tolist():
            before, command = map(ROW.unpack, self._commands.with_row_before(at))
            context, sent_ns = command[1], before[0]
            if before[8] != _EXTEND or marks.protocol_of(context) not in marks.NUMBERS:
                continue
            user = context & 0xFFFF
            if marks.mark_of(context) not in (Mark.SESSION, Mark.RESET) or not 0 < user < len(self._signed):
                continue
            if sent_ns > self._signed[user, 0]:
                self._signed[user] = sent_ns, command[3]

    def _note_waiting(self, answered: NDArray[np.uint8]) -> None:
        """Keep the commands of a block that have no event of their own: any that does not wait has an answer."""
        rows = self._commands.rows
        for at in np.flatnonzero(np.isin(rows["kind"], _ORDER_COMMANDS) & (answered == 0)).tolist():
            context = context_in(ROW.unpack(rows[at].tobytes()))
            if marks.protocol_of(context) == self.protocol and marks.mark_of(context) != Mark.RESET:
                # Its number is consumed now: a mark that finds no room to wait is answered before it.
                self._consume(context)
            if marks.protocol_of(context) in self.protocols:
                self._commands.keep_waiting(at, context)

    # What sessions ask.

    def instrument(self, symbol: int) -> int:
        """Number of the instrument of a symbol in which users may enter orders; 0: there is none."""
        known = np.count_nonzero(self.symbols["symbol"])
        if known != len(self._instruments):
            named = self.symbols[self.symbols["symbol"] != 0]
            self._instruments = dict(zip(named["symbol"].tolist(), named["instrument"].tolist(), strict=True))
        number = self._instruments.get(symbol, 0)
        return number if self.price_max_e4[number] else 0

    def symbol_of(self, instrument: int) -> int:
        """Symbol of an instrument; 0: there is none."""
        named = self.symbols["symbol"][self.symbols["instrument"] == instrument]
        return int(named.max(initial=0))

    def is_named(self, user: int, client_order_id: int) -> bool:
        """True if the text of a long ClOrdID is in the journal."""
        return (user, client_order_id) in self._names.table

    def signed_ns(self, user_name: str) -> int:
        """SendingTime of the newest signed logon of a user, in ns since 1970; 0: there was none."""
        return int(self._signed[self.user(user_name), 0])

    def is_newest_logon(self, user: int, number: int) -> bool:
        """True if the mark of a number is that of a user's newest signed logon, and of the first with its time."""
        return int(self._signed[user, 1]) == number

    def has_open(self, user: int, client_order_id: int) -> bool:
        """True if an order of a user is open, as far as reports have come."""
        return self._orders.is_open((user, client_order_id))

    def may_cross_for(self, user: int, participant_name: int) -> bool:
        """True if a user may report crosses of a participant: of its own, or of one whose users all trade for the firm
        of that name."""
        own = int(self._user_rows[user]["participant_name"])
        users = self._user_rows[1 : len(self._by_name) + 1]
        firms = users["firm"][users["participant_name"] == participant_name]
        return participant_name == own or (len(firms) > 0 and bool((firms == own).all()))

    @property
    def kept_pointers(self) -> Any:
        """Last reports of orders for kernels (``gateway.fix.kept_orders``); others after each block."""
        return self._orders.pointers

    def report_of(self, user: int, client_order_id: int) -> bytes | None:
        """Last report of an order of a user, as a row; None where it is not known."""
        return self._orders.row((user, client_order_id))

    def unmet_mass_cancel(self, user: int) -> tuple[int, int] | None:
        """Symbol and side of a mass cancel that a user has asked for, and that the market has not seen yet."""
        return self._mass.get(user)

    # Records.

    def _take(self, reports: NDArray[Any], first_seq: int, commands: NDArray[Any]) -> None:
        """Take reports: the usual ones by a kernel, stretches of others in Python."""
        if not self.has_kernel:
            super()._take(reports, first_seq, commands)
            return
        self._take_from(0, reports, first_seq, commands)

    def _take_from(self, at: int, reports: NDArray[Any], first_seq: int, commands: NDArray[Any]) -> None:
        """Take the reports from a place on."""
        end = len(reports)
        while at < end:
            if self._mass:  # a mass cancel that somebody waits for ends with the next new order
                until = end
            else:
                at, until = self._tell_usual(at, end)
            while at < until and self._is_own_mark(reports[at]):
                self._take_own_mark(reports[at])
                at += 1
            if until > at:
                super()._take(reports[at:until], first_seq, commands)
                at = until

    def _is_own_mark(self, report: Any) -> bool:
        """True for the refusal of a mark of these streams' sessions."""
        return bool(
            report["command_kind"] == _CANCEL
            and report["client_order_id"] == 0
            and report["kind"] == ReportKind.CANCEL_REJECTED
            and marks.protocol_of(int(report["command_context"])) == self.protocol
            and marks.mark_of(int(report["command_context"]))
        )

    def _take_own_mark(self, report: Any) -> None:
        context = int(report["command_context"])
        command, before = self._commands.behind(int(report["seq"]), context)
        next_in, row = marks.next_in_of(context), report.tobytes()
        for user, record in self._take_mark(context & 0xFFFF, marks.mark_of(context), next_in, command, before, row):
            self._add(user, record)

    def _tell_usual(self, at: int, end: int) -> tuple[int, int]:
        """Have a kernel take reports; gives the place of the first that is left, and of the next usual one behind."""
        telling, kept, commands = self._telling, self._orders, self._commands
        while True:
            at, until, groups, why = tell_reports(
                telling.pointers, kept.pointers, commands.rows, commands.first_seq, at, end, self.highest_e4
            )
            self._add_told(groups)
            if why == DONE:
                return at, until
            if why == KEPT_FULL:
                kept.make_room()

    def _add_told(self, groups: int) -> None:
        """Add the records that a kernel has made: so many groups, each of a user."""
        begin, telling = 0, self._telling.arrays
        for user, messages, behind in telling.groups[:groups].tolist():
            self._add(user, telling.out[begin:behind].tobytes(), messages)
            begin = behind

    def _frame_reports(self, reports: NDArray[Any]) -> Iterator[tuple[int, bytes]]:
        self._close_far(reports)
        mass = reports[reports["kind"] == ReportKind.MASS_CANCEL]
        for report in mass:
            self._met(report)
        concern = self._relevant(reports) | (reports["command_kind"] == _CROSS) | _ended_by_replace(reports)
        chosen = reports[(reports["kind"] <= ORDERS_MAX) & concern]
        while len(chosen):
            # Whoever speaks for the first time is told what comes behind, wherever a block ends.
            end = self._next_speaker(chosen)
            yield from self._frame_chosen(chosen[:end])
            chosen = chosen[end:]

    def _next_speaker(self, chosen: NDArray[Any]) -> int:
        """Number of reports up to the first mark of a user who has not spoken before; of all where there is none."""
        contexts = chosen["command_context"]
        begins = (chosen["command_kind"] == _CANCEL) & (chosen["client_order_id"] == 0)
        begins &= (contexts >> 60 & 15 == self.protocol) & (contexts >> 48 & 255 != Mark.NAME)
        senders = np.where(begins, contexts & 0xFFFF, 0)
        begins &= ~self._speaks[np.minimum(senders, len(self._speaks) - 1)]
        return int(np.argmax(begins)) + 1 if begins.any() else len(chosen)

    def _of_no_fix_user(self, chosen: NDArray[Any]) -> NDArray[np.bool_]:
        """True for reports that concern only users who have never spoken FIX: they have numbers, and no records."""
        by_fix = np.isin(chosen["command_context"] >> 60 & 15, self.protocols)
        by_fix |= (chosen["command_kind"] == _CROSS) | _ended_by_replace(chosen)
        silent: NDArray[np.bool_] = ~(by_fix | self._speaks[chosen["user"]] | self._speaks[chosen["other_user"]])
        counts = silent & ~((chosen["command_kind"] == _CANCEL) & (chosen["client_order_id"] == 0))
        users, others = chosen["user"][counts], chosen["other_user"][counts]
        self.next_out += np.bincount(users, minlength=len(self.next_out))
        self.next_out += np.bincount(others[others != users], minlength=len(self.next_out))
        self.next_out[0] = 1
        return silent

    def _frame_chosen(self, chosen: NDArray[Any]) -> Iterator[tuple[int, bytes]]:
        silent, ended = self._of_no_fix_user(chosen).tolist(), _ended_by_replace(chosen).tolist()
        rows = np.ascontiguousarray(chosen).view(REPORT_BYTES)
        columns = zip(*(chosen[name].tolist() for name in _COLUMNS), strict=True)
        for at, said in enumerate(columns):
            row, values = rows[at].tobytes(), said
            if ended[at]:
                row = self._as_replaced(row)
                values = _said(row)
            seq, kind, command_kind, user, other, own_id, head, tail = values[:8]
            old_id, old_head, old_tail, leaves, context, reason = values[8:]
            if other and kind == _REPLACED:
                self._drop_replaced(other, old_id)
            self._asked = _NOBODY
            if silent[at]:
                self._keep_open(user, own_id, old_id if kind == ReportKind.REPLACED else 0, kind, leaves, row)
                continue
            if command_kind == _CROSS:
                yield from self._take_cross(seq, row)
                continue
            by_fix = marks.protocol_of(context) in self.protocols
            before: tuple[int, ...] = (0,) * _WORDS
            if by_fix:
                sender, next_in = context & 0xFFFF, marks.next_in_of(context)
                command, before = self._commands.behind(seq, context)
                if marks.mark_of(context) and command_kind == _CANCEL and own_id == 0:
                    if marks.protocol_of(context) == self.protocol:
                        yield from self._take_mark(sender, marks.mark_of(context), next_in, command, before, row)
                    elif marks.mark_of(context) == Mark.NAME:
                        self._names.take(sender, command[3], marks.text_in(before))
                    continue
                if marks.protocol_of(context) == self.protocol:
                    self._consume(context)
                    self._asked = sender, self._names.route(context)
            elif command_kind == _CANCEL and own_id == 0:
                continue
            text = self._text(user, own_id, head, tail)
            orig = b""
            if kind == ReportKind.REPLACED or (command_kind == _REPLACE and kind in _REFUSALS):
                orig = self._text(user, old_id, old_head, old_tail)
            elif command_kind == _CANCEL and by_fix:
                orig = text
                if kind == _CANCEL_REJECTED or not self._is_taken(context & 0xFFFF, own_id, before):
                    text = self._text_of_cancel(context & 0xFFFF, before) or text
            last = b""
            if kind == _CANCEL_REJECTED and reason == _UNKNOWN_ORDER:
                last = self._last_of_closed(user, old_id if command_kind == _REPLACE else own_id)
            self._remember(user, own_id, old_id if kind == ReportKind.REPLACED else 0, kind, leaves, row)
            resent = by_fix and kind == ReportKind.REJECTED and marks.flags_of(context) & marks.RESENT
            again = self._told_again(user, own_id, row, text) if resent else None
            yield from self._tell(user, other, row, text, orig, last) if again is None else again

    def _as_replaced(self, row: bytes) -> bytes:
        """REPORT row of an order that a replace has ended, since it asked for no more than was executed: replaced by
        one of that quantity, and so filled. It stays as it is where its command is not known."""
        said = list(records.PLACES.unpack(row))

        def place(name: str) -> int:
            return records.PLACE[name]

        found = self._commands.replace_of(
            said[place("seq")], said[place("participant")], said[place("client_order_id")]
        )
        if found is None:
            return row
        command, before = found
        sender = command[4] & 0xFFFF
        changes = {
            "kind": _REPLACED,
            "reason": 0,
            "decrement_qty": 0,
            "canceled_qty": 0,
            "qty": said[_CUM],
            "price_e4": command[2],
            "client_order_id": command[1],
            "token_head": before[4],
            "token_tail": before[5],
            "previous_client_order_id": said[place("client_order_id")],
            "previous_token_head": said[place("token_head")],
            "previous_token_tail": said[place("token_tail")],
            "command_context": command[4],
            "flags": said[place("flags")] | ReportFlag.REPLACED,
        }
        if 0 < sender <= len(self._by_name) and sender != said[place("user")]:
            of_sender = self._user_rows[sender]
            changes |= {"user": sender, "user_name": int(of_sender["name"]), "firm": int(of_sender["firm"])}
            changes["other_user"] = said[place("user")]
        for name, value in changes.items():
            said[place(name)] = value
        return records.PLACES.pack(*said)

    def _is_taken(self, user: int, canceled_id: int, before: tuple[int, ...]) -> bool:
        """True if the ClOrdID of a cancel is that of another order, which is open."""
        head, tail = before[4], before[5]
        own_id = head if tail == names.LONG or not head else names.id_of(names.shown(-1, head, tail))
        return own_id != canceled_id and self._orders.is_open((user, own_id))

    def _last_of_closed(self, user: int, client_order_id: int) -> bytes:
        """Last report of an order that is not open any more; nothing where it is not known."""
        key = user, client_order_id
        return (self._orders.row(key) if self._orders.is_closed(key) else None) or b""

    def _take_cross(self, seq: int, row: bytes) -> Iterator[tuple[int, bytes]]:
        """Records of a report of a cross: of both sides where it has been accepted or refused, else of the one that it
        is of. One that the operator has reported has no ClOrdIDs of its sides."""
        command, before = self._commands.behind(seq, 0)
        context = command[1]
        by_fix = marks.protocol_of(context) in self.protocols
        user, said = context & 0xFFFF if by_fix else 0, list(records.PLACES.unpack(row))
        kind = said[_KIND]
        if kind == ReportKind.TRADE:
            sides: tuple[int, ...] = (said[_SIDE],)
        else:
            sides, self._crossed_number = (1, -1), said[_ORDER_NUMBER]
            if marks.protocol_of(context) == self.protocol:
                self._consume(context)
        if marks.protocol_of(context) == self.protocol:
            self._asked = context & 0xFFFF, self._names.route(context)
        cross_id = self._text(user, command[0], *before[2:4])
        for side in sides:
            of_side = said.copy()
            of_side[_SIDE], of_side[_ORDER_NUMBER] = side, self._crossed_number
            if kind != ReportKind.TRADE:
                qty = max(command[3], 0)
                of_side[_PARTICIPANT_NAME], of_side[_QTY] = command[4 if side > 0 else 5], qty
                of_side[_PRICE], of_side[_LEAVES] = max(command[2], 0), 0 if kind in _REFUSALS else qty
                of_side[_CUM] = of_side[_NOTIONAL] = 0
            text = self._word_text(user, *(before[0:2] if side > 0 else before[4:6])) if by_fix else cross_id
            yield from self._tell_cross(user, records.PLACES.pack(*of_side), text, cross_id)

    def _tell_cross(self, user: int, row: bytes, text: bytes, cross_id: bytes) -> Iterator[tuple[int, bytes]]:
        """Records of one side of a cross, to who reported it."""
        if 0 < user < len(self._speaks) and self._speaks[user]:
            yield user, self._numbered(user, records.CROSSED, row, text, cross_id)

    def _consume(self, context: int) -> None:
        """Take the number of a message that has become a command."""
        sender, next_in = context & 0xFFFF, marks.next_in_of(context)
        if sender < len(self.next_in) and next_in > self.next_in[sender]:
            self.next_in[sender] = next_in

    def _relevant(self, reports: NDArray[Any]) -> NDArray[np.bool_]:
        """True for reports about orders that become records, or are needed for them."""
        concern: NDArray[np.bool_] = (reports["user"] != 0) | (reports["other_user"] != 0)
        return concern

    def _tell(
        self, user: int, other: int, row: bytes, text: bytes, orig: bytes, last: bytes = b""
    ) -> Iterator[tuple[int, bytes]]:
        """Records of a report: to the user of the order, and to another whom it concerns. last: of a refusal, the last
        report of its order."""
        kind = records.LATE if last else records.REPORT
        for each in (user, other) if other and other != user else (user,):
            if self._speaks[each]:
                yield each, self._numbered(each, kind, row + last, text, orig)
            elif each:
                self.next_out[each] += 1

    def _numbered(self, user: int, kind: int, data: bytes, text: bytes = b"", orig: bytes = b"") -> bytes:
        number = int(self.next_out[user])
        self.next_out[user] = number + 1
        asked, route = self._asked
        return records.record_of(number, kind, data, text, orig, route if user == asked else b"")

    def _told_again(self, user: int, own_id: int, row: bytes, text: bytes) -> list[tuple[int, bytes]] | None:
        """The status of an order that came once more and was refused; None for one that is not known."""
        told = self._orders.row((user, own_id))
        return None if told is None else [(user, self._status_told(user, told, _time_in(row), text))]

    def _status_told(self, user: int, told: bytes, time_ns: int, text: bytes) -> bytes:
        """The record of an order's status. time_ns: of the answer: its order may be of hours or days ago, and clients
        end a session whose messages are so old."""
        return self._numbered(user, records.STATUS, told + records.OF_STATUS.pack(time_ns), text)

    def _take_mark(
        self, user: int, mark: int, next_in: int, command: tuple[int, ...], before: tuple[int, ...], row: bytes
    ) -> Iterator[tuple[int, bytes]]:
        if not 0 < user <= len(self._by_name):
            return
        number = command[3]
        if mark in (Mark.NAME, Mark.ROUTE):
            self._names.take(user, number, marks.text_in(before), routes=mark == Mark.ROUTE)
            return
        self._asked = user, self._names.route(command[1])
        if mark == Mark.RESET and before[0] and not self.is_newest_logon(user, number):
            mark = Mark.SESSION  # a copy of an earlier logon begins nothing again
        if not self._speaks[user] or mark == Mark.RESET:
            self.begun_ns[user] = _time_in(row)
        self._speaks[user] = True
        if mark == Mark.RESET:
            self.next_out[user] = self.next_in[user] = 1
        elif next_in > self.next_in[user]:
            self.next_in[user] = next_in
        match mark:
            case Mark.BUSINESS_REJECT:
                type_bytes = before[0].to_bytes(8, "big", signed=True)
                data = records.OF_BUSINESS.pack(_time_in(row), max(next_in - 1, 0), before[1] % 2**64, type_bytes)
                text = marks.text_in((*before[2:], 0, 0)).rstrip(b"\0")
                yield user, self._numbered(user, records.BUSINESS, data, text)
            case Mark.STATUS:
                key = user, before[0]
                told = self._orders.row(key)
                if told is None or not _is_of(told, before[1], before[4]):
                    told = self._unknown(before, row)
                yield user, self._status_told(user, told, _time_in(row), self._text(user, before[0], *before[2:4]))
            case Mark.REFUSED:
                yield user, self._refused(user, next_in, before, row)
            case Mark.MASS_CANCEL:
                self._mass[user] = before[1], before[0]
                seq = records.PLACES.unpack(row)[records.PLACE["seq"]]
                data = records.OF_MASS.pack(_time_in(row), seq, before[1], before[0])
                yield user, self._numbered(user, records.MASS, data, self._word_text(user, *before[2:4]))
            case _:
                data = records.OF_MARK.pack(number, int(self.next_in[user]), mark)
                yield user, self._numbered(user, records.MARK, data)

    def _refused(self, user: int, next_in: int, before: tuple[int, ...], row: bytes) -> bytes:
        """The record of a refusal, with what it says of the order that the message is about."""
        refusal, orig, symbol, qty = records.refusal_of(before[0]), b"", b"", 0
        order_number = status = 0
        if refusal.answer == CANCEL_REJECT:
            orig = self._word_text(user, before[3], before[4])
            told = self._orders.row((user, names.id_of(orig))) if orig else None
            if told is not None and refusal.reason != UNKNOWN_ORDER:
                order_number, status = records.PLACES.unpack(told)[_ORDER_NUMBER], ord(_STATES.status_of(told))
        else:
            qty = before[4]
            symbol = self._text(user, before[3], 0, 0).rstrip() if before[3] else b""
        said = records.PLACES.unpack(row)
        data = records.OF_REFUSED.pack(
            *(_time_in(row), said[records.PLACE["seq"]], max(next_in - 1, 0), qty, order_number, status, before[0])
        )
        sentence = symbol + b"\x01" + self._text(user, before[5], 0, 0).rstrip()
        return self._numbered(user, records.REFUSED, data + sentence, self._word_text(user, *before[1:3]), orig)

    def names_held(self, user: int) -> int:
        """Number of the long ClOrdIDs of a user that are kept: those of today, and of open orders."""
        return self._names.held(user)

    def _text(self, user: int, client_order_id: int, head: int, tail: int) -> bytes:
        """ClOrdID of an order."""
        long = self._names.table.get((user, client_order_id)) if client_order_id < 0 else None
        if long is None and client_order_id < 0:
            long = self._commands.long_id(user, client_order_id, self.protocols)
        return long or names.shown(client_order_id, head, tail)

    def _word_text(self, user: int, head: int, tail: int) -> bytes:
        """ClOrdID that two words of an EXTEND row say."""
        if tail == names.LONG:
            return self._text(user, head, 0, 0)
        return names.shown(-1, head, tail) if head else b""

    def _text_of_cancel(self, user: int, before: tuple[int, ...]) -> bytes:
        return self._word_text(user, before[4], before[5])

    def _remember(self, user: int, own_id: int, old_id: int, kind: int, leaves: int, row: bytes) -> None:
        """Keep the last report of each order."""
        if not user or kind in _REFUSALS:
            return
        if old_id:
            self._orders.drop_open(user, old_id)
        if leaves:
            if not old_id and self._mass and not self._orders.is_open((user, own_id)):
                self._mass.pop(user, None)  # what was asked for before is not done to this order at a later logon
            self._orders.keep(user, own_id, row)
        else:
            self._orders.keep(user, own_id, row, closes=True)

    def _drop_replaced(self, user: int, old_id: int) -> None:
        """Forget an order that another user has replaced."""
        self._orders.drop_open(user, old_id)

    def _keep_open(self, user: int, own_id: int, old_id: int, kind: int, leaves: int, row: bytes) -> None:
        """Keep the last report of an open order, for a user who may speak FIX later."""
        if not user or kind in _REFUSALS:
            return
        if old_id:
            self._orders.drop_open(user, old_id)
        if leaves:
            self._orders.keep(user, own_id, row)
        else:
            self._orders.drop_open(user, own_id)

    @staticmethod
    def _unknown(before: tuple[int, ...], row: bytes) -> bytes:
        """REPORT row of an order that is not known: what its request said of it."""
        places = [0] * len(records.PLACE_NAMES)
        said = records.PLACES.unpack(row)
        for name in ("seq", "time_ns", "number", "participant_name", "user_name", "user"):
            places[records.PLACE[name]] = said[records.PLACE[name]]
        places[records.PLACE["symbol"]], places[records.PLACE["side"]] = before[1], before[4]
        return records.PLACES.pack(*places)

    def _met(self, report: Any) -> None:
        """Take a mass cancel that the market has carried out, from whomever it came."""
        asked = int(report["symbol"]), int(report["side"])
        for user in [user for user, each in self._mass.items() if each == asked]:
            if int(self._user_rows[user]["participant_name"]) == int(report["participant_name"]):
                del self._mass[user]

    def _begin_day(self, time_ns: int, *, first: bool) -> None:
        super()._begin_day(time_ns, first=first)
        self._names.begin_day(self._is_open)
        self._forget_closed()
        self._mass.clear()  # a request of the day before is not done to the orders of today

    def _is_open(self, key: Key) -> bool:
        """True if an order is open."""
        return self._orders.is_open(key)

    def _forget_closed(self) -> None:
        self._orders.forget_closed()

    # Image.

    def _image_of_orders(self) -> dict[str, NDArray[Any]]:
        tables = {}
        for name, orders in (("open", self._orders.open_orders()), ("closed", self._orders.closed_orders())):
            ends = np.arange(1, len(orders.keys) + 1, dtype=np.int64) * ROW_BYTES
            tables[f"{name} keys"] = np.column_stack([orders.keys, ends])
            tables[f"{name} values"] = orders.rows.reshape(-1)
        return tables

    def _restore_orders(self, image: dict[str, Any]) -> None:
        """Restore orders from an image, whose tables are taken out. Raises KeyError, ValueError."""
        found = []
        for name in ("open", "closed"):
            keys, values = image.pop(f"{name} keys"), image.pop(f"{name} values")
            if len(values) != len(keys) * ROW_BYTES:
                raise ValueError(f"their table {name} is damaged")
            found.append(Orders(keys[:, :2], values.reshape(-1, ROW_BYTES)))
        self._orders.fill(found[0], found[1])

    def image(self) -> dict[str, NDArray[Any]]:
        """Image for ``restore``: copies and views; write them before the next block."""
        users = len(self._by_name) + 1
        return super().image() | {
            "speaks": self._speaks[:users].copy(),
            "begun": self.begun_ns[:users].copy(),
            "signed": self._signed[:users].copy(),
            "numbers": np.column_stack([self.next_out[:users], self.next_in[:users]]),
            **packed("names", self._names.table),
            **self._image_of_orders(),
            **packed("delayed", self._commands.waiting()),
            "mass": np.array([(user, *asked) for user, asked in self._mass.items()], np.int64).reshape(-1, 3),
            "carried": self._commands.carried.view(np.uint8).copy(),
        }

    def restore(self, image: Any, seq: int, /) -> None:
        """Continue after command ``seq`` from an image, in fresh streams. Raises ValueError for one of another kind."""
        image = dict(image)
        try:
            numbers, mass, carried = image.pop("numbers"), image.pop("mass"), image.pop("carried")
            speaks = image.pop("speaks")
            # An image of before there were hours has none: these begin with the next session.
            begun = image.pop("begun", np.where(speaks, image["now_ns"][0], 0))
            # And one of before signed logons were kept here has none.
            signed = image.pop("signed", np.zeros((len(speaks), 2), np.int64))
            table, delayed = (unpacked(name, image) for name in ("names", "delayed"))
            self._restore_orders(image)
        except KeyError as error:
            raise ValueError(f"their table {error.args[0]} is missing") from error
        super().restore(image, seq)
        if not len(numbers) == len(speaks) == len(self._by_name) + 1 or len(carried) != ROW.size:
            raise ValueError("their numbers are not those of their users")
        self.next_out[: len(numbers)], self.next_in[: len(numbers)] = numbers[:, 0], numbers[:, 1]
        self._speaks[: len(speaks)] = speaks
        self.begun_ns[: len(begun)] = begun
        self._signed[: len(signed)] = signed
        self._names = KeptNames(table)
        self._commands.restore(delayed, carried)
        self._mass = {user: (symbol, side) for user, symbol, side in mass.tolist()}


def _ended_by_replace(reports: NDArray[Any]) -> NDArray[np.bool_]:
    """True for reports of orders that a replace has ended."""
    ended: NDArray[np.bool_] = reports["kind"] == ReportKind.CANCELED
    ended &= (reports["command_kind"] == _REPLACE) & (reports["reason"] == _BY_REPLACE)
    return ended


def _said(row: bytes) -> tuple[int, ...]:
    """Columns of a row."""
    places = records.PLACES.unpack(row)
    return tuple(places[records.PLACE[name]] for name in _COLUMNS)


def _is_of(row: bytes, symbol: int, side: int) -> bool:
    """True if the order of a report is of a symbol and a side. symbol: 0: nothing is said of it."""
    said = records.PLACES.unpack(row)
    return said[_SIDE] == side and symbol in (0, said[records.PLACE["symbol"]])


def _time_in(row: bytes) -> int:
    time_ns: int = records.PLACES.unpack(row)[records.PLACE["time_ns"]]
    return time_ns
