"""Blocks of a journal that begins slices, as by `serve --roll-daily`: a reader goes on over each border."""

from pathlib import Path

import pytest

from client.errors import FeedFault
from client.publication import HEAD_BYTES, BadPublication, Publication, packed, read, sizes, unpacked
from client.publication_sequence import BlockSequence
from engine.records import Side
from journal.history import History
from node.nats.source import JournalBlocks
from sequencer.pump import pump
from sequencer.stamp import FileStamp
from tests.nodes import SMALL, batches, begin_slice, create
from tests.rows import batch, clock, enter, market_of


def written(directory: Path) -> list[Publication]:
    """The publications of a journal of four slices, of which the second has no block, as the owner has them."""
    journal, engine = create(directory, SMALL)
    stamp = FileStamp()
    with journal:
        pump(batches(market_of(), 2), stamp, journal, engine)
        begin_slice(journal, engine)
        begin_slice(journal, engine)
        pump(
            batches(batch(clock(), enter(1, "a1", Side.BUY, 10, 100_000), enter(2, "b1", Side.SELL, 4, 100_000)), 1),
            stamp,
            journal,
            engine,
        )
        begin_slice(journal, engine)
        pump(
            batches(batch(enter(1, "a2", Side.BUY, 10, 100_000), enter(2, "b2", Side.SELL, 4, 100_000)), 1),
            stamp,
            journal,
            engine,
        )
        last_seq = journal.last_seq
    source, found = JournalBlocks(directory), list[Publication]()
    while not found or found[-1].end <= last_seq:
        found += source.read(found[-1].end if found else 1, last_seq, 1 << 20)
    source.close()
    return found


def test_a_reader_goes_on_over_the_borders_of_slices(tmp_path: Path) -> None:
    sent = written(tmp_path)
    order, given = BlockSequence(1), list[bytes]()
    for each in sent:
        given += [made.frame for made in order.take(each, 0)]
    with History.open(tmp_path) as history:
        assert len(history.places) == 4
        assert given == [bytes(block.sealed) for block in history.blocks()]
    assert [len(each.slices) for each in sent if each.slices] == [2, 1]


def test_the_records_of_slices_come_by_nats_and_from_the_owner_as_they_were(tmp_path: Path) -> None:
    for each in written(tmp_path):
        assert read(each.headers(), each.payload) == each
        sent = packed(each)
        lines, payload = sizes(sent[:HEAD_BYTES])
        assert unpacked(sent[HEAD_BYTES : HEAD_BYTES + lines], sent[-payload:]) == each
    with pytest.raises(BadPublication, match="not in base64"):
        read({**each.headers(), "Lockstep-Slices": "?"}, each.payload)


def test_a_block_whose_slice_does_not_follow_is_refused(tmp_path: Path) -> None:
    sent = written(tmp_path / "this")
    other = written(tmp_path / "other")
    at = next(at for at, each in enumerate(sent) if each.slices)
    first = sent[at].slices
    for wrong in ((), first[:1], first[1:], (first[1], first[0]), (*first[:1], b"no record"), other[at].slices):
        order = BlockSequence(1)
        for each in sent[:at]:
            assert order.take(each, 0)
        assert order.take(sent[at]._replace(slices=wrong), 0) == []
        assert order.counts.refused == 1
        with pytest.raises(FeedFault, match=r"seq \d+ does not follow|does not follow what|genesis record"):
            order.take(sent[at]._replace(slices=wrong), 0, from_owner=True)
