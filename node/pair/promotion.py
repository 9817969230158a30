"""Promotion of a copy by its operator, though it may lack acknowledged orders (`lockstep promote --force`).

``survey`` says what may be lost, from what this node knows and what the arbiter has on record. ``promote`` asks the
arbiter for the reign under the operator's reason. The arbiter never overrides a lease that is held, so a primary that
lives is never replaced this way.
"""

import asyncio
import time
from typing import TYPE_CHECKING, Any, Final, Protocol

from node.core.control import OperationRefused, OperationUnfinished, RefusedForNow
from notation.words import iso_time
from replication.arbiter import REASON_CHARACTERS_MAX, Arbiter, ArbiterError, Reign, Standing, name_of
from replication.candidacy import Candidacy
from replication.lease import lease_clock_ns
from replication.link import Identity
from replication.primary import Primary
from replication.standby import Standby

if TYPE_CHECKING:
    from node.node import Node

#: Longest wait for the reign, in seconds. The lease of a primary that died may run out meanwhile.
PROMOTE_S: Final = 10.0
_LOOK_S: Final = 0.005


class Copy(Protocol):
    """A node of a pair (``node.pair.member.Pair``) that is to be promoted."""

    identity: Identity
    standby: Standby
    candidacy: Candidacy
    primary: Primary | None

    def status(self) -> dict[str, Any]:
        """Report by ``node.core.control.PAIR_KEYS``."""
        ...


async def survey(pair: Copy, node: "Node", arbiter: Arbiter) -> dict[str, Any]:
    """Consequences of a promotion: values by ``node.core.control.PROMOTION_KEYS``. Raises OperationRefused."""
    if pair.primary is not None:
        raise OperationRefused(f"{pair.identity.name} is primary already")
    try:
        standing = await arbiter.read()
    except ArbiterError as error:
        raise RefusedForNow(f"nobody can be promoted while the arbiter does not answer: {error}") from None
    status = pair.status()
    reign = standing.reign
    others = _others(reign, pair.standby.member)
    found: dict[str, Any] = {
        "node": pair.identity.name,
        "role": status["role"],
        "primary": reign.primary if reign is not None else "",
        "epoch": reign.epoch if reign is not None else 0,
        "seq": node.engine.seq,
        "clock": iso_time(node.engine.now_ns) or "",
        "primary_seq": pair.standby.primary_seq,
        "released_seq": pair.standby.released_seq,
        "lag_commands": status["lag_commands"],
        "lag_s": status["lag_s"],
        "silence_s": status["silence_s"],
        "may_take_over": others,
        "refused": _refusal(pair, standing),
    }
    return found | {"losses": _losses(found, reign, heard=pair.standby.last_sign_ns > 0)}


def _others(reign: Reign | None, own: str) -> list[str]:
    """Nodes that may take over by the arbiter's record, without this one."""
    if reign is None:
        return []
    names = []
    for member in reign.in_sync:
        if name_of(member) != name_of(own):
            names.append(name_of(member))
        elif not reign.has_in_sync(own):
            names.append(f"another data directory of {name_of(own)}")
    return names


def _refusal(pair: Copy, standing: Standing) -> str:
    """Reason for which this node cannot even be forced; "" if it can."""
    name, reign = pair.identity.name, standing.reign
    if pair.standby.divergence is not None:
        return f"{name} has diverged: {pair.standby.why}; rebuild it"
    if standing.held and reign is not None:
        return (
            f"{reign.primary} is primary in epoch {reign.epoch} and holds the lease, which is never overridden; "
            f"hand over with `lockstep switchover` there, or end {reign.primary} first"
        )
    if standing.successor not in ("", name):
        return f"{standing.successor} is to take over after a switchover; try again in a moment"
    return ""


def _losses(found: dict[str, Any], reign: Reign | None, *, heard: bool) -> list[str]:
    """Sentences on what may be lost. ``heard``: this node has heard of the primary since its start."""
    primary = found["primary"] or "the primary"
    missing = found["released_seq"] - found["seq"]
    behind = found["lag_commands"]
    age = f"this node was certainly up to date {found['lag_s']:,.1f} s ago"
    lost = "orders that were answered since then may be lost"
    sentences = []
    if missing > 0:
        sentences.append(f"{missing} commands that {primary} has answered are known to be missing here: they are lost")
    elif behind:
        sentences.append(
            f"{behind} commands that {primary} had are missing here; it had not told that it answered them"
        )
    elif heard:
        sentences.append(f"no command is known to be missing: {primary} was last heard at command {found['seq']}")
    if heard:
        sentences.append(f"{age}, and last heard of {primary} {found['silence_s']:,.1f} s ago: {lost}")
    else:
        sentences.append(f"{age}, and has not heard of {primary} since its own start: {lost}")
    if found["may_take_over"]:
        names = " or ".join(found["may_take_over"])
        sentences.append(f"{names} has every acknowledged order by the arbiter's record: start it instead, if you can")
    elif reign is not None and found["node"] in reign.names_in_sync:
        sentences.append(f"the arbiter's record names {found['node']} alone as complete")
    sentences.append(f"what only {primary} has goes into a quarantine on its disk when it comes back as a copy")
    return sentences


async def promote(pair: Copy, node: "Node", arbiter: Arbiter, reason: str) -> dict[str, Any]:
    """Make this node primary under a reason, which goes on record; gives the survey with the epoch won.

    Raises OperationRefused; then nothing was changed, or the sentence says that the outcome is not known.
    """
    why = " ".join(reason.split())
    if not why or len(why) > REASON_CHARACTERS_MAX or not why.isprintable():
        raise OperationRefused(
            f"the reason has {len(why)} characters; give 1 to {REASON_CHARACTERS_MAX} printable ones"
        )
    found = await survey(pair, node, arbiter)
    if found["refused"]:
        raise OperationRefused(f"not promoted: {found['refused']}")
    candidacy = pair.candidacy
    node.log.warning("the operator forces a reign", reason=why, losses=found["losses"])
    candidacy.force = why
    candidacy.hurry(lease_clock_ns())
    deadline_s = time.monotonic() + PROMOTE_S
    try:
        while pair.primary is None:
            if time.monotonic() > deadline_s:
                kept = candidacy.failure or candidacy.why
                raise OperationUnfinished(
                    f"not promoted within {PROMOTE_S:g} s: {kept}; `lockstep status` shows the outcome"
                )
            await asyncio.sleep(_LOOK_S)
    finally:
        candidacy.force = ""
    return found | {"epoch": node.journal.epoch, "forced": why}
