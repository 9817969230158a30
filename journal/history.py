"""The history of a journal: all slices in a data directory, read one after the other.

A ``History`` has the reading interface of a ``Journal``: blocks, digests, the slice at a time, the ends. It opens a
slice when it is needed. It never skips a missing slice, as after `lockstep archive`: a range that needs one raises
SliceMissing with its place. Where the directory is the folder of one slice, as in an archive, the history is that
slice.
"""

import os
from bisect import bisect_left
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Final, NamedTuple

from journal import frame, marks, slices
from journal.errors import JournalDamaged, JournalForeign, SliceMissing
from journal.frame import Block
from journal.log import Journal
from journal.opening import read_side_file


class Gap(NamedTuple):
    """Missing slices: first and last number, first and last command, and a sentence with their place."""

    first_number: int
    last_number: int
    first_seq: int
    last_seq: int
    sentence: str


class SliceRange(NamedTuple):
    """A slice of the journal and its part of a range of commands; ``to_seq`` before ``from_seq``: none."""

    journal: Journal
    from_seq: int
    to_seq: int


class History:
    """Slices in data directory ``path``, open for reading. One thread uses it.

    ``places``: the slices in the directory. ``last``: the last of them. ``is_part``: true for the folder of a single
    slice that is not the first of its journal.
    """

    def __init__(self, path: "str | os.PathLike[str]") -> None:
        self.path = Path(path)
        self._journals: dict[int, Journal] = {}
        self.last = Journal.open(self.path, readonly=True)
        self.places = tuple(place for place in slices.places(self.path) if place.number <= self.last.place.number)
        self._journals[self.last.place.number] = self.last
        first = self.places[0]
        self.is_part = first.number > 1 and first.folder == self.path
        try:
            self._starts: Final = [self._start_of(place) for place in self.places]
        except BaseException:
            self.close()
            raise

    @classmethod
    def open(cls, path: "str | os.PathLike[str]") -> "History":
        """The history in a data directory. Raises as ``Journal.open``."""
        return cls(path)

    def _start_of(self, place: slices.Place) -> tuple[int, int]:
        """Last command before a slice, and the clock there."""
        genesis = None
        with suppress(JournalDamaged, JournalForeign, OSError):
            sealed = read_side_file(place.journal / "genesis")
            genesis = None if sealed is None else marks.decode_genesis(sealed)
        start = self.journal(place.number).start if genesis is None else genesis.start
        return (0, 0) if start is None else (start.last_seq, start.time_ns)

    @property
    def journal_id(self) -> bytes:
        """Id of the journal, 16 bytes."""
        return self.last.journal_id

    @property
    def start_seq(self) -> int:
        """The last command before the history: 0 unless the directory is the folder of a later slice."""
        return self._starts[0][0] if self.is_part else 0

    @property
    def first_seq(self) -> int:
        """The first command of the history, which may be in a missing slice (``gaps``)."""
        return self.start_seq + 1

    @property
    def last_seq(self) -> int:
        """The last command. Raises JournalDamaged where it is not known."""
        return self.last.last_seq

    @property
    def there_from_seq(self) -> int:
        """The first command after the last missing slice."""
        gaps = self.gaps()
        return gaps[-1].last_seq + 1 if gaps else self.first_seq

    def journal(self, number: int) -> Journal:
        """Slice ``number``, open as long as the history is. Raises SliceMissing."""
        if number not in self._journals:
            if all(place.number != number for place in slices.places(self.path)):  # archived meanwhile
                raise SliceMissing(f"slice {number} is needed, and {slices.where_missing(self.path, number, number)}")
            self._journals[number] = Journal.open(self.path, readonly=True, slice_number=number)
        return self._journals[number]

    def link_behind(self, seq: int) -> bytes:
        """Checksum of the block that ends with ``seq`` where a slice that is here begins behind it; else empty."""
        at = next((at for at, (start_seq, _) in enumerate(self._starts) if start_seq == seq > 0), None)
        start = None if at is None else self.journal(self.places[at].number).start
        return b"" if start is None else start.link

    def begun_behind(self, seq: int) -> tuple[bytes, ...]:
        """Sealed genesis records of the slices here that begin behind command ``seq``, in order; none of the first."""
        numbers = (place.number for place, start in zip(self.places, self._starts, strict=True) if start[0] == seq)
        return tuple(self.journal(number).genesis for number in numbers if number > 1)

    def end_of(self, place: slices.Place) -> int:
        """The last command of a slice: where the next one begins, or where its own journal ends."""
        at = self.places.index(place)
        if at + 1 < len(self.places) and self.places[at + 1].number == place.number + 1:
            return self._starts[at + 1][0]
        return self.journal(place.number).last_seq

    def gaps(self) -> list[Gap]:
        """Runs of missing slices, in order."""
        found = []
        number, seq = (self.places[0].number, self.start_seq) if self.is_part else (1, 0)
        for place, (start_seq, _) in zip(self.places, self._starts, strict=True):
            if place.number > number:
                sentence = slices.where_missing(self.path, number, place.number - 1)
                found.append(Gap(number, place.number - 1, seq + 1, start_seq, sentence))
            if place is not self.places[-1]:
                number, seq = place.number + 1, self.end_of(place)
        return found

    def check_there(self, from_seq: int, to_seq: int) -> None:
        """Raise SliceMissing where a command of a range is in a missing slice."""
        for gap in self.gaps():
            if from_seq <= gap.last_seq and to_seq >= gap.first_seq:
                seq = max(from_seq, gap.first_seq)
                then = (
                    f"what is here begins at command {gap.last_seq + 1:,}; commands that take --from read it with "
                    f"--from {gap.last_seq + 1}"
                    if gap.last_seq < self._end()
                    else "what is here has no command"
                )
                raise SliceMissing(f"command {seq:,} is needed, and {gap.sentence}; {then}")

    def ranges(self, from_seq: int | None = None, to_seq: int | None = None) -> Iterator[SliceRange]:
        """The slices with commands of a range, in order, each with its part of the range.

        Raises SliceMissing before the first slice if one is missing, JournalDamaged where two do not fit.
        """
        first = self.first_seq if from_seq is None else from_seq
        last = self._end() if to_seq is None else to_seq
        self.check_there(first, min(last, self._starts[-1][0]))
        for at, place in enumerate(self.places):
            begin = self._starts[at][0] + 1
            is_last = at + 1 == len(self.places)
            end = last if is_last else self.end_of(place)
            if max(begin, first) > min(end, last):
                continue
            journal = self.journal(place.number)
            if not is_last and last > end:
                self._check_link(at)
            yield SliceRange(journal, max(begin, first), min(end, last))

    def _end(self) -> int:
        """The last command; of a damaged journal the highest number, so that reading continues up to the damage."""
        try:
            return self.last_seq
        except JournalDamaged:
            return frame.SEQ_MAX

    def _check_link(self, at: int) -> None:
        """Raise JournalDamaged unless the next slice begins where this one ends."""
        start = self.journal(self.places[at + 1].number).start
        if start is not None and start.number == self.places[at].number + 1:
            slices.check_follows(self.places[at], start)

    def slice_of(self, seq: int) -> Journal:
        """The slice with a command: the first for 0, the last for a command beyond its end. Raises SliceMissing."""
        at = max(0, bisect_left(self._starts, (seq, -1)) - 1)
        place = self.places[at]
        is_known = self.is_part or place.number == 1 or self._starts[at][0] < seq
        if not is_known or (place is not self.places[-1] and seq > self.end_of(place)):
            self.check_there(max(seq, 1), max(seq, 1))
        return self.journal(place.number)

    def blocks(self, from_seq: int | None = None, to_seq: int | None = None) -> Iterator[Block]:
        """Verified blocks of the range, as ``Journal.blocks``. Raises SliceMissing before the first of them."""
        for part in self.ranges(from_seq, to_seq):
            whole = part.journal is self.last and to_seq is None
            yield from part.journal.blocks(part.from_seq, None if whole else part.to_seq)

    def digest(self, first_seq: int) -> bytes | None:
        """The event digest of the block that begins with ``first_seq``; None where it has none."""
        return self.slice_of(first_seq).digest(first_seq)

    def slice_at_time(self, time_ns: int) -> Journal:
        """The slice with the last command whose clock is not after ``time_ns``; the first one for a time before all.

        Raises SliceMissing where that command may be in a missing slice.
        """
        at = max((at for at, (_, start_ns) in enumerate(self._starts) if start_ns <= time_ns), default=0)
        place = self.places[at]
        gap_after = at + 1 < len(self.places) and self.places[at + 1].number > place.number + 1
        if gap_after and (self.journal(place.number).info().last_time_ns or 0) <= time_ns:
            self.check_there(self.end_of(place) + 1, self._starts[at + 1][0])
        if place.number > 1 and not self.is_part and self._starts[at][1] > time_ns:
            self.check_there(1, self._starts[at][0])
        return self.journal(place.number)

    def close(self) -> None:
        """Close all slices that were opened."""
        for journal in self._journals.values():
            journal.close()

    def __enter__(self) -> "History":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
