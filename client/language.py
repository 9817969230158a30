"""Languages of order entry: what a message of a protocol over SoupBinTCP is to the client library.

``ouch`` is OUCH 4.2 (``client.messages``). ``native`` says all that the market knows (``client.native``).
"""

from typing import Final, Protocol

from client import messages
from client.events import Message, Side
from client.orders import NewOrder, Order

PROTOCOLS: Final = ("ouch", "native")


class Language(Protocol):
    """Requests to bytes and bytes to events. Functions raise ValueError for what the protocol cannot say."""

    def enter(self, order: NewOrder, token: str, /) -> bytes:
        """An order to enter."""
        ...

    def terms(self, order: NewOrder, /) -> str:
        """Terms of an order to enter beside side, quantity, symbol and price, as ``events.OrderPlaced.terms``."""
        ...

    def replace(self, order: Order, token: str, new_token: str, qty: int, price_e4: int, terms: str, /) -> bytes:
        """Other terms for an order that ``token`` names then; ``terms``: words beside quantity and price."""
        ...

    def terms_of_replace(self, payload: bytes, /) -> tuple[int, int]:
        """Quantity and price_e4 in a replace."""
        ...

    def cancel(self, token: str, qty: int = 0, /) -> bytes:
        """A cancel. qty: the total intended; 0: nothing stays open."""
        ...

    def modify(self, token: str, side: Side, qty: int, /) -> bytes:
        """Another kind of a sale, or less of an order."""
        ...

    def mass_cancel(self, symbol: str, side: Side | None, /) -> bytes:
        """A cancel of all orders of the user's participant."""
        ...

    def read(self, seq: int, payload: bytes, /) -> Message:
        """A message of the exchange as an event. Raises ProtocolError."""
        ...


def language(protocol: str) -> Language:
    """The language of a protocol. Raises ValueError for one that there is not."""
    if protocol == "ouch":
        return messages
    if protocol != "native":
        raise ValueError(f"there is no protocol {protocol!r}; give {' or '.join(PROTOCOLS)}")
    from client import native  # with NumPy, which a client of OUCH does not load

    return native
