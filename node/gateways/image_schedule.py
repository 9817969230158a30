"""When a program beside the node writes its image: every 30 s by a child process, and once more at its end."""

import asyncio
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from checkpoints import Projection
from node.gateways import image as gateway_image
from node.gateways import image_fork
from node.programs.child_work import WorkFailed

#: Time between two images, commands that make one worth its work, and the age at which fewer do, in seconds.
INTERVAL_S: Final = 30.0
COMMANDS: Final = 10_000
OLD_S: Final = 600.0


class ImageSchedule:
    """The images of a projection, on a running event loop.

    standing: gives the command that the projection stands behind; None where no image can be taken now: it is within
    a block, or the journal does not have all of it yet. on_no_image: called with the reason for which an image could
    not be written; the one before stays. on_fault: called with any other error.
    """

    def __init__(
        self,
        folder: Path,
        directory: Path,
        projection: Projection,
        standing: Callable[[], int | None],
        on_no_image: Callable[[str], None],
        on_fault: Callable[[BaseException], None],
    ) -> None:
        """The projection is empty yet: kernels of its image are loaded, since a child must find them."""
        self._folder, self._directory, self._projection = folder, directory, projection
        self._standing, self._on_no_image, self._on_fault = standing, on_no_image, on_fault
        image_fork.load_kernels(projection)
        #: The command of the newest image.
        self.seq = 0
        #: The image that is written now, by a child.
        self.saving: asyncio.Task[None] | None = None
        self._due_s = time.monotonic() + INTERVAL_S
        self._ending = False

    def begin_behind(self, seq: int) -> None:
        """Note that there is an image of this command."""
        self.seq = seq

    def look(self) -> None:
        """Begin an image where one is due."""
        over_s = time.monotonic() - self._due_s
        if over_s < 0 or self.saving is not None or (seq := self._standing()) is None:
            return
        commands = seq - self.seq
        if commands >= COMMANDS or (commands > 0 and over_s >= OLD_S - INTERVAL_S):
            self._due_s = time.monotonic() + INTERVAL_S
            self.saving = asyncio.get_running_loop().create_task(self._save())
            self.saving.add_done_callback(self._on_saved)

    async def save_last(self) -> None:
        """Write the last image, if there is news. Raises OSError, JournalError.

        Nobody is served any more, so the program does it itself; what a child writes now is of less, and
        is given up.
        """
        self._ending = True
        if self.saving is not None:
            self.saving.cancel()
            await asyncio.wait([self.saving])
        seq = self._standing()
        if seq is not None and seq > self.seq:
            image = gateway_image.take(self._projection, seq)
            await asyncio.to_thread(gateway_image.save, self._folder, self._directory, image)

    async def _save(self) -> None:
        seq = self._standing()  # now: blocks may have come since the look
        if seq is None or seq <= self.seq:
            return
        if await image_fork.save(self._folder, self._directory, self._projection, seq):
            self.seq = seq

    def _on_saved(self, saving: "asyncio.Task[None]") -> None:
        self.saving = None
        if saving.cancelled() or (error := saving.exception()) is None or self._ending:
            return
        if isinstance(error, WorkFailed):
            self._on_no_image(str(error))
        else:
            self._on_fault(error)
