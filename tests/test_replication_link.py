"""Frames of the link between nodes: cut at any byte, checked, bounded; and the proof of the secret."""

import random

import pytest

from replication import link
from replication.link import Frame, FrameReader, Identity, Kind, LinkError, Position, Scrub

FRAMES = [
    (Kind.CHALLENGE, 0, bytes(16)),
    (Kind.ACK, 7, link.pack_ack(9, 8, [Position(9, b"d" * 16)])),
    (Kind.BLOCK, 7, b"sealed" * 40),
    (Kind.SYNC, 1 << 62, b"1"),
    (Kind.BEAT, 7, link.pack_beat(3, 2, 1)),
]
STREAM = b"".join(link.encode(*frame) for frame in FRAMES)


def fed(data: bytes, sizes: list[int]) -> list[Frame]:
    reader, found, at = FrameReader(), [], 0
    for size in sizes:
        found += reader.feed(data[at : at + size])
        at += size
    return found


def test_frames_are_the_same_whole_byte_by_byte_and_in_any_pieces() -> None:
    wanted = [Frame(*frame) for frame in FRAMES]
    assert fed(STREAM, [len(STREAM)]) == wanted
    assert fed(STREAM, [1] * len(STREAM)) == wanted
    draw = random.Random(4)
    for _ in range(50):
        assert fed(STREAM, [draw.randrange(1, 60) for _ in range(len(STREAM))]) == wanted


def test_each_flipped_bit_of_a_control_frame_is_noticed() -> None:
    whole = link.encode(Kind.ACK, 7, link.pack_ack(9, 8, []))
    for bit in range(8 * len(whole)):
        flipped = bytearray(whole)
        flipped[bit // 8] ^= 1 << bit % 8
        # A larger size waits for more, which never matches.
        with pytest.raises(LinkError):
            list(FrameReader().feed(bytes(flipped) + bytes(link.GREETING_BYTES_MAX)))


def test_the_checksum_of_a_block_covers_its_header_alone_since_the_journal_checks_the_rest() -> None:
    whole = bytearray(link.encode(Kind.BLOCK, 7, b"sealed"))
    whole[-1] ^= 1
    assert [frame.payload for frame in FrameReader().feed(bytes(whole))] == [b"seale" + bytes([ord("d") ^ 1])]
    whole[9] ^= 1
    with pytest.raises(LinkError, match="does not match its checksum"):
        list(FrameReader().feed(bytes(whole)))


def test_a_large_frame_is_refused_by_its_header_before_it_has_arrived() -> None:
    with pytest.raises(LinkError, match="larger than the 65536 allowed here"):
        list(FrameReader().feed(link.head(Kind.HELLO, 0, link.GREETING_BYTES_MAX + 1)))


@pytest.mark.parametrize("data", [b"GET / HTTP/1.1\r\nHost: market\r\n\r\n", b"\0" * 64])
def test_bytes_of_another_protocol_are_refused(data: bytes) -> None:
    with pytest.raises(LinkError, match="no frame of a link between nodes"):
        list(FrameReader().feed(data))


def test_payloads_come_back_as_they_were_and_others_are_refused() -> None:
    places = [Position(1, b"a" * 16), Position(2**62, b"b" * 16)]
    assert link.unpack_positions(link.pack_positions(places)) == places
    assert link.unpack_ack(link.pack_ack(5, 4, places)) == (5, 4, places)
    assert link.unpack_challenge(link.pack_challenge(b"n" * 16, 9_401)) == (b"n" * 16, 9_401)
    assert link.unpack_beat(link.pack_beat(3, 2, 1)) == (3, 2, 1)
    scrub = Scrub(9, 3, 4_096, b"s" * 16)
    assert link.unpack_scrub(link.pack_scrub(scrub)) == scrub
    for unpack in (link.unpack_positions, link.unpack_ack, link.unpack_beat, link.unpack_scrub, link.unpack_challenge):
        with pytest.raises(LinkError):
            unpack(b"short")


@pytest.mark.parametrize("payload", [b"", b"\xc1", b"\x93\x01\x02\x03", link.pack_map({"why": 3}), link.pack_map({})])
def test_a_map_without_a_field_of_the_right_type_is_refused(payload: bytes) -> None:
    with pytest.raises(LinkError):
        link.unpack_map(payload, {"why": str})


def test_further_fields_of_a_later_release_are_left_out() -> None:
    assert link.unpack_map(link.pack_map({"why": "x", "more": 1}), {"why": str}) == {"why": "x"}


def test_nodes_are_a_pair_unless_name_journal_rules_or_form_say_otherwise() -> None:
    own = Identity("A", bytes(16), 5, b"f" * 16, "build", 1)
    assert link.difference(own, own._replace(name="B", build="another", slice_number=2)) == ""
    for change, words in (
        ({"name": "A"}, "named A"),
        ({"journal_id": b"j" * 16}, "another journal"),
        ({"rules_version": 4}, "version 4 of the rules"),
        ({"form": b"g" * 16}, "another form or capacity"),
    ):
        assert words in link.difference(own, own._replace(**{"name": "B", **change}))  # type: ignore[arg-type]


def test_a_proof_depends_on_secret_role_nonces_and_claims() -> None:
    given = (b"secret", "copy", b"1" * 16, b"2" * 16, b"claims")
    proofs = {link.proof(*given)}
    for at, other in enumerate((b"other", "primary", b"3" * 16, b"3" * 16, b"claim")):
        proofs.add(link.proof(*(other if at == place else value for place, value in enumerate(given))))  # type: ignore[arg-type]
    assert len(proofs) == 6
    assert link.is_proof(link.proof(*given), link.proof(*given))
