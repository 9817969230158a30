"""Streams of a protocol that frames reports: messages to users made of REPORT rows, which say all by themselves.

The fold of ``reports`` runs here once for each such protocol. A protocol gives ``frame``, a pure function of a batch of
reports, and the messages with which a day begins and ends for each user.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from engine.capacity import Capacity
from engine.records import CommandKind
from gateway.messages import USER
from gateway.streams import USERS_MAX, Deliver, LoginEndCallback, NewSessionCallback, Segment, Streams
from gateway.symbols import add_symbol
from reports.projection import Reports
from reports.rows import ReportKind

#: Messages of a batch of REPORT rows to users, in order: (number of the user, bytes of one message). Users are those of
#: the places ``user`` and ``other_user``.
Frame = Callable[[NDArray[Any]], Iterable[tuple[int, bytes]]]

#: Reports that are more than messages: definitions, and the begin of a day.
_TURNS: Final = (
    ReportKind.INSTRUMENT,
    ReportKind.PARTICIPANT,
    ReportKind.USER,
    ReportKind.CREDENTIAL,
    ReportKind.TRADING_DAY,
)
_REPORTS: Final = "reports"


class ReportStreams(Streams):
    """Streams of messages that are made of reports."""

    def __init__(
        self,
        capacity: Capacity,
        deliver: Deliver,
        on_new_session: NewSessionCallback,
        on_login_end: LoginEndCallback,
        *,
        frame: Frame,
        day_begins: bytes = b"",
        day_ends: bytes = b"",
        users_max: int = USERS_MAX,
    ) -> None:
        """``day_begins``, ``day_ends``: one message each to every user; none where it is empty."""
        users = np.zeros(users_max + 1, USER)
        super().__init__(users, capacity.instruments_max, deliver, on_new_session, on_login_end)
        self._next_seqs, self._ends = users["next_seq"], users["bytes"]  # the places of all rows
        self._fold = Reports(capacity, users_max=users_max)
        self._frame = frame
        self._day_begins, self._day_ends = day_begins, day_ends
        self._waiting: dict[int, list[bytes]] = {}  # messages of the block, by user
        self._counts: dict[int, int] = {}  # and their numbers

    def __call__(self, first_seq: int, commands: NDArray[Any], events: NDArray[Any], /) -> None:
        """Take a block: COMMAND rows from ``first_seq`` on, and the EVENT rows that they caused."""
        for reports in self._fold.batches(first_seq, commands, events, by_day=True):
            self._take(reports, first_seq, commands)
        self.now_ns = self._fold.now_ns
        self._send()
        self._end_revoked()

    def _take(self, reports: NDArray[Any], first_seq: int, commands: NDArray[Any]) -> None:
        """Take reports, in order."""
        begin = 0
        for at in np.flatnonzero(np.isin(reports["kind"], _TURNS)).tolist():
            self._write(reports[begin:at])
            self._take_turn(reports[at], first_seq, commands)
            begin = at + 1
        self._write(reports[begin:])

    def _write(self, reports: NDArray[Any]) -> None:
        if len(reports):
            for user, message in self._frame(reports):
                self._add(user, message)

    def _add(self, user: int, data: bytes, messages: int = 1) -> None:
        if data:
            self._waiting.setdefault(user, []).append(data)
            self._counts[user] = self._counts.get(user, 0) + messages

    def _take_turn(self, report: Any, first_seq: int, commands: NDArray[Any]) -> None:
        """Take a definition that was accepted, or a day that begins."""
        command = commands[int(report["seq"]) - first_seq]
        match int(report["command_kind"]), int(report["kind"]):
            case _, ReportKind.TRADING_DAY:
                self._begin_day(int(report["time_ns"]), first=not report["before_ns"])
            case CommandKind.INSTRUMENT, _:
                add_symbol(self.symbols, int(report["name"]), int(report["instrument"]))
            case CommandKind.PARTICIPANT, _:
                self._define_participant(command)
            case CommandKind.USER, _:
                self._define_user(command)
            case _:
                self._define_credential(command)

    def _begin_day(self, time_ns: int, *, first: bool) -> None:
        users = [user for user, _ in self.users()]
        if not first:
            for user in users:
                self._add(user, self._day_ends)
        self._send()
        self.now_ns, self.day_start_ns = time_ns, int(self._fold.tables.venue[0]["day_start_ns"])
        self._begin_session()
        self._on_new_session(self.session)
        for user in users:
            self._begin_stream(user)

    def _begin_stream(self, user: int) -> None:
        self._user_rows[user]["next_seq"] = 1
        self._user_rows[user]["bytes"] = 0
        self._add(user, self._day_begins)

    def _send(self) -> None:
        """Send what was written: a segment to each user, in the order of their first messages."""
        waiting, self._waiting = self._waiting, {}
        counts, self._counts = self._counts, {}
        for user, parts in waiting.items():
            next_seqs, ends, data, messages = self._next_seqs, self._ends, b"".join(parts), counts[user]
            segment = Segment(user, int(next_seqs[user]), messages, int(ends[user]), data)
            next_seqs[user] = segment.first_seq + messages
            ends[user] = segment.position + len(data)
            self._deliver(segment)

    def image(self) -> dict[str, NDArray[Any]]:
        """Image for ``restore``: copies and views; write them before the next block."""
        return {
            "users": self._users_of_image(),
            "participants": np.array(self._participants_of_image(), np.int64),
            "symbols": np.sort(self.symbols[self.symbols["symbol"] != 0], order="instrument"),
            "now_ns": np.array([self.now_ns], np.int64),
            "day": self._day_of_image(),
            **{f"{_REPORTS} {name}": array for name, array in self._fold.image().items()},
        }

    def restore(self, image: Mapping[str, NDArray[Any]], seq: int, /) -> None:
        """Continue after command ``seq`` from an image, in fresh streams. Raises ValueError for one of another kind."""
        try:
            if 2 * len(image["symbols"]) > len(self.symbols):
                raise ValueError("they have more instruments than there is room for")
            self._restore_users(image["users"], image["participants"].tolist())
            for symbol, instrument in image["symbols"].tolist():
                add_symbol(self.symbols, symbol, instrument)
            self.now_ns = int(image["now_ns"][0])
            self._restore_day(image)
            prefix = f"{_REPORTS} "
            fold = {name.removeprefix(prefix): array for name, array in image.items() if name.startswith(prefix)}
            self._fold.restore(fold, seq)
        except KeyError as error:
            raise ValueError(f"their table {error.args[0]} is missing") from error
