"""`lockstep status` and `lockstep switchover`: a node of a pair, as its operator and a supervisor see it."""

from pathlib import Path
from typing import Any, Final

from cli import errors, screen
from cli.admin import connected
from directory.divergence import advice, read_mark
from node.link import LinkError

_LABELS: Final = {
    "node": "node",
    "role": "role",
    "state": "state",
    "state_reason": "reason for the state",
    "epoch": "epoch",
    "primary": "primary",
    "clients_address": "clients connect to",
    "since": "primary since",
    "policy": "answers wait for",
    "seq": "last command applied",
    "released_seq": "last command answered",
    "event_digest": "event digest",
    "agreed_seq": "same digests up to",
    "lag_commands": "lag, commands",
    "arbiter": "arbiter",
}
_POLICIES: Final = {
    "none": "nothing",
    "fsync": "the disk here",
    "replica": "the standby's memory",
    "both": "both disks",
}


def status(directory: Path, *, is_primary: bool, as_json: bool) -> int:
    """Print the pair as a node sees it; with ``is_primary`` nothing, and status 0 only of the primary."""
    try:
        with connected(directory) as link:
            pair = link.ask("pair")["pair"]
    except LinkError as error:
        mark = read_mark(directory)
        if mark is None or is_primary:
            raise
        raise errors.CheckFailed(f"{mark.sentence}; {advice(directory)}") from error
    if is_primary:
        return errors.FINE if pair["role"] == "primary" and pair["state"] == "reigning" else errors.FOUND
    if as_json:
        screen.print_json(pair)
    else:
        screen.facts(_facts(pair))
        for sentence in pair["divergences"]:
            screen.verdict(False, f"DIVERGED: {sentence}")
    return errors.FINE


def _facts(pair: dict[str, Any]) -> list[tuple[str, str]]:
    words = {
        **pair,
        "policy": _POLICIES.get(pair["policy"], pair["policy"]),
        "arbiter": pair["arbiter"] or "answers",
        "primary": pair["primary"] or "not known",
    }
    facts = [
        (label, screen.count(words[key]) if isinstance(words[key], int) else str(words[key]))
        for key, label in _LABELS.items()
        if words[key] != ""
    ]
    facts.append(("may take over", ", ".join(pair["in_sync"]) or "nobody"))
    if pair["role"] == "primary":
        for copy in pair["copies"]:
            lag = screen.count(copy["lag_commands"])
            synced = "in sync" if copy["in_sync"] else "not in sync"
            facts.append((f"{copy['role']} {copy['name']}", f"{synced}, {lag} commands behind"))
        if not pair["copies"]:
            facts.append(("standby", "none is connected"))
    else:
        facts.append(("can take over now", pair["cannot_take_over_reason"] or "yes"))
    return facts


def switch_over(directory: Path, *, as_json: bool) -> int:
    """Hand the reign of the primary on a directory to its standby."""
    with connected(directory) as link:
        done = link.ask("switchover")["switchover"]
    if as_json:
        screen.print_json(done)
    else:
        screen.print_line(f"{done['primary']} takes over; this node starts again as a copy")
    return errors.FINE
