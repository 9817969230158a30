"""Primary and copy over a queue of bytes: what is released when, who may take over, and what is refused."""

from itertools import product

import pytest

from replication.arbiter import Standing
from replication.comparison import Comparison, Divergence
from replication.link import (
    Kind,
    LinkError,
    Position,
    Rows,
    Scrub,
    encode,
    pack_ack,
    pack_answer,
    pack_map,
    pack_positions,
    pack_rows,
    pack_scrub,
    unpack_rows,
)
from replication.primary import Settings
from sequencer.release import POLICIES, Replicated, released_seq
from tests.pairs import MS, SECRET, CopyNode, Log, PrimaryNode, Wire, identity, reign_of


def pair(policy: str = "both", alone: str = "continue") -> tuple[PrimaryNode, CopyNode, Wire]:
    primary = PrimaryNode(settings=Settings(policy=policy, alone=alone))  # type: ignore[arg-type]
    primary.write(b"abc")
    copy = CopyNode()
    wire = Wire(primary, copy)
    wire.settle()
    primary.record()
    wire.settle()
    return primary, copy, wire


def test_a_copy_receives_the_same_blocks_and_comes_to_the_same_digests() -> None:
    primary, copy, wire = pair()
    for rows in (b"d", b"ef", b"ghi" * 100):
        primary.write(rows)
    wire.settle()
    assert copy.log.blocks == primary.log.blocks
    assert copy.log.digest == primary.log.digest
    assert copy.core.state == "following"
    assert copy.core.in_sync
    assert primary.core.status()[0]["agreed_seq"] == primary.log.seq


def ahead(primary: PrimaryNode, wire: Wire, rows: bytes) -> Rows:
    """Send rows ahead of their block, as the compiled turn does."""
    sent = Rows(primary.log.seq + 1, len(rows), 5, rows)
    assert primary.core.ahead_copy() is wire.end
    wire.end.put(encode(Kind.ROWS, primary.core.epoch, pack_rows(sent)))
    primary.core.on_rows_sent(wire.end, sent.last_seq)
    return sent


def test_rows_ahead_of_their_block_are_acknowledged_and_the_block_takes_their_place() -> None:
    primary, copy, wire = pair("replica")
    ahead(primary, wire, b"de")
    wire.settle()
    assert (wire.end.received_seq, copy.log.seq, len(copy.core.ahead)) == (5, 3, 1)
    primary.core.on_told(5)
    primary.write(b"def")
    wire.settle()
    assert (copy.log.blocks, list(copy.core.ahead)) == (primary.log.blocks, [])
    assert (copy.core.state, primary.released) == ("following", 6)


def test_a_block_may_end_within_rows_that_came_ahead_of_it() -> None:
    primary, copy, wire = pair("replica")
    ahead(primary, wire, b"defg")
    wire.settle()
    primary.write(b"de")
    wire.settle()
    assert [rows.data for rows in copy.core.ahead] == [b"fg"]
    assert (copy.core.received_seq, copy.core.state) == (7, "following")


def test_a_block_with_other_rows_than_came_ahead_of_it_ends_the_connection() -> None:
    primary, copy, wire = pair("replica")
    ahead(primary, wire, b"de")
    wire.settle()
    primary.write(b"dx")
    wire.settle()
    assert copy.core.state == "refused"
    assert copy.core.why == "the block up to 5 has other rows than the primary sent ahead of it"


def test_rows_that_do_not_come_next_end_the_connection() -> None:
    _, copy, wire = pair("replica")
    wire.end.put(encode(Kind.ROWS, 1, pack_rows(Rows(5, 1, 5, b"e"))))
    wire.settle()
    assert copy.core.state == "refused"
    assert copy.core.why == "the primary sent rows from 5 on, and 4 is next"
    with pytest.raises(LinkError, match="of 3 rows has 4 bytes"):
        unpack_rows(pack_rows(Rows(1, 3, 1, b"abcd")))


@pytest.mark.parametrize("policy", ["both", "fsync", "none"])
def test_rows_are_sent_ahead_under_replica_alone(policy: str) -> None:
    assert pair(policy)[0].core.ahead_copy() is None
    primary, _, wire = pair("replica")
    assert primary.core.ahead_copy() is wire.end
    wire.end.takes_rows = False
    assert primary.core.ahead_copy() is None, "a release that does not know them"
    wire.end.takes_rows = True
    primary.core.on_record_asked(frozenset({"A"}))
    assert primary.core.ahead_copy() is None, "this node may be named alone soon"


def test_a_standby_puts_rows_into_a_block_of_its_own_once_the_reign_is_over_and_then_asks_for_one() -> None:
    primary, copy, wire = pair("replica")
    ahead(primary, wire, b"de")
    ahead_too = Rows(6, 1, 9, b"f")
    wire.end.put(encode(Kind.ROWS, 1, pack_rows(ahead_too)))
    primary.core.on_rows_sent(wire.end, 6)
    wire.settle()
    reign = reign_of("A", "B", policy="replica")
    held, over = Standing(reign, held=True), Standing(reign, held=False)
    assert copy.core.rows_without_block(over) is None, "the primary still sends"
    copy.core.disconnect()
    assert copy.core.rows_without_block(None) is None
    assert copy.core.rows_without_block(held) is None
    assert copy.core.reason_not_to_take_over(reign) == "B has rows up to 6 that are in no block yet"
    assert copy.core.rows_without_block(over) == Rows(4, 3, 9, b"def")
    with pytest.raises(ValueError, match="in no block"):
        copy.core.reign(2)
    copy.core.on_taken(6, 1, b"def")
    assert not copy.core.ahead


def test_rows_of_an_earlier_reign_than_the_last_are_dropped() -> None:
    primary, copy, wire = pair("replica")
    ahead(primary, wire, b"de")
    wire.settle()
    copy.core.disconnect()
    later = Standing(reign_of("A", policy="replica", epoch=2), held=False)
    assert copy.core.rows_without_block(later) is None
    assert not copy.core.ahead


def test_the_release_table() -> None:
    for policy, applied, journaled in product(POLICIES, (5, 9), (3, 9)):
        for replicated in (None, Replicated(8, 4), Replicated(2, 2), Replicated(9, 9)):
            got = released_seq(policy, applied, journaled, replicated)
            if policy == "none":
                wanted = applied
            elif policy == "fsync" or replicated is None:
                wanted = min(applied, journaled)
            elif policy == "replica":
                wanted = min(applied, replicated.received_seq)
            else:
                wanted = min(applied, journaled, replicated.journaled_seq)
            assert got == wanted
    with pytest.raises(ValueError, match="unknown"):
        released_seq("soon", 1, 1, None)


@pytest.mark.parametrize("policy", ["replica", "both"])
def test_an_answer_waits_for_the_standby_and_leaves_with_its_acknowledgement(policy: str) -> None:
    primary, copy, wire = pair(policy)
    before = primary.released
    primary.write(b"d")
    assert primary.released == before
    wire.settle()
    assert primary.released == primary.log.seq
    copy.journals = False
    primary.write(b"e")
    wire.settle()
    assert (primary.released == primary.log.seq) == (policy == "replica")


def test_a_lost_standby_holds_answers_until_the_record_is_without_it() -> None:
    primary, _, wire = pair()
    primary.core.disconnect(wire.end)
    primary.write(b"d")
    assert primary.released == 3
    assert primary.core.wish == {"A"}
    primary.core.on_record_asked(frozenset({"A"}))
    assert primary.released == 3
    primary.core.on_record_answered(frozenset({"A"}))
    assert primary.released == 4


def test_a_primary_that_may_not_go_on_alone_waits_for_the_standby_to_return() -> None:
    primary, copy, wire = pair(alone="stop")
    primary.core.disconnect(wire.end)
    copy.core.disconnect()
    primary.write(b"d")
    assert primary.core.wish is None
    assert primary.released == 3
    again = Wire(primary, copy)
    again.settle()
    assert primary.released == 4


def test_a_standby_is_recorded_only_once_it_has_acknowledged_all_that_was_told() -> None:
    primary = PrimaryNode()
    primary.write(b"abc")
    assert primary.released == 3
    copy = CopyNode()
    copy.journals = False
    wire = Wire(primary, copy)
    wire.settle()
    primary.write(b"d")
    wire.settle()
    # It has everything in memory, and nothing on its disk: answers wait for it, and the record does not name it yet.
    assert primary.released == 3
    assert primary.core.wish is None
    copy.journals = True
    wire.settle()
    wire.copy.work(0)
    wire.settle()
    assert primary.core.wish == {"A", "B"}
    assert primary.released == 4


def test_a_joining_standby_that_leaves_before_it_is_recorded_holds_nothing() -> None:
    primary = PrimaryNode()
    copy = CopyNode()
    copy.journals = False
    wire = Wire(primary, copy)
    wire.settle()
    primary.write(b"d")
    wire.settle()
    assert primary.released == 0
    primary.core.disconnect(wire.end)
    assert primary.released == 1


def test_nothing_is_released_without_a_lease_or_once_a_later_reign_is_seen() -> None:
    primary, _, wire = pair()
    assert primary.released == 3
    primary.write(b"d")
    wire.settle()
    assert primary.core.released_seq(lease_holds=False) == 3
    primary.core.on_record_refused(4)
    assert primary.released == 3


def test_a_standby_takes_over_only_in_sync_applied_and_not_diverged() -> None:
    primary, copy, wire = pair()
    assert copy.core.reason_not_to_take_over(reign_of("A", "B")) == ""
    assert "not in sync" in copy.core.reason_not_to_take_over(reign_of("A"))
    primary.write(b"d")
    copy.core.receive(b"".join(wire.end.take_out()), 0)
    assert "not applied" in copy.core.reason_not_to_take_over(reign_of("A", "B"))
    copy.work(0)
    copy.core.compare_part(4, "books", b"1" * 16, b"2" * 16)
    assert "diverged" in copy.core.reason_not_to_take_over(reign_of("A", "B"))
    follower = CopyNode("C", "follower")
    assert "promote --force" in follower.core.reason_not_to_take_over(reign_of("A", "C"))


def test_a_restarted_standby_may_lack_what_it_acknowledged_from_memory() -> None:
    _, copy, _ = pair("replica")
    restarted = CopyNode(log=Log.of(copy.log.blocks[:1]), epoch=1)
    assert "restarted" in restarted.core.reason_not_to_take_over(reign_of("A", "B", policy="replica"))
    assert restarted.core.reason_not_to_take_over(reign_of("A", "B")) == ""
    assert restarted.core.reason_not_to_take_over(reign_of("B", policy="replica")) == ""
    assert copy.core.reason_not_to_take_over(reign_of("A", "B", policy="replica")) == ""


def test_under_replica_a_standby_asks_for_a_reign_only_with_all_it_has_received_on_its_disk() -> None:
    """The reign names it alone, so that it may reign again after a restart: by then its memory is lost."""
    primary, copy, wire = pair("replica")
    copy.journals = False
    primary.write(b"d")
    wire.settle()
    assert primary.released == primary.log.seq
    assert "to its disk" in copy.core.reason_not_to_take_over(reign_of("A", "B", policy="replica"))
    copy.core.on_journaled(copy.log.seq)
    assert copy.core.reason_not_to_take_over(reign_of("A", "B", policy="replica")) == ""


def test_under_replica_a_primary_is_recorded_alone_only_with_all_that_was_told_on_its_disk() -> None:
    """A node that the record names alone may reign after a restart, which loses what was in memory."""
    primary, _, wire = pair("replica")
    primary.write(b"d", journaled=False)
    wire.settle()
    assert primary.released == primary.log.seq
    primary.core.disconnect(wire.end)
    assert primary.core.wish is None
    primary.core.on_journaled(primary.log.seq)
    assert primary.core.wish == {"A"}


def test_under_replica_a_memory_counts_only_while_the_record_names_its_node_for_certain() -> None:
    primary = PrimaryNode(settings=Settings(policy="replica"))
    wire = Wire(primary, CopyNode())
    primary.write(b"a", journaled=False)
    wire.settle()
    assert primary.core.wish == {"A", "B"}
    assert primary.released == 0
    primary.core.on_record_asked(frozenset({"A", "B"}))
    assert primary.released == 0
    primary.core.on_record_answered(frozenset({"A", "B"}))
    assert primary.released == 1
    # A request to be named alone may be in force already.
    primary.core.on_journaled(1)
    primary.core.on_record_asked(frozenset({"A"}))
    primary.write(b"b", journaled=False)
    wire.settle()
    assert primary.released == 1
    primary.core.on_journaled(2)
    assert primary.released == 2


def test_a_node_whose_disk_may_lack_something_takes_over_only_once_it_is_in_sync() -> None:
    primary, _, _ = pair()
    new = CopyNode(incomplete="its disk is new")
    for reign in (None, reign_of("A", "B")):
        assert "its disk is new" in new.core.reason_not_to_take_over(reign)
    Wire(primary, new).settle()
    assert new.core.in_sync
    assert new.core.reason_not_to_take_over(reign_of("A", "B")) == ""


def test_a_primary_whose_reign_is_over_cannot_make_a_node_whole() -> None:
    """B reigned in epoch 3, and has lost the end of its journal. A, of epoch 1, does not know, and calls it in sync."""
    primary, copy, _ = pair("replica")
    damaged = CopyNode(log=Log.of(copy.log.blocks), epoch=1, incomplete="its journal was damaged")
    Wire(primary, damaged).settle()
    assert damaged.core.in_sync
    own = reign_of("B", policy="replica", epoch=3)
    assert "was damaged" in damaged.core.reason_not_to_take_over(own)
    damaged.core.on_record_read(own)
    assert damaged.core.state == "disconnected"
    assert "was damaged" in damaged.core.reason_not_to_take_over(own)
    again = Wire(primary, damaged)
    again.settle()
    assert damaged.core.state == "refused"
    assert primary.core.superseded == 3


def test_a_node_is_whole_once_the_record_of_the_reign_that_calls_it_in_sync_names_it() -> None:
    primary, copy, _ = pair("replica")
    again = CopyNode(log=Log.of(copy.log.blocks), epoch=1, incomplete="its journal was damaged")
    Wire(primary, again).settle()
    again.core.on_record_read(reign_of("A"))
    assert again.core.incomplete
    again.core.on_record_read(reign_of("A", "B", policy="replica"))
    assert not again.core.incomplete
    assert again.core.reason_not_to_take_over(reign_of("A", "B", policy="replica", epoch=2)) == ""


def test_a_node_with_an_empty_journal_takes_over_only_where_no_reign_has_begun() -> None:
    new = CopyNode("A")
    assert new.core.reason_not_to_take_over(None) == ""
    for reign in (reign_of("A"), reign_of("B", "A")):
        assert "empty journal" in new.core.reason_not_to_take_over(reign)


def test_a_node_that_the_primary_refused_as_no_pair_does_not_take_over() -> None:
    primary = PrimaryNode()
    other = CopyNode(rules_version=6)
    Wire(primary, other).settle()
    assert "B is no pair of the primary" in other.core.reason_not_to_take_over(reign_of("A", "B"))


@pytest.mark.parametrize(("market", "found"), [({"journal_id": b"of other market."}, []), ({}, ["B"])])
def test_a_divergence_that_a_node_of_another_market_reports_is_not_taken(
    market: dict[str, object], found: list[str]
) -> None:
    primary, other = PrimaryNode(), CopyNode(**market)
    wire = Wire(primary, other)
    other.core.diverge(Divergence(1, 3, "books", b"1" * 16, b"2" * 16))
    other.core.connect_to_report(b"m" * 16, 0)
    wire.settle()
    assert list(primary.core.divergences) == found


def test_states_are_compared_at_the_greeting_though_no_command_follows() -> None:
    for others in (b"", b"de"):
        primary, copy, _ = pair()
        if others:
            primary.write(others)
        copy.log.digest = b"x" * 16
        again = CopyNode(log=copy.log, epoch=1)
        Wire(primary, again).settle()
        assert again.core.state == "diverged"
        assert list(primary.core.divergences) == ["B"]


def test_a_copy_that_comes_back_behind_is_told_the_first_of_several_blocks_that_differ() -> None:
    primary, copy, wire = pair()
    primary.core.disconnect(wire.end)
    for rows in (b"d", b"ef"):
        primary.write(rows)
    primary.log.digest = b"x" * 16
    for rows in (b"ghi", b"jk", b"l"):
        primary.write(rows)
    again = CopyNode(log=copy.log, epoch=1)
    Wire(primary, again).settle()
    assert again.core.divergence is not None
    assert (again.core.divergence.first_seq, again.core.divergence.last_seq) == (7, 9)
    assert (primary.core.divergences["B"].first_seq, primary.core.divergences["B"].last_seq) == (7, 9)


def test_a_difference_behind_blocks_that_were_not_compared_may_begin_in_any_of_them() -> None:
    both = Comparison(0)
    for seq in (1, 5, 7):
        both.own(seq, seq + 1, bytes([seq]))
    both.other(Position(2, b"\x01"))
    both.other(Position(8, b"other"))
    assert both.divergence is not None
    assert (both.divergence.first_seq, both.divergence.last_seq) == (3, 8)


def test_a_check_of_another_position_breaks_the_link() -> None:
    _, copy, wire = pair()
    for kind, payload in (
        (Kind.SCRUB, pack_scrub(Scrub(2, 1, 64, b"d" * 16))),
        (Kind.PARTS, pack_map({"seq": 9, "parts": {}})),
        (Kind.PARTS, pack_map({"seq": 2, "parts": {}})),
    ):
        copy.core.receive(encode(kind, 1, payload), 0)
        with pytest.raises(LinkError, match="sent up to 3"):
            copy.core.take_checks()
    assert wire.end.state == "live"


def test_a_standby_that_has_restarted_answers_a_takeover_by_command_before_any_other_command() -> None:
    primary, copy, _ = pair()
    again = CopyNode(log=copy.log, epoch=1)
    wire = Wire(primary, again)
    wire.settle()
    assert primary.core.hand_over() == ""
    wire.settle()
    assert primary.core.is_ready


def test_a_copy_of_an_empty_journal_is_heard() -> None:
    primary, copy = PrimaryNode(), CopyNode()
    wire = Wire(primary, copy)
    for now_ns in range(0, 2_000 * MS, 50 * MS):
        primary.core.tick(now_ns, 0)
        copy.core.tick(now_ns)
        wire.turn(now_ns)
    assert wire.end.state == "live"


def test_a_restarted_standby_is_told_that_it_is_in_sync_once_it_has_again_what_was_released() -> None:
    primary, copy, _ = pair("replica")
    for rows in (b"d", b"e"):
        primary.write(rows)
    wire = Wire(primary, copy)
    wire.settle()
    assert primary.released == 5
    restarted = CopyNode(log=Log.of(copy.log.blocks[:1]), epoch=1)
    again = Wire(primary, restarted)
    greeting = b"".join(again.end.take_out())
    restarted.core.receive(greeting, 0)
    primary.core.receive(again.end, b"".join(restarted.core.take_out()), 0)
    restarted.core.receive(b"".join(again.end.take_out()), 0)
    assert restarted.core.state == "following"
    assert not restarted.core.memory_kept


def test_an_epoch_below_the_highest_seen_is_refused_by_the_standby() -> None:
    primary, copy, wire = pair()
    copy.core.reign(2)
    primary.write(b"d")
    seq = copy.log.seq
    wire.settle()
    assert copy.log.seq == seq
    late = CopyNode(epoch=2, log=copy.log)
    again = Wire(primary, late)
    again.settle()
    assert late.core.state == "refused"
    assert "epoch" in late.core.why


def test_a_primary_that_hears_of_a_later_epoch_is_superseded() -> None:
    primary, copy, wire = pair()
    primary.core.receive(wire.end, encode(Kind.ACK, 9, pack_ack(3, 3, [])), 0)
    assert primary.core.superseded == 9
    primary, copy, _ = pair()
    late = CopyNode(epoch=7, log=copy.log)
    Wire(primary, late).settle()
    assert primary.core.superseded == 7


def test_different_digests_name_the_first_block_that_differs_on_both_sides() -> None:
    primary, copy, wire = pair()
    primary.write(b"d")
    wire.settle()
    copy.log.digest = b"x" * 16
    primary.write(b"ef")
    primary.write(b"g")
    wire.settle()
    assert copy.core.state == "diverged"
    assert copy.core.divergence is not None
    assert (copy.core.divergence.first_seq, copy.core.divergence.last_seq) == (5, 6)
    assert primary.core.divergences["B"].first_seq == 5
    assert primary.core.divergences["B"].own == copy.core.divergence.other
    assert primary.core.wish == {"A"}
    primary.record()
    assert primary.released == primary.log.seq
    again = CopyNode(log=Log.of(copy.log.blocks))
    Wire(primary, again).settle()
    assert again.core.state == "refused"
    assert "rebuild" in again.core.why
    rebuilt = CopyNode(log=primary.log, directory=b"new")
    Wire(primary, rebuilt).settle()
    assert rebuilt.core.state == "following"
    assert not primary.core.divergences


def test_an_acknowledgement_of_what_was_never_sent_ends_the_connection() -> None:
    primary, _, wire = pair()
    primary.core.receive(wire.end, encode(Kind.ACK, 1, pack_ack(99, 99, [])), 0)
    assert wire.end.state == "closed"
    assert "acknowledges 99" in wire.end.why
    assert primary.core.superseded == 0


def test_a_tail_of_another_history_is_named_by_the_newest_common_position() -> None:
    primary, copy, wire = pair()
    for rows in (b"d", b"e"):
        primary.write(rows)
    wire.settle()
    copy.log.write(b"xyz", 1)
    old = CopyNode(log=copy.log, epoch=1)
    again = Wire(primary, old)
    again.settle()
    assert old.core.state == "apart"
    assert old.core.common == Position(5, primary.log.ends[-1].digest)


def test_blocks_too_old_for_the_backlog_are_fetched_elsewhere() -> None:
    primary = PrimaryNode(settings=Settings(backlog_bytes=1_000))
    for _ in range(100):
        primary.write(b"abc")
    copy = CopyNode()
    Wire(primary, copy).settle()
    assert copy.core.state == "elsewhere"
    assert copy.core.catch_up is not None
    assert copy.core.catch_up.last_seq == 300
    near = CopyNode(log=Log.of(primary.log.blocks[:99]))
    Wire(primary, near).settle()
    assert near.core.state == "following"
    assert near.log.seq == 300


def test_fetched_blocks_are_compared_with_the_digests_that_the_primary_has_recorded() -> None:
    for recorded, diverges in ((b"2" * 16, False), (b"x" * 16, True)):
        primary = PrimaryNode(settings=Settings(backlog_bytes=1_000))
        for _ in range(100):
            primary.write(b"abc")
        copy = CopyNode()
        Wire(primary, copy).settle()
        standby = copy.core
        standby.on_fetch_begun()
        for last_seq in (3, 6):
            standby.on_taken(last_seq, 1, b"abc")
        # The first digest is known here before that of the primary, and the second one after it.
        standby.on_applied(1, 3, b"1" * 16)
        standby.on_recorded([Position(1, b"1" * 16), Position(4, recorded)])
        assert standby.divergence is None
        standby.on_applied(4, 6, b"2" * 16)
        if diverges:
            assert standby.divergence is not None
            assert (standby.divergence.first_seq, standby.divergence.last_seq) == (4, 6)
            assert standby.state == "diverged"
        else:
            standby.on_caught_up()
            assert standby.state == "disconnected"
            assert standby._comparison.agreed_seq == 6


def test_a_peer_without_the_secret_is_refused_on_both_sides(monkeypatch: pytest.MonkeyPatch) -> None:
    primary, copy = PrimaryNode(), CopyNode()
    copy.core._secret = b"another"
    wire = Wire(primary, copy)
    wire.settle()
    assert wire.end.state == "closed"
    assert copy.core.state == "refused"
    assert "--secret-file" in copy.core.why
    copy = CopyNode()
    wire = Wire(primary, copy)
    monkeypatch.setattr("replication.primary.link.is_proof", lambda *_: True)
    copy.core._secret = b"another"
    monkeypatch.setattr("replication.standby.link.is_proof", lambda *_: False)
    wire.settle()
    assert copy.core.state == "refused"


@pytest.mark.parametrize(
    ("changes", "words"),
    [({"journal_id": b"j" * 16}, "another journal"), ({"rules_version": 4}, "rules"), ({"form": b"x" * 16}, "form")],
)
def test_a_node_of_another_journal_rules_or_form_is_refused_in_one_sentence(
    changes: dict[str, object], words: str
) -> None:
    primary, copy = PrimaryNode(), CopyNode(**changes)
    Wire(primary, copy).settle()
    assert copy.core.state == "refused"
    assert words in copy.core.why


def test_a_second_standby_is_told_to_follow() -> None:
    primary, _, _ = pair()
    second = CopyNode("C")
    Wire(primary, second).settle()
    assert second.core.state == "refused"
    assert "--follower" in second.core.why
    follower = CopyNode("C", "follower")
    Wire(primary, follower).settle()
    assert follower.core.state == "following"
    primary.write(b"d")
    assert follower.log.seq == 3


def test_silence_ends_a_connection_on_both_sides() -> None:
    primary, copy, wire = pair()
    for now_ms in range(0, 500, 50):
        primary.core.tick(now_ms * MS, 0)
        copy.core.tick(now_ms * MS)
    assert wire.end.state == "live"
    assert copy.core.state == "following"
    for now_ms in range(500, 650, 50):
        primary.core.tick(now_ms * MS, 0)
        copy.core.tick(now_ms * MS)
    assert wire.end.state == "closed"
    assert copy.core.state == "disconnected"


def test_a_pause_of_a_node_itself_is_no_silence_of_the_other() -> None:
    """Its bytes wait to be read: a node that waits for its disk, as for a new slice, must not end the connection."""
    primary, copy, wire = pair()
    for now_ms in (0, 50, 900):
        primary.core.tick(now_ms * MS, 0)
        copy.core.tick(now_ms * MS)
    assert wire.end.state == "live"
    assert copy.core.state == "following"
    for now_ms in range(900, 1_450, 50):
        primary.core.tick(now_ms * MS, 0)
    assert wire.end.state == "closed"


def test_a_takeover_by_command_is_answered_at_the_same_position_with_the_same_digest() -> None:
    primary, _, wire = pair()
    primary.write(b"d")
    assert primary.core.hand_over() == ""
    assert not primary.core.is_ready
    wire.settle()
    assert primary.core.is_ready
    alone = PrimaryNode()
    assert "no standby" in alone.core.hand_over()


@pytest.mark.parametrize("kind", [Kind.COMMON, Kind.CATCH_UP, Kind.WELCOME])
def test_a_stranger_without_the_secret_cannot_answer_a_greeting(kind: Kind) -> None:
    """Else whoever takes the port of a dead primary could have a standby set acknowledged blocks aside."""
    primary, copy, _ = pair()
    stranger = PrimaryNode("A", log=primary.log)
    stranger.core._secret = b"another"
    again = CopyNode(log=copy.log, epoch=1)
    wire = Wire(stranger, again)
    again.core.receive(b"".join(wire.end.take_out()), 0)
    again.core.take_out()
    place = again.log.ends[1]
    fields = {
        Kind.COMMON: {"common": pack_positions([place])},
        Kind.CATCH_UP: {"last_seq": 99, "slice_number": 9},
        Kind.WELCOME: {**identity("A")._asdict(), "from_seq": 4, "last_seq": 9},
    }[kind]
    for secret in (b"another", SECRET):
        answer = pack_answer(secret, kind, b"n" * 16, b"m" * 16, fields)
        again.core.receive(encode(kind, 1, answer), 0)
        wanted = {Kind.COMMON: "apart", Kind.CATCH_UP: "elsewhere", Kind.WELCOME: "following"}[kind]
        assert again.core.state == ("refused" if secret == b"another" else wanted)
        again.core.state = "greeting"


def test_a_refusal_without_a_proof_does_not_make_a_standby_unfit() -> None:
    primary, copy, _ = pair()
    again = CopyNode(log=copy.log, epoch=1)
    wire = Wire(PrimaryNode("A", log=primary.log), again)
    again.core.receive(b"".join(wire.end.take_out()), 0)
    again.core.receive(encode(Kind.REFUSAL, 1, pack_map({"why": "go away"})), 0)
    assert (again.core.state, again.core.why, again.core.unlike) == ("refused", "go away", "")


def test_a_copy_that_did_not_hear_of_its_divergence_learns_it_when_it_connects_again() -> None:
    """The primary found it, and the connection ended with that message on its way. The record still names the copy."""
    primary, copy, wire = pair(alone="stop")
    primary.core.divergences["B"] = Divergence(1, 3, "books", b"1" * 16, b"2" * 16)
    primary.core._diverged_directories["B"] = b""
    primary.core.disconnect(wire.end)
    again = CopyNode(log=copy.log, epoch=1)
    assert again.core.reason_not_to_take_over(reign_of("A", "B")) == ""
    Wire(primary, again).settle()
    assert again.core.state == "refused"
    assert "diverged" in again.core.reason_not_to_take_over(reign_of("A", "B"))


@pytest.mark.parametrize("is_paused", [True, False])
def test_a_standby_that_stood_still_itself_says_so_where_the_primary_has_heard_nothing(*, is_paused: bool) -> None:
    primary, copy, wire = pair()
    for now_ns in range(0, 10_000 * MS, 50 * MS):  # what the standby says is lost
        primary.core.tick(now_ns, 0)
        if not is_paused or not now_ns:
            copy.core.receive(b"", now_ns)
            copy.core.tick(now_ns)
    said = b"".join(wire.end.take_out())
    copy.core.receive(said, 10_000 * MS)
    own = "B itself stood still for 10.0 s, and " if is_paused else ""
    assert (copy.core.state, copy.core.why) == ("refused", f"{own}A heard nothing from B for 500 ms")


def test_the_last_sign_of_a_primary_is_neither_a_connection_that_was_made_nor_an_own_pause() -> None:
    copy = CopyNode()
    copy.core.tick(50 * MS)
    copy.core.tick(10_000 * MS)
    copy.core.connect(b"m" * 16, copy.log.tail(), 10_000 * MS)
    assert copy.core.last_sign_ns == 0
    copy.core.disconnect()
    wire = Wire(PrimaryNode(), copy, 11_000 * MS)
    wire.settle(12_000 * MS)
    copy.core.tick(20_000 * MS)
    assert copy.core.last_sign_ns == 12_000 * MS
