"""Login records. The engine only validates them.

A gateway reads users and credentials out of the journal. The market keeps nothing of them and decides nothing by them.
"""

from typing import Final

import numpy as np

from engine.bounds import CREDENTIAL_COST_MAX, CREDENTIAL_COST_MIN
from engine.definitions import find_participant, is_name
from engine.events import emit_rejected
from engine.jit import called, lshr
from engine.records import Reason, UserPermission
from engine.state import State

_PERMISSIONS: Final = int(~UserPermission(0))
#: Numbers below these have at most six, and at most four, characters.
_SIX_CHARACTERS: Final = 2**48
_FOUR_CHARACTERS: Final = 2**32


@called
def is_user_name(number):
    """True if a number is a user's name: 1 to 6 of A-Z 0-9 . -"""
    return is_name(number) and number < _SIX_CHARACTERS


@called
def _is_firm(number):
    """True if a number is a firm: 1 to 4 of A-Z 0-9."""
    if not is_name(number) or number >= _FOUR_CHARACTERS:
        return False
    for place in range(4):
        c = lshr(number, 8 * place) & 255
        if c in (45, 46):
            return False
    return True


@called
def user_command(state: State, command, events, n):
    """``user NAME participant=P``: a login for a participant; given again it replaces."""
    name = command["name"]
    firm = command["firm"]
    if not is_user_name(name) or (firm != 0 and not _is_firm(firm)) or np.int64(command["permissions"]) & ~_PERMISSIONS:
        return emit_rejected(state, events, n, name, 0, 0, Reason.INVALID_COMMAND)
    if find_participant(state, command["participant_name"]) == 0:
        return emit_rejected(state, events, n, command["participant_name"], 0, 0, Reason.UNKNOWN_PARTICIPANT)
    return n


@called
def credential_command(state: State, command, events, n):
    """``credential NAME``: the salted hash of a user's password, of any value."""
    name = command["name"]
    cost = np.int64(command["cost"])
    if not is_user_name(name) or cost < CREDENTIAL_COST_MIN or cost > CREDENTIAL_COST_MAX:
        return emit_rejected(state, events, n, name, 0, 0, Reason.INVALID_COMMAND)
    return n
