"""Users and their passwords: the market says whether a row is well formed, and keeps nothing of it."""

from typing import Final

from engine.bounds import CREDENTIAL_COST_MAX, CREDENTIAL_COST_MIN
from engine.names import NAME_CHARACTERS, is_name, unpack
from engine.records import Reason, UserPermission
from engine.reference.events import EventLog
from engine.reference.rows import Row
from engine.reference.venue import Venue

_EVERY_PERMISSION: Final = sum(int(permission) for permission in UserPermission)
_USER_CHARACTERS_MAX: Final = 6
_FIRM_CHARACTERS_MAX: Final = 4
_FIRM_CHARACTERS: Final = NAME_CHARACTERS - frozenset(".-")


def user_command(venue: Venue, row: Row, events: EventLog) -> None:
    """``user``: who may log in for a participant."""
    acceptable = (
        _is_user_name(row.name) and (row.firm == 0 or _is_firm(row.firm)) and not row.permissions & ~_EVERY_PERMISSION
    )
    if not acceptable:
        events.rejected(row.name, Reason.INVALID_COMMAND)
    elif row.participant_name not in venue.participant_by_name:
        events.rejected(row.participant_name, Reason.UNKNOWN_PARTICIPANT)


def credential_command(_venue: Venue, row: Row, events: EventLog) -> None:
    """``credential``: the password of a user, as its hash."""
    if not (_is_user_name(row.name) and CREDENTIAL_COST_MIN <= row.cost <= CREDENTIAL_COST_MAX):
        events.rejected(row.name, Reason.INVALID_COMMAND)


def _is_user_name(number: int) -> bool:
    return is_name(number) and len(unpack(number)) <= _USER_CHARACTERS_MAX


def _is_firm(number: int) -> bool:
    return is_name(number) and len(unpack(number)) <= _FIRM_CHARACTERS_MAX and set(unpack(number)) <= _FIRM_CHARACTERS
