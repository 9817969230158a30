"""Report of a pair by one of its nodes, under ``node.core.control.PAIR_KEYS``."""

from typing import Any

from node.pair.copy_age import CopyAge
from notation.words import iso_time
from replication.arbiter import Reign
from replication.candidacy import Candidacy
from replication.primary import Primary
from replication.standby import Standby
from replication.tenure import Tenure


def of_reign(reign: Reign | None, primary: str) -> dict[str, Any]:
    """Name of the primary by the arbiter's record; without one, ``primary`` as this node has heard."""
    if reign is None:
        words = dict.fromkeys(("primary_address", "clients_address", "since", "forced"), "")
        return {"primary": primary, **words, "in_sync": []}
    return {
        "primary": reign.primary,
        "primary_address": reign.address,
        "clients_address": reign.clients,
        "since": iso_time(reign.since_ns) or "",
        "forced": reign.forced,
        "in_sync": sorted(reign.names_in_sync),
    }


def of_primary(primary: Primary, tenure: Tenure, *, seq: int, released_seq: int, unsure: str) -> dict[str, Any]:
    """State of a primary and of its copies. ``unsure``: reason for which it may not answer now."""
    copies = primary.status()
    synced = [copy for copy in copies if copy["in_sync"]]
    return {
        "role": "primary",
        "state": "unsure" if unsure else "reigning",
        "state_reason": unsure,
        "agreed_seq": min((copy["agreed_seq"] for copy in synced), default=seq),
        "released_seq": released_seq,
        "lag_commands": max((copy["lag_commands"] for copy in synced), default=0),
        "lag_s": 0.0,
        "silence_s": 0.0,
        "can_take_over": 0,
        "cannot_take_over_reason": "",
        "arbiter": tenure.failure,
        "copies": copies,
        "diverged": sorted(primary.divergences),
    }


def of_copy(
    standby: Standby, candidacy: Candidacy, age: CopyAge, *, why_not: str, said: str, began_ns: int, now_ns: int
) -> dict[str, Any]:
    """State of a copy. ``why_not``: reason for which it does not take over. ``said``: last sentence on its link."""
    failure, standing = candidacy.failure, candidacy.standing
    why_not = why_not or (f"the arbiter does not answer: {failure}" if failure else "")
    if standing is None or not standing.held:
        why_not = why_not or candidacy.why
    elif not why_not and standby.state != "following" and standing.reign is not None:
        why = standby.why or said or "it is not connected"
        why_not = f"{standby.identity.name} does not follow the primary {standing.reign.primary} now: {why}"
    return {
        "role": standby.role,
        "state": standby.state,
        "state_reason": standby.why or said,
        "agreed_seq": standby.status()["agreed_seq"],
        "released_seq": standby.released_seq,
        "lag_commands": standby.lag_commands,
        "lag_s": age.seconds(now_ns),
        "silence_s": round((now_ns - (standby.last_sign_ns or began_ns)) / 1e9, 3),
        "can_take_over": int(not why_not),
        "cannot_take_over_reason": why_not,
        "arbiter": failure,
        "copies": [],
        "diverged": [standby.identity.name] if standby.divergence is not None else [],
    }
