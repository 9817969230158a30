"""Session of a client of OUCH."""

from gateway.soup import SoupSession
from wire import ProtocolError, ouch


class OuchSession(SoupSession):
    """Server's side of a connection of OUCH."""

    def why_unreadable(self, payload: bytes) -> str:
        """Sentence on a message that is none of OUCH: what is wrong with it."""
        try:
            ouch.read_client(payload)
        except ProtocolError as error:
            return str(error)
        return "a message that this exchange cannot read came"
