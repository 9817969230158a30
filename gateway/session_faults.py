"""Faults of this side that concern one session: the code of its protocol raised what it never should.

Such a fault ends the connection of that session, and the log has its traceback and what was read. All others go on.
Nothing of it is journaled in part: a session's rows go to the market whole, and what has no number of the journal is
asked for again at the next login.
"""

import traceback
from typing import Final, NamedTuple

from gateway.spool import SpoolError
from tape.errors import TapeError

#: Faults of the machine, and of what all clients share: they end the gateway.
OF_ALL: Final = (SpoolError, TapeError, OSError, MemoryError)
#: Reason that the client is told.
WHY: Final = "a fault of the exchange ended this session; log in again, and send what has no answer"
#: Octets of what was read, and characters of the traceback, that the log has at most.
READ_BYTES_MAX: Final = 1_024
_TRACEBACK_CHARACTERS_MAX: Final = 8_192


class SessionFault(NamedTuple):
    """A fault, for the log. read: what the session was reading, as text without passwords. secret: whether that has a
    password, which the text of the error may repeat."""

    error: Exception
    read: str = ""
    secret: bool = False

    @property
    def why(self) -> str:
        """The error in one line."""
        name = type(self.error).__name__
        return name if self.secret else f"{name}: {self.error}"

    @property
    def traceback(self) -> str:
        """The calls down to where the error was raised, and the error."""
        frames = "".join(traceback.format_tb(self.error.__traceback__))
        return f"{frames[-_TRACEBACK_CHARACTERS_MAX:]}{self.why}"
