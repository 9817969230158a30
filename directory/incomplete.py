"""Mark of a data directory whose node may lack blocks that it has acknowledged, because it was begun anew.

DIR/incomplete has the reason in a sentence. The arbiter's record names nodes, not disks: a node with a new disk must
not take over on the word of the old one. The mark goes once the node was in sync, or reigns by an operator's word.
"""

from pathlib import Path
from typing import Final

from directory.small_file import write_whole

MARK: Final = "incomplete"
BEGUN_EMPTY: Final = "its directory was begun empty, and it has not been in sync since"


def mark_incomplete(directory: Path, why: str) -> None:
    """Write the mark, synced. Raises OSError."""
    write_whole(directory / MARK, f"{why}\n")


def why_incomplete(directory: Path) -> str:
    """Reason of the mark; "" without one. Raises OSError where it cannot be read."""
    try:
        return (directory / MARK).read_text(encoding="utf-8").strip() or BEGUN_EMPTY
    except FileNotFoundError:
        return ""


def clear_incomplete(directory: Path) -> None:
    """Remove the mark. Raises OSError."""
    (directory / MARK).unlink(missing_ok=True)
