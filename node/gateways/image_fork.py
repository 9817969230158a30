"""Images of programs beside the node, taken and written by a child process: the program goes on meanwhile.

To copy the tables of a million orders takes half a second of processor time, and to make rows of them in Python two;
the event loop would send no packet for as long.
"""

import asyncio
import os
from contextlib import suppress
from pathlib import Path
from typing import Final

from checkpoints import Projection
from node.gateways import image as gateway_image
from node.programs.child_work import ChildWork
from replay.feed import block_at

#: Time for a child to write an image, in seconds: it goes behind all that the program does.
WRITTEN_S: Final = 600.0


def load_kernels(projection: Projection) -> None:
    """Load the kernels of the images of a projection that is empty yet: a child must find them."""
    projection.image()


async def save(folder: Path, directory: Path, projection: Projection, seq: int) -> bool:
    """Write the image after command ``seq``, where the projection stands now; False if its block is not in the journal.

    The projection may go on as soon as this waits. Raises WorkFailed, OSError, JournalError.
    """
    projection.flush()
    hears, tells = os.pipe()

    def write() -> None:
        image = gateway_image.Image(seq, projection.version, dict(projection.image()))
        if checksum := os.read(hears, gateway_image.CHECKSUM_BYTES):
            gateway_image.write(folder, image, checksum)

    try:
        child = ChildWork(write, hears)
    except OSError:
        os.close(tells)
        raise
    finally:
        os.close(hears)
    try:
        checksum = await asyncio.to_thread(block_at, directory, seq)
        with suppress(BrokenPipeError):  # it has failed already, and says why
            os.write(tells, checksum)
    except BaseException:
        child.give_up()
        raise
    finally:
        os.close(tells)  # a child that was told nothing writes nothing
    await child.done(WRITTEN_S)
    return bool(checksum)
