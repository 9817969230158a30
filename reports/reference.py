"""The same reports in plain Python, to be read: what each event of the rulebook's section 11 means to its orders.

Independent of the kernels (it shares the rows of ``reports.rows`` alone), so that a fault of either is a difference. An
order is an object that lives while it is open, and a report is a dict of the places that it uses. Where an order comes
to rest is settled behind the events of a command: who was entered or replaced by it and is still open, rests then.
"""

from bisect import insort
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import pairwise, takewhile
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from engine.bounds import DAY_NS, TIME_NS_MAX
from engine.records import (
    COMMAND_FIELDS,
    Book,
    CommandKind,
    EventKind,
    Instruction,
    Limit,
    Phase,
    Reason,
    TimeInForce,
    VenueSetting,
    limit_bits,
)
from engine.row_bytes import clock_row
from reports.rows import REPORT, REPORT_FIELDS, InBook, Liquidity, ReportFlag, ReportKind
from wire.ouch_codes import BuySell, Capacity, CustomerType, Display, IntermarketSweep

Place = dict[str, Any]

_SALES: Final = (BuySell.SELL, BuySell.SELL_SHORT, BuySell.SELL_SHORT_EXEMPT)
_PLAIN: Final = (Display.ANONYMOUS, Display.ATTRIBUTABLE)
_POST_ONLY: Final = (Display.POST_ONLY, Display.POST_ONLY_ATTRIBUTABLE)
_ENDS: Final = {Reason.END_OF_DAY: ReportKind.DONE_FOR_DAY, Reason.EXPIRED: ReportKind.EXPIRED}
_CROSSES: Final = {
    Phase.HALTED: Liquidity.HALT_CROSS,
    Phase.AUCTION: Liquidity.HALT_CROSS,
    Phase.CLOSING_AUCTION: Liquidity.CLOSING_CROSS,
}
#: Places of a LIMITS report by limit; those of the second dict are in the EXTEND row.
_LIMITS: Final = {
    Limit.MAX_ORDER_QTY: ("max_order_qty",),
    Limit.MAX_ORDER_VALUE: ("max_order_value_e4",),
    Limit.MAX_POSITION: ("max_position_qty",),
    Limit.CREDIT: ("credit_e4",),
}
_EXTENDED_LIMITS: Final = {
    Limit.ORDER_RATE: ("rate_orders", "rate_window_ns"),
    Limit.MARGIN: ("margin_bps",),
    Limit.ADV: ("adv_share_bps",),
    Limit.MAX_OPEN_ORDERS: ("max_open_orders",),
    Limit.MAX_IDS: ("max_ids",),
}
#: Commands that an entry delay delays.
_DELAYED: Final = (CommandKind.ENTER, CommandKind.CANCEL, CommandKind.REPLACE)
_ANSWERS: Final = (EventKind.ACCEPTED, EventKind.REJECTED, EventKind.REPLACED, EventKind.CANCEL_REJECTED)
#: Bytes of a context, by what they say.
_BYTE: Final = {"side": 2, "display": 3, "capacity": 4, "sweep": 5, "customer": 6, "flags": 7}


@dataclass
class Order:
    """An open order, as its events so far have left it. ``token``, ``context``: of the newest id.

    ``shown_qty``: what an iceberg in the book shows.
    """

    participant: int
    client_order_id: int
    order_number: int
    instrument: int
    side: int
    price_e4: int
    qty: int
    leaves_qty: int
    original_qty: int
    time_in_force: int
    self_trade: int
    instructions: int
    min_qty: int
    context: bytes
    user: int
    token: tuple[int, int]
    display_qty: int = 0
    stop_e4: int = 0
    until_ns: int = 0
    peg: int = 0
    offset_e4: int = 0
    shown_qty: int = 0
    book: int = 0
    trades: list[tuple[int, int]] = field(default_factory=list)
    in_book: bool = False
    replaced: bool = False

    @property
    def cum_qty(self) -> int:
        """Quantity of all its trades."""
        return sum(qty for _, qty in self.trades)

    @property
    def displayed_qty(self) -> int:
        """Quantity that the book shows of it, if it is there."""
        if self.instructions & (Instruction.HIDDEN | Instruction.PEG) or self.book == Book.MIDPOINT:
            return 0
        return self.shown_qty if self.display_qty else self.leaves_qty

    def rests(self) -> None:
        """It comes to rest: an iceberg shows its first part."""
        self.in_book = True
        self.shown_qty = min(self.display_qty, self.leaves_qty)

    @property
    def waits(self) -> bool:
        """True for an order that does not come to rest by running: a dormant stop, a closing order, which is not shown
        in the book, and a peg, which is there while it has a price."""
        waits = bool(self.instructions & (Instruction.STOP | Instruction.PEG))
        return waits or self.time_in_force == TimeInForce.CLOSING

    def places(self, moved: int) -> Place:
        """The places that every report of an order has. moved: bits of ``InBook``."""
        return {
            "order_number": self.order_number,
            "client_order_id": self.client_order_id,
            "participant": self.participant,
            "instrument": self.instrument,
            "side": self.side,
            "price_e4": self.price_e4,
            "qty": self.qty,
            "leaves_qty": self.leaves_qty,
            "cum_qty": self.cum_qty,
            "canceled_qty": self.qty - self.leaves_qty - self.cum_qty,
            "original_qty": self.original_qty,
            "displayed_qty": self.displayed_qty if moved & InBook.AFTER else 0,
            "notional_e4": sum(price_e4 * qty for price_e4, qty in self.trades),
            "time_in_force": self.time_in_force,
            "self_trade": self.self_trade,
            "instructions": self.instructions,
            "min_qty": self.min_qty,
            "display_qty": self.display_qty,
            "stop_price_e4": self.stop_e4,
            "until_ns": self.until_ns,
            "peg": self.peg,
            "offset_e4": self.offset_e4,
            "context": int.from_bytes(self.context, "little", signed=True),
            "user": self.user,
            "token_head": self.token[0],
            "token_tail": self.token[1],
            "book": self.book,
            "in_book": moved,
            "flags": int(ReportFlag.REPLACED) if self.replaced else 0,
        }


_LEVELS: Final = tuple(f"level_{level}_{what}" for level in (1, 2, 3) for what in ("bps", "ns"))
_SETTINGS: Final = ("band_bps", "volatility_bps", "volatility_window_ns", "volatility_halt_ns")


class ReferenceReports:
    """The fold of a journal into reports, from its first command on."""

    def __init__(self, *, users_max: int = 4_096) -> None:
        self._users_max = users_max
        self._orders: dict[tuple[int, int], Order] = {}
        self._symbols = [0]
        self._phases = [0]
        self._crosses: dict[int, Liquidity] = {}
        self._participants = [0]
        self._users: list[Place] = [{"name": 0, "firm": 0, "participant": 0}]
        self._now_ns = 0
        self._extend: NDArray[Any] | None = None
        self._day_start_ns = 0
        # Commands that wait for their effect, with their EXTEND rows and the times at which they are due.
        self._waiting: deque[tuple[Any, Any, int]] = deque()
        self._schedules: list[tuple[int, int, int]] = []  # those that wait: time, instrument (0: each), phase
        self._speed_bump_ns = 0
        self._crossing = False  # the newest trade of the command was of an uncross

    def make(self, first_seq: int, commands: NDArray[Any], events: NDArray[Any]) -> NDArray[Any]:
        """All reports of a block: COMMAND rows from ``first_seq`` on, and the EVENT rows that they caused."""
        made: list[Place] = []
        ends = np.searchsorted(events["seq"], first_seq + np.arange(len(commands) + 1))
        for seq, command in enumerate(commands, first_seq):
            mine = list(events[ends[seq - first_seq] : ends[seq - first_seq + 1]])
            reports: list[Place] = []
            if command["kind"] in _DELAYED and not mine:
                self._waiting.append((command.copy(), self._extend, self._now_ns + self._speed_bump_ns))
            elif command["kind"] == CommandKind.CLOCK and self._moves(command):
                for effect in self._effects(command, mine):
                    reports += effect
                self._schedules = [each for each in self._schedules if each[0] > self._now_ns]
            else:
                reports = self._complete(command, self._of_command(command, mine))
            for number, report in enumerate(reports, 1):
                report |= {"seq": seq, "number": number, "time_ns": self._now_ns}
                made.append(self._with_names(report))
            refused = bool(mine) and mine[0]["kind"] == EventKind.REJECTED
            extends = command["kind"] == CommandKind.EXTEND and not refused
            self._extend = command.copy() if extends else None
        return _rows(made)

    def _moves(self, clock: Any) -> bool:
        """True of a clock value that the market took; the first event of one may be a reject of another command."""
        time_ns = int(clock["time_ns"])
        return self._extend is None and self._now_ns <= time_ns <= TIME_NS_MAX and clock.tobytes() == clock_row(time_ns)

    def _complete(self, command: Any, made: Iterator[Place]) -> list[Place]:
        """The reports of a command, with what stands in the book after it."""
        reports: list[Place] = []
        settled = 0
        for report in made:
            if report["kind"] in (ReportKind.TRIGGERED, ReportKind.REPRICED):
                # Whatever ran before has come to rest, and the elected order or pegs begin to run.
                _settle(reports[settled:], report["order"])
                settled = len(reports)
            report["command_kind"] = int(command["kind"])
            reports.append(report)
        _settle(reports[settled:])
        return reports

    def _effects(self, clock: Any, events: list[Any]) -> Iterator[list[Place]]:
        """The reports of a clock value, part by part: of itself, and of each command that waited for it."""
        begins = [0, *self._beginnings(int(clock["time_ns"]), events), len(events)]
        if events and _is_answer(events[0]):
            begins.insert(0, 0)
        yield self._complete(clock, self._of_command(clock, events[: begins[1]]))
        for begin, end in pairwise(begins[1:]):
            self._crossing = False
            part = events[begin:end]
            if not (self._waiting and _is_answer(part[0])):
                yield self._complete(clock, (each for event in part for each in self._of_event(event, clock)))
                continue
            waited, extend, _ = self._waiting.popleft()
            kept, self._extend = self._extend, extend
            yield self._complete(waited, (each for event in part for each in self._of_event(event, waited)))
            self._extend = kept

    def _beginnings(self, clock_ns: int, events: list[Any]) -> Iterator[int]:
        """Places after the first where another command, or the clock value itself, begins to cause events.

        A breaker closes only after a trade of the command that it looks at.
        """
        traded, answers, under_way, phases = False, 0, -1, list(self._phases)
        for at, event in enumerate(events):
            expires = event["kind"] == EventKind.CANCELED and event["reason"] == Reason.EXPIRED
            changes = event["kind"] == EventKind.PHASE and not (
                event["phase"] == Phase.CLOSED
                and traded
                and not self._closes_by_schedule(under_way, clock_ns, events[at:], phases)
            )
            if _is_answer(event) or expires or changes:
                traded, under_way = False, answers if _is_answer(event) else -1
                answers += _is_answer(event)
                if at:
                    yield at
            traded = traded or event["kind"] == EventKind.TRADE
            if event["kind"] in (EventKind.PHASE, EventKind.HALTED):
                phases[int(event["instrument"])] = int(event["phase"])

    def _closes_by_schedule(self, place: int, clock_ns: int, events: list[Any], phases: list[int]) -> bool:
        """True if the first event, a close, is by a schedule that is due before the next command that waits.

        place: of the command that traded, among those that wait. A breaker closes what is not closed, and then the
        schedules close it again; what a schedule does to a halted instrument has no event unless it closes. So behind
        a breaker's close of a halted instrument the first schedule is next, and behind a schedule's those after it.
        """
        if not 0 <= place < len(self._waiting):
            return False
        instrument = int(events[0]["instrument"])
        next_ns = self._waiting[place + 1][2] if place + 1 < len(self._waiting) else clock_ns
        due = [
            phase
            for due_ns, of, phase in self._schedules
            if self._waiting[place][2] < due_ns <= min(next_ns, clock_ns) and of in (0, instrument)
        ]
        passed: list[int] = []
        if phases[instrument] == Phase.HALTED:
            passed = list(takewhile(lambda phase: phase != Phase.CLOSED, due))
            due = due[len(passed) :]
        scheduled = sum(1 for _ in takewhile(lambda phase: phase == Phase.CLOSED, due))
        if phases[instrument] == Phase.CLOSED:
            return scheduled > 0
        own = takewhile(lambda event: event["seq"] == events[0]["seq"] and not _is_answer(event), events)
        changes = [
            int(event["phase"])
            for event in own
            if event["kind"] in (EventKind.PHASE, EventKind.HALTED) and event["instrument"] == instrument
        ]
        if passed and scheduled:
            is_by_breaker = changes[1:2] == passed[:1] and changes.count(Phase.CLOSED) > due.count(Phase.CLOSED)
            return not is_by_breaker
        told = sum(1 for _ in takewhile(lambda phase: phase == Phase.CLOSED, changes))
        return scheduled > 0 and told <= scheduled

    def _place(self, name: str) -> int:
        """Value of a place of the EXTEND row before the command."""
        return 0 if self._extend is None else int(self._extend[name])

    def _of_command(self, command: Any, events: list[Any]) -> Iterator[Place]:
        if command["kind"] == CommandKind.CLOCK and self._moves(command):
            yield from self._of_clock(int(command["time_ns"]), command, events)
            return
        if not events or events[0]["kind"] != EventKind.REJECTED:
            yield from self._of_accepted(command, events)
        self._crossing = False
        for event in events:
            yield from self._of_event(event, command)

    def _of_clock(self, time_ns: int, command: Any, events: list[Any]) -> Iterator[Place]:
        before_ns, self._now_ns = self._now_ns, time_ns
        self._crossing = False
        ending = 0
        while ending < len(events) and events[ending]["reason"] == Reason.END_OF_DAY:
            ending += 1
        for event in events[:ending]:
            yield from self._of_event(event, command)
        day, day_before = ((each - self._day_start_ns) // DAY_NS for each in (time_ns, before_ns))
        if day != day_before:
            yield {"kind": ReportKind.TRADING_DAY, "day": day, "before_ns": before_ns}
        for event in events[ending:]:
            yield from self._of_event(event, command)

    def _of_accepted(self, command: Any, events: list[Any]) -> Iterator[Place]:
        """The report of an accepted command that causes no event of its own."""
        match int(command["kind"]):
            case CommandKind.INSTRUMENT:
                self._symbols.append(int(command["name"]))
                self._phases.append(int(Phase.CLOSED))
                places = ("name", "reference_e4", "tick_e4", "lot", "adv_qty", "settings")
                named = {name: int(command[name]) for name in places} | {name: self._place(name) for name in _SETTINGS}
                yield {"kind": ReportKind.INSTRUMENT, "instrument": len(self._symbols) - 1} | named
            case CommandKind.PARTICIPANT:
                self._participants.append(int(command["name"]))
                named = {name: int(command[name]) for name in ("name", "group", "permissions")}
                yield {"kind": ReportKind.PARTICIPANT, "participant": len(self._participants) - 1} | named
            case CommandKind.USER:
                yield self._of_user(command)
            case CommandKind.CREDENTIAL:
                name = int(command["name"])
                user = self._user_of(name)
                participant = self._users[user]["participant"]
                yield {"kind": ReportKind.CREDENTIAL, "name": name, "user": user, "participant": participant}
            case CommandKind.LIMITS:
                yield self._of_limits(command)
            case CommandKind.MASS_CANCEL:
                orders = sum(event["kind"] == EventKind.CANCELED for event in events)
                named = {name: int(command[name]) for name in ("name", "side", "reason")}
                yield {"kind": ReportKind.MASS_CANCEL, "orders": orders} | named | self._about(command)
            case CommandKind.EPOCH:
                yield {"kind": ReportKind.EPOCH, "name": int(command["name"]), "epoch": int(command["epoch"])}
            case CommandKind.SCHEDULE:
                symbol = int(command["name"])
                instrument = self._symbols.index(symbol) if symbol in self._symbols else 0
                named = {name: int(command[name]) for name in ("name", "due_ns", "phase")}
                insort(self._schedules, (named["due_ns"], instrument, named["phase"]), key=lambda each: each[0])
                yield {"kind": ReportKind.SCHEDULE, "instrument": instrument} | named
            case CommandKind.INDEX:
                levels = {name: self._place(name) for name in _LEVELS}
                yield {"kind": ReportKind.INDEX, "name": int(command["name"])} | levels
            case CommandKind.MEMBERS:
                named = {name: int(command[name]) for name in ("name", "symbol", "weight")}
                named |= {name: int(command[name]) for name in ("further_symbol", "further_weight")}
                yield {"kind": ReportKind.MEMBERS} | named
            case CommandKind.VENUE:
                if command["settings"] & VenueSetting.DAY_START:
                    self._day_start_ns = int(command["day_start_ns"])
                if command["settings"] & VenueSetting.SPEED_BUMP:
                    self._speed_bump_ns = int(command["speed_bump_ns"])
                values = {name: int(command[name]) for name in ("settings", "speed_bump_ns", "day_start_ns")}
                yield {"kind": ReportKind.VENUE} | values
            case CommandKind.CLOCK_JUMP:
                moved = {"machine_ns": int(command["time_ns"]), "jump_ns": int(command["jump_ns"])}
                yield {"kind": ReportKind.CLOCK_JUMP} | moved

    def _about(self, command: Any) -> Place:
        """Participant and instrument that a command names."""
        symbol = int(command["symbol"])
        instrument = self._symbols.index(symbol) if symbol else 0
        return {"participant": self._participants.index(int(command["name"])), "instrument": instrument}

    def _user_of(self, name: int) -> int:
        """Number of a user, or 0."""
        return next((number for number, row in enumerate(self._users) if number and row["name"] == name), 0)

    def _of_user(self, command: Any) -> Place:
        name, user = int(command["name"]), self._user_of(int(command["name"]))
        participant = self._participants.index(int(command["participant_name"]))
        row = {"name": name, "firm": int(command["firm"]), "participant": participant}
        first = user == 0 and len(self._users) <= self._users_max
        if first:
            user = len(self._users)
            self._users.append(row)
        elif user:
            self._users[user] = row
        return {
            "kind": ReportKind.USER,
            "name": name,
            "user": user,
            "participant": participant,
            "permissions": int(command["permissions"]),
            "flags": int(ReportFlag.FIRST) if first else 0,
        }

    def _of_limits(self, command: Any) -> Place:
        named, off = limit_bits(*(int(command[name]) for name in ("limits", "further_limits", "further_off")))
        report = {"kind": ReportKind.LIMITS, "name": int(command["name"]), "limits": named, "limits_off": off}
        said = named & ~off
        values = {name: int(command[name]) for bit, names in _LIMITS.items() if said & bit for name in names}
        values |= {name: self._place(name) for bit, names in _EXTENDED_LIMITS.items() if said & bit for name in names}
        return report | values | self._about(command)

    def _of_event(self, event: Any, command: Any) -> Iterator[Place]:
        kind, instrument = int(event["kind"]), int(event["instrument"])
        if command["kind"] == CommandKind.CROSS and kind != EventKind.REJECTED:
            yield from self._cross(event, command)
            return
        match kind:
            case EventKind.ACCEPTED:
                yield self._enter(event, command)
            case EventKind.TRADE:
                self._crossing = event["side"] == 0
                yield from self._trade(event)
            case EventKind.CANCELED:
                yield self._cancel(event, command)
            case EventKind.REPLACED:
                yield self._replace(event, command)
            case EventKind.TRIGGERED:
                order = self._orders[int(event["participant"]), int(event["client_order_id"])]
                order.instructions &= ~Instruction.STOP
                order.stop_e4 = 0
                yield _report(ReportKind.TRIGGERED, order, 0)
            case EventKind.REPRICED:
                order = self._orders[int(event["participant"]), int(event["client_order_id"])]
                moved = int(InBook.BEFORE) if order.in_book else 0
                order.in_book = bool(event["price_e4"])
                moved |= int(InBook.NEW_PRIORITY) if order.in_book else 0
                yield _report(ReportKind.REPRICED, order, moved) | {"last_price_e4": int(event["price_e4"])}
            case EventKind.REPLENISHED:
                order = self._orders[int(event["participant"]), int(event["client_order_id"])]
                order.shown_qty = int(event["qty"])
                moved = InBook.BEFORE | InBook.AFTER | (0 if self._crossing else InBook.NEW_PRIORITY)
                yield _report(ReportKind.REPLENISHED, order, int(moved))
            case EventKind.REJECTED | EventKind.CANCEL_REJECTED:
                yield self._refuse(event, command)
            case EventKind.PHASE | EventKind.HALTED:
                before, self._phases[instrument] = self._phases[instrument], int(event["phase"])
                self._crosses[instrument] = _CROSSES.get(Phase(before), Liquidity.OPENING_CROSS)
                report = {"instrument": instrument, "phase": int(event["phase"]), "previous_phase": before}
                if kind == EventKind.HALTED:
                    report["reason"] = int(event["reason"])
                yield {"kind": ReportKind.HALTED if kind == EventKind.HALTED else ReportKind.PHASE} | report
            case EventKind.INDICATIVE:
                named = {name: int(event[name]) for name in ("price_e4", "imbalance_qty", "side")}
                named |= {"paired_qty": int(event["qty"]), "instrument": instrument}
                yield {"kind": ReportKind.INDICATIVE} | named
            case _:
                killed = ReportKind.KILLED if kind == EventKind.KILLED else ReportKind.UNKILLED
                yield {"kind": killed, "participant": int(event["participant"])}

    def _sender(self, context: bytes) -> int:
        """Number of the user who sent a command, 0 if none is defined."""
        user = int.from_bytes(context[:2], "little")
        return user if user < len(self._users) else 0

    def _cross(self, event: Any, command: Any) -> Iterator[Place]:
        """A trade that was agreed outside the books: its answer, and both sides, as of orders that were executed."""
        names = ("price_e4", "qty", "instrument")
        said = {name: int(event[name]) for name in names} | {"cum_qty": int(event["qty"])}
        said |= {"original_qty": said["qty"], "notional_e4": said["price_e4"] * said["qty"]}
        if event["kind"] == EventKind.ACCEPTED:
            yield said | {
                "kind": int(ReportKind.NEW),
                "order_number": int(event["order_number"]),
                "client_order_id": int(event["client_order_id"]),
                "participant": int(event["participant"]),
                "context": int(command["context"]),
                "command_context": int(command["context"]),
                "user": self._sender(_octets(command["context"])),
                "token_head": self._place("token_head"),
                "token_tail": self._place("token_tail"),
            }
            return
        sides = [(int(event[f"{of}participant"]), int(event[f"{of}client_order_id"])) for of in ("", "contra_")]
        for side, own, other in ((1, sides[0], sides[1]), (-1, sides[1], sides[0])):
            yield said | {
                "kind": int(ReportKind.TRADE),
                "client_order_id": own[1],
                "participant": own[0],
                "side": side,
                "user": 0,
                "last_price_e4": said["price_e4"],
                "last_qty": said["qty"],
                "trade_number": int(event["trade_number"]),
                "liquidity": int(Liquidity.AGREED_CROSS),
                "contra_participant": other[0],
                "contra_client_order_id": other[1],
            }

    def _enter(self, event: Any, command: Any) -> Place:
        context = _octets(command["context"])
        user, side = self._sender(context), int(event["side"])
        instructions = int(command["instructions"])
        order = Order(
            participant=int(event["participant"]),
            client_order_id=int(event["client_order_id"]),
            order_number=int(event["order_number"]),
            instrument=int(event["instrument"]),
            side=side,
            price_e4=int(event["price_e4"]),
            qty=int(event["qty"]),
            leaves_qty=int(event["qty"]),
            original_qty=int(event["qty"]),
            time_in_force=int(command["time_in_force"]),
            self_trade=int(command["self_trade"]),
            instructions=instructions,
            min_qty=int(command["min_qty"]) if instructions & Instruction.MIN_QTY else 0,
            display_qty=int(command["display_qty"]) if instructions & Instruction.DISPLAY else 0,
            stop_e4=int(command["stop_e4"]) if instructions & Instruction.STOP else 0,
            until_ns=int(command["until_ns"]) if instructions & Instruction.UNTIL else 0,
            peg=int(command["peg"]),
            offset_e4=int(command["offset_e4"]) if instructions & Instruction.OFFSET else 0,
            book=int(command["book"]),
            context=context if user else _unentered(side),
            user=user,
            token=(self._place("token_head"), self._place("token_tail")),
        )
        self._orders[order.participant, order.client_order_id] = order
        return _report(ReportKind.NEW, order, 0) | {"command_context": int(command["context"])}

    def _trade(self, event: Any) -> Iterator[Place]:
        keys = [
            (int(event["participant"]), int(event["client_order_id"])),
            (int(event["contra_participant"]), int(event["contra_client_order_id"])),
        ]
        roles = [Liquidity.ADDED, Liquidity.REMOVED]
        if event["side"] == 0:
            roles = [self._crosses[int(event["instrument"])]] * 2
        orders = [self._orders[key] for key in keys]
        if orders[0].book == Book.MIDPOINT:
            roles = [Liquidity.MIDPOINT_ADDED, Liquidity.MIDPOINT_REMOVED]
        for order, contra, role in zip(orders, orders[::-1], roles, strict=True):
            before = InBook.BEFORE if order.in_book else 0
            order.trades.append((int(event["price_e4"]), int(event["qty"])))
            order.leaves_qty -= int(event["qty"])
            order.shown_qty = min(max(order.shown_qty - int(event["qty"]), 0), order.leaves_qty)
            self._drop_if_done(order)
            yield _report(ReportKind.TRADE, order, before) | {
                "last_price_e4": int(event["price_e4"]),
                "last_qty": int(event["qty"]),
                "trade_number": int(event["trade_number"]),
                "liquidity": int(role),
                "contra_participant": contra.participant,
                "contra_client_order_id": contra.client_order_id,
                "contra_order_number": contra.order_number,
            }

    def _drop_if_done(self, order: Order) -> None:
        if order.leaves_qty == 0:
            del self._orders[order.participant, order.client_order_id]

    def _cancel(self, event: Any, command: Any) -> Place:
        order = self._orders[int(event["participant"]), int(event["client_order_id"])]
        before = InBook.BEFORE if order.in_book else 0
        order.leaves_qty -= int(event["qty"])
        order.shown_qty = min(order.shown_qty, order.leaves_qty)
        reason = Reason(int(event["reason"]))
        further = {"decrement_qty": int(event["qty"]), "reason": int(reason)}
        if reason == Reason.SELF_TRADE:
            further["liquidity"] = int(Liquidity.ADDED if order.in_book else Liquidity.REMOVED)
        if command["kind"] == CommandKind.CANCEL and reason == Reason.USER:
            context = _octets(command["context"])
            further["command_context"] = int(command["context"])
            if context[:7] == bytes(7) and context[7] == 8:  # a node, for a user who left
                further["reason"] = int(Reason.DISCONNECT)
            if order.user and order.leaves_qty and _is_modify(context):
                order.context = _after_modify(order.context, context)
            if self._sender(context) != order.user:
                further["other_user"] = self._sender(context)
        self._drop_if_done(order)
        kind = ReportKind.RESTATED if order.leaves_qty else _ENDS.get(reason, ReportKind.CANCELED)
        return _report(kind, order, before) | further

    def _replace(self, event: Any, command: Any) -> Place:
        old_id, new_id = int(event["client_order_id"]), int(event["contra_client_order_id"])
        order = self._orders.pop((int(event["participant"]), old_id))
        context = _octets(command["new_context"])
        sender, user, token = self._sender(context), order.user, order.token
        if token == (0, 0):
            token = (self._place("token_head"), self._place("token_tail"))
        keeps = event["price_e4"] == order.price_e4 and event["qty"] <= order.leaves_qty
        if command["instructions"] & Instruction.DISPLAY:
            keeps = keeps and command["display_qty"] == order.display_qty
            order.display_qty = int(command["display_qty"])
        elif command["instructions"] & Instruction.STOP:
            order.stop_e4 = int(command["stop_e4"])
        order.client_order_id, order.replaced = new_id, True
        order.price_e4, order.qty, order.leaves_qty = int(event["price_e4"]), int(command["qty"]), int(event["qty"])
        order.shown_qty = min(order.shown_qty, order.leaves_qty)
        order.token = (self._place("new_token_head"), self._place("new_token_tail"))
        if sender:
            order.user = sender
            order.context = _after_replace(order.context, context)
        dormant = order.waits and not (order.peg and order.in_book)
        order.in_book = keeps and not dormant
        self._orders[order.participant, new_id] = order
        further = {"command_context": int(command["new_context"]), "previous_client_order_id": old_id}
        if user != order.user:
            further["other_user"] = user
        moved = 0 if dormant else InBook.BEFORE | (InBook.AFTER if keeps else 0)
        return (
            _report(ReportKind.REPLACED, order, int(moved))
            | {"previous_token_head": token[0], "previous_token_tail": token[1]}
            | further
        )

    def _refuse(self, event: Any, command: Any) -> Place:
        kind = ReportKind.REJECTED if event["kind"] == EventKind.REJECTED else ReportKind.CANCEL_REJECTED
        report = {name: int(event[name]) for name in ("participant", "instrument", "reason")} | {"kind": int(kind)}
        match int(command["kind"]):
            case CommandKind.ENTER:
                return report | self._refused_enter(command)
            case CommandKind.CANCEL | CommandKind.REPLACE:
                return report | self._refused_change(event, command)
            case _:
                return report | {"client_order_id": int(event["client_order_id"])}

    def _refused_enter(self, command: Any) -> Place:
        names = (*COMMAND_FIELDS[CommandKind.ENTER], "kind")
        left_out = ("participant", "instrument", "kind", "stop_e4", "display_qty", "offset_e4", "until_ns", "min_qty")
        asked = {name: int(command[name]) for name in names if name not in left_out}
        stops, shows = (asked["instructions"] & bit for bit in (Instruction.STOP, Instruction.DISPLAY))
        ends, pegs = (asked["instructions"] & bit for bit in (Instruction.UNTIL, Instruction.OFFSET))
        return asked | {
            "command_context": asked["context"],
            "original_qty": _clamped(asked["qty"]),
            "min_qty": _clamped(int(command["min_qty"])) if not ends else 0,
            "until_ns": int(command["until_ns"]) if ends else 0,
            "display_qty": _clamped(int(command["display_qty"])) if shows and not stops else 0,
            "stop_price_e4": int(command["stop_e4"]) if stops else 0,
            "offset_e4": int(command["offset_e4"]) if pegs and not stops and not shows else 0,
            "user": self._sender(_octets(command["context"])),
            "token_head": self._place("token_head"),
            "token_tail": self._place("token_tail"),
            "unknown_participant": self._place("name"),
            "unknown_symbol": self._place("symbol"),
        }

    def _refused_change(self, event: Any, command: Any) -> Place:
        replaces = command["kind"] == CommandKind.REPLACE
        context = _octets(command["new_context" if replaces else "context"])
        sender, order_id = self._sender(context), int(command["client_order_id"])
        order = self._orders.get((int(event["participant"]), order_id))
        report: Place = {"unknown_participant": self._place("name"), "unknown_symbol": self._place("symbol")}
        if order is not None:
            remarked = False
            marked = not replaces and sender and order.user and event["reason"] == Reason.INVALID_QTY
            if marked and _is_modify(context) and command["qty"] == order.cum_qty + order.leaves_qty:
                after = _after_modify(order.context, context)
                remarked = after != order.context
                order.context = after
            report |= order.places(int(InBook.BEFORE | InBook.AFTER) if order.in_book else 0)
            report["flags"] |= int(ReportFlag.REMARKED) if remarked else 0
            report["other_user"] = order.user if order.user != sender else 0
        report |= {"user": sender, "command_context": int.from_bytes(context, "little", signed=True)}
        report |= {"client_order_id": order_id, "qty": int(command["qty"])}
        report |= {"token_head": self._place("token_head"), "token_tail": self._place("token_tail")}
        if replaces:
            report |= {f"previous_{name}": report[name] for name in ("client_order_id", "token_head", "token_tail")}
            report |= {"client_order_id": int(command["new_client_order_id"]), "price_e4": int(command["price_e4"])}
            report |= {"token_head": self._place("new_token_head"), "token_tail": self._place("new_token_tail")}
        return report

    def _with_names(self, report: Place) -> Place:
        """A report with the names that belong to its numbers."""
        unknown = {name: report.pop(name, 0) for name in ("unknown_participant", "unknown_symbol")}
        report.pop("order", None)
        if "participant" in report:
            report["participant_name"] = self._participants[report["participant"]] or unknown["unknown_participant"]
        if "instrument" in report:
            report["symbol"] = self._symbols[report["instrument"]] or unknown["unknown_symbol"]
        if "contra_participant" in report:
            report["contra_name"] = self._participants[report["contra_participant"]]
        if "user" in report:
            user = self._users[report["user"]]
            report |= {"user_name": user["name"], "firm": user["firm"]}
        if "other_user" in report:
            report["other_firm"] = self._users[report["other_user"]]["firm"]
        return report


def _report(kind: ReportKind, order: Order, moved: int) -> Place:
    """Report of an order. It rests if it stays where it was; ``_settle`` sees to an order that comes to rest."""
    stays = order.in_book and order.leaves_qty
    places = order.places(moved | int(InBook.AFTER) if stays else moved)
    return {"kind": int(kind), "order": order} | places


def _settle(reports: list[Place], but: "Order | None" = None) -> None:
    """An order that ran as aggressor and is still open comes to rest with the last of its reports.

    A dormant stop does not, nor does ``but``, which is elected now.
    """
    last: dict[int, Place] = {}
    for report in reports:
        if "order" in report:
            last[id(report["order"])] = report
    for report in last.values():
        order: Any = report["order"]
        if order.leaves_qty and not order.in_book and order is not but and not order.waits:
            order.rests()
            moved = report["in_book"] | InBook.AFTER
            if report["kind"] == ReportKind.REPLACED:
                moved |= InBook.NEW_PRIORITY
            report |= {"in_book": int(moved), "displayed_qty": order.displayed_qty}


def _is_answer(event: Any) -> bool:
    """True of the answer to an enter, cancel or replace."""
    by_owner = event["kind"] == EventKind.CANCELED and event["reason"] in (Reason.USER, Reason.REPLACED)
    return bool(by_owner or event["kind"] in _ANSWERS)


def _octets(context: Any) -> bytes:
    return int(context).to_bytes(8, "little", signed=True)


def _clamped(number: int) -> int:
    return min(max(number, 0), 2**32 - 1)


def _unentered(side: int) -> bytes:
    """Context of an order that no user entered: displayed, other capacity, no sweep."""
    context = bytearray(8)
    context[_BYTE["side"]] = BuySell.BUY if side > 0 else BuySell.SELL
    context[_BYTE["display"]] = Display.ANONYMOUS
    context[_BYTE["capacity"]] = Capacity.OTHER
    context[_BYTE["sweep"]] = IntermarketSweep.NOT_ELIGIBLE
    context[_BYTE["customer"]] = CustomerType.AS_CONFIGURED
    return bytes(context)


def _protocol(context: bytes) -> int:
    """Number of the protocol by which a command came; 0: OUCH."""
    return context[7] >> 4


def _is_modify(context: bytes) -> bool:
    """True for the context of a Modify Order of OUCH."""
    return _protocol(context) == 0 and bool(context[_BYTE["flags"]] & 2)


def _after_modify(context: bytes, asked: bytes) -> bytes:
    """A Modify Order changes the mark of a sale that came over OUCH."""
    after = bytearray(context)
    if _protocol(context) == 0 and asked[2] in _SALES and context[2] in _SALES:
        after[2] = asked[2]
    return bytes(after)


def _after_replace(context: bytes, asked: bytes) -> bytes:
    """A Replace Order changes user, sweep, hours, and the display of a displayed order to another of its kind.

    A replace by another protocol changes the user alone; one of an order of its own, but for OUCH, everything.
    """
    after = bytearray(context)
    after[:2] = asked[:2]
    if _protocol(context) != _protocol(asked):
        return bytes(after)
    if _protocol(context):
        return bytes(asked)
    after[_BYTE["sweep"]] = asked[_BYTE["sweep"]]
    after[_BYTE["flags"]] = context[_BYTE["flags"]] & ~1 | asked[_BYTE["flags"]] & 1
    display, wanted = context[_BYTE["display"]], asked[_BYTE["display"]]
    if any(display in kind and wanted in kind for kind in (_PLAIN, _POST_ONLY)):
        after[_BYTE["display"]] = wanted
    return bytes(after)


def _rows(reports: list[Place]) -> NDArray[Any]:
    """REPORT rows of dicts. Raises ValueError for a place that its kind does not use."""
    rows = np.zeros(len(reports), REPORT)
    for row, report in zip(rows, reports, strict=True):
        unused = {name for name, value in report.items() if value} - set(REPORT_FIELDS[ReportKind(report["kind"])])
        if unused:
            raise ValueError(f"a report of {ReportKind(report['kind']).name} does not use {', '.join(sorted(unused))}")
        for name, value in report.items():
            if value:
                row[name] = value
    return rows
