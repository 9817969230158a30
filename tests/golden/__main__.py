"""Writer of the golden copies for the rules and the state in force: a journal, and a checkpoint of it.

Neither may exist yet: a golden file is never written again. Remove the checkpoint where a dtype of the state has
changed.
"""

import shutil
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from checkpoints import CheckpointStore
from directory.recover import create
from engine import RULES_VERSION
from engine.state import STATE_VERSION
from replay.rebuild import rebuild
from sequencer.pump import pump
from sequencer.stamp import FileStamp
from tests.golden.made import CAPACITY, commands
from tests.nodes import batches, image_of

HERE = Path(__file__).parent
#: Command of the checkpoint: limits, timers and open orders are in force.
CHECKPOINT_SEQ = 2_050


def checkpoint_path() -> Path:
    """File of the golden checkpoint of this release."""
    return HERE / f"state-{STATE_VERSION}-rules-{RULES_VERSION}.checkpoint"


def write_journal(directory: Path) -> None:
    """Pump the stream in blocks of 50."""
    journal, engine = create(directory, CAPACITY, journal_id=b"golden" + bytes(10))
    with journal:
        pump(batches(commands(), 50), FileStamp(), journal, engine)
    for passing in (directory / "lock", directory / "journal" / "lock.mdb"):
        passing.unlink()
    print(directory, engine.seq, engine.event_digest.hex())


def write_checkpoint(journal: Path, path: Path) -> None:
    """Take the checkpoint of a golden journal, in a copy of it."""
    with TemporaryDirectory() as name:
        copy = Path(shutil.copytree(journal, Path(name) / "copy"))
        engine = rebuild(copy, at=CHECKPOINT_SEQ, use_checkpoints=False).engine
        shutil.copyfile(CheckpointStore(copy).write(image_of(copy, engine)), path)
    print(path, engine.seq, engine.event_digest.hex())


def main() -> None:
    """Write those of the two that are missing."""
    directory = HERE / f"rules-{RULES_VERSION}"
    if directory.exists() and checkpoint_path().exists():
        sys.exit(f"{directory} and {checkpoint_path()} are there; a golden file is never written again")
    if not directory.exists():
        write_journal(directory)
    if not checkpoint_path().exists():
        write_checkpoint(directory, checkpoint_path())


if __name__ == "__main__":
    main()
