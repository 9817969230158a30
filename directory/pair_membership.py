"""Membership of a data directory in a pair of nodes, so that one node alone does not begin a second market on it.

A node of a pair leaves its id (``directory.divergence``) in its directory, and a copy that is begun anew its mark
(``directory.incomplete``). An operator who dissolves a pair lets one directory leave it: DIR/left_pair says so. If that
directory joins a pair again, it counts as one that may lack orders, until it was in sync.
"""

import os
from pathlib import Path
from typing import Final

from directory.divergence import ID
from directory.incomplete import MARK as INCOMPLETE
from directory.incomplete import mark_incomplete, why_incomplete
from directory.small_file import write_whole
from replay.errors import ReplayError

MARK: Final = "left_pair"
#: Advice to an operator who starts a node on such a directory as a market of its own.
ADVICE: Final = (
    "give --arbiter as at its last start; or, to dissolve the pair and go on with this directory alone, end the other "
    "node for good and give --leave-pair"
)
_JOINED_AGAIN: Final = "its directory left its pair and was a market of its own, and it has not been in sync since"


class PairDirectory(ReplayError):
    """The directory belongs to a pair, and a command would change it outside that pair; the message says what to do."""


def belongs_to_pair(directory: Path) -> bool:
    """True if a node of a pair has used a directory, or began to fetch it, and it has not left the pair."""
    marks = (directory / ID, directory / INCOMPLETE)
    return any(map(os.path.lexists, marks)) and not os.path.lexists(directory / MARK)


def check_single(directory: Path, advice: str = ADVICE) -> None:
    """Raise PairDirectory with the advice if a directory belongs to a pair."""
    if belongs_to_pair(directory):
        lacks = f" ({lack})" if (lack := what_may_lack(directory)) else ""
        raise PairDirectory(f"{directory} belongs to a pair of nodes{lacks}; {advice}")


def what_may_lack(directory: Path) -> str:
    """Sentence on the orders that a directory may lack; "" if it lacks none for certain."""
    why = why_incomplete(directory)
    return f"acknowledged orders may be missing here: {why}" if why else ""


def leave_pair(directory: Path) -> bool:
    """Let a directory leave its pair, for good; False if it belongs to none. Raises OSError."""
    if not belongs_to_pair(directory):
        return False
    write_whole(directory / MARK, "an operator dissolved the pair of this directory (serve --leave-pair)\n")
    return True


def join_pair(directory: Path) -> bool:
    """Note that a node of a pair uses a directory; True if it had left a pair before. Raises OSError."""
    if not os.path.lexists(directory / MARK):
        return False
    mark_incomplete(directory, _JOINED_AGAIN)
    (directory / MARK).unlink()
    return True
