"""Server of a node's history: a process of its own beside the node, which reads the data directory and changes nothing.

It costs the market nothing but the disk and its share of the processor, which has a lower priority. A connection is a
thread; what it sends is read block by block or piece by piece, verified as it is read, and waits for a slow reader
without holding a snapshot of the journal. The node starts the process with the secret on standard input, and the
process ends when that input does: with the node.

    python -m replication.history_server DIR HOST PORT NAME < SECRET
"""

import contextlib
import errno
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from checkpoints import CheckpointError, CheckpointStore
from journal import Journal, JournalDamaged, JournalError, slices
from journal.opening import read_side_file
from journal.slices import ATTESTATION, EVENTS, IMAGE_RECORD, VERIFIED
from replication import history, link
from replication.history import HistoryEnd, HistoryGreeting, Peer
from replication.link import FrameReader, Kind, LinkError, Position

#: Folder of the users' streams in a data directory, and the ending of its files; a checkpoint names their sessions.
STREAMS: Final = "streams"
STREAMS_SUFFIX: Final = ".spool"
NICE: Final = 5
CONNECTIONS_MAX: Final = 8
GREETING_S: Final = 5.0
#: Wait after a connection that could not be taken, in seconds.
ACCEPT_AGAIN_S: Final = 0.1
#: Longest time in which a reader takes nothing, or a copy asks for nothing.
STALL_S: Final = 30.0
_SEND_BYTES: Final = 1 << 18
#: Pieces of one system call; Linux takes 1,024 at most.
_PIECES_MAX: Final = 512
#: Bytes of blocks after which their event digests follow.
_STRETCH_BYTES: Final = 4 << 20
_SECRET_BYTES_MAX: Final = 65_536


class HistoryServer:
    """History of the data directory ``directory``, open on ``host``:``port`` (0: any port, see ``port``) until
    ``close``.

    ``secret``: of the pair. ``name``: of the node. ``report``: called with a sentence for each connection that ended in
    an error. Raises OSError where the port cannot be had.
    """

    def __init__(
        self,
        directory: Path | str,
        secret: bytes,
        port: int,
        *,
        host: str = "127.0.0.1",
        name: str = "",
        stall_s: float = STALL_S,
        report: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._directory, self._secret = Path(directory), secret
        self._name, self._stall_s, self._report = name, stall_s, report
        self._sockets: set[socket.socket] = set()
        self._closed = False
        self._listener = socket.create_server((host, port), family=_family(host), backlog=CONNECTIONS_MAX)
        self.port: int = self._listener.getsockname()[1]
        self._thread = threading.Thread(target=self._accept, name="history", daemon=True)
        self._thread.start()

    def _accept(self) -> None:
        while not self._closed:
            try:
                connection, _ = self._listener.accept()
            except OSError as error:
                if self._closed or error.errno in (errno.EBADF, errno.EINVAL):
                    return
                time.sleep(ACCEPT_AGAIN_S)  # such as no descriptor that is free
                continue
            self._sockets.add(connection)
            if len(self._sockets) > CONNECTIONS_MAX:
                self._end(connection)
                continue
            threading.Thread(target=self._serve, args=(connection,), name="history of a copy", daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        try:
            _Answers(connection, self._directory, self._secret, self._name, self._stall_s).run()
        except (LinkError, OSError, JournalError, CheckpointError) as error:
            if not self._closed:
                self._report(f"the connection of a copy ended: {error}")
        finally:
            self._end(connection)

    def _end(self, connection: socket.socket) -> None:
        self._sockets.discard(connection)
        connection.close()

    def wait(self) -> None:
        """Wait until the server is closed."""
        self._thread.join()

    def close(self) -> None:
        """End all connections."""
        self._closed = True
        for each in (self._listener, *tuple(self._sockets)):
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()
        self._thread.join()


def _family(host: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in host else socket.AF_INET


class _Answers:
    """One connection: the greeting, then an answer to each request."""

    def __init__(self, connection: socket.socket, directory: Path, secret: bytes, name: str, stall_s: float) -> None:
        self._socket, self._directory, self._secret, self._name = connection, directory, secret, name
        self._stall_s = stall_s
        self._reader = FrameReader()
        self._out: list[bytes | memoryview] = []
        self._out_bytes = 0

    def run(self) -> None:
        """Serve until the copy leaves. Raises LinkError, OSError, and what reading raises."""
        if not self._greet():
            return
        self._socket.settimeout(self._stall_s)
        answers: dict[str, Callable[..., None]] = {
            "slice": self._slice,
            "blocks": self._blocks,
            "image": self._image,
            "checkpoint": self._checkpoint,
            "streams": self._streams,
            "file": self._kept_file,
            "common": self._common,
        }
        for data in iter(lambda: self._socket.recv(link.GREETING_BYTES_MAX), b""):
            for frame in self._reader.feed(data):
                asked = history.read_request(frame)
                try:
                    answers[asked.pop("what")](**asked)
                except (JournalError, CheckpointError) as error:
                    self._put(history.refuse(f"{self._name or 'the history'} cannot give it: {error}"))
                self._flush()

    def _greet(self) -> bool:
        self._socket.settimeout(GREETING_S)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with Journal.open(self._directory, readonly=True) as journal:
            own, end = Peer(self._name, journal.journal_id), HistoryEnd(journal.place.number, journal.last_seq)
        greeting = HistoryGreeting(own, end, self._secret, os.urandom(link.NONCE_BYTES))
        self._socket.sendall(greeting.out)
        while data := self._socket.recv(link.GREETING_BYTES_MAX):
            for frame in self._reader.feed(data):
                greeting.take(frame)
                self._socket.sendall(greeting.out)
                if greeting.why:
                    raise LinkError(greeting.why)
                return True
        return False

    # Output.

    def _put(self, *pieces: bytes | memoryview) -> None:
        self._out.extend(pieces)
        self._out_bytes += sum(map(len, pieces))
        if self._out_bytes >= _SEND_BYTES:
            self._flush()

    def _flush(self) -> None:
        """Send what is queued, without a copy; the time limit is for each part that the connection takes."""
        out, self._out, self._out_bytes = self._out, [], 0
        at = 0
        while at < len(out):
            sent = self._socket.sendmsg(out[at : at + _PIECES_MAX])
            while at < len(out) and sent >= len(out[at]):
                sent -= len(out[at])
                at += 1
            if sent:
                out[at] = memoryview(out[at])[sent:]

    # Answers.

    def _open(self, number: int) -> Journal:
        """A slice for reading. Raises JournalError."""
        found = slices.places(self._directory)
        if all(place.number != number for place in found):
            raise JournalError(slices.where_missing(self._directory, number, number))
        return Journal.open(self._directory, readonly=True, slice_number=number)

    def _is_closed(self, journal: Journal) -> bool:
        return slices.places(self._directory)[-1].number > journal.place.number

    def _slice(self, slice: int) -> None:
        with self._open(slice) as journal:
            is_closed = self._is_closed(journal)
            if not self._image_is_there(journal):
                return
            record = read_side_file(journal.place.journal / IMAGE_RECORD) or b""
            self._put(link.encode(Kind.SLICE, 0, journal.genesis))
            has_streams = (self._directory / STREAMS).is_dir()
            end = {"last_seq": journal.last_seq, "is_closed": is_closed}
            self._put(history.done(**end, image_record=record, has_streams=has_streams))

    def _image_is_there(self, journal: Journal) -> bool:
        """True if the image of a slice is complete; else the copy is told."""
        start, place = journal.start, journal.place
        if start is None or (start.image and place.start_image.exists()):
            return True
        why = f"the image that slice {start.number} starts from is still being written"
        self._put(history.refuse(why, again=True))
        return False

    def _blocks(self, slice: int, from_seq: int, to_seq: int, after_digest_seq: int) -> None:
        with self._open(slice) as journal:
            is_closed = self._is_closed(journal)
            last_seq, stretch_bytes, first_seq = from_seq - 1, 0, 0
            if from_seq <= journal.start_seq:
                raise JournalError(f"command {from_seq} is before slice {slice}")
            for block in journal.blocks(from_seq, to_seq or None):
                if block.first_seq != last_seq + 1:
                    raise JournalError(f"command {from_seq} is within a block: the two nodes have other histories")
                sealed = block.sealed
                self._put(history.block_head(len(sealed)), sealed)
                last_seq, first_seq = block.last_seq, block.first_seq
                stretch_bytes += len(sealed)
                if stretch_bytes >= _STRETCH_BYTES:
                    after_digest_seq, stretch_bytes = self._recorded(journal, after_digest_seq, first_seq), 0
            self._recorded(journal, after_digest_seq, first_seq or journal.last_seq)
            self._put(history.done(last_seq=last_seq, is_closed=is_closed))

    def _recorded(self, journal: Journal, after_seq: int, to_seq: int) -> int:
        """Send the event digests after ``after_seq`` up to the block ``to_seq``; gives the last one's block."""
        digests = [Position(*each) for each in journal.digests(after_seq + 1, to_seq)]
        if digests:
            self._put(link.encode(Kind.RECORDED, 0, link.pack_positions(digests)))
        return digests[-1].seq if digests else after_seq

    def _image(self, slice: int) -> None:
        with self._open(slice) as journal:
            place, has_image = journal.place, self._image_is_there(journal)
        if has_image:
            self._file(place.start_image)
            self._put(history.done())

    def _checkpoint(self) -> None:
        place = slices.places(self._directory)[-1]
        for info in reversed(CheckpointStore(place.folder).list()):
            if info.valid and self._file(info.path):
                break
        self._streams()

    def _streams(self) -> None:
        for path in sorted((self._directory / STREAMS).glob(f"*{STREAMS_SUFFIX}")):
            self._file(path)
        self._put(history.done())

    def _kept_file(self, slice: int, name: str) -> None:
        with self._open(slice) as journal:
            place = journal.place
        if name not in (ATTESTATION, EVENTS, VERIFIED):
            raise JournalError(f"a history gives no file {name[:80]!r}")
        self._file(place.folder / name)
        self._put(history.done())

    def _file(self, path: Path) -> bool:
        """Send a file as long as it is now; False where it was removed."""
        try:
            file = path.open("rb")
        except FileNotFoundError:
            return False
        with file:
            size = os.fstat(file.fileno()).st_size
            self._put(history.file_head(path.name, size))
            while size:
                piece = file.read(min(size, history.PIECE_BYTES))
                if not piece:
                    raise LinkError(f"{path} became shorter while it was sent")
                self._put(link.encode(Kind.PIECE, 0, piece))
                size -= len(piece)
        return True

    def _common(self, slice: int, tail: bytes) -> None:
        with self._open(slice) as journal:
            found = [place for place in link.unpack_positions(tail)[: link.TAIL_MAX] if _has(journal, place)]
        self._put(link.encode(Kind.COMMON, 0, link.pack_positions(found[:1])))
        self._put(history.done())


def _has(journal: Journal, place: Position) -> bool:
    """True if a block of the journal ends at a position, with its checksum; also the start of the slice."""
    if place.seq <= journal.start_seq:
        return place == (journal.start_seq, journal.start_link)
    with contextlib.suppress(JournalDamaged):
        for block in journal.blocks(place.seq, place.seq):
            return (block.last_seq, block.checksum) == place
    return False


def serve_history(
    directory: Path | str, secret: bytes, port: int, *, host: str = "127.0.0.1", name: str = "", nice: int = NICE
) -> None:
    """Serve the history of a data directory until standard input ends, in this process at a lower priority.

    Prints "ready PORT" once it listens, and a line on standard error for each connection that fails. Raises OSError
    where the port cannot be had, JournalError where there is no journal.
    """
    os.nice(nice)
    with Journal.open(directory, readonly=True):
        pass
    server = HistoryServer(directory, secret, port, host=host, name=name, report=_complain)
    sys.stdout.write(f"ready {server.port}\n")
    sys.stdout.flush()
    for _ in _rest_of_input():
        pass
    server.close()


def _complain(sentence: str) -> None:
    with contextlib.suppress(OSError):
        sys.stderr.write(f"{sentence}\n")
        sys.stderr.flush()


def _rest_of_input() -> Iterator[bytes]:
    return iter(lambda: os.read(0, 4_096), b"")


def command(directory: Path | str, port: int, *, host: str = "127.0.0.1", name: str = "") -> list[str]:
    """The command line of the process. Give it the secret in hexadecimal and a line end on standard input, and keep
    that open; run it in the folder above this file's."""
    return [sys.executable, "-m", "replication.history_server", str(Path(directory).absolute()), host, str(port), name]


def main(arguments: list[str]) -> int:
    """Read the secret from standard input, and serve until it ends.

    Ctrl-C, a closed terminal and a supervisor signal the whole group of the node: the node ends this process with
    itself, not before.
    """
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    directory, host, port, name = arguments
    line = b""
    while not line.endswith(b"\n") and len(line) < _SECRET_BYTES_MAX and (read := os.read(0, 4_096)):
        line += read
    try:
        serve_history(directory, bytes.fromhex(line.decode().strip()), int(port), host=host, name=name)
    except (OSError, JournalError, ValueError) as error:
        _complain(f"the history of {directory} is not served: {error}")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
