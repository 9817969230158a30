"""`lockstep status` and `lockstep switchover`: a node of a pair, as its operator and a supervisor see it."""

from pathlib import Path
from typing import Any, Final

from cli import errors, screen
from cli.operating.admin import connected
from cli.operating.top_workings import process_words
from directory.divergence import advice, read_mark
from node.operator.link import LinkError, LinkLost
from notation.moments import plain_time
from notation.words import duration

_LABELS: Final = {
    "node": "node",
    "role": "role",
    "state": "state",
    "state_reason": "reason for the state",
    "epoch": "epoch",
    "primary": "primary",
    "clients_address": "clients connect to",
    "since": "primary since",
    "forced": "forced by the operator",
    "policy": "answers wait for",
    "seq": "last command applied",
    "released_seq": "last command answered",
    "event_digest": "event digest",
    "speed_bump_ns": "entry delay",
    "agreed_seq": "same digests up to",
    "lag_commands": "lag, commands",
    "arbiter": "arbiter",
}
#: Roles and states of a node that takes orders.
_TAKES_ORDERS: Final = frozenset({("primary", "reigning"), ("single", "open")})
_POLICIES: Final = {
    "none": "nothing",
    "fsync": "the disk here",
    "replica": "the standby's memory",
    "both": "both disks",
}
#: Policies under which answers wait for a standby that is in sync.
_OF_STANDBYS: Final = ("replica", "both")


class NodeSilent(Exception):
    """The node runs and does not answer; the message says so."""


def status(directory: Path, *, is_primary: bool, as_json: bool) -> int:
    """Print the pair as a node sees it; with ``is_primary`` nothing, and status 0 only of the primary."""
    try:
        with connected(directory) as link:
            pair = link.ask("pair")["pair"]
    except LinkLost as lost:
        raise NodeSilent(str(lost)) from None
    except LinkError as error:
        mark = read_mark(directory)
        if mark is None or is_primary:
            raise
        raise errors.CheckFailed(f"{mark.sentence}; {advice(directory)}") from error
    if is_primary:
        return errors.FINE if (pair["role"], pair["state"]) in _TAKES_ORDERS else errors.FOUND
    if as_json:
        screen.print_json(report_object(pair))
    else:
        screen.facts(_facts(pair) if pair["role"] != "single" else _single_facts(pair))
        for sentence in pair["divergences"]:
            screen.verdict(False, f"DIVERGED: {sentence}")
    return errors.FOUND if pair["diverged"] else errors.FINE


def report_object(pair: dict[str, Any]) -> dict[str, Any]:
    """Report of a node (``node.core.control.PAIR_KEYS``) for programs: null for what is not known."""
    known = {key: value if value != "" else None for key, value in pair.items()}
    return {**known, "can_take_over": bool(pair["can_take_over"])}


def _single_facts(pair: dict[str, Any]) -> list[tuple[str, str]]:
    """Facts about a node that is not of a pair."""
    words = {**pair, "role": "none: this node is not of a pair", "policy": _POLICIES.get(pair["policy"], "")}
    words["speed_bump_ns"] = _delay(pair)
    keys = ("role", "state", "state_reason", "policy", "speed_bump_ns", "seq", "released_seq", "event_digest")
    facts = [(_LABELS[key], _counted(words[key])) for key in keys if words[key] != ""]
    return facts + _processes(pair) + _warnings(pair)


def _delay(pair: dict[str, Any]) -> str:
    """Entry delay in words; "" of a node of an earlier release, which does not say it."""
    if "speed_bump_ns" not in pair:
        return ""
    return duration(pair["speed_bump_ns"]) if pair["speed_bump_ns"] else "none"


def _counted(value: Any) -> str:
    return screen.count(value) if isinstance(value, int) else str(value)


def _facts(pair: dict[str, Any]) -> list[tuple[str, str]]:
    words = {
        **pair,
        "policy": _awaited(pair),
        "speed_bump_ns": _delay(pair),
        "arbiter": pair["arbiter"] or "answers",
        "primary": pair["primary"] or "not known",
        "since": plain_time(pair["since"]),
    }
    facts = [(label, _counted(words[key])) for key, label in _LABELS.items() if words[key] != ""]
    if pair["role"] != "primary":
        facts.append(("up to date", f"{pair['lag_s']:,.1f} s ago"))
        facts.append(("primary last heard", f"{pair['silence_s']:,.1f} s ago"))
    facts.append(("may take over", ", ".join(pair["in_sync"]) or "nobody"))
    if pair["role"] == "primary":
        for copy in pair["copies"]:
            lag = screen.count(copy["lag_commands"])
            synced = "in sync, " if copy["in_sync"] else "not in sync, "
            word = synced if copy["role"] == "standby" else ""  # no other copy is ever in sync
            facts.append((f"{copy['role']} {copy['name']}", f"{word}{lag} commands behind"))
        if not pair["copies"]:
            facts.append(("standby", "none is connected"))
    else:
        facts.append(("can take over now", pair["cannot_take_over_reason"] or "yes"))
    return facts + _processes(pair) + _warnings(pair)


def _processes(pair: dict[str, Any]) -> list[tuple[str, str]]:
    """Processes that the operator named, with the core beside them, and others that do not run."""
    found = pair.get("processes", ())
    named = any(each["named"] for each in found)
    shown = [each for each in found if each["named"] or each["reason"] or (named and each["process"] == "core")]
    return [(f"process {each['process']}", process_words(each)) for each in shown]


def _warnings(pair: dict[str, Any]) -> list[tuple[str, str]]:
    return [("warning", sentence) for sentence in pair.get("warnings", ())]  # a node of an earlier release has none


def _awaited(pair: dict[str, Any]) -> str:
    """Disks or memory that answers wait for now: without a standby in sync only one disk counts."""
    if pair["policy"] in _OF_STANDBYS and pair["primary"] and pair["in_sync"] == [pair["primary"]]:
        return f"the disk of {pair['primary']} alone, since no standby is in sync"
    return _POLICIES.get(pair["policy"], str(pair["policy"]))


#: Style of what an operator must look at.
_ALARM: Final = "bold red"


def pair_facts(pair: dict[str, Any]) -> list[tuple[str, str, str]]:
    """A pair in a few facts, for `lockstep top`: name, value, style. Red: diverged, or not in sync."""
    bad = {"unsure", "disconnected", "refused", "diverged", "elsewhere", "apart"}
    style = _ALARM if pair["state"] in bad else ""
    facts = [
        ("role", f"{pair['role']} {pair['node']} {pair['state']}", style),
        ("epoch", screen.count(pair["epoch"]), ""),
    ]
    if pair["role"] == "primary":
        standbys = [copy for copy in pair["copies"] if copy["role"] == "standby"]
        if not standbys:
            facts.append(("standby", "none", _ALARM))
        for copy in pair["copies"]:
            synced = copy["in_sync"] or copy["role"] != "standby"
            word = "" if copy["role"] != "standby" else "in sync, " if synced else "NOT IN SYNC, "
            lag = f"{word}{screen.count(copy['lag_commands'])} behind"
            facts.append((copy["role"], f"{copy['name']} {lag}", "" if synced else _ALARM))
    else:
        lag = f"{screen.count(pair['lag_commands'])} commands, {pair['lag_s']:,.1f} s behind"
        facts.append(("lag", lag, ""))
        if pair["role"] == "standby":
            ready = bool(pair["can_take_over"])
            facts.append(("takeover", "ready" if ready else "NOT READY", "" if ready else _ALARM))
    if pair["diverged"]:
        facts.append(("DIVERGED", ", ".join(pair["diverged"]), _ALARM))
    return facts


def switch_over(directory: Path, *, as_json: bool) -> int:
    """Hand the reign of the primary on a directory to its standby."""
    with connected(directory) as link:
        done = link.ask("switchover")["switchover"]
    said = f"{done['primary']} takes over; this node starts again as a copy"
    with screen.answer(said):
        screen.print_json(done) if as_json else screen.print_line(said)
    return errors.FINE
