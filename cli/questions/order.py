"""History of an order, event by event, through its replaces: `lockstep order`.

An order keeps its number (order of acceptance) through every replace, while its client order id changes and may be
used again on another day. The commands with an id are found in the rows of the journal (``replay.mentions``); from the
first of them on the journal is replayed until the orders are closed, and again where the next ones are far away. An
order token of OUCH stands for its client order id (``cli.questions.tokens``).

Where slices of the journal are missing, the history of an order begins with what was open of it after them.
"""

from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from cli import errors, screen
from cli.errors import WrongUse
from cli.questions.latency import latency_object, latency_words, primaries_of, times_of
from cli.questions.market_tables import shown_price
from cli.questions.order_index import OrderEvents
from cli.questions.order_queue import Standing, queue_object, standings
from cli.questions.reading import check_name, plays
from cli.questions.tokens import Tokens, order_ids, token_ids
from cli.warmup import ready
from engine.market_time import ClockPosition, clock_at_each
from engine.names import Directory, unpack
from engine.records import COMMAND, CommandKind, EventKind, Instruction, Peg, Reason, Side
from journal import JournalError
from journal.history import History
from notation.objects import event_object
from notation.print import print_event
from notation.rules import OF_NO_USER, is_of_disconnect, is_of_no_user, rule_object
from notation.table import word
from notation.words import duration, iso_time, price, time
from replay.delayed import Entries, Entry
from replay.errors import ReplayError
from replay.event_index import open_index
from replay.mentions import Mentions, mentions
from replay.moments import Moments
from replay.numbered import seq_before
from replay.past import PlayedRows

_LIFE: Final = np.array([EventKind.ACCEPTED, EventKind.REPLACED, EventKind.CANCELED], np.uint8)
_DELAYED: Final = (CommandKind.ENTER, CommandKind.CANCEL, CommandKind.REPLACE)
_ANSWERS: Final = (EventKind.ACCEPTED, EventKind.REJECTED, EventKind.REPLACED, EventKind.CANCEL_REJECTED)
_NO_IDS: Final = np.empty(0, np.int64)
#: Commands without a mention over which a replay does not go on, once the orders are closed.
_FAR_COMMANDS: Final = 1_000_000


#: TIMES (``cli.questions.latency``) of commands by number.
Times = dict[int, "np.void"]


class Asked(NamedTuple):
    """Question for orders: by client order id or token, by order token alone, by order number, or by trade number."""

    order_id: str | None = None
    token: str | None = None
    number: int | None = None
    trade: int | None = None

    def check(self) -> None:
        """Raise WrongUse unless exactly one is given."""
        if sum(value is not None for value in self) != 1:
            raise WrongUse("give one of: a client order id or token, --token, --number, --trade")

    @property
    def words(self) -> str:
        """The question in words."""
        if self.number is not None:
            return f"the number {screen.count(self.number)}"
        if self.trade is not None:
            return f"trade {screen.count(self.trade)}"
        return f"the id or token {self.order_id or self.token}"


class OrderEvent(NamedTuple):
    """Event of an order, with its open quantity after it."""

    time_ns: int
    event: "np.void"
    leaves_qty: int


@dataclass
class OrderHistory:
    """History of one order. number 0: rejects of commands with the id that reached no open order.

    ``opening``: OPEN_ORDER row of an order that was open before the first command that was read, else None. ``borne``:
    client order ids that it had.
    """

    number: int
    participant: int
    opening: "np.void | None" = None
    moments: list[OrderEvent] = field(default_factory=list)
    leaves_qty: int = 0
    cum_qty: int = 0
    borne: set[int] = field(default_factory=set)

    def take(self, time_ns: int, event: "np.void") -> None:
        """Note an event of this order."""
        kind, qty = int(event["kind"]), int(event["qty"])
        if kind in (EventKind.ACCEPTED, EventKind.REPLACED):
            self.leaves_qty = qty
            if not event["side"]:  # a cross trades at once, and its trade names no order
                self.leaves_qty, self.cum_qty = 0, qty
            new = kind == EventKind.REPLACED
            self.borne.add(int(event["contra_client_order_id" if new else "client_order_id"]))
        elif kind in (EventKind.TRADE, EventKind.CANCELED):
            self.leaves_qty -= qty
            self.cum_qty += qty if kind == EventKind.TRADE else 0
        self.moments.append(OrderEvent(time_ns, event, self.leaves_qty))

    def rules(self) -> list[Reason]:
        """Reasons in its events, as they first appear."""
        found = [int(moment.event["reason"]) for moment in self.moments]
        return [Reason(code) for code in dict.fromkeys(found) if code]

    def ids(self) -> list[int]:
        """The client order ids in its events, those of other orders too, as they first appear."""
        places = ("client_order_id", "contra_client_order_id")
        found = [int(moment.event[place]) for moment in self.moments for place in places]
        if self.opening is not None:
            found.insert(0, int(self.opening["client_order_id"]))
        return [order_id for order_id in dict.fromkeys(found) if order_id]


class OrderHistories:
    """Histories of orders, collected from events: of those that begin with one of the ``births`` (client order ids) or
    have one of the ``numbers``. ``wanted``: ids whose refusals are noted too, where no open order has them."""

    def __init__(self, wanted: set[int], births: NDArray[np.int64], numbers: set[int]) -> None:
        self._wanted, self._births, self._numbers = wanted, births, numbers
        self._open: dict[tuple[int, int], OrderHistory] = {}  # by participant and present id
        self.orders: list[OrderHistory] = []
        self.unanswered: dict[int, OrderHistory] = {}  # by participant

    @property
    def any_open(self) -> bool:
        """True while one of the orders is open."""
        return bool(self._open)

    def begin_with(self, orders: NDArray[Any]) -> None:
        """Take up the orders that are open before the first events (OPEN_ORDER rows)."""
        chosen = np.isin(orders["client_order_id"], self._births)
        chosen |= np.isin(orders["order_number"], sorted(self._numbers))
        for row in orders[chosen]:
            leaves_qty, own_id = int(row["leaves_qty"]), int(row["client_order_id"])
            number, participant = int(row["order_number"]), int(row["participant"])
            life = OrderHistory(number, participant, row, leaves_qty=leaves_qty, borne={own_id})
            self._open[(participant, own_id)] = life
            self.orders.append(life)

    def follow(self, rows: NDArray[Any], clock_ns: NDArray[np.int64]) -> None:
        """Take the next events. ``clock_ns``: the clock at each."""
        kinds, ids, order_numbers = rows["kind"], rows["client_order_id"], rows["order_number"]
        begins = (kinds == EventKind.ACCEPTED) & (
            np.isin(ids, self._births) | np.isin(order_numbers, sorted(self._numbers))
        )
        numbers = {*order_numbers[begins].tolist(), *(life.number for life in self._open.values())}
        born = np.isin(kinds, _LIFE) & np.isin(order_numbers, sorted(numbers))
        near_ids = {*self._wanted, *(order_id for _, order_id in self._open)}
        near_ids.update(ids[born].tolist(), rows["contra_client_order_id"][born].tolist())
        listed = np.array(sorted(near_ids - {0}), np.int64)
        near = born | np.isin(ids, listed) | np.isin(rows["contra_client_order_id"], listed)
        for event, time_ns in zip(rows[near], clock_ns[near].tolist(), strict=True):
            self._take(event, time_ns, numbers)

    def _take(self, event: "np.void", time_ns: int, numbers: set[int]) -> None:
        kind, number = int(event["kind"]), int(event["order_number"])
        own = (int(event["participant"]), int(event["client_order_id"]))
        contra = (int(event["contra_participant"]), int(event["contra_client_order_id"]))
        if kind == EventKind.ACCEPTED and number in numbers:
            self._open[own] = OrderHistory(number, own[0])
            self.orders.append(self._open[own])
        bearers = {own, contra} if kind == EventKind.TRADE else {own}
        for key in bearers:
            life = self._open.get(key)
            if life is not None and (kind not in _LIFE or life.number == number):
                life.take(time_ns, event)
                if kind == EventKind.REPLACED:
                    self._open[(own[0], contra[1])] = self._open.pop(key)
                elif life.leaves_qty <= 0:
                    del self._open[key]
            elif kind in (EventKind.REJECTED, EventKind.CANCEL_REJECTED) and key[1] in self._wanted:
                self.unanswered.setdefault(key[0], OrderHistory(0, key[0])).take(time_ns, event)


def order(
    directory: Path,
    asked: Asked,
    participant: str | None,
    *,
    with_queue: bool = False,
    with_latency: bool = False,
    as_json: bool = False,
) -> int:
    """`lockstep order`: print each order that ever had the client order id or token, the number, or the trade."""
    known, names = orders_of(directory, asked, participant)
    queues = []
    for life in known:
        steps = sorted({int(moment.event["seq"]) for moment in life.moments}) if life.number and with_queue else []
        queues.append(standings(directory, life.number, steps))
    ahead = {order_id for queue in queues for standing in queue.values() for order_id in standing.named_ids()}
    tokens = Tokens(directory, {order_id for life in known for order_id in life.ids()} | ahead)
    for life, queue in zip(known, queues, strict=True):
        moments = sorted({int(moment.event["seq"]) for moment in life.moments}) if with_latency else []
        times = times_of(directory, moments) if with_latency else None
        entries = Entries(directory, sorted({int(moment.event["seq"]) for moment in life.moments}))
        terms = _terms(directory, life, entries)
        rules = [rule_object(*each) for each in _rules(directory, life, entries)]
        if as_json:
            screen.print_json(_facts(life, names, tokens, queue, times, entries, rules) | terms._asdict())
        else:
            unknown = [] if times is None else [seq for seq in moments if seq not in times]
            primaries = primaries_of(directory, unknown)
            _show(life, names, tokens, queue if with_queue else None, times, primaries, entries, terms)
            for rule in rules:
                screen.print_line(f"{rule['reason']}: {rule['sentence']} (rulebook section {rule['section']})")
    return errors.FINE


def orders_of(directory: Path, asked: Asked, participant: str | None) -> tuple[list[OrderHistory], Directory]:
    """The orders that are asked for, at least one, and the venue's directory; notes on slices that are missing.

    Raises WrongUse where there is none.
    """
    asked.check()
    check_name(participant, "participant")
    wanted: set[int] = set()
    if asked.order_id is not None:
        wanted = order_ids(directory, asked.order_id)
    elif asked.token is not None:
        wanted = token_ids(directory, asked.token)
    from_seq, ends_seq, absent = _here(directory)
    if absent and from_seq > ends_seq:
        raise WrongUse(f"no command is in {directory}; {'; '.join(absent)}")
    known, names = _known(directory, asked, wanted, (from_seq, ends_seq), whole=bool(absent))
    if participant is not None:
        known = [life for life in known if _whose(life, names) == participant]
    if not known:
        _check_waits(directory, ends_seq, wanted)
        whose = f" of {participant}" if participant else ""
        had = "has" if asked.number is not None or asked.trade is not None else "ever had"
        raise WrongUse(
            f"no order{whose} in {directory} {had} {asked.words}"
            + (f", from command {screen.count(from_seq)} on" if absent else "")
            + ("; small and capital letters differ" if wanted else "")
            + "".join(f"; {sentence}" for sentence in absent)
        )
    for sentence in absent:
        screen.notice(f"note: {sentence}; what happened there is not shown")
    return known, names


def _check_waits(directory: Path, last_seq: int, wanted: set[int]) -> None:
    """Raise WrongUse, which says until when, where a command with an id waits for its effect still."""
    if not wanted:
        return
    try:
        found = Moments(directory, ids=False).at(last_seq).waiting()
    except (JournalError, ReplayError):  # nothing is known of the state, so nothing is said of it
        return
    waits = np.flatnonzero(np.isin(found.commands["client_order_id"], sorted(wanted)))
    if len(waits):
        seq, due_ns = int(found.seq[waits[0]]), int(found.due_ns[waits[0]])
        raise WrongUse(
            f"command {screen.count(seq)} of {directory} names it, and waits for the entry delay: it has its effect by "
            f"the first clock value at or after {time(due_ns)}; `lockstep why {directory} {seq}` shows it"
        )


def _here(directory: Path) -> tuple[int, int, list[str]]:
    """First command after which no slice is missing, the last one, and sentences on the slices that are missing."""
    with History.open(directory) as history:
        return history.there_from_seq, history.last_seq, [gap.sentence for gap in history.gaps()]


def _known(
    directory: Path, asked: Asked, wanted: set[int], span: tuple[int, int], *, whole: bool
) -> tuple[list[OrderHistory], Directory]:
    """The orders that are asked for, and the venue's directory. ``whole``: orders may be open where the span begins."""
    from_seq, to_seq = span
    if to_seq < from_seq:
        return [], Directory()
    if not whole and (indexed := _indexed(directory, asked, wanted, span)) is not None:
        return indexed
    if asked.number is not None or asked.trade is not None:
        numbers = [asked.number] if asked.number is not None else _traded(directory, int(asked.trade or 0), span)
        found: list[OrderHistory] = []
        names = Directory()
        for number in numbers:
            lives, names = _numbered(directory, int(number), span, whole=whole)
            found += lives
        return found, names
    mentioned = _mentions(directory, wanted, from_seq, to_seq)
    lives_of = OrderHistories(wanted, mentioned.ids, set())
    begins = np.concatenate(([from_seq], mentioned.seqs)) if whole else mentioned.seqs
    names = _follow(directory, lives_of, begins, to_seq, ids=mentioned.ids, at_start=whole)
    return [*(life for life in lives_of.orders if life.borne & wanted), *lives_of.unanswered.values()], names


def _indexed(
    directory: Path, asked: Asked, wanted: set[int], span: tuple[int, int]
) -> tuple[list[OrderHistory], Directory] | None:
    """The orders out of an index that is there, as ``_known``; None where a replay must tell them."""
    with History.open(directory) as history, screen.Bar("indexing") as bar:
        try:
            index = open_index(history, *span, prepare=ready, progress=bar.to, makes=False)
            if index is None:
                return None
            source = OrderEvents(index)
            numbers: list[int] | None = [] if asked.number is None else [asked.number]
            if asked.trade is not None:
                numbers = source.traded(asked.trade)
            if numbers is None:
                return None
            found: list[OrderHistory] = []
            none: set[int] = set()
            for begin, own in [(wanted, none)] if wanted else [(source.numbered(each), {each}) for each in numbers]:
                ids = source.ids_of(begin)
                events = None if ids is None else source.about(ids)
                if ids is None or events is None:
                    return None
                lives = OrderHistories(wanted, ids if wanted else np.empty(0, np.int64), own)
                for each in events:
                    lives.follow(*each)
                if wanted:
                    found += [*(life for life in lives.orders if life.borne & wanted), *lives.unanswered.values()]
                else:
                    found += lives.orders
            return found, index.names_at(span[1])
        except (JournalError, ReplayError):  # a replay tells what is wrong
            return None


def _numbered(
    directory: Path, number: int, span: tuple[int, int], *, whole: bool
) -> tuple[list[OrderHistory], Directory]:
    """The order with a number, if there is one, and the venue's directory."""
    from_seq, to_seq = span
    lives = OrderHistories(set(), np.empty(0, np.int64), {number})
    begin = from_seq if whole else _before(directory, "last_order_number", number, from_seq) + 1
    if begin > to_seq:
        return [], Directory()
    names = _follow(directory, lives, np.array([begin]), to_seq, at_start=whole, until_found=not whole)
    return lives.orders, names


def _begun_to_wait(play: PlayedRows, begins: NDArray[np.int64]) -> int:
    """Number of the commands ``begins`` that are in a block and wait for their effect: they have no event there."""
    first, end = np.searchsorted(begins, [play.first_seq, play.first_seq + len(play.commands)])
    seqs = begins[first:end]
    delayed = np.isin(play.commands["kind"][seqs - play.first_seq], _DELAYED)
    return int((delayed & ~np.isin(seqs, play.events["seq"])).sum())


def _waited(play: PlayedRows, ids: NDArray[np.int64]) -> int:
    """Number of answers with such ids that the clock values of a block have, to commands that waited for them."""
    events = play.events
    by_clock = play.commands["kind"][events["seq"] - play.first_seq] == CommandKind.CLOCK
    by_owner = (events["kind"] == EventKind.CANCELED) & np.isin(events["reason"], (Reason.USER, Reason.REPLACED))
    answers = by_clock & (by_owner | np.isin(events["kind"], _ANSWERS))
    return int((answers & np.isin(events["client_order_id"], ids)).sum())


def _follow(
    directory: Path,
    lives: OrderHistories,
    begins: NDArray[np.int64],
    to_seq: int,
    *,
    ids: NDArray[np.int64] = _NO_IDS,
    at_start: bool = False,
    until_found: bool = False,
) -> Directory:
    """Take the events from the first of ``begins`` on, leaving out what lies far from each while no order is open.

    ``ids``: of the commands that begin; one that waits for its effect is followed up to that. ``at_start``: take up the
    orders that are open before the first. ``until_found``: go on until there is an order.
    """
    names = Directory()

    def begin(orders: NDArray[Any], _seq: int) -> None:
        lives.begin_with(orders)

    at = waiting = 0
    again = False
    while at < len(begins):
        takes_up = at_start and not again
        blocks = plays(
            directory,
            int(begins[at]),
            to_seq,
            "following the order",
            again=again,
            lead=takes_up,
            at_start=begin if takes_up else None,
        )
        again = True
        with closing(blocks):
            for play, before, after in blocks:
                names = after
                clock_ns = clock_at_each(play.commands, ClockPosition(before.now_ns, play.extended))
                lives.follow(play.events, clock_ns[play.events["seq"] - play.first_seq])
                last_seq = play.first_seq + len(play.commands) - 1
                waiting += _begun_to_wait(play, begins) - _waited(play, ids)
                at = int(np.searchsorted(begins, last_seq, "right"))
                done = lives.orders if until_found else at == len(begins) or begins[at] - last_seq > _FAR_COMMANDS
                if done and not lives.any_open and waiting <= 0:
                    break
            else:
                break
        if until_found:
            break
    return names


def _before(directory: Path, counter: Any, number: int, from_seq: int) -> int:
    with History.open(directory) as history:
        return seq_before(history, counter, number, from_seq)


def _traded(directory: Path, trade: int, span: tuple[int, int]) -> list[int]:
    """Order numbers of both sides of a trade, rising; none if there is no such trade."""
    begin = _before(directory, "last_trade_number", trade, span[0]) + 1
    if begin > span[1]:
        return []
    with closing(plays(directory, begin, span[1], "looking for the trade")) as blocks:
        for play, _, _ in blocks:
            kinds = play.events["kind"]
            for row in play.events[(kinds == EventKind.TRADE) & (play.events["trade_number"] == trade)]:
                seq = int(row["seq"])
                sides = [
                    (int(row[f"{side}participant"]), int(row[f"{side}client_order_id"])) for side in ("", "contra_")
                ]
                own = play.events[(play.events["seq"] == seq) & np.isin(kinds, _LIFE)]
                return sorted({_bearer(directory, seq, own, *side) for side in sides})
    return []


def _bearer(directory: Path, seq: int, own: NDArray[Any], participant: int, order_id: int) -> int:
    """Number of the order of a participant that had an id when a command traded it. ``own``: events of the command."""
    for event in own[own["participant"] == participant]:
        new = event["kind"] == EventKind.REPLACED
        if (
            event["kind"] != EventKind.CANCELED
            and event["contra_client_order_id" if new else "client_order_id"] == order_id
        ):
            return int(event["order_number"])
    orders = Moments(directory, ids=False).at(seq - 1).open_orders()
    found = orders[(orders["participant"] == participant) & (orders["client_order_id"] == order_id)]
    return int(found[0]["order_number"])


def _mentions(directory: Path, wanted: set[int], from_seq: int, to_seq: int) -> Mentions:
    with History.open(directory) as history, screen.Bar("looking for the order") as bar:
        return mentions(history, wanted, from_seq, to_seq, bar.to)


def _whose(life: OrderHistory, names: Directory) -> str:
    return names.participants[life.participant - 1] if life.participant else "nobody known"


#: Events whose commands may give an order a stop or a peg.
_GIVES_TERMS: Final = (EventKind.ACCEPTED, EventKind.REPLACED)


class Terms(NamedTuple):
    """Stop and peg of an order as they are by its last command, None for none, and whether it is dormant."""

    stop_e4: int | None
    dormant: bool
    peg: str | None
    offset_e4: int | None

    @property
    def words(self) -> str:
        """The terms in words of section 12, after a space; "" for none.

        >>> Terms(95_000, True, None, None).words, Terms(None, False, "primary", 200).words
        (' stop=9.50, dormant', ' peg=primary offset=0.02')
        """
        said = f" stop={price(self.stop_e4)}" if self.stop_e4 else ""
        said += f" peg={self.peg}" if self.peg else ""
        said += f" offset={price(self.offset_e4)}" if self.offset_e4 else ""
        return said + (", dormant" if self.dormant else "")


def _terms(directory: Path, life: OrderHistory, entries: Entries) -> Terms:
    """Stop and peg of an order, from the commands that entered and replaced it, or from what was open at first."""
    peg = stop_e4 = offset_e4 = 0
    if life.opening is not None:
        peg, stop_e4, offset_e4 = (int(life.opening[key]) for key in ("peg", "stop_e4", "offset_e4"))
    events = [moment.event for moment in life.moments] if life.number else []
    elected = any(event["kind"] == EventKind.TRIGGERED for event in events)
    for row in _rows(directory, [event for event in events if event["kind"] in _GIVES_TERMS], entries):
        if row["kind"] == CommandKind.ENTER and row["instructions"] & Instruction.PEG:
            peg = int(row["peg"])
            offset_e4 = int(row["offset_e4"]) if row["instructions"] & Instruction.OFFSET else 0
        if row["kind"] in (CommandKind.ENTER, CommandKind.REPLACE) and row["instructions"] & Instruction.STOP:
            stop_e4 = int(row["stop_e4"])
    dormant = bool(stop_e4 and not elected and life.leaves_qty > 0)
    return Terms(stop_e4 or None, dormant, word(Peg, peg) if peg else None, offset_e4 if peg else None)


def _rules(directory: Path, life: OrderHistory, entries: Entries) -> Iterator[tuple[Reason, str | None]]:
    """Reasons in the events of an order, each with a sentence that says more than that of its rule, or None."""
    canceled = [
        moment.event
        for moment in life.moments
        if (moment.event["kind"], moment.event["reason"]) == (EventKind.CANCELED, Reason.USER)
    ]
    rows = list(_rows(directory, canceled, entries))
    for reason in life.rules():
        if reason == Reason.USER:
            yield from dict.fromkeys(_rule_of_cancel(row) for row in rows)
        else:
            yield reason, None


def _rule_of_cancel(row: "np.void") -> tuple[Reason, str | None]:
    """Reason of a cancel by its COMMAND row, with a sentence that says more than that of its rule, or None."""
    if is_of_disconnect(row):
        return Reason.DISCONNECT, None
    return Reason.USER, OF_NO_USER if is_of_no_user(row) else None


def _rows(directory: Path, events: list["np.void"], entries: Entries) -> Iterator["np.void"]:
    """COMMAND rows of the commands that asked for events; of one that waited, the row that was entered."""
    with History.open(directory) as history:
        for event in events:
            entry = entries.of(event)
            seq = int(event["seq"]) if entry is None else entry.seq
            block = next(iter(history.blocks(seq, seq)))
            yield np.frombuffer(bytes(block.rows), COMMAND)[seq - block.first_seq]


def _facts(
    life: OrderHistory,
    names: Directory,
    tokens: Tokens,
    queue: dict[int, Standing],
    times: Times | None,
    entries: Entries,
    rules: list[dict[str, str]],
) -> dict[str, Any]:
    history = [
        {
            "leaves_qty": moment.leaves_qty,
            "delayed": _entry_object(entries.of(moment.event)),
            "queue": queue_object(queue.get(int(moment.event["seq"])), names),
            "event": event_object(moment.event, names, moment.time_ns),
            "latency": None if times is None else latency_object(times.get(int(moment.event["seq"]))),
        }
        for moment in life.moments
    ]
    return {
        "order_number": life.number or None,
        "participant": names.participants[life.participant - 1] if life.participant else None,
        "leaves_qty": life.leaves_qty,
        "cum_qty": life.cum_qty,
        "tokens": [{"client_order_id": unpack(each), "token": tokens.of(each)} for each in life.ids()],
        "rules": rules,
        "history": history,
    }


def _entry_object(entry: Entry | None) -> dict[str, Any] | None:
    """The command behind an event that waited for its effect."""
    if entry is None:
        return None
    return {"seq": entry.seq, "time": iso_time(entry.time_ns), "waited_ns": entry.effect_ns - entry.time_ns}


def _show(
    life: OrderHistory,
    names: Directory,
    tokens: Tokens,
    queue: dict[int, Standing] | None,
    times: Times | None,
    primaries: dict[int, str],
    entries: Entries,
    terms: Terms,
) -> None:
    """Print an order. ``primaries``: of a pair, by the commands that are not in ``times``."""
    if life.number:
        entry: Any = life.moments[0].event if life.opening is None else life.opening
        qty = int(entry["qty"] if life.opening is None else entry["leaves_qty"])
        side = Side(int(entry["side"])).name.lower()
        limit = shown_price(int(entry["price_e4"])) + terms.words
        symbol = names.symbols[int(entry["instrument"]) - 1]
        before = "" if life.opening is None else " open before the commands that are here"
        number = screen.count(life.number)
        about = f"order {number} of {_whose(life, names)}: {side} {screen.count(qty)} {symbol} @ {limit}{before}"
        left = f"open {screen.count(life.leaves_qty)}" if life.leaves_qty else "closed"
        title = f"{about}; traded {screen.count(life.cum_qty)}, {left}"
    else:
        title = f"rejects of {_whose(life, names)} that changed no order"
    columns = ["time", "seq", "event", "contra", "open"]
    rows = [
        [
            time(moment.time_ns),
            screen.count(int(moment.event["seq"])),
            tokens.shown(_said(moment.event, names)),
            _contra(moment.event, life, names),
            screen.count(moment.leaves_qty) if life.number else "",
        ]
        for moment in life.moments
    ]
    if entries:
        columns.append("entered by")
        for row, moment in zip(rows, life.moments, strict=True):
            entry = entries.of(moment.event)
            row.append("" if entry is None else _entry_words(entry))
    if queue is not None:
        columns.append("ahead in the queue")
        left_qty = {int(moment.event["seq"]): moment.leaves_qty for moment in life.moments}
        for row, moment in zip(rows, life.moments, strict=True):
            seq = int(moment.event["seq"])
            waits = "in no queue" if left_qty[seq] else ""
            row.append(tokens.shown(queue[seq].words(names)) if seq in queue else waits)
    if times is not None:
        columns.append("microseconds after receipt")
        for row, moment in zip(rows, life.moments, strict=True):
            seq = int(moment.event["seq"])
            row.append(latency_words(times.get(seq), primaries.get(seq)))
    screen.table(columns, rows, right=("seq", "open"), title=title)


def _entry_words(entry: Entry) -> str:
    waited = duration(entry.effect_ns - entry.time_ns)
    return f"command {screen.count(entry.seq)} at {time(entry.time_ns)}, {waited} before"


def _said(event: "np.void", names: Directory) -> str:
    return print_event(event, names).removeprefix("> ")


def _contra(event: "np.void", life: OrderHistory, names: Directory) -> str:
    """Other side of a trade of an order."""
    if event["kind"] != EventKind.TRADE:
        return ""
    first, second = int(event["participant"]), int(event["contra_participant"])
    is_first = first == life.participant and int(event["client_order_id"]) in life.borne
    return names.participants[(second if is_first else first) - 1]
