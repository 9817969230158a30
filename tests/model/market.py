"""The market as a whole: definitions, controls and the clock (sections 2, 6, 9 and 10)."""

from collections.abc import Callable, Iterator
from functools import partial
from types import SimpleNamespace
from typing import Any, NamedTuple

from tests.model.entry import Entry
from tests.model.records import Index, Instrument, Participant
from tests.model.words import DAY_NS, MINUTE_NS, read


class Schedule(NamedTuple):
    """A phase that the clock will bring to an instrument, or to every one (`*`)."""

    time_ns: int
    number: int
    symbol: str
    phase: str


class Market(Entry):
    """The model: give it the lines of a scenario one by one.

    >>> market = Market()
    >>> _ = [market.play(line) for line in ("instrument XYZ tick=0.01 lot=1 reference=10", "participant A")]
    >>> market.play("phase XYZ continuous"), market.play("enter A a1 sell 5 XYZ @ 10.00")
    (['phase XYZ continuous'], ['accepted a1'])
    """

    def __init__(self) -> None:
        super().__init__()
        self.delay_ns = 0
        self.day_start_ns = 0
        self.day = self.trading_day()
        self.schedules: list[Schedule] = []
        self.scheduled = 0
        #: Number of a schedule and an instrument that has met it.
        self.met: set[tuple[int, Instrument]] = set()
        #: Time of effect of each delayed command, and what `act` takes.
        self.delayed: list[tuple[int, tuple[Any, ...]]] = []

    def play(self, line: str) -> list[str]:
        """Events that a line of a scenario causes. Raises ValueError for a line that the model does not know."""
        self.events = []
        command = read(line, self.now_ns)
        if command.kind in ("enter", "cancel", "replace"):
            symbol = command.symbol if command.kind == "enter" else ""
            named = command, self.participant(command.name), self.instrument(symbol)
            if self.delay_ns:
                self.delayed.append((self.now_ns + self.delay_ns, named))
                return []
            self.act(*named)
        else:
            getattr(self, f"take_{command.kind}")(command)
        self.finish()
        return self.events

    def act(self, command: SimpleNamespace, *named: Any) -> None:
        """Take an enter, cancel or replace with what it named on arrival."""
        getattr(self, f"take_{command.kind}")(command, *named)

    # Definitions (section 2)

    def take_venue(self, command: SimpleNamespace) -> None:
        if self.delayed:
            return self.tell("rejected venue reason=invalid_command")
        if "day_start" in command.given:
            self.day_start_ns = command.day_start
            self.day = self.trading_day()
        if "speed_bump" in command.given:
            self.delay_ns = command.speed_bump or 0
        return None

    def take_instrument(self, command: SimpleNamespace) -> None:
        self.instruments.append(
            Instrument(
                symbol=command.symbol,
                tick_e4=command.tick,
                lot=command.lot,
                defined_e4=command.reference,
                has_midpoint="midpoint" in (command.books or []),
                band_bp=command.band,
                volatility=command.volatility,
                cancel_on_halt=command.cancel_on_halt == "yes",
                adv=command.adv or 0,
            )
        )

    def take_participant(self, command: SimpleNamespace) -> None:
        allowed = ["market"] if command.allow is None else command.allow
        self.participants.append(Participant(command.name, command.group, "market" in allowed, "stp_none" in allowed))

    def take_limits(self, command: SimpleNamespace) -> None:
        owner, symbol = self.participant(command.name), command.symbol
        if not owner:
            return self.tell(f"rejected {command.name} reason=unknown_participant")
        if symbol and not self.instrument(symbol):
            return self.tell(f"rejected {symbol} reason=unknown_instrument")
        limits = owner.limits.setdefault(symbol, {})
        for name, limit in command.given.items():
            if name in ("name", "symbol"):
                continue
            limits.pop(name, None)
            if limit is not None:
                limits[name] = limit
        return None

    def take_index(self, command: SimpleNamespace) -> None:
        levels = command.levels or [(700, 15 * MINUTE_NS), (1_300, 15 * MINUTE_NS), (2_000, None)]
        self.indices.append(Index(command.members, levels, self.index_value_e4(command.members)))

    def take_schedule(self, command: SimpleNamespace) -> None:
        if command.symbol != "*" and not self.instrument(command.symbol):
            return self.tell(f"rejected {command.symbol} reason=unknown_instrument")
        self.scheduled += 1
        return self.schedules.append(Schedule(command.time, self.scheduled, command.symbol, command.phase))

    # Controls (sections 6 and 9)

    def each_instrument(self, symbol: str) -> Iterator[Instrument]:
        """The instrument of a symbol, or every one for `*`, each complete with its consequences before the next."""
        found = [each for each in self.instruments if symbol in ("*", each.symbol)]
        if not found and symbol != "*":
            self.tell(f"rejected {symbol} reason=unknown_instrument")
        for instrument in found:
            yield instrument
            self.finish()

    def each_participant(self, name: str) -> Iterator[Participant]:
        """The participant of a name, or every one for `*`, each complete with its consequences before the next."""
        found = [each for each in self.participants if name in ("*", each.name)]
        if not found and name != "*":
            self.tell(f"rejected {name} reason=unknown_participant")
        for participant in found:
            yield participant
            self.finish()

    def take_phase(self, command: SimpleNamespace) -> None:
        for instrument in self.each_instrument(command.symbol):
            if command.phase == "halted":
                self.tell(f"rejected {instrument.symbol} reason=invalid_command")
            else:
                self.change_phase(instrument, command.phase)

    def take_halt(self, command: SimpleNamespace) -> None:
        for instrument in self.each_instrument(command.symbol):
            if instrument.phase != "closed":
                self.halt(instrument, command.given.get("for"), "command")
            elif command.symbol != "*":
                self.tell(f"rejected {instrument.symbol} reason=closed")

    def take_resume(self, command: SimpleNamespace) -> None:
        for instrument in self.each_instrument(command.symbol):
            if instrument.phase == "halted":
                self.end_halt(instrument)
            elif command.symbol != "*":
                self.tell(f"rejected {instrument.symbol} reason=not_halted")

    def take_kill(self, command: SimpleNamespace) -> None:
        for participant in self.each_participant(command.name):
            self.tell(f"killed {participant.name}")
            participant.is_killed = True
            for order in self.by_acceptance(order for order in self.orders if order.owner is participant):
                self.cancel_order(order, "kill")

    def take_unkill(self, command: SimpleNamespace) -> None:
        for participant in self.each_participant(command.name):
            self.tell(f"unkilled {participant.name}")
            participant.is_killed = False

    def take_mass_cancel(self, command: SimpleNamespace) -> None:
        owner = self.participant(command.name)
        if not owner:
            return self.tell(f"rejected {command.name} reason=unknown_participant")
        if command.symbol and not self.instrument(command.symbol):
            return self.tell(f"rejected {command.symbol} reason=unknown_instrument")
        for order in self.by_acceptance(order for order in self.orders if order.owner is owner):
            if command.symbol in (None, order.instrument.symbol) and command.side in (None, order.side):
                self.cancel_order(order, command.reason or "mass_cancel")
        return None

    def take_emergency_close(self, _: SimpleNamespace) -> None:
        """Close each instrument and cancel all its orders, without an uncross."""
        for instrument in self.instruments:
            self.tell(f"phase {instrument.symbol} closed")
            instrument.phase = "closed"
            instrument.timer_ns = None
            for order in self.orders_of(instrument):
                self.cancel_order(order, "kill")

    # The clock (section 10)

    def trading_day(self) -> int:
        """Number of the trading day: the UTC date of the clock less the start of the day."""
        return (self.now_ns - self.day_start_ns) // DAY_NS

    def take_at(self, command: SimpleNamespace) -> None:
        """End the day if another one begins; then what is due happens, each complete with its consequences."""
        self.now_ns = command.time
        if self.trading_day() > self.day:
            self.end_day()
        while due := list(self.due()):
            _, happen = min(due, key=lambda each: each[0])
            happen()
            self.finish()
        self.schedules = [each for each in self.schedules if each.time_ns > self.now_ns]

    def end_day(self) -> None:
        """End orders of the day with all that this causes, open the indices anew, free the ids (section 13, 27)."""
        self.day = self.trading_day()
        for order in self.by_acceptance(self.orders):
            if order.tif in ("day", "opening", "closing"):
                self.cancel_order(order, "end_of_day")
        self.finish()
        for index in self.indices:
            index.deepest = -1
            index.opening_e4 = self.index_value_e4(index.members)
        for participant in self.participants:
            participant.ids = set()

    def due(self) -> Iterator[tuple[tuple[int, ...], Callable[[], None]]]:
        """Yield all that the clock has reached, with its place: time, then expiries, phases, delayed commands."""
        for order in self.orders:
            if order.until_ns is not None and order.until_ns <= self.now_ns:
                yield (order.until_ns, 0, order.accepted), partial(self.cancel_order, order, "expired")
        for place, instrument in enumerate(self.instruments):
            if instrument.timer_ns is not None and instrument.timer_ns <= self.now_ns:
                yield (instrument.timer_ns, 1, place, 0), partial(self.end_timer, instrument)
            for schedule in self.schedules:
                due_ns, number, symbol, _ = schedule
                is_of = symbol in ("*", instrument.symbol) and (number, instrument) not in self.met
                if is_of and due_ns <= self.now_ns:
                    yield (due_ns, 1, place, 1, number), partial(self.meet_schedule, instrument, schedule)
        if self.delayed and self.delayed[0][0] <= self.now_ns:
            yield (self.delayed[0][0], 2), self.act_on_delayed

    def end_timer(self, instrument: Instrument) -> None:
        """End a halt, or the call after it."""
        if instrument.phase == "halted":
            self.end_halt(instrument)
        else:
            self.change_phase(instrument, "continuous")

    def meet_schedule(self, instrument: Instrument, schedule: Schedule) -> None:
        """Change to the phase of a schedule, which a halted instrument drops unless it closes."""
        self.met.add((schedule.number, instrument))
        if instrument.phase != "halted" or schedule.phase == "closed":
            self.change_phase(instrument, schedule.phase)

    def act_on_delayed(self) -> None:
        """Take the first of the delayed commands."""
        _, named = self.delayed.pop(0)
        self.act(*named)
