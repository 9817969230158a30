"""Stories of work on the closed slices of a directory (``node.core.slice_work``), with what it logs."""

import asyncio
import io
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, TypeVar

from journal import Journal
from node.core.slice_work import SliceWork
from node.programs.logs import Log
from node.programs.supervisor import Supervisor

Told = list[tuple[str, dict[str, Any]]]
Note = Callable[..., None]
Work = TypeVar("Work", bound=SliceWork)


def working(
    directory: Path,
    make: Callable[[Journal, Supervisor, Note, Note], Work],
    story: Callable[[Callable[[], Work], Told], Awaitable[None]],
) -> None:
    """Play a story, which is given a maker of the work and the list of what is logged."""
    told: Told = []

    def note(what: str, **fields: Any) -> None:
        told.append((what, fields))

    async def run() -> None:
        supervisor = Supervisor(Log(io.StringIO()))
        try:
            with Journal.open(directory) as journal:
                await story(lambda: make(journal, supervisor, note, note), told)
        finally:
            supervisor.close()

    asyncio.run(run())
