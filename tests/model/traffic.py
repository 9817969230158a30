"""Random scenarios that keep the model's market busy.

The writer looks at the market that its own lines make, so that most cancels and replaces name open orders, and a
market that is halted or closed is soon open again. A part of the numbers is wrong on purpose.
"""

import random
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any, Final

from tests.model.market import Market
from tests.model.records import Order
from tests.model.words import DAY_NS, MINUTE_NS, SECOND_NS

PHASES: Final = ("closed", "pre_open", "opening_auction", "continuous", "auction", "closing_auction")
SELF_TRADES: Final = ("cancel_newest", "cancel_oldest", "cancel_both", "decrement", "none")
#: Kind of entry: weight in continuous trading, and in any other phase.
ENTRIES: Final = {
    "limit": (14, 14),
    "market": (5, 8),
    "iceberg": (7, 8),
    "hidden": (5, 4),
    "post_only": (4, 1),
    "stop": (8, 6),
    "peg": (6, 3),
    "midpoint": (5, 1),
    "ioc": (5, 2),
    "fok": (5, 2),
    "min_qty": (4, 1),
    "opening": (2, 6),
    "closing": (2, 4),
    "gtd": (3, 3),
    "gtc": (3, 3),
    "wild": (2, 1),
}
#: Other commands, and their weight.
CONTROLS: Final = {
    "enter": 50,
    "replace": 8,
    "cancel": 5,
    "mass_cancel": 1.5,
    "cross": 2.5,
    "phase": 8,
    "halt": 2,
    "resume": 1,
    "kill": 1,
    "unkill": 2,
    "emergency_close": 0.3,
    "limits": 2,
    "schedule": 3,
    "venue": 0.5,
    "at": 12,
}


def decimal(price_e4: int) -> str:
    """Price with four decimals."""
    return f"{'-' if price_e4 < 0 else ''}{abs(price_e4) // 10_000}.{abs(price_e4) % 10_000:04d}"


def stamp(time_ns: int) -> str:
    """Time with its date, to the nanosecond."""
    second, part = divmod(time_ns, SECOND_NS)
    return f"{datetime.fromtimestamp(second, UTC):%Y-%m-%dT%H:%M:%S}.{part:09d}"


def words(*order: Any, **further: Any) -> str:
    """A line: words in order, then `key=value`, or the key alone where its value is True; None is left out."""
    pairs = (key if each is True else f"{key}={each}" for key, each in further.items() if each is not None)
    return " ".join((*map(str, order), *pairs))


class Traffic:
    """A scenario of a seed. `lines` writes it, and plays each line into `market`."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.market = Market()
        self.now_ns = self.market.now_ns
        self.ids = 0
        one_of = self.random.choice
        self.world = one_of(("ordinary", "ordinary", "days", "edges"))
        self.favourite = one_of((*ENTRIES, "midpoint", "peg", "self_trade", "limits", "phase"))
        self.tick_e4, self.lot, self.base_e4, self.large = (
            one_of((100, 100, 100, 1, 500)),
            one_of((1, 1, 10)),
            100_000,
            1,
        )
        if self.world == "edges":
            tick_e4 = self.tick_e4 = one_of((1, 1, 100, 7))
            top_e4 = 9_999_999_999 // tick_e4 * tick_e4
            self.base_e4 = one_of((2 * tick_e4, 4 * tick_e4, top_e4 - 3 * tick_e4, 1_000_000 // tick_e4 * tick_e4))
            self.large = one_of((1, 1, 3_000_000))
        self.width = one_of((2, 4, 8))
        self.calm = one_of((0.3, 0.7, 0.95))
        self.is_apart = self.chance(0.5)
        self.is_delayed = self.chance(0.25)

    def lines(self, count: int) -> Iterator[tuple[str, list[str]]]:
        """Lines and the model's events of each: the definitions, then so many commands."""
        for line in self.definitions():
            yield line, self.market.play(line)
        for _ in range(count):
            line = self.command()
            yield line, self.market.play(line)

    # Numbers and names

    def chance(self, share: float) -> bool:
        return self.random.random() < share

    def maybe(self, share: float, *choices: Any) -> Any:
        return self.random.choice(choices) if self.chance(share) else None

    def price_e4(self, side: str | None = None) -> int:
        """A price near the base; of a side in a market that stands apart one that seldom trades at once."""
        away = self.random.randint(-self.width, self.width)
        if side and self.is_apart:
            away = self.random.randint(-1, self.width) * (-1 if side == "buy" else 1)
        price_e4 = self.base_e4 + self.tick_e4 * away
        if not 1 <= price_e4 <= 9_999_999_999 and self.chance(0.9):
            price_e4 = self.base_e4
        wrong = self.maybe(0.02, 0, -100, price_e4 + 1, 10**10, 9_999_999_900, 100)
        return price_e4 if wrong is None else wrong

    def price(self, side: str | None = None) -> str:
        return decimal(self.price_e4(side))

    def qty(self) -> int:
        qty = min(self.lot * self.large * self.random.choice((1, 2, 3, 5, 10, 10, 10, 20, 30)), 99_999_990)
        wrong = self.maybe(0.02, 0, -10, qty + 1, 100_000_000, 99_999_999)
        return qty if wrong is None else wrong

    def symbol(self) -> str:
        return self.random.choice(("AAA", "AAA", "BBB")) if self.chance(0.995) else "ZZZ"

    def name(self) -> str:
        return self.random.choice(("P1", "P2", "P3", "P4")) if self.chance(0.995) else "PX"

    def new_id(self) -> str:
        self.ids += 1
        return f"o{self.random.randint(1, self.ids) if self.chance(0.03) else self.ids}"

    def open_order(self) -> tuple[str, str, Order | None]:
        """Owner and id of an open order, and the order; now and then of none."""
        if not self.market.orders or self.chance(0.05):
            return self.name(), f"o{self.random.randint(1, self.ids + 1)}", None
        order = self.random.choice(self.market.orders)
        return order.owner.name, order.id, order

    # Definitions

    def definitions(self) -> Iterator[str]:
        for symbol in ("AAA", "BBB"):
            yield self.instrument(symbol)
        for name in ("P1", "P2", "P3", "P4"):
            allowed = [each for each, share in (("market", 0.9), ("stp_none", 0.5)) if self.chance(share)]
            yield words("participant", name, group=self.maybe(0.33, "G"), allow=",".join(allowed) or "none")
        for number in range(self.random.choice((0, 0, 1, 2))):
            yield self.index(f"IDX{number}")
        if self.world == "days":
            yield words("venue", day_start=self.random.choice(("09:31", "17:00", "00:00", "23:59")))
        if self.is_delayed:
            yield words("venue", speed_bump=self.random.choice(("1ns", "350us", "1s", "61s")))
        if self.favourite == "limits":
            yield from (self.limits(name) for name in ("P1", "P2", "P3"))
        for symbol in ("AAA", "BBB"):
            if self.chance(0.8):
                yield f"phase {symbol} {'continuous' if self.chance(0.7) else self.random.choice(PHASES)}"

    def instrument(self, symbol: str) -> str:
        one_of = self.random.choice
        between_ticks_e4 = one_of((0, 50, 37)) if self.chance(0.2) and self.base_e4 < 9_000_000_000 else 0
        breaker = (
            f"{one_of((0, 10, 30, 60)) / 100:.2f}%/{one_of((1, 5, 300, 3600))}s/{one_of(('1ns', '1s', '1m', '5m'))}"
        )
        return words(
            "instrument",
            symbol,
            tick=decimal(self.tick_e4),
            lot=self.lot,
            reference=decimal(self.base_e4 + between_ticks_e4),
            books=self.maybe(0.7, "lit,midpoint"),
            band=self.maybe(0.4, "0%", "0.1%", "0.3%", "0.5%", "1%", "5%"),
            volatility=self.maybe(0.4, breaker),
            cancel_on_halt=self.maybe(0.3, "yes"),
            adv=self.maybe(0.3, 100, 1_000),
        )

    def index(self, name: str) -> str:
        falls = sorted(self.random.sample((1, 5, 10, 20, 30, 50, 80), self.random.randint(1, 3)))
        levels = [f"{fall / 100:.2f}%/{self.random.choice(('1s', '1m', '15m'))}" for fall in falls]
        if self.chance(0.5):
            levels[-1] = f"{falls[-1] / 100:.2f}%/close"
        symbols = ("AAA", "BBB") if self.chance(0.7) else ("AAA",)
        members = ",".join(f"{symbol}:{self.random.randint(1, 3)}" for symbol in symbols)
        return words("index", name, members=members, levels=",".join(levels))

    def limits(self, name: str | None = None) -> str:
        one_of, lots = self.random.choice, self.lot * self.large
        worth_e4 = self.base_e4 * lots
        symbol = self.symbol() if self.chance(0.4) else None
        limits = {
            "max_order_qty": one_of((10, 20, 100)) * self.lot,
            "max_order_value": decimal(one_of((10 * self.base_e4 * self.large, 20 * worth_e4))),
            "max_position": one_of((0, 10, 30, 100)) * lots,
            "adv": one_of(("0%", "1%", "5%", "100%")),
            "restricted": True,
            "order_rate": f"{self.random.randint(1, 5)}/{one_of(('1ns', '1s', '1m'))}",
            "credit": decimal(min(one_of((0, 10, 50, 200, 2**63)) * worth_e4, 2**63 - 1)),
            "margin": one_of(("0%", "20%", "100%", "33.33%")),
            "max_open_orders": self.random.randint(1, 8),
            "max_ids": self.random.randint(1, 20),
        }
        names = list(limits)[: 5 if symbol else None]
        chosen = {each: limits[each] for each in self.random.sample(names, self.random.randint(1, 3))}
        for each in chosen:
            if self.chance(0.7 if each == "restricted" else 0.3):
                chosen[each] = "no" if each == "restricted" else "off"
        return words("limits", name or self.name(), symbol=symbol, **chosen)

    # Commands

    def command(self) -> str:
        """The next line: entries for most of the time, and what opens a market that stands still."""
        reopening = self.reopening() if self.chance(0.35) else None
        if reopening:
            return reopening
        if self.chance(self.calm):
            return self.random.choice((*[self.enter] * 6, self.replace, self.cancel))()
        weights = CONTROLS | ({"phase": 13} if self.favourite == "phase" else {})
        (kind,) = self.random.choices(list(weights), list(weights.values()))
        return getattr(self, kind)()

    def reopening(self) -> str | None:
        """A line that brings a market towards trading, if it does not trade."""
        one_of = self.random.choice
        still = [each for each in self.market.instruments if each.phase in ("closed", "halted")]
        if still:
            instrument = one_of(still)
            if instrument.phase == "halted" and self.chance(0.5):
                return f"resume {instrument.symbol}" if self.chance(0.4) else self.at()
            return f"phase {instrument.symbol} {'continuous' if self.chance(0.6) else one_of(PHASES[1:])}"
        if any(each.is_killed for each in self.market.participants):
            return "unkill *"
        calls = [each for each in self.market.instruments if each.phase != "continuous"]
        return f"phase {one_of(calls).symbol} continuous" if calls and self.chance(0.25) else None

    def enter(self) -> str:
        one_of, symbol, name, stp = self.random.choice, self.symbol(), self.name(), self.maybe(0.3, *SELF_TRADES)
        if self.favourite == "self_trade" and self.chance(0.6):
            name, stp = one_of(("P1", "P2")), one_of(SELF_TRADES[:4])
        instrument = self.market.instrument(symbol)
        column = 0 if instrument and instrument.phase == "continuous" else 1
        weights = {kind: pair[column] * (4 if kind == self.favourite else 1) for kind, pair in ENTRIES.items()}
        (kind,) = self.random.choices(list(weights), list(weights.values()))
        side, qty = one_of(("buy", "sell")), self.qty()
        price, further = self.instructions(kind, side, qty)
        if further.get("tif") == "gtd":
            after_ns = one_of((0, 1, SECOND_NS, 2 * SECOND_NS, MINUTE_NS, 61 * SECOND_NS, DAY_NS))
            further["until"] = stamp(self.now_ns + after_ns)
        return words("enter", name, self.new_id(), side, qty, symbol, "@", price, **further, stp=stp)

    def instructions(self, kind: str, side: str, qty: int) -> tuple[str, dict[str, Any]]:
        """Price and instructions of a kind of entry."""
        one_of, price, rests = self.random.choice, self.price(side), self.maybe(0.5, "gtc", "gtd")
        match kind:
            case "market":
                return "market", {}
            case "iceberg":
                display = min(99_999_990, self.lot * self.large * one_of((1, 2, 3, 5)))
                return price, {"display": display, "tif": rests}
            case "hidden":
                return price, {"hidden": True, "tif": rests}
            case "post_only":
                return price, {"post_only": True, "tif": rests} | one_of(({}, {"hidden": True}, {"display": self.lot}))
            case "stop":
                return one_of(("market", price)), {"stop": self.price(), "tif": rests}
            case "peg":
                peg = one_of(("primary", "midpoint", "market"))
                offset = None if peg == "midpoint" else self.maybe(0.4, *(decimal(n * self.tick_e4) for n in range(3)))
                return one_of(("market", self.price())), {"peg": peg, "offset": offset, "tif": rests}
            case "midpoint":
                tif = one_of((None, "gtc", "gtd", "ioc", "fok"))
                least = self.maybe(0.5, self.lot, 2 * self.lot, 10 * self.lot) if tif == "ioc" else None
                return one_of(("market", self.price())), {"book": "midpoint", "tif": tif, "min_qty": least}
            case "min_qty":
                return price, {"tif": "ioc", "min_qty": one_of((1, qty // 2, qty, 5 * self.lot))}
            case "ioc" | "fok" | "opening" | "closing":
                return "market" if self.chance(0.25) else price, {"tif": kind}
            case "gtc" | "gtd":
                return price, {"tif": kind}
            case "wild":
                return self.wild(price)
        return price, {}

    def wild(self, price: str) -> tuple[str, dict[str, Any]]:
        """Instructions that do not fit together, but for those that have one place in a row."""
        further = {
            "display": self.lot,
            "hidden": True,
            "post_only": True,
            "peg": "primary",
            "stop": self.price(),
            "tif": self.random.choice(("gtc", "fok", "ioc", "opening", "gtd")),
            "min_qty": 1,
            "offset": decimal(self.tick_e4),
            "book": "midpoint",
        }
        further = {key: each for key, each in further.items() if self.chance(0.25)}
        for one_place in (["display", "offset", "stop"], ["tif", "min_qty"]):
            for key in [each for each in one_place if each in further][1:]:
                del further[key]
        return "market" if self.chance(0.25) else price, further

    def replace(self) -> str:
        one_of, (name, order_id, order) = self.random.choice, self.open_order()
        price, qty, display, stop = self.price(), self.qty(), None, None
        if order:
            if self.chance(0.8 if order.price_e4 is None else 0.5):
                price = "market" if order.price_e4 is None else decimal(order.price_e4)
            if self.chance(0.6):
                qty = max(0, order.executed + order.open + self.lot * one_of((0, 0, -1, -1, -2, 1, 5)))
            if self.chance(0.4 if order.stop_e4 is not None else 0.02):
                stop = self.price()
            elif self.chance(0.4 if order.display else 0.01):
                display = self.lot * one_of((1, 2, 3))
        return words("replace", name, order_id, self.new_id(), qty, "@", price, display=display, stop=stop)

    def cancel(self) -> str:
        name, order_id, order = self.open_order()
        executed, left = (order.executed, order.open) if order else (1, 5)
        choices = (0, self.lot, 2 * self.lot, executed + left - self.lot, executed + left // 2, executed, -5)
        return words("cancel", name, order_id, qty=self.maybe(0.5, *choices))

    def mass_cancel(self) -> str:
        return words(
            "mass_cancel",
            self.name(),
            symbol=self.maybe(0.4, self.symbol()),
            side=self.maybe(0.4, "buy", "sell"),
            reason=self.maybe(0.3, "disconnect"),
        )

    def cross(self) -> str:
        order = self.name(), self.new_id(), self.qty(), self.symbol(), "@", self.price()
        return words("cross", *order, buyer=self.name(), seller=self.name())

    def any_symbol(self) -> str:
        return self.random.choice((self.symbol(), self.symbol(), "*"))

    def any_name(self) -> str:
        return self.random.choice((self.name(), self.name(), "*"))

    def phase(self) -> str:
        return f"phase {self.any_symbol()} {self.random.choice((*PHASES, *['continuous'] * 5, 'closing_auction'))}"

    def halt(self) -> str:
        return words("halt", self.any_symbol(), **{"for": self.maybe(0.7, "1ns", "1s", "1m", "5m")})

    def resume(self) -> str:
        return f"resume {self.any_symbol()}"

    def kill(self) -> str:
        return f"kill {self.any_name()}"

    def unkill(self) -> str:
        return f"unkill {self.any_name()}"

    def emergency_close(self) -> str:
        return "emergency_close"

    def schedule(self) -> str:
        after_ns = self.random.choice((-5, 0, SECOND_NS, 2 * SECOND_NS, MINUTE_NS, 61 * SECOND_NS, DAY_NS // 3))
        phase = self.random.choice((*PHASES, "continuous", "closing_auction", "closed"))
        return f"schedule {self.any_symbol()} {stamp(self.now_ns + after_ns)} {phase}"

    def venue(self) -> str:
        return words("venue", speed_bump=self.random.choice(("off", "1ns", "1s"))) if self.is_delayed else self.at()

    def at(self) -> str:
        steps = [0, 1, 350_000, SECOND_NS, SECOND_NS, MINUTE_NS, 61 * SECOND_NS, 300 * SECOND_NS, 2 * SECOND_NS]
        steps += (
            [DAY_NS // 3, DAY_NS, 3 * DAY_NS] if self.world == "days" else [DAY_NS // 3] if self.chance(0.4) else []
        )
        self.now_ns += self.random.choice(steps)
        return f"at {stamp(self.now_ns)}"
