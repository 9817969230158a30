"""Record of logins: who was logged in when, in side files of a running node.

DIR/logins holds them (``gateway.side_files``): a row for each login that the register of users gave or took back, and
one for each start and orderly end of the node, at which nobody is logged in. The files are no part of the journal,
decide nothing, and are written by a thread. They are named by the time of their first row, ns since 1970: a login has
no number of its own in the journal. Numbers are little-endian.
"""

import time
from collections.abc import Callable
from enum import IntEnum
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from gateway.register import Holder
from gateway.side_files import HEAD_BYTES, SideFiles, SideWriter, head_fault, side_files, side_paths

#: A login, or what else is in ``LoginKind``.
LOGIN: Final = np.dtype(
    [
        ("seq", "<i8"),  # of the newest command before it
        ("time_ns", "<i8"),  # since 1970, by the machine's clock
        ("user", "<i4"),  # number of the user, in order of definition; 0 of a start
        ("kind", "<i4"),  # ``LoginKind``
        ("name", "S8"),  # of the user
        ("gateway", "S24"),  # name of the gateway; "" of the core's own
        ("address", "S48"),  # of the client, as the log has it
    ]
)
#: The first bytes of a file: its kind and the version of its format.
MAGIC: Final = b"LSLOGIN1"
#: Size of a file in bytes, above which another is begun.
FILE_BYTES_MAX: Final = 8 << 20
FILES_MAX: Final = 32
_SUFFIX: Final = ".logins"
#: Rows that may wait for ``flush``.
_HELD_MAX: Final = 1 << 16
_ADDRESS_MAX: Final = 48
#: Offset in a row of its words, which are ASCII.
_WORDS_AT: Final = LOGIN.fields["name"][1]  # type: ignore[index]


class LoginKind(IntEnum):
    """Kind of a row."""

    LOGIN = 1
    LOGOUT = 2  # the user has no login any more: by itself, or ended by the node
    START = 3  # of the node: nobody is logged in
    END = 4  # of the node, in order: nobody is logged in any more


class LoginFiles(SideFiles):
    """The files: rows are appended. One thread's; raises OSError."""

    def __init__(
        self, directory: Path, journal_id: bytes, file_bytes_max: int = FILE_BYTES_MAX, files_max: int = FILES_MAX
    ) -> None:
        super().__init__(directory, _SUFFIX, MAGIC + journal_id, file_bytes_max, files_max)


class LoginLog:
    """Record of logins, as the register gives them and takes them back. All calls come from the event loop's thread,
    and none blocks.

    last_seq: gives the sequence number of the newest command. name_of: gives the name of a user. on_failure: called
    with the reason why rows are not written, once until they are again.
    """

    def __init__(
        self,
        files: LoginFiles,
        last_seq: Callable[[], int],
        name_of: Callable[[int], str],
        on_failure: Callable[[str], None],
    ) -> None:
        self._last_seq, self._name_of = last_seq, name_of
        self._rows: list[tuple[int, int, int, int, bytes, bytes, bytes]] = []
        self._left_out = 0
        self._writer = SideWriter(files, "logins", on_failure)
        self._add(0, LoginKind.START, "", "")
        self.flush()

    @property
    def lost(self) -> int:
        """Rows that were left out since the start."""
        return self._writer.lost + self._left_out

    def on_login(self, user: int, holder: Holder, address: str) -> None:
        """Note a login that the register gave."""
        self._add(user, LoginKind.LOGIN, holder.name, address)

    def on_logout(self, user: int, holder: Holder) -> None:
        """Note a login that has ended."""
        self._add(user, LoginKind.LOGOUT, holder.name, "")

    def _add(self, user: int, kind: LoginKind, gateway: str, address: str) -> None:
        if len(self._rows) == _HELD_MAX:
            self._left_out += 1
            return
        words = (self._name_of(user) if user else "", gateway, address[:_ADDRESS_MAX])
        name, of_gateway, of_client = (each.encode("ascii", "replace") for each in words)
        self._rows.append((self._last_seq(), time.time_ns(), user, int(kind), name, of_gateway, of_client))

    def flush(self) -> None:
        """Pass all waiting rows to the writing thread."""
        if self._rows:
            rows, self._rows = np.array(self._rows, LOGIN), []
            self._writer.give(int(rows["time_ns"][0]), len(rows), rows.tobytes())

    def close(self, wait_s: float = 2.0) -> None:
        """Note the end of the node, write the waiting rows and end the thread; wait for the disk at most ``wait_s``."""
        self._add(0, LoginKind.END, "", "")
        self.flush()
        self._writer.close(wait_s)


def read_logins(directory: Path, journal_id: bytes) -> NDArray[Any]:
    """LOGIN rows of a folder, in their order; none where there is no such folder. A row that is cut short is left out.

    A crash may take commands that were noted with a login: their numbers are used again. So no row before a start has
    a greater number than the start. Raises SideFileError for a file of another version or another journal.
    """
    found = [np.zeros(0, LOGIN)]
    for _, data, _ in side_files(directory, _SUFFIX, MAGIC, journal_id, "logins"):
        count = (len(data) - HEAD_BYTES) // LOGIN.itemsize
        found.append(np.frombuffer(data, LOGIN, count, HEAD_BYTES))
    rows = np.concatenate(found)
    starts = rows["kind"] == LoginKind.START
    bounds = np.where(starts, rows["seq"], np.iinfo(np.int64).max)
    rows["seq"] = np.minimum(rows["seq"], np.minimum.accumulate(bounds[::-1])[::-1])
    return rows


class LoginFile(NamedTuple):
    """A file of logins. ``data``: its bytes. ``rows``: whole ones. ``fault``: the end of a sentence, "" for none.

    ``is_cut``: its last row is cut short, as by a crash.
    """

    path: Path
    data: bytes
    rows: int
    fault: str
    is_cut: bool


def checked_logins(directory: Path, journal_id: bytes) -> list[LoginFile]:
    """The files of a folder in their order, each checked by its head, its name and the values that rows can have.

    Rows have no checksum: a value that is another one and as likely is not found.
    """
    found = []
    for path in side_paths(directory, _SUFFIX):
        try:
            data = path.read_bytes()
        except FileNotFoundError:  # the node has removed it meanwhile
            continue
        except OSError as error:
            found.append(LoginFile(path, b"", 0, f"cannot be read: {error.strerror}", is_cut=False))
            continue
        count, rest = divmod(max(0, len(data) - HEAD_BYTES), LOGIN.itemsize)
        fault = head_fault(data, MAGIC, journal_id, "logins")
        if not fault and count:
            fault = _fault(np.frombuffer(data, LOGIN, count, HEAD_BYTES), path.stem)
        found.append(LoginFile(path, data, count, fault, is_cut=len(data) < HEAD_BYTES or rest > 0))
    return found


def _fault(rows: NDArray[Any], name: str) -> str:
    """The first value of LOGIN rows that none can have, as the end of a sentence; "" where all can be."""
    kinds = rows["kind"]
    of_user = (kinds == LoginKind.LOGIN) | (kinds == LoginKind.LOGOUT)
    sound = (kinds >= LoginKind.LOGIN) & (kinds <= LoginKind.END) & ((rows["user"] > 0) == of_user)
    sound &= (rows["user"] >= 0) & (rows["seq"] >= 0) & (rows["time_ns"] > 0)
    words = np.ascontiguousarray(rows).view(np.uint8).reshape(len(rows), LOGIN.itemsize)
    sound &= (words[:, _WORDS_AT:] < 128).all(axis=1)
    if not sound.all():
        return f"is damaged in its row {int(np.argmin(sound)) + 1} of {len(rows)}"
    return "" if name == f"{int(rows['time_ns'][0]):020}" else "begins with another time than its name says"


class Logins:
    """Logins by user, for the commands that came by them. ``rows``: LOGIN rows, in their order."""

    def __init__(self, rows: NDArray[Any]) -> None:
        ends = np.isin(rows["kind"], (LoginKind.START, LoginKind.END))
        #: Rows of a user's logins, and of the ends of the node.
        self._of_user = {
            user: rows[(rows["kind"] == LoginKind.LOGIN) & (rows["user"] == user) | ends]
            for user in np.unique(rows["user"][rows["kind"] == LoginKind.LOGIN]).tolist()
        }

    def time_ns(self, seqs: NDArray[np.int64], users: NDArray[np.int64]) -> NDArray[np.int64]:
        """When the user who sent a command had logged in, ns since 1970; 0 where that is not known.

        A command may be taken after its user has left, so it came by the newest login that is noted before it.
        """
        found = np.zeros(len(seqs), np.int64)
        for user, own in self._of_user.items():
            at = np.flatnonzero(users == user)
            newest = np.searchsorted(own["seq"], seqs[at]) - 1
            is_login = (newest >= 0) & (own["kind"][newest] == LoginKind.LOGIN)
            found[at[is_login]] = own["time_ns"][newest[is_login]]
        return found
