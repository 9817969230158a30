"""Instruments, participants, indices and orders (sections 1 and 2)."""

from dataclasses import dataclass, field
from typing import Any, Final

PRICE_E4_MAX: Final = 9_999_999_999
QTY_MAX: Final = 99_999_999
INT64_MAX: Final = 2**63 - 1
CALLS: Final = ("opening_auction", "auction", "closing_auction")


@dataclass(eq=False)
class Instrument:
    """An instrument, its phase, and what its breaker remembers. Sides are 1 (buy) and -1 (sell) everywhere."""

    symbol: str
    tick_e4: int
    lot: int
    defined_e4: int
    has_midpoint: bool
    band_bp: int | None
    volatility: tuple[int, int, int] | None
    cancel_on_halt: bool
    adv: int
    phase: str = "closed"
    last_e4: int | None = None
    #: Time at which a halt, or the call after it, ends; None without an end.
    timer_ns: int | None = None
    #: Price, quantity and imbalance of the last indicative event of this call.
    told: tuple[int | None, int, int] = (None, 0, 0)
    #: Second of a trade that the breaker looked at: its price.
    traded_e4: dict[int, int] = field(default_factory=dict)
    #: Price in force before any of those: of the last uncross that traded.
    uncrossed_e4: int = 0
    has_new_trade: bool = False
    has_new_uncross: bool = False

    def __post_init__(self) -> None:
        self.uncrossed_e4 = self.defined_e4

    @property
    def reference_e4(self) -> int:
        """Last trade price, before the first trade the price of the definition (section 2)."""
        return self.defined_e4 if self.last_e4 is None else self.last_e4


@dataclass(eq=False)
class Participant:
    """A participant with its permissions, limits, positions and what counts against it."""

    name: str
    group: str | None
    may_market: bool
    may_trade_itself: bool
    is_killed: bool = False
    #: Symbol: quantity, negative when short.
    positions: dict[str, int] = field(default_factory=dict)
    #: Ids of this trading day.
    ids: set[str] = field(default_factory=set)
    #: Symbol, or None for all: limits by name.
    limits: dict[str | None, dict[str, Any]] = field(default_factory=lambda: {None: {}})
    #: Times of entries that count in the order rate.
    counted_ns: list[int] = field(default_factory=list)


@dataclass(eq=False)
class Index:
    """An index of the market-wide breaker (section 9)."""

    members: dict[str, int]
    levels: list[tuple[int, int | None]]
    opening_e4: int
    #: Number of the deepest level reached today, -1 before any.
    deepest: int = -1


@dataclass(eq=False)
class Order:
    """An open order.

    place: ``lit`` or ``midpoint`` when it stands in that book, ``dormant`` (a stop), ``aside`` (a closing order that
    waits), ``unpriced`` (a peg), ``running`` while it is incoming and ``new`` before.
    """

    owner: Participant
    instrument: Instrument
    id: str
    side: int
    open: int
    price_e4: int | None
    #: Price by which it counts for value and credit (section 8).
    value_e4: int
    #: Its number in the order of acceptance, and the time of its priority.
    accepted: int
    priority: int
    tif: str
    stp: str
    is_midpoint: bool
    hidden: bool
    post_only: bool
    stop_e4: int | None
    display: int | None
    min_qty: int | None
    until_ns: int | None
    peg: str | None
    offset_e4: int
    peg_e4: int | None = None
    executed: int = 0
    shown: int = 0
    place: str = "new"

    @property
    def queue_e4(self) -> int | None:
        """Price in the queue: None for a market order in a call."""
        return self.peg_e4 if self.peg else self.price_e4

    @property
    def is_displayed(self) -> bool:
        """True for orders whose price the market sees."""
        return self.place == "lit" and not self.hidden and not self.peg

    @property
    def meets(self) -> int:
        """Quantity that an incoming order meets at once."""
        return min(self.shown, self.open) if self.display else self.open

    def show(self) -> None:
        """Show the display anew, out of what is open."""
        if self.display:
            self.shown = min(self.display, self.open)

    def lose(self, qty: int) -> None:
        """Lose open quantity without a trade: an iceberg's reserve first."""
        self.open -= qty
        if self.display:
            self.shown = min(self.shown, self.open)
