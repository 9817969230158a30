"""Mass cancels that users ask for: all open orders of the user's participant, in one instrument or in each.

They are commands in the journal like those of the operator. A request that is lost with its connection, or refused
here, has no answer and is repeated by the client: twice is as once.
"""

from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from engine.names import pack
from engine.records import COMMAND, CommandKind, Reason
from gateway.protocol import MassCancel
from gateway.streams import Streams
from node.core.control import OperationRefused, SubmissionResult

#: Mass cancels of one user that may wait for the market; one more ends the login.
WAITING_MAX: Final = 8
TOO_MANY: Final = f"{WAITING_MAX} mass cancels wait already; wait for the report of each"


class MassCancels:
    """Mass cancels of users. ``submit``: takes COMMAND rows of the node. ``may_write``: False if the disk has no room.

    ``disconnect``: ends a user's login, with the reason. ``report``: the log.
    """

    def __init__(
        self,
        streams: Streams,
        submit: Callable[[NDArray[Any]], Awaitable[SubmissionResult]],
        may_write: Callable[[], bool],
        disconnect: Callable[[int, str], object],
        report: Callable[..., None],
    ) -> None:
        self._streams, self._submit, self._may_write = streams, submit, may_write
        self._disconnect, self._report = disconnect, report
        self._waiting: Counter[int] = Counter()

    def admit(self, user: int) -> bool:
        """Count a request that will be done; False, and the end of the login, where too many wait."""
        if self._waiting[user] >= WAITING_MAX:
            self._disconnect(user, TOO_MANY)
            return False
        self._waiting[user] += 1
        return True

    async def cancel(self, user: int, asked: MassCancel) -> None:
        """Do a request that was admitted."""
        row = self._streams.row(user)
        rows = np.zeros(1, COMMAND)
        rows["kind"], rows["name"] = CommandKind.MASS_CANCEL, row["participant_name"]
        rows["side"], rows["reason"] = asked.side, Reason.MASS_CANCEL
        try:
            if asked.symbol:
                rows["symbol"] = pack(asked.symbol)
            if not self._may_write():
                raise OperationRefused("the disk has no room for cancels")
            await self._submit(rows)
        except (OperationRefused, ValueError) as refused:
            self._report("mass cancel not done", user=self._streams.name(user), why=str(refused))
        finally:
            self._waiting[user] -= 1
            self._waiting += Counter()  # forgets users of whom none waits
