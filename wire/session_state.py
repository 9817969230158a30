"""States of a session, and what is due in it as time passes, whatever the protocol."""

from enum import Enum


class State(Enum):
    """State of a session."""

    LOGIN = "login"
    ASKED = "asked"
    LIVE = "live"
    ENDED = "ended"


class Due(Enum):
    """Action that is due as time passes."""

    NOTHING = "nothing"
    HEARTBEAT = "heartbeat"
    TIMED_OUT = "timed out"
