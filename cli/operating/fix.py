"""`lockstep fix`: sessions of FIX, their numbers, and the last messages of one with the names of their fields."""

from pathlib import Path
from typing import Any, Final

from cli import errors, screen
from cli.errors import WrongUse
from cli.servers.beside import check_has_journal
from notation.moments import plain_time
from notation.words import iso_time

_COLUMNS: Final = ("gateway", "kind", "user", "with", "version", "state", "in", "out", "last in", "last out")


def fix(directory: Path, session: str | None, last: int, log: str | None, *, as_json: bool) -> int:
    """Print sessions, or the messages of one."""
    check_has_journal(directory)
    if log is not None and session is None:
        raise WrongUse("--log is of one session; give --session USER too")
    user = "" if session is None else session.upper()
    with screen.Bar("replaying what came behind the images of the gateways"):
        found = _found(directory, user)
    if user and not found:
        raise WrongUse(f"no session of {session} has been used in {directory}; `lockstep fix {directory}` lists them")
    if log is not None:
        return _set_log(directory, user, log == "on", as_json=as_json)
    told = [_facts(each) for each in found]
    for each, facts in zip(found, told, strict=True):
        facts["messages"] = _messages(each, last) if user else None
    if as_json:
        screen.print_json({"sessions": told})
        return errors.FINE
    screen.table(_COLUMNS, [_row(each) for each in told])
    for facts in told:
        for message in facts["messages"] or ():
            screen.print_line(_line(message))
    return errors.FINE


def _found(directory: Path, user: str) -> list[Any]:
    """Sessions that have been used; the programs that find them are loaded first."""
    from node.gateways.fix_sessions import fix_gateways, fix_sessions

    if not fix_gateways(directory):
        raise WrongUse(f"{directory} has no gateway of FIX; start one with lockstep serve --gateway fix:PORT")
    return fix_sessions(directory, user)


def _facts(session: Any) -> dict[str, Any]:
    live = session.live
    return {
        "gateway": session.gateway,
        "kind": session.kind,
        "user": session.user,
        "sender": session.user,
        "target": _target(),
        "version": live.get("version"),
        "state": "logged on" if live.get("logged_on") else "logged out",
        "address": live.get("address"),
        # Messages of the session alone, such as heartbeats, are in no command.
        "in_number": max(session.in_number, live.get("in_number", 0) if live.get("logged_on") else 0),
        "out_number": session.out_number,
        "last_in": iso_time(live["heard_ns"]) if live.get("heard_ns") else None,
        "last_out": iso_time(live["sent_ns"]) if live.get("sent_ns") else None,
    }


def _target() -> str:
    from gateway.fix.session import COMP_ID

    return COMP_ID


def _row(facts: dict[str, Any]) -> list[str]:
    names = ("gateway", "kind", "user", "target", "version", "state", "in_number", "out_number", "last_in", "last_out")
    return ["not known" if facts[name] is None else plain_time(str(facts[name])) for name in names]


def _messages(session: Any, last: int) -> list[dict[str, Any]]:
    """The last messages each way, those that came in first."""
    from gateway.fix.shown import VERSION, Shown, type_name

    shown = Shown(session.live.get("version") or VERSION, session.user)
    told: list[dict[str, Any]] = [
        {
            "way": "in",
            "number": each.number,
            "type": each.msg_type,
            "name": type_name(each.msg_type),
            "seq": each.seq,
            "command": each.said,
            "fields": None,
        }
        for each in session.arrived[-last:]
    ]
    for record in session.sent[-last:]:
        message = shown.message(record)
        fields = [{"name": name, "value": value} for name, value in message["fields"]]
        told.append({"way": "out", **message, "seq": None, "command": None, "fields": fields})
    return told


def _line(message: dict[str, Any]) -> str:
    if message["way"] == "in":
        return f"in  {message['number']} {message['name']} (command {message['seq']}) {message['command']}".rstrip()
    said = " ".join(f"{each['name']}={each['value']}" for each in message["fields"])
    return f"out {message['number']} {message['name']} {said}".rstrip()


def _set_log(directory: Path, user: str, on: bool, *, as_json: bool) -> int:
    """Have the gateways log the messages of a user, or not any more."""
    from node.gateways.fix_sessions import fix_gateways
    from node.gateways.fix_side_file import is_served, watch, watched
    from node.gateways.image import folder_of

    serves = False
    for name in fix_gateways(directory):
        folder = folder_of(directory, name)
        serves |= is_served(folder)
        users = watched(folder) | {user} if on else watched(folder) - {user}
        watch(folder, users)
    if as_json:
        screen.print_json({"user": user, "logged": on})
    else:
        since = "from now on" if serves else "once a gateway of FIX runs here; none does now"
        screen.print_line(f"messages of {user} are {'' if on else 'not '}logged {since} (event: fix message)")
    return errors.FINE
