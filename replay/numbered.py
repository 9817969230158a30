"""Place of an order or trade by its number: numbers rise with the commands, and images of the state have the newest."""

from pathlib import Path
from typing import Literal

from checkpoints import CheckpointError, CheckpointStore, load_array
from journal.history import History
from replay.rebuild import why_not_origin

#: Newest number of the state, by its name in the row of the venue.
Counter = Literal["last_order_number", "last_trade_number"]


def seq_before(history: History, counter: Counter, number: int, from_seq: int) -> int:
    """A command before the one that gave an order or trade its number, not before ``from_seq`` - 1.

    It is where an image of the state is: of a checkpoint, or of the start of a slice. Images that cannot be used are
    left out. Raises JournalError.
    """
    images: list[tuple[int, Path, int]] = []
    for place in history.places:
        store = CheckpointStore(place.folder)
        images += [(info.seq, info.path, place.number) for info in store.list() if info.valid]
        if place.start_image.exists() and (start := history.journal(place.number).start) is not None:
            images.append((start.last_seq, place.start_image, place.number))
    images = sorted((image for image in images if image[0] >= from_seq), key=lambda image: image[0])
    low, high = -1, len(images)  # the newest image whose number is less lies from low (-1: none) to high - 1
    while low + 1 < high:
        middle = (low + high) // 2
        _, path, slice_number = images[middle]
        newest = _newest(path, history, slice_number, counter)
        if newest is None:
            del images[middle]
            high -= 1
        elif newest < number:
            low = middle
        else:
            high = middle
    return images[low][0] if low >= 0 else from_seq - 1


def _newest(path: Path, history: History, slice_number: int, counter: Counter) -> int | None:
    """Newest number in an image, of which only that is read; None where it cannot be used."""
    try:
        header, venue = load_array(path, "venue", "venue")
        if why_not_origin(header.origin, history.journal(slice_number)) is not None:
            return None
        return int(venue[0][counter])
    except (CheckpointError, KeyError, ValueError, IndexError):
        return None
