"""Copies of one journal, any of which may be damaged: what one cannot give is taken from the next.

A copy is the history of a node (``HistoryLink``) or a data directory. A directory is asked as a history first, which
gives only what its market holds. Where that is damaged, its file is searched for the block, which counts if it matches
its checksum and is linked to the block before.
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Final, NamedTuple, Self, TypeVar

from journal import marks, slices
from journal.salvage import Salvage
from replication import link
from replication.history import HistoryEnd, HistoryError, HistoryLost
from replication.history_link import HistoryLink, SliceAnswer
from replication.link import Kind, Position

_DATA: Final = "data.mdb"
_RANGES_TOLD: Final = 5
_Result = TypeVar("_Result")


class Copies:
    """Copies in the order in which they are asked: ``links``, then the files of data directories ``folders``.

    ``where``: names of all. ``end``: of the longest history.
    """

    def __init__(self, links: list[HistoryLink], folders: list[Path]) -> None:
        self.links, self._folders = links, folders
        self.where = " and ".join(each.where for each in links)
        self.end: HistoryEnd = max(each.end for each in links)

    def first(self, action: Callable[[HistoryLink], _Result]) -> _Result:
        """Result of an action with the first copy that gives one. Raises the HistoryError of the first where none does,
        and a HistoryLost at once."""
        failed: HistoryError | None = None
        for each in self.links:
            try:
                return action(each)
            except HistoryLost:
                raise
            except HistoryError as error:
                failed = failed or error
        raise failed or HistoryError("no copy is there to repair from")

    def answers(self, number: int) -> list[tuple[HistoryLink, SliceAnswer]]:
        """The slice as each copy that has it describes it, the longest first. Raises HistoryLost."""
        found = []
        for each in self.links:
            if number <= each.end.slice_number:
                try:
                    found.append((each, each.slice(number)))
                except HistoryLost:
                    raise
                except HistoryError:
                    continue
        return sorted(found, key=lambda pair: (not pair[1].is_closed, -pair[1].last_seq))

    def digests(self, number: int, after_seq: int, beyond_seq: int) -> Iterator[tuple[str, int, bytes]]:
        """Event digests of a slice: who says so, the first command of the block, and the digest.

        A copy whose record is damaged gives those before the damage. Raises HistoryError where each is damaged.
        """
        failed: list[HistoryError] = []
        for each in self.links:
            try:
                asked = each.ask("blocks", slice=number, from_seq=beyond_seq, to_seq=0, after_digest_seq=after_seq)
                for frame in asked:
                    if frame.kind == Kind.RECORDED:
                        for seq, digest in link.unpack_positions(frame.payload):
                            yield each.where, seq, digest
            except HistoryLost:
                raise
            except HistoryError as error:
                failed.append(error)
        if len(failed) == len(self.links):
            raise failed[0]

    def search(self, number: int, genesis: marks.Genesis) -> "Search":
        """A search for blocks of a slice in all copies."""
        return Search(self, number, genesis, self._folders)


class Given(NamedTuple):
    """A sealed block, and the name of the copy that gave it."""

    sealed: bytes | memoryview
    name: str


class Search:
    """Blocks of one slice, from whichever copy has them whole."""

    def __init__(self, copies: Copies, number: int, genesis: marks.Genesis, folders: list[Path]) -> None:
        self._number = number
        self._answers = copies.answers(number)
        self._open = ExitStack()
        self._files = [
            (folder, self._open.enter_context(Salvage(place.journal / _DATA, genesis)))
            for folder in folders
            for place in slices.places(folder)
            if place.number == number
        ]

    def blocks(self, from_seq: int, to_seq: int, linked: Callable[[], Position]) -> Iterator[Given]:
        """Blocks from ``from_seq`` on up to the one with ``to_seq``, or as far as one copy gives them, one at least.

        ``linked``: the position up to which the taker has come. Raises HistoryError with what each copy says.
        """
        said: list[str] = []
        lagging = [(each, answer.last_seq) for each, answer in self._answers if answer.last_seq < from_seq]
        for each, answer in self._answers:
            if answer.last_seq < from_seq:
                continue
            try:
                asked = each.ask(
                    "blocks", slice=self._number, from_seq=from_seq, to_seq=to_seq, after_digest_seq=from_seq
                )
                for frame in asked:
                    if frame.kind == Kind.BLOCK:
                        yield Given(frame.payload, each.peer.name or each.where)
            except HistoryLost:
                raise
            except HistoryError as error:
                said.append(str(error))
            if linked().seq >= from_seq:
                return
        for folder, salvage in self._files:
            if (block := salvage.block(from_seq, linked().digest)) is not None:
                yield Given(block.sealed, str(folder))
                return
        if not said and lagging:
            each, last_seq = lagging[0]
            raise HistoryError(
                f"the block at seq {from_seq} is damaged, and the journal of {each.where} ends at command {last_seq}; "
                "let that node catch up, or repair from another copy"
            )
        raise HistoryError(f"no copy has the block at seq {from_seq}" + "".join(f"; {sentence}" for sentence in said))

    def lost(self, own: Salvage, from_seq: int, to_seq: int) -> str:
        """Commands that no file here and in the data directories among the copies has in a whole block, in words."""
        if not self._files:
            return ""
        extents = sorted(
            {extent for salvage in (own, *(each for _, each in self._files)) for extent in salvage.extents()}
        )
        gaps, at = [], from_seq
        for first_seq, last_seq in extents:
            if first_seq > at:
                gaps.append((at, min(first_seq - 1, to_seq)))
            at = max(at, last_seq + 1)
            if at > to_seq:
                break
        if at <= to_seq:
            gaps.append((at, to_seq))
        told = [f"{first:,} to {last:,}" for first, last in gaps[:_RANGES_TOLD]]
        if len(gaps) > _RANGES_TOLD:
            told.append(f"{len(gaps) - _RANGES_TOLD} more ranges")
        return f"in no file: commands {', '.join(told)}" if told else ""

    def apart(self, ends: list[Position]) -> str:
        """Name of a copy that goes on with another block after the newest of these ends that it has; "" for none.

        A copy that cannot read what comes next is damaged there and not apart. ``ends``: the start of the slice, then
        ends of blocks. Raises HistoryError where no copy can tell anything.
        """
        failed: HistoryError | None = None
        is_told = False
        for each, answer in self._answers:
            wanted = [end for end in reversed(ends) if end.seq <= answer.last_seq]
            try:
                newest = self._newest(each, wanted)
            except HistoryLost:
                raise
            except HistoryError as error:
                failed = failed or error
                continue
            if newest is None or (newest != wanted[0] and self._has_block_at(each, newest.seq + 1)):
                return each.where
            is_told = True
        if failed is not None and not is_told:
            raise failed
        return ""

    def _newest(self, other: HistoryLink, wanted: list[Position]) -> Position | None:
        """The first of these positions that a copy has."""
        for at in range(0, len(wanted), link.TAIL_MAX):
            found = other.common(self._number, wanted[at : at + link.TAIL_MAX])
            if found is not None:
                return found
        return None

    def _has_block_at(self, other: HistoryLink, seq: int) -> bool:
        """True if a copy has a whole block that begins with a command."""
        try:
            asked = other.ask("blocks", slice=self._number, from_seq=seq, to_seq=seq, after_digest_seq=seq)
            return sum(each.kind == Kind.BLOCK for each in asked) > 0  # all are taken
        except HistoryLost:
            raise
        except HistoryError:
            return False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._open.close()
