"""Search of `lockstep inspect`: the next and the previous command that a text asks for.

A number or a time is a place. A symbol and a participant select commands as `lockstep commands` does. Any other word is
an order, by client order id or token: its commands and those that traded with it, as `lockstep order` has them.
"""

import contextlib
import io
from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from cli.errors import WrongUse
from cli.questions.choice import Selection
from cli.questions.history import command_seqs
from cli.questions.order import Asked, orders_of
from engine.names import Directory
from notation.moments import is_seq
from notation.words import there_are
from replay.errors import ReplayError
from replay.times import seq_at

#: Commands that a search back looks at first; each further look takes four times as many.
_LOOK_BACK: Final = 65_536
_KEYS: Final = ("order", "participant", "symbol", "time", "seq")


@contextlib.contextmanager
def unseen() -> Iterator[io.StringIO]:
    """Context of work that reports to standard error, where nobody must write while the screen is there."""
    said = io.StringIO()
    with contextlib.redirect_stderr(said):
        yield said


class Search:
    """Question of a text to a directory. ``place``: the command, where it is a number or a time; else None.

    ``names``: the names that are known. Raises WrongUse for a text that asks for nothing, ReplayError.
    """

    def __init__(self, directory: Path, text: str, names: Directory) -> None:
        self.text = text.strip()
        self.place: int | None = None
        self._directory = directory
        self._order = ""
        self._found: list[int] | None = None
        self._participant: str | None = None
        self._symbol: str | None = None
        if not self.text:
            raise WrongUse("type what to look for: a number, a time, an order, a participant or a symbol")
        for word in self.text.split():
            self._take(word, names)
        others = (self._order, self._participant, self._symbol)
        if self.place is not None and any(others):
            raise WrongUse("a number or a time stands alone; leave the other words out")
        if self._order and self._symbol:
            raise WrongUse("an order has one symbol already; leave the symbol out")

    def _take(self, word: str, names: Directory) -> None:
        key, equals, value = word.partition("=")
        if not equals:
            key, value = self._kind_of(word, names), word
        if key not in _KEYS or not value:
            raise WrongUse(f"{word!r} is no search; write one of {', '.join(f'{each}=…' for each in _KEYS)}")
        if key == "seq" and not is_seq(value):
            raise WrongUse(f"{value!r} is no sequence number; write a whole number")
        if key == "order":
            self._order = value
        elif key == "participant":
            self._participant = _known(value, names.participants, "participant")
        elif key == "symbol":
            self._symbol = _known(value, names.symbols, "symbol")
        else:
            self.place = max(seq_at(self._directory, value), 1)

    @staticmethod
    def _kind_of(word: str, names: Directory) -> str:
        if is_seq(word):
            return "seq"
        if word in names.symbols:
            return "symbol"
        if word in names.participants:
            return "participant"
        return "time" if word[:1].isdigit() and ":" in word else "order"

    def after(self, seq: int) -> int | None:
        """The next command after ``seq``; None for none. Raises what replay and journal raise."""
        if self._order:
            found = self._order_seqs()
            at = bisect_right(found, seq)
            return found[at] if at < len(found) else None
        with unseen():
            if seq >= seq_at(self._directory, None):
                return None
            with contextlib.closing(command_seqs(self._directory, self._selection(seq + 1, None))) as parts:
                for seqs in parts:
                    return int(seqs[0])
        return None

    def before(self, seq: int, first_seq: int = 1) -> int | None:
        """The last command before ``seq`` and not before ``first_seq``; None for none. Raises as ``after``."""
        if self._order:
            found = self._order_seqs()
            at = bisect_left(found, seq)
            return found[at - 1] if at else None
        look, end = _LOOK_BACK, seq - 1
        while end >= first_seq:
            begin = max(end - look + 1, first_seq)
            with unseen():
                found = [int(seqs[-1]) for seqs in command_seqs(self._directory, self._selection(begin, end))]
            if found:
                return found[-1]
            look, end = 4 * look, begin - 1
        return None

    def _selection(self, from_seq: int, to_seq: int | None) -> Selection:
        return Selection(from_seq, to_seq, self._symbol, self._participant)

    def _order_seqs(self) -> list[int]:
        """Commands with an event of the order; looked up once."""
        if self._found is None:
            with unseen():
                lives, _ = orders_of(self._directory, Asked(self._order), self._participant)
            self._found = sorted({int(moment.event["seq"]) for life in lives for moment in life.moments})
            if not self._found:
                raise ReplayError(f"there is no order {self._order} in {self._directory}")
        return self._found


def _known(name: str, names: tuple[str, ...], what: str) -> str:
    if name not in names:
        raise WrongUse(f"there is no {what} {name} up to here; {there_are(names)}")
    return name
