"""FIX frames, fields and their validation: whole or byte by byte, right or broken, in the fast way and the slow one."""

from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.fix_judge import judge_dictionary, needs_quickfix
from wire.errors import ProtocolError
from wire.fix_codec import BODY_BYTES_MAX, Cutter, FrameWriter, Garbled, Message, Times, body, checksum
from wire.fix_data_table import market_data
from wire.fix_dictionary import ADMIN_TYPES, Dictionary, Field, Member, read_xml
from wire.fix_table import VERSIONS, own
from wire.fix_validation import Fault, RejectReason, Validator

NOW_NS = 1_790_000_000_123_000_000
WRITER = FrameWriter("FIX.4.4", "FIRM", "LOCK", Times())
OWN = Validator(own("FIX.4.4"))


def framed(text: str) -> bytes:
    """A frame of the fields in ``text``, which has a bar for each separator, with a right length and checksum."""
    octets = text.replace("|", "\x01").encode("latin-1")
    data = b"8=FIX.4.4\x019=%d\x01%b" % (len(octets), octets)
    return data + b"10=%03d\x01" % checksum(data)


def order(fields: str = "", header: str = "") -> bytes:
    time = "20260921-14:13:20"
    return framed(
        f"35=D|34=2|49=FIRM|52={time}|56=LOCK|{header}11=A1|55=ACME|54=1|38=100|40=2|44=10.05|60={time}|{fields}"
    )


def cut_all(cutter: Cutter) -> list[tuple[bytes, bool]]:
    found = []
    while (cut := cutter.next()) is not None:
        found.append(cut)
    return found


@given(st.binary(max_size=2_000))
def test_a_checksum_is_the_sum_modulo_256(data: bytes) -> None:
    assert checksum(data) == sum(data) % 256


@pytest.mark.parametrize("size", [0, 1, 255, 256, 257, 511, 512, 513, 20_000])
def test_a_checksum_is_of_all_bytes_of_a_long_message(size: int) -> None:
    """Examples of hypothesis are short for the most part."""
    for data in (b"\xff" * size, bytes(size), bytes(at * 7 % 256 for at in range(size))):
        assert checksum(data) == sum(data) % 256


def test_no_frame_of_which_a_byte_was_changed_is_whole() -> None:
    good = order()
    for at, octet in enumerate(good):
        for other in {octet ^ 1, (octet + 1) % 256, 1, 61} - {octet}:
            cutter = Cutter()
            cutter.feed(good[:at] + bytes([other]) + good[at + 1 :] + good)
            assert {frame for frame, whole in cut_all(cutter) if whole} <= {good}, (at, other)


def test_a_checksum_stands_behind_a_separator() -> None:
    data = b"8=FIX.4.4\x019=9\x0135=0\x0158=a"
    cutter = Cutter()
    cutter.feed(data + b"10=%03d\x01" % checksum(data) + order() * 2)
    found = cut_all(cutter)
    assert found[-1] == (order(), True)
    assert {frame for frame, whole in found if whole} == {order()}


@given(st.lists(st.integers(1, 9), min_size=1, max_size=200), st.booleans())
@settings(max_examples=100, deadline=None)
def test_frames_are_cut_alike_in_pieces_of_any_size(sizes: list[int], ends: bool) -> None:
    frames = [order(), WRITER.frame(b"0", 3, NOW_NS, b""), order("58=8=9=10=|"), order(header="50=DESK|")]
    stream = b"".join(frames) + (b"8=FIX.4.4\x019=5" if ends else b"")
    cutter, found, at = Cutter(), [], 0
    while at < len(stream):
        size = sizes[at % len(sizes)]
        cutter.feed(stream[at : at + size])
        found += cut_all(cutter)
        at += size
    assert found == [(frame, True) for frame in frames]
    assert cutter.held_bytes == (13 if ends else 0)


@pytest.mark.parametrize(
    "broken",
    [
        order().replace(b"\x0110=", b"\x0110=9", 1)[:-2] + b"\x01",
        order().replace(b"11=A1", b"11=A2"),
        order().replace(b"\x019=", b"\x019=99", 1)[:60] + b"\x0110=000\x01",
        b"8=FIX.4.4\x019=x\x0135=0\x01",
        b"8=FIX.4.4\x01no length at all for a long, long time",
        b"8=FIX.4.4\x019=99999999\x0135=0\x01",
        b"noise before 8=FIX.4.4\x01",
    ],
)
def test_a_broken_frame_does_not_take_a_later_one_with_it(broken: bytes) -> None:
    cutter = Cutter()
    cutter.feed(broken + order() * 12)
    found = cut_all(cutter)
    assert found[-1] == (order(), True)
    # A length that is too long may swallow what it covers, and no more.
    assert sum(whole for _, whole in found) >= 2


def test_a_frame_that_never_ends_is_given_up() -> None:
    cutter = Cutter()
    cutter.feed(b"8=FIX.4.4\x019=10\x0135=0\x01")
    cutter.feed(b"x" * (BODY_BYTES_MAX + 100))
    assert cut_all(cutter)
    assert cutter.held_bytes == 0


@given(st.binary(max_size=400))
@settings(max_examples=300, deadline=None)
def test_noise_never_raises_and_never_passes(noise: bytes) -> None:
    cutter = Cutter()
    cutter.feed(noise)
    for frame, whole in cut_all(cutter):
        assert not whole or frame.startswith(b"8=")


def test_data_fields_hold_separators() -> None:
    message = Message(framed("35=A|34=1|95=5|96=a|=|b|98=0|"))
    assert message.get(b"96") == b"a\x01=\x01b"
    assert message.get(b"98") == b"0"
    for text in ("35=A|95=500|96=a|", "35=A|95=3|96=ab|98=0|", "35=0|nothing|", "34=1|35=0|"):
        with pytest.raises(Garbled):
            Message(framed(text))


def test_times_are_read_to_the_nanosecond_and_written_to_the_millisecond() -> None:
    times = Times()
    assert times.text(NOW_NS) == b"20260921-14:13:20.123"
    assert times.nanoseconds(b"20260921-14:13:20.123") == NOW_NS
    assert times.nanoseconds(b"20260921-14:13:20.123456789") == NOW_NS + 456_789
    for wrong in (b"", b"20260921", b"20261321-14:13:20", b"20260921-14:13:20,1", b"20260921-14:13:20.1234567890"):
        assert times.nanoseconds(wrong) is None, wrong


def test_a_message_sent_again_says_when_it_was_sent_first_and_keeps_the_order_of_tags() -> None:
    frame = WRITER.routed(b"8", 7, NOW_NS, body([(11, "A1")]), first_sent_ns=NOW_NS - 10**9, header=[(128, b"JCD")])
    tags = [piece.partition(b"=")[0] for piece in frame.split(b"\x01")[:-1]]
    assert tags == b"8 9 35 34 43 49 52 56 122 128 11 10".split()
    cutter = Cutter()
    cutter.feed(frame)
    assert cutter.next() == (frame, True)
    assert Message(frame).get(b"122") == b"20260921-14:13:19.123"
    plain = WRITER.routed(b"8", 7, NOW_NS, body([(11, "A1")]))
    assert plain == WRITER.frame(b"8", 7, NOW_NS, body([(11, "A1")]))


FAULTS = {
    "an undefined tag": (order("9999=x|"), RejectReason.INVALID_TAG, 9999),
    "a negative tag": (order("-1=x|"), RejectReason.INVALID_TAG, -1),
    "no side": (order().replace(b"54=1\x01", b""), RejectReason.REQUIRED_TAG_MISSING, 54),
    "no target": (order().replace(b"56=LOCK\x01", b""), RejectReason.REQUIRED_TAG_MISSING, 56),
    "a tag of another type": (order("7=1|"), RejectReason.TAG_NOT_DEFINED_FOR_TYPE, 7),
    "a tag that no message takes": (order("167=CS|"), RejectReason.TAG_NOT_DEFINED_FOR_TYPE, 167),
    "a tag of an earlier version": (order("20=0|"), RejectReason.INVALID_TAG, 20),
    "a tag of a later version": (order("1369=M1|"), RejectReason.INVALID_TAG, 1369),
    "an empty tag that no message takes": (order("167=|"), RejectReason.TAG_WITHOUT_VALUE, 167),
    "a group that no message takes, of a field that one does": (
        order("386=2|336=A|336=B|"),
        RejectReason.TAG_NOT_DEFINED_FOR_TYPE,
        386,
    ),
    "a group that no message takes": (order("78=2|79=A|80=1|79=B|80=2|"), RejectReason.TAG_NOT_DEFINED_FOR_TYPE, 78),
    "an empty tag": (order("58=|"), RejectReason.TAG_WITHOUT_VALUE, 58),
    "a wrong side": (order().replace(b"54=1\x01", b"54=Z\x01"), RejectReason.VALUE_INCORRECT, 54),
    "a price in words": (order().replace(b"44=10.05", b"44=ten"), RejectReason.DATA_FORMAT, 44),
    "a quantity with a plus": (order().replace(b"38=100", b"38=+100"), RejectReason.DATA_FORMAT, 38),
    "a time without seconds": (order("126=20260921|"), RejectReason.DATA_FORMAT, 126),
    "an unknown type": (order().replace(b"35=D", b"35=*"), RejectReason.INVALID_TYPE, None),
    "the header behind the body": (order("50=DESK|"), RejectReason.TAG_OUT_OF_ORDER, 50),
    "a repeated tag": (order("40=2|"), RejectReason.TAG_REPEATED, 40),
    "fewer parties than counted": (order("453=2|448=X|"), RejectReason.GROUP_COUNT, 453),
    "more parties than counted": (order("453=1|448=X|448=Y|"), RejectReason.GROUP_COUNT, 453),
    "a party that begins wrongly": (order("453=1|447=D|448=X|"), RejectReason.GROUP_OUT_OF_ORDER, 453),
    "a role in words": (order("453=1|448=X|452=x|"), RejectReason.DATA_FORMAT, 452),
    "a repeated tag in a party": (order("453=1|448=X|447=D|447=D|"), RejectReason.TAG_REPEATED, 447),
}


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_is_named_with_its_tag(name: str) -> None:
    frame, reason, tag = FAULTS[name]
    assert OWN.fault(Message(frame)) == Fault(reason, tag)


def test_what_is_right_has_no_fault() -> None:
    for fields in ("", "58=Grüße|", "453=2|448=X|447=D|452=1|448=Y|", "453=0|", "18=M 6|"):
        assert OWN.fault(Message(order(fields))) is None, fields
    assert OWN.fault(Message(order(header="627=1|628=HUB|630=3|"))) is None
    # A type of the standard that is not served is no fault: the session answers it by a business reject.
    assert OWN.fault(Message(order().replace(b"35=D", b"35=i"))) is None
    with pytest.raises(Garbled):
        OWN.fault(Message(order("4garbled9=x|")))


@pytest.mark.slow
@given(st.integers(0, 200), st.binary(min_size=1, max_size=4))
@settings(max_examples=500, deadline=None)
def test_the_fast_way_never_passes_what_the_slow_one_refuses(at: int, octets: bytes) -> None:
    """Bytes of an order are overwritten: each message that both can read gets one answer."""
    frame = order("453=1|448=X|" if at % 2 else "")
    at = 12 + at % (len(frame) - 24)
    try:
        message = Message(frame[:at] + octets + frame[at + len(octets) :])
        slow = OWN._find(message)
    except Garbled:
        return
    if message.pairs is None and OWN._plain(message):
        assert slow is None


@needs_quickfix
@pytest.mark.parametrize("version", VERSIONS)
def test_our_tables_ask_for_all_that_quickfix_asks_for(version: str) -> None:
    ours, theirs = own(version), judge_dictionary(version)

    def required(members: tuple[Member, ...]) -> set[int]:
        return {member.tag for member in members if member.required}

    for kind, members in ours.messages.items():
        assert required(members) >= required(theirs.messages[kind]), kind
    assert required(ours.header) == required(theirs.header)
    assert {member.tag for member in ours.header} ^ {member.tag for member in theirs.header} <= {370, 1156}
    assert ours.messages.keys() | ours.unserved >= theirs.messages.keys()
    known = {**theirs.session_fields, **theirs.fields}
    # Names moved between the versions; what a tag means did not.
    shared = [(field, known[tag]) for tag, field in ours.fields.items() if tag in known]
    assert len(shared) > 80
    for field, theirs_field in shared:
        assert _numeric(field) == _numeric(theirs_field) or field.tag == 532, field


@needs_quickfix
@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize(("tables", "kind"), [(own, "0"), (own, "j"), (market_data, "0"), (market_data, "g")])
def test_a_field_of_the_standard_has_another_reason_than_one_that_is_not(
    version: str, tables: Callable[[str], Dictionary], kind: str
) -> None:
    """Each tag up to 5,000 in a message: reason 0 where QuickFIX does not know it either, else 2."""
    theirs, ours = judge_dictionary(version), tables(version)
    of_session = kind in ADMIN_TYPES and len(theirs.session_fields) > 0
    standard = (theirs.session_fields if of_session else theirs.fields).keys()
    own_fields = (ours.session_fields if of_session else ours.fields).keys()
    validator, writer = Validator(ours), FrameWriter(version, "FIRM", "LOCK", Times())
    placed = {member.tag for member in (*ours.header, *ours.trailer, *ours.messages[kind])}
    needed = {"0": [], "j": [(372, "8"), (380, "0")], "g": [(335, "x"), (263, "0")]}[kind]
    reasons: dict[RejectReason, set[int]] = {}
    for tag in {*range(1, 5_001)} - placed:
        fault = validator.fault(Message(writer.frame(kind.encode(), 2, NOW_NS, body([*needed, (tag, "?")]))))
        assert fault is not None, tag
        assert fault.tag == tag
        reasons.setdefault(fault.reason, set()).add(tag)
    # Fields that a message takes here though the version has them not: of them alone the value is judged too.
    assert len(own_fields - standard) < 16
    assert reasons[RejectReason.INVALID_TAG] == {*range(1, 5_001)} - placed - standard - own_fields
    assert reasons[RejectReason.TAG_NOT_DEFINED_FOR_TYPE] >= standard - placed - own_fields


def _numeric(field: Field) -> str:
    if field.kind in ("INT", "SEQNUM", "LENGTH", "NUMINGROUP", "DAYOFMONTH"):
        return "integer"
    if field.kind in ("PRICE", "QTY", "AMT", "FLOAT", "PRICEOFFSET", "PERCENTAGE"):
        return "number"
    return "time" if field.kind in ("UTCTIMESTAMP", "LOCALMKTDATE") else "text"


def test_a_file_that_is_no_dictionary_is_named(tmp_path: object) -> None:
    from pathlib import Path

    path = Path(str(tmp_path)) / "FIX.xml"
    for text in ("no xml", "<fix/>", "<fix major='4' minor='4'><fields/></fix>"):
        path.write_text(text)
        with pytest.raises(ProtocolError, match=r"FIX\.xml is no dictionary"):
            read_xml(path)


def test_components_and_groups_of_a_file_become_members(tmp_path: object) -> None:
    from pathlib import Path

    path = Path(str(tmp_path)) / "FIX.xml"
    path.write_text(
        "<fix major='4' minor='4'><header><field name='MsgType' required='Y'/></header><trailer/>"
        "<messages><message name='Test' msgtype='T'><component name='Parties' required='N'/>"
        "<field name='Side' required='Y'/></message></messages>"
        "<components><component name='Parties'><field name='Firm' required='Y'/>"
        "<group name='NoLegs' required='Y'><field name='Leg' required='Y'/></group></component></components>"
        "<fields><field number='35' name='MsgType' type='STRING'/><field number='54' name='Side' type='CHAR'>"
        "<value enum='1' description='BUY'/></field><field number='1' name='Firm' type='STRING'/>"
        "<field number='555' name='NoLegs' type='NUMINGROUP'/><field number='600' name='Leg' type='STRING'/>"
        "</fields></fix>"
    )
    read = read_xml(path)
    # What an optional component demands is demanded of nobody; a group that is there has what it needs.
    legs = Member(555, False, (Member(600, True),))
    assert read.messages == {"T": (Member(1, False), legs, Member(54, True))}
    assert read.fields[54] == Field(54, "Side", "CHAR", frozenset("1"))
    assert isinstance(read, Dictionary)
