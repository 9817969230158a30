"""Reasons in words, each with the section of the rulebook that has its rule."""

from inspect import unwrap
from typing import Any, Final, NamedTuple

import numpy as np

from engine.records import CommandKind, EventKind, Reason
from reports.contexts import OF_DISCONNECT, user_in


class Rule(NamedTuple):
    """Rule behind a reason: section of docs/RULEBOOK.md, and a sentence."""

    section: str
    sentence: str


#: Rule of each reason.
RULES: Final[dict[Reason, Rule]] = {
    Reason.UNKNOWN_PARTICIPANT: Rule("8", "no such participant is defined"),
    Reason.UNKNOWN_INSTRUMENT: Rule("8", "no such instrument is defined"),
    Reason.KILLED: Rule("9", "the participant is killed: it may cancel, and enter nothing"),
    Reason.HALTED: Rule("6", "the instrument is halted: cancels only"),
    Reason.CLOSED: Rule("6", "the instrument is closed: cancels only"),
    Reason.NOT_CONTINUOUS: Rule("6", "ioc, fok and post-only orders need continuous trading"),
    Reason.NOT_AUCTION: Rule("6", "an opening order needs pre-open or an opening auction"),
    Reason.INVALID_QTY: Rule("8", "the quantity is out of bounds, or leaves nothing to change"),
    Reason.INVALID_LOT: Rule("8", "the quantity is no multiple of the lot"),
    Reason.INVALID_PRICE: Rule("8", "the price is out of bounds"),
    Reason.INVALID_TICK: Rule("8", "the price is no multiple of the tick"),
    Reason.INVALID_INSTRUCTION: Rule("4", "the instructions do not fit together"),
    Reason.DUPLICATE_ID: Rule("4", "a participant uses a client order id once a trading day"),
    Reason.RESTRICTED: Rule("8", "the participant is restricted to cancels here"),
    Reason.MARKET_NOT_PERMITTED: Rule("8", "the participant has no permission for market orders"),
    Reason.STP_NOT_PERMITTED: Rule("8", "the participant has no permission for stp=none"),
    Reason.PRICE_BAND: Rule("8", "the price is too far from the reference price, or a market order met the collar"),
    Reason.MAX_ORDER_QTY: Rule("8", "the quantity of the order is above its limit"),
    Reason.MAX_ORDER_VALUE: Rule("8", "the value of the order is above its limit"),
    Reason.ORDER_RATE: Rule("8", "the participant entered more orders than its rate in the last window"),
    Reason.ADV: Rule("8", "the quantity is above the limit's share of the average daily volume"),
    Reason.POSITION_LIMIT: Rule("8", "position and open orders of this side would be above the limit"),
    Reason.CREDIT: Rule("8", "open notional, this order and the margin of positions would be above the credit"),
    Reason.WOULD_CROSS: Rule("4", "a post-only order would trade at once"),
    Reason.CAPACITY: Rule("8", "no room is left for another order, or of the participant's share"),
    Reason.INVALID_COMMAND: Rule(
        "11", "the engine cannot interpret the command, or a value of a definition is out of bounds"
    ),
    Reason.UNKNOWN_ORDER: Rule("4", "the participant has no open order with this id"),
    Reason.NOT_HALTED: Rule("9", "only a halted instrument resumes"),
    Reason.USER: Rule("4", "its owner canceled it, or a part of it"),
    Reason.MASS_CANCEL: Rule("9", "a mass cancel reached it"),
    Reason.IOC: Rule("4", "what does not trade at once of an ioc order is canceled"),
    Reason.FOK: Rule("4", "a fok order that cannot trade in full at once is canceled"),
    Reason.MIN_QTY: Rule("4", "less than its least quantity could trade at once"),
    Reason.NO_LIQUIDITY: Rule("4", "the other side of the book has no order left for a market order"),
    Reason.SELF_TRADE: Rule("5", "self-trade prevention: it met an order of its own group"),
    Reason.REPLACED: Rule("4", "a replace asked for no more than was executed already"),
    Reason.EXPIRED: Rule("4", "its time is over"),
    Reason.END_OF_DAY: Rule("4", "a day order ends with its trading day, or as the instrument closes"),
    Reason.AUCTION: Rule("6", "what an uncross leaves of market and auction-only orders is canceled"),
    Reason.HALT: Rule("9", "the instrument was halted, and halts cancel its orders"),
    Reason.KILL: Rule("9", "a kill switch or an emergency close canceled it"),
    Reason.DISCONNECT: Rule("9", "the connection of its user was lost"),
    Reason.VOLATILITY: Rule("9", "a trade was too far from the price before"),
    Reason.MARKET_WIDE: Rule("9", "the index fell to a level at which the market stops"),
    Reason.COMMAND: Rule("9", "the operator halted it"),
}


#: A cancel whose context names no user, in place of the sentence that its owner canceled.
OF_NO_USER: Final = (
    "the cancel names no user: a file or an operator gave it, or a node of an earlier release, when a user with "
    "cancel_on_disconnect had left"
)


#: The kernel as plain Python: for one number it is not worth a load of Numba.
_user_in: Final = unwrap(user_in)


def is_of_no_user(command: "np.void") -> bool:
    """True of a COMMAND row that cancels an order, and says nothing of who asked for it."""
    is_cancel = command["kind"] == CommandKind.CANCEL and not is_of_disconnect(command)
    return bool(is_cancel and not _user_in(int(command["context"])))


def is_of_disconnect(commands: Any) -> Any:
    """Mask of the COMMAND rows by which a node canceled orders of a user who left, one by one; of one row a bool.

    The market gives their events the reason ``user`` (it has no other for a CANCEL), their reports ``disconnect``.
    """
    return (commands["kind"] == CommandKind.CANCEL) & (commands["context"] == OF_DISCONNECT)


def rule_object(reason: Reason, sentence: str | None = None) -> dict[str, str]:
    """Rule of a reason as a JSON object. sentence: one that says more than that of the rule."""
    rule = RULES[reason]
    return {"reason": reason.name.lower(), "section": rule.section, "sentence": sentence or rule.sentence}


#: Section of the rule behind an event that has no reason.
_SECTIONS: Final = {
    EventKind.ACCEPTED: "4",
    EventKind.TRADE: "3",
    EventKind.REPLACED: "4",
    EventKind.TRIGGERED: "4",
    EventKind.REPLENISHED: "4",
    EventKind.REPRICED: "7",
    EventKind.INDICATIVE: "6",
    EventKind.PHASE: "6",
    EventKind.HALTED: "9",
    EventKind.KILLED: "9",
    EventKind.UNKILLED: "9",
}
#: Headings of the sections of docs/RULEBOOK.md, as its links name them.
_HEADINGS: Final = {
    "3": "books-and-priority",
    "4": "order-types-and-instructions",
    "5": "self-trade-prevention",
    "6": "phases-and-auctions",
    "7": "after-every-command",
    "8": "risk-checks-before-the-book-is-touched",
    "9": "breakers-halts-kill-switches",
    "11": "events",
}


def section_of(kind: EventKind) -> str:
    """Section of the rulebook with the rule of an event without a reason."""
    return _SECTIONS.get(kind, "11")


def link_of(section: str) -> str:
    """Link to a section of the rulebook.

    >>> link_of("3")
    'docs/RULEBOOK.md#3-books-and-priority'
    """
    return f"docs/RULEBOOK.md#{section}-{_HEADINGS[section]}"
