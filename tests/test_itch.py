"""ITCH 5.0: every message byte for byte as specified, before decoders that nobody here wrote."""

import os
import struct
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wire import ProtocolError, itch
from wire.itch_layout import LAYOUTS, TIME_NS_MAX, ItchMessage, bytes_of, offsets, size_of

os.environ["ITCH_NO_CPP"] = "1"  # or itchfeed is itchcpp under another name where both are installed

#: Format of ``struct`` of each message behind its time, written down beside the specification, not made of the table.
SPECIFIED = {
    "S": "c",
    "R": "8sccIcc2scccccIc",
    "H": "8scc4s",
    "Y": "8sc",
    "L": "4s8sccc",
    "V": "QQQ",
    "W": "c",
    "K": "8sIcI",
    "J": "8sIIII",
    "h": "8scc",
    "A": "QcI8sI",
    "F": "QcI8sI4s",
    "E": "QIQ",
    "C": "QIQcI",
    "X": "QI",
    "D": "Q",
    "U": "QQII",
    "P": "QcI8sIQ",
    "Q": "Q8sIQc",
    "B": "Q",
    "I": "QQc8sIIIcc",
    "N": "8sc",
    "O": "8scIIIQII",
}
SIZES = {
    **{"S": 12, "R": 39, "H": 25, "Y": 20, "L": 26, "V": 35, "W": 12, "K": 28, "J": 35, "h": 21, "A": 36, "F": 40},
    **{"E": 31, "C": 36, "X": 23, "D": 19, "U": 35, "P": 44, "Q": 40, "B": 19, "I": 50, "N": 20, "O": 48},
}
KINDS = sorted(ItchMessage)


def value_of(form: str) -> st.SearchStrategy[Any]:
    if form == "T":
        return st.integers(0, TIME_NS_MAX)
    if form == "B":
        return st.integers(33, 126).map(chr)
    if form.endswith("s"):
        return st.text(st.characters(min_codepoint=33, max_codepoint=126), max_size=size_of(form))
    return st.integers(0, 2 ** (8 * size_of(form)) - 1)


@st.composite
def messages(draw: st.DrawFn) -> tuple[ItchMessage, dict[str, Any]]:
    kind = draw(st.sampled_from(KINDS))
    values = {name: draw(value_of(form)) for name, form in LAYOUTS[kind] if name != "kind"}
    return kind, {"kind": chr(kind), **values}


def by_hand(kind: ItchMessage, values: dict[str, Any]) -> bytes:
    """The message by ``SPECIFIED``: the fields in their order, but without the table's forms."""
    said = [
        value for name, value in values.items() if name not in ("kind", "stock_locate", "tracking_number", "time_ns")
    ]
    packed = []
    for letter, value in zip(_letters(SPECIFIED[chr(kind)]), said, strict=True):
        if letter.endswith("s"):
            packed.append(value.encode().ljust(int(letter[:-1])))
        else:
            packed.append(value.encode() if letter == "c" else value)
    head = struct.pack(">cHH", chr(kind).encode(), values["stock_locate"], values["tracking_number"])
    return head + values["time_ns"].to_bytes(6, "big") + struct.pack(f">{SPECIFIED[chr(kind)]}", *packed)


def _letters(form: str) -> list[str]:
    found, digits = [], ""
    for letter in form:
        if letter.isdigit():
            digits += letter
        else:
            found.append(digits + letter)
            digits = ""
    return found


def test_sizes_are_the_published_ones() -> None:
    assert {chr(kind): bytes_of(LAYOUTS[kind]) for kind in KINDS} == SIZES
    assert {chr(kind): dtype.itemsize for kind, dtype in itch.DTYPES.items()} == SIZES


@pytest.mark.slow
@given(messages())
@settings(max_examples=400, deadline=None)
def test_a_message_is_written_as_specified_and_read_back(message: tuple[ItchMessage, dict[str, Any]]) -> None:
    kind, values = message
    written = itch.message_of(kind, values)
    assert written == by_hand(kind, values)
    assert itch.fields(written) == values
    assert list(itch.cut(itch.framed(itch.read(written)))) == [(len(written) + 2, written)]


def test_an_add_has_these_bytes() -> None:
    values = {
        **{"stock_locate": 13, "tracking_number": 2, "time_ns": 34_200_000_000_001, "reference": 4_711, "side": "B"},
        **{"shares": 300, "stock": "XYZ", "price_e4": 1_005_000},
    }
    assert itch.message_of(ItchMessage.ADD, values).hex(" ") == (
        "41 00 0d 00 02 1f 1a ce d9 f0 01 00 00 00 00 00 00 12 67 42 00 00 01 2c 58 59 5a 20 20 20 20 20 00 0f 55 c8"
    )


def test_offsets_of_a_kernel_are_those_of_the_rows() -> None:
    for kind in KINDS:
        places = offsets(LAYOUTS[kind])._asdict()
        assert places.pop("end") == itch.DTYPES[kind].itemsize
        assert places == {name: itch.DTYPES[kind].fields[name][1] for name in itch.DTYPES[kind].names or ()}


def test_many_rows_are_written_at_once() -> None:
    rows = itch.rows(ItchMessage.CANCEL, 3)
    rows["reference"], rows["shares"] = [1, 2, 3], [10, 20, 30]
    itch.put_times(rows, np.array([0, TIME_NS_MAX, 2**32 + 5]))
    assert itch.times_ns(rows).tolist() == [0, TIME_NS_MAX, 2**32 + 5]
    cut = [message for _, message in itch.cut(itch.framed(rows))]
    assert [itch.fields(message)["shares"] for message in cut] == [10, 20, 30]
    assert list(itch.cut(itch.framed(rows)[:-1])) == list(itch.cut(itch.framed(rows[:2])))


@pytest.mark.parametrize(
    ("octets", "sentence"), [(b"", "empty"), (b"z" * 12, "unknown type 0x7a"), (b"D" * 18, "delete of 18 bytes")]
)
def test_bytes_that_are_no_message_are_refused(octets: bytes, sentence: str) -> None:
    with pytest.raises(ProtocolError, match=sentence):
        itch.read(octets)


def test_text_that_does_not_fit_is_refused() -> None:
    with pytest.raises(ValueError, match="at most 8"):
        itch.message_of(ItchMessage.TRADING_ACTION, {"stock": "TOOLONGNAME"})


@pytest.mark.slow
@pytest.mark.parametrize("library", ["itch.messages", "itchcpp"])
@given(message=messages())
@settings(max_examples=200, deadline=None)
def test_a_decoder_of_others_reads_and_writes_the_same_bytes(
    library: str, message: tuple[ItchMessage, dict[str, Any]]
) -> None:
    parser = pytest.importorskip("itch.parser" if library == "itch.messages" else "itchcpp", reason="not installed")
    assert parser.MessageParser.__module__.split(".")[0] == library.removesuffix(".messages")
    kind, values = message
    written = itch.message_of(kind, values)
    (read,) = parser.MessageParser().parse_stream(itch.framed(itch.read(written)))
    assert read.to_bytes() == written
    assert (read.stock_locate, read.tracking_number, read.timestamp) == (
        *(values["stock_locate"], values["tracking_number"]),
        values["time_ns"],
    )
    if kind == ItchMessage.ADD:
        assert (read.order_reference_number, read.shares, read.price) == (
            *(values["reference"], values["shares"]),
            values["price_e4"],
        )


# Message O of meatpy has four bytes more than the specification and the two other decoders.
@pytest.mark.parametrize(
    "kind", [kind for kind in KINDS if kind != ItchMessage.DIRECT_LISTING], ids=lambda kind: kind.name
)
def test_meatpy_reads_every_message(kind: ItchMessage) -> None:
    meatpy = pytest.importorskip("meatpy.itch50.itch50_market_message", reason="not installed")
    values = {name: 65 if form != "B" and not form.endswith("s") else "A" for name, form in LAYOUTS[kind]}
    read = meatpy.ITCH50MarketMessage.from_bytes(itch.message_of(kind, values))
    assert (read.stock_locate, read.timestamp) == (65, 65)
    assert read.to_bytes() == itch.message_of(kind, values)
