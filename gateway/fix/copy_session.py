"""Drop copies by FIX as a protocol of the gateway: the sessions of order entry, which take no orders."""

from collections.abc import Mapping
from pathlib import Path
from typing import Final

from engine.capacity import Capacity
from gateway.fix import marks
from gateway.fix.copies import CopyOutbox
from gateway.fix.copy_answers import CopyAnswers
from gateway.fix.entering import Entering
from gateway.fix.orders import NOT_AUTHORIZED, Refused
from gateway.fix.protocol import Fix
from gateway.fix.session import FixSession
from gateway.outbox import PAST_DAYS
from wire.fix_codec import Message


class CopyEntering(Entering):
    """Messages of a session for drop copies on their way to the market: none but marks."""

    protocol = marks.COPIES_NUMBER
    refusals: Mapping[bytes, bytes] = {}  # the session has no messages of order entry, either way

    def _order(self, message: Message, next_in: int) -> None:
        """Take no message of the application. Raises Refused."""
        del message, next_in
        raise Refused("this session has copies alone", NOT_AUTHORIZED)


class CopySession(FixSession):
    """Server's side of a connection for drop copies."""

    enters = CopyEntering
    answers = CopyAnswers


class FixCopies(Fix):
    """Drop copies by FIX (``gateway.protocol.OrderProtocol``)."""

    name = "fixdrop"
    number = marks.COPIES_NUMBER
    outbox_name = CopyOutbox.name
    made = CopySession

    def outbox(
        self, directory: Path, capacity: Capacity, journal_id: bytes, *, past_days: int = PAST_DAYS
    ) -> CopyOutbox:
        """Streams of the users as before the first command."""
        return CopyOutbox(directory, capacity, journal_id, past_days=past_days)


FIX_COPIES: Final = FixCopies()
