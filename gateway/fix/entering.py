"""Order messages as rows of the journal: orders, questions, the texts of long ids, and marks of what is refused.

A session (``gateway.fix.session``) has each message of the application here in its turn, and takes the rows from the
queue as they find room. Each row has the number that is expected behind its message; a refusal has one too, so what is
wrong with a message is known to the journal before the client is told. ``gateway.fix.orders`` says what stands in the
rows of a message alone; here is what depends on the user and on what the session has sent before.
"""

import struct
from collections import deque
from collections.abc import Mapping
from typing import Final

import numpy as np

from engine.names import pack, unpack
from engine.records import CommandKind
from engine.row_bytes import ROW
from gateway.fix import marks, names, orders, records
from gateway.fix.answers import BUSINESS_REJECT, CANCEL_REJECT, EXECUTION_REPORT, MASS_CANCEL_REPORT
from gateway.fix.journaled_core import JournaledCore
from gateway.fix.marks import Mark
from gateway.fix.orders import Refused
from gateway.fix.reading import form
from gateway.fix.streams import FixStreams
from wire.fix_codec import Message, body
from wire.ouch_layout import TOKEN_CHARACTERS

#: Long ClOrdIDs of a user in a day, which are kept until it ends.
NAMES_MAX: Final = 262_144
#: Long ClOrdIDs whose text a session has sent, at most.
_NAMED_MAX: Final = 4_096
#: Rows of a session of which nothing has been told that are kept at most.
_UNTOLD_MAX: Final = 512
_NEW, _REPLACE, _CANCEL = b"D", b"G", b"F"
#: BusinessRejectReason of a type that is not served.
_UNSUPPORTED: Final = 3
_REPLACE_ROW: Final = int(CommandKind.REPLACE)
#: The message in which the sender of a message looks for its refusal, where that is no business reject.
_REFUSALS: Final = {_NEW: EXECUTION_REPORT, _REPLACE: CANCEL_REJECT, _CANCEL: CANCEL_REJECT, b"q": MASS_CANCEL_REPORT}
#: Tag of the id of a message where that is not ClOrdID.
_ID_TAGS: Final = {
    **{b"s": b"548", b"t": b"548", b"u": b"548", b"R": b"131", b"S": b"117", b"i": b"117", b"Z": b"117", b"a": b"117"},
    **{b"V": b"262", b"c": b"320", b"x": b"320", b"v": b"320", b"z": b"320", b"e": b"324", b"g": b"335", b"E": b"66"},
    **{b"AB": b"11", b"AC": b"11", b"AD": b"568", b"AE": b"571", b"AF": b"584", b"AN": b"710"},
}
#: Length from which a text is a long one, which one word says.
_LONG_BYTES: Final = TOKEN_CHARACTERS + 1


class Entering:
    """Messages of one session on their way to the market."""

    #: Number of the protocol in contexts.
    protocol = marks.NUMBER
    #: Type of the message that refuses one of another type; of those that are not here, a business reject.
    refusals: Mapping[bytes, bytes] = _REFUSALS

    def __init__(self, number: int) -> None:
        """number: of the last mark; no other life of the gateway has those behind it."""
        self._marks = number
        #: Streams of all users, and who the session is in them; each turn says it.
        self.streams: FixStreams | None = None
        self.user = self.participant = 0
        #: COMMAND rows of messages and marks that have not gone; those of one stay together.
        self.queue: deque[list[bytes]] = deque()
        #: Rows that were given to the market and not told of yet, with the number that is expected behind them.
        self.untold: deque[tuple[int, bytes]] = deque()
        self._named: dict[int, None] = {}

    def take(self, message: Message, next_in: int) -> None:
        """Queue the rows of a message of the application; next_in: the number that is expected behind it."""
        begin = len(self.queue)
        try:
            self._order(message, next_in)
        except Refused as refused:
            self._refuse(message, refused.reason, str(refused), next_in)
        except struct.error:  # no message may end the gateway of all others
            self._refuse(message, 0, "a number in it is out of range", next_in)
        self._route(message, begin)

    def mark_business_reject(self, message: Message, reason: int, text: str, next_in: int) -> None:
        """Have a business reject of the message before ``next_in`` sent."""
        begin = len(self.queue)
        self._refuse(message, reason, text, next_in, BUSINESS_REJECT)
        self._route(message, begin)

    def place(self) -> tuple[int, int]:
        """Place to which ``cut_back`` goes back."""
        return len(self.queue), len(self.untold)

    def cut_back(self, place: tuple[int, int]) -> None:
        """Leave out the rows behind a place, none of which has gone."""
        while len(self.queue) > place[0]:
            self.queue.pop()
        while len(self.untold) > place[1]:
            self.untold.pop()

    def mark(self, mark: Mark, next_in: int, words: list[int]) -> int:
        """Queue a mark; gives its own number."""
        self._marks += 1
        context = marks.context_of(self.user, next_in, mark, self.protocol)
        self.queue.append(marks.mark_rows(context, self.participant, self._marks, words))
        return self._marks

    def put_untold(self) -> int:
        """Put the rows of which nothing has been told before those that a kernel makes; gives their number. Of too many
        the oldest are forgotten: changes of these are for the market."""
        untold, streams = self.untold, self.streams
        if not untold or streams is None:
            return 0
        told = int(streams.next_in[self.user])
        while untold and untold[0][0] <= told:
            untold.popleft()
        size = sum(len(rows) for _, rows in untold)
        while size > _UNTOLD_MAX * ROW.size:
            size -= len(untold.popleft()[1])
        if size:
            octets = np.frombuffer(b"".join([rows for _, rows in untold]), np.uint8)
            form().arrays.rows.view(np.uint8)[:size] = octets
        return size // ROW.size

    def _order(self, message: Message, next_in: int) -> None:
        """Rows of a message of order entry. Raises Refused."""
        assert self.streams is not None, "a turn reads"
        user, participant = self.user, self.participant
        match message.msg_type:
            case b"D":
                instrument = self.streams.instrument(orders.symbol_in(message))
                rows = orders.enter_rows(message, user, participant, next_in, instrument)
                self._name(message, b"11")
            case b"G":
                self._hold_to_order(message)
                rows = orders.replace_rows(message, user, participant, next_in)
                self._name(message, b"11", b"41")
            case b"F":
                self._hold_to_order(message)
                rows = orders.cancel_rows(message, user, participant, next_in)
                if self._names_another_order(message):
                    raise Refused("the ClOrdID is an open order's", orders.DUPLICATE)
                self._name(message, b"11", b"41")
            case b"H":
                name = orders.name_in(message, b"11")
                said = message.get(b"55")
                symbol = orders.symbol_in(message) if said else 0
                words = names.words_of(name[:14])
                self._name(message, b"11")
                self.mark(Mark.STATUS, next_in, [names.id_of(name), symbol, *words, orders.side_in(message), 0])
                return
            case b"q":
                self._ask_mass_cancel(message, next_in)
                return
            case b"s":
                rows = self._cross(message, next_in)
            case _:
                raise Refused("Unsupported Message Type", _UNSUPPORTED)
        self.queue.append(rows)
        self.untold.append((next_in, b"".join(rows)))

    def _hold_to_order(self, message: Message) -> None:
        """Raise Refused for a cancel or a replace that is not of the order that it names, as far as this side has been
        told of it: what it has not been told of is for the market."""
        streams = self.streams
        assert streams is not None, "a turn reads"
        client_order_id = names.id_of(orders.name_in(message, b"41"))
        report = streams.report_of(self.user, client_order_id)
        if report is None and self.put_untold():
            entered = orders.entered(b"".join([rows for _, rows in self.untold]), client_order_id)
            if entered is not None and entered[orders.INSTRUMENT]:
                report = orders.report_to_come(entered, streams.symbol_of(entered[orders.INSTRUMENT]))
        if report is not None:
            orders.hold_to_order(message, report)

    def _names_another_order(self, message: Message) -> bool:
        """True for a cancel whose own ClOrdID is that of another order, which is open: its report would read as if that
        one were canceled."""
        assert self.streams is not None, "a turn reads"
        own_id, old_id = (names.id_of(message.fields[tag]) for tag in (b"11", b"41"))
        return own_id != old_id and self.streams.has_open(self.user, own_id)

    def _cross(self, message: Message, next_in: int) -> list[bytes]:
        """Rows of a cross, and the texts of its long ids before it. Raises Refused."""
        streams, user = self.streams, self.user
        assert streams is not None, "a turn reads"
        own = unpack(int(streams.row(user)["participant_name"]))
        instrument = streams.instrument(orders.symbol_in(message))
        if not instrument:
            raise Refused("no such symbol", orders.UNKNOWN_SECURITY)
        buy, sell = (side._replace(participant=side.participant or own) for side in orders.cross_sides(message))
        for side in (buy, sell):
            if not streams.may_cross_for(user, pack(side.participant)):
                raise Refused("no such participant of the firm", orders.NOT_AUTHORIZED)
        rows = orders.cross_rows(message, (buy, sell), user, self.participant, next_in, instrument)
        self._name_texts(message.fields[b"548"], buy.name, sell.name)
        return rows

    def _ask_mass_cancel(self, message: Message, next_in: int) -> None:
        kind = message.get(b"530")
        if kind not in (b"1", b"7"):
            raise Refused("this 530 is not served")
        symbol = orders.symbol_in(message) if kind == b"1" else 0
        assert self.streams is not None, "a turn reads"
        if symbol and not self.streams.instrument(symbol):
            raise Refused("no such symbol", orders.UNKNOWN_SECURITY)
        side = orders.side_in(message) if message.get(b"54") else 0
        words = names.words_of(orders.name_in(message, b"11"))
        self._name(message, b"11")
        self.mark(Mark.MASS_CANCEL, next_in, [side, symbol, *words, 0, 0])

    def _name(self, message: Message, *tags: bytes) -> None:
        """Have the texts of long ClOrdIDs in the journal before the command that uses them."""
        self._name_texts(*(message.fields.get(tag, b"") for tag in tags))

    def _name_texts(self, *texts: bytes) -> None:
        assert self.streams is not None, "a turn reads"
        for text in texts:
            if not names.is_long(text):
                continue
            client_order_id = names.id_of(text)
            if client_order_id in self._named or self.streams.is_named(self.user, client_order_id):
                continue
            if self.streams.names_held(self.user) >= NAMES_MAX:
                raise Refused("too many ids above 14 characters")
            self._named[client_order_id] = None
            if len(self._named) > _NAMED_MAX:
                del self._named[next(iter(self._named))]
            self.queue.extend(marks.name_rows(self.user, self.participant, text, protocol=self.protocol))

    def _refuse(self, message: Message, reason: int, text: str, next_in: int, answer: bytes = b"") -> None:
        """Have the message before ``next_in`` refused by a message of type ``answer``, else by the one in which its
        sender looks for it. Without an id, or room for its text, that is a business reject that names none."""
        kind, get = message.msg_type, message.fields.get
        name = get(_ID_TAGS.get(kind, b"11"), b"")
        if not answer:
            answer = self.refusals.get(kind, BUSINESS_REJECT)
            if not names.is_name(name) or not _has_room_for(message, answer):
                answer = BUSINESS_REJECT
        own = self._text_words(name)
        sentence = self._text_words(text.encode("ascii", "replace").ljust(_LONG_BYTES)) if any(own) else own
        if not any(sentence):
            words = marks.words_in(text.encode("ascii", "replace")[: marks.TEXT_CHARACTERS])[:4]
            reason = reason if reason < orders.UNKNOWN_ORDER else orders.OTHER
            self.mark(Mark.BUSINESS_REJECT, next_in, [int.from_bytes(kind[:8], "big"), reason, *words])
            return
        if answer == CANCEL_REJECT:
            more = self._text_words(get(b"41", b""))
        else:
            said = get(b"55", b"")
            is_short = 0 < len(said) <= 8 and all(0x21 <= octet <= 0x7E for octet in said)  # else no symbol packs it
            symbol = pack(said.decode("ascii")) if is_short else self._text_words(said.ljust(_LONG_BYTES))[0]
            more = symbol, _number_in(get(b"530", b"") if answer == MASS_CANCEL_REPORT else get(b"38", b""), answer)
        side = get(b"54", b"")[:1]
        word = records.Refusal(kind, answer, reason, side).word()
        self.mark(Mark.REFUSED, next_in, [word, *own, *more, sentence[0]])

    def _text_words(self, text: bytes) -> tuple[int, int]:
        """Two words that say a text, which is in the journal before where it is long; zeros where it has no room."""
        if not text or len(text) > marks.NAME_BYTES_MAX:
            return 0, 0
        try:
            self._name_texts(text)
        except Refused:
            return 0, 0
        return names.words_of(text)

    def _route(self, message: Message, begin: int) -> None:
        """Have what a message causes go back to the third party that sent it, and an order that was perhaps sent before
        told as it is. begin: of the message's rows in the queue."""
        route = body(sorted(JournaledCore.route_back(message)))
        is_resent = message.msg_type == _NEW and message.get(b"97") == b"Y"
        flags = (marks.ROUTED if route else 0) | (marks.RESENT if is_resent else 0)
        if not flags or len(self.queue) == begin:
            return
        made = [self.queue.pop() for _ in range(len(self.queue) - begin)][::-1]
        last = ROW.unpack(made[-1][-1])
        next_in = marks.next_in_of(last[4] if last[8] == _REPLACE_ROW else last[1])
        text = b"%d\x01%b" % (next_in, route)
        if route and len(text) <= marks.NAME_BYTES_MAX:
            self.queue.extend(marks.name_rows(self.user, self.participant, text, Mark.ROUTE, self.protocol))
        self.queue.extend(marks.with_flags(rows, flags) for rows in made)


def _number_in(text: bytes, answer: bytes) -> int:
    """A refused quantity, 0 for one that is no number of at most 18 digits; of a mass cancel the octet of its type."""
    if answer == MASS_CANCEL_REPORT:
        return text[0] if text else 0
    return int(text) if text.isdigit() and len(text) <= 18 else 0


def _has_room_for(message: Message, answer: bytes) -> bool:
    """True if a message says what an answer of that type repeats of it, in a form that a message may have."""
    if answer == CANCEL_REJECT:
        return names.is_name(message.get(b"41") or b"")
    symbol = message.get(b"55") or b""
    return answer != EXECUTION_REPORT or (bool(symbol.rstrip()) and len(symbol) <= marks.NAME_BYTES_MAX)
