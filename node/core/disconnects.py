"""Cancels of open orders after a disconnect, for users with ``cancel_on_disconnect`` (rulebook section 9).

They are commands in the journal like any other. The rows of all users that disconnect at one moment are one batch, so
that the end of a node takes one commit, and not one for each user.
"""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from engine.records import COMMAND, CommandKind, Reason, UserPermission
from gateway.ouch.streams import OuchStreams
from gateway.server import BEAT_S, Gateway
from node.core.control import OperationRefused, SubmissionResult
from reports.contexts import OF_DISCONNECT

#: Rows of a batch at most; further ones follow at once.
PIECE_ROWS_MAX: Final = 4_096


class DisconnectCancels:
    """Cancels of users that disconnect. ``submit``: takes COMMAND rows of the node. ``may_write``: False if the disk
    has no room for cancels, which are then left to the next start. ``report``: the log.
    """

    def __init__(
        self,
        streams: OuchStreams,
        submit: Callable[[NDArray[Any]], Awaitable[SubmissionResult]],
        may_write: Callable[[], bool],
        report: Callable[..., None],
    ) -> None:
        self._streams = streams
        self._submit = submit
        self._may_write = may_write
        self._report = report

    def users(self) -> list[int]:
        """Users that cancel on disconnect and have open orders, connected or not."""
        streams, cancels = self._streams, UserPermission.CANCEL_ON_DISCONNECT
        return [int(user) for user in np.flatnonzero(streams.open_counts()) if streams.may(int(user), cancels)]

    async def cancel(self, users: Sequence[int]) -> None:
        """Cancel the open orders of these users; done when that is durable. Raises OperationRefused."""
        counts = self._streams.open_counts()
        orders = {user: int(counts[user]) for user in users if user < len(counts) and counts[user]}
        if not orders:
            return
        if not self._may_write():
            raise OperationRefused("the disk has no room for cancels; they are canceled 10 s after the next start")
        batches = [np.ascontiguousarray(batch).view(np.uint8) for batch in self._rows(list(orders))]
        rows = np.concatenate(batches).view(COMMAND)
        pieces = [rows[at : at + PIECE_ROWS_MAX] for at in range(0, len(rows), PIECE_ROWS_MAX)]
        await asyncio.gather(*(self._submit(piece) for piece in pieces))
        for user, count in orders.items():
            self._report("orders canceled on disconnect", user=self._streams.name(user), orders=count)

    def _rows(self, users: list[int]) -> Iterator[NDArray[Any]]:
        """Rows that cancel the open orders of each user; a single row for the only user of a participant."""
        streams = self._streams
        of_participant = Counter(int(row["participant"]) for _, row in streams.users())
        for user in users:
            row = streams.row(user)
            if of_participant[int(row["participant"])] == 1:
                rows = np.zeros(1, COMMAND)
                rows["kind"], rows["name"] = CommandKind.MASS_CANCEL, row["participant_name"]
                rows["reason"] = Reason.DISCONNECT
            else:
                ids = streams.open_orders(user)
                rows = np.zeros(len(ids), COMMAND)
                rows["kind"], rows["client_order_id"], rows["participant"] = CommandKind.CANCEL, ids, row["participant"]
                rows["context"] = OF_DISCONNECT
            yield rows


class AbsentUsers:
    """Users that cancel on disconnect and have left without a disconnect, as at the end of a day: each has ``grace_s``
    to log in again at any gateway of the node. ``cancel``: cancels the orders of those who do not.
    """

    def __init__(self, gateway: Gateway, grace_s: float, cancel: Callable[[list[int]], Awaitable[None]]) -> None:
        self._gateway, self._grace_s, self._cancel = gateway, grace_s, cancel
        self._waited_for: set[int] = set()

    async def wait(self, users: list[int]) -> None:
        """Wait ``grace_s`` of reading time in which logins are taken, then cancel the orders of users that have not
        logged in again. Whoever is waited for already is not waited for longer, however often it leaves."""
        absent = [user for user in dict.fromkeys(users) if user not in self._waited_for]
        self._waited_for.update(absent)
        while absent and self._gateway.elsewhere:
            await asyncio.sleep(BEAT_S)
        attention = self._gateway.attention
        until_ns = attention.present_ns + int(self._grace_s * 1e9)
        while absent and attention.present_ns < until_ns:
            await asyncio.sleep(BEAT_S)
            absent = self._without_those_who_are_back(absent)
        absent = self._without_those_who_are_back(absent)
        self._waited_for.difference_update(absent)
        if absent:
            await self._cancel(absent)

    def _without_those_who_are_back(self, users: list[int]) -> list[int]:
        register = self._gateway.register
        self._waited_for.difference_update(user for user in users if user in register)
        return [user for user in users if user not in register]
