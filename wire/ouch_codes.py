"""OUCH 4.2, the codes: each is one byte, and equals the number of that byte.

They are the ones that Wireshark 4.0 knows for OUCH 4.2, which ``tests/test_ouch.py`` compares; revisions of the
specification since 2020 are said to have a few more. This exchange need not give or take each of them. It has one of
its own, ``RejectReason.DUPLICATE_ID``: OUCH ignores a token used twice, and this exchange answers everything.
"""

from enum import IntEnum


class ClientMessage(IntEnum):
    """First byte of what a client sends."""

    ENTER_ORDER = ord("O")
    REPLACE_ORDER = ord("U")
    CANCEL_ORDER = ord("X")
    MODIFY_ORDER = ord("M")


class ServerMessage(IntEnum):
    """First byte of what the exchange sends."""

    SYSTEM_EVENT = ord("S")
    ACCEPTED = ord("A")
    REPLACED = ord("U")
    CANCELED = ord("C")
    AIQ_CANCELED = ord("D")
    EXECUTED = ord("E")
    BROKEN_TRADE = ord("B")
    EXECUTED_WITH_REFERENCE_PRICE = ord("G")
    TRADE_CORRECTION = ord("F")
    REJECTED = ord("J")
    CANCEL_PENDING = ord("P")
    CANCEL_REJECT = ord("I")
    ORDER_PRIORITY_UPDATE = ord("T")
    ORDER_MODIFIED = ord("M")


class BuySell(IntEnum):
    """Side of an order."""

    BUY = ord("B")
    SELL = ord("S")
    SELL_SHORT = ord("T")
    SELL_SHORT_EXEMPT = ord("E")


class TimeInForce(IntEnum):
    """Values of ``time_in_force_s`` that are not seconds."""

    IMMEDIATE_OR_CANCEL = 0
    MARKET_HOURS = 99_998
    SYSTEM_HOURS = 99_999


class Display(IntEnum):
    """Display of an order."""

    ATTRIBUTABLE = ord("A")
    ANONYMOUS = ord("Y")
    NON_DISPLAY = ord("N")
    POST_ONLY = ord("P")
    POST_ONLY_ATTRIBUTABLE = ord("L")
    IMBALANCE_ONLY = ord("I")
    MIDPOINT_PEG = ord("M")
    MIDPOINT_PEG_POST_ONLY = ord("W")
    ROUND_LOT_ONLY = ord("R")
    RETAIL_TYPE_1 = ord("O")
    RETAIL_TYPE_2 = ord("T")
    RETAIL_PRICE_IMPROVEMENT = ord("Q")
    MADE_NON_DISPLAY = ord("Z")  # from the server only: entered displayed, made non-displayed


class Capacity(IntEnum):
    """For whom an order is."""

    AGENCY = ord("A")
    PRINCIPAL = ord("P")
    RISKLESS = ord("R")
    OTHER = ord("O")


class IntermarketSweep(IntEnum):
    """Intermarket sweep: yes or no."""

    ELIGIBLE = ord("Y")
    NOT_ELIGIBLE = ord("N")


class CrossType(IntEnum):
    """The cross that an order is for."""

    NO_CROSS = ord("N")
    OPENING = ord("O")
    CLOSING = ord("C")
    HALT_OR_IPO = ord("H")
    INTRADAY = ord("I")
    SUPPLEMENTAL = ord("S")
    RETAIL = ord("R")


class CustomerType(IntEnum):
    """Customer type: retail or not."""

    RETAIL = ord("R")
    NOT_RETAIL = ord("N")
    AS_CONFIGURED = ord(" ")


class EventCode(IntEnum):
    """Code of a system event."""

    START_OF_DAY = ord("S")
    END_OF_DAY = ord("E")


class OrderState(IntEnum):
    """State of an order that was accepted or replaced: live or dead."""

    LIVE = ord("L")
    DEAD = ord("D")


class BboWeight(IntEnum):
    """Price of an order beside the best prices on entry."""

    UP_TO_0_2_PERCENT = ord("0")
    UP_TO_1_PERCENT = ord("1")
    UP_TO_2_PERCENT = ord("2")
    ABOVE_2_PERCENT = ord("3")
    SETS_QBBO = ord("S")
    IMPROVES_NBBO = ord("N")
    UNSPECIFIED = ord(" ")


class CancelReason(IntEnum):
    """Reason why shares of an order were canceled."""

    USER = ord("U")
    IMMEDIATE_OR_CANCEL = ord("I")
    TIMEOUT = ord("T")
    SUPERVISORY = ord("S")
    REGULATORY = ord("D")
    SELF_MATCH = ord("Q")
    SYSTEM = ord("Z")
    CROSS = ord("C")
    CLOSED = ord("E")
    HALTED = ord("H")
    MARKET_COLLAR = ord("K")
    OPEN_PROTECTION = ord("X")


class RejectReason(IntEnum):
    """Reason why an order was rejected. Small letters are risk limits that the firm has set."""

    TEST_MODE = ord("T")
    HALTED = ord("H")
    SAFETY_THRESHOLD = ord("Z")
    INVALID_STOCK = ord("S")
    INVALID_DISPLAY = ord("D")
    CLOSED = ord("C")
    CLEARING_NOT_AUTHORIZED = ord("L")
    CLEARING_NOT_NOW = ord("M")
    NOT_IN_THIS_CROSS = ord("R")
    INVALID_PRICE = ord("X")
    INVALID_MINIMUM_QUANTITY = ord("N")
    INVALID_MIDPOINT_POST_ONLY_PRICE = ord("W")
    OTHER = ord("O")
    REJECT_ALL = ord("a")
    EASY_TO_BORROW = ord("b")
    RESTRICTED_STOCK = ord("c")
    INTERMARKET_SWEEP = ord("d")
    ODD_LOT = ord("e")
    MIDPOINT = ord("f")
    PRE_MARKET = ord("g")
    POST_MARKET = ord("h")
    SHORT_SALE = ord("i")
    ON_OPEN = ord("j")
    ON_CLOSE = ord("k")
    TWO_SIDED_QUOTE = ord("l")
    SHARES_LIMIT = ord("m")
    VALUE_LIMIT = ord("n")
    DUPLICATE_ID = ord("U")  # of this exchange alone: the token was used before


class BrokenTradeReason(IntEnum):
    """Reason why a trade was broken."""

    ERRONEOUS = ord("E")
    CONSENT = ord("C")
    SUPERVISORY = ord("S")
    EXTERNAL = ord("X")


class TradeCorrectionReason(IntEnum):
    """Reason why a trade was corrected."""

    ADJUSTED_TO_NAV = ord("N")


class ReferencePriceType(IntEnum):
    """Kind of a reference price."""

    INTRADAY_INDICATIVE_VALUE = ord("I")


class Liquidity(IntEnum):
    """Liquidity flag: the effect of an execution on the book, which decides Nasdaq's fee."""

    ADDED = ord("A")
    REMOVED = ord("R")
    OPENING_CROSS = ord("O")
    OPENING_CROSS_IMBALANCE_ONLY = ord("M")
    CLOSING_CROSS = ord("C")
    CLOSING_CROSS_IMBALANCE_ONLY = ord("L")
    HALT_CROSS = ord("K")
    HALT_OR_IPO_CROSS = ord("H")
    HALT_CROSS_PILOT = ord("N")
    INTRADAY_CROSS = ord("I")
    ADDED_NON_DISPLAYED = ord("J")
    ADDED_POST_ONLY = ord("W")
    ADDED_MIDPOINT = ord("k")
    REMOVED_MIDPOINT = ord("m")
    SUPPLEMENTAL = ord("0")
    ADDED_IMPROVES_NBBO = ord("7")
    ADDED_SETS_QBBO = ord("8")
    RETAIL_REMOVED = ord("d")
    RETAIL_ADDED = ord("e")
    RETAIL_ADDED_NON_DISPLAYED = ord("f")
    RETAIL_REMOVED_RPI = ord("r")
    RETAIL_REMOVED_PRICE_IMPROVING = ord("t")
    RPI_ADDED = ord("j")
    GROUP_A_ADDED = ord("4")
    GROUP_A_ADDED_NON_DISPLAYED = ord("5")
    GROUP_A_ADDED_MIDPOINT = ord("g")
    GROUP_A_REMOVED = ord("6")
    SCIP_ADDED = ord("a")
    SCIP_ADDED_IMPROVES_NBBO = ord("x")
    SCIP_ADDED_SETS_QBBO = ord("y")
    PILOT_ADDED = ord("c")
    PILOT_ADDED_IMPROVES_NBBO = ord("b")
    PILOT_REMOVED = ord("h")
