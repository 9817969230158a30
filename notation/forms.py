"""The commands of a scenario file, each as it stands on its line (rulebook section 12): words in, places of a row out.

One function a command. A value of any size that fits its place goes there as it is, because refusing it is the
engine's part; words that make no row are a ``Fault``.
"""

from collections.abc import Callable
from functools import cache
from typing import Final, NamedTuple

from engine.names import EVERY
from engine.records import (
    Book,
    CommandKind,
    Instruction,
    Limit,
    Permission,
    Phase,
    Reason,
    SelfTrade,
    Side,
    TimeInForce,
    UserPermission,
    limit_places,
)
from notation.words import (
    Fault,
    Time,
    duration_ns,
    hexadecimal,
    id_number,
    percent_bps,
    price_e4,
    rate_of,
    time_of,
    token_of,
    whole,
)


class Parts(NamedTuple):
    """Values of a command's words: the places of the row that are used, and names that are still to be looked up.

    tokens: of an EXTEND row: head and tail of the token, then of the new one. before: the six numbers of the EXTEND row
    that stands before a LIMITS. time: for the row's ``time_ns``, where it counts from the clock.
    """

    places: dict[str, int]
    participant: int = 0
    symbol: int = 0
    tokens: tuple[int, ...] = ()
    before: tuple[int, ...] = ()
    time: Time | None = None


_SIDES: Final = {side.name.lower(): int(side) for side in Side}
_TIFS: Final = {tif.name.lower(): int(tif) for tif in TimeInForce}
_SELF_TRADES: Final = {rule.name.lower(): int(rule) for rule in SelfTrade}
_BOOKS: Final = {book.name.lower(): int(book) for book in Book}
_PHASES: Final = {phase.name.lower(): int(phase) for phase in Phase}
_MASS_REASONS: Final = {reason.name.lower(): int(reason) for reason in (Reason.MASS_CANCEL, Reason.DISCONNECT)}
_PERMISSIONS: Final = {permission.name.lower(): int(permission) for permission in Permission if permission.name}
_USER_PERMISSIONS: Final = {
    "login": int(UserPermission.ENABLED),
    "cancel_on_disconnect": int(UserPermission.CANCEL_ON_DISCONNECT),
    "newest_wins": int(UserPermission.NEWEST_WINS),
}
#: Options that only say what every instrument of this release is.
_INSTRUMENT_IS: Final = {"books": "lit", "band": "off", "volatility": "off", "cancel_on_halt": "no"}
_BYTE_MAX: Final = 255
NOT_BUILT: Final = "is not built in this release (rulebook section 13); take it out of the file"


def _code(word: str, codes: dict[str, int], what: str) -> int:
    try:
        return codes[word]
    except KeyError:
        raise Fault(f"{what} is {word!r}; write one of {', '.join(codes)}") from None


def options_of(words: list[str], known: frozenset[str], later: frozenset[str], command: str) -> dict[str, str]:
    """The ``key=value`` and single-word options after the plain words; those of a later release are refused."""
    options: dict[str, str] = {}
    for word in words:
        key, equals, value = word.partition("=")
        if key in options:
            raise Fault(f"{key} stands twice; write it once")
        if key in later:
            raise Fault(f"{key}{equals} of {command} {NOT_BUILT}")
        if f"{key}{equals}" not in known:
            raise Fault(f"{command} has no option {word!r}; it has {', '.join(sorted(known)) or 'none'}")
        if equals and not value:
            raise Fault(f"{key}= has no value; write one after the =")
        options[key] = value
    return options


def plain_words(words: list[str], form: str) -> None:
    """Raises Fault unless there are as many plain words as in ``form``, with the same ``@``."""
    count, at = _shape(form)
    if len(words) < count or (at and words[at] != "@"):
        raise Fault(f"the command is not complete; its form is: {form}")


@cache
def _shape(form: str) -> tuple[int, int]:
    """Number of words of a form, and which of them is the ``@``; 0 for none."""
    words = form.split()
    return len(words), words.index("@") if "@" in words else 0


def _market_or_limit(word: str) -> tuple[int, int]:
    """price_e4 and instruction bits of what stands after the ``@``."""
    return (0, int(Instruction.MARKET)) if word == "market" else (price_e4(word, "the price"), 0)


_ENTER_FORM: Final = "enter NAME ID buy|sell QTY SYM @ PRICE|market"
_ENTER_OPTIONS: Final = frozenset(
    {"book=", "tif=", "display=", "hidden", "post_only", "min_qty=", "stp=", "memo=", "token="}
)
_ENTER_LATER: Final = frozenset({"until", "stop", "peg", "offset"})


def _enter(words: list[str]) -> Parts:
    plain_words(words, _ENTER_FORM)
    price, instructions = _market_or_limit(words[7])
    places = {
        "client_order_id": id_number(words[2], "the client order id"),
        "price_e4": price,
        "qty": whole(words[4], "the quantity"),
        "side": _code(words[3], _SIDES, "the side"),
        "time_in_force": int(TimeInForce.DAY),
        "self_trade": int(SelfTrade.CANCEL_NEWEST),
    }
    tokens: tuple[int, ...] = ()
    if len(words) > 8:
        options = options_of(words[8:], _ENTER_OPTIONS, _ENTER_LATER, "enter")
        for key, bit in (("hidden", Instruction.HIDDEN), ("post_only", Instruction.POST_ONLY)):
            if key in options:
                instructions |= int(bit)
        for key, place, bit in (
            ("display", "display_qty", Instruction.DISPLAY),
            ("min_qty", "min_qty", Instruction.MIN_QTY),
        ):
            if key in options:
                places[place] = whole(options[key], key)
                instructions |= int(bit)
        for key, place, codes in (
            ("tif", "time_in_force", _TIFS),
            ("stp", "self_trade", _SELF_TRADES),
            ("book", "book", _BOOKS),
        ):
            if key in options:
                places[place] = _code(options[key], codes, key)
        places["memo"] = _memo(options)
        tokens = _tokens(options)
    places["instructions"] = instructions
    return Parts(places, id_number(words[1], "the participant"), id_number(words[5], "the symbol"), tokens)


def _memo(options: dict[str, str]) -> int:
    return hexadecimal(options["memo"], 8, "memo")[0] if "memo" in options else 0


def _tokens(options: dict[str, str]) -> tuple[int, ...]:
    """Head and tail of token= and new_token=, of which one that does not stand is zero; nothing where none does."""
    if "token" not in options and "new_token" not in options:
        return ()
    old, new = (token_of(options[key], key) if key in options else (0, 0) for key in ("token", "new_token"))
    return (*old, *new)


_CANCEL_OPTIONS: Final = frozenset({"qty=", "memo=", "token="})


def _cancel(words: list[str]) -> Parts:
    plain_words(words, "cancel NAME ID")
    places = {"client_order_id": id_number(words[2], "the client order id")}
    participant = id_number(words[1], "the participant")
    if len(words) == 3:
        return Parts(places, participant)
    options = options_of(words[3:], _CANCEL_OPTIONS, frozenset(), "cancel")
    places["qty"] = whole(options["qty"], "qty") if "qty" in options else 0
    places["memo"] = _memo(options)
    return Parts(places, participant, tokens=_tokens(options))


_REPLACE_OPTIONS: Final = frozenset({"display=", "memo=", "token=", "new_token="})


def _replace(words: list[str]) -> Parts:
    plain_words(words, "replace NAME ID NEWID QTY @ PRICE|market")
    price, instructions = _market_or_limit(words[6])
    places = {
        "client_order_id": id_number(words[2], "the client order id"),
        "new_client_order_id": id_number(words[3], "the new client order id"),
        "price_e4": price,
        "qty": whole(words[4], "the quantity"),
    }
    options = options_of(words[7:], _REPLACE_OPTIONS, frozenset({"stop"}), "replace")
    if "display" in options:
        places["display_qty"] = whole(options["display"], "display")
        instructions |= int(Instruction.DISPLAY)
    places["new_memo"] = _memo(options)
    places["instructions"] = instructions
    return Parts(places, id_number(words[1], "the participant"), tokens=_tokens(options))


def _instrument(words: list[str]) -> Parts:
    form = "instrument SYM tick= lot= reference="
    plain_words(words[:2], "instrument SYM")
    known = frozenset({"tick=", "lot=", "reference=", "adv="} | {f"{key}=" for key in _INSTRUMENT_IS})
    options = options_of(words[2:], known, frozenset(), "instrument")
    for key, value in _INSTRUMENT_IS.items():
        if options.get(key, value) != value:
            raise Fault(f"{key}={options[key]} of instrument {NOT_BUILT}")
    if not {"tick", "lot", "reference"} <= set(options):
        raise Fault(f"the command is not complete; its form is: {form}")
    return Parts(
        {
            "name": id_number(words[1], "the symbol"),
            "tick_e4": price_e4(options["tick"], "tick"),
            "lot": whole(options["lot"], "lot"),
            "reference_e4": price_e4(options["reference"], "reference"),
            "adv_qty": whole(options["adv"], "adv") if "adv" in options else 0,
        }
    )


def _participant(words: list[str]) -> Parts:
    plain_words(words, "participant NAME")
    options = options_of(words[2:], frozenset({"group=", "allow="}), frozenset(), "participant")
    permissions = _allowed(options.get("allow", "market"), _PERMISSIONS)
    group = id_number(options["group"], "the group") if "group" in options else 0
    return Parts({"name": id_number(words[1], "the participant"), "group": group, "permissions": permissions})


_LIMITS_OPTIONS: Final = frozenset(
    {"symbol=", *(f"{limit.name.lower()}=" for limit in Limit if limit.name), Limit.RESTRICTED.name.lower()}
)
#: Of each limit that is one number: where its value stands, and what reads it.
_LIMIT_VALUES: Final = {
    "max_order_qty": ("max_order_qty", whole),
    "max_order_value": ("max_order_value_e4", price_e4),
    "max_position": ("max_position_qty", whole),
    "credit": ("credit_e4", price_e4),
    "margin": ("margin_bps", percent_bps),
    "adv": ("adv_share_bps", percent_bps),
    "max_open_orders": ("max_open_orders", whole),
    "max_ids": ("max_ids", whole),
}
#: What stands in the EXTEND row before, in the order of its places.
LIMITS_BEFORE: Final = ("rate_orders", "rate_window_ns", "margin_bps", "adv_share_bps", "max_open_orders", "max_ids")


def _limits(words: list[str]) -> Parts:
    plain_words(words[:2], "limits NAME")
    options = options_of(words[2:], _LIMITS_OPTIONS, frozenset(), "limits")
    values: dict[str, int] = {}
    named = off = 0
    for limit in Limit:
        key = str(limit.name).lower()
        if key not in options:
            continue
        given = options[key]
        named |= int(limit)
        if given == ("no" if limit is Limit.RESTRICTED else "off"):
            off |= int(limit)
        elif limit is Limit.RESTRICTED:
            if given:
                raise Fault(f"restricted is {given!r}; write restricted, or restricted=no")
        elif limit is Limit.ORDER_RATE:
            values["rate_orders"], values["rate_window_ns"] = rate_of(given, key)
        else:
            place, read = _LIMIT_VALUES[key]
            values[place] = read(given, key)
    before = tuple(values.pop(place, 0) for place in LIMITS_BEFORE) if values.keys() & set(LIMITS_BEFORE) else ()
    values |= limit_places(named, off)
    values |= {
        "name": id_number(words[1], "the participant"),
        "symbol": id_number(options["symbol"], "the symbol") if "symbol" in options else 0,
    }
    return Parts(values, before=before)


def _allowed(words: str, permissions: dict[str, int]) -> int:
    """The bits of ``allow=``: words with commas between them, or ``none``."""
    allow = words.split(",")
    if allow == ["none"]:
        return 0
    if len(set(allow)) != len(allow):
        raise Fault(f"allow= is {words!r}; write each permission once")
    return sum(_code(word, permissions, "allow=") for word in allow)


def _user(words: list[str]) -> Parts:
    plain_words(words[:2], "user NAME")
    options = options_of(words[2:], frozenset({"participant=", "firm=", "allow="}), frozenset(), "user")
    if "participant" not in options:
        raise Fault("the command is not complete; its form is: user NAME participant=P")
    return Parts(
        {
            "name": id_number(words[1], "the user"),
            "participant_name": id_number(options["participant"], "participant"),
            "firm": id_number(options["firm"], "firm") if "firm" in options else 0,
            "permissions": _allowed(options.get("allow", "login"), _USER_PERMISSIONS),
        }
    )


def _credential(words: list[str]) -> Parts:
    plain_words(words[:2], "credential NAME")
    options = options_of(words[2:], frozenset({"cost=", "salt=", "hash="}), frozenset(), "credential")
    if len(options) < 3:
        raise Fault("the command is not complete; its form is: credential NAME cost=14 salt=HEX32 hash=HEX48")
    cost = whole(options["cost"], "cost")
    if not 0 <= cost <= _BYTE_MAX:
        raise Fault(f"cost is {cost}; write a number from 0 to {_BYTE_MAX}")
    salt = hexadecimal(options["salt"], 16, "salt")
    password_hash = hexadecimal(options["hash"], 24, "hash")
    places = {f"salt_{at}": number for at, number in enumerate(salt)}
    places |= {f"hash_{at}": number for at, number in enumerate(password_hash)}
    return Parts({"name": id_number(words[1], "the user"), "cost": cost, **places})


def _kill(words: list[str]) -> Parts:
    plain_words(words, f"{words[0]} NAME|*")
    options_of(words[2:], frozenset(), frozenset(), words[0])
    return Parts({"name": EVERY if words[1] == "*" else id_number(words[1], "the participant")})


def _emergency_close(words: list[str]) -> Parts:
    options_of(words[1:], frozenset(), frozenset(), "emergency_close")
    return Parts({})


def _mass_cancel(words: list[str]) -> Parts:
    plain_words(words, "mass_cancel NAME")
    options = options_of(words[2:], frozenset({"symbol=", "side=", "reason="}), frozenset(), "mass_cancel")
    return Parts(
        {
            "name": id_number(words[1], "the participant"),
            "symbol": id_number(options["symbol"], "the symbol") if "symbol" in options else 0,
            "side": _code(options["side"], _SIDES, "side") if "side" in options else 0,
            "reason": _code(options.get("reason", "mass_cancel"), _MASS_REASONS, "reason"),
        }
    )


def _symbol_or_every(word: str) -> int:
    return EVERY if word == "*" else id_number(word, "the symbol")


def _phase(words: list[str]) -> Parts:
    plain_words(words, "phase SYM|* PHASE")
    options_of(words[3:], frozenset(), frozenset(), "phase")
    return Parts({"name": _symbol_or_every(words[1]), "phase": _code(words[2], _PHASES, "the phase")})


def _halt(words: list[str]) -> Parts:
    plain_words(words, "halt SYM|*")
    options = options_of(words[2:], frozenset({"for="}), frozenset(), "halt")
    duration = duration_ns(options["for"], "for") if "for" in options else 0
    if "for" in options and not duration:
        raise Fault(f"for is {options['for']}, which would be a halt without an end; leave it out if that is meant")
    return Parts({"name": _symbol_or_every(words[1]), "duration_ns": duration})


def _resume(words: list[str]) -> Parts:
    plain_words(words, "resume SYM|*")
    options_of(words[2:], frozenset(), frozenset(), "resume")
    return Parts({"name": _symbol_or_every(words[1])})


def _clock_jump(words: list[str]) -> Parts:
    options = options_of(words[1:], frozenset({"by=", "to="}), frozenset(), "clock_jump")
    if len(options) < 2:
        raise Fault("the command is not complete; its form is: clock_jump by=-3s to=TIME")
    to = time_of(options["to"])
    dated = to.form == "dated"
    places = {"jump_ns": duration_ns(options["by"], "by"), "time_ns": to.value_ns if dated else 0}
    return Parts(places, time=None if dated else to)


#: By its word: the kind of the row, and what reads the words. Raises Fault.
FORMS: Final[dict[str, tuple[CommandKind, Callable[[list[str]], Parts]]]] = {
    "enter": (CommandKind.ENTER, _enter),
    "cancel": (CommandKind.CANCEL, _cancel),
    "replace": (CommandKind.REPLACE, _replace),
    "mass_cancel": (CommandKind.MASS_CANCEL, _mass_cancel),
    "instrument": (CommandKind.INSTRUMENT, _instrument),
    "participant": (CommandKind.PARTICIPANT, _participant),
    "phase": (CommandKind.PHASE, _phase),
    "halt": (CommandKind.HALT, _halt),
    "resume": (CommandKind.RESUME, _resume),
    "limits": (CommandKind.LIMITS, _limits),
    "clock_jump": (CommandKind.CLOCK_JUMP, _clock_jump),
    "kill": (CommandKind.KILL, _kill),
    "unkill": (CommandKind.UNKILL, _kill),
    "emergency_close": (CommandKind.EMERGENCY_CLOSE, _emergency_close),
    "user": (CommandKind.USER, _user),
    "credential": (CommandKind.CREDENTIAL, _credential),
}
#: Words of the rulebook that this release does not build.
LATER: Final = frozenset({"venue", "index", "schedule", "cross"})
