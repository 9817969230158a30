"""The commands of the scenario notation, one table: parsing, printing and JSON are all made from it (section 12).

A ``Command`` is its word, then *plain* words in the order of its form, then options. Each of them is a ``Field``: its
places in the row, and a ``Value``, which says how it is read, written and told in JSON. Any value that fits its place
goes there unchanged, since rejecting it is for the engine; words that make no row are a ``Fault``.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from enum import IntEnum
from functools import cached_property
from typing import Any, Final, NamedTuple

from engine.bounds import LEVELS_MAX
from engine.names import EVERY, unpack
from engine.records import (
    COMMAND_PLACES,
    Book,
    CommandKind,
    Instruction,
    InstrumentSetting,
    Limit,
    Peg,
    Permission,
    Phase,
    Reason,
    SelfTrade,
    Side,
    TimeInForce,
    UserPermission,
    VenueSetting,
)
from notation.words import (
    Fault,
    duration,
    duration_ns,
    hexadecimal,
    id_number,
    iso_time,
    of_day_ns,
    of_day_word,
    percent,
    percent_bps,
    price,
    price_e4,
    rate_of,
    time,
    time_of,
    token_of,
    token_word,
    whole,
)

#: Number of the place, by its names.
PLACE_OF: Final = {name: place for place, names in enumerate(COMMAND_PLACES.values()) for name in names}
_64_BITS: Final = 2**64 - 1
_BYTE_MAX: Final = 255


class Value(NamedTuple):
    """A kind of value. ``read``: a word and what it is, to a number; of more than one place, to a tuple of them.

    ``write``, ``json``: the numbers, to a word and to what stands in JSON.
    """

    read: Callable[[str, str], Any]
    write: Callable[..., str]
    json: Callable[..., Any]


@dataclass(frozen=True, eq=False)
class Field:
    """A word of a command. ``what``: its name in a sentence. ``places``: where its numbers go.

    ``key``: of an option; "" of a plain word. ``json``: its key in JSON. ``default``: an option that is not written;
    ``off``: a word for that. ``usual``: what is read where the option is not written.
    ``bit``: an instruction; of an option, set where it is written; else, where the word ``instead`` stands in place of
    the value. ``extended``: the places are those of the EXTEND row before. ``names``: the place has the number of a
    name, out of these of the directory; what is unknown is in place ``places[1]`` of the EXTEND row.
    """

    value: Value
    what: str
    places: tuple[str, ...] = ()
    key: str = ""
    json: str = ""
    default: int = 0
    off: str = ""
    required: bool = False
    bit: int = 0
    instead: str = ""
    extended: bool = False
    names: str = ""
    usual: str = ""

    @cached_property
    def numbers(self) -> tuple[int, ...]:
        """Numbers of its places."""
        return tuple(PLACE_OF[place] for place in self.places)


@dataclass(frozen=True, eq=False)
class LimitField:
    """A limit of LIMITS: an option whose value ``off`` takes the limit away. The key of each place in JSON is its name.

    ``extended``: the places are those of the EXTEND row before.
    """

    limit: Limit
    value: Value
    places: tuple[str, ...]
    extended: bool = False

    @cached_property
    def key(self) -> str:
        """The option."""
        return str(self.limit.name).lower()


@dataclass(frozen=True, eq=False)
class Command:
    """A command. ``form``: its plain words, as a message shows them; ``whole``: with the options that it must have."""

    kind: CommandKind
    form: str
    plain: tuple[Field, ...] = ()
    options: tuple[Field, ...] = ()
    whole: str = ""
    limits: tuple[LimitField, ...] = ()

    @cached_property
    def word(self) -> str:
        """The word that begins its line."""
        return self.form.split()[0]


def word(codes: type[IntEnum], value: int) -> str | None:
    """The word of a code; None for 0 and for a value that the code does not have.

    >>> word(Side, 1), word(Reason, 0)
    ('buy', None)
    """
    return codes(value).name.lower() if value in set(codes) else None


def _code(codes: type[IntEnum], *only: IntEnum) -> Value:
    """One of the words of a code, or of a part of it."""
    numbers = {each.name.lower(): int(each) for each in (only or codes)}
    words = {number: text for text, number in numbers.items()}
    return Value(
        lambda text, what: _one_of(text, numbers, what),
        lambda number: words.get(number, "?"),
        lambda number: word(codes, number),
    )


def _one_of(text: str, numbers: Mapping[str, int], what: str) -> int:
    try:
        return numbers[text]
    except KeyError:
        raise Fault(f"{what} is {text!r}; write one of {', '.join(numbers)}") from None


def _bits(bits: Mapping[str, int]) -> Value:
    """Words with commas between them, or ``none``."""

    def read(text: str, what: str) -> int:
        allow = text.split(",")
        if allow == ["none"]:
            return 0
        if len(set(allow)) != len(allow):
            raise Fault(f"{what} is {text!r}; write each permission once")
        return sum(_one_of(each, bits, what) for each in allow)

    def told(number: int) -> list[str]:
        return [text for text, bit in bits.items() if bit & number]

    return Value(read, lambda number: ",".join(told(number)) or "none", told)


def _name(number: int) -> str | None:
    """An id or name in JSON."""
    return "*" if number == EVERY else unpack(number) if number else None


def _name_or_star(number: int) -> str:
    return "*" if number == EVERY else unpack(number)


def _big_endian(*numbers: int) -> str:
    return "".join(f"{number & _64_BITS:016x}" for number in numbers)


def _optional(value: Value) -> Value:
    """The same with None in JSON for 0."""
    return value._replace(json=lambda number: value.json(number) or None)


def _read_volatility(text: str, what: str) -> tuple[int, int, int]:
    parts = (VOLATILITY_ON if text == "on" else text).split("/")
    if len(parts) != 3:
        raise Fault(f"{what} is {text!r}; write a percentage and two durations, such as {VOLATILITY_ON}, or on or off")
    return percent_bps(parts[0], what), duration_ns(parts[1], what), duration_ns(parts[2], what)


def _read_levels(text: str, what: str) -> tuple[int, ...]:
    numbers: list[int] = []
    for level in text.split(","):
        fall, slash, lasts = level.partition("/")
        if not slash:
            raise Fault(f"{what} is {text!r}; write falls with what they cause, such as {LEVELS_USUAL}")
        halt_ns = 0 if lasts == "close" else duration_ns(lasts, what)
        if not halt_ns and lasts != "close":
            raise Fault(f"{what} is {text!r}, with a halt of no time; write a longer one, or close")
        numbers += [percent_bps(fall, what), halt_ns]
    if len(numbers) > 2 * LEVELS_MAX:
        raise Fault(f"{what} is {text!r}; write {LEVELS_MAX} at most")
    return (*numbers, *(0,) * (2 * LEVELS_MAX - len(numbers)))


def _levels(numbers: tuple[int, ...]) -> list[tuple[int, int]]:
    """Falls and halts of the levels that there are."""
    pairs = [(numbers[at], numbers[at + 1]) for at in range(0, len(numbers), 2)]
    return [each for each in pairs if each != (0, 0)]


def _write_levels(*numbers: int) -> str:
    return ",".join(f"{percent(bps)}/{duration(ns) if ns else 'close'}" for bps, ns in _levels(numbers))


def _read_members(text: str, what: str) -> tuple[int, ...]:
    numbers: list[int] = []
    for member in text.split(","):
        symbol, colon, weight = member.partition(":")
        if not colon:
            raise Fault(f"{what} is {text!r}; write symbols with their weights, such as ABC:2,XYZ:1")
        numbers += [id_number(symbol, what), whole(weight, what)]
    return tuple(numbers)


def _read_two_members(text: str, what: str) -> tuple[int, ...]:
    numbers = _read_members(text, what)
    if len(numbers) > 4:
        raise Fault(f"{what} is {text!r}; write two at most")
    return (*numbers, *(0,) * (4 - len(numbers)))


def _write_members(*numbers: int) -> str:
    pairs = [(numbers[at], numbers[at + 1]) for at in range(0, len(numbers), 2)]
    return ",".join(f"{unpack(symbol)}:{weight}" for symbol, weight in pairs if symbol or weight)


def _read_yes(text: str, what: str) -> tuple[()]:
    if text != "yes":
        raise Fault(f"{what} is {text!r}; write yes or no")
    return ()


def _read_books(text: str, what: str) -> tuple[()]:
    if text != "lit,midpoint":
        raise Fault(f"{what} is {text!r}; write lit, or lit,midpoint")
    return ()


def _read_cost(text: str, what: str) -> int:
    cost = whole(text, what)
    if not 0 <= cost <= _BYTE_MAX:
        raise Fault(f"cost is {cost}; write a number from 0 to {_BYTE_MAX}")
    return cost


def _read_halt(text: str, what: str) -> int:
    lasts_ns = duration_ns(text, what)
    if not lasts_ns:
        raise Fault(f"{what} is {text}, which would be a halt without an end; leave it out for that")
    return lasts_ns


#: ``band=on`` and ``volatility=on`` of an instrument (sections 8 and 9).
BAND_ON_BPS: Final = 500
VOLATILITY_ON: Final = "10%/5m/5m"
#: Levels of an index that names none (section 9).
LEVELS_USUAL: Final = "7%/15m,13%/15m,20%/close"
WHOLE: Final = Value(whole, str, int)
PRICE: Final = Value(price_e4, price, int)
PERCENT: Final = Value(percent_bps, percent, int)
DURATION: Final = Value(duration_ns, duration, int)
RATE: Final = Value(rate_of, lambda orders, window_ns: f"{orders}/{duration(window_ns)}", lambda *numbers: numbers)
TIME: Final = Value(lambda text, _what: time_of(text), time, iso_time)
#: An id or name; one that is printed as ``*`` for all, which not every command reads; one that is read so too.
ID: Final = Value(id_number, unpack, _name)
NAME: Final = Value(id_number, _name_or_star, _name)
NAME_OR_ALL: Final = NAME._replace(read=lambda text, what: EVERY if text == "*" else id_number(text, what))
CONTEXT: Final = Value(
    lambda text, what: hexadecimal(text, 8, what)[0],
    lambda context: f"{context & _64_BITS:016x}",
    lambda context: f"{context & _64_BITS:016x}" if context else None,
)
TOKEN: Final = Value(token_of, token_word, lambda head, tail: token_word(head, tail) if head or tail else None)
SALT: Final = Value(lambda text, what: hexadecimal(text, 16, what), _big_endian, _big_endian)
HASH: Final = Value(lambda text, what: hexadecimal(text, 24, what), _big_endian, _big_endian)
COST: Final = WHOLE._replace(read=_read_cost)
HALT: Final = _optional(DURATION)._replace(read=_read_halt)
ALLOW: Final = _bits({str(each.name).lower(): int(each) for each in Permission})
ALLOW_USER: Final = _bits(
    {
        "login": int(UserPermission.ENABLED),
        "cancel_on_disconnect": int(UserPermission.CANCEL_ON_DISCONNECT),
        "newest_wins": int(UserPermission.NEWEST_WINS),
    }
)
#: An entry delay, which may be none; a time of day, in whole minutes.
DELAY: Final = Value(
    lambda text, what: 0 if text == "off" else duration_ns(text, what),
    lambda delay_ns: duration(delay_ns) if delay_ns else "off",
    int,
)
OF_DAY: Final = Value(of_day_ns, of_day_word, int)
#: A percentage, or the usual one.
BAND: Final = PERCENT._replace(read=lambda text, what: BAND_ON_BPS if text == "on" else percent_bps(text, what))
#: A percentage, a window and the time of a halt, or the usual ones.
VOLATILITY: Final = Value(
    _read_volatility,
    lambda bps, window_ns, halt_ns: f"{percent(bps)}/{duration(window_ns)}/{duration(halt_ns)}",
    lambda *numbers: list(numbers),
)
#: Levels of an index; its members, all of them, and those of one row.
LEVELS: Final = Value(_read_levels, _write_levels, lambda *numbers: [list(each) for each in _levels(numbers)])
MEMBERS: Final = Value(_read_members, _write_members, lambda *numbers: _write_members(*numbers) or None)
TWO_MEMBERS: Final = MEMBERS._replace(read=_read_two_members)
#: An option whose only value is that it is set.
YES: Final = Value(_read_yes, lambda: "yes", lambda: True)
#: Both books; the lit one alone is not written.
BOOKS: Final = Value(_read_books, lambda: "lit,midpoint", lambda: ["lit", "midpoint"])
#: An option without a value.
FLAG: Final = Value(lambda _text, _what: 0, lambda: "", lambda: None)

_MARKET, _POST_ONLY, _HIDDEN, _DISPLAY, _MIN_QTY, _STOP, _UNTIL, _PEG, _OFFSET = (
    int(bit)
    for bit in (
        Instruction.MARKET,
        Instruction.POST_ONLY,
        Instruction.HIDDEN,
        Instruction.DISPLAY,
        Instruction.MIN_QTY,
        Instruction.STOP,
        Instruction.UNTIL,
        Instruction.PEG,
        Instruction.OFFSET,
    )
)
_WHO: Final = Field(ID, "the participant", ("participant", "name"), json="participant", names="participants")
_ORDER: Final = Field(ID, "the client order id", ("client_order_id",), json="client_order_id")
_QTY: Final = Field(WHOLE, "the quantity", ("qty",), json="qty")
_PRICE: Final = Field(PRICE, "the price", ("price_e4",), json="price_e4", bit=_MARKET, instead="market")
_SHOWN: Final = Field(WHOLE, "display", ("display_qty",), "display", json="display_qty", bit=_DISPLAY)
#: In the place of ``display``: an order has one of them at most. Where a line has both, it is the stop that is read.
_STOPS_AT: Final = Field(PRICE, "stop", ("stop_e4",), "stop", json="stop_e4", bit=_STOP)
_CONTEXT: Final = Field(CONTEXT, "context", ("context",), "context", json="context")
_TOKENS: Final = (
    Field(TOKEN, "token", ("token_head", "token_tail"), "token", json="token", extended=True),
    Field(TOKEN, "new_token", ("new_token_head", "new_token_tail"), "new_token", json="new_token", extended=True),
)
_SYMBOL: Final = Field(ID, "the symbol", ("symbol",), "symbol", json="symbol")

#: The limits in the order of section 12.
LIMITS: Final = (
    LimitField(Limit.MAX_ORDER_QTY, WHOLE, ("max_order_qty",)),
    LimitField(Limit.MAX_ORDER_VALUE, PRICE, ("max_order_value_e4",)),
    LimitField(Limit.ORDER_RATE, RATE, ("rate_orders", "rate_window_ns"), extended=True),
    LimitField(Limit.MAX_POSITION, WHOLE, ("max_position_qty",)),
    LimitField(Limit.CREDIT, PRICE, ("credit_e4",)),
    LimitField(Limit.MARGIN, PERCENT, ("margin_bps",), extended=True),
    LimitField(Limit.ADV, PERCENT, ("adv_share_bps",), extended=True),
    LimitField(Limit.RESTRICTED, FLAG, ()),
    LimitField(Limit.MAX_OPEN_ORDERS, WHOLE, ("max_open_orders",), extended=True),
    LimitField(Limit.MAX_IDS, WHOLE, ("max_ids",), extended=True),
)
#: Values of limits, in the order of LIMITS_STATE: the name of the place, which is the key in JSON, and the bit of the
#: limit, as a number: a member of an enumeration takes twenty times as long to compare.
LIMIT_BITS: Final = {place: int(each.limit) for each in LIMITS for place in each.places}

COMMANDS: Final = (
    Command(CommandKind.CLOCK, "at TIME", (Field(TIME, "the time", ("time_ns",), json="clock_time"),)),
    Command(
        CommandKind.ENTER,
        "enter NAME ID buy|sell QTY SYM @ PRICE|market",
        (
            _WHO,
            _ORDER,
            Field(_code(Side), "the side", ("side",), json="side"),
            _QTY,
            Field(ID, "the symbol", ("instrument", "symbol"), json="symbol", names="symbols"),
            _PRICE,
        ),
        (
            Field(_code(Book), "book", ("book",), "book", json="book"),
            Field(_code(TimeInForce), "tif", ("time_in_force",), "tif", "time_in_force", int(TimeInForce.DAY)),
            _SHOWN,
            _STOPS_AT,
            Field(_code(Peg), "peg", ("peg",), "peg", json="peg", bit=_PEG),
            # In the place of ``display`` and ``stop`` too.
            Field(PRICE, "offset", ("offset_e4",), "offset", json="offset_e4", bit=_OFFSET),
            Field(FLAG, "hidden", (), "hidden", bit=_HIDDEN),
            Field(FLAG, "post_only", (), "post_only", bit=_POST_ONLY),
            Field(WHOLE, "min_qty", ("min_qty",), "min_qty", json="min_qty", bit=_MIN_QTY),
            # In the place of ``min_qty``: no order has both.
            Field(TIME, "until", ("until_ns",), "until", json="until", bit=_UNTIL),
            Field(_code(SelfTrade), "stp", ("self_trade",), "stp", "self_trade", int(SelfTrade.CANCEL_NEWEST)),
            _CONTEXT,
            _TOKENS[0],
        ),
    ),
    Command(
        CommandKind.CANCEL,
        "cancel NAME ID",
        (_WHO, _ORDER),
        # A cancel by FIX has an id of its own, which stands in the place of a new token.
        (replace(_QTY, what="qty", key="qty"), _CONTEXT, *_TOKENS),
    ),
    Command(
        CommandKind.REPLACE,
        "replace NAME ID NEWID QTY @ PRICE|market",
        (
            _WHO,
            _ORDER,
            Field(ID, "the new client order id", ("new_client_order_id",), json="new_client_order_id"),
            _QTY,
            _PRICE,
        ),
        (_SHOWN, _STOPS_AT, replace(_CONTEXT, places=("new_context",)), *_TOKENS),
    ),
    Command(
        CommandKind.CROSS,
        "cross NAME ID QTY SYM @ PRICE",
        (
            _WHO,
            _ORDER,
            _QTY,
            Field(ID, "the symbol", ("instrument", "symbol"), json="symbol", names="symbols"),
            Field(PRICE, "the price", ("price_e4",), json="price_e4"),
        ),
        (
            Field(ID, "the buyer", ("buyer",), "buyer", json="buyer", required=True),
            Field(ID, "the seller", ("seller",), "seller", json="seller", required=True),
            _CONTEXT,
            _TOKENS[0],
        ),
        whole="cross NAME ID QTY SYM @ PRICE buyer=NAME seller=NAME",
    ),
    Command(
        CommandKind.MASS_CANCEL,
        "mass_cancel NAME",
        (Field(NAME, "the participant", ("name",), json="participant"),),
        (
            _SYMBOL,
            Field(_code(Side), "side", ("side",), "side", "side"),
            Field(
                _code(Reason, Reason.MASS_CANCEL, Reason.DISCONNECT),
                "reason",
                ("reason",),
                "reason",
                "reason",
                int(Reason.MASS_CANCEL),
            ),
        ),
    ),
    Command(
        CommandKind.VENUE,
        "venue",
        (),
        (
            Field(
                DELAY,
                "speed_bump",
                ("speed_bump_ns",),
                "speed_bump",
                "speed_bump_ns",
                bit=int(VenueSetting.SPEED_BUMP),
            ),
            Field(OF_DAY, "day_start", ("day_start_ns",), "day_start", "day_start_ns", bit=int(VenueSetting.DAY_START)),
        ),
    ),
    Command(
        CommandKind.INSTRUMENT,
        "instrument SYM",
        (Field(NAME, "the symbol", ("name",), json="symbol"),),
        (
            Field(PRICE, "tick", ("tick_e4",), "tick", "tick_e4", required=True),
            Field(WHOLE, "lot", ("lot",), "lot", "lot_qty", required=True),
            Field(PRICE, "reference", ("reference_e4",), "reference", "reference_e4", required=True),
            Field(_optional(WHOLE), "adv", ("adv_qty",), "adv", "adv_qty"),
            Field(
                BAND,
                "band",
                ("band_bps",),
                "band",
                "band_bps",
                bit=int(InstrumentSetting.BAND),
                off="off",
                extended=True,
            ),
            Field(BOOKS, "books", (), "books", "books", bit=int(InstrumentSetting.MIDPOINT), off="lit"),
            Field(
                VOLATILITY,
                "volatility",
                ("volatility_bps", "volatility_window_ns", "volatility_halt_ns"),
                "volatility",
                "volatility",
                bit=int(InstrumentSetting.VOLATILITY),
                off="off",
                extended=True,
            ),
            Field(
                YES,
                "cancel_on_halt",
                (),
                "cancel_on_halt",
                "cancel_on_halt",
                bit=int(InstrumentSetting.CANCEL_ON_HALT),
                off="no",
            ),
        ),
        whole="instrument SYM tick= lot= reference=",
    ),
    Command(
        CommandKind.PARTICIPANT,
        "participant NAME",
        (Field(NAME, "the participant", ("name",), json="participant"),),
        (
            Field(ID, "the group", ("group",), "group", "group"),
            Field(ALLOW, "allow=", ("permissions",), "allow", "allow", int(Permission.MARKET)),
        ),
    ),
    Command(
        CommandKind.PHASE,
        "phase SYM|* PHASE",
        (
            Field(NAME_OR_ALL, "the symbol", ("name",), json="symbol"),
            Field(_code(Phase), "the phase", ("phase",), json="phase"),
        ),
    ),
    Command(
        CommandKind.MEMBERS,
        "members NAME SYM:WEIGHT,…",
        (
            Field(NAME, "the index", ("name",), json="index"),
            Field(
                TWO_MEMBERS,
                "the members",
                ("symbol", "weight", "further_symbol", "further_weight"),
                json="members",
            ),
        ),
    ),
    Command(
        CommandKind.INDEX,
        "index NAME",
        (Field(NAME, "the index", ("name",), json="index"),),
        (
            Field(
                LEVELS,
                "levels",
                (
                    *("level_1_bps", "level_1_ns", "level_2_bps", "level_2_ns"),
                    *("level_3_bps", "level_3_ns"),
                ),
                "levels",
                "levels",
                usual=LEVELS_USUAL,
                extended=True,
            ),
            # They stand in rows of their own before.
            Field(MEMBERS, "members", (), "members"),
        ),
        whole="index NAME members=SYM:WEIGHT,…",
    ),
    Command(
        CommandKind.SCHEDULE,
        "schedule SYM|* TIME PHASE",
        (
            Field(NAME_OR_ALL, "the symbol", ("name",), json="symbol"),
            Field(TIME, "the time", ("due_ns",), json="due_time"),
            Field(_code(Phase), "the phase", ("phase",), json="phase"),
        ),
    ),
    Command(
        CommandKind.HALT,
        "halt SYM|*",
        (Field(NAME_OR_ALL, "the symbol", ("name",), json="symbol"),),
        (Field(HALT, "for", ("duration_ns",), "for", "duration_ns"),),
    ),
    Command(CommandKind.RESUME, "resume SYM|*", (Field(NAME_OR_ALL, "the symbol", ("name",), json="symbol"),)),
    Command(
        CommandKind.LIMITS,
        "limits NAME",
        (Field(ID, "the participant", ("name",), json="participant"),),
        (_SYMBOL,),
        limits=LIMITS,
    ),
    Command(
        CommandKind.CLOCK_JUMP,
        "clock_jump",
        (),
        (
            Field(DURATION, "by", ("jump_ns",), "by", "jump_ns", required=True),
            Field(TIME, "to", ("time_ns",), "to", "clock_time", required=True),
        ),
        whole="clock_jump by=-3s to=TIME",
    ),
    Command(
        CommandKind.EPOCH,
        "epoch N",
        (Field(WHOLE, "the epoch", ("epoch",), json="epoch"),),
        (Field(ID, "node", ("name",), "node", "node", required=True),),
        whole="epoch N node=NAME",
    ),
    Command(CommandKind.KILL, "kill NAME|*", (Field(NAME_OR_ALL, "the participant", ("name",), json="participant"),)),
    Command(
        CommandKind.UNKILL, "unkill NAME|*", (Field(NAME_OR_ALL, "the participant", ("name",), json="participant"),)
    ),
    Command(CommandKind.EMERGENCY_CLOSE, "emergency_close"),
    Command(
        CommandKind.USER,
        "user NAME",
        (Field(NAME, "the user", ("name",), json="user"),),
        (
            Field(ID, "participant", ("participant_name",), "participant", "participant", required=True),
            Field(ID, "firm", ("firm",), "firm", "firm"),
            Field(ALLOW_USER, "allow=", ("permissions",), "allow", "allow", int(UserPermission.ENABLED)),
        ),
        whole="user NAME participant=P",
    ),
    Command(
        CommandKind.CREDENTIAL,
        "credential NAME",
        (Field(NAME, "the user", ("name",), json="user"),),
        (
            Field(COST, "cost", ("cost",), "cost", "password_cost", required=True),
            Field(SALT, "salt", ("salt_0", "salt_1"), "salt", "password_salt", required=True),
            Field(HASH, "hash", ("hash_0", "hash_1", "hash_2"), "hash", "password_hash", required=True),
        ),
        whole="credential NAME cost=14 salt=HEX32 hash=HEX48",
    ),
)
BY_WORD: Final = {each.word: each for each in COMMANDS}
BY_KIND: Final = {int(each.kind): each for each in COMMANDS}
