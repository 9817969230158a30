"""The words of `lockstep trade`: typed lines parsed to requests, and events printed as lines."""

import re
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from enum import Enum
from typing import Any, Final

from cli.errors import WrongUse
from client import (
    Accepted,
    Canceled,
    CancelReason,
    CancelRejected,
    CaughtUp,
    Connected,
    CrossType,
    DebugText,
    Disconnected,
    Display,
    Event,
    EventsLost,
    Executed,
    MassCanceled,
    NewOrder,
    NewSession,
    Order,
    OrderChanged,
    OrderModified,
    OrderState,
    OtherMessage,
    Rejected,
    RejectReason,
    Replaced,
    RequestLost,
    RequestUnanswered,
    Restated,
    SelfTradePrevented,
    SessionEnded,
    Side,
    SystemEvent,
    TimeInForce,
)
from client.events import code_name
from client.orders import QTY_MAX
from client.prices import PRICE_E4_MARKET, price_e4, shown
from client.tokens import checked as checked_token
from engine.records import Reason
from notation.parse import command
from notation.words import iso_time

_HELP: Final = """\
buy QTY SYMBOL @ PRICE [TERM ...]    PRICE: as 10.05, or market
sell ... , short ...                 likewise
  ioc                                what does not trade at once is canceled
  min_qty=N                          with ioc: trade at least N at once, or nothing
  post_only, hidden                  rest displayed without trading at once; rest without being displayed
  peg=midpoint                       not displayed, at the midpoint of the best displayed prices within PRICE, or any
  opening, closing                   for the next uncross, or the closing auction, alone
  token=TOKEN                        your own token instead of one that is made
  stop=, display=, gtc and others    at a gateway of native order entry: --protocol native
cancel TOKEN [QTY]                   QTY: the order's new total, 0 for nothing more
replace TOKEN QTY @ PRICE            QTY likewise; gives the order another token
orders [all]                         open orders; all: every order of the day
fills   help   quit"""
_NATIVE_HELP: Final = """\
buy QTY SYMBOL @ PRICE [TERM ...]    PRICE: as 10.05, or market
sell ...                             likewise
  gtc                                rest across days, until it is canceled
  gtd until=TIME                     rest across days, until TIME, which is UTC, as 2024-01-15T16:00:00
  ioc, fok                           what does not trade at once is canceled; all at once, or nothing
  opening, closing                   for the next uncross, or the closing auction, alone
  stop=PRICE                         dormant until a trade at or beyond PRICE
  display=N, hidden, post_only       show at most N; show nothing; never trade at once
  peg=WHAT                           not displayed, at a price that follows the book: primary, midpoint or market
  offset=PRICE                       of a primary or market peg: so far away from there
  min_qty=N                          with ioc: trade at least N at once, or nothing
  midpoint                           in the midpoint book
  stp=WHAT                           self-trade prevention: cancel_newest, cancel_oldest, cancel_both, decrement, none
  token=TOKEN                        your own token instead of one that is made
cancel TOKEN [QTY]                   QTY: the order's new total, 0 for nothing more
replace TOKEN QTY @ PRICE [TERM]     QTY likewise; TERM: display=N or stop=PRICE of an order that has one
mass_cancel [SYMBOL] [buy|sell]      all open orders of your participant, also those of its other users
orders [all]                         open orders; all: every order of the day
fills   help   quit"""

#: Column at which the meaning of a line begins.
_MEANS_AT: Final = 37
_TERMS: Final = "ioc, min_qty=N, post_only, hidden, peg=midpoint, opening, closing or token=TOKEN"
#: Form of each request line, for messages about a missing or further word.
_FORMS: Final = {
    **dict.fromkeys(("buy", "sell", "short"), f"QTY SYMBOL @ PRICE, then {_TERMS}"),
    "cancel": "TOKEN, or TOKEN QTY",
    "orders": "nothing for open orders, or all",
    "replace": "TOKEN QTY @ PRICE, and nothing after that",
}
_NATIVE_FORMS: Final = _FORMS | {
    **dict.fromkeys(("buy", "sell"), "QTY SYMBOL @ PRICE, then terms; `help` lists them"),
    "replace": "TOKEN QTY @ PRICE, then display=N or stop=PRICE",
    "mass_cancel": "nothing, SYMBOL, buy, sell, or SYMBOL and a side",
}
_NATIVE_TERMS: Final = (
    "gtc, gtd until=TIME, ioc, fok, opening, closing, stop=PRICE, display=N, hidden, post_only, peg=WHAT, "
    "offset=PRICE, min_qty=N, midpoint, stp=WHAT or token=TOKEN"
)
#: Words for what is an option of the scenario notation.
_SHORT_WORDS: Final = {
    **{word: f"tif={word}" for word in ("day", "gtc", "gtd", "ioc", "fok", "opening", "closing")},
    "midpoint": "book=midpoint",
}
#: Terms of native order entry by what stands before their value.
_IN_NATIVE: Final = frozenset(
    {"stop=", "display=", "hidden", "post_only", "peg=", "offset=", "min_qty=", "until=", "stp=", "tif=", "book="}
)
#: An ``until`` with a date, which an order needs: it may come by another day than it was typed.
_DATED: Final = re.compile(r"until=\d{4}-\d\d-\d\dT")
_LONG_WORDS: Final = {long: short for short, long in _SHORT_WORDS.items()}

_SIDES: Final = {"buy": Side.BUY, "sell": Side.SELL, "short": Side.SELL_SHORT}
_DISPLAYS: Final = {
    "post_only": Display.POST_ONLY,
    "hidden": Display.NON_DISPLAY,
    "peg=midpoint": Display.MIDPOINT_PEG,
}
_CROSSES: Final = {"opening": CrossType.OPENING, "closing": CrossType.CLOSING}
#: Terms of the rulebook that a message of OUCH 4.2 has no field for, by their words.
_NO_FIELD: Final = (
    "OUCH 4.2 has no field for it; ask the operator for the port of a gateway of native order entry, and give "
    "--protocol native"
)
_NOT_IN_OUCH: Final = frozenset(
    {"stop=", "display=", "until=", "gtc", "gtd", "fok", "book=", "peg=", "offset=", "stp=", "tif=", "midpoint"}
)


@dataclass(frozen=True)
class Enter:
    """Order to enter; ``token``: given by the user, or ""."""

    new: NewOrder
    token: str | None


@dataclass(frozen=True)
class Cancel:
    """Order to cancel, or to reduce."""

    token: str
    qty: int


@dataclass(frozen=True)
class Replace:
    """Order to replace."""

    token: str
    qty: int
    price: str | None
    terms: str = ""


@dataclass(frozen=True)
class MassCancel:
    """All open orders of the participant to cancel. symbol: "": in each instrument; side: None: of both."""

    symbol: str
    side: Side | None


class Show(Enum):
    """Queries that send nothing."""

    ORDERS = "orders"
    ALL_ORDERS = "orders all"
    FILLS = "fills"
    HELP = "help"
    QUIT = "quit"


Line = Enter | Cancel | Replace | MassCancel | Show

#: Texts of reasons whose code stands for several rules of the market (docs/PROTOCOL.md).
_NOT_AUCTION: Final = "not auction (an opening order outside pre_open and the opening auction)"
_REASONS: Final[dict[int, str]] = {
    RejectReason.SHARES_LIMIT: "shares limit (size of an order, position, or share of the daily volume)",
    RejectReason.INVALID_PRICE: "price (its bounds, the tick, the band, a market order without permission, or "
    "one that is post_only and would trade at once)",
    RejectReason.SAFETY_THRESHOLD: "quantity (its bounds, or no multiple of the lot)",
    RejectReason.VALUE_LIMIT: "value limit (value of an order, or credit)",
    RejectReason.REJECT_ALL: "reject all (killed, or more orders than the order rate allows, such as those that waited "
    "in a pause and came at once: send it again later)",
    RejectReason.CLOSED: "closed, or not in continuous trading, which ioc and post_only need",
    RejectReason.NOT_IN_THIS_CROSS: _NOT_AUCTION,
    RejectReason.DUPLICATE_ID: "duplicate id (the participant used this token before on this trading day)",
    # Of native order entry, where each rule has its own: those that do not say by themselves what to do.
    Reason.NOT_CONTINUOUS: "not continuous (ioc, fok, post_only and the midpoint book need continuous trading)",
    Reason.NOT_AUCTION: _NOT_AUCTION,
    Reason.INVALID_INSTRUCTION: "invalid instruction (terms that do not go together, a value of one that is out of "
    "bounds, or an until that has passed)",
}
#: Reasons of a cancel in OUCH, in the words of the rulebook that native order entry has too.
_CANCELED: Final[dict[int, str]] = {
    CancelReason.CLOSED: "end of day",
    CancelReason.TIMEOUT: "expired",
    CancelReason.CROSS: "auction",
    CancelReason.HALTED: "halt",
    CancelReason.MARKET_COLLAR: "price band",
    CancelReason.SUPERVISORY: "supervisory (a mass cancel, or a kill)",
}


def help_text(*, native: bool, columns: int) -> str:
    """The lines that `trade` understands, and what they mean, on a terminal of so many columns.

    >>> print("\\n".join(help_text(native=False, columns=72).splitlines()[:4]))
    buy QTY SYMBOL @ PRICE [TERM ...]    PRICE: as 10.05, or market
    sell ... , short ...                 likewise
      ioc                                what does not trade at once is
                                         canceled
    """
    lines: list[str] = []
    for line in (_NATIVE_HELP if native else _HELP).splitlines():
        meanings = textwrap.wrap(line[_MEANS_AT:], max(columns - 1 - _MEANS_AT, 20)) or [""]
        lines.append(line[:_MEANS_AT] + meanings[0])
        lines += [" " * _MEANS_AT + more for more in meanings[1:]]
    return "\n".join(lines)


def reject_words(reason: int) -> str:
    """Reason of a reject in words: the rules of the market that its code stands for.

    >>> reject_words(RejectReason.HALTED)
    'halted'
    """
    return _REASONS.get(reason) or code_name(reason).replace("_", " ")


def parse(line: str, *, native: bool = False) -> Line | None:
    """Parse a line to a request; None for an empty line, or one that begins with ``#``. Raises WrongUse.

    native: it is sent by native order entry, which has more words than OUCH.

    >>> parse("cancel 1ABC")
    Cancel(token='1ABC', qty=0)
    """
    words = line.split()
    if not words or words[0].startswith("#"):
        return None
    verb, rest = words[0].lower(), words[1:]
    try:
        match verb, rest:
            case ("buy" | "sell", [qty, symbol, "@", price, *terms]) if native:
                return _native_enter(_SIDES[verb], qty, symbol, price, terms)
            case ("replace", [token, qty, "@", price, *terms]) if native:
                return Replace(token, _whole(qty), _price(price), " ".join(terms))
            case ("mass_cancel", _) if not native:
                raise ValueError(f"a mass cancel cannot be sent: {_NO_FIELD}")
            case ("mass_cancel", words) if len(words) <= 2:
                return _mass_cancel(words)
            case ("buy" | "sell" | "short", [qty, symbol, "@", price, *terms]) if not native:
                return _enter(_SIDES[verb], qty, symbol, price, terms)
            case ("cancel", [token]):
                return Cancel(token, 0)
            case ("cancel", [token, qty]):
                return Cancel(token, _whole(qty, 0))
            case ("replace", [token, qty, "@", price]):
                return Replace(token, _whole(qty), _price(price))
            case ("orders", [scope]) if scope.lower() == "all":
                return Show.ALL_ORDERS
            case (("orders" | "fills" | "help" | "quit" | "exit"), []):
                return Show("quit" if verb == "exit" else verb)
    except ValueError as error:
        raise WrongUse(f"{line.strip()[:200]!r}: {error}") from error
    said, forms = f"{line.strip()[:200]!r} is not understood", _NATIVE_FORMS if native else _FORMS
    if native and verb == "short":
        raise WrongUse(f"{said}: native order entry has no short sales; write sell")
    if verb in forms:
        raise WrongUse(f"{said}; after {verb} write {forms[verb]}")
    raise WrongUse(f"{said}; `help` lists the commands, such as buy 100 XYZ @ 10.05")


def _whole(word: str, least: int = 1) -> int:
    """Parse a number of shares, ASCII digits only. Raises ValueError for less than ``least`` or more than QTY_MAX."""
    digits = word.isascii() and word.isdecimal() and len(word) <= len(str(QTY_MAX))
    if not digits or not least <= int(word) <= QTY_MAX:
        raise ValueError(f"{word[:40]!r} is no whole number of shares from {least} to {QTY_MAX}")
    return int(word)


def _price(word: str) -> str | None:
    """Parse a limit price; None for market. Raises ValueError."""
    if word.lower() == "market":
        return None
    price_e4(word)
    return word


def _enter(side: Side, qty: str, symbol: str, price: str, terms: Sequence[str]) -> Enter:
    """Parse an order. Raises WrongUse for an unknown word, since the order might be another than the intended one."""
    token, time_in_force_s, display = None, int(TimeInForce.MARKET_HOURS), Display.ANONYMOUS
    min_qty, cross_type = 0, CrossType.NO_CROSS
    seen: set[str] = set()
    for term in terms:
        key, equals, value = term.partition("=")
        word = term.lower() if term.lower() in _DISPLAYS else f"{key.lower()}{equals}"
        if word == "ioc":
            time_in_force_s = TimeInForce.IMMEDIATE_OR_CANCEL
        elif word in _DISPLAYS:
            display = _DISPLAYS[word]
        elif word == "min_qty=":
            min_qty = _whole(value)
        elif word in _CROSSES:
            cross_type = _CROSSES[word]
        elif word == "token=":
            token = checked_token(value)
        elif word in _NOT_IN_OUCH:
            raise ValueError(f"{term!r} cannot be sent: {_NO_FIELD}")
        else:
            raise ValueError(f"{term!r} is no instruction; give {_TERMS}, or none")
        if word in seen:
            raise ValueError(f"{word} stands twice; write it once")
        seen.add(word)
    if len(seen.intersection(_DISPLAYS)) > 1:
        raise ValueError("post_only, hidden and peg=midpoint exclude each other; give one of them")
    if "peg=midpoint" in seen and seen & {"ioc", *_CROSSES}:
        raise ValueError("a peg waits for its price in the book, so ioc, opening and closing do not go with it")
    if min_qty and "ioc" not in seen:
        raise ValueError("min_qty goes with ioc: what trades at once is at least so much; give both")
    if len(seen & {"ioc", *_CROSSES}) > 1:
        raise ValueError("ioc, opening and closing exclude each other; give one of them")
    new = NewOrder(
        symbol, side, _whole(qty), _price(price), time_in_force_s, display, min_qty=min_qty, cross_type=cross_type
    )
    if min_qty > new.qty:
        raise ValueError(f"min_qty is {min_qty} and the order has {new.qty}; give at most that")
    return Enter(new, token)


def _native_enter(side: Side, qty: str, symbol: str, price: str, terms: Sequence[str]) -> Enter:
    """Parse an order of native order entry, whose terms are options of the scenario notation. Raises ValueError."""
    token, options = None, []
    for term in terms:
        key, equals, value = term.partition("=")
        if (key.lower(), equals) == ("token", "="):
            if token is not None:
                raise ValueError("token= stands twice; write it once")
            token = checked_token(value)
            continue
        option = _SHORT_WORDS.get(term.lower(), f"{key.lower()}{equals}{value}")
        if option.partition("=")[0] + ("=" if "=" in option else "") not in _IN_NATIVE:
            raise ValueError(f"{term!r} is no instruction; give {_NATIVE_TERMS}, or none")
        options.append(option)
    _check_options(options)
    return Enter(NewOrder(symbol, side, _whole(qty), _price(price), terms=" ".join(options)), token)


def _check_options(options: Sequence[str]) -> None:
    """Raise ValueError for options of the notation that one order cannot have, in the words in which they are typed."""
    times = [_LONG_WORDS.get(option, option) for option in options if option.startswith("tif=")]
    if len(times) > len(set(times)):
        raise ValueError(f"{next(t for t in times if times.count(t) > 1)} stands twice; write it once")
    if len(times) > 1:
        raise ValueError(f"{' and '.join(times)} exclude each other; give one of them")
    until = next((option for option in options if option.startswith("until=")), "")
    if bool(until) is not ("tif=gtd" in options):
        raise ValueError("gtd and until=TIME go together; give both, as gtd until=2024-01-15T16:00:00")
    if until and not _DATED.match(until):
        raise ValueError(f"{until} is no date and time; give both, as until=2024-01-15T16:00:00, which is UTC")
    command(f"enter A A buy 1 A @ 1 {' '.join(options)}", 1)


def _mass_cancel(words: Sequence[str]) -> MassCancel:
    """Parse what a mass cancel takes. Raises ValueError."""
    sides = [word.lower() for word in words if word.lower() in ("buy", "sell")]
    symbols = [word for word in words if word.lower() not in ("buy", "sell")]
    if len(sides) > 1 or len(symbols) > 1:
        raise ValueError("a mass cancel takes one symbol and one side at most; give fewer")
    return MassCancel(symbols[0] if symbols else "", _SIDES[sides[0]] if sides else None)


def _side(side: int) -> str:
    return code_name(side).replace("_", " ")


def order_text(order: Order) -> str:
    """An order in a few words."""
    return f"{_side(order.side)} {order.qty} {order.symbol} @ {shown(order.price_e4)}{_terms_text(order.terms)}"


def _terms_text(terms: str) -> str:
    """Terms as a trader types them behind a price; "" for none."""
    return "".join(f" {_LONG_WORDS.get(word, word)}" for word in terms.split())


def _why_refused(order: Order | None) -> str:
    """State of the order, as a reason why its cancel or replacement was refused."""
    if order is None:
        return "no such order"
    if order.state is OrderState.LIVE:
        # The total has the executed shares in it: told as the open quantity, it would cancel more than meant.
        return (
            f"the order stays as it is, {order.leaves_qty} open of its total of {order.qty}: a new total, with what "
            f"was executed, has to be less than {order.qty}"
        )
    return f"the order is {order.state.value}"


def text(event: Event, orders: Mapping[str, Order]) -> str:
    """Text of an event, on one line; the state of an order is its present one."""
    match event:
        case Accepted(token=token, side=side, qty=qty, symbol=symbol, price_e4=price_e4, terms=terms):
            return f"accepted {token}: {_side(side)} {qty} {symbol} @ {shown(price_e4)}{_terms_text(terms)}"
        case Replaced(token=token, qty=qty, price_e4=price_e4, previous_token=previous):
            return f"replaced {previous} by {token}: {qty} open @ {shown(price_e4)}"
        case Restated(token=token, side=side, qty=qty, symbol=symbol, price_e4=price_e4, terms=terms):
            order = f"{_side(side)} {qty} {symbol} @ {shown(price_e4)}{_terms_text(terms)}"
            return f"restated {token}: {order}, open from an earlier day"
        case Executed(token=token, qty=qty, price_e4=price_e4, liquidity=liquidity):
            return f"executed {token}: {qty} @ {shown(price_e4)}, {code_name(liquidity)} liquidity"
        case Canceled(token=token, qty=qty, reason=reason):
            words = _CANCELED.get(reason) if isinstance(reason, CancelReason) else None
            return f"canceled {token}: {qty}, {words or code_name(reason).replace('_', ' ')}"
        case SelfTradePrevented(token=token, qty=qty):
            return f"canceled {token}: {qty}, it would have traded with an order of your own participant or group"
        case OrderModified(token=token, side=side, qty=qty):
            return f"modified {token}: {_side(side)}, {qty} open"
        case Rejected(token=token, reason=reason):
            return f"rejected {token}: {reject_words(reason)}"
        case CancelRejected(token=token):
            return f"refused {token}: {_why_refused(orders.get(token))}"
        case OrderChanged(token=token, kind="repriced", leaves_qty=leaves_qty, price_e4=price_e4):
            return f"repriced {token}: {leaves_qty} open @ {shown(price_e4) if price_e4 else 'none'}"
        case OrderChanged(token=token, kind=kind, leaves_qty=leaves_qty, price_e4=price_e4):
            return f"{kind} {token}: {leaves_qty} open @ {shown(price_e4)}"
        case MassCanceled():
            return _mass_canceled_text(event)
        case SystemEvent(code=code):
            return f"system: {code_name(code).replace('_', ' ')}"
        case OtherMessage(kind=kind):
            return f"message: {kind.replace('_', ' ')}"
        case RequestLost(kind=kind, token=token):
            return f"not received: {kind} {token}; nothing was done"
        case RequestUnanswered(kind=kind, token=token, final=final):
            return f"outcome unknown: {kind} {token}{', and it stays so' if final else '; a new login settles it'}"
    return _connection_text(event)


def _mass_canceled_text(event: MassCanceled) -> str:
    where = f" in {event.symbol}" if event.symbol else ""
    if event.reason is not None:
        return f"mass cancel{where} refused: {code_name(event.reason).replace('_', ' ')}"
    sides = "" if event.side is None else f"{_side(event.side)} "
    return f"mass cancel{where}: {event.orders} open {sides}{'order' if event.orders == 1 else 'orders'}"


def _connection_text(event: Event) -> str:
    match event:
        case Connected(session=session, next_seq=next_seq):
            return f"logged in to session {session}, from message {next_seq:,}"
        case CaughtUp(seq=seq, address=address, epoch=epoch, outage_ns=outage_ns, resent=resent):
            where = f" of {address}, epoch {epoch}" if epoch else ""
            after = f", after an outage of {outage_ns / 1e9:.2f} s" if outage_ns else ""
            again = f"; requests sent again: {resent}" if resent else ""
            return f"caught up at message {seq:,}{where}{after}{again}"
        case Disconnected(why=why):
            return f"disconnected: {why}"
        case NewSession(session=session, previous=previous):
            return f"a new day: session {session} after {previous}; day orders have ended"
        case SessionEnded():
            return "the session has ended"
        case DebugText(text=said):
            return f"the exchange says: {said}"
        case EventsLost(count=count):
            return f"{count} events were dropped here"
    raise TypeError(f"{event!r} is no event")


#: Keys of the objects of `trade --json`: the object's kind, and the fields of all events, orders and fills.
KEYS: Final = (
    *("event", "seq", "time", "token", "previous_token", "symbol", "side", "qty", "price_e4", "leaves_qty", "cum_qty"),
    *("state", "match_number", "liquidity", "reason", "prevented_qty", "min_qty", "display", "time_in_force_s", "firm"),
    *("capacity", "intermarket_sweep", "cross_type", "order_reference", "live", "code", "session", "previous_session"),
    *("next_seq", "number", "kind", "final", "count", "text", "address", "epoch", "outage_ns", "resent"),
    *("displayed_qty", "orders", "terms", "traded_e4"),
)
_CODES: Final = ("side", "display", "liquidity", "reason", "code")
#: Fields of events under another key, because the same word has another meaning elsewhere.
_RENAMED: Final = {"why": "text", "previous": "previous_session"}


def as_json(event: Event, session: str) -> dict[str, Any]:
    """An event as a JSON object: its name and KEYS, None for fields that it lacks; codes by name.

    session: the name of the trading day, a date, in which times are nanoseconds since midnight.
    """
    name = "".join(f"_{c.lower()}" if c.isupper() else c for c in type(event).__name__).lstrip("_")
    made: dict[str, Any] = dict.fromkeys(KEYS) | {"event": name}
    for each in fields(event):
        value = getattr(event, each.name)
        if each.name == "time_ns":
            made["time"] = _time(value, session)
        elif each.name == "price_e4":
            made["price_e4"] = _limit_e4(value)
        else:
            made[_RENAMED.get(each.name, each.name)] = (
                code_name(value) if each.name in _CODES and value is not None else value
            )
    return made


def order_json(order: Order) -> dict[str, Any]:
    """An order as a JSON object, under KEYS too."""
    return dict.fromkeys(KEYS) | {
        "event": "order",
        "token": order.token,
        "symbol": order.symbol,
        "side": code_name(order.side),
        "qty": order.qty,
        "price_e4": _limit_e4(order.price_e4),
        "leaves_qty": order.leaves_qty,
        "cum_qty": order.cum_qty,
        "state": order.state.value,
        "terms": order.terms,
    }


def _limit_e4(price_e4: int) -> int | None:
    """Price, or None for a market order."""
    return None if price_e4 == PRICE_E4_MARKET else price_e4


def _time(since_midnight_ns: int, session: str) -> str | None:
    """Time of day on the date of the session; None if the session's name is no date."""
    try:
        day = datetime.strptime(session, "%Y%m%d").replace(tzinfo=UTC)
    except ValueError:
        return None
    return iso_time(int(day.timestamp()) * 1_000_000_000 + since_midnight_ns)
