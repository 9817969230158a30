"""A node in a process of its own, and sockets that speak packets with it: for tests over loopback."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from node.operator.link import Link
from tests import nursery
from tests.ouch_messages import cancel, messages
from wire import soup
from wire.soup import LoginRequest, PacketType

ROOT = Path(__file__).parent.parent
USERS = ("UA", "UB", "UC")
SET_UP = """instrument XYZ tick=0.01 lot=1 reference=10.00
participant ALPHA
participant BETA
user UA participant=ALPHA firm=FIRM
user UB participant=BETA firm=FIRM allow=login,newest_wins
user UC participant=BETA allow=login,cancel_on_disconnect
phase XYZ continuous"""
#: Of ``lockstep serve`` where nothing else is said: small, so that a start takes a second.
SMALL = ("--password-cost", "4", "--default-order-rate", "off", "--default-share", "off")
#: And of a new directory; one that is there keeps its capacity.
SMALL_CAPACITY = ("--orders-max", "4096", "--ids-max", "65536", "--instruments-max", "8", "--participants-max", "16")
COMMAND_LINE = ("-m", "cli.main")
DEFAULT_PROGRAM = COMMAND_LINE
FAULTY = ("-m", "tests.faulty_node")
#: An answer to one client, whatever others do, comes within this.
SOON_S = 10.0
#: Patience with a server that beats and does not do what is waited for.
WAIT_S = 120.0
HEARTBEAT = soup.packet(PacketType.CLIENT_HEARTBEAT)


def far_day_start(now_s: float) -> str:
    """Line with which trading days begin twelve hours from a time.

    >>> far_day_start(86_400 - 30)
    'venue day_start=11:59'
    """
    minute = (int(now_s) // 60 + 12 * 60) % (24 * 60)
    return f"venue day_start={minute // 60:02}:{minute % 60:02}"


class Running:
    """A node in a process of its own.

    ``program``: what runs instead of the command line (``tests.faulty_node``). ``around``: a command that ends by
    executing its arguments, such as one that mounts a disk or sets a limit. ``unread``: its log goes to a full pipe
    that nobody reads.
    """

    def __init__(
        self,
        data: Path,
        *options: str,
        port: int = 0,
        program: Sequence[str] = COMMAND_LINE,
        around: Sequence[str] = (),
        unread: bool = False,
    ) -> None:
        self.data = data
        self.unread = unread
        self._pipes: list[int] = []
        self.port = port
        self._before = [*around, sys.executable, *program]
        self._faults = program[2] if tuple(program[:2]) == FAULTY else ""
        self._forks = not around and (tuple(program) == COMMAND_LINE or bool(self._faults))
        self._options = ["--data", str(data), "--json", *SMALL, *options]
        self.log = data.parent / f"{data.name}.log"
        self.process: subprocess.Popen[str] | None = None
        self.listening: dict[str, Any] = {}  # what it said once it listened

    def spawn(self) -> None:
        """Begin a process, and do not wait until it listens."""
        # First: of an option that is given twice, the last counts.
        capacity = () if (self.data / "journal").is_dir() or (self.data / "slices").is_dir() else SMALL_CAPACITY
        line = ["serve", *capacity, *self._options, "--port", str(self.port)]
        with self.log.open("a", encoding="utf-8") as log:
            stderr = self._full_pipe() if self.unread else log.fileno()
            if self._forks:
                self.process = nursery.spawn(line, stderr=stderr, faults=self._faults)
                return
            self.process = subprocess.Popen(
                [*self._before, *line], cwd=ROOT, stdout=subprocess.PIPE, stderr=stderr, text=True
            )

    def _full_pipe(self) -> int:
        """The end for writing of a pipe that has no room left, and whose reader is open and idle."""
        self._close_pipes()
        self._pipes = list(os.pipe())
        os.set_blocking(self._pipes[1], False)
        with contextlib.suppress(BlockingIOError):
            while True:
                os.write(self._pipes[1], b"." * 4_096)
        os.set_blocking(self._pipes[1], True)
        return self._pipes[1]

    def _close_pipes(self) -> None:
        for end in self._pipes:
            os.close(end)
        self._pipes = []

    def start(self) -> None:
        """Begin a process; it listens then."""
        self.spawn()
        assert self.process is not None
        assert self.process.stdout is not None
        try:
            said = self.process.stdout.readline()
            assert said, self.logged()
            self.listening = json.loads(said)["listening"]
            self.port = self.listening["port"]
        except BaseException:  # such as a time limit: nobody else knows of the process
            self.stop()
            raise

    def end(self, number: int) -> int:
        """Send it a signal and wait for its end; its exit status."""
        assert self.process is not None
        self.process.send_signal(number)
        status = self.process.wait(120)
        if self.process.stdout is not None:
            self.process.stdout.close()
        self.process = None
        return status

    def stop(self) -> None:
        """At the end of a test: nothing of it is left."""
        if self.process is not None:
            self.end(signal.SIGKILL)
        self._close_pipes()

    def logged(self) -> str:
        """The log of all its lives."""
        return self.log.read_text(encoding="utf-8")

    @property
    def seen(self) -> Path:
        """Its data directory as this process can reach it, be it on a disk that only the node has mounted."""
        return self.data if self.process is None else Path(f"/proc/{self.process.pid}/root{self.data}")

    def set_up(self) -> None:
        """The market of ``SET_UP``. Its trading days begin far from now: a test that runs over 00:00 UTC sees one."""
        with self.link() as link:
            assert link.ask("commands", text=f"{SET_UP}\n{far_day_start(time.time())}")["rejected"] == 0
            for user in USERS:
                link.ask("password", user=user, password="secret")

    def link(self) -> Link:
        """The operator's door."""
        return Link(self.data if self.data.exists() else self.seen)

    def status(self) -> dict[str, Any]:
        """The node's account of itself."""
        with self.link() as link:
            return dict(link.ask("status")["status"])


def started(directory: Path, *options: str, faults: str = "", around: Sequence[str] = ()) -> Running:
    """A node that runs and has the market of ``SET_UP``. ``faults``: as ``tests.faulty_node`` has them."""
    program = (*FAULTY, faults) if faults else DEFAULT_PROGRAM
    running = Running(directory / "node", *options, program=program, around=around)
    running.start()
    try:
        running.set_up()
    except BaseException:
        running.stop()
        raise
    return running


class Client:
    """A socket that speaks packets. ``source``: its own address. ``receive_bytes``: of its receive buffer."""

    def __init__(
        self,
        port: int,
        user: str,
        password: str = "secret",
        session: str = "",
        seq: int = 1,
        *,
        source: str = "127.0.0.1",
        receive_bytes: int = 0,
    ) -> None:
        self.socket = socket.socket()
        self.socket.settimeout(120)
        if receive_bytes:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
        self.socket.bind((source, 0))
        self.socket.connect(("127.0.0.1", port))
        self._begin()
        self.socket.sendall(LoginRequest(user, password, session, seq).packet())
        self.answer = self.packet()

    @classmethod
    def of(cls, connected: socket.socket) -> "Client":
        """One that has not asked to be let in."""
        client = cls.__new__(cls)
        client.socket = connected
        client._begin()
        return client

    def _begin(self) -> None:
        self._rest, self._at = b"", 0
        self._stream, self._count = bytearray(), 0

    @property
    def stream(self) -> bytes:
        """The sequenced messages that came, as packets."""
        return bytes(self._stream)

    def forget(self) -> None:
        """Let the stream begin anew."""
        self._stream, self._count = bytearray(), 0

    def packet(self) -> tuple[int, bytes]:
        """Type and payload of the next packet; (0, nothing) at the end."""
        while (left := len(self._rest) - self._at) < 2 or left < 2 + self._length():
            data = self.socket.recv(65_536)
            if not data:
                return 0, b""
            self._rest, self._at = self._rest[self._at :] + data, 0
        begin, self._at = self._at, self._at + 2 + self._length()
        whole = self._rest[begin : self._at]
        if whole[2] == PacketType.SEQUENCED:
            self._stream += whole
            self._count += 1
        return whole[2], whole[3:]

    def _length(self) -> int:
        return int.from_bytes(self._rest[self._at : self._at + 2], "big")

    def take(self, count: int) -> bytes:
        """The stream up to ``count`` messages since the login."""
        deadline_s = time.monotonic() + WAIT_S
        while self._count < count:
            assert self.packet()[0] in (PacketType.SEQUENCED, PacketType.SERVER_HEARTBEAT)
            assert time.monotonic() < deadline_s, f"{self._count} of {count} messages came"
        return self.stream

    def until_end(self) -> list[tuple[int, bytes]]:
        """Bytes until the server closes."""
        found = []
        deadline_s = time.monotonic() + WAIT_S
        while (packet := self.packet())[0]:
            found.append(packet)
            assert time.monotonic() < deadline_s, "the server does not close"
        return found

    def log_out(self) -> None:
        """Say goodbye, and wait until the server has closed."""
        self.socket.sendall(soup.packet(PacketType.LOGOUT))
        self.until_end()
        self.socket.close()


def answered_in_s(client: Client) -> float:
    """Time of one question and its answer."""
    began_s = time.monotonic()
    client.socket.sendall(cancel("none"))
    while client.packet()[0] != PacketType.SEQUENCED:
        assert time.monotonic() - began_s < WAIT_S, "no answer"
    return time.monotonic() - began_s


def kinds(stream: bytes) -> list[str]:
    """Names of the messages of a stream."""
    return [kind for kind, _ in messages(stream)]


def until(
    condition: Callable[[], object],
    seconds: float = 120.0,
    what: str | Callable[[], str] = "it did not come about",
) -> None:
    """Wait until something is so. ``what``: the failure in words, or how to say it as it is by then."""
    deadline_s = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline_s, what if isinstance(what, str) else what()
        time.sleep(0.02)


def descriptors(pid: int) -> int:
    """Open files of a process."""
    return len(os.listdir(f"/proc/{pid}/fd"))


def resident_bytes(pid: int) -> int:
    """Memory of a process."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
