"""FIX 4.2, 4.4 and 5.0 SP2 as a protocol of the gateway."""

from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np

from engine.capacity import Capacity
from engine.jit import Packed
from gateway.fix.accounts import Accounts
from gateway.fix.kernels import compile_kernels
from gateway.fix.marks import NUMBER
from gateway.fix.outbox import FixOutbox
from gateway.fix.session import FixSession
from gateway.outbox import PAST_DAYS, Outbox
from gateway.passwords import PASSWORD_CHARACTERS_MAX

_SECOND_NS: Final = 1_000_000_000


class Known(NamedTuple):
    """Instruments, as sessions look them up."""

    price_max_e4: np.ndarray[Any, Any]  # int64[instruments + 1], as of ``gateway.streams``


def read_streams(*_arguments: object) -> int:
    """Load the kernels of sessions, and read nothing: sessions read (``gateway.protocol.RowSession``)."""
    compile_kernels()
    return 0


class Fix:
    """FIX (``gateway.protocol.OrderProtocol``)."""

    name = "fix"
    number = NUMBER
    outbox_name = FixOutbox.name
    password_characters_max = PASSWORD_CHARACTERS_MAX
    read_streams = staticmethod(read_streams)
    answer_block = None
    heartbeat = b""
    heartbeat_ns = _SECOND_NS
    silence_ns = 15 * _SECOND_NS
    #: Session of a connection.
    made: type[FixSession] = FixSession

    def __init__(self, accounts: Accounts | None = None) -> None:
        """``accounts``: terms of users; None: all have the same."""
        self.accounts = accounts or Accounts()

    def session(self, now_ns: int) -> FixSession:
        """Session of a new connection."""
        return self.made(now_ns, accounts=self.accounts)

    def outbox(
        self, directory: Path, capacity: Capacity, journal_id: bytes, *, past_days: int = PAST_DAYS
    ) -> FixOutbox:
        """Streams of the users as before the first command."""
        return FixOutbox(directory, capacity, journal_id, past_days=past_days)

    def known(self, outbox: Outbox[Any]) -> Packed[Known]:
        """Instruments with which messages are explained."""
        return Packed(Known(outbox.streams.price_max_e4))


FIX: Final = Fix()
