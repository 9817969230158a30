"""A data directory that is empty or behind becomes a copy of another node's by its history: the same blocks, the same
market, the same streams; whatever fails on the way, it can be opened and goes on."""

import contextlib
import os
import random
import shutil
import socket
import stat
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path

import pytest

from checkpoints import CheckpointStore, load_checkpoint, write_checkpoint
from directory.begin import holds_journal
from directory.recover import image, recover, stateful
from directory.roll import begin_slice_live, roll
from directory.set_aside import set_aside
from journal import Block, Journal, JournalError, slices
from replay.chain import check_chain
from replay.errors import ReplayError
from replay.rebuild import capacity_of
from replication import history_link, link
from replication.fetch import Fetched, JournalsApart, fetch, find_common
from replication.history import HistoryError, HistoryLost, Peer
from replication.history_link import HistoryLink
from replication.history_server import CONNECTIONS_MAX, HistoryServer, command
from replication.link import Kind
from tests.journals import META, digest_of, fill, read_all
from tests.kills import calls_of, killed, places_among
from tests.test_roll import ENDS, ROWS, agree, append, projections_of, rolled_at
from tests.test_set_aside import checkpointed, market

SECRET = b"a secret of the pair"
#: Kills of a test, in the fast suite and in the long part.
MANY = pytest.mark.parametrize("kills", [4, pytest.param(150, marks=pytest.mark.long)])


@contextmanager
def serving(directory: Path, **options: object) -> Iterator[tuple[str, int]]:
    server = HistoryServer(directory, SECRET, 0, name="A", **options)  # type: ignore[arg-type]
    try:
        yield "127.0.0.1", server.port
    finally:
        server.close()


def fetched(source: Path, to: Path, **options: object) -> Fetched:
    with serving(source) as address:
        return fetch(address, SECRET, to, name="B", **options)  # type: ignore[arg-type]


def journal_at(directory: Path, counts: tuple[int, ...] = (3, 1, 200, 5, 64), epoch: int = 1) -> list[Block]:
    with Journal.create(directory, META) as journal:
        journal.epoch = epoch
        fill(journal, counts)
        journal.wait_durable(journal.last_seq)
        return list(journal.blocks())


def same_chain(one: Path, other: Path) -> bool:
    """True if two directories have the same slices, with the same records, blocks and digests, and both are sound."""
    if [place.number for place in slices.places(one)] != [place.number for place in slices.places(other)]:
        return False
    for place in slices.places(one):
        with (
            Journal.open(one, readonly=True, slice_number=place.number) as a,
            Journal.open(other, readonly=True, slice_number=place.number) as b,
        ):
            assert b.check().ok
            if a.genesis != b.genesis or a.start != b.start or list(a.digests()) != list(b.digests()):
                return False
            if [bytes(x.sealed) for x in a.blocks()] != [bytes(x.sealed) for x in b.blocks()]:
                return False
    return True


def test_an_empty_directory_gets_the_same_blocks_and_digests(tmp_path: Path) -> None:
    blocks = journal_at(tmp_path / "a")
    done: list[tuple[int, int]] = []
    got = fetched(tmp_path / "a", tmp_path / "b", progress=lambda *at: done.append(at))
    assert stat.S_IMODE((tmp_path / "b").stat().st_mode) == 0o700, "others can read the market"
    assert got == Fetched("A", blocks[-1].last_seq, 1, blocks[-1].last_seq, 0)
    assert same_chain(tmp_path / "a", tmp_path / "b")
    assert done[-1] == (blocks[-1].last_seq, blocks[-1].last_seq)


@pytest.mark.parametrize("kept", range(5))
def test_a_directory_that_is_behind_gets_what_it_lacks(tmp_path: Path, kept: int) -> None:
    blocks = journal_at(tmp_path / "a")
    with Journal.open(tmp_path / "a", readonly=True) as a, Journal.create_copy(tmp_path / "b", a.genesis) as copy:
        for block in blocks[:kept]:
            copy.append_block(block.sealed)
        for block in blocks[: max(kept - 1, 0)]:
            copy.put_digest(block.first_seq, digest_of(block.first_seq))
    got = fetched(tmp_path / "a", tmp_path / "b")
    assert got.commands == sum(block.count for block in blocks[kept:])
    assert same_chain(tmp_path / "a", tmp_path / "b")


def test_blocks_that_are_written_meanwhile_follow(tmp_path: Path) -> None:
    journal_at(tmp_path / "a")
    with Journal.open(tmp_path / "a") as writer:
        going = threading.Event()

        def write() -> None:
            while not going.is_set():
                fill(writer, [7, 300])
                writer.wait_durable(writer.last_seq)

        thread = threading.Thread(target=write)
        thread.start()
        try:
            got = fetched(tmp_path / "a", tmp_path / "b", behind_max=2_000)
        finally:
            going.set()
            thread.join()
    assert got.last_seq >= 273
    assert fetched(tmp_path / "a", tmp_path / "b", behind_max=0).commands >= 0
    assert same_chain(tmp_path / "a", tmp_path / "b")


@pytest.mark.slow
def test_a_market_goes_on_in_the_copy_as_in_the_original(tmp_path: Path) -> None:
    """Three slices, of which the empty copy has the last one, with its image, a checkpoint and the streams."""
    truth = rolled_at(tmp_path / "truth", [])
    ends = [ENDS[5], ENDS[11]]
    market(tmp_path / "a", ends, ENDS[16])
    checkpointed(tmp_path / "a")
    append(tmp_path / "a", ROWS[ENDS[16] : ENDS[18]])
    got = fetched(tmp_path / "a", tmp_path / "b", gain_min=1)
    assert (got.last_seq, got.checkpoint_seq, got.slices) == (ENDS[18], ENDS[16], 1)
    assert [place.number for place in slices.places(tmp_path / "b")] == [3]
    report = check_chain(tmp_path / "b")
    assert (report.ok, len(report.archived)) == (True, 1), report.problems
    assert "in the data directory of A at 127.0.0.1:" in report.archived[0]
    assert agree(append(tmp_path / "b", ROWS[ENDS[18] :]), truth)


def test_streams_begin_at_the_image_of_the_slice_where_no_checkpoint_is_newer(tmp_path: Path) -> None:
    truth = rolled_at(tmp_path / "truth", [])
    market(tmp_path / "a", [ENDS[5]], ENDS[9])
    assert fetched(tmp_path / "a", tmp_path / "b", gain_min=1).checkpoint_seq == 0
    assert agree(append(tmp_path / "b", ROWS[ENDS[9] :]), truth)


@pytest.mark.parametrize("begun", ["empty", "behind"])
def test_streams_of_users_are_fetched_with_the_image_of_a_slice(tmp_path: Path, begun: str) -> None:
    truth = rolled_at(tmp_path / "truth", [])
    market(tmp_path / "a", [], ENDS[-9])
    if begun == "behind":
        shutil.copytree(tmp_path / "a", tmp_path / "b")
    roll_at(tmp_path / "a")
    append(tmp_path / "a", ROWS[ENDS[-9] : ENDS[-8]])
    assert fetched(tmp_path / "a", tmp_path / "b").checkpoint_seq == 0
    assert starts_without_notes(tmp_path / "b"), "the image of the streams is used, and nothing is replayed for them"
    assert agree(append(tmp_path / "b", ROWS[ENDS[-8] :]), truth)


@pytest.mark.slow
def test_an_image_without_the_streams_is_no_beginning(tmp_path: Path) -> None:
    """As behind a kill in a live roll, after which the image is written again without them: the copy then begins with
    the slice before."""
    truth = rolled_at(tmp_path / "truth", [])
    market(tmp_path / "a", [ENDS[5]], ENDS[-9])
    roll_at(tmp_path / "a")
    append(tmp_path / "a", ROWS[ENDS[-9] : ENDS[-8]])
    start_image = slices.places(tmp_path / "a")[-1].start_image
    write_checkpoint(start_image, replace(load_checkpoint(start_image), projections={}))
    assert fetched(tmp_path / "a", tmp_path / "b").slices == 2
    assert [place.number for place in slices.places(tmp_path / "b")] == [2, 3]
    assert agree(append(tmp_path / "b", ROWS[ENDS[-8] :]), truth)


@pytest.mark.slow
def test_a_copy_in_an_earlier_slice_goes_through_the_slices_in_turn(tmp_path: Path) -> None:
    truth = rolled_at(tmp_path / "truth", [])
    market(tmp_path / "a", [], ENDS[2])
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    append(tmp_path / "a", ROWS[ENDS[2] : ENDS[4]])
    roll_at(tmp_path / "a")
    append(tmp_path / "a", ROWS[ENDS[4] : ENDS[7]])
    roll_at(tmp_path / "a")
    append(tmp_path / "a", ROWS[ENDS[7] : ENDS[9]])
    got = fetched(tmp_path / "a", tmp_path / "b")
    assert (got.commands, got.slices) == (ENDS[9] - ENDS[2], 2)
    assert same_chain(tmp_path / "a", tmp_path / "b")
    assert check_chain(tmp_path / "b").ok
    assert agree(append(tmp_path / "b", ROWS[ENDS[9] :]), truth)


def roll_at(directory: Path) -> None:
    roll(directory, make_projections=projections_of(directory))


def test_a_slice_whose_image_is_named_beside_its_record_is_copied_with_it(tmp_path: Path) -> None:
    """As behind a roll of a running node: first the image is missing, then it is there."""
    market(tmp_path / "a", [], ENDS[4])
    journal, engine, _ = recover(tmp_path / "a")
    with journal:
        begin_slice_live(journal, stateful(engine))
        place = journal.place
        taken = image(stateful(engine), capacity_of(journal), journal.journal_id)
    shutil.rmtree(tmp_path / "a" / "streams")  # a directory that no node has served
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(history_link, "READY_S", 0.5)
        with pytest.raises(HistoryLost, match="still being written, for"):
            fetched(tmp_path / "a", tmp_path / "b")
    assert not slices.places(tmp_path / "b")
    assert not holds_journal(tmp_path / "b")
    slices.write_image_record(place, dict(stateful(engine).part_digests()))
    write_checkpoint(place.start_image, taken)
    fetched(tmp_path / "a", tmp_path / "b")
    with Journal.open(tmp_path / "b", readonly=True) as b:
        assert b.start is not None
        assert b.start.image == dict(stateful(engine).part_digests())
    recover(tmp_path / "b")[0].close()


# The last common position.


@pytest.mark.slow_after(5)
@pytest.mark.parametrize("blocks_before", [0, 1, 2, 63, 64, 200])
@pytest.mark.parametrize("own", [1, 3, 70])
def test_the_last_common_position_is_found_among_many(tmp_path: Path, blocks_before: int, own: int) -> None:
    with Journal.create(tmp_path / "a", META, durability="none") as a:
        fill(a, [1 + n % 3 for n in range(blocks_before)])
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    with Journal.open(tmp_path / "a", readonly=True) as a:
        common = (a.last_seq, list(a.blocks())[-1].checksum if blocks_before else a.genesis[:16])
    for number, name in enumerate("ab"):
        with Journal.open(tmp_path / name, durability="none") as journal:
            journal.epoch = number + 1
            fill(journal, [1 + n % 2 for n in range(own)])
    with serving(tmp_path / "a") as address:
        with pytest.raises(JournalsApart, match="does not have"):
            fetch(address, SECRET, tmp_path / "b", name="B")
        found = find_common(address, SECRET, tmp_path / "b", name="B")
        assert found == common
        (away,) = set_aside(tmp_path / "b", *found, node="B", why="not of A")
        assert away.first_seq == common[0] + 1
        fetch(address, SECRET, tmp_path / "b", name="B")
    assert same_chain(tmp_path / "a", tmp_path / "b")


def test_a_slice_that_only_this_node_began_is_before_the_common_position(tmp_path: Path) -> None:
    truth = rolled_at(tmp_path / "truth", [])
    market(tmp_path / "a", [], ENDS[4])
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    append(tmp_path / "b", ROWS[ENDS[4] : ENDS[5]])
    roll_at(tmp_path / "b")
    append(tmp_path / "b", ROWS[ENDS[5] : ENDS[6]])
    append(tmp_path / "a", ROWS[ENDS[4] : ENDS[7]])
    with serving(tmp_path / "a") as address:
        with pytest.raises(JournalsApart, match="is in slice 2 of the journal"):
            fetch(address, SECRET, tmp_path / "b", name="B")
        found = find_common(address, SECRET, tmp_path / "b", name="B")
        set_aside(tmp_path / "b", *found, node="B", why="not of A")
        fetch(address, SECRET, tmp_path / "b", name="B")
    assert same_chain(tmp_path / "a", tmp_path / "b")
    assert agree(append(tmp_path / "b", ROWS[ENDS[7] :]), truth)


# Faults.


def test_another_secret_or_journal_is_refused_with_a_sentence(tmp_path: Path) -> None:
    journal_at(tmp_path / "a")
    journal_at(tmp_path / "b")
    with serving(tmp_path / "a") as address:
        with pytest.raises(HistoryError, match="does not know the secret"):
            fetch(address, b"another", tmp_path / "c", name="B")
        with pytest.raises(HistoryError, match="has another journal"):
            fetch(address, SECRET, tmp_path / "b", name="B")
    assert not (tmp_path / "c").exists()


def greet_in_http(listener: socket.socket) -> None:
    listener.accept()  # the connection before
    listener.accept()[0].sendall(b"HTTP/1.1 200 OK\r\n\r\n" * 9)


def test_nobody_there_and_strangers_are_told_apart(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        address = listener.getsockname()
        with pytest.raises(HistoryLost, match="sent nothing for 0"):
            fetch(address, SECRET, tmp_path / "b", name="B", timeout_s=0.2)
        threading.Thread(target=greet_in_http, args=(listener,)).start()
        with pytest.raises(HistoryError, match="is no history of this release"):
            fetch(address, SECRET, tmp_path / "b", name="B", timeout_s=60)
    with pytest.raises(HistoryLost, match="cannot be reached"):
        fetch(address, SECRET, tmp_path / "b", name="B")
    assert not (tmp_path / "b").exists()


@pytest.mark.parametrize("seed", range(20))
def test_a_server_outlives_strangers(tmp_path: Path, seed: int) -> None:
    chance = random.Random(seed)
    journal_at(tmp_path / "a")
    said: list[str] = []
    with serving(tmp_path / "a", report=said.append) as address:
        for _ in range(4):
            with socket.create_connection(address) as stranger:
                stranger.recv(1)
                hello = link.encode(Kind.HELLO, 0, chance.randbytes(30))
                early = link.encode(Kind.FETCH, 0, b"")
                stranger.sendall(chance.choice((chance.randbytes(200), hello, early)))
                while stranger.recv(65_536):
                    pass
        fetch(address, SECRET, tmp_path / "b", name="B")
    assert len(said) == 4
    assert same_chain(tmp_path / "a", tmp_path / "b")


@pytest.mark.slow
def test_a_reader_that_takes_nothing_is_given_up_and_others_are_served(tmp_path: Path) -> None:
    with Journal.create(tmp_path / "a", META, durability="none") as journal:
        fill(journal, [20_000] * 20)
    given_up = threading.Event()

    def report(sentence: str) -> None:
        if "timed out" in sentence:
            given_up.set()

    with serving(tmp_path / "a", report=report, stall_s=0.5) as address:
        with Journal.open(tmp_path / "a", readonly=True) as journal:
            own = Peer("C", journal.journal_id)
        with HistoryLink(address, SECRET, own) as slow:
            next(slow.ask("blocks", slice=1, from_seq=1, to_seq=0, after_digest_seq=0))
            for _ in range(50):
                with contextlib.suppress(HistoryLost):  # a busy machine may hold up this reader for as long
                    fetch(address, SECRET, tmp_path / "b", name="B")
                    break
            assert given_up.wait(120)
    assert same_chain(tmp_path / "a", tmp_path / "b")


def test_a_damaged_block_is_not_sent(tmp_path: Path) -> None:
    blocks = journal_at(tmp_path / "a")
    data = tmp_path / "a" / "journal" / "data.mdb"
    content = bytearray(data.read_bytes())
    content[content.find(bytes(blocks[2].rows)) + 99] ^= 1
    data.write_bytes(content)
    with pytest.raises(HistoryError, match="does not match its checksum"):
        fetched(tmp_path / "a", tmp_path / "b")
    assert read_all(tmp_path / "b").blocks == blocks[:2]
    assert not read_all(tmp_path / "b").sentences


@pytest.mark.slow
def test_a_connection_that_ends_anywhere_leaves_a_directory_that_goes_on(tmp_path: Path) -> None:
    market(tmp_path / "a", [ENDS[5]], ENDS[9])
    checkpointed(tmp_path / "a")
    append(tmp_path / "a", ROWS[ENDS[9] : ENDS[10]])
    chance = random.Random(4)
    with serving(tmp_path / "a") as address:
        for number in range(12):
            to = tmp_path / f"b{number}"
            with relay(address, chance.randrange(50, 400_000)) as cut, suppress(HistoryError):
                fetch(cut, SECRET, to, name="B", gain_min=1)
            if slices.places(to):
                with Journal.open(to) as journal:
                    assert journal.check().ok
            fetch(address, SECRET, to, name="B", gain_min=1)
            same_newest(tmp_path / "a", to)
            shutil.rmtree(to)


def same_newest(one: Path, other: Path, checkpoints: int = 1) -> None:
    for place in slices.places(other):
        with (
            Journal.open(one, readonly=True, slice_number=place.number) as a,
            Journal.open(other, readonly=True, slice_number=place.number) as b,
        ):
            assert list(a.blocks()) == list(b.blocks())
            assert list(a.digests()) == list(b.digests())
    assert check_chain(other).ok
    infos = CheckpointStore(slices.places(other)[-1].folder).list()
    assert [info.valid for info in infos] == [True] * checkpoints


@contextmanager
def relay(address: tuple[str, int], bytes_max: int) -> Iterator[tuple[str, int]]:
    """Address that leads to another one, and hangs up after so many bytes of answers."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def run() -> None:
            left = bytes_max
            near, _ = listener.accept()
            with near, socket.create_connection(address) as far:
                threading.Thread(target=pour, args=(near, far), daemon=True).start()
                with suppress(OSError):
                    while left and (data := far.recv(min(65_536, left))):
                        near.sendall(data)
                        left -= len(data)
                    for each in (near, far):
                        each.shutdown(socket.SHUT_RDWR)

        def pour(near: socket.socket, far: socket.socket) -> None:
            try:
                while data := near.recv(65_536):
                    far.sendall(data)
                far.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        yield listener.getsockname()
        thread.join(60)


@pytest.mark.slow
@MANY
def test_a_kill_at_any_step_leaves_nothing_or_a_directory_that_opens_and_goes_on(tmp_path: Path, kills: int) -> None:
    market(tmp_path / "a", [ENDS[-12]], ENDS[-9])
    checkpointed(tmp_path / "a")
    append(tmp_path / "a", ROWS[ENDS[-9] : ENDS[-8]])
    with serving(tmp_path / "a") as address:

        def run(to: Path, gain_min: int) -> object:
            return fetch(address, SECRET, to, name="B", gain_min=gain_min)

        outcomes = set()
        for gain_min in (1, 1_000_000):
            calls = calls_of(lambda gain_min=gain_min: run(tmp_path / f"count{gain_min}", gain_min))
            for number, at in enumerate(places_among(calls, kills, gain_min)):
                to = tmp_path / f"b{number}"
                killed(lambda to=to, gain_min=gain_min: run(to, gain_min), at)
                outcomes.add(bool(slices.places(to)))
                assert holds_journal(to) == bool(slices.places(to)), "a node may start on what is left"
                if slices.places(to):
                    with Journal.open(to) as journal:
                        assert journal.check().ok
                run(to, gain_min)
                same_newest(tmp_path / "a", to, 1 if gain_min == 1 else 0)
                assert not (to / "fetch.new").exists()
                assert starts_without_notes(to), "the streams that belong to the image are there"
                shutil.rmtree(to)
    assert outcomes == {False, True}


def test_a_mark_that_a_kill_cut_off_keeps_no_node_from_fetching(tmp_path: Path) -> None:
    (tmp_path / "fetch.new").mkdir()
    (tmp_path / ".incomplete.new").touch()
    assert not holds_journal(tmp_path)
    (tmp_path / "letters").touch()
    with pytest.raises(ReplayError, match="is not empty"):
        holds_journal(tmp_path)


def starts_without_notes(directory: Path) -> bool:
    with Journal.open(directory, readonly=True) as journal:
        capacity, journal_id = capacity_of(journal), journal.journal_id
    projections = projections_of(directory)(capacity, journal_id)
    journal, _, recovered = recover(directory, projections=projections)
    journal.close()
    projections.close()
    assert recovered.notes == ()
    return True


def test_a_directory_in_use_or_with_something_else_is_refused(tmp_path: Path) -> None:
    journal_at(tmp_path / "a")
    (tmp_path / "b" / "journal").mkdir(parents=True)
    with pytest.raises(JournalError, match="is no journal; move it away"):
        fetched(tmp_path / "a", tmp_path / "b")
    fetched(tmp_path / "a", tmp_path / "c")
    with Journal.open(tmp_path / "c"), pytest.raises(JournalError, match="is being written by"):
        fetched(tmp_path / "a", tmp_path / "c")


# The process beside a node.


def test_the_process_serves_until_its_input_ends(tmp_path: Path) -> None:
    journal_at(tmp_path / "a")
    with process(tmp_path / "a") as child:
        assert child.stdin is not None
        assert child.stdout is not None
        child.stdin.write(SECRET.hex().encode() + b"\n")
        child.stdin.flush()
        word, port = child.stdout.readline().split()
        assert word == b"ready"
        fetch(("127.0.0.1", int(port)), SECRET, tmp_path / "b", name="B")
        assert os.getpriority(os.PRIO_PROCESS, child.pid) > os.getpriority(os.PRIO_PROCESS, 0)
        child.stdin.close()
        assert child.wait(120) == 0
    assert same_chain(tmp_path / "a", tmp_path / "b")


def test_the_process_ends_with_a_sentence_where_there_is_no_journal(tmp_path: Path) -> None:
    with process(tmp_path) as child:
        _, said = child.communicate(SECRET.hex().encode() + b"\n", 60)
    assert child.returncode == 1
    assert said.startswith(b"the history of ")
    assert b"holds no journal" in said
    assert said.count(b"\n") == 1


@contextmanager
def process(directory: Path) -> Iterator["subprocess.Popen[bytes]"]:
    pipe = subprocess.PIPE
    root = Path(__file__).parent.parent
    with subprocess.Popen(command(directory, 0, name="A"), stdin=pipe, stdout=pipe, stderr=pipe, cwd=root) as child:
        try:
            yield child
        finally:
            child.kill()


def test_more_connections_than_the_server_takes_are_closed_and_make_room_again(tmp_path: Path) -> None:
    journal_at(tmp_path / "a")
    with serving(tmp_path / "a") as address:
        held = [socket.create_connection(address) for _ in range(CONNECTIONS_MAX)]
        for each in held:
            assert each.recv(1)
        with pytest.raises(HistoryLost):
            fetch(address, SECRET, tmp_path / "b", name="B")
        for each in held:
            each.close()
        for _ in range(1_000):
            try:
                fetch(address, SECRET, tmp_path / "b", name="B")
                break
            except HistoryLost:
                time.sleep(0.01)
    assert same_chain(tmp_path / "a", tmp_path / "b")
