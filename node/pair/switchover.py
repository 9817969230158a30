"""Switchover: the primary hands the reign to its standby, without loss, by command or because it ends in order."""

import asyncio
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Final, Protocol

from node.core import lapse
from node.core.control import OperationRefused, OperationUnfinished, RefusedForNow
from replication.arbiter import Arbiter, ArbiterError
from replication.lease import lease_clock_ns
from replication.primary import Primary

if TYPE_CHECKING:
    from node.node import Node

#: Longest preparation, during which nothing is taken, in seconds; one whose standby leaves ends at once.
HANDOVER_S: Final = 1.0
#: Longest wait before that for a standby that is silent or behind, in seconds. Orders are taken meanwhile.
NEAR_S: Final = 2.0
#: Longest wait for the reign of the standby, in seconds, after this one was given up.
TAKEN_S: Final = 3.0
#: Time between two readings of the arbiter's record meanwhile, in seconds.
_READ_S: Final = 0.005
#: Time for the answer to the operator who hands over, in seconds.
_ANSWER_S: Final = 0.01
_LOOK_S: Final = 0.001


class Pair(Protocol):
    """The replication of the primary (``node.pair.member.Pair``)."""

    primary: Primary | None
    handed_over: bool

    def send_all(self) -> None:
        """Send what the copies are to get."""
        ...

    def unsure(self) -> str:
        """Reason for which this primary may not answer now; "" if it may."""
        ...

    def lapsed(self) -> str:
        """The same where it lasts."""
        ...

    def part(self) -> None:
        """End the connections of the copies."""
        ...

    async def release_reign(self, successor: str = "") -> None:
        """Give the reign up at the arbiter."""
        ...


def has_standby_in_sync(primary: Primary | None) -> bool:
    """True if another node can take over now."""
    return primary is not None and any(copy["in_sync"] and copy["role"] == "standby" for copy in primary.status())


async def switch_over(pair: Pair, node: "Node", arbiter: Arbiter, name: str) -> str:
    """Hand the reign to the standby; gives its name once it reigns. This node, ``name``, ends then, as deposed.

    Raises OperationRefused where there is no standby in sync, or it is not ready in time, or the arbiter does not
    answer; then nothing changed. Raises OperationUnfinished where the reign was given up and nobody took it in time;
    this node ends then too.
    """
    primary = pair.primary
    if primary is None:
        raise OperationRefused(f"{name} is not primary; send the command to the primary")
    await _look_ahead(pair, node, arbiter, primary)
    if node.suspension:
        await _restore_phases(pair, node)
    node.intake.reigns = False
    node.command_entry.elsewhere = "the reign is being handed over; repeat the command"
    node.command_entry.handed_over = True
    try:
        deadline_s = time.monotonic() + HANDOVER_S
        while node.market.published_seq < node.engine.seq:
            _check_heir(primary)
            await _pause(deadline_s, pair.unsure() or "the last commands are not acknowledged yet", HANDOVER_S)
        why = primary.hand_over()
        if why:
            raise RefusedForNow(f"no switchover: {why}")
        pair.send_all()
        while not primary.is_ready:
            _check_heir(primary)
            await _pause(deadline_s, f"{primary.handover_to} is not ready", HANDOVER_S)
        if why := pair.unsure():
            raise RefusedForNow(f"no switchover: {why}")
    except BaseException:  # also an end of the request: the market goes on
        primary.handover_to = ""
        node.intake.reigns = True
        node.command_entry.elsewhere = ""
        node.command_entry.handed_over = False
        node.await_absent()  # cancels of users who left meanwhile were refused
        node.gateway.resume()
        raise
    successor = primary.handover_to
    pair.handed_over = True
    said = f"{successor} was to take over by command, and may not have"
    try:
        await pair.release_reign(successor)
        pair.part()
        await _taken(arbiter, node.journal.epoch, name, successor)
        said = f"{successor} takes over by command"
    finally:
        # The operator's request is answered first; clients are told nothing meanwhile, as the lease is over.
        asyncio.get_running_loop().call_later(_ANSWER_S, node.depose, said)
    return successor


async def _look_ahead(pair: Pair, node: "Node", arbiter: Arbiter, primary: Primary) -> None:
    """Wait until a handover would be quick, while orders are taken. Raises OperationRefused."""
    deadline_s = time.monotonic() + NEAR_S
    while True:
        if pair.handed_over or not node.intake.reigns:
            raise RefusedForNow("a switchover is under way")
        lapse.check(pair)
        why = primary.why_no_heir or primary.why_not_hand_over(lease_clock_ns()) or pair.unsure()
        if not why:
            break
        if primary.why_no_heir:
            raise RefusedForNow(f"no switchover: {why}")
        await _pause(deadline_s, why, NEAR_S)
    # A lease outlasts the arbiter for a while, and without an arbiter a reign that is given up is nobody's.
    try:
        await arbiter.read()
    except ArbiterError as error:
        raise RefusedForNow(f"no switchover, and nothing was done: {error}") from None
    if pair.handed_over or not node.intake.reigns:
        raise RefusedForNow("a switchover is under way")


async def _restore_phases(pair: Pair, node: "Node") -> None:
    """End the halts that this node ordered, for its successor does not know of them. Raises OperationRefused where
    another switchover began meanwhile. They come again by themselves where this one fails.
    """
    try:
        async with asyncio.timeout(HANDOVER_S):
            await node.suspension.put_back()
    except (OperationRefused, TimeoutError) as refused:
        why = str(refused) or f"that took longer than {HANDOVER_S:g} s"
        node.log.warning("the phases are not restored before the switchover", why=why)
    if pair.handed_over or not node.intake.reigns:
        raise RefusedForNow("a switchover is under way")


async def _taken(arbiter: Arbiter, epoch: int, name: str, successor: str) -> None:
    """Wait until another reign than that of ``epoch`` has begun. Raises OperationUnfinished."""
    why = ""
    with suppress(TimeoutError):
        async with asyncio.timeout(TAKEN_S):
            while True:
                try:
                    standing = await arbiter.read()
                except ArbiterError as error:
                    why = f", and the arbiter does not answer: {error}"
                else:
                    why = ""
                    if standing.reign is not None and standing.reign.epoch > epoch:
                        return
                await asyncio.sleep(_READ_S)
    raise OperationUnfinished(
        f"{name} has given up the reign, and it is not known within {TAKEN_S:g} s that {successor} has taken it{why}; "
        f"{name} starts again as a copy, and `lockstep status` shows on both nodes who is primary"
    )


def _check_heir(primary: Primary) -> None:
    """Raise OperationRefused where the standby has left, or is taken out as silent: it will not be ready."""
    if why := primary.why_no_heir:
        raise RefusedForNow(f"no switchover: {why} any more")


async def _pause(deadline_s: float, why: str, within_s: float) -> None:
    """Wait a moment. Raises OperationRefused after the deadline, which was set ``within_s`` ahead."""
    if time.monotonic() > deadline_s:
        raise RefusedForNow(f"no switchover: {why} after {within_s:g} s")
    await asyncio.sleep(_LOOK_S)
