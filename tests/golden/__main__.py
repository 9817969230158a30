"""Writes the golden journal of the rules in force. It may not exist yet."""

import sys
from pathlib import Path

from directory.recover import create
from engine import RULES_VERSION
from sequencer.pump import pump
from sequencer.stamp import FileStamp
from tests.golden.made import CAPACITY, commands
from tests.nodes import batches


def main() -> None:
    """Pumps the stream in blocks of 50."""
    directory = Path(__file__).parent / f"rules-{RULES_VERSION}"
    if directory.exists():
        sys.exit(f"{directory} is there; a golden journal is never written again")
    journal, engine = create(directory, CAPACITY)
    with journal:
        pump(batches(commands(), 50), FileStamp(), journal, engine)
    for passing in (directory / "lock", directory / "journal" / "lock.mdb"):
        passing.unlink()
    print(directory, engine.seq, engine.event_digest.hex())


if __name__ == "__main__":
    main()
