"""Session of a client of native order entry."""

from typing import Final

from gateway.arrivals import BROKEN
from gateway.protocol import MassCancel, Taken
from gateway.soup import SoupSession
from wire import native, soup
from wire.native import FROM_CLIENT, FromClient
from wire.ouch_layout import struct_of

_MASS_CANCEL: Final = struct_of(FROM_CLIENT[FromClient.MASS_CANCEL])
_SIZES: Final = {kind: struct_of(layout).size for kind, layout in FROM_CLIENT.items()}


class NativeSession(SoupSession):
    """Server's side of a connection."""

    def why_unreadable(self, payload: bytes) -> str:
        """Sentence on a message that is none of this version: what is wrong with it."""
        if len(payload) < 2:
            return "a message of a byte came; the first two are its kind and version"
        kind, version = payload[:2]
        if version != native.VERSION:
            return f"a message of version {version} came; this exchange takes version {native.VERSION}"
        if kind not in _SIZES:
            return f"a message of kind {chr(kind)!r} came, which no client sends"
        name = FromClient(kind).name.lower().replace("_", " ")
        return f"a {name} with {len(payload)} bytes came; it has {_SIZES[FromClient(kind)]}"

    def take(self, region: memoryview, stop: int, now_ns: int) -> Taken:
        """Take the first packet, which is not one for the kernels; a mass cancel among others."""
        taken = super().take(region, stop, now_ns)
        payload = bytes(region[soup.HEAD_BYTES : taken.size])
        if stop == BROKEN or taken.closes or region[2:3] != bytes([soup.PacketType.UNSEQUENCED]):
            return taken
        if len(payload) != _MASS_CANCEL.size or payload[1] != native.VERSION:
            return Taken(taken.size, self.why_unreadable(payload))
        _, _, symbol, side = _MASS_CANCEL.unpack(payload)
        if side not in (native.BUY, native.SELL, 0) or not (symbol.isascii() and symbol.decode().isprintable()):
            return Taken(taken.size, "a mass cancel names a side that is none, or a symbol that is no text")
        return Taken(taken.size, mass_cancel=MassCancel(symbol.decode("ascii").rstrip(" "), side))
