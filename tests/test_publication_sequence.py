"""Publications in order, whatever comes of them: no number twice, none left out, nothing that is not proven."""

import random
from collections.abc import Callable

import pytest

from client.errors import FeedFault
from client.publication import (
    BadPublication,
    Publication,
    Refused,
    Request,
    checked_url,
    cut,
    first_link,
    link_after,
    packed,
    read,
    read_request,
    refusal,
    sizes,
    unpacked,
)
from client.publication_sequence import KEPT_BYTES_MAX, REPEAT_NS, SILENCE_NS, WAIT_NS, BlockSequence, MessageSequence
from journal.frame import encode, seal

DAY = "20240115"
JOURNAL = "ab" * 16


def messages(count: int, session: str = DAY) -> list[bytes]:
    """Framed messages, none like another."""
    made = [f"{session} {number}".encode() for number in range(1, count + 1)]
    return [len(each).to_bytes(2, "big") + each for each in made]


def part(first: int, count: int, whole: list[bytes], *, epoch: int = 1, session: str = DAY) -> Publication:
    """Publication of messages ``first`` to ``first + count - 1`` of a session."""
    before = link_after(first_link(session), whole[: first - 1])
    own = whole[first - 1 : first - 1 + count]
    return Publication(epoch, session, first, len(own), link_after(before, own), before, b"".join(own))


def blocks(count: int, *, epoch: int = 1, other_from: int = 0) -> list[Publication]:
    """Blocks of a journal, of one to three rows; from number ``other_from`` on those of another history."""
    made, link, seq = [], bytes(16), 1
    for number in range(count):
        rows = 1 + number % 3
        filled = bytes([1 + number % 250 + (number >= other_from > 0)]) * 64 * rows
        frame = encode(
            filled, first_seq=seq, count=rows, time_ns=number, epoch=epoch, source_digest="x", rules_version=1
        )
        link = seal(frame, link)
        made.append(Publication(epoch, JOURNAL, seq, rows, number.to_bytes(16, "big"), payload=bytes(frame)))
        seq += rows
    return made


def bad(sent: list[Publication], seed: int) -> list[Publication]:
    """Publications of which a fifth each is lost, doubled and held back."""
    chance, came, held = random.Random(seed), list[Publication](), list[Publication]()
    for each in sent:
        drawn = chance.random()
        if 0.2 <= drawn < 0.4:
            held.append(each)
        elif drawn >= 0.4:
            came += [each, each] if drawn < 0.6 else [each]
        if held and chance.random() < 0.3:
            came.append(held.pop(0))
    return came


@pytest.mark.parametrize("seed", range(20))
def test_messages_come_once_and_in_order_whatever_is_lost_doubled_or_held_back(seed: int) -> None:
    whole, chance = messages(300), random.Random(seed)
    cuts = sorted(chance.sample(range(2, 300), 60))
    sent = [part(at, end - at, whole) for at, end in zip([1, *cuts], [*cuts, 301], strict=True)]
    order, given, now_ns = MessageSequence(1, DAY), list[bytes](), 0
    without: list[bytes] = []  # the control: who takes what comes for all that there is
    for came in bad(sent, seed):
        now_ns += WAIT_NS
        without += cut(came.payload)
        for made in order.take(came, now_ns):
            assert made.first_number == len(given) + 1
            given += made.messages
        if (asked := order.due(now_ns)) is not None:
            assert asked == Request("itch", DAY, len(given) + 1)
            # The owner cuts as it likes.
            for made in order.take(part(asked.first, 7, whole), now_ns, from_owner=True):
                given += made.messages
    for each in (*sent, Publication(1, DAY, 301, 0)):
        for made in order.take(each, now_ns, from_owner=True):
            given += made.messages
    assert given == [each[2:] for each in whole]
    assert order.is_whole(now_ns)
    assert order.counts.missed
    assert without != whole


@pytest.mark.parametrize("seed", range(20))
def test_blocks_come_once_and_in_order_each_linked_to_the_one_before(seed: int) -> None:
    sent = blocks(100)
    order, given, now_ns = BlockSequence(1), list[bytes](), 0
    for came in bad(sent, seed):
        now_ns += WAIT_NS
        given += [made.frame for made in order.take(came, now_ns)]
        if (asked := order.due(now_ns)) is not None:
            (wanted,) = (each for each in sent if each.first <= asked.first < each.end)
            given += [made.frame for made in order.take(wanted, now_ns, from_owner=True)]
    for each in sent:
        given += [made.frame for made in order.take(each, now_ns, from_owner=True)]
    assert given == [each.payload for each in sent]


def test_a_message_that_was_changed_is_not_given_and_the_owner_is_asked() -> None:
    whole, order = messages(10), MessageSequence(1, DAY)
    good = part(1, 10, whole)
    changed = good._replace(payload=good.payload.replace(b" 7", b" 8"))
    assert order.take(changed, 0) == []
    assert (order.counts.refused, order.missing) == (1, 10)
    assert order.due(WAIT_NS) == Request("itch", DAY, 1)
    (made,) = order.take(good, WAIT_NS, from_owner=True)
    assert made.messages == [each[2:] for each in whole]


def test_a_block_that_was_changed_is_not_given() -> None:
    first, second, third = blocks(3)
    order = BlockSequence(1)
    assert len(order.take(first, 0)) == 1
    changed = second._replace(payload=second.payload[:-1] + b"?")
    assert order.take(changed, 0) == order.take(third, 0) == []
    assert [made.first_seq for made in order.take(second, 0, from_owner=True)] == [second.first, third.first]


def test_what_an_earlier_primary_publishes_is_refused_once_a_later_one_was_heard() -> None:
    whole, order = messages(9), MessageSequence(1, DAY)
    assert order.take(part(1, 3, whole, epoch=2), 0)
    assert order.take(part(4, 3, whole, epoch=1), 0) == []
    assert (order.counts.refused, order.missing) == (1, 0)
    assert order.take(part(4, 3, whole, epoch=3), 0)


@pytest.mark.parametrize("kind", ["blocks", "messages"])
def test_a_history_that_was_undone_ends_in_a_fault_and_never_in_a_false_row(kind: str) -> None:
    """The reader has what an old primary told, and the market went on without it."""
    if kind == "blocks":
        told, others, order = blocks(4), blocks(4, epoch=2, other_from=3), BlockSequence(1)
    else:
        before, after = messages(12), [*messages(8), *messages(4, "other")]
        told = [part(at, 3, before) for at in (1, 4, 7, 10)]
        others = [part(at, 3, after, epoch=2) for at in (1, 4, 7, 10)]
        order = MessageSequence(1, DAY)  # type: ignore[assignment]
    for each in told[:-1]:
        assert order.take(each, 0)
    if kind == "blocks":  # the third block is another one there
        others = blocks(4, epoch=2, other_from=2)
    assert order.take(others[-1], 0) == []
    assert order.counts.refused == 1
    assert order.due(WAIT_NS) is not None
    with pytest.raises(FeedFault, match="begin again"):
        order.take(others[-1], WAIT_NS, from_owner=True)
    with pytest.raises(FeedFault):
        order.take(told[-1], WAIT_NS)
    assert order.due(10 * SILENCE_NS) is None
    assert not order.is_whole(WAIT_NS)


def test_a_heartbeat_tells_of_the_last_message_that_was_lost() -> None:
    whole, order = messages(5), MessageSequence()
    assert order.due(0) is None
    assert order.take(part(2, 2, whole), 0)[0].first_number == 2
    assert order.is_whole(0)
    assert order.take(Publication(1, DAY, 6, 0), 1) == []
    assert (order.missing, order.is_whole(1)) == (2, False)
    assert order.due(1) is None  # it may come yet
    assert order.due(1 + WAIT_NS) == Request("itch", DAY, 4)
    assert order.due(2 + WAIT_NS) is None
    assert order.due(1 + WAIT_NS + REPEAT_NS) == Request("itch", DAY, 4)


def test_the_owner_is_asked_while_nothing_is_heard() -> None:
    whole, order = messages(5), MessageSequence()
    order.take(part(1, 5, whole), 0)
    assert order.due(SILENCE_NS - 1) is None
    assert order.due(SILENCE_NS) == Request("itch", DAY, 6)
    order.answered()
    assert order.due(SILENCE_NS + 1) is None or order.due(SILENCE_NS + 2) is None


def test_a_day_ends_where_the_owner_says_so_and_the_next_one_begins_with_its_first_message() -> None:
    first, second = messages(4), messages(3, "20240116")
    order = MessageSequence(1, DAY)
    order.take(part(1, 3, first), 0)
    assert order.take(part(2, 2, second, session="20240116"), 0) == []
    assert not order.is_whole(0)
    assert order.due(0) == Request("itch", DAY, 4)
    assert len(order.take(part(4, 1, first), 0, from_owner=True)) == 1
    assert order.take(Publication(1, DAY, 5, 0, then="20240116"), 0, from_owner=True) == []
    assert (order.session, order.next_number) == ("20240116", 1)
    (made,) = order.take(part(1, 3, second, session="20240116"), 0)
    assert (made.session, len(made.messages)) == ("20240116", 3)


def test_the_end_of_a_day_is_not_taken_while_something_of_it_is_missing() -> None:
    order = MessageSequence(1, DAY)
    order.take(Publication(1, DAY, 5, 0, then="20240116"), 0)
    assert (order.session, order.missing) == (DAY, 4)


def test_a_block_that_was_too_large_to_be_published_is_asked_for() -> None:
    first, second, third = blocks(3)
    order = BlockSequence(1)
    order.take(first, 0)
    assert order.take(second._replace(payload=b""), 0) == []
    assert order.take(third, 0) == []
    assert order.due(WAIT_NS) == Request("blocks", JOURNAL, second.first)
    assert len(order.take(second, 0, from_owner=True)) == 2


def test_blocks_of_another_journal_are_refused() -> None:
    first, second, _ = blocks(3)
    order = BlockSequence(1)
    order.take(first, 0)
    assert order.take(second._replace(session="cd" * 16), 0) == []
    assert (order.counts.refused, order.missing) == (1, 0)


def test_what_is_kept_behind_a_gap_is_bounded() -> None:
    big = messages(1)[0][:2] + b""  # of no use but as a size
    order = MessageSequence(1, DAY)
    for number in range(2, 40):
        order.take(Publication(1, DAY, number, 1, bytes(16), bytes(16), big + bytes(4 << 20)), 0)
    assert order._kept_bytes < KEPT_BYTES_MAX + (5 << 20)
    assert order.missing == 39


@pytest.mark.parametrize("first", [1, 2])
def test_a_late_reader_begins_with_what_it_hears_and_proves_all_behind_it(first: int) -> None:
    whole = messages(9)
    order = MessageSequence()
    order.take(part(3, 2, whole), 0)
    changed = part(5, 2, whole)._replace(digest=bytes(16))
    assert order.take(changed, 0) == []
    assert order.counts.refused == 1
    from_number = MessageSequence(first)
    assert from_number.take(part(3, 2, whole), 0) == []
    assert from_number.take(part(1, 2, whole), 0, from_owner=True)[0].first_number == first


def test_a_publication_is_the_same_behind_its_headers_and_on_a_stream() -> None:
    sent = part(1, 3, messages(3))
    assert read(sent.headers(), sent.payload) == sent
    octets = packed(sent)
    lines, payload = sizes(octets[:8])
    assert unpacked(octets[8 : 8 + lines], octets[8 + lines :]) == sent
    assert len(octets) == 8 + lines + payload
    octets = refusal("no such day")
    with pytest.raises(Refused, match="no such day"):
        unpacked(octets[8:], b"")


@pytest.mark.parametrize(
    "change",
    [
        lambda headers: headers.pop("Lockstep-Epoch"),
        lambda headers: headers.update({"Lockstep-First-Seq": "0"}),
        lambda headers: headers.update({"Lockstep-First-Seq": "9" * 30}),
        lambda headers: headers.update({"Lockstep-Count": "-1"}),
        lambda headers: headers.update({"Lockstep-Count": "²"}),
        lambda headers: headers.update({"Lockstep-Count": "0"}),
        lambda headers: headers.update({"Lockstep-Digest": "zz"}),
        lambda headers: headers.update({"Lockstep-Digest": "00"}),
        lambda headers: headers.update({"Lockstep-Session": ""}),
        lambda headers: headers.update({"Lockstep-Session": "a" * 99}),
        lambda headers: headers.pop("Lockstep-Digest"),
    ],
)
def test_what_is_no_publication_is_refused(change: Callable[[dict[str, str]], object]) -> None:
    sent = part(1, 3, messages(3))
    headers = sent.headers()
    change(headers)
    with pytest.raises(BadPublication):
        read(headers, sent.payload)


@pytest.mark.parametrize("line", [b"", b"blocks\n", b"ouch - 1\n", b"blocks - 0\n", b"blocks - x\n", b"\xff \xfe 1\n"])
def test_what_is_no_request_is_refused(line: bytes) -> None:
    with pytest.raises(BadPublication):
        read_request(line)


def test_a_request_is_the_same_behind_its_line() -> None:
    for asked in (Request("blocks", "", 7), Request("itch", DAY, 1)):
        assert read_request(asked.line()) == asked


@pytest.mark.parametrize(
    "url", ["", "http://a", "nats://", "nats://u:p@a", "nats://a:0", "nats://a,nats://b", "nats://a:x"]
)
def test_what_is_no_url_of_a_server_is_refused_and_no_password_is_repeated(url: str) -> None:
    with pytest.raises(ValueError, match="URL of the NATS server") as found:
        checked_url(url)
    assert ":p@" not in str(found.value)
