"""The admin protocol as both ends see it: where a node is found, what a line may be; and the operator's end of it.

A node writes ``admin.json`` into its data directory: host and port of a socket on the loopback interface, a token made
anew at each start, and its process id. The file's mode, 0600, is what keeps others out. Then each way one JSON object
a line: the token first, which is answered, then requests ``{"do": NAME, ...}``, each answered in turn.

Nothing here needs NumPy or an engine, so that the operator's commands start at once.
"""

import contextlib
import json
import os
import secrets
import socket
import stat
from pathlib import Path
from types import TracebackType
from typing import Any, Final, NamedTuple

FILE: Final = "admin.json"
#: Bytes of a line at most, its end included.
LINE_BYTES_MAX: Final = 64 * 1024
#: Seconds for a connection and the answer to the token; and for any other answer, since a checkpoint takes its time.
CONNECT_S: Final = 5.0
ANSWER_S: Final = 120.0

_FILE_BYTES_MAX: Final = 4_096


class LinkError(ValueError):
    """The node cannot be reached; the message says why, then what to do."""


class LinkLost(LinkError):
    """The node was reached, and then went away or fell silent."""


class Answered(ValueError):
    """The node refused a request; the message is its sentence."""


class Place(NamedTuple):
    """Where a node's admin server is, and the token that it wants."""

    host: str
    port: int
    token: str
    pid: int


def new_token() -> str:
    """A token that nobody guesses."""
    return secrets.token_urlsafe(32)


def write_place(directory: Path, place: Place) -> None:
    """Write ``admin.json``, of mode 0600 from its first byte on, and put it in its place at once. Raises OSError."""
    path = directory / FILE
    aside = directory / f".{FILE}.{place.pid}"
    with contextlib.suppress(FileNotFoundError):
        aside.unlink()
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    with os.fdopen(os.open(aside, flags, 0o600), "w", encoding="ascii") as file:
        os.fchmod(file.fileno(), 0o600)
        file.write(json.dumps(place._asdict()) + "\n")
        file.flush()
        os.fsync(file.fileno())
    aside.replace(path)


def remove_place(directory: Path, token: str) -> None:
    """Remove ``admin.json`` if it is the one of ``token``; another node's stays."""
    path = directory / FILE
    with contextlib.suppress(OSError, ValueError, KeyError):
        if json.loads(path.read_text(encoding="ascii"))["token"] == token:
            path.unlink()


def read_place(directory: Path) -> Place:
    """Where the node of a data directory is. Raises LinkError when none runs there, or OSError."""
    path = directory / FILE
    if not directory.is_dir():
        raise LinkError(f"{directory} is {'no directory' if directory.exists() else 'not there'}; check the path")
    try:
        text = _text(path)
    except FileNotFoundError:
        raise LinkError(
            f"no node runs on {directory}: there is no {FILE} in it; start one with `lockstep serve --data {directory}`"
        ) from None
    except PermissionError:
        owner = path.stat().st_uid
        raise LinkError(
            f"{path} may be read by user {owner} only, who runs the node; run this as that user, or with sudo"
        ) from None
    try:
        found = json.loads(text)
        place = Place(str(found.get("host", "127.0.0.1")), int(found["port"]), str(found["token"]), int(found["pid"]))
    except (ValueError, KeyError, TypeError, AttributeError):
        raise LinkError(f"{path} is damaged; restart the node, which writes it again") from None
    if not lives(place.pid):
        raise LinkError(
            f"no node runs on {directory}: process {place.pid}, which wrote {FILE}, has ended; "
            f"start one with `lockstep serve --data {directory}`"
        )
    return place


def _text(path: Path) -> str:
    with path.open("rb") as file:
        return file.read(_FILE_BYTES_MAX).decode("utf-8", "replace")


def is_open_to_others(directory: Path) -> bool:
    """Whether others than its owner may read ``admin.json``."""
    try:
        mode = (directory / FILE).stat().st_mode
    except OSError:
        return False
    return bool(mode & (stat.S_IRWXG | stat.S_IRWXO))


def lives(pid: int) -> bool:
    """Whether a process lives."""
    if pid <= 0:
        return False
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        return True
    return True


class Link:
    """A connection to the admin server of the node in a data directory. Raises LinkError or OSError when made."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._place = read_place(directory)
        self._socket = self._connected()
        self._rest = bytearray()
        try:
            self.node: dict[str, Any] = self._exchange({"token": self._place.token})["node"]
        except (Answered, KeyError) as error:
            self.close()
            raise LinkError(f"the node on {directory} lets nobody in: {error}") from None
        except BaseException:
            self.close()
            raise
        self._socket.settimeout(ANSWER_S)

    def __enter__(self) -> "Link":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the connection."""
        self._socket.close()

    def ask(self, do: str, **fields: Any) -> dict[str, Any]:
        """The node's answer to a request. Raises Answered with its sentence when it refuses, LinkLost."""
        return self._exchange({"do": do, **fields})

    def _connected(self) -> socket.socket:
        try:
            return socket.create_connection(self._place[:2], timeout=CONNECT_S)
        except (OSError, OverflowError):
            raise LinkError(
                f"process {self._place.pid}, which wrote {FILE} in {self._directory}, lives, but takes no connection "
                f"on port {self._place.port}; if it is no node, remove {self._directory / FILE}"
            ) from None

    def _exchange(self, request: dict[str, Any]) -> dict[str, Any]:
        line = json.dumps(request).encode("ascii") + b"\n"
        if len(line) > LINE_BYTES_MAX:
            raise LinkError(f"the request has {len(line):,} bytes, at most {LINE_BYTES_MAX:,} fit a line; send less")
        refused = False
        try:
            self._socket.sendall(line)
        except TimeoutError:
            raise LinkLost(f"the node on {self._directory} reads nothing; see its log") from None
        except OSError:
            refused = True  # it has gone, but may have said why before
        answer = self._answer(refused)
        if answer.get("ok") is not True:
            raise Answered(str(answer.get("error", "no reason was given")))
        return answer

    def _answer(self, refused: bool) -> dict[str, Any]:
        gone = f"the node on {self._directory} went away; see its log"
        while (end := self._rest.find(b"\n")) < 0:
            try:
                piece = self._socket.recv(65_536)
            except TimeoutError:
                raise LinkLost(f"the node on {self._directory} does not answer; see its log") from None
            except OSError:
                piece = b""
            if not piece or len(self._rest) > 2 * LINE_BYTES_MAX:
                raise LinkLost(gone) from None
            self._rest += piece
        line = bytes(self._rest[:end])
        del self._rest[: end + 1]
        try:
            answer = json.loads(line)
        except ValueError:
            answer = None
        if not isinstance(answer, dict) or (refused and answer.get("ok") is True):
            raise LinkLost(gone)
        return answer
