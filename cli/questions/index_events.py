"""The event index made ahead of the questions that read it: `lockstep journal index`."""

from pathlib import Path

from cli import errors, screen
from cli.questions.reading import check_whole
from cli.warmup import ready
from journal.history import History
from replay.event_index import FOLDER, WORTH_COMMANDS, EventIndex, open_index, sketch_slices


def index_events(directory: Path, *, as_json: bool) -> int:
    """`lockstep journal index`. Raises what prevents that the index is written."""
    check_whole(directory)
    index: EventIndex | None = None
    with History.open(directory) as history, screen.Bar("indexing") as bar:
        begin, end = history.there_from_seq, history.last_seq
        commands = max(0, end - begin + 1)
        if commands:
            index = open_index(history, begin, end, prepare=ready, progress=bar.to, insists=True)
            sketch_slices(history, prepare=ready, progress=bar.to)
        held = 0 if index is None else sum(part.last_seq - part.first_seq + 1 for part in index.parts if part.path)
        size = 0 if index is None else index.bytes
    if as_json:
        facts = {"ok": True, "commands": commands, "indexed": held, "size_bytes": size, "path": str(directory / FOLDER)}
        screen.print_json(facts)
    elif index is not None:
        screen.print_line(
            f"{directory / FOLDER} has the events of {screen.counted(held, 'command')} of {screen.count(commands)}, "
            f"in {screen.size(size)}"
        )
    else:
        screen.print_line(
            f"{directory} has {screen.counted(commands, 'command')}: below {screen.count(WORTH_COMMANDS)} a replay is "
            "as good, and nothing is written"
        )
    return errors.FINE
