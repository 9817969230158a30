"""Switchover: the primary hands the reign to its standby, without loss, by command or because it ends in order."""

import asyncio
import time
from typing import TYPE_CHECKING, Final, Protocol

from node.control import OperationRefused
from replication.lease import lease_clock_ns
from replication.primary import Primary

if TYPE_CHECKING:
    from node.node import Node

#: Longest preparation, during which nothing is taken, in seconds; one whose standby leaves ends at once.
HANDOVER_S: Final = 1.0
#: Longest wait before that for a standby that is silent or behind, in seconds. Orders are taken meanwhile.
NEAR_S: Final = 2.0
#: Time for the answer to the operator who hands over, in seconds.
_ANSWER_S: Final = 0.01
_LOOK_S: Final = 0.001


class Pair(Protocol):
    """The replication of the primary (``node.pair.Pair``)."""

    primary: Primary | None
    handed_over: bool

    def send_all(self) -> None:
        """Send what the copies are to get."""
        ...

    async def release_reign(self, successor: str = "") -> None:
        """Give the reign up at the arbiter."""
        ...


def has_standby_in_sync(primary: Primary | None) -> bool:
    """True if another node can take over now."""
    return primary is not None and any(copy["in_sync"] and copy["role"] == "standby" for copy in primary.status())


async def switch_over(pair: Pair, node: "Node", name: str) -> str:
    """Hand the reign to the standby; gives its name. This node, ``name``, ends then, as deposed.

    Raises OperationRefused where there is no standby in sync, or it is not ready in time; then nothing changed.
    """
    primary = pair.primary
    if primary is None:
        raise OperationRefused(f"{name} is not primary; send the command to the primary")
    deadline_s = time.monotonic() + NEAR_S
    while True:
        if pair.handed_over or not node.intake.reigns:
            raise OperationRefused("a switchover is under way")
        why = primary.why_no_heir or primary.why_not_hand_over(lease_clock_ns())
        if not why:
            break
        if primary.why_no_heir:
            raise OperationRefused(f"no switchover: {why}")
        await _pause(deadline_s, why, NEAR_S)
    node.intake.reigns = False
    node.command_entry.elsewhere = "the reign is being handed over; repeat the command"
    try:
        deadline_s = time.monotonic() + HANDOVER_S
        while node.market.published_seq < node.engine.seq:
            _check_heir(primary)
            await _pause(deadline_s, "the last commands are not acknowledged yet", HANDOVER_S)
        why = primary.hand_over()
        if why:
            raise OperationRefused(f"no switchover: {why}")
        pair.send_all()
        while not primary.is_ready:
            _check_heir(primary)
            await _pause(deadline_s, f"{primary.handover_to} is not ready", HANDOVER_S)
    except BaseException:  # also an end of the request: the market goes on
        primary.handover_to = ""
        node.intake.reigns = True
        node.command_entry.elsewhere = ""
        node.await_absent()  # cancels of users who left meanwhile were refused
        node.gateway.resume()
        raise
    successor = primary.handover_to
    pair.handed_over = True
    await pair.release_reign(successor)
    # The operator's request is answered first; clients are told nothing meanwhile, as the lease is over.
    asyncio.get_running_loop().call_later(_ANSWER_S, node.depose, f"{successor} takes over by command")
    return successor


def _check_heir(primary: Primary) -> None:
    """Raise OperationRefused where the standby has left, or is taken out as silent: it will not be ready."""
    if why := primary.why_no_heir:
        raise OperationRefused(f"no switchover: {why} any more")


async def _pause(deadline_s: float, why: str, within_s: float) -> None:
    """Wait a moment. Raises OperationRefused after the deadline, which was set ``within_s`` ahead."""
    if time.monotonic() > deadline_s:
        raise OperationRefused(f"no switchover: {why} after {within_s:g} s")
    await asyncio.sleep(_LOOK_S)
