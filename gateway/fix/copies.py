"""Drop copies: the reports of all users of a participant, or of a firm, in the stream of one user.

A copy stream begins with the first logon of its user at a gateway of drop copies, and goes on whether or not anybody is
logged on. Its user sees, by whichever protocol an order came,

- every order of its participant, also one that no user entered;
- where its participant has the name of a firm, every order of the users of that firm, whoever their participant is: a
  clearing firm is a participant of that name.

It has numbers of its own, with marks of its own (``marks.COPIES_NUMBER``), so all of it is a function of the journal,
as in ``gateway.fix.streams``. A trade has two records for a side: the copy of its report, and its capture.
"""

from collections.abc import Iterator, Mapping
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from engine.records import CommandKind, Reason, UserPermission
from gateway.fix import marks, records
from gateway.fix.kept_names import packed, unpacked
from gateway.fix.kept_orders import Key
from gateway.fix.marks import Mark
from gateway.fix.outbox import FixOutbox
from gateway.fix.records import PLACE, PLACES
from gateway.fix.streams import FixStreams
from reports.rows import ReportKind

_CANCEL, _ENTER = int(CommandKind.CANCEL), int(CommandKind.ENTER)
_KIND, _COMMAND_KIND = PLACE["kind"], PLACE["command_kind"]
_PARTICIPANT, _FIRM = PLACE["participant_name"], PLACE["firm"]
_REFUSED: Final = int(ReportKind.REJECTED)
_CANCEL_REFUSED: Final = int(ReportKind.CANCEL_REJECTED)
_TRADE: Final = int(ReportKind.TRADE)


class CopyStreams(FixStreams):
    """Streams of copies, of the users who have ever asked for one."""

    protocol = marks.COPIES_NUMBER
    protocols = (marks.NUMBER, marks.COPIES_NUMBER)
    has_kernel = False

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._readers: dict[int, None] = {}  # users with a stream, in the order of their first logons
        self._open: dict[Key, None] = {}  # open orders with long ids
        self._by_party: dict[int, list[int]] = {}  # users who read a participant's or a firm's reports, by its name

    def reads(self, user: int) -> bool:
        """True if a user has a copy stream."""
        return user in self._readers

    def _take_mark(
        self, user: int, mark: int, next_in: int, command: tuple[int, ...], before: tuple[int, ...], row: bytes
    ) -> Iterator[tuple[int, bytes]]:
        if 0 < user <= len(self._by_name) and mark != Mark.NAME and user not in self._readers:
            self._readers[user] = None
            self._assign()
        if mark in (Mark.STATUS, Mark.MASS_CANCEL):
            return  # its gateway asks for neither
        yield from super()._take_mark(user, mark, next_in, command, before, row)

    def _assign(self) -> None:
        """Assign readers to the parties whose reports they see."""
        self._by_party = {}
        for user in self._readers:
            if self.may(user, UserPermission.ENABLED):
                self._by_party.setdefault(int(self._user_rows[user]["participant_name"]), []).append(user)

    def _define_user(self, command: Any) -> None:
        super()._define_user(command)
        self._assign()

    def _relevant(self, reports: NDArray[Any]) -> NDArray[np.bool_]:
        marked = (reports["command_kind"] == _CANCEL) & (reports["client_order_id"] == 0)
        # Ids of long texts are followed for all users: one of them may be read later.
        concern: NDArray[np.bool_] = marked | (reports["client_order_id"] < 0)
        if self._next_speaker(reports) < len(reports):
            concern[:] = True  # somebody reads from the midst of these on
        if self._by_party:
            parties = np.fromiter(self._by_party, np.int64, len(self._by_party))
            concern |= np.isin(reports["participant_name"], parties) | np.isin(reports["firm"], parties)
        return concern

    def _of_no_fix_user(self, chosen: NDArray[Any]) -> NDArray[np.bool_]:
        """None of those that are chosen."""
        return np.zeros(len(chosen), np.bool_)

    def _tell(
        self, user: int, other: int, row: bytes, text: bytes, orig: bytes, last: bytes = b""
    ) -> Iterator[tuple[int, bytes]]:
        del user, other, last
        if not self._by_party:
            return
        places = PLACES.unpack(row)
        kind = places[_KIND]
        if kind == _CANCEL_REFUSED or (kind == _REFUSED and places[_COMMAND_KIND] != _ENTER):
            return  # nothing happened to the order, and there is no ExecutionReport of it
        yield from self._tell_parties((places[_PARTICIPANT], places[_FIRM]), row, text, orig)

    def _told_again(self, user: int, own_id: int, row: bytes, text: bytes) -> list[tuple[int, bytes]] | None:
        """Nothing: nothing happened to the order."""
        del user, own_id, text
        return [] if PLACES.unpack(row)[PLACE["reason"]] == Reason.DUPLICATE_ID else None

    def _tell_parties(
        self, parties: tuple[int, ...], row: bytes, text: bytes, orig: bytes
    ) -> Iterator[tuple[int, bytes]]:
        """Records of a report to whoever sees one of the parties, once."""
        trades = PLACES.unpack(row)[_KIND] == _TRADE
        for reader in dict.fromkeys(each for party in parties for each in self._by_party.get(party, ())):
            yield reader, self._numbered(reader, records.COPY, row, text, orig)
            if trades:
                yield reader, self._numbered(reader, records.CAPTURE, row, text)

    def _tell_cross(self, user: int, row: bytes, text: bytes, cross_id: bytes) -> Iterator[tuple[int, bytes]]:
        """The trade of each side, to those who see its participant or who reported it; no order is behind it."""
        del cross_id
        places = PLACES.unpack(row)
        if places[_KIND] == _TRADE:
            reporter = int(self._user_rows[user]["participant_name"]) if user < len(self._user_rows) else 0
            yield from self._tell_parties((places[_PARTICIPANT], reporter), row, text, b"")

    def _remember(self, user: int, own_id: int, old_id: int, kind: int, leaves: int, row: bytes) -> None:
        """Keep which orders with long ids are open: their texts outlive the day."""
        del row
        if not user or kind in (_REFUSED, _CANCEL_REFUSED):
            return
        if old_id < 0:
            self._open.pop((user, old_id), None)
        if own_id < 0 and leaves:
            self._open[user, own_id] = None
        elif own_id < 0:
            self._open.pop((user, own_id), None)

    def _drop_replaced(self, user: int, old_id: int) -> None:
        self._open.pop((user, old_id), None)

    def _is_open(self, key: Key) -> bool:
        return key in self._open

    def _forget_closed(self) -> None:
        """Nothing: none is kept."""

    # Image.

    def _image_of_orders(self) -> dict[str, NDArray[Any]]:
        return packed("open", dict.fromkeys(self._open, b"")) | packed("closed", {})

    def _restore_orders(self, image: dict[str, Any]) -> None:
        self._open = dict.fromkeys(unpacked("open", image))
        unpacked("closed", image)

    def image(self) -> dict[str, NDArray[Any]]:
        """Image for ``restore``: copies and views; write them before the next block."""
        return super().image() | {"readers": np.array(list(self._readers), np.int64)}

    def restore(self, image: Mapping[str, NDArray[Any]], seq: int, /) -> None:
        """Continue after command ``seq`` from an image, in fresh streams. Raises ValueError for one of another kind."""
        image = dict(image)
        readers = image.pop("readers", None)
        if readers is None:
            raise ValueError("their table readers is missing")
        super().restore(image, seq)
        self._readers = dict.fromkeys(readers.tolist())
        self._assign()


class CopyOutbox(FixOutbox):
    """Copy streams and their spools, as one projection."""

    name = "fix copy streams"
    #: Rises with the layout of records, and with the arrays of ``image``.
    version = 2
    folder = "fix-copy-streams"

    def _new_streams(self) -> CopyStreams:
        return CopyStreams(self._capacity, self._deliver, self._new_session, self._on_login_end)
