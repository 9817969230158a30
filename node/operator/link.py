"""The admin protocol: address of a node, form of a line, and the operator's end of the connection.

A node listens on ``operator.sock`` in its data directory (``node.programs.operator_socket``) and greets with a line
that names the directory it serves. Then both ends send one JSON object a line: requests ``{"do": NAME, ...}``, each
answered in turn.

With ``--admin-port`` it listens on TCP too, for programs that cannot open a unix socket: ``admin.json`` in the data
directory, mode 0600, has host, port, process, a new token for each start, and the directory's device and inode. On TCP
the token is the first line, and the greeting is its answer. ``Link`` uses the unix socket only.

Nothing here needs NumPy or an engine, so that the operator's commands start fast.
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

from directory.small_file import write_whole
from node.programs import operator_socket
from node.programs.operator_socket import NAME, Identity

FILE: Final = "admin.json"
#: Bytes of a line at most, its end included.
LINE_BYTES_MAX: Final = 64 * 1024
#: Longest waits in seconds: for the greeting, and for an answer, such as that of a checkpoint.
CONNECT_S: Final = 5.0
ANSWER_S: Final = 120.0
#: Requests that change nothing in the node.
_READING: Final = frozenset(
    ("status", "workings", "sessions", "account", "books", "schedules", "pair", "promotion", "metrics")
)


class LinkError(ValueError):
    """The node cannot be reached; the message says why, then what to do."""


class NodeStarts(LinkError):
    """A process has the directory and listens to no operator yet; the message says so, then what to do."""


class LinkLost(LinkError):
    """The connection to the node was lost, or the node does not answer."""


class NodeHangs(LinkLost):
    """The node does not answer, and was asked for nothing that changes it: another attempt does no harm."""


class RequestRefused(ValueError):
    """The node refused a request; the message is the node's sentence."""


class RequestRefusedForNow(RequestRefused):
    """The node did nothing of a request, and may carry it out a little later as it is."""


class RequestUnfinished(RequestRefused):
    """The node began a request, and its end is not the one asked for."""


class Place(NamedTuple):
    """Address of a node for operators over TCP, its token, and the directory that it serves."""

    host: str
    port: int
    token: str
    pid: int
    device: int
    inode: int


def new_token() -> str:
    """Make a random token."""
    return secrets.token_urlsafe(32)


def write_place(directory: Path, place: Place) -> None:
    """Write ``admin.json``. Raises OSError."""
    write_whole(directory / FILE, json.dumps(place._asdict()) + "\n")


def remove_place(directory: Path, token: str) -> None:
    """Remove ``admin.json`` if it has this token; that of another node stays."""
    path = directory / FILE
    with contextlib.suppress(OSError, ValueError, KeyError, RecursionError):
        if json.loads(path.read_text(encoding="ascii"))["token"] == token:
            path.unlink()


def discard_place(directory: Path) -> None:
    """Remove the ``admin.json`` of a killed node. Raises OSError."""
    (directory / FILE).unlink(missing_ok=True)


def read_place(directory: Path) -> Place:
    """Read ``admin.json``. Raises OSError, or ValueError if it is damaged."""
    try:
        found = json.loads((directory / FILE).read_text(encoding="ascii"))
    except RecursionError as error:
        raise ValueError(f"{directory / FILE} is nested too deeply") from error
    return Place(**found)


def is_open_to_others(directory: Path) -> bool:
    """True if others than its owner may read ``admin.json``."""
    try:
        mode = (directory / FILE).stat().st_mode
    except OSError:
        return False
    return bool(mode & (stat.S_IRWXG | stat.S_IRWXO))


#: Class of a refusal by its kind in an answer, which most have not.
FOR_NOW: Final = "for now"
UNFINISHED: Final = "unfinished"
_REFUSALS: Final[dict[Any, type[RequestRefused]]] = {FOR_NOW: RequestRefusedForNow, UNFINISHED: RequestUnfinished}


class Link:
    """Connection to the node that serves a data directory. The constructor raises LinkError or OSError.

    answer_s: longest wait for an answer.
    """

    def __init__(self, directory: Path, *, answer_s: float = ANSWER_S) -> None:
        self._directory = directory
        self._rest = bytearray()
        self._changes = False  # the last request may change something
        self._sent = "nothing was sent; "
        directory_fd = self._opened()
        try:
            identity = operator_socket.identity(directory_fd)
            self._socket = self._connected(directory_fd)
        finally:
            os.close(directory_fd)
        try:
            self._check_server()
            self.node: dict[str, Any] = self._taken()["node"]
            self._check_directory(identity)
        except (RequestRefused, KeyError) as error:
            self.close()
            raise LinkError(f"the node on {directory} refused the connection: {error}") from None
        except BaseException:
            self.close()
            raise
        self._socket.settimeout(answer_s)

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
        """Send a request and return its answer. Raises RequestRefused or LinkLost."""
        self._changes = do not in _READING
        self._sent = ""
        return self._exchange({"do": do, **fields})

    def _opened(self) -> int:
        try:
            return operator_socket.open_directory(self._directory)
        except NotADirectoryError:
            raise LinkError(f"{self._directory} is not a directory; check the path") from None
        except FileNotFoundError:
            raise LinkError(f"{self._directory} does not exist; check the path") from None

    def _connected(self, directory_fd: int) -> socket.socket:
        try:
            return operator_socket.connect(directory_fd, CONNECT_S)
        except FileNotFoundError:
            raise self._absent(f"there is no {NAME} in it") from None
        except ConnectionRefusedError:
            why = (
                f"nothing listens on its {NAME}, which an ended node has left, or this directory is a copy of one in "
                "use"
            )
            raise self._absent(why) from None
        except PermissionError:
            raise LinkError(
                f"{self._directory / NAME} is for user {os.fstat(directory_fd).st_uid} only, who runs the "
                "node; run this command as that user, or with sudo"
            ) from None
        except TimeoutError:
            raise NodeHangs(
                f"the node on {self._directory} accepts no connection; nothing was sent; see its log"
            ) from None

    def _absent(self, why: str) -> LinkError:
        """Sentence for a directory whose node does not listen: it starts, it does not run, or there is none."""
        from journal.lock import writer_pid  # slow to load, and needed for this sentence only
        from journal.slices import places

        directory = self._directory
        pid = writer_pid(directory)
        if pid is not None and not places(directory):
            return NodeStarts(
                f"process {pid} has {directory}, which has no journal yet: a node that starts, and with --peer waits "
                "for its primary to have the market from it; wait, and see its log"
            )
        if pid is not None:
            return NodeStarts(
                f"process {pid} has {directory} and takes no requests of operators now: a node that starts or ends, or "
                "another command; wait some seconds, and see its log"
            )
        if any(directory.glob("*.register")):
            return LinkError(f"{directory} is of a witness, which takes no requests; name the directory of a node")
        return LinkError(f"no node runs on {directory}: {why}; start one with `lockstep serve --data {directory}`")

    def _check_server(self) -> None:
        """Check that the owner of the directory, root or this user listens. Raises LinkError."""
        uid = operator_socket.peer_uid(self._socket)
        if uid not in (0, os.geteuid(), self._directory.stat().st_uid):
            raise LinkError(
                f"user {uid}, who does not own {self._directory}, listens on its {NAME}; nothing was sent: "
                "check who may write that directory"
            )

    def _check_directory(self, own: Identity) -> None:
        """Check that the node serves this directory, and not one that it was copied from. Raises LinkError."""
        served = self.node["directory"]
        if own != (served["device"], served["inode"]):
            raise LinkError(
                f"the node behind {NAME} of {self._directory} serves another directory, {self.node['data']}; "
                "nothing was sent: name that one, or start a node on this one"
            )

    def _exchange(self, request: dict[str, Any]) -> dict[str, Any]:
        line = json.dumps(request).encode("ascii") + b"\n"
        if len(line) > LINE_BYTES_MAX:
            raise LinkError(f"the request has {len(line):,} bytes, a line has at most {LINE_BYTES_MAX:,}; send less")
        refused = False
        try:
            self._socket.sendall(line)
        except TimeoutError:
            raise LinkLost(f"the node on {self._directory} does not read; see its log") from None
        except OSError:
            refused = True  # the node has closed, perhaps after an answer with the reason
        return self._taken(refused)

    def _taken(self, refused: bool = False) -> dict[str, Any]:
        """Read the next answer. Raises RequestRefused or LinkLost."""
        answer = self._answer(refused)
        if answer.get("ok") is not True:
            refused_as = _REFUSALS.get(answer.get("refused"), RequestRefused)
            raise refused_as(str(answer.get("error", "no reason was given")))
        return answer

    def _answer(self, refused: bool) -> dict[str, Any]:
        gone = f"the node on {self._directory} closed the connection; see its log"
        while (end := self._rest.find(b"\n")) < 0:
            try:
                piece = self._socket.recv(65_536)
            except TimeoutError:
                silent = f"the node on {self._directory} does not answer:"
                if self._changes:
                    raise LinkLost(f"{silent} a command may still be done; see its log") from None
                raise NodeHangs(f"{silent} its process is stopped, or hangs; {self._sent}see its log") from None
            except OSError:
                piece = b""
            if not piece or len(self._rest) > 2 * LINE_BYTES_MAX:
                raise LinkLost(gone) from None
            self._rest += piece
        line = bytes(self._rest[:end])
        del self._rest[: end + 1]
        try:
            answer = json.loads(line)
        except (ValueError, RecursionError):
            answer = None
        if not isinstance(answer, dict) or (refused and answer.get("ok") is True):
            raise LinkLost(gone)
        return answer
