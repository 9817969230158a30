"""OUCH messages of a client as packets, and what a server sent, cut and read: for tests of gateway and node."""

from typing import Any

from wire import ouch, ouch_codes, soup

Message = ouch_codes.ClientMessage
MARKET_HOURS = int(ouch_codes.TimeInForce.MARKET_HOURS)
SYSTEM_HOURS = int(ouch_codes.TimeInForce.SYSTEM_HOURS)
IOC = 0


def _packet(row: Any) -> bytes:
    return soup.packet(soup.PacketType.UNSEQUENCED, row.tobytes())


def token(text: str | bytes) -> bytes:
    """Fourteen bytes of a text, or bytes as they are."""
    return text if isinstance(text, bytes) else text.encode("ascii").ljust(ouch.TOKEN_CHARACTERS)


def enter(
    name: str | bytes,
    side: str,
    shares: int,
    price_e4: int,
    *,
    tif_s: int = MARKET_HOURS,
    display: str = "Y",
    min_qty: int = 0,
    stock: str = "XYZ",
    cross: str = "N",
    capacity: str = "A",
) -> bytes:
    row = ouch.client_rows(Message.ENTER_ORDER)
    row["order_token"], row["buy_sell"], row["shares"] = token(name), ord(side), shares
    row["stock"] = ouch.alpha(stock, ouch.STOCK_CHARACTERS)
    row["price_e4"], row["time_in_force_s"], row["firm"], row["display"] = price_e4, tif_s, b"FIRM", ord(display)
    row["capacity"], row["intermarket_sweep"], row["minimum_quantity"] = ord(capacity), ord("N"), min_qty
    row["cross_type"], row["customer_type"] = ord(cross), ord("N")
    return _packet(row)


def replace(
    name: str,
    new: str | bytes,
    shares: int,
    price_e4: int,
    *,
    tif_s: int = MARKET_HOURS,
    display: str = "Y",
    min_qty: int = 0,
) -> bytes:
    row = ouch.client_rows(Message.REPLACE_ORDER)
    row["existing_order_token"], row["replacement_order_token"] = token(name), token(new)
    row["shares"], row["price_e4"], row["time_in_force_s"] = shares, price_e4, tif_s
    row["display"], row["intermarket_sweep"], row["minimum_quantity"] = ord(display), ord("N"), min_qty
    return _packet(row)


def cancel(name: str | bytes, shares: int = 0) -> bytes:
    row = ouch.client_rows(Message.CANCEL_ORDER)
    row["order_token"], row["shares"] = token(name), shares
    return _packet(row)


def modify(name: str, side: str, shares: int) -> bytes:
    row = ouch.client_rows(Message.MODIFY_ORDER)
    row["order_token"], row["buy_sell"], row["shares"] = token(name), ord(side), shares
    return _packet(row)


def messages(data: bytes) -> list[tuple[str, dict[str, Any]]]:
    """(name, fields) of each sequenced message in framed bytes; text without its padding, codes as letters."""
    found = []
    for kind, payload in soup.packets(data):
        if kind == soup.PacketType.SEQUENCED:
            row = ouch.read_server(payload)[0]
            fields = {}
            for name in row.dtype.names:
                value = row[name]
                if isinstance(value, bytes):
                    value = ouch.text_of(value)
                elif row.dtype[name].itemsize == 1:
                    value = chr(value)
                fields[name] = value if isinstance(value, str) else int(value)
            found.append((ouch_codes.ServerMessage(payload[0]).name, fields))
    return found
