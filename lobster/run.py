"""Message files as one input of a venue, and their checks while it runs."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from numpy.typing import NDArray

from engine.names import Directory
from lobster.check import Check
from lobster.files import LobsterFile
from lobster.merge import merged, participants_of, with_flow
from lobster.translate import Flow, translate


class Outcome(NamedTuple):
    """A message file with its flow. check: None where there is no book to compare with."""

    file: LobsterFile
    flow: Flow
    check: Check | None


@dataclass(frozen=True)
class Input:
    """The commands of all message files, and what is compared while they run. ``first_seq``: of the first of them."""

    outcomes: list[Outcome]
    first_seq: int

    @property
    def checked(self) -> bool:
        """True if any file is compared."""
        return any(outcome.check is not None for outcome in self.outcomes)

    @property
    def flow(self) -> Flow:
        """One flow, as each has the rows of all."""
        return self.outcomes[0].flow

    def see(self, first_seq: int, commands: NDArray[Any], events: NDArray[Any]) -> None:
        """Compare the events of a block, as far as it is of these files."""
        last_seq = min(first_seq + len(commands), self.first_seq + len(self.flow.rows)) - 1
        own = events[events["seq"] <= last_seq]
        for outcome in self.outcomes:
            if outcome.check is not None:
                outcome.check.see(own, last_seq)


def input_of(files: Sequence[LobsterFile], names: Directory, first_seq: int, *, tick_e4: int) -> Input:
    """The flows of the files, merged, behind a venue with these names, and their checks. Raises LobsterError."""
    begin_ns = min(int(file.messages.time_ns[0]) for file in files)
    known, flows = names, []
    for number, file in enumerate(files, 1):
        flow = translate(
            file.messages,
            file.book,
            symbol=file.symbol,
            tick_e4=tick_e4,
            levels=file.levels,
            directory=known,
            book_name=f"{file.book_path}:1",
            participants=participants_of(number),
            begin_ns=begin_ns,
        )
        flows.append(flow)
        known = with_flow(known, file.symbol, number)
    outcomes = []
    for file, flow in zip(files, merged(flows, names.now_ns), strict=True):
        check = None
        if file.published is not None:
            check = Check(flow, file.published, first_seq=first_seq, name=str(file.check_path))
        outcomes.append(Outcome(file, flow, check))
    return Input(outcomes, first_seq)
