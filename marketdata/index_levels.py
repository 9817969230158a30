"""Levels of an index: weighted sums of prices over a divisor, in exact fractions, from REPORT rows.

The level is the sum of weight times price of the members, over the divisor. It begins at the base once each member has
a price. A change of members moves the divisor, so that the level is the same before and after it. A split multiplies
the weight and divides the price in force, which moves neither. A price is the last that the displayed book or its
auction made, before that the reference price of the instrument.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from engine.digest import ByteHash
from engine.names import pack, unpack
from engine.records import Side
from marketdata.statistics import MAKES_PRICE
from notation.strict_json import read_json
from notation.words import Fault, time_of
from reports.rows import ReportKind

Rows = NDArray[Any]

#: Members of an index at most.
MEMBERS_MAX: Final = 1_000


@dataclass(frozen=True)
class Change:
    """Change of an index at a time, ns since 1970: other members with weights, or splits by symbol (2: two for one)."""

    time_ns: int
    members: Mapping[str, Fraction] | None = None
    splits: Mapping[str, Fraction] | None = None


@dataclass(frozen=True)
class IndexDefinition:
    """Name, level at the beginning, members with weights, and changes in order of their times.

    Raises ValueError with a sentence for what is no index.
    """

    name: str
    base: Fraction
    members: Mapping[str, Fraction]
    changes: tuple[Change, ...] = ()

    def __post_init__(self) -> None:
        if self.base <= 0:
            raise ValueError(f"the base of index {self.name} is {self.base}; it is above 0")
        before_ns = -1
        for members in (self.members, *(change.members for change in self.changes if change.members is not None)):
            if not 1 <= len(members) <= MEMBERS_MAX:
                raise ValueError(f"index {self.name} has {len(members)} members; it has 1 to {MEMBERS_MAX}")
        for change in self.changes:
            if change.time_ns <= before_ns:
                raise ValueError(f"changes of index {self.name} are in the order of their times, one at a time")
            before_ns = change.time_ns
        known = {
            symbol for each in (self.members, *(change.members or {} for change in self.changes)) for symbol in each
        }
        for change in self.changes:
            if unknown := next((symbol for symbol in change.splits or {} if symbol not in known), None):
                raise ValueError(f"index {self.name} splits {unknown}, which is no member of it at any time")
        for amounts in self._amounts():
            for symbol, amount in amounts.items():
                if amount <= 0:
                    raise ValueError(f"index {self.name} names {symbol} with {amount}; a number is above 0")

    def _amounts(self) -> Sequence[Mapping[str, Fraction]]:
        return [self.members, *(each for change in self.changes for each in (change.members, change.splits) if each)]


@dataclass
class LevelBar:
    """Levels of an index within one width of market time; None before the index has begun."""

    open: Fraction | None = None
    high: Fraction | None = None
    low: Fraction | None = None
    close: Fraction | None = None

    def add(self, level: Fraction) -> None:
        """Add a level, later than those before."""
        self.open = level if self.open is None else self.open
        self.high = level if self.high is None else max(self.high, level)
        self.low = level if self.low is None else min(self.low, level)
        self.close = level


class IndexLevels:
    """Levels of one index of the reports that it took. ``bars``: by begin, ns since 1970, where ``width_ns`` is given.

    ``all``: over all. Both count from command ``begin_seq`` on; reports before that give prices.
    """

    def __init__(self, definition: IndexDefinition, *, width_ns: int | None = None, begin_seq: int = 1) -> None:
        self.definition = definition
        self.all = LevelBar()
        self.bars: dict[int, LevelBar] = {}
        #: The divisor in force; None before each member has a price.
        self.divisor: Fraction | None = None
        self._width_ns, self._begin_seq = width_ns, begin_seq
        self._weights = dict(definition.members)
        self._changes = list(definition.changes)
        self._prices: dict[str, Fraction] = {}  # in e4, of every instrument
        self._symbols: dict[int, str] = {}
        self._value = Fraction(0)  # of the members, once the divisor is there

    @property
    def level(self) -> Fraction | None:
        """The level in force; None before each member has a price."""
        return None if self.divisor is None else self._value / self.divisor

    @property
    def symbols(self) -> list[str]:
        """Symbols of all instruments, in the order of their definition."""
        return list(self._symbols.values())

    def take(self, reports: Rows) -> None:
        """Take REPORT rows, in order and whole commands."""
        buys = (reports["kind"] == ReportKind.TRADE) & (reports["side"] == Side.BUY)
        prices = buys & np.isin(reports["liquidity"], MAKES_PRICE)
        for row in reports[prices | (reports["kind"] == ReportKind.INSTRUMENT)]:
            seq, time_ns = int(row["seq"]), int(row["time_ns"])
            self.advance(time_ns)
            if row["kind"] == ReportKind.INSTRUMENT:
                symbol = self._symbols[int(row["instrument"])] = unpack(int(row["symbol"]))
                self._set_price(symbol, int(row["reference_e4"]), seq, time_ns)
            else:
                self._set_price(self._symbols[int(row["instrument"])], int(row["last_price_e4"]), seq, time_ns)

    def advance(self, time_ns: int) -> None:
        """Make the changes that are due at a time, ns since 1970. Raises ValueError for a member without a price."""
        while self._changes and self._changes[0].time_ns <= time_ns:
            self._make(self._changes.pop(0))

    def digest(self) -> str:
        """Digest of all levels (16 hexadecimal digits): equal for the same reports, however they came in batches."""
        bars = [[begin_ns, *self._exact(bar)] for begin_ns, bar in sorted(self.bars.items())]
        state = [sorted((symbol, str(weight)) for symbol, weight in self._weights.items()), str(self.divisor)]
        hasher = ByteHash()
        hasher.update(json.dumps([self.definition.name, bars, self._exact(self.all), state]).encode())
        return str(hasher.hexdigest())

    @staticmethod
    def _exact(bar: LevelBar) -> list[str]:
        return [str(each) for each in (bar.open, bar.high, bar.low, bar.close)]

    def _set_price(self, symbol: str, price_e4: int, seq: int, time_ns: int) -> None:
        before = self._prices.get(symbol)
        self._prices[symbol] = Fraction(price_e4)
        weight = self._weights.get(symbol)
        if weight is None:
            return
        if self.divisor is not None and before is not None:
            self._value += weight * (price_e4 - before)
        elif all(member in self._prices for member in self._weights):
            self._value = self._value_now()
            self.divisor = self._value / self.definition.base
        level = self.level
        if level is not None and seq >= self._begin_seq:
            self.all.add(level)
            if self._width_ns is not None:
                self.bars.setdefault(time_ns // self._width_ns * self._width_ns, LevelBar()).add(level)

    def _make(self, change: Change) -> None:
        for symbol, ratio in (change.splits or {}).items():
            if symbol in self._weights:
                self._weights[symbol] *= ratio
            if symbol in self._prices:
                self._prices[symbol] /= ratio
        if change.members is None:
            return
        level = self.level
        self._weights = dict(change.members)
        missing = [symbol for symbol in self._weights if symbol not in self._prices]
        if missing:
            raise ValueError(
                f"index {self.definition.name} changes to {missing[0]}, of which there is no price by then; name a "
                "later time, or another member"
            )
        self._value = self._value_now()
        self.divisor = self._value / (self.definition.base if level is None else level)

    def _value_now(self) -> Fraction:
        return sum((weight * self._prices[symbol] for symbol, weight in self._weights.items()), Fraction(0))


def read_definition(text: str) -> IndexDefinition:
    """Read an index from JSON: name, base, members, changes. Raises ValueError with a sentence.

    Numbers are whole or decimals as text. A change has ``at``, an ISO time of UTC, and ``members`` or ``split``:
    {"at": "2026-01-05T09:30", "split": {"XYZ": "4:1"}}.
    """
    try:
        found = read_json(text, parse_float=_refuse_float)
    except json.JSONDecodeError as error:
        raise ValueError(f"it is no JSON: {error}") from None
    if not isinstance(found, dict) or not set(found) <= {"name", "base", "members", "changes"}:
        raise ValueError("it is an object with name, base, members and changes")
    name = found.get("name")
    if not isinstance(name, str) or not name:
        raise ValueError('it has no name; write {"name": "TOP2", ...}')
    changes = found.get("changes", [])
    if not isinstance(changes, list):
        raise ValueError("its changes are a list")
    return IndexDefinition(
        name, _number(found.get("base", 1_000), "base"), _amounts(found.get("members")), tuple(map(_change, changes))
    )


def _refuse_float(text: str) -> Any:
    raise ValueError(f'the number {text} is written without quotes; write decimals as text, "{text}"')


def _number(value: Any, what: str) -> Fraction:
    if isinstance(value, int) and not isinstance(value, bool):
        return Fraction(value)
    try:
        if isinstance(value, str) and value.replace(".", "", 1).isdigit() and value.isascii():
            return Fraction(value)
    except ValueError:
        pass
    raise ValueError(f"its {what} is {value!r}; write a whole number, or a decimal as text")


def _amounts(value: Any) -> dict[str, Fraction]:
    if not isinstance(value, dict) or not value:
        raise ValueError('its members are symbols with weights, such as {"XYZ": 4}')
    for symbol in value:
        _check_symbol(symbol)
    return {symbol: _number(weight, f"weight of {symbol}") for symbol, weight in value.items()}


def _check_symbol(symbol: str) -> None:
    try:
        pack(symbol)
    except ValueError as error:
        raise ValueError(f"{symbol!r} is no symbol: {error}") from None


def _change(value: Any) -> Change:
    if not isinstance(value, dict) or set(value) not in ({"at", "members"}, {"at", "split"}):
        raise ValueError('a change has "at" and either "members" or "split"')
    try:
        at = time_of(str(value["at"]))
    except Fault as fault:
        raise ValueError(f"a change: {fault}") from None
    if at.form != "dated":
        raise ValueError(f"a change has at {value['at']!r}; write it with its date, such as 2026-01-05T09:30")
    if "members" in value:
        return Change(at.value_ns, members=_amounts(value["members"]))
    if not isinstance(value["split"], dict) or not value["split"]:
        raise ValueError('a split is of symbols, such as {"XYZ": "4:1"}')
    return Change(at.value_ns, splits={symbol: _ratio(symbol, ratio) for symbol, ratio in value["split"].items()})


def _ratio(symbol: str, value: Any) -> Fraction:
    _check_symbol(symbol)
    new, colon, old = str(value).partition(":")
    if not (colon and new.isascii() and new.isdigit() and old.isascii() and old.isdigit() and int(new) and int(old)):
        raise ValueError(f'the split of {symbol} is {value!r}; write new shares for old ones, such as "4:1"')
    return Fraction(int(new), int(old))
