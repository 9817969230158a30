"""`lockstep admin`: requests to a running node, through the operator socket of its data directory.

Commands to the market are sent in scenario notation, and their events are shown as the node printed them. Exit status
1: the market rejected a command, or what was done cannot be told. 2: the node took none (bad notation, no running
node). 75: the node does not answer, or cannot do it now and has done nothing, as a primary whose arbiter is silent.
"""

import re
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Final

from cli import errors, screen
from cli.confirmation import confirm, hidden
from cli.errors import CheckFailed, WrongUse
from cli.operating.status import lines as status_lines
from engine.records import Phase
from node.operator.link import Link, RequestRefused, is_open_to_others
from notation.moments import plain_time

#: Lines and characters of one request: well within the bounds of a line and of a node's turn, whatever JSON adds.
_LINES_MAX: Final = 500
_CHARACTERS_MAX: Final = 24_000
_INPUT_CHARACTERS_MAX: Final = 64_000_000
#: Lists in the answer to commands.
_LISTS: Final = ("events", "added", "existing")
#: Sentences on names that exist already that are shown; --json has them all.
_EXISTING: Final = 3
#: Place of a fault in the lines of a request.
_LINE: Final = re.compile(r"^commands:\d+: ")
#: An option of the notation at the begin of a fault: `order_rate is '5'`, `allow= is 'x'`.
_OPTION: Final = re.compile(r"([a-z_]+)=? is ")
#: Part of the answer about a user: the password that the node has drawn.
_NO_PASSWORD: Final[dict[str, Any]] = {"password": None}
_REFUSALS: Final = ("> rejected", "> cancel_rejected")
_EMERGENCY: Final = "This closes every instrument and cancels every order, good-till-canceled ones too."


def connected(directory: Path) -> Link:
    """Connect to the node of a data directory; print a note if others may read its token."""
    link = Link(directory)
    if is_open_to_others(directory):
        screen.notice(
            f"note: others may read {directory / 'admin.json'} and so control the node; chmod 600 it, and restart the "
            "node for a new token"
        )
    return link


def word(text: str, what: str) -> str:
    """Check that a text is one word of a command. Raises WrongUse."""
    if not text or any(character.isspace() or character == "#" for character in text):
        raise WrongUse(f"{what} is {text!r}; give one word without spaces and without #")
    return text


def pair(key: str, value: object) -> list[str]:
    """``key=value`` for an option of a command; no word if the option was not given."""
    return [] if value is None else [f"{key}={word(str(value), '--' + key.replace('_', '-'))}"]


def send(directory: Path, words: Sequence[str], *, as_json: bool) -> int:
    """Join words to one command, whose faults need no line number. Raises WrongUse for a word with a space."""
    line = " ".join(word(each, "a word of the command") for each in words)
    try:
        return send_lines(directory, [line], as_json=as_json)
    except RequestRefused as error:
        raise type(error)(_in_options(_LINE.sub("", str(error)), words)) from None


def _in_options(fault: str, words: Sequence[str]) -> str:
    """A fault of a command, with an option of the command line as it is typed there."""
    key = _OPTION.match(fault)
    if key is None or not any(each.startswith(f"{key[1]}=") for each in words):
        return fault
    return f"--{key[1].replace('_', '-')} is {fault[key.end() :]}"


def set_phase(directory: Path, symbol: str, phase: str, *, as_json: bool) -> int:
    """`lockstep admin phase`: a phase that the operator may set. Raises WrongUse for any other word."""
    if phase == Phase.HALTED.name.lower():
        raise WrongUse("a halt is a command of its own: lockstep admin halt, and lockstep admin resume to end it")
    words = [each.name.lower() for each in Phase if each is not Phase.HALTED]
    if word(phase, "a word of the command") not in words:
        raise WrongUse(f"the phase is {phase!r}; give one of {', '.join(words)}")
    return send(directory, ["phase", symbol, phase], as_json=as_json)


def do(directory: Path, commands: list[str], *, as_json: bool) -> int:
    """`lockstep admin do`: send command lines; ``-`` stands for the lines of standard input."""
    lines: list[str] = []
    for text in commands:
        lines += (_standard_input() if text == "-" else text).split("\n")
    if not any(line.partition("#")[0].strip() for line in lines):
        raise WrongUse("there is no command to send; give one, such as: phase XYZ continuous")
    return send_lines(directory, lines, as_json=as_json)


def _standard_input() -> str:
    try:
        text = sys.stdin.read(_INPUT_CHARACTERS_MAX + 1)
    except UnicodeDecodeError:
        raise WrongUse("standard input is not UTF-8 text; give commands in scenario notation") from None
    if len(text) > _INPUT_CHARACTERS_MAX:
        raise WrongUse(f"standard input has more than {_INPUT_CHARACTERS_MAX:,} characters; send less at once")
    return text


def send_lines(directory: Path, lines: list[str], *, as_json: bool) -> int:
    """Send commands in scenario notation, in as many requests as needed."""
    parts = list(_parts(lines))
    if len(parts) > 1:
        from notation.parse import parse

        parse("\n".join(lines), "commands")  # a fault in the last line is reported before the first line is sent
    with connected(directory) as link:
        result = _sent(link, parts, as_json=as_json)
    return _shown(result, as_json=as_json)


def _parts(lines: list[str]) -> Iterable[list[str]]:
    part: list[str] = []
    characters = 0
    for line in lines:
        if part and (len(part) == _LINES_MAX or characters + len(line) > _CHARACTERS_MAX):
            yield part
            part, characters = [], 0
        part.append(line)
        characters += len(line) + 1
    if part:
        yield part


def _sent(link: Link, parts: list[list[str]], *, as_json: bool) -> dict[str, Any]:
    """The answers to all parts as one. as_json: events as objects, otherwise as lines."""
    result: dict[str, Any] = {"commands": 0, "seq": 0, "rejected": 0, "left_out": 0} | {key: [] for key in _LISTS}
    lines = 0
    for part in parts:
        if any(line.partition("#")[0].strip() for line in part):
            try:
                answer = link.ask("commands", text="\n".join(part), objects=as_json)
            except RequestRefused as error:
                if not lines:
                    raise
                raise WrongUse(
                    f"{error} This is about the part that begins at line {lines + 1}; the commands before it were done."
                ) from None
            result["seq"] = answer["seq"]
            for key in _LISTS:
                result[key] += answer.get(key, [])
            for key in ("commands", "rejected", "left_out"):
                result[key] += answer.get(key, 0)
        lines += len(part)
    return result


def _event_text(event: dict[str, Any]) -> str:
    """Line for an event object: a reject with its reason, any other event with its kind."""
    return f"> {event['kind']}" + (f" {event['refused']} reason={event['reason']}" if "refused" in event else "")


def _shown(result: dict[str, Any], *, as_json: bool) -> int:
    """Show the events of commands. Raises CheckFailed if one was rejected."""
    lines = [each if isinstance(each, str) else _event_text(each) for each in result["events"]]
    refused = f", {result['rejected']:,} of them refused" if result["rejected"] else ""
    many = screen.counted(result["commands"], "command")
    with screen.answer(f"the market took {many}, the last is {screen.count(result['seq'])}{refused}"):
        _show_events(result, lines, as_json=as_json)
    if result["rejected"]:
        first = next((line for line in lines if line.startswith(_REFUSALS)), "")
        seen = f", the first: {first.removeprefix('> ')}" if first else ""
        exists = "".join(f"; {sentence}" for sentence in result.get("existing", [])[:_EXISTING]) or _rule_of(first)
        raise CheckFailed(f"the market refused {screen.counted(result['rejected'], 'command')}{seen}{exists}")
    for sentence in result.get("existing", [])[:_EXISTING]:
        screen.notice(f"note: {sentence}")
    return errors.FINE


def _rule_of(refusal: str) -> str:
    """Rule behind the reason of a refusal, where the line has one."""
    from engine.records import Reason
    from notation.rules import RULES

    reason = next((word.partition("=")[2] for word in refusal.split() if word.startswith("reason=")), "")
    known = Reason.__members__.get(reason.upper())
    return "" if known is None else f"; {RULES[known].sentence} (rulebook section {RULES[known].section})"


def _show_events(result: dict[str, Any], lines: list[str], *, as_json: bool) -> None:
    if as_json:
        from notation.objects import EVENT_KEYS

        nothing = dict.fromkeys(EVENT_KEYS)
        screen.print_json(result | {"events": [nothing | each for each in result["events"]]})
        return
    for line in lines:
        screen.print_line(line)
    if result["left_out"]:
        screen.print_line(f"and {screen.counted(result['left_out'], 'event')} more; see `lockstep events`")
    if not result["events"]:
        screen.print_line(f"done, command {screen.count(result['seq'])}")
    for line in result.get("added", ()):
        screen.print_line(f"set by default: {line}")
    if result.get("password"):
        screen.print_line(f"password: {result['password']}")
        screen.notice(
            "note: it is shown this once; FIX carries it, OUCH and native order entry have at most 10 characters"
        )


# Users and their passwords.


def password(from_stdin: bool) -> str:
    """Read a new password: twice from the terminal without an echo, or one line of standard input.

    It never stands on the command line. Raises WrongUse, without the password.
    """
    from gateway.passwords import FOLDED_CHARACTERS_MAX, PasswordError, normalised

    if from_stdin:
        given = sys.stdin.readline(1_024).rstrip("\r\n")
    elif not sys.stdin.isatty():
        raise WrongUse("standard input is no terminal to ask for a password; give --password-stdin and a line with it")
    else:
        given = hidden("Password: ")
        if hidden("The same again: ") != given:
            raise WrongUse("the two passwords differ; try again")
    try:
        normalised(given, FOLDED_CHARACTERS_MAX)  # as OUCH, the one protocol of `lockstep serve`, carries
    except PasswordError as error:
        raise WrongUse(str(error)) from None
    return given


def _asked_password(name: str, from_stdin: bool, generate: bool, *, as_json: bool) -> dict[str, Any]:
    """Request that sets a user's password: one that is given, or one that the node draws. Raises WrongUse."""
    if generate and from_stdin:
        raise WrongUse("--generate draws a password, and --password-stdin gives one; give one of them")
    asked = {"user": word(name, "NAME"), "objects": as_json}
    return asked if generate else asked | {"password": password(from_stdin)}


def _set_password(link: Link, asked: dict[str, Any]) -> dict[str, Any]:
    answer = link.ask("password" if "password" in asked else "generated_password", **asked)
    answer.pop("ok", None)
    return _NO_PASSWORD | answer


def add_user(
    directory: Path,
    name: str,
    participant: str,
    firm: str | None,
    allow: str | None,
    from_stdin: bool,
    generate: bool,
    *,
    as_json: bool,
) -> int:
    """`lockstep admin user add`: define a user and set its password."""
    words = ["user", word(name, "NAME"), *pair("participant", participant), *pair("firm", firm), *pair("allow", allow)]
    asked = _asked_password(name, from_stdin, generate, as_json=as_json)
    with connected(directory) as link:
        result = _sent(link, [[" ".join(words)]], as_json=as_json) | _NO_PASSWORD
        if not result["rejected"]:
            result |= _set_password(link, asked)
    return _shown(result, as_json=as_json)


def set_password(directory: Path, name: str, from_stdin: bool, generate: bool, *, as_json: bool) -> int:
    """`lockstep admin user password`: set a user's password."""
    asked = _asked_password(name, from_stdin, generate, as_json=as_json)
    with connected(directory) as link:
        done = _set_password(link, asked)
    result: dict[str, Any] = {"commands": 1, "left_out": 0, "added": [], "existing": []} | done
    return _shown(result, as_json=as_json)


def emergency_close(directory: Path, yes: bool, *, as_json: bool) -> int:
    """`lockstep admin emergency-close`: close all instruments, after a confirmation."""
    if not yes:
        if not sys.stdin.isatty():
            raise WrongUse(f"{_EMERGENCY} Give --yes to confirm")
        screen.notice(_EMERGENCY)
        confirm("Type yes to confirm:", "nothing was done")
    return send_lines(directory, ["emergency_close"], as_json=as_json)


# The node itself.


def simple(directory: Path, what: str, said: str, *, as_json: bool) -> int:
    """`lockstep admin drain|shutdown`: send a request whose answer has no content."""
    with connected(directory) as link:
        link.ask(what)
    with screen.answer(f"{what} was done"):
        if as_json:
            screen.print_json({"done": what})
        else:
            screen.print_line(said)
    return errors.FINE


def checkpoint(directory: Path, *, as_json: bool) -> int:
    """`lockstep admin checkpoint`: have the node write a checkpoint."""
    with connected(directory) as link:
        made = link.ask("checkpoint")["checkpoint"]
    facts = [("at command", screen.count(made["seq"])), ("file", made["path"])]
    facts += [("size", screen.size(made["size_bytes"])), ("took", f"{made['elapsed_s']:,.2f} s")]
    title = "a checkpoint was written"
    with screen.answer(title):
        screen.print_json(made) if as_json else screen.facts(facts, title=title)
    return errors.FINE


def roll(directory: Path, *, as_json: bool) -> int:
    """`lockstep admin roll`: have the node begin a new slice of its journal."""
    with connected(directory) as link:
        begun = link.ask("roll")["roll"]
    facts = [("slice", str(begun["slice"])), ("after command", screen.count(begun["seq"]))]
    facts += [("folder", begun["path"]), ("image", screen.size(begun["size_bytes"]))]
    facts += [("took", f"{begun['elapsed_s']:,.2f} s")]
    title = "a new slice of the journal was begun"
    with screen.answer(title):
        screen.print_json(begun) if as_json else screen.facts(facts, title=title)
    return errors.FINE


def disconnect(directory: Path, user: str, *, as_json: bool) -> int:
    """`lockstep admin disconnect`: end a user's connection."""
    with connected(directory) as link:
        ended = link.ask("disconnect", user=user)["disconnected"]
    said = f"the connection of {user} was ended" if ended else f"{user} had no connection"
    with screen.answer(said):
        if as_json:
            screen.print_json({"user": user, "disconnected": ended})
        elif ended:
            screen.print_line(said)
    if not ended:
        raise CheckFailed(f"{user!r} has no connection")
    return errors.FINE


def status(directory: Path, *, as_json: bool) -> int:
    """`lockstep admin status`: show the node's figures."""
    with connected(directory) as link:
        result = link.ask("status")["status"]
    if as_json:
        screen.print_json(status_object(result))
    else:
        screen.facts(status_lines(result))
    return errors.FINE


def status_object(result: dict[str, Any]) -> dict[str, Any]:
    """A node's status (``node.core.control.STATUS_KEYS``) for programs: the market's clock as a time alone."""
    kept = {key: value for key, value in result.items() if key != "clock_ns"}
    clock = {"clock": None if result["clock"] == "unset" else result["clock"]}
    return kept | clock | {"clock_offset_ns": result.get("clock_offset_ns")}


def session_object(result: dict[str, Any]) -> dict[str, Any]:
    """A session as a JSON object; null for what is known only after the login."""
    return result | {key: result[key] or None for key in ("user", "participant", "since")}


def sessions(directory: Path, *, as_json: bool) -> int:
    """`lockstep admin sessions`: list the connections."""
    found: list[dict[str, Any]] = []
    with connected(directory) as link:
        answer = link.ask("sessions")
        found += answer["sessions"]
        while "next" in answer:
            answer = link.ask("sessions", **{"from": answer["next"]})
            found += answer["sessions"]
    if as_json:
        screen.print_json({"sessions": [session_object(each) for each in found]})
    elif not found:
        screen.print_line("nobody is connected")
    else:
        columns = list(found[0])
        numbers = [column for column in columns if isinstance(found[0][column], int)]
        heads = [column.replace("_", " ") for column in columns]
        rows = [[_session_cell(session.get(column, "")) for column in columns] for session in found]
        screen.table(heads, rows, right=[column.replace("_", " ") for column in numbers])
    return errors.FINE


def _session_cell(value: Any) -> str:
    return screen.count(value) if isinstance(value, int) else plain_time(str(value))


#: Limits that no single instrument has.
_IN_ALL: Final = ("order_rate", "credit", "margin", "max_open_orders", "max_ids")
_LIMIT_BOUNDS: Final = (
    "bounds are 1 to 99,999,999 for --max-order-qty, above 0 for --max-order-value, 0 or more for --max-position "
    "and --credit, 1 to 4,096 entries in at most a day for --order-rate, 0% to 100% for --margin and --adv, and 1 or "
    "more for --max-open-orders and --max-ids"
)


def limits(directory: Path, name: str, symbol: str | None, words: list[str], *, as_json: bool) -> int:
    """`lockstep admin limits`: set the limits in ``words``; without any, show limits, positions and open orders."""
    from cli.questions.market_tables import show_accounts
    from notation.print import limit_words
    from notation.words import price

    if words:
        for each in words if symbol is not None else ():
            option = each.partition("=")[0]
            if option in _IN_ALL:
                raise WrongUse(
                    f"--{option.replace('_', '-')} applies to all instruments together; give it without --symbol"
                )
        try:
            return send(directory, ["limits", name, *pair("symbol", symbol), *words], as_json=as_json)
        except CheckFailed as refused:
            if "invalid_command" not in str(refused):
                raise
            raise CheckFailed(f"{refused}; {_LIMIT_BOUNDS}") from None
    with connected(directory) as link:
        result = link.ask("account", participant=name)
        found = result["instruments"]
        while "next" in result:
            result = link.ask("account", participant=name, **{"from": result["next"]})
            found += result["instruments"]
        if symbol is not None:
            link.ask("books", symbol=symbol, depth=1)  # the node refuses an unknown symbol
            found = [each for each in found if each["symbol"] == symbol]
    whole = result["account"]
    if as_json:
        screen.print_json(whole | {"instruments": found})
        return errors.FINE
    screen.facts(
        [
            ("participant", whole["participant"] + (", killed" if whole["killed"] else "")),
            ("allowed", ", ".join(whole["allow"]) or "nothing"),
            ("open orders", screen.count(whole["open_orders"])),
            ("order ids", screen.count(whole["ids_used"])),
            ("open notional", price(whole["open_notional_e4"])),
            ("limits", limit_words(whole["limits"]) or "none"),
        ]
    )
    show_accounts(["symbol", "position qty", "open buy qty", "open sell qty", "limits"], found)
    return errors.FINE


def phases_to_come(directory: Path, symbol: str) -> list[dict[str, Any]]:
    """Schedules that wait in a node (``replay.scheduled``), of all instruments.

    Raises RequestRefused, with the instruments that there are, for a ``symbol`` other than * that the node lacks.
    """
    with connected(directory) as link:
        if symbol != "*":
            link.ask("books", symbol=symbol, depth=1)
        answer = link.ask("schedules")
        found: list[dict[str, Any]] = answer["schedules"]
        while "next" in answer:
            answer = link.ask("schedules", **{"from": answer["next"]})
            found += answer["schedules"]
    return found


def book(directory: Path, symbol: str, depth: int, *, as_json: bool) -> int:
    """`lockstep admin book`: the ladder of one instrument now."""
    with connected(directory) as link:
        result = link.ask("books", symbol=symbol, depth=depth)["book"]
    if as_json:
        screen.print_json(result)
        return errors.FINE
    from cli.questions.market_tables import show_book

    show_book(result, result["time"])
    return errors.FINE
