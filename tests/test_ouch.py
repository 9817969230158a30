"""OUCH 4.2: every message byte for byte as specified, before judges that nobody here wrote.

The specified fields are those of ``tests/ouch_specified.py``. Nasdaq's Python library, which brings the field types but
no messages, packs and reads by this list; Wireshark's dissector has its own.
"""

import random
from enum import IntEnum
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.captures import Field, Message, codes, dissect, needs_tshark, write_pcap
from tests.ouch_specified import EVERY, WIRESHARK, library_record, specified
from wire import PacketType, ProtocolError, ouch, ouch_codes
from wire.ouch_codes import ClientMessage, ServerMessage
from wire.soup import packet

#: Field of Wireshark's dissector whose codes an enum has. Reference price types are not in its list of values.
ENUMS: dict[str, type[IntEnum]] = {
    "buy_sell_indicator": ouch_codes.BuySell,
    "display": ouch_codes.Display,
    "capacity": ouch_codes.Capacity,
    "iso_eligible": ouch_codes.IntermarketSweep,
    "cross_type": ouch_codes.CrossType,
    "customer_type": ouch_codes.CustomerType,
    "event_code": ouch_codes.EventCode,
    "order_state": ouch_codes.OrderState,
    "bbo_weight_indicator": ouch_codes.BboWeight,
    "cancel_reason": ouch_codes.CancelReason,
    "reject_reason": ouch_codes.RejectReason,
    "broken_trade_reason": ouch_codes.BrokenTradeReason,
    "trade_correction_reason": ouch_codes.TradeCorrectionReason,
    "liquidity_flag": ouch_codes.Liquidity,
}
#: Codes that this exchange has and the specification has not.
OWN = {"reject_reason": {chr(ouch_codes.RejectReason.DUPLICATE_ID)}}


def dtype_of(kind: ClientMessage | ServerMessage) -> np.dtype[Any]:
    return ouch.FROM_CLIENT[kind] if isinstance(kind, ClientMessage) else ouch.FROM_SERVER[kind]


def blank(kind: ClientMessage | ServerMessage) -> Any:
    return ouch.client_rows(kind) if isinstance(kind, ClientMessage) else ouch.server_rows(kind)


def filled(kind: ClientMessage | ServerMessage, chance: random.Random) -> Any:
    """A message with something else in every field."""
    rows = blank(kind)
    for name, size, is_text in specified(kind):
        if is_text:
            rows[name] = ouch.alpha("".join(chance.choices("ABCXYZ019", k=chance.randint(1, size))), size)
        else:
            rows[name] = ord(chance.choice("ABCDEFSN")) if size == 1 else chance.randrange(1 << 8 * size)
    return rows


@pytest.mark.parametrize("kind", EVERY, ids=lambda kind: f"{type(kind).__name__}-{kind.name}")
def test_a_message_has_its_fields_where_they_are_specified(kind: ClientMessage | ServerMessage) -> None:
    dtype = dtype_of(kind)
    at = 1
    assert dtype.names is not None
    assert dtype.names[0] == "kind"
    for name, size, is_text in specified(kind):
        assert (dtype[name].itemsize, dtype.fields[name][1]) == (size, at), name  # type: ignore[index]
        assert is_text == (dtype[name].kind == "S")
        assert size == 1 or is_text or dtype[name].str.startswith(">")
        at += size
    assert at == dtype.itemsize
    assert len(dtype.names) == len(specified(kind)) + 1


def test_the_sizes_are_the_published_ones() -> None:
    sizes = {chr(kind): dtype.itemsize for kind, dtype in ouch.FROM_CLIENT.items()}
    assert sizes == {"O": 49, "U": 47, "X": 19, "M": 20}
    sizes = {chr(kind): dtype.itemsize for kind, dtype in ouch.FROM_SERVER.items()}
    assert sizes == {
        "S": 10, "A": 66, "U": 80, "C": 28, "D": 37, "E": 40, "B": 32, "G": 45, "F": 41, "J": 24, "P": 23, "I": 23,
        "T": 36, "M": 28,
    }  # fmt: skip
    assert ouch.MESSAGE_BYTES_MAX == 80


def test_an_enter_order_is_these_bytes() -> None:
    rows = ouch.client_rows(ClientMessage.ENTER_ORDER)
    rows["order_token"] = ouch.alpha("a1", ouch.TOKEN_CHARACTERS)
    rows["buy_sell"] = ouch_codes.BuySell.BUY
    rows["shares"] = 100
    rows["stock"] = ouch.alpha("XYZ", ouch.STOCK_CHARACTERS)
    rows["price_e4"] = 10_0000
    rows["time_in_force_s"] = ouch_codes.TimeInForce.MARKET_HOURS
    rows["display"] = ouch_codes.Display.ANONYMOUS
    rows["capacity"] = ouch_codes.Capacity.PRINCIPAL
    rows["intermarket_sweep"] = ouch_codes.IntermarketSweep.NOT_ELIGIBLE
    rows["cross_type"] = ouch_codes.CrossType.NO_CROSS
    rows["customer_type"] = ouch_codes.CustomerType.AS_CONFIGURED
    sent = b"Oa1            B\0\0\0dXYZ     \0\x01\x86\xa0\0\x01\x86\x9e    YPN\0\0\0\0N "
    assert rows.tobytes() == sent
    (row,) = ouch.read_client(sent)
    assert ouch.text_of(row["stock"]) == "XYZ"
    assert ouch_codes.BuySell(row["buy_sell"]) is ouch_codes.BuySell.BUY


@pytest.mark.slow
@settings(derandomize=True, deadline=None, max_examples=200)
@given(st.sampled_from(EVERY), st.randoms(use_true_random=False))
def test_what_is_written_is_read(kind: ClientMessage | ServerMessage, chance: random.Random) -> None:
    rows = filled(kind, chance)
    read = ouch.read_client if isinstance(kind, ClientMessage) else ouch.read_server
    again = read(rows.tobytes())
    assert again.dtype == rows.dtype
    for name in rows.dtype.names:
        assert again[name] == rows[name]


@settings(derandomize=True, deadline=None, max_examples=300)
@given(st.binary(max_size=90))
def test_whatever_comes_is_read_or_refused_with_a_sentence(payload: bytes) -> None:
    for read, tables in ((ouch.read_client, ouch.FROM_CLIENT), (ouch.read_server, ouch.FROM_SERVER)):
        fits = bool(payload) and payload[0] in tables and len(payload) == tables[payload[0]].itemsize
        if fits:
            assert read(payload).tobytes() == payload
        else:
            with pytest.raises(ProtocolError, match=r" came; |^an empty message"):
                read(payload)


@pytest.mark.parametrize(
    ("payload", "sentence"),
    [
        (b"", "an empty message of a client came"),
        (b"O" + bytes(47), "a message enter order of 48 bytes came; it has 49"),
        (b"U" + bytes(79), "a message replace order of 80 bytes came; it has 47"),
        (b"A" + bytes(65), "a message of unknown type 0x41 came; no OUCH client sends it"),
    ],
)
def test_a_message_of_the_wrong_type_or_length_is_refused(payload: bytes, sentence: str) -> None:
    with pytest.raises(ProtocolError) as caught:
        ouch.read_client(payload)
    assert str(caught.value) == sentence


@pytest.mark.parametrize("text", ["NINELONGS", "ÄB", "A\n"])
def test_text_that_does_not_fit_its_field_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"characters"):
        ouch.alpha(text, ouch.STOCK_CHARACTERS)


# Nasdaq's library: the same fields, packed and read by it.


@pytest.mark.parametrize("kind", EVERY, ids=lambda kind: f"{type(kind).__name__}-{kind.name}")
def test_nasdaqs_library_packs_the_same_bytes_and_reads_ours(kind: ClientMessage | ServerMessage) -> None:
    record = library_record(kind)
    chance = random.Random(5)
    for _ in range(20):
        rows = filled(kind, chance)
        values = {
            name: ouch.text_of(rows[name][0]) if is_text else chr(rows[name][0]) if size == 1 else int(rows[name][0])
            for name, size, is_text in specified(kind)
        }
        body = rows.tobytes()[1:]
        assert record.to_bytes(record(values)) == (len(body), body)
        assert record.from_bytes(body)[1].values == values


# Wireshark's dissector: its own tables.


def differences(dtype: np.dtype[Any], row: bytes, seen: Message) -> list[str]:
    """Differences between a message as we lay it out and what the dissector saw."""
    places = {field.name.removeprefix("ouch."): field for field in seen.fields}
    found = [] if seen.size == len(row) == dtype.itemsize else [f"{seen.size} bytes, not {dtype.itemsize}"]
    for name, (field_type, at, *_) in (dtype.fields or {}).items():
        place = places.pop(WIRESHARK.get(name, name), None)
        ours = Field("", at, row[at : at + field_type.itemsize])
        if place is None or (place.at, place.raw) != (ours.at, ours.raw):
            found.append(f"{name}: {ours} but {place}")
    return found + [f"{name} is missing" for name in places]


@needs_tshark
def test_wireshark_sees_every_field_where_we_put_it(tmp_path: Path) -> None:
    chance = random.Random(3)
    sent: list[tuple[ClientMessage | ServerMessage, bytes]] = [
        (kind, filled(kind, chance).tobytes()) for kind in EVERY for _ in range(3)
    ]
    path = tmp_path / "messages.pcap"
    by_server = [isinstance(kind, ServerMessage) for kind, _ in sent]
    types = [PacketType.SEQUENCED if server else PacketType.UNSEQUENCED for server in by_server]
    packets = [packet(type_, row) for type_, (_, row) in zip(types, sent, strict=True)]
    write_pcap(path, list(zip(by_server, packets, strict=True)))
    seen = [message for message in dissect(path) if message.protocol == "ouch"]
    assert len(seen) == len(sent)
    for (kind, row), message in zip(sent, seen, strict=True):
        shown = message.shown.removeprefix("OUCH, ").upper().replace(" ", "_")
        assert shown == kind.name
        assert differences(dtype_of(kind), row, message) == []
    # The control: two fields that changed places are found.
    names = [*(ouch.CANCEL_ORDER.names or ())]
    names[1:3] = reversed(names[1:3])
    swapped = np.dtype([(name, ouch.CANCEL_ORDER[name]) for name in names])
    at = EVERY.index(ClientMessage.CANCEL_ORDER) * 3
    assert len(differences(swapped, sent[at][1], seen[at])) == 2


@pytest.mark.slow_after(1)
@needs_tshark
@pytest.mark.parametrize("field", ENUMS)
def test_the_codes_are_those_that_wireshark_knows(field: str) -> None:
    own = OWN.get(field, set())
    specified_here = codes(f"ouch.{field}")
    assert not own & specified_here
    assert {chr(code) for code in ENUMS[field]} - own == specified_here
